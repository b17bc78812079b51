"""Reading a header: from its bytes to its metadata and tensors, everything checked before it is believed.

Builds nothing whose size the header does not justify: metadata is walked before it is made, and tensors are read one by
one, each checked at once.
"""

from __future__ import annotations

import io
import math
from collections import Counter
from typing import TYPE_CHECKING, Any, Final, NamedTuple, TypeGuard

from wheelweights._msgpack import Unpacker, UnpackException, unpackb
from wheelweights.dtypes import DTYPES
from wheelweights.errors import RecordError, backticked, quoted
from wheelweights.record.faults import damaged, malformed
from wheelweights.record.layout import (
    ALIGNMENT,
    MARK_BYTES,
    MAX_BUFFER,
    MAX_RANK,
    MAX_TENSORS,
    OPTIONAL_FIELDS,
    PREAMBLE_BYTES,
    TENSOR_FIELDS,
    array32_count,
    buffer_size,
    checksum,
    is_countable,
    stated_checksum,
)
from wheelweights.record.mapping import TensorInfo
from wheelweights.record.metadata import head_of, metadata_end

if TYPE_CHECKING:
    from wheelweights._msgpack import Value

__all__ = ["Header", "check_checksum", "read_header"]

_FIELDS: Final = frozenset(TENSOR_FIELDS)
_ALL_FIELDS: Final = _FIELDS.union(OPTIONAL_FIELDS)
_ORDER: Final = (*TENSOR_FIELDS, *OPTIONAL_FIELDS)
_NOT_THE_ENTRIES: Final = "its entries are not those of a record"
_NOT_AN_ENTRY: Final = "expected dtype, shape, offset, crc32 and perhaps source, found something else"
_NOT_A_SHAPE: Final = f"expected a shape of at most {MAX_RANK} dimensions, found something else"
_NOT_NUMBERS: Final = "expected whole numbers as offset and crc32 and text as source, found something else"
_LIMIT: Final = 1 << 63  # of sizes and places
_MAPS: Final = frozenset((*range(0x80, 0x90), 0xDE, 0xDF))  # with which a map begins
_READ_BYTES: Final = 1 << 16
_info: Final = TensorInfo._make  # takes half the time of a call with six arguments
# What msgpack raises on odd bytes
_FAULTS: Final = (UnpackException, ValueError, TypeError, OverflowError, RecursionError, MemoryError)


class Header(NamedTuple):
    """What a header says; `file_size` is the size of a file with its tensors."""

    metadata: dict[str, Any]
    infos: dict[str, TensorInfo]
    file_size: int


def check_checksum(header: bytes, *, path: str | None = None) -> None:
    """Raise RecordError if a header is not as it was written."""
    stated, found = stated_checksum(header), checksum(header)
    if stated != found:
        fact = f"damaged header: expected CRC-32 {stated:08x}, found {found:08x}"
        raise damaged(fact, path=path, expected=stated, found=found)


def read_header(header: bytes) -> Header:
    """Return what a header says, given that its checksum is right.

    Raises RecordError for one that differs from the layout.
    """
    buffers = array32_count(header[-MARK_BYTES:])
    if (len(header) + MARK_BYTES) % ALIGNMENT or buffers is None:
        raise malformed("its header does not end where it says")
    start = _behind(header, PREAMBLE_BYTES, "metadata")
    _map_head(header, start, "metadata")
    end = metadata_end(header, start)
    metadata = _unpacked(header[start:end])
    tensors, end = _tensors(header, _behind(header, end, "tensors"))
    end = _padding_end(header, _behind(header, end, "padding"))
    if _behind(header, end, "buffers") != len(header) - MARK_BYTES:
        raise malformed(_NOT_THE_ENTRIES)
    if buffers != tensors.buffers:
        raise malformed(f"expected {tensors.buffers:,} buffers for its tensors, found {buffers:,}")
    return Header(metadata, tensors.infos, tensors.next - MARK_BYTES)


def _behind(header: bytes, at: int, name: str) -> int:
    """Return where the value of an entry begins, whose name is to be at this place."""
    key = bytes((0xA0 | len(name),)) + name.encode()
    if header[at : at + len(key)] != key:
        raise malformed(_NOT_THE_ENTRIES)
    return at + len(key)


