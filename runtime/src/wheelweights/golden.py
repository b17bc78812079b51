"""The golden record: inputs of a model and of its parts, and the outputs that torch gave for them.

It lies beside the record of the model, `model.golden.mpk` beside `model.mpk`. Its keys are `input` and `output` for the
whole model, and `PART/input` and `PART/output` for a part (`encoder.layers.3/output`). Where there are several arrays,
the places of each follow, with dots: `input.0` (a positional argument), `input.mask` (a keyword), `output.1.0` (the
first item of the second output). The parts are in the order in which they returned: an inner part comes before the part
that it belongs to.

Its metadata says which record it was made for: `golden` holds, as `tensors`, the digest of that record's tensors.
"""

from __future__ import annotations

import dataclasses
import re
from typing import TYPE_CHECKING, Any, Final, NamedTuple, TypeVar

from wheelweights.errors import backticked, listed, quoted
from wheelweights.plain import is_mapping, is_sequence

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Mapping

__all__ = [
    "MODEL",
    "Name",
    "arguments",
    "by_part",
    "golden_path",
    "input_place",
    "leaves",
    "name_of",
    "names_fault",
]

T = TypeVar("T")

MODEL: Final = ""  # the part that is the whole model
MAX_PLACES: Final = 1_000  # the arguments of a call, or the items of one

_NAME: Final = re.compile(r"(?:(?P<part>[^/]+)/)?(?P<side>input|output)(?P<places>(?:\.[^./]+)*)")
_PLACE: Final = re.compile("0|[1-9][0-9]{0,8}")


def golden_path(path: str) -> str:
    """Return the path or name of the golden record that belongs to the record at a path."""
    return f"{path.removesuffix('.mpk')}.golden.mpk"


# Names


class Name(NamedTuple):
    """The name of one array: `part` is `MODEL` or the name of a part, `side` "input" or "output"."""

    part: str
    side: str
    places: tuple[str, ...] = ()

    def __str__(self) -> str:
        whole = ".".join((self.side, *self.places))
        return f"{self.part}/{whole}" if self.part else whole


def name_of(key: str) -> Name | None:
    """Return what the key of an array says, or None if it is no such key."""
    found = _NAME.fullmatch(key)
    return found and Name(found["part"] or MODEL, found["side"], tuple(found["places"].split(".")[1:]))


def by_part(arrays: Mapping[str, T]) -> dict[str, dict[Name, T]]:
    """Return the arrays of each part in their order, the parts in theirs; keys that are no names are left out."""
    parts: dict[str, dict[Name, T]] = {}
    for key, array in arrays.items():
        if (name := name_of(key)) is not None:
            parts.setdefault(name.part, {})[name] = array
    return parts


def names_fault(keys: Iterable[str]) -> str | None:
    """Return why arrays with these keys are not the inputs and outputs of a model and its parts, or None."""
    keys = list(keys)
    if odd := [key for key in keys if name_of(key) is None]:
        expected = "expected arrays named `input`, `output`, `MODULE/input` and `MODULE/output`"
        return f"{expected}, with `.0` or `.NAME` behind where there are several; found {listed(odd)}"
    parts = by_part(dict.fromkeys(keys))
    for part in dict.fromkeys([MODEL, *parts]):
        if fault := _part_fault(part, parts.get(part, {})):
            return fault
    return None


def _part_fault(part: str, names: Iterable[Name]) -> str | None:
    names = list(names)
    for side in ("input", "output"):
        if not any(name.side == side for name in names):
            return f"no {backticked(Name(part, side))} among its arrays"
    ends = set(names)
    for name in names:
        above = {name._replace(places=name.places[:depth]) for depth in range(len(name.places))}
        if clash := above & ends:
            return f"expected one array or several, found {backticked(clash.pop())} and {backticked(name)}"
        if any(_PLACE.fullmatch(place) and int(place) >= MAX_PLACES for place in name.places):
            return f"expected places below {MAX_PLACES:,}, found {backticked(name)}"
    return None


# Structures: what a model takes and gives, as arrays with names, and back


def leaves(value: object, name: Name) -> Iterator[tuple[Name, object]]:
    """Yield what a structure holds, each with its name: items of tuples and lists by number, of mappings by key.

    Dataclasses are taken by their fields. None is left out, as torch's outputs have it where there is nothing. What is
    none of these is yielded as it is.
    """
    items: Iterable[tuple[object, object]]
    if value is None:
        return
    if is_sequence(value):
        items = enumerate(value)
    elif is_mapping(value):
        items = value.items()
    elif dataclasses.is_dataclass(value) and not isinstance(value, type):
        items = ((field.name, getattr(value, field.name, None)) for field in dataclasses.fields(value))
    else:
        yield name, value
        return
    for place, item in items:
        yield from leaves(item, name._replace(places=(*name.places, str(place))))


def arguments(inputs: Mapping[Name, Any]) -> tuple[list[Any], dict[str, Any]]:
    """Return the positional and the keyword arguments that the inputs of one part are.

    `input` alone is the only argument. Below it, places that are all numbers make a tuple, others a dict. A number that
    is missing between others is None.
    """
    if len(inputs) == 1 and not next(iter(inputs)).places:
        return list(inputs.values()), {}
    tree: dict[str, Any] = {}
    for name, value in inputs.items():
        *above, last = name.places
        branch = tree
        for place in above:
            branch = branch.setdefault(place, {})
        branch[last] = value
    numbered = {place: value for place, value in tree.items() if _PLACE.fullmatch(place)}
    named = {place: _built(value) for place, value in tree.items() if place not in numbered}
    return list(_in_places(numbered)), named


def _built(value: Any) -> Any:
    if not is_mapping(value):
        return value
    if all(_PLACE.fullmatch(str(place)) for place in value):
        return tuple(_in_places(value))
    return {place: _built(item) for place, item in value.items()}


def _in_places(items: Mapping[str, Any]) -> Iterator[Any]:
    places = range(1 + max(map(int, items), default=-1))
    return (_built(items.get(str(place))) for place in places)


def input_place(place: object) -> str:
    """Return a keyword or a key of an argument as a place in a name; raise ValueError for one that has no such form."""
    if not isinstance(place, str) or not re.fullmatch("[^./]+", place) or _PLACE.fullmatch(place):
        raise ValueError(f"expected a name without dots and slashes, found {quoted(place)}")
    return place
