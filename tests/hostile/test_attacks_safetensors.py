"""safetensors files that lie in their header; the official library lets some of them pass."""

from __future__ import annotations

import json
import struct
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest

from making.checkpoints import safetensors
from making.values import FLOATS, VALUES

if TYPE_CHECKING:
    from looking.opening import Refused

OTHER = struct.pack("<4f", 9, 9, 9, 9)
ENTRY = '{"dtype":"F32","shape":[4],"data_offsets":[0,16]}'


def raw(header: str | bytes, data: bytes = FLOATS, **lie: Any) -> bytes:
    """Write a file with this very header."""
    return safetensors(header=header.encode() if isinstance(header, str) else header, data=data, **lie)


def entry(**fields: Any) -> bytes:
    """Write a file with one tensor, some fields of it replaced (a field of None is left out)."""
    described = {"dtype": "F32", "shape": [4], "data_offsets": [0, 16]} | fields
    return raw(json.dumps({"w": {key: value for key, value in described.items() if value is not None}}))


@pytest.mark.parametrize(
    "file",
    [
        pytest.param(safetensors(), id="as the library writes it"),
        pytest.param(safetensors(metadata={"format": "pt"}), id="with metadata"),
        pytest.param(raw('{"w":' + ENTRY + "}"), id="unpadded"),
        pytest.param(raw('{"w":' + ENTRY + "}   "), id="padded with blanks"),
        pytest.param(raw('{ "w" : \n' + ENTRY + "}"), id="with white space"),
    ],
)
def test_opens_well_formed_files(opened: Any, file: bytes) -> None:
    arrays = opened(file, name="model.safetensors")
    assert list(arrays) == ["w"]
    np.testing.assert_array_equal(arrays["w"], np.array(VALUES, np.float32))


def test_opens_tensors_in_any_order_of_names(opened: Any) -> None:
    arrays = opened(safetensors({"b": ("F32", [4], 16, 32), "a": ("F32", [2, 2], 0, 16)}, FLOATS + OTHER))
    assert arrays["a"].tolist() == [[1.0, 2.0], [3.0, 4.0]]
    assert arrays["b"].tolist() == [9.0] * 4


def test_opens_scalars_and_empty_tensors(opened: Any) -> None:
    entries = {"e": ("F32", [0, 3], 0, 0), "s": ("F32", [], 0, 4), "w": ("F32", [3], 4, 16), "z": ("F32", [0], 16, 16)}
    arrays = opened(safetensors(entries))
    assert {key: array.shape for key, array in arrays.items()} == {"e": (0, 3), "s": (), "w": (3,), "z": (0,)}
    assert arrays["s"] == 1.0


def test_opens_a_file_without_tensors(survived: Any) -> None:
    survived(safetensors({}, b""), key="")


