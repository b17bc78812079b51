"""Closing gaps in layer numbers: `layers.0`, `layers.2` become `layers.0`, `layers.1`; and what is to say of it.

Knows names and shapes only, reads no tensor.
"""

from __future__ import annotations

import re
from collections import defaultdict
from dataclasses import dataclass, field
from itertools import count, groupby, pairwise
from typing import TYPE_CHECKING, Final

from hatch_wheelweights.errors import REINDEX, Setting, Text, Words
from wheelweights.errors import SHOWN_ITEMS, backticked

if TYPE_CHECKING:
    from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence

__all__ = ["below", "reindex_keys", "reindex_with", "renumbering_note", "renumbering_warnings", "renumberings"]

_INDEX: Final = re.compile("0|[1-9][0-9]*")
MAX_DIGITS: Final = 18  # of a number that is looked at as one
MAX_PERIOD: Final = 16  # of gaps that come again and again


def reindex_keys(keys: Iterable[str]) -> dict[str, str]:
    """Return the new name of every key, without gaps in layer numbers: `layers.2` after `layers.0` is `layers.1`.

    Every part that is a plain decimal number is a layer number, at every level and at the root, except a key's last
    part. Numbers below the same prefix (as it was before) are numbered from 0 in their order; a number that is a
    tensor's own name there is left out of it.
    """
    return reindex_with(keys, (), ())[0]


def reindex_with(
    keys: Iterable[str], items: Iterable[str], others: Iterable[str]
) -> tuple[dict[str, str], dict[str, str]]:
    """Return the new names of the keys of tensors, and those of what stands beside them.

    `items` are the keys of what holds tensors without names: all their numbers count, as if they were in front of a
    tensor's name. `others` are renamed in the same way and do not count.
    """
    keys, items = list(keys), list(items)
    groups, closed = _close([*keys, *map(below, items)])
    beside = (*items, *others)
    if all(old == new for numbers in closed.values() for old, new in numbers.items()):
        return {key: key for key in keys}, {key: key for key in beside}
    return (
        {key: _renumbered(_grouped(key, groups), closed) for key in keys},
        {key: _renumbered(_grouped(below(key), groups), closed).removesuffix(".") for key in beside},
    )


def below(key: str) -> str:
    """Return the key of something below a key, so that its last part is one like the others."""
    return f"{key}."


def _close(keys: Iterable[str]) -> tuple[dict[tuple[int, str], int], dict[int, dict[str, str]]]:
    """Return the groups that keys make, and for each with numbers in it the new number of each, in their order."""
    groups: dict[tuple[int, str], int] = {}
    containers: defaultdict[int, set[str]] = defaultdict(set)
    tensors: defaultdict[int, set[str]] = defaultdict(set)
    for key in keys:
        *path, (container, name) = _grouped(key, groups)
        for group, part in path:
            if _INDEX.fullmatch(part):
                containers[group].add(part)
        if _INDEX.fullmatch(name):
            tensors[container].add(name)
    return groups, {group: _closed(numbers, tensors[group]) for group, numbers in containers.items()}


def _grouped(key: str, groups: dict[tuple[int, str], int]) -> list[tuple[int, str]]:
    """Return the parts of a key, each with the number of the group it is in: the parts that have the same prefix.

    Groups are numbered in `groups`, each after the one it is in, because the prefixes themselves can take the square
    of a key's length.
    """
    group = 0
    grouped: list[tuple[int, str]] = []
    for part in key.split("."):
        place = (group, part)
        grouped.append(place)
        group = groups.setdefault(place, len(groups) + 1)
    return grouped


def _closed(numbers: set[str], taken: set[str]) -> dict[str, str]:
    """Return the new number of each; `taken` are numbers that stay, as the names of tensors."""
    if numbers & taken:  # a tensor and a container of one name: no numbering is better than another
        return {}
    free = (number for i in count() if (number := str(i)) not in taken)
    return dict(zip(sorted(numbers, key=lambda number: (len(number), number)), free, strict=False))


