"""The words for rules of renaming: one line for each, and one for layers that moved together."""

from __future__ import annotations

import pytest

from hatch_wheelweights.looking.difference.facts import Comparison
from hatch_wheelweights.looking.difference.renames import Pairs, Rename
from hatch_wheelweights.looking.difference.words import name_lines


def lines(*rules: tuple[str, str]) -> list[str]:
    found = Pairs({}, tuple(Rename(patterns, 4) for patterns in rules))
    return name_lines(Comparison(("a", "b"), ({}, {}), (), pairs=found))


def test_a_rule_is_a_line() -> None:
    assert lines(("module.*", "*"), ("*.gamma", "*.weight")) == [
        "4 keys: `module.*` in a is `*` in b",
        "4 keys: `*.gamma` in a is `*.weight` in b",
    ]


def test_layers_that_moved_together_are_a_line_in_the_order_of_their_numbers() -> None:
    moved = [(f"blocks.{i}.*", f"h.{i + 2}.*") for i in (3, 0, 2, 1)]
    assert lines(("x.*", "y.*"), *moved) == [
        "16 keys: `blocks.0.*` to `blocks.3.*` in a are `h.2.*` to `h.5.*` in b",
        "4 keys: `x.*` in a is `y.*` in b",
    ]


@pytest.mark.parametrize(
    "rules",
    [
        [("l.0.*", "l.1.*"), ("l.2.*", "l.3.*")],
        [("l.0.*", "l.1.*"), ("l.1.*", "l.3.*")],
        [("l.0.*", "l.1.*"), ("m.1.*", "l.2.*")],
        [("l.0.a.0.*", "l.1.a.0.*"), ("l.1.a.1.*", "l.2.a.1.*")],
        [("conv1.*", "conv2.*"), ("conv2.*", "conv3.*")],
        [("l.0.*", "l.*"), ("l.1.*", "m.*")],
        [("l.0.#", "l.1.#"), ("l.#.1", "l.#.2")],
    ],
)
def test_what_did_not_move_together_is_told_one_by_one(rules: list[tuple[str, str]]) -> None:
    assert lines(*rules) == [f"4 keys: `{old}` in a is `{new}` in b" for old, new in rules]
