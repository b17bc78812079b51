"""Instances with other values in them: dataclasses made from their fields, copies of instances and of sequences."""

from __future__ import annotations

import contextlib
import copy
import dataclasses
import functools
import types
from typing import TYPE_CHECKING, Any, cast

from wheelweights.report import BindError

if TYPE_CHECKING:
    from collections.abc import Mapping

__all__ = ["construct", "like", "replaced"]


def construct(cls: type, values: Mapping[str, Any]) -> Any:
    """Return an instance of a dataclass with these values; fields that its constructor does not take are set after it.

    Raises BindError if the class cannot be made from its fields.
    """
    given = {field.name for field in dataclasses.fields(cast("Any", cls)) if field.init}
    try:
        model = cls(**{name: value for name, value in values.items() if name in given})
    except TypeError as error:
        raise BindError(
            f"{cls.__name__}: expected a class that is made from its fields, found one that is not: {error}",
            remedy="Bind an instance of it.",
        ) from error
    for name in values.keys() - given:
        object.__setattr__(model, name, values[name])
    return model


def replaced(instance: object, values: Mapping[str, Any]) -> Any:
    """Return a copy of an instance with other values, frozen or with slots, without running its constructor again."""
    cls = type(instance)
    new: Any = object.__new__(cls)
    for base in cls.__mro__:
        for slot in vars(base).values():
            if isinstance(slot, types.MemberDescriptorType):
                with contextlib.suppress(AttributeError):  # a slot that was never set
                    slot.__set__(new, slot.__get__(instance))
    for name, value in getattr(instance, "__dict__", {}).items():
        # A cached property was computed from the old arrays
        if not isinstance(getattr(cls, name, None), functools.cached_property):
            new.__dict__[name] = value
    for name, value in values.items():
        object.__setattr__(new, name, value)
    return new


def like(values: list[Any] | tuple[Any, ...], items: list[Any]) -> Any:
    """Return the items as a sequence of the kind that `values` is, a named tuple or a subclass of list included."""
    if isinstance(values, tuple):
        return type(values)(*items) if hasattr(values, "_fields") else tuple(items)
    new = copy.copy(values)
    new[:] = items
    return new
