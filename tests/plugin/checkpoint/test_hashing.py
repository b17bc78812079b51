"""The hash of a file that somebody reads: right in whatever order, and in the usual one without reading twice."""

from __future__ import annotations

import hashlib
import os
import subprocess
import sys
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from hatch_wheelweights.checkpoint import hashing
from hatch_wheelweights.checkpoint.hashing import Hashing
from hatch_wheelweights.errors import CheckpointError

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

    from numpy.typing import NDArray

PIECE = 10
FORKED = """
import os, sys
from pathlib import Path
path = Path(sys.argv[1])
path.write_bytes(bytes(20 << 20))
from hatch_wheelweights.checkpoint.files import open_file
opened = open_file(path)
opened.start_hashing()
for piece in opened.pieces(0, 1 << 20):
    pass
child = os.fork()
if child:
    sys.exit(os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]))
for piece in opened.pieces(1 << 20, 19 << 20):
    pass
try:
    opened.sha256()
except Exception as error:
    print(error)
print("read", flush=True)
os._exit(0)
"""


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


def _noting(do: Callable[[Any], None], handed: list[int]) -> Callable[[Any], None]:
    """Return a function that notes how many pieces are handed over each time."""

    def noted(work: Any) -> None:
        handed.append(len(work))
        do(work)

    return noted


@pytest.fixture(autouse=True)
def small(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(hashing, "TOGETHER", 4)
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


def test_few_bytes_are_handed_over_together(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(hashing, "TOGETHER", 30)
    file = File(100)
    handed: list[int] = []
    monkeypatch.setattr(file.hashing, "_hash", _noting(file.hashing._hash, handed))
    for position in range(0, 100, 2):
        file.give(position, 2)
    assert file.result() == file.expected
    assert file.hashed_alone == []
    assert handed == [15, 15, 15, 5]


def test_what_was_hashed_twice_or_not_at_all_is_no_result() -> None:
    for change in (lambda file: setattr(file.hashing, "_given", 30), lambda file: setattr(file.hashing, "_given", 10)):
        file = File(100)
        file.give(0, 20)
        change(file)  # as an interrupt in the middle may leave it
        with pytest.raises(CheckpointError) as caught:
            file.result()
        assert str(caught.value) == "hashing it was interrupted"


def test_an_interrupt_while_there_is_no_room_loses_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    file = File(100)

    class Interrupted:
        def get(self) -> None:
            raise KeyboardInterrupt

        def put(self, item: None) -> None:
            pass

    room = file.hashing._room
    monkeypatch.setattr(file.hashing, "_room", Interrupted())
    with pytest.raises(KeyboardInterrupt):
        file.give(20, 30)
    monkeypatch.setattr(file.hashing, "_room", room)
    file.give(0, 60)
    assert file.result() == file.expected


def test_an_interrupt_while_the_thread_is_started_is_no_other_error(monkeypatch: pytest.MonkeyPatch) -> None:
    """What an interrupt leaves is closed on the way out, and must not hide it."""
    file = File(100)

    def interrupted(thread: object) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr(hashing.Thread, "start", interrupted)
    with pytest.raises(KeyboardInterrupt):
        file.give(0, 100)
    with pytest.raises(CheckpointError, match="hashing it was interrupted"):
        file.result()
    file.hashing.stop()


def test_a_fault_holds_no_file() -> None:
    file = File(100)

    def broken(position: int, nbytes: int) -> Iterator[NDArray[np.uint8]]:
        raise CheckpointError("was cut short")
        yield

    for _ in range(2):
        with pytest.raises(CheckpointError, match="was cut short"):
            file.hashing.result(broken)
    assert file.hashing._fault is not None
    assert file.hashing._fault.__traceback__ is None


@pytest.mark.skipif(not hasattr(os, "fork"), reason="there is no fork")
def test_after_a_fork_the_hash_is_refused_and_the_tensors_are_read(tmp_path: Path) -> None:
    quietly = ("-W", "ignore:This process")  # Python 3.12 warns of a fork where there are threads: there is one
    command = [sys.executable, *quietly, "-c", FORKED, str(tmp_path / "file")]
    done = subprocess.run(command, capture_output=True, text=True, timeout=60, check=False)
    assert (done.stdout, done.stderr) == ("hashing it was interrupted\nread\n", "")


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
