"""The statistics of a tensor: what its values are like, computed a piece at a time.

Tensors whose elements take one or two bytes are read once: how often each of the 256 or 65,536 codes occurs says
everything. Others are read twice, because the bins of the histogram follow from the smallest and the largest value;
those of at most `KEPT_BYTES` are kept in between. Everything is computed in float64, as after `x.double()` in torch.

The mean and the sum of squared deviations of the pieces are joined as in Chan, Golub and LeVeque, "Updating Formulae
and a Pairwise Algorithm for Computing Sample Variances" (1979), formula 2.1.
"""

from __future__ import annotations

import functools
import math
from dataclasses import dataclass
from functools import partial
from typing import TYPE_CHECKING, Any, Final

import numpy as np

from wheelweights.dtypes import DTYPES, numpy_dtype

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator

    from numpy.typing import NDArray

    from hatch_wheelweights.checkpoint import LazyTensor

__all__ = ["BINS", "Statistics", "statistics_of", "times_read"]

BINS: Final = 64
KEPT_BYTES: Final = 4 << 20  # a tensor of at most so many is read once and kept
PIECE: Final = 1 << 15  # elements that are looked at together, in float64, while they are in the processor's cache
CODES_PIECE: Final = 1 << 20  # ... of which only codes are counted: a table of all codes is made for each piece
ORDINARY: Final = 2.0**300  # magnitudes whose squares, and sums of squares, float64 can hold


@dataclass(frozen=True, slots=True)
class Statistics:
    """The values of a tensor: how many there are of which kind, and how the finite ones are distributed.

    `minimum`, `maximum`, `mean` and `std` are of the finite values, and None where there are none; the first two are
    integers for tensors of integers and bools. `std` is torch's (divided by n - 1), and None for a single value. `rows`
    are those along the first axis of a tensor with two axes or more (0 for others), `dead_rows` those of them that hold
    zeros alone. `histogram` counts the finite values in `BINS` bins of equal width from `minimum` to `maximum`, like
    torch.histc, which puts equal values into the bin in the middle; () where there are none.

    Of complex numbers, all of this is said of their magnitudes. One with an infinite part counts as infinite, whatever
    the other part is (C99, G.3).
    """

    values: int
    zeros: int
    nans: int
    infinities: int
    minimum: float | int | None
    maximum: float | int | None
    mean: float | None
    std: float | None
    rows: int
    dead_rows: int
    histogram: tuple[int, ...]

    @property
    def has_nonfinite(self) -> bool:
        """Whether there is a NaN or an infinity."""
        return self.nans + self.infinities > 0

    @property
    def is_all_zero(self) -> bool:
        """Whether there are values, and all of them are 0."""
        return self.values > 0 and self.zeros == self.values


def statistics_of(tensor: LazyTensor) -> Statistics:
    """Return the statistics of a tensor, which is read in blocks and never held as a whole unless it is small.

    Raises CheckpointError where it cannot be read. A tensor of a file that is written to meanwhile has statistics of
    neither state; see `Checkpoint.check_unchanged`.
    """
    with np.errstate(all="ignore"):
        return _by_code(tensor) if _has_more_values_than_codes(tensor) else _by_value(tensor)


def times_read(tensor: LazyTensor) -> int:
    """Return how often `statistics_of` reads a tensor, for showing progress (a large constant one is read once)."""
    return 1 if _has_more_values_than_codes(tensor) or tensor.nbytes <= KEPT_BYTES else 2


def _has_more_values_than_codes(tensor: LazyTensor) -> bool:
    itemsize = DTYPES[tensor.dtype].itemsize if tensor.dtype in DTYPES else 0
    return itemsize in (1, 2) and math.prod(tensor.shape) > 1 << 8 * itemsize


def _by_code(tensor: LazyTensor) -> Statistics:
    """Return the statistics of a tensor of small elements, from how often each code occurs."""
    numbers, zero_codes = _numbers_of_codes(tensor.dtype)
    counts = np.zeros(numbers.size, np.int64)
    rows = _Rows(tensor.shape)
    for piece in _pieces(tensor.blocks(), CODES_PIECE):
        codes = piece.view(zero_codes.dtype)
        found = np.bincount(codes, minlength=numbers.size)
        counts += found
        rows.add(codes.size, int(found[zero_codes].sum()), partial(_is_one_of, codes, zero_codes))
    present = np.flatnonzero(counts)
    numbers, counts = numbers[present], counts[present]
    tally = _Tally()
    tally.add(numbers, counts)
    finite = np.isfinite(numbers)
    return _statistics(tally, rows, [(numbers[finite], counts[finite])], _kind(tensor))


def _is_one_of(codes: NDArray[Any], few: NDArray[Any]) -> NDArray[np.bool_]:
    """Tell which codes are one of a few; as numpy's `isin`, and ten times as fast."""
    return functools.reduce(np.logical_or, [codes == code for code in few])


