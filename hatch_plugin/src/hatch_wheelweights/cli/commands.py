"""The command line as a whole: its commands in the order of their use, and how a user's mistakes are reported.

Each command has a module of its own, which knows arguments, exit statuses and what goes to which stream, and knows no
formats. A module is imported when its command is used, and whatever needs numpy when the command runs, so that `--help`
and wrong usage are answered at once.
"""

from __future__ import annotations

import importlib
import sys
from typing import Any, Final, cast

import click

from hatch_wheelweights._version import __version__

__all__ = ["cli"]

# What each does; `hatch_wheelweights.cli.inspect.inspect` is a command
_COMMANDS: Final = {
    "inspect": "Show what is in a checkpoint, record or wheel.",
    "convert": "Convert a checkpoint into a record.",
    "export": "Write the tensors of a file as safetensors.",
    "config": "Print the configuration in a checkpoint as JSON.",
    "scaffold": "Write typed dataclasses that a file binds to.",
    "verify": "Check every byte of records, in wheels and packages too.",
    "diff": "Compare two checkpoints, records or wheels.",
    "completion": "Print what makes a shell complete files, options and keys.",
}


class _Commands(click.Group):
    """Commands that report a user's mistakes in words, without a traceback."""

    def list_commands(self, ctx: click.Context) -> list[str]:  # noqa: ARG002
        """Return the names of the commands."""
        return list(_COMMANDS)

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:
        """Return a command; one that knows what a shell completes, where a shell asks."""
        if cmd_name not in _COMMANDS:
            return None
        module = importlib.import_module(f"hatch_wheelweights.cli.{cmd_name}")
        command = cast("click.Command", getattr(module, cmd_name))
        if ctx.resilient_parsing:
            from hatch_wheelweights.cli.completion import completed  # noqa: PLC0415 (likewise)

            return completed(command)
        return command

    def resolve_command(
        self, ctx: click.Context, args: list[str]
    ) -> tuple[str | None, click.Command | None, list[str]]:
        """Return the command that is meant; exit for a name that is none, and tell the nearest."""
        name = args[0]
        if name not in _COMMANDS and not name.startswith("-") and not ctx.resilient_parsing:
            from wheelweights.errors import nearest  # noqa: PLC0415 (likewise)

            near = nearest(name.lower(), _COMMANDS)
            ctx.fail(f"No such command {name!r}.{'' if near is None else f' Did you mean {near!r}?'}")
        return super().resolve_command(ctx, args)

    def format_commands(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:  # noqa: ARG002
        """Write the list of commands, without importing them."""
        with formatter.section("Commands"):
            formatter.write_dl(list(_COMMANDS.items()))

    def invoke(self, ctx: click.Context) -> Any:
        """Run the command; exit with a message and a status where a file, or its user, made a mistake."""
        from hatch_wheelweights.looking.progress import shown_on  # noqa: PLC0415 (likewise)
        from wheelweights.errors import WheelweightsError  # noqa: PLC0415

        try:
            with shown_on(sys.stderr):
                return super().invoke(ctx)
        except WheelweightsError as error:
            from hatch_wheelweights.cli.flags import FLAGS  # noqa: PLC0415
            from hatch_wheelweights.cli.saying import refuse  # noqa: PLC0415

            refuse(error, FLAGS)


@click.group(cls=_Commands, context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 100})
@click.version_option(__version__, prog_name="wheelweights", message="%(prog)s %(version)s")
def cli() -> None:
    """Weights for wheels: look into checkpoints and records, and convert one into the other.

    Nothing in a file is ever executed. Exit status: 0 all is well, 1 a file has a problem, 2 wrong usage,
    3 could not finish (interrupted, out of memory).
    """
