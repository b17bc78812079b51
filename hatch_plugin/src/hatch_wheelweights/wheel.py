"""Putting records into a built wheel, and wheels that hold nothing else.

Knows as much of the zip format as a wheel needs, and of RECORD, the wheel's own list of files. Knows neither hatchling
nor options, nor what a record holds: it is handed files and the places they go to.

`zipfile` reads the wheel but cannot write it: it neither copies a member without compressing it anew, nor takes bytes
that something else deflated. So the headers are packed here, after PKWARE's APPNOTE 6.3.10. They are final only when
the sizes are known, so there are no data descriptors, and zip64 fields stand exactly where a number does not fit its
field. Nothing depends on the clock: records carry the date of RECORD, which the builder took from SOURCE_DATE_EPOCH.
Deflated bytes are those of ISA-L's fastest useful level: the same for the same `isal` on processors of one kind.
"""

from __future__ import annotations

import base64
import csv
import hashlib
import io
import os
import struct
import zipfile
from typing import TYPE_CHECKING, BinaryIO

from hatch_wheelweights.deflate import BLOCK_BYTES, crc32, deflated, in_threads
from hatch_wheelweights.errors import ConfigError, Fault
from hatch_wheelweights.progress import advance, working
from wheelweights.atomic import appearing_whole
from wheelweights.errors import backticked
from wheelweights.formats import INTERRUPTED_BUILD

if TYPE_CHECKING:
    import time
    from collections.abc import Collection, Iterable, Iterator, Mapping
    from pathlib import Path

__all__ = ["add_records", "taken_place", "write_wheel"]

ALIGNMENT = 64
_MEMBER_ROOM = 4096  # more than headers and rows of RECORD take for one member
ZIP64_LIMIT = 0xFFFF_FFFF  # the first size that does not fit in 32 bits: all ones means "see the zip64 field"
ZIP64_COUNT_LIMIT = 0xFFFF
ZIP64_VERSION = 45
REGULAR_FILE_644 = 0o100644 << 16
UNIX = 3
UTF8_NAME = 0x800

_LOCAL = struct.Struct("<4s5H3L2H")
_CENTRAL = struct.Struct("<4s4B4H3L5H2L")
_END = struct.Struct("<4s4H2LH")
_ZIP64_END = struct.Struct("<4sQ2H2L4Q")
_ZIP64_LOCATOR = struct.Struct("<4sLQL")
_EXTRA = struct.Struct("<2H")
_SEE_ZIP64 = 0xFFFF_FFFF
_SEE_ZIP64_COUNT = 0xFFFF
_ZIP64_EXTRA_ID = 0x0001
_ALIGNMENT_EXTRA_ID = 0xD935  # registered for the padding that Android's zipalign inserts


def add_records(wheel: Path, records: Mapping[str, Path], compression: str) -> dict[str, int]:
    """Put each file of `records` into the wheel at its distribution path, and list it in RECORD.

    Return the CRC-32 of each, by its path.

    `compression` is "deflated", or "stored": then a record's bytes begin on a 64-byte boundary of the wheel, so that
    they can be mapped inside it. Where the wheel has a stub at such a path, which says that its build was interrupted,
    the record takes its place. The other members keep their bytes; the records come before the dist-info folder, RECORD
    comes last. The new wheel replaces the old one at once; on any failure the old one stays as it is. Extra
    fields and comments in the old wheel (the wheel builder writes none) are dropped. Raises ConfigError when the wheel
    already has a file at one of the paths.
    """
    state = wheel.stat()
    room = state.st_size + _room(records.values())
    with (
        appearing_whole(wheel, at_most=room) as target,
        wheel.open("rb") as source,
        working(f"Writing {wheel.name}", state.st_size + _size(records.values())),
    ):
        crcs = _rewrite(source, target, records, compression)
    wheel.chmod(state.st_mode)
    return crcs


