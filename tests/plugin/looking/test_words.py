"""How things are said."""

from __future__ import annotations

import pytest

from hatch_wheelweights.looking.words import human_size, json_lines, shortened, value_text


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
    assert json_lines({"a": "\u202e"}) == ["{", r'  "a": "\u202e"', "}"]
