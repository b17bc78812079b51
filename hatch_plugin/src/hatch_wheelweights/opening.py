"""Opening a checkpoint: what it is, what it holds, its tensors by their final keys, and its configuration."""

from __future__ import annotations

import os
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar, overload

from hatch_wheelweights.checkpoint import Account, Contents, collecting_later, digest, naming, read
from hatch_wheelweights.checkpoint.tensors import MAX_EXPANSION, READING
from hatch_wheelweights.checkpoint.zip_members import INFLATED_RATIO
from hatch_wheelweights.errors import EXCLUDE, CheckpointError, Do
from hatch_wheelweights.options.model import TensorOptions
from hatch_wheelweights.options.reading import method_keywords_of, read_keywords
from hatch_wheelweights.steps.ledger import unreached
from hatch_wheelweights.steps.pipeline import StateDict, state_dict
from wheelweights.errors import counted, human_size, listed

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Mapping, Sequence
    from types import TracebackType

    from hatch_wheelweights.checkpoint import LazyTensor
    from hatch_wheelweights.checkpoint.module_classes import ModuleClass
    from hatch_wheelweights.steps.configuration import Configuration

__all__ = ["Checkpoint", "load_config", "open_checkpoint"]

T = TypeVar("T")


class Checkpoint:
    """An open checkpoint: what it is, and what it holds.

    `kind` is "pytorch-zip", "pytorch-legacy", "pytorch-tar", "torchscript", "pytorch-export", "safetensors",
    "sharded-pytorch" or "sharded-safetensors". `tree` is nested dicts, lists and values, with a `LazyTensor` for each
    tensor and an inert `Opaque` or `Global` for what only the program that saved it could rebuild. `files` are the
    paths of the files it is made of, `size` their bytes; each was opened once. `metadata` is what a safetensors header
    says besides; `warnings` says what is unusual about the file. Tensors taken from it stay readable after `close`.
    """

    def __init__(self, path: Path, shown: str, contents: Contents) -> None:
        self.path = path
        self.kind = contents.kind
        self.warnings = contents.warnings
        self.metadata = contents.metadata
        self.files = tuple(file.path for file in contents.files)
        self.size = sum(file.size for file in contents.files)
        self._shown = shown
        self._contents: Contents | None = contents

    @property
    def tree(self) -> Any:
        """What the file holds, as nested plain values and inert nodes."""
        return self._open_contents().tree

    @method_keywords_of(TensorOptions)
    def state_dict(self, top_level_key: str | Sequence[str] | None = None, **options: Any) -> StateDict:
        """Return the tensors by their final keys; nothing is read yet.

        The options are those of the build hook, by the same names. The result is a dict whose `report` says what became
        of every key. Raises ConfigError for options that are wrong in themselves, CheckpointError where the part that
        is asked for is not a state_dict, and RemapError where renaming would lose a tensor.
        """
        return self.tensors(read_keywords(TensorOptions, {"top_level_key": top_level_key, **options}))

    def tensors(self, options: TensorOptions, *, incomplete: bool = False) -> StateDict:
        """Return the tensors that options select, which have been checked; see `state_dict`.

        Where `incomplete` is true, tensors that no key leads to are no error: the report's `fault` says which.
        """
        tree = self.tree
        with naming(self._shown), collecting_later():
            tensors = state_dict(tree, options, Account(self.size))
            if tensors.report.fault is not None and not incomplete:
                raise tensors.report.fault
            self._check_expansion(tensors.values())
            tensors.report.warnings.extend(self._lost_storages(tensors.values()))
            return tensors

    def _lost_storages(self, found: Iterable[LazyTensor]) -> Iterator[str]:
        names = unreached(self.tree, self._open_contents().storages, Account(self.size), found)
        if names:
            yield f"the file refers to {counted(len(names), 'storage')} that no tensor is made of: {listed(names)}"

    def _check_expansion(self, tensors: Iterable[LazyTensor]) -> None:
        """Check that the tensors together are in proportion to the file: views can overlap, and be expanded."""
        limit = MAX_EXPANSION + INFLATED_RATIO * self.size
        total = sum({tensor.tie: tensor.nbytes for tensor in tensors if tensor.fault is None}.values())
        if total > limit:
            raise CheckpointError(
                f"its tensors take {total:,} bytes, expected at most {limit:,} in a file of this size",
                expected=limit,
                found=total,
                remedy=Do("Save tensors before expand(), or leave the expanded ones out with ", EXCLUDE, "."),
            )

    def module_classes(self, options: TensorOptions) -> Mapping[str, ModuleClass]:
        """Return the classes of modules and their settings, by the modules' keys in the checkpoint, outermost first.

        Keys are those below the top-level key of the options, before renaming; "" is the model itself. A pickled model,
        TorchScript and an exported program name classes; of a file that does not, there are none. More of the file may
        be read for it: raises CheckpointError where that is damaged or takes too much work.
        """
        from hatch_wheelweights.steps.modules import module_classes  # noqa: PLC0415 (no conversion needs it)

        contents = self._open_contents()
        with naming(self._shown), collecting_later():
            account = Account(self.size)
            told = contents.module_classes(account)
            return module_classes(contents.tree, options.top_level_key, told, account)

    def config(self, key: str | Sequence[str]) -> Any:
        """Return the configuration under a key, or a list of nested keys, as the values that JSON has.

        Small tensors are read, as nested lists. Raises CheckpointError for a key that is not there, and, all together,
        for values that have no such form.
        """
        from hatch_wheelweights.steps.configuration import config_value  # noqa: PLC0415 (only for a configuration)

        with naming(self._shown):
            return config_value(self.tree, key, Account(self.size))

    def configuration(self, key: str | Sequence[str]) -> Configuration:
        """Return the same without the values that have no plain form: its `warnings` name them.

        Raises CheckpointError for a key that is not there, and where nothing under it has a plain form.
        """
        from hatch_wheelweights.steps.configuration import configuration  # noqa: PLC0415 (likewise)

        with naming(self._shown):
            return configuration(self.tree, key, Account(self.size))

    def built_config(self, key: str | Sequence[str], config: type[T]) -> T:
        """Return a dataclass made of the configuration under a key; only the fields it declares are looked at.

        Raises CheckpointError for a key that is not there, and, all together, for what does not fit the fields.
        """
        from hatch_wheelweights.steps.configuration import build_config  # noqa: PLC0415 (likewise)

        with naming(self._shown):
            return build_config(self.tree, key, config, Account(self.size))

    def start_digest(self) -> None:
        """Begin to compute the SHA-256 of what was opened, in threads, while the tensors are read."""
        for file in self._open_contents().files:
            file.start_hashing()

    def digest(self) -> str:
        """Return the SHA-256 of what was opened; what was not read since `start_digest` is read now.

        Of several files, it is that of the list of theirs as sha256sum prints it.
        """
        return digest(self._open_contents().files)

    def check_unchanged(self) -> None:
        """Raise CheckpointError if one of the files was written to since it was opened."""
        for file in self._open_contents().files:
            file.check_unchanged()

    def close(self) -> None:
        """Let go of the file. Tensors that were taken from it, and their arrays, keep it open as long as they live."""
        for file in () if self._contents is None else self._contents.files:
            file.stop_hashing()  # its thread holds the file as well
        self._contents = None

    def _open_contents(self) -> Contents:
        if self._contents is None:
            raise CheckpointError("the checkpoint is closed", path=self._shown)
        return self._contents

    def __enter__(self) -> Checkpoint:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self.close()

    def __repr__(self) -> str:
        size = f"{counted(len(self.files), 'file')} of {human_size(self.size)}"
        whole = size if len(self.files) > 1 else human_size(self.size)
        return f"<Checkpoint {self._shown!r}: {self.kind}, {whole}{', closed' if self._contents is None else ''}>"


