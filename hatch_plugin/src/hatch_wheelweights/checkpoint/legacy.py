"""torch's stream before the zip (the default up to torch 1.5; `_use_new_zipfile_serialization=False` since).

Knows the order of its parts (torch/serialization.py, `_legacy_save`): magic number, protocol, system information, the
object, the keys of its storages, and for each key a count and the raw elements. The magic number is compared as
bytes, never evaluated.
"""

from __future__ import annotations

import functools
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final

from hatch_wheelweights.checkpoint import pickle
from hatch_wheelweights.checkpoint.allowed import find
from hatch_wheelweights.checkpoint.contents import Contents
from hatch_wheelweights.checkpoint.dtypes import itemsize_of
from hatch_wheelweights.checkpoint.nodes import Global, described
from hatch_wheelweights.checkpoint.rebuild import (
    TypedStorage,
    check_same_use,
    storage_key,
    storage_reference,
    typed_storage,
)
from hatch_wheelweights.checkpoint.remedies import DOUBTFUL
from hatch_wheelweights.checkpoint.tensors import Storage, stored
from hatch_wheelweights.checkpoint.values import are_ints, is_dict, is_list, is_tuple
from hatch_wheelweights.errors import CheckpointError
from wheelweights.errors import backticked

if TYPE_CHECKING:
    from collections.abc import Iterator

    import numpy as np
    from numpy.typing import NDArray

    from hatch_wheelweights.checkpoint.files import OpenFile

__all__ = ["read", "recognises"]

# The pickle of 0x1950a86a20f9469cfc6c, as each protocol writes it
_MAGIC_LONG: Final = bytes.fromhex("8a0a6cfc9c46f9206aa850192e")
MAGICS: Final = (
    b"\x80\x02" + _MAGIC_LONG,
    b"\x80\x03" + _MAGIC_LONG,
    *(b"\x80%c\x95\x0d\0\0\0\0\0\0\0" % protocol + _MAGIC_LONG for protocol in (4, 5)),
    b"L119547037146038801333356L\n.",
)
PROTOCOL: Final = 1001
_COUNT_BYTES: Final = 8


def recognises(data: OpenFile) -> bool:
    """Tell by the magic number."""
    return _magic(data) is not None


def read(opened: OpenFile) -> Contents:
    """Return what the stream holds, which must fill the file."""
    data = opened
    protocol, position = _plain(data, len(_magic(data) or b""))
    if protocol != PROTOCOL:
        found = protocol if type(protocol) is int else described(protocol)
        raise CheckpointError(f"expected protocol {PROTOCOL}, found {found}", remedy=DOUBTFUL)
    system, position = _plain(data, position)
    if not is_dict(system) or not isinstance(system.get("little_endian"), bool):
        raise CheckpointError("expected system information with `little_endian`, found something else", remedy=DOUBTFUL)
    storages = _Storages()
    tree, position = pickle.load(
        data,
        find=find,
        persistent_load=storages.persistent_load,
        start=position,
        where="the stream",
        account=data.account,
    )
    keys, position = _plain(data, position)
    storages.place(data, keys, position)
    return Contents("pytorch-legacy", tree, storages=storages.by_name(), files=(opened,))


def _magic(data: OpenFile) -> bytes | None:
    return next((magic for magic in MAGICS if data[: len(magic)] == magic), None)


def _plain(data: OpenFile, position: int) -> tuple[Any, int]:
    return pickle.load(data, find=find, start=position, where="the stream", account=data.account)


class _Place:
    """Where the bytes of a storage are: behind the pickle, so known only once the whole stream is scanned.

    Refers to nothing that refers to it: a cycle would keep the file mapped when its last tensor is gone.
    """

    __slots__ = ("elements",)

    def __init__(self) -> None:
        self.elements: Storage | None = None

    def read(self) -> NDArray[np.uint8]:
        """Return all of its bytes."""
        return self._known().read()

    def stream(self, start: int, nbytes: int) -> Iterator[NDArray[np.uint8]]:
        """Yield a part of its bytes in order."""
        return self._known().pieces(start, nbytes)

    def _known(self) -> Storage:
        if self.elements is None:
            raise CheckpointError("its storage is missing", remedy=DOUBTFUL)
        return self.elements


@dataclass(frozen=True, slots=True)
class _Named:
    """A storage as the pickle names it."""

    dtype: str
    numel: int
    place: _Place
    storage: Storage


def _unplaced(dtype: str, numel: int) -> _Named:
    place = _Place()
    nbytes = numel * itemsize_of(dtype)
    return _Named(dtype, numel, place, Storage(nbytes, place.read, stream=place.stream))


