"""Records, written and read: the bytes against the specification, and what an open record promises."""

from __future__ import annotations

import contextlib
import copy
import errno
import math
import os
import pickle
import resource
import struct
import sys
import tracemalloc
import warnings
import weakref
import zlib
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar

import ml_dtypes
import msgpack
import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

import wheelweights as ww
from making.records import MAGIC, buffer, entry, header_of, record
from making.values import VALUES
from wheelweights import DtypeError, Record, RecordError, TensorInfo, open_record, write_record
from wheelweights.dtypes import DTYPES, numpy_dtype
from wheelweights.record import mapping, read_record

if TYPE_CHECKING:
    from collections.abc import Callable, Hashable, Iterator

DAMAGED = "\n  Reinstall the package that ships it; if it is yours, rebuild the wheel."
WITHOUT_NUMPY = [name for name, dtype in DTYPES.items() if dtype.numpy is None]


def sample(dtype: str, shape: tuple[int, ...] = (3, 5), seed: int = 0) -> np.ndarray[Any, Any]:
    """Make an array of any bits; bools of 0 and 1."""
    count = math.prod(shape) * DTYPES[dtype].itemsize
    raw = np.random.default_rng(seed).integers(0, 2 if dtype == "bool" else 256, count, np.uint8)
    return raw.view(numpy_dtype(dtype)).reshape(shape)


def same(found: Any, expected: Any) -> bool:
    """Tell whether two arrays are the same to the bit."""
    little = expected.astype(expected.dtype.newbyteorder("<"))
    return bool(found.dtype == little.dtype and found.shape == little.shape and found.tobytes() == little.tobytes())


def written(folder: Path, tensors: Any, **options: Any) -> bytes:
    """Write `model.mpk` and return its bytes."""
    size = write_record(folder / "model.mpk", tensors, **options)
    data = (folder / "model.mpk").read_bytes()
    assert size == len(data)
    return data


def document(data: bytes) -> dict[str, Any]:
    """Read a record as anybody with a MessagePack library would."""
    whole: dict[str, Any] = msgpack.unpackb(data)
    return whole


@dataclass
class Delivered:
    """A tensor that gives its elements in blocks when it is written."""

    dtype: str
    shape: tuple[int, ...]
    give: Callable[[], Iterator[np.ndarray[Any, Any]]]
    tie: Hashable = None

    def blocks(self) -> Iterator[np.ndarray[Any, Any]]:
        return self.give()


# ------------------------------------------------------------------------------------------------------------ the bytes


def test_writes_the_bytes_of_the_specification(tmp_path: Path) -> None:
    assert written(tmp_path, {"w": np.array(VALUES, np.float32)}) == record()
    tensors = {"w": np.array(VALUES, np.float32), "x": np.array(VALUES, np.float32)}
    metadata = {"user": {"license": "MIT"}, "config": {"sizes": [1, 2.5, None, True]}}
    by_hand = record({"w": entry(source="old"), "x": entry(69)}, [buffer(), buffer()], metadata=metadata)
    assert written(tmp_path, tensors, metadata=metadata, source_keys={"w": "old", "x": "x"}) == by_hand


def test_writes_an_empty_record(tmp_path: Path) -> None:
    data = written(tmp_path, {})
    assert data == record({}, [])
    assert len(data) % 64 == 59
    assert document(data)["buffers"] == []


def test_begins_with_the_magic_number(tmp_path: Path) -> None:
    data = written(tmp_path, {"a": sample("float32")}, metadata={"generator": "a test"})
    assert data.startswith(b"\x88\xa6format\xacwheelweights\xa7version\x01\xabheader_size\xce")
    assert data[: len(MAGIC)] == MAGIC


def test_the_header_holds_its_checksum(tmp_path: Path) -> None:
    """By the words of the specification, from the file alone."""
    data = written(tmp_path, {"a": sample("float32")}, metadata={"generator": "a test"})
    whole = document(data)
    assert data[47:61] == b"\xacheader_crc32\xce"
    assert int.from_bytes(data[61:65], "big") == whole["header_crc32"]
    assert whole["header_crc32"] == zlib.crc32(data[:61] + bytes(4) + data[65 : whole["header_size"]])


def test_lays_every_dtype_out_as_the_specification_says(tmp_path: Path) -> None:
    arrays = {name: sample(name, (3, 5), seed) for seed, name in enumerate(DTYPES)}
    data = written(tmp_path, arrays)
    whole = document(data)
    assert list(whole) == [
        "format", "version", "header_size", "header_crc32", "metadata", "tensors", "padding", "buffers",
    ]  # fmt: skip
    assert (whole["format"], whole["version"]) == ("wheelweights", 1)
    header = whole["header_size"]
    assert (header + 5) % 64 == 0
    assert data[header - 5 : header] == b"\xdd" + struct.pack(">I", len(arrays))
    assert whole["padding"] == bytes(len(whole["padding"]))
    assert len(whole["padding"]) < 64
    offset = 5
    for (key, array), values, stored in zip(whole["tensors"].items(), arrays.values(), whole["buffers"], strict=True):
        payload = values.tobytes()
        assert array == {"dtype": key, "shape": [3, 5], "offset": offset, "crc32": zlib.crc32(payload)}
        start = header + offset
        assert start % 64 == 0
        assert data[start - 5 : start] == b"\xc6" + struct.pack(">I", len(stored))
        assert data[start : start + len(payload)] == payload
        assert stored == payload + bytes(len(stored) - len(payload))
        assert len(stored) % 64 == 59
        assert len(stored) - len(payload) < 64
        offset += len(stored) + 5
    assert header + offset - 5 == len(data)


def test_can_be_read_without_this_package(tmp_path: Path) -> None:
    """The recipe of the specification: buffers stand in the order of the offsets."""
    arrays = {"a": sample("float32", (2, 3)), "b": sample("int64", (7,)), "c": sample("float16", ())}
    whole = document(written(tmp_path, arrays))
    for (key, tensor), stored in zip(whole["tensors"].items(), whole["buffers"], strict=True):
        found = np.frombuffer(stored, tensor["dtype"], math.prod(tensor["shape"])).reshape(tensor["shape"])
        assert same(found, arrays[key])


def test_keeps_the_order_of_the_tensors(tmp_path: Path) -> None:
    names = ["z", "a", "m.1", "m.0", ""]
    data = written(tmp_path, {name: sample("int8", (1,), seed) for seed, name in enumerate(names)})
    assert list(document(data)["tensors"]) == names == list(open_record(tmp_path / "model.mpk"))


@pytest.mark.parametrize("length", range(130))
def test_metadata_of_any_length_leaves_payloads_aligned(tmp_path: Path, length: int) -> None:
    data = written(tmp_path, {"w": sample("uint8", (1,))}, metadata={"user": {"text": "x" * length}})
    header = document(data)["header_size"]
    assert (header + 5) % 64 == 0
    assert open_record(tmp_path / "model.mpk").metadata == {"user": {"text": "x" * length}}


