"""A zip archive of torch: the members below its one top folder, and a member's bytes.

Knows of torch only that there is one top folder, and where the data are that it may write without checksums; what a zip
file is, `zip_members` knows.
"""

from __future__ import annotations

import functools
import re
import threading
import weakref
from mmap import ACCESS_READ, mmap
from typing import TYPE_CHECKING, Final

import numpy as np

from hatch_wheelweights.checkpoint.remedies import DAMAGED, GET_AGAIN
from hatch_wheelweights.checkpoint.tensors import Storage
from hatch_wheelweights.checkpoint.zip_members import AGAIN, DEFLATED, contents
from hatch_wheelweights.deflate import crc32
from hatch_wheelweights.errors import CheckpointError
from wheelweights.errors import backticked, quoted

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

    from numpy.typing import NDArray

    from hatch_wheelweights.checkpoint.files import OpenFile
    from hatch_wheelweights.checkpoint.zip_members import Member

__all__ = ["ZipArchive"]

MAX_READ: Final = 1 << 30  # of a member that is read whole, such as a pickle
MAX_READ_INFLATED: Final = 2 << 20  # of such a member when it is deflated, plus READ_RATIO times its deflated size
READ_RATIO: Final = 64
_CHUNK: Final = 1 << 20


class ZipArchive:
    """The members of a zip file, which have been checked, below its one top folder.

    `members` maps names (without the top folder) to members as they lie in the file. Storages are views of the map
    where they are stored, and of a temporary file where they are deflated: each is inflated once, when it is first
    read.
    """

    def __init__(self, data: OpenFile, members: list[Member]) -> None:
        self._data = data
        self.account = data.account
        self.root, self.members = _below_root(members)
        self.unchecked = _has_no_checksums(self.members)
        self._spill: _Spill | None = None

    def __contains__(self, name: str) -> bool:
        return name in self.members

    def read(self, name: str, limit: int = MAX_READ) -> bytes:
        """Return a member's bytes, inflated and checked."""
        member = self.members[name]
        if member.method == DEFLATED:
            limit = min(limit, MAX_READ_INFLATED + READ_RATIO * member.compressed)
        if member.size > limit:
            raise CheckpointError(f"member {backticked(name)} has {member.size:,} bytes, expected at most {limit:,}")
        content = b"".join(contents(self._data, member))
        self.check_crc(member, crc32(content))
        return content

    def storage(self, name: str, *, big_endian: bool = False) -> Storage:
        """Return a member as a storage; one that is missing has its `fault` set."""
        member = self.members.get(name)
        if member is None:
            fault = CheckpointError(f"its storage {backticked(name)} is missing", remedy=DAMAGED)
            return Storage(0, lambda: np.empty(0, np.uint8), big_endian, fault)

        if member.method != DEFLATED:
            stored = _StoredMember(self, self._data, member)
            return Storage(member.size, stored.read, big_endian, stream=stored.pieces)

        @functools.cache  # the bytes are inflated and checked once
        def spilled() -> _Spill:
            spill = self._spill = self._spill or _Spill(self.members.values())
            self.check_crc(member, spill.fill(member, contents(self._data, member)))
            return spill

        def stream(start: int, nbytes: int) -> Iterator[NDArray[np.uint8]]:
            return spilled().pieces(member, start, nbytes)

        return Storage(member.size, lambda: spilled().array(member), big_endian, stream=stream)

    def check_crc(self, member: Member, crc: int) -> None:
        """Raise CheckpointError for a member whose bytes have another CRC-32 than it says."""
        if crc != member.crc and not (member.crc == 0 and self.unchecked):
            raise CheckpointError(
                f"member {backticked(member.name)} is damaged: expected CRC-32 {member.crc:08x}, found {crc:08x}",
                expected=member.crc,
                found=crc,
                remedy=GET_AGAIN,
            )


class _StoredMember:
    """The bytes of a member that is stored; their checksum is computed as they are read, but never twice for nothing.

    Smaller than functions that remember them, and quicker to make: there can be many.
    """

    __slots__ = ("_archive", "_data", "_is_sound", "_member")

    def __init__(self, archive: ZipArchive, data: OpenFile, member: Member) -> None:
        self._archive = archive
        self._data = data
        self._member = member
        self._is_sound = False

    def read(self) -> NDArray[np.uint8]:
        self._check()
        return self._data.array(self._member.start, self._member.size)

    def pieces(self, start: int, nbytes: int) -> Iterator[NDArray[np.uint8]]:
        if (start, nbytes) == (0, self._member.size):
            yield from self._checked()
        else:
            self._check()
            yield from self._data.pieces(self._member.start + start, nbytes)

    def _check(self) -> None:
        if not self._is_sound:
            for _ in self._checked():
                pass

    def _checked(self) -> Iterator[NDArray[np.uint8]]:
        crc = 0
        for piece in self._data.pieces(self._member.start, self._member.size):
            crc = crc32(piece, crc)
            yield piece
        self._archive.check_crc(self._member, crc)
        self._is_sound = True


