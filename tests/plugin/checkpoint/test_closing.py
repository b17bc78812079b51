"""Closing a checkpoint lets go of its files at once: nothing waits for the garbage collector."""

from __future__ import annotations

import contextlib
import gc
import os
import tempfile
import weakref
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from hatch_wheelweights import CheckpointError, open_checkpoint
from hatch_wheelweights import checkpoint as checkpoint_room
from hatch_wheelweights.checkpoint import OpenFile, read
from hatch_wheelweights.checkpoint.files import open_file
from making.checkpoints import (
    exported,
    legacy_checkpoint,
    python2_checkpoint,
    safetensors,
    tar_checkpoint,
    tar_storages,
    tar_tensors,
    zip_checkpoint,
)
from making.pickles import Code, legacy_storage, pickled, state_dict, storage, tensor
from making.seeds import scripted, torchscript
from making.zips import Member

if TYPE_CHECKING:
    from collections.abc import Iterator

    from hatch_wheelweights.checkpoint import Account

DEFLATED = {"data/0": {"method": 8}, "data.pkl": {"method": 8}}
VIEWS = state_dict(
    w=tensor(legacy_storage()), v=tensor(legacy_storage(view=("v", 1, 2)), offset=1, size=(2,)), u=legacy_storage()
)
LOST = pickled({"w": tensor(), "lost": tensor(storage("9")), "long": tensor(size=(5,))})
CHECKPOINTS = {
    "zip": zip_checkpoint(),
    "zip, deflated": zip_checkpoint(change=DEFLATED),
    "zip, big-endian": zip_checkpoint(byteorder="big"),
    "zip, some tensors broken": zip_checkpoint(LOST),
    "torchscript": torchscript(pickled(scripted("Net", {"w": tensor()}))),
    "exported": exported(),
    "exported, pickled": exported(use_pickle=True),
    "legacy": legacy_checkpoint(),
    "legacy, views": legacy_checkpoint(VIEWS),
    "legacy, python 2": python2_checkpoint(),
    "tar": tar_checkpoint(),
    "tar, views": tar_checkpoint(storages=tar_storages(views=[(9, 1, 1, 3)]), tensors=tar_tensors(of=9, size=(2,))),
    "safetensors": safetensors(),
    "safetensors, four bits": safetensors({"w": ("F4", [3, 2], 0, 3)}, bytes(3)),
    "sharded": b'{"weight_map": {"a": "legacy", "w": "zip"}}',
}
SHARDS = {"legacy": legacy_checkpoint(pickled({"a": tensor(legacy_storage())})), "zip": CHECKPOINTS["zip, deflated"]}
BAD = {
    "a storage cut short": legacy_checkpoint()[:-1],
    "code": legacy_checkpoint(pickled(Code(b"cos\nsystem\n"))),
    "a tar cut short": tar_checkpoint(tensors=tar_tensors()[:-1]),
    "a pickle cut short": zip_checkpoint(pickled({"w": tensor()})[:-1]),
    "no tensors at all": exported(b"{}"),
    "a hole": safetensors({"a": ("F32", [1], 0, 4), "b": ("F32", [2], 8, 16)}, bytes(16)),
    "a shard without the tensor": b'{"weight_map": {"a": "legacy", "w": "legacy"}}',
    "a shard that is no dict": b'{"weight_map": {"a": "legacy", "w": "other"}}',
    "a shard that is missing": b'{"weight_map": {"a": "legacy", "w": "gone"}}',
    "another index": b'{"weight_map": {"a": "legacy", "w": "model"}}',
    "nothing known": b"nothing known",
}
OTHER = zip_checkpoint(pickled([tensor(), 3]), extra=[Member("archive/x", b"")])


