"""numpy's names in a pickle: dtypes and scalars as numpy has them, arrays as tensors in memory.

Knows what numpy 1 and 2 write (numpy/_core/src/multiarray, `ndarray.__reduce_ex__`). Anything else stays an inert node:
dtypes of objects, records and dates, arrays of them, and whatever numpy itself would refuse.
"""

from __future__ import annotations

import math
import re
from typing import Any, Final, TypeGuard

import numpy as np

from hatch_wheelweights.checkpoint.nodes import Array, Global, Meaning, Opaque
from hatch_wheelweights.checkpoint.strides import contiguous_strides
from hatch_wheelweights.checkpoint.tensors import (
    MAX_RANK,
    Storage,
    strided_tensor,
)
from hatch_wheelweights.checkpoint.values import Python2Text, are_ints, is_tuple
from hatch_wheelweights.errors import CheckpointError
from wheelweights.dtypes import dtype_name
from wheelweights.errors import DtypeError

__all__ = ["ARRAYS"]


# What numpy writes as the argument of a dtype; dates, records and objects have more in their state
_CODE: Final = re.compile(r"b1|[iu][1248]|f[248]|c(8|16)|[SU]\d{1,4}")
_OWNERS: Final = ("ndarray", "matrix", "memmap")


def _node(module: str, name: str, args: tuple[Any, ...]) -> Opaque:
    return Opaque(module, name, args, closed=True)


def _is_dtype(value: Any) -> TypeGuard[np.dtype[Any]]:
    return isinstance(value, np.dtype)


def _is_flag(value: Any, *of: int) -> bool:
    return type(value) in (bool, int) and value in of


def _text(value: Any) -> str | None:
    """Return text, which Python 2 may have as bytes; None for anything else."""
    if type(value) is bytes:
        return value.decode("latin-1")
    return value if isinstance(value, str) else None


def _raw(value: Any) -> bytes | None:
    """Return bytes, which Python 2 wrote as str; None for anything else."""
    if type(value) is bytes:
        return value
    if isinstance(value, str) and (value.isascii() or isinstance(value, Python2Text)):
        return value.encode("utf-8")
    return None


def _dtype(args: tuple[Any, ...]) -> Opaque:
    """Return the dtype that waits for its state."""
    return _node("numpy", "dtype", args)


def _dtype_state(node: Opaque, state: Any) -> Any:
    """Return numpy's dtype with the byte order that the state gives; an unusual one stays a node."""
    node.state = state
    dtype = _plain_dtype(node.args)
    if dtype is None or not is_tuple(state, 8):
        return node
    version, order, *nothing, size, alignment, flags = state
    sizes = (dtype.itemsize, dtype.alignment) if dtype.kind in "SU" else (-1, -1)
    if not are_ints((version, size, alignment, flags)) or (version, size, alignment) != (3, *sizes):
        return node
    # By identity: to numpy, the dtype of float64 is equal to None, and others are to the text that names them
    if any(part is not None for part in nothing) or flags not in ((0, 8) if dtype.kind == "U" else (0,)):
        return node
    order = _text(order)
    if dtype.itemsize == 1 or dtype.kind == "S":
        return dtype if order == "|" else node
    return dtype.newbyteorder("<" if order == "<" else ">") if order in ("<", ">") else node


def _plain_dtype(args: tuple[Any, ...]) -> np.dtype[Any] | None:
    """Return the dtype of (code, False, True), as numpy writes it; older versions have 0 and 1."""
    code, align, copy = (_text(args[0]), *args[1:]) if len(args) == 3 else (None, None, None)
    if code is None or not _CODE.fullmatch(code) or not _is_flag(align, 0) or not _is_flag(copy, 1):
        return None
    return np.dtype(code)


def _scalar(args: tuple[Any, ...]) -> Any:
    dtype, raw = (args[0], _raw(args[1])) if len(args) == 2 else (None, None)
    if not _is_dtype(dtype) or raw is None or len(raw) != dtype.itemsize or dtype.itemsize == 0:
        return _node("numpy.core.multiarray", "scalar", args)
    if dtype.kind == "b" and raw not in (b"\0", b"\1"):
        return _node("numpy.core.multiarray", "scalar", args)
    return np.frombuffer(raw, dtype)[0]


