"""What a reader gives: the one shape that all containers end in."""

from __future__ import annotations

import contextlib
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from hatch_wheelweights.checkpoint.module_classes import ModuleClasses, no_classes
from hatch_wheelweights.checkpoint.tensors import READING
from wheelweights.errors import WheelweightsError, counted, listed

if TYPE_CHECKING:
    from collections.abc import Collection, Generator, Iterator, Mapping

    from hatch_wheelweights.checkpoint.files import OpenFile
    from hatch_wheelweights.checkpoint.tensors import Storage

__all__ = ["Contents", "naming", "unused_storages"]


@dataclass(frozen=True)
class Contents:
    """The content of a checkpoint.

    `kind` names the container, `tree` is what it holds: nested plain values, tensors and inert nodes. `warnings` says
    what is unusual about the file, `metadata` what a safetensors header says besides the tensors. `storages` are those
    that a pickle refers to, whether or not a tensor of the tree is made of them (see `LazyTensor.storages`), by the
    names that they have in the file; there are none where each entry of a file is a tensor. `module_classes` gives what
    the file says of modules that are no objects of the tree; it may read more of the file. `files` are the files it was
    read from, still open: the index first, where there is one, then its shards in order.
    """

    kind: str
    tree: Any
    warnings: tuple[str, ...] = ()
    metadata: Mapping[str, str] = field(default_factory=dict[str, str])
    storages: Mapping[str, Storage] = field(default_factory=dict[str, "Storage"])
    module_classes: ModuleClasses = no_classes
    files: tuple[OpenFile, ...] = field(kw_only=True)


def unused_storages(names: Collection[str]) -> Iterator[str]:
    """Yield the warning of storages in a file that nothing refers to, if there are any."""
    if names:
        yield f"the file holds {counted(len(names), 'storage')} that no tensor refers to: {listed(names)}"


@contextlib.contextmanager
def naming(path: str) -> Generator[None, None, None]:
    """Give errors raised inside, and tensors described inside, the file's name as the caller wrote it."""
    before = READING.set(path)
    try:
        yield
    except WheelweightsError as error:
        error.path = error.path or path
        raise
    finally:
        READING.reset(before)
