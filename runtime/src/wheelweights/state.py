"""The arrays of a model by their names: the inverse of binding."""

from __future__ import annotations

import dataclasses
from typing import TYPE_CHECKING, Any

from wheelweights.annotations import is_array, is_module
from wheelweights.errors import backticked
from wheelweights.names import join
from wheelweights.plain import is_dict, is_sequence
from wheelweights.report import BindError

if TYPE_CHECKING:
    from collections.abc import Iterator

    from _typeshed import DataclassInstance

__all__ = ["state_dict"]


def state_dict(net: DataclassInstance, prefix: str = "") -> dict[str, Any]:
    """Return the arrays of a model under the names that `bind` looks them up by, below `prefix` if there is one.

    As in torch, the arrays of a module itself come before those of its parts. Arrays are not copied, and tied ones come
    under each of their names. Items of lists have the numbers of their places; fields marked `static` are left out, and
    so is what is None.

    Raises BindError if two arrays have one name, or the model contains itself.
    """
    if not is_module(net):
        raise BindError(f"expected an instance of a dataclass, found {backticked(_described(net))}", found=net)
    found: dict[str, Any] = {}
    try:
        for name, array in _arrays(net, prefix.removesuffix(".")):
            if name in found:
                raise BindError(f"{type(net).__name__}: expected one array of each name, found two `{name}`", key=name)
            found[name] = array
    except RecursionError as error:
        shown = "one that is too deep or contains itself"
        raise BindError(f"{type(net).__name__}: expected a tree of modules, found {shown}") from error
    return found


def _described(value: object) -> str:
    return value.__name__ if isinstance(value, type) else type(value).__name__


def _arrays(value: object, name: str) -> Iterator[tuple[str, Any]]:
    if is_array(value):
        yield name, value
    elif is_module(value):
        parts = list(_fields(value, name))
        yield from ((inner, part) for inner, part in parts if is_array(part))
        for inner, part in parts:
            if not is_array(part):
                yield from _arrays(part, inner)
    else:
        for inner, part in _items(value, name):
            yield from _arrays(part, inner)


def _fields(module: DataclassInstance, name: str) -> Iterator[tuple[str, object]]:
    """Yield the names and values of the fields; of a dict with `flatten`, those of its items."""
    for field in dataclasses.fields(module):
        if field.metadata.get("static") or not hasattr(module, field.name):
            continue
        value: object = getattr(module, field.name)
        if field.metadata.get("flatten"):
            yield from _items(value, name)
        else:
            yield join(name, field.name), value


def _items(value: object, name: str) -> Iterator[tuple[str, object]]:
    if is_dict(value):
        yield from ((join(name, str(key)), item) for key, item in value.items())
    elif is_sequence(value):
        names = getattr(value, "_fields", None) or map(str, range(len(value)))
        yield from ((join(name, part), item) for part, item in zip(names, value, strict=True))
