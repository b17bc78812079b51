"""`wheelweights scaffold`: typed dataclasses that a file binds to, as Python source."""

# ruff: noqa: PLC0415

from __future__ import annotations

from typing import Any

import click

from hatch_wheelweights.cli.ending import say
from hatch_wheelweights.cli.flags import flag_options, read_flags
from hatch_wheelweights.cli.saying import examples, force_flag
from hatch_wheelweights.cli.writing import check_text_output, write_text
from hatch_wheelweights.options.model import TensorOptions

__all__ = ["scaffold"]


@click.command(
    epilog=examples(
        "wheelweights scaffold model.pt -o src/my_package/model.py",
        "wheelweights scaffold model.pt --whole-model",
    ),
)
@click.argument("file")
@flag_options(TensorOptions)
@click.option("--output", "-o", metavar="OUT", help="Write the source there (.py) instead of printing it.")
@force_flag
def scaffold(file: str, output: str | None, force: bool, **flags: Any) -> None:
    """Write typed dataclasses that FILE binds to, as Python source: a checkpoint, a record, one that Burn wrote.

    Where FILE names the classes of its modules (a pickled model, TorchScript, an exported program), the classes have
    these names and the layers their settings. Otherwise layers are told by names and shapes, and comments say what
    these do not tell. The options that concern tensors apply to checkpoints: give those of the conversion.
    """
    from hatch_wheelweights.looking.files import file_of
    from hatch_wheelweights.looking.scaffold import scaffold_file

    options = read_flags(TensorOptions, flags)
    if output is not None:
        check_text_output(output, read=file_of(file), force=force)
    source = scaffold_file(file, options)
    if output is None:
        say(source.removesuffix("\n"))
    else:
        write_text(output, source, read=file_of(file), force=force)
