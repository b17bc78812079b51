"""Keys that are in both files and mean other tensors there: layers that were put in, taken out, or changed places."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any
from unittest.mock import ANY

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

import wheelweights as ww
from hatch_wheelweights import diff
from hatch_wheelweights.looking.difference import diff as comparing
from hatch_wheelweights.looking.difference.values import content_of

if TYPE_CHECKING:
    import pytest

    from hatch_wheelweights import LazyTensor
    from hatch_wheelweights.looking.difference.diff import Difference
    from hatch_wheelweights.looking.difference.values import Content


def layer(number: int, width: int = 4) -> dict[str, Any]:
    """Return the tensors of a layer: a weight of its own, and a bias and a norm as every layer has them."""
    weight = np.random.default_rng(number).normal(size=(width, width))
    return {"weight": weight, "bias": np.zeros(width), "norm": np.ones(width), "steps": np.array(7)}


def model(*layers: dict[str, Any], **more: Any) -> dict[str, Any]:
    return {f"layers.{i}.{name}": array for i, one in enumerate(layers) for name, array in one.items()} | more


def compared(ours: dict[str, Any], theirs: dict[str, Any], **options: Any) -> Difference:
    """Compare in both orders, which have to find the same pairs."""
    ww.write_record("a.mpk", ours)
    ww.write_record("b.mpk", theirs)
    there, back = diff("a.mpk", "b.mpk", **options), diff("b.mpk", "a.mpk", **options)
    assert {(one.key, one.new_key, one.state) for one in there.both} == {
        (one.new_key, one.key, one.state) for one in back.both
    }
    assert there.only == back.only[::-1]
    assert set(rules(there)) == {(new, old, keys) for old, new, keys in rules(back)}
    assert there.counts == back.counts or options
    assert sorted(there.pairs.undecided) == sorted(both[::-1] for both in back.pairs.undecided)
    for side, keys in enumerate((ours, theirs)):  # each tensor is in one place
        both = [(one.key, one.new_key)[side] for one in there.both]
        assert sorted([*both, *there.only[side]]) == sorted(keys)
    return there


def rules(found: Difference) -> list[tuple[str, str, int]]:
    return [(*rule.patterns, rule.keys) for rule in found.pairs.rules]


def test_a_layer_that_was_taken_out_is_all_that_one_file_lacks() -> None:
    found = compared(model(*map(layer, range(6))), model(*(layer(i) for i in range(6) if i != 2)))
    assert list(found.only[0]) == [f"layers.2.{name}" for name in layer(0)]
    assert (found.only[1], found.differing) == ({}, [])
    assert rules(found) == [(f"layers.{i}.*", f"layers.{i - 1}.*", 4) for i in (3, 4, 5)]


def test_layers_of_other_shapes_are_known_again() -> None:
    widths = (3, 4, 5, 6, 7)
    ours = [layer(width, width) for width in widths]
    found = compared(model(*ours), model(layer(9, 9), *ours))
    assert list(found.only[1]) == [f"layers.0.{name}" for name in layer(0)]
    assert (found.only[0], found.differing) == ({}, [])
    assert sorted(rules(found)) == [(f"layers.{i}.*", f"layers.{i + 1}.*", 4) for i in range(5)]


def test_a_layer_at_the_front_of_a_sequence_moves_all_of_it() -> None:
    """Where convolutions and norms alternate, some shapes agree with those of another layer and some do not."""
    rng = np.random.default_rng(0)
    layers: list[dict[str, Any]] = []
    for channels, filters in ((3, 8), (8, 16), (16, 16)):
        layers.append({"weight": rng.normal(size=(filters, channels)), "bias": rng.normal(size=filters)})
        layers.append({"weight": rng.normal(size=filters), "bias": np.zeros(filters), "steps": np.array(7)})
    found = compared(model(*layers), model({"weight": rng.normal(size=(3, 3)), "bias": np.ones(3)}, *layers))
    assert {one.key: one.new_key for one in found.both} == {
        f"layers.{i}.{name}": f"layers.{i + 1}.{name}" for i, one in enumerate(layers) for name in one
    }
    assert (found.only, found.differing) == (({}, dict.fromkeys(["layers.0.weight", "layers.0.bias"], ANY)), [])


def test_two_tensors_that_changed_places_are_renamed() -> None:
    arrays = [layer(i)["weight"] for i in range(3)]
    found = compared({"q": arrays[0], "k": arrays[1], "v": arrays[2]}, {"q": arrays[1], "k": arrays[0], "v": arrays[2]})
    assert {one.key: one.new_key for one in found.both} == {"q": "k", "k": "q", "v": "v"}
    assert (found.equal, found.equal_but_for_names) == (False, True)


def test_small_tensors_that_layers_share_move_with_them() -> None:
    """Torch copies the first layer of a transformer: the biases of all are equal, and not of one value."""
    bias = np.arange(4.0)
    ours = [layer(i) | {"bias": bias} for i in range(6)]
    new = layer(9) | {"bias": bias + 1, "norm": np.full(4, 2.0)}
    found = compared(model(*ours), model(*ours[:2], new, *ours[2:]))
    assert rules(found) == [(f"layers.{i}.*", f"layers.{i + 1}.*", 4) for i in (2, 3, 4, 5)]
    assert list(found.only[1]) == [f"layers.2.{name}" for name in layer(0)]
    assert (found.only[0], found.differing) == ({}, [])


def test_what_was_trained_on_stays_under_its_key() -> None:
    """Beside layers that moved, a tensor that is nowhere else is compared with that of its own key."""
    head, trained = np.ones((2, 4)), np.full((2, 4), 2.0)
    ours, theirs = model(*map(layer, range(5)), head=head), model(*map(layer, (0, 2, 3, 4)), head=trained)
    found = compared(ours, theirs)
    assert [(one.key, one.new_key) for one in found.differing] == [("head", "head")]
    assert list(found.only[0]) == [f"layers.1.{name}" for name in layer(0)]


def test_one_content_that_is_elsewhere_too_moves_nothing() -> None:
    ours = {"a": np.arange(4.0), "b": np.arange(4.0) + 1, "c": np.ones(4)}
    found = compared(ours, ours | {"a": np.arange(4.0) + 1, "b": np.arange(4.0) + 2})
    assert [(one.key, one.new_key, one.state) for one in found.both] == [
        ("a", "a", "different"), ("b", "b", "different"), ("c", "c", "equal"),
    ]  # fmt: skip


def test_numbers_and_tensors_of_one_value_move_nothing() -> None:
    ours = {f"{i}.steps": np.array(i) for i in range(9)} | {f"{i}.bias": np.full(3, float(i)) for i in range(9)}
    theirs = {f"{i}.steps": np.array(i + 1) for i in range(9)} | {f"{i}.bias": np.full(3, i + 1.0) for i in range(9)}
    assert all(one.key == one.new_key for one in compared(ours, theirs).both)


def test_what_stays_under_its_key_is_not_left_unpaired() -> None:
    same = np.arange(4.0)
    ours = {str(i): same if i % 2 else layer(i)["norm"] * i + same for i in range(6)}
    theirs = {str(i): layer(i)["norm"] * i - same if i % 2 else same for i in range(6)}
    found = compared(ours, theirs)
    assert len(found.both) == 6
    assert found.pairs.undecided == ()


def test_no_file_is_read_again_where_nothing_moved(monkeypatch: pytest.MonkeyPatch) -> None:
    read: list[str] = []

    def noted(tensor: LazyTensor) -> Content:
        read.append(str(tensor.shape))
        return content_of(tensor)

    monkeypatch.setattr(comparing, "content_of", noted)
    ours = model(*map(layer, range(5)), head=np.ones((2, 4)))
    rng = np.random.default_rng(99)
    compared(
        ours, {key: array + rng.normal(size=array.shape) for key, array in ours.items()} | {"head": np.ones((3, 4))}
    )
    assert read == []


ARRAYS = (
    np.array(7), np.array(7.0), np.zeros(2), np.ones(2), np.zeros(0), np.zeros((0, 2)), np.array([-0.0, 0.0]),
    np.array([np.nan, 1.0]), np.array([1.0, 2.0], "f4"), np.array([True, False]), *np.arange(24.0).reshape(4, 3, 2),
)  # fmt: skip
KEYS = st.lists(st.sampled_from(["a", "b", "layers", "0", "1", "2", "weight"]), min_size=1, max_size=3).map(".".join)
FILES = st.dictionaries(KEYS, st.sampled_from(ARRAYS), max_size=12)


def renumbered(key: str, by: int) -> str:
    return ".".join(str(int(part) + by) if part.isdecimal() else part for part in key.split("."))


@given(FILES, FILES, st.sampled_from(["", "module."]), st.integers(0, 2), st.sets(KEYS, max_size=4))
def test_each_tensor_is_in_one_place_and_the_order_of_the_files_does_not_matter(
    ours: dict[str, Any], more: dict[str, Any], prefix: str, by: int, without: set[str]
) -> None:
    theirs = {prefix + renumbered(key, by): array for key, array in ours.items() if key not in without} | more
    for one in compared(ours, theirs).both:
        left, right = ours[one.key], theirs[one.new_key]
        is_equal = left.dtype == right.dtype and np.array_equal(left, right, equal_nan=left.dtype.kind == "f")
        assert (one.state == "equal") == is_equal
