"""safetensors, read by us and by the library: the same values, and nothing that it refuses opens here."""

from __future__ import annotations

import json
import random
import struct
from typing import TYPE_CHECKING, Any

import ml_dtypes
import numpy as np
import pytest
import safetensors
import safetensors.numpy
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from hatch_wheelweights import CheckpointError, open_checkpoint
from making import checkpoints
from wheelweights.dtypes import DTYPES, numpy_dtype

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

LIBRARY = {
    "bool": "BOOL", "uint8": "U8", "int8": "I8", "uint16": "U16", "int16": "I16", "uint32": "U32", "int32": "I32",
    "uint64": "U64", "int64": "I64", "float16": "F16", "bfloat16": "BF16", "float32": "F32", "float64": "F64",
    "complex64": "C64", "float8_e4m3fn": "F8_E4M3", "float8_e4m3fnuz": "F8_E4M3FNUZ", "float8_e5m2": "F8_E5M2",
    "float8_e5m2fnuz": "F8_E5M2FNUZ", "float8_e8m0fnu": "F8_E8M0",
}  # fmt: skip
AGAIN = "\n  Save the file again with safetensors: it is damaged, or it was made by hand."


def sample(dtype: str, shape: tuple[int, ...], seed: int = 0) -> np.ndarray[Any, Any]:
    count = int(np.prod(shape, dtype=int)) * DTYPES[dtype].itemsize
    raw = np.random.default_rng(seed).integers(0, 2 if dtype == "bool" else 256, count, np.uint8)
    return raw.view(numpy_dtype(dtype)).reshape(shape)


def read(path: Path) -> dict[str, np.ndarray[Any, Any]]:
    with open_checkpoint(path) as checkpoint:
        assert checkpoint.kind == "safetensors"
        return {key: tensor.numpy() for key, tensor in checkpoint.tree.items()}


# --------------------------------------------------------------------------------------------------------------- values


def test_knows_every_dtype_of_a_record_but_complex128_which_the_library_has_not() -> None:
    assert sorted([*LIBRARY, "complex128"]) == sorted(DTYPES)


@pytest.mark.parametrize("dtype", sorted(LIBRARY))
def test_reads_every_dtype_as_the_library_wrote_it(tmp_path: Path, dtype: str) -> None:
    arrays = {"w": sample(dtype, (3, 4)), "scalar": sample(dtype, ()), "none": sample(dtype, (0, 2))}
    safetensors.numpy.save_file(arrays, tmp_path / "m.safetensors")
    raw = (tmp_path / "m.safetensors").read_bytes()
    header = json.loads(raw[8 : 8 + int.from_bytes(raw[:8], "little")])
    assert header["w"]["dtype"] == LIBRARY[dtype], "the library writes the dtype that is meant"
    found = read(tmp_path / "m.safetensors")
    for key, array in arrays.items():
        assert (found[key].dtype, found[key].shape) == (array.dtype, array.shape)
        assert found[key].tobytes() == array.tobytes()


NAMES = st.text(st.characters(exclude_categories=["Cs"]), max_size=10).filter(lambda name: name != "__metadata__")
SHAPES = st.lists(st.integers(0, 4), max_size=4).map(tuple)


@settings(
    max_examples=100, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow]
)
@given(
    kinds=st.dictionaries(NAMES, st.tuples(st.sampled_from(sorted(LIBRARY)), SHAPES), max_size=5),
    metadata=st.none() | st.dictionaries(NAMES, NAMES, min_size=1, max_size=3),  # with {} it writes no JSON at times
)
def test_reads_what_the_library_writes(tmp_path: Path, kinds: Any, metadata: Any) -> None:
    arrays = {key: sample(dtype, shape, seed) for seed, (key, (dtype, shape)) in enumerate(kinds.items())}
    path = tmp_path / "m.safetensors"
    safetensors.numpy.save_file(arrays, path, metadata)
    found = read(path)
    assert {key: (each.dtype, each.shape, each.tobytes()) for key, each in found.items()} == {
        key: (each.dtype, each.shape, each.tobytes()) for key, each in arrays.items()
    }
    assert open_checkpoint(path).metadata == (metadata or {})


def test_reads_the_values_of_bfloat16_and_float8(tmp_path: Path) -> None:
    data = np.array([1.5, -2], ml_dtypes.bfloat16).tobytes() + np.array([0.5], ml_dtypes.float8_e4m3fn).tobytes()
    tensors = {"b": ("BF16", [2], 0, 4), "f": ("F8_E4M3", [1], 4, 5)}
    (tmp_path / "m").write_bytes(checkpoints.safetensors(tensors, data))
    found = read(tmp_path / "m")
    assert (found["b"].tolist(), found["f"].tolist()) == ([1.5, -2.0], [0.5])


# ------------------------------------------------------------------------------------------------------------- refusals


@pytest.fixture
def refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Callable[[bytes], str]:
    monkeypatch.chdir(tmp_path)

    def refuse(data: bytes) -> str:
        (tmp_path / "llm.safetensors").write_bytes(data)
        with pytest.raises(CheckpointError) as caught:
            open_checkpoint("llm.safetensors")
        assert caught.value.path == "llm.safetensors"
        return str(caught.value).removeprefix("llm.safetensors: ")

    return refuse


