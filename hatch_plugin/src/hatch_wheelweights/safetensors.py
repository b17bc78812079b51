"""Writing a safetensors file: every tensor has its place before the first is read, then they are streamed.

Knows the format (https://github.com/huggingface/safetensors#format) and its limits; what reads it is
`checkpoint.safetensors`. The data begin with the widest dtypes, and tensors of equally wide ones follow each other by
their names, as the library writes them: so each lies at a multiple of its elements' size. The header names the tensors
in the order in which they are given.
"""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Final

import numpy as np

from hatch_wheelweights.checkpoint.dtypes import to_safetensors
from hatch_wheelweights.checkpoint.safetensors import HEADER_LENGTH, MAX_HEADER, METADATA
from hatch_wheelweights.errors import CheckpointError
from wheelweights.atomic import appearing_whole
from wheelweights.dtypes import DTYPES
from wheelweights.errors import backticked, listed, quoted

if TYPE_CHECKING:
    import os
    from collections.abc import Callable, Collection, Hashable, Iterator, Mapping
    from typing import BinaryIO

    from hatch_wheelweights.checkpoint import LazyTensor

__all__ = ["copies_of_ties", "write_safetensors"]

_CHUNK: Final = 1 << 19  # written while it is in the processor's cache
_ALIGNMENT: Final = 8  # of the data, and the widest element


def write_safetensors(
    path: str | os.PathLike[str],
    tensors: Mapping[str, LazyTensor],
    *,
    metadata: Mapping[str, str],
    complete: Callable[[], object],
    remedy: Callable[[Collection[str]], object],
) -> int:
    """Write tensors, by key, as a safetensors file; return its size in bytes.

    The file appears whole or not at all, and the same input gives the same bytes. Tensors are streamed; tied ones are
    read once and written under each of their keys, because the format has no ties. `complete` is called when all are
    written. Raises CheckpointError for dtypes that the format lacks (`remedy` tells what to do about the tensors of
    these keys), for keys that it cannot say, for a header that is too long, and for a tensor that delivers more or
    fewer bytes than it declared; RecordError, with the path, where the file cannot be written.
    """
    _require_dtypes(tensors, remedy)
    places = _places(tensors)
    header = _header(tensors, places, metadata)
    size = len(header) + sum(tensor.nbytes for tensor in tensors.values())
    with appearing_whole(path, size) as file:
        file.write(header)
        for group in sorted(_tied(tensors), key=lambda keys: min(places[key] for key in keys)):
            _write(file, group, tensors[group[0]], [len(header) + places[key] for key in group])
        complete()
    return size


def copies_of_ties(tensors: Mapping[str, LazyTensor]) -> dict[str, int]:
    """Return the bytes of each tensor that ties in its source spare: all but the first under each tie."""
    return {key: tensors[key].nbytes for group in _tied(tensors) for key in group[1:]}


def _tied(tensors: Mapping[str, LazyTensor]) -> list[list[str]]:
    """Return the keys, those of tensors with the same bytes together."""
    groups: dict[Hashable, list[str]] = {}
    for key, tensor in tensors.items():
        groups.setdefault((tensor.tie, tensor.dtype, tensor.shape), []).append(key)
    return list(groups.values())


# The plan


def _require_dtypes(tensors: Mapping[str, LazyTensor], remedy: Callable[[Collection[str]], object]) -> None:
    lacking = {key: tensor.dtype for key, tensor in tensors.items() if to_safetensors(tensor.dtype) is None}
    if lacking:
        found = listed(dict.fromkeys(lacking.values()))
        fact = f"expected dtypes that safetensors has, found {found} in {listed(lacking)}"
        raise CheckpointError(fact, found=tuple(lacking), remedy=remedy(lacking))


def _places(tensors: Mapping[str, LazyTensor]) -> dict[str, int]:
    """Return where each tensor begins in the data, in the order in which they lie there."""
    places: dict[str, int] = {}
    position = 0
    for key in sorted(tensors, key=lambda key: (-DTYPES[tensors[key].dtype].itemsize, key)):
        places[key] = position
        position += tensors[key].nbytes
    return places


def _header(tensors: Mapping[str, LazyTensor], places: Mapping[str, int], metadata: Mapping[str, str]) -> bytes:
    """Return the header with its length in front, filled up with spaces."""
    for key in tensors:
        _check_key(key)
    entries = {
        key: {
            "dtype": to_safetensors(tensor.dtype),
            "shape": tensor.shape,
            "data_offsets": (places[key], places[key] + tensor.nbytes),
        }
        for key, tensor in tensors.items()
    }
    described: dict[str, object] = {METADATA: dict(metadata), **entries}
    try:
        text = json.dumps(described, ensure_ascii=False, separators=(",", ":")).encode()
    except UnicodeEncodeError as error:  # keys have been checked
        raise CheckpointError("expected valid Unicode as metadata of a safetensors file, found other text") from error
    text += b" " * (-len(text) % _ALIGNMENT)
    if len(text) > MAX_HEADER:
        raise CheckpointError(
            f"expected names and metadata of at most {MAX_HEADER:,} bytes, found {len(text):,}",
            expected=MAX_HEADER,
            found=len(text),
        )
    return len(text).to_bytes(HEADER_LENGTH, "little") + text


def _check_key(key: str) -> None:
    try:
        key.encode()
    except UnicodeEncodeError as error:
        raise CheckpointError(f"expected valid Unicode as a key, found {quoted(key)}") from error
    if key == METADATA:
        raise CheckpointError(
            f"expected other keys than {backticked(METADATA)}, which safetensors has for itself", key=key
        )


# The tensors


def _write(file: BinaryIO, keys: list[str], tensor: LazyTensor, positions: list[int]) -> None:
    """Write the bytes of a tensor at each of these positions."""
    written = 0
    for chunk in _chunks(tensor, keys[0]):
        written += chunk.nbytes
        if written > tensor.nbytes:
            break
        for position in positions:
            begin = position + written - chunk.nbytes
            if file.tell() != begin:
                file.seek(begin)
            file.write(chunk)
    if written != tensor.nbytes:
        delivered = "more" if written > tensor.nbytes else f"{written:,}"
        raise CheckpointError(
            f"expected {tensor.nbytes:,} bytes of dtype and shape, the tensor delivered {delivered}",
            key=keys[0],
            expected=tensor.nbytes,
            found=written,
        )


def _chunks(tensor: LazyTensor, key: str) -> Iterator[memoryview]:
    """Yield the bytes of a tensor; where it cannot be read, the fault is not that of the file being written."""
    try:
        for block in tensor.blocks():
            raw = np.ascontiguousarray(block).reshape(-1).view(np.uint8).data
            for start in range(0, raw.nbytes, _CHUNK):
                yield raw[start : start + _CHUNK]
    except OSError as error:
        raise CheckpointError(f"cannot be read: {error.strerror or error}", key=key) from error
