"""`wheelweights config`: the configuration in a checkpoint."""

# ruff: noqa: PLC0415

from __future__ import annotations

import click

from hatch_wheelweights.cli.ending import say_json
from hatch_wheelweights.cli.saying import examples, force_flag, warn
from hatch_wheelweights.cli.writing import check_text_output, write_text

__all__ = ["config"]


@click.command(
    epilog=examples(
        "wheelweights config model.ckpt --key hyper_parameters",
        "wheelweights config model.pt --key config --key model -o config.json",
    ),
)
@click.argument("source")
@click.option(
    "--key", multiple=True, required=True, metavar="KEY", help="The key; several lead to a nested value. Repeatable."
)
@click.option("--output", "-o", metavar="FILE", help="Write it there instead of printing it.")
@force_flag
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
    warn(found.warnings)
    if output is None:
        say_json(text)
    else:
        write_text(output, f"{text}\n", read=source, force=force)
