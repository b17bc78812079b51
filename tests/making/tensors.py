"""Tensors of a checkpoint without a checkpoint: lazy ones, made from arrays."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

from hatch_wheelweights.checkpoint.tensors import LazyTensor
from hatch_wheelweights.errors import CheckpointError
from wheelweights.dtypes import dtype_name

if TYPE_CHECKING:
    from collections.abc import Hashable, Iterator, Sequence

    from numpy.typing import NDArray


def lazy(array: Any, dtype: Any = None, *, tie: Hashable = None, blocks: int | Sequence[int] = 1) -> LazyTensor:
    """Return a tensor that yields the elements of an array in this number of blocks, or cut at these places."""
    values: NDArray[Any] = np.asarray(array, dtype)

    def read() -> Iterator[NDArray[Any]]:
        yield from np.array_split(values.ravel(), blocks)

    return LazyTensor(dtype_name(values.dtype), values.shape, read, tie or object())


def sealed(dtype: str = "float32", shape: tuple[int, ...] = (2,)) -> LazyTensor:
    """Return a tensor that fails the test if it is read."""

    def read() -> Iterator[NDArray[Any]]:
        raise AssertionError("the tensor was read")

    return LazyTensor(dtype, shape, read, object())


def faulty(dtype: str = "float32") -> LazyTensor:
    """Return a tensor that cannot be read."""
    return LazyTensor(dtype, (2,), lambda: iter(()), object(), fault=CheckpointError("is broken"))
