"""Casting: the values of every cast, what does not fit, what is lost, and that it is done a block at a time."""

from __future__ import annotations

import gc
import weakref
from typing import TYPE_CHECKING, Any

import ml_dtypes
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

from hatch_wheelweights.errors import CheckpointError
from hatch_wheelweights.options.precisions import parse_precision_rule
from hatch_wheelweights.steps import casting
from hatch_wheelweights.steps.casting import Goal, Losses, Tally, cast, rounding
from hatch_wheelweights.steps.report import Report
from making.tensors import lazy, sealed
from wheelweights.dtypes import DTYPES, numpy_dtype

if TYPE_CHECKING:
    from hatch_wheelweights.options.model import Precision

FLOATS = [name for name in DTYPES if "float" in name]
FLOAT8 = [name for name in DTYPES if name.startswith("float8")]
OUT_OF_RANGE = ("float8_e8m0fnu", "float16")
INTEGERS = [name for name in DTYPES if "int" in name]
WORDS: dict[str, Precision] = {"float16": "half", "float32": "full", "float64": "double", "bfloat16": "bfloat16"}


def _cast(tensor, dtype, report=None, *, key="w", rule=None):
    """Cast as a precision does, or as the rule does whose number is 0."""
    asked = parse_precision_rule("", WORDS.get(dtype, "keep")) if rule is None else parse_precision_rule("", rule)
    goal = Goal(key, dtype, asked, None if rule is None else 0)
    return cast(tensor.named("w"), goal, Losses(report or Report()))


def _error(tensor, dtype, **more: Any) -> CheckpointError:
    with pytest.raises(CheckpointError) as caught:
        _cast(tensor, dtype, **more).numpy()
    return caught.value


def _told(tensor, dtype) -> tuple[list[str], list[str]]:
    report = Report()
    list(_cast(tensor, dtype, report).blocks())
    return [str(one) for one in report.warnings], [str(one) for one in report.notes]


# Floats that do not stay finite


@pytest.mark.parametrize(
    ("value", "dtype", "goal"),
    [
        (65520.0, "float32", "float16"),
        (-1e10, "float64", "float16"),
        (3e38, "bfloat16", "float16"),
        (1e39, "float64", "float32"),
        (3.4e38, "float32", "bfloat16"),
        (1e300, "float64", "bfloat16"),
        (1e300j, "complex128", "complex64"),
        (complex(1e300, np.inf), "complex128", "complex64"),
        (1000.0, "float32", "float8_e4m3fn"),
        (-300.0, "float32", "float8_e4m3fnuz"),
    ],
)
def test_rejects_a_finite_value_that_would_not_stay_finite(value, dtype, goal):
    array = np.array([1, value, -1, 0.5]).astype(numpy_dtype(dtype))
    error = _error(lazy(array, blocks=2), goal)
    first, asked, remedy = str(error).splitlines()
    assert first.startswith(f"tensor `w`: expected finite values that `{goal}` can hold, found the magnitude ")
    assert asked.startswith('  By precision="')
    assert remedy.startswith('  Keep it: precision=[{"pattern": "^w$", "dtype": "keep"}, {"pattern": "", "dtype": "')
    assert error.found == pytest.approx(abs(np.array(value).astype(array.dtype).astype(complex).real or abs(value)))


def test_names_the_largest_of_all_values_that_overflow():
    assert str(_error(lazy([7e4, 1.0, 9e4, 8e4], "float32", blocks=4), "float16")) == (
        "tensor `w`: expected finite values that `float16` can hold, found the magnitude 90000\n"
        '  By precision="half"\n'
        '  Keep it: precision=[{"pattern": "^w$", "dtype": "keep"}, {"pattern": "", "dtype": "half"}], '
        "or use `bfloat16`, which has the range of float32."
    )


