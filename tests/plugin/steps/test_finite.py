"""What is not finite: found in every dtype, counted once, told in one warning, and never read for its own sake."""

from __future__ import annotations

import gc
import weakref
from typing import TYPE_CHECKING, Any

import ml_dtypes
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from hatch_wheelweights import convert
from hatch_wheelweights.errors import CheckpointError, spelt
from hatch_wheelweights.options.toml import TOML
from hatch_wheelweights.steps import finite
from hatch_wheelweights.steps.finite import NonFinite, is_finite
from making.checkpoints import zip_checkpoint
from making.pickles import state_dict, storage, tensor
from making.tensors import faulty, lazy, sealed
from wheelweights import open_record
from wheelweights.dtypes import DTYPES, numpy_dtype, widen

if TYPE_CHECKING:
    from pathlib import Path

    from hatch_wheelweights.checkpoint.tensors import LazyTensor

FLOATS = [name for name in DTYPES if "float" in name or "complex" in name]
SMALL = [name for name in FLOATS if DTYPES[name].itemsize <= 2]
NAN, INF = np.nan, np.inf


def _warnings(**tensors: LazyTensor) -> list[str]:
    found = NonFinite()
    for each in found.watched(tensors).values():
        list(each.blocks())
    return [str(warning) for warning in found.warnings()]


# What is found


@pytest.mark.parametrize("dtype", SMALL)
def test_knows_every_code_of_a_small_dtype(dtype):
    codes = np.arange(1 << 8 * DTYPES[dtype].itemsize, dtype=f"<u{DTYPES[dtype].itemsize}")
    values = codes.view(numpy_dtype(dtype))
    with np.errstate(invalid="ignore"):
        known = np.isfinite(values)
    assert not known.all()
    assert is_finite(values[known], dtype)
    for number in np.flatnonzero(~known).tolist():
        assert not is_finite(values[[0, 1, number, 2]], dtype)


