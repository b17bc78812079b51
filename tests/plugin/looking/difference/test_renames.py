"""Tensors under other keys: found by their contents, told by rules, and never paired where two could be meant."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest
from hypothesis import assume, given
from hypothesis import strategies as st

from hatch_wheelweights.looking.difference import renames
from hatch_wheelweights.looking.difference.renames import Lone, Pairs, Rename, paired

if TYPE_CHECKING:
    from collections.abc import Mapping
    from random import Random

SEGMENTS = st.sampled_from(["a", "b", "layers", "0", "1", "12", "weight", "bias", "module", "x"])
PREFIXES = st.lists(SEGMENTS, max_size=3).map(tuple)


def lones(contents: Mapping[str, object], *, plain: tuple[object, ...] = (0,)) -> dict[str, Lone]:
    """Return tensors of one shape with these contents; a content 0 is one of one value, None is none that is known."""
    return {
        key: Lone((4,), content, plain=content in plain and content is not None) for key, content in contents.items()
    }


def model(layers: int, prefix: str = "", *, zeros: bool = True) -> dict[str, object]:
    """Return the contents of a model whose biases are all 0."""
    found: dict[str, object] = {}
    for i in range(layers):
        found |= {f"{prefix}layers.{i}.weight": ("weight", i), f"{prefix}layers.{i}.bias": 0 if zeros else ("bias", i)}
    return found


def moved(keys: Mapping[str, object], old: str, new: str) -> dict[str, object]:
    return {key.replace(old, new): content for key, content in keys.items()}


def rules(pairs: Pairs) -> list[tuple[str, str, int]]:
    return [(*rule.patterns, rule.keys) for rule in pairs.rules]


@given(
    st.sets(st.lists(SEGMENTS, min_size=1, max_size=4).map(tuple), min_size=2, max_size=12),
    PREFIXES,
    PREFIXES,
    st.randoms(use_true_random=False),
)
def test_a_prefix_that_changed_is_found_and_told_as_one_rule(
    keys: set[tuple[str, ...]], old: tuple[str, ...], new: tuple[str, ...], random: Random
) -> None:
    assume(old != new and not (old and new and (old[0] == new[0] or old[-1] == new[-1])))
    named = sorted(keys)
    ours = {".".join((*old, *key)): number for number, key in enumerate(named, 1)}
    theirs = {".".join((*new, *key)): number for number, key in enumerate(named, 1)}
    assume(not ours.keys() & theirs.keys())
    found = paired(lones(ours), lones(dict(sorted(theirs.items(), key=lambda _: random.random()))))
    assert found.partners == dict(zip(ours, theirs, strict=True))
    assert found.single == frozenset()
    assert rules(found) == [(".".join((*old, "*")), ".".join((*new, "*")), len(keys))]


def test_hundreds_of_keys_are_one_rule_though_many_hold_zeros() -> None:
    ours, theirs = model(320, "module."), model(320)
    found = paired(lones(ours), lones(theirs))
    assert found == Pairs(dict(zip(ours, theirs, strict=True)), (Rename(("module.*", "*"), 640),))


@pytest.mark.parametrize(
    ("old", "new", "expected"),
    [
        ("layers.", "encoder.blocks.", [("layers.*", "encoder.blocks.*", 8)]),
        (".weight", ".gamma", [("*.weight", "*.gamma", 4)]),
        (".", ".linear.", None),
    ],
)
def test_segments_that_changed_are_a_rule(old: str, new: str, expected: list[tuple[str, str, int]] | None) -> None:
    ours = {key: content for key, content in model(4, zeros=False).items() if old in key}
    theirs = moved(ours, old, new)
    found = paired(lones(ours), lones(theirs))
    assert found.partners == dict(zip(ours, theirs, strict=True))
    assert expected is None or rules(found) == expected
    assert found.undecided == ()


def test_rules_go_together_and_each_is_told_once() -> None:
    names = ("attention.self.query", "attention.self.key", "output.dense")
    new_names = ("attn.q", "attn.k", "proj")
    ours, theirs = dict[str, object](), dict[str, object]()
    for i in range(6):
        for name, new_name in zip(names, new_names, strict=True):
            for last in ("weight", "bias"):
                ours[f"encoder.layer.{i}.{name}.{last}"] = theirs[f"blocks.{i}.{new_name}.{last}"] = (i, name, last)
    found = paired(lones(ours), lones(theirs))
    assert found.partners == dict(zip(ours, theirs, strict=True))
    assert rules(found) == [
        ("encoder.layer.*", "blocks.*", 36),
        ("*.attention.self.query.*", "*.attn.q.*", 12),
        ("*.attention.self.key.*", "*.attn.k.*", 12),
        ("*.output.dense.*", "*.proj.*", 12),
    ]
    assert found.single == frozenset()


def test_layers_that_were_renumbered_are_told_by_their_numbers() -> None:
    ours = {f"layers.{i}.{name}": (i, name) for i in (10, 11) for name in ("weight", "bias")}
    theirs = {f"layers.{i - 10}.{name}": (i, name) for i in (10, 11) for name in ("weight", "bias")}
    found = paired(lones(ours), lones(theirs))
    assert rules(found) == [("layers.10.*", "layers.0.*", 2), ("layers.11.*", "layers.1.*", 2)]


def test_a_tensor_with_another_content_or_shape_follows_the_rule() -> None:
    ours = lones(model(3, "module.")) | {"module.head": Lone((4,), "old"), "module.top": Lone((4,), "x")}
    theirs = lones(model(3)) | {"head": Lone((4,), "new"), "top": Lone((5,), "y")}
    found = paired(ours, theirs)
    assert found.partners["module.head"] == "head"
    assert found.partners["module.top"] == "top"
    assert rules(found) == [("module.*", "*", 8)]


def test_a_shape_that_agrees_comes_before_the_rule() -> None:
    """`*.w` -> `*.v` would be a pair of `b.w` and `b.v`, which have other shapes; equal contents know better."""
    ours = lones({"a.w": 1, "c.w": 2, "b.w": 3})
    theirs = lones({"a.v": 1, "c.v": 2, "top": 3}) | {"b.v": Lone((5,), 4)}
    assert paired(ours, theirs).partners == {"a.w": "a.v", "c.w": "c.v", "b.w": "top"}


def test_zeros_alone_make_a_rule_if_several_keys_agree_in_it() -> None:
    ours = {f"module.{name}.bias": 0 for name in "abc"}
    theirs = {f"{name}.bias": 0 for name in "abc"}
    assert rules(paired(lones(ours), lones(theirs))) == [("module.*", "*", 3)]


def test_zeros_that_could_be_anything_stay_alone() -> None:
    assert paired(lones({"a": 0}), lones({"b": 0})).partners == {}
    assert paired(lones({"a": 0, "b": 0}), lones({"c": 0, "d": 0})).partners == {}
    assert paired(lones({"old.bias": 0}), lones({"new.bias": 0})).partners == {"old.bias": "new.bias"}


def test_one_content_under_one_key_on_each_side_is_a_pair_whatever_the_keys() -> None:
    found = paired(lones({"a": 1, "b.c": 2}), lones({"x.y": 1, "z": 2}))
    assert found.partners == {"a": "x.y", "b.c": "z"}
    assert found.single == {"a", "b.c"}
    assert found.rules == ()


def test_equal_contents_that_could_be_paired_in_two_ways_are_told_and_left() -> None:
    found = paired(lones({"a": 1, "b": 1}), lones({"c": 1}))
    assert found == Pairs({}, undecided=((("a", "b"), ("c",)),))


def test_keys_that_would_take_minutes_to_pair_are_told_and_left(monkeypatch: pytest.MonkeyPatch) -> None:
    ours = {f"l.{i}.w": "same" for i in range(4)}
    theirs = {f"m.{i}.w": "same" for i in range(4)}
    assert len(paired(lones(ours), lones(theirs)).partners) == 4
    monkeypatch.setattr(renames, "MAX_APPLIED", 25)
    found = paired(lones(ours), lones(theirs))
    assert found.partners == {}
    assert found.undecided == ((tuple(ours), tuple(theirs)),)


def test_a_tied_tensor_of_which_one_key_is_left_follows_the_rule() -> None:
    ours = model(3, "module.") | {"module.embed": "e", "module.head": "e"}
    theirs = model(3) | {"embed": "e"}
    found = paired(lones(ours), lones(theirs))
    assert found.partners["module.embed"] == "embed"
    assert "module.head" not in found.partners


@pytest.mark.parametrize("ends", [("weight", "bias"), ("weight", "bias", "running_mean", "running_var")])
def test_a_segment_that_was_put_in_is_one_rule_from_either_end(ends: tuple[str, ...]) -> None:
    """The contents of norms are plain, and no rule is theirs: `*.weight` says nothing of `*.running_mean`."""
    ours = {f"{i}.{end}": (i, end) if i % 2 else 0 for i in range(6) for end in (ends if i % 2 == 0 else ends[:2])}
    theirs = moved(ours, ".", ".inner.")
    there, back = paired(lones(ours), lones(theirs)), paired(lones(theirs), lones(ours))
    assert there.partners == dict(zip(ours, theirs, strict=True))
    assert rules(there) == [("*.*", "*.inner.*", len(ours))]
    assert back.partners == {partner: key for key, partner in there.partners.items()}
    assert rules(back) == [("*.inner.*", "*.*", len(ours))]


def test_names_and_shapes_make_a_rule_where_no_content_is_equal() -> None:
    ours = {key: ("old", content) for key, content in model(5, "module.").items()}
    found = paired(lones(ours), lones(dict(model(5).items())))
    assert found.by_names
    assert rules(found) == [("module.*", "*", 10)]
    unread = paired(lones(dict.fromkeys(ours)), lones(dict.fromkeys(model(5))))
    assert (unread.partners, unread.by_names) == (found.partners, True)


def test_names_alone_pair_no_models_that_have_little_in_common() -> None:
    ours = {"a.one": 1, "a.two": 2, "b.three": 3, "c.four": 4, "d.five": 5}
    theirs = {"x.one": 6, "y.six": 7, "y.seven": 8, "z.eight": 9, "z.nine": 10}
    assert paired(lones(ours), lones(theirs)).partners == {}


def test_two_keys_never_become_one() -> None:
    ours = lones(model(3, "a.")) | {"a.w": Lone((4,), "1"), "b.w": Lone((4,), "2")}
    theirs = lones(model(3)) | {"w": Lone((4,), "3")}
    found = paired(ours, theirs)
    assert len(set(found.partners.values())) == len(found.partners)
    assert found.partners["a.w"] == "w"


@given(
    st.dictionaries(st.lists(SEGMENTS, min_size=1, max_size=4).map(".".join), st.integers(0, 4), max_size=14),
    st.dictionaries(st.lists(SEGMENTS, min_size=1, max_size=4).map(".".join), st.integers(0, 4), max_size=14),
)
def test_every_key_has_one_partner_at_most_and_the_same_one_in_the_other_order_of_the_files(
    ours: dict[str, int], theirs: dict[str, int]
) -> None:
    first, second = lones(ours), lones(theirs)
    found, back = paired(first, second), paired(second, first)
    assert found.partners == {key: partner for partner, key in back.partners.items()}
    assert sorted(rules(found)) == sorted((old, new, count) for new, old, count in rules(back))
    assert {found.partners[key] for key in found.single} == back.single
    assert found.by_names == back.by_names
    assert {tuple(map(frozenset, each)) for each in found.undecided} == {
        tuple(map(frozenset, reversed(each))) for each in back.undecided
    }
    assert not found.partners.items() & {(key, key) for key in ours}
    assert found.partners.keys() <= first.keys()
    assert set(found.partners.values()) <= second.keys()
    assert len(set(found.partners.values())) == len(found.partners)
    assert found.single <= found.partners.keys()
    assert all(first[key].shape == second[partner].shape for key, partner in found.partners.items())


def test_the_rules_are_the_same_in_either_order_where_two_ways_take_as_many_words() -> None:
    ours = lones({"m": 0, "3.b.2": 1, "layers.m.bias": 2, "3.layers.weight": 3, "layers": 4})
    theirs = lones({"m.x": 0, "4.b.3.x": 1, "layers.m.bias.x": 2, "4.layers.weight.x": 3, "layers.x": 4})
    found, back = paired(ours, theirs), paired(theirs, ours)
    assert {Rename(rule.patterns[::-1], rule.keys) for rule in found.rules} == {*back.rules}
