"""safetensors: the header -> lazy tensors.

Knows the format (https://github.com/huggingface/safetensors#format) and refuses more than its library does: duplicate
keys, and anything else that two readers could understand differently. Names are data: they are never used as paths.
"""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Any, Final, NamedTuple, TypeGuard

from hatch_wheelweights.checkpoint import dtypes, strict_json
from hatch_wheelweights.checkpoint.contents import Contents
from hatch_wheelweights.checkpoint.remedies import GET_AGAIN
from hatch_wheelweights.checkpoint.strides import contiguous_strides
from hatch_wheelweights.checkpoint.tensors import (
    MAX_RANK,
    LazyTensor,
    broken_tensor,
    stored,
    strided_tensor,
)
from hatch_wheelweights.checkpoint.values import is_dict, is_list
from hatch_wheelweights.errors import CheckpointError
from wheelweights.dtypes import DTYPES
from wheelweights.errors import backticked

if TYPE_CHECKING:
    from hatch_wheelweights.checkpoint.files import OpenFile

__all__ = ["HEADER_LENGTH", "MAX_HEADER", "METADATA", "read", "recognises"]

MAX_HEADER: Final = 100_000_000  # as in the library
HEADER_LENGTH: Final = 8  # bytes of the number that says how long the header is
METADATA: Final = "__metadata__"  # the key that is no tensor's

_AGAIN: Final = "Save the file again with safetensors: it is damaged, or it was made by hand."


class _Entry(NamedTuple):
    key: str
    dtype: str
    shape: tuple[int, ...]
    begin: int
    end: int


def recognises(data: OpenFile) -> bool:
    """Tell by the first nine bytes: a length, and the brace that opens the header."""
    return (
        len(data) > HEADER_LENGTH
        and data[HEADER_LENGTH : HEADER_LENGTH + 1] == b"{"
        and data[4:HEADER_LENGTH] == bytes(4)
    )


def read(opened: OpenFile) -> Contents:
    """Return the tensors of the file by name, in the order of the header."""
    data = opened
    header, start = _header(data)
    metadata = _metadata(header.pop(METADATA, {}))
    entries = [_entry(key, value) for key, value in header.items()]
    _check_offsets(entries, len(data) - start)
    tree = {entry.key: _tensor(data, start, entry) for entry in entries}
    return Contents("safetensors", tree, metadata=metadata, files=(opened,))


def _header(data: OpenFile) -> tuple[dict[str, Any], int]:
    size = int.from_bytes(data[:HEADER_LENGTH], "little")
    if size > MAX_HEADER or HEADER_LENGTH + size > len(data):
        raise CheckpointError(
            f"truncated: expected a header of {size:,} bytes, found {len(data) - HEADER_LENGTH:,} in the file "
            f"(at most {MAX_HEADER:,} are read)",
            remedy=GET_AGAIN,
        )
    try:
        header = strict_json.parsed(data[HEADER_LENGTH : HEADER_LENGTH + size].decode("utf-8"))
    except ValueError as error:
        raise CheckpointError(f"malformed safetensors header: {error}", remedy=_AGAIN) from error
    return header, HEADER_LENGTH + size


def _metadata(value: Any) -> dict[str, str]:
    if not is_dict(value) or not all(isinstance(text, str) for text in value.values()):
        raise CheckpointError(f"expected pairs of text as {backticked(METADATA)}, found something else", remedy=_AGAIN)
    return value


def _entry(key: str, value: Any) -> _Entry:
    if not is_dict(value) or value.keys() != {"dtype", "shape", "data_offsets"}:
        raise CheckpointError(
            "expected `dtype`, `shape` and `data_offsets` in the header, found something else", key=key, remedy=_AGAIN
        )
    shape, offsets = value["shape"], value["data_offsets"]
    dtype = _dtype(value["dtype"], key)
    if not _are_sizes(shape) or len(shape) > MAX_RANK or not _are_sizes(offsets) or len(offsets) != 2:
        raise CheckpointError(
            "expected whole numbers as shape and offsets, found something else", key=key, remedy=_AGAIN
        )
    bits, (begin, end) = math.prod(shape) * dtype.bits, offsets
    if bits % 8 or end - begin != bits // 8:
        raise CheckpointError(
            f"expected {_bytes_of(bits)} of dtype and shape, found {end - begin:,}",
            key=key,
            expected=bits // 8,
            found=end - begin,
            remedy=_AGAIN,
        )
    return _Entry(key, dtype.name, tuple(shape), begin, end)


def _dtype(name: Any, key: str) -> dtypes.StoredDtype:
    if not isinstance(name, str):
        raise CheckpointError(
            f"expected text as `dtype`, found {backticked(type(name).__name__)}", key=key, remedy=_AGAIN
        )
    dtype = dtypes.from_safetensors(name)
    if dtype is None:
        fault = dtypes.unsupported(name)
        fault.key = key
        raise fault
    return dtype


def _bytes_of(bits: int) -> str:
    """Return how many bytes that is: half a byte for an odd number of 4-bit values, no number for an absurd one."""
    if bits >= 1 << 63:
        return "more than 2**60 bytes"
    return f"{bits / 8:,.10g} bytes" if bits % 8 else f"{bits // 8:,} bytes"


def _are_sizes(values: Any) -> TypeGuard[list[int]]:
    return is_list(values) and all(type(value) is int and 0 <= value < 1 << 63 for value in values)


def _check_offsets(entries: list[_Entry], available: int) -> None:
    """Check that the tensors follow each other and fill the file: no holes, no overlap, nothing behind."""
    position = 0
    for entry in sorted(entries, key=lambda each: (each.begin, each.end)):
        if entry.begin != position:
            raise CheckpointError(
                f"expected to begin at byte {position:,} of the data, found {entry.begin:,}",
                key=entry.key,
                expected=position,
                found=entry.begin,
                remedy=_AGAIN,
            )
        position = entry.end
    if position != available:
        kind = "truncated" if position > available else "followed by other bytes"
        raise CheckpointError(
            f"{kind}: expected {position:,} bytes of data, found {available:,}",
            expected=position,
            found=available,
            remedy=GET_AGAIN,
        )


def _tensor(data: OpenFile, start: int, entry: _Entry) -> LazyTensor:
    if entry.dtype not in DTYPES:
        return broken_tensor(entry.dtype, entry.shape, dtypes.unsupported(entry.dtype)).named(entry.key)
    nbytes = entry.end - entry.begin
    storage = stored(data, start + entry.begin, nbytes)
    return strided_tensor(storage, entry.dtype, 0, entry.shape, contiguous_strides(entry.shape)).named(entry.key)
