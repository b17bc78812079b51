"""Pooling functions, named as in torch.nn.functional, for inputs (N, C, *size) or (C, *size).

A window is the product of one interval per axis, so each axis is pooled on its own, in one pass per offset of its
kernel. The padding is never built: an offset meets only the outputs whose element lies inside the input.
"""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np

from wheelweights.nn._arrays import Array, narrowed, per_axis, row_sums, unfit, widened

if TYPE_CHECKING:
    from collections.abc import Callable

Numbers = int | tuple[int, ...]
LONG = 16  # elements of an interval: so many are quicker summed one interval at a time


def max_pool1d(
    x: Array,
    kernel_size: Numbers,
    stride: Numbers | None = None,
    padding: Numbers = 0,
    dilation: Numbers = 1,
    *,
    ceil_mode: bool = False,
) -> Array:
    """Return the largest element of each window of the last axis, in the dtype of `x`; NaN wins. See `max_pool2d`."""
    return _max_pool("max_pool1d", x, _windows("max_pool1d", 1, (kernel_size, stride, padding, dilation)), ceil_mode)


def max_pool2d(
    x: Array,
    kernel_size: Numbers,
    stride: Numbers | None = None,
    padding: Numbers = 0,
    dilation: Numbers = 1,
    *,
    ceil_mode: bool = False,
) -> Array:
    """Return the largest element of each window of the last two axes, in the dtype of `x`; NaN wins.

    The stride is the kernel's size unless given. The padding never wins. With `ceil_mode`, windows may hang over the
    end, but each begins inside the input or the padding before it.
    """
    return _max_pool("max_pool2d", x, _windows("max_pool2d", 2, (kernel_size, stride, padding, dilation)), ceil_mode)


def avg_pool1d(
    x: Array,
    kernel_size: Numbers,
    stride: Numbers | None = None,
    padding: Numbers = 0,
    *,
    ceil_mode: bool = False,
    count_include_pad: bool = True,
) -> Array:
    """Return the mean of each window of the last axis. See `avg_pool2d`."""
    windows = _windows("avg_pool1d", 1, (kernel_size, stride, padding, 1))
    return _avg_pool("avg_pool1d", x, windows, ceil_mode, count_include_pad=count_include_pad)


def avg_pool2d(
    x: Array,
    kernel_size: Numbers,
    stride: Numbers | None = None,
    padding: Numbers = 0,
    *,
    ceil_mode: bool = False,
    count_include_pad: bool = True,
    divisor_override: int | None = None,
) -> Array:
    """Return the mean of each window of the last two axes.

    The padding counts as zeros; without `count_include_pad` it does not count at all. With `ceil_mode`, the part of a
    window beyond the padding never counts. `divisor_override` replaces the number that sums are divided by.
    """
    if divisor_override == 0:
        raise unfit("avg_pool2d: divisor_override", "a number other than 0", divisor_override)
    windows = _windows("avg_pool2d", 2, (kernel_size, stride, padding, 1))
    return _avg_pool("avg_pool2d", x, windows, ceil_mode, count_include_pad=count_include_pad, divisor=divisor_override)


def adaptive_avg_pool1d(x: Array, output_size: int | tuple[int | None, ...] | None) -> Array:
    """Return the means of `output_size` nearly equal intervals of the last axis; None keeps the axis."""
    return _adaptive_avg_pool("adaptive_avg_pool1d", x, 1, output_size)


def adaptive_avg_pool2d(x: Array, output_size: int | tuple[int | None, ...] | None) -> Array:
    """Return the means over a grid of `output_size` nearly equal windows of the last two axes; None keeps an axis.

    Interval i of n over an axis of length m is [floor(i m / n), ceil((i + 1) m / n)), as in torch.
    """
    return _adaptive_avg_pool("adaptive_avg_pool2d", x, 2, output_size)


class _Window(NamedTuple):
    kernel: int
    stride: int
    padding: int
    dilation: int

    @property
    def reach(self) -> int:
        return self.dilation * (self.kernel - 1) + 1


def _windows(name: str, axes: int, settings: tuple[Numbers, Numbers | None, Numbers, Numbers]) -> list[_Window]:
    """Return the window of each axis, from kernel_size, stride, padding and dilation as the user gave them."""
    kernel_size, stride, padding, dilation = settings
    kernel = per_axis(kernel_size, axes, f"{name}: kernel_size")
    step = kernel if stride is None else per_axis(stride, axes, f"{name}: stride")
    margin = per_axis(padding, axes, f"{name}: padding", least=0)
    windows = list(map(_Window, kernel, step, margin, per_axis(dilation, axes, f"{name}: dilation")))
    for window in windows:
        if window.padding > window.kernel // 2:
            raise unfit(name, f"padding of at most half the kernel ({window.kernel})", window.padding)
    return windows


@np.errstate(over="ignore", invalid="ignore", divide="ignore")
def _max_pool(name: str, x: Array, windows: list[_Window], ceil_mode: bool) -> Array:
    x = _checked(name, x, len(windows))
    lowest = np.iinfo(x.dtype).min if x.dtype.kind in "iu" else -np.inf
    for axis, window in enumerate(windows, -len(windows)):
        count = _count(name, x.shape[axis], window, ceil_mode)
        x = _slide(np.maximum, lowest, x, axis, window=window, count=count)
    return x


