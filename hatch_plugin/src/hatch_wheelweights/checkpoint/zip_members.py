"""The zip container: a file -> its members, checked as a whole, and a member's bytes.

Knows PKWARE's APPNOTE 6.3.10 as far as torch and the builders of wheels write it (stored or deflated members, zip64,
data descriptors) and refuses what two readers could understand differently: headers that disagree, bytes before the
first header or behind the end, overlapping members. Nothing is ever extracted: a member's name is only a key, and
which names an archive may have is for its readers to say.
"""

from __future__ import annotations

import struct
import zlib
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final, NamedTuple

from hatch_wheelweights.errors import CheckpointError
from wheelweights.errors import backticked, quoted

if TYPE_CHECKING:
    from collections.abc import Iterator

    from hatch_wheelweights.checkpoint.files import OpenFile

__all__ = ["AGAIN", "DEFLATED", "INFLATED_RATIO", "Member", "checked_members", "contents", "may_name"]

MAX_INFLATED: Final = 256 << 20  # of all members together, plus INFLATED_RATIO times the size of the file
INFLATED_RATIO: Final = 64
_DEFLATE_RATIO: Final = 1032  # what deflate can reach at most
_CHUNK: Final = 1 << 20

_STORED, DEFLATED = 0, 8
_DESCRIPTOR_FLAG: Final = 0x8  # a data descriptor follows
_KNOWN_FLAGS: Final = _DESCRIPTOR_FLAG | 0x800 | 0x6  # and: the name is UTF-8; how hard deflate tried
_MAX16, _MAX32 = 0xFFFF, 0xFFFFFFFF
_NEWEST_VERSION: Final = 63  # of the format that a member can need, in tenths
_ZIP64, _UNICODE_PATH = b"\x01\x00", b"up"  # kinds of extra fields

# x: not looked at, such as times
_END = struct.Struct("<4x4H2LH")
_END64_LOCATOR = struct.Struct("<8xQL")
_END64 = struct.Struct("<4sQ4x2L4Q")
_CENTRAL = struct.Struct("<4s2xBx2H4x3L4H4xHL")
_LOCAL = struct.Struct("<4sBx2H4x3L2H")
_DESCRIPTORS = (struct.Struct("<L2Q"), struct.Struct("<3L"))

AGAIN: Final = "Get the file again, or save it again with torch: it is damaged, or it was made to be read in two ways."


class Member(NamedTuple):
    """One member: where its bytes lie in the file, and how."""

    name: str
    flags: int
    method: int
    crc: int
    compressed: int
    size: int
    header: int
    mode: int  # of the file, as Unix has it; 0 where there is none
    start: int = 0  # of the data; known once the local header has been read


@dataclass(frozen=True)
class _Directory:
    start: int
    size: int
    count: int


def checked_members(data: OpenFile) -> list[Member]:
    """Return the members of any zip file as they lie in it, once its directory, headers and layout have been checked.

    Their names are as the file has them. Raises CheckpointError for what two readers could understand differently.
    """
    directory = _find_directory(data)
    entries = sorted(_central_entries(data, directory), key=lambda entry: entry.header)
    members = [_with_local_header(data, entry, directory.start) for entry in entries]
    _check_layout(data, members, directory.start)
    _check_inflated(members, len(data))
    return members


def may_name(data: OpenFile, part: bytes) -> bool:
    """Return whether the directory of a zip file, which is not looked at closer, has these bytes.

    Raises CheckpointError where there is no directory.
    """
    directory = _find_directory(data)
    return data.find(part, directory.start, directory.start + directory.size) >= 0


def _check_inflated(members: list[Member], file_size: int) -> None:
    limit = MAX_INFLATED + INFLATED_RATIO * file_size
    total = sum(member.size for member in members if member.method == DEFLATED)
    if total > limit:
        raise CheckpointError(
            f"its members inflate to {total:,} bytes, expected at most {limit:,} in a file of this size"
        )


def contents(data: OpenFile, member: Member) -> Iterator[bytes]:
    """Yield the bytes of a member in pieces of 1 MiB at most; raise CheckpointError if they do not inflate as it says.

    The CRC-32 is left to the caller.
    """
    if member.method == DEFLATED:
        yield from _inflated(data, member)
        return
    for start in range(0, member.size, _CHUNK):
        yield data[member.start + start : member.start + min(start + _CHUNK, member.size)]


