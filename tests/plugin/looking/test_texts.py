"""How one thing is written."""

from __future__ import annotations

import pytest

from hatch_wheelweights.looking.texts import width_of


@pytest.mark.parametrize(
    ("text", "columns"),
    [
        ("weight", 6),
        ("", 0),
        ("größe", 5),
        ("重み", 4),
        ("ＡＢ", 4),
        ("e\u0301", 1),
        ("😀", 2),
        ("שלום", 4),
        ("▁▂█", 3),
    ],
)
def test_a_text_is_as_wide_as_a_terminal_shows_it(text: str, columns: int) -> None:
    assert width_of(text) == columns
