"""Files and folders that people take for a checkpoint: what they are, in one line, and what to do in the next."""

from __future__ import annotations

import bz2
import gzip
import io
import lzma
import zipfile
import zlib
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import pytest

from hatch_wheelweights import CheckpointError, open_checkpoint
from looking.commands import refusal
from making.checkpoints import safetensors, zip_checkpoint
from making.small_files import write
from making.zips import Member

if TYPE_CHECKING:
    from collections.abc import Mapping

SAVE = '  Save its arrays by name: safetensors.numpy.save_file(arrays, "model.safetensors")'
SAVE_STATE_DICT = '  Save the weights in PyTorch: torch.save(model.state_dict(), "model.pt")'
TENSORFLOW = f"{SAVE}, where TensorFlow can read it."


@pytest.fixture(autouse=True)
def _here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)


def lay(folder: str, *names: str) -> None:
    """Make a folder with empty files of these names."""
    for name in names:
        file = Path(folder, name)
        file.parent.mkdir(parents=True, exist_ok=True)
        file.touch()


def refused(path: str) -> str:
    with pytest.raises(CheckpointError) as caught:
        open_checkpoint(path)
    return str(caught.value)


def zipped(members: Mapping[str, bytes]) -> bytes:
    out = io.BytesIO()
    with zipfile.ZipFile(out, "w") as archive:
        for name, content in members.items():
            archive.writestr(name, content)
    return out.getvalue()


def npz(**arrays: object) -> bytes:
    out = io.BytesIO()
    np.savez(out, **arrays)  # type: ignore[arg-type]
    return out.getvalue()


CORE_ML = b"\x08\x04\x12\x60\x0a\x20\x0a\x05image\x12\x07a photo"
KERAS = zipped({"metadata.json": b"{}", "config.json": b"{}", "model.weights.h5": b"\x89HDF"})

# ---------------------------------------------------------------------------------------------------------------- files


# By the name that the file has: what it holds, and what is said of it
OTHERS = {
    "m.pt.gz": (gzip.compress(zip_checkpoint(), mtime=0), "a gzip file\n  Run: gunzip m.pt.gz"),
    "m.pt.xz": (lzma.compress(zip_checkpoint()), "an xz file\n  Run: xz -d m.pt.xz"),
    "m.pt.bz2": (bz2.compress(zip_checkpoint()), "a bzip2 file\n  Run: bunzip2 m.pt.bz2"),
    "m.pt": (b"\x28\xb5\x2f\xfd", "a zstd file\n  Run: zstd -d < m.pt > m.unpacked.pt"),
    "m.tar.gz": (gzip.compress(bytes(512), mtime=0), "a gzip file\n  Run: tar -xf m.tar.gz"),
    "m.gguf": (
        b"GGUF\3\0\0\0",
        "a GGUF file (llama.cpp)\n  Get the checkpoint that it was made from: a .safetensors, .pt or .bin file.",
    ),
    "m.onnx": (b"\x08\x09\x12\x07pytorch", f"an ONNX model\n{SAVE_STATE_DICT}"),
    "m.pte": (b"\x38\0\0\0ET12", f"an ExecuTorch program\n{SAVE_STATE_DICT}"),
    "m.tflite": (b"\x20\0\0\0TFL3", f"a TensorFlow Lite model\n{SAVE}, of the model that it was made from."),
    "m.h5": (b"\x89HDF\r\n\x1a\n", f"an HDF5 file (such as a Keras model)\n{SAVE}, where Keras or h5py can read it."),
    "m.msgpack": (
        b"\x81\xa6params\x80",
        f"a Flax checkpoint (MessagePack)\n{SAVE}, where flax.serialization can read it.",
    ),
    "m.npy": (b"\x93NUMPY\1\0", f"a NumPy array file\n{SAVE}."),
    "m.npz": (
        npz(a=np.ones(2), b=np.zeros(3)),
        f"an .npz file (arrays of NumPy)\n{SAVE}; a model's inputs and outputs are for golden.",
    ),
    "m.keras": (KERAS, f"a Keras model\n{SAVE}, where Keras can read it."),
    "m.pt.lz4": (b"\x04\x22\x4d\x18d@", "an lz4 file\n  Run: lz4 -d m.pt.lz4"),
    "m.lzma": (lzma.compress(zip_checkpoint(), format=lzma.FORMAT_ALONE), "an lzma file\n  Run: xz -d m.lzma"),
    "m.joblib.z": (
        zlib.compress(bytes(range(200)), 3),
        f"zlib data (such as a file that joblib compressed)\n{SAVE}, where joblib can read it.",
    ),
    "m.mlmodel": (CORE_ML, f"a Core ML model\n{SAVE_STATE_DICT}"),
    "m.engine": (b"ftrt\0\0\0\0", f"a TensorRT engine\n{SAVE_STATE_DICT}"),
    "flax_model.msgpack": (
        b"\x82\xa4bert\x82\xaaembeddings",
        f"a MessagePack file (such as a Flax checkpoint)\n{SAVE}, where flax.serialization can read it.",
    ),
    "page.pt": (
        b"<!DOCTYPE html>",
        (
            "an HTML page (a failed download)\n"
            "  Download it again: the server may want a login, or the address may be that of a page about the file."
        ),
    ),
    "denied.pt": (
        b'<?xml version="1.0" encoding="UTF-8"?>\n<Error><Code>AccessDenied</Code></Error>',
        (
            "a server's error message (a failed download)\n"
            "  Download it again: the server may want a login, or have another address for the file."
        ),
    ),
    "sklearn.pkl": (
        b"ccopy_reg\n_reconstructor\np0\n",
        "a pickle\n  Give a .pt, .pth, .bin, .ckpt or .safetensors file, or an index.json of shards.",
    ),
    "m.7z": (b"7z\xbc\xaf\x27\x1c", "a 7z archive\n  Unpack it, and name the checkpoint that is in it."),
    "m.rar": (b"Rar!\x1a\x07\0", "a RAR archive\n  Unpack it, and name the checkpoint that is in it."),
    "list.json": (
        b'["a"]',
        "a JSON file\n  Give a .pt, .pth, .bin, .ckpt or .safetensors file, or an index.json of shards.",
    ),
}


