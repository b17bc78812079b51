"""The SHA-256 of a file, computed in a thread from the pieces that a conversion reads, so that none is read twice.

The pieces need not come in the order of the file, nor all of them: what is left out is read for the hash alone.
"""

from __future__ import annotations

import copy
from contextlib import suppress
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
    Work = list[Callable[[], Iterator[NDArray[np.uint8]]]]

__all__ = ["Hashing"]

WAITING: Final = 8  # pieces at a time; whoever reads faster than they are hashed waits
TOGETHER: Final = 1 << 16  # bytes; smaller pieces are handed over together: a thread costs more for each
MAX_GAP: Final = 16 << 20  # bytes left out; beyond, the file is not read in its order, and all the rest is hashed alone
_CLOSED: Final = "the checkpoint was closed while it was hashed"


class Hashing:
    """A hash that follows whoever reads the file.

    Refers to the file only while there is work to do. `read` of the methods gives so many of its bytes from a position
    on, without giving them to this hash.
    """

    def __init__(self, size: int) -> None:
        import hashlib  # noqa: PLC0415 (it loads OpenSSL, and looking into a file hashes nothing)

        self._size = size
        self._digest = hashlib.sha256()
        self._hashed = 0  # bytes, by the thread; nothing but all of them is a result
        self._given = 0  # bytes of the file that the thread has, or will have: it reads some by itself
        self._small: Work = []
        self._small_bytes = 0
        self._one_at_a_time = Lock()
        self._work: SimpleQueue[Work | None] = SimpleQueue()
        self._room: SimpleQueue[None] = SimpleQueue()
        for _ in range(WAITING):
            self._room.put(None)
        self._thread: Thread | None = None
        self._fault: BaseException | None = None
        self._stopped = False

    def follow(self, position: int, piece: NDArray[np.uint8], read: Read) -> None:
        """Take a piece of the file that somebody has read, unless it was hashed before."""
        with self._one_at_a_time:
            if self._stopped or (self._thread is not None and not self._thread.is_alive()):  # complete, or forked
                return
            new = piece[max(0, self._given - position) :]
            gap = position - self._given
            if gap > MAX_GAP:
                self._give_rest(read)
            elif new.size:
                work = [partial(read, self._given, gap)] if gap > 0 else []
                self._give([*work, partial(iter, (new,))], max(gap, 0) + new.size)

    def result(self, read: Read) -> str:
        """Return the SHA-256 in hexadecimal, when all is hashed.

        Raises what reading the rest raised, and CheckpointError after `stop`.
        """
        with self._one_at_a_time:
            if not self._stopped:
                self._give_rest(read)
        self._end()
        if self._fault is not None:
            raise copy.copy(self._fault)  # a raised error holds the frames that it passed, and they the file
        if self._hashed != self._size:
            raise CheckpointError(_CLOSED if self._stopped else "hashing it was interrupted")
        return self._digest.hexdigest()

    def stop(self) -> None:
        """Let go of the file soon: no result is wanted any more."""
        self._stopped = True
        self._end()

    def let_go(self) -> None:
        """End the thread when it has done what it has."""
        self._work.put(None)

    def _end(self) -> None:
        self.let_go()
        if self._thread is not None:
            with suppress(RuntimeError):  # an interrupt came while it was being started: it ends by itself
                self._thread.join()

    def _give_rest(self, read: Read) -> None:
        rest = self._size - self._given
        self._give([partial(read, self._given, rest)] if rest else [], rest)

    def _give(self, work: Work, nbytes: int) -> None:
        """Hand over what the next bytes of the file are read from; a little waits until there is more."""
        self._small += work
        self._given += nbytes
        self._small_bytes += nbytes
        if self._small and (self._small_bytes >= TOGETHER or self._given == self._size):
            if self._thread is None:
                self._thread = Thread(target=self._run, daemon=True)
                self._thread.start()
            self._room.get()
            self._work.put(self._small)
            self._small, self._small_bytes = [], 0
            if self._given == self._size:
                self.let_go()

    def _run(self) -> None:
        while (work := self._work.get()) is not None:
            self._hash(work)
            del work  # or the file would be held while there is nothing to do
            self._room.put(None)

    def _hash(self, work: Work) -> None:
        try:
            for pieces in work if self._fault is None else ():
                for piece in pieces():
                    if self._stopped:
                        return
                    self._digest.update(piece.data)
                    self._hashed += piece.size
        except BaseException as error:  # noqa: BLE001 (whoever asks for the result raises it)
            self._fault = error.with_traceback(None)