def one(**changed: object) -> bytes:
    """Describe one tensor `w` of four float32; `changed` are other values of its fields."""
    entry = {"dtype": "F32", "shape": [4], "data_offsets": [0, 16]} | changed
    return checkpoints.safetensors(header=json.dumps({"w": entry}).encode())


NUMBERS = "tensor `w`: expected whole numbers as shape and offsets, found something else" + AGAIN
FIELDS = "tensor `w`: expected `dtype`, `shape` and `data_offsets` in the header, found something else" + AGAIN
OVERLAP = {"a": ("F32", [2], 0, 8), "b": ("F32", [2], 4, 12)}
HOLE = {"a": ("F32", [1], 0, 4), "b": ("F32", [2], 8, 16)}


@pytest.mark.parametrize(
    ("data", "message"),
    [
        pytest.param(
            one(shape=[5]), f"tensor `w`: expected 20 bytes of dtype and shape, found 16{AGAIN}", id="shape too large"
        ),
        pytest.param(
            one(shape=[3]), f"tensor `w`: expected 12 bytes of dtype and shape, found 16{AGAIN}", id="shape too small"
        ),
        pytest.param(one(shape=[-4]), NUMBERS, id="negative shape"),
        pytest.param(one(shape=[1 << 70]), NUMBERS, id="shape of 71 bits"),
        pytest.param(one(shape=[4.0]), NUMBERS, id="shape a float"),
        pytest.param(one(shape=None), NUMBERS, id="no shape"),
        pytest.param(
            one(shape=[1 << 62] * 64),
            f"tensor `w`: expected more than 2**60 bytes of dtype and shape, found 16{AGAIN}",
            id="without end",
        ),
        pytest.param(
            one(shape=[1 << 32, 1 << 32], data_offsets=[0, 0]),
            f"tensor `w`: expected more than 2**60 bytes of dtype and shape, found 0{AGAIN}",
            id="wraps to 0",
        ),
        pytest.param(
            one(data_offsets=[16, 0]),
            f"tensor `w`: expected 16 bytes of dtype and shape, found -16{AGAIN}",
            id="backwards",
        ),
        pytest.param(one(data_offsets=[-16, 0]), NUMBERS, id="negative offset"),
        pytest.param(one(data_offsets=[0]), NUMBERS, id="one offset"),
        pytest.param(one(data_offsets=[0, 16, 32]), NUMBERS, id="three offsets"),
        pytest.param(
            one(data_offsets=[4, 20]),
            f"tensor `w`: expected to begin at byte 0 of the data, found 4{AGAIN}",
            id="not from 0",
        ),
        pytest.param(checkpoints.safetensors(header=b'{"w":{"dtype":"F32","shape":[4]}}'), FIELDS, id="one field less"),
        pytest.param(checkpoints.safetensors(header=b'{"w":[]}'), FIELDS, id="a list"),
        pytest.param(
            checkpoints.safetensors(OVERLAP, bytes(12)),
            f"tensor `b`: expected to begin at byte 8 of the data, found 4{AGAIN}",
            id="overlap",
        ),
        pytest.param(
            checkpoints.safetensors(HOLE, bytes(16)),
            f"tensor `b`: expected to begin at byte 4 of the data, found 8{AGAIN}",
            id="hole",
        ),
        pytest.param(
            checkpoints.safetensors() + b"\0",
            "followed by other bytes: expected 16 bytes of data, found 17\n  Get the file again.",
            id="trailing",
        ),
        pytest.param(
            checkpoints.safetensors()[:-1],
            "truncated: expected 16 bytes of data, found 15\n  Get the file again.",
            id="cut",
        ),
        pytest.param(
            checkpoints.safetensors({}, b"x"),
            "followed by other bytes: expected 0 bytes of data, found 1\n  Get the file again.",
            id="data of nobody",
        ),
        pytest.param(
            checkpoints.safetensors(header=b"{"),
            "malformed safetensors header: Expecting property name enclosed in double quotes: "
            f"line 1 column 2 (char 1){AGAIN}",
            id="no JSON",
        ),
        pytest.param(
            checkpoints.safetensors(header=b'{"a":"\xff"}'),
            "malformed safetensors header: 'utf-8' codec can't decode byte 0xff in position 6: "
            f"invalid start byte{AGAIN}",
            id="no UTF-8",
        ),
        pytest.param(
            checkpoints.safetensors(metadata={"a": 1}),
            f"expected pairs of text as `__metadata__`, found something else{AGAIN}",
            id="metadata of numbers",
        ),
        pytest.param(
            checkpoints.safetensors(metadata=[]),
            f"expected pairs of text as `__metadata__`, found something else{AGAIN}",
            id="metadata a list",
        ),
    ],
)
def test_refuses_what_the_library_refuses(refused: Callable[[bytes], str], data: bytes, message: str) -> None:
    with pytest.raises(safetensors.SafetensorError):
        safetensors.deserialize(data)
    assert refused(data) == message


