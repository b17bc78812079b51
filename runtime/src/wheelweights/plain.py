"""Plain containers, told apart: an `isinstance` alone leaves a type checker without the types of their items."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from typing_extensions import TypeIs

__all__ = ["is_collection", "is_dict", "is_mapping", "is_sequence"]


def is_dict(value: object) -> TypeIs[dict[Any, Any]]:
    """Return whether a value is a dict."""
    return isinstance(value, dict)


def is_sequence(value: object) -> TypeIs[list[Any] | tuple[Any, ...]]:
    """Return whether a value is a list or a tuple."""
    return isinstance(value, list | tuple)


def is_collection(value: object) -> TypeIs[list[Any] | tuple[Any, ...] | set[Any] | frozenset[Any]]:
    """Return whether a value is a list, a tuple or a set."""
    return isinstance(value, list | tuple | set | frozenset)


def is_mapping(value: object) -> TypeIs[Mapping[Any, Any]]:
    """Return whether a value is a mapping."""
    return isinstance(value, Mapping)