@given(st.sampled_from(FLOATS), st.binary(min_size=16, max_size=64))
def test_agrees_with_numpy_on_any_bits(dtype, raw):
    values = np.frombuffer(raw[: len(raw) // 16 * 16], numpy_dtype(dtype))
    with np.errstate(invalid="ignore"):
        expected = np.isfinite(values).all()
    assert is_finite(values, dtype) == expected


@pytest.mark.parametrize("dtype", SMALL)
def test_counts_every_code_of_a_small_dtype(dtype, recwarn):
    codes = np.arange(1 << 8 * DTYPES[dtype].itemsize, dtype=f"<u{DTYPES[dtype].itemsize}")
    values = codes.view(numpy_dtype(dtype))
    numbers = widen(codes.view(np.uint8), dtype) if values.dtype.kind == "V" else values
    infinities = np.count_nonzero(np.isinf(numbers))
    parts = [f"{np.count_nonzero(np.isnan(numbers)):,} NaN", f"{infinities} infinities"][: 1 + (infinities > 0)]
    (warning,) = _warnings(w=lazy(values))
    assert warning.startswith(f"1 tensor holds values that are not finite: `w` ({', '.join(parts)}); ")
    assert not recwarn.list


@pytest.mark.parametrize("dtype", FLOATS)
def test_the_largest_values_are_finite(dtype):
    part = np.dtype(f"f{DTYPES[dtype].itemsize // 2}") if "complex" in dtype else numpy_dtype(dtype)
    info = ml_dtypes.finfo(part)
    assert is_finite(np.array([info.max, info.min, info.smallest_normal]).astype(numpy_dtype(dtype)), dtype)


@pytest.mark.parametrize("dtype", ["float16", "bfloat16", "float32", "float64"])
@pytest.mark.parametrize("value", [NAN, -NAN, INF, -INF])
def test_finds_one_value_among_many(dtype, value):
    values = np.linspace(-1e4, 1e4, 1000).astype(numpy_dtype(dtype))
    for place in (0, 500, 999):
        spoilt = values.copy()
        spoilt[place] = value
        assert is_finite(values, dtype)
        assert not is_finite(spoilt, dtype)


def test_a_complex_number_counts_once():
    values = np.array([1j, complex(NAN, 1), complex(1, NAN), complex(NAN, NAN), complex(-INF, 0), complex(NAN, INF)])
    for dtype in ("complex64", "complex128"):
        assert _warnings(w=lazy(values, dtype))[0].startswith(
            "1 tensor holds values that are not finite: `w` (3 NaN, 2 infinities); "
        )


# What is told


def test_says_nothing_of_finite_tensors():
    values = {name: lazy(np.ones(5, numpy_dtype(name))) for name in DTYPES}
    assert _warnings(**values, none=lazy(np.empty(0))) == []


def test_tells_of_all_tensors_in_one_warning():
    (warning,) = _warnings(
        weight=lazy(np.array([1, NAN, INF, NAN], np.float32), blocks=3),
        bias=lazy(np.array([1.0])),
        mask=lazy(np.full((40, 40), -INF).astype(ml_dtypes.bfloat16), blocks=7),
    )
    assert warning == (
        "2 tensors hold values that are not finite: `weight` (2 NaN, 1 infinity), `mask` (1,600 infinities); "
        "a mask that the model makes itself can be left out with exclude"
    )


def test_tells_the_first_few_of_many():
    (warning,) = _warnings(**{f"w{number}": lazy([NAN]) for number in range(1010)})
    assert warning.startswith("1,010 tensors hold values that are not finite: `w0` (1 NaN), `w1` (1 NaN), ")
    assert "`w7` (1 NaN) and 1,002 more; a mask" in warning


def test_tells_tied_tensors_once():
    tie, values = object(), np.array([NAN, 0], np.float32)
    (warning,) = _warnings(first=lazy(values, tie=tie), second=lazy(values, tie=tie))
    assert warning.startswith("1 tensor holds values that are not finite: `first` (1 NaN); ")


def test_a_tensor_that_is_read_twice_is_told_once():
    found = NonFinite()
    watched = found.watched({"w": lazy([NAN, 1.0])})["w"]
    told = []
    for _ in range(2):
        list(watched.blocks())
        told.append([str(one) for one in found.warnings()])
    assert told[0] == told[1]
    assert "(1 NaN)" in told[0][0]


def test_spells_the_option_as_the_reader_does():
    found = NonFinite()
    list(found.watched({"w": lazy([NAN])})["w"].blocks())
    assert spelt(found.warnings()[0], TOML).endswith("can be left out with exclude")


def test_what_is_told_does_not_hold_the_tensor():
    found = NonFinite()
    watched = found.watched({"w": lazy([NAN], tie=(tie := Tie()))})
    list(watched["w"].blocks())
    warnings = found.warnings()
    held = weakref.ref(tie)
    del found, watched, tie
    gc.collect()
    assert held() is None
    assert len(warnings) == 1


class Tie:
    """What tensors are tied by; refers to the file."""


# How it is found


def test_nothing_is_read_before_the_tensors_are():
    found = NonFinite()
    assert list(found.watched({"w": sealed()})) == ["w"]
    assert found.warnings() == []


def test_tensors_of_integers_are_passed_on_as_they_are():
    tensors = {name: lazy(np.ones(3, numpy_dtype(name))) for name in DTYPES if name not in FLOATS}
    watched = NonFinite().watched(tensors)
    assert len(watched) == 9
    assert all(watched[name] is tensors[name] for name in tensors)


def test_the_values_and_what_is_known_of_the_tensor_stay_the_same(monkeypatch):
    monkeypatch.setattr(finite, "PIECE_BYTES", 64)
    array = np.arange(1000, dtype=np.float32).reshape(10, 100)
    array[5, 5] = NAN
    given_one = lazy(array, blocks=3).named("source")
    watched = NonFinite().watched({"w": given_one})["w"]
    assert max(block.nbytes for block in watched.blocks()) == 64
    np.testing.assert_array_equal(np.concatenate(list(watched.blocks())).reshape(10, 100), array)
    for name in ("dtype", "shape", "nbytes", "tie", "key", "path", "fault"):
        assert getattr(watched, name) == getattr(given_one, name)


def test_a_tensor_that_cannot_be_read_raises_its_error():
    with pytest.raises(CheckpointError, match="is broken"):
        list(NonFinite().watched({"w": faulty()})["w"].blocks())


# In a conversion


def _checkpoint(folder: Path, **arrays: Any) -> Path:
    """Write a checkpoint of float32 tensors, and one that is tied to the first."""
    values = {name: np.asarray(array, np.float32) for name, array in arrays.items()}
    tensors = {name: tensor(storage(name, array.size), size=(array.size,)) for name, array in values.items()}
    first = next(iter(values))
    tied = tensor(storage(first, values[first].size), size=(values[first].size,))
    stored = {name: array.tobytes() for name, array in values.items()}
    source = folder / "model.pt"
    source.write_bytes(zip_checkpoint(state_dict(**tensors, tied=tied), stored))
    return source


def test_a_conversion_warns_and_keeps_the_values(tmp_path):
    source = _checkpoint(tmp_path, w=[1, NAN, -INF], b=[1, 2])
    (warning,) = convert(source, tmp_path / "model.mpk").warnings
    assert warning == (
        "1 tensor holds values that are not finite: `w` (1 NaN, 1 infinity); "
        "a mask that the model makes itself can be left out with exclude"
    )
    np.testing.assert_array_equal(open_record(tmp_path / "model.mpk")["w"], [1, NAN, -INF])


def test_a_conversion_names_the_keys_of_the_record_and_counts_what_is_written(tmp_path):
    source = _checkpoint(tmp_path, w=[1, NAN, -INF], mask=[-INF, 0])
    for precision in ("keep", "half", "double", "bfloat16"):
        done = convert(
            source, tmp_path / "model.mpk", precision=precision, exclude=["mask"], key_remap=[("^w$", "new.w")]
        )
        assert [warning.partition(";")[0] for warning in done.warnings] == [
            "1 tensor holds values that are not finite: `new.w` (1 NaN, 1 infinity)"
        ]


def test_a_cast_that_overflows_is_told_by_its_error_alone(tmp_path):
    source = _checkpoint(tmp_path, w=[1, 1e9])
    with pytest.raises(CheckpointError, match="expected finite values that `float16` can hold"):
        convert(source, tmp_path / "model.mpk", precision="half")
    assert convert(source, tmp_path / "model.mpk").warnings == ()
