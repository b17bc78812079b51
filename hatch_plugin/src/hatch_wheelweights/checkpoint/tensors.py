"""Tensors that are described but not yet read.

Knows how a storage, an offset, a size and strides make a tensor, and checks every bound of it before anything is
read. Knows neither containers nor pickles: anything that can give its bytes is a `Storage`.
"""

from __future__ import annotations

import contextlib
import copy
import math
from collections.abc import Hashable
from contextvars import ContextVar
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Final, NamedTuple
from weakref import WeakValueDictionary

import numpy as np

from hatch_wheelweights.checkpoint.strides import is_contiguous, is_run_of
from hatch_wheelweights.errors import CheckpointError
from hatch_wheelweights.progress import advance
from wheelweights.dtypes import DTYPES, numpy_dtype
from wheelweights.errors import SHOWN_ITEMS, human_size, quoted

if TYPE_CHECKING:
    from collections.abc import Callable, Generator, Iterable, Iterator

    from numpy.typing import NDArray

    from hatch_wheelweights.checkpoint.files import OpenFile

__all__ = [
    "BLOCK_BYTES",
    "READING",
    "LazyTensor",
    "Storage",
    "broken_tensor",
    "bytes_to_read",
    "stored",
    "strided_tensor",
]

# The file whose tensors are being described, for errors
READING: Final[ContextVar[str | None]] = ContextVar("READING", default=None)

BLOCK_BYTES: Final = 16 << 20
MAX_COPY: Final = 64 << 20  # held in memory, of a storage whose elements are not read in their order
MAX_RANK: Final = 64
MAX_EXPANSION: Final = 256 << 20  # bytes a tensor may take beyond those of its storage, as after `expand`

# Those that are in use: tied tensors give one, be it a copy, however many names a file has for it
_ARRAYS: Final = WeakValueDictionary[Hashable, np.ndarray[Any, Any]]()


@dataclass(frozen=True, eq=False, slots=True)
class Storage:
    """A flat run of bytes that tensors share.

    `read()` gives all of them, as a view of the mapped file where they lie in it unchanged. `stream(start, nbytes)`
    gives a part of them in order, as copies that stay whole if the file is cut short meanwhile; without it, parts of
    what `read` gives. `fault` is set where the storage cannot be read; then no tensor on it can be.
    """

    nbytes: int
    read: Callable[[], NDArray[np.uint8]]
    big_endian: bool = False
    fault: CheckpointError | None = None
    stream: Callable[[int, int], Iterator[NDArray[np.uint8]]] | None = None

    def pieces(self, start: int, nbytes: int) -> Iterator[NDArray[np.uint8]]:
        """Yield a part of the storage in order, safe from changes of the file."""
        if self.stream is not None:
            yield from self.stream(start, nbytes)
        else:
            yield self.read()[start : start + nbytes]

    def copied(self, start: int, nbytes: int) -> NDArray[np.uint8]:
        """Return a part of the storage that is safe from changes of the file: in memory, or in a temporary file."""
        if self.stream is None:
            return self.read()[start : start + nbytes]
        copy_of = np.empty(nbytes, np.uint8) if nbytes <= MAX_COPY else _temporary(nbytes)
        position = 0
        for piece in self.stream(start, nbytes):
            copy_of[position : position + piece.size] = piece
            position += piece.size
        return copy_of


def stored(file: OpenFile, start: int, nbytes: int) -> Storage:
    """Return the storage whose bytes lie in a file unchanged."""
    run = _Run(file, start, nbytes)
    return Storage(nbytes, run.read, stream=run.pieces)


class _Run(NamedTuple):
    """Bytes of a file that follow each other; smaller than functions that remember them, and there can be many."""

    file: OpenFile
    start: int
    nbytes: int

    def read(self) -> NDArray[np.uint8]:
        return self.file.array(self.start, self.nbytes)

    def pieces(self, begin: int, size: int) -> Iterator[NDArray[np.uint8]]:
        return self.file.pieces(self.start + begin, size)


def _temporary(nbytes: int) -> NDArray[np.uint8]:
    """Return an array in a temporary file: it costs disk and not memory, and is gone with its last view."""
    import tempfile  # noqa: PLC0415 (rarely needed)

    with tempfile.TemporaryFile() as file:
        return np.memmap(file, np.uint8, "w+", shape=(nbytes,))


