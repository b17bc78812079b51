from __future__ import annotations

import gzip
import random
import tracemalloc
from typing import TYPE_CHECKING, Any

import ml_dtypes
import msgpack
import numpy as np
import pytest

from wheelweights import burn
from wheelweights.burn import BurnTensor, read
from wheelweights.dtypes import numpy_dtype
from wheelweights.errors import RecordError
from wheelweights.record import open_record

if TYPE_CHECKING:
    from pathlib import Path

FULL = {"float": "f32", "int": "i32", "format": "NamedMpk", "version": "0.18.0", "settings": "FullPrecisionSettings"}
HALF = {**FULL, "float": "half::binary16::f16", "int": "i16"}
NUMPY_DTYPES = {
    "F64": "<f8", "F32": "<f4", "Flex32": "<f4", "F16": "<f2", "I64": "<i8", "I32": "<i4", "I16": "<i2", "I8": "i1",
    "U64": "<u8", "U32": "<u4", "U16": "<u2", "U8": "u1",
}  # fmt: skip


def packed(item: Any, metadata: dict[str, str] = FULL, *, single: bool = True) -> bytes:
    root = {"metadata": metadata, "item": item, "_b": []}
    return msgpack.packb(root, use_single_float=single)


def tensor(values: Any, dtype: Any = "F32") -> dict[str, Any]:
    array = np.asarray(values, NUMPY_DTYPES.get(dtype) if isinstance(dtype, str) else None)
    return {"bytes": array.tobytes(), "shape": list(array.shape), "dtype": dtype}


def parameter(inner: Any) -> dict[str, Any]:
    return {"id": "a1b2c3", "param": inner}


def array(one: BurnTensor) -> np.ndarray[Any, Any]:
    assert not one.raw.flags.writeable
    return one.raw.view(numpy_dtype(one.dtype)).reshape(one.shape)


def only(data: bytes) -> BurnTensor:
    (one,) = read(data).tensors.values()
    return one


# What Burn writes


@pytest.fixture
def genuine(corpus: Path) -> Path:
    return corpus / "burn" / "modern_lstm_burn_0.17_half.mpk"


def test_reads_a_record_that_burn_wrote(genuine: Path) -> None:
    found = read(genuine.read_bytes())
    assert found.metadata["version"] == "0.17.0"
    assert found.metadata["settings"] == "HalfPrecisionSettings"
    assert list(found.tensors)[:2] == ["stacked_lstm.layers.0.weight_ih.weight", "stacked_lstm.layers.0.weight_ih.bias"]
    assert {one.dtype for one in found.tensors.values()} == {"float16"}
    arrays = {key: array(one) for key, one in found.tensors.items()}
    assert (len(arrays), sum(one.size for one in arrays.values())) == (42, 27_457)
    assert sum(float(one.sum(dtype=np.float64)) for one in arrays.values()) == pytest.approx(1091.017081, abs=1e-6)
    assert arrays["stacked_lstm.layers.0.weight_ih.weight"].shape == (1, 128)
    assert arrays["fc.weight"][:4, 0].tolist() == [0.76904296875, 0.78515625, 0.7939453125, 0.74658203125]
    assert arrays["fc.bias"].tolist() == [0.703125]


@pytest.mark.parametrize("mapped", [True, False], ids=["mapped", "in memory"])
def test_open_record_reads_it_as_a_record(genuine: Path, tmp_path: Path, mapped: bool) -> None:
    zipped = tmp_path / "model.mpk.gz"
    zipped.write_bytes(gzip.compress(genuine.read_bytes()))
    with open_record(genuine, mmap=mapped) as plain, open_record(zipped, mmap=mapped) as unzipped:
        assert plain["fc.bias"].tolist() == [0.703125]
        assert plain.info("fc.weight").shape == (64, 1)
        assert plain.metadata["float"] == "half::binary16::f16"
        assert list(plain) == list(unzipped)
        assert all(np.array_equal(plain[key], unzipped[key]) for key in plain)


@pytest.mark.parametrize("dtype", NUMPY_DTYPES)
def test_reads_every_dtype(dtype: str) -> None:
    values = np.array([[0, 1, 2], [100, 101, 127]], NUMPY_DTYPES[dtype])
    one = only(packed({"w": parameter(tensor(values, dtype))}))
    assert array(one).dtype == values.dtype
    assert np.array_equal(array(one), values)


def test_reads_bfloat16() -> None:
    values = np.array([1.5, -2.5], ml_dtypes.bfloat16)
    one = only(packed({"w": {**tensor(values, {}), "dtype": "BF16"}}))
    assert np.array_equal(array(one), values)


