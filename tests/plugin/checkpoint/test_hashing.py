"""The hash of a file that somebody reads: right in whatever order, and in the usual one without reading twice."""

from __future__ import annotations

import hashlib
from typing import TYPE_CHECKING

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from hatch_wheelweights.checkpoint import hashing
from hatch_wheelweights.checkpoint.hashing import Hashing
from hatch_wheelweights.errors import CheckpointError

if TYPE_CHECKING:
    from collections.abc import Iterator

    from numpy.typing import NDArray

PIECE = 10


class File:
    """Bytes that can be read, and that remember what was read for the hash alone."""

    def __init__(self, size: int) -> None:
        self.data = np.random.default_rng(size).integers(0, 256, size, np.uint8)
        self.hashed_alone: list[tuple[int, int]] = []
        self.hashing = Hashing(size)

    def read(self, position: int, nbytes: int) -> Iterator[NDArray[np.uint8]]:
        self.hashed_alone.append((position, nbytes))
        for begin in range(position, position + nbytes, PIECE):
            yield self.data[begin : min(begin + PIECE, position + nbytes)]

    def give(self, position: int, nbytes: int) -> None:
        self.hashing.follow(position, self.data[position : position + nbytes], self.read)

    def result(self) -> str:
        return self.hashing.result(self.read)

    @property
    def expected(self) -> str:
        return hashlib.sha256(self.data.data).hexdigest()


@pytest.fixture(autouse=True)
def small(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(hashing, "FEW_BYTES", 4)
    monkeypatch.setattr(hashing, "MAX_GAP", 50)


@given(size=st.integers(0, 300), places=st.lists(st.tuples(st.integers(0, 300), st.integers(0, 20)), max_size=30))
def test_the_hash_is_that_of_the_file_whatever_is_read_of_it(size: int, places: list[tuple[int, int]]) -> None:
    file = File(size)
    for position, nbytes in places:
        file.give(min(position, size), nbytes)
    assert file.result() == file.expected
    assert file.result() == file.expected  # it can be asked for again


def test_what_is_read_in_order_is_not_read_again() -> None:
    file = File(100)
    for position in range(0, 100, PIECE):
        file.give(position, PIECE)
    assert file.result() == file.expected
    assert file.hashed_alone == []


def test_what_is_left_out_is_read_once() -> None:
    file = File(100)
    for position in (20, 30, 60, 30):  # the last one again, as after a checksum
        file.give(position, PIECE)
    assert file.result() == file.expected
    assert file.hashed_alone == [(0, 20), (40, 20), (70, 30)]


def test_few_bytes_wait_for_more() -> None:
    file = File(100)
    for position in range(0, 100, 3):
        file.give(position, 2)
    assert file.result() == file.expected
    assert max(nbytes for _, nbytes in file.hashed_alone) <= 4


def test_a_file_that_is_not_read_in_its_order_is_hashed_alone() -> None:
    file = File(100)
    file.give(0, PIECE)
    file.give(90, PIECE)
    file.give(PIECE, PIECE)
    assert file.result() == file.expected
    assert file.hashed_alone == [(10, 90)]


def test_what_cannot_be_read_is_raised_with_the_result() -> None:
    file = File(100)

    def broken(position: int, nbytes: int) -> Iterator[NDArray[np.uint8]]:
        yield file.data[:1]
        raise CheckpointError("was cut short")

    file.hashing.follow(20, file.data[20:30], broken)
    file.give(30, 70)
    for _ in range(2):
        with pytest.raises(CheckpointError, match="was cut short"):
            file.result()


@pytest.mark.parametrize("given_before", [0, 50, 100])
def test_a_hash_that_was_stopped_has_a_result_only_if_it_was_complete(given_before: int) -> None:
    file = File(100)
    file.give(0, given_before)
    file.hashing.result(file.read) if given_before == 100 else file.hashing.stop()
    file.hashing.stop()
    file.give(given_before, 100 - given_before)  # tensors can be read after the checkpoint is closed
    if given_before == 100:
        assert file.result() == file.expected
    else:
        with pytest.raises(CheckpointError) as caught:
            file.result()
        assert str(caught.value) == "the checkpoint was closed while it was hashed"
