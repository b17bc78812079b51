"""Dataclasses from plain values: the configuration of a model as its author typed it.

Knows annotations and the values that JSON has. Knows neither records nor checkpoints (the caller says which error to
raise), and needs neither numpy nor msgpack.
"""

from __future__ import annotations

import collections.abc
import dataclasses
import enum
import inspect
import re
import types
import typing
from typing import TYPE_CHECKING, Any, Literal, TypeVar, Union, cast

from wheelweights.attempts import (
    Attempt,
    Formless,
    Place,
    Unnamed,
    failure,
    field_path,
    found_text,
    said,
)
from wheelweights.errors import SHOWN_ITEMS, RecordError, WheelweightsError, backticked, counted, did_you_mean, quoted
from wheelweights.plain import is_collection, is_dict, is_sequence
from wheelweights.scalars import from_text, has_text

if TYPE_CHECKING:
    import os
    from collections.abc import Callable, Iterable

__all__ = ["MAX_DEPTH", "Formless", "Unnamed", "build", "field_path"]

MAX_DEPTH = 32

T = TypeVar("T")


def build(
    config: type[T],
    value: object,
    where: str = "config",
    *,
    error: type[WheelweightsError] = RecordError,
    path: str | os.PathLike[str] | None = None,
    opened: Callable[[object], object] | None = None,
) -> T:
    """Return an instance of the dataclass `config` made from plain values (dict, list, str, int, float, bool, None).

    Only the fields that the dataclass declares are looked at; a dict may have any other keys. Fields may be nested
    dataclasses and named tuples, enums (by value, or by name), Literal, unions, Any, dates, times and durations (ISO
    8601), Decimal, Fraction, UUID and Path (text), and lists, tuples, sets and dicts of these. An int is accepted as a
    float if the float holds it exactly, a list as a tuple or a set and the other way round; a bool is never a number.
    In a union the member wins that leaves the fewest keys aside, then one that needs no int made a float, then the
    first. Defaults are honoured; `init=False` fields are left to the class. A missing field and a wrong type are
    faults: all of them are raised together as one `error`, each with its path, which begins with `where`. `path` is
    the file they came from, for the message. `opened` is called on each value that is looked at, and returns it as a
    plain value (whose items may be opened later) or as `Formless`.
    """
    if not (inspect.isclass(config) and dataclasses.is_dataclass(config)):
        fact = f"expected a dataclass to build, found {backticked(said(config))}"
        raise error(fact, path=path, remedy="Decorate the class with @dataclass.")
    attempt = Attempt(opened or _as_it_is)
    built = _built(config, value, Place(where, attempt))
    if attempt.faults:
        raise failure(error, config, attempt.faults, path) from attempt.cause
    return cast("T", built)


def _built(annotation: Any, value: object, at: Place) -> object:
    """Return the value in the form of one annotation, or gather why it does not fit."""
    if len(at.keys) > MAX_DEPTH:
        return at.fault("excess of depth", f"expected at most {MAX_DEPTH} levels, found more")
    return _formed(annotation, at.attempt.opened(value), at)


def _as_it_is(value: object) -> object:
    return value


def _formed(annotation: Any, value: object, at: Place) -> object:
    """Return a value that has been opened in the form of one annotation, or gather why it does not fit."""
    while isinstance(annotation, typing.NewType):
        annotation = annotation.__supertype__
    form = _FORMS.get(typing.get_origin(annotation) or annotation, _instance)
    return form(annotation, value, at)


def _instance(cls: Any, value: object, at: Place) -> object:
    """Build a value of a class: a scalar, an enum, a dataclass, a named tuple."""
    if cls in _SCALARS:
        return value if type(value) is cls else at.mismatch(cls, value)
    form = _form_of_class(cls) if inspect.isclass(cls) else None
    if form is None:
        return at.fault("unsupported annotation", f"{backticked(said(cls))} cannot be built from plain values")
    return form(cls, value, at)


def _form_of_class(cls: Any) -> Callable[[Any, object, Place], object] | None:
    if issubclass(cls, enum.Enum):
        return _member
    if has_text(cls):
        return _of_text
    if dataclasses.is_dataclass(cls):
        return _dataclass
    return _named_tuple if hasattr(cls, "_fields") and issubclass(cls, tuple) else None


def _of_text(cls: type, value: object, at: Place) -> object:
    if not isinstance(value, str):
        return at.mismatch(cls, value)
    try:
        return from_text(cls, value)
    except ValueError:
        return at.mismatch(cls, value)


def _any(annotation: Any, value: object, at: Place) -> object:
    """Take any value that is plain to its last item."""
    if isinstance(value, Formless):
        return at.fault("unreadable value", f"expected a plain value, found {value.found}", value.remedy)
    if is_dict(value):
        return {_any(annotation, key, at): _built(annotation, one, at.into(key)) for key, one in value.items()}
    if isinstance(value, list):
        return [_built(annotation, one, at.into(i)) for i, one in enumerate(cast("list[object]", value))]
    return value


