"""Export: a checkpoint and options, or a record -> a safetensors file.

The way of a conversion, to a file that other tools read: names before bytes, each byte of the source read once, and a
file that appears whole or not at all.
"""

from __future__ import annotations

import os
import re
from contextlib import ExitStack
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

from hatch_wheelweights.checkpoint import naming
from hatch_wheelweights.checkpoint.files import open_file as open_on_disk
from hatch_wheelweights.checkpoint.tensors import MAX_EXPANSION, bytes_to_read
from hatch_wheelweights.checkpoint.zip_members import INFLATED_RATIO
from hatch_wheelweights.errors import EXCLUDE, PRECISION, CheckpointError, Do, Setting
from hatch_wheelweights.looking.files import file_of, kind_of, open_file, part_of_record, parts_in, require_checkpoint
from hatch_wheelweights.looking.record_tensors import tensors_of_record
from hatch_wheelweights.looking.wheels import Wheel
from hatch_wheelweights.opening import Checkpoint
from hatch_wheelweights.options.model import ExportOptions
from hatch_wheelweights.options.reading import keywords_of, read_keywords
from hatch_wheelweights.progress import working
from hatch_wheelweights.safetensors import copies_of_ties, write_safetensors
from hatch_wheelweights.steps.finite import NonFinite
from hatch_wheelweights.written import Written, refuse_overwriting, require_readable, values_left_out
from wheelweights import Record, RecordError
from wheelweights.errors import SHOWN_ITEMS, backticked, counted, listed
from wheelweights.formats import Format
from wheelweights.plain import is_dict

if TYPE_CHECKING:
    from collections.abc import Callable, Collection, Iterator, Mapping

    from hatch_wheelweights.checkpoint import LazyTensor

__all__ = ["Export", "export", "export_file"]

# Whose tensors they are, which `transformers` wants to be told
_OF_TORCH: Final = {"format": "pt"}


@dataclass(frozen=True, repr=False)
class Export(Written):
    """What an export did. `tensors` counts keys, and `nbytes` the bytes of each: tied tensors have their own there."""


@dataclass(frozen=True)
class _Arguments(ExportOptions):
    """The parameters of `export`."""

    source: str | os.PathLike[str]
    output: str | os.PathLike[str]
    force: bool = field(default=False, kw_only=True)


@keywords_of(_Arguments)
def export(
    source: str | os.PathLike[str], output: str | os.PathLike[str], *, force: bool = False, **options: Any
) -> Export:
    """Write the tensors of a file as safetensors and return what was done.

    `source` is a checkpoint, a record (of Burn's, too), a record in a wheel (`package.whl/package/model.mpk`), or a
    wheel with one record. The options are those of the build hook that concern tensors, for checkpoints alone; layers
    keep their numbers unless `reindex` is true. The file appears whole or not at all; with `force` it replaces a
    safetensors file, never another one, nor the source. Tied tensors get bytes of their own, because safetensors has no
    ties.

    Raises ConfigError for options that are wrong in themselves, CheckpointError for tensors that safetensors cannot
    hold and for a file that is there, and other WheelweightsErrors for a source that is no such file, or does not go
    with the options.
    """
    return export_file(source, output, read_keywords(ExportOptions, options), force=force)


def export_file(
    source: str | os.PathLike[str], output: str | os.PathLike[str], options: ExportOptions, *, force: bool = False
) -> Export:
    """Export as `export` does, by options that have been checked."""
    path = os.fspath(source)
    with naming(path), ExitStack() as opened:
        found = _opened(path, options, opened)
        refuse_overwriting(found.files, Path(output), Format.SAFETENSORS, CheckpointError, replace=force)
        require_readable(found.tensors, "a safetensors file")
        _check_copies(found)
        with working(f"Exporting {Path(path).name}", bytes_to_read(found.tensors.values())):
            size = write_safetensors(
                output,
                found.tensors,
                metadata=found.metadata,
                complete=found.check_unchanged,
                remedy=found.lacking,
            )
        nbytes = sum(tensor.nbytes for tensor in found.tensors.values())
        told, noted = found.said()
        return Export(
            Path(path),
            Path(output),
            found.kind,
            len(found.tensors),
            nbytes,
            size,
            tuple(told),
            (*noted, *_notes_of_ties(found.tensors)),
        )


# What is exported


