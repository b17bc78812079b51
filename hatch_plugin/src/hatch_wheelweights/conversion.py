"""The assembly line: a checkpoint and options -> a plan -> a record.

A plan holds the names, shapes and metadata of a record before a byte of weights is read, so that whatever is wrong is
told at once. Writing it reads each byte of the weights once; the digest of the source, which all records of one source
share, is computed of the same bytes. One function for the build hook, the command line and Python.
"""

from __future__ import annotations

import fnmatch
import os
from dataclasses import dataclass, replace
from pathlib import Path, PurePath
from typing import TYPE_CHECKING, Any, Final

from hatch_wheelweights._version import __version__
from hatch_wheelweights.checkpoint import naming
from hatch_wheelweights.checkpoint.tensors import bytes_to_read
from hatch_wheelweights.deflate import crc32
from hatch_wheelweights.goldens import golden_is_current, golden_output, plan_golden, write_golden
from hatch_wheelweights.opening import open_checkpoint
from hatch_wheelweights.options.model import ConversionOptions, RecordOptions
from hatch_wheelweights.options.reading import keywords_of, read_keywords
from hatch_wheelweights.options.table import chosen
from hatch_wheelweights.options.toml import toml_name
from hatch_wheelweights.progress import working
from hatch_wheelweights.steps.finite import NonFinite
from hatch_wheelweights.steps.report import debug_table
from hatch_wheelweights.written import Written, refuse_overwriting, require_readable, values_left_out
from wheelweights import RecordError, open_record, write_record
from wheelweights.errors import backticked, listed
from wheelweights.formats import Format
from wheelweights.parts import parts_of
from wheelweights.plain import is_dict

if TYPE_CHECKING:
    from hatch_wheelweights.goldens import GoldenPlan
    from hatch_wheelweights.opening import Checkpoint
    from hatch_wheelweights.options.distribution import Distribution
    from hatch_wheelweights.steps.configuration import Configuration
    from hatch_wheelweights.steps.pipeline import StateDict

__all__ = [
    "Conversion",
    "Plan",
    "check_kept",
    "convert",
    "convert_file",
    "is_current",
    "plan_record",
    "stamped",
    "write_plan",
]

GENERATOR: Final = f"hatch-wheelweights {__version__}"
_NO_DIGEST: Final = "0" * 64
# Not written to metadata["options"]: stored elsewhere in the metadata, or without effect on the record
_NOT_OPTIONS: Final = {"metadata", "golden", "debug"}


@dataclass(frozen=True, repr=False)
class Conversion(Written):
    """What a conversion did.

    Besides what `Written` says, `table` is the debug table of all keys, and `golden` the path of the golden record,
    where one was asked for.
    """

    table: str
    golden: Path | None = None


