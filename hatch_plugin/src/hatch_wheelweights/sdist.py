"""Putting files into a built sdist.

Knows tar and gzip as far as an sdist has them, and neither hatchling nor options: it is handed files and the places
they go to. Hatchling would deflate them with zlib at 31 MB/s; ISA-L does the same at 462 MB/s.
"""

from __future__ import annotations

import io
import tarfile
from contextlib import closing
from dataclasses import dataclass
from typing import TYPE_CHECKING, BinaryIO, Final, cast

from isal import igzip

from hatch_wheelweights.copies import is_copy
from hatch_wheelweights.deflate import LEVEL
from hatch_wheelweights.errors import ConfigError, Fault
from hatch_wheelweights.progress import advance, working
from wheelweights.atomic import appearing_whole
from wheelweights.errors import backticked
from wheelweights.formats import INTERRUPTED_BUILD

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence
    from pathlib import Path

__all__ = ["add_files", "copies_of"]

MODE: Final = 0o644


def add_files(sdist: Path, files: Mapping[str, Path]) -> None:
    """Put each file into the sdist at its place below the sdist's folder; links are followed.

    They stand before PKG-INFO, with its date, and belong to nobody in particular, as hatchling has it. The new sdist
    replaces the old one at once; on any failure the old one stays as it is. Stubs in the old sdist, which say that its
    build was interrupted, are dropped. Raises ConfigError when there is any other file at one of the places.
    """
    with sdist.open("rb") as source:
        mtime = int.from_bytes(source.read(8)[4:], "little")  # of the gzip header (RFC 1952)
    told = working(f"Writing {sdist.name}", sum(file.stat().st_size for file in files.values()))
    with appearing_whole(sdist) as target, tarfile.open(sdist, "r:gz") as old, told:
        members = [member for member in old.getmembers() if not _is_stub(old, member)]
        _reject_taken(files, members)
        packed = igzip.IGzipFile(  # type: ignore[no-untyped-call]
            "", fileobj=target, mode="wb", compresslevel=LEVEL, mtime=mtime
        )
        with (
            closing(packed),
            tarfile.open(fileobj=cast("BinaryIO", packed), mode="w", format=tarfile.PAX_FORMAT) as new,
        ):
            end = max(range(len(members)), key=lambda at: (_below(members[at].name) == "PKG-INFO", at))
            for at, member in enumerate(members):
                if at == end:  # an sdist of an unpacked one has two of that name, and the last one counts
                    _add(new, files, member)
                new.addfile(member, old.extractfile(member) if member.isreg() else None)


def copies_of(files: Sequence[Path], sdist: Path) -> Iterator[tuple[str, Path]]:
    """Yield the places in an sdist where one of the files stands, byte for byte, under whatever name."""
    sizes = {file: file.stat().st_size for file in files}
    with tarfile.open(sdist, "r:gz") as archive:
        for member in archive:
            for file in (file for file, size in sizes.items() if member.isreg() and member.size == size):
                content = archive.extractfile(member)
                if content is not None and is_copy(content, file):
                    yield _below(member.name), file


def _below(name: str) -> str:
    """Return the name of a member below the one folder that an sdist has."""
    return name.partition("/")[2]


def _is_stub(archive: tarfile.TarFile, member: tarfile.TarInfo) -> bool:
    """Return whether a member says that the build was interrupted before its record was put in."""
    if not member.isreg() or member.size != len(INTERRUPTED_BUILD):
        return False
    content = archive.extractfile(member)
    return content is not None and content.read() == INTERRUPTED_BUILD


def _reject_taken(files: Mapping[str, Path], members: Sequence[tarfile.TarInfo]) -> None:
    taken = sorted(files.keys() & {_below(member.name) for member in members})
    if taken:
        raise ConfigError(*(_taken(place) for place in taken))


def _taken(place: str) -> Fault:
    fact = f"expected {backticked(place)} in the sdist to come from this hook alone, found another file there"
    return Fault(None, fact, remedy="Keep the other file out of the sdist: it is in force-include.")


def _add(archive: tarfile.TarFile, files: Mapping[str, Path], like: tarfile.TarInfo) -> None:
    folder = like.name.partition("/")[0]
    for place, file in files.items():
        member = tarfile.TarInfo(f"{folder}/{place}")
        member.mtime, member.mode = like.mtime, MODE
        with file.open("rb") as content:
            member.size = content.seek(0, io.SEEK_END)
            content.seek(0)
            archive.addfile(member, cast("BinaryIO", _Told(content)))


@dataclass(frozen=True, slots=True)
class _Told:
    """An open file that tells what shows progress of the bytes that are read."""

    file: BinaryIO

    def read(self, size: int) -> bytes:
        block = self.file.read(size)
        advance(len(block))
        return block
