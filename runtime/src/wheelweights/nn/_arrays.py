"""What all layers need: the dtype to compute in, settings per axis, the `repr`, the error.

Knows no layer.
"""

from __future__ import annotations

import dataclasses
import functools
from typing import TYPE_CHECKING, Any, TypeVar, cast

import numpy as np

from wheelweights.errors import WheelweightsError
from wheelweights.plain import is_dict, is_sequence

if TYPE_CHECKING:
    from collections.abc import Callable

    from typing_extensions import TypeIs

Array = np.ndarray[Any, np.dtype[Any]]
F = TypeVar("F", bound="Callable[..., Array]")


class LayerError(WheelweightsError, ValueError):
    """An input, parameters or a setting that a layer cannot use."""


def unfit(subject: str, expected: str, found: object, remedy: str | None = None) -> LayerError:
    """Return the error for a layer, function or setting (`subject`) that was given something it cannot use."""
    return LayerError(f"{subject}: expected {expected}, found {found}", expected=expected, found=found, remedy=remedy)


def widened(*arrays: Array | None) -> list[Any]:
    """Return the arrays in the dtype to compute in: the widest among theirs, at least float32; copy only if needed."""
    dtype = np.result_type(np.float32, *(_float_dtype(array) for array in arrays if array is not None))
    return [array if array is None else np.asarray(array).astype(dtype, copy=False) for array in arrays]


def _float_dtype(array: Array) -> np.dtype[Any]:
    dtype: np.dtype[Any] = np.asarray(array).dtype
    return np.dtype(np.float32) if dtype.kind in "biu" else dtype


def narrowed(result: Array, x: Array) -> Array:
    """Return a result in the float dtype of the input `x` (float32 for integers); too large a number becomes inf."""
    with np.errstate(over="ignore"):
        return np.asarray(result).astype(_float_dtype(x), copy=False)


def computed_wide(function: F) -> F:
    """Let a function of one array compute in at least float32, return the input's float dtype, overflow silently."""

    @functools.wraps(function)
    def wide(x: Array, *args: Any, **kwargs: Any) -> Array:
        with np.errstate(over="ignore", invalid="ignore"):
            return narrowed(function(*widened(x), *args, **kwargs), x)

    return cast("F", wide)


def per_axis(value: object, axes: int, subject: str, least: int = 1) -> tuple[int, ...]:
    """Return a setting as one number per spatial axis, `least` or more; a single number is for all axes."""
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
