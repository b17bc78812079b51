"""The audit of a finished wheel: opened again, it holds every record, and nothing that it must not hold.

The last account of a build (each hand-over before it has its own): every record stands at its place once and whole, in
the folder of a package; no checkpoint is there under any name; no record is left from an earlier build; and what the
records need is required.
"""

from __future__ import annotations

import zipfile
from dataclasses import dataclass
from email import message_from_bytes
from pathlib import Path, PurePosixPath
from typing import TYPE_CHECKING, Final

from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

from hatch_wheelweights.copies import is_copy
from hatch_wheelweights.errors import ConfigError, Fault, Faults
from wheelweights import RecordError
from wheelweights.archives import member_bytes
from wheelweights.errors import backticked, counted, listed, nearest
from wheelweights.plain import is_dict
from wheelweights.record import read_record, recognises

if TYPE_CHECKING:
    from collections.abc import Collection, Iterator, Mapping, Sequence

__all__ = ["CODE", "Contents", "audit", "no_package"]

_HEAD: Final = 64
CODE: Final = (".py", ".pyi", ".so", ".pyd")


@dataclass(frozen=True)
class Contents:
    """What a wheel is to hold, and what not.

    `records` are the files of the records by their places in the wheel, `crcs` the CRC-32s with which they were put
    there, `checkpoints` the files that they were made from, `sources` the names that records may say they were made
    from, `requirements` what METADATA has to require.
    """

    records: Mapping[str, Path]
    crcs: Mapping[str, int]
    checkpoints: Sequence[Path]
    sources: Collection[str]
    requirements: Sequence[str]


def audit(wheel: Path, expected: Contents) -> tuple[str, list[str]]:
    """Open a finished wheel and compare it with what it is to hold; return a line that says so, and warnings.

    Reads the directory of the archive, the beginnings of records, and of other files only those that have the size of
    a checkpoint. Raises ConfigError, which names the wheel, with everything that is wrong.
    """
    faults = Faults()
    with zipfile.ZipFile(wheel) as archive:
        members = archive.infolist()
        for place, file in expected.records.items():
            found = [one for one in members if one.filename == place]
            _check_record(archive, found, place, (file.stat().st_size, expected.crcs[place]), faults)
        _check_checkpoints(archive, members, expected.checkpoints, faults)
        _check_packages(expected.records, [one.filename for one in members], faults)
        others = _other_records(wheel, archive, members, expected.records)
        _check_requirements(archive, members, expected.requirements, faults)
    warnings = list(_judge(others, expected.sources, faults))
    if faults:
        raise ConfigError(*faults, path=wheel.name)
    warnings += _misspelt_folders(expected.records, [one.filename for one in members])
    whole = counted(len(expected.records), "record")
    return f"{whole} whole, no checkpoint, nothing left from earlier builds; what they need is required", warnings


def _check_record(
    archive: zipfile.ZipFile, found: Sequence[zipfile.ZipInfo], place: str, expected: tuple[int, int], faults: Faults
) -> None:
    if len(found) != 1:
        faults.add(None, f"expected {backticked(place)} once, found it {len(found)} times", remedy=_AGAIN)
        return
    (member,) = found
    with archive.open(member) as content:
        is_record = recognises(content.read(_HEAD))
    if not is_record or (member.file_size, member.CRC) != expected:
        size, crc = expected
        fact = f"expected {backticked(place)} of {size:,} bytes with CRC-32 {crc:08x}, found another file there"
        faults.add(None, fact, remedy=_AGAIN)


_AGAIN: Final = "Build it again; another build hook may have changed the wheel."


def _check_checkpoints(
    archive: zipfile.ZipFile, members: Sequence[zipfile.ZipInfo], checkpoints: Sequence[Path], faults: Faults
) -> None:
    by_size: dict[int, list[Path]] = {}
    for checkpoint in checkpoints:
        by_size.setdefault(checkpoint.stat().st_size, []).append(checkpoint)
    for member in members:
        for checkpoint in by_size.get(member.file_size, ()):
            with archive.open(member) as content:
                found = is_copy(content, checkpoint)
            if found:
                fact = f"expected no checkpoint, found {backticked(checkpoint.name)} at {backticked(member.filename)}"
                faults.add(None, fact, remedy="Take it, or its folder, out of force-include and shared-data.")


