"""What goes wrong between a checkpoint and a wheel, as values.

An error names options by value, never by how somebody spells them: the same error reads `precision = "half"` in a
build, `--precision half` on the command line and `precision="half"` in Python. A `Spelling` turns the values into text:
that of Python is here, because `str(error)` needs one; the table's is in `options.table`, the flags' in `cli.flags`.
How a message is composed is in `wheelweights.errors`.
"""

from __future__ import annotations

import functools
import json
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Final

from wheelweights.errors import WheelweightsError, printable
from wheelweights.plain import is_dict, is_sequence

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence
    from typing import TypeAlias

__all__ = [
    "CONFIG_KEY",
    "EXCLUDE",
    "GOLDEN",
    "INCLUDE",
    "KEY_REMAP",
    "PRECISION",
    "PYTHON",
    "REINDEX",
    "TOP_LEVEL_KEY",
    "WHOLE_MODEL",
    "CheckpointError",
    "ConfigError",
    "Do",
    "Fault",
    "Faults",
    "For",
    "Option",
    "Place",
    "RemapError",
    "Run",
    "Set",
    "Setting",
    "Spelling",
    "Text",
    "UnsafePickleError",
    "Words",
    "message",
    "spelt",
]

PLACES_SHOWN: Final = 4


# How options are spelt


class Option(str):
    """The name of an option, as a field of `options.model` has it."""

    __slots__ = ()


# The options that errors below `options` speak of; a test keeps them equal to the model's
CONFIG_KEY: Final = Option("config_key")
EXCLUDE: Final = Option("exclude")
GOLDEN: Final = Option("golden")
INCLUDE: Final = Option("include")
KEY_REMAP: Final = Option("key_remap")
PRECISION: Final = Option("precision")
REINDEX: Final = Option("reindex")
TOP_LEVEL_KEY: Final = Option("top_level_key")
WHOLE_MODEL: Final = Option("whole_model")


@dataclass(frozen=True)
class Spelling:
    """How options are written somewhere.

    `name` spells an option, `setting` an option with a value, and `setting_it` makes a sentence of settings: what to
    do to have them.
    """

    name: Callable[[str], str]
    setting: Callable[[str, object], str]
    setting_it: Callable[[Sequence[str]], str]


def _in_python(value: object) -> str:
    """Return a value as Python source: text in double quotes."""
    if isinstance(value, str):
        return printable(json.dumps(value, ensure_ascii=False))
    if is_sequence(value):
        return f"[{', '.join(map(_in_python, value))}]"
    if is_dict(value):
        return f"{{{', '.join(f'{_in_python(key)}: {_in_python(one)}' for key, one in value.items())}}}"
    return repr(value)


def _keyword(name: str, value: object) -> str:
    return f"{name}={_in_python(value)}"


def _keywords_to_pass(settings: Sequence[str]) -> str:
    return f"Pass {' and '.join(settings)}."


PYTHON: Final = Spelling(str, _keyword, _keywords_to_pass)


# Texts that name options


class Text:
    """A text that is spelt when it is read; `str` gives Python's spelling."""

    __slots__ = ()

    def spelt(self, spelling: Spelling) -> str:
        """Return the text for somebody who writes options like this."""
        raise NotImplementedError

    def __str__(self) -> str:
        return self.spelt(PYTHON)


Part: TypeAlias = "str | Text"  # of a text: an `Option` is spelt, any other str stays as it is


def spelt(text: object, spelling: Spelling) -> str:
    """Return a text for somebody who writes options like this; what is no `Text` stays as it is."""
    if isinstance(text, Option):
        return spelling.name(text)
    return text.spelt(spelling) if isinstance(text, Text) else str(text)


class Words(Text):
    """A text made of parts, some of which are options, places or settings: `Words("leave it out with ", EXCLUDE)`."""

    __slots__ = ("parts",)

    def __init__(self, *parts: Part) -> None:
        self.parts = parts

    def spelt(self, spelling: Spelling) -> str:
        """Return the parts, joined."""
        return "".join(spelt(part, spelling) for part in self.parts)

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Words) and self.parts == other.parts

    def __hash__(self) -> int:
        return hash(self.parts)


class Do(Words):
    """A remedy: a sentence that says what to do."""

    __slots__ = ()


@dataclass(frozen=True)
class Run(Text):
    """A remedy: a command to run."""

    command: str

    def spelt(self, spelling: Spelling) -> str:  # noqa: ARG002 (a command is the same everywhere)
        """Return `Run: command`."""
        return f"Run: {self.command}"

    __str__ = Text.__str__


@dataclass(frozen=True)
class Setting(Text):
    """An option with a value, as part of a sentence."""

    name: Option
    value: object

    def spelt(self, spelling: Spelling) -> str:
        """Return `precision = "keep"`, `--precision keep`, `precision="keep"`."""
        return spelling.setting(self.name, self.value)

    __str__ = Text.__str__


