"""Closing gaps in layer numbers: `layers.0`, `layers.2` become `layers.0`, `layers.1`.

Knows names only, no tensors.
"""

from __future__ import annotations

import re
from collections import defaultdict
from itertools import count
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence

__all__ = ["reindex_keys"]

_INDEX: Final = re.compile("0|[1-9][0-9]*")


def reindex_keys(keys: Iterable[str]) -> dict[str, str]:
    """Return the new name of every key, without gaps in layer numbers: `layers.2` after `layers.0` is `layers.1`.

    Every part that is a plain decimal number is a layer number, at every level and at the root, except a key's last
    part. Numbers below the same prefix (as it was before) are numbered from 0 in their order; a number that is a
    tensor's own name there is left out of it.
    """
    groups: dict[tuple[int, str], int] = {}
    containers: defaultdict[int, set[str]] = defaultdict(set)
    tensors: defaultdict[int, set[str]] = defaultdict(set)
    keys = list(keys)
    for key in keys:
        *path, last = _grouped(key, groups)
        for group, part in path:
            if _INDEX.fullmatch(part):
                containers[group].add(part)
        tensors[last[0]].add(last[1])
    closed = {group: _closed(numbers, tensors[group]) for group, numbers in containers.items()}
    return {key: _renumbered(_grouped(key, groups), closed) for key in keys}


def _grouped(key: str, groups: dict[tuple[int, str], int]) -> list[tuple[int, str]]:
    """Return the parts of a key, each with the number of the group it is in: the parts that have the same prefix.

    Groups are numbered in `groups`, because the prefixes themselves can take the square of a key's length.
    """
    group = 0
    grouped = []
    for part in key.split("."):
        grouped.append((group, part))
        group = groups.setdefault((group, part), len(groups) + 1)
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