@pytest.mark.parametrize(
    ("dtype", "stored"),
    [("Bool", "?"), ({"Bool": "Native"}, "?"), ({"Bool": "U8"}, "u1"), ({"Bool": "U32"}, "<u4")],
    ids=str,
)
def test_reads_bools_however_they_are_stored(dtype: Any, stored: str) -> None:
    one = only(packed({"w": {**tensor(np.array([0, 1, 1], stored), {}), "dtype": dtype}}))
    assert array(one).tolist() == [False, True, True]


def test_keys_are_the_names_on_the_way() -> None:
    item = {
        "layers": [{"weight": parameter(tensor([1.0])), "size": None}, None, {"weight": parameter(tensor([2.0]))}],
        "norm": {"Batch": {"gamma": parameter(tensor([3.0])), "running_mean": tensor([4.0])}},
        "steps": {"time": 7, "rate": 0.5, "done": True, "name": "adam", "pair": [1, "x"], "numbers": [1, 2]},
        "id": {"id": "x", "param": {"w": tensor([5.0])}},
    }
    found = read(packed(item))
    assert {key: array(one).item() for key, one in found.tensors.items()} == {
        "layers.0.weight": 1.0,
        "layers.2.weight": 2.0,
        "norm.Batch.gamma": 3.0,
        "norm.Batch.running_mean": 4.0,
        "id.param.w": 5.0,
    }
    assert found.metadata == FULL


def test_reads_empty_tensors_and_an_empty_model() -> None:
    assert array(only(packed({"w": tensor(np.zeros((0, 3)))}))).shape == (0, 3)
    assert only(packed({"w": {"value": [], "shape": [0]}})).shape == (0,)
    assert read(packed(None)).tensors == {}


@pytest.mark.parametrize(
    ("values", "metadata", "expected"),
    [
        ([1.5, -2.0, 3.0], FULL, np.array([1.5, -2.0, 3.0], np.float32)),
        ([7, -70_000, 0, 3, 127, 128, 65_536], FULL, np.array([7, -70_000, 0, 3, 127, 128, 65_536], np.int32)),
        ([1, 1 << 40], {**FULL, "int": "i64"}, np.array([1, 1 << 40], np.int64)),
        ([True, False], FULL, np.array([True, False])),
        ([0x3C00, 0xC000, 1], HALF, np.array([1.0, -2.0, 2**-24], np.float16)),
        ([3, -4], HALF, np.array([3, -4], np.int16)),
        ([0x3FC0], {**HALF, "float": "half::bfloat::bf16"}, np.array([1.5], ml_dtypes.bfloat16)),
    ],
    ids=["floats", "ints", "long ints", "bools", "bits of float16", "negative ints in half", "bits of bfloat16"],
)
def test_reads_element_lists_of_older_versions(values: list[Any], metadata: dict[str, str], expected: Any) -> None:
    one = only(
        packed({"w": parameter({"value": values, "shape": [len(values), 1]})}, {**metadata, "version": "0.13.2"})
    )
    assert array(one).dtype == expected.dtype
    assert np.array_equal(array(one)[:, 0], expected)


def test_reads_element_lists_of_double_precision_and_many_integers() -> None:
    floats = only(packed({"w": {"value": [0.1, 0.2], "shape": [2]}}, single=False))
    assert array(floats).tolist() == [0.1, 0.2]
    many = random.Random(5).choices([0, 5, 200, 40_000, 1 << 30, -3, -300], k=150_000)
    integers = only(packed({"w": {"value": many, "shape": [300, 500]}}))
    assert array(integers).ravel().tolist() == many


def test_tells_its_files_by_their_first_bytes() -> None:
    assert burn.recognises(packed({})[:16])
    assert burn.recognises(msgpack.packb({"metadata": {}, "item": {}})[:16])
    assert burn.recognises(gzip.compress(b"x")[:16])
    assert not burn.recognises(b"\x87\xa6format\xacwheelweights")
    assert not burn.recognises(b"")


# What no one should write


def nested(levels: int) -> Any:
    value: Any = None
    for _ in range(levels):
        value = [value]
    return value


def with_item(item: bytes) -> bytes:
    return packed(None)[: -len(b"\xc0\xa2_b\x90")] + item + b"\xa2_b\x90"


