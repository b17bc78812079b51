"""`.pt2` archives of torch.export: weights as raw members, described by JSON.

Knows `model_weights_config.json` (torch/export/pt2_archive). A weight that is pickled (`use_pickle`) cannot be read
without torch, and says so when it is asked for.
"""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any, Final

from hatch_wheelweights.checkpoint.rebuild import unsupported_dtype
from hatch_wheelweights.checkpoint.tensors import MAX_RANK, LazyTensor, Storage, broken_tensor, strided_tensor
from hatch_wheelweights.errors import CheckpointError
from wheelweights.dtypes import DTYPES
from wheelweights.errors import backticked

if TYPE_CHECKING:
    from hatch_wheelweights.checkpoint.zip import ZipArchive

__all__ = ["read"]

MAX_CONFIG: Final = 64 << 20
# torch/_export/serde/schema.py, ScalarType
_DTYPES: Final = {
    1: "uint8", 2: "int8", 3: "int16", 4: "int32", 5: "int64",
    6: "float16", 7: "float32", 8: "float64", 9: "complex32", 10: "complex64", 11: "complex128",
    12: "bool", 13: "bfloat16", 28: "uint16",
    29: "float8_e4m3fn", 30: "float8_e5m2", 31: "float8_e4m3fnuz", 32: "float8_e5m2fnuz", 33: "float8_e8m0fnu",
    34: "uint32", 35: "uint64",
}  # fmt: skip
_STRIDED: Final = 7
_FOLDER: Final = "data/weights/"
_SUFFIX: Final = "_weights_config.json"


def read(archive: ZipArchive, *, big_endian: bool) -> Any:
    """Return the weights of the exported program by name; of several programs, such dicts by the programs' names."""
    configs = [name for name in archive.members if name.startswith(_FOLDER) and name.endswith(_SUFFIX)]
    if not configs:
        raise CheckpointError(
            "expected a checkpoint, found an exported program without weights_config.json",
            remedy="Save it again with a torch of today, or save its weights: torch.save(program.state_dict, path)",
        )
    models = {name[len(_FOLDER) : -len(_SUFFIX)]: _weights(archive, name, big_endian=big_endian) for name in configs}
    return next(iter(models.values())) if len(models) == 1 else models


def _weights(archive: ZipArchive, name: str, *, big_endian: bool) -> dict[str, LazyTensor]:
    try:
        config = json.loads(archive.read(name, limit=MAX_CONFIG), object_pairs_hook=_without_duplicates)["config"]
        members: dict[str, Storage] = {}
        weights = {}
        for key, weight in config.items():
            member = f"{_FOLDER}{weight['path_name']}"
            if member not in members:
                members[member] = archive.storage(member, big_endian=big_endian)
            weights[key] = _weight(weight, members[member])
    except CheckpointError:
        raise
    except (AttributeError, KeyError, LookupError, TypeError, ValueError, RecursionError) as error:
        raise CheckpointError(
            f"malformed {backticked(name)}: {error!r:.80}", remedy="Save the program again with torch.export.save."
        ) from error
    return weights


def _without_duplicates(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    made = dict(pairs)
    if len(made) != len(pairs):
        raise ValueError("a key stands there twice")
    return made


def _weight(weight: dict[str, Any], storage: Storage) -> LazyTensor:
    meta = weight["tensor_meta"]
    dtype = _DTYPES.get(meta["dtype"], f"ScalarType {meta['dtype']}")
    shape, stride = _ints(meta["sizes"]), _ints(meta["strides"])
    if weight["use_pickle"] or meta["layout"] != _STRIDED:
        return _pickled(dtype, shape)
    if dtype not in DTYPES:
        return unsupported_dtype(dtype, shape)
    if storage.fault is None and storage.nbytes % DTYPES[dtype].itemsize:
        return broken_tensor(
            dtype, shape, CheckpointError(f"its storage has the wrong size: {storage.nbytes:,} bytes of {dtype}")
        )
    (offset,) = _ints([meta["storage_offset"]])
    return strided_tensor(storage, dtype, offset, shape, stride)


def _pickled(dtype: str, shape: tuple[int, ...]) -> LazyTensor:
    fault = CheckpointError(
        "is a tensor subclass, which only torch can read",
        remedy="Save the weights instead: torch.save(program.state_dict, path)",
    )
    return broken_tensor(dtype, shape, fault)


def _ints(values: list[dict[str, Any]]) -> tuple[int, ...]:
    numbers = tuple(value["as_int"] for value in values)
    if len(numbers) > MAX_RANK or any(type(number) is not int for number in numbers):
        raise ValueError("a size is not a whole number")
    return numbers
