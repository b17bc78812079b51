"""`wheelweights inspect`: what is in a file."""

# ruff: noqa: PLC0415

from __future__ import annotations

import sys
from typing import TYPE_CHECKING, Any, Final

import click

from hatch_wheelweights.cli.ending import say, tell
from hatch_wheelweights.cli.flags import FLAGS, flag_options, read_flags
from hatch_wheelweights.cli.saying import force_flag, warn
from hatch_wheelweights.cli.writing import check_text_output, write_text
from hatch_wheelweights.options.model import ConversionOptions
from wheelweights.errors import printable

if TYPE_CHECKING:
    from hatch_wheelweights.looking.inspect import Inspection

__all__ = ["inspect"]

MAX_IN_TABLES: Final = 200_000  # characters, which rich draws in about a second

_NOT_SHOWN: Final = ("metadata", "golden", "debug")  # options of a conversion that change nothing of what inspect shows


@click.command(short_help="Show what is in a checkpoint, record or wheel.")
@click.argument("file")
@flag_options(ConversionOptions, without=_NOT_SHOWN)
@click.option("--json", "as_json", is_flag=True, help="Print JSON, with exact bytes.")
@click.option("--html", metavar="OUT", help="Write one HTML page instead.")
@force_flag
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
        warn(part.warnings)
    if html is not None:
        from hatch_wheelweights.looking.page import html_page

        write_text(html, html_page(inspection, FLAGS), read=file_of(file), force=force)
        (tell if as_json else say)(f"{printable(html)}: written")
    if as_json:
        say(json_of(json_document(inspection, FLAGS)))
    elif html is None:
        _show(inspection)


def _show(inspection: Inspection) -> None:
    """Show an inspection: in tables if standard output is a terminal, as plain text otherwise, and if it is long."""
    from hatch_wheelweights.looking.terminal import plain_text, print_tables

    text = plain_text(inspection, FLAGS)
    if sys.stdout is not None and sys.stdout.isatty() and len(text) <= MAX_IN_TABLES:
        print_tables(inspection, FLAGS)
    else:
        say(text)
