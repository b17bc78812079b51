"""Deflate and CRC-32: what zlib reads and computes, the same however many threads there are."""

from __future__ import annotations

import zlib
from typing import TYPE_CHECKING

import pytest
from hypothesis import given
from hypothesis import strategies as st

from hatch_wheelweights import deflate
from hatch_wheelweights.deflate import crc32, deflated, in_threads

if TYPE_CHECKING:
    from collections.abc import Iterator

BLOCKS = st.lists(st.binary(max_size=300), max_size=12)


@given(blocks=BLOCKS)
def test_what_is_deflated_inflates_to_the_blocks(blocks: list[bytes]) -> None:
    inflater = zlib.decompressobj(-zlib.MAX_WBITS)
    content = inflater.decompress(b"".join(deflated(blocks))) + inflater.flush()
    assert (content, inflater.eof, inflater.unused_data) == (b"".join(blocks), True, b"")


def test_the_bytes_do_not_depend_on_the_number_of_threads(monkeypatch: pytest.MonkeyPatch) -> None:
    blocks = [bytes(range(256)) * number for number in range(40)]
    packed = []
    for threads in (1, 2, 7):
        monkeypatch.setattr(deflate, "_THREADS", threads)
        packed.append(b"".join(deflated(blocks)))
    assert packed[0] == packed[1] == packed[2]


@given(parts=BLOCKS)
def test_the_checksum_is_that_of_zlib(parts: list[bytes]) -> None:
    crc = 0
    for part in parts:
        crc = crc32(part, crc)
    assert crc == zlib.crc32(b"".join(parts))


@pytest.mark.parametrize("threads", [1, 2, 5])
def test_results_come_in_order_while_few_items_are_held(threads: int) -> None:
    taken: list[int] = []

    def items() -> Iterator[int]:
        for item in range(50):
            taken.append(item)
            yield item

    ahead = [len(taken) - int(result) for result in in_threads(str, items(), threads)]
    assert max(ahead) == 2 * threads + 1
    assert ahead[-1] == 1


def test_what_fails_in_a_thread_is_raised() -> None:
    def broken(item: int) -> int:
        return 1 // (3 - item)

    with pytest.raises(ZeroDivisionError):
        list(in_threads(broken, range(9), 2))