@pytest.mark.parametrize(
    ("values", "dtype", "found"),
    [
        ([1, np.inf], "float8_e4m3fn", "inf"),
        ([1, -np.inf], "float8_e5m2fnuz", "-inf"),
        ([1, 0], "float8_e8m0fnu", "0"),
        ([1, -2], "float8_e8m0fnu", "-2"),
    ],
)
def test_rejects_what_some_dtypes_have_no_code_for(values, dtype, found):
    error = _error(lazy(np.array(values, np.float32)), dtype)
    assert error.fact == f"expected finite values that `{dtype}` can hold, found {found}"


def test_keeps_infinities_and_nans():
    values = [np.inf, -np.inf, np.nan, 65504.0]
    for dtype in ("float16", "bfloat16", "float32", "float8_e5m2"):
        tensor = _cast(lazy(values[: 3 if dtype == "float8_e5m2" else 4], "float64"), dtype)
        np.testing.assert_allclose(tensor.numpy().astype(np.float64), values[: tensor.shape[0]], rtol=2**-8)


@pytest.mark.parametrize(
    ("dtype", "goal"), [(dtype, goal) for dtype in FLOAT8 for goal in WORDS if (dtype, goal) != OUT_OF_RANGE]
)
def test_widens_every_value_of_float8_exactly(dtype, goal):
    codes = np.arange(256, dtype=np.uint8).view(numpy_dtype(dtype))
    tensor = _cast(lazy(codes), goal)
    np.testing.assert_array_equal(tensor.numpy().astype(np.float64), codes.astype(np.float64))


# What rounding loses


def test_rejects_a_tensor_that_loses_more_than_a_hundredth():
    error = _error(lazy(np.full(8, 1e-9, np.float32)), "float16", key="gamma.1")
    assert (error.expected, error.found) == (0.01, 1.0)
    assert str(error) == (
        "tensor `w`: expected values that `float16` can hold to 1% of the largest, "
        "found a loss of 100% (1e-09 of 1e-09)\n"
        '  By precision="half"\n'
        r'  Keep it: precision=[{"pattern": "^gamma\\.1$", "dtype": "keep"}, {"pattern": "", "dtype": "half"}], '
        "or use `bfloat16`, which has the range of float32."
    )


def test_names_the_rule_that_loses_too_much():
    error = _error(lazy(np.full(8, 1e-60)), "float32", rule="full")
    assert str(error) == (
        "tensor `w`: expected values that `float32` can hold to 1% of the largest, "
        "found a loss of 100% (1e-60 of 1e-60)\n"
        "  By precision[0]: `` -> `full`\n"
        '  Keep it by a rule before that one: precision=[{"pattern": "^w$", "dtype": "keep"}]'
    )


def test_measures_a_loss_against_the_whole_tensor_whichever_block_it_is_in():
    values = np.array([*[1e-9] * 90, *[1e-3] * 10], np.float32)
    assert _told(lazy(values, blocks=10), "float16")[0] == []
    assert _told(lazy(values[::-1], blocks=10), "float16")[0] == []
    assert _error(lazy(values[:90], blocks=10), "float16").found == 1.0


@pytest.mark.parametrize(
    ("value", "dtype"),
    [(1e-5, "float16"), (3e-6, "float16"), (1e-40, "float32"), (6e-39, "bfloat16")],
)
def test_warns_where_a_tensor_loses_more_than_the_dtype_rounds(value, dtype):
    values = np.linspace(0.1, 1, 100) * value
    (warning,), _ = _told(lazy(values), dtype)
    assert warning.startswith("tensors too small for their new dtype lose more than rounding: `w` (0.")
    assert warning.endswith(f"% of {value:.3g} in `{dtype}`); a rule of precision can keep them")


@pytest.mark.parametrize("scale", [6.2e-5, 1e-3, 1.0, 6e4])
@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_says_nothing_of_weights_of_an_ordinary_size(scale, dtype):
    values = np.random.default_rng(0).uniform(-scale, scale, 10_000).astype(dtype)
    assert np.abs(values).max() > 2**-14
    for goal in ("float16", "bfloat16", *(["float32"] if dtype == "float64" else [])):
        assert _told(lazy(values), goal)[0] == []


