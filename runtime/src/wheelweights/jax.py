"""Arrays for jax.

Knows where jax would change values; imports jax only when it is asked for arrays.
"""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Any

import numpy as np

from wheelweights.errors import DtypeError, WheelweightsError

if TYPE_CHECKING:
    from types import ModuleType

    from numpy.typing import NDArray

    from wheelweights.record import Record

__all__ = ["state_dict"]


def state_dict(record: Record, source_keys: bool = False) -> dict[str, Any]:
    """Return the record as a dict of `jax.Array` on jax's default device.

    With `source_keys`, under the names that the tensors had in the checkpoint. On the CPU the arrays share the mapped
    memory, as `jax.device_put` does; nothing is copied. That is safe: jax never writes to memory that it shares, not
    even for an argument that is donated. Other devices get copies, and so do 64-bit numbers: unless `jax_enable_x64` is
    set, jax makes 32-bit arrays of them: float64 is rounded, integers must fit.

    Raises WheelweightsError if jax is not installed, DtypeError for integers that would not fit.
    """
    jax = _jax()
    arrays: dict[str, Any] = {}
    for key in record:
        array = record[key]
        taken = jax.device_put(array)  # shares the memory, where `jax.numpy.asarray` copies it
        if array.dtype.kind in "iu" and taken.dtype.itemsize < array.itemsize:
            _check_fits(array, np.dtype(taken.dtype), key)
        arrays[record.info(key).source if source_keys else key] = taken
    return arrays


def _check_fits(array: NDArray[Any], dtype: np.dtype[Any], key: str) -> None:
    limits = np.iinfo(dtype)
    if array.size and (array.min() < limits.min or array.max() > limits.max):
        raise DtypeError(
            f"expected values of {dtype.name}, found {array.min()} to {array.max()}",
            key=key,
            remedy='Enable 64-bit arrays first: jax.config.update("jax_enable_x64", True)',
        )


def _jax() -> ModuleType:
    try:
        return importlib.import_module("jax")
    except ImportError as error:
        raise WheelweightsError("jax is not installed", remedy="Install it: pip install jax") from error
