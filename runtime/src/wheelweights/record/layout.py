"""The layout of a record, version 1: its specification, its constants, the arithmetic of places, and its limits.

A record is one MessagePack document, so that any msgpack reader in any language can read it whole. Its tensors lie in
the file as numpy wants them in memory, so that a reader can parse the header alone and map the rest: opening then
costs the same for 1 MB and for 1 GB.

Layout
------
::

    88                                     map with 8 entries, always in this order
    a6 "format"       ac "wheelweights"
    a7 "version"      01
    ab "header_size"  ce uuuuuuuu          uint32, always 5 bytes wide
    ac "header_crc32" ce uuuuuuuu          likewise
    a8 "metadata"     map
    a7 "tensors"      map  key -> {dtype, shape, offset, crc32, and source where it differs from the key}
    a7 "padding"      c4 nn 00...          bin8 of 0 to 63 zero bytes
    a7 "buffers"      dd nnnnnnnn          array32, then for each buffer:  c6 llllllll payload zeros

- All bytes up to the `ce` of `header_size` are constant: they are the magic number.
- The header is everything up to the end of the array32 header of `buffers`, and `header_size` is its length:
  `file[:header_size]`. Numbers of the layout are big-endian, as in all MessagePack.
- `header_crc32` is the CRC-32, as zlib computes it, of `file[:header_size]` with these four bytes (61 to 64) zero. A
  reader checks it before it believes anything else of the header, so that no bit of a header changes unseen.
- `padding` makes `header_size + 5` a multiple of 64. The length of a buffer is that of its payload, rounded up to 59
  modulo 64. So every payload begins on a 64-byte boundary of the file.
- Buffers follow each other, in the order in which the tensors first name them, without gaps, to the end of the file.
- `offset` is where the payload of a tensor begins, counted from `header_size`. The first one is 5.
- A payload is the values of a tensor, little-endian and in C order: `prod(shape) * itemsize(dtype)` bytes. The rest of
  its buffer is zeros.
- `dtype` is one of: bool, int8, int16, int32, int64, uint8, uint16, uint32, uint64, float16, bfloat16, float32,
  float64, complex64, complex128, float8_e4m3fn, float8_e4m3fnuz, float8_e5m2, float8_e5m2fnuz, float8_e8m0fnu. Bools
  and the float8 kinds take one byte; a bool is 0 or 1.
- Tied tensors are several keys with the same dtype, shape, offset and checksum. Other tensors never share a buffer. An
  empty tensor has a buffer of zeros.
- `source` is the key that the tensor had in the checkpoint. No two tensors have the same one, where a tensor without
  `source` counts as having its own key.
- `crc32` is the CRC-32 of the payload. The writer always takes 5 bytes for it (`ce`), because the value is known only
  after the header has its place; a reader accepts any width.
- `metadata` has the values that JSON has, with text as keys. Reserved keys: `generator`, `source`, `options`, `config`,
  `user`; `golden` (in a golden record, see `wheelweights.golden`); `parts`, `order` and `part` (where tensors are in
  distributions of their own, see `wheelweights.parts`); `editable` (in the tree of an editable install: the `files`
  that it was made from: path from the record's folder, size, and when each was written, in nanoseconds).
- Keys of maps are text, and no map has a key twice. Where the above does not give a width, any that MessagePack allows
  will do.

What a reader checks
--------------------
On opening, it reads the header alone, and compares the size of the file with what the header makes of it. The five
bytes in front of a payload (`c6 llllllll`, the buffer's mark) are checked when the payload is taken. The checksums of
the payloads, their bools, all marks and all zeros are checked when somebody asks for it: then every byte of the file
has been looked at.

Limits
------
A header has at most 64 MiB and 2**19 tensors; a payload with its zeros, at most 2**32 - 5 bytes; a tensor, at most 64
dimensions (and, if one of them is 0, less than 2**63 bytes without it); metadata, at most 32 levels, 2**18 maps and
lists, and 2**20 other values. A reader checks a claim before it allocates memory for it, and refuses whatever differs
from the above.
"""

from __future__ import annotations

import math
import struct
import zlib
from itertools import accumulate
from typing import TYPE_CHECKING, Final

from wheelweights.formats import RECORD_ENTRY

if TYPE_CHECKING:
    from collections.abc import Iterable

__all__ = [
    "ALIGNMENT",
    "ENTRIES",
    "MARK_BYTES",
    "MAX_BUFFER",
    "MAX_CONTAINERS",
    "MAX_DEPTH",
    "MAX_HEADER",
    "MAX_KEY_CHARACTERS",
    "MAX_RANK",
    "MAX_TENSORS",
    "MAX_VALUES",
    "OPTIONAL_FIELDS",
    "PREAMBLE_BYTES",
    "TENSOR_FIELDS",
    "VERSION",
    "array32",
    "array32_count",
    "bin32",
    "buffer_begins",
    "buffer_size",
    "checksum",
    "header_size",
    "is_countable",
    "padding",
    "preamble",
    "sealed",
    "stated_checksum",
    "uint32",
    "version",
]

