"""torch's zip layout: `data.pkl` and one member for each storage (torch 1.4 and later).

Knows the members torch writes (torch/serialization.py, caffe2/serialize/inline_container.cc) and how a pickle refers
to them. Knows nothing of zip itself and nothing of tensors.
"""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Any, Final, NamedTuple

from hatch_wheelweights.checkpoint import pickle
from hatch_wheelweights.checkpoint.allowed import find
from hatch_wheelweights.checkpoint.module_classes import ModuleClasses, no_classes
from hatch_wheelweights.checkpoint.rebuild import (
    TypedStorage,
    check_same_use,
    numbered_key,
    storage_reference,
    typed_storage,
)
from hatch_wheelweights.checkpoint.remedies import DOUBTFUL
from hatch_wheelweights.errors import CheckpointError
from wheelweights.errors import quoted

if TYPE_CHECKING:
    from hatch_wheelweights.checkpoint.tensors import Storage
    from hatch_wheelweights.checkpoint.zip import ZipArchive

__all__ = ["Pickled", "byte_order_is_big", "read", "read_pickle", "recognises"]

VERSIONS: Final = range(1, 11)  # caffe2/serialize/versions.h
_VERSION: Final = re.compile(rb"([0-9]{1,2})\n?")
_KEY: Final = re.compile(r"[0-9A-Za-z_]{1,64}")


def recognises(archive: ZipArchive) -> bool:
    """Tell by the pickle."""
    return "data.pkl" in archive


class Pickled(NamedTuple):
    """What a pickle of an archive holds, the storages that it refers to, and the members that are others.

    `module_classes` gives what the archive says of modules besides the pickle.
    """

    tree: Any
    storages: dict[str, Storage]
    unused: list[str]
    module_classes: ModuleClasses = no_classes


def read(archive: ZipArchive) -> Pickled:
    """Return what the pickle of the archive holds. Its storages are members of `data`, or (torch 1.4) of `tensors`."""
    _check_version(archive)
    folders = {name.partition("/")[0] for name in archive.members}
    return read_pickle(archive, "data.pkl", "tensors" if "tensors" in folders and "data" not in folders else "data")


def read_pickle(archive: ZipArchive, name: str, folder: str) -> Pickled:
    """Return what a pickle of the archive holds, whose storages are members of a folder."""
    content = archive.read(name)
    big_endian = byte_order_is_big(archive)
    lengths = (5, 6) if "constants.pkl" in archive else (5,)  # torch.jit.save of torch 1.4 writes a sixth part, None
    storages: dict[str, TypedStorage] = {}

    def persistent_load(pid: Any) -> TypedStorage:
        dtype, key, numel, view = storage_reference(pid, lengths, numbered_key)
        if view is not None:
            raise CheckpointError("a storage in a zip file is a view of another")
        known = storages.get(key)
        if known is None:
            storage = archive.storage(f"{folder}/{_checked(key)}", big_endian=big_endian)
            known = storages[key] = typed_storage(storage, dtype, numel)
        else:
            check_same_use(key, (known.dtype, known.shape[0]), (dtype, numel))
        return known

    where = f"{archive.root}/{name}"
    tree, end = pickle.load(content, find=find, persistent_load=persistent_load, where=where, account=archive.account)
    if end != len(content):
        raise CheckpointError(f"{len(content) - end:,} bytes follow the pickle in {where}")
    named = {f"{folder}/{key}": known.storage for key, known in storages.items()}
    unused = [name for name, member in archive.members.items() if _is_unused(name, folder, named) and member.size]
    return Pickled(tree, named, unused)


def _is_unused(name: str, folder: str, named: dict[str, Storage]) -> bool:
    return name.startswith(f"{folder}/") and name not in named


def _checked(key: str) -> str:
    if not _KEY.fullmatch(key):
        raise CheckpointError(f"expected letters and digits as the key of a storage, found {quoted(key)}")
    return key


def _check_version(archive: ZipArchive) -> None:
    """Check what the small members say of the archive; torch writes some of them since 1.13, 2.1 and 2.6."""
    version = _small(archive, ".data/version") or _small(archive, "version")
    found = _VERSION.fullmatch(version or b"")
    if not found or int(found[1]) not in VERSIONS:
        raise CheckpointError(
            f"expected version {VERSIONS[0]} to {VERSIONS[-1]} of torch's zip format, "
            f"found {'none' if version is None else quoted(version)}",
            remedy=DOUBTFUL,
        )
    alignment = _small(archive, ".storage_alignment")
    if alignment is not None and not re.fullmatch(rb"[0-9]{1,9}", alignment):
        raise CheckpointError(f"expected a number as .storage_alignment, found {quoted(alignment)}", remedy=DOUBTFUL)
    _small(archive, ".format_version")
    if not (_small(archive, ".data/serialization_id") or b"").isascii():
        raise CheckpointError("expected text as .data/serialization_id, found other bytes", remedy=DOUBTFUL)


def _small(archive: ZipArchive, name: str) -> bytes | None:
    """Return a member of a few bytes, checked; None where there is none."""
    return archive.read(name, limit=1024) if name in archive else None


def byte_order_is_big(archive: ZipArchive) -> bool:
    """Tell whether the storages are big-endian; files before torch 2.1 do not say, and are little-endian."""
    order = _small(archive, "byteorder")
    if order is None:
        return False
    if order not in (b"little", b"big"):
        raise CheckpointError(f"expected byteorder little or big, found {quoted(order)}")
    return order == b"big"
