"""What is in a file: kinds, keys, shapes, dtypes, sizes, and what a conversion would make of them.

Everything is a value here; how it is said and shown is in `words`, `terminal`, `page` and `document`. No tensor is
read, except small ones of a configuration that is asked for.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sized
from dataclasses import dataclass, field
from itertools import islice
from typing import TYPE_CHECKING, Any, Final

import numpy as np

from hatch_wheelweights.checkpoint import Account, Global, LazyTensor, Opaque
from hatch_wheelweights.checkpoint.contents import naming
from hatch_wheelweights.checkpoint.values import type_name
from hatch_wheelweights.errors import CheckpointError
from hatch_wheelweights.looking.files import kind_of, open_file, part_of_record, parts_in, require_checkpoint, size_of
from hatch_wheelweights.looking.texts import dtype_name, shape_text
from hatch_wheelweights.looking.wheels import Wheel
from hatch_wheelweights.opening import Checkpoint
from hatch_wheelweights.options.model import TensorOptions
from hatch_wheelweights.steps.configuration import Configuration
from hatch_wheelweights.steps.objects import is_module, part_of_key
from hatch_wheelweights.steps.survey import Survey, children_of
from wheelweights.dtypes import DTYPES
from wheelweights.errors import backticked, counted, quoted

if TYPE_CHECKING:
    from collections.abc import Hashable

    from hatch_wheelweights.options.model import ConversionOptions
    from hatch_wheelweights.steps.pipeline import StateDict
    from wheelweights import Record
    from wheelweights.parts import Part

__all__ = ["Inspection", "TensorFacts", "inspect_file"]

MAX_TOP_LEVEL: Final = 10_000
MAX_NBYTES: Final = 1 << 63


@dataclass(frozen=True, slots=True)
class TensorFacts:
    """What there is to say about one tensor.

    `source` is its key in the checkpoint, `key` the one it has, or would get, in a record. `kept` is false if the
    filters leave it out; `new_dtype` differs from `dtype` if it would be cast. `nbytes` is None if unknown. `tied_to`
    is the first key that shares its memory, `fault` the reason why the tensor cannot be read. `fault` and `notes` are
    texts that may name options.
    """

    key: str
    source: str
    shape: tuple[int, ...]
    dtype: str
    new_dtype: str
    nbytes: int | None
    kept: bool = True
    tied_to: str | None = None
    fault: object = None
    notes: tuple[object, ...] = ()


@dataclass(frozen=True)
class Inspection:
    """What there is to say about a file.

    `kind` is that of `kind_of`, `size` counts the bytes of all its files. `others` describes the values that are not
    tensors. `problem` is set if the root of a checkpoint is not a state_dict: then `top_level` has the keys at the root
    and what they hold, and there are no tensors. `records` are those of a wheel. `parts` hold the tensors of a record
    that has none itself; `part_of` is the distribution of a record that is such a part. `warnings` and `notes` are
    texts that may name options.
    """

    path: str
    kind: str
    size: int
    tensors: tuple[TensorFacts, ...] = ()
    others: Mapping[str, str] = field(default_factory=dict[str, str])
    metadata: Mapping[str, Any] = field(default_factory=dict[str, Any])
    warnings: tuple[object, ...] = ()
    notes: tuple[object, ...] = ()
    config: Any = None
    problem: CheckpointError | None = None
    top_level: Mapping[str, str] = field(default_factory=dict[str, str])
    records: tuple[Inspection, ...] = ()
    parts: tuple[Part, ...] = ()
    part_of: str | None = None

    @property
    def kept(self) -> list[TensorFacts]:
        """The tensors that the filters leave."""
        return [tensor for tensor in self.tensors if tensor.kept]

    @property
    def other_metadata(self) -> dict[str, Any]:
        """The metadata without what `parts` and `part_of` say."""
        said = {*(("parts", "order") if self.parts else ()), *(("part",) if self.part_of else ())}
        return {name: value for name, value in self.metadata.items() if name not in said}

    @property
    def nbytes(self) -> int:
        """Bytes of the tensors that are kept; tied ones count each."""
        return sum(tensor.nbytes or 0 for tensor in self.kept)

    @property
    def values(self) -> int:
        """Elements of the tensors that are kept and can be read."""
        return sum(math.prod(tensor.shape) for tensor in self.kept if tensor.nbytes is not None)


def inspect_file(path: str, options: ConversionOptions) -> Inspection:
    """Return what is in a checkpoint (under the options of a conversion), a record, a wheel, or a record of Burn.

    Raises WheelweightsError if the file cannot be opened or the options do not go with it. A tensor that cannot be
    read and a root that is not a state_dict are not errors here.
    """
    file = open_file(path)
    require_checkpoint(options, file)
    if isinstance(file, Checkpoint):
        with file, naming(path):
            return _of_checkpoint(file, path, options)
    if isinstance(file, Wheel):
        with file:
            records = tuple(_of_record(file.open(name), file.files[name].size) for name in file.records)
        return Inspection(path, kind_of(file), file.size, records=records)
    return _of_record(file, size_of(path))


# A checkpoint


def _of_checkpoint(checkpoint: Checkpoint, path: str, options: ConversionOptions) -> Inspection:
    try:
        tensors = checkpoint.tensors(options, incomplete=True)
    except CheckpointError as error:
        if options.top_level_key or _holds_state_dict(checkpoint, options):
            raise
        found = _configuration(checkpoint, options)
        return Inspection(
            path,
            checkpoint.kind,
            checkpoint.size,
            metadata=checkpoint.metadata,
            warnings=(*checkpoint.warnings, *found.warnings),
            config=found.value,
            problem=error,
            top_level=_top_level(checkpoint),
        )
    report, found = tensors.report, _configuration(checkpoint, options)
    lost = () if report.fault is None else (report.fault.fact,)
    return Inspection(
        path,
        checkpoint.kind,
        checkpoint.size,
        _tensor_facts(tensors),
        report.others,
        checkpoint.metadata,
        (*checkpoint.warnings, *lost, *report.warnings, *found.warnings),
        tuple(report.notes),
        found.value,
    )


def _configuration(checkpoint: Checkpoint, options: ConversionOptions) -> Configuration:
    return checkpoint.configuration(options.config_key) if options.config_key else Configuration(None)


def _holds_state_dict(checkpoint: Checkpoint, options: TensorOptions) -> bool:
    try:
        checkpoint.tensors(TensorOptions(whole_model=options.whole_model))
    except CheckpointError:
        return False
    return True


def _tensor_facts(tensors: StateDict) -> tuple[TensorFacts, ...]:
    """Return the facts of each tensor in the checkpoint's order; those that the filters leave out are not `kept`."""
    firsts: dict[Hashable, str] = {}
    found: list[TensorFacts] = []
    for row in tensors.report.rows:
        tied_to = fault = None
        if row.kept:
            tensor = tensors[row.name]
            first = firsts.setdefault((tensor.tie, tensor.dtype, tensor.shape), row.name)
            tied_to = first if first != row.name else None
            fault = None if tensor.fault is None else tensor.fault.fact
        nbytes = None if fault else _nbytes(row.new_dtype, row.shape)
        dtypes = (row.dtype, row.new_dtype)
        found.append(TensorFacts(row.name, row.key, row.shape, *dtypes, nbytes, row.kept, tied_to, fault, row.notes))
    return tuple(found)


