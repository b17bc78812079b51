"""What a path leads to: a checkpoint, a record (ours or Burn's), or a wheel with records in it. Its content tells.

Knows which opener is for which file. Knows nothing of their bytes, and of wheels that they are zip archives.
"""

from __future__ import annotations

import os
import stat
import struct
import zipfile
import zlib
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Final

from hatch_wheelweights.checkpoint import Checkpoint, open_checkpoint
from hatch_wheelweights.errors import CheckpointError
from wheelweights import Record, RecordError, burn, open_record
from wheelweights.errors import backticked, listed, what_it_is
from wheelweights.package import _resource_bytes
from wheelweights.record import read_record

if TYPE_CHECKING:
    from collections.abc import Iterator

__all__ = ["Wheel", "kind_of", "open_file", "size_of"]

HEAD_BYTES: Final = 64
ZIP_MAGIC: Final = b"PK\x03\x04"
# Weights deflate to nine tenths; a member that claims far more than this is made to fill the memory.
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
        with _told_as_ours(path), zipfile.ZipFile(self.path) as archive:
            member = archive.getinfo(name)
            limit = MAX_INFLATED + INFLATED_RATIO * member.compress_size
            if member.file_size > limit:
                fact = f"expected at most {limit:,} bytes from {member.compress_size:,}, found {member.file_size:,}"
                raise RecordError(fact, path=path, expected=limit, found=member.file_size)
            data = _resource_bytes(zipfile.Path(archive, name), mmap=True)
        return read_record(data, path=path)


def open_file(path: str) -> Checkpoint | Record | Wheel:
    """Open what a path leads to; a path may go on inside a wheel, to one of its records.

    Raises WheelweightsError, which names the path, for whatever is none of these.
    """
    wheel, name = _split_at_wheel(path)
    if name:
        return _open_wheel(wheel).open(name)
    head = _head(path)
    if path.endswith((".mpk", ".mpk.gz")) or _begins_a_record(head):
        return open_record(path)
    if path.endswith(".whl") or (head.startswith(ZIP_MAGIC) and _is_wheel(path)):
        return _open_wheel(path)
    return open_checkpoint(path)


def kind_of(file: Checkpoint | Record | Wheel) -> str:
    """Return a checkpoint's kind, or what else the file is: "record", "burn-record", "wheel"."""
    if isinstance(file, Checkpoint):
        return file.kind
    return "wheel" if isinstance(file, Wheel) else "burn-record" if file.format == "burn" else "record"


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


def _begins_a_record(head: bytes) -> bool:
    return burn.recognises(head) or what_it_is(head) == "a wheelweights record"


def _is_wheel(path: str) -> bool:
    try:
        with zipfile.ZipFile(path) as archive:
            return any(name.endswith(".dist-info/RECORD") for name in archive.namelist())
    except _ZIP_FAULTS:  # the reader of checkpoints says what is wrong with it
        return False


def _open_wheel(path: str) -> Wheel:
    with _told_as_ours(path), zipfile.ZipFile(path) as archive:
        names = tuple(dict.fromkeys(name for name in archive.namelist() if name.endswith(".mpk")))
    if not names:
        raise RecordError(
            "no record in this wheel", path=path, remedy="Build it with hatch-wheelweights, and with its hooks enabled."
        )
    return Wheel(path, names)


# What `zipfile` raises on archives that are damaged, encrypted or compressed in a way it has not
_ZIP_FAULTS: Final = (
    zipfile.BadZipFile, zlib.error, struct.error, EOFError, OSError, RuntimeError, ValueError, KeyError,
)  # fmt: skip


@contextmanager
def _told_as_ours(path: str) -> Iterator[None]:
    try:
        yield
    except _ZIP_FAULTS as error:
        if isinstance(error, RecordError):
            raise
        reason = backticked(error)[1:-1] or type(error).__name__
        remedy = "Get the wheel again, or build it again."
        raise RecordError(f"cannot be read as a wheel: {reason}", path=path, remedy=remedy) from error
