"""The files of a checkpoint: each is opened once, and read, mapped and hashed through that one opening.

What a reader parses and what a conversion writes is read through the descriptor, so that a file which is cut short
meanwhile is an error. Only arrays that a caller takes are views of a map, where it would be a signal.
"""

from __future__ import annotations

import functools
import os
import stat
import sys
import weakref
from collections import deque
from mmap import ACCESS_READ, mmap
from threading import Lock
from typing import TYPE_CHECKING, BinaryIO, Final, cast, overload

import numpy as np

from hatch_wheelweights.checkpoint.absent import remedy_for
from hatch_wheelweights.checkpoint.cost import Account
from hatch_wheelweights.checkpoint.hashing import WAITING, Hashing
from hatch_wheelweights.errors import CheckpointError

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence
    from pathlib import Path

    from numpy.typing import NDArray


__all__ = ["OpenFile", "digest", "open_file"]

PIECE_BYTES: Final = 1 << 19  # read at a time: checked, hashed or written while it is in the processor's cache
WINDOW_BYTES: Final = 1 << 16  # read behind a small slice: parsers take a few bytes at a time
FIRST_BYTES: Final = 1 << 12  # ... but at another place, where they may want no more than those few


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
        self._hashing: Hashing | None = None
        weakref.finalize(self, file.close)

    def __len__(self) -> int:
        return self.size

    @overload
    def __getitem__(self, part: int) -> int: ...
    @overload
    def __getitem__(self, part: slice) -> bytes: ...
    def __getitem__(self, part: int | slice) -> int | bytes:
        begin, window = self._window
        if isinstance(part, int):
            return window[part - begin] if begin <= part < begin + len(window) else self[part : part + 1][0]
        start, stop, _ = part.indices(self.size)
        if begin <= start <= stop <= begin + len(window):
            return window[start - begin : stop - begin]
        return self._slice(start, max(start, stop))

    def _slice(self, start: int, stop: int) -> bytes:
        """Return bytes that are not all in the window, which moves there unless they are many."""
        if stop - start >= WINDOW_BYTES:
            return self._read(start, stop - start)
        begin, window = self._window
        goes_on = begin <= start <= begin + len(window)
        size = max(stop - start, WINDOW_BYTES if goes_on else FIRST_BYTES)
        window = self._read(start, min(size, self.size - start))
        self._window = start, window
        return window[: stop - start]

    def find(self, sub: bytes, start: int, end: int) -> int:
        """Return where `sub` begins between `start` and `end`, or -1."""
        overlap = len(sub) - 1
        for begin in range(start, end, FIRST_BYTES):
            found = self[begin : min(begin + FIRST_BYTES + overlap, end)].find(sub)
            if found >= 0:
                return begin + found
        return -1

    def array(self, start: int, nbytes: int) -> NDArray[np.uint8]:
        """Return bytes of the file as a read-only view of its map.

        Linux ends the process with SIGBUS if the file is truncated and the missing part is touched.
        """
        return np.frombuffer(self._map, np.uint8, nbytes, start)

    def pieces(self, start: int, nbytes: int) -> Iterator[NDArray[np.uint8]]:
        """Yield bytes of the file in order, as copies of at most `PIECE_BYTES`, read through the descriptor.

        Memory of copies that nobody holds any more is used again.
        """
        position = start
        few = nbytes < WINDOW_BYTES  # there can be many such, and whoever keeps one is not to keep more than that
        for piece in [np.frombuffer(self[start : start + nbytes], np.uint8)] if few else self._pieces(start, nbytes):
            if self._hashing is not None:
                self._hashing.follow(position, piece, self._pieces)
            position += piece.size
            yield piece

    def start_hashing(self) -> None:
        """Begin to compute the SHA-256, in a thread, from the pieces that are read from now on."""
        if self._hashing is None:
            self._hashing = Hashing(self.size)
            weakref.finalize(self, self._hashing.let_go)

    def sha256(self) -> str:
        """Return the SHA-256 in hexadecimal; what was not read since `start_hashing` is read now.

        Raises CheckpointError if the file was cut short meanwhile, and after `stop_hashing`.
        """
        self.start_hashing()
        return cast("Hashing", self._hashing).result(self._pieces)

    def stop_hashing(self) -> None:
        """Give up the hash, if it is not complete."""
        if self._hashing is not None:
            self._hashing.stop()

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

    def _pieces(self, start: int, nbytes: int) -> Iterator[NDArray[np.uint8]]:
        for begin in range(start, start + nbytes, PIECE_BYTES):
            piece = _MEMORY.take(min(PIECE_BYTES, start + nbytes - begin))
            self._fill(piece.data, begin)
            piece.flags.writeable = False
            yield piece

    def _read(self, start: int, nbytes: int) -> bytes:
        content = bytearray(nbytes)
        self._fill(memoryview(content), start)
        return bytes(content)

    def _fill(self, memory: memoryview, start: int) -> None:
        """Read into all of the memory; a system may give the bytes in parts."""
        done = 0
        while done < len(memory):
            try:
                got = _read_into(self._file, memory[done:], start + done)
            except OSError as error:
                raise CheckpointError(f"cannot be read: {error.strerror or error}", path=str(self.path)) from error
            if not got:
                raise CheckpointError(
                    f"was cut short while it was read: expected {self.size:,} bytes, found {start + done:,}",
                    path=str(self.path),
                    expected=self.size,
                    found=start + done,
                    remedy="Try again once it is complete.",
                )
            done += got


