"""A wheel: its files, whose names and places have been checked, and the records among them.

Knows which names the files of a wheel can have, and what it costs to open one. What a zip archive is, `zip_members`
knows; what a wheel says of its own files, `verify` knows. Nothing is ever extracted.
"""

from __future__ import annotations

import re
import stat
import unicodedata
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final, cast

import numpy as np

from hatch_wheelweights.checkpoint.files import open_file
from hatch_wheelweights.checkpoint.zip_members import DEFLATED, checked_members, contents, may_name
from hatch_wheelweights.deflate import crc32
from hatch_wheelweights.errors import CheckpointError
from wheelweights import Record, RecordError
from wheelweights.errors import backticked, listed, printable, quoted
from wheelweights.record import aligned_buffer, header_size, read_only, read_record

if TYPE_CHECKING:
    from collections.abc import Generator, Iterable, Iterator, Mapping

    from numpy.typing import NDArray

    from hatch_wheelweights.checkpoint.files import OpenFile
    from hatch_wheelweights.checkpoint.zip_members import Member

__all__ = ["WHEEL_AGAIN", "Wheel", "is_listing", "is_record", "may_be_wheel", "open_wheel"]

WHEEL_AGAIN: Final = "Get the wheel again, or build it again."
BYTES_PER_TENSOR: Final = 1024  # about what an entry of a record's header and the facts of it take in memory
BYTES_PER_CONTAINER: Final = 200  # likewise of metadata
BYTES_PER_VALUE: Final = 64
VALUES_PER_STEP: Final = 8
# A header of 2,000 tensors deflates to a 15th, where all are tied to a 27th, and settings of equal layers to a 43rd
MAX_HEADER_RATIO: Final = 48
FREE_HEADER: Final = 1 << 17
_LISTING: Final = ".dist-info/RECORD"
_HEAD_BYTES: Final = 128  # more than tell how long a header is


class Wheel:
    """An open wheel: `files` maps the names of its files to their places, `records` names those that are records."""

    def __init__(self, path: str, opened: OpenFile, files: Mapping[str, Member]) -> None:
        self.path = path
        self.size = opened.size
        self.files = files
        self.records = tuple(filter(is_record, files))
        self._opened = opened

    def open(self, name: str, *, index: bool = True) -> Record:
        """Open one record: a stored one is mapped inside the wheel, a deflated one read into memory.

        `index` as for `open_record`. Raises RecordError for one that is damaged, for one whose header inflates far more
        than an honest one does, and if all that were opened so far take more memory than a wheel of this size may: a
        caller may keep them all.
        """
        path = f"{self.path}/{name}"
        if name not in self.files or not is_record(name):
            raise RecordError("no such record in the wheel", path=path, remedy=f"Name one of {listed(self.records)}.")
        member = self.files[name]
        with _naming_wheel(path):
            data = self._inflated(member) if member.method == DEFLATED else self._mapped(member)
            _check_header(data, member)
            record = read_record(data, path=path, index=index)
            self._opened.account.charge(len(record), BYTES_PER_TENSOR * len(record))
            self._opened.account.charge(*_cost_of(record.metadata))
        return record

    def open_only(self, *, index: bool = True) -> Record:
        """Open the record of a wheel that has one, as `open` does; raise RecordError, which names one, for several."""
        first, *others = self.records  # `looking.files` opens no wheel without any
        if others:
            raise RecordError(
                f"expected a wheel with one record, found {len(self.records):,}: {listed(self.records)}",
                path=self.path,
                remedy=f"Name one of them: {printable(f'{self.path}/{first}')}",
            )
        return self.open(first, index=index)

    def pieces(self, name: str) -> Iterator[bytes]:
        """Yield the bytes of a file in pieces of 1 MiB at most, inflated; compare them with its CRC-32 at the end.

        Raises RecordError for a file that is not what its headers say.
        """
        member, crc = self.files[name], 0
        with _naming_wheel(f"{self.path}/{name}"):
            for piece in contents(self._opened, member):
                crc = crc32(piece, crc)
                yield piece
        if crc != member.crc:
            fact = f"damaged: expected CRC-32 {member.crc:08x}, found {crc:08x}"
            path = f"{self.path}/{name}"
            raise RecordError(fact, path=path, expected=member.crc, found=crc, remedy=WHEEL_AGAIN)

    def _mapped(self, member: Member) -> NDArray[np.uint8]:
        return self._opened.array(member.start, member.size)

    def _inflated(self, member: Member) -> NDArray[np.uint8]:
        self._opened.account.charge(0, member.size)
        data, end = aligned_buffer(member.size), 0
        for piece in self.pieces(member.name):
            data[end : end + len(piece)] = np.frombuffer(piece, np.uint8)
            end += len(piece)
        return read_only(data)

    def close(self) -> None:
        """Let go of the file. Records that were opened from it stay readable."""
        self._opened.close()

    def __enter__(self) -> Wheel:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()


