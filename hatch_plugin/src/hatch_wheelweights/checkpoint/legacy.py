"""torch's stream before the zip (the default up to torch 1.5; `_use_new_zipfile_serialization=False` since).

Knows the order of its parts (torch/serialization.py, `_legacy_save`): magic number, protocol, system information, the
object, the keys of its storages, and for each key a count and the raw elements. The magic number is compared as
bytes, never evaluated.
"""

from __future__ import annotations

import functools
from typing import TYPE_CHECKING, Any, Final

import numpy as np

from hatch_wheelweights.checkpoint import pickle
from hatch_wheelweights.checkpoint.allowed import find
from hatch_wheelweights.checkpoint.pickle import Global
from hatch_wheelweights.checkpoint.rebuild import TypedStorage, itemsize_of, storage_reference, typed_storage
from hatch_wheelweights.checkpoint.tensors import Storage
from hatch_wheelweights.errors import CheckpointError
from wheelweights.errors import backticked

if TYPE_CHECKING:
    from collections.abc import Callable
    from mmap import mmap

    from numpy.typing import NDArray

__all__ = ["MAGICS", "counted_big_endian", "read", "stored_elements"]

# The pickle of 0x1950a86a20f9469cfc6c, as each protocol writes it
_MAGIC_LONG: Final = bytes.fromhex("8a0a6cfc9c46f9206aa850192e")
MAGICS: Final = (
    b"\x80\x02" + _MAGIC_LONG,
    b"\x80\x03" + _MAGIC_LONG,
    *(b"\x80%c\x95\x0d\0\0\0\0\0\0\0" % protocol + _MAGIC_LONG for protocol in (4, 5)),
    b"L119547037146038801333356L\n.",
)
PROTOCOL: Final = 1001
_AGAIN: Final = "Get the file again: it is damaged, or not a checkpoint."


class _Pending:
    """A storage whose bytes stand behind the pickle that refers to it: its place is known once the stream is walked."""

    def __init__(self, dtype: str, numel: int) -> None:
        self.dtype = dtype
        self.numel = numel
        self.place: Callable[[], NDArray[np.uint8]] | None = None
        self.storage = Storage(max(numel, 0) * itemsize_of(dtype), self.read)

    def read(self) -> NDArray[np.uint8]:
        if self.place is None:
            raise CheckpointError("its storage is missing", remedy=_AGAIN)
        return self.place()


def read(data: mmap) -> Any:
    """Return what the stream holds, which must fill the file."""
    position = next(len(magic) for magic in MAGICS if data[: len(magic)] == magic)
    protocol, position = _plain(data, position)
    if protocol != PROTOCOL:
        raise CheckpointError(f"expected protocol {PROTOCOL}, found {protocol!r}", remedy=_AGAIN)
    system, position = _plain(data, position)
    if not isinstance(system, dict) or not isinstance(system.get("little_endian"), bool):
        raise CheckpointError("expected system information with `little_endian`, found something else", remedy=_AGAIN)
    storages = _Storages()
    tree, position = pickle.load(
        data, find=find, persistent_load=storages.persistent_load, start=position, where="the stream"
    )
    keys, position = _plain(data, position)
    storages.place(data, keys, position)
    return tree


def _plain(data: mmap, position: int) -> tuple[Any, int]:
    return pickle.load(data, find=find, start=position, where="the stream")


