"""What a conversion and an export have in common: what must be readable, what may be replaced, and what was done."""

from __future__ import annotations

import os
from dataclasses import dataclass
from itertools import islice
from typing import TYPE_CHECKING, Final

from hatch_wheelweights.errors import EXCLUDE, CheckpointError, Do
from wheelweights.errors import SHOWN_ITEMS, WheelweightsError, backticked, counted, human_size, listed
from wheelweights.formats import HEAD_BYTES, Format, format_of, what_it_is

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping
    from pathlib import Path

    from hatch_wheelweights.checkpoint import LazyTensor
    from hatch_wheelweights.steps.report import Report

__all__ = ["Written", "refuse_overwriting", "require_readable", "values_left_out"]

# What is written in each format: a file of it, and what it is to whoever writes it
_CALLED: Final = {Format.RECORD: ("a record", "the record"), Format.SAFETENSORS: ("a safetensors file", "the export")}


@dataclass(frozen=True, repr=False)
class Written:
    """What was written, and out of what.

    `format` is the kind of the source; `nbytes` counts the bytes of the tensors (tied ones each), `size` those of the
    file. `told` are the warnings and `noted` the notes as values, which spell options for whoever reads them: a warning
    is of what may be wrong, a note of what is as it should be.
    """

    source: Path
    output: Path
    format: str
    tensors: int
    nbytes: int
    size: int
    told: tuple[object, ...]
    noted: tuple[object, ...]

    @property
    def warnings(self) -> tuple[str, ...]:
        """The warnings, with options as Python spells them."""
        return tuple(map(str, self.told))

    @property
    def notes(self) -> tuple[str, ...]:
        """The notes, with options as Python spells them."""
        return tuple(map(str, self.noted))

    def __repr__(self) -> str:
        ways = f"{str(self.source)!r} ({self.format}) -> {str(self.output)!r}"
        more = f", {counted(len(self.told), 'warning')}" if self.told else ""
        tensors = counted(self.tensors, "tensor")
        return f"<{type(self).__name__} {ways}: {tensors}, {human_size(self.size)}{more}>"


def values_left_out(report: Report) -> list[str]:
    """Return the note of what stands beside the tensors, if there is anything."""
    return [f"left out {listed(report.values)}: no tensors"] if report.values else []


def require_readable(tensors: Mapping[str, LazyTensor], by: str = "a record") -> None:
    """Raise the fault of the tensors that cannot be read: that of the only one, or one for all of them.

    `by` is what cannot hold them.
    """
    broken = {key: tensor for key, tensor in tensors.items() if tensor.fault is not None}
    if len(broken) == 1:
        for _ in next(iter(broken.values())).blocks():
            pass
    if broken:
        faults = {key: tensor.fault for key, tensor in broken.items() if tensor.fault is not None}
        shown = [f"{backticked(key)}: {fault.fact}" for key, fault in islice(faults.items(), SHOWN_ITEMS)]
        more = [f"and {len(faults) - SHOWN_ITEMS:,} more"] if len(faults) > SHOWN_ITEMS else []
        # By their texts, but as values: whoever reads them spells the options that they name
        remedies = list({str(fault.remedy): fault.remedy for fault in faults.values() if fault.remedy}.values())
        raise CheckpointError(
            f"expected tensors that {by} can hold, found {len(faults):,} others",
            found=tuple(islice(faults, SHOWN_ITEMS)),
            details=[*shown, *more, *remedies[:SHOWN_ITEMS]],
            remedy=Do("Leave them out with ", EXCLUDE, " if they are not needed."),
        )


def refuse_overwriting(
    sources: Iterable[Path], output: Path, wanted: Format, error: type[WheelweightsError], *, replace: bool = True
) -> None:
    """Raise an error where the output is one of the sources, or a file that must not be replaced.

    That is any file but one of the format `wanted`, and without `replace` that as well. `error` is the kind of error
    for a file that is there.
    """
    one, it = _CALLED[wanted]
    if output.exists() and any(output.samefile(file) for file in sources):
        raise CheckpointError(
            "expected another file as output, found the checkpoint itself", remedy=f"Give {it} a name of its own."
        )
    if not output.is_file():
        return
    with output.open("rb") as file:
        head = file.read(HEAD_BYTES)
    if format_of(head) is not wanted:
        fact = f"expected no file there but {one}, which is replaced; found {what_it_is(head)}"
        raise error(fact, path=os.fspath(output), remedy=f"Give {it} another name, or remove the file.")
    if not replace:
        remedy = f"Replace it with force=True, or give {it} another name."
        raise error(f"expected no file there, found {what_it_is(head)}", path=os.fspath(output), remedy=remedy)
