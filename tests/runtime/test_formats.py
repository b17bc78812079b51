"""What a file is, told by its first bytes, and which reader it is for."""

from __future__ import annotations

import bz2
import lzma
import struct
import zlib

import msgpack
import pytest

from wheelweights import burn, record
from wheelweights.formats import HEAD_BYTES, Format, format_of, what_it_is, what_to_do
from wheelweights.record.layout import preamble

ZSTD = bytes.fromhex("28b52ffd0400") + bytes(9)
ONNX = [  # as onnx 1.22, torch 2.13 and others write it: who produced it, or nobody and at once the graph
    bytes.fromhex("08091207") + b"pytorch\x1a\x062.13.0:\xd7\x01\n\\",
    b'\x08\x03\x12\x04mine\x1a\x031.2"\x02ai(\x052\x03doc:3\n\x0c',
    b"\x08\x07\x12\x0ctf2onnx 1.16",
    b"\x08\x0e\x12\0:3\n\x0c\n\x01x",
    b'\x08\x0e:3\n\x0c\n\x01x\x12\x01y"\x04Relu',
    b"\x08\x0a:\xd7\x81\x01\n\\",
]
NEARLY_ONNX = [  # other messages of Protocol Buffers, and text
    b"\x08\x01\x12\xd3\x0a\x0a",  # a SavedModel of TensorFlow
    b"\x08\x01\x12\x05\x0a\x03abc",  # a model of Core ML
    b"\x08\x03\x10\x0bJ\x18",  # a tensor of ONNX
    b"\x08\x20\x12\x07pytorch",
    b"\x08\0\x12\x07pytorch",
    b"\x08\x09\x12\x07py\0orch",
    b"\x08\x09\x12\0",
    b"\x08\x09:\xd7\x01\x12",
    b"\x08\x09",
    b"\x08",
    b"\x08\x08\x08backspaces",
]
RECORD = b"\x87\xa6format\xacwheelweights\xa7version\1"


@pytest.mark.parametrize(
    ("head", "kind"),
    [
        (b"", "an empty file"),
        (b"version https://git-lfs.github.com/spec/v1\n", "a Git LFS pointer"),
        (b"\x87\xa6format\xacwheelweights\xa7version\1", "a wheelweights record"),
        (b"PK\3\4", "a zip archive (a PyTorch checkpoint or a wheel)"),
        (bytes.fromhex("80028a0a6cfc9c46f9206aa850192e"), "a PyTorch checkpoint (torch < 1.6)"),
        (b"\x83\xa8metadata", "a record written by Burn"),
        (b"\x80\2}", "a pickle"),
        (b" \n<html>", "an HTML page (a failed download)"),
        (b"<!doctype HTML>", "an HTML page (a failed download)"),
        (struct.pack("<Q", 8) + b"{}", "a safetensors file"),
        (struct.pack("<Q", 1 << 40) + b"{}", r"a file that begins with b'\x00\x00\x00\x00\x00\x01\x00\x00{}'"),
        (b"hello", "a file that begins with b'hello'"),
        (b"\x1b" * 99, "a file that begins with b'" + r"\x1b" * 16 + "'"),
    ],
)
def test_tells_a_file_by_its_first_bytes(head: bytes, kind: str) -> None:
    assert what_it_is(head) == kind


