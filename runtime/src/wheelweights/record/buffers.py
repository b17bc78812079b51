"""The bytes behind a header: taken tensor by tensor, and checked whole when somebody asks for it.

Nothing is touched before it is needed: of a mapped file, the pages of a tensor are read when its values are.
"""

from __future__ import annotations

import zlib
from typing import TYPE_CHECKING, Final, cast

from wheelweights.errors import quoted
from wheelweights.record.faults import damaged, malformed
from wheelweights.record.header import check_checksum
from wheelweights.record.layout import MARK_BYTES, bin32, buffer_size
from wheelweights.record.mapping import check_bools
from wheelweights.record.memory import writable

if TYPE_CHECKING:
    from collections.abc import Mapping

    import numpy as np
    from numpy.typing import NDArray

    from wheelweights.record.mapping import Progress, Raw, TensorInfo

__all__ = ["Buffers"]

PIECE_BYTES: Final = 16 << 20  # checked between two calls of `progress`


class Buffers:
    """The bytes of a record, in memory or in a map, whose header has been checked.

    Raises RecordError, which names file and tensor, for a buffer that is not what the header says.
    """

    def __init__(
        self, data: NDArray[np.uint8], header_size: int, infos: Mapping[str, TensorInfo], *, path: str
    ) -> None:
        self._data = data
        self._header_size = header_size
        self._infos = infos
        self._path = path

    def raw(self, key: str) -> NDArray[np.uint8]:
        """Return a tensor's payload, not copied; the mark in front of it is checked."""
        info = self._infos[key]
        begin = _begin(info)
        size = buffer_size(info.nbytes)
        mark = self._data[begin - MARK_BYTES : begin].tobytes()
        if mark != bin32(size):
            raise malformed(f"expected a buffer of {size:,} bytes, found {quoted(mark)}", key, path=self._path)
        return self._data[begin : begin + info.nbytes]

    def writable(self) -> Raw:
        """Return a function that gives payloads as `raw` does, out of memory of its own that can be written to."""
        return Buffers(writable(self._data), self._header_size, self._infos, path=self._path).raw

    def verify(self, progress: Progress | None) -> None:
        """Check every byte: the header, and the mark, checksum, bools and zeros of each buffer."""
        check_checksum(self._data[: self._header_size].tobytes(), path=self._path)
        seen = set[int]()
        for key, info in self._infos.items():
            if _begin(info) not in seen:  # tied tensors have one buffer
                seen.add(_begin(info))
                self._verify(key, info, progress)

    def _verify(self, key: str, info: TensorInfo, progress: Progress | None) -> None:
        raw = self.raw(key)
        found = _crc32(raw, progress)
        if found != info.crc32:
            fact = f"damaged: expected CRC-32 {info.crc32:08x}, found {found:08x}"
            raise damaged(fact, key, path=self._path, expected=info.crc32, found=found)
        if info.dtype == "bool":
            check_bools(raw, key, self._path)
        end = _begin(info) + info.nbytes
        zeros = self._data[end : _begin(info) + buffer_size(info.nbytes)]
        if zeros.any():
            wrong = bytes(zeros).lstrip(b"\0")[:16]
            fact = f"expected zeros after the values, found {quoted(wrong)}"
            raise damaged(fact, key, path=self._path)


def _crc32(raw: NDArray[np.uint8], progress: Progress | None) -> int:
    crc = 0
    for start in range(0, raw.size, PIECE_BYTES):
        piece = raw[start : start + PIECE_BYTES]
        crc = zlib.crc32(piece.data, crc)
        if progress is not None:
            progress(piece.size)
    return crc


def _begin(info: TensorInfo) -> int:
    return cast("int", info.offset)  # None only in a record of Burn
