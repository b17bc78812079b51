"""The record: one MessagePack document whose tensor bytes are aligned in the file.

This module is its specification, version 1. Knows the bytes; knows nothing of checkpoints, models or packages.

A record can be read whole by any msgpack reader in any language. This reader parses only the header and maps the
rest, so opening costs the same for 1 MB and for 1 GB.

Layout
------
::

    87                                     map with 7 entries, always in this order
    a6 "format"       ac "wheelweights"
    a7 "version"      01
    ab "header_size"  ce uuuuuuuu          uint32, always 5 bytes wide
    a8 "metadata"     map
    a7 "tensors"      map  key -> {dtype, shape, offset, crc32, and source where it differs from the key}
    a7 "padding"      c4 nn 00...          bin8 of 0 to 63 zero bytes
    a7 "buffers"      dd nnnnnnnn          array32, then for each buffer:  c6 llllllll payload zeros

- Everything up to the `ce` is constant: the magic number.
- `header_size` counts the bytes from the start of the file to the end of the array32 header, so the header is
  `file[:header_size]`.
- `offset` is the place of a tensor's first byte, counted from `header_size`. That of the first tensor is 5.
- `padding` makes `header_size + 5` a multiple of 64. A buffer is as long as its payload needs, rounded up to 59
  modulo 64. So every payload begins on a 64-byte boundary of the file. Buffers stand in the order in which the
  tensors first name them, without gaps, to the file's end.
- Payloads are little-endian and in C order: `prod(shape) * itemsize(dtype)` bytes, then zeros. Bools are one byte, 0
  or 1.
- Tied tensors are several keys with the same dtype, shape and offset. Other tensors never share a buffer. An empty
  tensor has a buffer of padding alone.
- `dtype` is a name of `wheelweights.dtypes.DTYPES`.
- `source` is the key the tensor had in the checkpoint.
- `crc32` is the CRC-32 (as zlib's) of the payload. The writer always takes 5 bytes for it (`ce`), because it comes to
  know the value after the header has its place; a reader takes any width.
- `metadata` has string keys and values that JSON has. Reserved keys: `generator`, `source`, `options`, `config`,
  `user`.

Limits
------
A header has at most 64 MiB, a payload with its zeros at most 2**32 - 5 bytes, a tensor at most 64 dimensions (and,
where one of them is 0, less than 2**63 bytes without it), an array in the header at most 2**20 items, metadata at most
32 levels. A reader checks a claim before it allocates for it, and refuses whatever differs from the above.
"""

from __future__ import annotations

import contextlib
import math
import os
import stat
import struct
import zlib
from collections.abc import Mapping
from dataclasses import dataclass
from itertools import accumulate
from mmap import ACCESS_READ
from mmap import mmap as map_file
from typing import TYPE_CHECKING, Any, Final, Protocol, TypeVar, cast, overload

import msgpack
import numpy as np

from wheelweights.dtypes import DTYPES, dtype_name, numpy_dtype, widen
from wheelweights.errors import DtypeError, RecordError, backticked, printable, quoted, what_it_is

if TYPE_CHECKING:
    from collections.abc import Callable, Hashable, Iterable, Iterator
    from typing import BinaryIO, TypeAlias

    from numpy.typing import NDArray

    Reopen: TypeAlias = tuple[Callable[..., "Record"], tuple[Any, ...]]  # what `__reduce__` gives

__all__ = ["Record", "Tensor", "TensorInfo", "open_record", "write_record"]

VERSION: Final = 1
ALIGNMENT: Final = 64
MAX_HEADER: Final = 64 << 20
MAX_BUFFER: Final = (1 << 32) - 5  # the largest length of a bin32 that is 59 modulo 64
MAX_RANK: Final = 64
MAX_ITEMS: Final = 1 << 20
MAX_DEPTH: Final = 32
MAX_KEY_BYTES: Final = 1 << 16

_ENTRIES: Final = ["format", "version", "header_size", "metadata", "tensors", "padding", "buffers"]
_OF_TENSOR: Final = {"dtype", "shape", "offset", "crc32"}
_FORMAT: Final = b"\x87\xa6format\xacwheelweights"
_BEFORE_VERSION: Final = _FORMAT + b"\xa7version"
_MAGIC: Final = _BEFORE_VERSION + b"\x01\xabheader_size\xce"
_UINT32 = struct.Struct(">I")
_SIZE_END: Final = len(_MAGIC) + _UINT32.size
_ARRAY32, _BIN32, _MARK_SIZE = b"\xdd", b"\xc6", 5
_CHUNK: Final = 1 << 20
_REINSTALL: Final = "Reinstall the package that ships it; if it is yours, rebuild the wheel."

