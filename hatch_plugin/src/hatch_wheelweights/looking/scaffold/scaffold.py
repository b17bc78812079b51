"""From a file to source: its tensors by their final keys, the classes it names, the modules they make."""

from __future__ import annotations

import math
import os
from dataclasses import dataclass
from pathlib import PurePath
from typing import TYPE_CHECKING, Any

from hatch_wheelweights.checkpoint.contents import naming
from hatch_wheelweights.looking.files import open_file, require_checkpoint
from hatch_wheelweights.looking.scaffold.modules import Tensor, modules_of
from hatch_wheelweights.looking.scaffold.names import comment_text
from hatch_wheelweights.looking.scaffold.source import source_of
from hatch_wheelweights.looking.texts import human_count, human_size
from hatch_wheelweights.looking.wheels import Wheel
from hatch_wheelweights.opening import Checkpoint
from hatch_wheelweights.options.model import TensorOptions
from hatch_wheelweights.options.reading import keywords_of, read_keywords
from wheelweights.dtypes import DTYPES
from wheelweights.errors import counted

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from hatch_wheelweights.checkpoint.module_classes import ModuleClass
    from wheelweights import Record

__all__ = ["scaffold", "scaffold_file"]


@dataclass(frozen=True)
class _Keywords(TensorOptions):
    """The parameters of `scaffold`."""

    path: str | os.PathLike[str]


@keywords_of(_Keywords)
def scaffold(path: str | os.PathLike[str], **options: Any) -> str:
    """Return typed dataclasses that a file binds to, as Python source.

    `path` leads to a checkpoint, to which the options of the conversion apply, to a record, or to one that Burn wrote.
    Where the file names the classes of its modules, as `torch.save(model)` does with `whole_model=True`, they have
    these names, and their layers the settings that they had; otherwise layers are told by names and shapes, and a
    comment says what these do not tell. No tensor is read, and nothing in the file is executed.

    Raises CheckpointError or RecordError for a file that cannot be read, or has keys that no dataclass can have, and
    ConfigError for options that are wrong in themselves or do not go with the file.
    """
    return scaffold_file(os.fspath(path), read_keywords(TensorOptions, options))


def scaffold_file(path: str, options: TensorOptions) -> str:
    """Return the source as `scaffold` does, by options that have been checked."""
    file = open_file(path, index=False)
    require_checkpoint(options, file)
    if isinstance(file, Wheel):
        with file:
            return _of_record(file.open_only(index=False), path)
    if not isinstance(file, Checkpoint):
        return _of_record(file, path)
    with file, naming(path):
        tensors = file.tensors(options)
        for tensor in tensors.values():
            if tensor.fault is not None:
                tensor.numpy()  # raises it, with the key
        found = [Tensor(key, tensor.shape, tensor.dtype, tensor.key or key) for key, tensor in tensors.items()]
        return _source(found, file.module_classes(options), path)


def _of_record(record: Record, path: str) -> str:
    infos = ((key, record.info(key)) for key in record)
    found = [Tensor(key, info.shape, info.dtype, key) for key, info in infos]
    return _source(found, {}, path, has_layers=record.format != "burn")


def _source(
    tensors: Sequence[Tensor], classes: Mapping[str, ModuleClass], path: str, *, has_layers: bool = True
) -> str:
    """Return the source for tensors; without layers where Burn wrote them: its matrices are (in, out)."""
    values = sum(math.prod(tensor.shape) for tensor in tensors)
    nbytes = sum(math.prod(tensor.shape) * DTYPES[tensor.dtype].itemsize for tensor in tensors)
    name = comment_text(PurePath(path).name, 60)
    totals = f"{counted(len(tensors), 'tensor')}, {human_count(values)} values, {human_size(nbytes)}"
    title = f"Dataclasses for {name}: {totals}."
    return source_of(modules_of(tensors, classes, path), title, has_layers=has_layers)
