"""The table of readers: each file has one that recognises it, whatever it is called."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING

import pytest

from hatch_wheelweights.checkpoint import READERS, OpenFile, read
from hatch_wheelweights.checkpoint.files import open_file
from hatch_wheelweights.checkpoint.zip import ZipArchive
from hatch_wheelweights.checkpoint.zip_layouts import LAYOUTS
from hatch_wheelweights.checkpoint.zip_members import checked_members
from hatch_wheelweights.errors import CheckpointError
from making.checkpoints import (
    exported,
    legacy_checkpoint,
    python2_checkpoint,
    safetensors,
    tar_checkpoint,
    zip_checkpoint,
)
from making.pickles import pickled, tensor
from making.seeds import scripted, torchscript
from making.zips import Member, zip_archive

if TYPE_CHECKING:
    from pathlib import Path

SCRIPT = torchscript(pickled(scripted("Net", {"w": tensor()})))
INDEX = json.dumps({"weight_map": {"w": "shard"}}).encode()
FILES = {  # what a file is: its reader, its kind, its bytes
    "zip": ("zip archive", "pytorch-zip", zip_checkpoint()),
    "torchscript": ("zip archive", "torchscript", SCRIPT),
    "exported": ("zip archive", "pytorch-export", exported()),
    "legacy": ("legacy stream", "pytorch-legacy", legacy_checkpoint()),
    "python 2": ("legacy stream", "pytorch-legacy", python2_checkpoint()),
    "tar": ("tar archive", "pytorch-tar", tar_checkpoint()),
    "safetensors": ("safetensors", "safetensors", safetensors()),
    "index": ("index of shards", "sharded-safetensors", INDEX),
}


@pytest.fixture(params=FILES)
def case(request: pytest.FixtureRequest, tmp_path: Path) -> tuple[OpenFile, str, str]:
    """A checkpoint under a name that says nothing, with its reader and its kind."""
    reader, kind, data = FILES[request.param]
    (tmp_path / "shard").write_bytes(safetensors())
    (tmp_path / "model").write_bytes(data)
    return open_file(tmp_path / "model"), reader, kind


def test_one_reader_recognises_a_file(case: tuple[OpenFile, str, str]) -> None:
    opened, name, _ = case
    assert [reader.name for reader in READERS if reader.recognises(opened)] == [name]


def test_a_reader_gives_what_read_gives(case: tuple[OpenFile, str, str]) -> None:
    opened, name, kind = case
    (reader,) = (reader for reader in READERS if reader.name == name)
    contents = reader.read(opened)
    assert contents.kind == read(opened.path).kind == kind
    assert list(contents.tree) == list(read(opened.path).tree) == ["w"]
    assert contents.files[0] is opened


def test_all_readers_and_layouts_are_tried_here() -> None:
    assert {reader for reader, _, _ in FILES.values()} == {reader.name for reader in READERS}
    assert {kind for reader, kind, _ in FILES.values() if reader == "zip archive"} == {each.kind for each in LAYOUTS}


@pytest.mark.parametrize(
    "data", [b"x", b"\0" * 600, pickled({"w": 1}), b"GGUF\3\0\0\0", b"[1]", b"PK\5\6" + bytes(18), b"\x93NUMPY" * 100]
)
def test_no_reader_recognises_what_is_no_checkpoint(tmp_path: Path, data: bytes) -> None:
    (tmp_path / "model.pt").write_bytes(data)
    opened = open_file(tmp_path / "model.pt")
    assert not any(reader.recognises(opened) for reader in READERS)
    with pytest.raises(CheckpointError, match="expected a checkpoint, found "):
        read(tmp_path / "model.pt")


@pytest.mark.parametrize(
    ("data", "recognised"),
    [
        pytest.param(zip_checkpoint(), ["pytorch-zip"], id="zip"),
        pytest.param(SCRIPT, ["torchscript", "pytorch-zip"], id="torchscript"),
        pytest.param(exported(), ["pytorch-export"], id="exported"),
        pytest.param(zip_archive([Member("a/b", b"")]), [], id="none"),
    ],
)
def test_the_first_layout_that_recognises_an_archive_reads_it(
    tmp_path: Path, data: bytes, recognised: list[str]
) -> None:
    (tmp_path / "model").write_bytes(data)
    opened = open_file(tmp_path / "model")
    archive = ZipArchive(opened, checked_members(opened))
    assert [layout.kind for layout in LAYOUTS if layout.recognises(archive)] == recognised
    if recognised:
        assert read(tmp_path / "model").kind == recognised[0]


def test_an_archive_of_two_layouts_that_exclude_each_other_is_refused(tmp_path: Path) -> None:
    (tmp_path / "model").write_bytes(zip_checkpoint(extra=[Member("archive/archive_format", b"pt2")]))
    with pytest.raises(CheckpointError) as caught:
        read(tmp_path / "model")
    assert str(caught.value) == "an exported program and a checkpoint in one file\n  Save each in a file of its own."