C = TypeVar("C")


@dataclass(frozen=True, slots=True)
class TensorInfo:
    """What the header says of one tensor.

    `nbytes` are the bytes of its values, `offset` the place of the first of them in the file (None in a record that
    Burn wrote), `source` the key that it had in the checkpoint.
    """

    dtype: str
    shape: tuple[int, ...]
    nbytes: int
    offset: int | None
    source: str
    crc32: int | None = None


class Tensor(Protocol):
    """What `write_record` takes beside arrays: a tensor that gives its bytes when it is written."""

    @property
    def dtype(self) -> str:
        """A name of `wheelweights.dtypes.DTYPES`."""

    @property
    def shape(self) -> tuple[int, ...]:
        """Its size in each dimension."""

    @property
    def tie(self) -> Hashable:
        """Tensors with equal tie, dtype and shape are written once."""

    def blocks(self) -> Iterator[NDArray[Any]]:
        """Yield flat, little-endian arrays that together are the elements in C order."""


class Record(Mapping[str, "NDArray[Any]"]):
    """The tensors of an open record by key, in the checkpoint's order: read-only arrays, views of the mapped file.

    bfloat16 and float8 come as the dtypes of `ml_dtypes`, or, in a record opened with `widen=True`, as float32
    copies. Many threads can read one record. Arrays stay valid after `close`, because each of them keeps the file
    mapped. Pickling and copying open the file again.
    """

    def __init__(
        self,
        infos: Mapping[str, TensorInfo],
        raw: Callable[[str], NDArray[np.uint8]],
        *,
        metadata: dict[str, Any],
        path: str,
        format: str = "wheelweights",  # noqa: A002 (the word of the format itself)
        widen: bool = False,
        reopen: Reopen | None = None,
        padding: Callable[[], Iterable[tuple[str, NDArray[np.uint8]]]] = tuple,
    ) -> None:
        self.metadata = metadata
        self.path = path
        self.format = format
        self._infos = infos
        self._raw: Callable[[str], NDArray[np.uint8]] | None = raw
        self._widen = widen
        self._reopen = reopen
        self._padding = padding

    def __getitem__(self, key: str) -> NDArray[Any]:
        info = self._infos[key]
        raw = self.raw(key)
        if info.dtype == "bool" and raw.size and raw.max() > 1:
            raise _damaged(f"expected bytes 0 and 1 in a bool tensor, found {raw.max()}", key, path=self.path)
        if self._widen and DTYPES[info.dtype].numpy is None:
            return _read_only(widen(raw, info.dtype).reshape(info.shape))
        try:
            dtype = numpy_dtype(info.dtype)
        except DtypeError as error:
            error.path, error.key = self.path, key
            raise
        array = raw.view(dtype).reshape(info.shape)
        return array if array.flags.aligned else _read_only(array.copy())

    def __iter__(self) -> Iterator[str]:
        return iter(self._infos)

    def __len__(self) -> int:
        return len(self._infos)

    def __contains__(self, key: object) -> bool:
        return key in self._infos

    def __eq__(self, other: object) -> bool:
        return self is other  # comparing values would read everything

    __hash__ = object.__hash__

    def __repr__(self) -> str:
        return f"<Record {self.path!r}: {len(self):,} tensors>"

    def info(self, key: str) -> TensorInfo:
        """Return what the header says of a tensor, without touching its bytes.

        Raises KeyError for a key that is not there.
        """
        return self._infos[key]

    def raw(self, key: str) -> NDArray[np.uint8]:
        """Return a tensor's bytes as they are stored (little-endian, C order): flat, read-only, not copied."""
        if self._raw is None:
            raise RecordError(
                "the record is closed", path=self.path, remedy="Open it again, or take the arrays before closing."
            )
        return self._raw(key)

    @overload
    def config(self) -> Any: ...
    @overload
    def config(self, config: type[C]) -> C: ...
    def config(self, config: type[C] | None = None) -> Any:
        """Return the configuration that the build baked in: plain values, or an instance of a dataclass.

        Raises RecordError where there is none, and, with every fault and its path, where it does not fit the dataclass.
        """
        if "config" not in self.metadata:
            raise RecordError(
                "no configuration in this record",
                path=self.path,
                remedy="Set config-key for it where it is built (tool.hatch.build.hooks.wheelweights).",
            )
        if config is None:
            return self.metadata["config"]
        from wheelweights.config import build  # noqa: PLC0415 (only for those who ask)

        return build(config, self.metadata["config"], "config", path=self.path)

    def state_dict(self, source_keys: bool = False) -> dict[str, NDArray[Any]]:
        """Return a plain dict of all arrays (views); with `source_keys`, under the names they had in the checkpoint."""
        return {self._infos[key].source if source_keys else key: array for key, array in self.items()}

    def verify(self) -> None:
        """Read everything and check it: CRC-32, bools, zeros between the tensors.

        Raises RecordError for the first fault.
        """
        for key, info in self._infos.items():
            raw = self.raw(key)
            crc = _crc32(raw)
            if info.crc32 is not None and crc != info.crc32:
                fact = f"damaged: expected CRC-32 {info.crc32:08x}, found {crc:08x}"
                raise _damaged(fact, key, path=self.path, expected=info.crc32, found=crc)
            if info.dtype == "bool":
                self[key]
        for name, zeros in self._padding():
            if zeros.any():
                fact = f"expected zeros after the values, found {quoted(bytes(zeros[:16]))}"
                raise _damaged(fact, name, path=self.path)

    def close(self) -> None:
        """Let go of the file. Arrays taken from the record keep it mapped and stay valid."""
        self._raw = None
        self._padding = tuple

    def __enter__(self) -> Record:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def __reduce__(self) -> Reopen:
        if self._reopen is None:
            raise RecordError("a record that is not a file of its own cannot be pickled or copied", path=self.path)
        return self._reopen

    def __copy__(self) -> Record:
        return self  # immutable, and so are its arrays

    def __deepcopy__(self, memo: dict[int, Any]) -> Record:
        return self