@pytest.fixture(autouse=True)
def _no_collector() -> Iterator[None]:
    """Leave cycles where they are."""
    gc.collect()
    gc.disable()
    yield
    gc.enable()


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder with the shards; inflated members go into it as well."""
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path))
    for name, data in {**SHARDS, "other": OTHER}.items():
        (tmp_path / name).write_bytes(data)
    return tmp_path


def held(folder: Path) -> list[str]:
    """Return what this process holds of the files in a folder: a name for each descriptor and for each map."""
    if not Path("/proc/self/fd").is_dir():
        pytest.skip("needs /proc, to see which files are open")
    links = []
    for link in Path("/proc/self/fd").iterdir():
        try:
            links.append(os.readlink(link))  # noqa: PTH115 (a deleted file is no path)
        except FileNotFoundError:  # that of the listing itself
            continue
    maps = [line.split(maxsplit=5)[-1] for line in Path("/proc/self/maps").read_text().splitlines()]
    return [each for each in [*links, *maps] if each.startswith(str(folder))]


def use(path: Path) -> None:
    """Open a checkpoint, do everything with it, and close it twenty times."""
    for _ in range(20):
        with open_checkpoint(path) as checkpoint:
            repr(checkpoint.tree)
            for tensor_ in checkpoint.state_dict().values():
                with contextlib.nullcontext() if tensor_.fault is None else pytest.raises(CheckpointError):
                    assert tensor_.numpy().shape == tensor_.shape


@pytest.mark.parametrize("kind", CHECKPOINTS)
def test_a_closed_checkpoint_holds_no_file(folder: Path, kind: str) -> None:
    (folder / "model").write_bytes(CHECKPOINTS[kind])
    assert held(folder) == []
    use(folder / "model")
    assert held(folder) == []


@pytest.mark.parametrize("kind", CHECKPOINTS)
def test_a_checkpoint_that_nobody_closes_holds_no_file_once_it_is_gone(folder: Path, kind: str) -> None:
    (folder / "model").write_bytes(CHECKPOINTS[kind])
    checkpoint = open_checkpoint(folder / "model")
    assert held(folder)
    maps = [weakref.ref(file) for file in read(folder / "model").files]
    del checkpoint
    assert held(folder) == []
    assert [each() for each in maps] == [None] * len(maps)


@pytest.mark.parametrize("kind", BAD)
def test_a_checkpoint_that_is_refused_holds_no_file(folder: Path, kind: str) -> None:
    (folder / "model").write_bytes(BAD[kind])
    for _ in range(20):
        with pytest.raises(CheckpointError):
            open_checkpoint(folder / "model")
    assert held(folder) == []


@pytest.mark.parametrize("kind", BAD)
def test_a_checkpoint_that_is_refused_is_closed_before_its_error_is_dropped(
    folder: Path, monkeypatch: pytest.MonkeyPatch, kind: str
) -> None:
    opened: list[OpenFile] = []

    def open_and_note(path: Path, account: Account) -> OpenFile:
        opened.append(open_file(path, account))
        return opened[-1]

    monkeypatch.setattr(checkpoint_room, "open_file", open_and_note)
    (folder / "model").write_bytes(BAD[kind])
    with pytest.raises(CheckpointError):
        open_checkpoint(folder / "model")
    assert opened
    assert all(file.closed for file in opened)


@pytest.mark.parametrize("kind", sorted(CHECKPOINTS.keys() - {"exported, pickled", "safetensors, four bits"}))
def test_a_tensor_holds_the_file_and_an_array_its_map(folder: Path, kind: str) -> None:
    (folder / "model").write_bytes(CHECKPOINTS[kind])
    with open_checkpoint(folder / "model") as checkpoint:
        key, tensor_ = next(iter(checkpoint.state_dict().items()))
        files = len(checkpoint.files)
    assert key == tensor_.key
    assert 1 <= len(held(folder)) <= 2 * files
    array = tensor_.numpy()
    values = array.tobytes()
    del tensor_
    assert array.tobytes() == values
    del array
    assert held(folder) == []


@pytest.mark.parametrize("kind", CHECKPOINTS)
def test_nothing_of_a_closed_checkpoint_waits_for_the_collector(folder: Path, kind: str) -> None:
    (folder / "model").write_bytes(CHECKPOINTS[kind])
    use(folder / "model")
    gc.collect()
    before = len(gc.garbage)
    gc.set_debug(gc.DEBUG_SAVEALL)
    try:
        use(folder / "model")
        gc.collect()
        left = {type(each).__module__ for each in gc.garbage[before:]}
    finally:
        gc.set_debug(0)
        gc.garbage.clear()
    assert not {module for module in left if module.startswith(("hatch_wheelweights", "mmap", "numpy"))}
