"""Activations: functions of one array, named as in torch.nn.functional.

Each returns the input's float dtype (integers count as float32) in a new array and computes in float32 at the least.
"""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Any, Literal

import numpy as np
from numpy.lib.array_utils import normalize_axis_index

from wheelweights.nn._arrays import Array, by_blocks, by_rows, narrowed, row_sums, unfit, widened
from wheelweights.nn._normal import erfc, negative_logit

if TYPE_CHECKING:
    from collections.abc import Callable


def relu(x: Array) -> Array:
    """Return max(x, 0), in the dtype of `x`, integers included."""
    x = np.asarray(x)
    # clip is twice as fast as the maximum of an array and a number
    result: Array = x.clip(0, np.inf) if x.dtype.char in "fd" else np.maximum(x, x.dtype.type(0))
    return np.asarray(result)


def leaky_relu(x: Array, negative_slope: float = 0.01) -> Array:
    """Return x where positive, negative_slope * x elsewhere."""
    return by_blocks(_leaky_relu, x, negative_slope)


def _leaky_relu(x: Array, out: Array, negative_slope: float) -> None:
    slope = x.dtype.type(negative_slope)
    np.multiply(x, slope, out=out)
    if 0 < slope < np.inf:  # then one comparison of x with slope * x finds the sign of x as well
        (np.maximum if slope <= 1 else np.minimum)(x, out, out=out)
    else:
        np.copyto(out, x, where=x > 0)


def elu(x: Array, alpha: float = 1.0) -> Array:
    """Return x where positive, alpha * (exp(x) - 1) elsewhere."""
    return by_blocks(_elu, x, alpha)


def _elu(x: Array, out: Array, alpha: float) -> None:
    """Use that exp(x) - 1 = 2 t / (1 - t) with t = tanh(x / 2): numpy's expm1 is slow on many processors."""
    x.clip(-np.inf, 0, out=out)
    out *= 0.5
    np.tanh(out, out=out)
    out /= 1 - out
    out *= 2 * alpha
    if 0 <= alpha <= 1:  # then alpha * (exp(x) - 1) is at least x where x is negative, and 0 elsewhere
        np.maximum(x, out, out=out)
    else:
        np.copyto(out, x, where=x > 0)


def sigmoid(x: Array) -> Array:
    """Return 1 / (1 + exp(-x))."""
    return by_blocks(_sigmoid, x)


def _sigmoid(x: Array, out: Array) -> None:
    np.negative(x, out=out)
    _logistic(1, out)


def _logistic(numerator: Array | float, out: Array) -> None:
    """Replace z in `out` by numerator / (1 + exp(z))."""
    np.exp(out, out=out)
    out += 1
    np.divide(numerator, out, out=out)


def silu(x: Array) -> Array:
    """Return x * sigmoid(x), also called swish."""
    return by_blocks(_silu, x)


def _silu(x: Array, out: Array) -> None:
    np.negative(x, out=out)
    _logistic(x, out)


def tanh(x: Array) -> Array:
    """Return the hyperbolic tangent."""
    return by_blocks(np.tanh, x)


def softplus(x: Array, beta: float = 1.0, threshold: float = 20.0) -> Array:
    """Return log(1 + exp(beta * x)) / beta; where beta * x exceeds the threshold, x itself."""
    return by_blocks(_softplus, x, beta, threshold)


def _softplus(x: Array, out: Array, beta: float, threshold: float) -> None:
    """Use that log(1 + u) = log(w) + (u - (w - 1)) / w with w = 1 + u, rounded: numpy's log1p is slow, as expm1.

    Beyond 40, no float64 tells the result from x.
    """
    np.multiply(x, beta, out=out)
    beyond = out > min(threshold, 40)
    np.exp(out, out=out)
    w = 1 + out
    out -= w - 1
    out /= w
    out += np.log(w, out=w)
    out /= beta
    if beyond.any():
        np.copyto(out, x, where=beyond)


def hardsigmoid(x: Array) -> Array:
    """Return (x + 3) / 6, held within [0, 1]."""
    return by_blocks(_hardsigmoid, x)