def open_record(path: str | os.PathLike[str], *, mmap: bool = True, widen: bool = False) -> Record:
    """Open a record, ours or one that Burn wrote, and check its header whole.

    With `mmap` the file is mapped and nothing but the header is read; without, it is read into memory (so it may be
    replaced or cut while it is in use: a mapped file that is cut under a reader ends the process with SIGBUS on
    Linux). `widen` gives bfloat16 and float8 as float32 copies. Raises RecordError for whatever is not a well-formed
    record.
    """
    shown = os.fspath(path)
    try:
        if not stat.S_ISREG(os.stat(path).st_mode):  # noqa: PTH116 (a pipe would block when it is opened)
            raise RecordError("expected a record, found something that is not a regular file", path=shown)
        with open(path, "rb") as file:  # noqa: PTH123 (importing pathlib takes longer than all the rest here)
            size = os.fstat(file.fileno()).st_size
            data = _mapped(file.fileno(), size) if mmap and size else _in_memory(file, size)
    except (OSError, ValueError) as error:
        if isinstance(error, RecordError):
            error.path = error.path or shown
            raise
        reason = error.strerror if isinstance(error, OSError) and error.strerror else str(error)
        raise RecordError(f"cannot be opened: {reason}", path=shown) from error
    return read_record(data, path=shown, widen=widen, reopen=(_reopened, (os.path.abspath(path), mmap, widen)))  # noqa: PTH100


def _reopened(path: str, mmap: bool, widen: bool) -> Record:
    return open_record(path, mmap=mmap, widen=widen)


def _mapped(descriptor: int, size: int) -> NDArray[np.uint8]:
    return np.frombuffer(map_file(descriptor, size, access=ACCESS_READ), np.uint8)


def _in_memory(file: Any, size: int) -> NDArray[np.uint8]:
    """Return the file's bytes, aligned as the format promises."""
    data = aligned_buffer(size)
    if file.readinto(data) != size:
        raise RecordError("the file was cut while it was read")
    return _read_only(data)


