"""The files of a checkpoint: each is opened once, and read, mapped and hashed through that one opening.

What a reader parses and what a conversion writes is read through the descriptor, so that a file which is cut short
meanwhile is an error. Only arrays that a caller takes are views of a map, where it would be a signal.
"""

from __future__ import annotations

import functools
import hashlib
import os
import stat
import sys
import weakref
from mmap import ACCESS_READ, mmap
from threading import Lock
from typing import TYPE_CHECKING, BinaryIO, Final

import numpy as np

from hatch_wheelweights.checkpoint.absent import fetching
from hatch_wheelweights.checkpoint.cost import Account
from hatch_wheelweights.errors import CheckpointError

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence
    from pathlib import Path
    from threading import Event

    from numpy.typing import NDArray


__all__ = ["OpenFile", "digest", "open_file"]

PIECE_BYTES: Final = 1 << 20  # read at a time: checked, hashed or written while it is in the processor's cache
WINDOW_BYTES: Final = 1 << 16  # read around a small slice: parsers take a few bytes at a time


class OpenFile:
    """A file that was opened once: `path`, `size` in bytes as it was then, and the account of what reading it costs.

    Slices are bytes, read through the descriptor. Raises CheckpointError for a slice that the file no longer has. The
    descriptor is closed with the last reference to this object: tensors hold one as long as they can be read.
    """

    def __init__(self, path: Path, file: BinaryIO, account: Account) -> None:
        self.path = path
        self.account = account
        self._file = file
        self._state = _state(file)
        self.size = self._state[0]
        account.grow(self.size)
        self._window = (0, b"")
        weakref.finalize(self, file.close)

    def __len__(self) -> int:
        return self.size

    def __getitem__(self, part: slice) -> bytes:
        start, stop, _ = part.indices(self.size)
        stop = max(start, stop)
        begin, window = self._window
        if not begin <= start <= stop <= begin + len(window):
            if stop - start >= WINDOW_BYTES:
                return self._read(start, stop - start)
            begin, window = start, self._read(start, min(WINDOW_BYTES, self.size - start))
            self._window = begin, window
        return window[start - begin : stop - begin]

    def find(self, sub: bytes, start: int, end: int) -> int:
        """Return where `sub` begins between `start` and `end`, or -1."""
        overlap = len(sub) - 1
        for begin in range(start, end, WINDOW_BYTES):
            found = self[begin : min(begin + WINDOW_BYTES + overlap, end)].find(sub)
            if found >= 0:
                return begin + found
        return -1

    def array(self, start: int, nbytes: int) -> NDArray[np.uint8]:
        """Return bytes of the file as a read-only view of its map.

        Linux ends the process with SIGBUS if the file is truncated and the missing part is touched.
        """
        return np.frombuffer(self._map, np.uint8, nbytes, start)

    def pieces(self, start: int, nbytes: int) -> Iterator[NDArray[np.uint8]]:
        """Yield bytes of the file in order, as copies of at most `PIECE_BYTES`, read through the descriptor."""
        for begin in range(start, start + nbytes, PIECE_BYTES):
            yield np.frombuffer(self._read(begin, min(PIECE_BYTES, start + nbytes - begin)), np.uint8)

    def check_unchanged(self) -> None:
        """Raise CheckpointError if the file was written to since it was opened, as far as size and time tell."""
        if _state(self._file) != self._state:
            raise CheckpointError(
                "was changed while it was read", path=str(self.path), remedy="Try again once it is complete."
            )

    @property
    def closed(self) -> bool:
        """Whether the descriptor is closed."""
        return self._file.closed

    def close(self) -> None:
        """Close the descriptor now, where nothing can be read from the file."""
        self._file.close()

    @functools.cached_property
    def _map(self) -> mmap:
        if sys.version_info >= (3, 13) and os.name == "posix":
            return mmap(self._file.fileno(), self.size, access=ACCESS_READ, trackfd=False)
        return mmap(self._file.fileno(), self.size, access=ACCESS_READ)  # keeps a descriptor of its own

    def _read(self, start: int, nbytes: int) -> bytes:
        """Return exactly so many bytes; a system may give them in parts."""
        parts: list[bytes] = []
        while nbytes:
            part = _read_at(self._file, start, nbytes)
            if not part:
                raise CheckpointError(
                    f"was cut short while it was read: expected {self.size:,} bytes, found {start:,}",
                    path=str(self.path),
                    expected=self.size,
                    found=start,
                    remedy="Try again once it is complete.",
                )
            parts.append(part)
            start, nbytes = start + len(part), nbytes - len(part)
        return parts[0] if len(parts) == 1 else b"".join(parts)


def _state(file: BinaryIO) -> tuple[int, int]:
    """Return what changes when a file is written to: its size, and the time of the last change."""
    found = os.fstat(file.fileno())
    return found.st_size, found.st_mtime_ns


def open_file(path: Path, account: Account | None = None) -> OpenFile:
    """Open a regular file; its size is added to what the account allows, or to that of an account of its own.

    Raises CheckpointError for a file that is missing, empty, or could block (a pipe, a device).
    """
    try:
        if not stat.S_ISREG(path.stat().st_mode):
            kind = "a folder" if path.is_dir() else "something that is not a regular file"
            raise CheckpointError(f"expected a checkpoint, found {kind}")
        opened = OpenFile(path, path.open("rb", buffering=0), account or Account(0))
    except CheckpointError:
        raise
    except (OSError, ValueError) as error:
        reason = error.strerror if isinstance(error, OSError) and error.strerror else str(error)
        remedy = fetching(path, path.name) if isinstance(error, OSError) else None
        raise CheckpointError(f"cannot be opened: {reason}", remedy=remedy or "Check the path.") from error
    if opened.size == 0:
        opened.close()
        raise CheckpointError("expected a checkpoint, found an empty file", remedy="Save it again, or get it again.")
    return opened


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


def _digest_of(opened: OpenFile, stop: Event | None) -> str:
    hashed = hashlib.sha256()
    for piece in opened.pieces(0, opened.size):
        if stop is not None and stop.is_set():
            raise CheckpointError("the checkpoint was closed while it was hashed")
        hashed.update(piece.data)
    return hashed.hexdigest()


_ALTERNATELY: Final = Lock()


def _read_at(file: BinaryIO, position: int, size: int) -> bytes:
    """Return bytes at a position; where the system can, without moving that of the descriptor."""
    if hasattr(os, "pread"):
        return os.pread(file.fileno(), size, position)
    with _ALTERNATELY:  # a conversion and the digest read from one descriptor
        file.seek(position)
        return file.read(size)
