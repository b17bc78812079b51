"""The assembly line: options -> checkpoint -> tensors -> record.

Knows the order of the steps and what a record says about its making; the steps themselves stand elsewhere. One
function for the build hook, the command line and Python.
"""

from __future__ import annotations

import hashlib
import os
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, fields
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

from hatch_wheelweights.steps.configuration import config_value
from hatch_wheelweights.options.table import RecordOptions, record_options
from hatch_wheelweights.steps.pipeline import Report, debug_table
from hatch_wheelweights._version import __version__
from hatch_wheelweights.checkpoint import Checkpoint, open_checkpoint
from hatch_wheelweights.checkpoint.contents import naming
from hatch_wheelweights.errors import CheckpointError
from wheelweights import RecordError, open_record, write_record

if TYPE_CHECKING:
    from collections.abc import Sequence

    from hatch_wheelweights.checkpoint import LazyTensor

__all__ = ["Conversion", "convert", "convert_record", "is_current", "tensors_of"]

GENERATOR: Final = f"hatch-wheelweights {__version__}"
_NO_DIGEST: Final = "0" * 64
# What is not an option of the conversion, or has a place of its own in the metadata
_NOT_OPTIONS: Final = {"source", "output", "metadata", "debug"}


@dataclass(frozen=True)
class Conversion:
    """What a conversion did.

    `format` is the kind of the checkpoint; `nbytes` counts the bytes of the tensors (tied ones each), `size` those of
    the file; `table` is the debug table of all keys.
    """

    source: Path
    output: Path
    format: str
    tensors: int
    nbytes: int
    size: int
    warnings: tuple[str, ...]
    table: str


def convert(source: str | os.PathLike[str], output: str | os.PathLike[str], **options: Any) -> Conversion:
    """Convert a checkpoint into a record and return what was done.

    `options` are those of the build hook in Python's spelling: `top_level_key`, `key_remap`, `reindex`, `precision`,
    `include`, `exclude`, `config_key`, `metadata`, `whole_model`. The record appears whole or not at all. Raises
    ConfigError for options that are wrong in themselves, CheckpointError and RemapError where the checkpoint does not
    go with them.
    """
    return convert_record(source, output, record_options(options, source=os.fspath(source), output=os.fspath(output)))


def convert_record(
    source: str | os.PathLike[str], output: str | os.PathLike[str], options: RecordOptions
) -> Conversion:
    """Convert as `convert` does, by options that are already checked.

    Messages name the source as `options.source` has it.
    """
    report = Report()
    with (
        naming(options.source or os.fspath(source)),
        open_checkpoint(source) as checkpoint,
        ThreadPoolExecutor(1) as hashing,
    ):
        _refuse_overwriting(checkpoint, Path(output))
        digest = hashing.submit(_digest, checkpoint.files)
        tensors = tensors_of(checkpoint, options, report)
        metadata = _metadata(checkpoint, options)
        size = write_record(
            output,
            tensors,
            metadata=metadata,
            source_keys={key: tensor.key or key for key, tensor in tensors.items()},
            complete=lambda: metadata["source"].update(sha256=digest.result()),
        )
        return Conversion(
            Path(source),
            Path(output),
            checkpoint.kind,
            len(tensors),
            sum(tensor.nbytes for tensor in tensors.values()),
            size,
            (*checkpoint.warnings, *report.warnings),
            debug_table(report),
        )


def tensors_of(checkpoint: Checkpoint, options: RecordOptions, report: Report | None = None) -> dict[str, LazyTensor]:
    """Return the tensors that a conversion with these options writes."""
    return checkpoint.state_dict(
        top_level_key=options.top_level_key or None,
        key_remap=options.key_remap,
        reindex=options.reindex,
        precision=options.precision,
        include=options.include,
        exclude=options.exclude,
        whole_model=options.whole_model,
        report=report,
    )


def is_current(output: Path, files: Sequence[Path], options: RecordOptions) -> bool:
    """Tell whether a record is what converting these files of a checkpoint with these options would give."""
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
        and source.get("name") == files[0].name
        and source.get("sha256") == _digest(files)
    )


def _refuse_overwriting(checkpoint: Checkpoint, output: Path) -> None:
    if output.exists() and any(output.samefile(file) for file in checkpoint.files):
        raise CheckpointError(
            "expected another file as output, found the checkpoint itself", remedy="Give the record a name of its own."
        )


def _metadata(checkpoint: Checkpoint, options: RecordOptions) -> dict[str, Any]:
    """Return what a record says of itself: the same for the same input, wherever and whenever it is made."""
    metadata: dict[str, Any] = {
        "generator": GENERATOR,
        "source": {"name": checkpoint.path.name, "sha256": _NO_DIGEST, "format": checkpoint.kind},
    }
    if chosen := _options(options):
        metadata["options"] = chosen
    if options.config_key:
        metadata["config"] = config_value(checkpoint.tree, options.config_key)
    if options.metadata:
        metadata["user"] = dict(options.metadata)
    return metadata


def _options(options: RecordOptions) -> dict[str, Any]:
    """Return the options that are not at their default, as the table in pyproject.toml has them."""
    default = RecordOptions()
    chosen = {
        field.name: getattr(options, field.name)
        for field in fields(options)
        if field.name not in _NOT_OPTIONS and getattr(options, field.name) != getattr(default, field.name)
    }
    plain = {
        name.replace("_", "-"): list(value) if isinstance(value, tuple) else value for name, value in chosen.items()
    }
    if "key-remap" in plain:
        plain["key-remap"] = [
            {"pattern": pattern, "replacement": replacement} for pattern, replacement in plain["key-remap"]
        ]
    return plain


def _digest(files: Sequence[Path]) -> str:
    """Return the SHA-256 of a file; of several, that of the list of theirs as sha256sum prints it."""
    digests = []
    for file in files:
        with file.open("rb") as opened:
            digests.append((hashlib.file_digest(opened, "sha256").hexdigest(), file.name))
    if len(digests) == 1:
        return digests[0][0]
    return hashlib.sha256("".join(f"{digest}  {name}\n" for digest, name in digests).encode()).hexdigest()
