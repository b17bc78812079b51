"""Tensors whose key is in both files, but whose content is under another key: layers that were put in or taken out.

`layers.4.weight` of one file is `layers.3.weight` of the other then, and a comparison by key finds everything behind
that place different. Knows what was found of each key and the contents that were read; reads nothing.
"""

from __future__ import annotations

import math
from collections import Counter
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from collections.abc import Collection, Hashable, Mapping

    from hatch_wheelweights.looking.difference.facts import TensorDifference
    from hatch_wheelweights.looking.difference.values import Content

__all__ = ["have_moved", "perhaps_moved", "repeated"]

ENOUGH: Final = 2  # tensors that are found under another key; one alone is a coincidence, or a swap that is no rule


def perhaps_moved(same: Collection[TensorDifference]) -> set[str]:
    """Return the keys whose tensors differ in shape, or in values where another key has what one of them holds.

    That is told by dtype, shape and the sum of all squares, which comparing them has given: it misses nothing that is
    equal, and contents have to be read to know more.
    """
    reshaped = {found.key for found in same if found.forms[0].shape != found.forms[1].shape}
    changed = {found.key: found.values for found in same if found.values is not None and found.values.unequal}
    marks = [(_marks(found, 0), _marks(found, 1)) for found in same if found.key in changed]
    ours, theirs = ({mark for pair in marks for mark in pair[side]} for side in (0, 1))
    elsewhere = max(
        sum(not theirs.isdisjoint(left) for left, _ in marks), sum(not ours.isdisjoint(right) for _, right in marks)
    )
    return reshaped | (set(changed) if elsewhere >= ENOUGH else set())


def _marks(found: TensorDifference, side: int) -> set[Hashable]:
    """Return what tensors of equal contents have in common, whatever blocks they were read in; a number proves nothing.

    Rounding makes it one of two neighbours where it falls between them.
    """
    squares = 0.0 if found.values is None else found.values.products[2 * side]
    if math.prod(found.forms[side].shape) < 2 or not squares or not math.isfinite(squares):
        return set()
    return {(found.forms[side], f"{squares * nudge:.9e}") for nudge in (1 - 1e-11, 1 + 1e-11)}


def have_moved(keys: Collection[str], contents: tuple[Mapping[str, Content], Mapping[str, Content]]) -> bool:
    """Return whether several of these keys have a content, not of one value, that the other file has elsewhere."""
    ours, theirs = ({key: content.digest for key, content in side.items() if not content.constant} for side in contents)
    return max(_elsewhere(keys, ours, theirs), _elsewhere(keys, theirs, ours)) >= ENOUGH


def _elsewhere(keys: Collection[str], these: Mapping[str, bytes], those: Mapping[str, bytes]) -> int:
    """Return how many of the keys have a content that is under another key in the other file."""
    there = Counter(those.values())
    return sum(key in these and there[these[key]] > (those.get(key) == these[key]) for key in keys)


def repeated(contents: Mapping[str, Content]) -> set[str]:
    """Return the keys of contents that are of one value, or that several of these keys have: they tell no place."""
    times = Counter(content.digest for content in contents.values())
    return {key for key, content in contents.items() if content.constant or times[content.digest] > 1}
