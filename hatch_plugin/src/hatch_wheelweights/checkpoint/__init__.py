"""The reading room: a checkpoint of any container -> a tree of values and lazy tensors.

`read` opens a file once and picks the reader by its content; its name tells no more than that it is one of several.
Nothing of a file is executed and no tensor is read until it is asked for. Knows no options.
"""

from __future__ import annotations

import re
import shlex
from dataclasses import replace
from typing import TYPE_CHECKING, Final, NamedTuple

from hatch_wheelweights.checkpoint import legacy, safetensors, sharded, tar, zip_layouts
from hatch_wheelweights.checkpoint.contents import Contents, naming
from hatch_wheelweights.checkpoint.cost import Account, collecting_later
from hatch_wheelweights.checkpoint.files import OpenFile, digest, open_file
from hatch_wheelweights.checkpoint.foreign import refuse_other
from hatch_wheelweights.checkpoint.nodes import Global, Opaque
from hatch_wheelweights.checkpoint.tensors import LazyTensor
from hatch_wheelweights.errors import CheckpointError, Run
from wheelweights.errors import printable
from wheelweights.formats import HEAD_BYTES, Format, format_of, what_it_is, what_to_do

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence
    from pathlib import Path

__all__ = [
    "READERS",
    "Account",
    "Contents",
    "Global",
    "LazyTensor",
    "Opaque",
    "OpenFile",
    "Reader",
    "collecting_later",
    "digest",
    "naming",
    "read",
]

_LFS_POINTER_BYTES: Final = 1024
_BARE_PICKLE: Final = (b"\x80", b"(", b"]", b"}")


class Reader(NamedTuple):
    """A container: what it is called here, whether data are one, and what a file of it holds."""

    name: str
    recognises: Callable[[OpenFile], bool]
    read: Callable[[OpenFile], Contents]


_ONE_FILE: Final = (
    Reader("zip archive", zip_layouts.recognises, zip_layouts.read),
    Reader("legacy stream", legacy.recognises, legacy.read),
    Reader("tar archive", tar.recognises, tar.read),
    Reader("safetensors", safetensors.recognises, safetensors.read),
)
_SHARD: Final = (*_ONE_FILE, Reader("index of shards", sharded.recognises, sharded.refuse))


def _read_index(opened: OpenFile) -> Contents:
    return sharded.read(opened, lambda path: _read(path, _SHARD, opened.account))


# In the order in which they are asked; the first that recognises a file reads it
READERS: Final = (*_ONE_FILE, Reader("index of shards", sharded.recognises, _read_index))


def read(path: Path) -> Contents:
    """Open a checkpoint of any container and return what it holds, with its files still open.

    Raises CheckpointError, after closing them, for whatever is not a well-formed checkpoint.
    """
    refuse_other(path)
    contents = _read(path, READERS, Account(0))
    alone = sharded.warning_of_name(path.name)
    return replace(contents, warnings=(*contents.warnings, alone)) if alone else contents


def _read(path: Path, readers: Sequence[Reader], account: Account) -> Contents:
    opened = open_file(path, account)
    try:
        for reader in readers:
            if reader.recognises(opened):
                return reader.read(opened)
        raise _not_a_checkpoint(opened)
    except BaseException:
        opened.close()
        raise


def _not_a_checkpoint(opened: OpenFile) -> CheckpointError:
    head = opened[:HEAD_BYTES]
    if format_of(head) is Format.LFS_POINTER:
        return _lfs_pointer(opened)
    if format_of(head) is Format.ANNEX_POINTER:
        return CheckpointError(
            f"expected a checkpoint, found its git-annex pointer ({opened.size:,} bytes)",
            remedy=Run(f"git annex get {printable(shlex.quote(opened.path.name))}"),
        )
    if head.startswith(_BARE_PICKLE) and format_of(head) in (Format.PICKLE, None):
        return CheckpointError(
            "expected a checkpoint, found a bare pickle (not written by torch.save)",
            remedy="Save the weights with torch.save(state_dict, path), or as .safetensors.",
        )
    return CheckpointError(
        f"expected a checkpoint, found {what_it_is(head)}",
        remedy=what_to_do(head, str(opened.path))
        or "Give a .pt, .pth, .bin, .ckpt or .safetensors file, or an index.json of shards.",
    )


def _lfs_pointer(opened: OpenFile) -> CheckpointError:
    size = re.search(rb"^size (\d{1,19})$", opened[:_LFS_POINTER_BYTES], re.MULTILINE)
    expected = f"expected a checkpoint of {int(size[1]):,} bytes" if size else "expected a checkpoint"
    return CheckpointError(
        f"{expected}, found its Git LFS pointer ({opened.size:,} bytes)",
        remedy=Run(f"git lfs pull --include {printable(shlex.quote(opened.path.name))}"),
    )
