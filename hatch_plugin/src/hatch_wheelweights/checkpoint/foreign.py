"""What people name as a checkpoint, and is none: folders, archives, and files of other frameworks, told by names.

Knows which names other frameworks give to their files, and which file of a folder is most likely meant. Opens nothing:
what a file is by its first bytes, `wheelweights.formats` tells.
"""

from __future__ import annotations

import os
import re
import shlex
from itertools import islice
from typing import TYPE_CHECKING, Final

from hatch_wheelweights.errors import GOLDEN, CheckpointError, Do, Run
from wheelweights.errors import listed, printable
from wheelweights.formats import SAVE_ARRAYS, SAVE_STATE_DICT

if TYPE_CHECKING:
    from collections.abc import Sequence, Set
    from pathlib import Path

__all__ = ["name_another", "refuse_archive", "refuse_other"]

MAX_NAMES: Final = 10_000  # of a folder, that are looked at
MAX_FOLDERS: Final = 30  # in a folder, that are looked into

_KERAS: Final = {"config.json", "metadata.json"}  # with the weights, in a .keras file
_CHECKPOINTS: Final = (".pt", ".pth", ".ckpt", ".safetensors")
_OF_TORCH_OR_A_WHEEL: Final = ("data.pkl", "/archive_format", "/model.json", ".dist-info/RECORD")
_TENSORFLOW_DATA: Final = re.compile(r"(.+)\.data-[0-9]{5}-of-[0-9]{5}", re.DOTALL)
_SAVED_MODEL: Final = "saved_model.pb"
_ORBAX: Final = ("_CHECKPOINT_METADATA", "manifest.ocdbt")
_SAVE_VARIABLES: Final = f"{SAVE_ARRAYS}, where TensorFlow can read it."

# The files of a folder that can be meant, the likeliest first; what training saves beside a model is not
_SHARD: Final = r"(?![^/]*[0-9]{5}-of-[0-9]{5})"
_BESIDE: Final = r"(?!optimizer|scheduler|scaler|training_args|rng_state|random_states)"
_LIKELY: Final = tuple(
    re.compile(pattern, re.DOTALL)
    for pattern in (
        r".*\.safetensors\.index\.json",
        rf"{_SHARD}.*\.safetensors",
        r".*\.index\.json",
        r"pytorch_model\.bin",
        rf"{_SHARD}{_BESIDE}.*\.(?:pt|pth|ckpt|bin)",
    )
)


def refuse_other(path: Path, expected: str = "a checkpoint") -> None:
    """Raise CheckpointError for a folder, and for a file that is one of several of another kind."""
    _refuse_distributed(path)
    if os.path.isdir(path):  # noqa: PTH112 (of a name that is too long, `is_dir` raises)
        found, remedy = _described(path, _names_in(path))
        raise CheckpointError(f"expected {expected}, found {found}", remedy=remedy)
    _refuse_tensorflow(path)


def _names_in(folder: Path) -> list[str]:
    try:
        with os.scandir(folder) as entries:
            return sorted(entry.name for entry in islice(entries, MAX_NAMES))
    except OSError:
        return []


# Folders


def _described(folder: Path, names: Sequence[str]) -> tuple[str, str | None]:
    """Return what a folder with files of these names is, and what to do."""
    if _SAVED_MODEL in names:
        return "the folder of a TensorFlow SavedModel", _SAVE_VARIABLES
    if folder.suffix in (".mlpackage", ".mlmodelc"):
        return "a Core ML package", SAVE_STATE_DICT
    if not {*_ORBAX}.isdisjoint(names):
        return "the folder of an Orbax checkpoint", f"{SAVE_ARRAYS}, where Orbax can read it."
    if any(map(_TENSORFLOW_DATA.fullmatch, names)):
        return "the folder of a TensorFlow checkpoint", _SAVE_VARIABLES
    return "a folder", _name_one_of(folder, names) or _name_one_below(folder, names)


def name_another(path: Path) -> str | None:
    """Return the remedy that names the checkpoint beside a file that is none, or several; None where there is none."""
    return _name_one_of(path.parent, [name for name in _names_in(path.parent) if name != path.name])