@pytest.mark.parametrize("nbytes", [0, 1, 58, 59, 60, 64, 122, 123, 124])
def test_a_buffer_is_the_smallest_that_is_59_modulo_64(tmp_path: Path, nbytes: int) -> None:
    (stored,) = document(written(tmp_path, {"w": sample("uint8", (nbytes,))}))["buffers"]
    assert len(stored) == next(size for size in range(nbytes, nbytes + 64) if size % 64 == 59)


def test_ties_arrays_that_are_the_same_memory(tmp_path: Path) -> None:
    weight = sample("float32", (4, 4))
    arrays = {
        "encoder": weight, "decoder": weight, "view": weight[:], "copy": weight.copy(), "flat": weight.reshape(16),
        "bits": weight.view(np.int32), "turned": weight.T, "half": weight[:2], "rest": weight[2:],
    }  # fmt: skip
    whole = document(written(tmp_path, arrays))
    places = {key: tensor["offset"] for key, tensor in whole["tensors"].items()}
    assert places["encoder"] == places["decoder"] == places["view"] == 5
    others = [places[key] for key in ("encoder", "copy", "flat", "bits", "turned", "half", "rest")]
    assert len(set(others)) == len(others) == len(whole["buffers"])
    opened = open_record(tmp_path / "model.mpk")
    assert all(same(opened[key], array) for key, array in arrays.items())
    assert np.shares_memory(opened["encoder"], opened["decoder"])
    assert not np.shares_memory(opened["encoder"], opened["copy"])


def test_ties_what_says_that_it_is_tied(tmp_path: Path) -> None:
    def never() -> Iterator[np.ndarray[Any, Any]]:
        raise AssertionError("a tied tensor was read twice")

    first = Delivered("uint8", (4,), lambda: iter([np.arange(4, dtype=np.uint8)]), tie="storage")
    data = written(tmp_path, {"a": first, "b": Delivered("uint8", (4,), never, tie="storage")})
    assert len(document(data)["buffers"]) == 1
    assert open_record(tmp_path / "model.mpk")["b"].tolist() == [0, 1, 2, 3]


def test_gives_tensors_of_another_shape_over_one_storage_buffers_of_their_own(tmp_path: Path) -> None:
    def give() -> Iterator[np.ndarray[Any, Any]]:
        yield np.arange(4, dtype=np.uint8)

    tensors = {
        "a": Delivered("uint8", (4,), give, tie="s"), "b": Delivered("uint8", (2, 2), give, tie="s"),
        "c": Delivered("int8", (4,), give, tie="s"),
    }  # fmt: skip
    assert len(document(written(tmp_path, tensors))["buffers"]) == 3


@pytest.mark.parametrize("shape", [(0,), (3, 0), (0, 3), (2, 0, 2)])
def test_keeps_the_shape_of_empty_tensors(tmp_path: Path, shape: tuple[int, ...]) -> None:
    data = written(tmp_path, {"none": np.empty(shape, np.float64), "also": np.empty(shape, np.float64)})
    assert [len(stored) for stored in document(data)["buffers"]] == [59, 59]
    opened = open_record(tmp_path / "model.mpk")
    assert opened["none"].shape == opened.info("none").shape == shape
    assert opened["none"].dtype == np.float64
    opened.verify()


@pytest.mark.parametrize("scalar", [np.float32(2.5), np.array(2.5, np.float32), np.ones(3, np.float32)[1] * 2.5])
def test_writes_scalars(tmp_path: Path, scalar: Any) -> None:
    written(tmp_path, {"scale": scalar})
    found = open_record(tmp_path / "model.mpk")["scale"]
    assert found.dtype == np.float32
    assert (found.shape, float(found)) == ((), 2.5)


BASE = np.arange(24, dtype=np.float32).reshape(4, 6)


@pytest.mark.parametrize(
    "array",
    [
        pytest.param(BASE.T, id="transposed"),
        pytest.param(BASE[:, ::2], id="every second column"),
        pytest.param(BASE[::-1], id="reversed"),
        pytest.param(BASE[1:3, 2:5], id="a part"),
        pytest.param(np.asfortranarray(BASE), id="column by column"),
        pytest.param(np.broadcast_to(BASE[0], (3, 6)), id="expanded"),
        pytest.param(BASE.astype(">f4"), id="big-endian"),
        pytest.param(BASE.astype(">f4").T, id="big-endian, transposed"),
        pytest.param((BASE + 1j * BASE).astype(">c16"), id="big-endian complex"),
        pytest.param(BASE.astype(">i2"), id="big-endian int16"),
        pytest.param(np.frombuffer(b"\0" + BASE.tobytes(), np.float32, 24, 1), id="unaligned"),
        pytest.param(BASE.astype(ml_dtypes.bfloat16).T, id="bfloat16, transposed"),
    ],
)
def test_writes_little_endian_in_c_order(tmp_path: Path, array: np.ndarray[Any, Any]) -> None:
    data = written(tmp_path, {"w": array})
    little = np.ascontiguousarray(array).astype(array.dtype.newbyteorder("<")).tobytes()
    assert document(data)["buffers"][0][: len(little)] == little
    found = open_record(tmp_path / "model.mpk")["w"]
    assert same(found, array)
    assert found.flags.c_contiguous


def test_does_not_change_what_it_writes(tmp_path: Path) -> None:
    array, metadata, sources = BASE.copy(), {"user": {"a": [1]}}, {"w": "v"}
    written(tmp_path, {"w": array}, metadata=metadata, source_keys=sources)
    assert array.flags.writeable
    assert (array == BASE).all()
    assert (metadata, sources) == ({"user": {"a": [1]}}, {"w": "v"})


def test_notes_the_key_of_the_checkpoint_only_where_it_differs(tmp_path: Path) -> None:
    arrays = {"a": sample("int8"), "b": sample("int8"), "c": sample("int8")}
    data = written(tmp_path, arrays, source_keys={"a": "module.a", "b": "b", "elsewhere": "x"})
    tensors = document(data)["tensors"]
    assert tensors["a"]["source"] == "module.a"
    assert "source" not in tensors["b"]
    assert "source" not in tensors["c"]
    opened = open_record(tmp_path / "model.mpk")
    assert [opened.info(key).source for key in opened] == ["module.a", "b", "c"]
    assert list(opened.state_dict()) == ["a", "b", "c"]
    assert list(opened.state_dict(source_keys=True)) == ["module.a", "b", "c"]
    assert same(opened.state_dict(source_keys=True)["module.a"], arrays["a"])


