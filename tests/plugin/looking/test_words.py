"""How things are said, and how one thing is written."""

from __future__ import annotations

import json

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from hatch_wheelweights.looking.texts import human_size, json_of, key_text, shape_text, shortened, value_text


@pytest.mark.parametrize(
    ("size", "shown"),
    [
        (0, "0 B"), (999, "999 B"), (1000, "1.00 kB"), (45_096, "45.1 kB"), (999_499, "999 kB"), (999_500, "1.00 MB"),
        (1_340_000_000, "1.34 GB"), (10**15, "1,000.00 TB"),
    ],
)  # fmt: skip
def test_sizes_have_three_digits(size: int, shown: str) -> None:
    assert human_size(size) == shown


def test_values_are_shown_on_one_line_and_cut() -> None:
    assert value_text("a\nb") == r"a\nb"
    assert value_text({"a": [1, None], "ü": True}) == '{"a": [1, null], "ü": true}'
    assert shortened("x" * 200) == "x" * 200
    assert shortened("x" * 201) == "x" * 197 + "..."
    assert json_of({"a": "\u202e"}).splitlines() == ["{", r'  "a": "\u202e"', "}"]


def test_a_key_is_shown_on_one_line_and_cut() -> None:
    assert key_text("a\u202e\x7f\x9b\n") == r"a\u202e\x7f\x9b\n"
    assert key_text("x" * 1000) == "x" * 1000
    assert key_text("x" * 1001) == "x" * 997 + "..."


def test_a_size_that_would_fill_pages_is_shown_as_unknown() -> None:
    assert [shape_text(shape) for shape in ((), (3,), (2, 3), (1 << 8_000, -(1 << 63), 1))] == [
        "()", "(3,)", "(2, 3)", "(?, ?, 1)",
    ]  # fmt: skip


@given(st.text() | st.dictionaries(st.text(), st.lists(st.text() | st.none() | st.integers())))
@example("\x7f\x80\x9b\u202e\u2028\U000e0001\ud800-\udfff\ud83d\x1b\t\n\\\x7f")
def test_json_is_printable_and_says_the_same(value: object) -> None:
    shown = json_of(value)
    assert all(line.isprintable() for line in shown.split("\n"))
    assert json.loads(shown) == value
    assert json.loads(json_of(value, indent=None)) == value
