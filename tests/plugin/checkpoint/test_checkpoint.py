"""Opening checkpoints: what they are, when they are read, and what is said of files that are none."""

from __future__ import annotations

import json
import mmap
import os
import struct
import tracemalloc
import zlib
from concurrent.futures import ThreadPoolExecutor
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest

from hatch_wheelweights import CheckpointError, LazyTensor, open_checkpoint
from making.checkpoints import legacy_checkpoint, safetensors, tar_checkpoint, torch_members, zip_checkpoint
from making.pickles import Code, name, pickled, state_dict, storage, tensor
from making.sparse import GIGABYTE, sparse_safetensors, sparse_zip
from making.values import FLOATS, VALUES
from making.zips import Member, zip_archive
from wheelweights.dtypes import numpy_dtype
from wheelweights.errors import human_size

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

# ----------------------------------------------------------------------------------------------------- Burn's own files

CASES = [
    "bfloat16", "bool", "buffers", "empty", "float16", "float32", "float64", "int16", "int32", "int64", "int8",
    "legacy_with_offsets", "mixed_types", "nested_dict", "parameter", "scalar", "simple_legacy", "special_values",
    "state_dict", "tensor_2d", "tensor_3d", "uint8",
]  # fmt: skip
DTYPES = {
    "?": "bool", "i1": "int8", "<i2": "int16", "<i4": "int32", "<i8": "int64", "u1": "uint8", "<f2": "float16",
    "bf16": "bfloat16", "<f4": "float32", "<f8": "float64",
}  # fmt: skip


@pytest.mark.parametrize("case", CASES)
def test_reads_what_burn_expects(corpus: Path, case: str) -> None:
    cases = json.loads((corpus / "burn" / "cases.json").read_text())["reader"]
    with open_checkpoint(corpus / "burn" / "reader" / f"{case}.pt") as checkpoint:
        assert checkpoint.kind == ("pytorch-legacy" if "legacy" in case else "pytorch-zip")
        found = checkpoint.state_dict(reindex=False)
    expected = cases[f"{case}.pt"]["tensors"]
    assert sorted(found) == sorted(expected)
    for key, each in expected.items():
        array = found[key].numpy()
        assert (found[key].dtype, list(found[key].shape)) == (DTYPES[each["dtype"]], each["shape"])
        assert (array.dtype, list(array.shape)) == (numpy_dtype(found[key].dtype), each["shape"])
        for value, first in zip(array.ravel().astype(np.float64), each["first"], strict=False):
            assert not np.isfinite(value) if first is None else value == first
        if each["sum"] is not None:
            assert array.astype(np.float64).sum() == pytest.approx(each["sum"], rel=1e-6)


def test_all_of_burns_cases_are_tried(corpus: Path) -> None:
    cases = json.loads((corpus / "burn" / "cases.json").read_text())["reader"]
    assert sorted(cases) == sorted(f"{case}.pt" for case in [*CASES, "broken"])


def test_burns_broken_file_is_refused(corpus: Path) -> None:
    path = corpus / "burn" / "reader" / "broken.pt"
    with pytest.raises(CheckpointError) as caught:
        open_checkpoint(path)
    assert str(caught.value) == (
        f"{path}: expected a checkpoint, found a file that begins with {path.read_bytes()!a}\n"
        "  Give a .pt, .pth, .bin, .ckpt or .safetensors file, or an index.json of shards."
    )


# ----------------------------------------------------------------------------------------------------------- containers

ALL = {
    "pytorch-zip": zip_checkpoint(),
    "pytorch-legacy": legacy_checkpoint(),
    "pytorch-tar": tar_checkpoint(),
    "safetensors": safetensors(),
}


