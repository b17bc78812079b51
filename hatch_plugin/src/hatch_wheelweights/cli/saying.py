"""What several commands say or take: warnings, what was written, a refusal, examples, and a flag to replace files."""

from __future__ import annotations

from typing import TYPE_CHECKING, NoReturn

import click

from hatch_wheelweights.cli.ending import FILE_HAS_A_PROBLEM, WRONG_USAGE, end, say, tell
from hatch_wheelweights.cli.flags import FLAGS
from hatch_wheelweights.errors import ConfigError, message, spelt
from wheelweights.errors import counted, printable

if TYPE_CHECKING:
    from collections.abc import Iterable

    from hatch_wheelweights.errors import Spelling
    from hatch_wheelweights.written import Written
    from wheelweights.errors import WheelweightsError

__all__ = ["examples", "force_flag", "refuse", "say_written", "warn"]

force_flag = click.option("--force", is_flag=True, help="Replace a file that is there; never weights.")


def examples(*commands: str) -> str:
    """Return the end of a command's help: how it is called."""
    return "\n".join(["\b", "Examples:", *(f"  {command}" for command in commands)])  # click wraps no lines below \b


def warn(warnings: Iterable[object], spelling: Spelling = FLAGS) -> None:
    """Tell warnings, a line each."""
    for warning in warnings:
        tell(f"Warning: {printable(spelt(warning, spelling))}")


def say_written(done: Written, source: str, output: str, seconds: float, spelling: Spelling = FLAGS) -> None:
    """Say the notes on what was written, and then, in one line, what it is."""
    for note in done.noted:
        say(f"Note: {printable(spelt(note, spelling))}")
    holds = f"{done.size:,} bytes, {counted(done.tensors, 'tensor')} of {done.nbytes:,} bytes"
    say(f"{printable(output)}: {holds}, from {printable(source)} ({done.format}) in {seconds:.2f} s")


def refuse(error: WheelweightsError, spelling: Spelling) -> NoReturn:
    """Exit for a user's mistake or a file's fault, in words."""
    status = WRONG_USAGE if isinstance(error, ConfigError) else FILE_HAS_A_PROBLEM
    end(f"Error: {message(error, spelling)}", status)
