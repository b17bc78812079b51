"""Records assembled byte by byte, from the specification alone: every argument bends one field of a well-formed record.

Knows the layout as `wheelweights.record` documents it; uses nothing of that module, so that it can disagree with it.
"""

from __future__ import annotations

import struct
import zlib
from typing import TYPE_CHECKING

import msgpack

from making.values import FLOATS

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

MAGIC = bytes.fromhex(
    "88 a6 666f726d6174 ac 776865656c77656967687473 a7 76657273696f6e 01 ab 6865616465725f73697a65 ce"
)
CHECKSUM = b"\xacheader_crc32\xce"
ALIGNMENT = 64
MARK = 5  # bytes of a bin32's and of an array32's header


class Packed(bytes):
    """MessagePack already packed; `packed` returns it unchanged."""

    __slots__ = ()


class Pairs(list[tuple[object, object]]):
    """The pairs of a map; unlike a dict's, they can have a key twice, and keys of any type."""


def packed(value: object) -> Packed:
    """Pack a value as MessagePack."""
    match value:
        case Packed():
            return value
        case dict():
            return packed(Pairs(value.items()))
        case Pairs():
            pairs = b"".join(packed(key) + packed(item) for key, item in value)
            return Packed(msgpack.Packer().pack_map_header(len(value)) + pairs)
        case list() | tuple():
            return Packed(msgpack.Packer().pack_array_header(len(value)) + b"".join(map(packed, value)))
    return Packed(msgpack.packb(value))


def entry(offset: object = MARK, **changed: object) -> dict[str, object]:
    """Describe the tensor `FLOATS` at an offset; `changed` are other values for its fields."""
    return {"dtype": "float32", "shape": [4], "offset": offset, "crc32": zlib.crc32(FLOATS)} | changed


def buffer(payload: bytes = FLOATS, *, length: int | None = None, mark: bytes = b"\xc6", zeros: bytes = b"") -> bytes:
    """Write a buffer: a payload, and zeros up to a length that is 59 modulo 64."""
    size = -(-(len(payload) + MARK) // ALIGNMENT) * ALIGNMENT - MARK
    return mark + struct.pack(">I", size if length is None else length) + (payload + zeros).ljust(size, b"\0")


def record(
    tensors: object = None,
    buffers: Sequence[bytes] = (buffer(),),
    *,
    metadata: object = Packed(b"\x80"),
    magic: bytes = MAGIC,
    checksum: bytes = CHECKSUM,
    order: Sequence[str] = ("metadata", "tensors", "padding"),
    size: int | None = None,
    shift: int = 0,
    padding: object = None,
    array: bytes = b"\xdd",
    count: int | None = None,
    tail: bytes = b"",
) -> bytes:
    """Assemble a record of one tensor `w`, or of these tensors and buffers; its checksum is right all the same.

    `size` is a false size of the header, `shift` moves everything that is aligned, `padding` replaces the zeros.
    """
    entries: Mapping[str, object] = {"metadata": metadata, "tensors": {"w": entry()} if tensors is None else tensors}
    before = b"".join(packed(name) + packed(entries[name]) for name in order if name in entries)
    end = packed("buffers") + array + struct.pack(">I", len(buffers) if count is None else count)
    name = packed("padding") if "padding" in order else b""
    preamble = len(magic) + 4 + len(checksum) + 4
    zeros = -(preamble + len(before) + len(name) + 2 + len(end) + MARK - shift) % ALIGNMENT
    filling = bytes((0xC4, zeros)) + bytes(zeros) if padding is None else packed(padding)
    behind = before + name + filling + end
    said = preamble + len(behind) if size is None else size
    return sealed(magic + struct.pack(">I", said) + checksum + bytes(4) + behind + b"".join(buffers) + tail)


def sealed(data: bytes) -> bytes:
    """Give a record the checksum that its header is to have, as far as it says where it ends."""
    at = data.find(CHECKSUM) + len(CHECKSUM)
    if at < len(CHECKSUM) or at + 4 > len(data):
        return data
    size = int.from_bytes(data[at - len(CHECKSUM) - 4 : at - len(CHECKSUM)], "big")
    crc = zlib.crc32(data[at + 4 : size], zlib.crc32(data[:at] + bytes(4)))
    return data[:at] + struct.pack(">I", crc) + data[at + 4 :]


def header_of(data: bytes) -> bytes:
    """Return the header of a record, as long as it says that it is."""
    return data[: int.from_bytes(data[len(MAGIC) : len(MAGIC) + 4], "big")]


def zeros_in_header(data: bytes) -> int:
    """Tell how many zeros a record has as its padding."""
    return data[data.index(b"\xa7padding\xc4") + len(b"\xa7padding\xc4")]
