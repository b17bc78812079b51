"""The SHA-256 of a file, computed in a thread from the pieces that a conversion reads, so that none is read twice.

The pieces need not come in the order of the file, nor all of them: what is left out is read for the hash alone.
"""

from __future__ import annotations

import hashlib
from functools import partial
from queue import SimpleQueue
from threading import Lock, Thread
from typing import TYPE_CHECKING, Final

from hatch_wheelweights.errors import CheckpointError

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    import numpy as np
    from numpy.typing import NDArray

    Read = Callable[[int, int], Iterator[NDArray[np.uint8]]]

__all__ = ["Hashing"]

WAITING: Final = 8  # pieces at a time; whoever reads faster than they are hashed waits
FEW_BYTES: Final = 1 << 16  # so few are read once more, with others: a thread costs more for each piece
MAX_GAP: Final = 16 << 20  # bytes left out; beyond, the file is not read in its order, and all the rest is hashed alone
_CLOSED: Final = "the checkpoint was closed while it was hashed"


class Hashing:
    """A hash that follows whoever reads the file.

    Refers to the file only while there is work to do. `read` of the methods gives so many of its bytes from a position
    on, without giving them to this hash.
    """

    def __init__(self, size: int) -> None:
        self._size = size
        self._digest = hashlib.sha256()
        self._given = 0  # bytes of the file that the thread has, or will read by itself
        self._one_at_a_time = Lock()
        self._work: SimpleQueue[Callable[[], Iterator[NDArray[np.uint8]]] | None] = SimpleQueue()
        self._room: SimpleQueue[None] = SimpleQueue()
        for _ in range(WAITING):
            self._room.put(None)
        self._fault: BaseException | None = None
        self._stopped = False
        self._thread = Thread(target=self._run, daemon=True)
        self._thread.start()

    def follow(self, position: int, piece: NDArray[np.uint8], read: Read) -> None:
        """Take a piece of the file that somebody has read, unless it was hashed before."""
        with self._one_at_a_time:
            if self._stopped:
                return
            new = piece[max(0, self._given - position) :]
            gap = position - self._given
            if gap > MAX_GAP:
                self._hash_rest(read)
            elif new.size and position + piece.size - self._given >= FEW_BYTES:
                if gap > 0:
                    self._hash(partial(read, self._given, gap))
                self._hash(partial(iter, (new,)))
                self._given = position + piece.size

    def result(self, read: Read) -> str:
        """Return the SHA-256 in hexadecimal, when all is hashed.

        Raises what reading the rest raised, and CheckpointError after `stop`.
        """
        with self._one_at_a_time:
            if self._given < self._size and not self._stopped:
                self._hash_rest(read)
        self._end()
        if self._fault is not None:
            raise self._fault
        if self._given < self._size:
            raise CheckpointError(_CLOSED)
        return self._digest.hexdigest()

    def stop(self) -> None:
        """Let go of the file soon: no result is wanted any more."""
        self._stopped = True
        self._end()

    def _end(self) -> None:
        self._work.put(None)
        self._thread.join()

    def _hash_rest(self, read: Read) -> None:
        self._hash(partial(read, self._given, self._size - self._given))
        self._given = self._size

    def _hash(self, pieces: Callable[[], Iterator[NDArray[np.uint8]]]) -> None:
        self._room.get()
        self._work.put(pieces)

    def _run(self) -> None:
        while (pieces := self._work.get()) is not None:
            self._hash_here(pieces)
            del pieces  # or the file would be held while there is nothing to do
            self._room.put(None)

    def _hash_here(self, pieces: Callable[[], Iterator[NDArray[np.uint8]]]) -> None:
        try:
            if self._fault is None:
                for piece in pieces():
                    if self._stopped:
                        raise CheckpointError(_CLOSED)
                    self._digest.update(piece.data)
        except BaseException as error:  # noqa: BLE001 (whoever asks for the result raises it)
            self._fault = error
