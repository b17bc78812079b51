"""Two files compared: keys, dtypes, shapes, and every value.

Tensors are equal if they have the same shape, dtype and values, where NaN equals NaN. Both files are read a block at a
time. Whatever else the files hold is not compared. How a difference is said is in `words`.
"""

from __future__ import annotations

import functools
from collections.abc import Mapping
from contextlib import ExitStack
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any, Final, TypeAlias

import numpy as np

from hatch_wheelweights.checkpoint import LazyTensor
from hatch_wheelweights.errors import ConfigError, Fault
from hatch_wheelweights.looking.files import open_file, part_of_record, require_checkpoint
from hatch_wheelweights.looking.wheels import Wheel
from hatch_wheelweights.opening import Checkpoint
from wheelweights import Record
from wheelweights.dtypes import DTYPES
from wheelweights.errors import WheelweightsError

if TYPE_CHECKING:
    from collections.abc import Hashable, Iterator

    from numpy.typing import NDArray

    from hatch_wheelweights.looking.files import AnyFile
    from hatch_wheelweights.options.model import TensorOptions

__all__ = ["Difference", "Outline", "TensorDifference", "ValueDifference", "diff_files"]

PIECE_ELEMENTS: Final = 1 << 20

Tensors: TypeAlias = Mapping[str, LazyTensor]


@dataclass(frozen=True)
class Outline:
    """What there is to know of a tensor before its values are read."""

    dtype: str
    shape: tuple[int, ...]


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
    """A key that is in both files, and how its tensors differ.

    `values` is None if the shapes differ, and if a tensor cannot be read: then `fault` is the reason, a text that may
    name options.
    """

    key: str
    sides: tuple[Outline, Outline]
    values: ValueDifference | None = None
    fault: object = None

    @property
    def equal(self) -> bool:
        """Whether dtypes, shapes and all values are equal."""
        left, right = self.sides
        return left == right and self.values is not None and not self.values.differing


@dataclass(frozen=True)
class Difference:
    """Two files: the keys that are in one of them only, and every key that is in both.

    `part_of` are the distributions of records that are parts of one; None for other files.
    """

    paths: tuple[str, str]
    only: tuple[Mapping[str, Outline], Mapping[str, Outline]]
    both: tuple[TensorDifference, ...]
    part_of: tuple[str | None, str | None] = (None, None)

    @property
    def equal(self) -> bool:
        """Whether both hold the same tensors."""
        return not any(self.only) and all(tensor.equal for tensor in self.both)


def diff_files(left: str, right: str, options: TensorOptions) -> Difference:
    """Compare two files; `options` are those of a conversion and apply to checkpoints.

    A record whose tensors are in distributions of their own has nothing to compare: it raises RecordError.

    The tensors of wheels are told apart by their record's place in the wheel, unless both wheels have just one. Raises
    WheelweightsError for a file that cannot be opened. A tensor that cannot be read differs.
    """
    paths = (left, right)
    with ExitStack() as opened:
        files = [_opened(path, opened) for path in paths]
        require_checkpoint(options, *files)
        by_place = any(isinstance(file, Wheel) and len(file.records) > 1 for file in files)
        ours, theirs = (_tensors(*pair, options, by_place=by_place) for pair in zip(paths, files, strict=True))
        both = tuple(_all_compared(ours, theirs))
        left_part, right_part = (part_of_record(file) if isinstance(file, Record) else None for file in files)
        return Difference(paths, (_only_in(ours, theirs), _only_in(theirs, ours)), both, (left_part, right_part))


# The tensors of a file


def _opened(path: str, opened: ExitStack) -> AnyFile:
    """Open a file and let the stack close it."""
    file = open_file(path, index=False)
    opened.enter_context(file)
    return file


def _tensors(path: str, file: AnyFile, options: TensorOptions, *, by_place: bool) -> Tensors:
    if isinstance(file, Wheel):
        found: dict[str, LazyTensor] = {}
        for name in file.records:
            found |= _of_record(file.open(name, index=False), f"{name}: " if by_place else "")
        return found
    if by_place:
        fact = "expected a wheel with several records, like the other one, found one file"
        remedy = "Name the record in the wheel: package.whl/package/model.mpk"
        raise ConfigError(Fault(None, fact, remedy=remedy), path=path)
    return file.tensors(options) if isinstance(file, Checkpoint) else _of_record(file, "")


def _of_record(record: Record, prefix: str) -> dict[str, LazyTensor]:
    """Return the tensors of a record in the form that those of a checkpoint have."""
    found: dict[str, LazyTensor] = {}
    for key in record:
        info = record.info(key)
        tie = (record, info.offset or key)
        found[prefix + key] = LazyTensor(info.dtype, info.shape, functools.partial(_blocks, record, key), tie)
    return found


def _blocks(record: Record, key: str) -> Iterator[NDArray[Any]]:
    yield record[key].reshape(-1)


def _outline(tensor: LazyTensor) -> Outline:
    return Outline(tensor.dtype, tensor.shape)


def _only_in(these: Tensors, others: Tensors) -> dict[str, Outline]:
    return {key: _outline(tensor) for key, tensor in these.items() if key not in others}


# Their values


def _all_compared(ours: Tensors, theirs: Tensors) -> Iterator[TensorDifference]:
    """Compare the tensors under every key that both have; those of keys that are tied in both files, once."""
    known: dict[Hashable, TensorDifference] = {}
    for key in ours:
        if key not in theirs:
            continue
        left, right = ours[key], theirs[key]
        same = (left.tie, _outline(left), right.tie, _outline(right))
        found = known.get(same)
        found = known[same] = _compared(key, left, right) if found is None else replace(found, key=key)
        yield found


def _compared(key: str, left: LazyTensor, right: LazyTensor) -> TensorDifference:
    values = fault = None
    if left.shape == right.shape:
        try:
            values = _value_difference(left, right)
        except WheelweightsError as error:
            fault = error.fact
    return TensorDifference(key, (_outline(left), _outline(right)), values, fault)


def _value_difference(left: LazyTensor, right: LazyTensor) -> ValueDifference:
    total = ValueDifference()
    with np.errstate(all="ignore"):
        for pieces in _pieces(left, right):
            total = total.plus(_piece_difference(*pieces))
    return total


def _pieces(left: LazyTensor, right: LazyTensor) -> Iterator[tuple[NDArray[Any], NDArray[Any]]]:
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
        if common.kind != "f":  # as it is for uint64 and a signed dtype
            high, low = np.maximum(left, right, dtype=common), np.minimum(left, right, dtype=common)
            return int((high.astype(np.uint64) - low.astype(np.uint64)).max())
    wide = np.complex128 if "c" in (left.dtype.kind, right.dtype.kind) else np.float64
    return float(np.abs(left.astype(wide) - right.astype(wide)).max())