def _hardsigmoid(x: Array, out: Array) -> None:
    np.add(x, 3, out=out)
    out.clip(0, 6, out=out)
    out *= 1 / 6


def hardswish(x: Array) -> Array:
    """Return x * hardsigmoid(x)."""
    return by_blocks(_hardswish, x)


def _hardswish(x: Array, out: Array) -> None:
    _hardsigmoid(x, out)
    out *= x


def softmax(x: Array, dim: int = -1) -> Array:
    """Return exp(x) divided by its sum along `dim`. A slice that is -inf throughout becomes NaN, as in torch."""
    return _by_slices(_softmax, x, dim)


def _softmax(x: Array, out: Array) -> None:
    np.subtract(x, _largest(x), out=out)
    np.exp(out, out=out)
    out /= _sums(out)


def log_softmax(x: Array, dim: int = -1) -> Array:
    """Return the logarithm of `softmax`, without the loss of small probabilities."""
    return _by_slices(_log_softmax, x, dim)


def _log_softmax(x: Array, out: Array) -> None:
    np.subtract(x, _largest(x), out=out)
    out -= np.log(_sums(np.exp(out)))


def _largest(x: Array) -> Array:
    result: Array = np.maximum.reduce(x, axis=1, keepdims=True, initial=-np.inf)
    return result


def _sums(x: Array) -> Array:
    result: Array = row_sums(x) if x.ndim == 2 else x.sum(axis=1, keepdims=True)
    return result


@np.errstate(over="ignore", invalid="ignore", divide="ignore")
def _by_slices(fill: Callable[[Array, Array], None], x: Array, dim: int) -> Array:
    """Return what `fill(slices, out)` writes to `out`, for blocks of the slices of `x` along `dim`, their axis 1."""
    x = np.asarray(x)
    (wide,) = widened(x)
    shape = x.shape or (1,)
    axis = normalize_axis_index(dim, len(shape))
    outer, inner = math.prod(shape[:axis]), shape[axis + 1 :]
    slices = wide.reshape(outer, shape[axis], *((math.prod(inner),) if inner else ()))
    result: Array = np.empty(slices.shape, wide.dtype)
    by_rows(fill, slices, result)
    return narrowed(result.reshape(x.shape), x)


def gelu(x: Array, approximate: Literal["none", "tanh"] = "none") -> Array:
    """Return x * P(X <= x) of a standard normal X; with approximate="tanh", the formula of arXiv 1606.08415 near it.

    In float32 the relative error is below 6e-6 (1e-6 for x > -1) down to x = -5.6, and the absolute one below 1e-9
    beyond. In float64 it is a few units of the last place, x^2 of them where x is below -4.
    """
    if approximate not in {"none", "tanh"}:
        raise unfit("gelu", "approximate to be `none` or `tanh`", f"`{approximate}`")
    return by_blocks(_gelu_tanh if approximate == "tanh" else _gelu, x)


def _gelu_tanh(x: Array, out: Array) -> None:
    """Use that (1 + tanh(z)) / 2 = sigmoid(2 z)."""
    scale = -2 * math.sqrt(2 / math.pi)
    np.multiply(x, x, out=out)
    out *= 0.044715 * scale
    out += scale
    out *= x
    _logistic(x, out)


def _gelu(x: Array, out: Array) -> None:
    if x.size and not x.min() > -40:  # there, the result is 0; it would be NaN for infinity
        x = np.maximum(x, -40)
    if x.dtype.itemsize == 4:
        negative_logit(x, out)
        _logistic(x, out)
    else:
        _gelu_double(x, out)


def _gelu_double(x: Array, out: Array) -> None:
    """Set `out` to max(x, 0) - |x| erfc(|x| / sqrt(2)) / 2, which loses no digits for negative x."""
    distance: Any = np.minimum(np.abs(x), 40)
    np.maximum(x, 0, out=out)
    out -= distance * erfc(distance * math.sqrt(0.5)) / 2