@dataclass(frozen=True)
class Plan:
    """A record that is to be written: the checkpoint, its tensors by their final keys, and the metadata.

    `golden` is what goes beside it, `warnings` name what the metadata lack of the configuration.
    """

    checkpoint: Checkpoint
    tensors: StateDict
    metadata: dict[str, Any]
    golden: GoldenPlan | None = None
    warnings: tuple[str, ...] = ()


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

    Raises CheckpointError or RemapError where the checkpoint does not go with the options, and CheckpointError for
    tensors that a record cannot hold, and for golden outputs that do not go with the tensors.
    """
    tensors = checkpoint.tensors(options)
    require_readable(tensors)
    golden = None if options.golden is None else plan_golden(options.golden, tensors.report.rows)
    configuration = checkpoint.configuration(options.config_key) if options.config_key else None
    warnings = configuration.warnings if configuration else ()
    return Plan(checkpoint, tensors, _metadata(checkpoint, options, configuration), golden, warnings)


def write_plan(plan: Plan, output: str | os.PathLike[str]) -> Conversion:
    """Write the record, and the golden record beside it, each whole or not at all; return what was done."""
    checkpoint, tensors = plan.checkpoint, plan.tensors
    for written in (Path(output), golden_output(Path(output))):
        refuse_overwriting(checkpoint.files, written, Format.RECORD, RecordError)
    checkpoint.start_digest()

    def complete() -> None:
        plan.metadata["source"]["sha256"] = checkpoint.digest()
        checkpoint.check_unchanged()

    non_finite = NonFinite()
    with working(f"Converting {checkpoint.path.name}", bytes_to_read(tensors.values())):
        size = write_record(
            output,
            non_finite.watched(tensors),
            metadata=plan.metadata,
            source_keys={key: key if tensor.key is None else tensor.key for key, tensor in tensors.items()},
            complete=complete,
            crc32=crc32,
        )
    golden = None
    if plan.golden is not None:
        about = {name: plan.metadata[name] for name in ("generator", "source")}
        golden = write_golden(plan.golden, Path(output), about)
    return Conversion(
        checkpoint.path,
        Path(output),
        checkpoint.kind,
        len(tensors),
        sum(tensor.nbytes for tensor in tensors.values()),
        size,
        (*checkpoint.warnings, *tensors.report.warnings, *non_finite.warnings(), *plan.warnings),
        (*tensors.report.notes, *values_left_out(tensors.report)),
        debug_table(tensors.report),
        golden,
    )


# Records that are there already


def stamped(plan: Plan, folder: Path) -> Plan:
    """Return the plan of a record that an editable install finds in a folder of the tree.

    Its metadata say how large the files of the checkpoint are and when they were written, so that a program can see by
    asking the system, and without reading anything, that they have changed since.
    """
    files: list[list[str | int]] = []
    for file in plan.checkpoint.files:
        state = file.stat()
        files.append([PurePath(os.path.relpath(file, folder)).as_posix(), state.st_size, state.st_mtime_ns])
    return replace(plan, metadata={**plan.metadata, "editable": {"files": files}})


def is_current(output: Path, plan: Plan, golden: str | os.PathLike[str] | None) -> bool:
    """Tell whether a record, and the golden record beside it, is what writing this plan would give."""
    try:
        metadata = open_record(output, index=True).metadata
    except RecordError:
        return False
    digest = plan.checkpoint.digest()
    expected = {**plan.metadata, "source": {**plan.metadata["source"], "sha256": digest}}
    told = ("generator", "source", "options", "user", "editable", "parts")  # the configuration follows from them
    return all(metadata.get(name) == expected.get(name) for name in told) and (
        golden is None or golden_is_current(golden, output, GENERATOR)
    )


def check_kept(output: Path, options: RecordOptions, distribution: Distribution | None) -> None:
    """Check that the record in an unpacked sdist is sound, and the one that pyproject.toml asks for.

    With a `distribution`, it has no tensors, but names parts of that. Which release made it does not matter. Raises
    RecordError, which names the record.
    """
    for file in (output, *([golden_output(output)] if options.golden is not None else [])):
        open_record(file, index=True).verify()
    metadata = open_record(output, index=True).metadata
    source = metadata.get("source")
    name, wanted = str(source.get("name")) if is_dict(source) else "", PurePath(options.source).name
    if not fnmatch.fnmatchcase(name, wanted) and name != wanted:
        raise _other_record(output, f"made from {backticked(wanted)}, found one from {backticked(name)}")
    found, expected = metadata.get("options", {}), _options(options)
    different = [key for key in sorted({*found, *expected}) if found.get(key) != expected.get(key)]
    different += ["metadata"] if metadata.get("user", {}) != dict(options.metadata) else []
    if different:
        raise _other_record(output, f"made with the options in pyproject.toml, found others: {listed(different)}")
    parts = {(part.distribution, part.version) for part in parts_of(metadata, os.fspath(output))}
    if not parts and distribution is not None:
        raise _other_record(output, f"whose tensors are in {backticked(distribution.name)}, found one that has them")
    if parts and (distribution is None or not all(distribution.has(*part) for part in parts)):
        named = ", ".join(f"{name} {version}" for name, version in sorted(parts))
        raise _other_record(output, f"that goes with the table, found one whose tensors are in {named}")


def _other_record(output: Path, expected: str) -> RecordError:
    return RecordError(
        f"expected a record {expected}",
        path=os.fspath(output),
        remedy="This is an unpacked sdist, with the record in the place of the checkpoint: change the table in the "
        "project itself, and make the sdist again.",
    )


def _metadata(
    checkpoint: Checkpoint, options: ConversionOptions, configuration: Configuration | None
) -> dict[str, Any]:
    """Return what a record says of itself: the same for the same input, wherever and whenever it is made."""
    metadata: dict[str, Any] = {
        "generator": GENERATOR,
        "source": {"name": checkpoint.path.name, "sha256": _NO_DIGEST, "format": checkpoint.kind},
    }
    if given := _options(options):
        metadata["options"] = given
    if configuration is not None:
        metadata["config"] = configuration.value
    if options.metadata:
        metadata["user"] = dict(options.metadata)
    return metadata


def _options(options: ConversionOptions) -> dict[str, Any]:
    """Return the options that are not at their default, as the table in pyproject.toml has them."""
    return {toml_name(option): value for option, value in chosen(options).items() if option not in _NOT_OPTIONS}
