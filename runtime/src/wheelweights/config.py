"""Dataclasses from plain values: the configuration of a model as its author typed it.

Knows annotations and the values that JSON has. Knows neither records nor checkpoints (the caller says which error to
raise), and needs neither numpy nor msgpack.
"""

from __future__ import annotations

import collections.abc
import dataclasses
import enum
import functools
import inspect
import pathlib
import re
import types
import typing
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Literal, TypeVar, Union

from wheelweights.errors import (
    SHOWN_CHARACTERS,
    SHOWN_ITEMS,
    RecordError,
    WheelweightsError,
    backticked,
    counted,
    did_you_mean,
    quoted,
)
from wheelweights.plain import is_collection, is_dict, is_sequence

if TYPE_CHECKING:
    import os
    from collections.abc import Callable, Iterable

__all__ = ["MAX_DEPTH", "build", "field_path"]

MAX_DEPTH = 32

T = TypeVar("T")


def build(
    config: type[T],
    value: object,
    where: str = "config",
    *,
    error: type[WheelweightsError] = RecordError,
    path: str | os.PathLike[str] | None = None,
) -> T:
    """Return an instance of the dataclass `config` made from plain values (dict, list, str, int, float, bool, None).

    Fields may be nested dataclasses, enums (by value), Literal, unions, Path, Any, and lists, tuples, sets and dicts of
    these. An int is accepted as a float if the float holds it exactly, a list as a tuple or a set and the other way
    round; a bool is never a number. In a union the first member wins that fits without making an int a float. Defaults
    are honoured; `init=False` fields are left to the class. A missing field, a wrong type and an unknown key are
    faults: all of them are raised together as one `error`, each with its path, which begins with `where`. `path` is
    the file they came from, for the message.
    """
    if not (inspect.isclass(config) and dataclasses.is_dataclass(config)):
        fact = f"expected a dataclass to build, found {backticked(_said(config))}"
        raise error(fact, path=path, remedy="Decorate the class with @dataclass.")
    attempt = _Attempt()
    built = _built(config, value, _Place(where, attempt))
    if attempt.faults:
        raise _failure(error, config, attempt.faults, path) from attempt.cause
    return typing.cast("T", built)


def field_path(where: str, key: object) -> str:
    """Return the path of an entry: `config.layers`, `config.layers[0]`, `config['a key']`; a long key is cut."""
    if isinstance(key, str) and key.isidentifier() and len(key) <= SHOWN_CHARACTERS:
        return f"{where}.{key}" if where else key
    return f"{where}[{quoted(key) if isinstance(key, str | bytes) else key}]"


@dataclass(frozen=True)
class _Fault:
    """One thing that does not fit: where, of which kind ("missing field"), what, and what may have been meant."""

    where: str
    kind: str
    fact: str
    hint: str | None = None

    def __str__(self) -> str:
        return f"{self.where}: {self.fact}" + (f". {self.hint}" if self.hint else "")


class _Attempt:
    """One attempt to build a value: its faults, and whether an int had to become a float.

    `tried` keeps the attempts at nested unions from multiplying with their depth; it and `hints` are shared by all
    attempts at one configuration.
    """

    def __init__(self, shared: _Attempt | None = None) -> None:
        self.faults: list[_Fault] = []
        self.converted = False
        self.cause: Exception | None = None
        self.tried: dict[tuple[int, tuple[object, ...]], tuple[object, _Attempt]] = shared.tried if shared else {}
        self.hints: dict[type, dict[str, Any]] = shared.hints if shared else {}

    def take(self, other: _Attempt) -> None:
        self.faults += other.faults
        self.converted |= other.converted
        self.cause = self.cause or other.cause


@dataclass(frozen=True)
class _Place:
    """The place of a value, and the attempt to build it.

    Methods that record a fault return None in place of the value; the result of a faulty attempt is discarded.
    """

    root: str
    attempt: _Attempt
    keys: tuple[object, ...] = ()

    @property
    def where(self) -> str:
        return functools.reduce(field_path, self.keys, self.root)

    def into(self, key: object) -> _Place:
        return _Place(self.root, self.attempt, (*self.keys, key))

    def fault(self, kind: str, fact: str, hint: str | None = None, cause: Exception | None = None) -> object:
        self.attempt.faults.append(_Fault(self.where, kind, fact, hint))
        self.attempt.cause = self.attempt.cause or cause
        return None

    def mismatch(self, annotation: object, value: object) -> object:
        return self.fault("wrong type", f"expected {backticked(_said(annotation))}, found {_found(value)}")


def _failure(
    error: type[WheelweightsError], config: type, faults: list[_Fault], path: str | os.PathLike[str] | None
) -> WheelweightsError:
    """Compose the one error: a single fault as it is, several under a line that counts them."""
    if len(faults) == 1:
        return error(f"{faults[0].where}: {faults[0].fact}", path=path, remedy=faults[0].hint)
    kinds = collections.Counter(fault.kind for fault in faults)
    counts = ", ".join(counted(count, kind) for kind, count in kinds.items())
    fact = f"configuration does not fit {backticked(_said(config))}: {counts}"
    return error(fact, path=path, details=map(str, faults))