def write_wheel(wheel: Path, files: Mapping[str, Path | bytes], compression: str, date: time.struct_time) -> None:
    """Write a wheel from nothing: files by their places, in their order, then RECORD.

    The places of the dist-info folder come last. Records are compressed as `compression` says, other files deflated;
    everything gets one date, in UTC. The wheel appears whole or not at all.
    """
    dist_info = list(files)[-1].partition("/")[0]
    listing = zipfile.ZipInfo(f"{dist_info}/RECORD", date[:6])
    rows: list[list[str]] = []
    told = working(f"Writing {wheel.name}", _size(files.values()))
    with appearing_whole(wheel, at_most=_room(files.values())) as target, told:
        new = _ZipWriter(target)
        for place, file in files.items():
            with io.BytesIO(file) if isinstance(file, bytes) else file.open("rb") as content:
                member = _like(listing, place, "deflated" if isinstance(file, bytes) else compression, REGULAR_FILE_644)
                digest, size = new.add(member, content)
            rows.append([place, f"sha256={digest}", str(size)])
        text = io.StringIO(newline="")
        csv.writer(text, lineterminator="\n").writerows([*rows, [listing.filename, "", ""]])
        content = io.BytesIO(text.getvalue().encode())
        new.add(_like(listing, listing.filename, "deflated", REGULAR_FILE_644), content)
        new.close()


def _size(files: Iterable[Path | bytes]) -> int:
    return sum(len(file) if isinstance(file, bytes) else file.stat().st_size for file in files)


def _room(files: Collection[Path | bytes]) -> int:
    """Return what files take in a wheel at the most, with what stands around them."""
    size = _size(files)
    return size + size // 1000 + (len(files) + 1) * _MEMBER_ROOM


def _rewrite(source: BinaryIO, target: BinaryIO, records: Mapping[str, Path], compression: str) -> dict[str, int]:
    """Write the new wheel: package files, records, the rest of dist-info, RECORD. Return the records' CRC-32s."""
    with zipfile.ZipFile(source) as old:
        members = [member for member in old.infolist() if member.filename not in records or not _is_stub(old, member)]
        listing = next(member for member in members if _is_listing(member.filename))
        rows = list(csv.reader(io.StringIO(old.read(listing).decode(), newline="")))
    _reject_taken(records, {member.filename for member in members})
    dist_info = listing.filename.removesuffix("RECORD")
    new = _ZipWriter(target)
    for member in members:
        if not member.filename.startswith(dist_info):
            new.copy(source, member)
    added: list[list[str]] = []
    for path, file in records.items():
        with file.open("rb") as content:
            digest, size = new.add(_like(listing, path, compression, REGULAR_FILE_644), content)
        added.append([path, f"sha256={digest}", str(size)])
    for member in members:
        if member.filename.startswith(dist_info) and member is not listing:
            new.copy(source, member)
    text = _with_rows([row for row in rows if row[0] not in records], added, dist_info)
    new.add(_like(listing, listing.filename, "deflated", listing.external_attr), io.BytesIO(text.encode()))
    new.close()
    return {member.filename: member.CRC for member in new.members if member.filename in records}


def _is_listing(name: str) -> bool:
    return name.endswith(".dist-info/RECORD") and name.count("/") == 1


def _is_stub(wheel: zipfile.ZipFile, member: zipfile.ZipInfo) -> bool:
    """Return whether a member says that the build was interrupted before its record was put in."""
    return member.file_size == len(INTERRUPTED_BUILD) and wheel.read(member) == INTERRUPTED_BUILD


def _reject_taken(records: Mapping[str, Path], names: set[str]) -> None:
    taken = sorted(records.keys() & names)
    if taken:
        raise ConfigError(*map(taken_place, taken))


def taken_place(path: str) -> Fault:
    """Return the fault of a place in the wheel where another file is."""
    return Fault(
        None,
        f"expected {backticked(path)} in the wheel to come from this hook alone, found another file there",
        remedy="Give the record another output, or keep the other file out of the wheel.",
    )


