"""The names of a model's parts after a conversion: where the tensors of each have gone.

Knows names only.
"""

from __future__ import annotations

from itertools import takewhile
from typing import TYPE_CHECKING

from hatch_wheelweights.errors import EXCLUDE, CheckpointError, Do
from wheelweights.errors import backticked, did_you_mean, listed

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from hatch_wheelweights.steps.report import Row

__all__ = ["new_names"]


def new_names(parts: Iterable[str], rows: Sequence[Row]) -> dict[str, str]:
    """Return the name that each part has in the record, by the new names of its tensors.

    A part is named as in the checkpoint; where no key there begins with it, as in the record. Raises CheckpointError
    for a part without tensors in the record, for one whose tensors have no common place of their own there, and for two
    parts that end at one.
    """
    names: dict[str, str] = {}
    for part in parts:
        name = _new_name(part, rows)
        other = next((other for other, taken in names.items() if taken == name), None)
        if other is not None:
            raise CheckpointError(f"parts {backticked(other)} and {backticked(part)} both end at {backticked(name)}")
        names[part] = name
    return names


def _new_name(part: str, rows: Sequence[Row]) -> str:
    within = f"{part}."
    own = {row.key.removeprefix(within): row.name for row in rows if row.kept and row.key.startswith(within)}
    if not own:
        if any(row.kept and row.name.startswith(within) for row in rows):
            return part
        raise _without_tensors(part, rows)
    taken = [row.name for row in rows if row.kept and not row.key.startswith(within)]
    for name in (_by_whole_ends(own), _by_depth(own), _by_common_start(own)):
        if name and not any(other == name or other.startswith(f"{name}.") for other in taken):
            return name
    raise CheckpointError(
        f"part {backticked(part)} has no place of its own in the record: its tensors end at {listed(own.values())}",
        remedy="Name a part whose tensors stay together, or make the golden outputs with that part as the model.",
    )


def _by_whole_ends(own: dict[str, str]) -> str | None:
    """Return what comes before the ends of the names, where these are as they were."""
    starts = {name.removesuffix(f".{end}") if name.endswith(f".{end}") else None for end, name in own.items()}
    return starts.pop() if len(starts) == 1 else None


def _by_depth(own: dict[str, str]) -> str | None:
    """Return the common start as deep as before, where no end became longer or shorter, as numbers do not."""
    starts: set[str] = set()
    for end, name in own.items():
        before, after = end.split("."), name.split(".")
        deep = len(after) - len(before)
        if deep < 1 or any(map(_differ, before, after[deep:])):
            return None
        starts.add(".".join(after[:deep]))
    return starts.pop() if len(starts) == 1 else None


def _differ(before: str, after: str) -> bool:
    """Tell whether a word became another; a number that became another is the same layer."""
    return before != after and not (before.isdecimal() and after.isdecimal())


def _by_common_start(own: dict[str, str]) -> str | None:
    """Return what all names have in common, in whole words, without the last of each."""
    places = [name.split(".")[:-1] for name in own.values()]
    first, last = min(places), max(places)  # every other one lies between them, and begins like both
    same = [word for word, _ in takewhile(lambda pair: pair[0] == pair[1], zip(first, last, strict=False))]
    return ".".join(same) or None


def _without_tensors(part: str, rows: Sequence[Row]) -> CheckpointError:
    within = f"{part}."
    if any(row.key.startswith(within) for row in rows):
        return CheckpointError(
            f"part {backticked(part)}: none of its tensors is in the record",
            remedy=Do("Leave the part out of the golden outputs, or keep its tensors (see ", EXCLUDE, ")."),
        )
    known = {row.key.rpartition(".")[0] for row in rows}
    return CheckpointError(
        f"part {backticked(part)}: no tensor of that part in the checkpoint",
        remedy=did_you_mean(part, known) or "Name parts with tensors of their own, as the checkpoint's keys begin.",
    )
