"""Statistics: those of the whole, however a tensor is cut into blocks, for every dtype and at the ends of its range."""

from __future__ import annotations

import dataclasses
import json
import math
import tracemalloc
from decimal import Context
from fractions import Fraction
from typing import TYPE_CHECKING, Any
from unittest import mock

import numpy as np
import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from hatch_wheelweights.checkpoint.tensors import LazyTensor
from hatch_wheelweights.errors import CheckpointError
from hatch_wheelweights.looking.inspection import statistics
from hatch_wheelweights.looking.inspection.statistics import BINS, Statistics, statistics_of, times_read
from making.tensors import faulty, lazy
from wheelweights.dtypes import DTYPES, numpy_dtype

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from numpy.typing import NDArray

HUGE = np.finfo(np.float64).max
ODD = [0.0, -0.0, 1.0, -1.0, 0.1, math.nan, math.inf, -math.inf, 5e-324, 1e-200, 1e308, -HUGE, HUGE]
SHAPES = st.one_of(
    st.just(()), st.tuples(st.integers(0, 9)), st.lists(st.integers(0, 4), min_size=2, max_size=4).map(tuple)
)


@st.composite
def arrays(draw: st.DrawFn) -> NDArray[Any]:
    """Draw arrays of every dtype: any bits, ordinary values, mostly zeros."""
    name, shape = draw(st.sampled_from(list(DTYPES))), draw(SHAPES)
    size, dtype = math.prod(shape), numpy_dtype(name)
    seed = draw(st.integers(0, 1 << 30))
    generator = np.random.default_rng(seed)
    kind = draw(st.sampled_from(["bits", "ordinary", "odd", "zeros"]))
    with np.errstate(all="ignore"):
        if kind == "bits" and name != "bool":
            return np.frombuffer(generator.bytes(size * dtype.itemsize), dtype).reshape(shape)
        if kind == "odd" and ("float" in name or "complex" in name):
            values = generator.choice(ODD, shape)
            return (values + 1j * generator.choice(ODD, shape) if dtype.kind == "c" else values).astype(dtype)
        values = np.abs(generator.standard_normal(shape) * 3)
        return (values * (generator.random(shape) < 0.3) if kind == "zeros" else values).astype(dtype)


# What it should be, by Python's own numbers


def _numbers(array: NDArray[Any]) -> list[float | int]:
    """Return the values; of complex numbers the magnitudes, the largest of which are beyond float64."""
    if array.dtype.kind in "biu":
        return [int(one) for one in array.ravel()]
    if array.dtype.kind != "c":
        return [float(one) for one in array.ravel()]
    parts = [(float(one.real), float(one.imag)) for one in array.ravel()]
    finite = [math.isfinite(real) and math.isfinite(imag) for real, imag in parts]
    return [
        min(math.hypot(*one), HUGE) if known else math.hypot(*one) for one, known in zip(parts, finite, strict=True)
    ]


def _root(value: Fraction) -> float:
    context = Context(prec=60)
    return float(context.sqrt(context.divide(value.numerator, value.denominator)))


def _dead_rows(array: NDArray[Any]) -> int:
    if array.ndim < 2 or not array.size:
        return 0
    return sum(1 for row in array.reshape(array.shape[0], -1) if not any(_numbers(row)))


def _assert_are_of(found: Statistics, array: NDArray[Any]) -> None:
    numbers = _numbers(array)
    finite = [one for one in numbers if math.isfinite(one)]
    assert found.values == array.size
    assert found.zeros == numbers.count(0)
    assert found.nans == sum(map(math.isnan, numbers))
    assert found.infinities == sum(map(math.isinf, numbers))
    assert (found.rows, found.dead_rows) == (array.shape[0] if array.ndim > 1 else 0, _dead_rows(array))
    if not finite:
        assert (found.minimum, found.maximum, found.mean, found.std, found.histogram) == (None, None, None, None, ())
        return
    assert found.minimum == pytest.approx(min(finite), rel=1e-15)
    assert found.maximum == pytest.approx(max(finite), rel=1e-15)
    if array.dtype.kind in "biu":
        assert (found.minimum, found.maximum) == (min(finite), max(finite))
        assert type(found.minimum) is type(found.maximum) is int
    _assert_spread(found, [Fraction(float(one)) for one in finite])


