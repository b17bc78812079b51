"""Whether a record, or a wheel, is as it was written: every byte is read.

A wheel says what it holds in four ways: the directory of the zip archive, the headers before its files (`wheels` has
compared the two), a CRC-32 of each file, and RECORD (`listing`). All of them must agree, and each record in it must be
sound by itself. Records of installed packages are the business of `verify_package`.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from hatch_wheelweights.errors import CheckpointError
from hatch_wheelweights.looking.files import kind_of, open_file, part_of_record, parts_in
from hatch_wheelweights.looking.listing import difference, read_listing, row_of
from hatch_wheelweights.looking.wheels import WHEEL_AGAIN, Wheel, is_record
from hatch_wheelweights.opening import Checkpoint
from hatch_wheelweights.progress import advance, working
from wheelweights import RecordError
from wheelweights.errors import WheelweightsError

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

    from hatch_wheelweights.looking.listing import Listing
    from wheelweights import Record

__all__ = ["Verdict", "bytes_of", "telling", "verdict_of_record", "verify_file"]


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
            with working(f"Verifying {path}", bytes_of(file)):
                verdict = verdict_of_record(file)
            yield verdict


def verdict_of_record(record: Record) -> Verdict:
    """Check every byte of a record and return that it is sound; raise RecordError if it is not."""
    record.verify(progress=advance)
    parts = parts_in(record)
    count = sum(part.count for part in parts) if parts else len(record)
    nbytes = sum(record.info(key).nbytes for key in record)
    requirements = tuple(part.requirement for part in parts)
    return Verdict(record.path, kind_of(record), count, nbytes, parts=requirements, part_of=part_of_record(record))


def bytes_of(record: Record) -> int:
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
        verdict = verdict_of_record(wheel.open(name)) if kind == "record" else None
        _check_file(wheel, name, listing)
    except WheelweightsError as fault:
        path = f"{wheel.path}/{name}"
        fault.path = fault.path or path
        return Verdict(path, kind, fault=fault)
    return verdict


def _check_file(wheel: Wheel, name: str, listing: Listing | None) -> None:
    """Compare a file with its CRC-32 and, if it has one, with its row in RECORD."""
    row = None if listing is None else row_of(listing, name)
    pieces = telling(wheel.pieces(name))
    if row is None:
        for _ in pieces:
            pass
    elif fact := difference(row, pieces):
        raise RecordError(fact, remedy=WHEEL_AGAIN)


def telling(pieces: Iterable[bytes]) -> Iterator[bytes]:
    """Yield the same pieces, and tell what shows progress of each."""
    for piece in pieces:
        advance(len(piece))
        yield piece
