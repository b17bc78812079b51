"""The arrays that a layer starts with: random ones, constant ones, or inside `skeleton()` placeholders for them."""

from __future__ import annotations

from typing import TYPE_CHECKING, cast

import numpy as np

from wheelweights.skeleton import Placeholder, placeholders_wanted

if TYPE_CHECKING:
    from numpy.random import Generator

    from wheelweights.nn._arrays import Array


def uniform(rng: Generator | None, shape: tuple[int, ...], bound: float) -> Array:
    """Return float32 numbers drawn evenly from [-bound, bound); without `rng`, from fresh entropy."""
    if placeholders_wanted():
        return placeholder(shape)
    rng = np.random.default_rng() if rng is None else rng
    return rng.uniform(-bound, bound, shape).astype(np.float32)


def normal(rng: Generator | None, shape: tuple[int, ...], spread: float = 1.0) -> Array:
    """Return float32 numbers of mean 0 and this standard deviation; without `rng`, from fresh entropy."""
    if placeholders_wanted():
        return placeholder(shape)
    rng = np.random.default_rng() if rng is None else rng
    return rng.standard_normal(shape, np.float32) * np.float32(spread)


def constant(shape: int | tuple[int, ...], value: float) -> Array:
    """Return a float32 array that holds one number everywhere."""
    if placeholders_wanted():
        return placeholder((shape,) if isinstance(shape, int) else tuple(shape))
    return np.full(shape, value, np.float32)


def placeholder(shape: tuple[int, ...]) -> Array:
    """Return a placeholder for a float32 array; the fields of a layer are declared as arrays."""
    return cast("Array", Placeholder(shape))
