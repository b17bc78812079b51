"""What kind of value a file holds: a value from a pickle or from JSON can be anything, and each test narrows it."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, TypeGuard, cast

if TYPE_CHECKING:
    from collections.abc import Iterable, Sized

__all__ = ["are_ints", "is_dict", "is_list", "is_set", "is_tuple"]


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
    return all(type(value) is int for value in values)
