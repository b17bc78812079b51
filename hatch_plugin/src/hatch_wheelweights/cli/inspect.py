"""`wheelweights inspect`: what is in a file."""

# ruff: noqa: PLC0415

from __future__ import annotations

import os
import shutil
import sys
from dataclasses import replace
from typing import TYPE_CHECKING, Any, Final

import click

from hatch_wheelweights.cli.ending import FILE_HAS_A_PROBLEM, can_say, say, say_json, show, tell
from hatch_wheelweights.cli.flags import FLAGS, flag_options, read_flags
from hatch_wheelweights.cli.saying import examples, force_flag, warn
from hatch_wheelweights.cli.writing import check_text_output, write_text
from hatch_wheelweights.options.model import ConversionOptions
from wheelweights.errors import counted, printable

if TYPE_CHECKING:
    from hatch_wheelweights.looking.inspection.facts import FileFacts
    from hatch_wheelweights.looking.inspection.terminal import Screen

__all__ = ["inspect"]

LINES: Final = 40  # of the text, at most, where nobody asks for a depth
HINT: Final = ": --depth N or --find REGEX show more"

_NOT_SHOWN: Final = ("metadata", "golden", "debug")  # options of a conversion that change nothing of what inspect shows
_STYLES: Final[dict[str, dict[str, Any]]] = {"title": {"bold": True}, "name": {"fg": "cyan"}, "aside": {"dim": True}}


@click.command(
    epilog=examples(
        "wheelweights inspect model.pt",
        "wheelweights inspect model.pt --stats --find 'layer4.*weight'",
        "wheelweights inspect model.ckpt --html model.html",
    )
)
@click.argument("file", required=False)
@click.option("--package", metavar="NAME", help="Show the records of an installed package instead of a FILE.")
@click.option("--depth", type=click.IntRange(min=1), metavar="N", help="Show N levels of modules, however many lines.")
@click.option("--find", metavar="REGEX", help="List the tensors whose key has a match.")
@click.option("--stats", is_flag=True, help="Read every tensor: min, max, mean, std, zeros, NaN, a histogram.")
@click.option("--check", is_flag=True, help="Read every tensor: exit status 1 for NaN and infinity; zeros are told.")
@flag_options(ConversionOptions, without=_NOT_SHOWN)
@click.option("--json", "as_json", is_flag=True, help="Print JSON, with exact bytes.")
@click.option("--html", metavar="OUT", help="Write one HTML page instead.")
@force_flag
@click.pass_context
def inspect(  # noqa: PLR0917 (click passes them by name)
    ctx: click.Context,
    /,
    file: str | None,
    package: str | None,
    depth: int | None,
    find: str | None,
    stats: bool,
    check: bool,
    as_json: bool,
    html: str | None,
    force: bool,
    **flags: Any,
) -> None:
    """Show what is in FILE: its modules, with layers that repeat folded, and what else it holds.

    FILE is a checkpoint (.pt, .pth, .bin, .ckpt, .safetensors, an index.json of shards), a record (.mpk, also one that
    Burn wrote), a wheel with records, or a record in a wheel (package.whl/package/model.mpk). The options of the
    conversion show what it would do to a checkpoint.

    Parameters are the floats that are no running statistics of a norm. Statistics are of the values that are neither
    NaN nor infinite.

    The keys of --json: path, kind, size, tensors (key, source, shape, dtype, new_dtype, nbytes, kept, tied_to, fault,
    notes, statistics), others, metadata, warnings, notes, config, problem, top_level, records, parts, part_of, totals,
    dtypes, tree, needs, state_dicts, beside, rest, is_cut, table, findings, total, remedy,
    beside_tree. docs/inspect.md describes them.
    """
    from hatch_wheelweights.looking.files import file_of

    if (file is None) == (package is None):
        both = "Give FILE or --package, not both."
        raise click.UsageError("Missing argument 'FILE' or option '--package'." if file is None else both, ctx)
    options = read_flags(ConversionOptions, flags)
    read = None if file is None else file_of(file)
    if html is not None:
        check_text_output(html, read=read, force=force)
    looked = _look(file, package, options, find, statistics=stats or check)
    for part in (looked, *looked.records):
        warn(part.warnings)
    if html is not None:
        _write_page(looked, html, read, force=force)
        (tell if as_json else say)(f"{printable(html)}: written")
    if as_json:
        _say_json(looked)
    elif html is None:
        _show(looked, depth)
    if check and (faults := _faults_in(looked)):
        tell(f"Error: {printable(looked.path)}: {faults}")
        ctx.exit(FILE_HAS_A_PROBLEM)


def _look(
    file: str | None, package: str | None, options: ConversionOptions, find: str | None, *, statistics: bool
) -> FileFacts:
    from hatch_wheelweights.looking.inspection.inspect import Wanted, inspect_file

    wanted = Wanted(find, statistics=statistics)
    if file is not None:
        return inspect_file(file, options, wanted)
    from hatch_wheelweights.looking.inspection.inspect_package import inspect_package

    return inspect_package(str(package), options, wanted)


def _write_page(looked: FileFacts, path: str, read: str | None, *, force: bool) -> None:
    from hatch_wheelweights.looking.inspection.page import html_page

    write_text(path, html_page(looked, FLAGS), read=read, force=force)


def _say_json(looked: FileFacts) -> None:
    from hatch_wheelweights.looking.inspection.document import json_document, json_text

    say_json(json_text(json_document(looked, FLAGS)))


def _faults_in(looked: FileFacts) -> str:
    """Return how many tensors are not as they should be; nothing if all are."""
    from hatch_wheelweights.looking.inspection.findings import findings

    tensors = [tensor for part in (looked, *looked.records) for tensor in part.looked_at]
    not_finite = sum(finding.is_fault for finding in findings(tensors))
    unread = sum(tensor.kept and tensor.fault is not None for tensor in tensors)
    said = [f"{counted(not_finite, 'tensor')} with values that are not finite"] if not_finite else []
    return ", ".join([*said, *([f"{counted(unread, 'tensor')} that cannot be read"] if unread else [])])


def _show(looked: FileFacts, depth: int | None) -> None:
    from hatch_wheelweights.looking.inspection.terminal import text_of

    show(text_of(looked, FLAGS, _screen(depth)))


def _screen(depth: int | None) -> Screen:
    """Return what there is to write on: the terminal, or a page of 80 columns for a pipe."""
    from hatch_wheelweights.looking.inspection.terminal import Screen
    from hatch_wheelweights.looking.inspection.tree_words import ASCII_BARS, BARS

    is_terminal = sys.stdout is not None and sys.stdout.isatty()
    size = shutil.get_terminal_size((80, LINES))
    lines = max(LINES, size.lines) if is_terminal else LINES
    coloured = is_terminal and not os.environ.get("NO_COLOR") and os.environ.get("TERM") != "dumb"
    screen = Screen(size.columns, lines, depth, hint=HINT, bars=BARS if can_say(BARS) else ASCII_BARS)
    return replace(screen, style=_styled) if coloured else screen


def _styled(text: str, kind: str) -> str:
    return click.style(text, **_STYLES[kind]) if text else text
