"""Strides, in elements: those of contiguous arrays, and whether strides are such."""

from __future__ import annotations

__all__ = ["contiguous_strides", "is_contiguous"]


def contiguous_strides(shape: tuple[int, ...], *, fortran: bool = False) -> tuple[int, ...]:
    """Return the strides, in elements, of a contiguous array in C or Fortran order."""
    strides: list[int] = []
    step = 1
    for size in shape if fortran else reversed(shape):
        strides.append(step)
        step *= max(size, 1)
    return tuple(strides if fortran else reversed(strides))


def is_contiguous(shape: tuple[int, ...], stride: tuple[int, ...]) -> bool:
    """Tell whether the elements follow each other in C order."""
    expected = 1
    for size, step in zip(reversed(shape), reversed(stride), strict=True):
        if size != 1 and step != expected:
            return False
        expected *= size
    return True
