"""Whether a member of an archive is a copy of a file, whatever it is called."""

from __future__ import annotations

from typing import IO, TYPE_CHECKING, Final

if TYPE_CHECKING:
    from pathlib import Path

__all__ = ["is_copy"]

_BLOCK: Final = 1 << 20


def is_copy(content: IO[bytes], file: Path) -> bool:
    """Return whether an open member holds the bytes of a file; it is read up to the first that differs."""
    with file.open("rb") as other:
        while block := content.read(_BLOCK):
            if block != other.read(len(block)):
                return False
        return not other.read(1)
