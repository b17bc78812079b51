"""RECORD: the list of files of a wheel or of an installed distribution, with a digest and a size of each.

Python Packaging User Guide, "Binary distribution format" and "Recording installed projects". The RECORD of a wheel
lists each of its files once, with a digest of SHA-256 or better, and itself without one. Its signatures, RECORD.jws and
RECORD.p7s, are not listed. A size may be left out.
"""

from __future__ import annotations

import csv
import hashlib
import io
from base64 import urlsafe_b64encode
from typing import TYPE_CHECKING, Final, NamedTuple

from hatch_wheelweights.looking.wheels import WHEEL_AGAIN, is_listing
from wheelweights import RecordError
from wheelweights.errors import backticked, listed, quoted

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

    from hatch_wheelweights.looking.wheels import Wheel

__all__ = ["Listing", "Row", "difference", "read_listing", "row_from", "row_of"]

_ALGORITHMS: Final = {  # sha256 or better, of those that every Python has
    "sha256", "sha384", "sha512", "sha3_256", "sha3_384", "sha3_512", "blake2b", "blake2s",
}  # fmt: skip
_SIGNATURES: Final = (".jws", ".p7s")
_ROW_BYTES: Final = 256  # more than a row has beside the name


class Row(NamedTuple):
    """What RECORD says of a file; each is empty if it says nothing."""

    algorithm: str
    digest: str
    size: str


class Listing(NamedTuple):
    """The RECORD of a wheel: its own name, and its rows by the names of the files."""

    name: str
    rows: Mapping[str, Row]


def row_from(digest: str, size: str) -> Row:
    """Return what two fields of RECORD say of a file: `sha256=...` and a number."""
    algorithm, _, value = digest.partition("=")
    return Row(algorithm, value, size)


def difference(row: Row, pieces: Iterable[bytes], record: str = "RECORD") -> str | None:
    """Return how a file differs from its row in RECORD, all of it read; None if it does not.

    What the row does not say is not compared. `record` is what the message calls RECORD.
    """
    hasher = hashlib.new(row.algorithm if row.algorithm in _ALGORITHMS else "sha256")
    size = 0
    for piece in pieces:
        hasher.update(piece)
        size += len(piece)
    digest = urlsafe_b64encode(hasher.digest()).rstrip(b"=").decode()
    if row.size not in ("", str(size)):
        return f"expected {quoted(row.size)} bytes, as {record} says, found {size}"
    if row.digest and row.digest != digest and row.algorithm in _ALGORITHMS:
        return f"expected {row.algorithm} {quoted(row.digest)}, as {record} says, found {quoted(digest)}"
    return None


# The RECORD of a wheel


def row_of(listing: Listing, name: str) -> Row | None:
    """Return what a file of a wheel is to be compared with; None if nothing is to be said of it.

    Raises RecordError for a file that RECORD does not list as it should.
    """
    row = listing.rows.get(name)
    if name == listing.name:
        if row not in (None, Row("", "", "")):
            raise RecordError("expected neither digest nor size of RECORD itself in RECORD", remedy=WHEEL_AGAIN)
        return None
    if name in {listing.name + ending for ending in _SIGNATURES}:
        if row is not None:
            raise RecordError("is listed in RECORD, which it is a signature of", remedy=WHEEL_AGAIN)
        return None
    if row is None:
        raise RecordError("is not listed in RECORD", remedy=WHEEL_AGAIN)
    if row.algorithm not in _ALGORITHMS:
        fact = f"expected a digest of SHA-256 or better in RECORD, found {quoted(row.algorithm)}"
        raise RecordError(fact, remedy=WHEEL_AGAIN)
    return row


def read_listing(wheel: Wheel) -> Listing:
    """Return what the RECORD of a wheel says, checked to name each file once at most, and nothing that is not there.

    Raises RecordError, with the path, if it does not.
    """
    name = _find_listing(wheel)
    path = f"{wheel.path}/{name}"
    limit = sum(_ROW_BYTES + 2 * len(each.encode()) for each in wheel.files)  # quotes are doubled
    if wheel.files[name].size > limit:
        fact = f"expected at most {limit:,} bytes for the files there are, found {wheel.files[name].size:,}"
        raise RecordError(fact, path=path, remedy=WHEEL_AGAIN)
    rows: dict[str, Row] = {}
    content = io.TextIOWrapper(io.BytesIO(b"".join(wheel.pieces(name))), "utf-8", newline="")
    try:
        for row in csv.reader(content, strict=True):
            _add_row(rows, row, wheel)
    except (csv.Error, UnicodeDecodeError, RecordError) as error:
        fact = str(error.fact) if isinstance(error, RecordError) else f"malformed: {error}"
        raise RecordError(fact, path=path, remedy=WHEEL_AGAIN) from error
    return Listing(name, rows)


def _find_listing(wheel: Wheel) -> str:
    folders = {name.partition("/")[0] for name in wheel.files if ".dist-info/" in name}
    found = sorted(folder for folder in folders if folder.endswith(".dist-info"))
    listings = [name for name in wheel.files if is_listing(name)]
    if len(found) != 1 or len(listings) != 1:
        fact = f"expected one folder *.dist-info with a RECORD in it, found {listed(found)}"
        raise RecordError(fact, path=wheel.path, remedy=WHEEL_AGAIN)
    return listings[0]


def _add_row(rows: dict[str, Row], row: list[str], wheel: Wheel) -> None:
    if len(row) != 3:
        raise RecordError(f"expected rows of a name, a digest and a size, found {quoted(row)}")
    name, digest, size = row
    if name not in wheel.files:
        raise RecordError(f"lists {backticked(name)}, which is not in the wheel")
    if name in rows:
        raise RecordError(f"lists {backticked(name)} twice")
    rows[name] = row_from(digest, size)
