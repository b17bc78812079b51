"""What a file is, told by its first bytes, and what to do about one that something else is wanted of.

Knows the first bytes of many formats and reads no further. The readers of a format ask here as well, so that a file
is taken for the same thing everywhere.
"""

from __future__ import annotations

import re
from enum import Enum
from typing import Final

from wheelweights.errors import printable, quoted

__all__ = [
    "HEAD_BYTES",
    "INTERRUPTED_BUILD",
    "RECORD_ENTRY",
    "SAVE_ARRAYS",
    "SAVE_STATE_DICT",
    "Format",
    "format_of",
    "what_it_is",
    "what_to_do",
]

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
    ZSTD = "a zstd file"
    XZ = "an xz file"
    BZIP2 = "a bzip2 file"
    SEVEN_ZIP = "a 7z archive"
    RAR = "a RAR archive"
    NUMPY = "a NumPy array file"
    HDF5 = "an HDF5 file (such as a Keras model)"
    GGUF = "a GGUF file (llama.cpp)"
    GGML = "a GGML file (llama.cpp, whisper.cpp)"
    ONNX = "an ONNX model"
    TFLITE = "a TensorFlow Lite model"
    EXECUTORCH = "an ExecuTorch program"
    FLAX = "a Flax checkpoint (MessagePack)"
    JSON = "a JSON file"
    HTML = "an HTML page (a failed download)"


def _after_count(entry: bytes, entries: range) -> tuple[bytes, ...]:
    """Return the first bytes that a MessagePack map with this first entry can have: a byte that counts, then it."""
    return tuple(bytes((0x80 | count,)) + entry for count in entries)


_BZIP2_MARKS: Final = (b"1AY&SY", b"\x17rE8P\x90")  # of a block, and of the end where there is none
# The first that matches counts: a pickle's one byte is also that of torch's legacy format
_FIRST_BYTES: Final[dict[Format, tuple[bytes, ...]]] = {
    Format.LFS_POINTER: (b"version https://git-lfs.github.com/spec",),
    Format.ANNEX_POINTER: (b"/annex/objects/",),
    Format.INTERRUPTED: (INTERRUPTED_BUILD[:HEAD_BYTES],),
    Format.RECORD: _after_count(RECORD_ENTRY, range(1, 16)),  # of any version
    Format.BURN_RECORD: _after_count(b"\xa8metadata", range(2, 4)),
    Format.ZIP: (b"PK\x03\x04",),
    Format.PYTORCH_LEGACY: (b"\x80\x02\x8a\x0a\x6c\xfc\x9c\x46\xf9\x20\x6a\xa8\x50\x19",),
    Format.FLAX: _after_count(b"\xa6params", range(1, 16)),
    Format.GZIP: (b"\x1f\x8b",),
    Format.ZSTD: (b"\x28\xb5\x2f\xfd",),
    Format.XZ: (b"\xfd7zXZ\0",),
    Format.BZIP2: tuple(b"BZh%d%b" % (level, mark) for level in range(1, 10) for mark in _BZIP2_MARKS),
    Format.SEVEN_ZIP: (b"7z\xbc\xaf\x27\x1c",),
    Format.RAR: (b"Rar!\x1a\x07",),
    Format.NUMPY: (b"\x93NUMPY",),
    Format.HDF5: (b"\x89HDF",),
    Format.GGUF: (b"GGUF",),
    Format.GGML: (b"lmgg", b"fmgg", b"tjgg"),  # a number that reads ggml, ggmf or ggjt, little-endian
    Format.PICKLE: (b"\x80",),
}
_HTML: Final = (b"<!doctype html", b"<html")
# What FlatBuffers begin with behind the place of their root: TensorFlow Lite's, and ExecuTorch's with its version
_TFLITE: Final = b"TFL3"
_EXECUTORCH: Final = b"ET"
_GRAPH_WITH_NODE: Final = re.compile(rb"\x3a[\x80-\xff]{0,4}[\x01-\x7f]\x0a", re.DOTALL)


def format_of(head: bytes) -> Format | None:
    """Return the kind of file that begins with these bytes (64 are enough), or None for one that is not known."""
    if not head:
        return Format.EMPTY
    if _is_safetensors(head):
        return Format.SAFETENSORS
    for format_, first_bytes in _FIRST_BYTES.items():
        if head.startswith(first_bytes):
            return format_
    return _by_structure(head)