def _map_head(header: bytes, at: int, name: str) -> tuple[int, int]:
    """Return how many pairs a map has, and where they begin."""
    if header[at] not in _MAPS:
        raise malformed(f"expected a map as {backticked(name)}, found something else")
    _, end, pairs = head_of(header, at)
    return pairs, end


def _padding_end(header: bytes, at: int) -> int:
    end = at + 2 + header[at + 1]
    if header[at] != 0xC4 or end - at - 2 >= ALIGNMENT or any(header[at + 2 : end]):
        raise malformed("its padding is not zeros")
    return end


def _unpacked(metadata: bytes) -> dict[str, Any]:
    """Return the values of metadata, which `metadata_end` has looked at."""
    try:
        made: dict[str, Any] = unpackb(metadata, object_pairs_hook=_without_duplicates)
    except RecordError:
        raise
    except _FAULTS as error:
        raise _not_messagepack(error) from error
    return made


def _without_duplicates(pairs: list[tuple[str, Value]]) -> dict[str, Value]:
    made = dict(pairs)
    if len(made) != len(pairs):
        raise _twice(pairs)
    return made


def _twice(pairs: list[tuple[str, Value]]) -> RecordError:
    """Return the error for pairs of which two have one key."""
    counts = Counter(key for key, _ in pairs)
    return malformed(f"the key {backticked(counts.most_common(1)[0][0])} appears twice")


def _not_messagepack(error: Exception) -> RecordError:
    return malformed(str(error) or "it is not MessagePack")


# Tensors


def _tensors(header: bytes, at: int) -> tuple[_Tensors, int]:
    """Read the tensors from the map that begins at a byte; return them and the end of the map."""
    count, at = _map_head(header, at, "tensors")
    if count > MAX_TENSORS:
        raise malformed(f"expected at most {MAX_TENSORS:,} tensors, found {count:,}")
    packed = io.BytesIO(header)  # shares the memory
    packed.seek(at)
    unpacker = Unpacker(
        packed,
        read_size=_READ_BYTES,
        object_pairs_hook=_entry,
        list_hook=_shape,
        ext_hook=_no_extension,
        max_map_len=len(_ALL_FIELDS) + 1,  # one more than may be, so that the error is ours
        max_array_len=MAX_RANK + 1,
    )
    tensors = _Tensors(len(header))
    unpack, add = unpacker.unpack, tensors.add
    key: Value = None
    try:
        for _ in range(count):
            key = None
            key = unpack()
            add(key, unpack())
        key = None
        tensors.check_sources()
    except RecordError as error:
        error.key = error.key or (key if isinstance(key, str) else None)
        raise
    except _FAULTS as error:
        raise _not_messagepack(error) from error
    return tensors, at + unpacker.tell()


class _Tensors:
    """The tensors of a header, taken one by one in their order, and where the next buffer has its payload."""

    def __init__(self, header_size: int) -> None:
        self.infos: dict[str, TensorInfo] = {}
        self.next = header_size + MARK_BYTES
        self._start = header_size
        self._first_at: dict[int, str] = {}
        self._renamed: dict[str, str] = {}
        self._sizes: dict[tuple[str, tuple[int, ...]], tuple[int, int]] = {}

    @property
    def buffers(self) -> int:
        """The number of buffers that the tensors take."""
        return len(self._first_at)

    def add(self, key: Any, entry: Any) -> None:
        """Take the next tensor; raise RecordError if it is wrong in itself or does not go with those before it.

        This runs for each tensor whenever a record is opened, and is most of what opening costs.
        """
        if type(key) is not str:
            raise malformed(f"expected text as the key of a tensor, found a value of type {type(key).__name__}")
        if not _is_entry(entry):
            raise malformed(_NOT_AN_ENTRY)
        if key in self.infos:
            raise malformed("its key appears twice")
        dtype, shape, offset, crc, source = entry
        try:
            measured = self._sizes[dtype, shape]
        except (KeyError, TypeError):  # TypeError: an entry in an entry cannot be looked up
            measured = None
        nbytes, step = measured or self._measured(dtype, shape)
        if type(offset) is not int or type(crc) is not int or not 0 <= offset < _LIMIT or not 0 <= crc < 1 << 32:
            raise malformed(_NOT_NUMBERS)
        place = self._start + offset
        info = self.infos[key] = _info((dtype, shape, nbytes, place, key if source is None else source, crc))
        if place == self.next:
            self._first_at[place] = key
            self.next = place + step
        else:
            self._check_tied(info, place)
        if source is not None and (other := self._renamed.setdefault(source, key)) != key:
            raise _same_source(source, other)

    def _measured(self, dtype: Any, shape: Any) -> tuple[int, int]:
        """Return the bytes of a tensor, and how far behind it the next one begins; keep them for others like it."""
        nbytes = _nbytes(dtype, shape)
        measured = nbytes, buffer_size(nbytes) + MARK_BYTES
        if nbytes:  # shapes with a 0 in them can be chosen so that their hashes collide
            self._sizes[dtype, shape] = measured
        return measured

    def _check_tied(self, info: TensorInfo, place: int) -> None:
        """Check a tensor that has no buffer of its own: it must be that of an earlier tensor."""
        first = self._first_at.get(place)
        if first is None:
            raise malformed(f"expected its values at byte {self.next:,}, found offset {place:,}")
        other = self.infos[first]
        if (info.dtype, info.shape, info.crc32) != (other.dtype, other.shape, other.crc32):
            fact = f"shares a buffer with {backticked(first)}, which has another dtype, shape or checksum"
            raise malformed(fact)

    def check_sources(self) -> None:
        """Check that no tensor that kept its key has the source of one that did not."""
        for source, key in self._renamed.items():
            if source != key and source in self.infos and self.infos[source].source == source:
                error = _same_source(source, source)
                error.key = key
                raise error


