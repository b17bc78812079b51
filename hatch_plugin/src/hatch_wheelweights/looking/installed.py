"""Installed packages: where their records are, and what the distributions that installed them say of these.

A package is found as `import` would find it, but nothing of it is executed, nor of the packages that it is in: only the
finders of this interpreter are asked. Installers of editable packages may have added to those, and what they added runs
when it is asked.
"""

from __future__ import annotations

import csv
import importlib.machinery
import importlib.metadata
import os
import pkgutil
import re
import sys
import zipfile
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Final, NamedTuple, TypeAlias

from hatch_wheelweights.looking.listing import row_from
from hatch_wheelweights.looking.wheels import is_record
from wheelweights import RecordError, open_record
from wheelweights.archives import member_bytes
from wheelweights.errors import MissingRecordError, backticked, did_you_mean
from wheelweights.record import read_record

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Mapping, Sequence
    from importlib.machinery import ModuleSpec

    import numpy as np
    from numpy.typing import NDArray

    from hatch_wheelweights.looking.listing import Row
    from wheelweights import Record

__all__ = [
    "Claim",
    "File",
    "Package",
    "claim_of",
    "claims",
    "find_package",
    "no_record",
    "open_file",
    "packages_with_records",
    "pieces",
    "size_of",
]

File: TypeAlias = "Path | zipfile.Path"  # the second for a package that is imported from a zip archive
PIECE_BYTES: Final = 1 << 20


@dataclass(frozen=True)
class Package:
    """An installed package: its import name, and its folders (several if it is a namespace package)."""

    name: str
    folders: tuple[File, ...]

    def records(self) -> dict[str, File]:
        """Return the records in it, and in the folders in it, by their names as `wheelweights.load` takes them."""
        found: dict[str, File] = {}
        for folder in reversed(self.folders):  # of two files with one name the first counts
            found.update(_below(folder))
        return dict(sorted(found.items()))

    def holds(self, place: str) -> bool:
        """Return whether a place, as `claims` has them, is inside the package."""
        return any(place.startswith(_place(folder).rstrip(os.sep) + os.sep) for folder in self.folders)


def find_package(name: str) -> Package:
    """Return the package that is imported by this name.

    Raises MissingRecordError if there is none; it names the packages of a distribution with this name.
    """
    path: Sequence[str] | None = None
    parts = name.split(".")
    for number in range(1, len(parts) + 1):
        spec = _find_spec(".".join(parts[:number]), path) if parts[number - 1].isidentifier() else None
        if spec is None:
            raise _no_such_package(name)
        path = spec.submodule_search_locations
        if path is None:
            fact = f"expected a package with records, found the module {backticked('.'.join(parts[:number]))}"
            raise MissingRecordError(fact, remedy="Name the package that the records are in.")
        path = list(path)
    folders = tuple(folder for location in path or () if (folder := _folder(location)) is not None)
    return Package(name, folders)


def _no_such_package(name: str) -> MissingRecordError:
    packages = _packages_of(name)
    if not packages:
        remedy = did_you_mean(name, packages_with_records())
        remedy = remedy or "Install it in the environment of this command, or correct the name."
        return MissingRecordError(f"package {backticked(name)} is not installed", remedy=remedy)
    flags = " ".join(f"--package {package}" for package in packages)
    fact = f"expected the name that a package is imported by, found that of a distribution, {backticked(name)}"
    return MissingRecordError(fact, remedy=f"Name what it installs: wheelweights verify {flags}")


def _packages_of(distribution: str) -> list[str]:
    """Return the names by which the packages of an installed distribution are imported; none if it is not installed.

    An editable installation does not say what it installs: its package is taken to be named like it.
    """
    normalized = _normalized(distribution)
    packages = sorted(
        package
        for package, distributions in importlib.metadata.packages_distributions().items()
        if normalized in map(_normalized, distributions) and package.isidentifier()
    )
    alike = normalized.replace("-", "_")
    if packages or not alike.isidentifier() or _find_spec(alike, None) is None:
        return packages
    return (
        [alike] if normalized in (_normalized(_said(one, "Name")) for one in importlib.metadata.distributions()) else []
    )


def _said(distribution: importlib.metadata.Distribution, name: str) -> str:
    """Return a field of the metadata, which may be damaged."""
    metadata = distribution.metadata
    return metadata[name] if name in metadata else "?"  # noqa: SIM401 (its type has no `get`)


def _normalized(distribution: object) -> str:
    return re.sub("[-_.]+", "-", str(distribution)).lower()  # where metadata are damaged, Python has None for a name


def _find_spec(name: str, path: Sequence[str] | None) -> ModuleSpec | None:
    """Ask the finders for a module as `import` does; `path` is that of the package that it is in."""
    for finder in sys.meta_path:
        if finder is importlib.machinery.PathFinder:
            spec = _find_on_path(name, sys.path if path is None else path)
        else:
            find = getattr(finder, "find_spec", None)
            spec = None if find is None else find(name, path)
        if spec is not None:
            return spec
    return None


