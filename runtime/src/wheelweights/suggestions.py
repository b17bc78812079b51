"""What may be meant where the keys of a model and of a record differ: a prefix, a Sequential, names that are near."""

from __future__ import annotations

import itertools
from collections import Counter
from typing import TYPE_CHECKING, NamedTuple

from wheelweights.errors import SHOWN_CHARACTERS, backticked, nearest, printable
from wheelweights.names import is_number, join, pattern

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from wheelweights.report import BindReport

__all__ = ["Suggestion", "suggested"]

SHOWN_NAMES = 3
# What is looked at, so that the error of a wrong model takes no longer than the binding of a right one
LOOKED_AT = 1000  # keys
COMPARED = 100  # keys, numbers aside, whose names are compared
PARTS = 16  # of a key


class Suggestion(NamedTuple):
    """What differs, in a line or none, and what to do about it, if that is certain."""

    details: list[str]
    remedy: str | None = None


def suggested(report: BindReport, prefix: str) -> Suggestion:
    """Return what may be meant; `prefix` is the one that was given."""
    missing, unexpected = report.missing_keys[:LOOKED_AT], report.unexpected_keys[:LOOKED_AT]
    if not missing or not unexpected:
        return Suggestion([])
    if more := _prefix_of_the_record(missing, unexpected, prefix):
        differs = f"the keys of the record begin with {backticked(more + '.')}, those of the model do not"
        return Suggestion([differs], f'Bind with prefix="{printable(more)}."')
    sequential = all(is_number(key.partition(".")[0]) for key in unexpected)
    numbers = "the keys of the record begin with numbers, as those of a Sequential do"
    if more := _prefix_of_the_model(missing, unexpected, any_of_them=sequential):
        differs = numbers if sequential else f"the keys of the model begin with {backticked(more + '.')}"
        renamed = f'{{f"{more}.{{key}}": record[key] for key in record}}'
        return Suggestion(
            [differs], f"Put {backticked(more + '.')} in front of them with key-remap at build time, or bind {renamed}."
        )
    near = itertools.islice(_near_names(_patterns(missing), _patterns(unexpected)), SHOWN_NAMES)
    said = [f"{backticked(theirs)} in the record is near to {backticked(ours)} in the model" for ours, theirs in near]
    return Suggestion([*said, *([numbers] if sequential else [])])


def _prefix_of_the_record(missing: Sequence[str], unexpected: Sequence[str], given: str) -> str | None:
    """Return the prefix below which the record has what is missing: all of it, or all that is unexpected is there."""
    given = given.removesuffix(".")
    start = len(given) + 1 if given else 0
    wanted, there = {key[start:] for key in missing}, {key[start:] for key in unexpected}
    hits = Counter(key[: -len(end) - 1] for key in there for end in _ends(key) if end in wanted)
    for prefix, count in hits.most_common(1):
        if count == len(wanted) or all(key.startswith(f"{prefix}.") for key in there):
            return join(given, prefix)
    return None


def _prefix_of_the_model(missing: Sequence[str], unexpected: Sequence[str], *, any_of_them: bool) -> str | None:
    """Return the prefix that the keys of the model have and those of the record lack, all of them or at least one."""
    there = set(unexpected)
    hits = Counter(key[: -len(end) - 1] for key in missing for end in _ends(key) if end in there)
    for prefix, count in hits.most_common(1):
        if any_of_them or count in {len(there), len(missing)}:
            return prefix
    return None


def _ends(key: str) -> Iterator[str]:
    """Yield what is left of a key without its first part, without its first two parts, ..."""
    for _ in range(PARTS):
        key = key.partition(".")[2]
        if not key:
            return
        yield key


def _near_names(missing: Sequence[str], unexpected: Sequence[str]) -> Iterator[tuple[str, str]]:
    """Yield names of the model and of the record that are near, where the rest of both keys is the same."""
    there: dict[tuple[str, str], list[str]] = {}
    for key in unexpected:
        for before, part, behind in _split(key):
            there.setdefault((before, behind), []).append(part)
    told: set[str] = set()
    for key in missing:
        for before, part, behind in _split(key):
            near = nearest(part, there.get((before, behind), ()))
            ours = join(before, part)
            if near is not None and ours not in told:
                told.add(ours)
                yield ours, join(before, near)


def _patterns(keys: Sequence[str]) -> list[str]:
    """Return what the keys have in common, numbers aside; overlong ones, which nobody has typed, are left out."""
    patterns = dict.fromkeys(pattern(key) for key in keys if len(key) <= SHOWN_CHARACTERS)
    return [one for one in patterns if one.count(".") < PARTS][:COMPARED]


def _split(key: str) -> Iterator[tuple[str, str, str]]:
    """Yield each part of a key with what is in front of it and behind it."""
    parts = key.split(".")
    for i, part in enumerate(parts):
        yield ".".join(parts[:i]), part, ".".join(parts[i + 1 :])
