"""Reading `.npz`: what numpy writes is read as it is, and what a file claims is compared with what is there."""

from __future__ import annotations

import contextlib
import io
import tracemalloc
import zipfile
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as arrays_of

from hatch_wheelweights import CheckpointError
from hatch_wheelweights.checkpoint import npz
from hatch_wheelweights.checkpoint.npz import open_npz
from wheelweights.dtypes import DTYPES

if TYPE_CHECKING:
    from pathlib import Path

    from numpy.typing import NDArray

REMEDY = "  Make it again, in torch with hatch_wheelweights.golden, or with numpy.savez."


def saved(path: Path, **arrays: Any) -> Path:
    np.savez(path, **arrays)
    return path


def member(content: bytes, name: str = "input.npy") -> bytes:
    file = io.BytesIO()
    with zipfile.ZipFile(file, "w") as archive:
        archive.writestr(name, content)
    return file.getvalue()


def npy(header: str, data: bytes = b"", version: bytes = b"\x01\x00") -> bytes:
    text = header.encode("latin-1")
    size = len(text).to_bytes(2 if version == b"\x01\x00" else 4, "little")
    return b"\x93NUMPY" + version + size + text + data


def values(path: Path, key: str) -> NDArray[Any]:
    array = open_npz(path).arrays[key]
    elements = np.concatenate(list(array.blocks()))
    assert elements.nbytes == array.nbytes
    return elements.reshape(array.shape)


def read_all(path: Path) -> None:
    for array in open_npz(path).arrays.values():
        assert sum(block.nbytes for block in array.blocks()) == array.nbytes


def refused(path: Path) -> str:
    with pytest.raises(CheckpointError) as caught:
        read_all(path)
    assert caught.value.path == str(path)
    return str(caught.value)


def test_the_names_are_as_they_were_given_and_in_their_order(tmp_path: Path) -> None:
    path = saved(tmp_path / "a.npz", **{"output": [1.0], "encoder.3/input.mask": [True], "a": 1})
    assert list(open_npz(path).arrays) == ["output", "encoder.3/input.mask", "a"]


@pytest.mark.parametrize("save", [np.savez, np.savez_compressed])
@pytest.mark.parametrize("order", ["C", "F"])
@pytest.mark.parametrize("byte_order", ["<", ">"])
def test_values_are_in_c_order_and_little_endian(tmp_path: Path, save: Any, order: Any, byte_order: str) -> None:
    array = np.asarray(np.arange(6).reshape(2, 3), f"{byte_order}f4", order=order)
    save(tmp_path / "a.npz", x=array)
    found = values(tmp_path / "a.npz", "x")
    np.testing.assert_array_equal(found, array)
    assert found.dtype == np.dtype("<f4")


@given(
    array=arrays_of.arrays(
        st.sampled_from([dtype.numpy for dtype in DTYPES.values() if dtype.numpy]),
        arrays_of.array_shapes(min_dims=0, max_dims=4, min_side=0, max_side=4),
    )
)
def test_any_array_that_a_record_can_hold_is_read_as_it_is(
    array: NDArray[Any], tmp_path_factory: pytest.TempPathFactory
) -> None:
    path = saved(tmp_path_factory.mktemp("npz") / "a.npz", x=array)
    found = values(path, "x")
    assert found.dtype == array.dtype
    assert found.tobytes() == array.tobytes()
    assert found.shape == array.shape


@pytest.mark.parametrize("save", [np.savez, np.savez_compressed])
@pytest.mark.parametrize("dtype", [">f8", "<c16", "<u2", "<f4"])
def test_long_arrays_come_in_blocks_of_whole_elements(tmp_path: Path, save: Any, dtype: str) -> None:
    array = np.arange(300_000).astype(dtype)
    save(tmp_path / "a.npz", x=array)
    blocks = list(open_npz(tmp_path / "a.npz").arrays["x"].blocks())
    assert max(block.nbytes for block in blocks) <= (1 << 20) + 16
    np.testing.assert_array_equal(np.concatenate(blocks), array)


def test_reading_takes_no_more_memory_than_a_block(tmp_path: Path) -> None:
    np.savez_compressed(tmp_path / "a.npz", x=np.zeros(64 << 20, np.uint8))
    opened = open_npz(tmp_path / "a.npz")
    tracemalloc.start()
    try:
        assert sum(block.nbytes for block in opened.arrays["x"].blocks()) == 64 << 20
        assert tracemalloc.get_traced_memory()[1] < 8 << 20
    finally:
        tracemalloc.stop()


def test_an_array_in_fortran_order_takes_memory_in_proportion_to_the_file(tmp_path: Path) -> None:
    np.savez_compressed(tmp_path / "a.npz", x=np.zeros((8 << 10, 8 << 10), np.uint8, order="F"))
    assert "asks for more memory than a file of" in refused(tmp_path / "a.npz")


