"""Whether the records of an installed package are as they were written: every byte is read.

Besides what `verify` checks of a record, the RECORD of the distribution that installed it says something too. Where the
tensors of a record are in distributions of their own, those are checked as well. Finding out what is installed takes
long to import, so no other command pays for it.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from hatch_wheelweights.looking import installed
from hatch_wheelweights.looking.listing import difference
from hatch_wheelweights.looking.verify import Verdict, bytes_of, telling, verdict_of_record
from hatch_wheelweights.progress import advance, working
from wheelweights import RecordError
from wheelweights.errors import MissingRecordError, WheelweightsError, backticked, printable
from wheelweights.parts import join

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping
    from contextlib import AbstractContextManager

    from hatch_wheelweights.looking.installed import Claim, File, Package
    from wheelweights import Record
    from wheelweights.parts import Part

__all__ = ["verify_package"]


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
            verdict = verdict_of_record(record)
            _check_claim(file, known)
        return _verdict_of_parts(record, verdict, known) if verdict.parts else verdict
    except WheelweightsError as fault:
        fault.path = fault.path or str(file)
        return Verdict(str(file), "record", fault=fault)


def _working_on(record: Record, file: File, known: Mapping[str, Claim]) -> AbstractContextManager[None]:
    readings = 1 if installed.claim_of(file, known) is None else 2
    return working(f"Verifying {record.path}", readings * bytes_of(record))


def _check_claim(file: File, known: Mapping[str, Claim]) -> None:
    """Compare an installed file with the RECORD of its distribution, if that lists it."""
    claim = installed.claim_of(file, known)
    if claim is None:
        return
    said = f"the RECORD of {printable(claim.distribution)} {printable(claim.version)}"
    if fact := difference(claim.row, telling(installed.pieces(file)), said):
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
