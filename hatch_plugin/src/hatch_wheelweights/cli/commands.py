"""The commands: what is in a file, the hook's conversion by hand, and two files compared.

Knows arguments, exit statuses and what goes to which stream; knows no formats. Whatever needs numpy is imported inside
the commands, so that `--help` and wrong usage are answered at once.
"""

# ruff: noqa: PLC0415

from __future__ import annotations

import sys
import time
from typing import TYPE_CHECKING, Any, Final

import click

from hatch_wheelweights._version import __version__
from hatch_wheelweights.cli.ending import COULD_NOT_FINISH, FILE_HAS_A_PROBLEM, WRONG_USAGE, end, say, tell
from hatch_wheelweights.cli.flags import FLAGS, flag_options, read_flags
from hatch_wheelweights.cli.writing import check_record_output, check_text_output, write_text
from hatch_wheelweights.errors import ConfigError, message, spelt
from hatch_wheelweights.options.model import ConversionOptions, TensorOptions
from wheelweights.errors import WheelweightsError, counted, printable

if TYPE_CHECKING:
    from collections.abc import Iterable

    from hatch_wheelweights.looking.inspect import Inspection
    from hatch_wheelweights.looking.verify import Verdict

__all__ = ["cli"]

SHOWN_FAULTS: Final = 100  # of a wheel
MAX_IN_TABLES: Final = 200_000  # characters, which rich draws in about a second

_NOT_SHOWN: Final = ("metadata", "golden", "debug")  # options of a conversion that change nothing of what inspect shows


