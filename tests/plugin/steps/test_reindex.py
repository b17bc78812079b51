"""Reindexing: gaps are closed, keys stay apart, nothing but numbers changes, and what changes is said."""

from __future__ import annotations

import re
import tracemalloc

import pytest
from hypothesis import given
from hypothesis import strategies as st

from hatch_wheelweights.cli.flags import FLAGS
from hatch_wheelweights.errors import spelt
from hatch_wheelweights.options.toml import TOML
from hatch_wheelweights.steps.reindex import reindex_keys, renumbering_note, renumbering_warnings, renumberings


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


# What is said of it

ONE, TWO = (3,), (4, 3)


def _told(keys: str, shapes: dict[str, tuple[int, ...]] | None = None, kept: str | None = None) -> list[str]:
    """Return the note and the warnings for keys, whose tensors have one shape unless they are in `shapes`."""
    names = keys.split(" ")
    found = renumberings({name: (shapes or {}).get(name, ONE) for name in names}, (kept or keys).split(" "))
    return [renumbering_note(found), *map(str, renumbering_warnings(found))] if found else []


def _layers(*numbers: int, prefix: str = "l") -> str:
    return " ".join(f"{prefix}.{number}.{name}" for number in numbers for name in ("w", "b"))


@pytest.mark.parametrize(
    ("keys", "note"),
    [
        pytest.param(_layers(0, 2, 4, prefix="model.layers"), "`model.layers`: 0, 2, 4 -> 0, 1, 2", id="gaps"),
        pytest.param("0.w 2.w", "the root: 0, 2 -> 0, 1", id="root"),
        pytest.param(_layers(0, *range(2, 12)), "`l`: 0, 2 to 11 -> 0 to 10", id="runs"),
        pytest.param(_layers(*range(0, 24, 2)), "`l`: 0, 2, 4, 6, 8, 10, 12, 14 and 4 more -> 0 to 11", id="many"),
        pytest.param("l.0 l.2.w l.4.w", "`l`: 2, 4 -> 1, 2", id="a tensor called 0"),
        pytest.param("a.0.w a.3.w b.0.w b.3.w", "`a`: 0, 3 -> 0, 1; `b`: 0, 3 -> 0, 1", id="two groups"),
        pytest.param(
            "l.0.m.0.w l.0.m.2.w l.1.m.0.w l.1.m.2.w", "`l.*.m`: 0, 2 -> 0, 1", id="groups that differ in numbers"
        ),
        pytest.param(
            "l.0.m.0.w l.0.m.2.w l.1.m.0.w l.1.m.3.w",
            "`l.0.m`: 0, 2 -> 0, 1; `l.1.m`: 0, 3 -> 0, 1",
            id="groups that differ in what becomes of them",
        ),
        pytest.param("l.0.m.1.m.0.w l.2.m.1.m.0.w", "`l`: 0, 2 -> 0, 1; `l.*.m`: 1 -> 0", id="nested"),
        pytest.param(
            f"l.0.w l.{'9' * 30}.w", f"`l`: 0, {'9' * 18}... -> 0, 1", id="a number that is no number of a layer"
        ),
    ],
)
def test_says_in_one_line_which_numbers_become_which(keys, note):
    assert _told(keys)[0] == f"reindexed {note}"


def test_says_eight_groups_and_counts_the_rest():
    told = _told(" ".join(f"m{i}.0.w m{i}.{i + 2}.w" for i in range(10)))
    assert told[0].count("->") == 8
    assert told[0].endswith("`m7`: 0, 9 -> 0, 1 and 2 more")


def test_says_nothing_where_nothing_changes():
    assert _told(f"{_layers(0, 1, 2)} w 5 head.3") == []


def test_says_nothing_of_keys_that_are_left_out():
    keys = f"{_layers(0, 2)} {_layers(1, 3, prefix='m')} n.w"
    assert _told(keys, kept=f"{_layers(0, 1, prefix='m')} n.w".replace(".0.", ".3.")) == [
        "reindexed `m`: 1, 3 -> 0, 1",
        f"`m` begins at 1, {BEGINS}",
    ]
    assert _told(keys, kept="n.w") == []


def test_warns_where_numbers_do_not_begin_at_0():
    assert _told(_layers(16, 17, prefix="model.layers"))[1:] == [f"`model.layers` begins at 16, {BEGINS}"]
    assert _told("a.1.w b.2.w")[1].startswith("`a` begins at 1, `b` begins at 2, and at 0 after reindexing")
    assert _told("l.0 l.2.w l.4.w")[1:] == [], "0 is a tensor"
    many = _told(" ".join(f"m{i}.{i + 1}.w" for i in range(10)))[1]
    assert "`m7` begins at 8 and 2 more, and at 0 after reindexing" in many


BEGINS = (
    "and at 0 after reindexing: if it is part of a model (a lone shard, an adapter), reindex=False keeps the numbers"
)
LACKS = "between items with the same keys and shapes (a lost layer?); reindex=False keeps the numbers"


