"""Pooling functions, named as in torch.nn.functional, for inputs (N, C, *size) or (C, *size).

A window is the product of one interval per axis, so each axis is pooled on its own, in one pass per offset of its
kernel. The padding is never built: an offset meets only the outputs whose element lies inside the input.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np

from wheelweights.nn._arrays import Array, narrowed, per_axis, unfit, widened

if TYPE_CHECKING:
    from collections.abc import Callable

Numbers = int | tuple[int, ...]


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
        if window.padding > window.reach // 2:
            raise unfit(name, f"padding of at most half the window ({window.reach})", window.padding)
    return windows


def _max_pool(name: str, x: Array, windows: list[_Window], ceil_mode: bool) -> Array:
    x = _checked(name, x, len(windows))
    lowest = np.iinfo(x.dtype).min if x.dtype.kind in "iu" else -np.inf
    for axis, window in enumerate(windows, -len(windows)):
        count = _count(name, x.shape[axis], window, ceil_mode)
        x = _slide(np.maximum, lowest, x, axis, window=window, count=count)
    return x


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
            first = np.arange(count) * window.stride - window.padding
            last = np.minimum(first + window.kernel, size + window.padding)
            lengths = last - first if count_include_pad else np.minimum(last, size) - np.maximum(first, 0)
            result /= lengths.reshape(-1, *(1,) * (-axis - 1))
    if divisor is not None:
        result /= divisor
    return narrowed(result, x)


def _adaptive_avg_pool(name: str, x: Array, axes: int, output_size: int | tuple[int | None, ...] | None) -> Array:
    (result,) = widened(_checked(name, x, axes))
    sizes = output_size if isinstance(output_size, tuple | list) else (output_size,) * axes
    if len(sizes) != axes or any(size is not None and size < 1 for size in sizes):
        raise unfit(f"{name}: output_size", f"a number or {axes} numbers, at least 1", output_size)
    for axis, outputs in enumerate(sizes, -axes):
        if outputs is not None and outputs != result.shape[axis]:
            result = _interval_means(result, axis, outputs)
    return narrowed(result, x)


def _interval_means(x: Array, axis: int, outputs: int) -> Array:
    size = x.shape[axis]
    if size % outputs == 0:
        window = _Window(size // outputs, size // outputs, 0, 1)
        return _slide(np.add, 0, x, axis, window=window, count=outputs) / window.kernel
    edges = np.arange(outputs + 1) * size
    first, last = edges[:-1] // outputs, -(-edges[1:] // outputs)
    x = np.moveaxis(x, axis, -1)
    # reduceat needs indices inside the array, but the last interval ends just behind it: so one more element
    behind = np.concatenate([x, np.zeros((*x.shape[:-1], 1), x.dtype)], axis=-1)
    sums: Any = np.add.reduceat(behind, np.stack([first, last], axis=-1).reshape(-1), axis=-1)[..., ::2]
    return np.moveaxis(sums / (last - first).astype(x.dtype), -1, axis)


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
    x = np.moveaxis(x, axis, 0)
    result = np.full((count, *x.shape[1:]), start, x.dtype)
    for place in range(window.kernel):
        shift = place * window.dilation - window.padding  # from the first element of the input
        first = max(0, -(shift // window.stride))
        last = min(count, (len(x) - 1 - shift) // window.stride + 1)
        if first < last:
            begin = first * window.stride + shift
            inside = result[first:last]
            combine(inside, x[begin : begin + (last - first - 1) * window.stride + 1 : window.stride], out=inside)
    return np.moveaxis(result, 0, axis)