def _check_header(data: NDArray[np.uint8], member: Member) -> None:
    """Raise CheckpointError if a record says far more before its tensors than it takes in the wheel.

    What is no record of ours (Burn's are read whole) says all of it.
    """
    size = header_size(data[:_HEAD_BYTES].tobytes()) or data.size
    limit = FREE_HEADER + MAX_HEADER_RATIO * member.compressed
    if size > limit:
        fact = f"expected a header of at most {limit:,} bytes in {member.compressed:,} packed ones, found {size:,}"
        raise CheckpointError(fact, expected=limit, found=size)


def _cost_of(metadata: dict[str, Any]) -> tuple[int, int]:
    """Return the steps and bytes that metadata took to make: some of its values take one byte of a header."""
    pending: list[Any] = [metadata]
    values = nbytes = 0
    while pending:
        value = pending.pop()
        values += 1
        if isinstance(value, (dict, list)):
            nbytes += BYTES_PER_CONTAINER
            pending.extend(cast("Iterable[Any]", value))
            pending.extend(cast("dict[str, Any]", value).values() if isinstance(value, dict) else ())
        else:
            nbytes += BYTES_PER_VALUE + (len(value) if isinstance(value, str) else 0)
    return values // VALUES_PER_STEP, nbytes


def open_wheel(path: str) -> Wheel:
    """Open a wheel and check its directory, its headers and its names.

    Raises RecordError, which names the path, for whatever two readers could understand differently.
    """
    with _naming_wheel(path):
        opened = open_file(Path(path))
        try:
            return Wheel(path, opened, _files(checked_members(opened)))
        except BaseException:
            opened.close()
            raise


def may_be_wheel(path: str) -> bool:
    """Return whether a zip archive may have a RECORD; that is quick, where checking it takes long.

    Raises RecordError, which names the path, for one without a directory.
    """
    with _naming_wheel(path):
        opened = open_file(Path(path))
        try:
            return may_name(opened, _LISTING.encode())
        finally:
            opened.close()


def is_record(name: str) -> bool:
    """Return whether this is the name of a record."""
    return name.endswith(".mpk")


def is_listing(name: str) -> bool:
    """Return whether this is the name of RECORD, the list of files that makes a zip archive a wheel."""
    return name.endswith(_LISTING) and name.count("/") == 1


@contextmanager
def _naming_wheel(path: str) -> Generator[None]:
    """Raise RecordError, which names the path, for what the reader of zip archives raises inside."""
    try:
        yield
    except CheckpointError as error:
        expected, found = error.expected, error.found
        raise RecordError(error.fact, path=path, expected=expected, found=found, remedy=WHEEL_AGAIN) from error


# Names

_DRIVE: Final = re.compile("[A-Za-z]:")
_SCHEMES: Final = ("purelib/", "platlib/")  # in the folder *.data: their files go where those outside it go
_UTF8_NAME: Final = 0x800
_LONGEST: Final = 1024  # that a path can be where accents are normalised (macOS); it takes the square of the length


def _files(members: Iterable[Member]) -> dict[str, Member]:
    """Return the members that are files by their names.

    Raises CheckpointError for a name that is not that of a regular file below the folder of the installation, and for
    two files of one name. Names that differ in case or in the form of accents are one file on some systems.
    """
    files: dict[str, Member] = {}
    places: dict[str, str] = {}
    for member in members:
        is_folder = member.name.endswith("/") and member.size == 0
        name, kind = member.name, stat.S_IFMT(member.mode)
        if _leads_astray(name.removesuffix("/") if is_folder else name):
            raise CheckpointError(f"holds a file named {quoted(name)}")
        if not name.isascii() and not member.flags & _UTF8_NAME:
            raise CheckpointError(f"the name of {backticked(name)} is not marked as UTF-8, and can be read in two ways")
        if kind not in (0, stat.S_IFDIR if is_folder else stat.S_IFREG):
            raise CheckpointError(f"{backticked(name)} is not a regular file (mode {member.mode:o})")
        if is_folder:
            continue
        place = _place(name)
        if place in places:
            raise CheckpointError(f"holds two files of one name: {backticked(places[place])} and {backticked(name)}")
        places[place] = name
        files[name] = member
    return files


def _place(name: str) -> str:
    """Return what is the same for names that some system takes for one."""
    top, _, below = name.partition("/")
    is_scheme = top.endswith(".data") and below.startswith(_SCHEMES)
    place = below.partition("/")[2] if is_scheme else name
    if not place.isascii() and len(place) <= _LONGEST:
        place = unicodedata.normalize("NFC", place)
    return place.casefold()


def _leads_astray(name: str) -> bool:
    """Return whether a name could lead out of the folder that a wheel is installed into, or name two files."""
    odd_parts = not {"", ".", ".."}.isdisjoint(name.split("/"))
    return odd_parts or "\\" in name or "\0" in name or _DRIVE.match(name) is not None
