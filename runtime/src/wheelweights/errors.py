"""Errors as values, and how their messages are composed.

Knows no file format. The first line of a message makes sense alone (`subject: fact`); detail lines follow, then one
line with the remedy, which begins with a verb. Text that comes from a file goes through `printable`, `quoted` or
`backticked`, because a hostile file can hold terminal escapes.
"""

from __future__ import annotations

import os
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable

__all__ = [
    "SHOWN_CHARACTERS",
    "SHOWN_ITEMS",
    "DtypeError",
    "MissingRecordError",
    "RecordError",
    "WheelweightsError",
    "backticked",
    "counted",
    "did_you_mean",
    "human_size",
    "listed",
    "nearest",
    "printable",
    "quoted",
]

SHOWN_CHARACTERS: Final = 80  # of a text that comes from a file
SHOWN_ITEMS: Final = 8  # of a list


class WheelweightsError(Exception):
    """Base of everything that wheelweights and hatch-wheelweights raise on bad input.

    An error is a value: `path` (the file, as the caller wrote it), `key` (the tensor), `position` (the place inside
    the file) and `fact` say what is wrong and where, `expected` and `found` are the parts of the fact where it has
    them, `details` and `remedy` follow it. `path` and `key` may be filled in later, by code that knows them.

    `str(error)` is the whole message: `path: tensor key: fact (at position)`, then the details, then the remedy. The
    texts are strings, or values whose `str` is the text (hatch-wheelweights names options that way, because a table, a
    command line and Python spell them differently); `message` takes the function that spells them.
    """

    def __init__(
        self,
        fact: object,
        *,
        path: str | os.PathLike[str] | None = None,
        key: str | None = None,
        position: str | None = None,
        expected: object = None,
        found: object = None,
        details: Iterable[object] = (),
        remedy: object = None,
    ) -> None:
        super().__init__(fact)
        self.fact = fact
        self.path = None if path is None else os.fspath(path)
        self.key = key
        self.position = position
        self.expected = expected
        self.found = found
        self.details = tuple(details)
        self.remedy = remedy

    def message(self, spell: Callable[[object], str] = str) -> str:
        """Return the whole message; `spell` turns fact, details and remedy into text."""
        subject = [] if self.path is None else [printable(self.path)]
        if self.key is not None:
            subject.append(f"tensor {backticked(self.key)}")
        place = "" if self.position is None else f" (at {self.position})"
        first = ": ".join([*subject, spell(self.fact) + place])
        rest = [spell(detail) for detail in self.details]
        rest += [spell(self.remedy)] if self.remedy else []
        return "\n".join([first, *(f"  {line}" for line in rest)])

    def __str__(self) -> str:
        return self.message()


class RecordError(WheelweightsError, ValueError):
    """A record is missing, malformed, or not a record at all."""


class MissingRecordError(RecordError):
    """There is no file where a record should be."""


class DtypeError(WheelweightsError, TypeError):
    """A record, numpy or a library cannot represent a dtype."""


def printable(text: str) -> str:
    """Return text uncut, with control characters escaped: a terminal would obey them."""
    if text.isprintable():
        return text
    return "".join(c if c.isprintable() else c.encode("unicode_escape").decode("ascii") for c in text)


def quoted(text: object) -> str:
    """Return free text as a `repr`, cut at 80 characters."""
    cut = (text if isinstance(text, bytes) else str(text))[: SHOWN_CHARACTERS + 1]
    shown = ascii(cut) if isinstance(cut, bytes) else repr(cut)
    return shown if len(shown) <= SHOWN_CHARACTERS else shown[: SHOWN_CHARACTERS - 3] + "..."


def backticked(name: object) -> str:
    """Return a key, option or dtype in backticks, with control characters escaped, cut at 80 characters."""
    text = str(name)
    cut = text if len(text) <= SHOWN_CHARACTERS else text[: SHOWN_CHARACTERS - 3] + "..."
    return f"`{printable(cut)}`"


def listed(names: Iterable[object], *, empty: str = "none") -> str:
    """Return the names sorted and in backticks: the first 8, then "and 159 more"."""
    items = sorted(str(name) for name in names)
    shown = ", ".join(backticked(name) for name in items[:SHOWN_ITEMS])
    more = len(items) - SHOWN_ITEMS
    return f"{shown} and {more:,} more" if more > 0 else shown or empty


def nearest(name: str, known: Iterable[str]) -> str | None:
    """Return the known name that looks most like this one, or None when none is near."""
    import difflib  # noqa: PLC0415 (only for an error)

    return next(iter(difflib.get_close_matches(name, list(known), n=1)), None)


def counted(count: int, what: str) -> str:
    """Return a number with the thing it counts: "1 missing key", "2 mismatches", "1,024 tensors"."""
    plural = "" if count == 1 else "es" if what.endswith(("s", "x", "z", "ch", "sh")) else "s"
    return f"{count:,} {what}{plural}"


def human_size(size: int) -> str:
    """Return a number of bytes with three digits or more: `288 B`, `45.1 kB`, `1.34 GB`."""
    amount = float(size)
    for unit in ("B", "kB", "MB", "GB"):
        if amount < 999.5:
            return f"{size} B" if unit == "B" else f"{amount:#.3g} {unit}".replace(". ", " ")
        amount /= 1000
    return f"{amount:,.2f} TB"


def did_you_mean(name: str, known: Iterable[str]) -> str | None:
    """Return "Did you mean `x`?" for the nearest known name, or None when none is near."""
    near = nearest(name, known)
    return None if near is None else f"Did you mean {backticked(near)}?"