@pytest.mark.parametrize(
    ("head", "kind"),
    [
        (b"", Format.EMPTY),
        (b"version https://git-lfs.github.com/spec/v1\n", Format.LFS_POINTER),
        (RECORD, Format.RECORD),
        (b"\x88" + RECORD[1:], Format.RECORD),
        (b"\x82\xa8metadata", Format.BURN_RECORD),
        (b"\x83\xa8metadata", Format.BURN_RECORD),
        (b"PK\3\4", Format.ZIP),
        (bytes.fromhex("80028a0a6cfc9c46f9206aa850192e"), Format.PYTORCH_LEGACY),
        (b"\x80\2}", Format.PICKLE),
        (struct.pack("<Q", 8) + b"{}", Format.SAFETENSORS),
        (b"\x1f\x8b\x08", Format.GZIP),
        (b"\x93NUMPY\1\0", Format.NUMPY),
        (b"\x89HDF\r\n", Format.HDF5),
        (b"GGUF\3", Format.GGUF),
        (b"\n<HTML>", Format.HTML),
        (ZSTD, Format.ZSTD),
        (lzma.compress(b"x"), Format.XZ),
        (bz2.compress(b"x", 1), Format.BZIP2),
        (bz2.compress(b""), Format.BZIP2),
        (b"P*M\x18\4\0\0\0", Format.ZSTD),
        (b"\x04\x22\x4d\x18\x64\x40", Format.LZ4),
        (b"\x02\x21\x4c\x18", Format.LZ4),
        (lzma.compress(b"x", format=lzma.FORMAT_ALONE), Format.LZMA),
        *((zlib.compress(bytes(range(256)), level), Format.ZLIB) for level in (1, 3, 6, 9)),
        (b"x^2 + y^2", None),
        (b"\x08\x04\x12\x60\x0a\x20\x0a\x05image\x12", Format.CORE_ML),
        (b"\x08\x04\x12\xd2\x01\x0a\x82\x01\x0a\x05image\x12", Format.CORE_ML),
        (b"ftrt\0\0\0\0", Format.TENSORRT),
        (b"ptrt\0\0\0\0", Format.TENSORRT),
        (b"algg\0\0\0\0", Format.GGML),
        (msgpack.packb({"bert": {"w": 1}}), Format.MESSAGEPACK),
        (
            msgpack.packb(dict.fromkeys(["a_name_that_is_longer_than_31_characters", *map(str, range(20))])),
            Format.MESSAGEPACK,
        ),
        (msgpack.packb({"format": "mine"}), None),
        (msgpack.packb({1: 2}), None),
        (msgpack.packb({"\0": 2}), None),
        (b"ccopy_reg\n_reconstructor\np0\n", Format.PICKLE),
        (b"csklearn.svm._classes\nSVC\np0\n", Format.PICKLE),
        (b"call me\nlater\n", None),
        (b'<?xml version="1.0"?>\n<Error><Code>', Format.REFUSAL),
        (b'<?xml version="1.0"?><net name="m">', Format.XML),
        (b"7z\xbc\xaf\x27\x1c\0\4", Format.SEVEN_ZIP),
        (b"Rar!\x1a\x07\x01\0", Format.RAR),
        (b"lmgg\1\0\0\0", Format.GGML),
        (b"tjgg\3\0\0\0", Format.GGML),
        (b"\x20\0\0\0TFL3\x14\0 \0", Format.TFLITE),
        (b"\x38\0\0\0ET12\x65\x68\x30\x30", Format.EXECUTORCH),
        (msgpack.packb({"params": {"w": 1}}), Format.FLAX),
        (b'{"a": 1}', Format.JSON),
        (b'{\n  "weight_map": {', Format.JSON),
        (b"[[1, 2]]", Format.JSON),
        (b"{}", Format.JSON),
        *((head, Format.ONNX) for head in ONNX),
        *((head, None) for head in NEARLY_ONNX),
        (b"BZh0" + b"1AY&SY", None),
        (b"\x20\0\0\0ETC.", None),
        (b"{ not JSON", None),
        (b"\x84\xa8metadata", None),
        (RECORD[:-20], None),
        (b"hello", None),
    ],
)
def test_tells_the_format_as_a_value(head: bytes, kind: Format | None) -> None:
    assert format_of(head) is kind
    assert format_of((head + b"\0" * HEAD_BYTES)[:HEAD_BYTES]) is (kind if head else None)
    if kind is not None:
        assert what_it_is(head) == kind.value


@pytest.mark.parametrize("length", [0x80, 0x8B1F, 0x7A37, 8 + 0x12_08, *range(2, 70)])
def test_the_length_of_its_header_makes_a_safetensors_file_no_other(length: int) -> None:
    assert format_of(struct.pack("<Q", length) + b"{}" + b" " * 50) is Format.SAFETENSORS


@pytest.mark.parametrize(
    ("head", "path", "remedy"),
    [
        (ZSTD, "model.pt.zst", "Run: zstd -d model.pt.zst"),
        (ZSTD, "my model.pt", "Run: zstd -d < 'my model.pt' > 'my model.unpacked.pt'"),
        (lzma.compress(b""), "a/model.pt.xz", "Run: xz -d a/model.pt.xz"),
        (bz2.compress(b""), "model.pt.bz2", "Run: bunzip2 model.pt.bz2"),
        (b"\x04\x22\x4d\x18", "model.pt.lz4", "Run: lz4 -d model.pt.lz4"),
        (lzma.compress(b"", format=lzma.FORMAT_ALONE), "model.pt.lzma", "Run: xz -d model.pt.lzma"),
        (b"\x1f\x8b\x08", "model.pt.gz", "Run: gunzip model.pt.gz"),
        (b"\x1f\x8b\x08", "model.tar.gz", "Run: tar -xf model.tar.gz"),
        (b"\x1f\x8b\x08", "model", "Run: gunzip < model > model.unpacked"),
        (b"Rar!\x1a\x07\x01\0", "model.rar", "Unpack it, and name the checkpoint that is in it."),
        (ONNX[0], "m.onnx", 'Save the weights in PyTorch: torch.save(model.state_dict(), "model.pt")'),
        (b"PK\3\4", "model.pt", None),
        (b"{}", "config.json", None),
        (b"hello", "model.pt", None),
        (b"", "model.pt", None),
    ],
)
def test_tells_what_makes_a_checkpoint_of_it(head: bytes, path: str, remedy: str | None) -> None:
    assert what_to_do(head, path) == remedy


def test_no_two_formats_are_called_the_same() -> None:
    assert len({each.value for each in Format}) == len(Format.__members__)


@pytest.mark.parametrize(
    ("head", "is_record", "is_burn"),
    [
        (preamble(123), True, False),
        (RECORD, True, False),
        (b"\x83\xa8metadata", True, True),
        (b"\x82\xa8metadata", True, True),
        (b"\x1f\x8b", True, True),
        (b"PK\3\4", False, False),
        (b"", False, False),
        (b"\x80\2}", False, False),
    ],
)
def test_each_reader_recognises_its_own(head: bytes, is_record: bool, is_burn: bool) -> None:
    assert record.recognises(head) is is_record
    assert burn.recognises(head) is is_burn
