"""What a file is, told by its first bytes.

Knows the first bytes of many formats and reads no further. The readers of a format ask here as well, so that a file
is taken for the same thing everywhere.
"""

from __future__ import annotations

from enum import Enum
from typing import Final

from wheelweights.errors import quoted

__all__ = ["HEAD_BYTES", "INTERRUPTED_BUILD", "RECORD_ENTRY", "Format", "format_of", "what_it_is"]

HEAD_BYTES: Final = 64  # as many of a file's bytes as `format_of` looks at
RECORD_ENTRY: Final = b"\xa6format\xacwheelweights"  # the first entry of the map that a record is
# What a build leaves at a record's place until the record is there
INTERRUPTED_BUILD: Final = b"wheelweights: the build of this wheel was interrupted before this record was put into it\n"


class Format(Enum):
    """A kind of file; its value is what a message calls it."""

    EMPTY = "an empty file"
    LFS_POINTER = "a Git LFS pointer"
    ANNEX_POINTER = "a git-annex pointer"
    RECORD = "a wheelweights record"
    INTERRUPTED = "what a build that was interrupted left in its place"
    BURN_RECORD = "a record written by Burn"
    ZIP = "a zip archive (a PyTorch checkpoint or a wheel)"
    PYTORCH_LEGACY = "a PyTorch checkpoint (torch < 1.6)"
    PICKLE = "a pickle"
    SAFETENSORS = "a safetensors file"
    GZIP = "a gzip file"
    NUMPY = "a NumPy array file"
    HDF5 = "an HDF5 file"
    GGUF = "a GGUF file"
    HTML = "an HTML page (a failed download)"


def _after_count(entry: bytes, entries: range) -> tuple[bytes, ...]:
    """Return the first bytes that a MessagePack map with this first entry can have: a byte that counts, then it."""
    return tuple(bytes((0x80 | count,)) + entry for count in entries)


# The first that matches counts: a pickle's one byte is also that of torch's legacy format
_FIRST_BYTES: Final[dict[Format, tuple[bytes, ...]]] = {
    Format.LFS_POINTER: (b"version https://git-lfs.github.com/spec",),
    Format.ANNEX_POINTER: (b"/annex/objects/",),
    Format.INTERRUPTED: (INTERRUPTED_BUILD[:HEAD_BYTES],),
    Format.RECORD: _after_count(RECORD_ENTRY, range(1, 16)),  # of any version
    Format.BURN_RECORD: _after_count(b"\xa8metadata", range(2, 4)),
    Format.ZIP: (b"PK\x03\x04",),
    Format.PYTORCH_LEGACY: (b"\x80\x02\x8a\x0a\x6c\xfc\x9c\x46\xf9\x20\x6a\xa8\x50\x19",),
    Format.GZIP: (b"\x1f\x8b",),
    Format.NUMPY: (b"\x93NUMPY",),
    Format.HDF5: (b"\x89HDF",),
    Format.GGUF: (b"GGUF",),
    Format.PICKLE: (b"\x80",),
}
_HTML: Final = (b"<!doctype html", b"<html")


def format_of(head: bytes) -> Format | None:
    """Return the kind of file that begins with these bytes (64 are enough), or None for one that is not known."""
    if not head:
        return Format.EMPTY
    for format_, first_bytes in _FIRST_BYTES.items():
        if head.startswith(first_bytes):
            return format_
    if head.lstrip()[:14].lower().startswith(_HTML):
        return Format.HTML
    if len(head) > 9 and head[8:9] == b"{" and int.from_bytes(head[:8], "little") < 1 << 32:
        return Format.SAFETENSORS
    return None


def what_it_is(head: bytes) -> str:
    """Return what a message calls a file that begins with these bytes: "a zip archive ...", or the bytes themselves."""
    found = format_of(head)
    return f"a file that begins with {quoted(head[:16])}" if found is None else found.value