@pytest.mark.parametrize(
    ("data", "message"),
    [
        pytest.param(
            checkpoints.safetensors(
                header=b'{"w":{"dtype":"F32","shape":[2],"data_offsets":[0,8]},'
                b'"w":{"dtype":"F32","shape":[4],"data_offsets":[0,16]}}'
            ),
            f"malformed safetensors header: the key `w` is there twice{AGAIN}",
            id="key twice",
        ),
        pytest.param(
            checkpoints.safetensors(header=b'{"w":{"dtype":"F64","dtype":"F32","shape":[4],"data_offsets":[0,16]}}'),
            f"malformed safetensors header: the key `dtype` is there twice{AGAIN}",
            id="field twice",
        ),
        pytest.param(
            checkpoints.safetensors(
                header=b'{"__metadata__":{"a":"b","a":"c"},"w":{"dtype":"F32","shape":[4],"data_offsets":[0,16]}}'
            ),
            f"malformed safetensors header: the key `a` is there twice{AGAIN}",
            id="metadata twice",
        ),
    ],
)
def test_refuses_duplicate_keys(refused: Callable[[bytes], str], data: bytes, message: str) -> None:
    """The library takes the last of them; others take the first."""
    assert refused(data) == message


def test_refuses_fields_that_the_library_ignores(refused: Callable[[bytes], str]) -> None:
    assert refused(one(strides=[1])) == FIELDS


HELD = f"\n  A record can hold {', '.join(DTYPES)}.\n"
CONVERT = f"{HELD}  Save it with one of these dtypes."


def test_refuses_an_unknown_dtype(refused: Callable[[bytes], str]) -> None:
    assert refused(one(dtype="F128")) == f"tensor `w`: unsupported dtype `F128`{CONVERT}"
    assert refused(one(dtype=4)) == f"tensor `w`: expected text as `dtype`, found `int`{AGAIN}"


def test_names_a_tensor_of_four_bits_once_it_is_read(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """It stands in the state_dict, and does not hinder the others."""
    monkeypatch.chdir(tmp_path)
    tensors = {"blk.0.attn.weight": ("F4", [3, 2], 0, 3), "w": ("F32", [1], 3, 7)}
    data = checkpoints.safetensors(tensors, bytes(3) + struct.pack("<f", 2.5))
    assert sorted(key for key, _ in safetensors.deserialize(data)) == ["blk.0.attn.weight", "w"]
    (tmp_path / "llm.safetensors").write_bytes(data)
    found = open_checkpoint("llm.safetensors").state_dict()
    assert found["w"].numpy().tolist() == [2.5]
    with pytest.raises(CheckpointError) as caught:
        found["blk.0.attn.weight"].numpy()
    assert str(caught.value) == (
        f"llm.safetensors: tensor `blk.0.attn.weight`: unsupported dtype `F4`{HELD}"
        "  Save its bytes in torch: tensor.view(torch.uint8)."
    )
    assert (found["blk.0.attn.weight"].dtype, found["blk.0.attn.weight"].shape) == ("F4", (3, 2))


def test_refuses_half_a_byte(refused: Callable[[bytes], str]) -> None:
    data = checkpoints.safetensors({"w": ("F4", [3], 0, 1)}, b"\0")
    with pytest.raises(safetensors.SafetensorError):
        safetensors.deserialize(data)
    assert refused(data) == f"tensor `w`: expected 1.5 bytes of dtype and shape, found 1{AGAIN}"


def test_takes_names_for_data(tmp_path: Path) -> None:
    names = ["../../etc/passwd", "a\0b", "\x1b[2J", "", "ünï", "__metadata__.x"]
    tensors = {each: ("U8", [1], index, index + 1) for index, each in enumerate(names)}
    (tmp_path / "m").write_bytes(checkpoints.safetensors(tensors, bytes(len(names))))
    assert list(read(tmp_path / "m")) == names


def test_whatever_opens_here_opens_in_the_library_with_the_same_values(tmp_path: Path) -> None:
    """1,500 files with a few bytes changed."""
    chance = random.Random(11)
    data = checkpoints.safetensors(
        {
            "a": ("F32", [2, 2], 0, 16),
            "b": ("BF16", [4], 16, 24),
            "c": ("U8", [], 24, 25),
            "d": ("I16", [0, 3], 25, 25),
        },
        bytes(range(25)),
        metadata={"format": "pt"},
    )
    path, opened, rejected = tmp_path / "m", 0, 0
    for _ in range(1_500):
        mutant = bytearray(data)
        for _ in range(chance.choice((1, 1, 2))):
            at = chance.randrange(len(data) - 25)
            mutant[at] = chance.choice(b'0123456789[]{}",: -.eFIUB8\\') if at >= 8 else chance.randrange(256)
        path.write_bytes(mutant)
        try:
            ours = read(path)
        except CheckpointError:
            rejected += 1
            continue
        opened += 1
        theirs = dict(safetensors.deserialize(bytes(mutant)))
        assert {key: (list(each.shape), each.tobytes()) for key, each in ours.items()} == {
            key: (each["shape"], bytes(each["data"])) for key, each in theirs.items()
        }, bytes(mutant)
    assert opened > 50
    assert rejected > 500
