"""The numbers of a list are the places of its items, or 0 to n-1; containers of every kind that bind."""

from __future__ import annotations

import collections
import dataclasses
from collections import OrderedDict
from collections.abc import Callable, Mapping, MutableMapping, MutableSequence, Sequence
from dataclasses import dataclass, field
from typing import Annotated, Any, Generic, NamedTuple, TypeVar

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from numpy.typing import NDArray

import wheelweights as ww
from wheelweights.names import missing_from, ranges_of, spans

Array = NDArray[Any]
T = TypeVar("T")
S = TypeVar("S")


def arrays(*keys: str) -> dict[str, Array]:
    return {key: np.full(2, i, np.float32) for i, key in enumerate(keys)}


def layers(*numbers: int) -> dict[str, Array]:
    return arrays(*(f"layers.{number}.{name}" for number in numbers for name in ("weight", "scale")))


@dataclass
class Block:
    weight: Array
    scale: Array


@dataclass
class Relu:
    slope: float = 0.0


@dataclass
class Net:
    layers: list[Block]


@dataclass
class Three:
    layers: Annotated[list[Block], ww.Length(3)]


@dataclass
class Mixed:
    layers: list[Block | Relu]


@dataclass
class MixedThree:
    layers: Annotated[list[Block | Relu], ww.Length(3)]


def a_block() -> Block:
    return Block(np.zeros(2), np.zeros(2))


def model(hint: Any, **options: Any) -> Any:
    return dataclasses.make_dataclass("Model", [("x", hint, field(**options))])


def refusal(target: Any, record: Mapping[str, Array], **options: Any) -> list[str]:
    """Return the lines of the error."""
    with pytest.raises(ww.BindError) as caught:
        ww.bind(target, record, **options)
    return str(caught.value).splitlines()


# Holes

BUILT = (
    "  Bind the record that was made for this model: a missing item is a lost layer "
    "(gaps that are meant are closed by reindex at build time)."
)


@pytest.mark.parametrize(
    ("target", "numbers", "fault"),
    [
        (Net, (0, 1, 3), "Net.layers: expected items 0 to 3, found 0, 1, 3 in `layers`: 2 is missing"),
        (Net, (1,), "Net.layers: expected items 0, 1, found 1 in `layers`: 0 is missing"),
        (Net, (16, 17), "Net.layers: expected items 0 to 17, found 16, 17 in `layers`: 0 to 15 are missing"),
        (
            Net,
            (0, 2, 99_999_999),
            "Net.layers: expected items 0 to 99999999, found 0, 2, 99999999 in `layers`: 1, 3 to 99999998 are missing",
        ),
        (Three, (0, 1), "Three.layers: expected items 0 to 2, found 0, 1 in `layers`: 2 is missing"),
        (Three, (0, 1, 2, 3), "Three.layers: expected items 0 to 2, found 0 to 3 in `layers`: 3 is left over"),
        (Three, (0, 1, 3), "Three.layers: expected items 0 to 2, found 0, 1, 3 in `layers`: 2 is missing"),
        (
            MixedThree,
            (0, 4, 5),
            "MixedThree.layers: expected items 0 to 2, found 0, 4, 5 in `layers`: 1, 2 are missing",
        ),
        (
            Net([a_block(), a_block(), a_block()]),
            (0, 1, 3),
            "Net.layers: expected items 0 to 2, found 0, 1, 3 in `layers`: 2 is missing",
        ),
        (
            Net([a_block(), a_block(), a_block()]),
            (5, 7, 11),
            "Net.layers: expected items 0 to 2, found 5, 7, 11 in `layers`: 0 to 2 are missing",
        ),
        (
            Mixed([a_block(), Relu(), a_block()]),
            (0, 3),
            "Mixed.layers: expected items 0, 2, found 0, 3 in `layers`: 2 is missing",
        ),
    ],
    ids=lambda value: str(value) if isinstance(value, tuple) else None,
)
@pytest.mark.parametrize("partial", [False, True], ids=["strict", "partial"])
def test_a_hole_is_an_error_that_names_it(target: Any, numbers: tuple[int, ...], fault: str, partial: bool) -> None:
    name = fault.partition(".")[0]
    lines = refusal(target, layers(*numbers), partial=partial)
    assert lines == [f"{name} does not fit the state_dict: 1 numbers mismatch", f"  {fault}", BUILT]