@pytest.mark.parametrize("name", OTHERS)
def test_a_file_of_another_kind_is_called_what_it_is(name: str) -> None:
    content, expected = OTHERS[name]
    write(name, content)
    assert refused(name) == f"{name}: expected a checkpoint, found {expected}"


@pytest.mark.parametrize("command", [["inspect"], ["export"], ["convert"]], ids=lambda command: command[0])
def test_every_command_says_it(command: list[str]) -> None:
    write("m.onnx", b"\x08\x09\x12\x07pytorch")
    write("m.keras", KERAS)
    output = {"export": ["o.safetensors"], "convert": ["o.mpk"]}.get(command[0], [])
    for name, expected in (
        ("m.onnx", f"an ONNX model\n{SAVE_STATE_DICT}"),
        ("m.keras", f"a Keras model\n{SAVE}, where Keras can read it."),
    ):
        said = refusal(*command, name, *output)
        assert said == f"Error: {name}: expected a checkpoint, found {expected}\n"


def test_the_packed_record_of_something_else_is_told_as_such() -> None:
    """Burn packs its records with gzip, so a file with this ending is opened as one."""
    write("m.pt.gz", gzip.compress(zip_checkpoint()))
    assert refusal("inspect", "m.pt.gz") == (
        "Error: m.pt.gz: expected a record written by Burn in this gzip file, found a zip archive "
        "(a PyTorch checkpoint or a wheel)\n  Run: gunzip m.pt.gz\n"
    )


def test_a_configuration_leads_to_the_model_beside_it() -> None:
    write("config.json", b'{"model_type": "bert"}')
    error = "config.json: expected a checkpoint or an index of shards, found JSON without `weight_map`\n"
    assert refused("config.json") == f"{error}  Give the checkpoint itself."
    write("model.safetensors", safetensors())
    assert refused("config.json") == f"{error}  Name the file: model.safetensors"


@pytest.mark.parametrize("names", [["model.pt"], ["model/a.safetensors", "model/readme.md"]])
def test_a_zip_archive_with_a_checkpoint_in_it_is_to_be_unpacked(names: list[str]) -> None:
    write("m.zip", zipped({name: zip_checkpoint() for name in names}))
    assert refused("m.zip") == (
        f"m.zip: expected a checkpoint, found a zip archive with `{names[0]}` in it\n"
        "  Unpack it, and name the file itself."
    )


def test_a_checkpoint_may_have_a_member_that_is_named_like_one() -> None:
    write("m.pt", zip_checkpoint(extra=[Member("archive/extra/model.pt", b"")]))
    with open_checkpoint("m.pt") as checkpoint:
        assert checkpoint.kind == "pytorch-zip"


# -------------------------------------------------------------------------------------------------------------- folders