@dataclass(frozen=True)
class Set(Text):
    """A remedy: options to set, each to a value."""

    settings: Mapping[Option, object]

    def spelt(self, spelling: Spelling) -> str:
        """Return the sentence, such as `Add the line: precision = "keep"`."""
        return spelling.setting_it([spelling.setting(name, value) for name, value in self.settings.items()])

    __str__ = Text.__str__


@dataclass(frozen=True)
class For(Text):
    """A text about one of several files, whose options have a spelling of their own whoever reads it."""

    text: object
    spelling: Spelling

    def spelt(self, spelling: Spelling) -> str:  # noqa: ARG002 (it has its own)
        """Return the text in its own spelling."""
        return spelt(self.text, self.spelling)

    __str__ = Text.__str__


@dataclass(frozen=True)
class Place(Text):
    """Where an option is set: names and indices, `key_remap`, 0, `pattern`.

    `spelling` is fixed where a place can only be in one kind of configuration (a table of pyproject.toml).
    """

    parts: tuple[str | int, ...]
    spelling: Spelling | None = None

    def __truediv__(self, part: str | int) -> Place:
        """Return the place of an item: a name or an index."""
        return Place((*self.parts, part), self.spelling)

    def spelt(self, spelling: Spelling) -> str:
        """Return `key_remap[0].pattern`."""
        spelling = self.spelling or spelling
        shown = ""
        for part in self.parts:
            if isinstance(part, int):
                shown += f"[{part}]"
            else:
                shown += ("." if shown else "") + spelt(part, spelling)
        return shown

    __str__ = Text.__str__


# What goes wrong


class CheckpointError(WheelweightsError, ValueError):
    """A checkpoint is missing, malformed, unsupported, or does not hold what was asked for."""


class UnsafePickleError(CheckpointError):
    """A pickle asks for code that no checkpoint needs. Nothing of it was run."""


class RemapError(WheelweightsError, ValueError):
    """Renaming would lose a tensor: two keys end at one name, or one becomes the prefix of another."""


@dataclass(frozen=True)
class Fault:
    """One fault of a configuration: the place (None where there is none), the fact, details, a remedy."""

    place: Place | None
    fact: object
    details: tuple[object, ...] = ()
    remedy: object = None

    def below(self, place: Place) -> Fault:
        """Return the fault of what is at this place: its own place is counted from there."""
        parts = () if self.place is None else self.place.parts
        return replace(self, place=Place((*place.parts, *parts), place.spelling))

    def message(self, spell: Callable[[object], str] = str) -> str:
        """Return the fault in the form of every message: `place: fact`, details, remedy.

        In a place whose spelling is fixed, everything is spelt like the place.
        """
        if self.place is not None and (fixed := self.place.spelling) is not None:
            spell = functools.partial(spelt, spelling=fixed)
        first = spell(self.fact) if self.place is None else f"{spell(self.place)}: {spell(self.fact)}"
        return WheelweightsError(first, details=self.details, remedy=self.remedy).message(spell)


class ConfigError(WheelweightsError, ValueError):
    """The configuration has faults; `faults` are all of them, `errors` their texts, each beginning with its place."""

    def __init__(self, *faults: Fault, path: str | None = None) -> None:
        self.faults = faults
        super().__init__(_fact(faults, str), path=path)

    @property
    def errors(self) -> tuple[str, ...]:
        """The text of every fault."""
        return tuple(fault.message() for fault in self.faults)

    def message(self, spell: Callable[[object], str] = str) -> str:
        """Return the only fault, or how many there are and where, and each below it."""
        if len(self.faults) == 1:
            return WheelweightsError(self.faults[0].message(spell), path=self.path).message()
        lines = [line for fault in self.faults for line in fault.message(spell).splitlines()]
        return WheelweightsError(_fact(self.faults, spell), path=self.path, details=lines).message()

    def __reduce__(self) -> tuple[type[ConfigError], tuple[Fault, ...], dict[str, object]]:
        return type(self), self.faults, self.__dict__


def _fact(faults: Sequence[Fault], spell: Callable[[object], str]) -> str:
    """Return the only fault, or how many there are and where, in a line that stands alone."""
    if len(faults) == 1:
        return faults[0].message(spell)
    places = [spell(fault.place) for fault in faults if fault.place is not None]
    more = f" and {len(faults) - PLACES_SHOWN} more" if len(faults) > PLACES_SHOWN else ""
    return f"configuration: {len(faults)} faults: {', '.join(places[:PLACES_SHOWN])}{more}"


class Faults(list[Fault]):
    """Faults of a configuration, gathered before any is raised."""

    def add(self, place: Place | None, fact: object, *details: object, remedy: object = None) -> None:
        """Note one fault."""
        self.append(Fault(place, fact, details, remedy))

    def take(self, error: ConfigError, place: Place) -> None:
        """Note the faults of what was read at a place."""
        self.extend(fault.below(place) for fault in error.faults)

    def raise_any(self) -> None:
        """Raise ConfigError with all of them, if there are any."""
        if self:
            raise ConfigError(*self)


def message(error: WheelweightsError, spelling: Spelling) -> str:
    """Return the whole message of an error for somebody who writes options like this."""
    return error.message(functools.partial(spelt, spelling=spelling))
