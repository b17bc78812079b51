"""`wheelweights export`: the tensors of a checkpoint or a record as a safetensors file."""

# ruff: noqa: PLC0415

from __future__ import annotations

import time
from typing import Any

import click

from hatch_wheelweights.cli.flags import flag_options, read_flags, spelling_of
from hatch_wheelweights.cli.saying import examples, refuse, say_written, warn
from hatch_wheelweights.cli.writing import check_safetensors_output
from hatch_wheelweights.options.model import ExportOptions
from wheelweights.errors import WheelweightsError

__all__ = ["export"]


@click.command(
    epilog=examples(
        "wheelweights export model.pth model.safetensors",
        "wheelweights export train.ckpt model.safetensors --top-level-key state_dict",
        "wheelweights export package.whl/package/model.mpk model.safetensors",
    ),
)
@click.argument("file")
@click.argument("output")
@flag_options(ExportOptions)
@click.option("--force", is_flag=True, help="Replace a safetensors file that is there.")
def export(file: str, output: str, force: bool, **flags: Any) -> None:
    """Write the tensors of FILE, a checkpoint or a record, into the safetensors file OUTPUT (.safetensors).

    A record in a wheel is named package.whl/package/model.mpk. The options that concern tensors apply to checkpoints.
    A safetensors file that is there is replaced with --force only, any other file never.
    """
    from hatch_wheelweights.exporting import export_file

    started = time.perf_counter()
    spelling = spelling_of(ExportOptions)
    try:
        options = read_flags(ExportOptions, flags)
        check_safetensors_output(output, force=force)
        done = export_file(file, output, options, force=force)
    except WheelweightsError as error:
        refuse(error, spelling)
    warn(done.told, spelling)
    say_written(done, file, output, time.perf_counter() - started, spelling)
