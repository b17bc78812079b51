"""`.pt2` archives of torch.export: weights and constants as raw members, described by JSON.

Knows `model_weights_config.json` and `model_constants_config.json` (torch/export/pt2_archive), and where the program
is, which `pt2_program` knows. What is pickled
(`use_pickle`) cannot be read without torch: the error is raised only if it is read.
"""

from __future__ import annotations

import contextlib
from functools import partial
from typing import TYPE_CHECKING, Any, Final

from hatch_wheelweights.checkpoint import dtypes, strict_json
from hatch_wheelweights.checkpoint.pytorch_zip import Pickled, byte_order_is_big
from hatch_wheelweights.checkpoint.tensors import MAX_RANK, LazyTensor, Storage, broken_tensor, strided_tensor
from hatch_wheelweights.checkpoint.values import Ordered
from hatch_wheelweights.errors import CheckpointError
from wheelweights.dtypes import DTYPES
from wheelweights.errors import backticked

if TYPE_CHECKING:
    from collections.abc import Generator

    from hatch_wheelweights.checkpoint.cost import Account
    from hatch_wheelweights.checkpoint.module_classes import ModuleClass
    from hatch_wheelweights.checkpoint.zip import ZipArchive

__all__ = ["read", "recognises"]

JSON_BYTES: Final = 24  # of memory for one of JSON, such as an empty list takes
MAX_JSON: Final = 64 << 20
_STRIDED: Final = 7  # torch/_export/serde/schema.py, Layout
_WEIGHTS: Final = ("data/weights/", "_weights_config.json")
_CONSTANTS: Final = ("data/constants/", "_constants_config.json")


def recognises(archive: ZipArchive) -> bool:
    """Tell by the members that name the format: today's, or that of the first archives."""
    return "archive_format" in archive or "models/model.json" in archive


def read(archive: ZipArchive) -> Pickled:
    """Return the weights of the exported program by name; of several programs, such dicts by the programs' names.

    The attributes of each dict are the constants of its program, which its state_dict leaves out: plain tensors,
    buffers that are not persistent, literals in the code, objects. Members of neither kind are unused.
    """
    if "data.pkl" in archive:
        raise CheckpointError(
            "an exported program and a checkpoint in one file", remedy="Save each in a file of its own."
        )
    folder, suffix = _WEIGHTS
    programs = [
        name[len(folder) : -len(suffix)]
        for name in archive.members
        if name.startswith(folder) and name.endswith(suffix)
    ]
    if not programs:
        raise CheckpointError(
            "expected a checkpoint, found an exported program without weights_config.json",
            remedy="Save it again with a current torch, or save its weights: torch.save(program.state_dict, path)",
        )
    payloads = _Payloads(archive)
    models = {program: _state_dict(payloads, program) for program in programs}
    tree = next(iter(models.values())) if len(models) == 1 else models
    return Pickled(tree, {}, payloads.unused(), partial(_module_classes, archive, programs))


def _module_classes(archive: ZipArchive, programs: list[str], account: Account) -> dict[str, ModuleClass]:
    """Return the classes of the modules by their names; of several programs, below the names of these."""
    found = {program: _classes(archive, f"models/{program}.json", account) for program in programs}
    if len(found) == 1:
        return next(iter(found.values()))
    return {
        f"{program}.{name}".removesuffix("."): told
        for program, classes in found.items()
        for name, told in classes.items()
    }


def _classes(archive: ZipArchive, name: str, account: Account) -> dict[str, ModuleClass]:
    from hatch_wheelweights.checkpoint.pt2_program import classes_of_program  # noqa: PLC0415 (no conversion needs it)

    if name not in archive:
        return {}
    with _naming(name):
        return classes_of_program(_json(archive, name, account), account)


def _state_dict(payloads: _Payloads, program: str) -> Ordered:
    tree = Ordered(payloads.read(program, *_WEIGHTS))
    tree.attributes = payloads.read(program, *_CONSTANTS) or None
    return tree


def _json(archive: ZipArchive, name: str, account: Account) -> Any:
    text = archive.read(name, limit=MAX_JSON)
    account.charge(len(text) // 16, JSON_BYTES * len(text))
    return strict_json.parsed(text)


@contextlib.contextmanager
def _naming(name: str) -> Generator[None, None, None]:
    """Say of what is wrong with the JSON of a member that it is malformed."""
    try:
        yield
    except CheckpointError:
        raise
    except (AttributeError, LookupError, TypeError, ValueError, RecursionError) as error:
        raise CheckpointError(
            f"malformed {backticked(name)}: {error!r:.80}", remedy="Save the program again with torch.export.save."
        ) from error


class _Payloads:
    """The members that the configurations of an archive name, each of them one storage."""

    def __init__(self, archive: ZipArchive) -> None:
        self._archive = archive
        self._big_endian = byte_order_is_big(archive)
        self._storages: dict[str, Storage] = {}
        self._configs: set[str] = set()

    def read(self, program: str, folder: str, suffix: str) -> dict[str, LazyTensor]:
        """Return the tensors that a configuration of a program describes, by name; none if there is none."""
        name = f"{folder}{program}{suffix}"
        if name not in self._archive:
            return {}
        self._configs.add(name)
        with _naming(name):
            config = _json(self._archive, name, self._archive.account)["config"]
            return {key: _weight(each, self._storage(f"{folder}{each['path_name']}")) for key, each in config.items()}

    def unused(self) -> list[str]:
        """Return the names of the members beside the weights and constants to which no configuration refers."""
        known = self._storages.keys() | self._configs
        folders = (_WEIGHTS[0], _CONSTANTS[0])
        return [
            name
            for name, member in self._archive.members.items()
            if name.startswith(folders) and name not in known and member.size
        ]

    def _storage(self, member: str) -> Storage:
        if member not in self._storages:
            self._storages[member] = self._archive.storage(member, big_endian=self._big_endian)
        return self._storages[member]


def _weight(weight: dict[str, Any], storage: Storage) -> LazyTensor:
    meta = weight["tensor_meta"]
    if meta is None:
        return broken_tensor("pickled", (), CheckpointError("is an object, which only torch can read"))
    dtype = dtypes.from_number(meta["dtype"])
    shape, stride = _ints(meta["sizes"]), _ints(meta["strides"])
    if weight["use_pickle"] or meta["layout"] != _STRIDED:
        return _pickled(dtype, shape)
    if dtype not in DTYPES:
        return broken_tensor(dtype, shape, dtypes.unsupported(dtype))
    if storage.fault is None and storage.nbytes % DTYPES[dtype].itemsize:
        return broken_tensor(
            dtype, shape, CheckpointError(f"its storage has the wrong size: {storage.nbytes:,} bytes of {dtype}")
        )
    (offset,) = _ints([meta["storage_offset"]])
    return strided_tensor(storage, dtype, offset, shape, stride)


def _pickled(dtype: str, shape: tuple[int, ...]) -> LazyTensor:
    fault = CheckpointError(
        "is a tensor subclass, which only torch can read",
        remedy="Save the weights instead: torch.save(program.state_dict, path)",
    )
    return broken_tensor(dtype, shape, fault)


def _ints(values: list[dict[str, Any]]) -> tuple[int, ...]:
    numbers = tuple(value["as_int"] for value in values)
    if len(numbers) > MAX_RANK or any(type(number) is not int for number in numbers):
        raise ValueError("a size is not a whole number")
    if any(abs(number) >= 1 << 63 for number in numbers):
        raise ValueError("a size has more than 63 bits")
    return numbers