@functools.cache
def _numbers_of_codes(dtype: str) -> tuple[NDArray[np.float64], NDArray[Any]]:
    """Return the values of all codes of a dtype whose elements take one or two bytes, and the codes of zeros."""
    itemsize = DTYPES[dtype].itemsize
    codes = np.arange(1 << 8 * itemsize, dtype=f"<u{itemsize}")
    numbers = (codes if dtype == "bool" else codes.view(numpy_dtype(dtype))).astype(np.float64)
    return numbers, codes[numbers == 0]


# By value


def _by_value(tensor: LazyTensor) -> Statistics:
    """Return the statistics of a tensor, whose values are looked at twice."""
    kept = list(tensor.blocks()) if tensor.nbytes <= KEPT_BYTES else None

    def read() -> Iterator[NDArray[Any]]:
        return map(_numbers, _pieces(tensor.blocks() if kept is None else kept, PIECE))

    tally, rows = _Tally(), _Rows(tensor.shape)
    for numbers in read():
        zeros = tally.add(numbers)
        rows.add(numbers.size, zeros, partial(np.equal, numbers, 0))
    again = ((numbers[np.isfinite(numbers)] if tally.has_nonfinite else numbers, None) for numbers in read())
    return _statistics(tally, rows, again, _kind(tensor))


def _kind(tensor: LazyTensor) -> type[int | float]:
    return int if "int" in tensor.dtype or tensor.dtype == "bool" else float


def _pieces(blocks: Iterable[NDArray[Any]], size: int) -> Iterator[NDArray[Any]]:
    """Yield parts of at most `size` elements: one block of a mapped tensor can be all of it."""
    for block in blocks:
        for start in range(0, block.size, size):
            yield block[start : start + size]


def _numbers(piece: NDArray[Any]) -> NDArray[Any]:
    """Return the values as they are, or in float64 if they are small; of complex numbers, the magnitudes in float64."""
    if piece.dtype.kind != "c":
        return piece if piece.itemsize >= 4 else piece.astype(np.float64)
    magnitudes: NDArray[np.float64] = np.abs(piece.astype(np.complex128))
    # That of a finite number is finite, although it can be larger than all of float64 by a factor of 1.41
    return np.where(np.isfinite(piece), np.minimum(magnitudes, np.finfo(np.float64).max), magnitudes)


def _statistics(
    tally: _Tally,
    rows: _Rows,
    finite: Iterable[tuple[NDArray[Any], NDArray[np.int64] | None]],
    kind: type[int | float],
) -> Statistics:
    """Return the statistics; the finite numbers, with how often each occurs, are read now if they differ."""
    counted = tally.values, tally.zeros, tally.nans, tally.infinities
    if tally.minimum is None or tally.maximum is None:
        return Statistics(*counted, None, None, None, None, rows.count, rows.dead, ())
    spread = _Spread(float(tally.minimum), float(tally.maximum))
    if spread.is_constant:
        spread.add_constant(tally.values - tally.nans - tally.infinities)
    else:
        for numbers, counts in finite:
            spread.add(numbers, counts)
    ends = kind(tally.minimum), kind(tally.maximum)
    return Statistics(*counted, *ends, spread.mean, spread.std, rows.count, rows.dead, spread.histogram)


# What is added up, a piece at a time


class _Tally:
    """How many values there are of which kind, and the least and the largest finite one."""

    __slots__ = ("infinities", "maximum", "minimum", "nans", "values", "zeros")

    def __init__(self) -> None:
        self.values = self.zeros = self.nans = self.infinities = 0
        self.minimum: float | int | None = None
        self.maximum: float | int | None = None

    @property
    def has_nonfinite(self) -> bool:
        return self.nans + self.infinities > 0

    def add(self, numbers: NDArray[Any], counts: NDArray[np.int64] | None = None) -> int:
        """Enter numbers, each as often as `counts` says; return how many zeros there are."""
        if not numbers.size:
            return 0
        zeros = _total(numbers == 0, counts)
        self.values += numbers.size if counts is None else int(counts.sum())
        self.zeros += zeros
        low, high = numbers.min(), numbers.max()  # one NaN makes both NaN
        if not (np.isfinite(low) and np.isfinite(high)):
            self.nans += _total(np.isnan(numbers), counts)
            self.infinities += _total(np.isinf(numbers), counts)
            numbers = numbers[np.isfinite(numbers)]
            if not numbers.size:
                return zeros
            low, high = numbers.min(), numbers.max()
        self.minimum = low.item() if self.minimum is None else min(self.minimum, low.item())
        self.maximum = high.item() if self.maximum is None else max(self.maximum, high.item())
        return zeros


def _total(chosen: NDArray[np.bool_], counts: NDArray[np.int64] | None) -> int:
    return int(np.count_nonzero(chosen) if counts is None else counts[chosen].sum())