class _Spill:
    """A temporary file for inflated members, so that they cost disk and not memory; gone with its last array."""

    def __init__(self, members: Iterable[Member]) -> None:
        offset = 0
        self._offsets: dict[str, int] = {}
        for member in members:
            if member.method == DEFLATED:
                self._offsets[member.name] = offset
                offset += -(-member.size // 64) * 64
        self._size = max(offset, 1)
        import tempfile  # noqa: PLC0415 (rarely needed)

        try:
            self._file = tempfile.TemporaryFile()  # noqa: SIM115 (lives as long as this object)
            self._file.truncate(self._size)
        except OSError as error:
            raise _no_room(error) from error
        weakref.finalize(self, self._file.close)
        self._lock = threading.Lock()

    def fill(self, member: Member, chunks: Iterator[bytes]) -> int:
        """Write the bytes of a member and return their CRC-32."""
        crc = 0
        with self._lock:
            self._file.seek(self._offsets[member.name])
            for chunk in chunks:
                crc = crc32(chunk, crc)
                try:
                    self._file.write(chunk)
                except OSError as error:
                    raise _no_room(error) from error
            self._file.flush()
        return crc

    def array(self, member: Member) -> NDArray[np.uint8]:
        """Return a member as a view of the file's map."""
        return np.frombuffer(self._map, np.uint8, member.size, self._offsets[member.name])

    def pieces(self, member: Member, start: int, nbytes: int) -> Iterator[NDArray[np.uint8]]:
        """Yield a part of a member in order, as copies."""
        begin = self._offsets[member.name] + start
        for position in range(begin, begin + nbytes, _CHUNK):
            with self._lock:
                self._file.seek(position)
                piece = self._file.read(min(_CHUNK, begin + nbytes - position))
            yield np.frombuffer(piece, np.uint8)

    @functools.cached_property
    def _map(self) -> mmap:
        return mmap(self._file.fileno(), self._size, access=ACCESS_READ)


def _no_room(error: OSError) -> CheckpointError:
    return CheckpointError(
        f"cannot be inflated into a temporary file: {error.strerror or error}",
        remedy="Set TMPDIR to a folder with room, or save the checkpoint again with torch: it does not deflate.",
    )


def _below_root(members: list[Member]) -> tuple[str, dict[str, Member]]:
    """Return the one top folder and the members below it by name."""
    files = [member for member in members if not (member.name.endswith("/") and member.size == 0)]
    if not files:
        raise CheckpointError("an empty zip file", remedy="Save the checkpoint again.")
    for member in files:
        parts = member.name.split("/")
        if "\\" in member.name or "\0" in member.name or not {"", ".", ".."}.isdisjoint(parts):
            raise CheckpointError(f"a zip file has a member named {quoted(member.name)}", remedy=AGAIN)
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
    for name in below:
        _check_case(name)
    if len({name.casefold() for name in below}) != len(files):
        raise CheckpointError("a zip file has two members of the same name", remedy=AGAIN)
    return root, below


_KNOWN: Final = re.compile(
    r"(data\.pkl|constants\.pkl|version|byteorder|archive_format|\.format_version|\.storage_alignment"
    r"|\.?data(?=/)|tensors(?=/)|constants(?=/)|code(?=/)|models(?=/)).*",
    re.IGNORECASE | re.DOTALL,
)


def _check_case(name: str) -> None:
    """Refuse a name that torch, which takes capitals for small letters, finds where it looks for another."""
    found = _KNOWN.fullmatch(name)
    if found and not found[1].islower():
        raise CheckpointError(f"a zip file has a member named {quoted(name)}", remedy=AGAIN)


def _has_no_checksums(members: dict[str, Member]) -> bool:
    """Tell whether torch wrote no checksums (`set_crc32_options(False)`, `skip_data`): then all data have CRC 0."""
    data = [member for name, member in members.items() if name.startswith(("data/", "tensors/")) and member.size]
    return bool(data) and all(member.crc == 0 for member in data)
