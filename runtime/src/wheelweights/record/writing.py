"""Writing a record: everything gets its place before the first tensor is read, then the tensors are streamed."""

from __future__ import annotations

import math
import zlib
from dataclasses import dataclass
from itertools import chain
from typing import TYPE_CHECKING, Any, Final, NamedTuple, Protocol

import numpy as np

from wheelweights._msgpack import Packer
from wheelweights.atomic import appearing_whole
from wheelweights.dtypes import dtype_name, find_dtype
from wheelweights.errors import DtypeError, RecordError, backticked, quoted
from wheelweights.record.layout import (
    MARK_BYTES,
    MAX_BUFFER,
    MAX_HEADER,
    MAX_KEY_CHARACTERS,
    MAX_RANK,
    MAX_TENSORS,
    PREAMBLE_BYTES,
    TENSOR_FIELDS,
    array32,
    bin32,
    buffer_begins,
    buffer_size,
    is_countable,
    padding,
    preamble,
    sealed,
    uint32,
)
from wheelweights.record.metadata import metadata_fault

if TYPE_CHECKING:
    import os
    from collections.abc import Callable, Hashable, Iterable, Iterator, Mapping
    from typing import BinaryIO

    from numpy.typing import NDArray

__all__ = ["Tensor", "write_record"]

_CHUNK: Final = 1 << 19  # checked and written while it is in the processor's cache


class Tensor(Protocol):
    """What `write_record` takes beside arrays: a tensor that gives its bytes when it is written."""

    @property
    def dtype(self) -> str:
        """A name of `wheelweights.dtypes.DTYPES`."""
        ...

    @property
    def shape(self) -> tuple[int, ...]:
        """Its size in each dimension."""
        ...

    @property
    def tie(self) -> Hashable:
        """Tensors with equal tie, dtype and shape are written once."""
        ...

    def blocks(self) -> Iterator[NDArray[Any]]:
        """Yield flat, little-endian arrays that together are the elements in C order."""
        ...


def write_record(
    path: str | os.PathLike[str],
    tensors: Mapping[str, NDArray[Any] | Tensor],
    *,
    metadata: Mapping[str, Any] | None = None,
    source_keys: Mapping[str, str] | None = None,
    complete: Callable[[], object] | None = None,
    crc32: Callable[[Any, int], int] = zlib.crc32,
) -> int:
    """Write tensors, by key and in their order, as a record; return its size in bytes.

    The file appears whole or not at all, and the same input gives the same bytes. Tensors are streamed: none is held
    in memory unless it is an array that is not contiguous or not little-endian. `metadata` has what JSON has;
    `source_keys` gives the checkpoint's key of each tensor that has another name here. `complete` is called when all
    tensors are written; it may replace a value in `metadata` by one of the same encoded size, such as a checksum
    computed meanwhile. `crc32` is a function like `zlib.crc32`, for those who have a faster one.

    Raises RecordError for a tensor of 4 GiB or more, for one that delivers more or fewer bytes than it declared, for
    two with one source key, for metadata that JSON cannot express, and, with the path, where the file cannot be
    written; DtypeError for a dtype that a record cannot hold.
    """
    plan = _Plan.of(tensors, source_keys or {}, metadata or {})
    with appearing_whole(path, plan.size) as file:
        file.write(bytes(plan.header_size))  # keeps the place: the checksums are not known yet
        crcs = [_write_buffer(file, buffer, crc32) for buffer in plan.buffers]
        if complete is not None:
            complete()
        header = plan.header(crcs)
        if len(header) != plan.header_size:
            raise RecordError(f"expected metadata of the size it had before, found {len(header):,} bytes in the header")
        file.seek(0)
        file.write(header)
    return plan.size


# The plan


class _Buffer(NamedTuple):
    """A payload to be written: its size, what delivers it, and the first key it belongs to."""

    key: str
    nbytes: int
    blocks: Callable[[], Iterable[NDArray[Any]]]


class _Entry(NamedTuple):
    """What the header will say of a tensor; `buffer` is the number of its buffer."""

    key: str
    dtype: str
    shape: tuple[int, ...]
    buffer: int
    source: str | None


