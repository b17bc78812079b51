"""The command `wheelweights`: what is in a file, the hook's conversion by hand, and two files compared.

Knows arguments, exit statuses and how errors are told; knows no formats. Whatever needs numpy is imported inside the
commands, so that `--help` and wrong usage are answered at once.
"""

# ruff: noqa: PLC0415

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final, TypeVar

import click

from hatch_wheelweights._version import __version__

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Sequence

    from hatch_wheelweights.options.table import RecordOptions
    from wheelweights import Record

    _Function = TypeVar("_Function", bound=Callable[..., Any])

__all__ = ["main"]

FILE_HAS_A_PROBLEM: Final = 1
WRONG_USAGE: Final = 2
PRECISIONS: Final = ("keep", "full", "half", "double", "bfloat16")  # as in `steps.precision`, which needs numpy


class _Command(click.Command):
    """A command that tells a user's mistakes in words, without a traceback."""

    def invoke(self, ctx: click.Context) -> Any:
        from hatch_wheelweights.looking.terminal import with_flags
        from hatch_wheelweights.errors import ConfigError
        from wheelweights import WheelweightsError

        try:
            return super().invoke(ctx)
        except WheelweightsError as error:
            click.echo(f"Error: {with_flags(error)}", err=True)
            ctx.exit(WRONG_USAGE if isinstance(error, ConfigError) else FILE_HAS_A_PROBLEM)


class _Commands(click.Group):
    command_class = _Command


@click.group(cls=_Commands, context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 100})
@click.version_option(__version__, prog_name="wheelweights", message="%(prog)s %(version)s")
def cli() -> None:
    """Weights for wheels: look into checkpoints and records, and convert one into the other.

    Nothing of a file is ever executed. Exit status: 0 all is well, 1 a file has a problem, 2 wrong usage.
    """


def _conversion_options(command: _Function) -> _Function:
    """Add the hook's options on tensors as flags."""
    for name, settings in reversed(_CONVERSION.items()):
        command = click.option(name, **settings)(command)
    return command


_CONVERSION: Final[dict[str, dict[str, Any]]] = {
    "--top-level-key": {
        "multiple": True,
        "metavar": "KEY",
        "help": "Where the state_dict is in the checkpoint; repeat for nested keys.",
    },
    "--key-remap": {
        "nargs": 2,
        "multiple": True,
        "metavar": "PATTERN REPLACEMENT",
        "help": "Rename keys: a regular expression and what its matches become ($1, ${name}); repeatable, in order.",
    },
    "--no-reindex": {"is_flag": True, "help": "Keep gaps in layer numbers."},
    "--precision": {"metavar": "|".join(PRECISIONS), "help": "Cast the numbers; keep leaves them as they are."},
    "--include": {
        "multiple": True,
        "metavar": "PATTERN",
        "help": "Only tensors whose new key has a match of this regular expression; repeatable.",
    },
    "--exclude": {"multiple": True, "metavar": "PATTERN", "help": "No tensors whose new key has a match; repeatable."},
    "--whole-model": {
        "is_flag": True,
        "help": "Take the parameters out of a pickled model, torch.save(model), running nothing.",
    },
}
_config_key = click.option(
    "--config-key",
    multiple=True,
    metavar="KEY",
    help="The configuration to bake into the record; repeat for nested keys.",
)


@cli.command(short_help="Show what is in a checkpoint, record or wheel.")
@click.argument("file")
@_conversion_options
@_config_key
@click.option("--json", "as_json", is_flag=True, help="Print JSON, with exact bytes.")
@click.option("--html", metavar="OUT", help="Write one HTML page instead.")
def inspect(file: str, as_json: bool, html: str | None, **flags: Any) -> None:
    """Show what is in FILE: kind, keys, shapes, dtypes, sizes, other values.

    FILE is a checkpoint (.pt, .pth, .bin, .ckpt, .safetensors, an index.json of shards), a record (.mpk, also one that
    Burn wrote), a wheel with records, or a record in a wheel (package.whl/package/model.mpk). The options of the
    conversion show what it would do to a checkpoint.

    The keys of --json: path, kind, size, tensors (key, source, shape, dtype, new_dtype, nbytes, kept, tied_to, fault,
    notes), others, metadata, warnings, config, problem, top_level, records.
    """
    from hatch_wheelweights.looking import inspect as looking
    from hatch_wheelweights.looking import terminal

    inspection = looking.inspect_file(file, _record_options(flags))
    for part in (inspection, *inspection.records):
        _warn(part.warnings)
    if html is not None:
        from hatch_wheelweights.looking.page import html_page

        _write(html, html_page(inspection), source=file)
        click.echo(f"{html}: written", err=as_json)
    if as_json:
        click.echo(json.dumps(looking.as_json(inspection), indent=2, allow_nan=False))
    elif html is None:
        terminal.print_inspection(inspection)


@cli.command(short_help="Convert a checkpoint into a record.")
@click.argument("source")
@click.argument("output")
@_conversion_options
@_config_key
@click.option("--metadata", multiple=True, metavar="KEY=VALUE", help="Text for the record's metadata. Repeat for more.")
@click.option("--debug", is_flag=True, help="Print the table of keys.")
def convert(source: str, output: str, **flags: Any) -> None:
    """Convert the checkpoint SOURCE into the record OUTPUT, as the build hook does."""
    import time

    from hatch_wheelweights.conversion import convert_record
    from hatch_wheelweights.looking.terminal import counted

    started = time.perf_counter()
    options = _record_options(flags, source=source, output=output)
    done = convert_record(source, output, options)
    _warn(done.warnings)
    if options.debug:
        click.echo(done.table)
    holds = f"{done.size:,} bytes, {counted(done.tensors, 'tensor')} of {done.nbytes:,} bytes"
    click.echo(f"{output}: {holds}, from {source} ({done.format}) in {time.perf_counter() - started:.2f} s")