class _Rows:
    """Rows along the first axis: how many there are, and how many of those that have passed hold zeros alone."""

    __slots__ = ("_is_alive", "_length", "_passed", "count", "dead")

    def __init__(self, shape: tuple[int, ...]) -> None:
        self.count, self._length = (shape[0], math.prod(shape[1:])) if len(shape) > 1 else (0, 0)
        self.dead = 0
        self._passed = 0  # values of the row that has not ended yet
        self._is_alive = False  # whether one of them is not 0

    def add(self, size: int, zeros: int, is_zero: Callable[[], NDArray[np.bool_]]) -> None:
        """Let values pass, some of which are zeros: `is_zero` says which."""
        if not self._length or not size:
            return
        passed, self._passed = self._passed, (self._passed + size) % self._length
        if not zeros:
            self._is_alive = True
            return
        starts = np.arange(-passed % self._length, size, self._length)
        alive = np.logical_or.reduceat(~is_zero(), np.concatenate([[0], starts]) if passed else starts)
        alive[0] |= passed > 0 and self._is_alive
        self._is_alive = bool(alive[-1])
        self.dead += int(np.count_nonzero(~(alive[:-1] if self._passed else alive)))


class _Spread:
    """Mean, standard deviation and histogram of finite numbers from `low` to `high`.

    Where their squares could leave the range of float64, they are computed of numbers scaled by a power of two. What
    is computed of a piece is in memory that is used again: fresh memory costs more than all of this.
    """

    def __init__(self, low: float, high: float) -> None:
        largest = max(abs(low), abs(high))
        self._exponent = 0 if 1 / ORDINARY < largest < ORDINARY else math.frexp(largest)[1]
        self._low, self._high = math.ldexp(low, -self._exponent), math.ldexp(high, -self._exponent)
        self._count = 0
        self._mean = self._low
        self._squares = 0.0  # of the differences from the mean
        self._histogram = np.zeros(BINS, np.int64)
        self._values = self._positions = np.empty(0)
        self._bins = np.empty(0, np.intp)

    @property
    def is_constant(self) -> bool:
        """Whether all numbers are equal."""
        return self._low == self._high

    def add_constant(self, count: int) -> None:
        """Add as many numbers, which are equal."""
        self._count += count
        self._histogram[BINS // 2] += count

    def add(self, numbers: NDArray[Any], counts: NDArray[np.int64] | None = None) -> None:
        """Add numbers that are not all equal, each as often as `counts` says."""
        if not numbers.size:
            return
        if numbers.size > self._values.size:
            self._values, self._positions = np.empty(numbers.size), np.empty(numbers.size)
            self._bins = np.empty(numbers.size, np.intp)
        values = self._values[: numbers.size]
        values[...] = numbers
        if self._exponent:
            np.ldexp(values, -self._exponent, out=values)
        self._add_to_histogram(values, counts)
        self._add_to_moments(values, counts)

    def _add_to_histogram(self, values: NDArray[np.float64], counts: NDArray[np.int64] | None) -> None:
        # In the order of torch.histc, so that values at edges are in the same bins
        positions, bins = self._positions[: values.size], self._bins[: values.size]
        np.subtract(values, self._low, out=positions)
        positions *= BINS
        positions /= self._high - self._low
        bins[...] = positions
        unsigned = bins.view(np.uintp)  # if the file has changed, positions can even be negative: huge here
        np.minimum(unsigned, BINS - 1, out=unsigned)
        self._histogram += np.bincount(bins, counts, BINS).astype(np.int64)

    def _add_to_moments(self, values: NDArray[np.float64], counts: NDArray[np.int64] | None) -> None:
        memory = self._positions[: values.size]

        def total(numbers: NDArray[np.float64]) -> float:
            return float((numbers if counts is None else np.multiply(numbers, counts, out=memory)).sum())

        count = values.size if counts is None else int(counts.sum())
        mean = total(values) / count
        values -= mean
        self._join(count, mean, total(np.square(values, out=values)))

    def _join(self, count: int, mean: float, squares: float) -> None:
        both = self._count + count
        difference = mean - self._mean
        self._mean += difference * count / both
        self._squares += squares + difference * difference * self._count * count / both
        self._count = both

    @property
    def mean(self) -> float:
        """The mean, which rounding does not take out of the range."""
        return math.ldexp(min(max(self._mean, self._low), self._high), self._exponent)

    @property
    def std(self) -> float | None:
        """The standard deviation; None for a single number, infinite where it is beyond float64."""
        if self._count < 2:
            return None
        try:
            return math.ldexp(math.sqrt(self._squares / (self._count - 1)), self._exponent)
        except OverflowError:
            return math.inf

    @property
    def histogram(self) -> tuple[int, ...]:
        """How many numbers there are in each bin."""
        return tuple(self._histogram.tolist())