@dataclass(frozen=True)
class _Plan:
    """The place of everything in a record."""

    metadata: Mapping[str, Any]
    entries: list[_Entry]
    buffers: list[_Buffer]
    header_size: int

    @classmethod
    def of(
        cls, tensors: Mapping[str, NDArray[Any] | Tensor], source_keys: Mapping[str, str], metadata: Mapping[str, Any]
    ) -> _Plan:
        if fault := metadata_fault(dict(metadata)):
            raise RecordError(fault, remedy="Give dicts with text as keys, lists, text, numbers, bools and None.")
        if len(tensors) > MAX_TENSORS:
            raise RecordError(f"expected at most {MAX_TENSORS:,} tensors, found {len(tensors):,}")
        entries: list[_Entry] = []
        buffers: list[_Buffer] = []
        numbers: dict[Hashable, int] = {}
        sources: dict[str, str] = {}
        for key, given in tensors.items():
            _check_key(key)
            tensor = _ArrayTensor(key, given) if isinstance(given, (np.ndarray, np.generic)) else given
            nbytes = _declared_bytes(key, tensor)
            number = numbers.setdefault((tensor.tie, tensor.dtype, tensor.shape), len(buffers))
            if number == len(buffers):
                buffers.append(_Buffer(key, nbytes, tensor.blocks))
            source = source_keys.get(key, key)
            if source != key:
                _check_key(source)
            if (other := sources.setdefault(source, key)) != key:
                raise _same_source(key, other, source)
            entries.append(_Entry(key, tensor.dtype, tuple(tensor.shape), number, None if source == key else source))
        size = len(cls(metadata, entries, buffers, 0).header([0] * len(buffers)))
        return cls(metadata, entries, buffers, size)

    @property
    def size(self) -> int:
        """The bytes of the whole file."""
        return buffer_begins((buffer.nbytes for buffer in self.buffers), self.header_size)[-1] - MARK_BYTES

    def header(self, crcs: list[int]) -> bytes:
        """Return the header; its size does not depend on the checksums."""
        packer = Packer()
        body = packer.pack("metadata") + _packed(packer, self.metadata)
        body += packer.pack("tensors") + b"".join(self._tensors(packer, crcs)) + packer.pack("padding")
        end = packer.pack("buffers") + array32(len(self.buffers))
        zeros = padding(PREAMBLE_BYTES + len(body) + len(end))
        size = PREAMBLE_BYTES + len(body) + len(zeros) + len(end)
        if size > MAX_HEADER:
            raise RecordError(
                f"expected names and metadata of at most {MAX_HEADER:,} bytes, found {size:,}",
                expected=MAX_HEADER,
                found=size,
                remedy="Make metadata smaller.",
            )
        return sealed(b"".join((preamble(size), body, zeros, end)))

    def _tensors(self, packer: Packer, crcs: list[int]) -> Iterator[bytes]:
        offsets = buffer_begins(buffer.nbytes for buffer in self.buffers)
        yield packer.pack_map_header(len(self.entries))
        pack = packer.pack
        names = tuple(map(pack, TENSOR_FIELDS))
        for entry in self.entries:
            place = pack(offsets[entry.buffer]), uint32(crcs[entry.buffer])
            values = (pack(entry.dtype), pack(list(entry.shape)), *place)
            yield pack(entry.key)
            yield packer.pack_map_header(len(names) + (entry.source is not None))
            yield b"".join(chain.from_iterable(zip(names, values, strict=True)))
            if entry.source is not None:
                yield pack("source") + pack(entry.source)


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


def _packed(packer: Packer, metadata: Mapping[str, Any]) -> bytes:
    try:
        return packer.pack(dict(metadata))
    except (ValueError, OverflowError, TypeError) as error:
        raise RecordError(
            f"metadata cannot be written: {error}", remedy="Keep integers within 64 bits and text valid Unicode."
        ) from error


def _check_key(key: object) -> None:
    if not isinstance(key, str) or len(key) > MAX_KEY_CHARACTERS:
        raise RecordError(f"expected text of at most {MAX_KEY_CHARACTERS:,} characters as a key, found {quoted(key)}")
    try:
        key.encode("utf-8")
    except UnicodeEncodeError as error:
        raise RecordError(f"expected valid Unicode as a key, found {quoted(key)}") from error


def _same_source(key: str, other: str, source: str) -> RecordError:
    return RecordError(
        f"expected a source key of its own, found {backticked(source)}, that of tensor {backticked(other)}",
        key=key,
        found=source,
        remedy="Give each tensor its own in source_keys, or leave one of the two out.",
    )


def _declared_bytes(key: str, tensor: Tensor) -> int:
    """Return the size of a tensor by its dtype and shape, which must be possible in a record."""
    itemsize = find_dtype(tensor.dtype).itemsize
    if len(tensor.shape) > MAX_RANK:
        raise RecordError(f"expected at most {MAX_RANK} dimensions, found {len(tensor.shape)}", key=key)
    nbytes = math.prod(tensor.shape) * itemsize
    if buffer_size(nbytes) > MAX_BUFFER:
        raise RecordError(
            f"expected at most {MAX_BUFFER:,} bytes (a record's buffers are shorter than 4 GiB), found {nbytes:,}",
            key=key,
            expected=MAX_BUFFER,
            found=nbytes,
            remedy="Split the tensor, or store it in half precision.",
        )
    if not is_countable(tensor.shape, itemsize):
        fact = f"expected sizes that make less than 2**63 bytes without the 0, found {tensor.shape}"
        raise RecordError(fact, key=key)
    return nbytes


# The tensors


def _delivered(buffer: _Buffer) -> Iterator[NDArray[Any]]:
    """Yield the blocks of a tensor; where it cannot be read, the fault is not that of the file being written."""
    try:
        yield from buffer.blocks()
    except OSError as error:
        raise RecordError(f"cannot be read: {error.strerror or error}", key=buffer.key) from error


def _write_buffer(file: BinaryIO, buffer: _Buffer, crc32: Callable[[Any, int], int]) -> int:
    """Write a buffer and return the CRC-32 of its payload.

    Chunks are checksummed and written while they are in the processor's cache.
    """
    size = buffer_size(buffer.nbytes)
    file.write(bin32(size))
    crc = written = 0
    for block in _delivered(buffer):
        raw = np.ascontiguousarray(block).reshape(-1).view(np.uint8).data
        written += raw.nbytes
        if written > buffer.nbytes:
            break
        for start in range(0, raw.nbytes, _CHUNK):
            chunk = raw[start : start + _CHUNK]
            crc = crc32(chunk, crc)
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
