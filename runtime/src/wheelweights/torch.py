"""Tensors for torch: a record's bytes on a private map of its file.

Knows what torch calls a dtype and how it takes memory; imports torch only when it is asked for tensors.
"""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Any

from wheelweights.errors import DtypeError, WheelweightsError, backticked
from wheelweights.record.mapping import check_bools

if TYPE_CHECKING:
    from types import ModuleType

    import numpy as np
    from numpy.typing import NDArray

    from wheelweights.record import Record

__all__ = ["state_dict"]


def state_dict(record: Record, source_keys: bool = False) -> dict[str, Any]:
    """Return the record as a dict of `torch.Tensor`, all on the CPU, that can be written to as any others.

    With `source_keys`, under the names that the tensors had in the checkpoint, ready for `load_state_dict` of the model
    they came from: that copies, or, with `assign=True`, takes the tensors themselves, also for training. Tensors have
    torch's own dtypes, also for bfloat16 and float8, with or without `ml_dtypes`. Tied tensors share their storage.

    Nothing is copied before it is written to: the tensors lie on a private map of the file, one for each call, as with
    `torch.load(mmap=True)`. The first write to a page (4 KiB on most machines) copies that page; file, record and the
    tensors of other calls stay as they are. What is copied at once: a record that is in memory (`mmap=False`, deflated
    in an archive, written by Burn), and tensors at an odd address in an archive.

    Raises WheelweightsError if torch is not installed, DtypeError if it is too old for a dtype.
    """
    torch = _torch()
    raw_of = record.writable()
    storages: dict[tuple[int, int], Any] = {}
    tensors: dict[str, Any] = {}
    for key in record:
        info = record.info(key)
        dtype = getattr(torch, info.dtype, None)
        if dtype is None:
            raise DtypeError(
                f"torch {torch.__version__} has no {backticked(info.dtype)}", key=key, remedy="Update torch."
            )
        raw = raw_of(key)
        place = (raw.__array_interface__["data"][0], raw.nbytes)
        if place not in storages:
            if info.dtype == "bool":
                check_bools(raw, key, record.path)
            storages[place] = torch.from_numpy(_aligned(raw, dtype.itemsize))
        tensors[info.source if source_keys else key] = storages[place].view(dtype).reshape(info.shape)
    return tensors


def _aligned(raw: NDArray[np.uint8], itemsize: int) -> NDArray[np.uint8]:
    return raw.copy() if raw.__array_interface__["data"][0] % itemsize else raw


def _torch() -> ModuleType:
    try:
        return importlib.import_module("torch")
    except ImportError as error:
        raise WheelweightsError("torch is not installed", remedy="Install it: pip install torch") from error