def test_a_hole_is_in_the_report_as_values() -> None:
    report = ww.bind_report(Net, layers(0, 1, 3))
    assert report.mismatches == [
        ww.binding.Mismatch("numbers", "Net.layers", "layers", "items 0 to 3", "0, 1, 3", "2 is missing")
    ]
    assert report.missing_keys == report.unexpected_keys == []
    instance = ww.bind_report(Net([a_block(), a_block(), a_block()]), layers(0, 1, 3))
    assert [one.note for one in instance.mismatches] == ["2 is missing"]
    assert instance.missing_keys == instance.unexpected_keys == []


def test_a_list_that_must_have_items_and_has_none_names_their_keys_too() -> None:
    lines = refusal(Three, {})
    assert lines[:4] == [
        "Three does not fit the state_dict: 1 numbers mismatch, 2 missing keys",
        "  Three.layers: expected items 0 to 2, found none in `layers`: 0 to 2 are missing",
        "  Three.layers[0].weight: missing `layers.0.weight`",
        "  Three.layers[0].scale: missing `layers.0.scale`",
    ]


def test_an_instance_takes_the_places_of_its_items_or_numbers_without_gaps() -> None:
    net = Mixed([a_block(), Relu(0.5), Relu(), a_block()])
    for numbers in [(0, 3), (0, 1)]:
        record = layers(*numbers)
        bound = ww.bind(net, record)
        assert [type(layer) for layer in bound.layers] == [Block, Relu, Relu, Block]
        assert ww.state_dict(bound)["layers.3.weight"] is record[f"layers.{numbers[1]}.weight"]
        assert bound.layers[1] is net.layers[1]


def test_an_instance_names_the_items_that_the_record_lacks_or_has_beyond_it() -> None:
    net = Net([a_block(), a_block(), a_block()])
    assert refusal(net, layers(0, 2))[:3] == [
        "Net does not fit the state_dict: 2 missing keys",
        "  Net.layers[1].weight: missing `layers.1.weight`",
        "  Net.layers[1].scale: missing `layers.1.scale`",
    ]
    assert refusal(net, layers(0, 1, 2, 3))[1] == "  unexpected: `layers.3.scale`, `layers.3.weight`"
    assert ww.bind(net, layers(0, 2), partial=True).layers[1].weight is net.layers[1].weight


@pytest.mark.parametrize(
    ("target", "numbers", "kinds"),
    [
        (Mixed, (0, 2), [Block, Relu, Block]),
        (Mixed, (0, 1), [Block, Block]),
        (Mixed, (3,), [Relu, Relu, Relu, Block]),
        (MixedThree, (0,), [Block, Relu, Relu]),
        (MixedThree, (), [Relu, Relu, Relu]),
        (MixedThree, (0, 1, 2), [Block, Block, Block]),
    ],
    ids=str,
)
def test_where_items_without_keys_are_possible_a_gap_is_one(target: Any, numbers: Any, kinds: list[type]) -> None:
    assert [type(layer) for layer in ww.bind(target, layers(*numbers)).layers] == kinds


def test_none_fills_a_gap_where_it_is_declared() -> None:
    record = arrays("x.0", "x.2")
    assert [item is None for item in ww.bind(model(list[Array | None]), record).x] == [False, True, False]


def test_a_number_cannot_ask_for_more_items_than_a_model_has() -> None:
    report = ww.bind_report(Mixed, layers(0, 100_000_000))
    assert [one.note for one in report.mismatches] == ["1 to 99999999 are missing"]


def test_a_fixed_tuple_takes_places_or_numbers_without_gaps() -> None:
    hint = model(tuple[Array, Relu, Block])
    for number in (1, 2):
        bound = ww.bind(hint, arrays("x.0", f"x.{number}.weight", f"x.{number}.scale")).x
        assert [type(item) for item in bound] == [np.ndarray, Relu, Block]
    assert refusal(hint, arrays("x.0", "x.3.weight", "x.3.scale"))[1] == (
        "  Model.x: expected items 0, 2, found 0, 3 in `x`: 2 is missing"
    )


