"""What metadata can be, as values and as bytes: two walks that agree, and that make nothing of what they walk over."""

from __future__ import annotations

import struct
import tracemalloc
from typing import Any

import msgpack
import pytest
from hypothesis import given
from hypothesis import strategies as st

from wheelweights import RecordError
from wheelweights.record.layout import MAX_CONTAINERS, MAX_DEPTH, MAX_VALUES
from wheelweights.record.metadata import head_of, metadata_end, metadata_fault

TOO_MUCH = "metadata holds more than 262,144 maps and lists, or more than 1,048,576 other values"
DEEP = "metadata is nested deeper than 32 levels"
PREFIX = "malformed record: "

plain = st.recursive(
    st.none() | st.booleans() | st.integers(-(2**63), 2**64 - 1) | st.floats() | st.text(max_size=300),
    lambda inner: st.lists(inner, max_size=20) | st.dictionaries(st.text(max_size=40), inner, max_size=20),
    max_leaves=60,
)


@given(st.dictionaries(st.text(), plain), st.binary(max_size=9), st.binary(max_size=9))
def test_finds_the_end_of_whatever_metadata_can_be(metadata: dict[str, Any], before: bytes, behind: bytes) -> None:
    packed = msgpack.packb(metadata)
    assert metadata_end(before + packed + behind, len(before)) == len(before) + len(packed)
    assert metadata_fault(metadata) is None


@given(st.dictionaries(st.text(), plain, min_size=1), st.data())
def test_says_where_it_is_cut_off(metadata: dict[str, Any], data: st.DataObject) -> None:
    packed = msgpack.packb(metadata)
    length = data.draw(st.integers(0, len(packed) - 1))
    with pytest.raises(RecordError, match="expected a value of metadata, found the end of the header"):
        metadata_end(packed[:length], 0)


@given(st.binary(max_size=40))
def test_ends_at_any_bytes(data: bytes) -> None:
    """What it lets pass, msgpack can read, texts that are not UTF-8 aside; what msgpack cannot read, it does not."""
    try:
        end = metadata_end(data, 0)
    except RecordError:
        return
    msgpack.unpackb(data[:end], unicode_errors="replace")


def lacks(code: int) -> str | None:
    """Tell what metadata lacks of what a first byte can begin."""
    if code == 0xC1:
        return "it is not MessagePack"
    what = "bytes" if 0xC4 <= code < 0xC7 else "an extension type" if 0xC7 <= code < 0xCA or 0xD4 <= code < 0xD9 else ""
    return what and f"metadata holds {what}, which JSON lacks"


@pytest.mark.parametrize("code", range(256))
def test_knows_every_first_byte(code: int) -> None:
    """As msgpack does: the same kind and the same length for each."""
    data = bytes((code,)) + bytes(300)
    if said := lacks(code):
        with pytest.raises(RecordError, match=f"^{PREFIX}{said}\n"):
            head_of(data, 0)
        return
    kind, end, items = head_of(data, 0)
    unpacker = msgpack.Unpacker()
    unpacker.feed(data)
    if kind == "map":
        assert items == unpacker.read_map_header()
    elif kind == "list":
        assert items == unpacker.read_array_header()
    else:
        assert isinstance(unpacker.unpack(), str) is (kind == "text")
    assert end == unpacker.tell()


def nested(levels: int, of: str) -> Any:
    value: Any = 0
    for _ in range(levels - 1):
        value = [value] if of == "lists" else {"a": value}
    return {"a": value}


@pytest.mark.parametrize("of", ["lists", "maps"])
def test_counts_levels(of: str) -> None:
    fine, deep = nested(MAX_DEPTH, of), nested(MAX_DEPTH + 1, of)
    assert metadata_end(msgpack.packb(fine), 0)
    assert metadata_fault(fine) is None
    assert metadata_fault(deep) == DEEP
    with pytest.raises(RecordError, match=PREFIX + DEEP):
        metadata_end(msgpack.packb(deep), 0)


@pytest.mark.parametrize(
    ("fine", "more"),
    [
        pytest.param({"a": [0] * MAX_VALUES}, {"a": [0] * MAX_VALUES, "b": ""}, id="numbers in a list"),
        pytest.param(
            {"a": [0] * (MAX_VALUES // 2), "b": [None] * (MAX_VALUES // 2)},
            {"a": [0] * (MAX_VALUES // 2), "b": [None] * (MAX_VALUES // 2 + 1)},
            id="values of several lists",
        ),
        pytest.param(
            {str(number): "" for number in range(MAX_VALUES)},
            {str(number): "" for number in range(MAX_VALUES + 1)},
            id="texts in a map",
        ),
        pytest.param({"a": [[]] * (MAX_CONTAINERS - 2)}, {"a": [[]] * (MAX_CONTAINERS - 1)}, id="lists in a list"),
        pytest.param({"a": [{}] * (MAX_CONTAINERS - 2)}, {"a": [{}] * (MAX_CONTAINERS - 1)}, id="maps in a list"),
        pytest.param(
            {"a": [{"": []}] * (MAX_CONTAINERS // 2 - 1)}, {"a": [{"": []}] * (MAX_CONTAINERS // 2)}, id="lists in maps"
        ),
    ],
)
def test_counts_containers_and_other_values(fine: dict[str, Any], more: dict[str, Any]) -> None:
    packed = msgpack.packb(fine)
    assert metadata_end(packed, 0) == len(packed)
    assert metadata_fault(fine) is None
    assert metadata_fault(more) == TOO_MUCH
    with pytest.raises(RecordError, match=PREFIX + TOO_MUCH):
        metadata_end(msgpack.packb(more), 0)


def test_a_walk_over_values_that_hold_each_other_ends() -> None:
    lists: list[Any] = [0] * 1_000
    for _ in range(20):
        lists = [lists] * 1_000
    tracemalloc.start()
    assert metadata_fault({"a": lists}) == TOO_MUCH
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert peak < 8 << 20


@pytest.mark.parametrize("item", [b"\x90", b"\x80", b"\xe0", b"\x81\xa0\xc0", b"\x91\x90", b"\xa2ab"])
def test_a_walk_over_bytes_takes_no_memory(item: bytes) -> None:
    packed = b"\x81\xa0\xdd" + struct.pack(">I", 100_000) + item * 100_000
    tracemalloc.start()
    assert metadata_end(packed, 0) == len(packed)
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert peak < 100_000