def aligned_buffer(size: int) -> NDArray[np.uint8]:
    """Return uninitialised memory that begins on a 64-byte boundary."""
    memory = np.empty(size + ALIGNMENT, np.uint8)
    start = -memory.__array_interface__["data"][0] % ALIGNMENT
    return memory[start : start + size]


def _read_only(array: NDArray[Any]) -> NDArray[Any]:
    array.flags.writeable = False
    return array


# Reading


def read_record(data: NDArray[np.uint8], *, path: str, widen: bool = False, reopen: Reopen | None = None) -> Record:
    """Return the record that these bytes are, in memory or in a map; `path` is its name in errors."""
    head = data[:ALIGNMENT].tobytes()
    try:
        if not head.startswith(_FORMAT):
            return _foreign_record(data, head, path=path, widen=widen, reopen=reopen)
        header, header_size = _parse_header(data, head)
        infos = {key: _tensor_info(key, entry, header_size) for key, entry in _mapping(header, "tensors").items()}
        _check_buffers(data, infos, header_size)
        if fault := _metadata_fault(header["metadata"]):
            raise _malformed(fault)
    except RecordError as error:
        error.path = error.path or path
        raise

    def raw(key: str) -> NDArray[np.uint8]:
        info = infos[key]
        return data[info.offset : cast("int", info.offset) + info.nbytes]

    def padding() -> Iterator[tuple[str, NDArray[np.uint8]]]:
        for key, info in infos.items():
            end = cast("int", info.offset) + info.nbytes
            yield key, data[end : end + _buffer_size(info.nbytes) - info.nbytes]

    return Record(infos, raw, metadata=header["metadata"], path=path, widen=widen, reopen=reopen, padding=padding)


def _foreign_record(data: NDArray[np.uint8], head: bytes, *, path: str, widen: bool, reopen: Reopen | None) -> Record:
    """Return the record that Burn wrote, or say what the file is instead of a record."""
    from wheelweights import burn  # noqa: PLC0415 (rarely needed)

    if not burn.recognises(head):
        raise RecordError(f"expected a record, found {what_it_is(head)}", remedy=_instead(head, path))
    read = burn.read(data.data, path=path)
    infos = {key: TensorInfo(each.dtype, each.shape, each.raw.nbytes, None, key) for key, each in read.tensors.items()}

    def raw(key: str) -> NDArray[np.uint8]:
        return read.tensors[key].raw

    return Record(infos, raw, metadata=read.metadata, path=path, format="burn", widen=widen, reopen=reopen)


def _instead(head: bytes, path: str) -> str:
    if head.startswith(b"version https://git-lfs"):
        return f"Run: git lfs pull --include {printable(os.path.basename(path))}"  # noqa: PTH119 (a member of an archive has no Path)
    if not head:
        return _REINSTALL
    return "Convert a checkpoint into a record with hatch-wheelweights: wheelweights convert SOURCE OUTPUT"


def _parse_header(data: NDArray[np.uint8], head: bytes) -> tuple[dict[str, Any], int]:
    """Return the entries in front of the buffers, and the header's size."""
    if not head.startswith(_MAGIC) or len(head) < _SIZE_END:
        raise _wrong_version(head, data.size)
    (size,) = _UINT32.unpack(head[len(_MAGIC) : _SIZE_END])
    if size > MAX_HEADER:
        fact = f"expected a header of at most {MAX_HEADER:,} bytes, found {size:,}"
        raise _damaged(fact, expected=MAX_HEADER, found=size)
    if size > data.size:
        raise _truncated(size, data.size, "end of the header")
    header = data[:size].tobytes()
    too_small = size < _SIZE_END + _MARK_SIZE
    if too_small or (size + _MARK_SIZE) % ALIGNMENT or header[-_MARK_SIZE : -_MARK_SIZE + 1] != _ARRAY32:
        raise _malformed("its header does not end where it says")
    # In place of the buffers' count, which msgpack would expect the buffers to follow, an empty array
    entries = _unpack(header[:-_MARK_SIZE] + b"\x90")
    if not isinstance(entries, dict) or list(entries) != _ENTRIES:
        raise _malformed("its entries are not those of a record")
    padding = entries["padding"]
    if not isinstance(padding, bytes) or len(padding) >= ALIGNMENT or any(padding):
        raise _malformed("its padding is not zeros")
    entries["buffers"] = _UINT32.unpack(header[-_UINT32.size :])[0]
    return entries, size


