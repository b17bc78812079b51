"""From the tree of a checkpoint to the tensors of a record: the steps, in their order.

Names first, bytes untouched: everything here happens on lazy tensors, before a byte of weights is read. What a cast
loses is known when its tensor is read, and is added to the report then (see `casting`).
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from hatch_wheelweights.checkpoint.tensors import bytes_to_read
from hatch_wheelweights.options.values import rule_of
from hatch_wheelweights.steps.filter import filter_of, key_filter
from hatch_wheelweights.steps.flatten import flatten
from hatch_wheelweights.steps.ledger import Entry, examine, settle
from hatch_wheelweights.steps.precision import cast_tensors
from hatch_wheelweights.steps.reindex import below, reindex_with, renumbering_note, renumbering_warnings, renumberings
from hatch_wheelweights.steps.remap import remap_keys, remapped_key
from hatch_wheelweights.steps.report import Report, Row
from hatch_wheelweights.steps.select import select
from wheelweights.errors import counted, human_size

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from hatch_wheelweights.checkpoint import Account, LazyTensor
    from hatch_wheelweights.options.model import TensorOptions

__all__ = ["StateDict", "state_dict"]


class StateDict(dict[str, "LazyTensor"]):
    """The tensors of a checkpoint under their final keys, in its order; `report` says what became of every key."""

    def __init__(self, tensors: Mapping[str, LazyTensor], report: Report) -> None:
        super().__init__(tensors)
        self.report = report

    def __repr__(self) -> str:
        nbytes = bytes_to_read(tensor for tensor in self.values() if tensor.fault is None)
        more = f", {counted(len(self.report.warnings), 'warning')}" if self.report.warnings else ""
        return f"<StateDict: {counted(len(self), 'tensor')}, {human_size(nbytes)}{more}>"


def state_dict(tree: Any, options: TensorOptions, account: Account) -> StateDict:
    """Return the tensors of a checkpoint's tree under their final keys, in the checkpoint's order.

    Each tensor's `key` is its name in the checkpoint, below the top-level key. `account` is charged for the names.
    Raises CheckpointError where the checkpoint does not hold what the options ask for, RemapError where renaming would
    lose a tensor. Where a tensor would be lost otherwise, the report's `fault` is set: an error for whoever needs all.
    """
    report = Report()
    part = select(tree, options.top_level_key, account, whole_model=options.whole_model)
    flat = flatten(part, account)
    beside = examine(flat, account)
    names = _renamed(flat.tensors, beside, options, report)
    wanted = key_filter(options.include, options.exclude, names.values(), [entry.name for entry in beside])
    selected = {name: flat.tensors[key] for key, name in names.items() if wanted(name)}
    settle(beside, wanted, report, flat)
    cast, notes = cast_tensors(selected, options.precision, report)
    _complete(report, flat.tensors, names, cast, notes)
    return StateDict(cast, report)


def _renamed(
    tensors: Mapping[str, LazyTensor], beside: Sequence[Entry], options: TensorOptions, report: Report
) -> dict[str, str]:
    """Return the new name of every tensor's key; what stands beside them is renamed in the same way."""
    rules = [rule_of(rule) for rule in options.key_remap]
    remapped = remap_keys(tensors, rules, warn=report.warnings.append)
    for entry in beside:
        entry.name = remapped_key(entry.name, rules)
    if not options.reindex:
        return remapped
    items = [entry.name for entry in beside if entry.is_lost]
    indices, others = reindex_with(remapped.values(), items, [entry.name for entry in beside])
    for entry in beside:
        entry.name = others[entry.name]
    names = {key: indices[name] for key, name in remapped.items()}
    if names != remapped:
        shapes = dict.fromkeys(map(below, items), ()) | {remapped[key]: each.shape for key, each in tensors.items()}
        _tell_renumbering(report, shapes, options, indices)
    return names


def _tell_renumbering(
    report: Report, shapes: Mapping[str, tuple[int, ...]], options: TensorOptions, indices: Mapping[str, str]
) -> None:
    """Add what reindexing has changed of the keys that are kept."""
    kept = filter_of(options.include, options.exclude)
    if found := renumberings(shapes, [name for name, new in indices.items() if kept(new)]):
        report.renumbered = renumbering_note(found)
        report.notes.append(report.renumbered)
        report.warnings.extend(renumbering_warnings(found))


def _complete(
    report: Report,
    tensors: Mapping[str, LazyTensor],
    names: Mapping[str, str],
    cast: Mapping[str, LazyTensor],
    notes: Mapping[str, str],
) -> None:
    """Add a row for every tensor."""
    for key, tensor in tensors.items():
        name = names[key]
        final = cast.get(name)
        dtypes = (tensor.dtype, final.dtype if final else tensor.dtype)
        noted = (notes[name],) if name in notes else ()
        report.rows.append(Row(key, name, final is not None, tensor.shape, *dtypes, notes=noted))
