"""What is in a file: kinds, keys, shapes, dtypes, sizes, and what a conversion would make of them.

Knows what there is to be said of a checkpoint, a record and a wheel; knows neither their bytes nor how it is shown.
No tensor is read.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sized
from dataclasses import dataclass, field
from itertools import islice
from typing import TYPE_CHECKING, Any, Final

import numpy as np

from hatch_wheelweights.steps.configuration import config_value
from hatch_wheelweights.conversion import tensors_of
from hatch_wheelweights.looking.files import Wheel, kind_of, open_file, size_of
from hatch_wheelweights.steps.select import flatten, select
from hatch_wheelweights.options.table import RecordOptions
from hatch_wheelweights.looking.terminal import counted
from hatch_wheelweights.steps.survey import Survey, children_of, is_module, part_of_key
from hatch_wheelweights.steps.pipeline import Report
from hatch_wheelweights.checkpoint import Checkpoint, Global, LazyTensor, Opaque
from hatch_wheelweights.checkpoint.contents import naming
from hatch_wheelweights.errors import CheckpointError, ConfigError
from wheelweights.dtypes import DTYPES
from wheelweights.errors import backticked, quoted

if TYPE_CHECKING:
    from collections.abc import Hashable

    from wheelweights import Record

__all__ = ["Inspection", "Tensor", "as_json", "inspect_file", "only_for_checkpoints", "tensors_of"]

MAX_TOP_LEVEL: Final = 10_000
MAX_NBYTES: Final = 1 << 63


@dataclass(frozen=True)
class Tensor:
    """One tensor: `source` is its key in the checkpoint, `key` the one it has, or would get, in a record.

    `kept` is false where the filters leave it out; `new_dtype` differs from `dtype` where it would be cast. `nbytes`
    is None where it cannot be said. `tied_to` is the first key that shares its memory, `fault` says why the tensor
    cannot be read.
    """

    key: str
    source: str
    shape: tuple[int, ...]
    dtype: str
    new_dtype: str
    nbytes: int | None
    kept: bool = True
    tied_to: str | None = None
    fault: str | None = None
    notes: tuple[str, ...] = ()


@dataclass(frozen=True)
class Inspection:
    """What there is to be said of a file.

    `kind` is that of `kind_of`, `size` counts the bytes of all its files. `others` describes the values that
    are no tensors. `problem` is set where the root of a checkpoint is not a state_dict: then `top_level` has the keys
    there and what they hold, and there are no tensors. `records` are those of a wheel.
    """

    path: str
    kind: str
    size: int
    tensors: tuple[Tensor, ...] = ()
    others: Mapping[str, str] = field(default_factory=dict)
    metadata: Mapping[str, Any] = field(default_factory=dict)
    warnings: tuple[str, ...] = ()
    config: Any = None
    problem: CheckpointError | None = None
    top_level: Mapping[str, str] = field(default_factory=dict)
    records: tuple[Inspection, ...] = ()

    @property
    def kept(self) -> list[Tensor]:
        """The tensors that the filters leave."""
        return [tensor for tensor in self.tensors if tensor.kept]

    @property
    def nbytes(self) -> int:
        """Bytes of the tensors that are kept, tied ones each."""
        return sum(tensor.nbytes or 0 for tensor in self.kept)

    @property
    def values(self) -> int:
        """Elements of the tensors that are kept and can be read."""
        return sum(math.prod(tensor.shape) for tensor in self.kept if tensor.nbytes is not None)


def inspect_file(path: str, options: RecordOptions) -> Inspection:
    """Return what is in a checkpoint (under the options of a conversion), a record, a wheel, or a record of Burn.

    Raises WheelweightsError where the file cannot be opened or the options do not go with it. A tensor that cannot be
    read and a root that is no state_dict are no errors here.
    """
    file = open_file(path)
    only_for_checkpoints(options, file)
    if isinstance(file, Checkpoint):
        with file, naming(path):
            return _of_checkpoint(file, path, options)
    if isinstance(file, Wheel):
        records = tuple(_of_record(file.open(name)) for name in file.records)
        return Inspection(path, "wheel", size_of(path), records=records)
    return _of_record(file)


def only_for_checkpoints(options: RecordOptions, *files: Checkpoint | Record | Wheel) -> None:
    """Raise ConfigError where there are options of a conversion and no checkpoint that they could be for."""
    if options != RecordOptions() and not any(isinstance(file, Checkpoint) for file in files):
        raise ConfigError(
            f"conversion options: expected a checkpoint to use them on, found a {kind_of(files[0])}\n"
            "  Leave them out: the tensors of a record are as the conversion made them."
        )


def _of_checkpoint(checkpoint: Checkpoint, path: str, options: RecordOptions) -> Inspection:
    report = Report()
    problem, tensors, top_level = None, {}, {}
    try:
        tensors = tensors_of(checkpoint, options, report)
    except CheckpointError as error:
        if options.top_level_key or _holds_state_dict(checkpoint.tree, options):
            raise
        error.path = None  # it stands above
        problem, top_level = error, _top_level(checkpoint.tree)
    return Inspection(
        path,
        checkpoint.kind,
        sum(file.stat().st_size for file in checkpoint.files),
        _tensors(report, tensors),
        report.others,
        checkpoint.metadata,
        (*checkpoint.warnings, *report.warnings),
        config_value(checkpoint.tree, options.config_key) if options.config_key else None,
        problem,
        top_level,
    )


def _holds_state_dict(tree: Any, options: RecordOptions) -> bool:
    try:
        flatten(select(tree, None, whole_model=options.whole_model), lambda *_: None)
    except CheckpointError:
        return False
    return True


def _tensors(report: Report, tensors: Mapping[str, LazyTensor]) -> tuple[Tensor, ...]:
    """Return a tensor for each row of the report; `tensors` are those that are kept."""
    firsts: dict[Hashable, str] = {}
    found = []
    for row in report.rows:
        tied_to = fault = None
        if row.kept:
            tensor = tensors[row.name]
            first = firsts.setdefault((tensor.tie, tensor.dtype, tensor.shape), row.name)
            tied_to = first if first != row.name else None
            fault = None if tensor.fault is None else str(tensor.fault.args[0])
        nbytes = None if fault else _nbytes(row.new_dtype, row.shape)
        found.append(
            Tensor(row.name, row.key, row.shape, row.dtype, row.new_dtype, nbytes, row.kept, tied_to, fault, row.notes)
        )
    return tuple(found)


def _nbytes(dtype: str, shape: tuple[int, ...]) -> int | None:
    """Return the bytes of a tensor; None for an unknown dtype, and for a shape that only a damaged file has."""
    nbytes = math.prod(shape) * DTYPES[dtype].itemsize if dtype in DTYPES else MAX_NBYTES
    return nbytes if 0 <= nbytes < MAX_NBYTES else None


def _of_record(record: Record) -> Inspection:
    firsts: dict[Hashable, str] = {}
    tensors = []
    for key in record:
        info = record.info(key)
        first = key if info.offset is None else firsts.setdefault(info.offset, key)
        tied_to = first if first != key else None
        tensors.append(Tensor(key, info.source, info.shape, info.dtype, info.dtype, info.nbytes, tied_to=tied_to))
    return Inspection(record.path, kind_of(record), size_of(record.path), tuple(tensors), metadata=record.metadata)


# A root that is no state_dict


def _top_level(tree: Any) -> dict[str, str]:
    """Return the keys at the root and what they hold; the root itself, under an empty key, where it has none."""
    survey = Survey(tree, whole_model=False)
    children = children_of(tree, whole_model=False)
    if children is None:
        return {"": _holds(tree, survey)}
    named = ((part_of_key(name), value) for name, value in children)
    shown = ((f"<{type(value).__name__}>" if name is None else name, value) for name, value in named)
    return {name: _holds(value, survey) for name, value in islice(shown, MAX_TOP_LEVEL)}


def _holds(value: Any, survey: Survey) -> str:
    """Say in a few words what a value is."""
    kind = type(value).__name__
    if isinstance(value, LazyTensor):
        return f"tensor, {value.dtype}, {value.shape}"
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


# For machines


def as_json(inspection: Inspection) -> dict[str, Any]:
    """Return the inspection as `--json` prints it. These keys stay as they are; others may be added.

    `path`, `kind`, `size` (bytes of the file); `tensors`: a list of `key`, `source` (the key in the checkpoint),
    `shape`, `dtype`, `new_dtype`, `nbytes` (null: unknown), `kept`, `tied_to`, `fault`, `notes`; `others`: key ->
    description; `metadata`; `warnings`; `config`; `problem` and `top_level` (key -> what it holds) where the root is
    not a state_dict; `records`: for a wheel, one such object each.
    """
    return {
        "path": inspection.path,
        "kind": inspection.kind,
        "size": inspection.size,
        "tensors": [
            {
                "key": tensor.key,
                "source": tensor.source,
                "shape": list(tensor.shape),
                "dtype": tensor.dtype,
                "new_dtype": tensor.new_dtype,
                "nbytes": tensor.nbytes,
                "kept": tensor.kept,
                "tied_to": tensor.tied_to,
                "fault": tensor.fault,
                "notes": list(tensor.notes),
            }
            for tensor in inspection.tensors
        ],
        "others": dict(inspection.others),
        "metadata": _finite(inspection.metadata),
        "warnings": list(inspection.warnings),
        "config": _finite(inspection.config),
        "problem": None if inspection.problem is None else str(inspection.problem.args[0]),
        "top_level": dict(inspection.top_level),
        "records": [as_json(record) for record in inspection.records],
    }


def _finite(value: Any) -> Any:
    """Return plain values with infinite floats and NaN, which JSON has not, as text."""
    if isinstance(value, float):
        return value if math.isfinite(value) else str(value)
    if isinstance(value, Mapping):
        return {name: _finite(one) for name, one in value.items()}
    return [_finite(one) for one in value] if isinstance(value, list) else value
