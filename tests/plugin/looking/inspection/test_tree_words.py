"""What a line says of a module or a tensor."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from hatch_wheelweights.checkpoint.module_classes import ModuleClass
from hatch_wheelweights.errors import PYTHON
from hatch_wheelweights.looking.inspection.tensors import TensorFacts
from hatch_wheelweights.looking.inspection.tree import MAX_DEPTH, module_tree, rows_to_depth
from hatch_wheelweights.looking.inspection.tree_words import (
    class_text,
    contents_text,
    name_text,
    node_note,
    number_text,
    share_text,
    sparkline,
)
from hatch_wheelweights.looking.texts import human_count
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
    lstm = {
        "mode": "LSTM", "input_size": 8, "hidden_size": 16, "num_layers": 3, "bias": True, "batch_first": False,
        "dropout": 0.0, "bidirectional": True, "proj_size": 0,
    }  # fmt: skip
    assert class_text(ModuleClass("torch.nn.modules.rnn.LSTM", lstm)) == (
        "LSTM input_size 8, hidden_size 16, num_layers 3, bidirectional True"
    )
    assert class_text(ModuleClass("torch.nn.modules.rnn.RNN", {"mode": "RNN_TANH"})) == "RNN mode 'RNN_TANH'"
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


def facts(key: str, **values: Any) -> TensorFacts:
    fields: dict[str, Any] = {"source": key, "shape": (2,), "dtype": "float32", "new_dtype": "float32", "nbytes": 8}
    return TensorFacts(key, **{**fields, **values})


def test_what_is_below_a_folded_module_says_how_often_it_is_there() -> None:
    tree = module_tree(
        [facts(f"l.{i}.{block}.{name}") for i in range(12) for block in ("a", "b0", "b1") for name in "wv"]
    )
    assert [(name_text(row), contents_text(row)) for row in rows_to_depth(tree, 2)] == [
        ("l.0-11 (12 x)", "12 each"),
        ("a", "12 x w, v (2,)"),
        ("b0-1 (2 x)", "12 x w, v (2,); 4 each"),
    ]
    assert [contents_text(row) for row in rows_to_depth(tree, MAX_DEPTH) if row.node.tensor is not None] == [
        "12 x (2,) float32", "12 x (2,) float32", "24 x (2,) float32", "24 x (2,) float32",
    ]  # fmt: skip


def test_a_closed_module_says_what_is_noted_of_its_tensors() -> None:
    many = [
        facts("a.b.w"),
        facts("a.b.v", tied_to="a.b.w"),
        facts("a.c.w", fault="is sparse", nbytes=None),
        facts("a.c.v", kept=False),
        facts("a.x", source="a.y"),
        facts("head.w", tied_to="a.b.w"),
        facts("two.w", tied_to="a.b.w"),
        facts("two.v", tied_to="a.b.v"),
    ]
    rows = list(rows_to_depth(module_tree(many), 1))
    assert [node_note(row, PYTHON) for row in rows] == [
        "1 left out; 1 cannot be read; b.v tied to a.b.w; renamed in it",
        "w tied to a.b.w",
        "2 tied",
    ]
    opened = next(rows_to_depth(module_tree(many), 2))
    assert (opened.is_open, node_note(opened, PYTHON)) == (True, "")


def test_layers_that_repeat_are_marked_whichever_of_them_were_renamed() -> None:
    def notes(*sources: int) -> list[str]:
        facts = [
            TensorFacts(f"l.{i}.w", f"l.{source}.w", (2,), "float32", "float32", 8) for i, source in enumerate(sources)
        ]
        return [node_note(row, PYTHON) for row in rows_to_depth(module_tree(facts), 1)]

    assert notes(0, 1, 2) == [""]
    assert notes(0, 2, 5) == ["2 renamed"]
    assert notes(1, 2, 3) == ["from l.1 and others"]


def test_an_empty_part_of_a_key_is_not_the_root() -> None:
    names = [name_text(row) for row in rows_to_depth(module_tree([facts(""), facts(".w"), facts("a.")]), MAX_DEPTH)]
    assert names == ["(the root)", "''", "w", "a", "''"]
