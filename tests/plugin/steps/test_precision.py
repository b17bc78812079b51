"""Casting: what each precision makes of each dtype, what does not fit, and that it is done a block at a time."""

from __future__ import annotations

from typing import get_args

import ml_dtypes
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

from hatch_wheelweights.errors import CheckpointError
from hatch_wheelweights.options.model import Precision
from hatch_wheelweights.steps import precision
from hatch_wheelweights.steps.precision import cast_tensors
from making.tensors import faulty, lazy, sealed
from wheelweights.dtypes import DTYPES, numpy_dtype

FLOAT8 = [name for name in DTYPES if name.startswith("float8")]


def _cast(tensor, precision):
    cast, notes = cast_tensors({"w": tensor.named("w")}, precision)
    return cast["w"], notes.get("w")


def _expected(dtype: str, precision: str) -> str:
    table = {
        "full": ("float32", "int32", "complex64"),
        "half": ("float16", "int16", None),
        "double": ("float64", "int64", "complex128"),
        "bfloat16": ("bfloat16", None, None),
        "keep": (None, None, None),
    }
    floats, ints, complexes = table[precision]
    if (dtype, precision) == ("float8_e8m0fnu", "half") or dtype == "bool":
        return dtype
    return {"f": floats, "b": floats, "i": ints, "u": ints, "c": complexes}[dtype[0]] or dtype


@pytest.mark.parametrize("precision", get_args(Precision))
@pytest.mark.parametrize("dtype", DTYPES)
def test_casts_every_dtype_as_the_precision_says(dtype, precision):
    array = np.array([[0, 1], [1, 2]]).astype(numpy_dtype(dtype))
    tensor, _ = _cast(lazy(array), precision)
    assert tensor.dtype == _expected(dtype, precision)
    assert tensor.shape == (2, 2)
    assert tensor.numpy().dtype == numpy_dtype(tensor.dtype)
    np.testing.assert_array_equal(tensor.numpy().astype(complex), array.astype(complex))


def test_keeps_every_tensor_as_it_is_without_a_precision():
    tensor = sealed()
    assert cast_tensors({"w": tensor}, "keep")[0]["w"] is tensor


@pytest.mark.parametrize("precision", ["full", "double", "half", "bfloat16"])
def test_reads_no_float_before_it_is_asked_for(precision):
    _cast(sealed("float32"), precision)
    _cast(sealed("bool"), precision)
    _cast(sealed("uint8"), precision)  # every uint8 fits everywhere
    _cast(sealed("complex64"), precision)


# Integers


@pytest.mark.parametrize(
    ("values", "dtype", "precision", "kept", "note"),
    [
        ([32767, -32768], "int64", "half", "int16", None),
        ([32768, 0], "int64", "half", "int64", "kept int64: int16 cannot hold 32,768"),
        ([0, -32769], "int64", "half", "int64", "kept int64: int16 cannot hold -32,769"),
        ([2**31 - 1, -(2**31)], "int64", "full", "int32", None),
        ([2**31], "int64", "full", "int64", "kept int64: int32 cannot hold 2,147,483,648"),
        ([2**63 - 1], "uint64", "double", "int64", None),
        ([2**63], "uint64", "double", "uint64", "kept uint64: int64 cannot hold 9,223,372,036,854,775,808"),
        ([2**40], "int64", "bfloat16", "int64", None),
        ([], "int64", "half", "int16", None),
    ],
)
def test_casts_integers_only_where_every_value_fits(values, dtype, precision, kept, note):
    tensor, said = _cast(lazy(values, dtype), precision)
    assert (tensor.dtype, said) == (kept, note)
    np.testing.assert_array_equal(tensor.numpy(), np.array(values, dtype))


def test_finds_a_misfit_in_the_last_block():
    tensor, note = _cast(lazy([*range(99), 40_000], "int64", blocks=10), "half")
    assert (tensor.dtype, note) == ("int64", "kept int64: int16 cannot hold 40,000")


def test_reads_tied_integers_once_to_decide():
    reads = []
    tensor = lazy([1, 2], "int64")

    def read():
        reads.append(1)
        return tensor.read()

    counted = type(tensor)(tensor.dtype, tensor.shape, read, tensor.tie)
    cast_tensors({"a": counted, "b": counted}, "half")
    assert len(reads) == 1


# Floats


