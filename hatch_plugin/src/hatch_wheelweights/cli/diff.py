"""`wheelweights diff`: how the tensors of two files differ."""

# ruff: noqa: PLC0415

from __future__ import annotations

from typing import Any

import click

from hatch_wheelweights.cli.ending import FILE_HAS_A_PROBLEM, say
from hatch_wheelweights.cli.flags import FLAGS, flag_options, read_flags
from hatch_wheelweights.options.model import TensorOptions

__all__ = ["diff"]


@click.command(short_help="Compare two checkpoints, records or wheels.")
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
