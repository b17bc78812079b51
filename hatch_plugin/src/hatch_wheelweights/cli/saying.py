"""What several commands say or take: warnings, and the flag that lets them replace a file."""

from __future__ import annotations

from typing import TYPE_CHECKING

import click

from hatch_wheelweights.cli.ending import tell
from hatch_wheelweights.cli.flags import FLAGS
from hatch_wheelweights.errors import spelt
from wheelweights.errors import printable

if TYPE_CHECKING:
    from collections.abc import Iterable

__all__ = ["force_flag", "warn"]

force_flag = click.option("--force", is_flag=True, help="Replace a file that is there; never weights.")


def warn(warnings: Iterable[object]) -> None:
    """Tell warnings, a line each."""
    for warning in warnings:
        tell(f"Warning: {printable(spelt(warning, FLAGS))}")