def _find_on_path(name: str, path: Iterable[str]) -> ModuleSpec | None:
    """Do what `PathFinder.find_spec` does, which for a part of a namespace package needs that package imported."""
    portions: list[str] = []
    for entry in path:
        finder = pkgutil.get_importer(entry or os.getcwd())  # noqa: PTH109 (what `import` asks for)
        spec = None if finder is None else finder.find_spec(name)
        if spec is None:
            continue
        if spec.loader is not None:
            return spec
        portions += spec.submodule_search_locations or ()
    if not portions:
        return None
    namespace = importlib.machinery.ModuleSpec(name, None, is_package=True)
    namespace.submodule_search_locations = portions
    return namespace


def _folder(location: str) -> File | None:
    """Return a folder on disk, or in a zip archive; None if there is neither."""
    folder = Path(location)
    if folder.is_dir():
        return folder
    for archive in folder.parents:
        if archive.is_file():
            below = folder.relative_to(archive).as_posix()
            return zipfile.Path(str(archive), f"{below}/") if zipfile.is_zipfile(archive) else None
    return None


# Its files


def _below(folder: File) -> dict[str, File]:
    """Return the records below a folder by their names; links to folders are followed, each folder is listed once."""
    if isinstance(folder, zipfile.Path):
        start = folder.at
        names = [name for name in folder.root.namelist() if name.startswith(start) and is_record(name)]
        return {name.removeprefix(start): zipfile.Path(folder.root, name) for name in names}
    found: dict[str, File] = {}
    pending, known = [folder], set[str]()
    while pending:
        here = pending.pop()
        if (real := os.path.realpath(here)) in known:
            continue
        known.add(real)
        for entry in _entries(here):
            if entry.is_dir():
                pending.append(here / entry.name)
            elif is_record(entry.name):
                found[(here / entry.name).relative_to(folder).as_posix()] = here / entry.name
    return found


def _entries(folder: Path) -> list[os.DirEntry[str]]:
    try:
        with os.scandir(folder) as entries:
            return list(entries)
    except OSError as error:
        raise RecordError(f"cannot be read: {error.strerror or error}", path=folder) from error


def no_record(name: str) -> MissingRecordError:
    """Return the error about an installed package without records."""
    remedy = "Name another package, or build it with hatch-wheelweights, and with its hooks enabled."
    return MissingRecordError(f"no record in package {backticked(name)}", remedy=remedy)


def size_of(file: File) -> int:
    """Return the bytes of a file."""
    return file.stat().st_size if isinstance(file, Path) else file.root.getinfo(file.at).file_size


def _place(file: File) -> str:
    """Return what is the same for one file, whichever way it was found."""
    if isinstance(file, Path):
        return os.path.realpath(file)
    return os.path.join(os.path.realpath(file.root.filename or ""), file.at)  # noqa: PTH118 (its end counts)


def open_file(file: File) -> Record:
    """Open a record, or the index of one in parts; a stored one is mapped inside its archive."""
    if isinstance(file, Path):
        return open_record(file, index=True)
    return read_record(_bytes(file), path=str(file), index=True)


def pieces(file: File) -> Iterator[bytes]:
    """Yield the bytes of a file in pieces; raises RecordError for one that cannot be read."""
    if not isinstance(file, Path):
        data = _bytes(file)
        yield from (data[at : at + PIECE_BYTES].tobytes() for at in range(0, data.size, PIECE_BYTES))
        return
    try:
        with file.open("rb") as opened:
            while piece := opened.read(PIECE_BYTES):
                yield piece
    except OSError as error:
        raise RecordError(f"cannot be read: {error.strerror or error}", path=file) from error


def _bytes(file: zipfile.Path) -> NDArray[np.uint8]:
    return member_bytes(file.root.filename or "", file.root.getinfo(file.at))


# What the distributions say


class Claim(NamedTuple):
    """What the RECORD of an installed distribution says of a record, which should lie at `file`."""

    distribution: str
    version: str
    file: File
    row: Row


def claims() -> Mapping[str, Claim]:
    """Return what the RECORDs of all installed distributions say of records, by the places of these.

    Each RECORD is read once. Where two list one file, the one counts whose distribution is imported. An editable
    installation lists nothing of its package.
    """
    found: dict[str, Claim] = {}
    for distribution in importlib.metadata.distributions():
        text = distribution.read_text("RECORD")
        if not text or ".mpk" not in text:
            continue
        for name, row in _rows(text):
            located: object = distribution.locate_file(name)
            file = located if isinstance(located, zipfile.Path) else Path(str(located))
            found.setdefault(
                _place(file), Claim(_said(distribution, "Name"), _said(distribution, "Version"), file, row)
            )
    return found


def packages_with_records() -> list[str]:
    """Return the packages that installed distributions list records of, by the names that they are imported by."""
    texts = (distribution.read_text("RECORD") or "" for distribution in importlib.metadata.distributions())
    names = {name.partition("/")[0] for text in texts if ".mpk" in text for name, _ in _rows(text)}
    return sorted(filter(str.isidentifier, names))


def claim_of(file: File, known: Mapping[str, Claim]) -> Claim | None:
    """Return what is said of a file."""
    return known.get(_place(file))


def _rows(text: str) -> Iterator[tuple[str, Row]]:
    """Yield the names of records in RECORD, and their rows; lines that are malformed are left to installers."""
    for line in text.splitlines():
        fields = _fields(line)
        if len(fields) == 3 and is_record(fields[0]) and "\0" not in fields[0]:
            yield fields[0], row_from(*fields[1:])


def _fields(line: str) -> list[str]:
    try:
        return [field for row in csv.reader([line]) for field in row]
    except csv.Error:
        return []
