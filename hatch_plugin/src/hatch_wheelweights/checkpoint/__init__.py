"""The reading room: a checkpoint of any container -> a tree of values and lazy tensors.

`open_checkpoint` looks at the first bytes, never at the name, and picks the reader. Nothing of a file is executed and
no tensor is read until it is asked for.
"""

from __future__ import annotations

import functools
import os
import re
import stat
from mmap import ACCESS_READ, mmap
from pathlib import Path
from typing import TYPE_CHECKING, Any

from hatch_wheelweights.checkpoint import legacy, safetensors, sharded, tar
from hatch_wheelweights.checkpoint.contents import Contents, naming
from hatch_wheelweights.checkpoint.pickle import Global, Opaque
from hatch_wheelweights.checkpoint.pytorch_zip import zip_contents
from hatch_wheelweights.checkpoint.tensors import MAX_EXPANSION, READING, LazyTensor
from hatch_wheelweights.checkpoint.zip import INFLATED_RATIO, ZipArchive
from hatch_wheelweights.errors import CheckpointError
from wheelweights.errors import printable, what_it_is

if TYPE_CHECKING:
    from collections.abc import Iterable
    from types import TracebackType

    from hatch_wheelweights.steps.pipeline import Report

__all__ = ["Checkpoint", "Global", "LazyTensor", "Opaque", "open_checkpoint"]

_HEAD_BYTES = 64
_LFS_POINTER_BYTES = 1024


class Checkpoint:
    """An open checkpoint: what it is, and what it holds.

    `kind` is "pytorch-zip", "pytorch-legacy", "pytorch-tar", "torchscript", "pytorch-export", "safetensors",
    "sharded-pytorch" or "sharded-safetensors". `tree` is nested dicts, lists and values, with a `LazyTensor` for each
    tensor and an inert `Opaque` or `Global` for what only the program that saved it could rebuild. `files` are the
    files it is made of; `metadata` is what a safetensors header says besides; `warnings` says what is unusual about
    the file. Tensors taken from it stay readable after `close`.
    """

    def __init__(self, path: Path, shown: str, contents: Contents) -> None:
        self.path = path
        self.kind = contents.kind
        self.warnings = contents.warnings
        self.metadata = contents.metadata
        self.files = contents.files or (path,)
        self._shown = shown
        self._contents: Contents | None = contents

    @property
    def tree(self) -> Any:
        """What the file holds, as nested plain values and inert nodes."""
        if self._contents is None:
            raise CheckpointError("the checkpoint is closed", path=self._shown)
        return self._contents.tree

    def state_dict(  # noqa: PLR0917 (the options in the order of their work)
        self,
        top_level_key: str | Iterable[str] | None = None,
        key_remap: Iterable[Any] = (),
        reindex: bool = True,
        precision: str = "keep",
        include: Iterable[str] = (),
        exclude: Iterable[str] = (),
        *,
        whole_model: bool = False,
        report: Report | None = None,
    ) -> dict[str, LazyTensor]:
        """Return the tensors by their final keys; nothing is read yet.

        The options are those of the build hook. Raises CheckpointError where the part that is asked for is not a
        state_dict, and RemapError where renaming would lose a tensor. `report` is filled with what happened to each
        key.
        """
        from hatch_wheelweights.steps import pipeline  # noqa: PLC0415 (it stands on this package)

        tree = self.tree
        with naming(self._shown):
            tensors = pipeline.state_dict(
                tree,
                top_level_key=top_level_key,
                key_remap=key_remap,
                reindex=reindex,
                precision=precision,
                include=include,
                exclude=exclude,
                whole_model=whole_model,
                report=report,
            )
            self._check_expansion(tensors.values())
            return tensors

    def _check_expansion(self, tensors: Iterable[LazyTensor]) -> None:
        """Check that the tensors together are in proportion to the file: views can overlap, and be expanded."""
        limit = MAX_EXPANSION + INFLATED_RATIO * sum(file.stat().st_size for file in self.files)
        total = sum({tensor.tie: tensor.nbytes for tensor in tensors if tensor.fault is None}.values())
        if total > limit:
            raise CheckpointError(
                f"its tensors take {total:,} bytes, expected at most {limit:,} in a file of this size",
                expected=limit,
                found=total,
                remedy="Save tensors before expand(), or leave the expanded ones out with exclude.",
            )

    def close(self) -> None:
        """Let go of the file. Arrays and tensors that were taken from it keep it mapped as long as they live."""
        self._contents = None

    def __enter__(self) -> Checkpoint:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self.close()

    def __repr__(self) -> str:
        return f"<Checkpoint {self._shown!r}: {self.kind}>"


