"""What a path leads to: a checkpoint, a record (ours or Burn's), or a wheel with records in it. Its content tells.

Knows which opener is for which file. Knows no byte layouts, except that a wheel is a zip archive.
"""

from __future__ import annotations

import os
import stat
from dataclasses import fields
from pathlib import Path
from typing import TYPE_CHECKING, Final, TypeAlias

from hatch_wheelweights.checkpoint.absent import remedy_for
from hatch_wheelweights.checkpoint.foreign import refuse_other
from hatch_wheelweights.errors import CheckpointError, ConfigError, Fault, Option, Words
from hatch_wheelweights.looking.wheels import WHEEL_AGAIN, Wheel, is_listing, may_be_wheel, open_wheel
from hatch_wheelweights.opening import Checkpoint, open_checkpoint
from wheelweights import Record, RecordError, WheelweightsError, open_record
from wheelweights.formats import HEAD_BYTES, Format, format_of, what_it_is
from wheelweights.parts import parts_of
from wheelweights.plain import is_dict
from wheelweights.record import recognises

if TYPE_CHECKING:
    from hatch_wheelweights.options.model import TensorOptions
    from wheelweights.parts import Part

__all__ = [
    "AnyFile",
    "file_of",
    "kind_of",
    "open_file",
    "part_of_record",
    "parts_in",
    "require_checkpoint",
    "size_of",
]

_EXPECTED: Final = "a checkpoint, a record or a wheel"

AnyFile: TypeAlias = "Checkpoint | Record | Wheel"


def open_file(path: str, *, index: bool = True) -> AnyFile:
    """Open what a path leads to; a path may go on inside a wheel, to one of its records.

    A record whose tensors are in distributions of their own is opened without them, or refused without `index`.
    Raises WheelweightsError, which names the path, for any other file.
    """
    place, name = _split_at_wheel(path)
    if name:
        with open_wheel(place) as wheel:
            return wheel.open(name, index=index)
    head = _head(path)
    is_stub = format_of(head) is Format.INTERRUPTED
    if path.endswith((".mpk", ".mpk.gz")) or recognises(head) or is_stub:
        return open_record(path, index=index)
    if path.endswith(".whl") or (format_of(head) is Format.ZIP and _is_wheel(path)):
        return _wheel_with_records(path, head)
    return open_checkpoint(path)


def kind_of(file: AnyFile) -> str:
    """Return a checkpoint's kind, or what else the file is: "record", "record-index", "burn-record", "wheel"."""
    if isinstance(file, Checkpoint):
        return file.kind
    if isinstance(file, Wheel):
        return "wheel"
    return "burn-record" if file.format == "burn" else "record-index" if parts_in(file) else "record"


def parts_in(record: Record) -> tuple[Part, ...]:
    """Return the parts that hold the tensors of a record; none where it holds them itself.

    Raises RecordError for parts that are not well-formed.
    """
    return () if record else parts_of(record.metadata, record.path)


def part_of_record(record: Record) -> str | None:
    """Return the distribution that a part of a record belongs to, as `big-weights-1==3`; None for whole records."""
    said = record.metadata.get("part")
    if not is_dict(said) or not {"distribution", "version"} <= said.keys():
        return None
    return f"{said['distribution']}=={said['version']}"


def require_checkpoint(options: TensorOptions, *files: AnyFile) -> None:
    """Raise ConfigError if there are options of a conversion but no checkpoint among the files to apply them to."""
    if any(isinstance(file, Checkpoint) for file in files):
        return
    default = type(options)()
    names = [field.name for field in fields(options) if getattr(options, field.name) != getattr(default, field.name)]
    if names:
        first, *more = map(Option, names)
        named = Words(first, *(part for name in more for part in (", ", name)))
        found = f": expected a checkpoint to convert, found a {kind_of(files[0])}"
        remedy = f"Leave {'them' if more else 'it'} out: the tensors of a record are as the conversion made them."
        raise ConfigError(Fault(None, Words(named, found), remedy=remedy))


def file_of(path: str) -> str:
    """Return the file on disk that a path leads to, or into."""
    return _split_at_wheel(path)[0]


def size_of(path: str) -> int:
    """Return the bytes of a file, or of a record inside a wheel."""
    place, name = _split_at_wheel(path)
    if not name:
        return Path(path).stat().st_size
    with open_wheel(place) as wheel:
        return wheel.files[name].size


def _split_at_wheel(path: str) -> tuple[str, str]:
    """Split `a.whl/b/c.mpk` into the wheel and the place in it; for any other path the second part is empty."""
    for parent in Path(path).parents:
        if os.path.isfile(parent):  # noqa: PTH113 (of a name that is too long, `Path.is_file` raises)
            return str(parent), Path(path).relative_to(parent).as_posix()
    return path, ""


def _head(path: str) -> bytes:
    """Return the first bytes of a file; raise CheckpointError where there is no file to read."""
    try:
        refuse_other(Path(path), _EXPECTED)
        if not stat.S_ISREG(os.stat(path).st_mode):  # noqa: PTH116 (a pipe would block when it is opened)
            raise CheckpointError(f"expected {_EXPECTED}, found something that is not a regular file")
        with Path(path).open("rb") as file:
            return file.read(HEAD_BYTES)
    except (OSError, ValueError) as error:
        if isinstance(error, CheckpointError):
            error.path = path
            raise
        reason = error.strerror if isinstance(error, OSError) and error.strerror else str(error)
        raise CheckpointError(f"cannot be opened: {reason}", path=path, remedy=remedy_for(Path(path), path)) from error


def _is_wheel(path: str) -> bool:
    try:
        if not may_be_wheel(path):
            return False
        with open_wheel(path) as wheel:
            return any(map(is_listing, wheel.files))
    except WheelweightsError:  # not a wheel: the reader of checkpoints says what is wrong with it
        return False


def _wheel_with_records(path: str, head: bytes) -> Wheel:
    if format_of(head) is not Format.ZIP:
        raise RecordError(f"expected a wheel, found {what_it_is(head)}", path=path, remedy=WHEEL_AGAIN)
    wheel = open_wheel(path)
    if not wheel.records:
        wheel.close()
        remedy = "Build it with hatch-wheelweights, and with its hooks enabled."
        raise RecordError("no record in this wheel", path=path, remedy=remedy)
    return wheel
