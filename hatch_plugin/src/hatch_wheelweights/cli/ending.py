"""What the command says, and how it ends: its two streams, its exit statuses, and the line of one that failed.

Names and values come from files, so nothing is said here unescaped. Imports neither click nor numpy.
"""

from __future__ import annotations

import errno
import os
import sys
from contextlib import suppress
from typing import TYPE_CHECKING, Final, NoReturn

if TYPE_CHECKING:
    from typing import TextIO

__all__ = [
    "COULD_NOT_FINISH",
    "FILE_HAS_A_PROBLEM",
    "WRONG_USAGE",
    "can_say",
    "end",
    "end_for",
    "reason_of",
    "say",
    "say_json",
    "show",
    "tell",
]

FILE_HAS_A_PROBLEM: Final = 1  # and, for `diff`, files that differ
WRONG_USAGE: Final = 2
COULD_NOT_FINISH: Final = 3


def say(text: str) -> None:
    """Print lines to standard output at once; end the command if that fails."""
    _print(text, sys.stdout, "standard output")


def say_json(text: str) -> None:
    """Print JSON to standard output; what that cannot encode is escaped as JSON does it, so that it stays JSON."""
    if not can_say(text):
        from hatch_wheelweights.looking.texts import ascii_json  # noqa: PLC0415 (only where it is needed)

        text = ascii_json(text)
    say(text)


def can_say(text: str) -> bool:
    """Tell whether standard output can encode all of a text; what it cannot is printed as a backslash and a number."""
    try:
        text.encode(getattr(sys.stdout, "encoding", None) or "utf-8")
    except UnicodeEncodeError:
        return False
    return True


def show(text: str) -> None:
    """Print lines as they are, colours included: whatever comes from a file must be escaped in them."""
    _write(text, sys.stdout, "standard output")


def tell(text: str) -> None:
    """Print lines to standard error at once; end the command if that fails."""
    _print(text, sys.stderr, "standard error")


def end(lines: str, status: int) -> NoReturn:
    """Print to standard error, where that is still possible, and exit."""
    with suppress(OSError):
        print(_escaped(lines), file=sys.stderr, flush=True)  # noqa: T201 (click may be missing)
    _let_go()
    sys.exit(status)


def end_for(error: OSError, subject: str | None = None) -> NoReturn:
    """Exit for what the system refused to do; silently if whoever reads the output went away, as `head` does."""
    if error.errno == errno.EPIPE:
        _let_go()
        sys.exit(FILE_HAS_A_PROBLEM)
    if subject is None and error.filename is not None:
        subject = os.fsdecode(error.filename)
    end(f"Error: {'' if subject is None else f'{subject}: '}{reason_of(error)}", FILE_HAS_A_PROBLEM)


def reason_of(error: OSError | ValueError) -> str:
    """Return what the system says, such as "No space left on device"."""
    said = error.strerror if isinstance(error, OSError) else None
    return said or str(error) or type(error).__name__


def _print(text: str, stream: TextIO | None, name: str) -> None:
    _write(_escaped(text), stream, name)


def _write(text: str, stream: TextIO | None, name: str) -> None:
    try:
        print(text, file=stream, flush=True)
    except OSError as error:
        end_for(error, f"{name} cannot be written")


def _escaped(text: str) -> str:
    from wheelweights.errors import printable  # noqa: PLC0415 (only when something is said)

    return "\n".join(line if line.isprintable() else printable(line) for line in text.split("\n"))


def _let_go() -> None:
    """Lead a stream that cannot be written to nowhere, so that Python does not try again when it exits."""
    for stream in filter(None, (sys.stdout, sys.stderr)):
        try:
            stream.flush()
        except OSError:
            with suppress(OSError):
                os.dup2(os.open(os.devnull, os.O_WRONLY), stream.fileno())
