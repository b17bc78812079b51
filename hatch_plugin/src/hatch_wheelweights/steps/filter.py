"""Choosing tensors by their final keys: `include` and `exclude`.

Knows names only, no tensors.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from hatch_wheelweights.errors import EXCLUDE, INCLUDE, CheckpointError, Do, Words
from hatch_wheelweights.options.patterns import parse_pattern
from hatch_wheelweights.steps.remap import nearest_keys
from wheelweights.errors import SHOWN_ITEMS, backticked, listed

if TYPE_CHECKING:
    import re
    from collections.abc import Iterable, Mapping, Sequence

__all__ = ["filter_keys"]


def filter_keys(keys: Iterable[str], include: Sequence[str], exclude: Sequence[str]) -> set[str]:
    """Return the keys in which an `include` pattern is found (all keys, where there is none) and no `exclude` pattern.

    Raises CheckpointError for a pattern that is found in no key, and where no key is left.
    """
    keys = list(keys)
    wanted, unwanted = ({text: parse_pattern(text) for text in patterns} for patterns in (include, exclude))
    _refuse_idle(keys, wanted | unwanted)
    kept = {key for key in keys if (not wanted or _found(wanted, key)) and not _found(unwanted, key)}
    if not kept:
        fact = Words("expected ", INCLUDE, " and ", EXCLUDE, f" to leave a tensor, found none left of {len(keys):,}")
        raise CheckpointError(fact, remedy="Include more, or exclude less.")
    return kept


def _refuse_idle(keys: Sequence[str], patterns: Mapping[str, re.Pattern[str]]) -> None:
    """Raise CheckpointError for the patterns that are found in no key."""
    idle = [text for text, pattern in patterns.items() if not any(map(pattern.search, keys))]
    if idle:
        nearest = [f"Nearest to {backticked(text)}: {listed(nearest_keys(text, keys))}" for text in idle[:SHOWN_ITEMS]]
        raise CheckpointError(
            f"expected keys that match {listed(idle)}, found none among {len(keys):,}",
            expected=tuple(idle),
            details=nearest,
            remedy=Do("Correct the pattern in ", INCLUDE, " or ", EXCLUDE, ", or remove it."),
        )


def _found(patterns: Mapping[str, re.Pattern[str]], key: str) -> bool:
    return any(pattern.search(key) for pattern in patterns.values())
