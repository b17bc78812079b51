"""The dtypes a record can hold: one table.

Knows their names, their item sizes and numpy's names for them. The names of torch and safetensors are in the plugin.

Numpy itself has no bfloat16 and no float8. Such arrays have the dtypes of the `ml_dtypes` package if that is
installed, or, with `widen`, come as float32, which holds every value of these formats exactly.
"""

from __future__ import annotations

import functools
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from wheelweights.errors import DtypeError, backticked

if TYPE_CHECKING:
    from collections.abc import Iterable

    from numpy.typing import NDArray

__all__ = ["DTYPES", "Dtype", "dtype_name", "find_dtype", "numpy_dtype", "widen"]


@dataclass(frozen=True, slots=True)
class Dtype:
    """One dtype: its name, the bytes of an element, and its name in numpy (little-endian) or in ml_dtypes."""

    name: str
    itemsize: int
    numpy: str | None = None
    ml_dtypes: str | None = None

    @property
    def alignment(self) -> int:
        """What the address of an array must be a multiple of, for numpy to compute with it where it lies."""
        return np.dtype(self.numpy).alignment if self.numpy else self.itemsize


DTYPES: dict[str, Dtype] = {
    dtype.name: dtype
    for dtype in (
        Dtype("bool", 1, "?"),
        Dtype("int8", 1, "i1"),
        Dtype("int16", 2, "<i2"),
        Dtype("int32", 4, "<i4"),
        Dtype("int64", 8, "<i8"),
        Dtype("uint8", 1, "u1"),
        Dtype("uint16", 2, "<u2"),
        Dtype("uint32", 4, "<u4"),
        Dtype("uint64", 8, "<u8"),
        Dtype("float16", 2, "<f2"),
        Dtype("bfloat16", 2, ml_dtypes="bfloat16"),
        Dtype("float32", 4, "<f4"),
        Dtype("float64", 8, "<f8"),
        Dtype("complex64", 8, "<c8"),
        Dtype("complex128", 16, "<c16"),
        Dtype("float8_e4m3fn", 1, ml_dtypes="float8_e4m3fn"),
        Dtype("float8_e4m3fnuz", 1, ml_dtypes="float8_e4m3fnuz"),
        Dtype("float8_e5m2", 1, ml_dtypes="float8_e5m2"),
        Dtype("float8_e5m2fnuz", 1, ml_dtypes="float8_e5m2fnuz"),
        Dtype("float8_e8m0fnu", 1, ml_dtypes="float8_e8m0fnu"),
    )
}

_BY_NUMPY = {np.dtype(dtype.numpy): dtype.name for dtype in DTYPES.values() if dtype.numpy}


def find_dtype(name: str) -> Dtype:
    """Return the dtype of this name. Raises DtypeError if a record cannot hold it."""
    dtype = DTYPES.get(name)
    if dtype is None:
        raise _unsupported(name, details=[f"A record can hold {', '.join(DTYPES)}."])
    return dtype


@functools.cache
def numpy_dtype(name: str) -> np.dtype[Any]:
    """Return numpy's dtype (little-endian) of a record's dtype name.

    Raises DtypeError for an unknown name, and for bfloat16 and float8 if `ml_dtypes` is not installed.
    """
    dtype = find_dtype(name)
    if dtype.numpy:
        return np.dtype(dtype.numpy)
    try:
        import ml_dtypes  # noqa: PLC0415 (optional, and only for arrays that need it)
    except ImportError as error:
        raise DtypeError(
            f"numpy has no {backticked(name)} of its own",
            found=name,
            remedy="Install wheelweights[ml-dtypes], or open with widen=True to get float32 copies (exact).",
        ) from error
    scalar: type[np.generic] = getattr(ml_dtypes, str(dtype.ml_dtypes))
    return np.dtype(scalar)


def dtype_name(dtype: np.dtype[Any]) -> str:
    """Return the record's name of a numpy (or ml_dtypes) dtype of either byte order.

    Raises DtypeError if a record cannot hold it.
    """
    name = _BY_NUMPY.get(dtype.newbyteorder("<"))
    if name is None and dtype.name in DTYPES and dtype.itemsize == DTYPES[dtype.name].itemsize:
        name = dtype.name
    if name is None:
        raise _unsupported(dtype.name, remedy=f"Convert the array to one of: {', '.join(DTYPES)}.")
    return name


def _unsupported(name: str, *, details: Iterable[str] = (), remedy: str | None = None) -> DtypeError:
    return DtypeError(f"unsupported dtype {backticked(name)}", found=name, details=details, remedy=remedy)


def widen(raw: NDArray[np.uint8], name: str) -> NDArray[np.float32]:
    """Return the float32 values of flat little-endian bytes of bfloat16 or a float8 kind.

    A copy, exact for every value. bfloat16 is the upper half of a float32. The float8 kinds are defined in "FP8
    Formats for Deep Learning" (arXiv 2209.05433), the `fnuz` kinds in arXiv 2206.02915, e8m0 in the OCP Microscaling
    specification 1.0.
    """
    if name == "bfloat16":
        return (raw.view("<u2").astype(np.uint32) << np.uint32(16)).view(np.float32)
    return _float8_values(name)[raw]


@functools.cache
def _float8_values(name: str) -> NDArray[np.float32]:
    """Return the values of all 256 codes of a float8 kind."""
    codes = np.arange(256)
    values: NDArray[np.float64]
    if name == "float8_e8m0fnu":
        values = np.ldexp(1.0, codes - 127)
        values[0xFF] = np.nan
        return values.astype(np.float32)
    mantissa_bits = 3 if "e4m3" in name else 2
    bias = {"float8_e4m3fn": 7, "float8_e4m3fnuz": 8, "float8_e5m2": 15, "float8_e5m2fnuz": 16}[name]
    fraction = (codes & ((1 << mantissa_bits) - 1)) / (1 << mantissa_bits)
    exponent = (codes & 0x7F) >> mantissa_bits
    subnormal = exponent == 0
    values = np.ldexp(fraction + ~subnormal, np.where(subnormal, 1, exponent) - bias)
    if name.endswith("fnuz"):
        values = np.where(codes >= 0x80, -values, values)
        values[0x80] = np.nan  # there is no negative zero: its code is the only NaN
    elif name == "float8_e4m3fn":
        values[[0x7F, 0xFF]] = np.nan
    else:
        values[0x7C], values[0x7D:0x80] = np.inf, np.nan
    if not name.endswith("fnuz"):
        values[0x80:] = -values[:0x80]
    return values.astype(np.float32)