# Not frozen, as other values are, though nothing sets a field: Python takes three times as long to make a frozen one
@dataclass(eq=False, repr=False, slots=True)
class LazyTensor:
    """A tensor of a checkpoint: described, not yet read.

    `blocks()` yields the elements in C order as flat, little-endian arrays of `numpy_dtype(dtype)`: copies of at most
    `BLOCK_BYTES`, which stay whole if the file changes meanwhile. Tensors with equal `tie` hold the same values because
    they share memory in the checkpoint. `key` is the name in the checkpoint, below the top-level key, and `path` the
    file. `fault` is set where the tensor cannot be read: reading it raises an error that says the same. `attributes`
    are what a pickle gave the tensor besides its values, inert: a dict of names, or whatever else it gave; None where
    that is nothing.
    """

    dtype: str
    shape: tuple[int, ...]
    read: Callable[[], Iterator[NDArray[Any]]]
    tie: Hashable
    key: str | None = None
    fault: CheckpointError | None = None
    path: str | None = field(default_factory=READING.get, compare=False)
    view: Callable[[], NDArray[Any]] | None = None  # gives all elements without a copy, where they lie so in the file
    attributes: Any = field(default=None, compare=False)

    @property
    def storages(self) -> tuple[Storage, ...]:
        """The storages that the tensor is made of: one, but for a tensor that cannot be read or is made elsewhere."""
        return self.tie.storages if isinstance(self.tie, (_Part, _Unread)) else ()

    @property
    def nbytes(self) -> int:
        """Bytes of the tensor once it is read."""
        dtype = DTYPES.get(self.dtype)
        return math.prod(self.shape) * dtype.itemsize if dtype else 0

    def blocks(self) -> Iterator[NDArray[Any]]:
        """Yield the elements in C order as flat, little-endian arrays; see the class.

        What shows progress is told of each block; what makes a tensor of another calls its `read`, so that nothing is
        told twice. Raises CheckpointError, with key and path, where they cannot be read.
        """
        with self._named_in_errors():
            for block in self.read():
                advance(block.nbytes)
                yield block

    def numpy(self) -> NDArray[Any]:
        """Return the tensor as a read-only array: a view of the mapped file where it can be one, a copy otherwise.

        Tied tensors give one array, as long as somebody uses it.
        """
        values = (self.tie, self.dtype, self.shape)
        array = _ARRAYS.get(values) if self.fault is None else None
        if array is None:
            array = self._flat().reshape(self.shape)
            array.flags.writeable = False
            _ARRAYS[values] = array
        return array

    def _flat(self) -> NDArray[Any]:
        if self.view is not None:
            with self._named_in_errors():
                # A file that was zipped again may hold it unaligned
                return np.require(self.view(), requirements="A")
        blocks = list(self.blocks())  # an unsupported dtype is the fault that this raises
        return np.concatenate([np.empty(0, numpy_dtype(self.dtype)), *blocks])

    @contextlib.contextmanager
    def _named_in_errors(self) -> Generator[None, None, None]:
        """Raise the fault if there is one; give errors of reading the key and the path."""
        try:
            if self.fault is not None:
                # A copy: a raised error holds the frames that it passed, they this tensor, and the tensor its fault
                raise copy.copy(self.fault)
            yield
        except CheckpointError as error:
            error.key = error.key or self.key
            error.path = error.path or self.path
            raise

    def __repr__(self) -> str:
        name = "" if self.key is None else f" {quoted(self.key)}:"
        what = human_size(self.nbytes) if self.fault is None else "unreadable"
        return f"<LazyTensor{name} {self.dtype} {self.shape}, {what}>"

    def named(self, key: str) -> LazyTensor:
        """Return the same tensor under the name it has in the checkpoint."""
        return LazyTensor(
            self.dtype, self.shape, self.read, self.tie, key, self.fault, self.path, self.view, self.attributes
        )


def bytes_to_read(tensors: Iterable[LazyTensor]) -> int:
    """Return the bytes that `blocks` gives of all of them, for showing progress: of tied ones, once."""
    return sum({(tensor.tie, tensor.dtype, tensor.shape): tensor.nbytes for tensor in tensors}.values())


def broken_tensor(
    dtype: str, shape: tuple[int, ...], fault: CheckpointError, storages: tuple[Storage, ...] = ()
) -> LazyTensor:
    """Return a tensor that is listed like any other but cannot be read: reading it raises an error like `fault`."""
    return LazyTensor(dtype, shape, read=lambda: iter(()), tie=_Unread(storages), fault=fault)


