"""What to do about a file that is damaged: the sentences that several readers end an error with."""

from __future__ import annotations

from typing import Final

__all__ = ["DAMAGED", "DOUBTFUL", "GET_AGAIN", "UNPACK"]

GET_AGAIN: Final = "Get the file again."
DAMAGED: Final = "Get the file again: it is damaged."
DOUBTFUL: Final = "Get the file again: it is damaged, or not a checkpoint."
UNPACK: Final = "If the checkpoint is inside the archive, unpack it and name the file itself."