def what_it_is(head: bytes) -> str:
    """Return what a message calls a file that begins with these bytes: "a zip archive ...", or the bytes themselves."""
    found = format_of(head)
    return f"a file that begins with {quoted(head[:16])}" if found is None else found.value


# Formats without a mark of their own at the start


def _by_structure(head: bytes) -> Format | None:
    if head[4:8] == _TFLITE:
        return Format.TFLITE
    if head[4:6] == _EXECUTORCH and head[6:8].isdigit():
        return Format.EXECUTORCH
    text = head.lstrip()
    if text[:14].lower().startswith(_HTML):
        return Format.HTML
    if text[:1] in (b"{", b"[") and text[1:].lstrip()[:1] in (b'"', b"{", b"[", b"}", b"]"):
        return Format.JSON
    return Format.ONNX if _is_onnx(head) else None


def _is_safetensors(head: bytes) -> bool:
    """Tell by the length of the header and its brace, before anything else: a length can begin as other formats do."""
    return len(head) > 9 and head[8:9] == b"{" and head[4:8] == bytes(4)


def _is_onnx(head: bytes) -> bool:
    """Tell a message of Protocol Buffers that begins as ONNX's ModelProto does (onnx/onnx.proto).

    That is its version (field 1, below 32), then who produced it (fields 2 to 4, short texts), or the graph (field 7)
    with a node in it (field 1).
    """
    if len(head) < 3 or head[0] != 0x08 or not 0 < head[1] < 32:
        return False
    position, texts = 2, 0
    while head[position : position + 1] in (b"\x12", b"\x1a", b"\x22"):
        size = head[position + 1] if position + 1 < len(head) else 0
        text = head[position + 2 : position + 2 + size]
        if size >= 0x80 or not (text.isascii() and text.decode("ascii", "replace").isprintable()):
            return False
        position, texts = position + 2 + size, texts + (size > 0)
    return texts > 0 or _GRAPH_WITH_NODE.match(head, position) is not None


# What to do about them

SAVE_STATE_DICT: Final = 'Save the weights in PyTorch: torch.save(model.state_dict(), "model.pt")'
SAVE_ARRAYS: Final = 'Save its arrays by name: safetensors.numpy.save_file(arrays, "model.safetensors")'
# The command that unpacks, and the suffix that it takes off
_UNPACKERS: Final = {
    Format.GZIP: ("gunzip", ".gz"),
    Format.ZSTD: ("zstd -d", ".zst"),
    Format.XZ: ("xz -d", ".xz"),
    Format.BZIP2: ("bunzip2", ".bz2"),
}
_ARCHIVES: Final = (".tar.gz", ".tgz", ".tar.zst", ".tar.xz", ".txz", ".tar.bz2", ".tbz2")
_REMEDIES: Final = {
    Format.SEVEN_ZIP: "Unpack it, and name the checkpoint that is in it.",
    Format.RAR: "Unpack it, and name the checkpoint that is in it.",
    Format.NUMPY: f"{SAVE_ARRAYS}.",
    Format.HDF5: f"{SAVE_ARRAYS}, where Keras or h5py can read it.",
    Format.GGUF: "Get the checkpoint that it was made from: a .safetensors, .pt or .bin file.",
    Format.GGML: "Get the checkpoint that it was made from: a .safetensors, .pt or .bin file.",
    Format.ONNX: SAVE_STATE_DICT,
    Format.TFLITE: f"{SAVE_ARRAYS}, of the model that it was made from.",
    Format.EXECUTORCH: SAVE_STATE_DICT,
    Format.FLAX: f"{SAVE_ARRAYS}, where flax.serialization can read it.",
}


def what_to_do(head: bytes, path: str) -> str | None:
    """Return what makes a checkpoint of the file of another kind that begins with these bytes, or None."""
    found = format_of(head)
    if found in _UNPACKERS:
        return f"Run: {_unpacking(*_UNPACKERS[found], path)}"
    return None if found is None else _REMEDIES.get(found)


def _unpacking(command: str, suffix: str, path: str) -> str:
    """Return the command that unpacks a file; those for single files want to see their own suffix."""
    import os  # noqa: PLC0415 (only for an error)
    import shlex  # noqa: PLC0415 (likewise)

    name = printable(shlex.quote(path))
    if path.endswith(_ARCHIVES):
        return f"tar -xf {name}"
    if path.endswith(suffix):
        return f"{command} {name}"
    root, end = os.path.splitext(path)  # noqa: PTH122 (a member of an archive has no Path)
    return f"{command} < {name} > {printable(shlex.quote(f'{root}.unpacked{end}'))}"