def test_a_length_is_declared_for_every_kind_of_list() -> None:
    for hint in (list[Array], tuple[Array, ...], Sequence[Array]):
        declared = model(Annotated[hint, "anything", ww.Length(2)])
        assert len(ww.bind(declared, arrays("x.0", "x.1")).x) == 2
        assert refusal(declared, arrays("x.0"))[1] == "  Model.x: expected items 0, 1, found 0 in `x`: 1 is missing"
    assert ww.bind(model(Annotated[list[Array] | None, ww.Length(2)]), {}).x is None
    assert refusal(model(Annotated[list[Array] | None, ww.Length(2)]), arrays("x.0"))[1].endswith("1 is missing")
    assert ww.bind(model(Annotated[list[Array], ww.Length(0)]), {}).x == []
    assert refusal(model(Annotated[list[Array], ww.Length(1)], default_factory=list), {})[0].endswith(
        "1 numbers mismatch, 1 missing key"
    )
    assert refusal(model(Annotated[list[Array], ww.Length(0)]), arrays("x.0"))[1] == (
        "  Model.x: expected no items, found 0 in `x`: 0 is left over"
    )


def test_what_is_declared_for_a_union_holds_for_its_variants() -> None:
    assert refusal(model(Annotated[Array | None, ww.Shape(3)]), arrays("x"))[1] == (
        "  Model.x: expected (3,), found (2,) in `x`"
    )


@pytest.mark.parametrize("items", [-1, "3", None, True, 2.0], ids=str)
def test_a_length_is_a_number(items: Any) -> None:
    with pytest.raises(ww.BindError, match=r"^Length: expected a number, at least 0, found "):
        ww.Length(items)


@given(st.sets(st.integers(0, 30)), st.integers(0, 30))
def test_what_is_missing_is_the_difference(found: set[int], length: int) -> None:
    gaps = missing_from(sorted(found), range(length))
    assert [number for gap in gaps for number in gap] == sorted(set(range(length)) - found)
    assert [list(gap) for gap in gaps] == [list(gap) for gap in ranges_of(sorted(set(range(length)) - found))]
    assert missing_from(sorted(found), list(range(length))) == gaps


def test_shows_numbers_as_spans() -> None:
    assert spans(ranges_of([0, 1, 2, 4, 5, 7])) == "0 to 2, 4, 5, 7"
    assert spans(ranges_of(range(0, 40, 2))) == "0, 2, 4, 6, 8, 10, 12, 14 and 12 more"
    assert spans([]) == "none"


# Containers


class Blocks(list[Block]):
    pass


class Stack(list[T]):
    pass


class Deep(Stack[list[T]]):
    pass


class Table(dict[str, Block]):
    pass


class Pair(NamedTuple):
    first: Array
    second: Block
    third: Array | None = None


class Two(NamedTuple, Generic[T]):
    left: T
    right: list[T]


class Refusing(list[Block]):
    def __init__(self) -> None:
        super().__init__()


BLOCK = ("x.0.weight", "x.0.scale")


@pytest.mark.parametrize(
    ("hint", "keys", "kind"),
    [
        (Sequence[Block], BLOCK, list),
        (MutableSequence[Block], BLOCK, list),
        (Blocks, BLOCK, Blocks),
        (Stack[Block], BLOCK, Stack),
        (Mapping[str, Block], ("x.a.weight", "x.a.scale"), dict),
        (MutableMapping[str, Array], ("x.a", "x.b"), dict),
        (OrderedDict[str, Array], ("x.a", "x.b"), OrderedDict),
        (Table, ("x.a.weight", "x.a.scale"), Table),
        (Pair, ("x.first", "x.second.weight", "x.second.scale"), Pair),
        (Pair, ("x.0", "x.1.weight", "x.1.scale", "x.2"), Pair),
        (Two[Array], ("x.left", "x.right.0"), Two),
    ],
    ids=str,
)
def test_makes_the_container_that_is_declared(hint: Any, keys: tuple[str, ...], kind: type) -> None:
    record = arrays(*keys)
    bound = ww.bind(model(hint), record)
    assert type(bound.x) is kind
    assert set(map(id, ww.state_dict(bound).values())) == set(map(id, record.values()))
    again = ww.bind(bound, record)
    assert type(again.x) is kind
    assert ww.state_dict(again).keys() == ww.state_dict(bound).keys()