def test_the_worst_rounding_of_all_is_rounding():
    """Just above a power of two half a unit in the last place is the largest part of a value, ties included."""
    for dtype in ("float16", "bfloat16", "float32"):
        part = rounding(dtype)
        for value in (1 + part, 1 + part * 0.999999, 1 + 3 * part, 2.0**-14 * (1 + part)):
            assert _told(lazy([value, -value], "float64"), dtype) == ([], [])


def test_counts_the_values_that_become_zero_beside_large_ones():
    values = np.array([0.5, 1e-9, 0.0, -1e-8, np.nan, np.inf, -0.0], np.float32)
    assert _told(lazy(values), "float16") == (
        [], ["rounded to 0, being too small for their new dtype: 2 values of `w`"],
    )  # fmt: skip
    assert _told(lazy(values), "bfloat16") == ([], [])


def test_says_nothing_of_zeros_and_of_nothing():
    for values in (np.zeros(5, np.float32), np.empty(0, np.float32), np.full(3, np.nan), np.full(3, np.inf)):
        assert _told(lazy(values), "float16") == ([], [])


def test_a_tensor_that_is_read_twice_is_told_once():
    report = Report()
    tensor = _cast(lazy(np.array([1e-5, 1.1e-5, 1e-9], np.float32)), "float16", report)
    told = []
    for _ in range(2):
        list(tensor.blocks())
        told.append([str(one) for one in (*report.warnings, *report.notes)])
    assert told[0] == told[1]
    assert len(told[0]) == 2


def test_what_is_told_does_not_hold_the_tensor():
    report = Report()
    tensor = lazy(np.array([1e-5, 1.1e-5, 1e-9], np.float32), tie=(tie := Tie()))
    list(_cast(tensor, "float16", report).blocks())
    assert (len(report.warnings), len(report.notes)) == (1, 1)
    held = weakref.ref(tie)
    del tensor, tie
    gc.collect()
    assert held() is None


class Tie:
    """What tensors are tied by; refers to the file."""


def test_complex_numbers_lose_by_their_parts():
    values = np.array([1 + 1e-60j, 1e-60 + 1j, complex(np.nan, np.inf)])
    assert _told(lazy(values), "complex64") == (
        [], ["rounded to 0, being too small for their new dtype: 2 values of `w`"],
    )  # fmt: skip
    assert _error(lazy(values[:2] * 1e-60), "complex64").found == 1.0


def test_float8_may_lose_what_it_rounds():
    values = np.linspace(1, 2, 1000, dtype=np.float32)
    assert _told(lazy(values), "float8_e4m3fn") == ([], [])
    error = _error(lazy(values / 1000), "float8_e4m3fn")
    assert str(error.fact).startswith("expected values that `float8_e4m3fn` can hold to 6.25% of the largest, found ")


# Changes of kind