def _wrong_version(head: bytes, size: int) -> RecordError:
    if len(head) < _SIZE_END:
        return _truncated(_SIZE_END, size, "start of the header")
    after = head[len(_BEFORE_VERSION) : len(_BEFORE_VERSION) + 1]
    if head.startswith(_BEFORE_VERSION) and after[0] != VERSION:
        found = after[0] if after[0] < 0x80 else quoted(after)
        return RecordError(
            f"expected a record of version {VERSION}, found version {found}",
            expected=VERSION,
            found=after[0],
            remedy="Upgrade wheelweights: pip install --upgrade wheelweights",
        )
    return _malformed("its entries are not those of a record")


def _unpack(header: bytes) -> Any:
    try:
        return msgpack.unpackb(
            header,
            object_pairs_hook=_without_duplicates,
            ext_hook=_no_extension,
            max_array_len=MAX_ITEMS,
            max_map_len=len(header) // 2,
        )
    except RecordError:
        raise
    except (ValueError, TypeError, OverflowError, RecursionError, MemoryError) as error:
        raise _malformed(str(error) or "it is not MessagePack") from error


def _without_duplicates(pairs: list[tuple[Any, Any]]) -> dict[str, Any]:
    made = {}
    for key, value in pairs:
        if not isinstance(key, str):
            raise _malformed(f"expected text as a key, found a {type(key).__name__}")
        if key in made:
            raise _malformed(f"the key {backticked(key)} stands there twice")
        made[key] = value
    return made


def _no_extension(code: int, _: bytes) -> Any:
    raise _malformed(f"an extension type ({code})")


def _damaged(fact: str, key: str | None = None, **known: Any) -> RecordError:
    return RecordError(fact, key=key, remedy=_REINSTALL, **known)


def _malformed(reason: str, key: str | None = None) -> RecordError:
    return _damaged(f"malformed record: {reason}", key)


def _truncated(expected: int, found: int, where: str) -> RecordError:
    fact = f"truncated: expected at least {expected:,} bytes ({where}), found {found:,}"
    return _damaged(fact, expected=expected, found=found)


def _mapping(entries: dict[str, Any], name: str) -> dict[str, Any]:
    value = entries[name]
    if not isinstance(value, dict):
        raise _malformed(f"expected a map as {backticked(name)}, found a {type(value).__name__}")
    return value


def _tensor_info(key: str, entry: Any, header_size: int) -> TensorInfo:
    if not isinstance(entry, dict) or not _OF_TENSOR <= entry.keys() <= _OF_TENSOR | {"source"}:
        raise _malformed("expected dtype, shape, offset, crc32 and perhaps source, found something else", key)
    dtype, shape, offset, crc = entry["dtype"], entry["shape"], entry["offset"], entry["crc32"]
    source = entry.get("source", key)
    if not isinstance(dtype, str) or dtype not in DTYPES:
        raise _damaged(f"expected a dtype that a record has, found {backticked(dtype)}", key, found=dtype)
    if not isinstance(shape, list) or len(shape) > MAX_RANK or not all(_is_size(size, 1 << 63) for size in shape):
        raise _malformed(f"expected a shape of at most {MAX_RANK} dimensions, found something else", key)
    if not _is_size(offset, 1 << 63) or not _is_size(crc, 1 << 32) or not isinstance(source, str):
        raise _malformed("expected whole numbers as offset and crc32 and text as source, found something else", key)
    itemsize = DTYPES[dtype].itemsize
    nbytes = math.prod(shape) * itemsize
    if nbytes > MAX_BUFFER:
        raise _malformed(f"expected at most {MAX_BUFFER:,} bytes in a tensor, found {nbytes:,}", key)
    if not _countable(shape, itemsize):
        raise _malformed(f"expected sizes that make less than 2**63 bytes without the 0, found {quoted(shape)}", key)
    return TensorInfo(dtype, tuple(shape), nbytes, header_size + offset, source, crc)


def _countable(shape: Iterable[int], itemsize: int) -> bool:
    """Tell whether numpy can have an array of this shape: even where it is empty, the other sizes must fit 63 bits."""
    return math.prod(size or 1 for size in shape) * itemsize < 1 << 63


def _is_size(value: object, limit: int) -> bool:
    return type(value) is int and 0 <= value < limit