def _same_source(source: str, other: str) -> RecordError:
    return malformed(f"expected a source of its own, found {backticked(source)}, that of {backticked(other)}")


def _nbytes(dtype: Any, shape: Any) -> int:
    """Return the bytes of a tensor; raise RecordError if there can be no tensor of this dtype and shape."""
    if type(dtype) is not str or dtype not in DTYPES:
        raise damaged(f"unsupported dtype {backticked(dtype)}", found=dtype)
    if not _is_shape(shape):
        raise malformed(_NOT_A_SHAPE)
    itemsize = DTYPES[dtype].itemsize
    nbytes = math.prod(shape) * itemsize
    if nbytes > MAX_BUFFER:
        found = f"{nbytes:,}" if nbytes < 1 << 128 else "2**128 or more"
        raise malformed(f"expected at most {MAX_BUFFER:,} bytes in a tensor, found {found}")
    if not nbytes and not is_countable(shape, itemsize):
        fact = f"expected sizes that make less than 2**63 bytes without the 0, found {quoted(list(shape))}"
        raise malformed(fact)
    return nbytes


def _is_entry(value: object) -> TypeGuard[list[Any]]:
    return type(value) is list  # only `_entry` makes lists


def _is_shape(value: object) -> TypeGuard[tuple[int, ...]]:
    return type(value) is tuple  # only `_shape` makes tuples


# What msgpack calls as soon as a map or list has all its items: so nothing is made that an entry cannot have


def _entry(pairs: list[tuple[Any, Any]]) -> list[Any]:
    """Return the values of an entry of `tensors` in the order of `_ORDER`, with None for a `source` that it lacks."""
    if len(pairs) == 4:  # as we write them, in our order: nothing is looked up
        (first, dtype), (second, shape), (third, offset), (fourth, crc) = pairs
        if (first, second, third, fourth) == TENSOR_FIELDS:
            return [dtype, shape, offset, crc, None]
    elif len(pairs) == 5 and type(pairs[4][1]) is str:
        (first, dtype), (second, shape), (third, offset), (fourth, crc), (fifth, source) = pairs
        if (first, second, third, fourth, fifth) == _ORDER:
            return [dtype, shape, offset, crc, source]
    entry = dict(pairs)
    if len(entry) != len(pairs):
        raise _twice(pairs)
    if not _FIELDS <= entry.keys() <= _ALL_FIELDS:
        raise malformed(_NOT_AN_ENTRY)
    if type(entry.get("source", "")) is not str:
        raise malformed(_NOT_NUMBERS)
    return [entry.get(name) for name in _ORDER]


def _shape(sizes: list[Any]) -> tuple[int, ...]:
    """Return a list of sizes as a shape."""
    if len(sizes) > MAX_RANK:
        raise malformed(_NOT_A_SHAPE)
    for size in sizes:
        if type(size) is not int or not 0 <= size < _LIMIT:
            raise malformed(_NOT_A_SHAPE)
    return tuple(sizes)


def _no_extension(code: int, _: bytes) -> Value:
    raise malformed(f"an extension type ({code})")
