"""Opening a record: its header is read and checked whole, its tensors are left where they lie.

Nothing that the file says is believed before it is checked against the bytes that are there.
"""

from __future__ import annotations

import os
import stat
from dataclasses import dataclass
from functools import cache, partial
from io import BufferedReader, FileIO
from typing import TYPE_CHECKING, Final

from wheelweights.errors import MissingRecordError, RecordError, backticked, printable, quoted
from wheelweights.formats import HEAD_BYTES, Format, format_of, what_it_is, what_to_do
from wheelweights.record.buffers import Buffers
from wheelweights.record.faults import REINSTALL, damaged, malformed, truncated
from wheelweights.record.header import Header, check_checksum, read_header
from wheelweights.record.layout import (
    MARK_BYTES,
    MAX_HEADER,
    PREAMBLE_BYTES,
    VERSION,
    buffer_size,
    header_size,
    version,
)
from wheelweights.record.mapping import Record, TensorInfo, read_only
from wheelweights.record.memory import aligned_buffer, mapped

if TYPE_CHECKING:
    from collections.abc import Callable

    import numpy as np
    from numpy.typing import NDArray

    from wheelweights.burn import BurnRecord
    from wheelweights.record.mapping import Progress, Raw, Reopen

__all__ = ["open_record", "read_record", "recognises"]


_INDEX: Final = "expected a record with tensors, found the index of one whose tensors are in distributions of their own"
_SUFFIXES: Final = (".mpk", ".mpk.gz")
_READ_AHEAD: Final = 4096  # at most, behind the header
_CUT: Final = "the file was cut while it was read"
_CONVERT: Final = "Convert a checkpoint into a record with hatch-wheelweights: wheelweights convert SOURCE OUTPUT"


def recognises(head: bytes) -> bool:
    """Return whether a file that begins with these bytes (64 are enough) is for `open_record`: ours, or Burn's."""
    from wheelweights import burn  # noqa: PLC0415 (rarely needed)

    return format_of(head) is Format.RECORD or burn.recognises(head)


def open_record(
    path: str | os.PathLike[str],
    *,
    mmap: bool = True,
    widen: bool = False,
    verify: bool = False,
    index: bool = False,
) -> Record:
    """Open a record, ours or one that Burn wrote, and check its header whole.

    With `mmap` the file is mapped: its header is read, and the bytes of a tensor only when they are used. Without, the
    whole file is read into memory, so that it may be replaced or truncated while it is in use (if a mapped file is
    truncated while it is read, Linux ends the process with SIGBUS). `widen` gives bfloat16 and float8 as float32
    copies. `verify` reads and checks every byte, as `Record.verify` does. `index` opens a record whose tensors are in
    distributions of their own, without them; `load` opens it with them. Raises RecordError for anything that is not a
    well-formed record.
    """
    shown = os.fspath(path)
    try:
        mode = os.stat(path).st_mode  # noqa: PTH116 (a pipe would block when it is opened)
        if not stat.S_ISREG(mode):
            found = "a folder" if stat.S_ISDIR(mode) else "something that is not a regular file"
            raise RecordError(f"expected a record, found {found}")
        absolute = os.path.abspath(shown)  # noqa: PTH100
        with BufferedReader(FileIO(path), _READ_AHEAD) as file:
            size = os.fstat(file.fileno()).st_size
            if mmap and size:
                data, first = mapped(file.fileno(), absolute, 0, size), partial(_first_of_file, file)
            else:
                data = _in_memory(file, size)
                first = partial(_first_of, data)
            reopen = _reopened, (absolute, mmap, widen, verify, index)
            return _record(first, data, path=shown, widen=widen, verify=verify, index=index, reopen=reopen)
    except (OSError, ValueError) as error:
        if isinstance(error, RecordError):
            error.path = error.path or shown
            raise
        reason = error.strerror if isinstance(error, OSError) and error.strerror else str(error)
        if isinstance(error, FileNotFoundError):
            from wheelweights.nearby import meant_file  # noqa: PLC0415 (only for an error)

            remedy = meant_file(shown, _SUFFIXES)
            raise MissingRecordError(f"cannot be opened: {reason}", path=shown, remedy=remedy) from error
        raise RecordError(f"cannot be opened: {reason}", path=shown) from error


def _reopened(path: str, mmap: bool, widen: bool, verify: bool, index: bool) -> Record:
    return open_record(path, mmap=mmap, widen=widen, verify=verify, index=index)


def _in_memory(file: BufferedReader[FileIO], size: int) -> NDArray[np.uint8]:
    """Return the file's bytes, aligned as the format promises."""
    data = aligned_buffer(size)
    if file.readinto(data.data) != size:
        raise RecordError(_CUT)
    return read_only(data)


def _first_of(data: NDArray[np.uint8], count: int) -> bytes:
    return data[:count].tobytes()


def _first_of_file(file: BufferedReader[FileIO], count: int) -> bytes:
    """Return the first bytes of a file, read and not mapped: a map brings pages that nobody asked for."""
    file.seek(0)
    return file.read(count)