def _like(listing: zipfile.ZipInfo, name: str, compression: str, mode: int) -> zipfile.ZipInfo:
    """Describe a new member with the date of RECORD."""
    member = zipfile.ZipInfo(name, listing.date_time)
    member.compress_type = {"deflated": zipfile.ZIP_DEFLATED, "stored": zipfile.ZIP_STORED}[compression]
    member.external_attr = mode
    member.create_system = UNIX
    return member


def _with_rows(rows: list[list[str]], added: list[list[str]], dist_info: str) -> str:
    """Return RECORD's text with the added rows where the added members are: before those of dist-info."""
    text = io.StringIO(newline="")
    writer = csv.writer(text, lineterminator="\n")
    writer.writerows(row for row in rows if not row[0].startswith(dist_info))
    writer.writerows(added)
    writer.writerows(row for row in rows if row[0].startswith(dist_info))
    return text.getvalue()


class _ZipWriter:
    """A zip archive being written: members first, then `close` adds their directory."""

    def __init__(self, file: BinaryIO) -> None:
        self.file = file
        self.members: list[zipfile.ZipInfo] = []

    def copy(self, source: BinaryIO, member: zipfile.ZipInfo) -> None:
        """Copy a member of another archive as it is, compressed bytes and all."""
        source.seek(member.header_offset)
        name_size, extra_size = _LOCAL.unpack(source.read(_LOCAL.size))[-2:]
        source.seek(name_size + extra_size, os.SEEK_CUR)
        member.header_offset = self.file.tell()
        self.file.write(_local_header(member))
        for block in _blocks(source, member.compress_size):
            self.file.write(block)
        self.members.append(member)

    def add(self, member: zipfile.ZipInfo, content: BinaryIO) -> tuple[str, int]:
        """Add the content of an open file as one member; return its SHA-256 as RECORD writes it, and its size."""
        member.header_offset = self.file.tell()
        member.file_size = content.seek(0, os.SEEK_END)
        member.compress_size = member.CRC = 0  # until they are known
        padding = self._padding(member) if member.compress_type == zipfile.ZIP_STORED else b""
        header_size = self.file.write(_local_header(member, padding))
        digest = self._write_content(member, content)
        end = self.file.tell()
        if len(_local_header(member, padding)) != header_size:
            # Deflating pushed the size past 4 GiB, beyond the header already written. Store it instead.
            return self._add_stored(member, content)
        self.file.seek(member.header_offset)
        self.file.write(_local_header(member, padding))
        self.file.seek(end)
        self.members.append(member)
        return base64.urlsafe_b64encode(digest).rstrip(b"=").decode(), member.file_size

    def _add_stored(self, member: zipfile.ZipInfo, content: BinaryIO) -> tuple[str, int]:
        self.file.seek(member.header_offset)
        self.file.truncate()
        member.compress_type = zipfile.ZIP_STORED
        return self.add(member, content)

    def _write_content(self, member: zipfile.ZipInfo, content: BinaryIO) -> bytes:
        """Write the content, fill in CRC and compressed size, and return its SHA-256."""
        digest = hashlib.sha256()

        def hashed(block: bytes) -> bytes:
            digest.update(block)
            return block

        def summed() -> Iterator[bytes]:
            for block in _blocks(content, member.file_size):
                member.CRC = crc32(block, member.CRC)
                yield block

        start = self.file.tell()
        content.seek(0)
        blocks = in_threads(hashed, summed(), 1)
        for packed in blocks if member.compress_type == zipfile.ZIP_STORED else deflated(blocks):
            self.file.write(packed)
        member.compress_size = self.file.tell() - start
        return digest.digest()

    def _padding(self, member: zipfile.ZipInfo) -> bytes:
        """Return an extra field that makes the member's data begin on a 64-byte boundary."""
        smallest = _EXTRA.size + 2
        data = member.header_offset + len(_local_header(member)) + smallest
        zeros = -data % ALIGNMENT
        return _EXTRA.pack(_ALIGNMENT_EXTRA_ID, 2 + zeros) + ALIGNMENT.to_bytes(2, "little") + bytes(zeros)

    def close(self) -> None:
        """Write the central directory and the end of the archive."""
        start = self.file.tell()
        for member in self.members:
            self.file.write(_central_header(member))
        self.file.write(_end(len(self.members), start, self.file.tell() - start))
        self.file.truncate()


