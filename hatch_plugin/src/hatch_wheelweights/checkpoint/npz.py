"""Reading numpy's `.npz`: arrays by name, in a zip archive of `.npy` files.

Knows the format as far as numpy writes it for arrays of numbers (numpy/lib/format.py, versions 1 and 2), and that a
file may lie: what a header says is compared with the bytes that are there, and arrays of objects, which are pickles,
are refused. The arrays are read when they are wanted, one at a time.
"""

from __future__ import annotations

import math
import re
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final

import numpy as np

from hatch_wheelweights.checkpoint.files import open_file
from hatch_wheelweights.checkpoint.zip_members import checked_members, contents
from hatch_wheelweights.deflate import crc32
from hatch_wheelweights.errors import CheckpointError
from wheelweights.dtypes import dtype_name
from wheelweights.errors import DtypeError, WheelweightsError, backticked

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping
    from pathlib import Path

    from numpy.typing import NDArray

    from hatch_wheelweights.checkpoint.files import OpenFile
    from hatch_wheelweights.checkpoint.zip_members import Member

__all__ = ["Npz", "NpzArray", "open_npz"]

MAX_ARRAYS_BYTES: Final = 256 << 20  # of all arrays together: a few inputs and outputs, not a data set
MAX_ARRAYS: Final = 10_000

# Numpy reads any literal of Python here; what it writes, in versions 1 and 2 of the format, is this
_HEADER: Final = re.compile(
    rb"\x93NUMPY(?:\x01\x00(?P<size1>..)|\x02\x00(?P<size2>....))(?P<text>"
    rb"\{'descr': '(?P<dtype>[<>|]?[a-zA-Z]\d{0,9})', 'fortran_order': (?P<fortran>True|False), "
    rb"'shape': \((?P<shape>(?:\d{1,19}(?:, ?|(?=\)))){0,64})\), \} *\n)",
    re.DOTALL,
)
_REMEDY: Final = "Make it again, in torch with hatch_wheelweights.golden, or with numpy.savez."


@dataclass(frozen=True)
class NpzArray:
    """One array of an open `.npz`: what `write_record` takes.

    `nbytes` are those of the elements.
    """

    key: str
    dtype: str
    shape: tuple[int, ...]
    nbytes: int
    tie: object
    _file: OpenFile
    _member: Member
    _stored: np.dtype[Any]
    _fortran: bool

    def blocks(self) -> Iterator[NDArray[Any]]:
        """Yield the elements in C order, little-endian, in blocks of about 1 MiB.

        An array that lies in another order comes as one block. Raises CheckpointError for bytes that are damaged, and
        for a bool that is neither 0 nor 1.
        """
        try:
            pieces = self._whole() if self._fortran and len(self.shape) > 1 else self._in_order()
            for piece in pieces:
                yield piece.astype(self._stored.newbyteorder("<"), copy=False)
        except CheckpointError as error:
            raise _unusable(error.fact, self._file) from error

    def _whole(self) -> Iterator[NDArray[Any]]:
        self._file.account.charge(0, 2 * self.nbytes)
        columns = np.concatenate([*self._in_order(), np.empty(0, self._stored)])
        yield columns.reshape(self.shape, order="F").reshape(-1)

    def _in_order(self) -> Iterator[NDArray[Any]]:
        """Yield the elements as they lie in the file; check them on the way."""
        crc, header, rest = 0, self._member.size - self.nbytes, b""
        for piece in contents(self._file, self._member):
            crc = crc32(piece, crc)
            data = rest + piece[header:]
            header = max(header - len(piece), 0)
            end = len(data) - len(data) % self._stored.itemsize
            rest = data[end:]
            raw = np.frombuffer(data[:end], np.uint8)
            if self.dtype == "bool" and raw.max(initial=0) > 1:
                raise CheckpointError(f"array {backticked(self.key)} has bools that are neither 0 nor 1")
            yield raw.view(self._stored)
        if crc != self._member.crc:
            expected = f"expected CRC-32 {self._member.crc:08x}, found {crc:08x}"
            raise CheckpointError(f"array {backticked(self.key)} is damaged: {expected}")


@dataclass(frozen=True)
class Npz:
    """An open `.npz`: the file, which stays open as long as this or one of its arrays lives, and the arrays."""

    file: OpenFile
    arrays: Mapping[str, NpzArray]


def open_npz(path: Path) -> Npz:
    """Open an `.npz` and read what it says of its arrays; no array is read yet.

    Raises CheckpointError, which names the path, for a file that is not there or is none, and for arrays that a record
    cannot hold.
    """
    try:
        file = open_file(path)
    except CheckpointError as error:
        fact = "cannot be opened: there is no such file" if not path.exists() else f"not an .npz: {error.fact}"
        raise CheckpointError(fact, path=str(path), remedy=_REMEDY) from error
    try:
        return Npz(file, _arrays(file))
    except WheelweightsError as error:
        file.close()
        raise _unusable(error.fact, file) from error


def _unusable(fact: object, file: OpenFile) -> CheckpointError:
    return CheckpointError(fact, path=str(file.path), remedy=_REMEDY)


def _arrays(file: OpenFile) -> dict[str, NpzArray]:
    if file[:2] != b"PK":
        raise CheckpointError("expected an .npz, which is a zip archive, found something else")
    members = checked_members(file)
    if len(members) > MAX_ARRAYS:
        raise CheckpointError(f"expected at most {MAX_ARRAYS:,} arrays, found {len(members):,}")
    total = sum(member.size for member in members)
    if total > MAX_ARRAYS_BYTES:
        raise CheckpointError(f"expected arrays of at most {MAX_ARRAYS_BYTES:,} bytes together, found {total:,}")
    arrays: dict[str, NpzArray] = {}
    for member in members:
        key = member.name.removesuffix(".npy")
        if key == member.name or key in arrays:
            what = "a name that it has once" if key in arrays else "the name of an .npy file"
            raise CheckpointError(f"expected {what}, found {backticked(member.name)}")
        arrays[key] = _array(file, member, key)
    return arrays


def _dtype(code: str, key: str) -> tuple[np.dtype[Any], str]:
    """Return the dtype of a header, as numpy and as a record names it."""
    try:
        dtype = np.dtype(code)
    except TypeError as error:
        raise CheckpointError(f"array {backticked(key)}: expected numbers, found {backticked(code)}") from error
    try:
        return dtype, dtype_name(dtype)
    except DtypeError as error:
        raise CheckpointError(f"array {backticked(key)}: expected numbers, found {backticked(dtype.name)}") from error


def _array(file: OpenFile, member: Member, key: str) -> NpzArray:
    """Read the header of an array, and compare it with the bytes that follow."""
    header = _HEADER.match(next(contents(file, member), b""))
    if header is None:
        raise CheckpointError(f"array {backticked(key)}: expected the header of an array of numbers, found another")
    dtype, name = _dtype(header["dtype"].decode(), key)
    shape = tuple(map(int, header["shape"].replace(b",", b" ").split()))
    size = int.from_bytes(header["size1"] or header["size2"], "little")
    start = header.start("text") + size
    nbytes = math.prod(shape) * dtype.itemsize
    if size != len(header["text"]) or nbytes != member.size - start:
        found = f"{member.size - start:,} behind a header of {size:,}"
        raise CheckpointError(f"array {backticked(key)}: expected {nbytes:,} bytes for shape {shape}, found {found}")
    return NpzArray(key, name, shape, nbytes, (id(file), key), file, member, dtype, header["fortran"] == b"True")
