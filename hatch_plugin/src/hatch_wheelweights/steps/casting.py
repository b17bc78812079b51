"""Casting a tensor a block at a time, and the account of what it loses.

Knows the values of one tensor and the dtype that it is to have; which dtype that is, is decided in `precision`. Floats
are rounded to nearest; float64 becomes a float of fewer bits than float32 by way of float32, as in torch. A change of
kind (integers to floats, say) has to be exact. Casting is lazy: bytes are read when the cast tensor is read, and what
was lost is known then.

Rounding to a dtype of p significant bits moves a value by at most 2**-p of itself, unless the value is so small that
the dtype has fewer bits for it. So a tensor that loses more than 2**-p of its largest magnitude has nothing but such
values.
"""

from __future__ import annotations

import functools
import math
import re
from dataclasses import dataclass, replace
from functools import partial
from typing import TYPE_CHECKING, Any, Final, NamedTuple

import numpy as np

from hatch_wheelweights.checkpoint.tensors import BLOCK_BYTES, LazyTensor
from hatch_wheelweights.errors import PRECISION, CheckpointError, Do, Place, Setting, Text, Words
from wheelweights.dtypes import DTYPES, numpy_dtype
from wheelweights.errors import SHOWN_ITEMS, backticked, counted, listed

if TYPE_CHECKING:
    from collections.abc import Hashable, Iterator, Sequence

    from numpy.typing import NDArray

    from hatch_wheelweights.errors import Spelling
    from hatch_wheelweights.options.precisions import PrecisionRule
    from hatch_wheelweights.steps.report import Report

__all__ = ["Goal", "Losses", "cast", "kind_of"]

MAX_LOSS: Final = 0.01  # of a tensor's largest magnitude
CHUNK: Final = 1 << 14  # elements that are cast and compared at once, while they are in the processor's cache


@dataclass(frozen=True)
class Goal:
    """What a tensor is to become: its key in the record and its dtype, and the rule that asks for it.

    `number` is that of the rule; None where one precision is for all tensors.
    """

    key: str
    dtype: str
    rule: PrecisionRule
    number: int | None

    @property
    def asked(self) -> Text:
        """What asks for the dtype."""
        if self.number is None:
            return Setting(PRECISION, self.rule.dtype)
        return Words(Place((PRECISION, self.number)), f": {self.rule}")

    @property
    def remedy(self) -> Text:
        """What to write so that the tensor keeps its dtype, and nothing else changes."""
        keep = {"pattern": f"^{re.escape(self.key)}$", "dtype": "keep"}
        if self.number is not None:
            return Do("Keep it by a rule before that one: ", Setting(PRECISION, [keep]))
        wider = ", or use `bfloat16`, which has the range of float32" if self.dtype == "float16" else ""
        rest = {"pattern": "", "dtype": self.rule.dtype}
        return Do("Keep it: ", Setting(PRECISION, [keep, rest]), f"{wider}.")


class Losses:
    """What the casts of a record lose, told in its report as soon as a tensor has been read; each tensor counts once.

    The report gets one warning of all tensors that lose more than rounding, and one note of all values that became 0.
    Both are texts that say what is known when they are spelt.
    """

    def __init__(self, report: Report) -> None:
        self._report = report
        self._told: set[Hashable] = set()
        self._coarse: list[str] = []
        self._flushed: list[tuple[str, int]] = []

    def add(self, tie: Hashable, goal: Goal, tally: Tally) -> None:
        """Enter what the cast of a tensor has lost, unless that was done before."""
        if tie in self._told:
            return
        self._told.add(tie)
        if tally.loss > rounding(goal.dtype) * tally.largest:
            if not self._coarse:
                self._report.warnings.append(_Coarse(self._coarse))
            lost = f"{_percent(tally.loss / tally.largest)} of {tally.largest:.3g} in {backticked(goal.dtype)}"
            self._coarse.append(f"{backticked(goal.key)} ({lost})")
        if tally.flushed:
            if not self._flushed:
                self._report.notes.append(_Flushed(self._flushed))
            self._flushed.append((goal.key, tally.flushed))


