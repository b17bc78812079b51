"""CRC-32 and deflate by ISA-L, several times as fast as zlib, and on several processors.

Deflated bytes depend on the content, on the version of `isal` and on the kind of processor, never on how many there
are: blocks of one size are deflated each by itself, and end on a byte (RFC 1951, 3.2.4), so that they can follow each
other.
"""

from __future__ import annotations

import os
import zlib
from collections import deque
from typing import TYPE_CHECKING, Any, Final, TypeVar

from isal import isal_zlib

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator
    from concurrent.futures import Future

__all__ = ["BLOCK_BYTES", "LEVEL", "crc32", "deflated", "in_threads"]

BLOCK_BYTES: Final = 1 << 20  # deflated by itself: of float weights, that takes a ten-thousandth more room
LEVEL: Final = 1  # level 0 makes float weights larger, 2 and 3 make them no smaller
_THREADS: Final = min(4, os.cpu_count() or 1)  # so many keep up with SHA-256, which is on one processor
_END: Final = b"\x03\x00"  # a last block, empty

S = TypeVar("S")
T = TypeVar("T")


def crc32(data: Any, crc: int = 0) -> int:
    """Return the CRC-32 of bytes, continued from that of what stands before them; as `zlib.crc32`."""
    return isal_zlib.crc32(data, crc)  # pyright: ignore[reportUnknownMemberType]  # isal's types are partial


def deflated(blocks: Iterable[bytes]) -> Iterator[bytes]:
    """Yield blocks as one deflated stream, without a header, piece by piece."""
    yield from in_threads(_deflated, blocks, _THREADS)
    yield _END


def _deflated(block: bytes) -> bytes:
    compressor: Any = isal_zlib.compressobj(level=LEVEL, wbits=-isal_zlib.MAX_WBITS)  # pyright: ignore[reportUnknownMemberType]
    packed: bytes = compressor.compress(block) + compressor.flush(zlib.Z_SYNC_FLUSH)
    return packed


def in_threads(function: Callable[[S], T], items: Iterable[S], threads: int) -> Iterator[T]:
    """Yield what a function gives for each item, in their order, while a few more are being worked on in threads.

    With one thread the function is called in that order too.
    """
    from concurrent.futures import ThreadPoolExecutor  # noqa: PLC0415 (reading a checkpoint needs a CRC-32 alone)

    waiting: deque[Future[T]] = deque()
    with ThreadPoolExecutor(threads) as pool:
        for item in items:
            waiting.append(pool.submit(function, item))
            if len(waiting) > 2 * threads:
                yield waiting.popleft().result()
        while waiting:
            yield waiting.popleft().result()
