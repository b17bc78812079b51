"""The linear layer."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING, Self

import numpy as np

from wheelweights.nn._arrays import Array, described, narrowed, unfit, uniform, widened

if TYPE_CHECKING:
    from numpy.random import Generator


def linear(x: Array, weight: Array, bias: Array | None = None) -> Array:
    """Return x @ weight.T + bias, (*, out), of `x` (*, in), `weight` (out, in) and `bias` (out,)."""
    wide, weight, bias = widened(x, weight, bias)
    if wide.ndim == 0 or weight.ndim != 2 or wide.shape[-1] != weight.shape[1]:
        raise unfit(
            "linear", f"an input of shape (*, {weight.shape[-1]}) for a weight of shape {weight.shape}", wide.shape
        )
    rows = wide.reshape(math.prod(wide.shape[:-1]), wide.shape[-1])
    result = rows @ weight.T  # one product of matrices: numpy would make one for each of the leading axes
    if bias is not None:
        result += bias
    return narrowed(result.reshape(*wide.shape[:-1], len(weight)), x)


@dataclass(eq=False, repr=False)
class Linear:
    """Apply x @ weight.T + bias to the last axis: (*, in) -> (*, out)."""

    weight: Array
    """(out, in)"""
    bias: Array | None = None
    """(out,)"""

    __repr__ = described

    @classmethod
    def init(cls, in_features: int, out_features: int, bias: bool = True, *, rng: Generator | None = None) -> Self:
        """Return random parameters as torch starts them: all uniform within 1 / sqrt(in_features)."""
        bound = in_features**-0.5 if in_features else 0.0
        weight = uniform(rng, (out_features, in_features), bound)
        return cls(weight, uniform(rng, (out_features,), bound) if bias else None)

    def __call__(self, x: Array) -> Array:
        return linear(np.asarray(x), self.weight, self.bias)
