"""Lines of source: what fits stays on one line, what does not is broken as formatters break it."""

from __future__ import annotations

import sys
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Final, TypeAlias

if TYPE_CHECKING:
    from collections.abc import Iterator

__all__ = ["WIDTH", "Choice", "Group", "Item", "lines_of", "one_line", "prefixed"]

WIDTH: Final = 88  # the default of ruff and black


@dataclass(frozen=True, slots=True)
class Group:
    """Items in brackets, after commas, or after spaces where they are no list; a `lone` item is followed by a comma.

    Without brackets, as in a union inside some, they do not end with a comma of their own.
    """

    start: str
    items: tuple[Item, ...]
    end: str
    commas: bool = True
    lone: bool = False


@dataclass(frozen=True, slots=True)
class Choice:
    """An item if a condition holds, else None."""

    start: str
    item: Item
    condition: str


Item: TypeAlias = str | Group | Choice


def prefixed(prefix: str, item: Item) -> Item:
    """Return an item with a text in front."""
    return prefix + item if isinstance(item, str) else replace(item, start=prefix + item.start)


def lines_of(item: Item, indent: int, behind: str = "") -> Iterator[str]:
    """Yield the lines of an item, with a text behind it."""
    space = " " * indent
    whole = flat(item, WIDTH - indent - len(behind))
    if whole is not None:
        yield f"{space}{whole}{behind}"
    elif isinstance(item, Choice):
        yield f"{space}{item.start}("
        yield from _choice_lines(replace(item, start=""), indent + 4)
        yield f"{space}){behind}"
    elif isinstance(item, Group) and not item.start:
        for inner in item.items:
            yield from lines_of(inner, indent, behind if inner is item.items[-1] else "")
    elif isinstance(item, Group):
        yield f"{space}{item.start}"
        for inner in item.items:
            yield from lines_of(inner, indent + 4, "," if item.commas else "")
        yield f"{space}{item.end}{behind}"


def _choice_lines(choice: Choice, indent: int) -> Iterator[str]:
    """Yield the lines of a choice in brackets."""
    space = " " * indent
    whole = flat(choice, WIDTH - indent)
    if whole is not None:
        yield f"{space}{whole}"
    else:
        yield from lines_of(choice.item, indent)
        yield from (f"{space}if {choice.condition}", f"{space}else None")


def one_line(item: Item) -> str:
    """Return an item on one line, however long that is."""
    return flat(item, sys.maxsize) or ""


def flat(item: Item, width: int) -> str | None:
    """Return an item on one line; None where it is longer than the width and can be broken."""
    if isinstance(item, str):
        return item
    if isinstance(item, Choice):
        inner = flat(item.item, width)
        whole = None if inner is None else f"{item.start}{inner} if {item.condition} else None"
    else:
        whole = _flat_group(item, width)
    return whole if whole is not None and len(whole) <= width else None


def _flat_group(group: Group, width: int) -> str | None:
    """Return the items on one line; it gives up as soon as they are too long, however many there are."""
    length, inner = 0, list[str]()
    for item in group.items:
        text = flat(item, width)
        length += width if text is None else len(text)
        if text is None or length > width:
            return None
        inner.append(text)
    alone = "," if group.lone and len(inner) == 1 else ""
    return f"{group.start}{(', ' if group.commas else ' ').join(inner)}{alone}{group.end}"
