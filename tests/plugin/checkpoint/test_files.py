"""The files of a checkpoint: each is opened once, and hashed through that opening."""

from __future__ import annotations

import hashlib
import os
import sys
from contextlib import contextmanager
from typing import TYPE_CHECKING

import numpy as np
import pytest

from hatch_wheelweights.checkpoint import digest, files, read
from hatch_wheelweights.errors import CheckpointError
from making.checkpoints import exported, legacy_checkpoint, safetensors, tar_checkpoint, zip_checkpoint
from making.pickles import pickled, tensor
from making.seeds import scripted, torchscript

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

SCRIPT = torchscript(pickled(scripted("Net", {"w": tensor()})))
INDEX = b'{"weight_map": {"w": "two.st", "v": "one.bin"}}'
CONTAINERS = {
    "zip": zip_checkpoint(),
    "torchscript": SCRIPT,
    "exported": exported(),
    "legacy": legacy_checkpoint(),
    "tar": tar_checkpoint(),
    "safetensors": safetensors(),
}
SHARDS = {"one.bin": safetensors({"v": ("U8", [2], 0, 2)}, b"ab"), "two.st": safetensors()}

_openings: list[str] | None = None


def _watch(event: str, arguments: tuple[object, ...]) -> None:
    if _openings is not None and event == "open":
        _openings.append(str(arguments[0]))


sys.addaudithook(_watch)


@contextmanager
def openings() -> Iterator[list[str]]:
    """Note the paths of the files that are opened inside the block."""
    global _openings  # noqa: PLW0603 (an audit hook stays for ever)
    _openings = []
    try:
        yield _openings
    finally:
        _openings = None


def lay(folder: Path, container: str) -> Path:
    """Write a checkpoint into a folder, one of shards with its shards."""
    path = folder / "model"
    path.write_bytes(INDEX if container == "sharded" else CONTAINERS[container])
    for name, data in SHARDS.items() if container == "sharded" else ():
        (folder / name).write_bytes(data)
    return path


@pytest.mark.parametrize("container", [*CONTAINERS, "sharded"])
def test_each_file_is_opened_once_to_read_it_and_to_hash_it(tmp_path: Path, container: str) -> None:
    path = lay(tmp_path, container)
    expected = [path, *(tmp_path / name for name in ("two.st", "one.bin") if container == "sharded")]
    with openings() as opened:
        contents = read(path)
        for tensor in contents.tree.values():
            tensor.numpy()
        digest(contents.files)
    assert [each for each in opened if each.startswith(str(tmp_path))] == list(map(str, expected))
    assert [file.path for file in contents.files] == expected
    assert [file.size for file in contents.files] == [each.stat().st_size for each in expected]


@pytest.mark.parametrize("container", CONTAINERS)
@pytest.mark.parametrize("piece", [1, 7, 1 << 20])
def test_the_digest_of_a_file_is_its_sha256(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, container: str, piece: int
) -> None:
    monkeypatch.setattr(files, "PIECE_BYTES", piece)
    path = lay(tmp_path, container)
    assert digest(read(path).files) == hashlib.sha256(path.read_bytes()).hexdigest()


def test_the_digest_of_several_files_is_that_of_their_list(tmp_path: Path) -> None:
    contents = read(lay(tmp_path, "sharded"))
    listed = "".join(
        f"{hashlib.sha256((tmp_path / name).read_bytes()).hexdigest()}  {name}\n"
        for name in ("model", "two.st", "one.bin")
    )
    assert digest(contents.files) == hashlib.sha256(listed.encode()).hexdigest()


