"""The memory behind a record: shared and read-only, or once more, private, for those who write."""

from __future__ import annotations

import os
from mmap import ALLOCATIONGRANULARITY
from pathlib import Path
from typing import TYPE_CHECKING, Any

import msgpack
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from wheelweights import Record, RecordError, open_record, write_record
from wheelweights.record import aligned_buffer, memory, read_only
from wheelweights.record.memory import mapped, writable

if TYPE_CHECKING:
    from numpy.typing import NDArray

SIZE = 2 * ALLOCATIONGRANULARITY + 100
CONTENT = np.random.default_rng(0).integers(0, 256, SIZE, np.uint8)


@pytest.fixture(scope="module")
def file(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("memory") / "bytes"
    path.write_bytes(CONTENT.tobytes())
    return path


def map_of(path: Path, begin: int = 0, size: int = SIZE) -> NDArray[np.uint8]:
    with path.open("rb") as opened:
        return mapped(opened.fileno(), str(path), begin, size)


@given(st.data())
def test_any_stretch_of_a_file_is_mapped_and_mapped_once_more(file: Path, data: st.DataObject) -> None:
    begin = data.draw(st.integers(0, SIZE - 1))
    size = data.draw(st.integers(1, SIZE - begin))
    first = data.draw(st.integers(0, size - 1))
    shared = map_of(file, begin, size)
    again = writable(shared[first:])
    assert shared.tobytes() == CONTENT[begin : begin + size].tobytes()
    assert again.tobytes() == CONTENT[begin + first : begin + size].tobytes()
    assert (shared.flags.writeable, again.flags.writeable) == (False, True)
    again[:] = 0
    assert shared.tobytes() == CONTENT[begin : begin + size].tobytes()
    assert file.read_bytes() == CONTENT.tobytes()


@pytest.mark.parametrize(("begin", "size"), [(0, SIZE + 1), (SIZE, 1), (SIZE - 1, 2)])
def test_what_is_behind_the_end_is_not_mapped(file: Path, begin: int, size: int) -> None:
    with pytest.raises((ValueError, OSError)):
        map_of(file, begin, size)


def test_a_private_map_has_the_address_of_a_map_modulo_a_page(file: Path) -> None:
    shared = map_of(file, 64, SIZE - 64)
    assert writable(shared).ctypes.data % ALLOCATIONGRANULARITY == 64
    assert shared.ctypes.data % ALLOCATIONGRANULARITY == 64


@pytest.mark.parametrize("gone", ["unlinked", "replaced", "another size", "a folder"])
def test_bytes_of_a_file_that_is_not_there_any_more_are_copied(tmp_path: Path, gone: str) -> None:
    path = tmp_path / "bytes"
    path.write_bytes(CONTENT.tobytes())
    shared = map_of(path)
    path.unlink()
    if gone == "a folder":
        path.mkdir()
    elif gone != "unlinked":
        (tmp_path / "new").write_bytes(bytes(SIZE + (gone == "another size")))
        (tmp_path / "new").replace(path)
    again = writable(shared)
    assert again.tobytes() == CONTENT.tobytes()
    again[:] = 0
    assert shared.tobytes() == CONTENT.tobytes()


def test_a_file_that_was_written_to_is_not_mapped_once_more(tmp_path: Path) -> None:
    """An overlay of two folders, as containers have, keeps device, inode and size for a copy with other bytes."""
    path = tmp_path / "bytes"
    path.write_bytes(CONTENT.tobytes())
    shared = map_of(path)
    os.utime(path, ns=(0, 1))
    again = writable(shared)
    assert memory._map_below(again) is None
    assert again.tobytes() == shared.tobytes()


@pytest.mark.skipif(not hasattr(os, "mkfifo"), reason="there are no pipes")
def test_a_pipe_in_the_place_of_the_file_is_not_opened(tmp_path: Path) -> None:
    path = tmp_path / "bytes"
    path.write_bytes(CONTENT.tobytes())
    shared = map_of(path)
    path.unlink()
    os.mkfifo(path)
    assert writable(shared).tobytes() == CONTENT.tobytes()


def test_bytes_in_memory_are_copied_to_a_boundary_of_64_bytes() -> None:
    kept = read_only(aligned_buffer(100))
    again = writable(kept[1:])
    assert again.ctypes.data % 64 == 0
    assert not np.shares_memory(again, kept)
    assert again.flags.writeable


# Records


@pytest.fixture
def path(tmp_path: Path) -> Path:
    shared = np.arange(6, dtype=np.float32)
    write_record(tmp_path / "r.mpk", {"a": shared, "b": shared, "c": np.ones((0, 2)), "d": np.array([True, False])})
    return tmp_path / "r.mpk"


@pytest.mark.parametrize("mmap", [True, False])
def test_a_record_gives_its_bytes_to_write_to(path: Path, mmap: bool) -> None:
    record, before = open_record(path, mmap=mmap), path.read_bytes()
    raw_of, other = record.writable(), record.writable()
    for key in record:
        assert raw_of(key).tobytes() == record.raw(key).tobytes()
        assert raw_of(key).flags.writeable
        assert not record.raw(key).flags.writeable
    raw_of("a")[:] = 7
    assert set(raw_of("b")) == {7}, "tied tensors are one memory"
    assert record["a"].tolist() == record["b"].tolist() == [0, 1, 2, 3, 4, 5]
    assert other("a").tobytes() == record.raw("a").tobytes(), "each call has a memory of its own"
    assert path.read_bytes() == before
    record.verify()


def test_a_record_is_mapped_once_more_wherever_the_process_has_gone(
    path: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    record = open_record("r.mpk")
    (tmp_path / "other").mkdir()
    monkeypatch.chdir("other")
    write_record(Path("r.mpk"), {"a": np.zeros(6, np.float32)})
    assert record.writable()("a").tobytes() == record.raw("a").tobytes()


def test_a_mark_is_checked_here_as_well(path: Path) -> None:
    record = open_record(path)
    at = record.info("a").offset
    assert at is not None
    data = bytearray(path.read_bytes())
    data[at - 1] ^= 1
    path.write_bytes(data)
    with pytest.raises(RecordError, match="expected a buffer of 59 bytes"):
        open_record(path).writable()("a")


def test_a_closed_record_gives_nothing_to_write_to(path: Path) -> None:
    record = open_record(path)
    raw_of = record.writable()
    record.close()
    with pytest.raises(RecordError, match="the record is closed"):
        record.writable()
    assert raw_of("a").view(np.float32).tolist() == [0, 1, 2, 3, 4, 5]


def test_a_record_of_burn_gives_copies(tmp_path: Path) -> None:
    tensor: dict[str, Any] = {"bytes": np.arange(5.0).tobytes(), "shape": [5], "dtype": "F64"}
    (tmp_path / "b.mpk").write_bytes(msgpack.packb({"metadata": {}, "item": {"w": tensor}}))
    record: Record = open_record(tmp_path / "b.mpk")
    raw_of = record.writable()
    raw_of("w")[:] = 0
    assert not raw_of("w").any()
    assert record["w"].tolist() == [0, 1, 2, 3, 4]