def _reconstruct(args: tuple[Any, ...]) -> Opaque:
    """Return the array that waits for its state."""
    return _node("numpy.core.multiarray", "_reconstruct", args)


def _called_array(args: tuple[Any, ...]) -> Opaque:
    """Return what calling the class gives; numpy itself never writes that."""
    return _node("numpy", "ndarray", args)


def _array_state(node: Opaque, state: Any) -> Any:
    """Return an array as a tensor in memory; one of objects, text or dates stays a node."""
    node.state = state
    if not is_tuple(state, 5) or not _is_usual(node.args):
        return node
    version, shape, dtype, fortran, raw = state
    if type(version) is not int or version != 1 or not _is_flag(fortran, 0, 1):
        return node
    return _array(node, _raw(raw), dtype, shape, fortran=bool(fortran))


def _is_usual(args: tuple[Any, ...]) -> bool:
    """Tell whether an array was made as numpy does it: empty, of the class, and of a dtype that its state replaces."""
    if len(args) != 3:
        return False
    owner, shape, dtype = args
    known = isinstance(owner, Global) and owner.module == "numpy" and owner.name in _OWNERS
    return known and is_tuple(shape, 1) and are_ints(shape) and shape[0] == 0 and _text(dtype) == "b"


def _from_buffer(args: tuple[Any, ...]) -> Any:
    """Return the array that protocol 5 writes as (bytes, dtype, shape, order), with (numpy 2.4) the order of axes.

    The order is "C" or "F", or "K": the bytes are those of a C-ordered array, the axes of which are then put in order.
    """
    node = _node("numpy.core.numeric", "_frombuffer", args)
    if len(args) not in (4, 5) or not isinstance(args[0], bytes):
        return node
    raw, dtype, shape, order = (*args[:3], _text(args[3]))
    axes = args[4] if len(args) == 5 else None
    if order == "K" and is_tuple(axes) and is_tuple(shape) and are_ints(axes):
        return _array(node, raw, dtype, shape, axes=axes) if sorted(axes) == list(range(len(shape))) else node
    return _array(node, raw, dtype, shape, fortran=order == "F") if order in ("C", "F") and axes is None else node


def _array(
    node: Opaque,
    raw: bytes | None,
    dtype: Any,
    shape: Any,
    *,
    fortran: bool = False,
    axes: tuple[int, ...] | None = None,
) -> Any:
    if not _is_dtype(dtype) or raw is None or not is_tuple(shape):
        return node
    try:
        name = dtype_name(dtype)
    except DtypeError:
        return node
    if len(shape) > MAX_RANK or not are_ints(shape) or not all(0 <= size < 1 << 63 for size in shape):
        raise CheckpointError(f"expected at most {MAX_RANK} sizes of 63 bits as the shape of a numpy array")
    if math.prod(shape) * dtype.itemsize != len(raw):
        raise CheckpointError(f"expected as many bytes as the shape of a numpy array takes, found {len(raw):,}")
    storage = Storage(len(raw), lambda: np.frombuffer(raw, np.uint8), dtype.byteorder == ">")
    strides = contiguous_strides(shape, fortran=fortran)
    if axes is not None:
        shape, strides = tuple(shape[axis] for axis in axes), tuple(strides[axis] for axis in axes)
    found = strided_tensor(storage, name, 0, shape, strides)
    return Array(found.dtype, found.shape, found.read, found.tie, fault=found.fault, view=found.view)


_MULTIARRAY = ("numpy.core.multiarray", "numpy._core.multiarray")
_NUMERIC = ("numpy.core.numeric", "numpy._core.numeric")

ARRAYS: Final[dict[tuple[str, str], Meaning]] = {
    ("numpy", "dtype"): Meaning(_dtype, setstate=_dtype_state),
    ("numpy", "ndarray"): Meaning(_called_array),
    **{(module, "scalar"): Meaning(_scalar) for module in _MULTIARRAY},
    **{(module, "_reconstruct"): Meaning(_reconstruct, setstate=_array_state) for module in _MULTIARRAY},
    **{(module, "_frombuffer"): Meaning(_from_buffer) for module in _NUMERIC},
}
