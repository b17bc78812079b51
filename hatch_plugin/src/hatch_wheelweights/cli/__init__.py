"""The command `wheelweights`."""

from hatch_wheelweights.cli.commands import cli, main

__all__ = ["cli", "main"]