@pytest.mark.parametrize(
    ("source_keys", "key", "other", "source"),
    [
        pytest.param({"a": "x", "c": "x"}, "c", "a", "x", id="two that were renamed"),
        pytest.param({"a": "c"}, "c", "a", "c", id="one that was renamed, before"),
        pytest.param({"c": "a"}, "c", "a", "a", id="one that was renamed, behind"),
    ],
)
def test_refuses_two_tensors_with_one_source(
    tmp_path: Path, source_keys: dict[str, str], key: str, other: str, source: str
) -> None:
    """`state_dict(source_keys=True)` could give one of them only."""
    arrays = {"a": sample("int8"), "b": sample("int8"), "c": sample("int8")}
    with pytest.raises(RecordError) as caught:
        write_record(tmp_path / "model.mpk", arrays, source_keys=source_keys)
    assert str(caught.value) == (
        f"tensor `{key}`: expected a source key of its own, found `{source}`, that of tensor `{other}`"
        "\n  Give each tensor its own in source_keys, or leave one of the two out."
    )
    assert list(tmp_path.iterdir()) == []


def test_tensors_may_swap_their_keys(tmp_path: Path) -> None:
    arrays = {"a": sample("int8", seed=1), "b": sample("int8", seed=2)}
    written(tmp_path, arrays, source_keys={"a": "b", "b": "a"})
    found = open_record(tmp_path / "model.mpk").state_dict(source_keys=True)
    assert same(found["a"], arrays["b"])
    assert same(found["b"], arrays["a"])


def test_the_same_input_gives_the_same_bytes(tmp_path: Path) -> None:
    arrays = {name: sample(name) for name in DTYPES}
    first = written(tmp_path, arrays, metadata={"user": {"b": 1, "a": 2}})
    (tmp_path / "other").mkdir()
    again = written(tmp_path / "other", {k: v.copy() for k, v in arrays.items()}, metadata={"user": {"b": 1, "a": 2}})
    assert first == again
    assert written(tmp_path, arrays, metadata={"user": {"b": 1, "a": 3}}) != first


def test_a_record_is_rewritten_byte_for_byte(tmp_path: Path) -> None:
    shared = sample("float32")
    arrays = {name: sample(name) for name in DTYPES} | {"tied": shared, "tied too": shared, "none": np.empty((0, 2))}
    first = written(tmp_path, arrays, metadata={"user": {"a": "b"}}, source_keys={"bool": "old"})
    with open_record(tmp_path / "model.mpk") as opened:
        sources = {key: opened.info(key).source for key in opened}
        write_record(tmp_path / "copy.mpk", opened, metadata=opened.metadata, source_keys=sources)
    assert (tmp_path / "copy.mpk").read_bytes() == first


# ------------------------------------------------------------------------------------------------------------- metadata


def test_metadata_holds_what_json_has(tmp_path: Path) -> None:
    metadata: dict[str, Any] = {
        "user": {"": "", "ünï": "\N{PILE OF POO}", "line\n": "\0"},
        "config": [None, True, False, 0, -(2**63), 2**64 - 1, 0.1, float("inf"), {"a": [[], {}]}],
    }
    assert document(written(tmp_path, {}, metadata=metadata))["metadata"] == metadata
    assert open_record(tmp_path / "model.mpk").metadata == metadata


BOUNDED = "\n  Keep integers within 64 bits and text valid Unicode."
PLAIN = "\n  Give dicts with text as keys, lists, text, numbers, bools and None."


@pytest.mark.parametrize(
    ("value", "message"),
    [
        pytest.param((1,), "metadata holds a value of type tuple, which JSON lacks" + PLAIN, id="tuple"),
        pytest.param(b"x", "metadata holds a value of type bytes, which JSON lacks" + PLAIN, id="bytes"),
        pytest.param({1}, "metadata holds a value of type set, which JSON lacks" + PLAIN, id="set"),
        pytest.param(
            np.float32(1), "metadata holds a value of type float32, which JSON lacks" + PLAIN, id="numpy scalar"
        ),
        pytest.param({1: 2}, "expected text as the keys of metadata, found something else" + PLAIN, id="int as a key"),
        pytest.param(2**64, "metadata cannot be written: Integer value out of range" + BOUNDED, id="large int"),
        pytest.param(
            "\ud800",
            "metadata cannot be written: 'utf-8' codec can't encode character '\\ud800' in position 0: "
            "surrogates not allowed" + BOUNDED,
            id="surrogate",
        ),
    ],
)
def test_refuses_metadata_that_json_cannot_express(tmp_path: Path, value: object, message: str) -> None:
    with pytest.raises(RecordError) as caught:
        write_record(tmp_path / "model.mpk", {}, metadata={"user": value})
    assert str(caught.value) == message
    assert list(tmp_path.iterdir()) == []


def test_refuses_metadata_that_is_nested_deeper_than_it_reads(tmp_path: Path) -> None:
    deep: Any = None
    for _ in range(31):
        deep = [deep]
    write_record(tmp_path / "model.mpk", {}, metadata={"user": deep})
    assert open_record(tmp_path / "model.mpk").metadata == {"user": deep}
    with pytest.raises(RecordError, match=r"^metadata is nested deeper than 32 levels"):
        write_record(tmp_path / "model.mpk", {}, metadata={"user": [deep]})
    endless: list[Any] = []
    endless.append(endless)
    with pytest.raises(RecordError, match=r"^metadata is nested deeper than 32 levels"):
        write_record(tmp_path / "model.mpk", {}, metadata={"user": endless})


def test_refuses_more_values_in_metadata_than_it_reads(tmp_path: Path) -> None:
    write_record(tmp_path / "model.mpk", {}, metadata={"config": [0] * 1_048_576})
    assert len(open_record(tmp_path / "model.mpk").config()) == 1_048_576
    with pytest.raises(RecordError) as caught:
        write_record(tmp_path / "model.mpk", {}, metadata={"config": [[0] * 1_048_577]})
    assert str(caught.value) == (
        "metadata holds more than 262,144 maps and lists, or more than 1,048,576 other values" + PLAIN
    )


def test_refuses_a_header_over_64_MiB(tmp_path: Path) -> None:  # noqa: N802
    with pytest.raises(RecordError) as caught:
        write_record(tmp_path / "model.mpk", {}, metadata={"user": "x" * (64 << 20)})
    assert str(caught.value) == (
        "expected names and metadata of at most 67,108,864 bytes, found 67,108,987\n  Make metadata smaller."
    )
    assert list(tmp_path.iterdir()) == []


def test_metadata_can_be_completed_when_all_tensors_are_written(tmp_path: Path) -> None:
    metadata: dict[str, Any] = {"source": {"sha256": "0" * 64}}

    def complete() -> None:
        metadata["source"]["sha256"] = "f" * 64

    data = written(tmp_path, {"w": BASE}, metadata=metadata, complete=complete)
    assert document(data)["metadata"] == {"source": {"sha256": "f" * 64}}
    open_record(tmp_path / "model.mpk").verify()


