"""Two files compared: keys, dtypes, shapes, and every value.

Knows what it means for tensors to be equal: the same shape, dtype and values, where NaN equals NaN. Reads both a block
at a time; what inspect says of the files besides tensors is not compared.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final, Protocol

import numpy as np

from hatch_wheelweights.looking.files import Wheel, open_file
from hatch_wheelweights.looking.inspect import only_for_checkpoints, tensors_of
from hatch_wheelweights.looking.terminal import counted
from hatch_wheelweights.checkpoint import Checkpoint
from hatch_wheelweights.errors import ConfigError
from wheelweights import WheelweightsError
from wheelweights.dtypes import DTYPES
from wheelweights.errors import backticked

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    from numpy.typing import NDArray

    from hatch_wheelweights.options.table import RecordOptions
    from wheelweights import Record

__all__ = ["Difference", "TensorDifference", "ValueDifference", "diff_files", "diff_lines"]

PIECE_ELEMENTS: Final = 1 << 20


@dataclass(frozen=True)
class ValueDifference:
    """How the values of two tensors differ: `differing` of `elements`, by at most `largest`.

    `nan_in_both` elements are NaN on both sides (they are equal), `nan_in_one` on one side only (`largest` leaves them
    out).
    """

    elements: int = 0
    differing: int = 0
    largest: float = 0
    nan_in_both: int = 0
    nan_in_one: int = 0

    def plus(self, other: ValueDifference) -> ValueDifference:
        """Return the difference of both parts together."""
        return ValueDifference(
            self.elements + other.elements,
            self.differing + other.differing,
            max(self.largest, other.largest),
            self.nan_in_both + other.nan_in_both,
            self.nan_in_one + other.nan_in_one,
        )


@dataclass(frozen=True)
class TensorDifference:
    """A key that is in both files: dtypes, shapes, and, unless shapes or a `fault` forbid it, how the values differ."""

    key: str
    dtypes: tuple[str, str]
    shapes: tuple[tuple[int, ...], tuple[int, ...]]
    values: ValueDifference | None = None
    fault: str | None = None

    @property
    def equal(self) -> bool:
        """Whether dtypes, shapes and all values are equal."""
        return self.dtypes[0] == self.dtypes[1] and self.values is not None and not self.values.differing


@dataclass(frozen=True)
class Difference:
    """Two files: what is in one of them only (key -> description), and every key that is in both."""

    only: tuple[Mapping[str, str], Mapping[str, str]]
    both: tuple[TensorDifference, ...]

    @property
    def equal(self) -> bool:
        """Whether both hold the same."""
        return not any(self.only) and all(tensor.equal for tensor in self.both)


class _Tensor(Protocol):
    @property
    def dtype(self) -> str: ...
    @property
    def shape(self) -> tuple[int, ...]: ...
    def blocks(self) -> Iterator[NDArray[Any]]: ...


@dataclass(frozen=True)
class _RecordTensor:
    """A tensor of a record, in the form that those of a checkpoint have."""

    record: Record
    key: str
    dtype: str
    shape: tuple[int, ...]

    def blocks(self) -> Iterator[NDArray[Any]]:
        yield self.record[self.key].reshape(-1)


def diff_files(left: str, right: str, options: RecordOptions) -> Difference:
    """Compare two files; `options` are those of a conversion and hold for checkpoints.

    Records of wheels are told apart by their places in the wheel, unless both have just one. Raises WheelweightsError
    for a file that cannot be opened. A tensor that cannot be read differs.
    """
    paths = (left, right)
    files = (open_file(left), open_file(right))
    only_for_checkpoints(options, *files)
    by_place = any(isinstance(file, Wheel) and len(file.records) > 1 for file in files)
    tensors = [_tensors(path, file, options, by_place=by_place) for path, file in zip(paths, files, strict=True)]
    only = tuple(
        {key: _described(ours[key]) for key in ours if key not in theirs} for ours, theirs in (tensors, tensors[::-1])
    )
    both = tuple(_compared(key, tensors[0][key], tensors[1][key]) for key in tensors[0] if key in tensors[1])
    return Difference((only[0], only[1]), both)


def _tensors(
    path: str, file: Checkpoint | Record | Wheel, options: RecordOptions, *, by_place: bool
) -> Mapping[str, _Tensor]:
    if isinstance(file, Checkpoint):
        if by_place:
            raise _one_of_many(path)
        return tensors_of(file, options)
    if not isinstance(file, Wheel):
        if by_place:
            raise _one_of_many(path)
        return _of_record(file, "")
    found: dict[str, _Tensor] = {}
    for name in file.records:
        found |= _of_record(file.open(name), f"{name}: " if by_place else "")
    return found


def _of_record(record: Record, prefix: str) -> dict[str, _Tensor]:
    infos = ((key, record.info(key)) for key in record)
    return {prefix + key: _RecordTensor(record, key, info.dtype, info.shape) for key, info in infos}


def _described(tensor: _Tensor) -> str:
    return f"{backticked(tensor.dtype)[1:-1]} {tensor.shape}"


def _compared(key: str, left: _Tensor, right: _Tensor) -> TensorDifference:
    values = fault = None
    if left.shape == right.shape:
        try:
            values = _value_difference(left, right)
        except WheelweightsError as error:
            fault = str(error.args[0])
    return TensorDifference(key, (left.dtype, right.dtype), (left.shape, right.shape), values, fault)


def _value_difference(left: _Tensor, right: _Tensor) -> ValueDifference:
    total = ValueDifference()
    with np.errstate(all="ignore"):
        for pieces in _pieces(left, right):
            total = total.plus(_piece_difference(*pieces))
    return total


def _pieces(left: _Tensor, right: _Tensor) -> Iterator[tuple[NDArray[Any], NDArray[Any]]]:
    """Yield the elements of both in pieces of equal length, whatever blocks they come in."""
    streams = (left.blocks(), right.blocks())
    rests: list[NDArray[Any]] = [np.empty(0), np.empty(0)]
    while True:
        for i, stream in enumerate(streams):
            while not rests[i].size:
                block = next(stream, None)
                if block is None:
                    return
                rests[i] = block
        size = min(rests[0].size, rests[1].size, PIECE_ELEMENTS)
        yield rests[0][:size], rests[1][:size]
        rests = [rest[size:] for rest in rests]


def _piece_difference(left: NDArray[Any], right: NDArray[Any]) -> ValueDifference:
    left, right = _known_to_numpy(left), _known_to_numpy(right)
    nans = [np.isnan(side) if side.dtype.kind in "fc" else np.zeros(side.shape, bool) for side in (left, right)]
    in_both, in_one = nans[0] & nans[1], nans[0] ^ nans[1]
    differ = (left != right) & ~in_both
    comparable = differ & ~in_one
    largest = _largest(left[comparable], right[comparable]) if comparable.any() else 0
    return ValueDifference(left.size, int(differ.sum()), largest, int(in_both.sum()), int(in_one.sum()))


def _known_to_numpy(block: NDArray[Any]) -> NDArray[Any]:
    """Return bfloat16 and float8 as float32, which has all of their values."""
    dtype = DTYPES.get(block.dtype.name)
    return block.astype(np.float32) if dtype is not None and dtype.numpy is None else block


def _largest(left: NDArray[Any], right: NDArray[Any]) -> float:
    """Return the largest absolute difference, exact for integers."""
    if left.dtype.kind in "biu" and right.dtype.kind in "biu":
        common = np.result_type(left, right, np.int8)
        if common.kind != "f":  # of uint64 and a signed dtype
            high, low = np.maximum(left, right, dtype=common), np.minimum(left, right, dtype=common)
            return int((high.astype(np.uint64) - low.astype(np.uint64)).max())
    wide = np.complex128 if "c" in (left.dtype.kind, right.dtype.kind) else np.float64
    return float(np.abs(left.astype(wide) - right.astype(wide)).max())


def _one_of_many(path: str) -> ConfigError:
    return ConfigError(
        f"{path}: expected a wheel with several records, like the other one, found one file\n"
        "  Name the record in the wheel: package.whl/package/model.mpk"
    )


# In words


def diff_lines(difference: Difference, left: str, right: str) -> list[str]:
    """Return a line for each difference, and one that counts them."""
    lines = []
    for path, only in zip((left, right), difference.only, strict=True):
        lines += [f"only in {path}: {backticked(key)}: {described}" for key, described in only.items()]
    lines += [f"{backticked(tensor.key)}: {_differences(tensor)}" for tensor in difference.both if not tensor.equal]
    return [*lines, _summary(difference, left, right)]


def _differences(tensor: TensorDifference) -> str:
    found = []
    if tensor.shapes[0] != tensor.shapes[1]:
        found.append(f"shape {tensor.shapes[0]} / {tensor.shapes[1]}")
    if tensor.dtypes[0] != tensor.dtypes[1]:
        found.append("dtype {} / {}".format(*(backticked(dtype)[1:-1] for dtype in tensor.dtypes)))
    if tensor.fault is not None:
        found.append(f"cannot be compared: {tensor.fault}")
    if tensor.values is not None:
        found.append(_value_words(tensor.values))
    return "; ".join(found)


def _value_words(values: ValueDifference) -> str:
    if not values.differing:
        return "equal values"
    largest = f"{values.largest:,}" if isinstance(values.largest, int) else f"{values.largest:.3g}"
    words = f"{values.differing:,} of {values.elements:,} values differ"
    if values.differing > values.nan_in_one:
        words += f", by at most {largest}"
    return words + (f", {values.nan_in_one:,} NaN on one side only" if values.nan_in_one else "")


def _summary(difference: Difference, left: str, right: str) -> str:
    equal = [tensor for tensor in difference.both if tensor.equal]
    elements = sum(math.prod(tensor.shapes[0]) for tensor in equal)
    nans = sum(tensor.values.nan_in_both for tensor in equal if tensor.values)
    in_nans = f", {nans:,} of them NaN in both" if nans else ""
    told = f"equal: {counted(len(equal), 'tensor')}, {counted(elements, 'value')}{in_nans}"
    differ = len(difference.both) - len(equal)
    more = [f"different: {differ:,}"] if differ else []
    sides = zip((left, right), difference.only, strict=True)
    more += [f"only in {path}: {len(only):,}" for path, only in sides if only]
    return "; ".join([told, *more])
