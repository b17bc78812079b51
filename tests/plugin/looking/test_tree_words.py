"""What a line says of a module or a tensor."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from hatch_wheelweights.checkpoint.module_classes import ModuleClass
from hatch_wheelweights.looking.texts import human_count
from hatch_wheelweights.looking.tree_words import class_text, number_text, share_text, sparkline
from making.small_files import HOSTILE, HOSTILE_SHOWN


@pytest.mark.parametrize(
    ("number", "shown"),
    [(0, "0"), (9_999, "9,999"), (10_000, "10.0k"), (53_173, "53.2k"), (25_557_032, "25.6M"), (999_950, "1.00M"),
     (1_340_000_000, "1.34B"), (10**15, "1,000.00T")],
)  # fmt: skip
def test_counts_have_three_digits(number: int, shown: str) -> None:
    assert human_count(number) == shown


def test_settings_that_say_nothing_new_are_left_out() -> None:
    conv = {
        "in_channels": 3, "out_channels": 64, "kernel_size": (7, 7), "stride": (2, 2), "padding": (3, 1),
        "dilation": (1, 1), "groups": 1, "padding_mode": "zeros", "transposed": False, "bias": None,
    }  # fmt: skip
    assert class_text(ModuleClass("torch.nn.modules.conv.Conv2d", conv)) == "Conv2d stride 2, padding (3, 1)"
    assert class_text(ModuleClass("torch.nn.modules.activation.ReLU", {"inplace": True})) == "ReLU"
    assert class_text(ModuleClass("mynet.Block", {"heads": 8, "act": "gelu"})) == "Block heads 8, act 'gelu'"


def test_a_class_of_any_name_is_escaped() -> None:
    shown = class_text(ModuleClass(HOSTILE, {HOSTILE: HOSTILE}))
    assert shown.isprintable()
    assert shown.startswith(HOSTILE_SHOWN)


def test_numbers_have_three_digits() -> None:
    assert [number_text(number) for number in (None, 0.0, 0.12345, -1.0e-7, 12345.6, 7, -999_999, 12_345_678)] == [
        "-", "0", "0.123", "-1e-07", "1.23e+04", "7", "-999999", "1.23e+07",
    ]  # fmt: skip


def test_a_share_is_nothing_or_all_only_if_it_is() -> None:
    assert [share_text(*pair) for pair in ((0, 9), (1, 10_000), (1, 30), (1, 3), (9_999, 10_000), (3, 3), (0, 0))] == [
        "0", "<.1%", "3.3%", "33%", ">99%", "all", "0",
    ]  # fmt: skip


@given(st.lists(st.integers(0, 1 << 40), min_size=64, max_size=64))
def test_a_histogram_is_never_blank_where_values_are(bins: list[int]) -> None:
    shown = sparkline(tuple(bins), 16)
    assert [character == " " for character in shown] == [not any(bins[i : i + 4]) for i in range(0, 64, 4)]
    assert ("█" in shown) == any(bins)
    assert sparkline((), 16) == ""
