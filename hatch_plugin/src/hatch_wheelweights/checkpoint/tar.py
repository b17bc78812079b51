"""torch's first container, a tar of four members (torch up to 0.1.9).

Knows the members (torch/serialization.py, `_legacy_load`): `sys_info`, `pickle`, `tensors` (count, then for each a
pickle, the number of dimensions, size, stride, offset) and `storages` (count, then for each a pickle, a count and the
raw elements; then the list of views). Numbers are little-endian, on whatever machine the file was written and whatever
`sys_info` says. Only plain files with these names are read, in place; nothing is extracted.
"""

from __future__ import annotations

import struct
from typing import TYPE_CHECKING, Any, Final

from hatch_wheelweights.checkpoint import pickle
from hatch_wheelweights.checkpoint.allowed import find
from hatch_wheelweights.checkpoint.contents import Contents, unused_storages
from hatch_wheelweights.checkpoint.dtypes import from_storage_class, itemsize_of
from hatch_wheelweights.checkpoint.nodes import Global, described
from hatch_wheelweights.checkpoint.rebuild import TypedStorage, numbered_key, rebuild_dense, typed_storage
from hatch_wheelweights.checkpoint.remedies import DOUBTFUL, GET_AGAIN, UNPACK
from hatch_wheelweights.checkpoint.tensors import MAX_RANK, LazyTensor, Storage, stored
from hatch_wheelweights.checkpoint.values import are_ints, is_list, is_tuple
from hatch_wheelweights.errors import CheckpointError
from wheelweights.errors import backticked, quoted

if TYPE_CHECKING:
    from collections.abc import Callable

    from hatch_wheelweights.checkpoint.files import OpenFile

__all__ = ["read", "recognises"]

_BLOCK: Final = 512
_NAMES: Final = ("sys_info", "pickle", "tensors", "storages")
# Extended headers, which Python's tarfile writes for times with fractions; and what moves or renames a member in them
_EXTENSIONS: Final = (b"x", b"g")
_RENAMING: Final = (b" path=", b" size=", b" linkpath=", b"GNU.")


def recognises(data: OpenFile) -> bool:
    """Tell by the magic of a POSIX tar header, before which there is a name and not a header of safetensors."""
    return len(data) >= _BLOCK and data[257:262] == b"ustar" and data[4:9] != b"\0\0\0\0{"


def read(opened: OpenFile) -> Contents:
    """Return what the `pickle` member holds."""
    data = opened
    places = _members(data)
    missing = [name for name in _NAMES if name not in places]
    if missing:
        raise CheckpointError(
            f"expected a checkpoint, found a tar archive without {', '.join(map(backticked, missing))}",
            remedy=UNPACK,
        )
    objects = _Objects()
    _read_storages(_Cursor(data, *places["storages"]), objects)
    _read_tensors(_Cursor(data, *places["tensors"]), objects)

    def persistent_load(pid: Any) -> Any:
        if is_tuple(pid) and pid and isinstance(pid[0], Global):
            return pid[0]  # a module's class, with its source
        return objects.get(pid)

    tree = _Cursor(data, *places["pickle"]).whole(persistent_load)
    return Contents("pytorch-tar", tree, objects.warnings(), storages=objects.storages(), files=(opened,))


class _Objects:
    """The storages and tensors of a tar by their keys, and which of them were asked for."""

    def __init__(self) -> None:
        self._known: dict[str, Any] = {}
        self._roots: dict[str, str] = {}  # key of a storage, or of a view of one -> key of the storage
        self._used: dict[str, None] = {}

    def add(self, key: str, found: LazyTensor, root: str | None = None) -> None:
        """Note a storage, or a view of one, with the key of the storage; without one, a tensor."""
        self._known[key] = found
        if root is not None:
            self._roots[key] = root

    def get(self, pid: Any) -> Any:
        """Return what a persistent id refers to."""
        key = numbered_key(pid)
        if key not in self._known:
            raise CheckpointError(f"a pickle refers to {backticked(key)}, which is not there", remedy=DOUBTFUL)
        self._used[key] = None
        return self._known[key]

    def storages(self) -> dict[str, Storage]:
        """Return the storages that a pickle refers to, or a tensor."""
        return {key: found.storage for key in self._used if isinstance(found := self._known[key], TypedStorage)}

    def warnings(self) -> tuple[str, ...]:
        """Say which storages neither a pickle nor a tensor refers to, themselves or by a view."""
        used = {self._roots[key] for key in self._used if key in self._roots}
        roots = dict.fromkeys(self._roots.values())
        return tuple(unused_storages([root for root in roots if root not in used and self._known[root].shape[0]]))


class _Cursor:
    """A position in one member, which nothing that is read can leave."""

    def __init__(self, data: OpenFile, start: int, end: int) -> None:
        self.data = data
        self.position = start
        self.end = end

    def pickle(self, persistent_load: Callable[[Any], Any] | None = None) -> Any:
        value, self.position = pickle.load(
            self.data,
            find=find,
            persistent_load=persistent_load,
            start=self.position,
            end=self.end,
            where="the tar",
            account=self.data.account,
        )
        return value

    def whole(self, persistent_load: Callable[[Any], Any]) -> Any:
        value = self.pickle(persistent_load)
        if self.position != self.end:
            raise CheckpointError(f"{self.end - self.position:,} bytes follow the pickle", remedy=DOUBTFUL)
        return value

    def count(self) -> int:
        count = self.pickle()
        if type(count) is not int or not 0 <= count <= self.end - self.position:
            found = quoted(count) if type(count) is int else described(count)
            raise CheckpointError(f"expected a number of entries, found {found}", remedy=DOUBTFUL)
        return count

    def unpack(self, layout: str) -> tuple[int, ...]:
        size = struct.calcsize(layout)
        return struct.unpack(layout, self.data[self.skip(size) : self.position])

    def skip(self, size: int) -> int:
        """Step over bytes and return where they begin."""
        begin = self.position
        if size < 0 or begin + size > self.end:
            fact = f"truncated: expected {size:,} more bytes, found {self.end - begin:,}"
            raise CheckpointError(fact, remedy=DOUBTFUL)
        self.position = begin + size
        return begin


