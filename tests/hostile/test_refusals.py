"""What a refusal says, whole: the lines a user sees when a file is not what it should be."""

from __future__ import annotations

import os
import re
from typing import TYPE_CHECKING, Any

import pytest

from hatch_wheelweights import open_checkpoint
from hatch_wheelweights.errors import CheckpointError, UnsafePickleError
from making.checkpoints import legacy_checkpoint, safetensors, zip_checkpoint
from making.pickles import Code, build, call, name, ordered_dict, pickled, tensor
from making.zips import Member, zip_archive

if TYPE_CHECKING:
    from pathlib import Path

    from looking.opening import Refused


@pytest.fixture(autouse=True)
def _in_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Let messages show the path as the user wrote it: a name."""
    monkeypatch.chdir(tmp_path)


def refusal(file: str, data: bytes, **options: Any) -> CheckpointError:
    """Write a file where we are, open it by its name, and return what it is refused with."""
    with open(file, "wb") as out:  # noqa: PTH123
        out.write(data)
    with pytest.raises(CheckpointError) as caught:
        open_checkpoint(file).state_dict(**options)
    return caught.value


def whole_model() -> bytes:
    """Pickle a model."""
    state = {"_parameters": ordered_dict({"w": tensor()}), "_buffers": ordered_dict(), "_modules": ordered_dict()}
    return pickled(build(Code(name("mynet.models", "Net") + b")\x81"), state))


def test_a_whole_model() -> None:
    error = refusal("model.pt", zip_checkpoint(whole_model()))
    lines = str(error).splitlines()
    assert lines[0] == "model.pt: expected a state_dict, found a whole pickled model (`mynet.models.Net`)"
    assert lines[1] == "  No code from the file is run, so the class cannot be rebuilt here."
    assert 'torch.save(model.state_dict(), "model.pt")' in str(error)
    assert "whole_model=True" in str(error)
    assert type(error) is CheckpointError


def test_a_git_lfs_pointer() -> None:
    pointer = b"version https://git-lfs.github.com/spec/v1\noid sha256:" + b"0" * 64 + b"\nsize 12345\n"
    assert len(pointer) == 130
    assert str(refusal("model.safetensors", pointer)) == (
        "model.safetensors: expected a checkpoint of 12,345 bytes, found its Git LFS pointer (130 bytes)\n"
        "  Run: git lfs pull --include model.safetensors"
    )


def test_a_pickle_that_asks_for_code() -> None:
    attack = pickled(call(name("posix", "system"), "true"))
    error = refusal("model.pt", zip_checkpoint(attack))
    assert str(error) == (
        "model.pt: pickle asks for `posix.system`, which no state_dict needs (at byte 2 of archive/data.pkl)\n"
        "  Nothing was run. Do not load this file with torch either; "
        "get the weights as .safetensors from someone you trust."
    )
    assert type(error) is UnsafePickleError
    assert (error.fact, error.position, error.found) == (
        "pickle asks for `posix.system`, which no state_dict needs", "byte 2 of archive/data.pkl", "posix.system",
    )  # fmt: skip


@pytest.mark.parametrize("strange", ["<here>", "{here}", "at byte 1 of x"])
def test_a_name_that_looks_like_a_part_of_the_message(strange: str) -> None:
    """The message is made of parts that are never searched."""
    assert str(refusal("model.pt", zip_checkpoint(pickled(name("os", strange))))).splitlines()[0] == (
        f"model.pt: pickle asks for `os.{strange}`, which no state_dict needs (at byte 2 of archive/data.pkl)"
    )


def test_a_malformed_pickle() -> None:
    error = refusal("model.pt", zip_checkpoint(b"\x80\x02](K\x01."))
    assert str(error) == (
        "model.pt: malformed pickle: STOP leaves values on the stack (at byte 6 of archive/data.pkl)\n"
        "  Get the file again: it is damaged, or not a checkpoint."
    )
    assert error.position == "byte 6 of archive/data.pkl"


def test_a_pickle_that_asks_for_code_far_inside() -> None:
    attack = b"\x80\x02" + b"N0" * 13 + call(name("posix", "system"), "true")[0:] + b"."
    assert "at byte 28 of archive/data.pkl" in str(refusal("model.pt", zip_checkpoint(attack)))


@pytest.mark.parametrize(
    ("data", "says"),
    [
        pytest.param(b"", "an empty file", id="empty"),
        pytest.param(b"<!DOCTYPE html><html>", "an HTML page", id="html"),
        pytest.param(b"\n<html><body>404", "an HTML page", id="html without doctype"),
        pytest.param(b"\x1f\x8b\x08" + bytes(40), "a gzip file", id="gzip"),
        pytest.param(b"\x93NUMPY" + bytes(40), "NumPy", id="npy"),
        pytest.param(b"\x89HDF\r\n\x1a\n" + bytes(40), "HDF5", id="hdf5"),
        pytest.param(b"GGUF" + bytes(40), "GGUF", id="gguf"),
        pytest.param(b"\x87\xa6format\xacwheelweights" + bytes(40), "a wheelweights record", id="record"),
        pytest.param(b"\x80\x04N.", "pickle", id="bare pickle"),
        pytest.param(b"hello\x1b[31m", "hello", id="text"),
        pytest.param(bytes(100), "", id="zeros"),
        pytest.param(bytes(100_000), "", id="many zeros"),
        pytest.param(b"{", "", id="brace"),
        pytest.param(b"{}", "", id="empty json"),
        pytest.param(b'{"weight_map": {}}', "", id="index of nothing"),
        pytest.param(b'{"a": 1}', "", id="another json"),
        pytest.param(b"[" * 100_000, "", id="deep json"),
        pytest.param(b'{"a":' * 100_000, "", id="deep json of objects"),
        pytest.param(b"P", "", id="one byte"),
        pytest.param(b"PK\3\4", "", id="a zip of four bytes"),
        pytest.param(b"PK\5\6" + bytes(18), "", id="an empty zip"),
        pytest.param(b"Rar!\x1a\7\0" + bytes(40), "", id="rar"),
        pytest.param(b"7z\xbc\xaf\x27\x1c" + bytes(40), "", id="7z"),
        pytest.param(b"\x7fELF" + bytes(60), "", id="a program"),
    ],
)
def test_a_file_that_is_no_checkpoint(refused: Refused, data: bytes, says: str) -> None:
    refused(data, says)


def test_a_zip_that_is_no_checkpoint(refused: Refused) -> None:
    refused(zip_archive([Member("package/__init__.py", b"")]), "data.pkl")
    refused(
        zip_archive([Member("package/__init__.py", b""), Member("package-1.dist-info/RECORD", b"")]), "one top folder"
    )
    refused(zip_archive([Member("archive/model.json", b"{}")]), "TorchScript", "1.0")


def test_a_file_that_is_not_there(tmp_path: Path) -> None:
    with pytest.raises(CheckpointError, match=r"^missing.pt: "):
        open_checkpoint("missing.pt")


def test_a_folder(tmp_path: Path) -> None:
    (tmp_path / "folder").mkdir()
    with pytest.raises(CheckpointError, match=r"^folder: .*a folder"):
        open_checkpoint("folder")


def test_a_name_that_no_file_can_have() -> None:
    for strange in ("a\0b", "x" * 10_000):
        with pytest.raises(CheckpointError):
            open_checkpoint(strange)


@pytest.mark.skipif(not hasattr(os, "mkfifo"), reason="needs pipes")
def test_a_pipe_does_not_block(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "pipe")
    with pytest.raises(CheckpointError, match="not a regular file"):
        open_checkpoint("pipe")


def test_a_path_with_control_characters(tmp_path: Path) -> None:
    strange = "a\x1b[31m\nb.pt"
    try:
        (tmp_path / strange).write_bytes(b"x")
    except OSError:
        pytest.skip("this system has no such names")
    with pytest.raises(CheckpointError) as caught:
        open_checkpoint(strange)
    assert "\x1b" not in str(caught.value)
    assert str(caught.value).startswith(r"a\x1b[31m\nb.pt: ")


# ------------------------------------------------------------------------------------- shards


def shards(folder: Path, index: str, **files: bytes) -> Path:
    """Write an index and its shards (`_` in a name stands for `.`)."""
    for file, data in files.items():
        (folder / file.replace("_", ".")).write_bytes(data)
    path = folder / "model.index.json"
    path.write_text(index)
    return path


def test_shards_open_well_formed(tmp_path: Path) -> None:
    index = '{"metadata": {}, "weight_map": {"w": "a.bin"}}'
    with open_checkpoint(shards(tmp_path, index, a_bin=zip_checkpoint())) as checkpoint:
        assert list(checkpoint.state_dict()) == ["w"]


@pytest.mark.parametrize(
    "index",
    [
        pytest.param('{"weight_map": {"w": "../a.bin"}}', id="out of the folder"),
        pytest.param('{"weight_map": {"w": "/etc/passwd"}}', id="absolute"),
        pytest.param('{"weight_map": {"w": "sub/../../a.bin"}}', id="out of a folder in it"),
        pytest.param('{"weight_map": {"w": "..\\\\a.bin"}}', id="backslash"),
        pytest.param('{"weight_map": {"w": "missing.bin"}}', id="missing"),
        pytest.param('{"weight_map": {"w": ""}}', id="no name"),
        pytest.param('{"weight_map": {"w": "."}}', id="the folder"),
        pytest.param('{"weight_map": {"w": "a\\u0000.bin"}}', id="NUL"),
        pytest.param('{"weight_map": {"w": 1}}', id="number"),
        pytest.param('{"weight_map": {"w": ["a.bin"]}}', id="list"),
        pytest.param('{"weight_map": ["a.bin"]}', id="map a list"),
        pytest.param('{"weight_map": {"x": "a.bin"}}', id="tensor that is not in its shard"),
        pytest.param('{"weight_map": {"w": "model.index.json"}}', id="itself"),
        pytest.param('{"weight_map": {"w": "a.bin", "w": "b.bin"}}', id="key twice"),
        pytest.param('{"weight_map": {"w": "a.bin"}} x', id="more"),
        pytest.param('{"weight_map": {"w": "a.bin"}', id="cut"),
        pytest.param('{"weight_map": {"w": "\\ud800"}}', id="surrogate"),
    ],
)
def test_an_index_of_shards_that_lies(tmp_path: Path, index: str) -> None:
    inner = tmp_path / "inner"
    inner.mkdir()
    (tmp_path / "a.bin").write_bytes(zip_checkpoint())
    path = shards(inner, index, a_bin=zip_checkpoint(), b_bin=zip_checkpoint())
    with pytest.raises(CheckpointError) as caught:
        open_checkpoint(path).state_dict()
    assert str(caught.value).startswith(str(inner))


def test_a_shard_that_is_another_index(tmp_path: Path) -> None:
    """Two indexes that name each other would never end."""
    (tmp_path / "b.json").write_text('{"weight_map": {"w": "model.index.json"}}')
    with pytest.raises(CheckpointError):
        open_checkpoint(shards(tmp_path, '{"weight_map": {"w": "b.json"}}')).state_dict()


def test_shards_of_two_kinds_and_bad_shards(tmp_path: Path) -> None:
    index = '{"weight_map": {"w": "a.bin", "x": "b.bin"}}'
    attack = zip_checkpoint(pickled(call(name("os", "system"), "true")))
    with pytest.raises(UnsafePickleError, match=re.escape("b.bin")):
        open_checkpoint(shards(tmp_path, index, a_bin=zip_checkpoint(), b_bin=attack)).state_dict()
    with pytest.raises(CheckpointError, match=re.escape("b.bin")):
        open_checkpoint(shards(tmp_path, index, a_bin=safetensors(), b_bin=legacy_checkpoint()[:-1])).state_dict()
