"""Values compared: the figures are those of numpy on whole arrays, however the blocks are cut."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Any

import ml_dtypes
import numpy as np
import pytest
from hypothesis import assume, given
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

from hatch_wheelweights import ConfigError
from hatch_wheelweights.checkpoint import LazyTensor
from hatch_wheelweights.looking.difference import values
from hatch_wheelweights.looking.difference.values import (
    Tolerance,
    ValueDifference,
    compared,
    content_of,
    tolerance_of,
)
from wheelweights.dtypes import dtype_name

if TYPE_CHECKING:
    from collections.abc import Iterator

    from numpy.typing import NDArray

FLOATS = st.floats(width=32) | st.sampled_from([0.0, -0.0, 1.0, math.nan, math.inf, -math.inf])
CUTS = st.lists(st.integers(1, 7), max_size=8)


def lazy(array: NDArray[Any], cuts: list[int] | None = None) -> LazyTensor:
    """Return a tensor that comes in blocks of these sizes, and the rest in one."""

    def blocks() -> Iterator[NDArray[Any]]:
        rest = array.reshape(-1)
        for cut in cuts or ():
            yield rest[:cut]
            rest = rest[cut:]
        yield rest

    return LazyTensor(dtype_name(array.dtype), array.shape, blocks, object())


def pairs(dtype: type[np.floating[Any]] = np.float32) -> st.SearchStrategy[tuple[NDArray[Any], NDArray[Any]]]:
    """Give two arrays of one shape that agree in most places."""

    def two(size: int) -> st.SearchStrategy[tuple[NDArray[Any], NDArray[Any]]]:
        array = hnp.arrays(dtype, size, elements=FLOATS)
        change = st.lists(st.tuples(st.integers(0, size - 1), FLOATS), max_size=3)
        return st.tuples(array, change).map(lambda made: (made[0], changed(*made)))

    return st.integers(1, 40).flatmap(two)


def changed(array: NDArray[Any], changes: list[tuple[int, float]]) -> NDArray[Any]:
    array = array.copy()
    for place, value in changes:
        array[place] = value
    return array


@given(
    pairs(), CUTS, CUTS, st.sampled_from([0, 1e-3, 0.5, 1e30]), st.sampled_from([0, 1e-6, 1, 1e38]), st.integers(1, 9)
)
def test_the_figures_are_those_of_numpy_on_the_whole_arrays(
    both: tuple[NDArray[Any], NDArray[Any]],
    cuts: list[int],
    other_cuts: list[int],
    rtol: float,
    atol: float,
    piece: int,
) -> None:
    a, b = both
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(values, "PIECE_ELEMENTS", piece)
        found = compared(lazy(a, cuts), lazy(b, other_cuts), Tolerance(rtol, atol))
    wide_a, wide_b = a.astype(np.float64), b.astype(np.float64)
    with np.errstate(all="ignore"):
        close = np.isclose(wide_a, wide_b, rtol, atol, equal_nan=True)
        unequal = (a != b) & ~(np.isnan(a) & np.isnan(b))
        numbers = unequal & ~np.isnan(a) & ~np.isnan(b)
        apart = np.abs(wide_a[numbers] - wide_b[numbers])
        relative = apart / np.abs(wide_b[numbers])
    assert found.elements == a.size
    assert found.differing == np.sum(~close)
    assert found.unequal == np.sum(unequal)
    assert found.largest == max(apart, default=0)
    assert found.largest_relative == max(np.where(np.isnan(relative), np.inf, relative), default=0)
    assert found.nan_in_both == np.sum(np.isnan(a) & np.isnan(b))
    assert found.nan_in_one == np.sum(np.isnan(a) ^ np.isnan(b))


def of_one_length(size: int) -> st.SearchStrategy[tuple[NDArray[Any], NDArray[Any]]]:
    array = hnp.arrays(np.float32, size, elements=st.floats(-1e3, 1e3, width=32))
    return st.tuples(array, array)


@given(st.integers(1, 60).flatmap(of_one_length))
def test_the_cosine_is_that_of_the_whole_arrays(both: tuple[NDArray[Any], NDArray[Any]]) -> None:
    a, b = (each.astype(np.float64) for each in both)
    lengths = np.linalg.norm(a) * np.linalg.norm(b)
    assume(lengths > 1e-6)
    found = compared(lazy(both[0]), lazy(both[1])).cosine
    assert found == pytest.approx(a @ b / lengths, abs=1e-9)


@given(pairs(), CUTS)
def test_a_tensor_equals_itself(both: tuple[NDArray[Any], NDArray[Any]], cuts: list[int]) -> None:
    array, _ = both
    found = compared(lazy(array), lazy(array, cuts))
    assert (found.unequal, found.differing, found.largest) == (0, 0, 0)
    assert found == content_of(lazy(array, cuts)).itself
    assert found.cosine in (1.0, None)


@given(pairs(), CUTS)
def test_contents_are_equal_where_the_bytes_are(both: tuple[NDArray[Any], NDArray[Any]], cuts: list[int]) -> None:
    a, b = both
    assert (content_of(lazy(a, cuts)).digest == content_of(lazy(b)).digest) == (a.tobytes() == b.tobytes())


def test_a_content_of_one_value_is_told() -> None:
    assert content_of(lazy(np.zeros((3, 4)), [1, 2])).constant
    assert content_of(lazy(np.zeros((3, 0)))).constant
    assert not content_of(lazy(np.array([0, 0, 0, 1]), [3])).constant
    for dtype in (np.float32, np.complex64, ml_dtypes.bfloat16):
        assert content_of(lazy(np.full(5, math.nan, dtype), [2])).constant
        assert not content_of(lazy(np.array([math.nan, 1], dtype))).constant
        assert not content_of(lazy(np.array([1, math.nan], dtype), [1])).constant


@pytest.mark.parametrize(
    ("a", "b", "cosine"),
    [
        ([1.0, 0], [0, 2], 0.0),
        ([1.0, 0], [-3, 0], -1.0),
        ([0.0, 0], [1, 2], None),
        ([math.nan, 1], [1, 1], None),
        ([math.inf, 1], [1, 1], None),
        ([1e200, 1], [1e200, 2], None),
        ([1j, 1], [1, 1], 0.5),
    ],
)
def test_a_cosine_is_of_two_directions(a: list[complex], b: list[complex], cosine: float | None) -> None:
    found = compared(lazy(np.array(a)), lazy(np.array(b, np.array(a).dtype))).cosine
    assert found == (None if cosine is None else pytest.approx(cosine))


def test_integers_are_compared_exactly_within_a_tolerance_too() -> None:
    a = np.array([2**63 - 1, 2**53 + 1, -(2**63), 5])
    b = np.array([2**63 - 3, 2**53, 2**63 - 1, 5])
    assert compared(lazy(a), lazy(b), Tolerance(atol=1)) == ValueDifference(4, 3, 2, 2**64 - 1, 2.0)
    assert compared(lazy(a[:2]), lazy(b[:2]), Tolerance(atol=2)).differing == 0
    unsigned = lazy(np.array([2**64 - 1, 7], np.uint64))
    assert compared(unsigned, lazy(np.array([2**53 + 1, 7], np.uint64))).largest == 2**64 - 1 - (2**53 + 1)
    assert compared(unsigned, lazy(np.array([1, 7], np.uint8))).largest == 2**64 - 2
    assert compared(unsigned, lazy(np.array([True, True]))).largest == 2**64 - 2


def test_other_dtypes_are_compared_by_their_values() -> None:
    a = np.array([1, 2.5, -0.375], np.float32)
    for dtype in (np.float64, np.float16, ml_dtypes.bfloat16, ml_dtypes.float8_e4m3fn, np.complex64):
        assert compared(lazy(a), lazy(a.astype(dtype))).unequal == 0
        assert compared(lazy(a.astype(dtype)), lazy(a * 2)).largest == 2.5
    assert compared(lazy(np.array([1, 0])), lazy(np.array([True, False]))).unequal == 0


def test_complex_numbers_that_are_infinite_in_one_part_differ_in_the_other() -> None:
    found = compared(lazy(np.array([complex(math.inf, 1)])), lazy(np.array([complex(math.inf, 2)])))
    assert (found.unequal, found.largest, found.largest_relative) == (1, math.inf, math.inf)


@pytest.mark.parametrize(("rtol", "atol", "named"), [(-1, 0, "rtol"), (0, math.nan, "atol"), (math.inf, 0, "rtol")])
def test_a_tolerance_is_a_finite_number_of_at_least_0(rtol: float, atol: float, named: str) -> None:
    with pytest.raises(ConfigError, match=f"^{named}: expected a finite number of at least 0, found "):
        tolerance_of(rtol, atol)
    assert tolerance_of(0.5, 0) == Tolerance(0.5, 0)