def test_a_file_that_is_not_there_is_named(tmp_path: Path) -> None:
    path = tmp_path / "a.npz"
    assert refused(path) == f"{path}: cannot be opened: there is no such file\n{REMEDY}"


def test_arrays_of_objects_are_refused_and_nothing_is_unpickled(tmp_path: Path) -> None:
    path = saved(tmp_path / "a.npz", x=np.array([{}, None], object))
    assert refused(path) == f"{path}: array `x`: expected numbers, found `object`\n{REMEDY}"


@pytest.mark.parametrize(
    ("content", "fact"),
    [
        pytest.param(b"\x93NUMPY\x01\x00", "expected an .npz, which is a zip archive, found something else", id="npy"),
        pytest.param(member(b"", "x.txt"), "expected the name of an .npy file, found `x.txt`", id="another name"),
        pytest.param(
            member(b"no"), "array `input`: expected the header of an array of numbers, found another", id="no"
        ),
        pytest.param(
            member(npy("{'descr': '<f4', 'fortran_order': False, 'shape': (9,), }\n", bytes(4))),
            "array `input`: expected 36 bytes for shape (9,), found 4 behind a header of 58",
            id="shorter than it says",
        ),
        pytest.param(
            member(npy("{'descr': '<f4', 'fortran_order': False, 'shape': (1000000000000,), }\n", bytes(4))),
            "array `input`: expected 4,000,000,000,000 bytes for shape (1000000000000,), found 4 behind a header of 70",
            id="more than fits in memory",
        ),
        pytest.param(
            member(npy("{'descr': '<f4', 'fortran_order': False, 'shape': (-1, -1), }\n", bytes(4))),
            "array `input`: expected the header of an array of numbers, found another",
            id="negative lengths",
        ),
        pytest.param(
            member(npy("(" * 9_000, bytes(4))),
            "array `input`: expected the header of an array of numbers, found another",
            id="nested header",
        ),
        pytest.param(
            member(npy(" " * 60_000, bytes(4))),
            "array `input`: expected the header of an array of numbers, found another",
            id="long header",
        ),
        pytest.param(
            member(npy("{'descr': '<f4', 'fortran_order': False, 'shape': (), }\n", bytes(4), b"\x03\x00")),
            "array `input`: expected the header of an array of numbers, found another",
            id="version 3",
        ),
        pytest.param(
            member(npy("{'descr': [('a', '<f4')], 'fortran_order': False, 'shape': (), }\n", bytes(4))),
            "array `input`: expected the header of an array of numbers, found another",
            id="structures",
        ),
        pytest.param(
            member(npy("{'descr': '|S4', 'fortran_order': False, 'shape': (), }\n", bytes(4))),
            "array `input`: expected numbers, found `bytes32`",
            id="text",
        ),
        pytest.param(
            member(npy("{'descr': '<q9', 'fortran_order': False, 'shape': (), }\n", bytes(4))),
            "array `input`: expected numbers, found `<q9`",
            id="no dtype",
        ),
        pytest.param(
            member(npy("{'descr': '|b1', 'fortran_order': False, 'shape': (1,), }\n", b"\x02")),
            "array `input` has bools that are neither 0 nor 1",
            id="bools",
        ),
    ],
)
def test_what_is_no_npz_of_numbers_is_refused(tmp_path: Path, content: bytes, fact: str) -> None:
    path = tmp_path / "a.npz"
    path.write_bytes(content)
    assert refused(path) == f"{path}: {fact}\n{REMEDY}"


def test_damaged_values_are_refused(tmp_path: Path) -> None:
    path = saved(tmp_path / "a.npz", x=np.full(8, 7, np.uint8))
    content = path.read_bytes()
    path.write_bytes(content.replace(bytes([7] * 8), bytes([7] * 7 + [8])))
    assert f"{path}: array `x` is damaged: expected CRC-32 " in refused(path)


@pytest.mark.parametrize("limit", ["MAX_ARRAYS", "MAX_ARRAYS_BYTES"])
def test_there_are_limits(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, limit: str) -> None:
    path = saved(tmp_path / "a.npz", x=[1.0], y=[2.0])
    monkeypatch.setattr(npz, limit, 1)
    assert ": expected at most 1 arrays, found 2" in refused(path) or "at most 1 bytes together, found 272" in refused(
        path
    )


@given(data=st.data())
def test_a_damaged_file_raises_nothing_else(data: st.DataObject, tmp_path_factory: pytest.TempPathFactory) -> None:
    path = saved(tmp_path_factory.mktemp("npz") / "a.npz", x=np.arange(4), y=np.ones((2, 2), np.float32))
    content = bytearray(path.read_bytes())
    for place in data.draw(st.lists(st.integers(0, len(content) - 1), max_size=4)):
        content[place] = data.draw(st.integers(0, 255))
    path.write_bytes(content[: data.draw(st.integers(0, len(content)))])
    with contextlib.suppress(CheckpointError):
        read_all(path)