@pytest.mark.parametrize(
    ("value", "dtype", "precision", "goal"),
    [
        (65520.0, "float32", "half", "float16"),
        (-1e10, "float64", "half", "float16"),
        (3e38, "bfloat16", "half", "float16"),
        (1e39, "float64", "full", "float32"),
        (3.4e38, "float32", "bfloat16", "bfloat16"),
        (1e300, "float64", "bfloat16", "bfloat16"),
        (1e300j, "complex128", "full", "complex64"),
        (complex(1e300, np.inf), "complex128", "full", "complex64"),
    ],
)
def test_rejects_a_finite_value_that_would_become_infinite(value, dtype, precision, goal):
    array = np.array([1, value, -np.inf, 0.5]).astype(numpy_dtype(dtype))
    tensor, _ = _cast(lazy(array, blocks=2), precision)
    with pytest.raises(CheckpointError) as caught:
        tensor.numpy()
    first, remedy = str(caught.value).splitlines()
    assert first.startswith(f"tensor `w`: expected finite values that `{goal}` can hold, found the magnitude ")
    assert remedy.startswith('  Use precision="keep"')
    assert caught.value.found == pytest.approx(
        abs(np.array(value).astype(array.dtype).astype(complex).real or abs(value))
    )


def test_names_the_largest_of_all_values_that_overflow():
    tensor, _ = _cast(lazy([7e4, 1.0, 9e4, 8e4], "float32", blocks=4), "half")
    with pytest.raises(CheckpointError) as caught:
        tensor.numpy()
    assert str(caught.value) == (
        "tensor `w`: expected finite values that `float16` can hold, found the magnitude 90000\n"
        '  Use precision="keep", or `bfloat16`, which has the range of float32.'
    )


def test_keeps_infinities_and_nans():
    tensor, _ = _cast(lazy([np.inf, -np.inf, np.nan, 65504.0], "float64"), "half")
    np.testing.assert_array_equal(tensor.numpy(), np.array([np.inf, -np.inf, np.nan, 65504.0], np.float16))


@pytest.mark.parametrize("precision", ["full", "half", "double", "bfloat16"])
@pytest.mark.parametrize("dtype", FLOAT8)
def test_widens_every_value_of_float8_exactly(dtype, precision):
    codes = np.arange(256, dtype=np.uint8).view(numpy_dtype(dtype))
    tensor, note = _cast(lazy(codes), precision)
    np.testing.assert_array_equal(tensor.numpy().astype(np.float64), codes.astype(np.float64))
    assert (note is None) == (tensor.dtype != dtype)


def test_says_why_a_dtype_without_a_counterpart_is_kept():
    assert _cast(sealed("complex64"), "half")[1] == "kept complex64: there is no complex dtype of this precision"
    assert _cast(sealed("float8_e8m0fnu"), "half")[1] == "kept float8_e8m0fnu: float16 does not have its range"


def test_passes_tensors_that_cannot_be_read_through_untouched():
    for tensor in (faulty("float32"), faulty("int64"), faulty("qint8")):
        cast, notes = cast_tensors({"w": tensor}, "half")
        assert cast["w"] is tensor
        assert notes == {}


def test_leaves_tied_tensors_tied_and_others_not():
    tied = lazy([1.0])
    cast, _ = cast_tensors({"a": tied, "b": tied.named("b"), "c": lazy([1.0])}, "half")
    assert cast["a"].tie == cast["b"].tie
    assert cast["a"].tie not in (cast["c"].tie, tied.tie)


def test_casts_a_whole_mapped_tensor_in_small_pieces(monkeypatch):
    monkeypatch.setattr(precision, "BLOCK_BYTES", 64)
    array = np.arange(100, dtype=np.float32)
    tensor, _ = _cast(lazy(array), "double")
    blocks = list(tensor.blocks())
    assert max(block.nbytes for block in blocks) == 64
    np.testing.assert_array_equal(np.concatenate(blocks), array)


FORMATS = {"half": (np.float16, 2.0**-11, 2.0**-25), "bfloat16": (ml_dtypes.bfloat16, 2.0**-8, 2.0**-134)}


@pytest.mark.parametrize("precision", FORMATS)
@given(values=hnp.arrays(np.float32, hnp.array_shapes(max_dims=3, min_side=0), elements=st.floats(-6e4, 6e4, width=32)))
def test_casts_there_and_back_within_half_a_unit_of_the_format(precision, values):
    _, relative, absolute = FORMATS[precision]
    there, _ = _cast(lazy(values), precision)
    back, _ = _cast(there, "full")
    exact, result = values.astype(np.float64), back.numpy().astype(np.float64)
    assert np.all(np.abs(result - exact) <= np.maximum(np.abs(exact) * relative, absolute))


@given(values=hnp.arrays(np.float32, hnp.array_shapes(), elements=st.floats(width=32)), blocks=st.integers(1, 5))
def test_casts_to_double_and_back_without_any_error(values, blocks):
    there, _ = _cast(lazy(values, blocks=blocks), "double")
    back, _ = _cast(there, "full")
    np.testing.assert_array_equal(back.numpy(), values)
