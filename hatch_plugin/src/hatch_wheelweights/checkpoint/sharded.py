"""Sharded checkpoints: the `*.index.json` that transformers writes beside the shards.

Knows the index (`{"weight_map": {key: file}}`); the shards are read by whoever can read them.
"""

from __future__ import annotations

import json
from pathlib import Path, PurePosixPath
from typing import TYPE_CHECKING, Any, Final

from hatch_wheelweights.checkpoint.contents import Contents, naming
from hatch_wheelweights.errors import CheckpointError
from wheelweights.errors import backticked, listed, quoted

if TYPE_CHECKING:
    from collections.abc import Callable
    from mmap import mmap

    from hatch_wheelweights.checkpoint.tensors import LazyTensor

__all__ = ["read"]

MAX_INDEX: Final = 64 << 20
MAX_SHARDS: Final = 10_000


def read(path: Path, data: mmap, read_shard: Callable[[Path], Contents]) -> Contents:
    """Return the tensors of all shards in the order of the index; the shards lie in its folder, at or below it."""
    weight_map = _weight_map(data)
    names = dict.fromkeys(weight_map.values())
    if len(names) > MAX_SHARDS:
        raise CheckpointError(f"expected at most {MAX_SHARDS:,} shards, found {len(names):,}")
    shards = {name: _shard(path.parent / name, read_shard) for name in names}
    tree: dict[str, LazyTensor] = {}
    for key, name in weight_map.items():
        tensors = shards[name].tree
        if key not in tensors:
            raise CheckpointError(
                f"tensor {backticked(key)} is not in its shard {quoted(name)}",
                remedy="Get the index and the shards again.",
            )
        tree[key] = tensors[key]
    kinds = {shard.kind for shard in shards.values()}
    kind = "sharded-safetensors" if kinds == {"safetensors"} else "sharded-pytorch"
    return Contents(kind, tree, _warnings(weight_map, shards), files=(path, *(path.parent / name for name in names)))


def _weight_map(data: mmap) -> dict[str, str]:
    if len(data) > MAX_INDEX:
        raise CheckpointError(f"expected an index of shards of at most {MAX_INDEX:,} bytes, found {len(data):,}")
    try:
        index = json.loads(data[:], object_pairs_hook=_without_duplicates)
    except CheckpointError:
        raise
    except (ValueError, RecursionError) as error:
        raise CheckpointError(f"expected a checkpoint or an index of shards, found malformed JSON ({error})") from error
    weight_map = index.get("weight_map") if isinstance(index, dict) else None
    if (
        not isinstance(weight_map, dict)
        or not weight_map
        or not all(isinstance(name, str) for name in weight_map.values())
    ):
        raise CheckpointError(
            "expected a checkpoint or an index of shards, found JSON without `weight_map`",
            remedy="Give the checkpoint itself.",
        )
    for name in weight_map.values():
        _check_name(name)
    return weight_map


def _without_duplicates(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    made = dict(pairs)
    if len(made) != len(pairs):
        raise CheckpointError("the index of shards has a key twice", remedy="Correct the index.")
    return made


def _check_name(name: str) -> None:
    path = PurePosixPath(name)
    if path.is_absolute() or ".." in path.parts or "\\" in name or ":" in name or "\0" in name or not path.parts:
        raise CheckpointError(
            f"expected the name of a shard beside the index, found {quoted(name)}", remedy="Correct the index."
        )


def _shard(path: Path, read_shard: Callable[[Path], Contents]) -> Contents:
    with naming(str(path)):
        contents = read_shard(path)
        if not isinstance(contents.tree, dict) or not all(_is_tensor(value) for value in contents.tree.values()):
            raise CheckpointError(
                "expected a shard with tensors only, found something else", remedy="Get the shard again."
            )
    return contents


def _is_tensor(value: Any) -> bool:
    return hasattr(value, "blocks")


def _warnings(weight_map: dict[str, str], shards: dict[str, Contents]) -> tuple[str, ...]:
    unlisted = {key for shard in shards.values() for key in shard.tree} - weight_map.keys()
    extra = (f"the shards hold tensors that the index does not name: {listed(unlisted)}",) if unlisted else ()
    return tuple(warning for shard in shards.values() for warning in shard.warnings) + extra
