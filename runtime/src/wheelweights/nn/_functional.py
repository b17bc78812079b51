"""Activations: functions of one array, named as in torch.nn.functional.

Each returns the input's float dtype (integers count as float32) in a new array and computes in float32 at the least.
"""

from __future__ import annotations

import math
from typing import Literal

import numpy as np

from wheelweights.nn._arrays import Array, computed_wide, unfit

GELU_BLOCK = 1 << 15  # elements at a time, so that the 30 passes over them stay in the processor's cache


def relu(x: Array) -> Array:
    """Return max(x, 0), in the dtype of `x`, integers included."""
    x = np.asarray(x)
    result: Array = np.maximum(x, x.dtype.type(0))
    return result


@computed_wide
def leaky_relu(x: Array, negative_slope: float = 0.01) -> Array:
    """Return x where positive, negative_slope * x elsewhere."""
    return np.where(x > 0, x, x * negative_slope)


@computed_wide
def elu(x: Array, alpha: float = 1.0) -> Array:
    """Return x where positive, alpha * (exp(x) - 1) elsewhere."""
    result: Array = np.where(x > 0, x, alpha * np.expm1(np.minimum(x, 0)))
    return result


@computed_wide
def sigmoid(x: Array) -> Array:
    """Return 1 / (1 + exp(-x))."""
    result: Array = np.exp(-x)
    result += 1
    return np.reciprocal(result)


@computed_wide
def silu(x: Array) -> Array:
    """Return x * sigmoid(x), also called swish."""
    result: Array = np.exp(-x)
    result += 1
    return np.divide(x, result)


@computed_wide
def tanh(x: Array) -> Array:
    """Return the hyperbolic tangent."""
    return np.tanh(x)


@computed_wide
def softplus(x: Array, beta: float = 1.0, threshold: float = 20.0) -> Array:
    """Return log(1 + exp(beta * x)) / beta; where beta * x exceeds the threshold, x itself."""
    return np.where(x * beta > threshold, x, np.log1p(np.exp(x * beta)) / beta)


@computed_wide
def hardsigmoid(x: Array) -> Array:
    """Return (x + 3) / 6, held within [0, 1]."""
    result: Array = np.clip(x + 3, 0, 6) / 6
    return result


@computed_wide
def hardswish(x: Array) -> Array:
    """Return x * hardsigmoid(x)."""
    result: Array = x * np.clip(x + 3, 0, 6) / 6
    return result


@computed_wide
def softmax(x: Array, dim: int = -1) -> Array:
    """Return exp(x) divided by its sum along `dim`. A slice that is -inf throughout becomes NaN, as in torch."""
    result: Array = x - _largest(x, dim)
    np.exp(result, out=result)
    result /= result.sum(axis=dim, keepdims=True)
    return result


@computed_wide
def log_softmax(x: Array, dim: int = -1) -> Array:
    """Return the logarithm of `softmax`, without the loss of small probabilities."""
    result: Array = x - _largest(x, dim)
    result -= np.log(np.exp(result).sum(axis=dim, keepdims=True))
    return result


def _largest(x: Array, dim: int) -> Array:
    return np.asarray(x.max(axis=dim, keepdims=True, initial=-np.inf))


@computed_wide
def gelu(x: Array, approximate: Literal["none", "tanh"] = "none") -> Array:
    """Return x * P(X <= x) of a standard normal X; with approximate="tanh", the formula of arXiv 1606.08415 near it."""
    if approximate == "tanh":
        result: Array = 0.5 * x * (1 + np.tanh(math.sqrt(2 / math.pi) * (x + 0.044715 * x * x * x)))
        return result
    if approximate != "none":
        raise unfit("gelu", "approximate to be `none` or `tanh`", f"`{approximate}`")
    flat, result = x.reshape(-1), np.empty(x.size, x.dtype)
    for start in range(0, x.size, GELU_BLOCK):
        result[start : start + GELU_BLOCK] = _gelu(flat[start : start + GELU_BLOCK])
    return result.reshape(x.shape)


def _gelu(x: Array) -> Array:
    """Return max(x, 0) - |x| erfc(|x| / sqrt(2)) / 2, which is x * P(X <= x) and loses no digits for negative x."""
    distance = np.minimum(np.abs(x), 40)  # beyond, the second term is 0; infinity would make it NaN
    result: Array = np.maximum(x, 0)
    result -= distance * erfc(distance * math.sqrt(0.5)) / 2
    return result


def erfc(z: Array) -> Array:
    """Return 1 - erf(z) for finite z >= 0, right to a few units of the last place; above 3, to z^2 of them.

    numpy has none. exp(z^2) erfc(z) (z + 3) is smooth in u = (z - 3) / (z + 3) over the whole half line, the device of
    M. Shepherd and J. Laframboise, "Chebyshev approximation of (1 + 2x) exp(x^2) erfc x", Math. Comp. 36 (1981). The
    coefficients are its Chebyshev interpolation with 10 and 23 nodes in 50-digit arithmetic, written in powers of u.
    """
    inverse = 1 / (z + 3)
    u = 1 - 6 * inverse
    first, *rest = reversed(_ERFC_SINGLE if z.dtype.itemsize == 4 else _ERFC_DOUBLE)
    result = np.full_like(z, first)
    for coefficient in rest:
        result *= u
        result += coefficient
    result *= inverse
    result *= np.exp(-z * z)
    return result


_ERFC_SINGLE = (
    1.0740070500184444,
    -0.8833944110115396,
    0.5902211872099916,
    -0.31046937562579324,
    0.11958610652681675,
    -0.026810079752954286,
    -0.0013820421767954233,
    0.0029844645410748976,
    -0.00033763258466463315,
    -0.00021584364532424235,
)
_ERFC_DOUBLE = (
    1.0740069070883398,
    -0.8833944531698789,
    0.5902283571041028,
    -0.3104672619009872,
    0.11952776128720227,
    -0.026827234613604183,
    -0.0012124166249611811,
    0.0030340618712663193,
    -0.000548309717967083,
    -0.0002767769853831568,
    0.0001075616563487826,
    3.039468849928751e-05,
    -1.7471241680421667e-05,
    -4.740259490910929e-06,
    2.7671358436744257e-06,
    9.8382578811603e-07,
    -4.109543239544285e-07,
    -2.1713963744225737e-07,
    4.941639532205436e-08,
    3.947900591847868e-08,
    -3.3413238987291588e-09,
    -4.021699941387308e-09,
    -3.4097920471948634e-11,
)