_force = click.option("--force", is_flag=True, help="Replace a file that is there; never weights.")


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
    3 could not finish (interrupted, out of memory).
    """


@cli.command(short_help="Show what is in a checkpoint, record or wheel.")
@click.argument("file")
@flag_options(ConversionOptions, without=_NOT_SHOWN)
@click.option("--json", "as_json", is_flag=True, help="Print JSON, with exact bytes.")
@click.option("--html", metavar="OUT", help="Write one HTML page instead.")
@_force
def inspect(file: str, as_json: bool, html: str | None, force: bool, **flags: Any) -> None:
    """Show what is in FILE: kind, keys, shapes, dtypes, sizes, other values.

    FILE is a checkpoint (.pt, .pth, .bin, .ckpt, .safetensors, an index.json of shards), a record (.mpk, also one that
    Burn wrote), a wheel with records, or a record in a wheel (package.whl/package/model.mpk). The options of the
    conversion show what it would do to a checkpoint.

    The keys of --json: path, kind, size, tensors (key, source, shape, dtype, new_dtype, nbytes, kept, tied_to, fault,
    notes), others, metadata, warnings, notes, config, problem, top_level, records, parts, part_of.
    """
    from hatch_wheelweights.looking.document import json_document
    from hatch_wheelweights.looking.files import file_of
    from hatch_wheelweights.looking.inspect import inspect_file
    from hatch_wheelweights.looking.texts import json_of

    options = read_flags(ConversionOptions, flags)
    if html is not None:
        check_text_output(html, read=file_of(file), force=force)
    inspection = inspect_file(file, options)
    for part in (inspection, *inspection.records):
        _warn(part.warnings)
    if html is not None:
        from hatch_wheelweights.looking.page import html_page

        write_text(html, html_page(inspection, FLAGS), read=file_of(file), force=force)
        (tell if as_json else say)(f"{printable(html)}: written")
    if as_json:
        say(json_of(json_document(inspection, FLAGS)))
    elif html is None:
        _show(inspection)


@cli.command(short_help="Convert a checkpoint into a record.")
@click.argument("source")
@click.argument("output")
@flag_options(ConversionOptions)
@_force
def convert(source: str, output: str, force: bool, **flags: Any) -> None:
    """Convert the checkpoint SOURCE into the record OUTPUT (.mpk), as the build hook does.

    A record that is there is replaced with --force only, any other file never.
    """
    from hatch_wheelweights.conversion import convert_file
    from wheelweights.golden import golden_path

    started = time.perf_counter()
    options = read_flags(ConversionOptions, flags)
    check_record_output(output, force=force)
    if options.golden is not None:
        check_record_output(golden_path(output), force=force)
    done = convert_file(source, output, options)
    _warn(done.told)
    if options.debug:
        say(done.table)
    for note in done.noted:
        say(f"Note: {printable(spelt(note, FLAGS))}")
    holds = f"{done.size:,} bytes, {counted(done.tensors, 'tensor')} of {done.nbytes:,} bytes"
    took = f"{time.perf_counter() - started:.2f} s"
    say(f"{printable(output)}: {holds}, from {printable(source)} ({done.format}) in {took}")
    if done.golden is not None:
        say(f"{printable(str(done.golden))}: golden outputs, from {printable(str(options.golden))}")


@cli.command(short_help="Print the configuration in a checkpoint as JSON.")
@click.argument("source")
@click.option(
    "--key", multiple=True, required=True, metavar="KEY", help="The key; several lead to a nested value. Repeatable."
)
@click.option("--output", "-o", metavar="FILE", help="Write it there instead of printing it.")
@_force
def config(source: str, key: tuple[str, ...], output: str | None, force: bool) -> None:
    """Print the configuration under a key of the checkpoint SOURCE, as JSON.

    What has no plain form (classes, large tensors, interpolations that lead nowhere) is left out, with a warning.
    """
    from hatch_wheelweights.checkpoint.contents import naming
    from hatch_wheelweights.looking.texts import escaped_json
    from hatch_wheelweights.opening import open_checkpoint
    from hatch_wheelweights.steps.configuration import json_text

    if output is not None:
        check_text_output(output, read=source, force=force)
    with open_checkpoint(source) as checkpoint:
        found = checkpoint.configuration(key)
    with naming(source):
        text = escaped_json(json_text(found.value, ".".join(key)))
    _warn(found.warnings)
    if output is None:
        say(text)
    else:
        write_text(output, f"{text}\n", read=source, force=force)


@cli.command(short_help="Check every byte of records, of wheels with records, or of installed records.")
@click.argument("files", nargs=-1, metavar="[FILE]...")
@click.option("--package", "packages", multiple=True, metavar="NAME", help="An installed package to check. Repeatable.")
@click.pass_context
def verify(ctx: click.Context, /, files: tuple[str, ...], packages: tuple[str, ...]) -> None:
    """Check every byte of each FILE, a record or a wheel with records, and of the records in installed packages.

    Of a record: structure, checksums, padding. A record that Burn wrote has no checksums: only its structure is
    checked. Of a wheel: the zip archive (its directory and its headers agree, every byte belongs to one file, no two
    files share a name), the checksum of each file, RECORD (which lists each file once, with its digest and size), and
    each record in it.

    A package is named as it is imported, and nothing of it is executed. Each record in it is checked, golden ones too,
    and compared with the RECORD of the distribution that installed it. Where the tensors of a record are in
    distributions of their own, those must be installed, and are checked as well.

    Prints a line for each record that is sound, and one for a wheel that is; exit status 1 if anything is not.
    """
    from hatch_wheelweights.looking.verify import verify_file, verify_package

    if not files and not packages:
        raise click.UsageError("Missing argument 'FILE...' or option '--package'.", ctx)
    faults = sum([_faults_in(file, verify_file(file)) for file in files])
    faults += sum([_faults_in(package, verify_package(package)) for package in packages])
    ctx.exit(FILE_HAS_A_PROBLEM if faults else 0)


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
    say("\n".join(difference_lines(difference, FLAGS)))
    ctx.exit(0 if difference.equal else FILE_HAS_A_PROBLEM)


def _faults_in(name: str, verdicts: Iterable[Verdict]) -> int:
    """Tell the verdicts of a file or a package, and return how many are faults."""
    from hatch_wheelweights.looking.words import sound_line

    faults = 0
    try:
        for verdict in verdicts:
            if verdict.fault is None:
                say(sound_line(verdict))
                continue
            faults += 1
            if faults <= SHOWN_FAULTS:
                tell(f"Error: {message(verdict.fault, FLAGS)}")
    except WheelweightsError as error:  # there is nothing to check: other files are checked all the same
        tell(f"Error: {message(error, FLAGS)}")
        return faults + 1
    if faults > SHOWN_FAULTS:
        tell(f"Error: {printable(name)}: {counted(faults - SHOWN_FAULTS, 'more fault')}")
    return faults


def _show(inspection: Inspection) -> None:
    """Show an inspection: in tables if standard output is a terminal, as plain text otherwise, and if it is long."""
    from hatch_wheelweights.looking.terminal import plain_text, print_tables

    text = plain_text(inspection, FLAGS)
    if sys.stdout is not None and sys.stdout.isatty() and len(text) <= MAX_IN_TABLES:
        print_tables(inspection, FLAGS)
    else:
        say(text)


def _warn(warnings: Iterable[object]) -> None:
    for warning in warnings:
        tell(f"Warning: {printable(spelt(warning, FLAGS))}")