def _built(annotation: Any, value: object, at: _Place) -> object:
    """Return the value in the form of one annotation, or gather why it does not fit."""
    while isinstance(annotation, typing.NewType):
        annotation = annotation.__supertype__
    if len(at.keys) > MAX_DEPTH:
        return at.fault("excess of depth", f"expected at most {MAX_DEPTH} levels, found more")
    form = _FORMS.get(typing.get_origin(annotation) or annotation, _instance)
    return form(annotation, value, at)


def _instance(cls: Any, value: object, at: _Place) -> object:
    """Build a value that is not a container: a scalar, an enum, a path or a dataclass."""
    if cls in _SCALARS and type(value) is cls:
        return value
    if cls in _SCALARS:
        return at.mismatch(cls, value)
    if inspect.isclass(cls) and issubclass(cls, enum.Enum):
        return _member(cls, value, at)
    if inspect.isclass(cls) and issubclass(cls, pathlib.PurePath):
        return cls(value) if isinstance(value, str) else at.mismatch(cls, value)
    if inspect.isclass(cls) and dataclasses.is_dataclass(cls):
        return _dataclass(cls, value, at)
    return at.fault("unsupported annotation", f"{backticked(_said(cls))} cannot be built from plain values")


def _any(annotation: Any, value: object, at: _Place) -> object:  # noqa: ARG001 (a form)
    return value


def _float(annotation: Any, value: object, at: _Place) -> object:
    """Take a float, or an int that a float holds without losing a digit."""
    if type(value) is int and value.bit_length() <= _FLOAT_BITS and int(float(value)) == value:
        at.attempt.converted = True
        return float(value)
    return value if type(value) is float else at.mismatch(annotation, value)


def _member(cls: type[enum.Enum], value: object, at: _Place) -> object:
    for member in cls:
        if _plain(member.value) == _plain(value) and isinstance(member.value, bool) == isinstance(value, bool):
            return member
    return _no_choice(cls, [_plain(member.value) for member in cls], value, at)


def _plain(value: object) -> object:
    """Return a tuple as a list: JSON has lists where an enum member has tuples."""
    return list(value) if is_sequence(value) else value


def _choice(annotation: Any, value: object, at: _Place) -> object:
    choices = typing.get_args(annotation)
    if any(type(value) is type(choice) and value == choice for choice in choices):
        return value
    return _no_choice(annotation, list(choices), value, at)


def _no_choice(annotation: object, choices: list[object], value: object, at: _Place) -> object:
    if not any(type(value) is type(choice) for choice in choices):
        return at.mismatch(annotation, value)
    shown = ", ".join(quoted(choice) if isinstance(choice, str) else str(choice) for choice in choices[:SHOWN_ITEMS])
    more = f" and {len(choices) - SHOWN_ITEMS:,} more" if len(choices) > SHOWN_ITEMS else ""
    near = did_you_mean(str(value), [choice for choice in choices if isinstance(choice, str)])
    return at.fault("wrong value", f"expected one of {shown}{more}, found {_found(value)}", near)


def _union(annotation: Any, value: object, at: _Place) -> object:
    key = id(annotation), at.keys
    if key not in at.attempt.tried:
        at.attempt.tried[key] = _best_member(annotation, value, at)
    built, attempt = at.attempt.tried[key]
    at.attempt.take(attempt)
    return built


def _best_member(annotation: Any, value: object, at: _Place) -> tuple[object, _Attempt]:
    """Take the first member that fits as it is, else the first that fits with an int made a float."""
    tries: list[tuple[object, _Attempt]] = []
    for member in typing.get_args(annotation):
        attempt = _Attempt(at.attempt)
        built = _built(member, value, _Place(at.root, attempt, at.keys))
        if not attempt.faults and not attempt.converted:
            return built, attempt
        tries.append((built, attempt))
    fitting = [one for one in tries if not one[1].faults]
    # If the value has the type of one member alone, the faults inside it say more than the list of members
    near = [
        one for one in tries if all(fault.where != at.where or fault.kind == "rejection" for fault in one[1].faults)
    ]
    if fitting or len(near) == 1:
        return (fitting or near)[0]
    none = _Attempt(at.attempt)
    _Place(at.root, none, at.keys).mismatch(annotation, value)
    return None, none


def _sequence(annotation: Any, value: object, at: _Place) -> object:
    """Build a list, a set or a frozenset."""
    if not is_collection(value):
        return at.mismatch(annotation, value)
    item, *_ = (*typing.get_args(annotation), Any)
    items = [_built(item, one, at.into(i)) for i, one in enumerate(value)]
    make = _SEQUENCES[typing.get_origin(annotation) or annotation]
    try:
        return make(items)
    except TypeError as error:  # a set of lists, say
        return at.fault("wrong type", str(error), cause=error)