class _Storages:
    """The storages of one stream: named by the pickle, placed by what follows it."""

    def __init__(self) -> None:
        self._named: dict[str, _Named] = {}
        self._views: dict[str, tuple[str, int, int]] = {}
        self._typed: dict[tuple[str, int, int], TypedStorage] = {}

    def persistent_load(self, pid: Any) -> Any:
        """Return the storage, or the part of one, that a persistent id names.

        An id of the source of a module's class gives the class.
        """
        if is_tuple(pid, 4) and pid[0] == "module" and isinstance(pid[1], Global):
            return pid[1]
        dtype, key, numel, view = storage_reference(pid, (6,), storage_key)
        named = self._named.setdefault(key, _unplaced(dtype, numel))
        check_same_use(key, (named.dtype, named.numel), (dtype, numel))
        return self._view(key, named, view)

    def _view(self, key: str, named: _Named, view: Any) -> TypedStorage:
        """Return the part of a storage that torch < 0.4 called a storage view: (key of the view, offset, size)."""
        place = (key, 0, named.numel)
        if view is not None:
            name, offset, size = _offset_and_size(key, named, view)
            place = (key, offset, size)
            if self._views.setdefault(name, place) != place:
                raise CheckpointError(f"two views of storages are called {backticked(name)}", remedy=DOUBTFUL)
        _, offset, size = place
        if place not in self._typed:
            self._typed[place] = typed_storage(_part(named, offset, size), named.dtype, size)
        return self._typed[place]

    def by_name(self) -> dict[str, Storage]:
        """Return the storages that the pickle refers to; a part of one is named by its key and its elements."""
        return {
            key if (begin, size) == (0, self._named[key].numel) else f"{key}[{begin}:{begin + size}]": typed.storage
            for (key, begin, size), typed in self._typed.items()
        }

    def place(self, data: OpenFile, keys: Any, position: int) -> None:
        """Scan the storages that follow the pickles, in the order of the keys, to the end of the file."""
        names = list(map(storage_key, keys)) if is_list(keys) else None
        if names is None or sorted(names) != sorted(self._named):
            raise CheckpointError("the storages that follow are not those that the object refers to", remedy=DOUBTFUL)
        if not self._views.keys().isdisjoint(names):
            raise CheckpointError("a storage and a view of one have the same name", remedy=DOUBTFUL)
        for key in names:
            named = self._named[key]
            begin = position + _COUNT_BYTES
            position = begin + named.storage.nbytes
            named.place.elements = _counted_elements(data, begin, position, key, named)
        if position != len(data):
            raise CheckpointError(f"{len(data) - position:,} bytes follow the last storage", remedy=DOUBTFUL)


def _offset_and_size(key: str, named: _Named, view: Any) -> tuple[str, int, int]:
    """Return the name of a view, its offset and its size."""
    if not is_tuple(view, 3) or not are_ints(view[1:]):
        raise CheckpointError("a view of a storage is malformed")
    name, offset, size = storage_key(view[0]), *view[1:]
    if offset < 0 or size < 0 or offset + size > named.numel:
        raise CheckpointError(
            f"a view reaches past its storage {backticked(key)}: expected at most {named.numel:,} elements, "
            f"found {offset + size:,}"
        )
    return name, offset, size


def _part(named: _Named, offset: int, size: int) -> Storage:
    if (offset, size) == (0, named.numel):
        return named.storage
    itemsize, place = itemsize_of(named.dtype), named.place
    begin, end = offset * itemsize, (offset + size) * itemsize
    return Storage(
        end - begin, lambda: place.read()[begin:end], stream=lambda start, nbytes: place.stream(begin + start, nbytes)
    )


def _counted_elements(data: OpenFile, begin: int, end: int, key: str, named: _Named) -> Storage:
    """Return the elements between two positions, which follow their count."""
    count = data[begin - _COUNT_BYTES : begin]
    big_endian = _is_counted_big_endian(count, named.numel)
    if big_endian is None or end > len(data):
        raise CheckpointError(
            f"storage {backticked(key)}: expected {named.numel:,} elements, found "
            f"{int.from_bytes(count, 'little', signed=True):,}, and {max(len(data) - begin, 0):,} bytes",
            remedy=DOUBTFUL,
        )
    elements = stored(data, begin, end - begin)
    return _swapped(elements, named.dtype) if big_endian else elements


def _is_counted_big_endian(count: bytes, numel: int) -> bool | None:
    """Tell a storage's byte order by the count of elements before it; None where it is another count.

    torch writes little-endian on every machine, whatever its system information says; a file in which both are
    big-endian was written by another program, and is read as well.
    """
    if int.from_bytes(count, "little", signed=True) == numel:
        return False
    return True if int.from_bytes(count, "big", signed=True) == numel else None


def _swapped(elements: Storage, dtype: str) -> Storage:
    """Return big-endian elements as little-endian ones: copies, made when they are read."""
    size = itemsize_of(dtype) // (2 if dtype.startswith("complex") else 1)

    def swap(raw: NDArray[np.uint8]) -> NDArray[np.uint8]:
        return raw.reshape(-1, size)[:, ::-1].reshape(-1)

    def stream(start: int, nbytes: int) -> Iterator[NDArray[np.uint8]]:
        return map(swap, elements.pieces(start, nbytes))

    return Storage(elements.nbytes, functools.cache(lambda: swap(elements.read())), stream=stream)