@dataclass(frozen=True, eq=False, slots=True)
class _Unread:
    """What a tensor that cannot be read is made of. It ties the tensor to no other: each is equal to itself alone."""

    storages: tuple[Storage, ...]


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
    itemsize = DTYPES[dtype].itemsize
    is_run = len(shape) <= MAX_RANK and is_run_of(storage.nbytes // itemsize, offset, shape, stride)
    fault = storage.fault
    if fault is None and not is_run:
        fault = _form_fault(itemsize, offset, shape, stride)
        fault = fault or _reach_fault(storage.nbytes, itemsize, offset, shape, stride)
    if fault is None and ((conjugated and not dtype.startswith("complex")) or (negated and dtype == "bool")):
        fault = CheckpointError(f"a {dtype} tensor is marked as {'conjugated' if conjugated else 'negated'}")
    if fault is not None:
        return broken_tensor(dtype, shape, fault, (storage,))

    if not is_run or 1 in shape:
        # Numpy multiplies every stride by the size of an element, also those that no second element is reached by
        stride = tuple(step if size > 1 else 0 for size, step in zip(shape, stride, strict=True))
    part = _Part(storage, dtype, offset, shape, stride, conjugated, negated)
    is_run = is_run or (is_contiguous(shape, stride) and 0 not in shape)
    lies_so = is_run and not (conjugated or negated or storage.big_endian)
    return LazyTensor(dtype, shape, part.blocks, part, view=part.view if lies_so else None)


class _Part(NamedTuple):
    """The part of a storage that a tensor is, checked: what its values depend on, and so what ties it to others."""

    storage: Storage
    dtype: str
    offset: int
    shape: tuple[int, ...]
    stride: tuple[int, ...]
    conjugated: bool
    negated: bool

    @property
    def storages(self) -> tuple[Storage, ...]:
        """The one storage."""
        return (self.storage,)

    def blocks(self) -> Iterator[NDArray[Any]]:
        """Yield the elements; see `LazyTensor.blocks`."""
        for block in _strided_blocks(self.storage, self.dtype, self.offset, self.shape, self.stride):
            yield _resolved(block, conjugated=self.conjugated, negated=self.negated)

    def view(self) -> NDArray[Any]:
        """Return all elements, flat; a view of the file, of which they are in C order and as they are in memory."""
        itemsize = DTYPES[self.dtype].itemsize
        start, nbytes = self.offset * itemsize, math.prod(self.shape) * itemsize
        return _elements(self.storage.read()[start : start + nbytes], self.dtype, big_endian=False)


def _form_fault(itemsize: int, offset: int, shape: tuple[int, ...], stride: tuple[int, ...]) -> CheckpointError | None:
    """Return what is wrong with the numbers that describe a tensor, whatever its storage.

    Numbers beyond 63 bits are not shown: a file can hold such as take seconds to write out.
    """
    if len(shape) != len(stride):
        return CheckpointError(f"expected as many strides as dimensions, found {len(stride)} and {len(shape)}")
    if len(shape) > MAX_RANK:
        return CheckpointError(f"expected at most {MAX_RANK} dimensions, found {len(shape)}")
    numbers = (offset, *shape, *stride)
    if max(numbers) >= 1 << 63 or min(numbers) <= -1 << 63:
        return CheckpointError("expected an offset, sizes and strides of at most 63 bits, found a larger one")
    if min(numbers) < 0:
        return CheckpointError(f"negative offset, size or stride: {offset}, {_shown(shape)}, {_shown(stride)}")
    if math.prod(filter(None, shape)) * itemsize >= 1 << 63:
        return CheckpointError(f"expected sizes that make less than 2**63 bytes, found {_shown(shape)}")
    return None


def _shown(sizes: tuple[int, ...]) -> str:
    """Return sizes or strides as text, the first few of many: a file can name one such tensor a thousandfold."""
    return (
        str(sizes)
        if len(sizes) <= SHOWN_ITEMS
        else f"{str(sizes[:SHOWN_ITEMS])[:-1]}, and {len(sizes) - SHOWN_ITEMS} more)"
    )


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
    if is_contiguous(shape, stride):
        for piece in storage.pieces(offset * itemsize, count * itemsize):
            yield _elements(piece, dtype, big_endian=storage.big_endian)
        return
    last = sum((size - 1) * step for size, step in zip(shape, stride, strict=True))
    flat = storage.copied(offset * itemsize, (last + 1) * itemsize).view(_carrier(dtype, big_endian=False))
    strided = np.lib.stride_tricks.as_strided(flat, shape, [step * itemsize for step in stride], writeable=False)
    for block in c_order_blocks(strided):
        yield _elements(block, dtype, big_endian=storage.big_endian)


def _elements(raw: NDArray[Any], dtype: str, *, big_endian: bool) -> NDArray[Any]:
    """Return bytes as elements in the byte order of numpy's little-endian dtypes; a view where they have it."""
    stored = raw.view(_carrier(dtype, big_endian=big_endian))
    native = stored.astype(stored.dtype.newbyteorder("<"), copy=False)
    return _normal_bools(native) if dtype == "bool" else native.view(numpy_dtype(dtype))


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