class _Coarse(Text):
    """The warning of tensors that lose more than rounding."""

    __slots__ = ("_lost",)

    def __init__(self, lost: Sequence[str]) -> None:
        self._lost = lost

    def spelt(self, spelling: Spelling) -> str:
        """Return the first tensors with the loss of each, how many more there are, and how to keep them."""
        more = len(self._lost) - SHOWN_ITEMS
        shown = ", ".join(self._lost[:SHOWN_ITEMS]) + (f" and {more:,} more" if more > 0 else "")
        fact = f"tensors too small for their new dtype lose more than rounding: {shown}; a rule of "
        return Words(fact, PRECISION, " can keep them").spelt(spelling)


class _Flushed(Text):
    """The note of values that became 0."""

    __slots__ = ("_flushed",)

    def __init__(self, flushed: Sequence[tuple[str, int]]) -> None:
        self._flushed = flushed

    def spelt(self, spelling: Spelling) -> str:  # noqa: ARG002 (names no option)
        """Return how many values there are, and the first tensors that they are in."""
        values = counted(sum(count for _, count in self._flushed), "value")
        return (
            f"rounded to 0, being too small for their new dtype: {values} of {listed(key for key, _ in self._flushed)}"
        )


class Tally:
    """What casting has done to a tensor so far.

    `largest` is the largest finite magnitude, `loss` the largest difference of a value and what it became, `flushed`
    counts the values that became 0. `broken` is the first value that did not stay finite, or infinite.
    """

    __slots__ = ("broken", "flushed", "largest", "loss")

    def __init__(self) -> None:
        self.largest = self.loss = 0.0
        self.flushed = 0
        self.broken: float | None = None

    def add(self, before: NDArray[Any], after: NDArray[Any]) -> None:
        """Compare the values of a chunk, at least one, with what they became."""
        if zeros := np.count_nonzero(after == 0):
            self.flushed += int(zeros - np.count_nonzero(before == 0))
        largest = max(float(before.max()), -float(before.min()))
        difference = np.subtract(before, after)
        loss = float(np.abs(difference, out=difference).max())
        if not math.isfinite(largest) or not math.isfinite(loss):
            kept = (np.isfinite(before) == np.isfinite(after)) & (np.isnan(before) == np.isnan(after))
            if self.broken is None and not kept.all():
                self.broken = float(before[np.argmin(kept)])
            largest, loss = _largest(before), _largest(difference)
        self.largest, self.loss = max(self.largest, largest), max(self.loss, loss)


@functools.cache
def rounding(dtype: str) -> float:
    """Return what rounding to a dtype can take of a value, as a part of it: half a unit in the last place."""
    return math.ldexp(1.0, -_format(dtype).bits)


class _Format(NamedTuple):
    """What a float dtype can hold: so many significant bits, and finite magnitudes from the least to the largest."""

    bits: int
    least: float
    largest: float


@functools.cache
def _format(dtype: str) -> _Format:
    """Return the format of a float dtype, or of a complex one's parts."""
    import ml_dtypes  # noqa: PLC0415 (only where something is cast)

    info = vars(ml_dtypes)["finfo"](_part(numpy_dtype(dtype)))  # by its name, because it has no types
    return _Format(int(info.nmant) + 1, float(info.smallest_subnormal), float(info.max))


def _holds_all(dtype: str, other: str) -> bool:
    """Tell whether a float dtype has every value of another one."""
    goal, own = _format(dtype), _format(other)
    return goal.bits >= own.bits and goal.largest >= own.largest and goal.least <= own.least


# Casting


def kind_of(dtype: str) -> str:
    """Return "complex", "float", "int" or "bool"."""
    return next((kind for kind in ("complex", "float", "int") if kind in dtype), dtype)