class _Storages:
    """The storages of one stream: named by the pickle, placed by what follows it."""

    def __init__(self) -> None:
        self._pending: dict[str, _Pending] = {}
        self._typed: dict[tuple[str, int, int], TypedStorage] = {}

    def persistent_load(self, pid: Any) -> Any:
        """Return the storage, or the part of one, that a persistent id names.

        An id of the source of a module's class gives the class.
        """
        if isinstance(pid, tuple) and len(pid) == 4 and pid[0] == "module" and isinstance(pid[1], Global):
            return pid[1]
        dtype, key, numel, view = storage_reference(pid)
        key = _key(key)
        pending = self._pending.setdefault(key, _Pending(dtype, numel))
        if (pending.dtype, pending.numel) != (dtype, numel):
            raise CheckpointError(f"storage {backticked(key)} is used with two dtypes or sizes")
        return self._view(key, pending, view)

    def _view(self, key: str, pending: _Pending, view: Any) -> TypedStorage:
        """Return the part of a storage that torch < 0.4 called a storage view: (key of the view, offset, size)."""
        offset, size = 0, pending.numel
        if view is not None:
            if not isinstance(view, tuple) or len(view) != 3 or type(view[1]) is not int or type(view[2]) is not int:
                raise CheckpointError("a view of a storage is malformed")
            _, offset, size = view
            if offset < 0 or size < 0 or offset + size > pending.numel:
                raise CheckpointError(
                    f"a view reaches past its storage {backticked(key)}: expected at most {pending.numel:,} elements, "
                    f"found {offset + size:,}"
                )
        place = (key, offset, size)
        if place not in self._typed:
            self._typed[place] = typed_storage(_part(pending, offset, size), pending.dtype, size)
        return self._typed[place]

    def place(self, data: mmap, keys: Any, position: int) -> None:
        """Walk the storages that follow the pickles, in the order of the keys, to the end of the file."""
        if not isinstance(keys, list) or sorted(map(_key, keys)) != sorted(self._pending):
            raise CheckpointError("the storages that follow are not those that the object refers to", remedy=_AGAIN)
        for key in keys:
            pending = self._pending[_key(key)]
            begin = position + 8
            position = begin + pending.storage.nbytes
            big_endian = counted_big_endian(data[begin - 8 : begin], pending.numel)
            if big_endian is None or position > len(data):
                raise CheckpointError(
                    f"storage {backticked(_key(key))}: expected {pending.numel:,} elements, found "
                    f"{int.from_bytes(data[begin - 8 : begin], 'little', signed=True):,}, "
                    f"and {max(len(data) - begin, 0):,} bytes",
                    remedy=_AGAIN,
                )
            pending.place = stored_elements(data, begin, pending.storage.nbytes, pending.dtype, big_endian=big_endian)
        if position != len(data):
            raise CheckpointError(f"{len(data) - position:,} bytes follow the last storage", remedy=_AGAIN)


def counted_big_endian(count: bytes, numel: int) -> bool | None:
    """Tell a storage's byte order by the count of elements that stands before it; None where it is another count.

    torch writes little-endian on every machine, whatever its system information says; a file in which both are
    big-endian was written by somebody else, and is read as well.
    """
    if int.from_bytes(count, "little", signed=True) == numel:
        return False
    return True if int.from_bytes(count, "big", signed=True) == numel else None


def stored_elements(
    data: mmap, begin: int, nbytes: int, dtype: str, *, big_endian: bool
) -> Callable[[], NDArray[np.uint8]]:
    """Return what reads a storage: a view of the map, or a swapped copy that is made once."""

    @functools.cache
    def read_bytes() -> NDArray[np.uint8]:
        raw = np.frombuffer(data, np.uint8, nbytes, begin)
        parts = itemsize_of(dtype) // (2 if dtype.startswith("complex") else 1)
        return raw.reshape(-1, parts)[:, ::-1].reshape(-1) if big_endian else raw

    return read_bytes


def _part(pending: _Pending, offset: int, size: int) -> Storage:
    if (offset, size) == (0, pending.numel):
        return pending.storage
    itemsize = itemsize_of(pending.dtype)
    begin, end = offset * itemsize, (offset + size) * itemsize
    return Storage(end - begin, lambda: pending.read()[begin:end])


def _key(key: Any) -> str:
    if isinstance(key, (str, bytes)) and len(key) <= 64:
        return key if isinstance(key, str) else key.decode("latin-1")
    if type(key) is int:
        return str(key)
    raise CheckpointError(f"expected the key of a storage, found a {type(key).__name__}")