class _Memory:
    """Memory for pieces, used again as soon as nobody has an array in it: fresh memory costs as much as reading."""

    def __init__(self) -> None:
        self._known: deque[bytearray] = deque(maxlen=WAITING + 4)

    def take(self, nbytes: int) -> NDArray[np.uint8]:
        """Return an array of so many bytes, at most `PIECE_BYTES`, of which no other array is a view."""
        memory = self._free()
        piece = np.frombuffer(memory, np.uint8, nbytes)
        self._known.append(memory)  # only now: another thread may look at it, and finds it in use
        return piece

    def _free(self) -> bytearray:
        """Return the memory that was used last, and is most likely in the processor's cache, or new memory."""
        in_use: list[bytearray] = []
        found: bytearray | None = None
        while found is None:
            try:
                memory = self._known.pop()
            except IndexError:
                found = bytearray(PIECE_BYTES)
                break
            if not _is_free(memory):
                in_use.append(memory)
            elif len(memory) == PIECE_BYTES:
                found = memory
        self._known.extend(reversed(in_use))
        return found


_MEMORY: Final = _Memory()  # for all files: a checkpoint can have thousands of shards


def _is_free(memory: bytearray) -> bool:
    """Return whether nothing looks into a bytearray: Python changes the size of no other."""
    try:
        memory.pop()
    except BufferError:
        return False
    memory.append(0)
    return True


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
        raise CheckpointError(f"cannot be opened: {reason}", remedy=remedy_for(path, path.name)) from error
    if opened.size == 0:
        opened.close()
        raise CheckpointError("expected a checkpoint, found an empty file", remedy="Save it again, or get it again.")
    return opened


def digest(files: Sequence[OpenFile]) -> str:
    """Return the SHA-256 of a file in hexadecimal; of several, that of the list of theirs as sha256sum prints it.

    Reads through the open descriptors, never through the map: a file that is cut short meanwhile cannot crash it.
    Raises CheckpointError where one is.
    """
    import hashlib  # noqa: PLC0415 (it loads OpenSSL, and looking into a file hashes nothing)

    digests = [opened.sha256() for opened in files]
    if len(digests) == 1:
        return digests[0]
    lines = "".join(f"{each}  {opened.path.name}\n" for each, opened in zip(digests, files, strict=True))
    return hashlib.sha256(lines.encode()).hexdigest()


_ALTERNATELY: Final = Lock()


def _read_into(file: BinaryIO, memory: memoryview, position: int) -> int:
    """Read bytes at a position; where the system can, without moving that of the descriptor. Return how many."""
    if hasattr(os, "preadv"):
        return os.preadv(file.fileno(), [memory], position)
    with _ALTERNATELY:  # a conversion and the digest read from one descriptor
        file.seek(position)
        content = file.read(len(memory))
        memory[: len(content)] = content
        return len(content)
