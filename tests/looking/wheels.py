"""Built wheels, looked at from outside: members, headers, RECORD.

Knows the zip format for itself, so that it can disagree with the code under test.
"""

from __future__ import annotations

import base64
import csv
import hashlib
import io
import struct
import zipfile
from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from pathlib import Path


def members(wheel: Path) -> list[str]:
    """Return the names of a wheel's members, in their order."""
    with zipfile.ZipFile(wheel) as archive:
        return archive.namelist()


def read_member(wheel: Path, name: str) -> bytes:
    """Return the bytes of one member of a wheel."""
    with zipfile.ZipFile(wheel) as archive:
        return archive.read(name)


@dataclass(frozen=True)
class Local:
    """A member as its local header tells it."""

    name: str
    needed: int
    flags: int
    method: int
    crc: int
    packed: int
    size: int
    extra: bytes
    start: int
    data: bytes


def local_headers(wheel: Path) -> list[Local]:
    """Walk the archive from its first byte by local headers alone, as a streaming reader does, up to the directory."""
    data = wheel.read_bytes()
    found: list[Local] = []
    position = 0
    while data[position : position + 4] == b"PK\x03\x04":
        _, needed, flags, method, _, _, crc, packed, size, names, extras = struct.unpack_from(
            "<4s5H3L2H", data, position
        )
        extra_at = position + 30 + names
        start = extra_at + extras
        extra = data[extra_at:start]
        if extra[:2] == b"\x01\x00":
            size, packed = struct.unpack_from("<2Q", extra, 4)
        name = data[position + 30 : extra_at].decode()
        position = start + packed
        found.append(Local(name, needed, flags, method, crc, packed, size, extra, start, data[start:position]))
    assert data[position : position + 4] == b"PK\x01\x02", "there are bytes between the last member and the directory"
    return found


def local_header(wheel: Path, name: str) -> Local:
    (found,) = (local for local in local_headers(wheel) if local.name == name)
    return found


def assert_sound(wheel: Path) -> None:
    """Check that both kinds of headers agree, that checksums are right, and that RECORD lists each file once, truly."""
    with zipfile.ZipFile(wheel) as archive:
        assert archive.testzip() is None
        infos = archive.infolist()
        contents = {info.filename: archive.read(info) for info in infos}
    assert len(contents) == len(infos), "a member is there twice"
    central = [(info.filename, info.CRC, info.compress_size, info.file_size, info.compress_type) for info in infos]
    local = local_headers(wheel)
    assert [(head.name, head.crc, head.packed, head.size, head.method) for head in local] == central
    assert not any(head.flags & 0x8 for head in local), "a member has a data descriptor"
    listing = infos[-1].filename
    listed = list(csv.reader(io.StringIO(contents[listing].decode())))
    assert [row[0] for row in listed] == [info.filename for info in infos]
    assert listed[-1] == [listing, "", ""]
    for name, digest, size in listed[:-1]:
        expected = base64.urlsafe_b64encode(hashlib.sha256(contents[name]).digest()).rstrip(b"=").decode()
        assert (digest, size) == (f"sha256={expected}", str(len(contents[name])))
