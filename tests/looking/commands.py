"""The command line, run as a person and as a script run it: what it prints where, and how it exits."""

from __future__ import annotations

import subprocess
import sys
from typing import Any

from click.testing import CliRunner, Result

from hatch_wheelweights.cli.commands import cli


def run(*arguments: str, status: int = 0) -> Result:
    """Run the command in this process; it exits with this status, and without a traceback."""
    result = CliRunner().invoke(cli, arguments, prog_name="wheelweights")
    assert result.exit_code == status, result.output
    assert result.exception is None or isinstance(result.exception, SystemExit)
    return result


def stdout(*arguments: str, status: int = 0) -> str:
    """Return what the command prints to standard output; it prints nothing else."""
    result = run(*arguments, status=status)
    assert result.stderr == ""
    return result.stdout


def refusal(*arguments: str, status: int = 1) -> str:
    """Return what the command prints to standard error; it prints nothing else."""
    result = run(*arguments, status=status)
    assert result.stdout == ""
    return result.stderr


def process(*arguments: str, **options: Any) -> subprocess.CompletedProcess[str]:
    """Run the command in a process of its own."""
    command = [sys.executable, "-m", "hatch_wheelweights", *arguments]
    return subprocess.run(command, capture_output=True, text=True, check=False, **options)


def python(code: str) -> subprocess.CompletedProcess[str]:
    """Run code in a fresh interpreter."""
    return subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