def _nbytes(dtype: str, shape: tuple[int, ...]) -> int | None:
    """Return the bytes of a tensor; None for an unknown dtype, and for a shape that only a damaged file has."""
    nbytes = math.prod(shape) * DTYPES[dtype].itemsize if dtype in DTYPES else MAX_NBYTES
    return nbytes if 0 <= nbytes < MAX_NBYTES else None


# A record


def _of_record(record: Record, size: int) -> Inspection:
    firsts: dict[Hashable, str] = {}
    tensors: list[TensorFacts] = []
    for key in record:
        info = record.info(key)
        first = key if info.offset is None else firsts.setdefault(info.offset, key)
        tied_to = first if first != key else None
        tensors.append(TensorFacts(key, info.source, info.shape, info.dtype, info.dtype, info.nbytes, tied_to=tied_to))
    return Inspection(
        record.path,
        kind_of(record),
        size,
        tuple(tensors),
        metadata=record.metadata,
        parts=parts_in(record),
        part_of=part_of_record(record),
    )


# A root that is not a state_dict


def _top_level(checkpoint: Checkpoint) -> dict[str, str]:
    """Return the keys at the root and what they hold; for a root without keys, the root itself under an empty key."""
    tree = checkpoint.tree
    survey = Survey(tree, whole_model=False, account=Account(checkpoint.size))
    children = children_of(tree, whole_model=False)
    if children is None:
        return {"": _holds(tree, survey)}
    named = ((part_of_key(name), value) for name, value in children)
    shown = ((f"<{type_name(value)}>" if name is None else name, value) for name, value in named)
    return {name: _holds(value, survey) for name, value in islice(shown, MAX_TOP_LEVEL)}


def _holds(value: Any, survey: Survey) -> str:
    """Describe a value in a few words."""
    kind = type_name(value)
    if isinstance(value, LazyTensor):
        return f"tensor, {dtype_name(value.dtype)}, {shape_text(value.shape)}"
    if isinstance(value, Opaque):
        return f"{'whole model' if is_module(value) else 'object of class'} {backticked(value)}"
    if isinstance(value, Global):
        return f"the class or function {backticked(value)}"
    if isinstance(value, (str, bytes)):
        return f"{kind} {quoted(value)}"
    if isinstance(value, Sized) and not isinstance(value, np.generic):
        tensors = survey[value].tensors
        return f"{kind} of {len(value):,}" + (f", {counted(tensors, 'tensor')}" if tensors else "")
    return "None" if value is None else f"{kind} {backticked(value)[1:-1]}"