def _check_packages(places: Collection[str], names: Sequence[str], faults: Faults) -> None:
    """Note records in folders that no code is in: nothing can be imported from there."""
    packages = {name.partition("/")[0] for name in names if "/" in name and name.endswith(CODE)}
    for place in places:
        top, below, _ = place.partition("/")
        if not below:
            faults.add(None, f"expected a record in a package, found {backticked(place)} in none", remedy=_IN_A_PACKAGE)
        elif top not in packages:
            faults.append(no_package(place, packages))


def no_package(place: str, packages: Collection[str]) -> Fault:
    """Return the fault of a record that goes into a folder without code; `packages` are the folders with code."""
    top = place.partition("/")[0]
    near = nearest(top, packages)
    fact = f"expected a package at {backticked(top)}, where {backticked(place)} is, found no code in that folder"
    return Fault(None, fact, remedy=f"Did you mean {backticked(near)}? Correct the output." if near else _IN_A_PACKAGE)


_IN_A_PACKAGE: Final = "Give it an output in the folder of the package (one with an __init__.py)."


def _misspelt_folders(places: Collection[str], names: Sequence[str]) -> Iterator[str]:
    """Yield a warning for each record in a folder of its own that is named almost like one with code."""
    with_code = {str(PurePosixPath(name).parent) for name in names if name.endswith(CODE)}
    for place in places:
        folder = PurePosixPath(place).parent
        siblings = [one for one in with_code if PurePosixPath(one).parent == folder.parent]
        if str(folder) not in with_code and (near := nearest(str(folder), siblings)):
            yield f"{place} is in a folder without code, beside {near}: is its output misspelt?"


def _other_records(
    wheel: Path, archive: zipfile.ZipFile, members: Sequence[zipfile.ZipInfo], places: Collection[str]
) -> list[tuple[str, str]]:
    """Return the places of records that are not among these, each with the name that it says it was made from."""
    found: list[tuple[str, str]] = []
    for member in members:
        if not member.filename.endswith(".mpk") or member.filename in places:
            continue
        with archive.open(member) as content:
            if not recognises(content.read(_HEAD)):
                continue
        found.append((member.filename, _made_from(wheel, member)))
    return found


def _made_from(wheel: Path, member: zipfile.ZipInfo) -> str:
    try:
        record = read_record(member_bytes(wheel, member), path=member.filename, index=True)
    except RecordError:
        return ""
    source = record.metadata.get("source")
    return str(source.get("name")) if is_dict(source) else ""


def _judge(others: Sequence[tuple[str, str]], sources: Collection[str], faults: Faults) -> Iterator[str]:
    """Note the records that an earlier build left, and yield a warning for the others."""
    for place, source in others:
        if source in sources:
            fact = f"expected no record but those that are declared, found {backticked(place)}, made from {source} too"
            remedy = "Remove it, if an earlier build left it (its output had another name?), or declare it as a record."
            faults.add(None, fact, remedy=remedy)
        else:
            yield f"{place} is a record that this project does not declare, made from {source or 'an unknown source'}"


def _check_requirements(
    archive: zipfile.ZipFile, members: Sequence[zipfile.ZipInfo], requirements: Sequence[str], faults: Faults
) -> None:
    (metadata,) = (one for one in members if one.filename.endswith(".dist-info/METADATA"))
    required = message_from_bytes(archive.read(metadata)).get_all("Requires-Dist", [])
    found = {(canonicalize_name(one.name), str(one.specifier)) for one in map(Requirement, required)}
    names = {name for name, _ in found}
    missing = [
        one
        for one in map(Requirement, requirements)
        if (canonicalize_name(one.name), str(one.specifier)) not in found and (one.specifier or one.name not in names)
    ]
    if missing:
        faults.add(None, f"expected it to require {listed(missing)}, found {listed(required)}", remedy=_AGAIN)