def _float(annotation: Any, value: object, at: Place) -> object:
    """Take a float, or an int that a float holds without losing a digit."""
    if type(value) is int and value.bit_length() <= _FLOAT_BITS and int(float(value)) == value:
        at.attempt.converted = True
        return float(value)
    return value if type(value) is float else at.mismatch(annotation, value)


def _member(cls: type[enum.Enum], value: object, at: Place) -> object:
    """Take the member of this value, else the one of this name; of flags, also a combination."""
    for member in cls:
        if _plain(member.value) == _plain(value) and isinstance(member.value, bool) == isinstance(value, bool):
            return member
    name = value.name if isinstance(value, Formless) else value
    if isinstance(name, str) and name in cls.__members__:
        return cls.__members__[name]
    if issubclass(cls, enum.Flag) and type(value) is int and value >= 0 and not value & ~_all_flags(cls):
        return cls(value)
    return _no_choice(cls, [_plain(member.value) for member in cls], value, at)


def _all_flags(cls: type[enum.Flag]) -> int:
    flags = 0
    for member in cls:
        flags |= member.value
    return flags


def _plain(value: object) -> object:
    """Return a tuple as a list: JSON has lists where an enum member has tuples."""
    return list(value) if is_sequence(value) else value


def _choice(annotation: Any, value: object, at: Place) -> object:
    choices = typing.get_args(annotation)
    if any(type(value) is type(choice) and value == choice for choice in choices):
        return value
    return _no_choice(annotation, list(choices), value, at)


def _no_choice(annotation: object, choices: list[object], value: object, at: Place) -> object:
    if not any(type(value) is type(choice) for choice in choices):
        return at.mismatch(annotation, value)
    shown = ", ".join(quoted(choice) if isinstance(choice, str) else str(choice) for choice in choices[:SHOWN_ITEMS])
    more = f" and {len(choices) - SHOWN_ITEMS:,} more" if len(choices) > SHOWN_ITEMS else ""
    near = did_you_mean(str(value), [choice for choice in choices if isinstance(choice, str)])
    return at.fault("wrong value", f"expected one of {shown}{more}, found {found_text(value)}", near)


def _union(annotation: Any, value: object, at: Place) -> object:
    if not (is_dict(value) or is_collection(value)):  # nothing below that would be tried again
        built, attempt = _best_member(annotation, value, at)
        at.attempt.take(attempt)
        return built
    key = id(annotation), at.keys
    if key not in at.attempt.tried:
        at.attempt.tried[key] = _best_member(annotation, value, at)
    built, attempt = at.attempt.tried[key]
    at.attempt.take(attempt)
    return built


def _best_member(annotation: Any, value: object, at: Place) -> tuple[object, Attempt]:
    """Take the member that leaves the fewest keys aside, then one that needs no int made a float, then the first."""
    tries: list[tuple[object, Attempt]] = []
    for member in typing.get_args(annotation):
        attempt = at.attempt.another()
        built = _formed(member, value, at.trying(attempt))
        if not (attempt.faults or attempt.converted or attempt.ignored):
            return built, attempt
        tries.append((built, attempt))
    fitting = [one for one in tries if not one[1].faults]
    if fitting:
        return min(fitting, key=lambda one: (one[1].ignored, one[1].converted))
    # If the value has the type of one member alone, the faults inside it say more than the list of members
    near = [one for one in tries if all(fault.keys != at.keys or fault.kind == "rejection" for fault in one[1].faults)]
    if len(near) == 1:
        return near[0]
    none = at.attempt.another()
    at.trying(none).mismatch(annotation, value)
    return None, none


def _sequence(annotation: Any, value: object, at: Place) -> object:
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


def _tuple(annotation: Any, value: object, at: Place) -> object:
    if not is_sequence(value):
        return at.mismatch(annotation, value)
    items = typing.get_args(annotation)
    if not items and annotation in (tuple, typing.Tuple):  # noqa: UP006 (the bare forms; tuple[()] is the empty one)
        items = (Any, ...)
    if items[1:] == (...,):
        items = items[:1] * len(value)
    if len(items) != len(value):
        found = counted(len(value), "item")
        return at.fault("wrong length", f"expected {backticked(said(annotation))}, found {found}")
    return tuple(_built(item, one, at.into(i)) for i, (item, one) in enumerate(zip(items, value, strict=True)))


def _mapping(annotation: Any, value: object, at: Place) -> object:
    if not is_dict(value):
        return at.mismatch(annotation, value)
    of_key, of_value = typing.get_args(annotation) or (Any, Any)
    made: dict[object, object] = {}
    for key, one in value.items():
        inside = at if isinstance(key, Formless) else at.into(key)
        name = _built(of_key, _number(key) if of_key is int else key, inside)
        made[name] = _built(of_value, one, inside)
    return made