@pytest.mark.parametrize(
    ("values", "dtype", "goal", "found"),
    [
        ([127, -128], "int64", "int8", None),
        ([128, 0], "int64", "int8", "128"),
        ([0, -129], "int64", "int8", "-129"),
        ([255], "int16", "uint8", None),
        ([-1], "int8", "uint64", "-1"),
        ([2**63 - 1], "uint64", "int64", None),
        ([2**63], "uint64", "int64", "9,223,372,036,854,775,808"),
        ([2**31 - 1, -(2**31)], "int64", "int32", None),
        ([0, 1], "int64", "bool", None),
        ([0, 2], "int64", "bool", "2"),
        ([True, False], "bool", "int8", None),
        ([True, False], "bool", "bfloat16", None),
        ([2048, -2048], "int64", "float16", None),
        ([2049], "int64", "float16", "2,049"),
        ([70_000], "int64", "float16", "70,000"),
        ([2**53], "int64", "float64", None),
        ([2**53 + 1], "int64", "float64", "9,007,199,254,740,993"),
        ([2**63 - 1], "int64", "float64", "9,223,372,036,854,775,807"),
        ([2**64 - 1], "uint64", "float32", "18,446,744,073,709,551,615"),
        ([-(2**63)], "int64", "float32", None),
        ([0], "int8", "float8_e8m0fnu", "0"),
        ([2.0, -3.0, -0.0], "float32", "int8", None),
        ([0.5], "float32", "int8", "0.5"),
        ([128.0], "float16", "int8", "128"),
        ([2.0**63], "float64", "int64", "9.22337e+18"),
        ([np.nan], "float64", "int64", "nan"),
        ([np.inf], "float32", "uint64", "inf"),
        ([1.0, 0.0], "float32", "bool", None),
        ([0.5], "float32", "bool", "0.5"),
        ([1.5, np.nan], "float32", "complex64", None),
        ([0.1], "float64", "complex64", "0.1"),
        ([1 + 0j], "complex64", "float32", None),
        ([1 + 1j], "complex64", "float32", "(1+1j)"),
        ([2 + 0j], "complex64", "int8", None),
        ([0.1 + 0j], "complex128", "float32", "(0.1+0j)"),
        ([], "int64", "int8", None),
    ],
)
def test_changes_a_kind_only_where_every_value_is_the_same(values, dtype, goal, found):
    tensor = lazy(np.array(values).astype(numpy_dtype(dtype)))
    if found is None:
        array = _cast(tensor, goal, rule=goal).numpy()
        assert array.dtype == numpy_dtype(goal)
        np.testing.assert_array_equal(array.astype(complex), np.array(values).astype(complex))
    else:
        error = _error(tensor, goal, rule=goal)
        assert str(error).splitlines()[:2] == [
            f"tensor `w`: expected values that `{goal}` can hold exactly, found {found}",
            f"  By precision[0]: `` -> `{goal}`",
        ]


def test_finds_a_misfit_in_the_last_block():
    assert _error(lazy([*range(99), 40_000], "int64", blocks=10), "int16", rule="int16").found == 40_000


EXTREMES = [0, 1, -1, 2, 127, 128, 255, 256, 2**24, 2**24 + 1, 2**31, 2**53, 2**53 + 1, 2**63 - 1, -(2**63), 2**64 - 1]


@given(st.data())
def test_integers_are_the_same_or_refused(data):
    dtype, goal = data.draw(st.sampled_from(INTEGERS)), data.draw(st.sampled_from([*INTEGERS, *FLOATS, "bool"]))
    info = np.iinfo(numpy_dtype(dtype))
    some = st.integers(info.min, info.max) | st.sampled_from([one for one in EXTREMES if info.min <= one <= info.max])
    values = data.draw(st.lists(some, max_size=5))
    tensor = lazy(np.array(values, numpy_dtype(dtype)))
    if dtype == goal:
        return
    try:
        array = _cast(tensor, goal, rule=goal).numpy()
    except CheckpointError as error:
        (unfit,) = {one for one in values if one == error.found}
        assert not _holds(goal, unfit)
    else:
        assert [int(one) for one in array] == values
        assert all(_holds(goal, one) for one in values)


def _holds(dtype: str, value: int) -> bool:
    """Tell whether a dtype has an integer, by Python's own integers and fractions."""
    if "int" in dtype:
        info = np.iinfo(numpy_dtype(dtype))
        return bool(info.min <= value <= info.max)
    if dtype == "bool":
        return value in (0, 1)
    if dtype == "float8_e8m0fnu":
        return value > 0 and value & (value - 1) == 0
    floats = ml_dtypes.finfo(numpy_dtype(dtype))
    odd = abs(value) >> ((value & -value).bit_length() - 1) if value else 0
    return abs(value) <= int(float(floats.max)) and odd < 2 << int(floats.nmant)


# How it is done


