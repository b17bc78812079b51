"""The zip container: central directory -> members, and a member's bytes.

Knows PKWARE's APPNOTE 6.3.10 as far as torch writes it (stored or deflated members, zip64, data descriptors) and
refuses what two readers could understand differently: duplicate names, headers that disagree, bytes before the first
header or behind the end, overlapping members. Of torch it knows only where the data are that it may write without
checksums. Nothing is ever extracted: a member's name is only a key.
"""

from __future__ import annotations

import functools
import struct
import tempfile
import threading
import weakref
import zlib
from dataclasses import dataclass
from mmap import ACCESS_READ, mmap
from typing import TYPE_CHECKING, Final, NamedTuple

import numpy as np
from isal import isal_zlib

from hatch_wheelweights.checkpoint.remedies import DAMAGED, GET_AGAIN
from hatch_wheelweights.checkpoint.tensors import Storage
from hatch_wheelweights.errors import CheckpointError
from wheelweights.errors import backticked, quoted

if TYPE_CHECKING:
    from collections.abc import Iterator

    from numpy.typing import NDArray

__all__ = ["Member", "ZipArchive"]

MAX_INFLATED: Final = 256 << 20  # of all members together, plus INFLATED_RATIO times the size of the file
INFLATED_RATIO: Final = 64
MAX_READ: Final = 1 << 30  # of a member that is read whole, such as a pickle
MAX_READ_INFLATED: Final = 4 << 20  # of such a member when it is deflated, plus READ_RATIO times its deflated size
READ_RATIO: Final = 64
_DEFLATE_RATIO: Final = 1032  # what deflate can reach at most
_CHUNK: Final = 1 << 20

_STORED, _DEFLATED = 0, 8
_DESCRIPTOR_FLAG: Final = 0x8  # a data descriptor follows
_KNOWN_FLAGS: Final = _DESCRIPTOR_FLAG | 0x800 | 0x6  # and: the name is UTF-8; how hard deflate tried
_MAX16, _MAX32 = 0xFFFF, 0xFFFFFFFF

# x: not looked at, such as versions, times and attributes
_END = struct.Struct("<4x4H2LH")
_END64_LOCATOR = struct.Struct("<8xQL")
_END64 = struct.Struct("<4sQ4x2L4Q")
_CENTRAL = struct.Struct("<4s4x2H4x3L4H6xL")
_LOCAL = struct.Struct("<4s2x2H4x3L2H")

_AGAIN: Final = "Get the file again, or save it again with torch: it is damaged, or it was made to be read in two ways."


class Member(NamedTuple):
    """One member: where its bytes lie in the file, and how."""

    name: str
    flags: int
    method: int
    crc: int
    compressed: int
    size: int
    header: int
    start: int = 0  # of the data; known once the local header has been read


@dataclass(frozen=True)
class _Directory:
    start: int
    size: int
    count: int


