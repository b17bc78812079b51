"""The values of two tensors compared, a piece at a time, and the content of one tensor.

Knows arrays and tolerances; knows no keys and no files. Values of bfloat16 and float8 are compared as the float32
that they are; integers exactly if one dtype can hold both, everything else as float64.
"""

from __future__ import annotations

import hashlib
import math
from collections import deque
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Final

import numpy as np

from hatch_wheelweights.errors import Faults, Option, Place
from wheelweights.dtypes import DTYPES

if TYPE_CHECKING:
    from collections.abc import Iterator

    from numpy.typing import NDArray

    from hatch_wheelweights.checkpoint import LazyTensor

__all__ = ["EXACT", "Content", "Tolerance", "ValueDifference", "compared", "content_of", "tolerance_of"]

PIECE_ELEMENTS: Final = 1 << 15  # compared at once, while they are in the processor's cache


@dataclass(frozen=True)
class Tolerance:
    """How far two values may be apart: `|a - b| <= atol + rtol * |b|`, as in `numpy.isclose`.

    NaN equals NaN, and an infinity equals itself alone.
    """

    rtol: float = 0
    atol: float = 0

    @property
    def exact(self) -> bool:
        """Whether values have to be equal."""
        return not self.rtol and not self.atol


EXACT: Final = Tolerance()


def tolerance_of(rtol: float, atol: float) -> Tolerance:
    """Return the tolerance; raise ConfigError for a number that is negative or not finite."""
    faults = Faults()
    for name, value in (("rtol", rtol), ("atol", atol)):
        if not (math.isfinite(value) and value >= 0):
            faults.add(Place((Option(name),)), f"expected a finite number of at least 0, found {value}")
    faults.raise_any()
    return Tolerance(rtol, atol)


@dataclass(frozen=True)
class ValueDifference:
    """How the values of two tensors differ: `differing` of `elements` are further apart than the tolerance allows.

    `unequal` elements are not exactly equal. `largest` is the largest |a - b|, exact for integers (except of uint64 and
    a signed dtype, which have no common one), and `largest_relative` the largest |a - b| / |b|: the smallest `rtol`
    that would do, infinite where only b is 0. `nan_in_both` elements are NaN on both sides (they are equal),
    `nan_in_one` on one side only (the largest differences leave them out). `products` are the sums of a * a, a * b and
    b * b in float64, of complex numbers those of their parts; they depend on where pieces end by rounding, so they are
    not compared.
    """

    elements: int = 0
    unequal: int = 0
    differing: int = 0
    largest: float = 0
    largest_relative: float = 0
    nan_in_both: int = 0
    nan_in_one: int = 0
    products: tuple[float, float, float] = field(default=(0.0, 0.0, 0.0), compare=False)

    @property
    def cosine(self) -> float | None:
        """The cosine of the angle between both, as vectors; None where one has no direction, or none that is known.

        That is where all its values are 0, and where there are NaN, infinities, or squares beyond float64.
        """
        left, both, right = self.products
        length = math.sqrt(left) * math.sqrt(right) if left >= 0 and right >= 0 else math.nan
        if not length or not math.isfinite(length) or not math.isfinite(both):
            return None
        return 1.0 if not self.unequal else max(-1.0, min(1.0, both / length))

    def plus(self, other: ValueDifference) -> ValueDifference:
        """Return the difference of both parts together."""
        left, both, right = self.products
        more_left, more_both, more_right = other.products
        return ValueDifference(
            self.elements + other.elements,
            self.unequal + other.unequal,
            self.differing + other.differing,
            max(self.largest, other.largest),
            max(self.largest_relative, other.largest_relative),
            self.nan_in_both + other.nan_in_both,
            self.nan_in_one + other.nan_in_one,
            (left + more_left, both + more_both, right + more_right),
        )


@dataclass(frozen=True)
class Content:
    """What a tensor holds: the digest of its bytes, whether all its values are the same, and how it equals itself."""

    digest: bytes
    constant: bool
    itself: ValueDifference


# Two tensors


def compared(left: LazyTensor, right: LazyTensor, tolerance: Tolerance = EXACT) -> ValueDifference:
    """Compare two tensors of one shape; each is read once, a piece at a time.

    Raises CheckpointError where one cannot be read.
    """
    total = ValueDifference()
    with np.errstate(all="ignore"):
        for ours, theirs in _pieces(left, right):
            total = total.plus(_piece_difference(_known_to_numpy(ours), _known_to_numpy(theirs), tolerance))
    return total


def _pieces(left: LazyTensor, right: LazyTensor) -> Iterator[tuple[NDArray[Any], NDArray[Any]]]:
    """Yield the elements of both in pieces of equal length, whatever blocks they come in."""
    streams = (left.blocks(), right.blocks())
    rests: list[NDArray[Any]] = [np.empty(0), np.empty(0)]
    while True:
        for i, stream in enumerate(streams):
            while not rests[i].size:
                block = next(stream, None)
                if block is None:
                    for rest in streams:  # a checksum is checked behind the last block
                        deque(rest, maxlen=0)
                    return
                rests[i] = block
        size = min(rests[0].size, rests[1].size, PIECE_ELEMENTS)
        yield rests[0][:size], rests[1][:size]
        rests = [rest[size:] for rest in rests]


