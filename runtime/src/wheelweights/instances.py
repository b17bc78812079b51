"""Instances with other values in them: made from their fields or items, copied, and searched for placeholders."""

from __future__ import annotations

import contextlib
import copy
import dataclasses
import functools
import types
from typing import TYPE_CHECKING, Any

from wheelweights.plain import is_dict, is_sequence
from wheelweights.report import BindError
from wheelweights.skeleton import is_placeholder

if TYPE_CHECKING:
    from collections.abc import Mapping

__all__ = ["construct", "filled", "like", "named_like", "placeholders_in", "replaced"]


def construct(cls: type[Any], values: Mapping[str, Any]) -> Any:
    """Return an instance of a dataclass, or a named tuple, with these values.

    Fields that the constructor of a dataclass does not take are set after it. Raises BindError if the class cannot be
    made from its fields.
    """
    given = set(values) if hasattr(cls, "_fields") else {field.name for field in dataclasses.fields(cls) if field.init}
    try:
        model: Any = cls(**{name: value for name, value in values.items() if name in given})
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


def named_like(values: dict[Any, Any], items: Mapping[Any, Any]) -> dict[Any, Any]:
    """Return a copy of a dict, of its own class, with these items in it."""
    new = copy.copy(values)
    new.update(items)
    return new


def filled(container: type, items: list[Any] | dict[str, Any]) -> Any:
    """Return a container with these items. Raises BindError if its class cannot be made from them alone."""
    try:
        return container(items)
    except TypeError as error:
        raise BindError(
            f"{container.__name__}: expected a class that is made from its items, found one that is not: {error}",
            remedy="Bind an instance of it.",
        ) from error


def placeholders_in(value: object, path: str) -> list[str]:
    """Return the paths of the placeholders anywhere in a model, also in attributes that are not fields."""
    found: list[str] = []
    seen: set[int] = set()
    pending: list[tuple[object, str]] = [(value, path)]
    while pending:
        one, at = pending.pop()
        if is_placeholder(one):
            found.append(at)
        elif id(one) not in seen:
            seen.add(id(one))
            pending += reversed(_parts(one, at))
    return found


def _parts(value: object, path: str) -> list[tuple[object, str]]:
    if is_dict(value):
        return [(item, f"{path}[{key!r}]") for key, item in value.items()]
    if is_sequence(value):
        return [(item, f"{path}[{i}]") for i, item in enumerate(value)]
    if not dataclasses.is_dataclass(value) or isinstance(value, type):
        return []
    names = dict.fromkeys([*(field.name for field in dataclasses.fields(value)), *getattr(value, "__dict__", ())])
    return [(getattr(value, name), f"{path}.{name}") for name in names if hasattr(value, name)]
