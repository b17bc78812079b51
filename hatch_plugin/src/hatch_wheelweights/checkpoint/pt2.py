"""`.pt2` archives of torch.export: weights as raw members, described by JSON.

Knows `model_weights_config.json` (torch/export/pt2_archive). A weight that is pickled (`use_pickle`) cannot be read
without torch: the error is raised only if the weight is read.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final

from hatch_wheelweights.checkpoint import dtypes, strict_json
from hatch_wheelweights.checkpoint.pytorch_zip import Pickled, byte_order_is_big
from hatch_wheelweights.checkpoint.tensors import MAX_RANK, LazyTensor, Storage, broken_tensor, strided_tensor
from hatch_wheelweights.errors import CheckpointError
from wheelweights.dtypes import DTYPES
from wheelweights.errors import backticked

if TYPE_CHECKING:
    from hatch_wheelweights.checkpoint.zip import ZipArchive

__all__ = ["read", "recognises"]

JSON_BYTES: Final = 24  # of memory for one of JSON, such as an empty list takes
MAX_CONFIG: Final = 64 << 20
_STRIDED: Final = 7  # torch/_export/serde/schema.py, Layout
_FOLDER: Final = "data/weights/"
_SUFFIX: Final = "_weights_config.json"


def recognises(archive: ZipArchive) -> bool:
    """Tell by the members that name the format: today's, or that of the first archives."""
    return "archive_format" in archive or "models/model.json" in archive


def read(archive: ZipArchive) -> Pickled:
    """Return the weights of the exported program by name; of several programs, such dicts by the programs' names."""
    if "data.pkl" in archive:
        raise CheckpointError(
            "an exported program and a checkpoint in one file", remedy="Save each in a file of its own."
        )
    big_endian = byte_order_is_big(archive)
    configs = [name for name in archive.members if name.startswith(_FOLDER) and name.endswith(_SUFFIX)]
    if not configs:
        raise CheckpointError(
            "expected a checkpoint, found an exported program without weights_config.json",
            remedy="Save it again with a current torch, or save its weights: torch.save(program.state_dict, path)",
        )
    models = {name[len(_FOLDER) : -len(_SUFFIX)]: _weights(archive, name, big_endian=big_endian) for name in configs}
    return Pickled(next(iter(models.values())) if len(models) == 1 else models, {}, [])


def _weights(archive: ZipArchive, name: str, *, big_endian: bool) -> dict[str, LazyTensor]:
    try:
        text = archive.read(name, limit=MAX_CONFIG)
        archive.account.charge(len(text) // 16, JSON_BYTES * len(text))
        config = strict_json.parsed(text)["config"]
        members: dict[str, Storage] = {}
        weights: dict[str, LazyTensor] = {}
        for key, weight in config.items():
            member = f"{_FOLDER}{weight['path_name']}"
            if member not in members:
                members[member] = archive.storage(member, big_endian=big_endian)
            weights[key] = _weight(weight, members[member])
    except CheckpointError:
        raise
    except (AttributeError, LookupError, TypeError, ValueError, RecursionError) as error:
        raise CheckpointError(
            f"malformed {backticked(name)}: {error!r:.80}", remedy="Save the program again with torch.export.save."
        ) from error
    return weights


def _weight(weight: dict[str, Any], storage: Storage) -> LazyTensor:
    meta = weight["tensor_meta"]
    dtype = dtypes.from_number(meta["dtype"])
    shape, stride = _ints(meta["sizes"]), _ints(meta["strides"])
    if weight["use_pickle"] or meta["layout"] != _STRIDED:
        return _pickled(dtype, shape)
    if dtype not in DTYPES:
        return broken_tensor(dtype, shape, dtypes.unsupported(dtype))
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
    if any(abs(number) >= 1 << 63 for number in numbers):
        raise ValueError("a size has more than 63 bits")
    return numbers