@pytest.mark.parametrize(
    "attack",
    [
        pytest.param(raw('{"w":' + ENTRY + ',"w":' + ENTRY + "}"), id="duplicate key"),
        pytest.param(
            raw('{"w":' + ENTRY + ',"w":{"dtype":"F32","shape":[4],"data_offsets":[16,32]}}', FLOATS + OTHER),
            id="duplicate key with other data",
        ),
        pytest.param(raw('{"w":' + ENTRY + ',"\\u0077":' + ENTRY + "}"), id="duplicate key in another spelling"),
        pytest.param(
            raw('{"w":{"dtype":"F32","dtype":"I32","shape":[4],"data_offsets":[0,16]}}'), id="duplicate dtype"
        ),
        pytest.param(raw('{"__metadata__":{},"__metadata__":{},"w":' + ENTRY + "}"), id="duplicate metadata"),
        pytest.param(raw('{"__metadata__":{"a":"1","a":"2"},"w":' + ENTRY + "}"), id="duplicate key in the metadata"),
        pytest.param(safetensors({"a": ("F32", [1], 0, 4), "b": ("F32", [2], 8, 16)}), id="hole"),
        pytest.param(safetensors({"a": ("F32", [3], 4, 16)}), id="hole at the start"),
        pytest.param(safetensors({"a": ("F32", [3], 0, 12), "b": ("F32", [2], 8, 16)}), id="overlap"),
        pytest.param(safetensors({"a": ("F32", [4], 0, 16), "b": ("F32", [4], 0, 16)}), id="same place"),
        pytest.param(safetensors() + b"\0", id="trailing byte"),
        pytest.param(safetensors({"a": ("F32", [3], 0, 12)}), id="bytes that are no tensor's"),
        pytest.param(safetensors({}, FLOATS), id="bytes without tensors"),
        pytest.param(safetensors()[:-1], id="cut by one byte"),
        pytest.param(safetensors({"w": ("F32", [5], 0, 20)}), id="past the end"),
        pytest.param(safetensors({"w": ("F32", [4], 16, 0)}), id="end before begin"),
        pytest.param(safetensors({"w": ("F32", [4], -16, 0)}), id="negative offset"),
        pytest.param(safetensors({"w": ("F32", [4], 0, 1 << 64)}), id="offset over 64 bits"),
        pytest.param(safetensors({"w": ("F32", [4], 1 << 63, (1 << 63) + 16)}), id="offset that overflows"),
        pytest.param(entry(shape=[5]), id="shape over its bytes"),
        pytest.param(entry(shape=[3]), id="shape under its bytes"),
        pytest.param(entry(shape=[-4]), id="negative shape"),
        pytest.param(entry(shape=[-2, -2]), id="two negative sizes"),
        pytest.param(entry(shape=[1 << 62, 4]), id="shape that wraps to 0"),
        pytest.param(entry(shape=[(1 << 62) + 1, 4]), id="shape that wraps to its bytes"),
        pytest.param(entry(shape=[1 << 64]), id="shape over 64 bits"),
        pytest.param(entry(shape=[4.0]), id="shape of floats"),
        pytest.param(entry(shape=["4"]), id="shape of texts"),
        pytest.param(entry(shape=[True, 4]), id="shape of bools"),
        pytest.param(entry(shape=4), id="shape an int"),
        pytest.param(entry(shape={}), id="shape a dict"),
        pytest.param(entry(shape=[1] * 1000 + [4]), id="rank 1001"),
        pytest.param(entry(shape=None), id="no shape"),
        pytest.param(entry(dtype=None), id="no dtype"),
        pytest.param(entry(data_offsets=None), id="no offsets"),
        pytest.param(entry(dtype="F128"), id="unknown dtype"),
        pytest.param(entry(dtype="f32"), id="dtype in lower case"),
        pytest.param(entry(dtype=""), id="empty dtype"),
        pytest.param(entry(dtype=["F32"]), id="dtype a list"),
        pytest.param(entry(dtype=7), id="dtype a number"),
        pytest.param(entry(data_offsets=[0]), id="one offset"),
        pytest.param(entry(data_offsets=[0, 16, 16]), id="three offsets"),
        pytest.param(entry(data_offsets=[0.0, 16.0]), id="offsets of floats"),
        pytest.param(entry(data_offsets=["0", "16"]), id="offsets of texts"),
        pytest.param(entry(data_offsets=[False, 16]), id="offsets of bools"),
        pytest.param(entry(data_offsets={"0": 0, "16": 16}), id="offsets a dict"),
        pytest.param(entry(dtype="F4", shape=[31], data_offsets=[0, 16]), id="odd sub-byte size"),
        pytest.param(entry(dtype="F4", shape=[32], data_offsets=[0, 16]), id="sub-byte dtype"),
        pytest.param(entry(dtype="F6_E2M3", shape=[3], data_offsets=[0, 16]), id="six bits"),
        pytest.param(raw('{"__metadata__":' + ENTRY + "}"), id="tensor called __metadata__"),
        pytest.param(raw('{"__metadata__":[],"w":' + ENTRY + "}"), id="metadata a list"),
        pytest.param(raw('{"__metadata__":{"a":1},"w":' + ENTRY + "}"), id="metadata of numbers"),
        pytest.param(raw('{"__metadata__":{"a":{"b":"c"}},"w":' + ENTRY + "}"), id="metadata that nests"),
        pytest.param(raw('{"w":[]}'), id="entry a list"),
        pytest.param(raw('{"w":null}'), id="entry null"),
        pytest.param(raw("[]"), id="header a list"),
        pytest.param(raw("null"), id="header null"),
        pytest.param(raw(""), id="header empty"),
        pytest.param(raw(' {"w":' + ENTRY + "}"), id="header that begins with a blank"),
        pytest.param(raw(b"\xef\xbb\xbf" + b'{"w":' + ENTRY.encode() + b"}"), id="header with a byte order mark"),
        pytest.param(raw(('{"w":' + ENTRY + "}").encode("utf-16-le")), id="header in UTF-16"),
        pytest.param(raw(b'{"\xff":' + ENTRY.encode() + b"}"), id="header that is no UTF-8"),
        pytest.param(raw('{"w":' + ENTRY), id="header cut"),
        pytest.param(raw('{"w":' + ENTRY + "}}"), id="header with a brace too many"),
        pytest.param(raw('{"w":' + ENTRY + "}\0"), id="header padded with NUL"),
        pytest.param(raw('{"w":' + ENTRY + ",}"), id="header with a comma too many"),
        pytest.param(raw('{"w":{"dtype":"F32","shape":[NaN],"data_offsets":[0,16]}}'), id="NaN"),
        pytest.param(raw('{"w":{"dtype":"F32","shape":[Infinity],"data_offsets":[0,16]}}'), id="Infinity"),
        pytest.param(
            raw('{"w":{"dtype":"F32","shape":[' + "9" * 10_000 + '],"data_offsets":[0,16]}}'), id="long number"
        ),
        pytest.param(raw('{"w":' + "[" * 100_000 + "]" * 100_000 + "}"), id="deep JSON"),
        pytest.param(raw('{"w":' + '{"a":' * 50_000 + "1" + "}" * 50_000 + "}"), id="deep JSON of objects"),
        pytest.param(safetensors(length=0), id="header length 0"),
        pytest.param(safetensors(length=1), id="header length 1"),
        pytest.param(safetensors(length=len(safetensors()) - 7), id="header past the end by one byte"),
        pytest.param(safetensors(length=100_000_001), id="header over 100 MB"),
        pytest.param(safetensors(length=1 << 31), id="header of 2 GiB"),
        pytest.param(safetensors(length=(1 << 64) - 1), id="header length all ones"),
        pytest.param(safetensors()[:8], id="nothing after the length"),
        pytest.param(safetensors()[:7], id="cut in the length"),
    ],
)
def test_refuses_a_file_that_lies(refused: Refused, attack: bytes) -> None:
    refused(attack, name="model.safetensors")


