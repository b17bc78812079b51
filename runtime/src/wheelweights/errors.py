"""What goes wrong, and how it is said.

Knows how a message is composed; knows no file format. A message has a first line that stands alone (`subject: fact`),
then detail lines, then one remedy line that begins with a verb. Free text that comes from a file goes through
`quoted` or `backticked`, because a hostile file can hold terminal escapes.
"""

from __future__ import annotations

import os
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterable

__all__ = [
    "BindError",
    "DtypeError",
    "RecordError",
    "WheelweightsError",
    "backticked",
    "did_you_mean",
    "listed",
    "printable",
    "quoted",
    "what_it_is",
]

SHOWN_CHARACTERS = 80
SHOWN_ITEMS = 8


class WheelweightsError(Exception):
    """Base of everything that wheelweights and hatch-wheelweights raise on bad input.

    `str(error)` is the whole message: `path: tensor key: fact`, the details, the remedy. `path` (the file, as the
    caller wrote it) and `key` may be filled in later, by the code that knows them; `expected` and `found` are the
    parts of the fact where it has them.
    """

    def __init__(
        self,
        fact: str,
        *,
        path: str | os.PathLike[str] | None = None,
        key: str | None = None,
        expected: object = None,
        found: object = None,
        details: Iterable[str] = (),
        remedy: str | None = None,
    ) -> None:
        super().__init__(fact)
        self.path = None if path is None else os.fspath(path)
        self.key = key
        self.expected = expected
        self.found = found
        self.details = tuple(details)
        self.remedy = remedy

    def __str__(self) -> str:
        subject = [] if self.path is None else [printable(self.path)]
        if self.key is not None:
            subject.append(f"tensor {backticked(self.key)}")
        first = ": ".join([*subject, str(self.args[0])])
        rest = [f"  {line}" for line in self.details]
        if self.remedy:
            rest.append(f"  {self.remedy}")
        return "\n".join([first, *rest])


class RecordError(WheelweightsError, ValueError):
    """A record is missing, malformed, or not a record at all."""


class DtypeError(WheelweightsError, TypeError):
    """A dtype cannot be represented where it is asked for."""


class BindError(WheelweightsError, ValueError):
    """A record does not fit a model; `report` lists every fault."""

    report: object = None


def printable(text: str) -> str:
    """Return text of a file whole, with control characters escaped: a terminal would obey them."""
    return "".join(c if c.isprintable() else c.encode("unicode_escape").decode("ascii") for c in text)


def quoted(text: object) -> str:
    """Return free text of a file as a `repr`, cut at 80 characters."""
    shown = ascii(text) if isinstance(text, bytes) else repr(str(text)[: SHOWN_CHARACTERS + 1])
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


def did_you_mean(name: str, known: Iterable[str]) -> str | None:
    """Return "Did you mean `x`?" for the nearest known name, or None when none is near."""
    import difflib  # noqa: PLC0415 (only for an error)

    near = difflib.get_close_matches(name, list(known), n=1)
    return f"Did you mean {backticked(near[0])}?" if near else None


def what_it_is(head: bytes) -> str:
    """Name the kind of file that begins with these bytes (some 64 are enough), for an error about a wrong file."""
    if not head:
        return "an empty file"
    for magic, name in _KINDS:
        if head.startswith(magic):
            return name
    if head.lstrip()[:14].lower().startswith((b"<!doctype html", b"<html")):
        return "an HTML page (a failed download)"
    if len(head) > 9 and head[8:9] == b"{" and int.from_bytes(head[:8], "little") < 1 << 32:
        return "a safetensors file"
    return f"a file that begins with {quoted(head[:16])}"


_KINDS = (
    (b"version https://git-lfs.github.com/spec", "a Git LFS pointer"),
    (b"\x87\xa6format\xacwheelweights", "a wheelweights record"),
    (b"PK\x03\x04", "a zip archive (a PyTorch checkpoint or a wheel)"),
    (b"\x80\x02\x8a\x0a\x6c\xfc\x9c\x46\xf9\x20\x6a\xa8\x50\x19", "a PyTorch checkpoint (torch < 1.6)"),
    (b"\x83\xa8metadata", "a record written by Burn"),
    (b"\x1f\x8b", "a gzip file"),
    (b"\x93NUMPY", "a NumPy array file"),
    (b"\x89HDF", "an HDF5 file"),
    (b"GGUF", "a GGUF file"),
    (b"\x80", "a pickle"),
)