def _piece_difference(left: NDArray[Any], right: NDArray[Any], tolerance: Tolerance) -> ValueDifference:
    same = left == right
    if same.all():
        return _itself(left, nans=0)
    products = _products(left, right)
    if left.dtype.kind == right.dtype.kind == "f" and math.isfinite(products[0]) and math.isfinite(products[2]):
        return _of_finite_floats(left.astype(np.float64), right.astype(np.float64), products, tolerance)
    nans = _nans(left), _nans(right)
    in_both, in_one = nans[0] & nans[1], nans[0] ^ nans[1]
    unequal = ~same & ~in_both
    comparable = unequal & ~in_one
    nan_in_one = int(in_one.sum())
    beyond, largest, relative = _distances(left[comparable], right[comparable], tolerance)
    return ValueDifference(
        left.size,
        int(unequal.sum()),
        beyond + nan_in_one,
        largest,
        relative,
        int(in_both.sum()),
        nan_in_one,
        products,
    )


def _of_finite_floats(
    left: NDArray[np.float64],
    right: NDArray[np.float64],
    products: tuple[float, float, float],
    tolerance: Tolerance,
) -> ValueDifference:
    """Return what the general way would, sooner: nothing has to be picked out of the arrays."""
    apart = np.abs(left - right)  # 0 where they are equal, and only there: it underflows gradually
    size = np.abs(right)
    unequal = int(np.count_nonzero(apart))
    beyond = unequal if tolerance.exact else int(np.count_nonzero(apart > tolerance.atol + tolerance.rtol * size))
    relative = np.fmax.reduce(apart / size)  # which ignores 0 / 0
    return ValueDifference(left.size, unequal, beyond, float(apart.max()), float(relative), products=products)


def _known_to_numpy(block: NDArray[Any]) -> NDArray[Any]:
    """Return bfloat16 and float8 as float32, which has all of their values."""
    dtype = DTYPES.get(block.dtype.name)
    return block.astype(np.float32) if dtype is not None and dtype.numpy is None else block


def _nans(values: NDArray[Any]) -> NDArray[np.bool_]:
    return np.isnan(values) if values.dtype.kind in "fc" else np.zeros(values.shape, bool)


def _distances(left: NDArray[Any], right: NDArray[Any], tolerance: Tolerance) -> tuple[int, float, float]:
    """Return how many unequal values are too far apart, and the largest absolute and relative difference."""
    if not left.size:
        return 0, 0, 0
    apart = _apart(left, right)
    size = np.abs(right.astype(_wide(right)))
    relative = apart / size
    relative[np.isnan(relative)] = np.inf
    close = np.isfinite(apart) & (apart <= tolerance.atol + tolerance.rtol * size)
    beyond = left.size if tolerance.exact else int(left.size - close.sum())
    largest = int(apart.max()) if apart.dtype.kind == "u" else float(apart.max())
    return beyond, largest, float(relative.max())


def _apart(left: NDArray[Any], right: NDArray[Any]) -> NDArray[Any]:
    """Return the absolute differences: of integers that have a common dtype exact, as uint64, otherwise as float64."""
    if left.dtype.kind in "biu" and right.dtype.kind in "biu":
        common = np.result_type(left, right)
        if common.kind != "f":  # as it is for uint64 and a signed dtype
            high, low = np.maximum(left, right, dtype=common), np.minimum(left, right, dtype=common)
            exact: NDArray[Any] = high.astype(np.uint64) - low.astype(np.uint64)
            return exact
    apart: NDArray[Any] = np.abs(left.astype(_wide(left)) - right.astype(_wide(right)))
    apart[np.isnan(apart)] = np.inf  # complex infinities, of which another part differs
    return apart


def _wide(values: NDArray[Any]) -> type[np.complex128 | np.float64]:
    return np.complex128 if values.dtype.kind == "c" else np.float64


def _products(left: NDArray[Any], right: NDArray[Any]) -> tuple[float, float, float]:
    wide = np.result_type(_wide(left), _wide(right))
    left, right = (side.astype(wide).view(np.float64) for side in (left, right))
    return _dot(left, left), _dot(left, right), _dot(right, right)


def _dot(left: NDArray[np.float64], right: NDArray[np.float64]) -> float:
    return float(np.einsum("i,i->", left, right))  # not by BLAS, whose threads cost more than they bring here


# One tensor


def content_of(tensor: LazyTensor) -> Content:
    """Read a tensor once and return what it holds; raise CheckpointError where it cannot be read."""
    digest = hashlib.sha256()
    itself, constant, first = ValueDifference(), True, None
    with np.errstate(all="ignore"):
        for block in filter(np.size, tensor.blocks()):
            digest.update(np.ascontiguousarray(block).view(np.uint8).data)
            for start in range(0, block.size, PIECE_ELEMENTS):
                piece = _known_to_numpy(block[start : start + PIECE_ELEMENTS])
                nans = _nans(piece)
                first = piece[:1] if first is None else first
                constant = constant and bool((nans if _nans(first).all() else piece == first).all())
                itself = itself.plus(_itself(piece, nans=int(nans.sum())))
    return Content(digest.digest(), constant, itself)


def _itself(values: NDArray[Any], *, nans: int) -> ValueDifference:
    wide = values.astype(_wide(values)).view(np.float64)
    square = _dot(wide, wide)
    return ValueDifference(values.size, nan_in_both=nans, products=(square, square, square))