@np.errstate(over="ignore", invalid="ignore", divide="ignore")
def _avg_pool(
    name: str,
    x: Array,
    windows: list[_Window],
    ceil_mode: bool,
    *,
    count_include_pad: bool,
    divisor: int | None = None,
) -> Array:
    (result,) = widened(_checked(name, x, len(windows)))
    for axis, window in enumerate(windows, -len(windows)):
        size = result.shape[axis]
        count = _count(name, size, window, ceil_mode)
        result = _slide(np.add, 0, result, axis, window=window, count=count)
        if divisor is None:
            result /= _lengths(window, size, count, axis, pads=count_include_pad)
    if divisor is not None:
        result /= divisor
    return narrowed(result, x)


@np.errstate(over="ignore", invalid="ignore", divide="ignore")
def _adaptive_avg_pool(name: str, x: Array, axes: int, output_size: int | tuple[int | None, ...] | None) -> Array:
    (result,) = widened(_checked(name, x, axes))
    sizes = output_size if isinstance(output_size, tuple | list) else (output_size,) * axes
    if len(sizes) != axes or any(size is not None and size < 1 for size in sizes):
        raise unfit(f"{name}: output_size", f"a number or {axes} numbers, at least 1", output_size)
    if set(sizes) == {1}:
        lead, size = result.shape[:-axes], math.prod(result.shape[-axes:])
        means = row_sums(result.reshape(math.prod(lead), size)) / size
        return narrowed(means.reshape(*lead, *sizes), x)
    for axis, outputs in enumerate(sizes, -axes):
        if outputs is not None and outputs != result.shape[axis]:
            result = _interval_means(result, axis, outputs)
    return narrowed(result.copy() if np.shares_memory(result, x) else result, x)


def _interval_means(x: Array, axis: int, outputs: int) -> Array:
    size = x.shape[axis]
    if size % outputs == 0 and size <= LONG * outputs:
        window = _Window(size // outputs, size // outputs, 0, 1)
        means = _slide(np.add, 0, x, axis, window=window, count=outputs)
        means /= window.kernel
        return means
    edges = np.arange(outputs + 1) * size
    first, last = edges[:-1] // outputs, -(-edges[1:] // outputs)
    lengths = last - first
    whole = lengths.min() if size <= LONG * outputs else 1  # offsets to take in all intervals at once
    sums: Array = np.take(x, first, axis=axis)
    for offset in range(1, whole):
        sums += np.take(x, first + offset, axis=axis)
    elements, intervals = x.swapaxes(0, axis), sums.swapaxes(0, axis)
    for place in np.flatnonzero(lengths > whole):
        intervals[place] += elements[first[place] + whole : last[place]].sum(axis=0)
    sums /= _along(axis, lengths)
    return sums


def _lengths(window: _Window, size: int, count: int, axis: int, *, pads: bool) -> Array | int:
    """Return the number of elements in each of `count` windows, along the axis; with `pads`, padding is among them."""
    reach = (count - 1) * window.stride + window.kernel  # from the first element of the padding
    if reach <= size + 2 * window.padding if pads else window.padding == 0 and reach <= size:
        return window.kernel
    first = np.arange(count) * window.stride - window.padding
    last = np.minimum(first + window.kernel, size + window.padding)
    lengths: Array = last - first if pads else np.minimum(last, size) - np.maximum(first, 0)
    return _along(axis, lengths)


def _along(axis: int, numbers: Array) -> Array:
    """Return numbers for the places along an axis, which is counted from the end."""
    return numbers.astype(np.float32).reshape(-1, *(1,) * (-axis - 1))


def _checked(name: str, x: Array, axes: int) -> Array:
    x = np.asarray(x)
    if x.ndim not in {axes + 1, axes + 2} or 0 in x.shape[-axes:]:
        size = "L" if axes == 1 else "H, W"
        raise unfit(name, f"an input of shape (N, C, {size}) or (C, {size})", x.shape)
    return x


def _count(name: str, size: int, window: _Window, ceil_mode: bool) -> int:
    """Return the number of windows along an axis."""
    room = size + 2 * window.padding - window.reach
    count = (-(-room // window.stride) if ceil_mode else room // window.stride) + 1
    if ceil_mode and (count - 1) * window.stride >= size + window.padding:
        count -= 1
    if count < 1:
        raise unfit(name, f"an axis of at least {size - room}", size)
    return count


def _slide(combine: Callable[..., Any], start: float, x: Array, axis: int, *, window: _Window, count: int) -> Array:
    """Return `combine` over the elements of each of `count` windows along an axis, beginning from `start`."""
    places = [_place(offset, window, x.shape[axis], count) for offset in range(window.kernel)]
    whole = next((place for place in places if place[0] == slice(0, count)), None)
    shape = list(x.shape)
    shape[axis] = count
    result = np.empty(shape, x.dtype)
    elements, windows = x.swapaxes(0, axis), result.swapaxes(0, axis)
    windows[...] = start if whole is None else elements[whole[1]]
    for place in places:
        if place is not whole and place[0].start < place[0].stop:
            inside = windows[place[0]]
            combine(inside, elements[place[1]], out=inside)
    return result


def _place(offset: int, window: _Window, size: int, count: int) -> tuple[slice, slice]:
    """Return which of `count` windows have their element at an offset inside an axis, and where these elements are."""
    shift = offset * window.dilation - window.padding  # from the first element of the input
    first = max(0, -(shift // window.stride))
    last = min(count, (size - 1 - shift) // window.stride + 1)
    begin = first * window.stride + shift
    return slice(first, last), slice(begin, begin + (last - first - 1) * window.stride + 1, window.stride)
