"""The commands: what is in a file, the hook's conversion by hand, and two files compared.

Knows arguments, exit statuses and what goes to which stream; knows no formats. Whatever needs numpy is imported inside
the commands, so that `--help` and wrong usage are answered at once.
"""

# ruff: noqa: PLC0415

from __future__ import annotations

import json
import time
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from hatch_wheelweights._version import __version__
from hatch_wheelweights.cli.ending import COULD_NOT_FINISH, FILE_HAS_A_PROBLEM, WRONG_USAGE, end
from hatch_wheelweights.cli.flags import FLAGS, flag_options, read_flags
from hatch_wheelweights.errors import CheckpointError, ConfigError, message, spelt
from hatch_wheelweights.options.model import ConversionOptions, TensorOptions
from wheelweights.errors import WheelweightsError, counted

if TYPE_CHECKING:
    from collections.abc import Iterable

__all__ = ["cli"]

_NOT_SHOWN = ("metadata", "debug")  # options of a conversion that change nothing of what inspect shows


class _Commands(click.Group):
    """Commands that report a user's mistakes in words, without a traceback."""

    def invoke(self, ctx: click.Context) -> Any:
        """Run the command; exit with the status that tells how it ended."""
        try:
            return super().invoke(ctx)
        except WheelweightsError as error:
            status = WRONG_USAGE if isinstance(error, ConfigError) else FILE_HAS_A_PROBLEM
            end(f"Error: {message(error, FLAGS)}", status)
        except KeyboardInterrupt:
            end("Interrupted.", COULD_NOT_FINISH)


@click.group(cls=_Commands, context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 100})
@click.version_option(__version__, prog_name="wheelweights", message="%(prog)s %(version)s")
def cli() -> None:
    """Weights for wheels: look into checkpoints and records, and convert one into the other.

    Nothing in a file is ever executed. Exit status: 0 all is well, 1 a file has a problem, 2 wrong usage,
    3 interrupted.
    """


@cli.command(short_help="Show what is in a checkpoint, record or wheel.")
@click.argument("file")
@flag_options(ConversionOptions, without=_NOT_SHOWN)
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
    from hatch_wheelweights.looking.document import json_document
    from hatch_wheelweights.looking.inspect import inspect_file
    from hatch_wheelweights.looking.terminal import print_inspection

    inspection = inspect_file(file, read_flags(ConversionOptions, flags))
    for part in (inspection, *inspection.records):
        _warn(part.warnings)
    if html is not None:
        from hatch_wheelweights.looking.page import html_page

        _write(html, html_page(inspection, FLAGS), source=file)
        click.echo(f"{html}: written", err=as_json)
    if as_json:
        click.echo(json.dumps(json_document(inspection, FLAGS), indent=2, allow_nan=False))
    elif html is None:
        print_inspection(inspection, FLAGS)


@cli.command(short_help="Convert a checkpoint into a record.")
@click.argument("source")
@click.argument("output")
@flag_options(ConversionOptions)
def convert(source: str, output: str, **flags: Any) -> None:
    """Convert the checkpoint SOURCE into the record OUTPUT, as the build hook does."""
    from hatch_wheelweights.conversion import convert_file

    started = time.perf_counter()
    options = read_flags(ConversionOptions, flags)
    done = convert_file(source, output, options)
    _warn(done.told)
    if options.debug:
        click.echo(done.table)
    holds = f"{done.size:,} bytes, {counted(done.tensors, 'tensor')} of {done.nbytes:,} bytes"
    click.echo(f"{output}: {holds}, from {source} ({done.format}) in {time.perf_counter() - started:.2f} s")


@cli.command(short_help="Print the configuration in a checkpoint as JSON.")
@click.argument("source")
@click.option(
    "--key", multiple=True, required=True, metavar="KEY", help="The key; several lead to a nested value. Repeatable."
)
@click.option("--output", "-o", metavar="FILE", help="Write it there instead of printing it.")
def config(source: str, key: tuple[str, ...], output: str | None) -> None:
    """Print the configuration under a key of the checkpoint SOURCE, as JSON."""
    from hatch_wheelweights.checkpoint.contents import naming
    from hatch_wheelweights.opening import load_config
    from hatch_wheelweights.steps.configuration import json_text

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

    Prints a line for each record that is sound; exit status 1 if one is not. A record that Burn wrote has no checksums:
    only its structure is checked.
    """
    from hatch_wheelweights.looking.files import Wheel, open_file
    from hatch_wheelweights.looking.words import sound_line
    from hatch_wheelweights.opening import Checkpoint

    opened = open_file(file)
    if isinstance(opened, Checkpoint):
        fact = f"expected a record or a wheel, found a checkpoint ({opened.kind})"
        raise CheckpointError(fact, path=file, remedy="Convert it into a record: wheelweights convert SOURCE OUTPUT")
    sound = True
    for name in opened.records if isinstance(opened, Wheel) else [""]:
        try:
            record = opened.open(name) if isinstance(opened, Wheel) else opened
            record.verify()
            click.echo(sound_line(record))
        except WheelweightsError as error:
            click.echo(f"Error: {message(error, FLAGS)}", err=True)
            sound = False
    ctx.exit(0 if sound else FILE_HAS_A_PROBLEM)


@cli.command(short_help="Compare two checkpoints, records or wheels.")
@click.argument("a")
@click.argument("b")
@flag_options(TensorOptions)
@click.pass_context
def diff(ctx: click.Context, /, a: str, b: str, **flags: Any) -> None:
    """Compare the tensors of A and B: keys, shapes, dtypes and every value, a line for each difference.

    A and B are whatever inspect reads. The options of the conversion apply to checkpoints, so that a checkpoint can be
    compared with the record made from it. NaN equals NaN. Metadata and other values are not compared.

    Exit status: 0 the tensors are equal, 1 they differ (or a file has a problem), 2 wrong usage.
    """
    from hatch_wheelweights.looking.diff import diff_files
    from hatch_wheelweights.looking.words import difference_lines

    difference = diff_files(a, b, read_flags(TensorOptions, flags))
    click.echo("\n".join(difference_lines(difference, FLAGS)))
    ctx.exit(0 if difference.equal else FILE_HAS_A_PROBLEM)


def _warn(warnings: Iterable[object]) -> None:
    for warning in warnings:
        click.echo(f"Warning: {spelt(warning, FLAGS)}", err=True)


def _write(path: str, text: str, *, source: str) -> None:
    """Write a text file, but not over the file that it tells of."""
    from hatch_wheelweights.looking.files import file_of

    target = Path(path)
    try:
        if target.exists() and target.samefile(file_of(source)):
            raise WheelweightsError("expected another file to write to, found the one that is read", path=path)
        target.write_text(text, encoding="utf-8")
    except (OSError, ValueError) as error:
        reason = error.strerror if isinstance(error, OSError) and error.strerror else str(error)
        raise WheelweightsError(f"cannot be written: {reason}", path=path) from error