def _tuple(annotation: Any, value: object, at: _Place) -> object:
    if not is_sequence(value):
        return at.mismatch(annotation, value)
    items = typing.get_args(annotation)
    if not items and annotation in (tuple, typing.Tuple):  # noqa: UP006 (the bare forms; tuple[()] is the empty one)
        items = (Any, ...)
    if items[1:] == (...,):
        items = items[:1] * len(value)
    if len(items) != len(value):
        found = counted(len(value), "item")
        return at.fault("wrong length", f"expected {backticked(_said(annotation))}, found {found}")
    return tuple(_built(item, one, at.into(i)) for i, (item, one) in enumerate(zip(items, value, strict=True)))


def _mapping(annotation: Any, value: object, at: _Place) -> object:
    if not is_dict(value):
        return at.mismatch(annotation, value)
    of_key, of_value = typing.get_args(annotation) or (Any, Any)
    made: dict[object, object] = {}
    for key, one in value.items():
        inside = at.into(key)
        name = _built(of_key, _number(key) if of_key is int else key, inside)
        made[name] = _built(of_value, one, inside)
    return made


def _number(key: object) -> object:
    """Return the int that a key was before JSON made it a string."""
    return int(key) if isinstance(key, str) and _DECIMAL.fullmatch(key) else key


def _dataclass(cls: type, value: object, at: _Place) -> object:
    if not is_dict(value):
        return at.mismatch(cls, value)
    hints = _hints(cls, at)
    if hints is None:
        return None
    faults_before = len(at.attempt.faults)
    fields = {one.name: one for one in dataclasses.fields(cls)}
    taken = {name: one for name, one in fields.items() if one.init}
    arguments: dict[str, object] = {}
    for name, one in taken.items():
        if name in value:
            # Accept None where None is the default, although `dim: int = None` is mistyped
            annotation = types.NoneType if value[name] is None is one.default else hints[name]
            arguments[name] = _built(annotation, value[name], at.into(name))
        elif one.default is one.default_factory is dataclasses.MISSING:
            at.into(name).fault("missing field", f"missing ({backticked(_said(hints[name]))}, no default)")
    for key in [key for key in value if key not in fields]:
        near = did_you_mean(str(key), [name for name in taken if name not in value])
        at.into(key).fault("unknown key", f"not a field of {backticked(cls.__name__)}", near)
    return _called(cls, arguments, at) if len(at.attempt.faults) == faults_before else None


def _hints(cls: type, at: _Place) -> dict[str, Any] | None:
    if cls not in at.attempt.hints:
        try:
            at.attempt.hints[cls] = typing.get_type_hints(cls)
        except (NameError, TypeError, AttributeError, SyntaxError) as error:
            fact = f"annotations of {backticked(cls.__name__)} cannot be resolved: {error}"
            hint = "Import the names they use at the top of the class's module, not under TYPE_CHECKING."
            at.fault("unresolved annotation", fact, hint, cause=error)
            return None
    return at.attempt.hints[cls]


def _called(cls: type, arguments: dict[str, object], at: _Place) -> object:
    """Call the class. A rejection by its own `__post_init__` is a fault like the others."""
    try:
        return cls(**arguments)
    except (ValueError, TypeError, AssertionError) as error:
        return at.fault("rejection", f"rejected by {backticked(cls.__name__)}: {error}", cause=error)


def _found(value: object) -> str:
    """Return a value as a message shows it: its type, and for a scalar itself too."""
    if value is None:
        return "`None`"
    name = backticked(type(value).__name__)
    if isinstance(value, str):
        return f"{name} ({quoted(value)})"
    short = isinstance(value, bool | float) or (isinstance(value, int) and value.bit_length() <= 128)
    return f"{name} ({value})" if short else name


def _said(annotation: object) -> str:
    """Return an annotation as it is written in code, without the modules."""
    origin, args = typing.get_origin(annotation), typing.get_args(annotation)
    if annotation is types.NoneType:
        return "None"
    if annotation is Ellipsis:
        return "..."
    if origin in (Union, types.UnionType):
        return " | ".join(map(_said, args))
    if origin is Literal:
        return f"Literal[{', '.join(map(repr, args))}]"
    if origin is not None:
        return f"{_said(origin)}[{', '.join(map(_said, args)) or '()'}]"
    return str(getattr(annotation, "__name__", annotation))


_FLOAT_BITS = 1023  # an int of more bits may be over the largest float
_DECIMAL = re.compile("0|-?[1-9][0-9]{0,18}")
_SCALARS = (int, str, bool, bytes, types.NoneType)
_SEQUENCES: dict[object, Callable[[Iterable[Any]], Any]] = {
    list: list,
    collections.abc.Sequence: list,
    collections.abc.MutableSequence: list,
    set: set,
    collections.abc.MutableSet: set,
    frozenset: frozenset,
    collections.abc.Set: frozenset,
}
_FORMS: dict[object, Callable[[Any, object, _Place], object]] = {
    Any: _any,
    object: _any,
    float: _float,
    Literal: _choice,
    Union: _union,
    types.UnionType: _union,
    tuple: _tuple,
    dict: _mapping,
    collections.abc.Mapping: _mapping,
    collections.abc.MutableMapping: _mapping,
    **dict.fromkeys(_SEQUENCES, _sequence),
}