@pytest.mark.parametrize(
    ("numbers", "missing"),
    [
        ((0, 1, 3), "2"),
        ((0, 1, 3, 4), "2"),
        ((0, 2, 3), "1"),
        ((0, 1, 2, 5, 6), "3 to 4"),
        ((0, 1, 2, 4, 5, 8), "3, 6 to 7"),
        ((*range(5), *range(6, 32)), "5"),
        ((0, 1, 3, 4, 5, 7), "2, 6"),
    ],
)
def test_warns_of_an_irregular_gap_between_like_items(numbers, missing):
    assert _told(_layers(*numbers))[1:] == [f"`l` lacks {missing} {LACKS}"]


@pytest.mark.parametrize(
    "numbers", [(0, 2), (0, 2, 4), (0, 3, 6), (0, 2, 5), (0, 1, 3, 4, 6, 7), (0, 1, 4, 5, 8, 9), (0, 1, 2, 4, 5, 6, 8)]
)
def test_says_no_more_than_a_note_of_gaps_that_are_regular(numbers):
    """Or that may be: without two items that follow each other, nothing tells what is between them."""
    assert len(_told(_layers(*numbers))) == 1


def test_a_gap_between_items_that_differ_is_that_of_a_sequential():
    keys = "f.0.w f.1.w f.3.w"  # linear, linear, relu, linear
    assert len(_told(keys, {"f.3.w": TWO})) == 1
    assert len(_told(keys, {"f.0.w": TWO})) == 1
    assert len(_told(keys)) == 2
    assert len(_told("f.0.w f.1.w f.3.w f.3.b")) == 1


def test_an_item_that_differs_does_not_hide_a_gap():
    keys = "l.0.w l.1.w l.2.w l.4.w l.5.w"
    assert _told(keys, {"l.0.w": TWO})[1:] == [f"`l` lacks 3 {LACKS}"]
    assert _told(keys, {"l.5.w": TWO})[1:] == [f"`l` lacks 3 {LACKS}"]


# As torchvision makes them: convolutions with their norms and what has no parameters between
SEQUENTIALS = {
    "conv relu conv relu conv relu pool fc": [(0, "c"), (2, "c"), (4, "c"), (7, "f")],
    "vgg16": [(n, "c") for n in (0, 2, 5, 7, 10, 12, 14, 17, 19, 21, 24, 26, 28)],
    "vgg16 with norms": [
        item for n in (0, 3, 7, 10, 14, 17, 20, 24, 27, 30, 34, 37, 40) for item in ((n, "c"), (n + 1, "n"))
    ],
    "alexnet": [(0, "c"), (3, "c"), (6, "c"), (8, "c"), (10, "c")],
    "two linear layers between relu and dropout": [(n, "f") for n in (0, 1, 4, 5, 8, 9)],
}


@pytest.mark.parametrize("name", SEQUENTIALS)
def test_no_sequential_of_a_usual_form_is_missing_a_layer(name):
    shapes = {"c": (8, 8, 3, 3), "n": (8,), "f": (8, 8)}
    keys = {f"features.{number}.weight": shapes[kind] for number, kind in SEQUENTIALS[name]}
    found = renumberings(keys, keys)
    assert len(found) == 1
    assert list(renumbering_warnings(found)) == []


def test_items_are_compared_by_everything_below_them():
    same = "l.{0}.attention.heads.{1}.w"
    keys = " ".join(same.format(i, j) for i in (0, 1, 3) for j in (0, 1))
    assert _told(keys)[1:] == [f"`l` lacks 2 {LACKS}"]
    assert len(_told(f"{keys} l.3.attention.bias")) == 1


def test_the_warnings_are_spelt_for_their_reader():
    found = renumberings({"l.1.w": ONE}, ["l.1.w"])
    (warning,) = renumbering_warnings(found)
    assert spelt(warning, TOML).endswith(", reindex = false keeps the numbers")
    assert spelt(warning, FLAGS).endswith(", --no-reindex keeps the numbers")


def test_says_what_changed_of_keys_with_thousands_of_parts_in_the_memory_that_renaming_takes():
    keys = {f"{i}{'.7' * 1000}.w": ONE for i in range(0, 100, 2)}

    def tell() -> str:
        found = renumberings(keys, keys)
        return "".join([renumbering_note(found), *map(str, renumbering_warnings(found))])

    peaks = []
    for step in (lambda: reindex_keys(keys), tell):
        tracemalloc.start()
        try:
            step()
            peaks.append(tracemalloc.get_traced_memory()[1])
        finally:
            tracemalloc.stop()
    assert peaks[1] < 1.2 * peaks[0]
    assert len(tell()) < 4_000


@given(KEYS)
def test_something_is_said_exactly_where_a_key_changes(keys):
    shapes = dict.fromkeys(keys, ONE)
    changed = [key for key, new in reindex_keys(keys).items() if new != key]
    assert bool(renumberings(shapes, keys)) == bool(changed)
    for key in keys:
        said = bool(renumberings(shapes, [key]))
        assert said or key not in changed
