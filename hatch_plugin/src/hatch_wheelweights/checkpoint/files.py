"""The files of a checkpoint: each is opened once, and read, mapped and hashed through that one opening."""

from __future__ import annotations

import hashlib
import os
import stat
import sys
import weakref
from dataclasses import dataclass
from mmap import ACCESS_READ, mmap
from typing import TYPE_CHECKING, BinaryIO, Final

from hatch_wheelweights.errors import CheckpointError

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path
    from threading import Event

__all__ = ["OpenFile", "digest", "open_file"]

PIECE: Final = 1 << 20  # bytes hashed at a time


@dataclass(frozen=True, eq=False)
class OpenFile:
    """A file that was opened once: its descriptor, its map, its size in bytes.

    Arrays that are views of `data` keep the map alive after `close`.
    """

    path: Path
    file: BinaryIO
    data: mmap
    size: int

    def close(self) -> None:
        """Let go of the descriptor; the map goes with the last array that needs it."""
        self.file.close()


def open_file(path: Path) -> OpenFile:
    """Open and map a regular file.

    Raises CheckpointError for a file that is missing, empty, or could block (a pipe, a device).
    """
    try:
        if not stat.S_ISREG(path.stat().st_mode):
            kind = "a folder" if path.is_dir() else "something that is not a regular file"
            raise CheckpointError(f"expected a checkpoint, found {kind}")
        return _mapped(path, path.open("rb", buffering=0))
    except CheckpointError:
        raise
    except (OSError, ValueError) as error:
        reason = error.strerror if isinstance(error, OSError) and error.strerror else str(error)
        raise CheckpointError(f"cannot be opened: {reason}", remedy="Check the path.") from error


def _mapped(path: Path, file: BinaryIO) -> OpenFile:
    """Map what was opened; close it if that fails."""
    try:
        if os.fstat(file.fileno()).st_size == 0:
            raise CheckpointError(
                "expected a checkpoint, found an empty file", remedy="Save it again, or get it again."
            )
        data = _map(file.fileno())
        opened = OpenFile(path, file, data, len(data))
    except BaseException:
        file.close()
        raise
    weakref.finalize(opened, file.close)  # for a checkpoint that nobody closes
    return opened


def _map(descriptor: int) -> mmap:
    if sys.version_info >= (3, 13) and os.name == "posix":
        return mmap(descriptor, 0, access=ACCESS_READ, trackfd=False)
    return mmap(descriptor, 0, access=ACCESS_READ)  # keeps a descriptor of its own


def digest(files: Sequence[OpenFile], stop: Event | None = None) -> str:
    """Return the SHA-256 of a file in hexadecimal; of several, that of the list of theirs as sha256sum prints it.

    Reads through the open descriptors, never through the map: a file that is cut short meanwhile cannot crash it.
    Raises CheckpointError where one is, and soon after `stop` is set.
    """
    digests = [_digest_of(opened, stop) for opened in files]
    if len(digests) == 1:
        return digests[0]
    lines = "".join(f"{each}  {opened.path.name}\n" for each, opened in zip(digests, files, strict=True))
    return hashlib.sha256(lines.encode()).hexdigest()


def _digest_of(opened: OpenFile, stop: Event | None = None) -> str:
    hashed, position = hashlib.sha256(), 0
    while position < opened.size:
        if stop is not None and stop.is_set():
            raise CheckpointError("the checkpoint was closed while it was hashed")
        piece = _read_at(opened.file, position, min(PIECE, opened.size - position))
        if not piece:
            raise CheckpointError(
                f"was cut short while it was read: expected {opened.size:,} bytes, found {position:,}",
                expected=opened.size,
                found=position,
            )
        hashed.update(piece)
        position += len(piece)
    return hashed.hexdigest()


def _read_at(file: BinaryIO, position: int, size: int) -> bytes:
    """Return bytes at a position; where the system can, without moving that of the descriptor."""
    if hasattr(os, "pread"):
        return os.pread(file.fileno(), size, position)
    file.seek(position)
    return file.read(size)
