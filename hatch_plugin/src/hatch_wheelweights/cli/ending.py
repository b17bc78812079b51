"""How the command ends: its exit statuses, and the last line of one that could not do its work."""

from __future__ import annotations

import sys
from typing import Final, NoReturn

__all__ = ["COULD_NOT_FINISH", "FILE_HAS_A_PROBLEM", "WRONG_USAGE", "end"]

FILE_HAS_A_PROBLEM: Final = 1  # and, for `diff`, files that differ
WRONG_USAGE: Final = 2
COULD_NOT_FINISH: Final = 3


def end(line: str, status: int) -> NoReturn:
    """Print a line to standard error and exit."""
    print(line, file=sys.stderr)  # noqa: T201 (click may be missing)
    sys.exit(status)