IN_GZIP = "expected a record written by Burn in this gzip file"
UNPACK = "  Run: gunzip < model.mpk > model.unpacked.mpk"
REJECTED = {
    "quantized": (
        packed({"a": {"w": {**tensor([1.0]), "dtype": {"QFloat": {"value": "Q8S"}}}}}),
        (
            "tensor `a.w`: expected numbers, found a quantized tensor (`QFloat`), which numpy cannot hold\n"
            "  Save the model from Burn again before it is quantized."
        ),
    ),
    "unknown dtype": (
        packed({"w": {**tensor([1.0]), "dtype": "F8"}}),
        "tensor `w`: expected a dtype of Burn, found `F8`",
    ),
    "unknown bool": (
        packed({"w": {**tensor([1.0]), "dtype": {"Bool": "U64"}}}),
        "tensor `w`: expected a dtype of Burn, found `{'Bool': 'U64'}`",
    ),
    "one byte short": (
        packed({"w": {**tensor([1.0, 2.0]), "bytes": b"1234567"}}),
        "tensor `w`: expected 8 bytes for float32 (2,), found 7",
    ),
    "one number short": (
        packed({"w": {"value": [1.0], "shape": [2]}}),
        "tensor `w`: expected 2 numbers for shape (2,), found 1",
    ),
    "huge shape": (
        packed({"w": {**tensor([1.0]), "shape": [1 << 40, 1 << 40]}}),
        f"tensor `w`: expected {4 << 80:,} bytes for float32 ({1 << 40}, {1 << 40}), found 4",
    ),
    "negative shape": (
        packed({"w": {**tensor([1.0]), "shape": [-1]}}),
        "tensor `w`: expected a shape of at most 64 lengths, found '[-1]'",
    ),
    "shape of bools": (
        packed({"w": {**tensor([1.0]), "shape": [True]}}),
        "tensor `w`: expected a shape of at most 64 lengths, found '[True]'",
    ),
    "rank": (
        packed({"w": {"bytes": b"1", "shape": [1] * 65, "dtype": "U8"}}),
        f"tensor `w`: expected a shape of at most 64 lengths, found '{str([1] * 30)[:76]}...",
    ),
    "integers out of range": (
        packed({"w": {"value": [1 << 31], "shape": [1]}}),
        "tensor `w`: expected values of int32, found 2147483648 to 2147483648",
    ),
    "two tensors of one name": (
        packed({"a": {"b": tensor([1.0])}, "a.b": tensor([2.0])}),
        "tensor `a.b`: expected one tensor of this name, found two",
    ),
    "a key twice": (with_item(b"\x82\xa1w\xc0\xa1w\xc0"), "expected each key of a map once, found `w` twice"),
    "a number as key": (with_item(b"\x81\x01\xc0"), "expected a string as key in a map, found '1'"),
    "an extension type": (with_item(b"\xd4\x01\x00"), "expected MessagePack as Burn writes it, found the type 0xd4"),
    "the type that is never used": (with_item(b"\xc1"), "expected MessagePack as Burn writes it, found the type 0xc1"),
    "no UTF-8": (with_item(b"\xa1\xff"), "expected text in UTF-8 before byte 98: invalid start byte"),
    "a long name": (packed("x" * 1_025), "expected strings of at most 1,024 bytes, found 1,025"),
    "a long key": (
        packed({"x" * 1_000: {"x" * 1_000: {"x" * 1_000: {"x" * 1_000: {"x" * 93: None}}}}}),
        f"expected keys of at most 4,096 characters, found `{'x' * 77}...`",
    ),
    "too deep": (packed(nested(65)), "expected at most 64 levels, found more"),
    "too many values": (
        packed([None] * 199_990),
        "expected at most 200,000 values besides the numbers in tensors, found more",
    ),
    "a list longer than the file": (
        with_item(b"\xdd\xff\xff\xff\xff"),
        "truncated: expected a list of 4,294,967,295 values at byte 101, found 4 bytes",
    ),
    "bytes longer than the file": (
        with_item(b"\xc6\xff\xff\xff\xff"),
        "truncated: expected 4,294,967,295 bytes at byte 101, found 4",
    ),
    "a byte more": (packed({}) + b"\x00", "expected the end of the record at byte 101, found 102 bytes"),
    "no item": (
        msgpack.packb({"metadata": {}, "items": 1}),
        "expected `metadata` and `item`, found `items`, `metadata`",
    ),
    "metadata that is a list": (
        msgpack.packb({"metadata": [], "item": 1}),
        "expected `metadata` and `item`, found `item`, `metadata`",
    ),
    "another file": (b"\x89HDF....", "expected a record written by Burn, found an HDF5 file (such as a Keras model)"),
    "another file in gzip": (
        gzip.compress(b"PK\x03\x04"),
        f"{IN_GZIP}, found a zip archive (a PyTorch checkpoint or a wheel)\n{UNPACK}",
    ),
    "gzip in gzip": (
        gzip.compress(gzip.compress(b"")),
        f"{IN_GZIP}, found a gzip file\n{UNPACK}",
    ),
    "nothing in gzip": (gzip.compress(b""), "expected a record written by Burn, found an empty file"),
    "damaged gzip": (
        gzip.compress(packed({}))[:-8] + b"\0" * 8,
        "expected gzip data, found damage: Error -3 while decompressing data: incorrect data check",
    ),
    "cut gzip": (
        gzip.compress(packed({}))[:-1],
        "truncated: expected the end of the gzip data, found the end of the file",
    ),
    "gzip and more": (
        gzip.compress(packed({})) + b"more",
        "expected the end of the file, found 4 bytes after the gzip data",
    ),
}