@cli.command(short_help="Print the configuration in a checkpoint as JSON.")
@click.argument("source")
@click.option("--key", multiple=True, required=True, metavar="KEY", help="Where it is. Repeat for nested keys.")
@click.option("--output", "-o", metavar="FILE", help="Write it there instead of printing it.")
def config(source: str, key: tuple[str, ...], output: str | None) -> None:
    """Print the configuration that stands under a key of the checkpoint SOURCE, as JSON."""
    from hatch_wheelweights import load_config
    from hatch_wheelweights.steps.configuration import json_text
    from hatch_wheelweights.checkpoint.contents import naming

    value = load_config(source, key)
    with naming(source):
        text = json_text(value, ".".join(key))
    if output is None:
        click.echo(text)
    else:
        _write(output, f"{text}\n", source=source)


@cli.command(short_help="Check the bytes of a record, or of every record in a wheel.")
@click.argument("file")
@click.pass_context
def verify(ctx: click.Context, /, file: str) -> None:
    """Check every byte of the record FILE, or of each record in the wheel FILE: structure, checksums, padding.

    A line for each record that is sound; exit status 1 where one is not. A record that Burn wrote has no checksums:
    only its structure is checked.
    """
    from hatch_wheelweights.looking.files import Wheel, open_file
    from hatch_wheelweights.errors import CheckpointError
    from wheelweights import Record, WheelweightsError

    opened = open_file(file)
    if not isinstance(opened, Wheel | Record):
        fact = f"expected a record or a wheel, found a checkpoint ({opened.kind})"
        raise CheckpointError(fact, path=file, remedy="Convert it into a record: wheelweights convert SOURCE OUTPUT")
    sound = True
    names: Sequence[str] = opened.records if isinstance(opened, Wheel) else [""]
    for name in names:
        try:
            record = opened.open(name) if isinstance(opened, Wheel) else opened
            record.verify()
            click.echo(_sound(record))
        except WheelweightsError as error:
            click.echo(f"Error: {error}", err=True)
            sound = False
    ctx.exit(0 if sound else FILE_HAS_A_PROBLEM)


@cli.command(short_help="Compare two checkpoints, records or wheels.")
@click.argument("a")
@click.argument("b")
@_conversion_options
@click.pass_context
def diff(ctx: click.Context, /, a: str, b: str, **flags: Any) -> None:
    """Compare the tensors of A and B: keys, shapes, dtypes and every value, a line for each difference.

    A and B are whatever inspect reads; the options of the conversion hold for checkpoints, so a checkpoint can be
    compared with the record that was made of it. NaN equals NaN. Metadata and other values are not compared.

    Exit status: 0 the tensors are equal, 1 they differ (or a file has a problem), 2 wrong usage.
    """
    from hatch_wheelweights.looking.diff import diff_files, diff_lines
    from wheelweights.errors import printable

    difference = diff_files(a, b, _record_options(flags))
    click.echo("\n".join(map(printable, diff_lines(difference, a, b))))
    ctx.exit(0 if difference.equal else 1)


def main() -> None:
    """Run the command line."""
    for stream in (sys.stdout, sys.stderr):
        if hasattr(stream, "reconfigure"):  # names in a file can have characters that the terminal has not
            stream.reconfigure(errors="backslashreplace")
    cli()


def _record_options(flags: dict[str, Any], *, source: str = "", output: str = "") -> RecordOptions:
    """Return the options of a conversion from flags; raise ConfigError with all faults, each under its flag."""
    from hatch_wheelweights.options.table import record_options

    given: dict[str, Any] = {name: value for name, value in flags.items() if value != ()}
    given["reindex"] = not given.pop("no_reindex")
    if "metadata" in given:
        given["metadata"] = _metadata(given["metadata"])
    return record_options(
        {_flag(name): value for name, value in given.items()}, source=source, output=output, spell=_flag
    )


def _flag(field_name: str) -> str:
    return f"--{field_name.replace('_', '-')}"


def _metadata(pairs: Iterable[str]) -> dict[str, str]:
    metadata: dict[str, str] = {}
    for pair in pairs:
        name, equals, value = pair.partition("=")
        if not name or not equals:
            raise click.BadOptionUsage("metadata", f"--metadata: expected KEY=VALUE, found {pair!r}")
        if name in metadata:
            raise click.BadOptionUsage("metadata", f"--metadata: expected each key once, found {name!r} twice")
        metadata[name] = value
    return metadata


def _warn(warnings: Iterable[str]) -> None:
    from hatch_wheelweights.looking.terminal import as_flags

    for warning in warnings:
        click.echo(f"Warning: {as_flags(warning)}", err=True)


def _sound(record: Record) -> str:
    from hatch_wheelweights.looking.terminal import counted
    from wheelweights.errors import printable

    nbytes = sum(record.info(key).nbytes for key in record)
    checked = "sound" if record.format != "burn" else "well-formed (Burn's records have no checksums)"
    return f"{printable(record.path)}: {checked}, {counted(len(record), 'tensor')}, {nbytes:,} bytes"


def _write(path: str, text: str, *, source: str) -> None:
    """Write a text file, but not over the file that it tells of."""
    from wheelweights import WheelweightsError

    target = Path(path)
    try:
        if target.exists() and target.samefile(source):
            raise WheelweightsError("expected another file to write to, found the one that is read", path=path)
        target.write_text(text, encoding="utf-8")
    except (OSError, ValueError) as error:
        reason = error.strerror if isinstance(error, OSError) and error.strerror else str(error)
        raise WheelweightsError(f"cannot be written: {reason}", path=path) from error
