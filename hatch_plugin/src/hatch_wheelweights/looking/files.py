"""What a path leads to: a checkpoint, a record (ours or Burn's), or a wheel with records in it. Its content tells.

Knows which opener is for which file. Knows no byte layouts, except that a wheel is a zip archive.
"""

from __future__ import annotations

import os
import stat
import struct
import zipfile
import zlib
from contextlib import contextmanager
from dataclasses import dataclass, fields
from pathlib import Path
from typing import TYPE_CHECKING, Final

from hatch_wheelweights.errors import CheckpointError, ConfigError, Fault, Option, Words
from hatch_wheelweights.opening import Checkpoint, open_checkpoint
from wheelweights import Record, RecordError, open_record
from wheelweights.errors import backticked, listed
from wheelweights.formats import HEAD_BYTES, Format, format_of
from wheelweights.package import resource_bytes
from wheelweights.record import read_record, recognises

if TYPE_CHECKING:
    from collections.abc import Generator
    from typing import TypeAlias

    from hatch_wheelweights.options.model import TensorOptions

__all__ = ["AnyFile", "Wheel", "file_of", "kind_of", "open_file", "require_checkpoint", "size_of"]

# Weights deflate to nine tenths; a member that claims to inflate far beyond this is made to fill the memory.
MAX_INFLATED: Final = 256 << 20
INFLATED_RATIO: Final = 64


@dataclass(frozen=True)
class Wheel:
    """A wheel, and the records in it by their places."""

    path: str
    records: tuple[str, ...]

    def open(self, name: str) -> Record:
        """Open one record: a stored one is mapped inside the wheel, a deflated one read into memory."""
        path = f"{self.path}/{name}"
        if name not in self.records:
            raise RecordError("no such record in the wheel", path=path, remedy=f"Name one of {listed(self.records)}.")
        with _reading_a_wheel(path), zipfile.ZipFile(self.path) as archive:
            member = archive.getinfo(name)
            limit = MAX_INFLATED + INFLATED_RATIO * member.compress_size
            if member.file_size > limit:
                fact = f"expected at most {limit:,} bytes from {member.compress_size:,}, found {member.file_size:,}"
                raise RecordError(fact, path=path, expected=limit, found=member.file_size)
            data = resource_bytes(zipfile.Path(archive, name), mmap=True)
        return read_record(data, path=path)


AnyFile: TypeAlias = "Checkpoint | Record | Wheel"


def open_file(path: str) -> AnyFile:
    """Open what a path leads to; a path may go on inside a wheel, to one of its records.

    Raises WheelweightsError, which names the path, for any other file.
    """
    wheel, name = _split_at_wheel(path)
    if name:
        return _open_wheel(wheel).open(name)
    head = _head(path)
    if path.endswith((".mpk", ".mpk.gz")) or recognises(head):
        return open_record(path)
    if path.endswith(".whl") or (format_of(head) is Format.ZIP and _is_wheel(path)):
        return _open_wheel(path)
    return open_checkpoint(path)


def kind_of(file: AnyFile) -> str:
    """Return a checkpoint's kind, or what else the file is: "record", "burn-record", "wheel"."""
    if isinstance(file, Checkpoint):
        return file.kind
    return "wheel" if isinstance(file, Wheel) else "burn-record" if file.format == "burn" else "record"


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
    wheel, name = _split_at_wheel(path)
    if not name:
        return Path(path).stat().st_size
    with zipfile.ZipFile(wheel) as archive:
        return archive.getinfo(name).file_size


def _split_at_wheel(path: str) -> tuple[str, str]:
    """Split `a.whl/b/c.mpk` into the wheel and the place in it; for any other path the second part is empty."""
    for parent in Path(path).parents:
        if os.path.isfile(parent):  # noqa: PTH113 (of a name that is too long, `Path.is_file` raises)
            return str(parent), Path(path).relative_to(parent).as_posix()
    return path, ""


def _head(path: str) -> bytes:
    """Return the first bytes of a file; raise CheckpointError where there is no file to read."""
    try:
        mode = os.stat(path).st_mode  # noqa: PTH116 (a pipe would block when it is opened)
        if not stat.S_ISREG(mode):
            found = "a folder" if stat.S_ISDIR(mode) else "something that is not a regular file"
            raise CheckpointError(f"expected a checkpoint, a record or a wheel, found {found}", path=path)
        with Path(path).open("rb") as file:
            return file.read(HEAD_BYTES)
    except (OSError, ValueError) as error:
        if isinstance(error, CheckpointError):
            raise
        reason = error.strerror if isinstance(error, OSError) and error.strerror else str(error)
        raise CheckpointError(f"cannot be opened: {reason}", path=path, remedy="Check the path.") from error


def _is_wheel(path: str) -> bool:
    try:
        with zipfile.ZipFile(path) as archive:
            return any(name.endswith(".dist-info/RECORD") for name in archive.namelist())
    except _ZIP_FAULTS:  # not a wheel: the reader of checkpoints says what is wrong with it
        return False


def _open_wheel(path: str) -> Wheel:
    with _reading_a_wheel(path), zipfile.ZipFile(path) as archive:
        names = tuple(dict.fromkeys(name for name in archive.namelist() if name.endswith(".mpk")))
    if not names:
        raise RecordError(
            "no record in this wheel", path=path, remedy="Build it with hatch-wheelweights, and with its hooks enabled."
        )
    return Wheel(path, names)


# What `zipfile` raises on archives that are damaged, encrypted, or compressed in a way that it does not know
_ZIP_FAULTS: Final = (
    zipfile.BadZipFile, zlib.error, struct.error, EOFError, OSError, RuntimeError, ValueError, KeyError,
)  # fmt: skip


@contextmanager
def _reading_a_wheel(path: str) -> Generator[None]:
    """Raise RecordError, which names the path, for what `zipfile` raises inside."""
    try:
        yield
    except _ZIP_FAULTS as error:
        if isinstance(error, RecordError):
            raise
        reason = backticked(error)[1:-1] or type(error).__name__
        remedy = "Get the wheel again, or build it again."
        raise RecordError(f"cannot be read as a wheel: {reason}", path=path, remedy=remedy) from error