def _renumbered(grouped: Sequence[tuple[int, str]], closed: Mapping[int, Mapping[str, str]]) -> str:
    *path, (_, last) = grouped
    return ".".join([*(closed.get(group, {}).get(part, part) for group, part in path), last])


# What is to say of it


@dataclass(frozen=True)
class Renumbering:
    """Groups whose numbers change, all in the same way: `group` is the first of them.

    `above` has the group and the part that each group is below, `is_one_of_many` is set where others differ from the
    first only in the numbers in their prefix. `gaps` are the first and the last number of each gap that is odd.
    """

    group: int
    above: Sequence[tuple[int, str]] = field(repr=False)
    numbers: Mapping[str, str]
    gaps: tuple[tuple[int, int], ...]
    is_one_of_many: bool

    @property
    def prefix(self) -> str:
        """What stands before the numbers, with `*` for a number that differs among the groups."""
        parts: list[str] = []
        group = self.group
        while group:
            group, part = self.above[group]
            parts.append("*" if self.is_one_of_many and _INDEX.fullmatch(part) else part)
        return backticked(".".join(reversed(parts))) if parts else "the root"

    @property
    def begin(self) -> str | None:
        """The first number, where that is not 0 and becomes 0."""
        first, new = next(iter(self.numbers.items()))
        return _short(first) if first != new == "0" else None


def renumberings(shapes: Mapping[str, tuple[int, ...]], kept: Iterable[str]) -> list[Renumbering]:
    """Return what reindexing changes of keys, whose tensors have these shapes; of `kept` keys only.

    A gap is odd where it tears apart items that have the same keys and shapes, although others of this form follow
    each other without one, and where it does not come again and again: in 0, 1, 3 the 2 may be lost; 0, 2, 4 are the
    layers of a Sequential that have parameters, and so are 0, 1, 4, 5, 8, 9.
    """
    groups, closed = _close(shapes)
    changed = {group: numbers for group, numbers in closed.items() if any(old != new for old, new in numbers.items())}
    if not changed:
        return []
    used = {group for key in kept for group, part in _grouped(key, groups)[:-1] if part in changed.get(group, ())}
    above = [(0, ""), *groups]  # a dict has its keys in the order in which they were numbered
    forms = _forms(shapes, groups, above)
    alike: dict[tuple[int, tuple[str, ...], tuple[tuple[int, int], ...]], list[int]] = {}
    places = _places(above)
    for group in (group for group in changed if group in used):
        items = [(int(old), forms[groups[group, old]]) for old in changed[group] if len(old) <= MAX_DIGITS]
        alike.setdefault((places[group], tuple(changed[group]), tuple(_odd_gaps(items))), []).append(group)
    return [Renumbering(same[0], above, changed[same[0]], gaps, len(same) > 1) for (_, _, gaps), same in alike.items()]


def _forms(
    shapes: Mapping[str, tuple[int, ...]], groups: dict[tuple[int, str], int], above: Sequence[tuple[int, str]]
) -> list[int]:
    """Return for each group a number for the keys below it and their shapes: equal where these are."""
    numbers: dict[object, int] = {}
    contents: defaultdict[int, list[tuple[str, int]]] = defaultdict(list)
    for key, shape in shapes.items():
        contents[groups[_grouped(key, groups)[-1]]].append((".", numbers.setdefault(shape, len(numbers))))  # no part
    forms = [0] * len(above)
    for group in range(len(above) - 1, 0, -1):  # from the bottom: a group has a higher number than the one it is in
        forms[group] = numbers.setdefault((".", *sorted(contents.pop(group))), len(numbers))
        container, part = above[group]
        contents[container].append((part, forms[group]))
    return forms