def _read_storages(cursor: _Cursor, objects: _Objects) -> None:
    roots: dict[str, tuple[int, str, int]] = {}
    for _ in range(cursor.count()):
        key, _, kind = _triple(cursor.pickle())
        dtype = from_storage_class(kind)
        (numel,) = cursor.unpack("<q")
        begin = cursor.skip(numel * itemsize_of(dtype))
        roots[key] = (begin, dtype, numel)
        objects.add(key, _storage(cursor.data, begin, dtype, numel), key)
    views = cursor.pickle()
    if not is_list(views) or cursor.position != cursor.end:
        raise CheckpointError("expected the list of storage views at the end, found something else", remedy=DOUBTFUL)
    for view in views:
        key, root, offset, size = _view(view)
        if root not in roots:
            raise CheckpointError(f"a view refers to storage {backticked(root)}, which is not there", remedy=DOUBTFUL)
        begin, dtype, numel = roots[root]
        if offset < 0 or size < 0 or offset + size > numel:
            raise CheckpointError(f"a view reaches past its storage {backticked(root)}", remedy=DOUBTFUL)
        objects.add(key, _storage(cursor.data, begin + offset * itemsize_of(dtype), dtype, size), root)


def _triple(value: Any) -> tuple[str, Any, Any]:
    """Return a key with what follows it: a location and a storage class, or a storage and a tensor class."""
    if not is_tuple(value, 3):
        raise CheckpointError("expected a key, a place and a type, found something else", remedy=DOUBTFUL)
    key, second, third = value
    return numbered_key(key), second, third


def _view(view: Any) -> tuple[str, str, int, int]:
    """Return the keys of a view and of the storage that it is a part of, its offset and its size in elements."""
    if not is_tuple(view, 4) or not are_ints(view[2:]):
        raise CheckpointError("a view of a storage is malformed", remedy=DOUBTFUL)
    key, root, offset, size = view
    return numbered_key(key), numbered_key(root), offset, size


def _storage(data: OpenFile, begin: int, dtype: str, numel: int) -> TypedStorage:
    nbytes = numel * itemsize_of(dtype)
    return typed_storage(stored(data, begin, nbytes), dtype, numel)


def _read_tensors(cursor: _Cursor, objects: _Objects) -> None:
    for _ in range(cursor.count()):
        key, storage, _ = _triple(cursor.pickle())
        (rank, _) = cursor.unpack("<2i")
        if not 0 <= rank <= MAX_RANK:
            raise CheckpointError(f"expected at most {MAX_RANK} dimensions, found {rank}", remedy=DOUBTFUL)
        size, stride = cursor.unpack(f"<{rank}q"), cursor.unpack(f"<{rank}q")
        (offset,) = cursor.unpack("<q")
        objects.add(key, rebuild_dense((objects.get(storage), offset, size, stride)))
    if cursor.position != cursor.end:
        raise CheckpointError("other bytes follow the last tensor", remedy=DOUBTFUL)


def _members(data: OpenFile) -> dict[str, tuple[int, int]]:
    """Return where each member's bytes begin and end."""
    places: dict[str, tuple[int, int]] = {}
    position = 0
    while any(header := data[position : position + _BLOCK]):
        if len(header) < _BLOCK or data[position + 257 : position + 262] != b"ustar" or not _checksum_holds(header):
            raise CheckpointError("a header of the tar archive is malformed", remedy=DOUBTFUL)
        kind, size = header[156:157], _octal(header[124:136])
        begin = position + _BLOCK
        position = begin + -(-size // _BLOCK) * _BLOCK
        if position > len(data):
            raise CheckpointError("truncated: a member of the tar archive reaches past the end", remedy=GET_AGAIN)
        if kind in _EXTENSIONS:
            if any(word in data[begin : begin + size] for word in _RENAMING):
                raise CheckpointError("an extended header of the tar archive renames a member", remedy=DOUBTFUL)
            continue
        name = header[:100].partition(b"\0")[0].decode("latin-1")
        if kind not in (b"0", b"\0") or name not in _NAMES or any(header[345:500]) or name in places:
            raise CheckpointError(
                f"expected the members {', '.join(_NAMES)} in the tar archive, "
                f"found {quoted(name)} (type {quoted(kind)})",
                remedy=UNPACK,
            )
        places[name] = (begin, begin + size)
    if not _all_zero(data, position):
        raise CheckpointError("other bytes follow the tar archive", remedy=DOUBTFUL)
    return places


def _all_zero(data: OpenFile, position: int) -> bool:
    """Tell whether nothing but zeros follows: piece by piece, because a sparse file can end in gigabytes of them."""
    zeros = bytes(1 << 20)
    for start in range(position, len(data), len(zeros)):
        piece = data[start : start + len(zeros)]
        if piece != zeros[: len(piece)]:
            return False
    return True


def _checksum_holds(header: bytes) -> bool:
    return sum(header[:148]) + 8 * 32 + sum(header[156:]) == _octal(header[148:156])


def _octal(field: bytes) -> int:
    text = field.strip(b" \0")
    if not text.isdigit() or any(digit > 0x37 for digit in text):
        raise CheckpointError("a header of the tar archive is malformed", remedy=DOUBTFUL)
    return int(text, 8)
