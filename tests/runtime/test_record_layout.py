"""The arithmetic of the layout, and that its specification is that of the code."""

from __future__ import annotations

import itertools
import re
import zlib

import msgpack
import pytest
from hypothesis import given
from hypothesis import strategies as st

from wheelweights.dtypes import DTYPES
from wheelweights.record import layout


def test_the_specification_names_every_dtype() -> None:
    listed = re.search(r"`dtype` is one of: (.+?)\. Bools", str(layout.__doc__), re.DOTALL)
    assert listed is not None
    assert re.split(r",\s+", listed[1]) == list(DTYPES)


def test_the_specification_shows_the_first_bytes() -> None:
    shown = re.search(r"::\n\n(.+?)\n\n", str(layout.__doc__), re.DOTALL)
    assert shown is not None
    first, *entries = shown[1].splitlines()
    assert first.split()[0] == f"{0x80 | len(entries):x}"
    assert tuple(re.findall(r'^    (..) "(\w+)"', "\n".join(entries), re.MULTILINE)) == tuple(
        (f"{0xA0 | len(name):x}", name) for name in layout.ENTRIES
    )


def test_a_preamble_is_the_start_of_a_map_with_the_first_entries() -> None:
    unpacker = msgpack.Unpacker()
    unpacker.feed(layout.preamble(4_096))
    assert unpacker.read_map_header() == len(layout.ENTRIES)
    pairs = [(unpacker.unpack(), unpacker.unpack()) for _ in range(4)]
    assert pairs == [
        ("format", "wheelweights"), ("version", layout.VERSION), ("header_size", 4_096), ("header_crc32", 0),
    ]  # fmt: skip
    assert unpacker.tell() == layout.PREAMBLE_BYTES


def test_a_preamble_gives_its_size_back_and_nothing_else_does() -> None:
    head = layout.preamble(123)
    assert layout.header_size(head + b"more") == 123
    assert layout.header_size(head[:-1]) is None
    assert layout.header_size(b"\x87" + head[1:]) is None
    assert layout.header_size(head.replace(b"crc32", b"crc23")) is None
    assert layout.version(head) == layout.version(b"\x87" + head[1:]) == b"\1"
    assert layout.version(b"PK\3\4") == b""


@given(st.binary(max_size=100))
def test_a_checksum_is_that_of_the_header_with_zeros_in_its_place(rest: bytes) -> None:
    """As the specification says it: bytes 61 to 64 are zero."""
    header = layout.preamble(layout.PREAMBLE_BYTES + len(rest)) + rest
    crc = zlib.crc32(header[:61] + bytes(4) + header[65:])
    sealed = layout.sealed(header)
    assert sealed == header[:61] + crc.to_bytes(4, "big") + header[65:]
    assert layout.checksum(header) == layout.checksum(sealed) == layout.stated_checksum(sealed) == crc
    assert layout.sealed(sealed) == sealed
    assert layout.stated_checksum(header) == 0


def test_the_specification_says_the_limits_of_the_code() -> None:
    limits = str(layout.__doc__).partition("Limits\n")[2]
    for said in (
        f"{layout.MAX_HEADER >> 20} MiB", "2**19 tensors", "2**32 - 5 bytes", f"{layout.MAX_RANK}\ndimensions",
        f"{layout.MAX_DEPTH} levels", "2**18 maps and\nlists", "2**20 other values",
    ):  # fmt: skip
        assert said in limits, said
    counts = layout.MAX_TENSORS, layout.MAX_CONTAINERS, layout.MAX_VALUES, layout.MAX_BUFFER
    assert counts == (2**19, 2**18, 2**20, 2**32 - 5)


@pytest.mark.parametrize(("nbytes", "size"), [(0, 59), (1, 59), (59, 59), (60, 123), (123, 123), (124, 187)])
def test_a_buffer_is_59_modulo_64(nbytes: int, size: int) -> None:
    assert layout.buffer_size(nbytes) == size


def test_the_largest_buffer_is_one_that_a_bin32_can_have() -> None:
    assert layout.buffer_size(layout.MAX_BUFFER) == layout.MAX_BUFFER == 0xFFFF_FFFB
    assert layout.MAX_BUFFER % 64 == 59


@given(st.lists(st.integers(0, 1_000)), st.integers(0, 10_000))
def test_every_payload_is_aligned_and_behind_the_one_before(sizes: list[int], unpadded: int) -> None:
    header = unpadded + len(layout.padding(unpadded))
    begins = layout.buffer_begins(sizes, header)
    assert begins[0] == header + 5
    assert all(begin % 64 == 0 for begin in begins)
    assert [after - begin for begin, after in itertools.pairwise(begins)] == [
        layout.buffer_size(nbytes) + 5 for nbytes in sizes
    ]
    assert layout.buffer_begins(sizes) == [begin - header for begin in begins]


def test_marks_are_messagepack_of_a_fixed_width() -> None:
    assert msgpack.unpackb(layout.bin32(2) + b"ab") == b"ab"
    assert msgpack.unpackb(layout.array32(1) + b"\1") == [1]
    assert msgpack.unpackb(layout.uint32(7)) == 7
    assert {len(layout.bin32(0)), len(layout.array32(0)), len(layout.uint32(0))} == {layout.MARK_BYTES}
    assert layout.array32_count(layout.array32(9)) == 9
    assert layout.array32_count(layout.bin32(9)) is layout.array32_count(layout.array32(9)[:-1]) is None