def _check_buffers(data: NDArray[np.uint8], infos: dict[str, TensorInfo], header_size: int) -> None:
    """Check that the buffers lie one behind the other, each where its tensor says, and fill the file."""
    count = _UINT32.unpack(data[header_size - _UINT32.size : header_size].tobytes())[0]
    by_offset = _tensors_by_offset(infos)
    if count != len(by_offset):
        raise _malformed(f"expected {len(by_offset):,} buffers for its tensors, found {count:,}")
    position = header_size
    for offset, key in by_offset.items():
        begin, size = position + _MARK_SIZE, _buffer_size(infos[key].nbytes)
        if offset != begin:
            raise _malformed(f"expected its values at byte {begin:,}, found offset {offset:,}", key)
        if begin + size > data.size:
            raise _truncated(begin + size, data.size, f"end of tensor {backticked(key)}")
        if data[position:begin].tobytes() != _BIN32 + _UINT32.pack(size):
            raise _malformed(
                f"expected a buffer of {size:,} bytes, found {quoted(data[position:begin].tobytes())}", key
            )
        position = begin + size
    if position != data.size:
        fact = f"expected a record of {position:,} bytes, found {data.size:,}"
        raise _damaged(fact, expected=position, found=data.size)


def _tensors_by_offset(infos: dict[str, TensorInfo]) -> dict[int, str]:
    """Return the first key at each offset; those that share one must be tied."""
    by_offset: dict[int, str] = {}
    for key, info in infos.items():
        first = by_offset.setdefault(cast("int", info.offset), key)
        other = infos[first]
        if (info.dtype, info.shape, info.crc32) != (other.dtype, other.shape, other.crc32):
            raise _malformed(
                f"shares a buffer with {backticked(first)}, which has another dtype, shape or checksum", key
            )
    return by_offset


