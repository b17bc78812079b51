"""torch's zip layout: `data.pkl` and one member for each storage (torch 1.4 and later).

Knows the members torch writes (torch/serialization.py, caffe2/serialize/inline_container.cc) and how a pickle refers
to them. Knows nothing of zip itself and nothing of tensors.
"""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Any, Final

from hatch_wheelweights.checkpoint import pickle
from hatch_wheelweights.checkpoint.allowed import find
from hatch_wheelweights.checkpoint.rebuild import TypedStorage, check_same_use, storage_reference, typed_storage
from hatch_wheelweights.errors import CheckpointError
from wheelweights.errors import quoted

if TYPE_CHECKING:
    from hatch_wheelweights.checkpoint.zip import ZipArchive

__all__ = ["byte_order_is_big", "read", "recognises"]

_KEY: Final = re.compile(r"[0-9A-Za-z_]{1,64}")


def recognises(archive: ZipArchive) -> bool:
    """Tell by the pickle."""
    return "data.pkl" in archive


def read(archive: ZipArchive) -> Any:
    """Return what the pickle of the archive holds. Its storages are members of `data`, or (torch 1.4) of `tensors`."""
    content = archive.read("data.pkl")
    folders = {name.partition("/")[0] for name in archive.members}
    folder = "tensors" if "tensors" in folders and "data" not in folders else "data"
    big_endian = byte_order_is_big(archive)
    storages: dict[str, TypedStorage] = {}

    def persistent_load(pid: Any) -> TypedStorage:
        dtype, key, numel, _ = storage_reference(pid)
        known = storages.get(key)
        if known is None:
            storage = archive.storage(f"{folder}/{_checked(key)}", big_endian=big_endian)
            known = storages[key] = typed_storage(storage, dtype, numel)
        check_same_use(key, (known.dtype, known.shape[0]), (dtype, max(numel, 0)))
        return known

    where = f"{archive.root}/data.pkl"
    tree, end = pickle.load(content, find=find, persistent_load=persistent_load, where=where)
    if end != len(content):
        raise CheckpointError(f"{len(content) - end:,} bytes follow the pickle in {where}")
    return tree


def _checked(key: str) -> str:
    if not _KEY.fullmatch(key):
        raise CheckpointError(f"expected letters and digits as the key of a storage, found {quoted(key)}")
    return key


def byte_order_is_big(archive: ZipArchive) -> bool:
    """Tell whether the storages are big-endian; files before torch 2.1 do not say, and are little-endian."""
    if "byteorder" not in archive:
        return False
    order = archive.read("byteorder", limit=1024)
    if order not in (b"little", b"big"):
        raise CheckpointError(f"expected byteorder little or big, found {quoted(order)}")
    return order == b"big"
