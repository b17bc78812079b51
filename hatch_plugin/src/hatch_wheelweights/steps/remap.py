"""Renaming keys by rules, as Burn's importer does, without losing one.

The rules apply in order, each to the outcome of the earlier ones, and each replaces every match in the whole dotted
key. Knows names only, no tensors; what a rule is, is said in `options.rules`.
"""

from __future__ import annotations

import re
from itertools import islice
from typing import TYPE_CHECKING, Final

from hatch_wheelweights.errors import KEY_REMAP, Place, RemapError, Words
from wheelweights.errors import backticked

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence

    from hatch_wheelweights.options.rules import Rule

__all__ = ["MAX_COMPARED_KEYS", "MAX_KEY_CHARACTERS", "nearest_are", "nearest_keys", "remap_keys", "remapped_key"]

# Patterns are the packager's, but keys are a file's, and matching can take the square of their length
MAX_KEY_CHARACTERS: Final = 4096
MAX_COMPARED_KEYS: Final = 2000
MAX_COMPARED_CHARACTERS: Final = 200


def remap_keys(keys: Iterable[str], rules: Sequence[Rule], *, warn: Callable[[object], object]) -> dict[str, str]:
    """Return the new name of every key, in order.

    `warn` is given a line for every rule that matches nothing. Raises RemapError when two keys end at one name, or when
    a key becomes the prefix of another (`w` and `w.scale`) that was not so before.
    """
    names = {key: key for key in keys}
    for i, rule in enumerate(rules):
        renamed = {key: new for key, name in names.items() if (new := rule.apply(name)) is not None}
        if not renamed:
            near = nearest_keys(rule.pattern, names.values())
            warn(Words(_place(i), f" matches nothing: {rule}{nearest_are(near)}"))
        for key, name in renamed.items():
            if len(name) > MAX_KEY_CHARACTERS:
                raise RemapError(
                    Words(_place(i), f" makes {backticked(key)} longer than {MAX_KEY_CHARACTERS:,} characters"),
                    details=[f"The rule: {rule}"],
                    remedy="Write a shorter replacement.",
                )
        names |= renamed
    if rules:
        _refuse_collisions(names, rules)
        _refuse_prefixes(names, rules)
    return names


def remapped_key(key: str, rules: Sequence[Rule]) -> str:
    """Return the new name of a key that no rule has to match, and that no other has to differ from."""
    for rule in rules:
        new = rule.apply(key)
        key = key if new is None or len(new) > MAX_KEY_CHARACTERS else new
    return key


def nearest_keys(pattern: str, keys: Iterable[str]) -> list[str]:
    """Return the (at most) three keys that look most like a pattern, nearest first."""
    import difflib  # noqa: PLC0415 (only for an error)

    text = re.sub(r"\\[AbBdDsSwWzZ]|\(\?P?<\w+>|\(\?:|\\|[][(){}^$*+?|]", "", pattern)
    compared = [key for key in islice(keys, MAX_COMPARED_KEYS) if len(key) <= MAX_COMPARED_CHARACTERS]
    return difflib.get_close_matches(text[:MAX_COMPARED_CHARACTERS], compared, n=3, cutoff=0.0)


def nearest_are(near: Sequence[str]) -> str:
    """Return the end of a sentence about a pattern that matches nothing: the nearest keys, if there are any."""
    return f"; the nearest keys are {', '.join(map(backticked, near))}" if near else ""


def _refuse_collisions(names: Mapping[str, str], rules: Sequence[Rule]) -> None:
    owners: dict[str, str] = {}
    for key, name in names.items():
        first = owners.setdefault(name, key)
        if first != key:
            raise RemapError(
                f"{backticked(first)} and {backticked(key)} both become {backticked(name)}",
                details=[_culprit(first, key, rules, str.__eq__)],
                remedy="Make the pattern more exact, so that every tensor keeps a name of its own.",
            )


def _refuse_prefixes(names: Mapping[str, str], rules: Sequence[Rule]) -> None:
    for short, long in _prefix_pairs(names):
        if not _is_prefix(short, long):  # a checkpoint may have such keys itself
            becomes = f"{backticked(short)} becomes {backticked(names[short])}"
            raise RemapError(
                f"{becomes}, the prefix of {backticked(names[long])} (from {backticked(long)})",
                details=[_culprit(short, long, rules, _is_prefix)],
                remedy="Make the pattern more exact, so that no key is the prefix of another.",
            )


def _prefix_pairs(names: Mapping[str, str]) -> Iterator[tuple[str, str]]:
    """Yield all pairs of (old) keys whose new names are a prefix and a longer name below it."""
    above: list[tuple[list[str], str]] = []
    for parts, key in sorted((name.split("."), key) for key, name in names.items()):
        while above and parts[: len(above[-1][0])] != above[-1][0]:
            above.pop()
        yield from ((short, key) for _, short in above)
        above.append((parts, key))


def _is_prefix(short: str, long: str) -> bool:
    return long.startswith(f"{short}.")


def _place(number: int) -> Place:
    return Place((KEY_REMAP, number))


def _culprit(first: str, second: str, rules: Sequence[Rule], clash: Callable[[str, str], bool]) -> Words:
    """Name the rule since which the names of two keys clash."""
    culprit = 0
    clashed = clash(first, second)
    for i, rule in enumerate(rules):
        first, second = (new if (new := rule.apply(name)) is not None else name for name in (first, second))
        now = clash(first, second)
        if now and not clashed:
            culprit = i
        clashed = now
    return Words("By ", _place(culprit), f": {rules[culprit]}")
