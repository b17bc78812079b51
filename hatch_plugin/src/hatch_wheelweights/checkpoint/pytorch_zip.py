"""torch's zip layout: `data.pkl` and one member a storage (torch 1.4 and later), and what is built on it.

Knows the members torch writes (torch/serialization.py, caffe2/serialize/inline_container.cc) and how a pickle refers
to them. Knows nothing of zip itself and nothing of tensors.
"""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Any, Final

from hatch_wheelweights.checkpoint import pickle, pt2, torchscript
from hatch_wheelweights.checkpoint.allowed import find
from hatch_wheelweights.checkpoint.contents import Contents
from hatch_wheelweights.checkpoint.rebuild import TypedStorage, storage_reference, typed_storage
from hatch_wheelweights.errors import CheckpointError
from wheelweights.errors import backticked, quoted

if TYPE_CHECKING:
    from hatch_wheelweights.checkpoint.zip import ZipArchive

__all__ = ["zip_contents"]

_KEY: Final = re.compile(r"[0-9A-Za-z_]{1,64}")


def read_pickle(archive: ZipArchive) -> Any:
    """Return what the pickle of the archive holds. Its storages are members of `data`, or (torch 1.4) of `tensors`."""
    content = archive.read("data.pkl")
    folders = {name.partition("/")[0] for name in archive.members}
    folder = "tensors" if "tensors" in folders and "data" not in folders else "data"
    big_endian = byte_order_is_big(archive)
    storages: dict[str, TypedStorage] = {}

    def persistent_load(pid: Any) -> TypedStorage:
        dtype, key, numel, _ = storage_reference(pid)
        key = _key(key)
        known = storages.get(key)
        if known is None:
            storage = archive.storage(f"{folder}/{key}", big_endian=big_endian)
            known = storages[key] = typed_storage(storage, dtype, numel)
        elif known.dtype != dtype or known.shape != (max(numel, 0),):
            raise CheckpointError(f"storage {backticked(key)} is used with two dtypes or sizes")
        return known

    where = f"{archive.root}/data.pkl"
    tree, end = pickle.load(content, find=find, persistent_load=persistent_load, where=where)
    if end != len(content):
        raise CheckpointError(f"{len(content) - end:,} bytes follow the pickle in {where}")
    return tree


def _key(key: Any) -> str:
    text = str(key) if type(key) is int else key
    if not isinstance(text, str) or not _KEY.fullmatch(text):
        raise CheckpointError(f"expected letters and digits as the key of a storage, found {quoted(key)}")
    return text


def byte_order_is_big(archive: ZipArchive) -> bool:
    """Tell whether the storages are big-endian; files before torch 2.1 do not say, and are little-endian."""
    if "byteorder" not in archive:
        return False
    order = archive.read("byteorder", limit=1024)
    if order not in (b"little", b"big"):
        raise CheckpointError(f"expected byteorder little or big, found {quoted(order)}")
    return order == b"big"


def zip_contents(archive: ZipArchive) -> Contents:
    """Return what a zip archive of torch holds, whichever of its layouts it has."""
    warnings = ("the file has no checksums, so damage to it would go unnoticed",) if archive.unchecked else ()
    if "archive_format" in archive or "models/model.json" in archive:
        if "data.pkl" in archive:
            raise CheckpointError("an exported program and a checkpoint in one file", remedy="Save one of them.")
        return Contents("pytorch-export", pt2.read(archive, big_endian=byte_order_is_big(archive)), warnings)
    if "constants.pkl" in archive and "data.pkl" in archive:
        return Contents("torchscript", torchscript.read(archive, read_pickle(archive)), warnings)
    if "data.pkl" in archive:
        return Contents("pytorch-zip", read_pickle(archive), warnings)
    if "model.json" in archive:
        raise CheckpointError(
            "expected a checkpoint, found a TorchScript archive of torch 1.0 or 1.1",
            remedy="Load it with torch.jit.load in torch and save its state_dict: torch.save(model.state_dict(), path)",
        )
    raise CheckpointError(
        "expected a checkpoint, found a zip archive without data.pkl",
        remedy="If the checkpoint is inside the archive, unpack it and name the file itself.",
    )
