"""Members of zip archives: a stored one is mapped inside the archive, a deflated one is read into memory.

Knows PKWARE's APPNOTE 6.3.10 as far as a package that is imported from an archive needs it. A member is believed only
as far as its two headers and the size of the archive agree. Knows nothing of records.
"""

from __future__ import annotations

import os
import struct
import zlib
from pathlib import Path
from typing import TYPE_CHECKING, Final

import numpy as np

from wheelweights.errors import RecordError
from wheelweights.record import aligned_buffer, read_only
from wheelweights.record.memory import mapped

if TYPE_CHECKING:
    import zipfile
    from collections.abc import Iterator
    from typing import BinaryIO

    from numpy.typing import NDArray

__all__ = ["INFLATED_RATIO", "MAX_INFLATED", "member_bytes"]

# Weights deflate to nine tenths; a member that claims to inflate far beyond this is made to fill the memory
MAX_INFLATED: Final = 256 << 20  # of a deflated member, plus INFLATED_RATIO times its deflated size
INFLATED_RATIO: Final = 64

_CHUNK: Final = 1 << 20
_STORED, _DEFLATED = 0, 8
_DESCRIPTOR_FLAG: Final = 0x8  # CRC-32 and sizes follow the data; the local header lacks them
_UTF8_FLAG: Final = 0x800
_KNOWN_FLAGS: Final = _DESCRIPTOR_FLAG | _UTF8_FLAG | 0x6  # and: how hard deflate tried
_ZIP64: Final = 1
_SEE_ZIP64: Final = 0xFFFFFFFF
_SIGNATURE: Final = b"PK\x03\x04"
_LOCAL: Final = struct.Struct("<4s2x2H4x3L2H")  # x: versions and times


def member_bytes(archive: str | os.PathLike[str], member: zipfile.ZipInfo, *, mmap: bool = True) -> NDArray[np.uint8]:
    """Return the bytes of a member of a zip archive, read-only: mapped if it is stored, else read into memory.

    `member` is an entry of the central directory, as `zipfile` reads it. It is believed only as far as the member's
    local header and the size of the archive agree with it. A deflated member may inflate to `MAX_INFLATED` bytes plus
    `INFLATED_RATIO` times its deflated size. The CRC-32 of what is read into memory is checked; that of a mapped member
    is not, because checking reads all of it.

    Raises RecordError, which names archive and member.
    """
    shown = f"{os.fspath(archive)}/{member.filename}"
    try:
        with Path(archive).open("rb") as file:
            start = _start_of_data(file, member)
            if mmap and member.compress_type == _STORED and member.file_size:
                return mapped(file.fileno(), os.path.abspath(archive), start, member.file_size)  # noqa: PTH100
            file.seek(start)
            return _in_memory(file, member)
    except RecordError as error:
        error.path = shown
        raise
    except (OSError, ValueError, struct.error) as error:
        reason = error.strerror if isinstance(error, OSError) and error.strerror else str(error)
        raise RecordError(f"cannot be read: {reason}", path=shown) from error


def _start_of_data(file: BinaryIO, member: zipfile.ZipInfo) -> int:
    """Return where the bytes of a member begin, checked to lie in the file; its two headers must agree."""
    method, flags = member.compress_type, member.flag_bits
    if method not in (_STORED, _DEFLATED) or flags & ~_KNOWN_FLAGS:
        fact = f"expected a stored or deflated member of an archive, found method {method} with flags {flags:#06x}"
        raise RecordError(fact, remedy="Zip it again, stored or deflated.")
    if method == _STORED and member.compress_size != member.file_size:
        raise _doubtful(
            f"expected one size of a stored member, found {member.compress_size:,} and {member.file_size:,}"
        )
    there = os.fstat(file.fileno()).st_size
    if not 0 <= member.header_offset <= there - _LOCAL.size:
        raise _doubtful(f"expected its header before byte {there:,}, found byte {member.header_offset:,}")
    file.seek(member.header_offset)
    start = member.header_offset + _local_header(file, member)
    if start + member.compress_size > there:
        raise _doubtful(f"expected its end before byte {there:,}, found byte {start + member.compress_size:,}")
    return start


