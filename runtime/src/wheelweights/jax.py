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

    With `source_keys`, under the names that the tensors had in the checkpoint. On the CPU jax uses the mapped memory if
    it can, otherwise it copies. Unless `jax_enable_x64` is set, jax makes 32-bit arrays of 64-bit ones: float64 is
    rounded, integers must fit.

    Raises WheelweightsError if jax is not installed, DtypeError for integers that would not fit.
    """
    jnp = _jax_numpy()
    arrays: dict[str, Any] = {}
    for key in record:
        array = record[key]
        taken = jnp.asarray(array)
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


def _jax_numpy() -> ModuleType:
    try:
        return importlib.import_module("jax.numpy")
    except ImportError as error:
        raise WheelweightsError("jax is not installed", remedy="Install it: pip install jax") from error
