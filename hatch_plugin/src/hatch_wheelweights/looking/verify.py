"""Whether a record or a wheel is as it was written: every byte is read.

A wheel says what it holds in four ways: the directory of the zip archive, the headers before its files (`wheels` has
compared the two), a CRC-32 of each file, and RECORD, its own list of files, with a digest and a size of each (Python
Packaging User Guide, "Binary distribution format" and "Recording installed projects"). All of them must agree, and each
record in it must be sound by itself.
"""

from __future__ import annotations

import base64
import csv
import hashlib
import io
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final, NamedTuple

from hatch_wheelweights.errors import CheckpointError
from hatch_wheelweights.looking.files import kind_of, open_file
from hatch_wheelweights.looking.wheels import WHEEL_AGAIN, Wheel, is_listing, is_record
from hatch_wheelweights.opening import Checkpoint
from wheelweights import RecordError
from wheelweights.errors import WheelweightsError, backticked, listed, quoted

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    from wheelweights import Record

__all__ = ["Verdict", "verify_file"]


@dataclass(frozen=True)
class Verdict:
    """What was found of a record, of a wheel, or of a file in a wheel: `fault` is the first thing wrong with it.

    `kind` is that of `kind_of`, or "file". Of a sound record `parts` counts the tensors, of a sound wheel the files;
    `nbytes` counts the bytes of them.
    """

    path: str
    kind: str
    parts: int = 0
    nbytes: int = 0
    fault: WheelweightsError | None = None


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
            yield _verdict_of_record(file)


def _verdict_of_record(record: Record) -> Verdict:
    record.verify()
    return Verdict(record.path, kind_of(record), len(record), sum(record.info(key).nbytes for key in record))


# A wheel


def _verdicts_of_wheel(wheel: Wheel) -> Iterator[Verdict]:
    listing: _Listing | None = None
    faulty: set[str | None] = set()
    try:
        listing = _read_listing(wheel)
    except RecordError as fault:
        faulty.add(fault.path)
        yield Verdict(wheel.path, "wheel", fault=fault)
    for name in wheel.files:
        verdict = None if f"{wheel.path}/{name}" in faulty else _verdict_of_file(wheel, name, listing)
        if verdict is not None:
            yield verdict
            faulty |= {verdict.path} if verdict.fault else set()
    if not faulty:
        yield Verdict(wheel.path, "wheel", len(wheel.files), sum(member.size for member in wheel.files.values()))


def _verdict_of_file(wheel: Wheel, name: str, listing: _Listing | None) -> Verdict | None:
    """Return the verdict of a file in a wheel; None for one that is sound, but no record.

    A record is asked first, because it knows which tensor is damaged.
    """
    kind = "record" if is_record(name) else "file"
    try:
        verdict = _verdict_of_record(wheel.open(name)) if kind == "record" else None
        _check_file(wheel, name, None if listing is None else _row_of(listing, name))
    except WheelweightsError as fault:
        path = f"{wheel.path}/{name}"
        fault.path = fault.path or path
        return Verdict(path, kind, fault=fault)
    return verdict


def _check_file(wheel: Wheel, name: str, row: _Row | None) -> None:
    """Compare a file with its CRC-32 and, if it has one, with its row in RECORD."""
    hasher = hashlib.new(row.algorithm if row else "sha256")
    for piece in wheel.pieces(name):
        hasher.update(piece)
    if row is None:
        return
    size, digest = str(wheel.files[name].size), base64.urlsafe_b64encode(hasher.digest()).rstrip(b"=").decode()
    if row.size != size:
        raise RecordError(f"expected {quoted(row.size)} bytes, as RECORD says, found {size}", remedy=WHEEL_AGAIN)
    if row.digest != digest:
        fact = f"expected {row.algorithm} {quoted(row.digest)}, as RECORD says, found {quoted(digest)}"
        raise RecordError(fact, remedy=WHEEL_AGAIN)


# RECORD

_ALGORITHMS: Final = {"sha256", "sha384", "sha512"}  # the specification: sha256 or better
_SIGNATURES: Final = (".jws", ".p7s")
_ROW_BYTES: Final = 256  # more than a row has beside the name


class _Row(NamedTuple):
    """What RECORD says of a file."""

    algorithm: str
    digest: str
    size: str


class _Listing(NamedTuple):
    """RECORD: its rows by the names of the files, and the files that need no digest: itself and its signatures."""

    rows: Mapping[str, _Row]
    unlisted: frozenset[str]


def _row_of(listing: _Listing, name: str) -> _Row | None:
    """Return what a file is to be compared with; None if nothing is to be said of it."""
    row = listing.rows.get(name)
    if name in listing.unlisted:
        if row not in (None, _Row("", "", "")):
            raise RecordError("expected neither digest nor size of RECORD itself in RECORD", remedy=WHEEL_AGAIN)
        return None
    if row is None:
        raise RecordError("is not listed in RECORD", remedy=WHEEL_AGAIN)
    if row.algorithm not in _ALGORITHMS:
        fact = f"expected a digest of SHA-256 or better in RECORD, found {quoted(row.algorithm)}"
        raise RecordError(fact, remedy=WHEEL_AGAIN)
    return row


def _read_listing(wheel: Wheel) -> _Listing:
    """Return what RECORD says, checked to name each file once at most, and nothing that is not there."""
    name = _find_listing(wheel)
    path = f"{wheel.path}/{name}"
    limit = sum(_ROW_BYTES + 2 * len(each.encode()) for each in wheel.files)  # quotes are doubled
    if wheel.files[name].size > limit:
        fact = f"expected at most {limit:,} bytes for the files there are, found {wheel.files[name].size:,}"
        raise RecordError(fact, path=path, remedy=WHEEL_AGAIN)
    rows: dict[str, _Row] = {}
    content = io.TextIOWrapper(io.BytesIO(b"".join(wheel.pieces(name))), "utf-8", newline="")
    try:
        for row in csv.reader(content, strict=True):
            _add_row(rows, row, wheel)
    except (csv.Error, UnicodeDecodeError, RecordError) as error:
        fact = str(error.fact) if isinstance(error, RecordError) else f"malformed: {error}"
        raise RecordError(fact, path=path, remedy=WHEEL_AGAIN) from error
    return _Listing(rows, frozenset((name, *(name + ending for ending in _SIGNATURES))))


def _find_listing(wheel: Wheel) -> str:
    folders = {name.partition("/")[0] for name in wheel.files if ".dist-info/" in name}
    found = sorted(folder for folder in folders if folder.endswith(".dist-info"))
    listings = [name for name in wheel.files if is_listing(name)]
    if len(found) != 1 or len(listings) != 1:
        fact = f"expected one folder *.dist-info with a RECORD in it, found {listed(found)}"
        raise RecordError(fact, path=wheel.path, remedy=WHEEL_AGAIN)
    return listings[0]


def _add_row(rows: dict[str, _Row], row: list[str], wheel: Wheel) -> None:
    if len(row) != 3:
        raise RecordError(f"expected rows of a name, a digest and a size, found {quoted(row)}")
    name, digest, size = row
    if name not in wheel.files:
        raise RecordError(f"lists {backticked(name)}, which is not in the wheel")
    if name in rows:
        raise RecordError(f"lists {backticked(name)} twice")
    algorithm, _, value = digest.partition("=")
    rows[name] = _Row(algorithm, value, size)
