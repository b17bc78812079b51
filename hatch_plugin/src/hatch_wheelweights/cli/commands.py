"""The command line as a whole: its commands in the order of their use, and how a user's mistakes are reported.

Each command has a module of its own, which knows arguments, exit statuses and what goes to which stream, and knows no
formats. Whatever needs numpy is imported inside the commands, so that `--help` and wrong usage are answered at once.
"""

from __future__ import annotations

from typing import Any

import click

from hatch_wheelweights._version import __version__
from hatch_wheelweights.cli.config import config
from hatch_wheelweights.cli.convert import convert
from hatch_wheelweights.cli.diff import diff
from hatch_wheelweights.cli.ending import COULD_NOT_FINISH, FILE_HAS_A_PROBLEM, WRONG_USAGE, end
from hatch_wheelweights.cli.flags import FLAGS
from hatch_wheelweights.cli.inspect import inspect
from hatch_wheelweights.cli.verify import verify
from hatch_wheelweights.errors import ConfigError, message
from wheelweights.errors import WheelweightsError

__all__ = ["cli"]


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


for _command in (inspect, convert, config, verify, diff):
    cli.add_command(_command)
