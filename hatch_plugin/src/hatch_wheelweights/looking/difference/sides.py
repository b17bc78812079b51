"""The two files of a comparison, and their tensors: whatever they are, in one form.

Knows what options go with which file. What is between the tensors is not known here.
"""

from __future__ import annotations

import contextlib
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Any, TypeAlias

from hatch_wheelweights.checkpoint.contents import naming
from hatch_wheelweights.errors import REINDEX, ConfigError, Fault, For, Setting, Words
from hatch_wheelweights.looking.files import open_file, part_of_record, require_checkpoint
from hatch_wheelweights.looking.ready import part_note, ready
from hatch_wheelweights.looking.record_tensors import tensors_of_record
from hatch_wheelweights.looking.wheels import Wheel
from hatch_wheelweights.options.model import TensorOptions
from wheelweights import Record
from wheelweights.errors import WheelweightsError

if TYPE_CHECKING:
    from collections.abc import Generator, Mapping, Sequence
    from contextlib import ExitStack

    from hatch_wheelweights.checkpoint import LazyTensor
    from hatch_wheelweights.errors import Spelling
    from hatch_wheelweights.looking.files import AnyFile
    from hatch_wheelweights.opening import Checkpoint

__all__ = ["Opened", "Side", "Tensors", "is_of_reindexing", "opened_sides"]

Tensors: TypeAlias = "Mapping[str, LazyTensor]"


@dataclass(frozen=True)
class Side:
    """One of the two files: its path, and the options that are given for it alone, which have been checked.

    `spelling` is how options for this file are written, where that is not as for both: both can be one file.
    """

    path: str
    own: Mapping[str, Any] = field(default_factory=dict[str, Any])
    spelling: Spelling | None = None

    def spelt(self, text: object) -> object:
        """Return a text about this file, which names its options as they are written."""
        return text if self.spelling is None or text is None else For(text, self.spelling)

    @contextlib.contextmanager
    def speaking(self) -> Generator[None, None, None]:
        """Let errors that are raised inside be about this file."""
        try:
            with naming(self.path):
                yield
        except WheelweightsError as error:
            error.fact, error.remedy = self.spelt(error.fact), self.spelt(error.remedy)
            error.details = tuple(map(self.spelt, error.details))
            if isinstance(error, ConfigError):
                error.faults = tuple(map(self._spelt_fault, error.faults))
            raise

    def _spelt_fault(self, fault: Fault) -> Fault:
        details = tuple(map(self.spelt, fault.details))
        return replace(fault, fact=self.spelt(fault.fact), details=details, remedy=self.spelt(fault.remedy))


@dataclass(frozen=True)
class Opened:
    """A file that is open: its tensors, and what is to say of it.

    `note` says which part of a checkpoint was taken without anybody's asking, `renumbered` which layers of it
    reindexing moved; this is None for other files, where nothing can. `told` are warnings; some are not known before
    the tensors are read.
    """

    side: Side
    tensors: Tensors
    part_of: str | None = None
    note: object = None
    renumbered: str | None = None
    told: tuple[Sequence[object], ...] = ()

    @property
    def path(self) -> str:
        """The path, as the caller wrote it."""
        return self.side.path

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
        return [(self.path, self.side.spelt(warning)) for warnings in self.told for warning in warnings]


def is_of_reindexing(warning: object) -> bool:
    """Tell whether a warning is of layers that reindexing moved."""
    words = warning.text if isinstance(warning, For) else warning
    parts = words.parts if isinstance(words, Words) else ()
    return any(isinstance(part, Setting) and part.name == REINDEX for part in parts)


def opened_sides(sides: tuple[Side, Side], options: TensorOptions, stack: ExitStack) -> tuple[Opened, Opened]:
    """Open both files, which the stack closes; `options` hold for both, where a side has no own.

    A record whose tensors are in distributions of their own has nothing to compare: it raises RecordError. The tensors
    of wheels are told apart by their record's place in the wheel, unless both wheels have just one.
    """
    files = [_open(side.path, stack) for side in sides]
    require_checkpoint(options, *files)
    for side, file in zip(sides, files, strict=True):
        with side.speaking():
            require_checkpoint(replace(TensorOptions(), **side.own), file)
    by_place = any(isinstance(file, Wheel) and len(file.records) > 1 for file in files)
    left, right = (
        _opened(side, file, replace(options, **side.own), by_place=by_place)
        for side, file in zip(sides, files, strict=True)
    )
    return left, right


def _open(path: str, stack: ExitStack) -> AnyFile:
    file = open_file(path, index=False)
    stack.enter_context(file)
    return file


def _opened(side: Side, file: AnyFile, options: TensorOptions, *, by_place: bool) -> Opened:
    if isinstance(file, Wheel):
        found: dict[str, LazyTensor] = {}
        for name in file.records:
            found |= _of_record(file.open(name, index=False), f"{name}: " if by_place else "")
        return Opened(side, found)
    if by_place:
        fact = "expected a wheel with several records, like the other one, found one file"
        remedy = "Name the record in the wheel: package.whl/package/model.mpk"
        raise ConfigError(Fault(None, fact, remedy=remedy), path=side.path)
    if isinstance(file, Record):
        return Opened(side, _of_record(file, ""), part_of_record(file))
    return _of_checkpoint(side, file, options)


def _of_checkpoint(side: Side, checkpoint: Checkpoint, options: TensorOptions) -> Opened:
    with side.speaking():
        found = ready(checkpoint, options)
        if found.tensors.report.fault is not None:
            raise found.tensors.report.fault
    told = (checkpoint.warnings, found.tensors.report.warnings)
    renumbered = found.tensors.report.renumbered or ""
    return Opened(side, found.tensors, note=part_note(found.added), renumbered=renumbered, told=told)


def _of_record(record: Record, prefix: str) -> dict[str, LazyTensor]:
    return {prefix + key: tensor for key, tensor in tensors_of_record(record).items()}