def _local_header(file: BinaryIO, member: zipfile.ZipInfo) -> int:
    """Read a local header, which another reader may believe, check that it says what `member` does; return its size."""
    header: tuple[bytes, int, int, int, int, int, int, int] = _LOCAL.unpack(file.read(_LOCAL.size))
    signature, flags, method, *claims, name_size, extra_size = header
    name, extra = file.read(name_size), file.read(extra_size)
    found = signature, flags, method, name.decode("utf-8" if flags & _UTF8_FLAG else "cp437", "replace")
    if found != (_SIGNATURE, member.flag_bits, member.compress_type, member.orig_filename):
        raise _doubtful("expected one name, method and set of flags in its two headers, found others")
    sizes = member.CRC, member.compress_size, member.file_size
    if not flags & _DESCRIPTOR_FLAG and _wide(claims, extra) != sizes:
        raise _doubtful("expected one CRC-32 and one size in its two headers, found others")
    return _LOCAL.size + name_size + extra_size


def _wide(claims: list[int], extra: bytes) -> tuple[int, ...]:
    """Return CRC-32, deflated size and size, the sizes from the zip64 field where they are all ones."""
    crc, compressed, size = claims
    at = 0
    while _SEE_ZIP64 in (compressed, size) and at + 4 <= len(extra):
        kind, length = struct.unpack_from("<2H", extra, at)
        if kind == _ZIP64 and length >= 16 and at + 20 <= len(extra):
            size, compressed = struct.unpack_from("<2Q", extra, at + 4)
            break
        at += 4 + length
    return crc, compressed, size


def _in_memory(file: BinaryIO, member: zipfile.ZipInfo) -> NDArray[np.uint8]:
    """Read a member, whose data come next in the file, into memory that begins on a 64-byte boundary."""
    limit = MAX_INFLATED + INFLATED_RATIO * member.compress_size
    if member.file_size > limit:
        raise RecordError(
            f"expected at most {limit:,} bytes from {member.compress_size:,} deflated ones, found {member.file_size:,}",
            expected=limit,
            found=member.file_size,
            remedy="Store it in the archive instead, if it is yours.",
        )
    data = aligned_buffer(member.file_size)
    filled = 0
    for chunk in _chunks(file, member):
        filled += len(chunk)
        if filled > data.size:
            break
        data[filled - len(chunk) : filled] = np.frombuffer(chunk, np.uint8)
    if filled != data.size:
        raise _doubtful(f"expected {data.size:,} bytes, found {'more' if filled > data.size else format(filled, ',')}")
    if (crc := zlib.crc32(data.data)) != member.CRC:
        raise _doubtful(f"damaged: expected CRC-32 {member.CRC:08x}, found {crc:08x}")
    return read_only(data)


def _chunks(file: BinaryIO, member: zipfile.ZipInfo) -> Iterator[bytes]:
    """Yield the bytes of a member in chunks of at most 1 MiB, inflated."""
    inflater = None if member.compress_type == _STORED else zlib.decompressobj(-zlib.MAX_WBITS)
    left = member.compress_size
    while left and (taken := file.read(min(left, _CHUNK))):
        left -= len(taken)
        if inflater is None:
            yield taken
            continue
        try:
            while chunk := inflater.decompress(taken, _CHUNK):
                yield chunk
                taken = inflater.unconsumed_tail
        except zlib.error as error:
            raise _doubtful(f"damaged: {error}") from error


def _doubtful(fact: str) -> RecordError:
    """Return the error for a member that is damaged, or made to be read in two ways."""
    return RecordError(fact, remedy="Get the archive again, or build it again.")
