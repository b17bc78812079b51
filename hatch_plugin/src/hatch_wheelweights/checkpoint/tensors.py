"""Tensors that are described but not yet read.

Knows how a storage, an offset, a size and strides make a tensor, and checks every bound of it before anything is
read. Knows neither containers nor pickles: anything that can give its bytes is a `Storage`.
"""

from __future__ import annotations

import copy
import math
from contextvars import ContextVar
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Any, Final

import numpy as np

from hatch_wheelweights.errors import CheckpointError
from wheelweights.dtypes import DTYPES, numpy_dtype

if TYPE_CHECKING:
    from collections.abc import Callable, Hashable, Iterator

    from numpy.typing import NDArray

__all__ = [
    "BLOCK_BYTES",
    "READING",
    "LazyTensor",
    "Storage",
    "broken_tensor",
    "contiguous_strides",
    "is_contiguous",
    "strided_tensor",
]

# The file whose tensors are being described, for errors
READING: Final[ContextVar[str | None]] = ContextVar("READING", default=None)

BLOCK_BYTES: Final = 16 << 20
MAX_RANK: Final = 64
MAX_EXPANSION: Final = 256 << 20  # bytes a tensor may take beyond those of its storage, as after `expand`


@dataclass(frozen=True, eq=False)
class Storage:
    """A flat run of bytes that tensors share.

    `read()` gives all of them, as a view of the mapped file where they lie in it unchanged. `fault` is set where the
    storage cannot be read; then no tensor on it can be.
    """

    nbytes: int
    read: Callable[[], NDArray[np.uint8]]
    big_endian: bool = False
    fault: CheckpointError | None = None


@dataclass(frozen=True, eq=False, repr=False)
class LazyTensor:
    """A tensor of a checkpoint: described, not yet read.

    `blocks()` yields the elements in C order as flat, little-endian arrays of `numpy_dtype(dtype)`: one block, a view
    of the mapped file, where the tensor is contiguous and uncompressed in it; copies of at most `BLOCK_BYTES`
    otherwise. Tensors with equal `tie` hold the same values because they share memory in the checkpoint. `key` is the
    name in the checkpoint, below the top-level key, and `path` the file. `fault` is set where the tensor cannot be
    read: reading it raises an error that says the same.
    """

    dtype: str
    shape: tuple[int, ...]
    read: Callable[[], Iterator[NDArray[Any]]]
    tie: Hashable
    key: str | None = None
    fault: CheckpointError | None = None
    path: str | None = field(default_factory=READING.get, compare=False)

    @property
    def nbytes(self) -> int:
        """Bytes of the tensor once it is read."""
        dtype = DTYPES.get(self.dtype)
        return math.prod(self.shape) * dtype.itemsize if dtype else 0

    def blocks(self) -> Iterator[NDArray[Any]]:
        """Yield the elements in C order as flat, little-endian arrays; see the class.

        Raises CheckpointError, with key and path, where they cannot be read.
        """
        try:
            if self.fault is not None:
                # A copy: a raised error holds the frames that it passed, they this tensor, and the tensor its fault
                raise copy.copy(self.fault)
            yield from self.read()
        except CheckpointError as error:
            error.key = error.key or self.key
            error.path = error.path or self.path
            raise

    def numpy(self) -> NDArray[Any]:
        """Return the tensor as a read-only array: a view of the mapped file where it can be one, a copy otherwise."""
        blocks = list(self.blocks())
        if len(blocks) == 1:
            flat = np.require(blocks[0], requirements="A")  # a file that was zipped again may hold it unaligned
        else:
            flat = np.concatenate([np.empty(0, numpy_dtype(self.dtype)), *blocks])
        array = flat.reshape(self.shape)
        array.flags.writeable = False
        return array

    def __repr__(self) -> str:
        return f"<LazyTensor {self.dtype} {self.shape}>"

    def named(self, key: str) -> LazyTensor:
        """Return the same tensor under the name it has in the checkpoint."""
        return replace(self, key=key)


def broken_tensor(dtype: str, shape: tuple[int, ...], fault: CheckpointError) -> LazyTensor:
    """Return a tensor that is listed like any other but cannot be read: reading it raises an error like `fault`."""
    return LazyTensor(dtype, shape, read=lambda: iter(()), tie=object(), fault=fault)


def strided_tensor(
    storage: Storage,
    dtype: str,
    offset: int,
    shape: tuple[int, ...],
    stride: tuple[int, ...],
    *,
    conjugated: bool = False,
    negated: bool = False,
) -> LazyTensor:
    """Return the tensor at `offset` of a storage, all counted in elements.

    One that breaks a bound comes back with its `fault` set. `conjugated` and `negated` are torch's lazy bits: the
    stored values are the conjugates, or the negatives, of the tensor's.
    """
    fault = storage.fault or _form_fault(offset, shape, stride)
    fault = fault or _reach_fault(storage.nbytes, DTYPES[dtype].itemsize, offset, shape, stride)
    if fault is None and ((conjugated and not dtype.startswith("complex")) or (negated and dtype == "bool")):
        fault = CheckpointError(f"a {dtype} tensor is marked as {'conjugated' if conjugated else 'negated'}")
    if fault is not None:
        return broken_tensor(dtype, shape, fault)

    def read() -> Iterator[NDArray[Any]]:
        for block in _strided_blocks(storage, dtype, offset, shape, stride):
            yield _resolved(block, conjugated=conjugated, negated=negated)

    tie = (storage, dtype, offset, shape, stride, conjugated, negated)
    return LazyTensor(dtype, shape, read, tie)