def test_the_digest_needs_no_reading_at_a_position(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Windows has no `os.preadv`."""
    path = lay(tmp_path, "zip")
    contents = read(path)
    monkeypatch.delattr(os, "preadv", raising=False)
    assert digest(contents.files) == hashlib.sha256(path.read_bytes()).hexdigest()


def test_the_digest_is_that_of_what_was_opened(tmp_path: Path) -> None:
    """A file that is replaced or grows meanwhile is still the one that was read."""
    path = lay(tmp_path, "zip")
    before = hashlib.sha256(path.read_bytes()).hexdigest()
    contents = read(path)
    with path.open("ab") as file:
        file.write(b"more")
    assert digest(contents.files) == before
    (tmp_path / "other").write_bytes(b"other")
    os.replace(tmp_path / "other", path)  # noqa: PTH105 (what another program does)
    assert digest(contents.files) == before


def test_a_file_that_becomes_shorter_has_no_digest(tmp_path: Path) -> None:
    path = lay(tmp_path, "safetensors")
    size = path.stat().st_size
    contents = read(path)
    os.truncate(path, size - 3)
    with pytest.raises(CheckpointError) as caught:
        digest(contents.files)
    assert str(caught.value) == (
        f"{path}: was cut short while it was read: expected {size} bytes, found {size - 3}\n"
        "  Try again once it is complete."
    )


def test_a_closed_file_is_not_hashed(tmp_path: Path) -> None:
    contents = read(lay(tmp_path, "zip"))
    for file in contents.files:
        file.close()
        file.close()
    with pytest.raises(ValueError, match="closed file"):
        digest(contents.files)


# Files that change while they are read


@pytest.mark.parametrize("container", CONTAINERS)
@pytest.mark.parametrize("keep", [0.0, 0.3, 0.6, 0.9])
def test_a_file_that_is_cut_short_is_an_error_and_no_signal(tmp_path: Path, container: str, keep: float) -> None:
    path = lay(tmp_path, container)
    contents = read(path)
    os.truncate(path, int(path.stat().st_size * keep))
    tensor = next(iter(contents.tree.values()))
    said, values = "", []
    try:
        values = [block.copy() for block in tensor.blocks()]
    except CheckpointError as error:
        said = str(error)
    if said:
        assert "was cut short while it was read" in said or "is damaged" in said
    else:
        assert np.concatenate(values).tolist() == [1, 2, 3, 4]


def test_a_file_that_was_written_to_is_told(tmp_path: Path) -> None:
    path = lay(tmp_path, "zip")
    (opened,) = read(path).files
    opened.check_unchanged()
    os.utime(path, ns=(0, 1))
    with pytest.raises(CheckpointError) as caught:
        opened.check_unchanged()
    assert str(caught.value) == f"{path}: was changed while it was read\n  Try again once it is complete."


@pytest.mark.parametrize("window", [1, 2, 5, 64])
def test_slices_and_places_are_those_of_the_bytes(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, window: int) -> None:
    monkeypatch.setattr(files, "WINDOW_BYTES", window)
    data = bytes(range(40)) + b"\n\nend"
    (tmp_path / "file").write_bytes(data)
    opened = files.open_file(tmp_path / "file")
    for start in range(len(data) + 2):
        assert [opened[start : start + size] for size in range(8)] == [data[start : start + size] for size in range(8)]
        assert [opened.find(sub, start, 44) for sub in (b"\n", b"\n\n", b"nd", b"?")] == [
            data.find(sub, start, 44) for sub in (b"\n", b"\n\n", b"nd", b"?")
        ]
    assert (opened[:], opened[-3:], opened[5:2]) == (data, data[-3:], b"")
    assert [opened[place] for place in range(len(data))] == list(data)
    with pytest.raises(IndexError):
        opened[len(data)]


# Memory that pieces are read into


PIECES = 5 * files.PIECE_BYTES


def lay_pieces(tmp_path: Path) -> tuple[bytes, files.OpenFile]:
    data = np.random.default_rng(0).integers(0, 256, PIECES + 7, np.uint8).tobytes()
    (tmp_path / "file").write_bytes(data)
    return data, files.open_file(tmp_path / "file")


def test_pieces_that_somebody_keeps_stay_what_they_are(tmp_path: Path) -> None:
    data, opened = lay_pieces(tmp_path)
    kept = list(opened.pieces(0, len(data)))
    views = [piece[1:].view() for piece in opened.pieces(0, len(data))]
    other = list(opened.pieces(3, PIECES))
    assert b"".join(piece.tobytes() for piece in kept) == data
    assert b"".join(piece.tobytes() for piece in other) == data[3 : PIECES + 3]
    assert views[0].tobytes() == data[1 : files.PIECE_BYTES]
    assert not kept[0].flags.writeable


def test_memory_of_pieces_that_nobody_keeps_is_used_again(tmp_path: Path) -> None:
    _, opened = lay_pieces(tmp_path)
    places = {piece.__array_interface__["data"][0] for piece in opened.pieces(0, PIECES)}
    assert len(places) == 2  # one while the other is looked at
    places |= {piece.__array_interface__["data"][0] for piece in opened.pieces(7, PIECES)}
    assert len(places) == 2


def test_a_small_piece_keeps_no_more_than_itself(tmp_path: Path) -> None:
    _, opened = lay_pieces(tmp_path)
    (piece,) = opened.pieces(5, 100)
    assert isinstance(piece.base, bytes)
    assert len(piece.base) == 100