class ZipArchive:
    """The members of a zip file below its one top folder, checked as a whole.

    `members` maps names (without the top folder) to members in the order of the central directory. Storages are views
    of the map where they are stored, and of a temporary file where they are deflated: each is inflated once, when it
    is first read.
    """

    def __init__(self, data: mmap) -> None:
        self._data = data
        directory = _find_directory(data)
        members = [_with_local_header(data, member, directory.start) for member in _central_entries(data, directory)]
        _check_layout(data, members, directory.start)
        self.root, self.members = _below_root(members)
        self._check_inflated(len(data))
        self.unchecked = _has_no_checksums(self.members)
        self._spill: _Spill | None = None

    def __contains__(self, name: str) -> bool:
        return name in self.members

    def read(self, name: str, limit: int = MAX_READ) -> bytes:
        """Return a member's bytes, inflated and checked."""
        member = self.members[name]
        if member.method == _DEFLATED:
            limit = min(limit, MAX_READ_INFLATED + READ_RATIO * member.compressed)
        if member.size > limit:
            raise CheckpointError(f"member {backticked(name)} has {member.size:,} bytes, expected at most {limit:,}")
        content = b"".join(self._inflate(member)) if member.method == _DEFLATED else self._stored(member).tobytes()
        self._check_crc(member, _crc32(content))
        return content

    def storage(self, name: str, *, big_endian: bool = False) -> Storage:
        """Return a member as a storage; one that is missing has its `fault` set."""
        member = self.members.get(name)
        if member is None:
            fault = CheckpointError(f"its storage {backticked(name)} is missing", remedy=DAMAGED)
            return Storage(0, lambda: np.empty(0, np.uint8), big_endian, fault)

        @functools.cache  # the bytes are inflated and checked once
        def read() -> NDArray[np.uint8]:
            content = self._spilled(member) if member.method == _DEFLATED else self._stored(member)
            self._check_crc(member, _crc32(content))
            return content

        return Storage(member.size, read, big_endian)

    def _stored(self, member: Member) -> NDArray[np.uint8]:
        return np.frombuffer(self._data, np.uint8, member.size, member.start)

    def _spilled(self, member: Member) -> NDArray[np.uint8]:
        if self._spill is None:
            self._spill = _Spill([each for each in self.members.values() if each.method == _DEFLATED])
        return self._spill.fill(member, self._inflate(member))

    def _inflate(self, member: Member) -> Iterator[bytes]:
        """Yield the inflated bytes of a member; exactly as many as its header says, or CheckpointError."""
        inflater = zlib.decompressobj(-zlib.MAX_WBITS)
        position, end, left = member.start, member.start + member.compressed, member.size
        pending = b""
        while not inflater.eof:
            if not pending:
                pending = self._data[position : min(position + _CHUNK, end)]
                position += len(pending)
            try:
                chunk = inflater.decompress(pending, min(left, _CHUNK) + 1)
            except zlib.error as error:
                raise CheckpointError(f"member {backticked(member.name)} is damaged: {error}", remedy=_AGAIN) from error
            left -= len(chunk)
            if left < 0 or (not chunk and not pending):
                break
            pending = inflater.unconsumed_tail
            yield chunk
        if left or not inflater.eof or inflater.unused_data or position < end:
            raise CheckpointError(
                f"member {backticked(member.name)}: expected {member.size:,} inflated bytes, found "
                f"{'more' if left < 0 else format(member.size - left, ',')}",
                remedy=_AGAIN,
            )

    def _check_crc(self, member: Member, crc: int) -> None:
        if crc != member.crc and not (member.crc == 0 and self.unchecked):
            raise CheckpointError(
                f"member {backticked(member.name)} is damaged: expected CRC-32 {member.crc:08x}, found {crc:08x}",
                expected=member.crc,
                found=crc,
                remedy=GET_AGAIN,
            )

    def _check_inflated(self, file_size: int) -> None:
        limit = MAX_INFLATED + INFLATED_RATIO * file_size
        total = sum(member.size for member in self.members.values() if member.method == _DEFLATED)
        if total > limit:
            raise CheckpointError(
                f"its members inflate to {total:,} bytes, expected at most {limit:,} in a file of this size"
            )