def read_record(
    data: NDArray[np.uint8],
    *,
    path: str,
    widen: bool = False,
    verify: bool = False,
    index: bool = False,
    reopen: Reopen | None = None,
) -> Record:
    """Return the record that these bytes are, in memory or in a map; nothing is copied but the header.

    `path` is its name in errors, `reopen` what `pickle` is to call to get the record again; the rest as for
    `open_record`. Raises RecordError for anything that is not a well-formed record.
    """
    first = partial(_first_of, data)
    try:
        return _record(first, data, path=path, widen=widen, verify=verify, index=index, reopen=reopen)
    except RecordError as error:
        error.path = error.path or path
        raise


def _record(
    first: Callable[[int], bytes],
    data: NDArray[np.uint8],
    *,
    path: str,
    widen: bool,
    verify: bool,
    index: bool,
    reopen: Reopen | None,
) -> Record:
    """Return the record that these bytes are; `first` gives as many of them as it is asked for."""
    head = first(max(HEAD_BYTES, PREAMBLE_BYTES))
    if format_of(head) is not Format.RECORD:
        record = _foreign_record(data, head, path=path, widen=widen, reopen=reopen)
    else:
        size = _header_size(head, data.size)
        header = _header(first(size), size)
        _check_size(header, data.size)
        buffers = Buffers(data, size, header.infos, path=path)
        record = Record(header.infos, buffers, metadata=header.metadata, path=path, widen=widen, reopen=reopen)
    if not index and not record and record.metadata.get("parts"):
        raise RecordError(_INDEX, remedy="Load it by its package: wheelweights.load(package, name).")
    if verify:
        record.verify()
    return record


# Files of other formats


def _foreign_record(data: NDArray[np.uint8], head: bytes, *, path: str, widen: bool, reopen: Reopen | None) -> Record:
    """Return the record that Burn wrote, or say what the file is instead of a record."""
    from wheelweights import burn  # noqa: PLC0415 (rarely needed)

    if not burn.recognises(head):
        raise RecordError(f"expected a record, found {what_it_is(head)}", remedy=_instead(head, path))
    read = burn.read(data.data, path=path)
    infos = {key: TensorInfo(each.dtype, each.shape, each.raw.nbytes, None, key) for key, each in read.tensors.items()}
    stored = _BurnTensors(read)
    return Record(infos, stored, metadata=read.metadata, path=path, format="burn", widen=widen, reopen=reopen)


@dataclass(frozen=True, slots=True)
class _BurnTensors:
    """The tensors of a record that Burn wrote: without checksums, and read whole on opening."""

    read: BurnRecord

    def raw(self, key: str) -> NDArray[np.uint8]:
        return self.read.tensors[key].raw

    def writable(self) -> Raw:
        def copied(key: str) -> NDArray[np.uint8]:
            return self.raw(key).copy()

        return cache(copied)

    def verify(self, progress: Progress | None) -> None:
        """Check nothing: there is nothing to check it by."""


def _instead(head: bytes, path: str) -> str:
    match format_of(head):
        case Format.LFS_POINTER:
            return f"Run: git lfs pull --include {printable(os.path.basename(path))}"  # noqa: PTH119 (a member of an archive has no Path)
        case Format.INTERRUPTED:
            return "Build it again, and install that one."
        case Format.EMPTY:
            return REINSTALL
        case _:
            return what_to_do(head, path) or _CONVERT


# The header


def _header_size(head: bytes, file_size: int) -> int:
    """Return the size of the header, which the file has room for."""
    size = header_size(head)
    if size is None:
        raise _not_this_version(head, file_size)
    if size > MAX_HEADER:
        fact = f"expected a header of at most {MAX_HEADER:,} bytes, found {size:,}"
        raise damaged(fact, expected=MAX_HEADER, found=size)
    if size > file_size:
        raise truncated(size, file_size, "end of the header")
    if size < PREAMBLE_BYTES + MARK_BYTES:
        raise malformed("its header does not end where it says")
    return size


def _header(header: bytes, size: int) -> Header:
    if len(header) != size:
        raise RecordError(_CUT)
    check_checksum(header)
    return read_header(header)


def _check_size(header: Header, file_size: int) -> None:
    """Check that the file has room for all buffers, and ends with the last of them."""
    if header.file_size > file_size:
        for key, info in header.infos.items():
            end = (info.offset or 0) + buffer_size(info.nbytes)
            if end > file_size:
                raise truncated(end, file_size, f"end of tensor {backticked(key)}")
    if header.file_size != file_size:
        fact = f"expected a record of {header.file_size:,} bytes, found {file_size:,}"
        raise damaged(fact, expected=header.file_size, found=file_size)


def _not_this_version(head: bytes, size: int) -> RecordError:
    if len(head) < PREAMBLE_BYTES:
        return truncated(PREAMBLE_BYTES, size, "start of the header")
    found = version(head)
    if found in (b"", bytes((VERSION,))):
        return malformed("its entries are not those of a record")
    shown = found[0] if found[0] < 0x80 else quoted(found)
    return RecordError(
        f"expected a record of version {VERSION}, found version {shown}",
        expected=VERSION,
        found=found[0],
        remedy="Upgrade wheelweights: pip install --upgrade wheelweights",
    )
