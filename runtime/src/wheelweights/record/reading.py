"""Reading a record: the header is parsed and checked whole, the tensors are left where they lie.

Nothing that the file says is believed before it is checked against the bytes that are there.
"""

from __future__ import annotations

import math
import os
import stat
from mmap import ACCESS_READ
from mmap import mmap as map_file
from typing import TYPE_CHECKING, Any, Final, NamedTuple, TypeGuard, cast

import numpy as np

from wheelweights._msgpack import unpackb
from wheelweights.dtypes import DTYPES
from wheelweights.errors import RecordError, backticked, printable, quoted
from wheelweights.formats import HEAD_BYTES, Format, format_of, what_it_is
from wheelweights.record.faults import REINSTALL, damaged, malformed, truncated
from wheelweights.record.layout import (
    ALIGNMENT,
    ENTRIES,
    MARK_BYTES,
    MAX_BUFFER,
    MAX_HEADER,
    MAX_ITEMS,
    MAX_RANK,
    OPTIONAL_FIELDS,
    PREAMBLE_BYTES,
    TENSOR_FIELDS,
    VERSION,
    array32_count,
    bin32,
    buffer_begins,
    buffer_size,
    header_size,
    is_countable,
    metadata_fault,
    version,
)
from wheelweights.record.mapping import Record, TensorInfo, read_only

if TYPE_CHECKING:
    from collections.abc import Iterator
    from io import BufferedReader

    from numpy.typing import NDArray

    from wheelweights._msgpack import Value
    from wheelweights.record.mapping import Reopen

__all__ = ["aligned_buffer", "open_record", "read_record", "recognises"]

_EMPTY_ARRAY: Final = b"\x90"
_FIELDS: Final = frozenset(TENSOR_FIELDS)
_ALL_FIELDS: Final = _FIELDS.union(OPTIONAL_FIELDS)


def recognises(head: bytes) -> bool:
    """Return whether a file that begins with these bytes (64 are enough) is for `open_record`: ours, or Burn's."""
    from wheelweights import burn  # noqa: PLC0415 (rarely needed)

    return format_of(head) is Format.RECORD or burn.recognises(head)


def open_record(path: str | os.PathLike[str], *, mmap: bool = True, widen: bool = False) -> Record:
    """Open a record, ours or one that Burn wrote, and check its header whole.

    With `mmap` the file is mapped, and only the header and the five bytes in front of each tensor are read. Without,
    the whole file is read into memory, so that it may be replaced or truncated while it is in use (if a mapped file is
    truncated while it is read, Linux ends the process with SIGBUS). `widen` gives bfloat16 and float8 as float32
    copies. Raises RecordError for anything that is not a well-formed record.
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


def _in_memory(file: BufferedReader, size: int) -> NDArray[np.uint8]:
    """Return the file's bytes, aligned as the format promises."""
    data = aligned_buffer(size)
    if file.readinto(data.data) != size:
        raise RecordError("the file was cut while it was read")
    return read_only(data)


def aligned_buffer(size: int) -> NDArray[np.uint8]:
    """Return uninitialised memory that begins on a 64-byte boundary."""
    memory = np.empty(size + ALIGNMENT, np.uint8)
    start = -memory.__array_interface__["data"][0] % ALIGNMENT
    return memory[start : start + size]


def read_record(data: NDArray[np.uint8], *, path: str, widen: bool = False, reopen: Reopen | None = None) -> Record:
    """Return the record that these bytes are, in memory or in a map; nothing is copied but the header.

    `path` is its name in errors, `reopen` what `pickle` is to call to get the record again. Raises RecordError for
    anything that is not a well-formed record.
    """
    head = data[: max(HEAD_BYTES, PREAMBLE_BYTES)].tobytes()
    try:
        if format_of(head) is not Format.RECORD:
            return _foreign_record(data, head, path=path, widen=widen, reopen=reopen)
        header = _header(data, head)
        infos = {key: _tensor_info(key, entry, header.size) for key, entry in header.tensors.items()}
        _check_buffers(data, header, infos)
        if fault := metadata_fault(header.metadata):
            raise malformed(fault)
    except RecordError as error:
        error.path = error.path or path
        raise

    def raw(key: str) -> NDArray[np.uint8]:
        begin, end = _place(infos[key])
        return data[begin:end]

    def padding() -> Iterator[tuple[str, NDArray[np.uint8]]]:
        for key, info in infos.items():
            begin, end = _place(info)
            yield key, data[end : begin + buffer_size(info.nbytes)]

    return Record(infos, raw, metadata=header.metadata, path=path, widen=widen, reopen=reopen, padding=padding)


