"""Casting tensors to another precision, a block at a time.

Knows which dtype each precision asks for, and what does not fit in it. Floats are rounded to nearest; float64 becomes
bfloat16 by way of float32, as in torch. Casting is lazy: bytes are read when the cast tensor is read. The exception:
integers are cast only where every value fits, so a tensor of integers is read once to find its dtype.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from functools import partial
from typing import TYPE_CHECKING, Any, Final

import numpy as np

from hatch_wheelweights.checkpoint.tensors import BLOCK_BYTES, LazyTensor
from hatch_wheelweights.errors import PRECISION, CheckpointError, Do, Setting
from wheelweights.dtypes import DTYPES, numpy_dtype
from wheelweights.errors import backticked

if TYPE_CHECKING:
    from collections.abc import Hashable, Iterator, Mapping

    from numpy.typing import NDArray

    from hatch_wheelweights.options.model import Precision

__all__ = ["cast_tensors"]


@dataclass(frozen=True)
class _Targets:
    """The dtypes of a precision; None leaves that kind as it is."""

    float: str
    int: str | None
    complex: str | None


_TARGETS: Final = {
    "full": _Targets("float32", "int32", "complex64"),
    "half": _Targets("float16", "int16", None),
    "double": _Targets("float64", "int64", "complex128"),
    "bfloat16": _Targets("bfloat16", None, None),
}


def cast_tensors(
    tensors: Mapping[str, LazyTensor], precision: Precision
) -> tuple[dict[str, LazyTensor], dict[str, str]]:
    """Return the tensors in a precision, and for those that keep a dtype the precision has no use for, the reason.

    `full`, `half` and `double` cast floats and integers as Burn does, `full` and `double` complex numbers too;
    `bfloat16` casts floats. Integers that do not fit keep their dtype, and so do float8_e8m0fnu (powers of two up to
    2**127) under `half`, complex numbers where there is no such complex dtype, bools, and tensors that cannot be read.
    Tied tensors stay tied. A finite float that becomes infinite raises CheckpointError when its tensor is read.
    """
    if precision == "keep":
        return dict(tensors), {}
    decided: dict[Hashable, tuple[str, str | None]] = {}
    cast: dict[str, LazyTensor] = {}
    notes: dict[str, str] = {}
    for key, tensor in tensors.items():
        values = (tensor.tie, tensor.dtype, tensor.fault is None)
        if values not in decided:
            decided[values] = _decide(tensor, precision)
        dtype, note = decided[values]
        cast[key] = _cast(tensor, dtype)
        if note:
            notes[key] = note
    return cast, notes


def _decide(tensor: LazyTensor, precision: Precision) -> tuple[str, str | None]:
    """Return the dtype that a tensor gets, and the reason where that is not what the precision asks for."""
    targets = _TARGETS[precision]
    kind = _kind(tensor)
    target = {"float": targets.float, "int": targets.int, "complex": targets.complex}.get(kind, tensor.dtype)
    if target is None:
        return (
            tensor.dtype,
            f"kept {tensor.dtype}: there is no complex dtype of this precision" if kind == "complex" else None,
        )
    if (tensor.dtype, target) == ("float8_e8m0fnu", "float16"):
        return tensor.dtype, f"kept {tensor.dtype}: float16 does not have its range"
    if kind == "int" and (misfit := _misfit(tensor, target)):
        return tensor.dtype, f"kept {tensor.dtype}: {misfit}"
    return target, None


def _kind(tensor: LazyTensor) -> str:
    if tensor.fault is not None or tensor.dtype not in DTYPES:
        return "unreadable"
    return next((kind for kind in ("complex", "float", "int") if kind in tensor.dtype), tensor.dtype)


def _misfit(tensor: LazyTensor, target: str) -> str | None:
    """Return what an integer dtype cannot hold of a tensor, or None; read it only where its own dtype does not tell."""
    own, goal = np.iinfo(numpy_dtype(tensor.dtype)), np.iinfo(numpy_dtype(target))
    if goal.min <= own.min and own.max <= goal.max:
        return None
    for piece in _pieces(tensor, target):
        least, most = int(piece.min()), int(piece.max())
        if least < goal.min or most > goal.max:
            return f"{target} cannot hold {least if least < goal.min else most:,}"
    return None


def _cast(tensor: LazyTensor, dtype: str) -> LazyTensor:
    if dtype == tensor.dtype:
        return tensor
    return replace(tensor, dtype=dtype, read=partial(_read_cast, tensor, dtype), tie=(tensor.tie, dtype), view=None)


def _read_cast(tensor: LazyTensor, dtype: str) -> Iterator[NDArray[Any]]:
    target = _real(numpy_dtype(dtype))
    for piece in _pieces(tensor, dtype):
        with np.errstate(over="ignore", invalid="ignore"):
            values = piece.view(_real(piece.dtype))
            cast = values.astype(target)
        if "int" not in dtype and np.any(np.isinf(cast) & np.isfinite(values)):
            raise _overflow(tensor, dtype)
        yield cast.view(numpy_dtype(dtype))


def _pieces(tensor: LazyTensor, target: str) -> Iterator[NDArray[Any]]:
    """Yield arrays of at most `BLOCK_BYTES` in either dtype: one block of a mapped tensor can be all of it."""
    step = BLOCK_BYTES // max(DTYPES[tensor.dtype].itemsize, DTYPES[target].itemsize)
    for block in tensor.blocks():
        for start in range(0, block.size, step):
            yield block[start : start + step]


def _real(dtype: np.dtype[Any]) -> np.dtype[Any]:
    """Return the dtype of the parts of a complex number, which overflow each by itself, or the dtype itself."""
    return np.dtype(f"<f{dtype.itemsize // 2}") if dtype.kind == "c" else dtype


def _overflow(tensor: LazyTensor, dtype: str) -> CheckpointError:
    largest = max(_largest(piece.view(_real(piece.dtype))) for piece in _pieces(tensor, dtype))
    wider = ", or `bfloat16`, which has the range of float32" if dtype == "float16" else ""
    return CheckpointError(
        f"expected finite values that {backticked(dtype)} can hold, found the magnitude {largest:.6g}",
        key=tensor.key,
        expected=dtype,
        found=largest,
        remedy=Do("Use ", Setting(PRECISION, "keep"), f"{wider}."),
    )


def _largest(values: NDArray[Any]) -> float:
    """Return the largest finite magnitude."""
    return float(np.max(np.abs(values), where=np.isfinite(values), initial=values.dtype.type(0)))
