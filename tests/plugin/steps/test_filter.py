"""Filtering by final keys: include, exclude, and patterns that find nothing."""

from __future__ import annotations

import pytest

from hatch_wheelweights.errors import CheckpointError
from hatch_wheelweights.steps.filter import key_filter


def filter_keys(keys, include, exclude, others=()):
    return set(filter(key_filter(include, exclude, keys, others), [*keys, *others]))


def test_keeps_what_any_include_and_no_exclude_pattern_finds():
    keys = ["enc.w", "enc.n", "dec.w", "head.w"]
    assert filter_keys(keys, (), ()) == set(keys)
    assert filter_keys(keys, ["^enc", "head"], [r"\.n$"]) == {"enc.w", "head.w"}
    assert filter_keys(keys, (), ["w"]) == {"enc.n"}


def test_rejects_patterns_that_match_nothing_and_shows_near_keys():
    with pytest.raises(CheckpointError) as caught:
        filter_keys(["encoder.weight", "decoder.weight", "x"], [r"^encodr\.", "x"], ["bias$"])
    assert str(caught.value).splitlines() == [
        r"expected keys that match `^encodr\.`, `bias$`, found none among 3",
        r"  Nearest to `^encodr\.`: `decoder.weight`, `encoder.weight`, `x`",
        "  Nearest to `bias$`: `decoder.weight`, `encoder.weight`, `x`",
        "  Correct the pattern in include or exclude, or remove it.",
    ]


def test_allows_an_exclude_pattern_for_keys_that_are_not_included_either():
    assert filter_keys(["enc.w", "dec.w"], ["enc"], ["dec"]) == {"enc.w"}


def test_rejects_filters_that_leave_nothing():
    with pytest.raises(CheckpointError, match="expected include and exclude to leave a tensor, found none left of 2"):
        filter_keys(["enc.w", "dec.w"], ["enc"], ["enc"])


def test_an_exclude_pattern_may_be_there_for_what_stands_beside_the_tensors():
    assert filter_keys(["w"], (), ["^args"], ["args", "epoch"]) == {"w", "epoch"}
    with pytest.raises(CheckpointError, match="expected keys that match `\\^args`, found none among 1"):
        filter_keys(["w"], ["^args"], (), ["args"])
