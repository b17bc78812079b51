"""The names of keys as text: their parts, and the numbers of items among them. Knows no record."""

from __future__ import annotations

import itertools
from typing import TYPE_CHECKING

from wheelweights.errors import SHOWN_ITEMS

if TYPE_CHECKING:
    from collections.abc import Sequence

__all__ = [
    "in_order",
    "is_number",
    "join",
    "missing_from",
    "numbers_fit",
    "pattern",
    "ranges_of",
    "spans",
    "split_at_number",
]

DIGITS = 9  # of the number of an item; a longer one is a name


def is_number(part: str) -> bool:
    """Return whether a part of a key is the number of an item: plain, decimal, with at most 9 digits."""
    return part.isascii() and part.isdigit() and len(part) <= DIGITS and (part == "0" or part[0] != "0")


def join(name: str, part: str) -> str:
    """Return the key of a part: `name.part`, or the part alone at the top."""
    return f"{name}.{part}" if name else part


def pattern(key: str) -> str:
    """Return the key with `N` for each number: what keys of like items have in common."""
    return ".".join("N" if is_number(part) else part for part in key.split("."))


def split_at_number(key: str) -> tuple[str, str]:
    """Return the outermost item of a list that a key is in, and the rest; without one, its module and its last part."""
    parts = key.split(".")
    places = [i for i, part in enumerate(parts) if is_number(part)]
    end = places[0] + 1 if places else len(parts) - 1
    return ".".join(parts[:end]), ".".join(parts[end:])


def in_order(holds: list[bool], numbers: list[str]) -> list[str]:
    """Return the number in the record of each item of a sequence; `holds` says which items have arrays.

    Items without arrays (an activation in between) need none. The number of an item is its place. A record that was
    reindexed has numbers without gaps: where there are as many as items that need one, these take them in order.
    """
    places = [str(i) for i in range(len(holds))]
    needing = [i for i, holding in enumerate(holds) if holding]
    if numbers == places[: len(needing)]:
        for i, number in zip(needing, numbers, strict=True):
            places[i] = number
    return places


def numbers_fit(holds: list[bool], numbers: list[str]) -> bool:
    """Return whether it is certain which item of a sequence each number means.

    The numbers are 0 to n-1 for the n items with arrays, or places of such items. Some may be lacking or there may be
    more, but not both: then a lost layer would look like one that was renumbered.
    """
    found, places = set(numbers), {str(i) for i, holding in enumerate(holds) if holding}
    return found == {str(i) for i in range(len(places))} or found <= places or found >= places


def missing_from(numbers: Sequence[int], expected: Sequence[int]) -> list[range]:
    """Return the numbers that are expected and not there, as ranges; both in ascending order.

    `expected` may be a range of any length: what is there is looked at, not what is missing.
    """
    if isinstance(expected, range):
        ends = [-1, *(number for number in numbers if number in expected), len(expected)]
        gaps = [range(before + 1, behind) for before, behind in itertools.pairwise(ends)]
        return [gap for gap in gaps if gap]
    return ranges_of(sorted(set(expected) - set(numbers)))


def ranges_of(numbers: Sequence[int]) -> list[range]:
    """Return ascending numbers as ranges without gaps."""
    found: list[range] = []
    for number in numbers:
        if found and found[-1].stop == number:
            found[-1] = range(found[-1].start, number + 1)
        else:
            found.append(range(number, number + 1))
    return found


def spans(ranges: list[range]) -> str:
    """Return numbers as a message shows them: "0, 1, 4 to 9"; the first 8 of many, and how many follow."""
    shown: list[str] = []
    for one in ranges:
        shown += map(str, one) if len(one) < 3 else [f"{one[0]} to {one[-1]}"]
    more = len(shown) - SHOWN_ITEMS
    return ", ".join(shown[:SHOWN_ITEMS]) + (f" and {more:,} more" if more > 0 else "") or "none"
