"""Whether a record, a wheel, or the records of an installed package are as they were written: every byte is read.

A wheel says what it holds in four ways: the directory of the zip archive, the headers before its files (`wheels` has
compared the two), a CRC-32 of each file, and RECORD (`listing`). All of them must agree, and each record in it must be
sound by itself. Of an installed record the distribution's RECORD says something too. Where the tensors of a record are
in distributions of their own, those are checked if the record is installed.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from hatch_wheelweights.errors import CheckpointError
from hatch_wheelweights.looking import installed
from hatch_wheelweights.looking.files import kind_of, open_file, part_of_record, parts_in
from hatch_wheelweights.looking.listing import difference, read_listing, row_of
from hatch_wheelweights.looking.wheels import WHEEL_AGAIN, Wheel, is_record
from hatch_wheelweights.opening import Checkpoint
from hatch_wheelweights.progress import advance, working
from wheelweights import RecordError
from wheelweights.errors import MissingRecordError, WheelweightsError, backticked, printable
from wheelweights.parts import join

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Mapping
    from contextlib import AbstractContextManager

    from hatch_wheelweights.looking.installed import Claim, File, Package
    from hatch_wheelweights.looking.listing import Listing
    from wheelweights import Record
    from wheelweights.parts import Part

__all__ = ["Verdict", "verify_file", "verify_package"]


@dataclass(frozen=True)
class Verdict:
    """What was found of a record, of a wheel, or of a file in a wheel: `fault` is the first thing wrong with it.

    `kind` is that of `kind_of`, or "file". Of a sound record `count` is the number of tensors, of a sound wheel that of
    the files; `nbytes` counts the bytes of them. `parts` are the distributions that hold the tensors of a record, as
    requirements (`big-weights-1==3`): of a "record-index" they were not looked at, of a "record" they are sound.
    `part_of` is the distribution that a part of a record belongs to.
    """

    path: str
    kind: str
    count: int = 0
    nbytes: int = 0
    fault: WheelweightsError | None = None
    parts: tuple[str, ...] = ()
    part_of: str | None = None


def verify_file(path: str) -> Iterator[Verdict]:
    """Check every byte of a record, or of a wheel and each record in it; yield a verdict for each.

    Other files of a wheel are mentioned only if they are faulty, and the wheel itself, at the end, only if nothing in
    it is. Raises WheelweightsError for a file that is neither, or that cannot be opened at all.
    """
    file = open_file(path)
    with file:
        if isinstance(file, Checkpoint):
            fact = f"expected a record or a wheel, found a checkpoint ({file.kind})"
            remedy = "Convert it into a record: wheelweights convert SOURCE OUTPUT"
            raise CheckpointError(fact, path=path, remedy=remedy)
        if isinstance(file, Wheel):
            yield from _verdicts_of_wheel(file)
        else:
            with working(f"Verifying {path}", _payload(file)):
                verdict = _verdict_of_record(file)
            yield verdict


def _verdict_of_record(record: Record) -> Verdict:
    record.verify(progress=advance)
    parts = parts_in(record)
    count = sum(part.count for part in parts) if parts else len(record)
    nbytes = sum(record.info(key).nbytes for key in record)
    requirements = tuple(part.requirement for part in parts)
    return Verdict(record.path, kind_of(record), count, nbytes, parts=requirements, part_of=part_of_record(record))


def _payload(record: Record) -> int:
    """Return the bytes that verifying a record reads: of tied tensors, once."""
    infos = {key: record.info(key) for key in record}
    return sum({info.offset or key: info.nbytes for key, info in infos.items()}.values())


# A wheel


def _verdicts_of_wheel(wheel: Wheel) -> Iterator[Verdict]:
    listing: Listing | None = None
    faulty: set[str | None] = set()
    try:
        listing = read_listing(wheel)
    except RecordError as fault:
        faulty.add(fault.path)
        yield Verdict(wheel.path, "wheel", fault=fault)
    for name in wheel.files:
        verdict = None
        if f"{wheel.path}/{name}" not in faulty:
            readings = 2 if is_record(name) else 1
            with working(f"Verifying {wheel.path}/{name}", readings * wheel.files[name].size):
                verdict = _verdict_of_file(wheel, name, listing)
        if verdict is not None:
            yield verdict
            faulty |= {verdict.path} if verdict.fault else set()
    if not faulty:
        yield Verdict(wheel.path, "wheel", len(wheel.files), sum(member.size for member in wheel.files.values()))


def _verdict_of_file(wheel: Wheel, name: str, listing: Listing | None) -> Verdict | None:
    """Return the verdict of a file in a wheel; None for one that is sound, but no record.

    A record is asked first, because it knows which tensor is damaged.
    """
    kind = "record" if is_record(name) else "file"
    try:
        verdict = _verdict_of_record(wheel.open(name)) if kind == "record" else None
        _check_file(wheel, name, listing)
    except WheelweightsError as fault:
        path = f"{wheel.path}/{name}"
        fault.path = fault.path or path
        return Verdict(path, kind, fault=fault)
    return verdict


def _check_file(wheel: Wheel, name: str, listing: Listing | None) -> None:
    """Compare a file with its CRC-32 and, if it has one, with its row in RECORD."""
    row = None if listing is None else row_of(listing, name)
    pieces = _told(wheel.pieces(name))
    if row is None:
        for _ in pieces:
            pass
    elif fact := difference(row, pieces):
        raise RecordError(fact, remedy=WHEEL_AGAIN)


def _told(pieces: Iterable[bytes]) -> Iterator[bytes]:
    """Yield the same pieces, and tell what shows progress of each."""
    for piece in pieces:
        advance(len(piece))
        yield piece


# An installed package


def verify_package(name: str) -> Iterator[Verdict]:
    """Check every byte of each record that an installed package holds; yield a verdict for each.

    `name` is that by which the package is imported. Each record is compared with the RECORD of the distribution that
    installed it, and a record in parts is sound if all of its parts are. Nothing of the packages is executed. Raises
    WheelweightsError if there is no such package, or no record in it.
    """
    package = installed.find_package(name)
    records, known = package.records(), installed.claims()
    missing = [claim for place, claim in known.items() if package.holds(place) and not claim.file.exists()]
    if not records and not missing:
        raise installed.no_record(name)
    for claim in missing:
        fact = f"is missing, although it is listed in the RECORD of {claim.distribution} {claim.version}"
        fault = MissingRecordError(fact, path=str(claim.file), remedy=_reinstall(claim))
        yield Verdict(str(claim.file), "record", fault=fault)
    for file in records.values():
        yield _verdict_of_installed(file, known)


def _verdict_of_installed(file: File, known: Mapping[str, Claim]) -> Verdict:
    try:
        record = installed.open_file(file)
        with _working_on(record, file, known):
            verdict = _verdict_of_record(record)
            _check_claim(file, known)
        return _verdict_of_parts(record, verdict, known) if verdict.parts else verdict
    except WheelweightsError as fault:
        fault.path = fault.path or str(file)
        return Verdict(str(file), "record", fault=fault)


def _working_on(record: Record, file: File, known: Mapping[str, Claim]) -> AbstractContextManager[None]:
    readings = 1 if installed.claim_of(file, known) is None else 2
    return working(f"Verifying {record.path}", readings * _payload(record))


def _check_claim(file: File, known: Mapping[str, Claim]) -> None:
    """Compare an installed file with the RECORD of its distribution, if that lists it."""
    claim = installed.claim_of(file, known)
    if claim is None:
        return
    said = f"the RECORD of {printable(claim.distribution)} {printable(claim.version)}"
    if fact := difference(claim.row, _told(installed.pieces(file)), said):
        raise RecordError(fact, path=str(file), remedy=_reinstall(claim))


def _reinstall(claim: Claim) -> str:
    return f"Reinstall it: pip install --force-reinstall {printable(claim.distribution)}"


def _verdict_of_parts(index: Record, verdict: Verdict, known: Mapping[str, Claim]) -> Verdict:
    """Return the verdict of a record in parts: of all of them, and of how they fit together."""
    files: dict[Part, File] = {}
    records: dict[Part, Record] = {}

    def opened(part: Part) -> Record:
        package: Package = installed.find_package(part.package)
        found = package.records().get(part.name)
        if found is None:
            raise MissingRecordError(f"no record {backticked(part.name)} in package {backticked(part.package)}")
        files[part], records[part] = found, installed.open_file(found)
        return records[part]

    whole = join(index, opened, widen=False, reopen=None)
    for part, record in records.items():
        try:
            with _working_on(record, files[part], known):
                record.verify(progress=advance)
                _check_claim(files[part], known)
        except WheelweightsError as fault:
            fault.path = fault.path or record.path
            fault.details = (*fault.details, f"A part of {printable(index.path)}, in {part.requirement}.")
            raise
    nbytes = sum(whole.info(key).nbytes for key in whole)
    return Verdict(index.path, "record", len(whole), nbytes, parts=verdict.parts)
