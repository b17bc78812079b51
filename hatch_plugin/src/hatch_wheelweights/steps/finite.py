"""The account of what is not finite in a record: NaN and infinities, counted while the tensors are read to be written.

Training that diverged leaves them in a checkpoint, and one NaN among the weights is enough to make every output NaN.
A record keeps them, as it keeps all values, and the conversion warns of them.

The check costs next to nothing beside reading. Read as integers of the same size, the finite values of a float dtype
come first, for either sign: two maxima of integers prove that a piece is finite. Only pieces that are not are counted.
"""

from __future__ import annotations

import functools
from dataclasses import dataclass, replace
from functools import partial
from typing import TYPE_CHECKING, Any, Final, NamedTuple

import numpy as np

from hatch_wheelweights.errors import EXCLUDE, Words
from wheelweights.dtypes import DTYPES
from wheelweights.errors import SHOWN_ITEMS, backticked, counted

if TYPE_CHECKING:
    from collections.abc import Hashable, Iterator, Mapping

    from numpy.typing import NDArray

    from hatch_wheelweights.checkpoint import LazyTensor
    from hatch_wheelweights.errors import Text

__all__ = ["NonFinite", "is_finite"]

PIECE_BYTES: Final = 1 << 19  # is still in the processor's cache when its checksum is computed and it is written

# The integer that follows that of the largest finite value; for the formats, see `wheelweights.dtypes.widen`
_FIRST: Final = {
    "float16": 0x7C00,
    "bfloat16": 0x7F80,
    "float32": 0x7F80_0000,
    "float64": 0x7FF0_0000_0000_0000,
    "complex64": 0x7F80_0000,  # of each part
    "complex128": 0x7FF0_0000_0000_0000,
    "float8_e4m3fn": 0x7F,
    "float8_e5m2": 0x7C,
    "float8_e4m3fnuz": 0x80,  # where others have a negative zero, this has its only NaN; it has no infinities
    "float8_e5m2fnuz": 0x80,
    "float8_e8m0fnu": 0xFF,  # has no signs
}


def is_finite(values: NDArray[Any], dtype: str) -> bool:
    """Tell whether flat, little-endian values of a dtype are all finite. Integers and bools are."""
    if dtype not in _FIRST or not values.size:
        return True
    signed, unsigned, first, sign = _codes(dtype)
    if first == sign:
        return int(np.minimum.reduce(values.view(signed))) > -sign
    last = int(np.maximum.reduce(values.view(unsigned)))  # that of a negative value, if there is one
    if last < first or first > sign:
        return last < first
    return last < first + sign and int(np.maximum.reduce(values.view(signed))) < first


class _Codes(NamedTuple):
    """How to read the values of a dtype as integers: `first` is that of `_FIRST`, `sign` the bit of the sign."""

    signed: np.dtype[Any]
    unsigned: np.dtype[Any]
    first: int
    sign: int


@functools.cache
def _codes(dtype: str) -> _Codes:
    size = DTYPES[dtype].itemsize // (2 if dtype.startswith("complex") else 1)
    return _Codes(np.dtype(f"<i{size}"), np.dtype(f"<u{size}"), _FIRST[dtype], 1 << 8 * size - 1)


@dataclass
class _Count:
    """What one tensor holds that is not finite."""

    nans: int = 0
    infinities: int = 0

    def add(self, values: NDArray[Any]) -> None:
        """Count values of any float or complex dtype: a complex number with an infinite part is infinite (C99, G.3)."""
        with np.errstate(invalid="ignore"):  # a signalling NaN of bfloat16 warns
            infinite, nan = np.isinf(values), np.isnan(values)
        self.infinities += int(np.count_nonzero(infinite))
        self.nans += int(np.count_nonzero(nan & ~infinite))

    def __str__(self) -> str:
        infinities = "1 infinity" if self.infinities == 1 else f"{self.infinities:,} infinities"
        parts = [f"{self.nans:,} NaN"] * (self.nans > 0) + [infinities] * (self.infinities > 0)
        return ", ".join(parts)


class NonFinite:
    """What tensors hold that is not finite, known of those that have been read to their end; tied ones count once."""

    def __init__(self) -> None:
        self._found: dict[Hashable, str] = {}  # by what ties a tensor to others: its key, and what it holds

    def watched(self, tensors: Mapping[str, LazyTensor]) -> dict[str, LazyTensor]:
        """Return the tensors, the values of which are counted whenever they are read in blocks; none is read now."""
        return {
            key: replace(tensor, read=partial(self._read, key, tensor), view=None) if tensor.dtype in _FIRST else tensor
            for key, tensor in tensors.items()
        }

    def warnings(self) -> list[Text]:
        """Return one warning of all tensors that hold such values: the first of them, and how many more there are."""
        if not self._found:
            return []
        count = len(self._found)
        shown = ", ".join(list(self._found.values())[:SHOWN_ITEMS])
        more = f" and {count - SHOWN_ITEMS:,} more" if count > SHOWN_ITEMS else ""
        fact = f"{counted(count, 'tensor')} {'holds' if count == 1 else 'hold'} values that are not finite: "
        return [Words(fact, shown, more, "; a mask that the model makes itself can be left out with ", EXCLUDE)]

    def _read(self, key: str, tensor: LazyTensor) -> Iterator[NDArray[Any]]:
        count: _Count | None = None
        step = PIECE_BYTES // DTYPES[tensor.dtype].itemsize
        # By `read`, not `blocks`: this is a part of the same reading, whose errors and progress are told there
        for block in tensor.read():
            for start in range(0, block.size, step):
                piece = block[start : start + step]
                if not is_finite(piece, tensor.dtype):
                    count = count or _Count()
                    count.add(piece)
                yield piece
        if count is not None:
            self._found.setdefault((tensor.tie, tensor.dtype, tensor.shape), f"{backticked(key)} ({count})")
