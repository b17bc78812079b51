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
    from collections.abc import Callable, Collection, Mapping, Sequence

__all__ = ["filter_of", "key_filter"]


def key_filter(
    include: Sequence[str], exclude: Sequence[str], keys: Collection[str], others: Collection[str] = ()
) -> Callable[[str], bool]:
    """Return what tells whether a key is wanted.

    It is if an `include` pattern is found in it, or there is none, and no `exclude` pattern. `keys` are those of the
    tensors, `others` those of what stands beside them. Raises CheckpointError for a pattern that is found in no key,
    and where no tensor is left.
    """
    wanted, unwanted = _compiled(include), _compiled(exclude)
    _refuse_idle([*_idle(wanted, keys), *_idle(unwanted, [*keys, *others])], keys)
    is_wanted = filter_of(include, exclude)
    if not any(map(is_wanted, keys)):
        fact = Words("expected ", INCLUDE, " and ", EXCLUDE, f" to leave a tensor, found none left of {len(keys):,}")
        raise CheckpointError(fact, remedy="Include more, or exclude less.")
    return is_wanted


def filter_of(include: Sequence[str], exclude: Sequence[str]) -> Callable[[str], bool]:
    """Return what tells whether a key is wanted, whatever keys there are."""
    wanted, unwanted = _compiled(include), _compiled(exclude)
    return lambda key: (not wanted or _found(wanted, key)) and not _found(unwanted, key)


def _compiled(patterns: Sequence[str]) -> dict[str, re.Pattern[str]]:
    return {text: parse_pattern(text) for text in patterns}


def _idle(patterns: Mapping[str, re.Pattern[str]], keys: Collection[str]) -> list[str]:
    return [text for text, pattern in patterns.items() if not any(map(pattern.search, keys))]


def _refuse_idle(idle: Sequence[str], keys: Collection[str]) -> None:
    """Raise CheckpointError for patterns that are found in no key."""
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
