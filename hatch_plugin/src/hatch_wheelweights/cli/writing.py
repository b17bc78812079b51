"""A text file that a command writes: whole or not at all, and never over the file that it tells of."""

from __future__ import annotations

import contextlib
import os
from pathlib import Path

from hatch_wheelweights.cli.ending import reason_of
from wheelweights.errors import WheelweightsError

__all__ = ["write_text"]


def write_text(path: str, text: str, *, read: str) -> None:
    """Write a text file; `read` is the path of the file that the text is about.

    A file that is there is replaced at once; a device or a pipe is written to. Raises WheelweightsError for the file
    that is read, and for what the system refuses; then a file that was there is as it was.
    """
    target = Path(path)
    try:
        if target.exists() and target.samefile(read):
            raise WheelweightsError("expected another file to write to, found the one that is read", path=path)
        if target.exists() and not target.is_file():
            target.write_text(text, encoding="utf-8")
        else:
            _replace(target, text)
    except (OSError, ValueError) as error:
        raise WheelweightsError(f"cannot be written: {reason_of(error)}", path=path) from error


def _replace(target: Path, text: str) -> None:
    temporary = target.parent / f".{target.name}.{os.urandom(8).hex()}.tmp"
    try:
        with temporary.open("x", encoding="utf-8") as file:
            file.write(text)
        temporary.replace(target)
    except BaseException:
        with contextlib.suppress(OSError):
            temporary.unlink(missing_ok=True)
        raise
