"""Records of installed packages, by package and name.

Knows where an installed package keeps its files: in a folder, or in a zip archive that it is imported from; so it knows
how a zip archive holds a member. Knows nothing of the record's bytes.
"""

from __future__ import annotations

import os
import struct
import zlib
from mmap import ACCESS_READ
from mmap import mmap as map_file
from pathlib import Path
from typing import TYPE_CHECKING, Final

import numpy as np

from wheelweights.errors import MissingRecordError, RecordError, backticked, did_you_mean, listed, quoted
from wheelweights.record import Record, aligned_buffer, open_record, read_only, read_record

if TYPE_CHECKING:
    import zipfile
    from collections.abc import Iterator
    from importlib.resources.abc import Traversable
    from types import ModuleType
    from typing import BinaryIO

    from numpy.typing import NDArray

__all__ = ["INFLATED_RATIO", "MAX_INFLATED", "load", "member_bytes", "resource_bytes"]

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


def load(
    package: str | ModuleType, name: str, *, mmap: bool = True, widen: bool = False, verify: bool = False
) -> Record:
    """Open a record that an installed package ships.

    `name` is the record's path inside the package. A package imported from a zip archive works too: a stored member
    is mapped inside the archive, a deflated one is read into memory. `mmap`, `widen` and `verify` as for `open_record`.
    Raises RecordError if there is no such record, with the possible causes and the command that repairs the
    installation.
    """
    shown = package if isinstance(package, str) else package.__name__
    if not name or name.startswith("/") or "\\" in name or ".." in name.split("/"):
        raise RecordError(f"expected the name of a file in package {backticked(shown)}, found {quoted(name)}")
    folder = _folder(package, shown)
    resource = folder
    for part in name.split("/"):  # one by one: a namespace package's folder takes no more in Python 3.11
        resource = resource.joinpath(part)
    if not _is_file(resource):
        raise _not_found(shown, name, folder)
    if isinstance(resource, Path):
        return open_record(resource, mmap=mmap, widen=widen, verify=verify)
    data = resource_bytes(resource, mmap=mmap)
    reopen = _loaded, (name, shown, mmap, widen, verify)
    return read_record(data, path=str(resource), widen=widen, verify=verify, reopen=reopen)


def _loaded(name: str, package: str, mmap: bool, widen: bool, verify: bool) -> Record:
    return load(package, name, mmap=mmap, widen=widen, verify=verify)


def _folder(package: str | ModuleType, shown: str) -> Traversable:
    """Return the folder of a package; `shown` is the package's name."""
    if shown in ("", "__main__"):  # a script belongs to no package, and importlib has no error of its own for it
        raise RecordError(
            f"expected the name of an installed package, found {quoted(shown)}",
            remedy="Give the name that the package is imported by.",
        )
    import importlib.resources  # noqa: PLC0415 (costs 10 ms; not needed to open a record by path)

    try:
        return importlib.resources.files(package)
    except (ModuleNotFoundError, TypeError) as error:
        raise RecordError(
            f"package {backticked(shown)} cannot be imported: {error}", remedy="Install it, or correct the name."
        ) from error


def _is_file(resource: Traversable) -> bool:
    try:
        return resource.is_file()
    except OSError:  # a name that no file can have
        return False


def resource_bytes(resource: Traversable | zipfile.Path, *, mmap: bool) -> NDArray[np.uint8]:
    """Return the bytes of a file in a package, read-only: mapped if a zip archive stores it, else read into memory.

    `resource` is what `importlib.resources.files` gives: a `zipfile.Path` if the package was imported from an archive.
    """
    import zipfile  # noqa: PLC0415 (only for packages in archives)

    if isinstance(resource, zipfile.Path):
        archive: zipfile.ZipFile = resource.root
        if archive.filename:
            return member_bytes(archive.filename, archive.getinfo(resource.at), mmap=mmap)
    content = resource.read_bytes()
    data = aligned_buffer(len(content))
    data[:] = np.frombuffer(content, np.uint8)
    return read_only(data)


def _not_found(package: str, name: str, folder: Traversable) -> RecordError:
    there = _records_in(folder)
    distribution = _distribution_of(package)
    near = did_you_mean(name, there)
    return MissingRecordError(
        f"no record {backticked(name)} in package {backticked(package)} (looked in {folder})",
        details=[
            f"Records there: {listed(there)}." + (f" {near}" if near else ""),
            (
                "Possible causes: the wheel was built with its hooks disabled (HATCH_BUILD_NO_HOOKS) or without "
                "hatch-wheelweights in"
            ),
            "build-system.requires; or this is an editable install from before the record was declared.",
        ],
        remedy=f"Reinstall it: pip install --force-reinstall {distribution}; in its own project: pip install -e . "
        f"(uv: uv sync --reinstall-package {distribution}).",
    )


def _records_in(folder: Traversable) -> list[str]:
    try:
        names = [item.name for item in folder.iterdir()]
        return [name for name in names if name.endswith(".mpk") and not name.endswith(".golden.mpk")]
    except OSError:
        return []


def _distribution_of(package: str) -> str:
    import importlib.metadata  # noqa: PLC0415 (only for the error)

    top = package.partition(".")[0]
    return next(iter(importlib.metadata.packages_distributions().get(top, [])), top)


# Members of zip archives (PKWARE's APPNOTE 6.3.10)


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
            if mmap and member.compress_type == _STORED:
                whole = map_file(file.fileno(), 0, access=ACCESS_READ)
                return np.frombuffer(whole, np.uint8, member.file_size, start)
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