def cast(tensor: LazyTensor, goal: Goal, losses: Losses) -> LazyTensor:
    """Return a tensor in another dtype.

    Tied tensors that get one dtype stay tied. Reading it raises CheckpointError where a value does not fit: a finite
    one that becomes infinite, a tensor that loses more than `MAX_LOSS` of its largest magnitude (and more than the
    dtype's own rounding), a value that a change of kind would change. What else is lost is entered in `losses`.
    """
    tie = (tensor.tie, goal.dtype)
    read = partial(_read_exactly, tensor, goal)
    if kind_of(tensor.dtype) == kind_of(goal.dtype) in ("float", "complex"):
        exact = _holds_all(goal.dtype, tensor.dtype)
        read = partial(_read_widened, tensor, goal) if exact else partial(_read_rounded, tensor, goal, losses)
    return replace(tensor, dtype=goal.dtype, read=read, tie=tie, view=None)


def _pieces(tensor: LazyTensor, dtype: str) -> Iterator[NDArray[Any]]:
    """Yield arrays of at most `BLOCK_BYTES` in either dtype: one block of a mapped tensor can be all of it."""
    step = BLOCK_BYTES // max(DTYPES[tensor.dtype].itemsize, DTYPES[dtype].itemsize)
    for block in tensor.read():
        for start in range(0, block.size, step):
            yield block[start : start + step]


def _part(dtype: np.dtype[Any]) -> np.dtype[Any]:
    """Return the dtype of the parts of a complex number, which are rounded each by itself, or the dtype itself."""
    return np.dtype(f"<f{dtype.itemsize // 2}") if dtype.kind == "c" else dtype


def _read_widened(tensor: LazyTensor, goal: Goal) -> Iterator[NDArray[Any]]:
    for piece in _pieces(tensor, goal.dtype):
        yield piece.astype(numpy_dtype(goal.dtype))


def _read_rounded(tensor: LazyTensor, goal: Goal, losses: Losses) -> Iterator[NDArray[Any]]:
    tally = Tally()
    for piece in _pieces(tensor, goal.dtype):
        rounded = _rounded(piece, goal.dtype, tally)
        if tally.broken is not None:
            raise _overflow(tensor, goal, tally.broken)
        yield rounded
    if tally.loss > max(MAX_LOSS, rounding(goal.dtype)) * tally.largest:
        raise _loss(tally, goal)
    losses.add((tensor.tie, goal.dtype), goal, tally)


def _rounded(piece: NDArray[Any], dtype: str, tally: Tally) -> NDArray[Any]:
    """Return floats in another dtype; every chunk is entered in the tally while it is at hand."""
    values = piece.view(_part(piece.dtype))
    wide = np.dtype(np.float64 if values.itemsize == 8 else np.float32)
    target = _part(numpy_dtype(dtype))
    rounded = np.empty(values.size, target)
    with np.errstate(over="ignore", invalid="ignore", under="ignore"):
        for start in range(0, values.size, CHUNK):
            chunk = values[start : start + CHUNK].astype(wide, copy=False)
            narrow = chunk.astype(np.float32, copy=False) if target.itemsize < 4 else chunk
            rounded[start : start + CHUNK] = narrow
            tally.add(chunk, rounded[start : start + CHUNK].astype(wide))
    return rounded.view(numpy_dtype(dtype))


def _read_exactly(tensor: LazyTensor, goal: Goal) -> Iterator[NDArray[Any]]:
    for piece in _pieces(tensor, goal.dtype):
        with np.errstate(over="ignore", invalid="ignore"):
            values, fits = _exactly(piece, numpy_dtype(goal.dtype))
        if not fits.all():
            raise _misfit(piece[np.argmin(fits)].item(), goal)
        yield values


