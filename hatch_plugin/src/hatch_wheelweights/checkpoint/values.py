"""What kind of value a file holds: a value from a pickle or from JSON can be anything, and each test narrows it.

A few classes tell values apart that are one in a record, because a pickle may do other things with each.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, TypeGuard, cast

if TYPE_CHECKING:
    from collections.abc import Iterable, Sized

__all__ = [
    "Bytearray",
    "Deque",
    "Ordered",
    "Python2Text",
    "are_ints",
    "is_dict",
    "is_list",
    "is_set",
    "is_tuple",
    "type_name",
]


class Ordered(dict[Any, Any]):
    """A `collections.OrderedDict`: of all dicts, the only one that may be given a state, its `attributes`."""

    __slots__ = ("attributes",)

    def __init__(self, *items: Any, **named: Any) -> None:
        super().__init__(*items, **named)
        self.attributes: dict[Any, Any] | None = None


class Deque(list[Any]):
    """A `collections.deque`: it may have a length that it never exceeds."""

    __slots__ = ("maxlen",)

    def __init__(self, items: Iterable[Any], maxlen: int | None) -> None:
        super().__init__(items)
        self.maxlen = maxlen


class Bytearray(bytes):
    """A bytearray, which no dict has as a key."""

    __slots__ = ()


class Python2Text(str):
    """A string of Python 2 beyond ASCII, which may be text in UTF-8 or bytes that look like it."""

    __slots__ = ()


def is_tuple(value: Any, *lengths: int) -> TypeGuard[tuple[Any, ...]]:
    """Tell whether a value is a tuple, of one of these lengths where any are given."""
    return isinstance(value, tuple) and (not lengths or len(cast("Sized", value)) in lengths)


def is_list(value: Any) -> TypeGuard[list[Any]]:
    """Tell whether a value is a list."""
    return isinstance(value, list)


def is_set(value: Any) -> TypeGuard[set[Any]]:
    """Tell whether a value is a set that can still grow."""
    return isinstance(value, set)


def is_dict(value: Any) -> TypeGuard[dict[Any, Any]]:
    """Tell whether a value is a dict."""
    return isinstance(value, dict)


def are_ints(values: Iterable[Any]) -> bool:
    """Tell whether all values are whole numbers; True and False are not."""
    return set(map(type, values)) <= {int}


def type_name(value: Any) -> str:
    """Return the name of a value's type as users know it: that of the class which ours only marks."""
    return next(kind.__name__ for kind in type(value).__mro__ if kind.__module__ != __name__)