def test_refuses_metadata_that_grew_meanwhile(tmp_path: Path) -> None:
    metadata: dict[str, Any] = {"user": ""}
    with pytest.raises(RecordError) as caught:
        write_record(tmp_path / "model.mpk", {}, metadata=metadata, complete=lambda: metadata.update(user="x" * 100))
    assert str(caught.value) == "expected metadata of the size it had before, found 251 bytes in the header"
    assert list(tmp_path.iterdir()) == []


# ------------------------------------------------------------------------------------------------ what a writer refuses


@pytest.mark.parametrize(
    ("key", "message"),
    [
        (7, "expected text of at most 65,536 characters as a key, found '7'"),
        (b"w", "expected text of at most 65,536 characters as a key, found b'w'"),
        ("\ud800", r"expected valid Unicode as a key, found '\ud800'"),
        ("w" * 65_537, f"expected text of at most 65,536 characters as a key, found '{'w' * 76}..."),
    ],
)
def test_refuses_keys_that_are_no_text(tmp_path: Path, key: Any, message: str) -> None:
    for arguments in ({"tensors": {key: BASE}}, {"tensors": {"w": BASE}, "source_keys": {"w": key}}):
        with pytest.raises(RecordError) as caught:
            write_record(tmp_path / "model.mpk", **arguments)
        assert str(caught.value) == message
        assert list(tmp_path.iterdir()) == []


def test_refuses_a_dtype_that_no_record_can_hold(tmp_path: Path) -> None:
    with pytest.raises(DtypeError) as caught:
        write_record(tmp_path / "model.mpk", {"names": np.array(["a"], object)})
    assert str(caught.value) == (
        f"tensor `names`: unsupported dtype `object`\n  Convert the array to one of: {', '.join(DTYPES)}."
    )
    with pytest.raises(DtypeError, match=r"^unsupported dtype `complex32`\n  A record can hold bool, int8, "):
        write_record(tmp_path / "model.mpk", {"w": Delivered("complex32", (1,), lambda: iter(()))})
    assert list(tmp_path.iterdir()) == []


def unread(dtype: str, *shape: int) -> Delivered:
    def give() -> Iterator[np.ndarray[Any, Any]]:
        raise InterruptedError("was read")

    return Delivered(dtype, shape, give)


def test_refuses_a_tensor_of_4_GiB_without_reading_it(tmp_path: Path) -> None:  # noqa: N802
    with pytest.raises(RecordError) as caught:
        write_record(tmp_path / "model.mpk", {"w": BASE, "big.weight": unread("float32", 1 << 15, 1 << 15)})
    assert str(caught.value) == (
        "tensor `big.weight`: expected at most 4,294,967,291 bytes (a record's buffers are shorter than 4 GiB), "
        "found 4,294,967,296\n  Split the tensor, or store it in half precision."
    )
    with pytest.raises(RecordError, match="found 4,294,967,292"):
        write_record(tmp_path / "model.mpk", {"w": unread("uint8", (1 << 32) - 4)})


def test_begins_to_write_the_largest_tensor_that_fits(tmp_path: Path) -> None:
    with pytest.raises(RecordError, match=r"was read"):
        write_record(tmp_path / "model.mpk", {"w": unread("uint8", (1 << 32) - 5)})


def test_refuses_an_empty_tensor_that_numpy_could_not_have(tmp_path: Path) -> None:
    write_record(tmp_path / "model.mpk", {"w": Delivered("float32", (0, (1 << 61) - 1), lambda: iter(()))})
    assert open_record(tmp_path / "model.mpk")["w"].shape == (0, (1 << 61) - 1)
    with pytest.raises(RecordError) as caught:
        write_record(tmp_path / "model.mpk", {"w": unread("float32", 0, 1 << 61)})
    assert str(caught.value) == (
        "tensor `w`: expected sizes that make less than 2**63 bytes without the 0, found (0, 2305843009213693952)"
    )


def test_refuses_more_than_64_dimensions(tmp_path: Path) -> None:
    write_record(tmp_path / "model.mpk", {"w": sample("int8", (1,) * 64)})
    assert open_record(tmp_path / "model.mpk")["w"].ndim == 64
    with pytest.raises(RecordError, match=r"^tensor `w`: expected at most 64 dimensions, found 65$"):
        write_record(tmp_path / "model.mpk", {"w": unread("int8", *(1,) * 65)})


@pytest.mark.parametrize(
    ("counts", "delivered"),
    [((), "0"), ((1,), "4"), ((2, 1), "12"), ((5,), "more"), ((4, 1), "more"), ((2, 2, 2), "more")],
)
def test_refuses_a_tensor_that_lies_about_its_size(tmp_path: Path, counts: tuple[int, ...], delivered: str) -> None:
    (tmp_path / "model.mpk").write_bytes(b"before")
    blocks = [np.zeros(count, np.float32) for count in counts]
    with pytest.raises(RecordError) as caught:
        write_record(tmp_path / "model.mpk", {"liar": Delivered("float32", (4,), lambda: iter(blocks))})
    assert str(caught.value) == (
        f"tensor `liar`: expected 16 bytes of dtype and shape, the tensor delivered {delivered}"
    )
    assert (tmp_path / "model.mpk").read_bytes() == b"before"
    assert len(list(tmp_path.iterdir())) == 1


@pytest.mark.parametrize("error", [ValueError("broken"), KeyboardInterrupt(), MemoryError()])
def test_a_tensor_that_fails_leaves_the_file_that_was_there(tmp_path: Path, error: BaseException) -> None:
    def give() -> Iterator[np.ndarray[Any, Any]]:
        yield np.zeros(2, np.float32)
        assert len(list(tmp_path.iterdir())) == 2, "nothing is being written"
        raise error

    before = written(tmp_path, {"w": BASE})
    with pytest.raises(type(error)):
        write_record(tmp_path / "model.mpk", {"w": BASE, "bad": Delivered("float32", (4,), give)})
    assert (tmp_path / "model.mpk").read_bytes() == before
    assert [file.name for file in tmp_path.iterdir()] == ["model.mpk"]


@contextlib.contextmanager
def largest_file(size: int) -> Iterator[None]:
    """Let no file of this process grow beyond a size: what a full disk does, and as real."""
    before = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (size, before[1]))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, before)


@pytest.mark.parametrize("size", [1, 100, 8_192, 1 << 20])
def test_a_file_that_cannot_grow_is_an_error_with_its_path_and_leaves_nothing(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, size: int
) -> None:
    """In the header, among the tensors, or, for what was still in a buffer, when the file is closed."""
    monkeypatch.chdir(tmp_path)
    tensors = {"a": np.zeros(1 << 20, np.uint8), "b": np.zeros(1 << 20, np.uint8)}
    with largest_file(size), pytest.raises(RecordError) as caught:
        write_record("model.mpk", tensors)
    assert str(caught.value) == "model.mpk: cannot be written: File too large"
    assert list(tmp_path.iterdir()) == []
    before = written(tmp_path, {"w": BASE})
    with largest_file(size), pytest.raises(RecordError, match=r"^model\.mpk: cannot be written: "):
        write_record("model.mpk", tensors)
    assert (tmp_path / "model.mpk").read_bytes() == before
    assert [file.name for file in tmp_path.iterdir()] == ["model.mpk"]