class _Spill:
    """A temporary file for inflated members: mapped, so they cost disk and not memory; gone with its last array."""

    def __init__(self, members: list[Member]) -> None:
        offset = 0
        self._offsets: dict[str, int] = {}
        for member in members:
            self._offsets[member.name] = offset
            offset += -(-member.size // 64) * 64
        self._file = tempfile.TemporaryFile()  # noqa: SIM115 (lives as long as this object)
        self._file.truncate(max(offset, 1))
        weakref.finalize(self, self._file.close)
        self._map = mmap(self._file.fileno(), max(offset, 1), access=ACCESS_READ)
        self._lock = threading.Lock()

    def fill(self, member: Member, chunks: Iterator[bytes]) -> NDArray[np.uint8]:
        offset = self._offsets[member.name]
        with self._lock:
            self._file.seek(offset)
            for chunk in chunks:
                self._file.write(chunk)
            self._file.flush()
        return np.frombuffer(self._map, np.uint8, member.size, offset)


def _find_directory(data: mmap) -> _Directory:
    """Return the place of the central directory: directly before the end records, and those at the end of the file."""
    if data[:4] != b"PK\x03\x04":
        raise CheckpointError("a zip file does not begin with its first member", remedy=_AGAIN)
    end = data.rfind(b"PK\x05\x06", max(0, len(data) - _END.size - _MAX16))
    if end < 0 or end + _END.size > len(data):
        raise CheckpointError(
            "truncated: a zip file without its central directory", remedy="Get the file again: it was cut short."
        )
    disk, first_disk, here, count, size, start, comment = _END.unpack_from(data, end)
    if end + _END.size + comment != len(data):
        raise CheckpointError("a zip file is followed by other bytes", remedy=_AGAIN)
    if (disk, first_disk) not in ((0, 0), (_MAX16, _MAX16)):
        raise CheckpointError("a zip file in several parts", remedy=_AGAIN)
    if data[max(0, end - _END64_LOCATOR.size) : end][:4] == b"PK\x06\x07":
        end, values = _find_zip64(data, end)
        small = zip((count, size, start), values, (_MAX16, _MAX32, _MAX32), strict=True)
        if any(value not in (wide, limit) for value, wide, limit in small):
            raise CheckpointError("the two end records of a zip file disagree", remedy=_AGAIN)
        count, size, start = values
    elif here != count:
        raise CheckpointError("a zip file in several parts", remedy=_AGAIN)
    if start + size != end or count * _CENTRAL.size > size:
        raise CheckpointError("the central directory of a zip file is not where its end says", remedy=_AGAIN)
    return _Directory(start, size, count)


def _find_zip64(data: mmap, end: int) -> tuple[int, tuple[int, int, int]]:
    locator = end - _END64_LOCATOR.size
    end64, disks = _END64_LOCATOR.unpack_from(data, locator)
    if disks > 1 or end64 + _END64.size > locator:
        raise CheckpointError("the zip64 end of a zip file is not where it should be", remedy=_AGAIN)
    signature, record_size, disk, first_disk, here, count, size, start = _END64.unpack_from(data, end64)
    if signature != b"PK\x06\x06" or end64 + 12 + record_size != locator or disk or first_disk or here != count:
        raise CheckpointError("the zip64 end of a zip file is not where it should be", remedy=_AGAIN)
    return end64, (count, size, start)


def _central_entries(data: mmap, directory: _Directory) -> Iterator[Member]:
    position, end = directory.start, directory.start + directory.size
    for _ in range(directory.count):
        if position + _CENTRAL.size > end:
            raise CheckpointError("the central directory of a zip file is cut short", remedy=_AGAIN)
        signature, flags, method, crc, compressed, size, name_size, extra_size, comment_size, disk, header = (
            _CENTRAL.unpack_from(data, position)
        )
        name_start = position + _CENTRAL.size
        extra_start = name_start + name_size
        position = extra_start + extra_size + comment_size
        if signature != b"PK\x01\x02" or position > end or disk not in (0, _MAX16):
            raise CheckpointError("the central directory of a zip file is malformed", remedy=_AGAIN)
        extra = data[extra_start : extra_start + extra_size]
        size, compressed, header = _zip64_values(extra, (size, compressed, header))
        yield Member(_decoded(data[name_start:extra_start]), flags, method, crc, compressed, size, header)
    if position != end:
        raise CheckpointError("the central directory of a zip file has more entries than it says", remedy=_AGAIN)


def _decoded(name: bytes) -> str:
    try:
        return name.decode("utf-8")
    except UnicodeDecodeError:
        return name.decode("cp437")


def _zip64_values(extra: bytes, values: tuple[int, ...]) -> tuple[int, ...]:
    """Return the values, those that are all ones replaced by the 64-bit values of the extra field 0x0001, in order."""
    if _MAX32 not in values:
        return values
    position = 0
    while position + 4 <= len(extra):
        kind, size = struct.unpack_from("<2H", extra, position)
        if kind == 1 and position + 4 + size <= len(extra):
            wide = iter(struct.unpack_from(f"<{size // 8}Q", extra, position + 4))
            return tuple(next(wide, value) if value == _MAX32 else value for value in values)
        position += 4 + size
    return values


def _with_local_header(data: mmap, member: Member, limit: int) -> Member:
    """Return the member with the start of its data, checked against its local header.

    Another reader may believe the local header instead of the directory.
    """
    shown = backticked(member.name)
    if member.header + _LOCAL.size > limit:
        raise CheckpointError(f"member {shown} of a zip file lies outside it", remedy=_AGAIN)
    signature, flags, method, crc, compressed, size, name_size, extra_size = _LOCAL.unpack_from(data, member.header)
    name_start = member.header + _LOCAL.size
    extra_start = name_start + name_size
    start = extra_start + extra_size
    name, extra = data[name_start:extra_start], data[extra_start:start]
    if signature != b"PK\x03\x04" or _decoded(name) != member.name or method != member.method or flags != member.flags:
        raise CheckpointError(f"the two headers of member {shown} disagree", remedy=_AGAIN)
    size, compressed = _zip64_values(extra, (size, compressed))
    if not flags & _DESCRIPTOR_FLAG and (crc, compressed, size) != (member.crc, member.compressed, member.size):
        raise CheckpointError(f"the two headers of member {shown} disagree", remedy=_AGAIN)
    if flags & ~_KNOWN_FLAGS:
        raise CheckpointError(f"member {shown} is encrypted, or has other unknown flags ({flags:#06x})", remedy=_AGAIN)
    if method not in (_STORED, _DEFLATED) or (method == _STORED and member.size != member.compressed):
        raise CheckpointError(
            f"member {shown} is packed in an unknown way (method {method})", remedy="Zip it again, stored or deflated."
        )
    if member.size > _DEFLATE_RATIO * (member.compressed + 1):
        raise CheckpointError(
            f"member {shown}: {member.compressed:,} bytes cannot inflate to {member.size:,}", remedy=_AGAIN
        )
    return member._replace(start=start)


def _check_layout(data: mmap, members: list[Member], limit: int) -> None:
    """Check that members follow each other from the start of the file to the directory, with nothing in between.

    Then no byte is read twice, and no other reader sees bytes that this one does not.
    """
    position = 0
    for member in sorted(members, key=lambda each: each.header):
        if member.header != position:
            kind = "overlaps another" if member.header < position else "has other bytes before it"
            raise CheckpointError(f"member {backticked(member.name)} of a zip file {kind}", remedy=_AGAIN)
        position = member.start + member.compressed
        if member.flags & _DESCRIPTOR_FLAG and position <= limit:
            position += _descriptor_size(data, member, position)
    if position != limit:
        kind = "reaches into" if position > limit else "is not followed by"
        raise CheckpointError(f"the last member of a zip file {kind} its central directory", remedy=_AGAIN)


def _descriptor_size(data: mmap, member: Member, position: int) -> int:
    """Return the size of the data descriptor at this position, which repeats the directory in one of four forms."""
    for signature in (b"PK\x07\x08", b""):
        for form in ("<L2Q", "<3L"):
            expected = signature + _packed(form, member.crc, member.compressed, member.size)
            if data[position : position + len(expected)] == expected:
                return len(expected)
    raise CheckpointError(
        f"the directory and the data descriptor of member {backticked(member.name)} disagree", remedy=_AGAIN
    )


def _packed(form: str, *values: int) -> bytes:
    try:
        return struct.pack(form, *values)
    except struct.error:  # a size that needs the wide form
        return b""


def _below_root(members: list[Member]) -> tuple[str, dict[str, Member]]:
    """Return the one top folder and the members below it by name."""
    files = [member for member in members if not (member.name.endswith("/") and member.size == 0)]
    if not files:
        raise CheckpointError("an empty zip file", remedy="Save the checkpoint again.")
    for member in files:
        parts = member.name.split("/")
        if "\\" in member.name or "\0" in member.name or not {"", ".", ".."}.isdisjoint(parts):
            raise CheckpointError(f"a zip file has a member named {quoted(member.name)}", remedy=_AGAIN)
    root = files[0].name.partition("/")[0]
    outside = next((member for member in files if not member.name.startswith(f"{root}/")), None)
    if outside is not None:
        found = (
            f"{quoted(root)} and {quoted(outside.name)}"
            if outside is not files[0]
            else f"{quoted(root)} outside of one"
        )
        raise CheckpointError(
            f"expected one top folder in the zip file, found {found}",
            remedy="If this is a checkpoint, save it again with torch; "
            "if it is a wheel or a data set, name the checkpoint in it.",
        )
    below = {member.name[len(root) + 1 :]: member for member in files}
    if len({name.casefold() for name in below}) != len(files):
        raise CheckpointError("a zip file has two members of the same name", remedy=_AGAIN)
    return root, below


def _has_no_checksums(members: dict[str, Member]) -> bool:
    """Tell whether torch wrote no checksums (`set_crc32_options(False)`, `skip_data`): then all data have CRC 0."""
    data = [member for name, member in members.items() if name.startswith(("data/", "tensors/")) and member.size]
    return bool(data) and all(member.crc == 0 for member in data)


def _crc32(content: bytes | NDArray[np.uint8]) -> int:
    crc = 0
    for start in range(0, len(content), _CHUNK):
        crc = isal_zlib.crc32(content[start : start + _CHUNK], crc)  # pyright: ignore[reportUnknownMemberType]
    return crc