def _place(info: TensorInfo) -> tuple[int, int]:
    begin = cast("int", info.offset)  # None only in a record of Burn
    return begin, begin + info.nbytes


# Files of other formats


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
    match format_of(head):
        case Format.LFS_POINTER:
            return f"Run: git lfs pull --include {printable(os.path.basename(path))}"  # noqa: PTH119 (a member of an archive has no Path)
        case Format.EMPTY:
            return REINSTALL
        case _:
            return "Convert a checkpoint into a record with hatch-wheelweights: wheelweights convert SOURCE OUTPUT"


# The header


class _Header(NamedTuple):
    """The entries of a header, with the number of buffers behind it and its own size."""

    metadata: dict[str, Any]
    tensors: dict[str, Value]
    buffers: int
    size: int


def _header(data: NDArray[np.uint8], head: bytes) -> _Header:
    size = header_size(head)
    if size is None:
        raise _not_this_version(head, data.size)
    if size > MAX_HEADER:
        fact = f"expected a header of at most {MAX_HEADER:,} bytes, found {size:,}"
        raise damaged(fact, expected=MAX_HEADER, found=size)
    if size > data.size:
        raise truncated(size, data.size, "end of the header")
    header = data[:size].tobytes()
    buffers = array32_count(header[-MARK_BYTES:])
    if size < PREAMBLE_BYTES + MARK_BYTES or (size + MARK_BYTES) % ALIGNMENT or buffers is None:
        raise malformed("its header does not end where it says")
    # msgpack would expect the buffers to follow their count, so an empty array takes its place
    entries = _unpacked(header[:-MARK_BYTES] + _EMPTY_ARRAY)
    if not isinstance(entries, dict) or tuple(entries) != ENTRIES:
        raise malformed("its entries are not those of a record")
    padding = entries["padding"]
    if not isinstance(padding, bytes) or len(padding) >= ALIGNMENT or any(padding):
        raise malformed("its padding is not zeros")
    return _Header(tensors=_map(entries, "tensors"), metadata=_map(entries, "metadata"), buffers=buffers, size=size)


def _not_this_version(head: bytes, size: int) -> RecordError:
    if len(head) < PREAMBLE_BYTES:
        return truncated(PREAMBLE_BYTES, size, "start of the header")
    found = version(head)
    if found in (b"", bytes((VERSION,))):
        return malformed("its entries are not those of a record")
    shown = found[0] if found[0] < 0x80 else quoted(found)
    return RecordError(
        f"expected a record of version {VERSION}, found version {shown}",
        expected=VERSION,
        found=found[0],
        remedy="Upgrade wheelweights: pip install --upgrade wheelweights",
    )


def _unpacked(header: bytes) -> Value:
    try:
        return unpackb(
            header,
            object_pairs_hook=_without_duplicates,
            ext_hook=_no_extension,
            max_array_len=MAX_ITEMS,
            max_map_len=len(header) // 2,
        )
    except RecordError:
        raise
    except (ValueError, TypeError, OverflowError, RecursionError, MemoryError) as error:
        raise malformed(str(error) or "it is not MessagePack") from error


def _without_duplicates(pairs: list[tuple[Value, Value]]) -> dict[str, Value]:
    made: dict[str, Value] = {}
    for key, value in pairs:
        if not isinstance(key, str):
            raise malformed(f"expected text as a key, found a {type(key).__name__}")
        if key in made:
            raise malformed(f"the key {backticked(key)} appears twice")
        made[key] = value
    return made


