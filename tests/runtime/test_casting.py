"""`bind(..., dtype=...)`: floats are cast once, while binding."""

from __future__ import annotations

import sys
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import ml_dtypes
import numpy as np
import pytest
from numpy.typing import NDArray

import wheelweights as ww

if TYPE_CHECKING:
    from pathlib import Path

Array = NDArray[Any]


@dataclass
class Net:
    half: Array
    brain: Array
    ids: Array
    single: Array


@dataclass
class Declared:
    half: NDArray[np.float32]


@pytest.fixture
def record(tmp_path: Path) -> ww.Record:
    arrays = {
        "half": np.array([1.5, 2.5], np.float16),
        "brain": np.array([1.5, 3.0], ml_dtypes.bfloat16),
        "ids": np.array([1, 2], np.int8),
        "single": np.array([0.25], np.float32),
    }
    ww.write_record(tmp_path / "net.mpk", arrays)
    return ww.open_record(tmp_path / "net.mpk")


def test_casts_floats_and_nothing_else(record: ww.Record) -> None:
    net = ww.bind(Net, record, dtype=np.float32)
    assert [array.dtype.name for array in ww.state_dict(net).values()] == ["float32", "float32", "int8", "float32"]
    assert (net.half.tolist(), net.brain.tolist()) == ([1.5, 2.5], [1.5, 3.0])
    assert not net.half.flags.writeable
    assert np.shares_memory(net.single, record["single"])
    assert np.shares_memory(ww.bind(Net, record).half, record["half"])


@pytest.mark.parametrize("dtype", ["float64", np.float16, ml_dtypes.bfloat16, np.dtype(np.float32)], ids=str)
def test_takes_every_way_to_say_a_dtype_of_floats(record: ww.Record, dtype: Any) -> None:
    net = ww.bind(lambda: Net(*(np.zeros(n) for n in (2, 2, 2, 1))), record, dtype=dtype)
    assert {array.dtype for name, array in ww.state_dict(net).items() if name != "ids"} == {np.dtype(dtype)}


def test_a_declared_dtype_is_that_of_the_result(record: ww.Record) -> None:
    assert ww.bind(Declared, record, dtype=np.float32, partial=True).half.dtype == np.float32
    with pytest.raises(ww.BindError, match=r"Declared\.half: expected dtype float32, found float16 in `half`"):
        ww.bind(Declared, record, partial=True)
    with pytest.raises(ww.BindError, match=r"Declared\.half: expected dtype float32, found float64 in `half`"):
        ww.bind(Declared, record, partial=True, dtype=np.float64)


def test_needs_no_ml_dtypes_for_bfloat16(record: ww.Record, monkeypatch: pytest.MonkeyPatch) -> None:
    from wheelweights.dtypes import numpy_dtype

    numpy_dtype.cache_clear()
    monkeypatch.setitem(sys.modules, "ml_dtypes", None)
    try:
        assert ww.bind(Net, record, dtype=np.float32).brain.tolist() == [1.5, 3.0]
        with pytest.raises(ww.DtypeError):
            ww.bind(Net, record)
    finally:
        numpy_dtype.cache_clear()


def test_tied_tensors_share_the_copy() -> None:
    shared = np.ones(2, np.float16)
    net = ww.bind(Net, dict.fromkeys(("half", "brain", "ids", "single"), shared), dtype=np.float32)
    assert net.half is net.brain is net.single
    views = {"half": shared[:1], "brain": shared[1:], "ids": shared, "single": shared[::-1]}
    assert len({id(array) for array in ww.state_dict(ww.bind(Net, views, dtype=np.float32)).values()}) == 4


def test_a_number_that_would_become_infinite_is_an_error() -> None:
    large = dict.fromkeys(("half", "brain", "ids", "single"), np.array([1e39, np.inf, np.nan]))
    with pytest.raises(ww.BindError) as caught:
        ww.bind(Net, large, dtype=np.float32)
    assert str(caught.value) == (
        "`half`: expected numbers that float32 can hold, found larger ones\n  Bind without dtype, or with a wider one."
    )
    small = dict.fromkeys(("half", "brain", "ids", "single"), np.array([1e-60, np.inf, np.nan]))
    assert ww.bind(Net, small, dtype=np.float32).half.tolist()[:2] == [0, np.inf]


@pytest.mark.parametrize(
    "dtype", [np.int8, "bool", np.complex64, "flaot32", object()], ids=lambda value: type(value).__name__
)
def test_refuses_what_is_no_dtype_of_floats(record: ww.Record, dtype: Any) -> None:
    with pytest.raises(ww.BindError, match=r"^dtype: expected a dtype of floats, found `"):
        ww.bind(Net, record, dtype=dtype)


def test_refuses_arrays_of_other_libraries() -> None:
    class Tensor:
        shape, dtype = (2,), np.dtype(np.float16)

    one: Any = Tensor()
    with pytest.raises(ww.BindError, match=r"^`half`: expected an array of numpy to cast, found `Tensor`$"):
        ww.bind(Declared, {"half": one}, dtype=np.float32)
