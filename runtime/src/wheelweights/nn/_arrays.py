"""What all layers need: the dtype to compute in, work in blocks, settings per axis, the `repr`, the error.

Knows no layer.
"""

from __future__ import annotations

import dataclasses
from typing import TYPE_CHECKING, Any

import numpy as np

from wheelweights.errors import WheelweightsError
from wheelweights.plain import is_dict, is_sequence

if TYPE_CHECKING:
    from collections.abc import Callable

    from typing_extensions import TypeIs

Array = np.ndarray[Any, np.dtype[Any]]
BLOCK = 1 << 18  # elements at a time: few enough for a processor's cache, and so many that numpy's calls cost little
LONG = 512  # elements in a row: so many take longer than a call of numpy's inner loop
LONG_SUM, PIECE = 2048, 256  # numbers that are not added up at once, and those that are instead
_WIDE = (np.dtype(np.float32), np.dtype(np.float64))


class LayerError(WheelweightsError, ValueError):
    """An input, parameters or a setting that a layer cannot use."""


def unfit(subject: str, expected: str, found: object, remedy: str | None = None) -> LayerError:
    """Return the error for a layer, function or setting (`subject`) that was given something it cannot use."""
    return LayerError(f"{subject}: expected {expected}, found {found}", expected=expected, found=found, remedy=remedy)


def widened(*arrays: Array | None) -> list[Any]:
    """Return the arrays in the dtype to compute in: the widest among theirs, at least float32; copy only if needed."""
    found: list[Any] = [array if array is None else np.asarray(array) for array in arrays]
    dtypes = {array.dtype for array in found if array is not None}
    if len(dtypes) == 1 and not dtypes.isdisjoint(_WIDE):
        return found
    # each with float32 by itself: float16 and bfloat16 have no dtype in common
    wide = [np.result_type(np.float32, _float_dtype(array)) for array in found if array is not None]
    dtype = np.result_type(np.float32, *wide)
    return [array if array is None else array.astype(dtype, copy=False) for array in found]


def _float_dtype(array: Array) -> np.dtype[Any]:
    dtype: np.dtype[Any] = array.dtype
    return np.dtype(np.float32) if dtype.kind in "biu" else dtype


def narrowed(result: Array, x: Array) -> Array:
    """Return a result in the float dtype of the input `x` (float32 for integers); too large a number becomes inf."""
    dtype, result = _float_dtype(np.asarray(x)), np.asarray(result)
    if result.dtype == dtype:
        return result
    with np.errstate(over="ignore"):
        return result.astype(dtype)


@np.errstate(over="ignore", invalid="ignore")
def by_blocks(fill: Callable[..., object], x: Array, *settings: Any) -> Array:
    """Return what `fill(block, out, *settings)` writes to `out` for each block of the elements of `x`.

    Blocks have one axis (a small array may come with all of its own) and a dtype of at least float32; the result has
    the input's float dtype. Memory is taken for the result, and for a block where dtypes or strides ask for a copy.
    `fill` must not write to its block. Overflow is silent.
    """
    x = np.asarray(x)
    result: Array = np.empty_like(x, _float_dtype(x), subok=False)
    if x.ndim and x.size <= BLOCK and x.dtype in _WIDE:
        fill(x, result, *settings)
        return result
    wide = np.result_type(np.float32, result.dtype)
    flags: Any = ["buffered", "external_loop", "zerosize_ok"]
    with np.nditer(
        [x, result], flags, [["readonly"], ["writeonly"]], [wide, wide], casting="unsafe", buffersize=BLOCK
    ) as blocks:
        for block, out in blocks:
            fill(block, out, *settings)
    return result


def by_rows(fill: Callable[..., object], *arrays: Array) -> None:
    """Call `fill(*parts)` for parts of arrays of equal length, of about a block of the first array's elements each."""
    rows, size = len(arrays[0]), arrays[0].size
    if size <= BLOCK and (rows < 2 or arrays[0].shape[-1] < LONG):
        fill(*arrays)
    else:
        _by_parts(fill, arrays, max(1, BLOCK * rows // max(1, size)))


@np.errstate()
def _by_parts(fill: Callable[..., object], arrays: tuple[Array, ...], step: int) -> None:
    """Call `fill` for parts of `step` rows, with numpy's buffer made small where rows are long.

    To combine rows with one number for each, or with one row for all, numpy copies the smaller operand to its buffer,
    for as many rows as fit. Short rows gain from that, but for long ones it takes as long as the operation. The end of
    `errstate` restores the size of the buffer.
    """
    if arrays[0].shape[-1] >= LONG:
        np.setbufsize(LONG)
    for start in range(0, len(arrays[0]), step):
        fill(*(array[start : start + step] for array in arrays))


def row_sums(rows: Array) -> Array:
    """Return the sum of each row of a matrix, as a column; quicker than numpy's own sum, and about as exact.

    BLAS adds up in a few sums at a time, so that its error grows with the length: of long rows it gets pieces, and
    numpy, which adds in pairs, adds up these.
    """
    return _row_totals(lambda part: part @ np.ones(part.shape[-1], part.dtype), rows)


def row_squares(rows: Array) -> Array:
    """Return the sum of the squares in each row of a matrix, as a column; see `row_sums`."""
    return _row_totals(lambda part: np.vecdot(part, part), rows)


@np.errstate(over="ignore", invalid="ignore", divide="ignore")
def _row_totals(total: Callable[[Array], Array], rows: Array) -> Array:
    length = rows.shape[1]
    if length <= LONG_SUM:
        return total(rows)[:, None]
    whole = length // PIECE * PIECE
    pieces = rows[:, :whole].reshape(len(rows), whole // PIECE, PIECE)
    sums: Array = total(pieces).sum(axis=1) + total(rows[:, whole:])
    return sums[:, None]


def per_axis(value: object, axes: int, subject: str, least: int = 1) -> tuple[int, ...]:
    """Return a setting as one number per spatial axis, `least` or more; a single number is for all axes."""
    if type(value) is int and value >= least:
        return (value,) * axes
    numbers: tuple[Any, ...] = tuple(value) if is_sequence(value) else (value,) * axes
    if len(numbers) != axes or not all(isinstance(number, int | np.integer) and number >= least for number in numbers):
        raise unfit(subject, f"a number or {axes} numbers, at least {least}", value)
    return numbers


def described(self: Any) -> str:
    """Return the `repr` of a layer: it names dtype and shape of each array instead of printing the numbers."""
    shown = (f"{field.name}={_described(getattr(self, field.name))}" for field in dataclasses.fields(self))
    return f"{type(self).__name__}({', '.join(shown)})"


def _described(value: object) -> str:
    if _is_array(value):
        return f"<{value.dtype.name} {value.shape}>"
    if is_dict(value):
        return "{" + ", ".join(f"{key!r}: {_described(item)}" for key, item in value.items()) + "}"
    return repr(value)


def _is_array(value: object) -> TypeIs[Array]:
    return isinstance(value, np.ndarray)