@pytest.fixture(params=ALL)
def kind(request: pytest.FixtureRequest, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> str:
    """A checkpoint of one tensor `w` in every container, as `model`."""
    monkeypatch.chdir(tmp_path)
    (tmp_path / "model").write_bytes(ALL[request.param])
    return str(request.param)


def test_says_that_it_is_closed(kind: str) -> None:
    checkpoint = open_checkpoint("model")
    checkpoint.close()
    assert repr(checkpoint) == f"<Checkpoint 'model': {kind}, {human_size(checkpoint.path.stat().st_size)}, closed>"


def test_tells_the_container(kind: str, tmp_path: Path) -> None:
    checkpoint = open_checkpoint("model")
    assert checkpoint.kind == kind
    assert repr(checkpoint) == f"<Checkpoint 'model': {kind}, {human_size(checkpoint.path.stat().st_size)}>"
    assert (str(checkpoint.path), checkpoint.files, checkpoint.warnings) == ("model", (checkpoint.path,), ())
    assert open_checkpoint(tmp_path / "model").kind == kind


def test_gives_a_tree_and_a_state_dict_of_lazy_tensors(kind: str) -> None:
    with open_checkpoint("model") as checkpoint:
        assert isinstance(checkpoint.tree["w"], LazyTensor)
        (key, found), = checkpoint.state_dict().items()  # fmt: skip
    assert (key, found.key, found.dtype, found.shape, found.nbytes) == ("w", "w", "float32", (4,), 16)
    assert found.path == "model"


def test_gives_read_only_views_of_the_mapped_file(kind: str) -> None:
    array = open_checkpoint("model").state_dict()["w"].numpy()
    assert array.tolist() == list(VALUES)
    assert not array.flags.writeable
    with pytest.raises(ValueError, match="read-only"):
        array[0] = 1
    if kind in ("pytorch-zip", "safetensors"):  # there it lies aligned
        assert any(isinstance(owner, mmap.mmap) for owner in _owners(array))


def _owners(array: Any) -> Iterator[object]:
    while array is not None:
        array = getattr(array, "base" if isinstance(array, np.ndarray) else "obj", None)
        yield array


def test_tensors_outlive_the_checkpoint_but_its_tree_does_not(kind: str) -> None:
    with open_checkpoint("model") as checkpoint:
        found = checkpoint.state_dict()["w"]
    assert found.numpy().tolist() == list(VALUES)
    for use in (lambda: checkpoint.tree, checkpoint.state_dict):
        with pytest.raises(CheckpointError) as caught:
            use()
        assert str(caught.value) == "model: the checkpoint is closed"
    checkpoint.close()


def test_many_threads_read_one_checkpoint(kind: str) -> None:
    found = open_checkpoint("model").state_dict()["w"]
    with ThreadPoolExecutor(8) as threads:
        assert all(threads.map(lambda _: found.numpy().tolist() == list(VALUES), range(100)))


def test_other_kinds_are_told_as_well(tmp_path: Path) -> None:
    script = [*torch_members(pickled({"w": tensor()})), Member("archive/constants.pkl", pickled(()))]
    (tmp_path / "model.pt").write_bytes(zip_archive(script))
    assert open_checkpoint(tmp_path / "model.pt").kind == "torchscript"
    (tmp_path / "model.index.json").write_text(' \n{"weight_map": {"w": "w.safetensors"}}')
    (tmp_path / "w.safetensors").write_bytes(safetensors())
    assert open_checkpoint(tmp_path / "model.index.json").kind == "sharded-safetensors"


def test_keeps_the_metadata_of_safetensors(tmp_path: Path) -> None:
    (tmp_path / "a").write_bytes(safetensors(metadata={"format": "pt", "ünï": ""}))
    (tmp_path / "b").write_bytes(zip_checkpoint())
    assert open_checkpoint(tmp_path / "a").metadata == {"format": "pt", "ünï": ""}
    assert open_checkpoint(tmp_path / "b").metadata == {}


def test_warns_of_a_file_without_checksums(tmp_path: Path) -> None:
    members = [Member(member.name, member.data, crc=0) for member in torch_members()]
    (tmp_path / "model.pt").write_bytes(zip_archive(members))
    checkpoint = open_checkpoint(tmp_path / "model.pt")
    assert checkpoint.warnings == ("the file has no checksums, so damage to it would go unnoticed",)
    assert checkpoint.state_dict()["w"].numpy().tolist() == list(VALUES)


# ------------------------------------------------------------------------------------------------------------- laziness


@pytest.mark.parametrize("method", [0, 8])
def test_reads_no_tensor_until_it_is_asked_for(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, method: int) -> None:
    """One storage is damaged: only who reads a tensor on it comes to know."""
    monkeypatch.chdir(tmp_path)
    weights = pickled({"good": tensor(), "bad": tensor(storage("1")), "also": tensor(storage("1"), size=(2,))})
    members = [
        Member(each.name, each.data, method=method, crc=1 if each.name.endswith("data/1") else None)
        for each in torch_members(weights, {"0": FLOATS, "1": FLOATS})
    ]
    (tmp_path / "model.pt").write_bytes(zip_archive(members))
    with open_checkpoint("model.pt") as checkpoint:
        found = checkpoint.state_dict()
    assert found["good"].numpy().tolist() == list(VALUES)
    for key in ("bad", "also"):
        with pytest.raises(CheckpointError) as caught:
            found[key].numpy()
        assert str(caught.value) == (
            f"model.pt: tensor `{key}`: member `archive/data/1` is damaged: expected CRC-32 00000001, "
            f"found {zlib.crc32(FLOATS):08x}\n  Get the file again."
        )


def test_tensors_that_cannot_be_read_do_not_hinder_the_others(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    weights = pickled({"good": tensor(), "lost": tensor(storage("9")), "long": tensor(size=(5,))})
    (tmp_path / "model.pt").write_bytes(zip_checkpoint(weights))
    found = open_checkpoint("model.pt").state_dict(exclude=["^lost$"])
    assert found["good"].numpy().tolist() == list(VALUES)
    with pytest.raises(CheckpointError) as caught:
        list(found["long"].blocks())
    assert str(caught.value) == (
        "model.pt: tensor `long`: reaches past its storage: expected at least 5 elements, found 4"
    )


@pytest.mark.skipif(os.name == "nt", reason="files have no holes there unless one asks for them")
@pytest.mark.parametrize("container", ["safetensors", "zip"])
def test_ten_gigabytes_cost_no_memory(tmp_path: Path, container: str) -> None:
    path = tmp_path / "model"
    if container == "zip":
        sparse_zip(path, 10 * GIGABYTE // 4, b"the end")
    else:
        sparse_safetensors(path, 10 * GIGABYTE, b"the end")
    assert path.stat().st_size > 10 * GIGABYTE
    tracemalloc.start()
    with open_checkpoint(path) as checkpoint:
        found = checkpoint.state_dict()
        last = found["last"].numpy().tobytes()
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert found["hole"].nbytes == 10 * GIGABYTE
    assert last == b"the end"
    assert peak < 4 << 20


def test_opens_twenty_thousand_tensors_over_one_storage(tmp_path: Path) -> None:
    count = 20_000
    shared = {f"layers.{index}.weight": tensor() for index in range(count)}
    (tmp_path / "model.pt").write_bytes(zip_checkpoint(state_dict(**shared)))
    assert len(open_checkpoint(tmp_path / "model.pt").state_dict()) == count


# ------------------------------------------------------------------------------------------------ what is no checkpoint

GIVE = "\n  Give a .pt, .pth, .bin, .ckpt or .safetensors file, or an index.json of shards."
PAGE = "\n  Download it again: the server may want a login, or the address may be that of a page about the file."
LFS = b"version https://git-lfs.github.com/spec/v1\n"


@pytest.mark.parametrize(
    ("data", "message"),
    [
        pytest.param(
            LFS + b"oid sha256:" + b"0" * 64 + b"\nsize 1234567890\n",
            "expected a checkpoint of 1,234,567,890 bytes, found its Git LFS pointer (135 bytes)\n"
            "  Run: git lfs pull --include model.pt",
            id="LFS pointer",
        ),
        pytest.param(
            LFS,
            "expected a checkpoint, found its Git LFS pointer (43 bytes)\n  Run: git lfs pull --include model.pt",
            id="LFS pointer without a size",
        ),
        pytest.param(
            b"<!DOCTYPE html>\n<html><title>404</title></html>",
            "expected a checkpoint, found an HTML page (a failed download)" + PAGE,
            id="HTML",
        ),
        pytest.param(
            b"\n\n <html lang='en'>", "expected a checkpoint, found an HTML page (a failed download)" + PAGE, id="html"
        ),
        pytest.param(b"", "expected a checkpoint, found an empty file\n  Save it again, or get it again.", id="empty"),
        pytest.param(
            pickled({"w": 1}),
            "expected a checkpoint, found a bare pickle (not written by torch.save)\n"
            "  Save the weights with torch.save(state_dict, path), or as .safetensors.",
            id="pickle",
        ),
        pytest.param(
            b"\x1f\x8b\x08\0",
            "expected a checkpoint, found a gzip file\n  Run: gunzip < model.pt > model.unpacked.pt",
            id="gzip",
        ),
        pytest.param(
            b"\x89HDF\r\n\x1a\n",
            "expected a checkpoint, found an HDF5 file (such as a Keras model)\n"
            '  Save its arrays by name: safetensors.numpy.save_file(arrays, "model.safetensors"), '
            "where Keras or h5py can read it.",
            id="HDF5",
        ),
        pytest.param(
            b"\x93NUMPY\1\0",
            "expected a checkpoint, found a NumPy array file\n"
            '  Save its arrays by name: safetensors.numpy.save_file(arrays, "model.safetensors").',
            id="npy",
        ),
        pytest.param(
            b"GGUF\3\0\0\0",
            "expected a checkpoint, found a GGUF file (llama.cpp)\n"
            "  Get the checkpoint that it was made from: a .safetensors, .pt or .bin file.",
            id="GGUF",
        ),
        pytest.param(
            b"\x87\xa6format\xacwheelweights\xa7version\1" + bytes(64),
            "expected a checkpoint, found a wheelweights record" + GIVE,
            id="record",
        ),
        pytest.param(
            b"\x1b[31mhello", r"expected a checkpoint, found a file that begins with b'\x1b[31mhello'" + GIVE, id="text"
        ),
        pytest.param(
            zip_archive([Member("a/b.txt", b"")]),
            "expected a checkpoint, found a zip archive without data.pkl\n"
            "  If the checkpoint is inside the archive, unpack it and name the file itself.",
            id="zip",
        ),
        pytest.param(
            zip_checkpoint()[:700],
            "truncated: a zip file without its central directory\n  Get the file again: it was cut short.",
            id="cut zip",
        ),
        pytest.param(
            safetensors()[:-1],
            "truncated: expected 16 bytes of data, found 15\n  Get the file again.",
            id="cut safetensors",
        ),
        pytest.param(
            struct.pack("<Q", 1 << 20) + b"{}",
            "truncated: expected a header of 1,048,576 bytes, found 2 in the file (at most 100,000,000 are read)\n"
            "  Get the file again.",
            id="safetensors cut in its header",
        ),
        pytest.param(
            b'{"a": 1}',
            "expected a checkpoint or an index of shards, found JSON without `weight_map`\n"
            "  Give the checkpoint itself.",
            id="JSON",
        ),
    ],
)
def test_says_what_the_file_is_instead(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, data: bytes, message: str
) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "model.pt").write_bytes(data)
    with pytest.raises(CheckpointError) as caught:
        open_checkpoint("model.pt")
    assert str(caught.value) == f"model.pt: {message}"


def test_says_that_it_is_missing_or_a_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    with pytest.raises(CheckpointError) as caught:
        open_checkpoint("weights/gone.pt")
    assert str(caught.value) == ("weights/gone.pt: cannot be opened: No such file or directory\n  Check the path.")
    (tmp_path / "weights").mkdir()
    with pytest.raises(CheckpointError) as caught:
        open_checkpoint("weights")
    assert str(caught.value).splitlines()[0] == "weights: expected a checkpoint, found a folder"


def test_names_the_file_in_errors_of_tensors_that_are_read_later(tmp_path: Path) -> None:
    """Two checkpoints are open at once."""
    weights = pickled({"w": tensor(size=(5,))})
    for each in ("a.pt", "b.pt"):
        (tmp_path / each).write_bytes(zip_checkpoint(weights))
    first, second = (open_checkpoint(tmp_path / each).state_dict()["w"] for each in ("a.pt", "b.pt"))
    for found, file in ((second, "b.pt"), (first, "a.pt")):
        with pytest.raises(CheckpointError) as caught:
            found.numpy()
        assert caught.value.path == str(tmp_path / file)
        assert caught.value.key == "w"


def test_unknown_objects_stand_in_the_tree_and_are_never_imported(tmp_path: Path) -> None:
    thing = Code(name("mynet.things", "Thing") + b")\x81")
    (tmp_path / "model.pt").write_bytes(zip_checkpoint(pickled({"w": tensor(), "thing": thing})))
    tree = open_checkpoint(tmp_path / "model.pt").tree
    assert (tree["thing"].module, tree["thing"].name) == ("mynet.things", "Thing")