class Full:
    """A file that fails in one of its methods, as on a full disk."""

    def __init__(self, file: Any, fails: str, error: BaseException) -> None:
        self.file, self.fails, self.error = file, fails, error

    def __enter__(self) -> Full:
        return self

    def __exit__(self, *_: object) -> None:
        self.file.close()
        if self.fails == "close":
            raise self.error

    def __getattr__(self, name: str) -> Any:
        if name == self.fails:
            raise self.error
        return getattr(self.file, name)


@pytest.mark.parametrize("fails", ["write", "seek", "fileno", "close", "replace"])
@pytest.mark.parametrize(
    "error",
    [OSError(errno.ENOSPC, "No space left on device"), OSError(errno.EIO, "Input/output error"), KeyboardInterrupt()],
)
def test_whatever_fails_while_it_is_written_leaves_what_was_there(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, fails: str, error: BaseException
) -> None:
    monkeypatch.chdir(tmp_path)
    before = written(tmp_path, {"w": BASE})
    real = Path.open

    def fail(*_: object) -> None:
        raise error

    if fails == "replace":
        monkeypatch.setattr(Path, "replace", fail)
    else:
        monkeypatch.setattr(Path, "open", lambda path, mode: Full(real(path, mode), fails, error))
    with pytest.raises((RecordError, KeyboardInterrupt)) as caught:
        write_record("model.mpk", {"w": BASE + 1})
    if isinstance(error, OSError):
        assert str(caught.value) == f"model.mpk: cannot be written: {error.strerror}"
        assert caught.value.__cause__ is error
    else:
        assert caught.value is error
    monkeypatch.undo()
    assert (tmp_path / "model.mpk").read_bytes() == before
    assert [file.name for file in tmp_path.iterdir()] == ["model.mpk"]


def test_says_of_a_tensor_that_cannot_be_read_that_it_is_that(tmp_path: Path) -> None:
    """The file that is written is not at fault."""

    def give() -> Iterator[np.ndarray[Any, Any]]:
        yield np.zeros(2, np.float32)
        raise OSError(errno.ENOSPC, "No space left on device")

    with pytest.raises(RecordError) as caught:
        write_record(tmp_path / "model.mpk", {"w": BASE, "spilled": Delivered("float32", (4,), give)})
    assert str(caught.value) == "tensor `spilled`: cannot be read: No space left on device"
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("name", ["a\0b.mpk", "x" * 5_000, "\ud800\0"])
def test_refuses_to_write_under_a_name_that_no_file_can_have(tmp_path: Path, name: str) -> None:
    with pytest.raises(RecordError, match="cannot be written: "):
        write_record(tmp_path / name, {"w": BASE})
    assert list(tmp_path.iterdir()) == []


def test_replaces_a_record_that_is_open(tmp_path: Path) -> None:
    written(tmp_path, {"w": BASE})
    with open_record(tmp_path / "model.mpk") as before:
        if os.name == "nt":
            pytest.skip("a mapped file cannot be replaced on Windows")
        written(tmp_path, {"w": BASE + 1})
        assert (before["w"] == BASE).all()
    assert (open_record(tmp_path / "model.mpk")["w"] == BASE + 1).all()


def test_says_that_the_folder_is_missing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    with pytest.raises(RecordError) as caught:
        write_record("nowhere/model.mpk", {"w": BASE})
    assert str(caught.value) == "nowhere/model.mpk: cannot be written: No such file or directory"


def test_says_that_the_target_is_a_folder(tmp_path: Path) -> None:
    (tmp_path / "model.mpk").mkdir()
    with pytest.raises(RecordError, match=r"model\.mpk: cannot be written: "):
        write_record(tmp_path / "model.mpk", {"w": BASE})
    assert [file.name for file in tmp_path.iterdir()] == ["model.mpk"]


def test_streams_what_is_delivered_in_blocks(tmp_path: Path) -> None:
    """64 MB come in blocks of 1 MB: as many bytes are never in memory at once."""

    def give() -> Iterator[np.ndarray[Any, Any]]:
        for number in range(64):
            yield np.full(1 << 20, number, np.uint8)

    tracemalloc.start()
    size = write_record(tmp_path / "model.mpk", {"w": Delivered("uint8", (64, 1 << 20), give)})
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert size > 64 << 20
    assert peak < 8 << 20
    opened = open_record(tmp_path / "model.mpk")
    assert opened["w"][:, 7].tolist() == list(range(64))
    opened.verify()


# ------------------------------------------------------------------------------------------------------- an open record


@pytest.fixture
def model(tmp_path: Path) -> Path:
    """A record of every dtype."""
    write_record(tmp_path / "model.mpk", {name: sample(name) for name in DTYPES}, metadata={"user": {"a": "b"}})
    return tmp_path / "model.mpk"


@pytest.mark.parametrize("mmap", [True, False])
def test_arrays_are_read_only_aligned_views(model: Path, mmap: bool) -> None:
    opened = open_record(model, mmap=mmap)
    for key, array in opened.items():
        raw = opened.raw(key)
        assert same(array, sample(key))
        assert array.flags.aligned
        assert not array.flags.writeable
        assert array.ctypes.data % 64 == 0
        assert np.shares_memory(array, raw)
        assert np.shares_memory(array, opened[key])
        assert raw.tobytes() == array.tobytes()
        assert raw.dtype == np.uint8
        assert (raw.shape, raw.flags.writeable) == ((opened.info(key).nbytes,), False)
        with pytest.raises(ValueError, match="read-only"):
            array[0] = 0
        if mmap:
            with pytest.raises(ValueError, match="WRITEABLE"):
                array.flags.writeable = True


def test_is_a_mapping(model: Path) -> None:
    opened = open_record(model)
    assert (len(opened), list(opened)) == (len(DTYPES), list(DTYPES))
    assert "float32" in opened
    assert "nothing" not in opened
    assert 7 not in opened
    assert opened.get("nothing") is None
    assert [key for key, _ in opened.items()] == list(opened.keys())
    for read in (opened.__getitem__, opened.info, opened.raw):
        with pytest.raises(KeyError, match="nothing"):
            read("nothing")


def test_is_equal_to_itself_only_and_hashable(model: Path) -> None:
    opened = open_record(model)
    assert opened == opened
    assert opened != open_record(model)
    assert {opened: 1}[opened] == 1


