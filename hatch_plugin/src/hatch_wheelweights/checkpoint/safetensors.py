"""safetensors: the header -> lazy tensors.

Knows the format (https://github.com/huggingface/safetensors#format) and refuses more than its library does: duplicate
keys, and whatever else two readers could understand differently. Names are data: they are never used as paths.
"""

from __future__ import annotations

import functools
import json
import math
from typing import TYPE_CHECKING, Any, Final, NamedTuple, NoReturn

import numpy as np

from hatch_wheelweights.checkpoint.contents import Contents
from hatch_wheelweights.checkpoint.tensors import (
    MAX_RANK,
    LazyTensor,
    Storage,
    broken_tensor,
    contiguous_strides,
    strided_tensor,
)
from hatch_wheelweights.errors import CheckpointError
from wheelweights.dtypes import DTYPES
from wheelweights.errors import backticked

if TYPE_CHECKING:
    from mmap import mmap

    from numpy.typing import NDArray

__all__ = ["is_safetensors", "read"]

MAX_HEADER: Final = 100_000_000  # as in the library
_HEADER_LENGTH: Final = 8

_DTYPES: Final = {
    "BOOL": "bool", "U8": "uint8", "U16": "uint16", "U32": "uint32", "U64": "uint64",
    "I8": "int8", "I16": "int16", "I32": "int32", "I64": "int64",
    "F16": "float16", "BF16": "bfloat16", "F32": "float32", "F64": "float64", "C64": "complex64",
    "F8_E4M3": "float8_e4m3fn", "F8_E4M3FNUZ": "float8_e4m3fnuz",
    "F8_E5M2": "float8_e5m2", "F8_E5M2FNUZ": "float8_e5m2fnuz", "F8_E8M0": "float8_e8m0fnu",
}  # fmt: skip
_BITS: Final = {name: DTYPES[dtype].itemsize * 8 for name, dtype in _DTYPES.items()} | {
    "F4": 4,
    "F6_E2M3": 6,
    "F6_E3M2": 6,
}

_AGAIN: Final = "Save the file again with safetensors: it is damaged, or it was made by hand."


class _Entry(NamedTuple):
    key: str
    dtype: str
    shape: tuple[int, ...]
    begin: int
    end: int


def is_safetensors(data: mmap) -> bool:
    """Tell by the first nine bytes: a length, and the brace that opens the header."""
    return (
        len(data) > _HEADER_LENGTH
        and data[_HEADER_LENGTH : _HEADER_LENGTH + 1] == b"{"
        and data[4:_HEADER_LENGTH] == bytes(4)
    )


def read(data: mmap) -> Contents:
    """Return the tensors of the file by name, in the order of the header."""
    header, start = _header(data)
    metadata = _metadata(header.pop("__metadata__", {}))
    entries = [_entry(key, value) for key, value in header.items()]
    _check_offsets(entries, len(data) - start)
    return Contents("safetensors", {entry.key: _tensor(data, start, entry) for entry in entries}, metadata=metadata)


def _header(data: mmap) -> tuple[dict[str, Any], int]:
    size = int.from_bytes(data[:_HEADER_LENGTH], "little")
    if size > MAX_HEADER or _HEADER_LENGTH + size > len(data):
        raise CheckpointError(
            f"truncated: expected a header of {size:,} bytes, found {len(data) - _HEADER_LENGTH:,} in the file "
            f"(at most {MAX_HEADER:,} are read)",
            remedy="Get the file again.",
        )
    try:
        header = json.loads(
            data[_HEADER_LENGTH : _HEADER_LENGTH + size].decode("utf-8"),
            object_pairs_hook=_without_duplicates,
            parse_constant=_no_constant,
        )
    except CheckpointError:
        raise
    except (ValueError, RecursionError, MemoryError) as error:
        raise CheckpointError(f"malformed safetensors header: {error}", remedy=_AGAIN) from error
    return header, _HEADER_LENGTH + size


def _without_duplicates(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    made = dict(pairs)
    if len(made) != len(pairs):
        seen: set[str] = set()
        twice = next(key for key, _ in pairs if key in seen or seen.add(key))  # type: ignore[func-returns-value]
        raise CheckpointError(f"the header has the key {backticked(twice)} twice", remedy=_AGAIN)
    return made


def _no_constant(name: str) -> NoReturn:
    raise ValueError(f"{name} is not a number that a header can have")


def _metadata(value: Any) -> dict[str, str]:
    if not isinstance(value, dict) or not all(isinstance(text, str) for text in value.values()):
        raise CheckpointError("expected pairs of text as `__metadata__`, found something else", remedy=_AGAIN)
    return value


def _entry(key: str, value: Any) -> _Entry:
    if not isinstance(value, dict) or value.keys() != {"dtype", "shape", "data_offsets"}:
        raise CheckpointError(
            "expected `dtype`, `shape` and `data_offsets` in the header, found something else", key=key, remedy=_AGAIN
        )
    dtype, shape, offsets = value["dtype"], value["shape"], value["data_offsets"]
    if not isinstance(dtype, str) or dtype not in _BITS:
        raise CheckpointError(
            f"expected a dtype that a record has, found {backticked(dtype)}",
            key=key,
            found=dtype,
            remedy="Convert the tensor before saving.",
        )
    if not _are_sizes(shape) or len(shape) > MAX_RANK or not _are_sizes(offsets) or len(offsets) != 2:
        raise CheckpointError(
            "expected whole numbers as shape and offsets, found something else", key=key, remedy=_AGAIN
        )
    bits, (begin, end) = math.prod(shape) * _BITS[dtype], offsets
    if bits % 8 or end - begin != bits // 8:
        raise CheckpointError(
            f"expected {_bytes_of(bits)} of dtype and shape, found {end - begin:,}",
            key=key,
            expected=bits // 8,
            found=end - begin,
            remedy=_AGAIN,
        )
    return _Entry(key, dtype, tuple(shape), begin, end)


def _bytes_of(bits: int) -> str:
    """Say how many bytes that is; half a byte is an odd number of 4-bit values, and a number without end is a lie."""
    if bits >= 1 << 63:
        return "more than 2**60 bytes"
    return f"{bits / 8:,.10g} bytes" if bits % 8 else f"{bits // 8:,} bytes"


def _are_sizes(values: Any) -> bool:
    return isinstance(values, list) and all(type(value) is int and 0 <= value < 1 << 63 for value in values)


def _check_offsets(entries: list[_Entry], available: int) -> None:
    """Check that the tensors lie one behind the other and fill the file: no holes, no overlap, nothing behind."""
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
            remedy="Get the file again.",
        )


def _tensor(data: mmap, start: int, entry: _Entry) -> LazyTensor:
    dtype = _DTYPES.get(entry.dtype)
    if dtype is None:
        fault = CheckpointError(
            f"expected a dtype that a record has, found {backticked(entry.dtype)}",
            found=entry.dtype,
            remedy="Convert the tensor to one of these before saving: " + ", ".join(DTYPES),
        )
        return broken_tensor(entry.dtype, entry.shape, fault).named(entry.key)
    nbytes = entry.end - entry.begin
    storage = Storage(nbytes, functools.partial(_bytes, data, start + entry.begin, nbytes))
    return strided_tensor(storage, dtype, 0, entry.shape, contiguous_strides(entry.shape)).named(entry.key)


def _bytes(data: mmap, start: int, size: int) -> NDArray[np.uint8]:
    return np.frombuffer(data, np.uint8, size, start)
