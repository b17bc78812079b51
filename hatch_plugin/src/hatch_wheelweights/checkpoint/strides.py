"""Strides, in elements: those of contiguous arrays, and whether strides are such."""

from __future__ import annotations

import math

__all__ = ["contiguous_strides", "is_contiguous", "is_run_of"]


def contiguous_strides(shape: tuple[int, ...], *, fortran: bool = False) -> tuple[int, ...]:
    """Return the strides, in elements, of a contiguous array in C or Fortran order."""
    strides: list[int] = []
    step = 1
    for size in shape if fortran else reversed(shape):
        strides.append(step)
        if size > 1:
            step *= size
    return tuple(strides if fortran else strides[::-1])


def is_contiguous(shape: tuple[int, ...], stride: tuple[int, ...]) -> bool:
    """Tell whether the elements follow each other in C order."""
    expected = 1
    for size, step in zip(reversed(shape), reversed(stride), strict=True):
        if size != 1 and step != expected:
            return False
        expected *= size
    return True


def is_run_of(elements: int, offset: int, shape: tuple[int, ...], stride: tuple[int, ...]) -> bool:
    """Tell whether an array is a run of so many stored elements, from an offset on: then nothing is wrong with it.

    Nearly all are, and this is a quarter of the work of looking for what is wrong. False for empty ones, and for those
    whose bytes 63 bits may not count.
    """
    return (
        offset >= 0
        and (not shape or min(shape) > 0)
        and stride == contiguous_strides(shape)
        and offset + math.prod(shape) <= elements < 1 << 59
    )
