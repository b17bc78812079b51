"""Floats in another dtype: what `bind(..., dtype=...)` does to the arrays that it takes from a record."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

from wheelweights.annotations import is_of, plain_name
from wheelweights.dtypes import widen
from wheelweights.errors import DtypeError, backticked
from wheelweights.report import BindError

if TYPE_CHECKING:
    from collections.abc import Mapping

    from numpy.typing import DTypeLike, NDArray
    from typing_extensions import TypeIs

__all__ = ["Cast"]


class Cast:
    """Takes arrays from a record, each float array in one dtype; without a dtype, as they are.

    Arrays that share memory share the copy too. A copy is read-only, as the arrays of a record are.
    """

    def __init__(self, record: Mapping[str, Any], dtype: DTypeLike | None) -> None:
        self.record = record
        self.dtype = None if dtype is None else _float_dtype(dtype)
        self._copies: dict[tuple[Any, ...], NDArray[Any]] = {}

    def name(self, dtype: object) -> str:
        """Return the name of the dtype in which an array of this dtype is taken."""
        name = plain_name(dtype)
        return name if self.dtype is None or not is_of(name, (np.floating,)) else self.dtype.name

    def take(self, key: str) -> Any:
        """Return the array of this key. Raises BindError if a finite number would become infinite."""
        return self.record[key] if self.dtype is None else self.taken(key, self._array(key))

    def taken(self, key: str, array: Any) -> Any:
        """Return an array that was taken from the record under this key, in the dtype that is wanted."""
        if self.name(array.dtype) == plain_name(array.dtype):
            return array
        if not _is_numpys(array):
            raise BindError(
                f"{backticked(key)}: expected an array of numpy to cast, found {backticked(type(array).__name__)}"
            )
        same = (array.__array_interface__["data"][0], array.dtype, array.shape, array.strides)
        if same not in self._copies:
            self._copies[same] = self._cast(key, array)
        return self._copies[same]

    def _array(self, key: str) -> Any:
        """Return the array as the record gives it, or widened where numpy lacks the dtype."""
        try:
            return self.record[key]
        except DtypeError:
            record: Any = self.record
            info = record.info(key)
            return widen(record.raw(key), info.dtype).reshape(info.shape)

    def _cast(self, key: str, array: NDArray[Any]) -> NDArray[Any]:
        with np.errstate(over="ignore", under="ignore", invalid="ignore"):
            new = array.astype(self.dtype)
        narrower = not np.can_cast(array.dtype, new.dtype)
        if narrower and np.count_nonzero(np.isfinite(new)) < np.count_nonzero(np.isfinite(array)):
            raise BindError(
                f"{backticked(key)}: expected numbers that {new.dtype.name} can hold, found larger ones",
                remedy="Bind without dtype, or with a wider one.",
            )
        new.flags.writeable = False
        return new


def _is_numpys(array: object) -> TypeIs[NDArray[Any]]:
    return isinstance(array, np.ndarray)


def _float_dtype(dtype: DTypeLike) -> np.dtype[Any]:
    try:
        found = np.dtype(dtype)
    except TypeError as error:
        raise BindError(f"dtype: expected a dtype of floats, found {backticked(dtype)}", found=dtype) from error
    if not is_of(found.name, (np.floating,)):
        raise BindError(f"dtype: expected a dtype of floats, found {backticked(found.name)}", found=dtype)
    return found
