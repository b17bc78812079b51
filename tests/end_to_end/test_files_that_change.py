"""A source that changes while it is converted: the record is that of one state of it, or there is none and an error.

A conversion reads its source in pieces; each test changes the source at one of them, by the count of pieces and not by
the clock. Which piece that is may differ, because the digest is computed beside the record; the law holds at each.
"""

from __future__ import annotations

import itertools
import os
import subprocess
import sys
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest

from hatch_wheelweights import CheckpointError, convert, export, open_checkpoint
from hatch_wheelweights.checkpoint import files
from making.checkpoints import legacy_checkpoint, safetensors, zip_checkpoint
from making.installed import record_bytes
from making.pickles import legacy_storage, ordered_dict, pickled, storage, tensor
from wheelweights import RecordError, open_record

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

POINTS = range(20)
NUMEL = 40
OLD, NEW = (np.full(NUMEL, value, "<f4").tobytes() for value in (1, 2))


def zipped(values: bytes) -> bytes:
    tensors = {f"t{i}": tensor(storage(str(i), NUMEL), size=(NUMEL,)) for i in range(4)}
    return zip_checkpoint(pickled(ordered_dict(tensors)), {str(i): values for i in range(4)})


def streamed(values: bytes) -> bytes:
    tensors = {f"t{i}": tensor(legacy_storage(str(i), NUMEL), size=(NUMEL,)) for i in range(4)}
    return legacy_checkpoint(pickled(ordered_dict(tensors)), {str(i): values for i in range(4)})


def safe(values: bytes) -> bytes:
    size = len(values)
    return safetensors({f"t{i}": ("F32", [NUMEL], i * size, (i + 1) * size) for i in range(4)}, values * 4)


KINDS: dict[str, Callable[[bytes], bytes]] = {"zip": zipped, "legacy": streamed, "safetensors": safe}


def truncate(path: Path, _: bytes) -> None:
    os.truncate(path, path.stat().st_size // 2)


def rewrite(path: Path, new: bytes) -> None:
    time = path.stat().st_mtime_ns
    path.write_bytes(new)
    os.utime(path, ns=(time + 1, time + 1))  # a clock may be too coarse to tell two writes in a row apart


def replace(path: Path, new: bytes) -> None:
    other = path.with_name("other")
    other.write_bytes(new)
    other.replace(path)


def remove(path: Path, _: bytes) -> None:
    path.unlink()


CHANGES = {"truncate": truncate, "rewrite": rewrite, "replace": replace, "remove": remove}


@pytest.fixture
def at_read(monkeypatch: pytest.MonkeyPatch) -> Callable[..., None]:
    """Have something happen before the so-and-so-many-th time that bytes are read from a file."""
    read_into = files._read_into

    def arrange(number: int, happen: Callable[[], None]) -> None:
        reads = itertools.count()  # the digest reads in a thread of its own

        def counting(*arguments: Any) -> int:
            if next(reads) == number:
                happen()
            return read_into(*arguments)

        monkeypatch.setattr(files, "_read_into", counting)
        monkeypatch.setattr(files, "PIECE_BYTES", 64)
        monkeypatch.setattr(files, "WINDOW_BYTES", 256)

    return arrange


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("change", CHANGES)
@pytest.mark.parametrize("point", POINTS)
def test_a_source_that_changes_gives_one_state_of_it_or_an_error(
    tmp_path: Path, at_read: Callable[..., None], kind: str, change: str, point: int
) -> None:
    source, output = tmp_path / "source", tmp_path / "out" / "model.mpk"
    output.parent.mkdir()
    source.write_bytes(KINDS[kind](OLD))
    at_read(3 * point, lambda: CHANGES[change](source, KINDS[kind](NEW)))
    try:
        convert(source, output)
    except CheckpointError:
        assert list(output.parent.iterdir()) == []
        return
    assert list(output.parent.iterdir()) == [output]
    record = open_record(output)
    record.verify()
    assert len({record[key].tobytes() for key in record}) == 1, "values of two states"


def as_record(values: bytes) -> bytes:
    return record_bytes({f"t{i}": np.frombuffer(values, "<f4").copy() for i in range(4)})


@pytest.mark.parametrize("kind", [*KINDS, "record"])
@pytest.mark.parametrize("change", CHANGES)
@pytest.mark.parametrize("point", POINTS)
def test_an_export_of_it_gives_one_state_of_it_or_an_error(
    tmp_path: Path, at_read: Callable[..., None], kind: str, change: str, point: int
) -> None:
    make = {**KINDS, "record": as_record}[kind]
    source, output = tmp_path / "source", tmp_path / "out" / "model.safetensors"
    output.parent.mkdir()
    source.write_bytes(make(OLD))
    at_read(point, lambda: CHANGES[change](source, make(NEW)))
    try:
        export(source, output)
    except (CheckpointError, RecordError):
        assert list(output.parent.iterdir()) == []
        return
    assert list(output.parent.iterdir()) == [output]
    with open_checkpoint(output) as checkpoint:
        assert len({tensor.numpy().tobytes() for tensor in checkpoint.tree.values()}) == 1, "values of two states"


def test_a_source_that_is_not_changed_converts_however_it_is_read(tmp_path: Path, at_read: Callable[..., None]) -> None:
    for kind, make in KINDS.items():
        (tmp_path / kind).write_bytes(make(OLD))
        at_read(-1, lambda: None)
        convert(tmp_path / kind, tmp_path / "model.mpk")
        assert {array.tobytes() for array in open_record(tmp_path / "model.mpk").values()} == {OLD}


KILLED = """
import os, signal, sys
from hatch_wheelweights import convert
from hatch_wheelweights.checkpoint import files
read_at, seen = files._read_into, 0
def counting(*arguments):
    global seen
    seen += 1
    if seen == int(sys.argv[1]):
        os.kill(os.getpid(), signal.SIGKILL)
    return read_into(*arguments)
files._read_into, files.PIECE_BYTES, files.WINDOW_BYTES = counting, 64, 256
convert("source", "out/model.mpk")
"""


@pytest.mark.slow
@pytest.mark.skipif(sys.platform == "win32", reason="needs SIGKILL")
@pytest.mark.parametrize("point", POINTS)
def test_a_conversion_that_is_killed_leaves_the_earlier_record(tmp_path: Path, point: int) -> None:
    (tmp_path / "out").mkdir()
    (tmp_path / "source").write_bytes(zipped(OLD))
    convert(tmp_path / "source", tmp_path / "out" / "model.mpk")
    before = (tmp_path / "out" / "model.mpk").read_bytes()
    (tmp_path / "source").write_bytes(zipped(NEW))
    done = subprocess.run([sys.executable, "-c", KILLED, str(3 * point + 1)], cwd=tmp_path, check=False)
    after = (tmp_path / "out" / "model.mpk").read_bytes()
    if done.returncode == 0:
        assert {array.tobytes() for array in open_record(tmp_path / "out" / "model.mpk").values()} == {NEW}
    else:
        assert after == before
