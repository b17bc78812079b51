"""From the tree of a checkpoint to the tensors of a record: the steps, in their order.

Names first, bytes untouched: everything here happens on lazy tensors, before a byte of weights is read (except that
integers are read to find the dtype they fit in, see `precision`).
"""

from __future__ import annotations

from collections import defaultdict
from itertools import islice
from typing import TYPE_CHECKING, Any

from hatch_wheelweights.options.values import rule_of
from hatch_wheelweights.steps.filter import filter_keys
from hatch_wheelweights.steps.precision import cast_tensors
from hatch_wheelweights.steps.reindex import reindex_keys
from hatch_wheelweights.steps.remap import remap_keys
from hatch_wheelweights.steps.report import Report, Row
from hatch_wheelweights.steps.select import flatten, select
from wheelweights.errors import SHOWN_ITEMS, listed

if TYPE_CHECKING:
    from collections.abc import Mapping

    from hatch_wheelweights.checkpoint import Account, LazyTensor
    from hatch_wheelweights.options.model import TensorOptions

__all__ = ["StateDict", "state_dict"]


class StateDict(dict[str, "LazyTensor"]):
    """The tensors of a checkpoint under their final keys, in its order; `report` says what became of every key."""

    def __init__(self, tensors: Mapping[str, LazyTensor], report: Report) -> None:
        super().__init__(tensors)
        self.report = report


def state_dict(tree: Any, options: TensorOptions, account: Account) -> StateDict:
    """Return the tensors of a checkpoint's tree under their final keys, in the checkpoint's order.

    Each tensor's `key` is its name in the checkpoint, below the top-level key. `account` is charged for the names.
    Raises CheckpointError where the checkpoint does not hold what the options ask for, RemapError where renaming would
    lose a tensor.
    """
    report = Report()
    part = select(tree, options.top_level_key, whole_model=options.whole_model)
    tensors = flatten(part, report.add_other, account)
    names = remap_keys(tensors, [rule_of(rule) for rule in options.key_remap], warn=report.warnings.append)
    if options.reindex:
        indices = reindex_keys(names.values())
        names = {key: indices[name] for key, name in names.items()}
    kept = filter_keys(names.values(), options.include, options.exclude)
    selected = {name: tensors[key] for key, name in names.items() if name in kept}
    cast, notes = cast_tensors(selected, options.precision)
    _complete(report, tensors, names, cast, notes)
    return StateDict(cast, report)


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
