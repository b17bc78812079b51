"""What a file is, told by its first bytes, and which reader it is for."""

from __future__ import annotations

import struct

import pytest

from wheelweights import burn, record
from wheelweights.formats import HEAD_BYTES, Format, format_of, what_it_is
from wheelweights.record.layout import preamble

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
