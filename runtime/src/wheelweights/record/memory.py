"""The memory that a record's bytes are in: a map of the file, or a buffer of our own.

The arrays of a record share one read-only map. A framework that may write to its tensors gets the same bytes again, on
a private map of the same file. Knows nothing of what the bytes mean.
"""

from __future__ import annotations

import os
from mmap import ACCESS_COPY, ACCESS_READ, ALLOCATIONGRANULARITY, mmap
from typing import TYPE_CHECKING, Any, Self

import numpy as np

from wheelweights.record.layout import ALIGNMENT

if TYPE_CHECKING:
    from numpy.typing import NDArray

__all__ = ["aligned_buffer", "mapped", "writable"]


class _FileMap(mmap):
    """A read-only map that knows which file it is of, and from which byte."""

    path: str
    identity: tuple[int, ...]
    begin: int

    @classmethod
    def of(cls, descriptor: int, path: str, begin: int, size: int) -> Self:
        made = cls(descriptor, size, access=ACCESS_READ, offset=begin)
        made.path, made.identity, made.begin = path, _identity(os.fstat(descriptor)), begin
        return made


def mapped(descriptor: int, path: str, begin: int, size: int) -> NDArray[np.uint8]:
    """Return at least one byte of an open file, read-only; they are read when they are used.

    `path` is absolute: the file may be opened again. Raises OSError or ValueError if they cannot be mapped.
    """
    before = begin % ALLOCATIONGRANULARITY
    return np.frombuffer(_FileMap.of(descriptor, path, begin - before, before + size), np.uint8, size, before)


def writable(data: NDArray[np.uint8]) -> NDArray[np.uint8]:
    """Return the same bytes in memory that nothing else uses, and that can be written to.

    Where `data` lies in a map of a file, this is a private map of that file: a page is copied when it is first written
    to, and the file never changes. If the file has been replaced or removed, or if `data` is in memory, all of it is
    copied at once.
    """
    shared = _map_below(data)
    found = None if shared is None else _private(shared, _address(data) - _address(shared), data.size)
    if found is None:
        found = aligned_buffer(data.size)
        found[:] = data
    return found


def _private(shared: _FileMap, begin: int, size: int) -> NDArray[np.uint8] | None:
    """Map bytes of a map once more; return None if its file is not to be had."""
    begin += shared.begin
    before = begin % ALLOCATIONGRANULARITY
    try:
        if _identity(os.stat(shared.path)) != shared.identity:  # noqa: PTH116 (a pipe would block when it is opened)
            return None
        with open(shared.path, "rb") as file:  # noqa: PTH123 (importing pathlib takes longer)
            if _identity(os.fstat(file.fileno())) != shared.identity:
                return None
            again = mmap(file.fileno(), before + size, access=ACCESS_COPY, offset=begin - before)
    except (OSError, ValueError):
        return None
    return np.frombuffer(again, np.uint8, size, before)


def _identity(state: os.stat_result) -> tuple[int, ...]:
    """Return what tells a file from others, and from itself after it was written to.

    As long as a file is mapped, no other has its inode; but an overlay of two folders keeps the number for a copy.
    """
    return state.st_dev, state.st_ino, state.st_size, state.st_mtime_ns


def _map_below(data: NDArray[np.uint8]) -> _FileMap | None:
    """Return the map that an array lies in, if it is one of ours."""
    below: Any = data
    while isinstance(below, np.ndarray | memoryview):
        below = below.base if isinstance(below, np.ndarray) else below.obj
    return below if isinstance(below, _FileMap) else None


def _address(memory: NDArray[np.uint8] | _FileMap) -> int:
    address: int = np.frombuffer(memory, np.uint8).__array_interface__["data"][0]
    return address


def aligned_buffer(size: int) -> NDArray[np.uint8]:
    """Return uninitialised memory that begins on a 64-byte boundary."""
    memory = np.empty(size + ALIGNMENT, np.uint8)
    start = -memory.__array_interface__["data"][0] % ALIGNMENT
    return memory[start : start + size]
