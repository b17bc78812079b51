"""The linear layer."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING, Self

import numpy as np

from wheelweights.nn._arrays import Array, narrowed, unfit, widened
from wheelweights.nn._layer import Layer, of_shape, with_axes
from wheelweights.nn._starts import uniform

if TYPE_CHECKING:
    from collections.abc import Iterator

    from numpy.random import Generator

    from wheelweights.nn._layer import Fault, Shapes


@np.errstate(over="ignore", invalid="ignore", divide="ignore")  # BLAS raises some for what it passes over
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
class Linear(Layer):
    """Apply x @ weight.T + bias to the last axis: (*, in) -> (*, out)."""

    weight: Array
    """(out, in)"""
    bias: Array | None = None
    """(out,)"""

    @classmethod
    def init(cls, in_features: int, out_features: int, bias: bool = True, *, rng: Generator | None = None) -> Self:
        """Return random parameters as torch starts them: all uniform within 1 / sqrt(in_features)."""
        bound = in_features**-0.5 if in_features else 0.0
        weight = uniform(rng, (out_features, in_features), bound)
        return cls(weight, uniform(rng, (out_features,), bound) if bias else None)

    @classmethod
    def __check_shapes__(cls, shapes: Shapes) -> Iterator[Fault]:
        yield from with_axes(shapes, "weight", 2)
        if shapes.get("weight"):
            yield from of_shape(shapes, shapes["weight"][:1], "bias")

    def __call__(self, x: Array) -> Array:
        return linear(np.asarray(x), self.weight, self.bias)