def open_checkpoint(path: str | os.PathLike[str]) -> Checkpoint:
    """Open a checkpoint of any supported container, told by its content.

    Nothing of the file is executed and no tensor is read. Raises CheckpointError (UnsafePickleError for a pickle that
    asks for code), whose message names the file, for whatever is not a well-formed checkpoint.
    """
    shown = READING.get() or os.fspath(path)  # a caller that has named the file already knows what the user wrote
    with naming(shown):
        return Checkpoint(Path(path), shown, _read(Path(path)))


def _read(path: Path, *, shard: bool = False) -> Contents:
    data = _map(path)
    head = data[:_HEAD_BYTES]
    if head.startswith(b"PK\x03\x04"):
        return zip_contents(ZipArchive(data))
    if head.startswith(legacy.MAGICS):
        return Contents("pytorch-legacy", legacy.read(data))
    if tar.is_tar(data):
        return Contents("pytorch-tar", tar.read(data))
    if safetensors.is_safetensors(data):
        return safetensors.read(data)
    if head.lstrip().startswith(b"{"):
        if shard:  # indexes that name each other would never end
            raise CheckpointError("expected a shard, found another index of shards")
        return sharded.read(path, data, functools.partial(_read, shard=True))
    raise _not_a_checkpoint(path, data)


def _map(path: Path) -> mmap:
    """Map a regular file; anything that could block or has no bytes is an error."""
    try:
        if not stat.S_ISREG(path.stat().st_mode):
            kind = "a folder" if path.is_dir() else "something that is not a regular file"
            raise CheckpointError(f"expected a checkpoint, found {kind}")
        with path.open("rb") as file:
            if os.fstat(file.fileno()).st_size == 0:
                raise CheckpointError(
                    "expected a checkpoint, found an empty file", remedy="Save it again, or get it again."
                )
            return mmap(file.fileno(), 0, access=ACCESS_READ)
    except CheckpointError:
        raise
    except (OSError, ValueError) as error:
        reason = error.strerror if isinstance(error, OSError) and error.strerror else str(error)
        raise CheckpointError(f"cannot be opened: {reason}", remedy="Check the path.") from error


def _not_a_checkpoint(path: Path, data: mmap) -> CheckpointError:
    head = data[:_LFS_POINTER_BYTES]
    if head.startswith(b"version https://git-lfs.github.com/spec"):
        size = re.search(rb"^size (\d{1,19})$", head, re.MULTILINE)
        expected = f"expected a checkpoint of {int(size[1]):,} bytes" if size else "expected a checkpoint"
        return CheckpointError(
            f"{expected}, found its Git LFS pointer ({len(data):,} bytes)",
            remedy=f"Run: git lfs pull --include {printable(path.name)}",
        )
    if head.startswith((b"\x80", b"(", b"]", b"}")) and not head.startswith(b"\x80\x02\x8a"):
        return CheckpointError(
            "expected a checkpoint, found a bare pickle (not written by torch.save)",
            remedy="Save the weights with torch.save(state_dict, path), or as .safetensors.",
        )
    return CheckpointError(
        f"expected a checkpoint, found {what_it_is(head)}",
        remedy="Give a .pt, .pth, .bin, .ckpt or .safetensors file, or an index.json of shards.",
    )