VERSION: Final = 1
ALIGNMENT: Final = 64
ENTRIES: Final = (
    "format", "version", "header_size", "header_crc32", "metadata", "tensors", "padding", "buffers",
)  # fmt: skip
TENSOR_FIELDS: Final = ("dtype", "shape", "offset", "crc32")
OPTIONAL_FIELDS: Final = ("source",)

MAX_HEADER: Final = 64 << 20
MAX_BUFFER: Final = (1 << 32) - 5  # the largest length of a bin32 that is 59 modulo 64
MAX_RANK: Final = 64
MAX_TENSORS: Final = 1 << 19
MAX_DEPTH: Final = 32  # of metadata, as are the next two
MAX_CONTAINERS: Final = 1 << 18  # maps and lists: the smallest takes one byte, and 200 in memory
MAX_VALUES: Final = 1 << 20  # others
MAX_KEY_CHARACTERS: Final = 1 << 16  # for the writer; a reader takes longer ones

_U32: Final = struct.Struct(">I")
_BEFORE_VERSION: Final = RECORD_ENTRY + b"\xa7version"
_MAGIC: Final = bytes((0x80 | len(ENTRIES),)) + _BEFORE_VERSION + bytes((VERSION,)) + b"\xabheader_size\xce"
_CHECKSUM_ENTRY: Final = b"\xacheader_crc32\xce"
_CHECKSUM_AT: Final = len(_MAGIC) + _U32.size + len(_CHECKSUM_ENTRY)
PREAMBLE_BYTES: Final = _CHECKSUM_AT + _U32.size
MARK_BYTES: Final = 1 + _U32.size  # what `bin32` and `array32` take


# The header


def preamble(size: int) -> bytes:
    """Return the first bytes of a record whose header has this size, with zeros for its checksum."""
    return _MAGIC + _U32.pack(size) + _CHECKSUM_ENTRY + bytes(_U32.size)


def header_size(head: bytes) -> int | None:
    """Return the size of the header as the first bytes of a file give it; None if they are not of this version."""
    entry = head[len(_MAGIC) + _U32.size : _CHECKSUM_AT]
    if not head.startswith(_MAGIC) or entry != _CHECKSUM_ENTRY or len(head) < PREAMBLE_BYTES:
        return None
    size: int = _U32.unpack_from(head, len(_MAGIC))[0]
    return size


def checksum(header: bytes) -> int:
    """Return what the checksum of a header is to be, whatever it holds as its checksum."""
    view = memoryview(header)
    before = zlib.crc32(bytes(_U32.size), zlib.crc32(view[:_CHECKSUM_AT]))
    return zlib.crc32(view[PREAMBLE_BYTES:], before)


def stated_checksum(header: bytes) -> int:
    """Return the checksum that a header holds."""
    stated: int = _U32.unpack_from(header, _CHECKSUM_AT)[0]
    return stated


def sealed(header: bytes) -> bytes:
    """Return the header with its checksum in it."""
    return header[:_CHECKSUM_AT] + _U32.pack(checksum(header)) + header[PREAMBLE_BYTES:]


def version(head: bytes) -> bytes:
    """Return the byte that tells the version, whatever follows it; nothing if the first entries are not a record's."""
    behind = 1 + len(_BEFORE_VERSION)
    return head[behind : behind + 1] if head[1:behind] == _BEFORE_VERSION else b""


def padding(unpadded: int) -> bytes:
    """Return the value of `padding` for a header that takes this many bytes without that value."""
    zeros = -(unpadded + 2 + MARK_BYTES) % ALIGNMENT
    return bytes((0xC4, zeros)) + bytes(zeros)


def uint32(value: int) -> bytes:
    """Return an integer as MessagePack, 5 bytes whatever its value."""
    return b"\xce" + _U32.pack(value)


def array32(count: int) -> bytes:
    """Return what stands in front of an array's items."""
    return b"\xdd" + _U32.pack(count)


def array32_count(mark: bytes) -> int | None:
    """Return the number of items that `array32` was given; None if these are other bytes."""
    if len(mark) != MARK_BYTES or not mark.startswith(b"\xdd"):
        return None
    count: int = _U32.unpack_from(mark, 1)[0]
    return count


# The buffers


def bin32(size: int) -> bytes:
    """Return what stands in front of a buffer of this size."""
    return b"\xc6" + _U32.pack(size)


def buffer_size(nbytes: int) -> int:
    """Return the length of the buffer of a payload: the smallest that is not shorter and is 59 modulo 64."""
    return -(-(nbytes + MARK_BYTES) // ALIGNMENT) * ALIGNMENT - MARK_BYTES


def buffer_begins(nbytes: Iterable[int], size: int = 0) -> list[int]:
    """Return where the payload of each buffer begins, and as the last item where that of one more buffer would.

    Counted from the end of the header, or, with the header's size, from the start of the file. So a file ends
    `MARK_BYTES` before the last item.
    """
    return list(accumulate((buffer_size(each) + MARK_BYTES for each in nbytes), initial=size + MARK_BYTES))


def is_countable(shape: Iterable[int], itemsize: int) -> bool:
    """Return whether numpy can hold an array of this shape: even of an empty one, the other sizes must fit 63 bits."""
    return math.prod(filter(None, shape)) * itemsize < 1 << 63