def _number(key: object) -> object:
    """Return the int that a key was before JSON made it a string."""
    return int(key) if isinstance(key, str) and _DECIMAL.fullmatch(key) else key


def _dataclass(cls: type, value: object, at: Place) -> object:
    if not (is_dict(value) or isinstance(value, Unnamed)):
        return at.mismatch(cls, value)
    fields = {one.name: one for one in dataclasses.fields(cls)}
    if isinstance(value, Unnamed):
        if len(value) != len(fields):
            return at.mismatch(cls, value)
        value = dict(zip(fields, value, strict=True))
    hints = _hints(cls, at)
    if hints is None:
        return None
    faults_before = len(at.attempt.faults)
    others = [key for key in value if key not in fields]
    at.attempt.ignored += len(others)
    arguments: dict[str, object] = {}
    twins: dict[str, object] = {}  # of other keys by their plain names, once they are needed
    for name, one in ((name, one) for name, one in fields.items() if one.init):
        if name in value:
            # Accept None where None is the default, although `dim: int = None` is mistyped
            annotation = types.NoneType if value[name] is None is one.default else hints[name]
            arguments[name] = _built(annotation, value[name], at.into(name))
        elif one.default is one.default_factory is dataclasses.MISSING:
            _missing(name, hints[name], others, at)
        elif (plain := _plain_name(name)) in (
            twins := twins or {_plain_name(key): key for key in others if isinstance(key, str)}
        ):
            fact = f"its default would be taken, but there is {backticked(twins[plain])}"
            at.into(name).fault("misspelt field", fact, "Give the field that name, or the configuration this one.")
    return _called(cls, arguments, at) if len(at.attempt.faults) == faults_before else None


def _plain_name(name: str) -> str:
    """Return a name without case and separators: two that are equal so are meant to be one."""
    return re.sub(r"[-_. ]", "", name).casefold()


def _named_tuple(cls: Any, value: object, at: Place) -> object:
    """Build a named tuple, of its items in their order or by their names."""
    if not (is_sequence(value) or is_dict(value)):
        return at.mismatch(cls, value)
    hints = _hints(cls, at)
    if hints is None:
        return None
    names: tuple[str, ...] = cls._fields
    if is_sequence(value) and len(value) > len(names):
        found = counted(len(value), "item")
        return at.fault("wrong length", f"expected {backticked(said(cls))}, found {found}")
    given: dict[Any, Any] = value if is_dict(value) else dict(zip(names, value, strict=False))
    faults_before = len(at.attempt.faults)
    others = [key for key in given if key not in names]
    at.attempt.ignored += len(others)
    for name in names:
        if name not in given and name not in cls._field_defaults:
            _missing(name, hints.get(name, Any), others, at)
    arguments = {name: _built(hints.get(name, Any), given[name], at.into(name)) for name in names if name in given}
    return _called(cls, arguments, at) if len(at.attempt.faults) == faults_before else None


def _missing(name: str, annotation: object, others: list[Any], at: Place) -> None:
    """Record that a field is missing, and which of the other keys may have been meant for it."""
    near = did_you_mean(name, [key for key in others if isinstance(key, str)])
    at.into(name).fault("missing field", f"missing ({backticked(said(annotation))}, no default)", near)


def _hints(cls: type, at: Place) -> dict[str, Any] | None:
    if cls not in at.attempt.hints:
        try:
            at.attempt.hints[cls] = typing.get_type_hints(cls)
        except (NameError, TypeError, AttributeError, SyntaxError) as error:
            fact = f"annotations of {backticked(cls.__name__)} cannot be resolved: {error}"
            hint = "Import the names they use at the top of the class's module, not under TYPE_CHECKING."
            at.fault("unresolved annotation", fact, hint, cause=error)
            return None
    return at.attempt.hints[cls]


def _called(cls: type, arguments: dict[str, object], at: Place) -> object:
    """Call the class. A rejection by its own `__post_init__` is a fault like the others."""
    try:
        return cls(**arguments)
    except (ValueError, TypeError, AssertionError) as error:
        return at.fault("rejection", f"rejected by {backticked(cls.__name__)}: {error}", cause=error)


_FLOAT_BITS = 1023  # an int of more bits may be over the largest float
_DECIMAL = re.compile("0|-?[1-9][0-9]{0,18}")
_SCALARS = (int, str, bool, bytes, complex, types.NoneType)
_SEQUENCES: dict[object, Callable[[Iterable[Any]], Any]] = {
    list: list,
    collections.abc.Sequence: list,
    collections.abc.MutableSequence: list,
    set: set,
    collections.abc.MutableSet: set,
    frozenset: frozenset,
    collections.abc.Set: frozenset,
}
_FORMS: dict[object, Callable[[Any, object, Place], object]] = {
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
