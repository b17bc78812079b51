"""Sharded checkpoints: the `*.index.json` that transformers writes beside the shards.

Knows the index (`{"weight_map": {key: file}}`) and what a shard may hold; how a shard is read, the caller tells.
"""

from __future__ import annotations

import contextlib
import re
from pathlib import PurePosixPath
from typing import TYPE_CHECKING, Any, Final

from hatch_wheelweights.checkpoint import strict_json
from hatch_wheelweights.checkpoint.absent import fetching
from hatch_wheelweights.checkpoint.contents import Contents, naming
from hatch_wheelweights.checkpoint.foreign import name_another
from hatch_wheelweights.checkpoint.nodes import described
from hatch_wheelweights.checkpoint.tensors import LazyTensor
from hatch_wheelweights.checkpoint.values import Ordered, is_dict
from hatch_wheelweights.errors import CheckpointError
from wheelweights.errors import backticked, counted, listed, quoted

if TYPE_CHECKING:
    from collections.abc import Callable, Collection, Hashable, Iterable, Iterator
    from pathlib import Path

    from hatch_wheelweights.checkpoint.cost import Account
    from hatch_wheelweights.checkpoint.files import OpenFile

__all__ = ["read", "recognises", "refuse", "warning_of_name"]

MAX_INDEX: Final = 64 << 20
MAX_SHARDS: Final = 10_000
STEPS_PER_SHARD: Final = 200
BYTES_PER_VALUE: Final = 100
_HEAD_BYTES: Final = 64
_SHARD_NAME: Final = re.compile(r"[-_.]([0-9]{1,9})-of-([0-9]{1,9})\.\w+\Z", re.ASCII)


def recognises(data: OpenFile) -> bool:
    """Tell by the brace that opens a JSON object."""
    return data[:_HEAD_BYTES].lstrip().startswith(b"{")


def read(opened: OpenFile, read_shard: Callable[[Path], Contents]) -> Contents:
    """Return what the index names, in its order, and then what the shards hold besides tensors, as one dict.

    The shards are in the folder of the index, or below it. The attributes of the dict are, by the name of a shard, what
    there is no key for: the attributes of its own dict, and values under a key that is taken.
    """
    weight_map = _weight_map(opened)
    names = dict.fromkeys(weight_map.values())
    if len(names) > MAX_SHARDS:
        raise CheckpointError(f"expected at most {MAX_SHARDS:,} shards, found {len(names):,}")
    opened.account.charge(STEPS_PER_SHARD * len(names))
    _require_all(opened.path, names)
    with contextlib.ExitStack() as closing:
        by_file: dict[Hashable, Contents] = {}
        shards: dict[str, Contents] = {}
        for name in names:
            path = opened.path.parent / name
            file = _file(path)
            if file not in by_file:
                by_file[file] = _shard(path, read_shard, closing)
            shards[name] = by_file[file]
        by_name = {id(shard): (name, shard) for name, shard in shards.items()}.values()  # one can have several names
        tree = Ordered((key, _value(shards[name], key, name)) for key, name in weight_map.items())
        tree.attributes = dict(_beside(tree, by_name, opened.account)) or None
        closing.pop_all()
    kinds = {shard.kind for shard in shards.values()}
    kind = "sharded-safetensors" if kinds == {"safetensors"} else "sharded-pytorch"
    files = (opened, *(file for shard in by_file.values() for file in shard.files))
    storages = {f"{name}: {key}": storage for name, shard in by_name for key, storage in shard.storages.items()}
    return Contents(kind, tree, _warnings(weight_map, shards), storages=storages, files=files)


def warning_of_name(name: str) -> str | None:
    """Return a warning if a file is by its name one of several shards (`model-00001-of-00002.safetensors`)."""
    found = _SHARD_NAME.search(name)
    if found is None or int(found[2]) < 2:
        return None
    fact = f"by its name it is shard {int(found[1]):,} of {int(found[2]):,}, which have the other tensors"
    return f"{fact}: give the index.json beside it"


def refuse(_: OpenFile) -> Contents:
    """Raise CheckpointError for an index among the shards: indexes that name each other would never end."""
    raise CheckpointError("expected a shard, found another index of shards")