def _no_extension(code: int, _: bytes) -> Value:
    raise malformed(f"an extension type ({code})")


def _map(entries: dict[str, Value], name: str) -> dict[str, Any]:
    value = entries[name]
    if not isinstance(value, dict):
        raise malformed(f"expected a map as {backticked(name)}, found a {type(value).__name__}")
    return value


# Tensors


def _tensor_info(key: str, entry: Value, start: int) -> TensorInfo:
    """Return what an entry of `tensors` says; `start` is where offsets count from."""
    if not isinstance(entry, dict) or not _FIELDS <= entry.keys() <= _ALL_FIELDS:
        raise malformed("expected dtype, shape, offset, crc32 and perhaps source, found something else", key)
    dtype, shape, offset, crc = entry["dtype"], _shape(entry["shape"]), entry["offset"], entry["crc32"]
    source = entry.get("source", key)
    if not isinstance(dtype, str) or dtype not in DTYPES:
        raise damaged(f"unsupported dtype {backticked(dtype)}", key, found=dtype)
    if shape is None:
        raise malformed(f"expected a shape of at most {MAX_RANK} dimensions, found something else", key)
    if not _is_size(offset, 1 << 63) or not _is_size(crc, 1 << 32) or not isinstance(source, str):
        raise malformed("expected whole numbers as offset and crc32 and text as source, found something else", key)
    itemsize = DTYPES[dtype].itemsize
    nbytes = math.prod(shape) * itemsize
    if nbytes > MAX_BUFFER:
        raise malformed(f"expected at most {MAX_BUFFER:,} bytes in a tensor, found {nbytes:,}", key)
    if not is_countable(shape, itemsize):
        fact = f"expected sizes that make less than 2**63 bytes without the 0, found {quoted(list(shape))}"
        raise malformed(fact, key)
    return TensorInfo(dtype, shape, nbytes, start + offset, source, crc)


def _shape(value: Value) -> tuple[int, ...] | None:
    if not isinstance(value, list) or len(value) > MAX_RANK:
        return None
    sizes = tuple(size for size in value if _is_size(size, 1 << 63))
    return sizes if len(sizes) == len(value) else None


def _is_size(value: Value, limit: int) -> TypeGuard[int]:
    return type(value) is int and 0 <= value < limit


def _check_buffers(data: NDArray[np.uint8], header: _Header, infos: dict[str, TensorInfo]) -> None:
    """Check that the buffers lie one behind the other, each where its tensor says, and fill the file."""
    by_offset = _tensors_by_offset(infos)
    if header.buffers != len(by_offset):
        raise malformed(f"expected {len(by_offset):,} buffers for its tensors, found {header.buffers:,}")
    *begins, after = buffer_begins((infos[key].nbytes for key in by_offset.values()), header.size)
    for (offset, key), begin in zip(by_offset.items(), begins, strict=True):
        size = buffer_size(infos[key].nbytes)
        if offset != begin:
            raise malformed(f"expected its values at byte {begin:,}, found offset {offset:,}", key)
        if begin + size > data.size:
            raise truncated(begin + size, data.size, f"end of tensor {backticked(key)}")
        mark = data[begin - MARK_BYTES : begin].tobytes()
        if mark != bin32(size):
            raise malformed(f"expected a buffer of {size:,} bytes, found {quoted(mark)}", key)
    if after - MARK_BYTES != data.size:
        fact = f"expected a record of {after - MARK_BYTES:,} bytes, found {data.size:,}"
        raise damaged(fact, expected=after - MARK_BYTES, found=data.size)


def _tensors_by_offset(infos: dict[str, TensorInfo]) -> dict[int, str]:
    """Return the first key at each offset; those that share one must be tied."""
    by_offset: dict[int, str] = {}
    for key, info in infos.items():
        first = by_offset.setdefault(_place(info)[0], key)
        other = infos[first]
        if (info.dtype, info.shape, info.crc32) != (other.dtype, other.shape, other.crc32):
            fact = f"shares a buffer with {backticked(first)}, which has another dtype, shape or checksum"
            raise malformed(fact, key)
    return by_offset