def _form_fault(offset: int, shape: tuple[int, ...], stride: tuple[int, ...]) -> CheckpointError | None:
    """Return what is wrong with the numbers that describe a tensor, whatever its storage."""
    if len(shape) != len(stride):
        return CheckpointError(f"expected as many strides as dimensions, found {len(stride)} and {len(shape)}")
    if len(shape) > MAX_RANK:
        return CheckpointError(f"expected at most {MAX_RANK} dimensions, found {len(shape)}")
    if min((offset, *shape, *stride)) < 0:
        return CheckpointError(f"negative offset, size or stride: {offset}, {shape}, {stride}")
    if math.prod(size or 1 for size in shape) >= 1 << 63:
        return CheckpointError(f"expected sizes whose product has at most 63 bits, found {shape}")
    return None


def _reach_fault(
    nbytes: int, itemsize: int, offset: int, shape: tuple[int, ...], stride: tuple[int, ...]
) -> CheckpointError | None:
    """Return what is wrong with a tensor's place in a storage of so many bytes. Python's integers do not overflow."""
    available = nbytes // itemsize
    last = offset + sum((size - 1) * step for size, step in zip(shape, stride, strict=True))
    needed = 0 if 0 in shape else last + 1
    if needed > available:
        return CheckpointError(
            f"reaches past its storage: expected at least {needed:,} elements, found {available:,}",
            expected=needed,
            found=available,
        )
    if math.prod(shape) * itemsize > nbytes + MAX_EXPANSION:
        return CheckpointError(
            f"expands {nbytes:,} stored bytes to {math.prod(shape) * itemsize:,}",
            remedy="Save the tensor before expand(), and expand it where it is used.",
        )
    return None


def _strided_blocks(
    storage: Storage, dtype: str, offset: int, shape: tuple[int, ...], stride: tuple[int, ...]
) -> Iterator[NDArray[Any]]:
    count = math.prod(shape)
    itemsize = DTYPES[dtype].itemsize
    if count == 0:
        yield np.empty(0, numpy_dtype(dtype))
        return
    raw = storage.read()[offset * itemsize :]
    if is_contiguous(shape, stride):
        flat = raw[: count * itemsize].view(_carrier(dtype, big_endian=storage.big_endian))
        blocks = iter([flat]) if not storage.big_endian else np.array_split(flat, -(-flat.nbytes // BLOCK_BYTES))
    else:
        flat = raw[: raw.nbytes // itemsize * itemsize].view(_carrier(dtype, big_endian=storage.big_endian))
        strided = np.lib.stride_tricks.as_strided(flat, shape, [step * itemsize for step in stride], writeable=False)
        blocks = c_order_blocks(strided)
    for block in blocks:
        native = block.astype(block.dtype.newbyteorder("<"), copy=False)
        yield _normal_bools(native) if dtype == "bool" else native.view(numpy_dtype(dtype))


def contiguous_strides(shape: tuple[int, ...], *, fortran: bool = False) -> tuple[int, ...]:
    """Return the strides, in elements, of a contiguous array in C or Fortran order."""
    strides: list[int] = []
    step = 1
    for size in shape if fortran else reversed(shape):
        strides.append(step)
        step *= max(size, 1)
    return tuple(strides if fortran else reversed(strides))


def is_contiguous(shape: tuple[int, ...], stride: tuple[int, ...]) -> bool:
    """Tell whether the elements follow each other in C order."""
    expected = 1
    for size, step in zip(reversed(shape), reversed(stride), strict=True):
        if size != 1 and step != expected:
            return False
        expected *= size
    return True


def c_order_blocks(array: NDArray[Any]) -> Iterator[NDArray[Any]]:
    """Yield the elements of a strided array in C order, as flat copies of at most `BLOCK_BYTES` each."""
    axis, inner = array.ndim, array.itemsize
    while axis > 0 and inner * array.shape[axis - 1] <= BLOCK_BYTES:
        axis -= 1
        inner *= array.shape[axis]
    if axis == 0:
        yield array.reshape(-1) if array.ndim else array.reshape(1)
        return
    rows = max(1, BLOCK_BYTES // inner)
    for index in np.ndindex(array.shape[: axis - 1]):
        for start in range(0, array.shape[axis - 1], rows):
            yield array[index][start : start + rows].reshape(-1)


def _carrier(dtype: str, *, big_endian: bool) -> np.dtype[Any]:
    """Return numpy's dtype in which elements can be gathered and swapped: bools as bytes, bfloat16 as integers."""
    entry = DTYPES[dtype]
    name = "u1" if dtype == "bool" else entry.numpy or f"<u{entry.itemsize}"
    carrier = np.dtype(name)
    return carrier.newbyteorder(">") if big_endian else carrier


def _normal_bools(block: NDArray[np.uint8]) -> NDArray[np.bool_]:
    """Return bytes as bools: to torch, any byte but 0 is true; to numpy, only 1."""
    return block != 0 if block.size and block.max() > 1 else block.view(np.bool_)


def _resolved(block: NDArray[Any], *, conjugated: bool, negated: bool) -> NDArray[Any]:
    block = np.conjugate(block) if conjugated else block
    return np.negative(block) if negated else block
