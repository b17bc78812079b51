"""Tensors for torch: the arrays of a record without a copy.

Knows what torch calls a dtype and how it takes memory; imports torch only when it is asked for tensors.
"""

from __future__ import annotations

import importlib
import warnings
from typing import TYPE_CHECKING, Any

from wheelweights.errors import DtypeError, WheelweightsError, backticked

if TYPE_CHECKING:
    from types import ModuleType

    import numpy as np
    from numpy.typing import NDArray

    from wheelweights.record import Record

__all__ = ["state_dict"]


def state_dict(record: Record, source_keys: bool = False) -> dict[str, Any]:
    """Return the record as a dict of `torch.Tensor`, all on the CPU, that share the record's memory.

    With `source_keys`, under the names that the tensors had in the checkpoint, ready for `load_state_dict` of the model
    they came from (which copies). Tensors have torch's own dtypes, also for bfloat16 and float8, with or without
    `ml_dtypes`. Tied tensors share their storage.

    The memory is a read-only map of the file, and torch has no read-only tensors: **writing to one of these tensors
    ends the process**. Change a `clone()` instead.

    Raises WheelweightsError if torch is not installed, DtypeError if it is too old for a dtype.
    """
    torch = _torch()
    storages: dict[tuple[int, int], Any] = {}
    tensors: dict[str, Any] = {}
    for key in record:
        info = record.info(key)
        dtype = getattr(torch, info.dtype, None)
        if dtype is None:
            raise DtypeError(
                f"torch {torch.__version__} has no {backticked(info.dtype)}", key=key, remedy="Update torch."
            )
        raw = record.raw(key)
        place = (raw.__array_interface__["data"][0], raw.nbytes)
        if place not in storages:
            storages[place] = _shared(torch, raw, dtype.itemsize)
        tensors[info.source if source_keys else key] = storages[place].view(dtype).reshape(info.shape)
    return tensors


def _shared(torch: ModuleType, raw: NDArray[np.uint8], itemsize: int) -> Any:
    if raw.__array_interface__["data"][0] % itemsize:  # in a record that Burn wrote
        raw = raw.copy()
    with warnings.catch_warnings():
        # torch warns that the memory is not writable: intended, and documented above
        warnings.filterwarnings("ignore", "The given NumPy array is not writ", UserWarning)
        return torch.from_numpy(raw)


def _torch() -> ModuleType:
    try:
        return importlib.import_module("torch")
    except ImportError as error:
        raise WheelweightsError("torch is not installed", remedy="Install it: pip install torch") from error
