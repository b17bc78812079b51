"""The assembly line: a checkpoint and options -> a plan -> a record.

A plan holds the names, shapes and metadata of a record before a byte of weights is read, so that whatever is wrong is
told at once. Writing it reads each byte of the weights for the record, and once more for the digest of the source,
which all records of one source share. One function for the build hook, the command line and Python.
"""

from __future__ import annotations

import os
from dataclasses import dataclass, fields
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

from hatch_wheelweights._version import __version__
from hatch_wheelweights.checkpoint import naming
from hatch_wheelweights.errors import CheckpointError
from hatch_wheelweights.opening import open_checkpoint
from hatch_wheelweights.options.model import ConversionOptions, RecordOptions
from hatch_wheelweights.options.reading import keywords_of, read_keywords
from hatch_wheelweights.options.toml import toml_name
from hatch_wheelweights.steps.report import debug_table
from wheelweights import RecordError, open_record, write_record

if TYPE_CHECKING:
    from hatch_wheelweights.opening import Checkpoint
    from hatch_wheelweights.steps.pipeline import StateDict

__all__ = ["Conversion", "Plan", "convert", "convert_file", "is_current", "plan_record", "write_plan"]

GENERATOR: Final = f"hatch-wheelweights {__version__}"
_NO_DIGEST: Final = "0" * 64
# Not written to metadata["options"]: stored elsewhere in the metadata, or without effect on the record
_NOT_OPTIONS: Final = {"metadata", "debug"}


@dataclass(frozen=True)
class Conversion:
    """What a conversion did.

    `format` is the kind of the checkpoint; `nbytes` counts the bytes of the tensors (tied ones each), `size` those of
    the file; `table` is the debug table of all keys. `told` are the warnings as values, which spell options for whoever
    reads them.
    """

    source: Path
    output: Path
    format: str
    tensors: int
    nbytes: int
    size: int
    told: tuple[object, ...]
    table: str

    @property
    def warnings(self) -> tuple[str, ...]:
        """The warnings, with options as Python spells them."""
        return tuple(map(str, self.told))


@dataclass(frozen=True)
class Plan:
    """A record that is to be written: the checkpoint, its tensors by their final keys, and the metadata."""

    checkpoint: Checkpoint
    tensors: StateDict
    metadata: dict[str, Any]


@keywords_of(RecordOptions)
def convert(source: str | os.PathLike[str], output: str | os.PathLike[str], **options: Any) -> Conversion:
    """Convert a checkpoint into a record and return what was done.

    The options are those of the build hook, by the same names. The record appears whole or not at all. Raises
    ConfigError for options that are wrong in themselves, CheckpointError and RemapError where the checkpoint does not
    go with them.
    """
    return convert_file(source, output, read_keywords(ConversionOptions, options))


def convert_file(
    source: str | os.PathLike[str], output: str | os.PathLike[str], options: ConversionOptions
) -> Conversion:
    """Convert as `convert` does, by options that have been checked."""
    with naming(os.fspath(source)), open_checkpoint(source) as checkpoint:
        return write_plan(plan_record(checkpoint, options), output)


def plan_record(checkpoint: Checkpoint, options: ConversionOptions) -> Plan:
    """Return what a conversion would write; no tensor is read.

    Raises CheckpointError or RemapError where the checkpoint does not go with the options.
    """
    return Plan(checkpoint, checkpoint.tensors(options), _metadata(checkpoint, options))


def write_plan(plan: Plan, output: str | os.PathLike[str]) -> Conversion:
    """Write the record, whole or not at all, and return what was done."""
    checkpoint, tensors = plan.checkpoint, plan.tensors
    _refuse_overwriting(checkpoint, Path(output))
    digest = checkpoint.start_digest()

    def complete() -> None:
        plan.metadata["source"]["sha256"] = digest.result()
        checkpoint.check_unchanged()

    size = write_record(
        output,
        tensors,
        metadata=plan.metadata,
        source_keys={key: key if tensor.key is None else tensor.key for key, tensor in tensors.items()},
        complete=complete,
    )
    return Conversion(
        checkpoint.path,
        Path(output),
        checkpoint.kind,
        len(tensors),
        sum(tensor.nbytes for tensor in tensors.values()),
        size,
        (*checkpoint.warnings, *tensors.report.warnings),
        debug_table(tensors.report),
    )


def is_current(output: Path, checkpoint: Checkpoint, options: ConversionOptions) -> bool:
    """Tell whether a record is what converting this checkpoint with these options would give."""
    try:
        metadata = open_record(output).metadata
    except RecordError:
        return False
    source = metadata.get("source")
    return (
        isinstance(source, dict)
        and metadata.get("generator") == GENERATOR
        and metadata.get("options", {}) == _options(options)
        and metadata.get("user", {}) == dict(options.metadata)
        and source.get("name") == checkpoint.path.name
        and source.get("sha256") == checkpoint.start_digest().result()
    )


def _refuse_overwriting(checkpoint: Checkpoint, output: Path) -> None:
    if output.exists() and any(output.samefile(file) for file in checkpoint.files):
        raise CheckpointError(
            "expected another file as output, found the checkpoint itself", remedy="Give the record a name of its own."
        )


def _metadata(checkpoint: Checkpoint, options: ConversionOptions) -> dict[str, Any]:
    """Return what a record says of itself: the same for the same input, wherever and whenever it is made."""
    metadata: dict[str, Any] = {
        "generator": GENERATOR,
        "source": {"name": checkpoint.path.name, "sha256": _NO_DIGEST, "format": checkpoint.kind},
    }
    if chosen := _options(options):
        metadata["options"] = chosen
    if options.config_key:
        metadata["config"] = checkpoint.config(options.config_key)
    if options.metadata:
        metadata["user"] = dict(options.metadata)
    return metadata


def _options(options: ConversionOptions) -> dict[str, Any]:
    """Return the options that are not at their default, as the table in pyproject.toml has them."""
    default = ConversionOptions()
    chosen = {
        field.name: getattr(options, field.name)
        for field in fields(ConversionOptions)
        if field.name not in _NOT_OPTIONS and getattr(options, field.name) != getattr(default, field.name)
    }
    plain = {toml_name(name): list(value) if isinstance(value, tuple) else value for name, value in chosen.items()}
    if "key-remap" in plain:
        plain["key-remap"] = [
            {"pattern": pattern, "replacement": replacement} for pattern, replacement in plain["key-remap"]
        ]
    return plain
