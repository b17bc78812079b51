"""`wheelweights diff`: how the tensors of two files differ."""

# ruff: noqa: PLC0415

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import click

from hatch_wheelweights.cli.ending import FILE_HAS_A_PROBLEM, say, say_json, tell
from hatch_wheelweights.cli.flags import FLAGS, flag_options, given_flags, read_flags, spelling_of
from hatch_wheelweights.cli.saying import examples, force_flag
from hatch_wheelweights.cli.writing import check_text_output, write_text
from hatch_wheelweights.errors import spelt
from hatch_wheelweights.options.model import TensorOptions
from wheelweights.errors import printable

if TYPE_CHECKING:
    from collections.abc import Mapping

    from hatch_wheelweights.errors import Spelling
    from hatch_wheelweights.looking.difference.diff import Difference
    from hatch_wheelweights.looking.difference.sides import Side

__all__ = ["diff"]

A, B = "a-", "b-"


@click.command(
    epilog=examples(
        "wheelweights diff train.pt lightning.ckpt",
        "wheelweights diff train.pt model.mpk --rtol 1e-3 --atol 1e-6",
        "wheelweights diff old.pt new.pt --a-top-level-key ema --json",
    )
)
@click.argument("a")
@click.argument("b")
@flag_options(TensorOptions)
@flag_options(TensorOptions, prefix=A)
@flag_options(TensorOptions, prefix=B)
@click.option("--rtol", type=float, default=0.0, metavar="NUMBER", help="Allow |a - b| to be so much of |b|.")
@click.option("--atol", type=float, default=0.0, metavar="NUMBER", help="Allow |a - b| to be so much.")
@click.option("--json", "as_json", is_flag=True, help="Print JSON, with every tensor.")
@click.option("--html", metavar="OUT", help="Write one HTML page instead.")
@force_flag
def diff(
    a: str, b: str, *, rtol: float, atol: float, as_json: bool, html: str | None, force: bool, **flags: Any
) -> None:
    """Compare the tensors of A and B: names, shapes, dtypes and every value.

    A and B are whatever inspect reads. Tensors under other names are found by equal content, and the rule of their
    renaming is told. NaN equals NaN. Metadata and other values are not compared.

    The options of the conversion apply to checkpoints, so that a checkpoint can be compared with the record made from
    it. Each is also there for one file alone, where it wins: --a-top-level-key model, --b-precision half.

    --rtol and --atol allow |a - b| <= atol + rtol * |b|, and tensors of another dtype. Without them values must be
    equal.

    The keys of --json: paths, equal, equal_but_for_names, rtol, atol, counts (equal, within, different, renamed,
    only_in_a, only_in_b), tensors (key, new_key, state, dtypes, shapes, elements, unequal, differing, largest,
    largest_relative, cosine, nan_in_both, nan_in_one, fault), only_in_a and only_in_b (key, dtype, shape), renames
    (pattern, new_pattern, keys), by_names, undecided, modules (name, tensors, different, largest, largest_relative,
    cosine), notes, warnings, part_of.

    Exit status: 0 the tensors are equal within the tolerances, 1 they differ (which standard output says) or a file has
    a problem (standard error), 2 wrong usage, 3 could not finish.
    """
    from hatch_wheelweights.looking.difference.diff import diff_files
    from hatch_wheelweights.looking.difference.sides import Side
    from hatch_wheelweights.looking.difference.values import tolerance_of

    options = read_flags(TensorOptions, flags)
    own = given_flags(TensorOptions, flags, A), given_flags(TensorOptions, flags, B)
    both = a == b and not any(own)  # then a message is about either
    sides = (
        Side(a, own[0], None if both else _spelling(A, options, own[0])),
        Side(b, own[1], None if both else _spelling(B, options, own[1])),
    )
    tolerance = tolerance_of(rtol, atol)
    if html is not None:
        _check_page(html, sides, force=force)
    difference = diff_files(sides, options, tolerance)
    for path, warning in difference.warnings:
        tell(f"Warning: {printable(path)}: {printable(spelt(warning, FLAGS))}")
    if html is not None:
        _write_page(html, difference, force=force)
        (tell if as_json else say)(f"{printable(html)}: written")
    if as_json or html is None:
        _show(difference, as_json=as_json)
    click.get_current_context().exit(0 if difference.equal else FILE_HAS_A_PROBLEM)


def _spelling(prefix: str, options: TensorOptions, own: Mapping[str, Any]) -> Spelling | None:
    """Return how the options of one file are written: for that file alone.

    Where options were given for both files, and none for this one, a message is about those.
    """
    return None if options != TensorOptions() and not own else spelling_of(TensorOptions, prefix)


def _show(difference: Difference, *, as_json: bool) -> None:
    from hatch_wheelweights.looking.difference.document import difference_document
    from hatch_wheelweights.looking.difference.words import difference_lines
    from hatch_wheelweights.looking.texts import json_of

    if as_json:
        say_json(json_of(difference_document(difference, FLAGS)))
    else:
        say("\n".join(difference_lines(difference, FLAGS)))


def _check_page(html: str, sides: tuple[Side, Side], *, force: bool) -> None:
    from hatch_wheelweights.looking.files import file_of

    for side in sides:
        check_text_output(html, read=file_of(side.path), force=force)


def _write_page(html: str, difference: Difference, *, force: bool) -> None:
    from hatch_wheelweights.looking.difference.page import difference_page
    from hatch_wheelweights.looking.files import file_of

    write_text(html, difference_page(difference, FLAGS), read=file_of(difference.paths[0]), force=force)
