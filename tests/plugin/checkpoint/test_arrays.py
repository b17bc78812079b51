"""Arrays of numpy: those that numpy really pickled open as tensors, and whatever numpy would refuse stays inert."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest

from hatch_wheelweights.checkpoint import LazyTensor, Opaque, pickle
from hatch_wheelweights.checkpoint.allowed import find
from hatch_wheelweights.errors import CheckpointError
from making.pickles import Code, build, call, name, pickled, python2
from making.values import FLOATS

FOLDER = Path(__file__).parents[2] / "checkpoints" / "numpy"
PICKLES = sorted(FOLDER.glob("*.pkl"))

EXPECTED = {  # as export_arrays.py, in that folder, makes them
    "c": np.arange(6, dtype="f4").reshape(2, 3),
    "fortran": np.arange(6, dtype="i2").reshape(2, 3),
    "axes": np.arange(24, dtype="u1").reshape(2, 3, 4).transpose(1, 0, 2),
    "strided": np.arange(12, dtype="f8").reshape(3, 4)[:, ::2],
    "big": np.arange(4, dtype="i4"),
    "none": np.zeros((0, 2), "f4"),
    "one": np.array(2.5, "f2"),
    "complex": np.array([1 + 2j], "c8"),
}


def test_there_are_pickles_of_each_kind() -> None:
    assert {path.stem.rpartition("-")[2] for path in PICKLES} == {"2", "5"}


@pytest.mark.parametrize("path", PICKLES, ids=lambda path: path.stem)
def test_reads_what_numpy_wrote(path: Path) -> None:
    found, _ = pickle.load(path.read_bytes(), find=find)
    assert found.keys() == EXPECTED.keys()
    for key, expected in EXPECTED.items():
        np.testing.assert_array_equal(found[key].numpy(), expected, err_msg=key, strict=True)


# ------------------------------------------------------------------------------------------------------------- bent

STATE = (3, "<", None, None, None, -1, -1, 0)
USUAL = (name("numpy", "ndarray"), (0,), b"b")
RECONSTRUCT = name("numpy._core.multiarray", "_reconstruct")
FROM_BUFFER = name("numpy._core.numeric", "_frombuffer")
SCALAR = name("numpy._core.multiarray", "scalar")


def _dtype(*arguments: object, state: object = STATE) -> Code:
    return build(call(name("numpy", "dtype"), *(arguments or ("f4", False, True))), state)


def _array(
    *, version: object = 1, shape: object = (2, 2), fortran: object = False, raw: object = FLOATS, made: Any = USUAL
) -> Code:
    return build(call(RECONSTRUCT, *made), (version, shape, _dtype(), fortran, raw))


def _loaded(thing: Code) -> Any:
    return pickle.load(pickled(thing), find=find)[0]


@pytest.mark.parametrize("thing", [_array(), _array(fortran=0), _array(raw=python2("\0" * 16))], ids=range(3))
def test_an_array_is_a_tensor(thing: Code) -> None:
    found = _loaded(thing)
    assert isinstance(found, LazyTensor)
    assert (found.dtype, found.shape) == ("float32", (2, 2))


def test_a_scalar_of_python_2_may_look_like_text_beyond_ascii() -> None:
    found = _loaded(call(SCALAR, _dtype("f2", 0, 1), Code(b"U\x02" + "é".encode())))
    assert found == np.frombuffer("é".encode(), "<f2")[0]


@pytest.mark.parametrize(
    "thing",
    [
        _array(version=2),
        _array(version=True),
        _array(fortran=2),
        _array(fortran=None),
        _array(raw="a" * 15 + "é"),
        _array(made=(1,)),
        _array(made=(name("collections", "OrderedDict"), (0,), b"b")),
        _array(made=(name("numpy", "ndarray"), (False,), b"b")),
        _array(made=(name("numpy", "ndarray"), (0,), b"O")),
        call(FROM_BUFFER, FLOATS, _dtype(), (2, 2), "x"),
        call(FROM_BUFFER, FLOATS, _dtype(), (2, 2), "K"),
        call(FROM_BUFFER, FLOATS, _dtype(), (2, 2), "K", (0, 0)),
        call(FROM_BUFFER, FLOATS, _dtype(), (2, 2), "K", (0, 2)),
        call(FROM_BUFFER, FLOATS, _dtype(), (2, 2), "C", (0, 1)),
        call(FROM_BUFFER, "a" * 16, _dtype(), (2, 2), "C"),
        call(FROM_BUFFER, FLOATS, _dtype()),
        _dtype("f4", True, True),
        _dtype("f4", False, 2),
        _dtype("f4", False, 0),
        _dtype("f4"),
        _dtype("O8", False, True, state=(3, "|", None, None, None, -1, -1, 63)),
        _dtype(state=(9, "<", None, None, None, -1, -1, 0)),
        _dtype(state=(3, "x", None, None, None, -1, -1, 0)),
        _dtype(state=(3, "|", None, None, None, -1, -1, 0)),
        _dtype(state=(3, "<", None, None, None, 4, 4, 0)),
        _dtype(state=(3, "<", None, None, None, -1, -1, 1)),
        _dtype(state=(3, "<")),
        _dtype(state=(3, "<", _dtype("f8", False, True), None, None, -1, -1, 0)),
        call(FROM_BUFFER, FLOATS, _dtype(), (2, 2), _dtype("c8", False, True)),
        call(SCALAR, _dtype(), "é" * 2),
        call(SCALAR, _dtype(), b"abcd", 1),
        call(SCALAR, _dtype("b1", False, True, state=(3, "|", None, None, None, -1, -1, 0)), b"\2"),
    ],
    ids=range(32),
)
def test_what_numpy_would_refuse_stays_inert(thing: Code) -> None:
    assert isinstance(_loaded(thing), Opaque)


@pytest.mark.parametrize("what", [b"K\x01a", b"(K\x01e", b"K\x01K\x02s", b"(K\x01\x90", b"Nb"], ids=repr)
def test_an_array_that_is_inert_takes_nothing_more(what: bytes) -> None:
    with pytest.raises(CheckpointError, match="malformed pickle"):
        pickle.load(pickled(Code(_array(fortran=2) + what)), find=find)


@pytest.mark.parametrize("array", [_array(), _array(fortran=2)], ids=["tensor", "inert"])
def test_an_array_is_no_key(array: Code) -> None:
    with pytest.raises(CheckpointError, match="is a key"):
        _loaded(Code(b"}" + array + b"Ns"))


def test_an_array_has_as_many_bytes_as_its_shape() -> None:
    with pytest.raises(CheckpointError, match="expected as many bytes as the shape of a numpy array takes, found 16"):
        _loaded(_array(shape=(2, 3)))
