"""The keys of a record, as the tree that their dots make of them."""

from __future__ import annotations

import bisect
from typing import TYPE_CHECKING, Any

from wheelweights.errors import quoted
from wheelweights.report import BindError

if TYPE_CHECKING:
    from collections.abc import Mapping

__all__ = ["Keys", "in_order", "join"]


class Keys:
    """The keys of a record, ordered so that those below a name lie together.

    `position` is the place of each key in the record. Raises BindError for a mapping with other keys than strings.
    """

    def __init__(self, record: Mapping[Any, Any]) -> None:
        self.position: dict[str, int] = {}
        for position, key in enumerate(record):
            if not isinstance(key, str):
                raise BindError(f"expected a mapping with strings as keys, found the key {quoted(key)}", found=key)
            self.position[key] = position
        self._sorted = sorted(self.position)

    def __contains__(self, key: str) -> bool:
        return key in self.position

    def below(self, name: str) -> list[str]:
        """Return the keys that begin with `name.`; for the empty name, all keys."""
        if not name:
            return self._sorted
        first = bisect.bisect_left(self._sorted, f"{name}.")
        return self._sorted[first : bisect.bisect_left(self._sorted, f"{name}/", first)]  # `/` follows `.` in ASCII

    def present(self, name: str) -> bool:
        """Return whether the name is a key, or keys are below it."""
        return name in self.position or bool(self.below(name))

    def parts(self, name: str) -> list[str]:
        """Return what follows `name.` up to the next dot, each part once, in the order of the record."""
        start = len(name) + 1 if name else 0
        keys = sorted(self.below(name), key=self.position.__getitem__)
        return list(dict.fromkeys(key[start:].partition(".")[0] for key in keys))

    def numbers(self, name: str) -> list[str]:
        """Return the parts that are plain decimal numbers (`02` is a name), in the order of the numbers."""
        plain = (part for part in self.parts(name) if part.isascii() and part.isdigit())
        return sorted((part for part in plain if part == "0" or part[0] != "0"), key=lambda part: (len(part), part))


def join(name: str, part: str) -> str:
    """Return the key of a part: `name.part`, or the part alone at the top."""
    return f"{name}.{part}" if name else part


def in_order(holds: list[bool], numbers: list[str]) -> list[str]:
    """Return the number in the record of each item of a sequence; `holds` says which items have arrays.

    Items without arrays (an activation in between) need none. If there are as many numbers as items that need one, they
    belong together in order, so that numbers with gaps bind like numbers without. Otherwise an item's number is its
    place, so that no array slips to its neighbour.
    """
    places = [str(i) for i in range(len(holds))]
    needing = [i for i, holding in enumerate(holds) if holding]
    if len(needing) == len(numbers):
        for i, number in zip(needing, numbers, strict=True):
            places[i] = number
    return places
