"""Reindexing: gaps are closed, keys stay apart, nothing but numbers changes."""

from __future__ import annotations

import re

import pytest
from hypothesis import given
from hypothesis import strategies as st

from hatch_wheelweights.steps.reindex import reindex_keys


@pytest.mark.parametrize(
    ("old", "new"),
    [
        pytest.param("l.0.w l.2.w l.4.w", "l.0.w l.1.w l.2.w", id="gaps"),
        pytest.param("l.10.w l.9.w l.2.w", "l.2.w l.1.w l.0.w", id="numeric order, keys in theirs"),
        pytest.param("1.w 3.w", "0.w 1.w", id="root"),
        pytest.param("3.5.w 3.7.w 9.5.w", "0.0.w 0.1.w 1.0.w", id="numbers below numbers, each prefix by itself"),
        pytest.param("l.2.a.3.w l.4.a.5.w", "l.0.a.0.w l.1.a.0.w", id="nested, grouped by the original prefix"),
        pytest.param("l.999999999999999999999.w l.5.w", "l.1.w l.0.w", id="huge"),
        pytest.param("w.2 w.4", "w.2 w.4", id="never the last part"),
        pytest.param("2 4", "2 4", id="never the only part"),
        pytest.param("l.02.w l.+3.w l.-4.w l.5_0.w l.٣.w", "l.02.w l.+3.w l.-4.w l.5_0.w l.٣.w", id="names"),
        pytest.param("l.02.w l.norm.w l.2.w l.4.w", "l.02.w l.norm.w l.0.w l.1.w", id="numbers among names"),
        pytest.param("l.0 l.2.w l.4.w", "l.0 l.1.w l.2.w", id="a tensor called 0 keeps its name"),
        pytest.param("l.1 l.1.w l.3.w", "l.1 l.1.w l.3.w", id="a number that is a tensor and a container"),
        pytest.param(".2.w", ".0.w", id="empty parts"),
    ],
)
def test_closes_gaps(old, new):
    assert list(reindex_keys(old.split(" ")).items()) == list(zip(old.split(" "), new.split(" "), strict=True))


def test_reindexes_keys_with_thousands_of_parts_in_linear_memory():
    keys = [f"{i}{'.7' * 2000}.w" for i in range(50)]
    assert next(iter(reindex_keys(keys).values())) == f"0{'.0' * 2000}.w"


PARTS = st.sampled_from(["0", "1", "2", "7", "10", "02", "+1", "l", "w", ""])
KEYS = st.lists(st.lists(PARTS, min_size=1, max_size=5).map(".".join), unique=True, max_size=12)


@given(KEYS)
def test_reindexing_twice_is_reindexing_once(keys):
    once = list(reindex_keys(keys).values())
    assert list(reindex_keys(once).values()) == once


@given(KEYS)
def test_reindexing_keeps_keys_apart_and_changes_nothing_but_numbers(keys):
    new = reindex_keys(keys)
    assert list(new) == keys
    assert len(set(new.values())) == len(keys)
    for old, renamed in new.items():
        for before, after in zip(old.split("."), renamed.split("."), strict=True):
            assert before == after or re.fullmatch("[1-9][0-9]*", before)
        assert old.split(".")[-1] == renamed.split(".")[-1]


@given(KEYS)
def test_reindexing_makes_no_key_the_prefix_of_another(keys):
    new = reindex_keys(keys)
    for a in keys:
        for b in keys:
            assert new[b].startswith(f"{new[a]}.") == b.startswith(f"{a}.")


@given(st.lists(st.integers(0, 10**30), unique=True, min_size=1, max_size=20))
def test_reindexing_keeps_the_order_of_layers(layers):
    new = reindex_keys(f"layers.{layer}.w" for layer in layers)
    order = {layer: int(new[f"layers.{layer}.w"].split(".")[1]) for layer in layers}
    assert [order[layer] for layer in sorted(layers)] == list(range(len(layers)))
