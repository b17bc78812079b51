"""`wheelweights convert`: the hook's conversion, by hand."""

# ruff: noqa: PLC0415

from __future__ import annotations

import time
from typing import Any

import click

from hatch_wheelweights.cli.ending import say
from hatch_wheelweights.cli.flags import flag_options, read_flags
from hatch_wheelweights.cli.saying import examples, force_flag, say_written, warn
from hatch_wheelweights.cli.writing import check_record_output
from hatch_wheelweights.options.model import ConversionOptions
from wheelweights.errors import printable

__all__ = ["convert"]


@click.command(
    epilog=examples(
        "wheelweights convert model.pt model.mpk",
        "wheelweights convert train.ckpt model.mpk --top-level-key state_dict --key-remap '^module\\.' ''",
        "wheelweights convert model.safetensors model.mpk --precision half",
    ),
)
@click.argument("source")
@click.argument("output")
@flag_options(ConversionOptions)
@force_flag
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
    warn(done.told)
    if options.debug:
        say(done.table)
    say_written(done, source, output, time.perf_counter() - started)
    if done.golden is not None:
        say(f"{printable(str(done.golden))}: golden outputs, from {printable(str(options.golden))}")
