"""Golden records: torch's inputs and outputs, from the `.npz` that `golden` names, beside the record of the model.

What a golden record holds is in `wheelweights.golden`; how its source is made is in `forward`.
"""

from __future__ import annotations

import os
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from hatch_wheelweights.checkpoint import digest
from hatch_wheelweights.checkpoint.npz import open_npz
from hatch_wheelweights.errors import CheckpointError
from hatch_wheelweights.steps.parts import new_names
from wheelweights import RecordError, open_record, write_record
from wheelweights.golden import MODEL, by_part, golden_path, names_fault

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from hatch_wheelweights.checkpoint.npz import Npz, NpzArray
    from hatch_wheelweights.steps.report import Row

__all__ = ["GoldenPlan", "golden_is_current", "golden_output", "plan_golden", "write_golden"]


@dataclass(frozen=True)
class GoldenPlan:
    """A golden record that is to be written: the open source, and its arrays by their final keys."""

    npz: Npz
    arrays: Mapping[str, NpzArray]

    @property
    def parts(self) -> list[str]:
        """The parts of the model, by the names that they have in the record."""
        return [part for part in by_part(self.arrays) if part != MODEL]


def plan_golden(path: str | os.PathLike[str], rows: Sequence[Row]) -> GoldenPlan:
    """Return what would be written; `rows` say which tensors of the checkpoint have which new names.

    Raises CheckpointError, with the path, for a file that is no `.npz`, for names that are not those of inputs and
    outputs, and for a part that has no place in the record.
    """
    npz = open_npz(Path(path))
    if fault := names_fault(npz.arrays):
        raise CheckpointError(
            fault, path=os.fspath(path), remedy="Make it in torch: hatch_wheelweights.golden(model, *inputs, path=...)."
        )
    parts = by_part(npz.arrays)
    try:
        names = new_names([part for part in parts if part != MODEL], rows)
    except CheckpointError as error:
        error.path = os.fspath(path)
        raise
    named = {name._replace(part=names.get(part, MODEL)): name for part, one in parts.items() for name in one}
    return GoldenPlan(npz, {str(new): npz.arrays[str(old)] for new, old in named.items()})


def golden_output(record: Path) -> Path:
    """Return where the golden record of the record at a path goes."""
    return Path(golden_path(os.fspath(record)))


def write_golden(plan: GoldenPlan, record: Path, metadata: Mapping[str, Any]) -> Path:
    """Write a golden record beside a record that has been written, whole or not at all; return its path.

    `metadata` is what it says besides: who made it, from which checkpoint.
    """
    output = golden_output(record)
    with open_record(record) as opened:
        tensors = opened.tensors_digest
    about = {"name": plan.npz.file.path.name, "sha256": digest([plan.npz.file]), "tensors": tensors}
    write_record(
        output,
        plan.arrays,
        metadata={**metadata, "golden": about},
        source_keys={key: array.key for key, array in plan.arrays.items()},
        complete=plan.npz.file.check_unchanged,
    )
    return output


def golden_is_current(path: str | os.PathLike[str], record: Path, generator: str) -> bool:
    """Tell whether the golden record beside a record is what writing it again from this `.npz` would give."""
    try:
        with open_record(golden_output(record)) as golden, open_record(record) as opened:
            metadata, tensors = golden.metadata, opened.tensors_digest
    except RecordError:
        return False
    npz = open_npz(Path(path))
    about = {"name": npz.file.path.name, "sha256": digest([npz.file]), "tensors": tensors}
    return metadata.get("generator") == generator and metadata.get("golden") == about