def _exactly(values: NDArray[Any], dtype: np.dtype[Any]) -> tuple[NDArray[Any], NDArray[np.bool_]]:
    """Return values in a dtype of another kind, or another dtype of integers, and which of them are the same there."""
    if values.dtype.kind == "c":
        parts = values.view(_part(values.dtype))
        real, fits = _exactly(parts[::2], dtype)
        return real, fits & (parts[1::2] == 0)
    if dtype.kind == "c":
        real, fits = _exactly(values, _part(dtype))
        return real.astype(dtype), fits
    if dtype.kind == "b":
        return values.astype(dtype), (values == 0) | (values == 1)
    if dtype.kind not in "iu":
        return _exact_floats(values, dtype)
    if values.dtype.kind not in "biu":
        return _as_integers(values.astype(np.float64), dtype)
    return values.astype(dtype), _in_range(values, dtype)


def _in_range(values: NDArray[Any], dtype: np.dtype[Any]) -> NDArray[np.bool_]:
    """Tell which integers (or bools) an integer dtype has."""
    if values.dtype.kind == "b":
        return np.ones(values.shape, np.bool_)
    own, goal = np.iinfo(values.dtype), np.iinfo(dtype)
    return (values >= max(own.min, goal.min)) & (values <= min(own.max, goal.max))


def _exact_floats(values: NDArray[Any], dtype: np.dtype[Any]) -> tuple[NDArray[Any], NDArray[np.bool_]]:
    floats = values.astype(dtype)
    wide = floats.astype(np.float64)
    if values.dtype.kind == "b":
        return floats, wide == values
    if values.dtype.kind not in "iu":
        return floats, (wide == values.astype(np.float64)) | np.isnan(wide)
    back, fits = _as_integers(wide, values.dtype)
    return floats, fits & (back == values)


def _as_integers(floats: NDArray[np.float64], dtype: np.dtype[Any]) -> tuple[NDArray[Any], NDArray[np.bool_]]:
    """Return floats as integers, and which are the same there; those beyond the range are 0."""
    info = np.iinfo(dtype)
    inside = (floats >= float(info.min)) & (floats < float(info.max + 1))
    integers = np.where(inside, floats, 0.0).astype(dtype)
    return integers, inside & (integers.astype(np.float64) == floats)


# What does not fit


def _overflow(tensor: LazyTensor, goal: Goal, broken: float) -> CheckpointError:
    """Return the error of a value that does not stay finite, or infinite: some dtypes lack infinities, 0 and signs."""
    found, shown = broken, f"{broken:.6g}"
    if math.isfinite(broken) and abs(broken) > _format(goal.dtype).largest:
        found = max(_largest(piece.view(_part(piece.dtype))) for piece in _pieces(tensor, goal.dtype))
        shown = f"the magnitude {found:.6g}"
    return CheckpointError(
        f"expected finite values that {backticked(goal.dtype)} can hold, found {shown}",
        expected=goal.dtype,
        found=found,
        details=[Words("By ", goal.asked)],
        remedy=goal.remedy,
    )


def _largest(values: NDArray[Any]) -> float:
    """Return the largest finite magnitude."""
    wide = values.astype(np.float64)
    return float(np.max(np.abs(wide), where=np.isfinite(wide), initial=0.0))


def _loss(tally: Tally, goal: Goal) -> CheckpointError:
    allowed = max(MAX_LOSS, rounding(goal.dtype))
    lost = tally.loss / tally.largest
    return CheckpointError(
        f"expected values that {backticked(goal.dtype)} can hold to {_percent(allowed)} of the largest, "
        f"found a loss of {_percent(lost)} ({tally.loss:.3g} of {tally.largest:.3g})",
        expected=allowed,
        found=lost,
        details=[Words("By ", goal.asked)],
        remedy=goal.remedy,
    )


def _misfit(value: Any, goal: Goal) -> CheckpointError:
    shown = f"{value:,}" if isinstance(value, int) else str(value) if isinstance(value, complex) else f"{value:.6g}"
    return CheckpointError(
        f"expected values that {backticked(goal.dtype)} can hold exactly, found {shown}",
        expected=goal.dtype,
        found=value,
        details=[Words("By ", goal.asked)],
        remedy=goal.remedy,
    )


def _percent(part: float) -> str:
    return f"{100 * part:.3g}%"