def _buffer_size(nbytes: int) -> int:
    """Return the length of the buffer of a payload: the smallest that is not shorter and is 59 modulo 64."""
    return -(-(nbytes + _MARK_SIZE) // ALIGNMENT) * ALIGNMENT - _MARK_SIZE


def _metadata_fault(metadata: Any) -> str | None:
    """Say why metadata is not a map of what JSON has, at most 32 levels deep; the walk does not recurse."""
    if not isinstance(metadata, dict):
        return f"expected a map as `metadata`, found a {type(metadata).__name__}"
    pending: list[tuple[Any, int]] = [(metadata, 1)]
    while pending:
        value, depth = pending.pop()
        if isinstance(value, (dict, list)):
            if depth > MAX_DEPTH:
                return f"metadata is nested deeper than {MAX_DEPTH} levels"
            if isinstance(value, list) and len(value) > MAX_ITEMS:
                return f"metadata holds a list of {len(value):,} items, expected at most {MAX_ITEMS:,}"
            if isinstance(value, dict) and not all(isinstance(key, str) for key in value):
                return "expected text as the keys of metadata, found something else"
            pending.extend((item, depth + 1) for item in (value.values() if isinstance(value, dict) else value))
        elif not (value is None or type(value) in (bool, int, float, str)):
            return f"metadata holds a {type(value).__name__}, which JSON has not"
    return None


def _crc32(raw: NDArray[np.uint8]) -> int:
    return zlib.crc32(raw.data)


# Writing


def write_record(
    path: str | os.PathLike[str],
    tensors: Mapping[str, NDArray[Any] | Tensor],
    *,
    metadata: Mapping[str, Any] | None = None,
    source_keys: Mapping[str, str] | None = None,
    complete: Callable[[], object] | None = None,
) -> int:
    """Write tensors, by key and in their order, as a record; return its size in bytes.

    The file appears whole or not at all, and the same input gives the same bytes. Tensors are streamed: none is held
    in memory unless it is an array that is not contiguous or not little-endian. `metadata` has what JSON has;
    `source_keys` gives the checkpoint's key of those that have another name here. `complete` is called when all
    tensors are written and may still change values in `metadata`, but not the size they take (a checksum that was
    computed meanwhile). Raises RecordError for a tensor of 4 GiB or more, one that delivers other bytes than it
    declared, or metadata that JSON has not; DtypeError for a dtype that a record has not.
    """
    plan = _Plan.of(tensors, source_keys or {}, metadata or {})
    with _appearing_whole(path) as file:
        file.write(bytes(plan.header_size))  # its place; the checksums are not known yet
        crcs = [_write_buffer(file, buffer) for buffer in plan.buffers]
        size = file.tell()
        if complete is not None:
            complete()
        header = plan.header(crcs)
        if len(header) != plan.header_size:
            raise RecordError(f"expected metadata of the size it had before, found {len(header):,} bytes in the header")
        file.seek(0)
        file.write(header)
    return size


@contextlib.contextmanager
def _appearing_whole(path: str | os.PathLike[str]) -> Iterator[BinaryIO]:
    """Give a file that gets its name when all is written, and goes away where that fails."""
    from pathlib import Path  # noqa: PLC0415 (as above)

    target = Path(path)
    if target.exists() and not target.is_file():  # replacing a device or a pipe by a file would be worse than failing
        raise RecordError("cannot be written: there is something that is not a regular file", path=os.fspath(path))
    temporary = target.parent / f".{target.name}.{os.urandom(8).hex()}.tmp"
    try:
        with temporary.open("xb") as file:
            yield file
        temporary.replace(target)
    except BaseException as error:
        with contextlib.suppress(OSError):
            temporary.unlink(missing_ok=True)
        if isinstance(error, OSError):
            raise RecordError(f"cannot be written: {error.strerror or error}", path=os.fspath(path)) from error
        raise


@dataclass(frozen=True)
class _Buffer:
    key: str
    nbytes: int
    blocks: Callable[[], Iterable[NDArray[Any]]]


@dataclass(frozen=True)
class _Entry:
    key: str
    dtype: str
    shape: tuple[int, ...]
    buffer: int
    source: str | None


@dataclass(frozen=True)
class _Plan:
    """Where everything of a record will stand: known before the first tensor is read."""

    metadata: Mapping[str, Any]
    entries: list[_Entry]
    buffers: list[_Buffer]
    header_size: int

    @classmethod
    def of(
        cls, tensors: Mapping[str, NDArray[Any] | Tensor], source_keys: Mapping[str, str], metadata: Mapping[str, Any]
    ) -> _Plan:
        if fault := _metadata_fault(dict(metadata)):
            raise RecordError(fault, remedy="Give dicts with text as keys, lists, text, numbers, bools and None.")
        entries: list[_Entry] = []
        buffers: list[_Buffer] = []
        places: dict[Hashable, int] = {}
        for key, given in tensors.items():
            _check_key(key)
            tensor = _ArrayTensor(key, given) if isinstance(given, (np.ndarray, np.generic)) else given
            nbytes = _declared_bytes(key, tensor)
            place = places.setdefault((tensor.tie, tensor.dtype, tensor.shape), len(buffers))
            if place == len(buffers):
                buffers.append(_Buffer(key, nbytes, tensor.blocks))
            source = source_keys.get(key, key)
            _check_key(source)
            entries.append(_Entry(key, tensor.dtype, tuple(tensor.shape), place, None if source == key else source))
        size = len(cls(metadata, entries, buffers, 0).header([0] * len(buffers)))
        return cls(metadata, entries, buffers, size)

    def header(self, crcs: list[int]) -> bytes:
        """Return the header; its size does not depend on the checksums."""
        packer = msgpack.Packer()
        body = packer.pack("metadata") + _packed(packer, self.metadata)
        body += packer.pack("tensors") + b"".join(self._tensors(packer, crcs)) + packer.pack("padding")
        end = packer.pack("buffers") + _ARRAY32 + _UINT32.pack(len(self.buffers))
        unpadded = _SIZE_END + len(body) + 2 + len(end)
        padding = -(unpadded + _MARK_SIZE) % ALIGNMENT
        size = unpadded + padding
        if size > MAX_HEADER:
            raise RecordError(
                f"expected names and metadata of at most {MAX_HEADER:,} bytes, found {size:,}",
                expected=MAX_HEADER,
                found=size,
                remedy="Make metadata smaller.",
            )
        return b"".join((_MAGIC, _UINT32.pack(size), body, bytes((0xC4, padding)), bytes(padding), end))

    def _tensors(self, packer: msgpack.Packer, crcs: list[int]) -> Iterator[bytes]:
        sizes = (_buffer_size(buffer.nbytes) + _MARK_SIZE for buffer in self.buffers)
        offsets = list(accumulate(sizes, initial=_MARK_SIZE))
        yield packer.pack_map_header(len(self.entries))
        for entry in self.entries:
            yield packer.pack(entry.key)
            yield packer.pack_map_header(4 + (entry.source is not None))
            for item in ("dtype", entry.dtype, "shape", list(entry.shape), "offset", offsets[entry.buffer], "crc32"):
                yield packer.pack(item)
            yield b"\xce" + _UINT32.pack(crcs[entry.buffer])
            if entry.source is not None:
                yield packer.pack("source") + packer.pack(entry.source)


class _ArrayTensor:
    """An array in memory as a tensor to write."""

    def __init__(self, key: str, array: NDArray[Any] | np.generic) -> None:
        self._array = np.asarray(array)
        try:
            self.dtype = dtype_name(self._array.dtype)
        except DtypeError as error:
            error.key = key
            raise
        self.shape = self._array.shape
        place = self._array.__array_interface__["data"][0], self._array.strides, self._array.dtype.str
        self.tie: Hashable = place if self._array.size else id(self)

    def blocks(self) -> Iterator[NDArray[Any]]:
        array = np.asarray(self._array, self._array.dtype.newbyteorder("<"), order="C")
        yield array.reshape(-1)


def _packed(packer: msgpack.Packer, metadata: Mapping[str, Any]) -> bytes:
    try:
        packed: bytes = packer.pack(dict(metadata))
    except (ValueError, OverflowError, TypeError) as error:
        raise RecordError(
            f"metadata cannot be written: {error}", remedy="Keep integers within 64 bits and text valid Unicode."
        ) from error
    return packed


def _check_key(key: object) -> None:
    if not isinstance(key, str) or len(key) > MAX_KEY_BYTES:
        raise RecordError(f"expected text of at most {MAX_KEY_BYTES:,} characters as a key, found {quoted(key)}")
    try:
        key.encode("utf-8")
    except UnicodeEncodeError as error:
        raise RecordError(f"expected valid Unicode as a key, found {quoted(key)}") from error


def _declared_bytes(key: str, tensor: Tensor) -> int:
    if tensor.dtype not in DTYPES:
        numpy_dtype(tensor.dtype)  # raises DtypeError
    if len(tensor.shape) > MAX_RANK:
        raise RecordError(f"expected at most {MAX_RANK} dimensions, found {len(tensor.shape)}", key=key)
    nbytes = math.prod(tensor.shape) * DTYPES[tensor.dtype].itemsize
    if _buffer_size(nbytes) > MAX_BUFFER:
        raise RecordError(
            f"expected at most {MAX_BUFFER:,} bytes (a record's buffers are shorter than 4 GiB), found {nbytes:,}",
            key=key,
            expected=MAX_BUFFER,
            found=nbytes,
            remedy="Split the tensor, or store it in half precision.",
        )
    if not _countable(tensor.shape, DTYPES[tensor.dtype].itemsize):
        raise RecordError(
            f"expected sizes that make less than 2**63 bytes without the 0, found {tensor.shape}", key=key
        )
    return nbytes


def _write_buffer(file: BinaryIO, buffer: _Buffer) -> int:
    """Write a buffer and return the CRC-32 of its payload.

    Chunks are checksummed and written while they are in the processor's cache.
    """
    size = _buffer_size(buffer.nbytes)
    file.write(_BIN32 + _UINT32.pack(size))
    crc = written = 0
    for block in buffer.blocks():
        raw = np.ascontiguousarray(block).reshape(-1).view(np.uint8).data
        written += raw.nbytes
        if written > buffer.nbytes:
            break
        for start in range(0, raw.nbytes, _CHUNK):
            chunk = raw[start : start + _CHUNK]
            crc = zlib.crc32(chunk, crc)
            file.write(chunk)
    if written != buffer.nbytes:
        delivered = "more" if written > buffer.nbytes else f"{written:,}"
        raise RecordError(
            f"expected {buffer.nbytes:,} bytes of dtype and shape, the tensor delivered {delivered}",
            key=buffer.key,
            expected=buffer.nbytes,
            found=written,
        )
    file.write(bytes(size - buffer.nbytes))
    return crc