@pytest.mark.parametrize("case", REJECTED)
def test_rejects(case: str) -> None:
    data, message = REJECTED[case]
    with pytest.raises(RecordError) as caught:
        read(data, path="model.mpk")
    assert str(caught.value) == f"model.mpk: {message}"


def test_takes_what_stands_exactly_at_the_limits() -> None:
    assert read(packed(nested(61))).tensors == {}
    assert read(packed([None] * 199_979)).tensors == {}
    assert read(packed({"x" * 1_024: None})).tensors == {}
    key = {"x" * 1_000: {"x" * 1_000: {"x" * 1_000: {"x" * 1_000: {"x" * 92: tensor([1.0])}}}}}
    assert [len(key) for key in read(packed(key)).tensors] == [4_096]
    assert only(packed({"w": {"bytes": b"1", "shape": [1] * 64, "dtype": "U8"}})).shape == (1,) * 64


def test_inflates_no_more_than_the_limit() -> None:
    bomb = gzip.compress(b"\x82\xa8metadata" + b"\0" * burn.MIN_INFLATED)
    assert len(bomb) * burn.MAX_INFLATION < burn.MIN_INFLATED
    with pytest.raises(
        RecordError, match=r"expected at most 16,777,216 bytes from [\d,]+ bytes of gzip data, found more"
    ):
        read(bomb)
    zeros = np.zeros(burn.MIN_INFLATED // 4 - 100, np.float32)
    assert array(only(gzip.compress(packed({"w": tensor(zeros)})))).size == zeros.size


def test_inflates_nothing_that_begins_as_another_file() -> None:
    bomb = gzip.compress(b"PK\x03\x04" + b"\0" * burn.MIN_INFLATED)
    assert peak(bomb) < 1 << 20


def peak(data: bytes) -> int:
    tracemalloc.start()
    try:
        with pytest.raises(RecordError):
            read(data)
        return tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()


def test_allocates_nothing_for_lengths_that_are_only_claimed() -> None:
    filler = bytes(1 << 20)
    lists = b"\xdd" + len(filler).to_bytes(4, "big")
    maps = b"\xdf" + len(filler).to_bytes(4, "big") + b"\xa1a"
    assert peak(with_item(lists * 60 + filler)) < 20 * len(filler)
    assert peak(with_item(maps * 60 + filler)) < 4 * len(filler)


def small_records() -> list[bytes]:
    new = packed({"a": [parameter(tensor([1.0, 2.0])), {"Relu": None}], "b": tensor(np.zeros((2, 2)), "F64")})
    old = packed({"a": parameter({"value": [1.5, 2.0], "shape": [2]}), "n": {"value": [1, 300], "shape": [2]}})
    return [new, old, gzip.compress(new)]


def test_every_cut_is_an_error() -> None:
    for data in small_records():
        for length in range(len(data)):
            with pytest.raises(RecordError):
                read(data[:length])


def test_mutations_raise_nothing_else() -> None:
    chance = random.Random(20)
    for data in small_records():
        for _ in range(1_500):
            mutated = bytearray(data)
            for _ in range(chance.randint(1, 4)):
                mutated[chance.randrange(len(mutated))] = chance.choice(
                    [0, 0x7F, 0x80, 0xC1, 0xDD, 0xFF, chance.randrange(256)]
                )
            try:
                found = read(bytes(mutated))
            except RecordError:
                continue
            assert all(one.raw.nbytes == array(one).nbytes for one in found.tensors.values())
