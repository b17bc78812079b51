"""From the tree of a checkpoint to the tensors of a record: the pipeline, and its two short steps.

Knows the order of the steps. Names first, bytes untouched: all of it happens on lazy tensors, before a byte of weights
is read (but for integers that are to be cast, see `_precision`).
"""

from __future__ import annotations

import re
from collections import defaultdict
from itertools import count, islice
from typing import TYPE_CHECKING, Any, Final

from hatch_wheelweights.steps.select import flatten, select
from hatch_wheelweights.options.patterns import parse_pattern
from hatch_wheelweights.steps.precision import PRECISIONS, cast_tensors
from hatch_wheelweights.steps.remap import nearest_keys, parse_rules, remap_keys
from hatch_wheelweights.steps.report import Report, Row, debug_table
from hatch_wheelweights.errors import CheckpointError, ConfigError
from wheelweights.errors import SHOWN_ITEMS, backticked, did_you_mean, listed

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence

    from hatch_wheelweights.checkpoint.tensors import LazyTensor

__all__ = ["Report", "Row", "debug_table", "filter_keys", "reindex_keys", "state_dict"]


def state_dict(
    tree: Any,
    *,
    top_level_key: str | Iterable[str] | None = None,
    key_remap: Iterable[object] = (),
    reindex: bool = True,
    precision: str = "keep",
    include: Iterable[str] = (),
    exclude: Iterable[str] = (),
    whole_model: bool = False,
    report: Report | None = None,
) -> dict[str, LazyTensor]:
    """Return the tensors of a checkpoint's tree under their final keys, in the checkpoint's order.

    `key_remap` holds `{pattern, replacement}` tables or pairs; `include` and `exclude` are searched in the final keys.
    Each tensor's `key` is its name in the checkpoint, below the top-level key. `report` collects what became of every
    key. Raises ConfigError for options that are wrong in themselves (all of them together), CheckpointError where the
    checkpoint does not hold what they ask for, RemapError where renaming would lose a tensor.
    """
    faults: list[str] = []
    rules = parse_rules(key_remap, faults)
    wanted, unwanted = _parse_patterns("include", include, faults), _parse_patterns("exclude", exclude, faults)
    if precision not in PRECISIONS:
        hint = did_you_mean(str(precision), PRECISIONS) or "Choose one of these."
        faults.append(f"precision: expected {listed(PRECISIONS)}, found {backticked(precision)}\n  {hint}")
    if faults:
        raise ConfigError(faults)

    report = Report() if report is None else report
    part = select(tree, top_level_key, whole_model=whole_model)
    tensors = flatten(part, report.add_other)
    names = remap_keys(tensors, rules, warn=report.warnings.append)
    if reindex:
        indices = reindex_keys(names.values())
        names = {key: indices[name] for key, name in names.items()}
    kept = filter_keys(names.values(), wanted, unwanted)
    selected = {name: tensors[key] for key, name in names.items() if name in kept}
    cast, notes = cast_tensors(selected, precision)
    _complete(report, tensors, names, cast, notes)
    return cast


def _parse_patterns(option: str, patterns: Iterable[str], faults: list[str]) -> dict[str, re.Pattern[str]]:
    """Return the patterns of a filter, compiled, by how they are written; every fault is added to `faults`."""
    parsed = {}
    for i, pattern in enumerate([patterns] if isinstance(patterns, str) else patterns):
        try:
            parsed[pattern] = parse_pattern(pattern)
        except ConfigError as error:
            faults.append(f"{option}[{i}]: {error.errors[0]}")
    return parsed


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


def filter_keys(
    keys: Iterable[str], include: Mapping[str, re.Pattern[str]], exclude: Mapping[str, re.Pattern[str]]
) -> set[str]:
    """Return the keys in which an `include` pattern is found (all keys, where there is none) and no `exclude` pattern.

    Raises CheckpointError for a pattern that is found in no key, and where no key is left.
    """
    keys = list(keys)
    idle = [text for text, pattern in (*include.items(), *exclude.items()) if not any(map(pattern.search, keys))]
    if idle:
        raise CheckpointError(
            f"expected keys that match {listed(idle)}, found none among {len(keys):,}",
            expected=tuple(idle),
            details=[
                f"Nearest to {backticked(text)}: {listed(nearest_keys(text, keys))}" for text in idle[:SHOWN_ITEMS]
            ],
            remedy="Correct the pattern in include or exclude, or remove it.",
        )
    kept = {key for key in keys if (_found(include, key) or not include) and not _found(exclude, key)}
    if not kept:
        fact = f"expected include and exclude to leave a tensor, found none left of {len(keys):,}"
        raise CheckpointError(fact, remedy="Include more, or exclude less.")
    return kept


def _found(patterns: Mapping[str, re.Pattern[str]], key: str) -> bool:
    return any(pattern.search(key) for pattern in patterns.values())


def _complete(
    report: Report,
    tensors: Mapping[str, LazyTensor],
    names: Mapping[str, str],
    cast: Mapping[str, LazyTensor],
    notes: Mapping[str, str],
) -> None:
    """Add a row for every tensor, and a warning where dtypes were kept."""
    for key, tensor in tensors.items():
        name = names[key]
        final = cast.get(name)
        dtypes = (tensor.dtype, final.dtype if final else tensor.dtype)
        noted = (notes[name],) if name in notes else ()
        report.rows.append(Row(key, name, final is not None, tensor.shape, *dtypes, notes=noted))
    report.warnings.extend(_not_cast(notes))


def _not_cast(notes: Mapping[str, str]) -> list[str]:
    """Return a warning for each reason why tensors kept their dtype: the first 8 reasons, then how many more."""
    keys: defaultdict[str, list[str]] = defaultdict(list)
    for key, note in notes.items():
        keys[note].append(key)
    more = len(keys) - SHOWN_ITEMS
    shown = [f"{listed(keys[note])}: {note}" for note in islice(keys, SHOWN_ITEMS)]
    return [*shown, f"and {more:,} more reasons why tensors kept their dtype"] if more > 0 else shown
