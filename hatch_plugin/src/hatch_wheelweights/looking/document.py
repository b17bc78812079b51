"""An inspection for machines: the JSON document that `--json` prints."""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any, cast

from hatch_wheelweights.errors import spelt
from hatch_wheelweights.looking.texts import MAX_KEY_CHARACTERS, is_beyond_64_bits, shortened

if TYPE_CHECKING:
    from collections.abc import Sequence

    from hatch_wheelweights.errors import Spelling
    from hatch_wheelweights.looking.inspect import Inspection, TensorFacts

__all__ = ["json_document"]


def json_document(inspection: Inspection, spelling: Spelling) -> dict[str, Any]:
    """Return an inspection as plain values. These keys stay as they are; others may be added.

    `path`, `kind`, `size` (bytes of the file); `tensors`: a list of `key`, `source` (the key in the checkpoint),
    `shape`, `dtype`, `new_dtype`, `nbytes`, `kept`, `tied_to` (a key, cut at 1,000 characters), `fault`, `notes`;
    `others`: key -> description; `metadata`; `warnings`; `notes`; `config`; `problem` and `top_level` (key -> what it
    holds) if the root is not a state_dict; `records`: for a wheel, one such object each; `parts`: for a record whose
    tensors are in distributions of their own, a list of `distribution`, `version`, `package`, `name`, `tensors` (a
    digest), `count`; `part_of`: for such a part, its distribution (`big-weights-1==3`). Of a tensor that cannot be read
    `nbytes` is null, and so is a size of more than 64 bits.
    """
    return {
        "path": inspection.path,
        "kind": inspection.kind,
        "size": inspection.size,
        "tensors": [_tensor(tensor, spelling) for tensor in inspection.tensors],
        "others": dict(inspection.others),
        "metadata": _finite(inspection.metadata),
        "warnings": [spelt(warning, spelling) for warning in inspection.warnings],
        "notes": [spelt(note, spelling) for note in inspection.notes],
        "config": _finite(inspection.config),
        "problem": None if inspection.problem is None else spelt(inspection.problem.fact, spelling),
        "top_level": dict(inspection.top_level),
        "records": [json_document(record, spelling) for record in inspection.records],
        "parts": [part.metadata for part in inspection.parts],
        "part_of": inspection.part_of,
    }


def _tensor(tensor: TensorFacts, spelling: Spelling) -> dict[str, Any]:
    return {
        "key": tensor.key,
        "source": tensor.source,
        "shape": [None if is_beyond_64_bits(size) else size for size in tensor.shape],
        "dtype": tensor.dtype,
        "new_dtype": tensor.new_dtype,
        "nbytes": tensor.nbytes,
        "kept": tensor.kept,
        "tied_to": None if tensor.tied_to is None else shortened(tensor.tied_to, MAX_KEY_CHARACTERS),
        "fault": None if tensor.fault is None else spelt(tensor.fault, spelling),
        "notes": [spelt(note, spelling) for note in tensor.notes],
    }


def _finite(value: Any) -> Any:
    """Return plain values with infinite floats and NaN, which JSON lacks, as text."""
    if isinstance(value, float):
        return value if math.isfinite(value) else str(value)
    if isinstance(value, Mapping):
        return {name: _finite(one) for name, one in cast("Mapping[str, Any]", value).items()}
    return [_finite(one) for one in cast("Sequence[Any]", value)] if isinstance(value, list) else value