@dataclass(frozen=True)
class _Source:
    """What is exported, of whatever file: tensors by their final keys, and metadata.

    `size` are the bytes of the files. `said` gives warnings and notes, once the tensors have been read; `lacking` what
    to do about tensors, by their keys, whose dtype safetensors lacks.
    """

    kind: str
    files: tuple[Path, ...]
    size: int
    tensors: Mapping[str, LazyTensor]
    metadata: Mapping[str, str]
    said: Callable[[], tuple[list[object], list[object]]]
    check_unchanged: Callable[[], object]
    lacking: Callable[[Collection[str]], object]


def _opened(path: str, options: ExportOptions, opened: ExitStack) -> _Source:
    """Open the source, which `opened` closes."""
    file = open_file(path)
    opened.enter_context(file)
    require_checkpoint(options, file)
    if isinstance(file, Checkpoint):
        return _of_checkpoint(file, options)
    return _of_record(file.open_only() if isinstance(file, Wheel) else file, path, opened)


def _of_checkpoint(checkpoint: Checkpoint, options: ExportOptions) -> _Source:
    tensors = checkpoint.tensors(options)
    report, non_finite = tensors.report, NonFinite()

    def said() -> tuple[list[object], list[object]]:
        warnings = [*checkpoint.warnings, *report.warnings, *non_finite.warnings()]
        return warnings, [*report.notes, *values_left_out(report)]

    return _Source(
        checkpoint.kind,
        checkpoint.files,
        checkpoint.size,
        non_finite.watched(tensors),
        {**_OF_TORCH, **checkpoint.metadata},
        said,
        checkpoint.check_unchanged,
        _cast_or_leave_out,
    )


def _cast_or_leave_out(keys: Collection[str]) -> Do:
    """Return what to do about the complex numbers of 128 bits, the only dtype of a record that safetensors lacks."""
    leave_out = (", or leave them out with ", EXCLUDE, ".")
    if len(keys) > SHOWN_ITEMS:
        return Do("Cast them to `complex64` by rules of ", PRECISION, *leave_out)
    rules = [{"pattern": f"^{re.escape(key)}$", "dtype": "complex64"} for key in keys]
    return Do("Cast them: ", Setting(PRECISION, rules), *leave_out)


def _of_record(record: Record, path: str, opened: ExitStack) -> _Source:
    _refuse_parts(record)
    place = Path(file_of(path))
    file = open_on_disk(place)
    opened.callback(file.close)
    return _Source(
        kind_of(record),
        (place,),
        file.size,
        tensors_of_record(record, file if record.path == file_of(path) else None),
        {**_OF_TORCH, **_pairs(record)},
        lambda: (list(_warnings(record)), list(_notes(record))),
        file.check_unchanged,
        lambda _: "Export the checkpoint that the record was made from, with these tensors cast or left out.",
    )


def _refuse_parts(record: Record) -> None:
    if parts := parts_in(record):
        named = listed(part.requirement for part in parts)
        raise RecordError(
            f"expected a record with tensors, found one whose tensors are in distributions of their own: {named}",
            path=record.path,
            remedy="Export the records in the wheels of those.",
        )


def _pairs(record: Record) -> dict[str, str]:
    """Return the pairs of text that the user gave a record."""
    given = record.metadata.get("user")
    return {key: text for key, text in given.items() if isinstance(text, str)} if is_dict(given) else {}


def _warnings(record: Record) -> Iterator[object]:
    if part := part_of_record(record):
        yield f"it is a part of a record, in the distribution {backticked(part)}: other parts have the other tensors"


def _notes(record: Record) -> Iterator[object]:
    if record.format == "burn":
        yield ("names and layout are Burn's: the weight of a linear layer is (in, out), norms have `gamma` and `beta`")
    if "config" in record.metadata:
        yield "left out the configuration: safetensors has pairs of text only"


# Ties


def _notes_of_ties(tensors: Mapping[str, LazyTensor]) -> Iterator[object]:
    if copies := copies_of_ties(tensors):
        tied = f"tied tensors have bytes of their own, since safetensors has no ties: {listed(copies)}"
        yield f"{tied} ({counted(sum(copies.values()), 'byte')} more)"


def _check_copies(source: _Source) -> None:
    """Raise CheckpointError where the copies of tied tensors take far more than the file: a small one can tie many."""
    limit = MAX_EXPANSION + INFLATED_RATIO * source.size
    total = sum(tensor.nbytes for tensor in source.tensors.values())
    if total > limit:
        raise CheckpointError(
            f"its tensors take {total:,} bytes without ties, expected at most {limit:,} from a file of this size",
            expected=limit,
            found=total,
        )