def _inflated(data: OpenFile, member: Member) -> Iterator[bytes]:
    """Yield the inflated bytes of a member; exactly as many as its header says, or CheckpointError."""
    inflater = zlib.decompressobj(-zlib.MAX_WBITS)
    position, end, left = member.start, member.start + member.compressed, member.size
    pending = b""
    while not inflater.eof:
        if not pending:
            pending = data[position : min(position + _CHUNK, end)]
            position += len(pending)
        try:
            chunk = inflater.decompress(pending, min(left, _CHUNK) + 1)
        except zlib.error as error:
            raise CheckpointError(f"member {backticked(member.name)} is damaged: {error}", remedy=AGAIN) from error
        left -= len(chunk)
        if left < 0 or (not chunk and not pending):
            break
        pending = inflater.unconsumed_tail
        yield chunk
    if left or not inflater.eof or inflater.unused_data or position < end:
        raise CheckpointError(
            f"member {backticked(member.name)}: expected {member.size:,} inflated bytes, found "
            f"{'more' if left < 0 else format(member.size - left, ',')}",
            remedy=AGAIN,
        )


def _find_directory(data: OpenFile) -> _Directory:
    """Return the place of the central directory: directly before the end records, and those at the end of the file."""
    if data[:4] != b"PK\x03\x04":
        raise CheckpointError("a zip file does not begin with its first member", remedy=AGAIN)
    tail = max(0, len(data) - _END.size - _MAX16)  # as far as a comment can reach
    end = tail + data[tail : len(data)].rfind(b"PK\x05\x06")
    if end < tail or end + _END.size > len(data):
        raise CheckpointError(
            "truncated: a zip file without its central directory", remedy="Get the file again: it was cut short."
        )
    disk, first_disk, here, count, size, start, comment = _unpacked(_END, data, end)
    if end + _END.size + comment != len(data):
        raise CheckpointError("a zip file is followed by other bytes", remedy=AGAIN)
    if (disk, first_disk) not in ((0, 0), (_MAX16, _MAX16)):
        raise CheckpointError("a zip file in several parts", remedy=AGAIN)
    if data[max(0, end - _END64_LOCATOR.size) : end][:4] == b"PK\x06\x07":
        end, values = _find_zip64(data, end)
        small = zip((count, size, start), values, (_MAX16, _MAX32, _MAX32), strict=True)
        if any(value not in (wide, limit) for value, wide, limit in small):
            raise CheckpointError("the two end records of a zip file disagree", remedy=AGAIN)
        count, size, start = values
    elif here != count:
        raise CheckpointError("a zip file in several parts", remedy=AGAIN)
    if start + size != end or count * _CENTRAL.size > size:
        raise CheckpointError("the central directory of a zip file is not where its end says", remedy=AGAIN)
    return _Directory(start, size, count)


def _find_zip64(data: OpenFile, end: int) -> tuple[int, tuple[int, int, int]]:
    locator = end - _END64_LOCATOR.size
    end64, disks = _unpacked(_END64_LOCATOR, data, locator)
    if disks > 1 or end64 + _END64.size > locator:
        raise CheckpointError("the zip64 end of a zip file is not where it should be", remedy=AGAIN)
    signature, record_size, disk, first_disk, here, count, size, start = _unpacked(_END64, data, end64)
    if signature != b"PK\x06\x06" or end64 + 12 + record_size != locator or disk or first_disk or here != count:
        raise CheckpointError("the zip64 end of a zip file is not where it should be", remedy=AGAIN)
    return end64, (count, size, start)


def _central_entries(data: OpenFile, directory: _Directory) -> Iterator[Member]:
    position, end = directory.start, directory.start + directory.size
    for _ in range(directory.count):
        if position + _CENTRAL.size > end:
            raise CheckpointError("the central directory of a zip file is cut short", remedy=AGAIN)
        signature, version, flags, method, crc, compressed, size, *lengths, disk, mode, header = _unpacked(
            _CENTRAL, data, position
        )
        name_size, extra_size, comment_size = lengths
        name_start = position + _CENTRAL.size
        position = name_start + name_size + extra_size + comment_size
        if signature != b"PK\x01\x02" or position > end or disk not in (0, _MAX16):
            raise CheckpointError("the central directory of a zip file is malformed", remedy=AGAIN)
        name, extra = _name_and_extra(data, name_start, name_size, extra_size)
        size, compressed, header = _zip64_values(extra, (size, compressed, header))
        _check_version(version, name)
        yield Member(name, flags, method, crc, compressed, size, header, mode)
    if position != end:
        raise CheckpointError("the central directory of a zip file has more entries than it says", remedy=AGAIN)


def _check_version(version: int, name: str) -> None:
    """Raise CheckpointError for a version that some readers refuse and others do not look at."""
    if version > _NEWEST_VERSION:
        fact = f"member {backticked(name)} needs version {version / 10} of the zip format"
        raise CheckpointError(fact, expected=_NEWEST_VERSION, found=version, remedy=AGAIN)


def _name_and_extra(data: OpenFile, start: int, name_size: int, extra_size: int) -> tuple[str, bytes]:
    """Return what follows a header: a name as text, and the extra fields.

    Raises CheckpointError for a second name in Info-ZIP's field, which some readers prefer.
    """
    both = data[start : start + name_size + extra_size]
    name, extra = both[:name_size], both[name_size:]
    second = _extra_field(extra, _UNICODE_PATH)
    if second is not None and second[5:] != name:
        raise CheckpointError(f"a member of a zip file has two names, one of them {quoted(name)}", remedy=AGAIN)
    try:
        return name.decode("utf-8"), extra
    except UnicodeDecodeError:
        return name.decode("cp437"), extra