def _name_one_below(folder: Path, names: Sequence[str]) -> str | None:
    """Return the remedy that names files in the folders of a folder: a pipeline of models has one for each."""
    folders = [name for name in names[:MAX_NAMES] if os.path.isdir(folder / name)][:MAX_FOLDERS]  # noqa: PTH112
    return _name_one_of(folder, [f"{name}/{file}" for name in folders for file in _names_in(folder / name)])


def _name_one_of(folder: Path, names: Sequence[str]) -> str | None:
    for likely in _LIKELY:
        meant = [name for name in names if likely.fullmatch(name.rpartition("/")[2])]
        if len(meant) == 1:
            return f"Name the file: {printable(str(folder / meant[0]))}"
        if meant:
            return f"Name one of its files: {listed(meant)}"
    return None


# Files of several


def _refuse_distributed(path: Path) -> None:
    """Raise CheckpointError for what torch.distributed.checkpoint saves.

    That is a folder with `.metadata`, a pickle of the names, and files `*.distcp`, each of many small checkpoints.
    """
    is_part = path.suffix == ".distcp" or path.name == ".metadata"
    folder = path.parent if is_part else path
    if not os.path.isfile(path if is_part else folder / ".metadata"):  # noqa: PTH113 (`is_file` raises for a long name)
        return
    part = "a file of a distributed checkpoint" if is_part else "the folder of a distributed checkpoint"
    raise CheckpointError(
        f"expected a checkpoint of one file, found {part} (torch.distributed.checkpoint)",
        remedy=Run(
            "python -m torch.distributed.checkpoint.format_utils dcp_to_torch "
            f"{printable(shlex.quote(str(folder)))} model.pt"
        ),
    )


def _refuse_tensorflow(path: Path) -> None:
    """Raise CheckpointError for a file of TensorFlow's, and for what the names of several files begin with.

    A checkpoint is an index, `PREFIX.index`, and files `PREFIX.data-00000-of-00001`; people name the prefix.
    """
    data = _TENSORFLOW_DATA.fullmatch(path.name)
    prefix = data[1] if data else path.name.removesuffix(".index")
    if path.name == _SAVED_MODEL and os.path.isfile(path):  # noqa: PTH113 (likewise)
        raise CheckpointError("expected a checkpoint, found a file of a TensorFlow SavedModel", remedy=_SAVE_VARIABLES)
    is_prefix = prefix == path.name
    if not prefix or (is_prefix and os.path.exists(path)):  # noqa: PTH110 (likewise)
        return
    if not os.path.isfile(path.with_name(f"{prefix}.index")):  # noqa: PTH113 (likewise)
        return
    all_data = filter(None, map(_TENSORFLOW_DATA.fullmatch, _names_in(path.parent)))
    if any(one[1] == prefix for one in all_data):
        what = "a TensorFlow checkpoint" if is_prefix else "a file of a TensorFlow checkpoint"
        raise CheckpointError(f"expected a checkpoint, found {what}", remedy=_SAVE_VARIABLES)


# Archives


def refuse_archive(names: Set[str]) -> None:
    """Raise CheckpointError for a zip archive of another framework, told by its members, or a packed checkpoint."""
    if names and all(name.endswith(".npy") for name in names):
        raise CheckpointError(
            "expected a checkpoint, found an .npz file (arrays of NumPy)",
            remedy=Do(f"{SAVE_ARRAYS}; a model's inputs and outputs are for ", GOLDEN, "."),
        )
    if names >= _KERAS and any(name.endswith(".weights.h5") for name in names):
        raise CheckpointError(
            "expected a checkpoint, found a Keras model", remedy=f"{SAVE_ARRAYS}, where Keras can read it."
        )
    packed = [name for name in names if name.endswith(_CHECKPOINTS)]
    if packed and not any(name.endswith(_OF_TORCH_OR_A_WHEEL) for name in names):
        raise CheckpointError(
            f"expected a checkpoint, found a zip archive with {listed(packed)} in it",
            remedy="Unpack it, and name the file itself.",
        )