@pytest.mark.parametrize("goal", ["float64", "float16", "int8"])
def test_casts_a_whole_mapped_tensor_in_small_pieces(monkeypatch, goal):
    monkeypatch.setattr(casting, "BLOCK_BYTES", 64)
    array = np.arange(100, dtype=np.float32)
    tensor = _cast(lazy(array), goal, rule=goal)
    blocks = list(tensor.blocks())
    assert max(block.size for block in blocks) == 64 // max(4, DTYPES[goal].itemsize)
    np.testing.assert_array_equal(np.concatenate(blocks), array)


def test_reads_nothing_before_it_is_asked_for():
    for dtype in DTYPES:
        _cast(sealed(dtype), "float16")


def test_a_tally_needs_no_more_than_one_look_at_each_chunk():
    tally = Tally()
    for before, after in (([1.0, 2.0], [1.0, 2.5]), ([-4.0, 1e-3], [-4.0, 0.0])):
        tally.add(np.array(before), np.array(after))
    assert (tally.largest, tally.loss, tally.flushed, tally.broken) == (4.0, 0.5, 1, None)


# Laws

FORMATS = {"float16": (np.float16, 2.0**-11, 2.0**-25), "bfloat16": (ml_dtypes.bfloat16, 2.0**-8, 2.0**-134)}
ORDINARY = st.floats(-6e4, 6e4, width=32)


@pytest.mark.parametrize("dtype", FORMATS)
@given(values=hnp.arrays(np.float32, hnp.array_shapes(max_dims=3, min_side=0), elements=ORDINARY))
def test_casts_there_and_back_within_half_a_unit_of_the_format(dtype, values):
    _, relative, absolute = FORMATS[dtype]
    if np.abs(values).max(initial=0) < 1e-3:
        values = np.append(values, np.float32(1e-3))  # so that nothing is lost but what is beside it
    there = _cast(lazy(values), dtype)
    back = _cast(there, "float32")
    exact, result = values.astype(np.float64), back.numpy().astype(np.float64)
    assert np.all(np.abs(result - exact) <= np.maximum(np.abs(exact) * relative, absolute))


@given(values=hnp.arrays(np.float32, hnp.array_shapes(), elements=st.floats(width=32)), blocks=st.integers(1, 5))
def test_casts_to_double_and_back_without_any_error(values, blocks):
    there = _cast(lazy(values, blocks=blocks), "float64")
    back = _cast(there, "float32")
    np.testing.assert_array_equal(back.numpy(), values)


SCALES = st.sampled_from([1e-45, 1e-40, 1e-9, 1e-7, 1e-6, 1e-5, 6e-5, 1e-3, 1.0, 1e5])


@given(
    values=hnp.arrays(np.float64, st.integers(1, 20), elements=st.floats(-1, 1)),
    scale=SCALES,
    dtype=st.sampled_from(["float32", "float64"]),
    goal=st.sampled_from(["float16", "bfloat16", "float32"]),
    blocks=st.integers(1, 3),
)
def test_the_law_of_losses(values, scale, dtype, goal, blocks):
    """What is accepted is within a hundredth of the largest magnitude, what is refused is not; warnings are true."""
    before = (values * scale).astype(dtype)
    tensor = lazy(before, blocks=blocks)
    if dtype == goal:
        return
    with np.errstate(all="ignore"):
        narrow = before.astype(np.float32).astype(numpy_dtype(goal))
    wide, after = before.astype(np.float64), narrow.astype(np.float64)
    largest, loss = np.abs(wide).max(), np.abs(wide - after).max()
    report = Report()
    try:
        array = _cast(tensor, goal, report).numpy()
    except CheckpointError:
        assert loss > 0.01 * largest or not np.all(np.isfinite(after))
    else:
        np.testing.assert_array_equal(array.astype(np.float64), after)
        assert loss <= 0.01 * largest
        assert bool(report.warnings) == (loss > rounding(goal) * largest)
        flushed = int(np.count_nonzero((after == 0) & (wide != 0)))
        assert [str(note) for note in report.notes] == (
            [f"rounded to 0, being too small for their new dtype: {flushed} value{'s' * (flushed > 1)} of `w`"]
            if flushed
            else []
        )
