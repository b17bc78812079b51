"""The keys of a record, as the tree that their dots make of them."""

from __future__ import annotations

import bisect
from typing import TYPE_CHECKING, Any

from wheelweights.errors import quoted
from wheelweights.names import is_number
from wheelweights.report import BindError

if TYPE_CHECKING:
    from collections.abc import Mapping

__all__ = ["Keys"]


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
        return sorted(filter(is_number, self.parts(name)), key=int)