def _places(above: Sequence[tuple[int, str]]) -> list[int]:
    """Return for each group a number for its prefix: equal where prefixes differ in nothing but numbers."""
    known: dict[tuple[int, str], int] = {}
    places = [0]
    for container, part in above[1:]:
        place = (places[container], "*" if _INDEX.fullmatch(part) else part)
        places.append(known.setdefault(place, len(known) + 1))
    return places


def _odd_gaps(items: Sequence[tuple[int, int]]) -> Iterator[tuple[int, int]]:
    """Yield the first and the last number of each gap that is odd; items are numbers, in order, with their forms."""
    dense = {form for (number, form), (next_, same) in pairwise(items) if form == same and next_ == number + 1}
    for form, run in groupby(items, key=lambda item: item[1]):
        neighbours = list(pairwise(number for number, _ in run))
        if form in dense and not _is_periodic([next_ - number for number, next_ in neighbours]):
            yield from ((number + 1, next_ - 1) for number, next_ in neighbours if next_ > number + 1)


def _is_periodic(steps: Sequence[int]) -> bool:
    """Tell whether steps repeat, at least once as a whole."""
    periods = range(1, min(len(steps) // 2, MAX_PERIOD) + 1)
    return any(all(step == after for step, after in zip(steps, steps[period:], strict=False)) for period in periods)


def renumbering_note(found: Sequence[Renumbering]) -> str:
    """Return the line that says what became of the numbers."""
    shown = [f"{one.prefix}: {_listed(one.numbers)} -> {_listed(one.numbers.values())}" for one in found[:SHOWN_ITEMS]]
    return f"reindexed {'; '.join(shown)}{_more(found)}"


def renumbering_warnings(found: Sequence[Renumbering]) -> Iterator[Text]:
    """Yield a warning of the groups that did not begin at 0, and one of those with odd gaps."""
    keep = Setting(REINDEX, False)
    if late := [one for one in found if one.begin is not None]:
        shown = ", ".join(f"{one.prefix} begins at {one.begin}" for one in late[:SHOWN_ITEMS])
        fact = f"{shown}{_more(late)}, and at 0 after reindexing: if it is part of a model (a lone shard, an adapter), "
        yield Words(fact, keep, " keeps the numbers")
    if torn := [one for one in found if one.gaps]:
        shown = ", ".join(f"{one.prefix} lacks {_gaps(one.gaps)}" for one in torn[:SHOWN_ITEMS])
        fact = f"{shown}{_more(torn)} between items with the same keys and shapes (a lost layer?); "
        yield Words(fact, keep, " keeps the numbers")


def _more(found: Collection[object]) -> str:
    return f" and {len(found) - SHOWN_ITEMS:,} more" if len(found) > SHOWN_ITEMS else ""


def _gaps(gaps: Sequence[tuple[int, int]]) -> str:
    shown = ", ".join(f"{first}" if first == last else f"{first} to {last}" for first, last in gaps[:SHOWN_ITEMS])
    return f"{shown}{_more(gaps)}"


def _listed(numbers: Iterable[str]) -> str:
    """Return numbers in their order, more than three that follow each other as `0 to 11`; of many, the first."""
    runs: list[list[str]] = []
    for number in numbers:
        if runs and _follows(runs[-1][-1], number):
            runs[-1].append(number)
        else:
            runs.append([number])
    parts = [part for run in runs for part in ([run] if len(run) > 3 else [[number] for number in run])]
    shown = [_short(part[0]) if len(part) == 1 else f"{_short(part[0])} to {_short(part[-1])}" for part in parts]
    more = sum(map(len, parts[SHOWN_ITEMS:]))
    return ", ".join(shown[:SHOWN_ITEMS]) + (f" and {more:,} more" if more else "")


def _follows(number: str, next_: str) -> bool:
    return len(next_) <= MAX_DIGITS and int(next_) == int(number) + 1


def _short(number: str) -> str:
    return number if len(number) <= MAX_DIGITS else f"{number[:MAX_DIGITS]}..."
