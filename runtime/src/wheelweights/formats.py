"""What a file is, told by its first bytes, and what to do about one that something else is wanted of.

Knows the first bytes of many formats and reads no further. The readers of a format ask here as well, so that a file
is taken for the same thing everywhere.
"""

from __future__ import annotations

import re
from enum import Enum
from typing import TYPE_CHECKING, Final

from wheelweights.errors import printable, quoted

if TYPE_CHECKING:
    from collections.abc import Callable

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
    LZ4 = "an lz4 file"
    LZMA = "an lzma file"
    ZLIB = "zlib data (such as a file that joblib compressed)"
    SEVEN_ZIP = "a 7z archive"
    RAR = "a RAR archive"
    NUMPY = "a NumPy array file"
    HDF5 = "an HDF5 file (such as a Keras model)"
    GGUF = "a GGUF file (llama.cpp)"
    GGML = "a GGML file (llama.cpp, whisper.cpp)"
    ONNX = "an ONNX model"
    TFLITE = "a TensorFlow Lite model"
    EXECUTORCH = "an ExecuTorch program"
    CORE_ML = "a Core ML model"
    TENSORRT = "a TensorRT engine"
    FLAX = "a Flax checkpoint (MessagePack)"
    MESSAGEPACK = "a MessagePack file (such as a Flax checkpoint)"
    JSON = "a JSON file"
    HTML = "an HTML page (a failed download)"
    REFUSAL = "a server's error message (a failed download)"
    XML = "an XML file"


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
    Format.ZSTD: (b"\x28\xb5\x2f\xfd", b"P*M\x18"),  # a frame, or one to skip, as `pzstd` begins with
    Format.LZ4: (b"\x04\x22\x4d\x18", b"\x02\x21\x4c\x18"),  # a frame, and a legacy one
    Format.LZMA: (b"]\0\0",),
    Format.XZ: (b"\xfd7zXZ\0",),
    Format.BZIP2: tuple(b"BZh%d%b" % (level, mark) for level in range(1, 10) for mark in _BZIP2_MARKS),
    Format.SEVEN_ZIP: (b"7z\xbc\xaf\x27\x1c",),
    Format.RAR: (b"Rar!\x1a\x07",),
    Format.NUMPY: (b"\x93NUMPY",),
    Format.HDF5: (b"\x89HDF",),
    Format.GGUF: (b"GGUF",),
    Format.GGML: (b"lmgg", b"fmgg", b"tjgg", b"algg"),  # a number that reads ggml, ggmf, ggjt, ggla, little-endian
    Format.TENSORRT: (b"ftrt", b"ptrt"),  # likewise: trtf, trtp
    Format.PICKLE: (b"\x80",),
}
_HTML: Final = (b"<!doctype html", b"<html")
_ZLIB: Final = (b"x\x01", b"x^", b"x\x9c", b"x\xda")
# Patterns are compiled when a file has no mark of its own, which is rare
_ERROR: Final = rb"(?i)<\?xml[^>]*\?>\s*<error"  # as stores of objects answer
# A map of 1 to 65,535 entries, and the length of its first key where that is a text below 256 bytes
_MAP_OF_TEXT: Final = rb"(?s)(?:[\x81-\x8f]|\xde..)(?:([\xa1-\xbf])|\xd9(.))"
_NAME: Final = rb"[A-Za-z_][\w. -]*"
_OF_RECORDS: Final = (b"format", b"metadata")  # of this project and of Burn
# A call of a class or a function by its name, in a pickle of protocol 0
_PICKLED_CALL: Final = rb"c[A-Za-z_][\w.]*\n[A-Za-z_]\w*\n"
# The version, and a description of the model (field 2) with an input (field 1) that has a name (field 1)
_LENGTH: Final = rb"[\x80-\xff]{0,4}[\x01-\x7f]"
_CORE_ML: Final = rb"(?s)\x08[\x01-\x1f]\x12" + _LENGTH + rb"\x0a" + _LENGTH + rb"\x0a[\x01-\x7f][ -~]"
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
    return next((kind for kind, is_one in _STRUCTURES.items() if is_one(head)), None)


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


def _is_named_map(head: bytes) -> bool:
    """Tell a map of MessagePack by its first key: a name that is there whole, and none that records begin with."""
    found = re.match(_MAP_OF_TEXT, head)
    if found is None:
        return False
    end = found.end() + (found[2][0] if found[1] is None else found[1][0] - 0xA0)
    name = head[found.end() : end]
    return end < len(head) and re.fullmatch(_NAME, name) is not None and name not in _OF_RECORDS


def _is_json(head: bytes) -> bool:
    text = head.lstrip()
    return text[:1] in (b"{", b"[") and text[1:].lstrip()[:1] in (b'"', b"{", b"[", b"}", b"]")


# The first that tells a file counts
_STRUCTURES: Final[dict[Format, Callable[[bytes], object]]] = {
    Format.TFLITE: lambda head: head[4:8] == _TFLITE,
    Format.EXECUTORCH: lambda head: head[4:6] == _EXECUTORCH and head[6:8].isdigit(),
    Format.HTML: lambda head: head.lstrip()[:14].lower().startswith(_HTML),
    Format.REFUSAL: lambda head: re.match(_ERROR, head.lstrip()),
    Format.XML: lambda head: head.lstrip()[:5].lower() == b"<?xml",
    Format.JSON: _is_json,
    Format.ONNX: _is_onnx,
    Format.CORE_ML: lambda head: re.match(_CORE_ML, head),
    Format.MESSAGEPACK: _is_named_map,
    Format.ZLIB: lambda head: head.startswith(_ZLIB) and not head[2:].isascii(),
    Format.PICKLE: lambda head: re.match(_PICKLED_CALL, head),
}


# What to do about them

SAVE_STATE_DICT: Final = 'Save the weights in PyTorch: torch.save(model.state_dict(), "model.pt")'
SAVE_ARRAYS: Final = 'Save its arrays by name: safetensors.numpy.save_file(arrays, "model.safetensors")'
# The command that unpacks, and the suffix that it takes off
_UNPACKERS: Final = {
    Format.GZIP: ("gunzip", ".gz"),
    Format.ZSTD: ("zstd -d", ".zst"),
    Format.XZ: ("xz -d", ".xz"),
    Format.BZIP2: ("bunzip2", ".bz2"),
    Format.LZ4: ("lz4 -d", ".lz4"),
    Format.LZMA: ("xz -d", ".lzma"),
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
    Format.CORE_ML: SAVE_STATE_DICT,
    Format.TENSORRT: SAVE_STATE_DICT,
    Format.FLAX: f"{SAVE_ARRAYS}, where flax.serialization can read it.",
    Format.MESSAGEPACK: f"{SAVE_ARRAYS}, where flax.serialization can read it.",
    Format.ZLIB: f"{SAVE_ARRAYS}, where joblib can read it.",
    Format.HTML: "Download it again: the server may want a login, or the address may be that of a page about the file.",
    Format.REFUSAL: "Download it again: the server may want a login, or have another address for the file.",
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
