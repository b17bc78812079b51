"""An attempt to build a value: where it is in a configuration, what does not fit there, and the one error of it all.

Knows how places, values and annotations read in a message; knows no rules of what fits.
"""

from __future__ import annotations

import collections
import functools
import types
import typing
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Literal, Union

from wheelweights.errors import SHOWN_CHARACTERS, WheelweightsError, backticked, counted, quoted

if TYPE_CHECKING:
    import os
    from collections.abc import Callable

__all__ = ["Attempt", "Fault", "Formless", "Place", "Unnamed", "failure", "field_path", "found_text", "said"]

SHOWN_FAULTS = 100


class Formless:
    """A value that has no plain form: what it is, as a message says it, and what helps.

    `name` is a name that the value may be meant by: that of an enum's member, where a file says no more of it.
    """

    __slots__ = ("found", "name", "remedy")

    def __init__(self, found: str, remedy: str | None = None, name: str | None = None) -> None:
        self.found = found
        self.remedy = remedy
        self.name = name

    def __repr__(self) -> str:
        return f"<Formless: {self.found}>"


class Unnamed(list[Any]):
    """The values of the fields of an object in their order, where a file does not tell their names."""

    __slots__ = ()


def field_path(where: str, key: object) -> str:
    """Return the path of an entry: `config.layers`, `config.layers[0]`, `config['a key']`; a long key is cut."""
    if isinstance(key, str) and key.isidentifier() and len(key) <= SHOWN_CHARACTERS:
        return f"{where}.{key}" if where else key
    return f"{where}[{quoted(key) if isinstance(key, str | bytes) else key}]"


@dataclass(frozen=True)
class Fault:
    """One thing that does not fit: where, of which kind ("missing field"), what, and what may have been meant.

    Its texts are made when they are read: a union tries members that do not fit for each of a million values.
    """

    root: str
    keys: tuple[object, ...]
    kind: str
    told: Callable[[], str]
    hint: str | None = None

    @property
    def where(self) -> str:
        """The path of the value."""
        return functools.reduce(field_path, self.keys, self.root)

    @property
    def fact(self) -> str:
        """What does not fit."""
        return self.told()

    def __str__(self) -> str:
        return f"{self.where}: {self.fact}" + (f". {self.hint}" if self.hint else "")


class Attempt:
    """One attempt to build a value: its faults, whether an int had to become a float, and how many keys it ignored.

    `tried` keeps the attempts at nested unions from multiplying with their depth; it, `hints` and `opened` (which
    turns a value into a plain one, whose items may not be plain yet) are shared by all attempts at one configuration.
    """

    def __init__(self, opened: Callable[[object], object], shared: Attempt | None = None) -> None:
        self.opened = opened
        self.faults: list[Fault] = []
        self.converted = False
        self.ignored = 0
        self.cause: Exception | None = None
        self.tried: dict[tuple[int, tuple[object, ...]], tuple[object, Attempt]] = shared.tried if shared else {}
        self.hints: dict[type, dict[str, Any]] = shared.hints if shared else {}

    def another(self) -> Attempt:
        """Return a new attempt at a part of the same configuration."""
        return Attempt(self.opened, self)

    def take(self, other: Attempt) -> None:
        """Make the outcome of an attempt at a part a part of this one's."""
        self.faults += other.faults
        self.converted |= other.converted
        self.ignored += other.ignored
        self.cause = self.cause or other.cause


@dataclass(frozen=True)
class Place:
    """The place of a value, and the attempt to build it.

    Methods that record a fault return None in place of the value; the result of a faulty attempt is discarded.
    """

    root: str
    attempt: Attempt
    keys: tuple[object, ...] = ()

    def into(self, key: object) -> Place:
        """Return the place of an entry."""
        return Place(self.root, self.attempt, (*self.keys, key))

    def trying(self, attempt: Attempt) -> Place:
        """Return the same place in another attempt."""
        return Place(self.root, attempt, self.keys)

    def fault(self, kind: str, fact: str, hint: str | None = None, cause: Exception | None = None) -> object:
        """Record a fault."""
        self.attempt.faults.append(Fault(self.root, self.keys, kind, lambda: fact, hint))
        self.attempt.cause = self.attempt.cause or cause
        return None

    def mismatch(self, annotation: object, value: object) -> object:
        """Record that a value is not of the annotated type."""
        kind, hint = ("unreadable value", value.remedy) if isinstance(value, Formless) else ("wrong type", None)

        def told() -> str:
            return f"expected {backticked(said(annotation))}, found {found_text(value)}"

        self.attempt.faults.append(Fault(self.root, self.keys, kind, told, hint))
        return None


def failure(
    error: type[WheelweightsError], config: type, faults: list[Fault], path: str | os.PathLike[str] | None
) -> WheelweightsError:
    """Compose the one error: a single fault as it is, several under a line that counts them."""
    if len(faults) == 1:
        return error(f"{faults[0].where}: {faults[0].fact}", path=path, remedy=faults[0].hint)
    kinds = collections.Counter(fault.kind for fault in faults)
    counts = ", ".join(counted(count, kind) for kind, count in kinds.items())
    fact = f"configuration does not fit {backticked(said(config))}: {counts}"
    more = [f"and {len(faults) - SHOWN_FAULTS:,} more"] if len(faults) > SHOWN_FAULTS else []
    return error(fact, path=path, details=[*map(str, faults[:SHOWN_FAULTS]), *more])


def found_text(value: object) -> str:
    """Return a value as a message shows it: its type, and for a scalar itself too."""
    if value is None:
        return "`None`"
    if isinstance(value, Formless):
        return value.found
    name = backticked(type(value).__name__)
    if isinstance(value, str):
        return f"{name} ({quoted(value)})"
    short = isinstance(value, bool | float) or (isinstance(value, int) and value.bit_length() <= 128)
    return f"{name} ({value})" if short else name


def said(annotation: object) -> str:
    """Return an annotation as it is written in code, without the modules."""
    origin, args = typing.get_origin(annotation), typing.get_args(annotation)
    if annotation is types.NoneType:
        return "None"
    if annotation is Ellipsis:
        return "..."
    if origin in (Union, types.UnionType):
        return " | ".join(map(said, args))
    if origin is Literal:
        return f"Literal[{', '.join(map(repr, args))}]"
    if origin is not None:
        return f"{said(origin)}[{', '.join(map(said, args)) or '()'}]"
    return str(getattr(annotation, "__name__", annotation))
