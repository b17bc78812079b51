"""Laws of binding over generated trees of dataclasses."""

from __future__ import annotations

import dataclasses
from typing import Any

import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray

import wheelweights as ww
from wheelweights.binding import bind, bind_report

Array = NDArray[Any]


def flatten(tree: Any, key: str = "") -> dict[str, Array]:
    """Return the arrays of a tree under the keys that torch gives them."""
    if isinstance(tree, np.ndarray):
        return {key: tree}
    if isinstance(tree, dict):
        entries = list(tree.items())
    elif isinstance(tree, list | tuple):
        entries = [(str(i), item) for i, item in enumerate(tree)]
    elif dataclasses.is_dataclass(tree):
        entries = [(f.name, getattr(tree, f.name)) for f in dataclasses.fields(tree)]
    else:
        return {}
    return {
        inner: array
        for name, item in entries
        for inner, array in flatten(item, f"{key}.{name}" if key else name).items()
    }


NAMES = st.sampled_from(["weight", "bias", "a", "b", "norm", "layers"])
KEYS = NAMES | st.just("7")
ARRAYS = st.integers(0, 1000).map(lambda number: np.full((number % 3, 2), number))


def struct_of(fields: dict[str, tuple[Any, Any]]) -> tuple[Any, Any]:
    """Return a dataclass and a strategy for its instances; its first array makes it visible in a record."""
    cls = dataclasses.make_dataclass(
        "Made", [("own", NDArray[Any]), *((name, hint) for name, (hint, _) in fields.items())]
    )
    return cls, st.builds(cls, own=ARRAYS, **{name: values for name, (_, values) in fields.items()})


def containers_of(inner: st.SearchStrategy[tuple[Any, Any]]) -> st.SearchStrategy[tuple[Any, Any]]:
    optional = inner.map(lambda pair: (pair[0] | None, st.none() | pair[1]))
    few: Any = {"min_size": 1, "max_size": 3}
    return st.one_of(
        inner.map(lambda pair: (list.__class_getitem__(pair[0]), st.lists(pair[1], **few))),
        inner.map(lambda pair: (tuple.__class_getitem__((pair[0], ...)), st.lists(pair[1], **few).map(tuple))),
        inner.map(lambda pair: (dict.__class_getitem__((str, pair[0])), st.dictionaries(KEYS, pair[1], **few))),
        st.lists(inner, **few).map(fixed_of),
        st.dictionaries(NAMES, inner | optional, max_size=3).map(struct_of),
    )


def fixed_of(pairs: list[tuple[Any, Any]]) -> tuple[Any, Any]:
    return tuple.__class_getitem__(tuple(hint for hint, _ in pairs)), st.tuples(*(values for _, values in pairs))


KINDS = st.recursive(st.just((NDArray[Any], ARRAYS)), containers_of, max_leaves=6)
TREES = (
    st.dictionaries(NAMES, KINDS, max_size=3).map(struct_of).flatmap(lambda pair: st.tuples(st.just(pair[0]), pair[1]))
)


def same(one: Any, other: Any) -> bool:
    if isinstance(one, np.ndarray):
        return one is other
    if dataclasses.is_dataclass(one):
        return type(one) is type(other) and all(
            same(getattr(one, f.name), getattr(other, f.name)) for f in dataclasses.fields(one)
        )
    if isinstance(one, dict):
        return one.keys() == other.keys() and all(same(one[key], other[key]) for key in one)
    if isinstance(one, list | tuple):
        return type(one) is type(other) and len(one) == len(other) and all(map(same, one, other))
    return one is other


@settings(deadline=None)
@given(TREES, st.randoms(use_true_random=False))
def test_binding_undoes_flattening(tree_of: tuple[Any, Any], random: Any) -> None:
    cls, tree = tree_of
    flat = list(flatten(tree).items())
    random.shuffle(flat)
    assert same(bind(cls, dict(flat)), tree)
    other = bind(tree, {key: array.copy() for key, array in flat})
    assert same(bind(other, dict(flat)), tree)


@settings(deadline=None)
@given(TREES)
def test_the_state_of_a_tree_is_what_binds_to_it(tree_of: tuple[Any, Any]) -> None:
    cls, tree = tree_of
    state = ww.state_dict(tree)
    expected = flatten(tree)
    assert state.keys() == expected.keys()
    assert all(state[key] is array for key, array in expected.items())
    for target in (cls, tree, lambda: tree):
        bound: Any = bind(target, state)
        assert same(bound, tree)
        assert {key: id(array) for key, array in ww.state_dict(bound).items()} == {
            key: id(array) for key, array in state.items()
        }


@settings(deadline=None)
@given(TREES, st.data())
def test_any_lost_key_is_refused_by_an_instance(tree_of: tuple[Any, Any], data: st.DataObject) -> None:
    _, tree = tree_of
    state = ww.state_dict(tree)
    lost = data.draw(st.sampled_from(sorted(state)))
    less = {key: array for key, array in state.items() if key != lost}
    report = bind_report(tree, less)
    assert not report.fits
    more = {**state, f"{lost}_more": state[lost]}
    assert bind_report(tree, more).unexpected_keys == [f"{lost}_more"]


@settings(deadline=None)
@given(TREES, st.data())
def test_partial_binds_just_what_is_there(tree_of: tuple[Any, Any], data: st.DataObject) -> None:
    _, tree = tree_of
    flat = flatten(tree)
    chosen = {key: flat[key].copy() for key in data.draw(st.sets(st.sampled_from(sorted(flat)), min_size=1))}
    report = bind_report(tree, chosen)
    assert set(report.bound) | set(report.unexpected_keys) == set(chosen)
    if report.bound and not report.mismatches:
        bound = flatten(bind(tree, chosen, partial=True))
        assert bound.keys() == flat.keys()
        assert {id(array) for array in bound.values()} >= {id(chosen[key]) for key in report.bound}
        assert len(report.bound) + len(report.missing) == len(flat)
