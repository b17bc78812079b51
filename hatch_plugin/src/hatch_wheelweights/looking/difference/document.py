"""A comparison for machines: the JSON document that `diff --json` prints."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Any

from hatch_wheelweights.errors import spelt
from hatch_wheelweights.looking.difference.modules import modules_of
from hatch_wheelweights.looking.texts import is_beyond_64_bits

if TYPE_CHECKING:
    from collections.abc import Mapping

    from hatch_wheelweights.errors import Spelling
    from hatch_wheelweights.looking.difference.facts import Comparison, Form, TensorDifference
    from hatch_wheelweights.looking.difference.modules import ModuleDifference
    from hatch_wheelweights.looking.difference.values import ValueDifference

__all__ = ["difference_document"]


def difference_document(comparison: Comparison, spelling: Spelling) -> dict[str, Any]:
    """Return a comparison as plain values. These keys stay as they are; others may be added.

    `paths`: of both files; `equal`: whether the command exits with 0; `equal_but_for_names`; `rtol`, `atol`; `counts`:
    of the tensors in both files `equal`, `within` the tolerances, `different`, which add up, and `renamed`, which is
    any of these; and `only_in_a`, `only_in_b`. `tensors`: those in both files, in the order of the first, a list of
    `key`, `new_key` (its key in the second file), `state` ("equal", "within", "different"), `dtypes` and `shapes` (of
    both), `elements`, `unequal` (not exactly equal), `differing` (beyond the tolerances), `largest` and
    `largest_relative` (difference), `cosine`, `nan_in_both`, `nan_in_one`, `fault`; where no values were compared, all
    of these but `fault` are null. `only_in_a`, `only_in_b`: lists of `key`, `dtype`, `shape`. `renames`: the rules, a
    list of `pattern`, `new_pattern` (`*` is any text), `keys` (how many); `by_names`: whether names and shapes alone
    made them; `undecided`: lists of the keys in both files that have equal contents and were left unpaired. `modules`:
    those that are not equal, a list of `name`, `tensors`, `different`, `largest`, `largest_relative`, `cosine`.
    `notes`, `warnings`: lists of a path and a text. `part_of`: for each file that is a part of a record, its
    distribution. Numbers that JSON lacks are texts ("inf"), sizes of more than 64 bits null.
    """
    pairs, renamed = comparison.pairs, sum(tensor.renamed for tensor in comparison.both)
    only = [[{"key": key, **_form(form)} for key, form in side.items()] for side in comparison.only]
    counts = {"renamed": renamed, "only_in_a": len(only[0]), "only_in_b": len(only[1])}
    rules = [
        dict(zip(("pattern", "new_pattern", "keys"), (*rule.patterns, rule.keys), strict=True)) for rule in pairs.rules
    ]
    return {
        "paths": list(comparison.paths),
        "equal": comparison.equal,
        "equal_but_for_names": comparison.equal_but_for_names,
        "rtol": comparison.tolerance.rtol,
        "atol": comparison.tolerance.atol,
        "counts": comparison.counts | counts,
        "tensors": [_tensor(tensor, spelling) for tensor in comparison.both],
        "only_in_a": only[0],
        "only_in_b": only[1],
        "renames": rules,
        "by_names": pairs.by_names,
        "undecided": [[list(ours), list(theirs)] for ours, theirs in pairs.undecided],
        "modules": [_module(module) for module in modules_of(comparison)],
        "notes": [[path, spelt(note, spelling)] for path, note in comparison.notes],
        "warnings": [[path, spelt(warning, spelling)] for path, warning in comparison.warnings],
        "part_of": list(comparison.part_of),
    }


def _tensor(tensor: TensorDifference, spelling: Spelling) -> dict[str, Any]:
    left, right = map(_form, tensor.forms)
    values = tensor.values
    return {
        "key": tensor.key,
        "new_key": tensor.new_key,
        "state": tensor.state,
        "dtypes": [left["dtype"], right["dtype"]],
        "shapes": [left["shape"], right["shape"]],
        "elements": values and values.elements,
        "unequal": values and values.unequal,
        "differing": values and values.differing,
        **_largest(values),
        "nan_in_both": values and values.nan_in_both,
        "nan_in_one": values and values.nan_in_one,
        "fault": None if tensor.fault is None else spelt(tensor.fault, spelling),
    }


def _module(module: ModuleDifference) -> dict[str, Any]:
    total = len(module.both) + sum(module.only)
    return {"name": module.name, "tensors": total, "different": module.differing, **_largest(module.values)}


def _largest(values: ValueDifference | None) -> Mapping[str, Any]:
    if values is None:
        return {"largest": None, "largest_relative": None, "cosine": None}
    found = {"largest": values.largest, "largest_relative": values.largest_relative, "cosine": values.cosine}
    return {name: one if one is None or math.isfinite(one) else str(one) for name, one in found.items()}


def _form(form: Form) -> dict[str, Any]:
    return {"dtype": form.dtype, "shape": [None if is_beyond_64_bits(size) else size for size in form.shape]}
