"""Which values of a pickle may be keys, and what a dict does to find them.

A file chooses the hashes of numbers and of tuples of numbers, so it can make keys collide: then every one of them costs
as much as all before it. Numbers near the number of keys cannot be chosen so, and text has a hash that depends on a
secret of the process. All others are counted, and where they are many, the places that a dict looks at are followed.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final, cast

import numpy as np

from hatch_wheelweights.checkpoint.nodes import Array, Global, Opaque, described
from hatch_wheelweights.checkpoint.remedies import DOUBTFUL
from hatch_wheelweights.checkpoint.tensors import LazyTensor
from hatch_wheelweights.checkpoint.values import Bytearray, is_tuple
from hatch_wheelweights.errors import CheckpointError

if TYPE_CHECKING:
    from collections.abc import Sequence

__all__ = ["MAX_KEY_ITEMS", "NEAR_NUMBER", "KeyGuard"]

MAX_KEY_ITEMS: Final = 64  # of a tuple as a dict key: hashing a tuple is not cached
MAX_KEY_WALK: Final = 1024  # the same, with those of tuples in it
MAX_KEY_INT: Final = 1 << 64  # hashing a longer one takes time, and many of them have one hash
MAX_NUMBER_TUPLES: Final = 5_000  # as keys: the hashes of tuples of numbers can be made to collide
MAX_FAR_NUMBERS: Final = 5_000  # as items of sets, and so can those of numbers beyond these and four times all keys
NEAR_NUMBER: Final = 1 << 16
FREE_FAR_NUMBERS: Final = 1_000  # as keys of dicts, before a dict of so many keys is followed
MIN_FOLLOWED: Final = 1_000
MAX_PLACES: Final = 150  # that a dict may look at for each key: of random ones 4, of 700,000 multiples of 2**39 144
PLACES_PER_STEP: Final = 8

_COSTLY: Final = (complex, np.complexfloating, frozenset)
_KEYS: Final = (str, bytes, int, float, np.generic, Global, Opaque, LazyTensor, type(None), *_COSTLY)
_MADE_BY_NUMPY: Final = ("_frombuffer", "_reconstruct", "ndarray")


def _is_hashable(key: Any) -> bool:
    if isinstance(key, Opaque) and key.closed and key.name in _MADE_BY_NUMPY:
        return False  # an array, too, if not one that can be a tensor
    return isinstance(key, _KEYS) and not isinstance(key, (Bytearray, Array))


class KeyGuard:
    """Keeps the hashing of keys cheap: counts those whose hashes a file can choose so that they collide.

    `max_places` is how many places a dict may look at for each of its keys.
    """

    def __init__(self, max_places: int = MAX_PLACES) -> None:
        self.steps = 0  # what looking through keys, and for their places, took
        self._keys = self._tuples = self._far = 0
        self._max_places = max_places
        self._tables: dict[int, _Table] = {}  # by the identity of the dict, which the table keeps alive

    def key(self, key: Any, *, followed: bool = False) -> Any:
        """Return a dict key or set item, replaced by a node unless its hash is cheap and cannot be made to collide.

        `followed` is for keys that go into a dict by `fill`, where numbers of any kind stay what they are. Nodes and
        tensors are told apart by identity. Raises TypeError for a value that is no key in Python either.
        """
        self._keys += 1
        self.steps += 1
        if type(key) is str:  # as nearly all are
            return key
        if is_tuple(key):
            self._check_hashable(key)
        return key if self._is_cheap(key, followed=followed) else Opaque("builtins", type(key).__name__, (key,))

    def fill(self, target: dict[Any, Any], pairs: Sequence[tuple[Any, Any]]) -> None:
        """Set keys that `key` gave, and their values, in a dict that only this sets keys in.

        Raises CheckpointError where the dict would look at far more places for its keys than it has keys.
        """
        table = self._tables.get(id(target))
        if table is None:
            if self._far <= FREE_FAR_NUMBERS or len(target) + len(pairs) < MIN_FOLLOWED:
                target.update(pairs)
                return
            table = self._tables[id(target)] = _Table(target, self._max_places)
        before = table.places
        for key, value in pairs:
            table.set(key, value)
        self.steps += 1 + (table.places - before) // PLACES_PER_STEP

    def _check_hashable(self, key: tuple[Any, ...]) -> None:
        """Raise TypeError for a tuple with anything in it that is no key, and for one that is too large to tell."""
        stack: list[Any] = [key]
        left = MAX_KEY_WALK
        while stack:
            items = stack.pop()
            left -= len(items)
            self.steps += len(items)
            if left < 0:
                raise TypeError(f"a key has more than {MAX_KEY_WALK:,} items")
            for item in items:
                if is_tuple(item):
                    stack.append(item)
                elif not _is_hashable(item):
                    raise TypeError(f"{described(item)} is a key")

    def _is_cheap(self, key: Any, *, followed: bool = False) -> bool:
        if is_tuple(key):
            return self._is_cheap_tuple(key)
        if isinstance(key, _COSTLY):
            return False
        if not _is_hashable(key):
            raise TypeError(f"{described(key)} is a key")
        if isinstance(key, (int, float, np.number)):
            return self._is_cheap_number(cast("float", key), followed=followed)
        return True

    def _is_cheap_tuple(self, key: tuple[Any, ...]) -> bool:
        """Text that comes first hides, by a secret of the process, what the hashes of later items are combined with."""
        if len(key) > MAX_KEY_ITEMS or any(is_tuple(item) or not self._is_cheap(item) for item in key):
            return False
        if key and isinstance(key[0], (str, bytes)):
            return True
        self._tuples += 1
        return self._tuples <= MAX_NUMBER_TUPLES

    def _is_cheap_number(self, key: float, *, followed: bool) -> bool:
        """Numbers that are not far from the number of keys fill a table evenly; others can be chosen to collide."""
        if isinstance(key, int) and abs(key) >= MAX_KEY_INT:
            return False
        value = float(key)
        near = value.is_integer() and abs(value) < NEAR_NUMBER + 4 * self._keys
        self._far += not near
        return near or followed or self._far <= MAX_FAR_NUMBERS


class _Table:
    """The table of a dict, followed: which of its places are taken, and how many were looked at.

    As in CPython (Objects/dictobject.c): a table has 2**k places, of which two thirds are used before it doubles; a
    hash is looked for at the place of its lowest bits, then at 5 * place + perturb + 1, where perturb is the hash,
    shifted by five more bits each time.
    """

    def __init__(self, target: dict[Any, Any], max_places: int) -> None:
        self.places = 0
        self._max_places = max_places
        self._target = target
        self._taken = bytearray(8)
        self._grow(len(target))

    def set(self, key: Any, value: Any) -> None:
        """Set a key of the dict; raise CheckpointError where there is no place for it but far away."""
        if not self._has_room(len(self._target) + 1) and key not in self._target:
            self._grow(len(self._target) + 1)
        place, before = self._place(key), len(self._target)
        self._target[key] = value
        if len(self._target) > before:
            self._taken[place] = 1

    def _has_room(self, count: int) -> bool:
        return count <= 2 * len(self._taken) // 3

    def _grow(self, count: int) -> None:
        """Make a new table, which has room for so many keys, and give each key that there is a place in it."""
        while not self._has_room(count):
            self._taken = bytearray(2 * len(self._taken))
        for key in self._target:
            self._taken[self._place(key)] = 1

    def _place(self, key: Any) -> int:
        """Return the first free place for a key."""
        taken, mask, places = self._taken, len(self._taken) - 1, 1
        perturb = hash(key) & 0xFFFF_FFFF_FFFF_FFFF
        place = perturb & mask
        while taken[place]:
            perturb >>= 5
            place = 5 * place + perturb + 1 & mask
            places += 1
        self.places += places
        if self.places > self._max_places * max(len(self._target), MIN_FOLLOWED):
            raise CheckpointError(
                f"the keys of a dict of {len(self._target):,} collide: looking each of them up takes far too long",
                remedy=DOUBTFUL,
            )
        return place
