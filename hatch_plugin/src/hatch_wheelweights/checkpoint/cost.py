"""What work on a file may cost: one account, in proportion to the size of the file.

A file can ask in a few bytes for work without end: a call on a long value, repeated; one subtree under a thousand
names; a text that names a number of thousands of digits. So whatever is done for a file is charged here, by what it
takes and not by what the file is long: steps (about one microsecond each) and bytes of memory.
"""

from __future__ import annotations

import gc
from contextlib import contextmanager
from typing import TYPE_CHECKING, Final

from hatch_wheelweights.errors import CheckpointError

if TYPE_CHECKING:
    from collections.abc import Generator

__all__ = ["Account", "collecting_later"]

# Checkpoints that torch wrote take 0.2 to 1 step and 7 to 48 bytes of memory for each of theirs
FREE_STEPS: Final = 1_000_000
STEPS_PER_BYTE: Final = 2
FREE_BYTES: Final = 32 << 20
BYTES_PER_BYTE: Final = 48
MAX_BYTES: Final = 768 << 20


class Account:
    """The account of one opening, or of one selection: what was charged, and what a file of `size` bytes may cost."""

    def __init__(self, size: int) -> None:
        self.steps = 0
        self.nbytes = 0
        self.size = 0
        self.grow(size)

    def grow(self, size: int) -> None:
        """Allow for the work on one more file of this size."""
        self.size += size
        self.max_steps = FREE_STEPS + STEPS_PER_BYTE * self.size
        self.max_nbytes = min(FREE_BYTES + BYTES_PER_BYTE * self.size, MAX_BYTES)

    def charge(self, steps: int, nbytes: int = 0) -> None:
        """Add to the account; raise CheckpointError where that is more than the file may cost."""
        self.steps += steps
        self.nbytes += nbytes
        if self.steps > self.max_steps or self.nbytes > self.max_nbytes:
            what = "work" if self.steps > self.max_steps else "memory"
            raise CheckpointError(
                f"asks for more {what} than a file of {self.size:,} bytes may take",
                remedy="Save it again with torch, as a state_dict: no checkpoint needs that much.",
            )


@contextmanager
def collecting_later() -> Generator[None]:
    """Make many objects without Python looking for cycles among them again and again, a third of the time otherwise.

    What is made is bounded by an account, and has no cycles. What the program has made before may have some: Python
    looks for them afterwards, as it would have. Threads can be in here at the same time, so that only the one that
    turned it off turns it on again; and an interrupt can come whenever a call returns.
    """
    was_on = gc.isenabled()
    try:
        if was_on:
            gc.disable()
        yield
    finally:
        if was_on:
            gc.enable()