def _weight_map(data: OpenFile) -> dict[str, str]:
    """Return the file of each tensor, which an index says."""
    if len(data) > MAX_INDEX:
        raise CheckpointError(f"expected an index of shards of at most {MAX_INDEX:,} bytes, found {len(data):,}")
    try:
        index = strict_json.parsed(data[:])
    except ValueError as error:
        raise CheckpointError(f"expected a checkpoint or an index of shards, found malformed JSON ({error})") from error
    weight_map = index.get("weight_map") if is_dict(index) else None
    if not is_dict(weight_map) or not weight_map or not all(isinstance(name, str) for name in weight_map.values()):
        raise CheckpointError(
            "expected a checkpoint or an index of shards, found JSON without `weight_map`",
            remedy=name_another(data.path) or "Give the checkpoint itself.",
        )
    for name in weight_map.values():
        _check_name(name)
    return weight_map


def _check_name(name: str) -> None:
    path = PurePosixPath(name)
    if path.is_absolute() or ".." in path.parts or "\\" in name or ":" in name or "\0" in name or not path.parts:
        raise CheckpointError(
            f"expected the name of a shard beside the index, found {quoted(name)}", remedy="Correct the index."
        )


def _require_all(index: Path, names: Collection[str]) -> None:
    """Raise CheckpointError where shards are missing, unless something tells where they are kept."""
    missing = [name for name in names if _is_missing(index.parent / name)]
    if missing:
        raise CheckpointError(
            f"expected the {counted(len(names), 'shard')} that it names, found {len(names) - len(missing):,}",
            found=tuple(missing),
            details=[f"Missing: {listed(missing)}."],
            remedy="Get these files as well: a shard holds a part of the tensors.",
        )


def _is_missing(path: Path) -> bool:
    try:
        path.lstat()
    except (FileNotFoundError, NotADirectoryError):
        return fetching(path, path.name) is None
    except (OSError, ValueError):  # opening it says what is wrong
        return False
    return False


def _file(path: Path) -> Hashable:
    """Return what tells a file from others, however its name is spelt."""
    try:
        found = path.stat()
    except (OSError, ValueError):  # opening it says what is wrong
        return path
    return found.st_dev, found.st_ino


def _shard(path: Path, read_shard: Callable[[Path], Contents], closing: contextlib.ExitStack) -> Contents:
    """Return what a shard holds; `closing` closes it if a later shard cannot be read."""
    with naming(str(path)):
        contents = read_shard(path)
        for file in contents.files:
            closing.callback(file.close)
        if not is_dict(contents.tree):
            raise CheckpointError(
                f"expected a dict of tensors as a shard, found {described(contents.tree)}",
                remedy="Save the shards again with save_pretrained.",
            )
    return contents


def _value(shard: Contents, key: str, name: str) -> Any:
    if key not in shard.tree:
        raise CheckpointError(
            f"tensor {backticked(key)} is not in its shard {quoted(name)}",
            remedy="Get the index and the shards again.",
        )
    return shard.tree[key]


def _beside(
    tree: Ordered, shards: Iterable[tuple[str, Contents]], account: Account
) -> Iterator[tuple[str, list[dict[Any, Any]]]]:
    """Add to the tree what the shards hold besides tensors; yield, for each shard, what there is no key for."""
    for name, shard in shards:
        account.charge(len(shard.tree), BYTES_PER_VALUE * len(shard.tree))
        others = {key: value for key, value in shard.tree.items() if not isinstance(value, LazyTensor)}
        taken = {key: value for key, value in others.items() if key in tree and tree[key] is not value}
        tree.update((key, value) for key, value in others.items() if key not in tree)
        given = shard.tree.attributes if isinstance(shard.tree, Ordered) else None
        if given or taken:
            yield name, [part for part in (given, taken) if part]


def _warnings(weight_map: dict[str, str], shards: dict[str, Contents]) -> tuple[str, ...]:
    read = {id(shard): shard for shard in shards.values()}.values()
    tensors = {key for shard in read for key, value in shard.tree.items() if isinstance(value, LazyTensor)}
    unlisted = tensors - weight_map.keys()
    extra = (f"the shards hold tensors that the index does not name: {listed(unlisted)}",) if unlisted else ()
    return tuple(warning for shard in read for warning in shard.warnings) + extra