def _zip64_values(extra: bytes, values: tuple[int, ...]) -> tuple[int, ...]:
    """Return the values, those that are all ones replaced by the 64-bit values of the extra field 0x0001, in order."""
    field = _extra_field(extra, _ZIP64) if _MAX32 in values else None
    if field is None:
        return values
    wide = iter(struct.unpack_from(f"<{len(field) // 8}Q", field))
    return tuple(next(wide, value) if value == _MAX32 else value for value in values)


def _extra_field(extra: bytes, kind: bytes) -> bytes | None:
    """Return the first extra field of a kind, if there is one."""
    if kind not in extra:
        return None
    position = 0
    while position + 4 <= len(extra):
        found, size = struct.unpack_from("<2sH", extra, position)
        position += 4 + size
        if found == kind and position <= len(extra):
            return extra[position - size : position]
    return None


def _with_local_header(data: OpenFile, member: Member, limit: int) -> Member:
    """Return the member with the start of its data, checked against its local header.

    Another reader may believe the local header instead of the directory.
    """
    if member.header + _LOCAL.size > limit:
        raise CheckpointError(f"member {backticked(member.name)} of a zip file lies outside it", remedy=AGAIN)
    signature, version, flags, method, crc, compressed, size, *lengths = _unpacked(_LOCAL, data, member.header)
    if signature != b"PK\x03\x04":
        raise _disagreement(member)
    name_start = member.header + _LOCAL.size
    name, extra = _name_and_extra(data, name_start, *lengths)
    if name != member.name or method != member.method or flags != member.flags:
        raise _disagreement(member)
    _check_version(version, member.name)
    size, compressed = _zip64_values(extra, (size, compressed))
    for found, true in zip((crc, compressed, size), (member.crc, member.compressed, member.size), strict=True):
        if found != true and not (found == 0 and flags & _DESCRIPTOR_FLAG):  # then the truth follows the data
            raise _disagreement(member)
    if flags & ~_KNOWN_FLAGS:
        raise CheckpointError(
            f"member {backticked(member.name)} is encrypted, or has other unknown flags ({flags:#06x})", remedy=AGAIN
        )
    if method not in (_STORED, DEFLATED) or (method == _STORED and member.size != member.compressed):
        raise CheckpointError(
            f"member {backticked(member.name)} is packed in an unknown way (method {method})",
            remedy="Zip it again, stored or deflated.",
        )
    if member.size > _DEFLATE_RATIO * (member.compressed + 1):
        raise CheckpointError(
            f"member {backticked(member.name)}: {member.compressed:,} bytes cannot inflate to {member.size:,}",
            remedy=AGAIN,
        )
    return Member(*member[:-1], name_start + sum(lengths))


def _disagreement(member: Member) -> CheckpointError:
    return CheckpointError(f"the two headers of member {backticked(member.name)} disagree", remedy=AGAIN)


def _check_layout(data: OpenFile, members: list[Member], limit: int) -> None:
    """Check that members follow each other from the start of the file to the directory, with nothing in between.

    They are given as they lie in the file. Then no byte is read twice, and no other reader sees bytes that this one
    does not.
    """
    position = 0
    for member in members:
        if member.header != position:
            kind = "overlaps another" if member.header < position else "has other bytes before it"
            raise CheckpointError(f"member {backticked(member.name)} of a zip file {kind}", remedy=AGAIN)
        position = member.start + member.compressed
        if member.flags & _DESCRIPTOR_FLAG and position <= limit:
            position += _descriptor_size(data, member, position)
    if position != limit:
        kind = "reaches into" if position > limit else "is not followed by"
        raise CheckpointError(f"the last member of a zip file {kind} its central directory", remedy=AGAIN)


def _descriptor_size(data: OpenFile, member: Member, position: int) -> int:
    """Return the size of the data descriptor at this position, which repeats the directory in one of four forms."""
    found = data[position : position + 4 + _DESCRIPTORS[0].size]
    for signature in (b"PK\x07\x08", b""):
        for form in _DESCRIPTORS if found.startswith(signature) else ():
            packed = _packed(form, member.crc, member.compressed, member.size)
            if packed and found.startswith(signature + packed):
                return len(signature + packed)
    raise CheckpointError(
        f"the directory and the data descriptor of member {backticked(member.name)} disagree", remedy=AGAIN
    )


def _unpacked(form: struct.Struct, data: OpenFile, position: int) -> tuple[Any, ...]:
    return form.unpack(data[position : position + form.size])


def _packed(form: struct.Struct, *values: int) -> bytes:
    try:
        return form.pack(*values)
    except struct.error:  # a size that needs the wide form
        return b""