@pytest.mark.parametrize(
    ("names", "remedy"),
    [
        (
            ["config.json", "model.safetensors.index.json", "model-00001-of-00002.safetensors", "tokenizer.json"],
            "Name the file: f/model.safetensors.index.json",
        ),
        (
            ["model.safetensors.index.json", "pytorch_model.bin.index.json", "pytorch_model-00001-of-00002.bin"],
            "Name the file: f/model.safetensors.index.json",
        ),
        (["pytorch_model.bin.index.json", "a-00001-of-00002.bin"], "Name the file: f/pytorch_model.bin.index.json"),
        (["config.json", "model.safetensors", "pytorch_model.bin"], "Name the file: f/model.safetensors"),
        (
            ["optimizer.pt", "pytorch_model.bin", "rng_state.pth", "scheduler.pt", "training_args.bin"],
            "Name the file: f/pytorch_model.bin",
        ),
        (["epoch=3.ckpt", "hparams.yaml", "optimizer.pt"], "Name the file: f/epoch=3.ckpt"),
        (["a.safetensors", "b.safetensors"], "Name one of its files: `a.safetensors`, `b.safetensors`"),
        (["model-00001-of-00002.safetensors", "readme.md"], None),
        (["optimizer.pt"], None),
        (["model_index.json", "unet/config.json", "unet/model.safetensors"], "Name the file: f/unet/model.safetensors"),
        (
            ["a/model-00001-of-00002.safetensors", "a/model.safetensors.index.json"],
            "Name the file: f/a/model.safetensors.index.json",
        ),
        (["a/b.safetensors", "c/d.safetensors"], "Name one of its files: `a/b.safetensors`, `c/d.safetensors`"),
        (["a/b/c.safetensors"], None),
        ([], None),
    ],
)
def test_a_folder_leads_to_the_file_in_it(names: list[str], remedy: str | None) -> None:
    Path("f").mkdir()
    lay("f", *names)
    more = "" if remedy is None else f"\n  {remedy}"
    assert refused("f") == f"f: expected a checkpoint, found a folder{more}"
    expected = f"Error: f: expected a checkpoint, a record or a wheel, found a folder{more}\n"
    assert refusal("inspect", "f") == expected


@pytest.mark.parametrize(
    ("folder", "names", "expected"),
    [
        (
            "saved",
            ["saved_model.pb", "variables/variables.index", "model.safetensors"],
            f"the folder of a TensorFlow SavedModel\n{TENSORFLOW}",
        ),
        (
            "tf",
            ["checkpoint", "model.ckpt-9.index", "model.ckpt-9.data-00000-of-00001"],
            f"the folder of a TensorFlow checkpoint\n{TENSORFLOW}",
        ),
        ("net.mlpackage", ["Manifest.json", "Data/weight.bin"], f"a Core ML package\n{SAVE_STATE_DICT}"),
        ("net.mlmodelc", ["model.mil", "weights/weight.bin"], f"a Core ML package\n{SAVE_STATE_DICT}"),
        (
            "orbax",
            ["_CHECKPOINT_METADATA", "_METADATA", "d/0123", "manifest.ocdbt"],
            f"the folder of an Orbax checkpoint\n{SAVE}, where Orbax can read it.",
        ),
    ],
)
def test_a_folder_of_another_framework_is_called_what_it_is(folder: str, names: list[str], expected: str) -> None:
    lay(folder, *names)
    assert refused(folder) == f"{folder}: expected a checkpoint, found {expected}"


def test_a_folder_that_is_full_is_looked_at_a_little(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("hatch_wheelweights.checkpoint.foreign.MAX_NAMES", 2)
    lay("f", *(f"{number}.pt" for number in range(3)))
    assert refused("f").count(".pt`") == 2


# -------------------------------------------------------------------------------------------------- files of TensorFlow


@pytest.mark.parametrize(
    ("path", "what"),
    [
        ("t/model.ckpt-9", "a TensorFlow checkpoint"),
        ("t/model.ckpt-9.index", "a file of a TensorFlow checkpoint"),
        ("t/model.ckpt-9.data-00000-of-00001", "a file of a TensorFlow checkpoint"),
        ("s/saved_model.pb", "a file of a TensorFlow SavedModel"),
    ],
)
def test_a_file_of_tensorflow_is_told_by_its_name_and_its_neighbours(path: str, what: str) -> None:
    lay("t", "model.ckpt-9.index", "model.ckpt-9.data-00000-of-00001")
    lay("s", "saved_model.pb")
    assert refused(path) == f"{path}: expected a checkpoint, found {what}\n{TENSORFLOW}"
    assert refusal("inspect", path) == f"Error: {path}: expected a checkpoint, found {what}\n{TENSORFLOW}\n"


@pytest.mark.parametrize(
    ("path", "beside"),
    [
        ("a.index", []),
        ("a.index", ["b.data-00000-of-00001"]),
        ("a.data-00000-of-00001", []),
        ("a", ["a.index", "a.data-00000-of-00001"]),
    ],
)
def test_a_name_alone_makes_no_file_of_tensorflow(path: str, beside: list[str]) -> None:
    lay(".", *beside)
    write(path, safetensors())
    open_checkpoint(path).close()