def open_checkpoint(path: str | os.PathLike[str]) -> Checkpoint:
    """Open a checkpoint of any supported container, told by its content.

    Nothing of the file is executed and no tensor is read. Raises CheckpointError (UnsafePickleError for a pickle that
    asks for code), whose message names the file, for whatever is not a well-formed checkpoint.
    """
    shown = READING.get() or os.fspath(path)  # a caller that has named the file already knows what the user wrote
    with naming(shown), collecting_later():
        return Checkpoint(Path(path), shown, read(Path(path)))


@overload
def load_config(path: str | os.PathLike[str], key: str | Sequence[str], Config: None = None) -> Any: ...  # noqa: N803
@overload
def load_config(path: str | os.PathLike[str], key: str | Sequence[str], Config: type[T]) -> T: ...  # noqa: N803
def load_config(path: str | os.PathLike[str], key: str | Sequence[str], Config: type[Any] | None = None) -> Any:  # noqa: N803
    """Return the configuration under a key of a checkpoint (or a list of nested keys): plain values, or a dataclass.

    Plain values are those of JSON (dict, list, str, int, float, bool, None; a float may be infinite or NaN). Of a
    dataclass only the declared fields are looked at, so that whatever else the file holds hinders nothing; see
    `wheelweights.config.build`. Nothing of the file is run, and of tensors only small ones that are asked for are read.
    Raises CheckpointError for a missing key, and, all together, for values that are asked for and have no plain form,
    or do not fit the dataclass.
    """
    with naming(os.fspath(path)), open_checkpoint(path) as checkpoint:
        return checkpoint.config(key) if Config is None else checkpoint.built_config(key, Config)