def _assert_spread(found: Statistics, numbers: list[Fraction]) -> None:
    largest = max(map(abs, numbers))
    mean = sum(numbers, Fraction()) / len(numbers)
    assert found.mean is not None
    assert abs(Fraction(found.mean) - mean) <= largest * Fraction(1, 10**14)
    squares = sum(((one - mean) ** 2 for one in numbers), Fraction())
    if len(numbers) == 1:
        assert found.std is None
    else:
        assert found.std == pytest.approx(_root(squares / (len(numbers) - 1)), rel=1e-12, abs=float(largest) * 1e-14)
    _assert_histogram(found.histogram, numbers)


def _assert_histogram(histogram: tuple[int, ...], numbers: list[Fraction]) -> None:
    assert len(histogram) == BINS
    low, width = min(numbers), max(numbers) - min(numbers)
    expected = [0] * BINS
    if not width:
        expected[BINS // 2] = len(numbers)
        assert list(histogram) == expected
        return
    places = [(one - low) * BINS / width for one in numbers]
    for place in places:
        expected[min(int(place), BINS - 1)] += 1
    near = sum(1 for place in places if abs(place - round(place)) < Fraction(1, 10**9) and 0 < place < BINS)
    assert sum(histogram) == len(numbers)
    assert sum(abs(one - other) for one, other in zip(histogram, expected, strict=True)) <= 2 * near


# Laws


def _of_pieces(array: NDArray[Any], cuts: Sequence[int], piece: int, *, kept: bool, by_code: bool) -> Statistics:
    small = array.dtype.itemsize <= 2
    with (
        mock.patch.multiple(statistics, PIECE=piece, CODES_PIECE=piece, KEPT_BYTES=1 << 20 if kept else -1),
        mock.patch.object(statistics, "_has_more_values_than_codes", return_value=by_code and small),
    ):
        return statistics_of(lazy(array, blocks=sorted(cuts)))


@given(
    arrays(), st.lists(st.integers(0, 100), max_size=5), st.integers(1, 20), st.booleans(), st.booleans()
)  # fmt: skip
@example(np.zeros((3, 0)), [], 1, True, True)
@example(np.full((2, 2), -HUGE), [1], 1, True, True)
@example(np.array([HUGE, -HUGE, HUGE]), [1], 2, False, True)
@example(np.array([5e-324, 1.5e-323]), [1], 1, False, True)
@example(np.array([[2**63 - 1, 2**63 - 2], [0, 0]]), [3], 2, False, True)
@example(np.array([2**64 - 1, 2**64 - 2], np.uint64), [], 1, True, True)
@example(np.array([complex(HUGE, HUGE), 1j]), [], 1, True, True)
def test_are_those_of_the_whole_however_it_is_cut(array, cuts, piece, kept, by_code):
    _assert_are_of(_of_pieces(array, cuts, piece, kept=kept, by_code=by_code), array)


@pytest.mark.parametrize("dtype", DTYPES)
def test_count_planted_values_of_every_dtype(dtype):
    generator = np.random.default_rng(0)
    array = np.abs(generator.standard_normal((60, 60)) * 9).astype(numpy_dtype(dtype))
    if dtype != "float8_e8m0fnu":
        array[[7, 10, 11, 59]] = 0
    if np.isnan(np.array(np.nan if "float" in dtype or "complex" in dtype else 0).astype(array.dtype)):
        array[3, :5] = np.nan
    if "complex" in dtype or dtype in ("float16", "bfloat16", "float32", "float64", "float8_e5m2"):
        array[50, 10:13] = [np.inf, -np.inf, np.inf]
    for tensor in (lazy(array, blocks=1), lazy(array, blocks=77)):
        _assert_are_of(statistics_of(tensor), array)


# At the ends of the range


def test_integers_are_exact_beyond_what_float64_has():
    found = statistics_of(lazy(np.array([2**63 + 1, 2**64 - 1, 2**63 + 3], np.uint64)))
    assert (found.minimum, found.maximum) == (2**63 + 1, 2**64 - 1)
    found = statistics_of(lazy(np.array([-(2**63), 2**63 - 1, 2**53 + 1], np.int64)))
    assert (found.minimum, found.maximum) == (-(2**63), 2**63 - 1)


def test_values_near_the_limit_of_float64_do_not_overflow(recwarn):
    found = statistics_of(lazy(np.array([1e308, -1e308, 1e308, -1e308])))
    assert found.mean == 0
    assert found.std == pytest.approx(1e308 * math.sqrt(4 / 3))
    assert (found.histogram[0], found.histogram[-1]) == (2, 2)
    assert statistics_of(lazy(np.array([HUGE, -HUGE]))).std == math.inf  # is beyond float64 itself
    assert not recwarn.list


def test_values_near_zero_do_not_underflow():
    found = statistics_of(lazy(np.array([1e-300, 3e-300])))
    assert (found.mean, found.std) == (pytest.approx(2e-300), pytest.approx(math.sqrt(2) * 1e-300))


def test_a_large_offset_takes_nothing_from_the_spread():
    generator = np.random.default_rng(0)
    values = 1e9 + generator.standard_normal(1 << 20)
    found = statistics_of(lazy(values, blocks=100))
    assert found.std == pytest.approx(np.std(values - 1e9, ddof=1), rel=1e-9)


def test_a_constant_has_no_spread_and_one_bin():
    found = statistics_of(lazy(np.full(100_000, 0.1, np.float32), blocks=9))
    assert (found.mean, found.std) == (float(np.float32(0.1)), 0.0)
    assert found.histogram == (*[0] * 32, 100_000, *[0] * 31)


# What is told of them


def test_bools_count_as_zero_and_one():
    found = statistics_of(lazy(np.array([[True, False], [False, False]])))
    assert found == Statistics(4, 3, 0, 0, 0, 1, 0.25, 0.5, 2, 1, (3, *[0] * 62, 1))


def test_complex_numbers_count_by_their_magnitudes():
    found = statistics_of(lazy(np.array([3 + 4j, 0, complex(math.nan, math.inf), complex(math.nan, 1)], np.complex64)))
    assert found == Statistics(4, 1, 1, 1, 0.0, 5.0, 2.5, math.sqrt(12.5), 0, 0, (1, *[0] * 62, 1))


def test_a_tensor_of_nothing_has_neither_values_nor_bins():
    none = (None, None, None, None)
    assert statistics_of(lazy(np.empty((3, 0, 2)))) == Statistics(0, 0, 0, 0, *none, 3, 0, ())
    assert statistics_of(lazy(np.full(2, np.nan))) == Statistics(2, 0, 2, 0, *none, 0, 0, ())


def test_say_whether_all_is_zero_and_all_is_finite():
    for values, is_all_zero, has_nonfinite in [
        ([0.0, -0.0], True, False),
        ([0, 1], False, False),
        ([], False, False),
        ([0, math.nan], False, True),
        ([-math.inf], False, True),
    ]:
        found = statistics_of(lazy(np.array(values)))
        assert (found.is_all_zero, found.has_nonfinite) == (is_all_zero, has_nonfinite)


def test_are_plain_values_of_json():
    for dtype in DTYPES:
        found = dataclasses.asdict(statistics_of(lazy(np.ones((2, 2), numpy_dtype(dtype)))))
        assert json.loads(json.dumps(found)) == {**found, "histogram": list(found["histogram"])}


# How it is read


def test_a_tensor_that_cannot_be_read_raises_its_error():
    for dtype in ("float32", "int4"):
        with pytest.raises(CheckpointError, match="is broken"):
            statistics_of(faulty(dtype))


class Reads:
    """A tensor that counts how often it is read."""

    def __init__(self, array: NDArray[Any]) -> None:
        self.count = 0
        self._tensor = lazy(array, blocks=8)
        self.tensor = LazyTensor(self._tensor.dtype, array.shape, self._read, object())

    def _read(self) -> Iterator[NDArray[Any]]:
        self.count += 1
        return self._tensor.read()


@pytest.mark.parametrize(
    ("dtype", "size", "times"),
    [("float32", 1 << 20, 1), ("float32", (1 << 20) + 1, 2), ("bfloat16", 1 << 22, 1), ("bool", 1 << 23, 1)],
)
def test_only_large_tensors_of_large_elements_are_read_twice(dtype, size, times):
    reads = Reads((np.arange(size) % 100).astype(numpy_dtype(dtype)))
    statistics_of(reads.tensor)
    assert reads.count == times == times_read(reads.tensor)


@pytest.mark.parametrize("dtype", ["float32", "float16", "uint8", "complex64"])
def test_memory_does_not_grow_with_the_tensor(dtype):
    array = np.zeros(1 << 24, numpy_dtype(dtype))
    array[::3] = 1
    tensor = lazy(array)
    statistics_of(lazy(array[:100_000]))  # tables are kept
    tracemalloc.start()
    statistics_of(tensor)
    _, peak = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert peak < 16 << 20


def test_a_file_that_changes_between_two_readings_gives_no_other_error():
    values = iter([np.linspace(0, 1, 1 << 20), np.linspace(-9, np.nan, 1 << 20)])
    tensor = LazyTensor("float64", (1 << 20,), lambda: iter([next(values)]), object())
    assert sum(statistics_of(tensor).histogram) == 1 << 20