def _blocks(file: BinaryIO, size: int) -> Iterator[bytes]:
    """Yield the next `size` bytes of a file; raise EOFError where it is shorter."""
    while size:
        block = file.read(min(size, BLOCK_BYTES))
        if not block:
            raise EOFError(f"expected {size:,} more bytes")
        size -= len(block)
        advance(len(block))
        yield block


def _local_header(member: zipfile.ZipInfo, padding: bytes = b"") -> bytes:
    name, flags = _encoded_name(member)
    sizes = (member.compress_size, member.file_size)
    zip64 = b""
    if max(sizes) >= ZIP64_LIMIT:  # a local header has both sizes in the zip64 field, or none
        zip64 = _EXTRA.pack(_ZIP64_EXTRA_ID, 16) + struct.pack("<2Q", member.file_size, member.compress_size)
        sizes = (_SEE_ZIP64, _SEE_ZIP64)
    needed = ZIP64_VERSION if zip64 else member.extract_version
    extra = zip64 + padding
    about = (needed, flags, member.compress_type, *_dos_time(member), member.CRC)
    return _LOCAL.pack(b"PK\x03\x04", *about, *sizes, len(name), len(extra)) + name + extra


def _central_header(member: zipfile.ZipInfo) -> bytes:
    name, flags = _encoded_name(member)
    fields = (member.file_size, member.compress_size, member.header_offset)
    large = [value for value in fields if value >= ZIP64_LIMIT]
    file_size, compress_size, offset = map(_short, fields)
    extra = _EXTRA.pack(_ZIP64_EXTRA_ID, 8 * len(large)) + struct.pack(f"<{len(large)}Q", *large) if large else b""
    needed = ZIP64_VERSION if large else member.extract_version
    made_by = max(needed, member.create_version)
    about = (made_by, member.create_system, needed, member.reserved, flags, member.compress_type, *_dos_time(member))
    lengths = (len(name), len(extra), 0)  # no comment
    kept = (0, member.internal_attr, member.external_attr)  # on the first disk
    fixed = (b"PK\x01\x02", *about, member.CRC, compress_size, file_size, *lengths, *kept, offset)
    return _CENTRAL.pack(*fixed) + name + extra


def _end(count: int, start: int, size: int) -> bytes:
    zip64 = b""
    if count >= ZIP64_COUNT_LIMIT or max(start, size) >= ZIP64_LIMIT:
        rest_of_record = _ZIP64_END.size - 12
        versions = (ZIP64_VERSION, ZIP64_VERSION)
        zip64 = _ZIP64_END.pack(b"PK\x06\x06", rest_of_record, *versions, 0, 0, count, count, size, start)
        zip64 += _ZIP64_LOCATOR.pack(b"PK\x06\x07", 0, start + size, 1)
    short_count = count if count < ZIP64_COUNT_LIMIT else _SEE_ZIP64_COUNT
    return zip64 + _END.pack(b"PK\x05\x06", 0, 0, short_count, short_count, _short(size), _short(start), 0)


def _short(value: int) -> int:
    return value if value < ZIP64_LIMIT else _SEE_ZIP64


def _encoded_name(member: zipfile.ZipInfo) -> tuple[bytes, int]:
    """Return the name's bytes and the flags that go with it: UTF-8 where it is not ASCII, and no data descriptor."""
    if member.filename.isascii():
        return member.filename.encode("ascii"), 0
    return member.filename.encode("utf-8"), UTF8_NAME


def _dos_time(member: zipfile.ZipInfo) -> tuple[int, int]:
    year, month, day, hour, minute, second = member.date_time
    return hour << 11 | minute << 5 | second // 2, (year - 1980) << 9 | month << 5 | day