def test_named_tuples_go_by_their_names() -> None:
    pair = ww.bind(model(Pair), arrays("x.first", "x.second.weight", "x.second.scale")).x
    assert (pair.first[0], pair.second.scale[0], pair.third) == (0, 2, None)
    assert ww.bind_report(model(Pair), arrays("x.first")).missing_keys == ["x.second.weight", "x.second.scale"]
    assert ww.bind_report(model(Pair)(pair), {}).missing_keys == ["x.first", "x.second.weight", "x.second.scale"]


def test_a_variable_means_what_each_base_is_given() -> None:
    @dataclass
    class Box(Generic[T]):
        inner: T

    @dataclass
    class Full(Box[Block]):
        own: Array

    @dataclass
    class Outer(Box[list[Array]], Generic[T]):
        item: T

    @dataclass
    class Swapped(Outer[S], Generic[S, T]):
        other: T

    assert type(ww.bind(Full, arrays("inner.weight", "inner.scale", "own")).inner) is Block
    outer = ww.bind(Outer[Block], arrays("inner.0", "item.weight", "item.scale"))
    assert (type(outer.inner), type(outer.item)) == (list, Block)
    swapped = ww.bind(Swapped[Array, Block], arrays("inner.0", "item", "other.weight", "other.scale"))
    assert (type(swapped.item), type(swapped.other)) == (np.ndarray, Block)
    deep = ww.bind(model(Deep[Block]), arrays("x.0.0.weight", "x.0.0.scale")).x
    assert (type(deep), type(deep[0]), type(deep[0][0])) == (Deep, list, Block)


@pytest.mark.parametrize(
    ("hint", "shown"),
    [
        (set[Block], "set[Block]"),
        (collections.deque[Block], "deque[Block]"),
        (dict[int, Block], "dict[int, Block]"),
        (Mapping[Any, Array], "Mapping[Any, Array]"),
        (list[frozenset[Array]], "frozenset[Array]"),
        (set[Block] | None, "set[Block]"),
        (set[Block | None], "set[Block | None]"),
        (dict[tuple[int, ...], Block], "dict[tuple[int, ...], Block]"),
        (dict[Callable[[int], None], Array], "dict[Callable[[int], None], Array]"),
        (Annotated[Block, ww.Length(3)], "Annotated[Block, Length(3)]"),
        (Annotated[dict[str, Block], ww.Length(3)], "Annotated[dict[str, Block], Length(3)]"),
    ],
    ids=str,
)
def test_names_an_annotation_that_does_not_bind(hint: Any, shown: str) -> None:
    with pytest.raises(ww.BindError) as caught:
        ww.bind(model(hint), arrays("x.0", "x.1"))
    first, *_, remedy = str(caught.value).splitlines()
    assert first.startswith("Model.x")
    assert first.endswith(f": expected an annotation that binds, found `{shown}`")
    assert remedy == '  Use one of these, or field(metadata={"static": True}) for what is never in a record.'


def test_leaves_other_containers_alone_where_they_hold_no_arrays_or_are_static() -> None:
    assert ww.bind(model(set[int], default_factory=set), {}).x == set()
    cache = model(dict[int, Array], default_factory=dict, metadata={"static": True})
    assert ww.bind(cache, {}).x == {}


def test_says_when_a_container_is_not_made_from_its_items() -> None:
    with pytest.raises(
        ww.BindError, match=r"^Refusing: expected a class that is made from its items, found one that is not: "
    ):
        ww.bind(model(Refusing), arrays(*BLOCK))
