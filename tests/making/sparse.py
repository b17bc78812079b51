"""Checkpoints of many gigabytes that take almost no disk: their tensors are holes in the file."""

from __future__ import annotations

import json
import struct
from typing import TYPE_CHECKING

from making.pickles import Code, state_dict, storage, tensor
from making.zips import Member, zip_end

if TYPE_CHECKING:
    from pathlib import Path

GIGABYTE = 1 << 30


def sparse_safetensors(path: Path, nbytes: int, last: bytes) -> None:
    """Write `hole` (uint8, `nbytes` long) followed by `last` (uint8)."""
    header = json.dumps(
        {
            "hole": {"dtype": "U8", "shape": [nbytes], "data_offsets": [0, nbytes]},
            "last": {"dtype": "U8", "shape": [len(last)], "data_offsets": [nbytes, nbytes + len(last)]},
        }
    ).encode()
    with path.open("wb") as file:
        file.write(struct.pack("<Q", len(header)) + header)
        file.seek(nbytes, 1)
        file.write(last)


def sparse_zip(path: Path, numel: int, last: bytes) -> None:
    """Write a zip checkpoint of `hole` (float32, `numel` elements) and `last` (uint8)."""
    hole = storage("0", numel)
    tensors: dict[str, Code] = {
        "hole": tensor(hole, size=(numel,)),
        "last": tensor(storage("1", len(last), "ByteStorage"), size=(len(last),)),
    }
    nbytes = 4 * numel
    members = [
        (Member("archive/data.pkl", state_dict(**tensors)), 0),
        (Member("archive/data/0", b"", crc=0, size=nbytes, packed=nbytes), nbytes),
        (Member("archive/data/1", last), 0),
        (Member("archive/version", b"3\n"), 0),
    ]
    directory = bytearray()
    with path.open("wb") as file:
        for member, size in members:
            at = file.tell()
            directory += _central(member, at)
            file.write(member.local_header(at) + member.data)
            file.seek(size, 1)
            file.write(_descriptor(member))
        start = file.tell()
        file.write(bytes(directory) + zip_end(start, len(directory), len(members)))


def _central(member: Member, at: int) -> bytes:
    crc, packed, size = member.claims
    wide = [value for value in (size, packed, at) if value >= 0xFFFFFFFF]
    extra = struct.pack(f"<2H{len(wide)}Q", 1, 8 * len(wide), *wide) if wide else b""
    narrow = [min(value, 0xFFFFFFFF) for value in (packed, size, at)]
    name = member.name.encode()
    return struct.pack(
        "<4s6H3I5H2I", b"PK\1\2", 0, 0, member.flags, 0, 0, 0, crc, *narrow[:2],
        len(name), len(extra), 0, 0, 0, 0, narrow[2],
    ) + name + extra  # fmt: skip


def _descriptor(member: Member) -> bytes:
    crc, packed, size = member.claims
    return struct.pack("<4sI2Q" if size > 0xFFFFFFFF else "<4s3I", b"PK\7\x08", crc, packed, size)
