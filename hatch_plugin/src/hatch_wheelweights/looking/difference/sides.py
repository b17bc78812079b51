"""The two files of a comparison, and their tensors: whatever they are, in one form.

Knows what options go with which file. What is between the tensors is not known here.
"""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Any, TypeAlias

from hatch_wheelweights.checkpoint.contents import naming
from hatch_wheelweights.errors import REINDEX, ConfigError, Fault, Setting, Words
from hatch_wheelweights.looking.files import open_file, part_of_record, require_checkpoint
from hatch_wheelweights.looking.ready import part_note, ready
from hatch_wheelweights.looking.record_tensors import tensors_of_record
from hatch_wheelweights.looking.wheels import Wheel
from hatch_wheelweights.options.model import TensorOptions
from wheelweights import Record

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence
    from contextlib import ExitStack

    from hatch_wheelweights.checkpoint import LazyTensor
    from hatch_wheelweights.looking.files import AnyFile
    from hatch_wheelweights.opening import Checkpoint

__all__ = ["Opened", "Side", "Tensors", "is_of_reindexing", "opened_sides"]

Tensors: TypeAlias = "Mapping[str, LazyTensor]"


@dataclass(frozen=True)
class Side:
    """One of the two files: its path, and the options that are given for it alone, which have been checked."""

    path: str
    own: Mapping[str, Any] = field(default_factory=dict[str, Any])


@dataclass(frozen=True)
class Opened:
    """A file that is open: its tensors, and what is to say of it.

    `note` says which part of a checkpoint was taken without anybody's asking, `renumbered` which layers of it
    reindexing moved; this is None for other files, where nothing can. `told` are warnings; some are not known before
    the tensors are read.
    """

    path: str
    tensors: Tensors
    part_of: str | None = None
    note: object = None
    renumbered: str | None = None
    told: tuple[Sequence[object], ...] = ()

    def notes(self, other: Opened) -> list[tuple[str, object]]:
        """Return what is to be known beside the differences, each with the path.

        Of layers that were moved that is where another checkpoint has others moved, or none: a record has the numbers
        of its conversion, and the same moves are no difference.
        """
        moved = None if other.renumbered in (None, self.renumbered) else self.renumbered
        return [(self.path, note) for note in (self.note, moved) if note]

    @property
    def warnings(self) -> list[tuple[str, object]]:
        """The warnings that there are by now, each with the path."""
        return [(self.path, warning) for warnings in self.told for warning in warnings]


def is_of_reindexing(warning: object) -> bool:
    """Tell whether a warning is of layers that reindexing moved."""
    parts = warning.parts if isinstance(warning, Words) else ()
    return any(isinstance(part, Setting) and part.name == REINDEX for part in parts)


def opened_sides(sides: tuple[Side, Side], options: TensorOptions, stack: ExitStack) -> tuple[Opened, Opened]:
    """Open both files, which the stack closes; `options` hold for both, where a side has no own.

    A record whose tensors are in distributions of their own has nothing to compare: it raises RecordError. The tensors
    of wheels are told apart by their record's place in the wheel, unless both wheels have just one.
    """
    files = [_open(side.path, stack) for side in sides]
    require_checkpoint(options, *files)
    for side, file in zip(sides, files, strict=True):
        with naming(side.path):
            require_checkpoint(replace(TensorOptions(), **side.own), file)
    by_place = any(isinstance(file, Wheel) and len(file.records) > 1 for file in files)
    left, right = (
        _opened(side.path, file, replace(options, **side.own), by_place=by_place)
        for side, file in zip(sides, files, strict=True)
    )
    return left, right


def _open(path: str, stack: ExitStack) -> AnyFile:
    file = open_file(path, index=False)
    stack.enter_context(file)
    return file


def _opened(path: str, file: AnyFile, options: TensorOptions, *, by_place: bool) -> Opened:
    if isinstance(file, Wheel):
        found: dict[str, LazyTensor] = {}
        for name in file.records:
            found |= _of_record(file.open(name, index=False), f"{name}: " if by_place else "")
        return Opened(path, found)
    if by_place:
        fact = "expected a wheel with several records, like the other one, found one file"
        remedy = "Name the record in the wheel: package.whl/package/model.mpk"
        raise ConfigError(Fault(None, fact, remedy=remedy), path=path)
    if isinstance(file, Record):
        return Opened(path, _of_record(file, ""), part_of_record(file))
    return _of_checkpoint(path, file, options)


def _of_checkpoint(path: str, checkpoint: Checkpoint, options: TensorOptions) -> Opened:
    with naming(path):
        found = ready(checkpoint, options)
        if found.tensors.report.fault is not None:
            raise found.tensors.report.fault
    told = (checkpoint.warnings, found.tensors.report.warnings)
    renumbered = found.tensors.report.renumbered or ""
    return Opened(path, found.tensors, note=part_note(found.added), renumbered=renumbered, told=told)


def _of_record(record: Record, prefix: str) -> dict[str, LazyTensor]:
    return {prefix + key: tensor for key, tensor in tensors_of_record(record).items()}