def test_says_what_it_is(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    write_record("model.mpk", {str(index): sample("int8", (1,)) for index in range(1_001)})
    opened = open_record("model.mpk")
    assert repr(opened) == "<Record 'model.mpk': 1,001 tensors, 1.00 kB>"
    assert (opened.path, opened.format, opened.metadata) == ("model.mpk", "wheelweights", {})
    opened.close()
    assert repr(opened) == "<Record 'model.mpk': 1,001 tensors, 1.00 kB, closed>"


def test_counts_tied_tensors_once_where_it_says_its_size(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    array = sample("float32", (100,))
    write_record("model.mpk", {"a": array, "b": array, "c": sample("int8", (3,)), "d": sample("int8", (0,))})
    assert repr(open_record("model.mpk")) == "<Record 'model.mpk': 4 tensors, 403 B>"


def test_ipython_completes_its_keys(model: Path) -> None:
    opened = open_record(model)
    assert opened._ipython_key_completions_() == list(opened)


def test_info_says_what_the_header_says(tmp_path: Path) -> None:
    data = written(tmp_path, {"w": sample("float16", (2, 3))}, source_keys={"w": "old"})
    header = document(data)["header_size"]
    info = open_record(tmp_path / "model.mpk").info("w")
    crc = zlib.crc32(sample("float16", (2, 3)).tobytes())
    assert info == TensorInfo("float16", (2, 3), 12, header + 5, "old", crc)
    assert data[header + 5 :][:12] == sample("float16", (2, 3)).tobytes()


def test_an_unmapped_record_needs_its_file_no_more(model: Path) -> None:
    opened = open_record(model, mmap=False)
    model.write_bytes(b"")
    model.unlink()
    assert all(same(array, sample(key)) for key, array in opened.items())


def test_opens_by_text_and_by_path(model: Path) -> None:
    assert list(open_record(str(model))) == list(open_record(model))
    assert open_record(str(model)).path == open_record(model).path == str(model)


@pytest.mark.parametrize("mmap", [True, False])
def test_arrays_outlive_the_record(model: Path, mmap: bool) -> None:
    with open_record(model, mmap=mmap) as opened:
        array = opened["float32"]
    del opened
    assert same(array, sample("float32"))


def test_a_closed_record_says_so(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    write_record("model.mpk", {"w": BASE})
    opened = open_record("model.mpk")
    opened.close()
    opened.close()
    for use in (lambda: opened["w"], lambda: opened.raw("w"), opened.state_dict, opened.verify):
        with pytest.raises(RecordError) as caught:
            use()
        assert str(caught.value) == (
            "model.mpk: the record is closed\n  Open it again, or take the arrays before closing."
        )
    assert opened.info("w").shape == (4, 6)
    assert list(opened) == ["w"]


def test_many_threads_read_one_record(model: Path) -> None:
    with open_record(model) as opened, ThreadPoolExecutor(8) as threads:

        def read(number: int) -> bool:
            key = list(DTYPES)[number % len(DTYPES)]
            return same(opened[key], sample(key))

        assert all(threads.map(read, range(400)))


@pytest.mark.parametrize("options", [{}, {"mmap": False}, {"widen": True}, {"verify": True}])
def test_pickling_opens_the_file_again(model: Path, monkeypatch: pytest.MonkeyPatch, options: dict[str, bool]) -> None:
    monkeypatch.chdir(model.parent)
    opened = open_record("model.mpk", **options)
    pickled = pickle.dumps(opened)
    assert len(pickled) < 400 + len(str(model))
    monkeypatch.chdir("/")  # the name was a relative one
    again = pickle.loads(pickled)
    assert isinstance(again, Record)
    assert all(same(again[key], array) for key, array in opened.items())
    assert again.metadata == opened.metadata


def test_a_pickled_record_holds_no_array_and_a_pickled_model_all_of_them(tmp_path: Path) -> None:
    write_record(tmp_path / "model.mpk", {"weight": np.ones((300, 1_000), np.float32)})
    opened = open_record(tmp_path / "model.mpk")
    assert len(pickle.dumps(opened)) < 1_000
    assert len(pickle.dumps(ww.bind(ww.nn.Linear, opened))) > 1_200_000
    assert len(pickle.dumps((opened, ww.nn.Linear))) < 1_000, "what a worker is to be given"


def test_copies_are_the_record_itself(model: Path) -> None:
    opened = open_record(model)
    assert copy.copy(opened) is opened
    assert copy.deepcopy({"a": opened})["a"] is opened


@pytest.mark.skipif(not hasattr(os, "fork"), reason="needs fork")
def test_a_forked_process_reads_on(model: Path) -> None:
    opened = open_record(model)
    with warnings.catch_warnings():
        warnings.simplefilter(
            "ignore", DeprecationWarning
        )  # there may be other threads, none of which holds a lock here
        child = os.fork()
    if child == 0:
        fine = all(same(array, sample(key)) for key, array in opened.items())
        os._exit(0 if fine else 1)
    assert os.waitpid(child, 0)[1] == 0


def sparse(path: Path, tensors: int = 2, each: int = 1 << 30) -> int:
    """Write a record of zeros, of which only the header and the marks are on the disk; return the header's size."""
    size = -(-(each + 5) // 64) * 64
    head = header_of(
        record(
            {f"w{i}": entry(5 + i * size, dtype="uint8", shape=[each], crc32=0) for i in range(tensors)},
            [],
            count=tensors,
        )
    )
    with path.open("wb") as file:
        file.write(head)
        for number in range(tensors):
            file.seek(len(head) + number * size)
            file.write(b"\xc6" + struct.pack(">I", size - 5))
        file.truncate(len(head) + tensors * size)
    return len(head)


class Watched(np.ndarray[Any, Any]):
    """Bytes that remember which of them were looked at."""

    looked_at: ClassVar[set[int]] = set()

    def __getitem__(self, place: Any) -> Any:
        self.looked_at.update(range(*place.indices(self.size)))
        return np.asarray(self)[place]


def test_opening_looks_at_the_header_alone_and_taking_a_tensor_at_it_and_its_mark(tmp_path: Path) -> None:
    data = written(tmp_path, {"a": sample("uint8", (70,)), "b": sample("uint8", (3,))})
    header = header_of(data)
    watched = np.frombuffer(data, np.uint8).view(Watched)
    Watched.looked_at.clear()
    opened = read_record(watched, path="model.mpk")
    assert Watched.looked_at == set(range(len(header)))
    at = opened.info("b").offset
    assert at is not None
    assert opened["b"].tobytes() == sample("uint8", (3,)).tobytes()
    assert Watched.looked_at == {*range(len(header)), *range(at - 5, at + 3)}
    Watched.looked_at.clear()
    opened.verify()
    assert Watched.looked_at == set(range(len(data)))


def test_opening_2_GiB_takes_no_memory(tmp_path: Path) -> None:  # noqa: N802
    sparse(tmp_path / "model.mpk")
    tracemalloc.start()
    opened = open_record(tmp_path / "model.mpk")
    array = opened["w1"]
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert array.shape == (1 << 30,)
    assert array[-1] == 0
    assert peak < 1 << 20


def resident(path: Path) -> int:
    """Tell how many kB of the map of a file the system has given to this process."""
    lines = iter(Path("/proc/self/smaps").read_text().splitlines())
    sizes = [
        int(next(line for line in lines if line.startswith("Rss:")).split()[1]) for each in lines if str(path) in each
    ]
    assert sizes, "it is not mapped"
    return sum(sizes)


def bytes_read() -> int:
    """Tell how many bytes this process has read from files."""
    return int(Path("/proc/self/io").read_text().split()[1])


@pytest.mark.skipif(not Path("/proc/self/smaps").exists(), reason="needs /proc")
def test_opening_reads_the_header_and_maps_no_page_of_the_file(tmp_path: Path) -> None:
    """The same for any size: what is counted is bytes read (a page at most too many) and pages mapped, not time."""
    path = tmp_path / "model.mpk"
    header = sparse(path, tensors=200, each=10_000_000)
    open_record(path).close()  # what is imported and cached is imported and cached now
    before = bytes_read()
    looking = bytes_read() - before
    before = bytes_read()
    opened = open_record(path)
    read = bytes_read() - before - looking
    assert header <= read <= header + 4_096, f"{read:,} bytes for a header of {header:,}"
    assert resident(path) == 0
    assert opened["w100"].size == 10_000_000
    assert 0 < resident(path) <= 2_048


def test_opening_and_taking_a_tensor_does_not_look_at_other_marks(tmp_path: Path) -> None:
    path = tmp_path / "model.mpk"
    data = bytearray(written(tmp_path, {"a": BASE, "b": BASE + 1}))
    at = open_record(path).info("b").offset
    assert at is not None
    data[at - 1] ^= 1
    path.write_bytes(data)
    opened = open_record(path)
    assert same(opened["a"], BASE)
    for use in (lambda: opened["b"], opened.verify, lambda: open_record(path, verify=True)):
        with pytest.raises(RecordError, match=r"tensor `b`: malformed record: expected a buffer of 123 bytes, found "):
            use()


@pytest.mark.parametrize("mmap", [True, False])
def test_opens_with_every_byte_checked_if_asked_to(tmp_path: Path, mmap: bool) -> None:
    path = tmp_path / "model.mpk"
    data = bytearray(written(tmp_path, {"a": BASE}))
    opened = open_record(path, mmap=mmap, verify=True)
    assert same(opened["a"], BASE)
    opened.close()
    data[-60] ^= 1
    path.write_bytes(data)
    open_record(path, mmap=mmap).close()
    with pytest.raises(RecordError, match=r"model\.mpk: tensor `a`: damaged: expected CRC-32 ") as caught:
        open_record(path, mmap=mmap, verify=True)
    assert (caught.value.path, caught.value.key) == (str(path), "a")


def test_verify_looks_at_the_header_again(tmp_path: Path) -> None:
    path = tmp_path / "model.mpk"
    data = bytearray(written(tmp_path, {"a": BASE}, metadata={"config": {"heads": 8}}))
    opened = open_record(path)
    data[data.index(b"heads") + 5] = 9
    with path.open("r+b") as file:  # in place: the map sees it
        file.write(data)
    with pytest.raises(RecordError, match=r"model\.mpk: damaged header: expected CRC-32 "):
        opened.verify()


def test_verify_reads_the_buffer_of_tied_tensors_once(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    written(tmp_path, {f"t{number}": BASE for number in range(50)})
    opened = open_record(tmp_path / "model.mpk")
    sizes: list[int] = []
    real = zlib.crc32

    def counting(data: memoryview, *more: int) -> int:
        sizes.append(len(data))
        return real(data, *more)

    monkeypatch.setattr("wheelweights.record.buffers.zlib.crc32", counting)
    opened.verify()
    assert sizes.count(BASE.nbytes) == 1


def test_the_bools_of_tied_tensors_are_checked_once_however_often_they_are_taken(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    shared, alone = np.array([True, False]), np.array([False])
    written(tmp_path, {f"t{number}": shared for number in range(50)} | {"alone": alone, "f": BASE})
    opened = open_record(tmp_path / "model.mpk")
    checked: list[str] = []
    real = mapping.check_bools

    def counting(raw: np.ndarray[Any, Any], key: str, path: str) -> None:
        checked.append(key)
        real(raw, key, path)

    monkeypatch.setattr(mapping, "check_bools", counting)
    for _ in range(3):
        assert all(array.tolist() == [True, False] for key, array in opened.items() if key.startswith("t"))
    assert opened["alone"].tolist() == [False]
    assert checked == ["t0", "alone"]


def test_bools_that_are_none_are_refused_under_every_name_and_every_time(tmp_path: Path) -> None:
    bools = {"dtype": "bool", "crc32": zlib.crc32(b"\0\1\2\1")}
    data = record({"a": entry(**bools), "b": entry(**bools)}, [buffer(b"\0\1\2\1")])
    opened = read_record(np.frombuffer(data, np.uint8), path="model.mpk")
    for key in ("a", "b", "a"):
        with pytest.raises(RecordError) as caught:
            opened[key]
        assert str(caught.value).startswith(
            f"model.mpk: tensor `{key}`: expected bytes 0 and 1 in a bool tensor, found 2\n"
        )


# -------------------------------------------------------------------------------------------------- bfloat16 and float8


@pytest.mark.parametrize("name", WITHOUT_NUMPY)
def test_tied_tensors_that_are_widened_share_their_copy_while_it_is_used(tmp_path: Path, name: str) -> None:
    shared = np.arange(1, 9).astype(numpy_dtype(name))
    written(tmp_path, {"a": shared, "b": shared, "alone": shared.copy(), "f": BASE})
    opened = open_record(tmp_path / "model.mpk", widen=True)
    kept = opened["a"]
    assert opened["b"] is kept
    assert not np.shares_memory(opened["alone"], kept)
    assert opened["alone"].tolist() == kept.tolist()
    assert not opened["a"].flags.writeable
    forgotten = weakref.ref(kept)
    del kept
    assert forgotten() is None


@pytest.mark.parametrize("name", WITHOUT_NUMPY)
def test_widened_values_are_exactly_those_of_ml_dtypes(tmp_path: Path, name: str) -> None:
    """All codes of the dtype."""
    itemsize = DTYPES[name].itemsize
    codes = np.arange(1 << (8 * itemsize), dtype=f"<u{itemsize}").view(numpy_dtype(name)).reshape(16, -1)
    write_record(tmp_path / "model.mpk", {"w": codes, "f": BASE})
    opened = open_record(tmp_path / "model.mpk", widen=True)
    found = opened["w"]
    assert found.dtype == np.float32
    assert not found.flags.writeable
    np.testing.assert_array_equal(found, codes.astype(np.float32))
    assert (np.signbit(found) == np.signbit(codes.astype(np.float32)))[~np.isnan(found)].all()
    assert opened.info("w").dtype == name
    assert np.shares_memory(opened["f"], opened.raw("f")), "what numpy has is not copied"


@pytest.mark.parametrize("name", WITHOUT_NUMPY)
def test_without_ml_dtypes_says_what_to_install(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, name: str) -> None:
    monkeypatch.chdir(tmp_path)
    write_record("model.mpk", {"w": sample(name), "f": BASE})
    numpy_dtype.cache_clear()
    monkeypatch.setitem(sys.modules, "ml_dtypes", None)
    opened = open_record("model.mpk")
    with pytest.raises(DtypeError) as caught:
        _ = opened["w"]
    assert str(caught.value) == (
        f"model.mpk: tensor `w`: numpy has no `{name}` of its own\n"
        "  Install wheelweights[ml-dtypes], or open with widen=True to get float32 copies (exact)."
    )
    assert (opened["f"] == BASE).all()
    assert open_record("model.mpk", widen=True)["w"].dtype == np.float32
    opened.verify()


# -------------------------------------------------------------------------------------------------------- configuration


@dataclass
class Sizes:
    hidden: int
    rate: float = 0.5


def test_gives_the_configuration_that_was_baked_in(tmp_path: Path) -> None:
    written(tmp_path, {}, metadata={"config": {"hidden": 7}})
    opened = open_record(tmp_path / "model.mpk")
    assert opened.config() == {"hidden": 7}
    assert opened.config(Sizes) == Sizes(7, 0.5)


def test_a_configuration_may_be_any_value(tmp_path: Path) -> None:
    written(tmp_path, {}, metadata={"config": None})
    assert open_record(tmp_path / "model.mpk").config() is None


def test_says_that_there_is_no_configuration(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    written(tmp_path, {})
    opened = open_record("model.mpk")
    for arguments in ((), (Sizes,)):
        with pytest.raises(RecordError) as caught:
            opened.config(*arguments)
        assert str(caught.value) == (
            "model.mpk: no configuration in this record\n"
            "  Set config-key for it where it is built (tool.hatch.build.hooks.wheelweights)."
        )


# --------------------------------------------------------------------------------------------------------------- verify


def test_verify_is_content_with_every_dtype(model: Path) -> None:
    open_record(model).verify()
    open_record(model, mmap=False).verify()
    open_record(model, widen=True).verify()


def test_verify_tells_how_many_bytes_it_has_checked_those_of_tied_tensors_once(tmp_path: Path) -> None:
    values = sample("int16", (5,))
    written(tmp_path, {"a": values, "tied": values, "b": sample("int8", (3,)), "empty": sample("int8", (0,))})
    told: list[int] = []
    open_record(tmp_path / "model.mpk").verify(progress=told.append)
    assert told == [10, 3]


def test_verify_finds_every_flipped_byte_of_the_values(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    data = bytearray(written(tmp_path, {"a": sample("int8", (3,)), "b": sample("int16", (2,))}))
    infos = {key: open_record("model.mpk").info(key) for key in "ab"}
    for key, info in infos.items():
        assert info.offset is not None
        for at in range(info.offset, info.offset + info.nbytes):
            data[at] ^= 0x10
            (tmp_path / "model.mpk").write_bytes(data)
            opened = open_record("model.mpk")
            with pytest.raises(RecordError) as caught:
                opened.verify()
            found = zlib.crc32(opened.raw(key).tobytes())
            assert str(caught.value) == (
                f"model.mpk: tensor `{key}`: damaged: expected CRC-32 {info.crc32:08x}, found {found:08x}{DAMAGED}"
            )
            assert (caught.value.expected, caught.value.found, caught.value.key) == (info.crc32, found, key)
            opened.close()
            data[at] ^= 0x10


def test_verify_finds_every_byte_between_the_values_that_is_not_zero(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    data = bytearray(written(tmp_path, {"a": sample("uint8", (3,)), "none": np.empty(0), "b": sample("uint8", (59,))}))
    opened = open_record("model.mpk")
    ends = [(key, opened.info(key)) for key in ("a", "none")]
    opened.close()
    for key, info in ends:
        assert info.offset is not None
        for at in range(info.offset + info.nbytes, info.offset + 59):
            data[at] = 1
            (tmp_path / "model.mpk").write_bytes(data)
            opened = open_record("model.mpk")
            with pytest.raises(RecordError) as caught:
                opened.verify()
            wrong = bytes(data[at : info.offset + 59])[:16]
            assert str(caught.value) == (
                f"model.mpk: tensor `{key}`: expected zeros after the values, found {wrong!a}{DAMAGED}"
            )
            opened.close()
            data[at] = 0


# ----------------------------------------------------------------------------------------------------------- round trip

names = st.text(st.characters(exclude_categories=["Cs"]), max_size=12)
shapes = st.lists(st.integers(0, 4), max_size=4).map(tuple)
plain = st.recursive(
    st.none() | st.booleans() | st.integers(-(2**63), 2**64 - 1) | st.floats(allow_nan=False) | names,
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(names, inner, max_size=3),
    max_leaves=8,
)


@settings(
    max_examples=150, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow]
)
@given(
    kinds=st.lists(st.tuples(st.sampled_from(list(DTYPES)), shapes, st.integers(0, 2)), max_size=6),
    keys=st.lists(names, min_size=12, max_size=12, unique=True),
    metadata=st.dictionaries(names, plain, max_size=3),
    sources=st.lists(names, min_size=12, max_size=12, unique=True),
)
def test_what_is_written_is_read(tmp_path: Path, kinds: Any, keys: Any, metadata: Any, sources: Any) -> None:
    arrays = [sample(dtype, shape, seed) for seed, (dtype, shape, _) in enumerate(kinds)]
    tied = [array for array, (_, _, times) in zip(arrays, kinds, strict=True) for _ in range(times)]
    tensors = dict(zip(keys, tied, strict=False))
    source_keys = dict(zip(keys, sources, strict=True))
    data = written(tmp_path, tensors, metadata=metadata, source_keys=source_keys)
    assert document(data)["metadata"] == metadata
    for mmap in (True, False):
        with open_record(tmp_path / "model.mpk", mmap=mmap) as opened:
            assert list(opened) == list(tensors)
            assert opened.metadata == metadata
            assert all(same(opened[key], array) for key, array in tensors.items())
            assert all(opened.info(key).source == source_keys[key] for key in opened)
            assert list(opened.state_dict(source_keys=True)) == [source_keys[key] for key in tensors]
            opened.verify()
    distinct = len({id(array) for array in tensors.values() if array.size})
    assert len(document(data)["buffers"]) == distinct + sum(not array.size for array in tensors.values())