def test_refuses_a_header_over_the_limit_though_it_is_there(refused: Refused) -> None:
    """100 MB, as the library has it: a header of this size is no header."""
    refused(raw(b"{" + b" " * 100_000_000 + b"}", b""), name="model.safetensors", budget=300 << 20)


@pytest.mark.parametrize("name", ["../../x", "/etc/passwd", "a\x00b", "\x1b[31m", "a\nb", "", "é" * 100, "CON"])
def test_takes_names_for_data(opened: Any, refused: Any, tmp_path: Any, name: str) -> None:
    entries = {name: ("F32", [4], 0, 16)}
    assert list(opened(safetensors(entries), name="model.safetensors")) == [name]
    assert [path.name for path in tmp_path.iterdir()] == ["model.safetensors"]
    refused(safetensors({name: ("F32", [5], 0, 16)}), name="model.safetensors")


def test_normalises_or_refuses_bools_that_are_neither_0_nor_1(result: Any) -> None:
    found = result(safetensors({"w": ("BOOL", [4], 0, 4)}, b"\2\0\1\xff"), name="model.safetensors")
    if isinstance(found, dict):
        assert found["w"].view(np.uint8).tolist() == [1, 0, 1, 1]
    else:
        assert "`w`" in str(found)


@pytest.mark.parametrize("length", range(0, len(safetensors()), 3))
def test_refuses_a_file_cut_anywhere(refused: Refused, length: int) -> None:
    refused(safetensors()[:length], name="model.safetensors")


def test_opens_a_header_of_many_tensors(opened: Any) -> None:
    entries = {f"w{number}": ("U8", [1], number, number + 1) for number in range(5_000)}
    assert len(opened(safetensors(entries, bytes(5_000)))) == 5_000
