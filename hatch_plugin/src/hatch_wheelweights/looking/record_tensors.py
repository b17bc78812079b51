"""The tensors of a record in the form that those of a checkpoint have, so that what reads one reads both.

They are checked while they are read: by the checksum that a record of ours has of each, and bools by their values.
"""

from __future__ import annotations

from functools import partial
from typing import TYPE_CHECKING, Any

import numpy as np

from hatch_wheelweights.checkpoint import LazyTensor
from hatch_wheelweights.checkpoint.files import PIECE_BYTES
from hatch_wheelweights.deflate import crc32
from wheelweights.dtypes import numpy_dtype
from wheelweights.record.faults import damaged
from wheelweights.record.mapping import check_bools

if TYPE_CHECKING:
    from collections.abc import Iterator

    from numpy.typing import NDArray

    from hatch_wheelweights.checkpoint import OpenFile
    from wheelweights import Record

__all__ = ["tensors_of_record"]


def tensors_of_record(record: Record, file: OpenFile | None = None) -> dict[str, LazyTensor]:
    """Return the tensors of a record by their keys; nothing is read yet.

    Where `file` is the record itself, they are read through its descriptor: then a file that is cut short meanwhile is
    an error. Else they are copied, piece by piece, from where the record has them, which is mostly a map.
    """
    return {key: _tensor(record, key, file) for key in record}


def _tensor(record: Record, key: str, file: OpenFile | None) -> LazyTensor:
    info = record.info(key)
    place = key if info.offset is None else info.offset
    read = partial(_blocks, record, key, file)
    return LazyTensor(info.dtype, info.shape, read, (record, place), key, path=record.path)


def _blocks(record: Record, key: str, file: OpenFile | None) -> Iterator[NDArray[Any]]:
    """Yield the elements; raise RecordError behind the last of them if they are not those that were written."""
    info = record.info(key)
    crc = 0
    for piece in _pieces(record, key, file):
        crc = crc32(piece, crc)
        if info.dtype == "bool":
            check_bools(piece, key, record.path)
        yield piece.view(numpy_dtype(info.dtype))
    if info.crc32 not in (None, crc):
        fact = f"damaged: expected CRC-32 {info.crc32:08x}, found {crc:08x}"
        raise damaged(fact, key, path=record.path, expected=info.crc32, found=crc)


def _pieces(record: Record, key: str, file: OpenFile | None) -> Iterator[NDArray[np.uint8]]:
    info = record.info(key)
    if file is not None and info.offset is not None:
        yield from file.pieces(info.offset, info.nbytes)
        return
    raw = record.raw(key)
    for start in range(0, raw.size, PIECE_BYTES):
        yield np.array(raw[start : start + PIECE_BYTES])  # a copy, at an address that is good for every dtype
