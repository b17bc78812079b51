"""Zip archives made by hand, header by header, as torch writes them; one argument makes one deviation."""

from __future__ import annotations

import struct
import zlib
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping


@dataclass(frozen=True)
class Member:
    """An entry of a zip archive as torch writes it.

    `local` holds fields that differ in the local header, `offset` the place that the directory claims.
    """

    name: str
    data: bytes = b""
    flags: int = 0x0808
    method: int = 0
    crc: int | None = None
    size: int | None = None
    packed: int | None = None
    offset: int | None = None
    local: Mapping[str, Any] = field(default_factory=dict)

    @property
    def body(self) -> bytes:
        """The bytes after the header: the data, deflated if `method` is 8."""
        if self.method != 8:
            return self.data
        deflate = zlib.compressobj(9, zlib.DEFLATED, -15)
        return deflate.compress(self.data) + deflate.flush()

    @property
    def claims(self) -> tuple[int, int, int]:
        """The CRC, the packed size and the size that the headers claim."""
        crc = zlib.crc32(self.data) if self.crc is None else self.crc
        packed = len(self.body) if self.packed is None else self.packed
        return crc, packed, len(self.data) if self.size is None else self.size

    def local_header(self, at: int = 0, alignment: int = 64) -> bytes:
        """Return the header before the data, padded so that the data of a member at `at` is aligned."""
        said = replace(self, **self.local)
        zeros = bool(said.flags & 8) and not {"crc", "size", "packed"} & self.local.keys()
        claims = (0, 0, 0) if zeros else said.claims
        padding = -(at + 34 + len(said.name.encode())) % alignment
        extra = b"FB" + struct.pack("<H", padding) + b"Z" * padding if alignment > 1 else b""
        encoded = said.name.encode()
        return (
            struct.pack("<4s5H3I2H", b"PK\3\4", 0, said.flags, said.method, 0, 0, *claims, len(encoded), len(extra))
            + encoded
            + extra
        )

    def descriptor(self) -> bytes:
        """Return the data descriptor, which follows the data if flag 8 is set."""
        return (
            struct.pack("<4s3I", b"PK\7\x08", *(min(claim, 0xFFFFFFFF) for claim in self.claims))
            if self.flags & 8
            else b""
        )

    def central_header(self, at: int) -> bytes:
        """Return the entry of the directory; sizes that exceed 32 bits go into a zip64 field."""
        crc, packed, size = self.claims
        large = [value for value in (size, packed) if value >= 0xFFFFFFFF]
        extra = struct.pack(f"<2H{len(large)}Q", 1, 8 * len(large), *large) if large else b""
        sizes = (min(packed, 0xFFFFFFFF), min(size, 0xFFFFFFFF))
        at = at if self.offset is None else self.offset
        encoded = self.name.encode()
        return struct.pack(
            "<4s6H3I5H2I", b"PK\1\2", 0, 0, self.flags, self.method, 0, 0, crc, *sizes,
            len(encoded), len(extra), 0, 0, 0, 0, at,
        ) + encoded + extra  # fmt: skip


def zip_archive(
    members: Iterable[Member],
    *,
    prefix: bytes = b"",
    comment: bytes = b"",
    alignment: int = 64,
    count: int | None = None,
) -> bytes:
    """Write a zip archive; offsets count from the start of `prefix`, `count` is a false number of entries."""
    out, directory = bytearray(prefix), bytearray()
    members = list(members)
    for member in members:
        directory += member.central_header(len(out))
        out += member.local_header(len(out), alignment) + member.body + member.descriptor()
    count = len(members) if count is None else count
    return bytes(out + directory) + zip_end(len(out), len(directory), count, comment)


def zip_end(start: int, size: int, count: int, comment: bytes = b"") -> bytes:
    """Return the end of an archive: zip64's record and locator, which torch always writes, and the plain end."""
    zip64 = struct.pack("<4sQ2H2I4Q", b"PK\6\6", 44, 45, 45, 0, 0, count, count, size, start)
    locator = struct.pack("<4sIQI", b"PK\6\7", 0, start + size, 1)
    plain = (min(count, 0xFFFF), min(count, 0xFFFF), min(size, 0xFFFFFFFF), min(start, 0xFFFFFFFF))
    return zip64 + locator + struct.pack("<4s4H2IH", b"PK\5\6", 0, 0, *plain, len(comment)) + comment
