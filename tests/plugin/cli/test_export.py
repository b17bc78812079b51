"""`wheelweights export`: the tensors of a file as safetensors, by hand."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from hatch_wheelweights import open_checkpoint
from looking.commands import refusal, run, stdout
from making.checkpoints import safetensors, zip_checkpoint
from making.pickles import pickled, state_dict, storage, tensor
from making.small_files import WHEEL, nested_checkpoint, small_checkpoint, small_record, small_wheel, write
from making.values import FLOATS

EXAMPLE = Path(__file__).parents[3] / "example_project" / "weights" / "digits.pt"


def line(output: str, size: int, of: str, source: str) -> str:
    return rf"{re.escape(output)}: {size} bytes, {of}, from {re.escape(source)} in \d+\.\d\d s\n"


def test_export_writes_the_file_and_says_so_in_one_line() -> None:
    nested_checkpoint()
    options = ["--top-level-key", "model", "--key-remap", "^", "net.", "--precision", "half"]
    said = stdout("export", "nested.pt", "model.safetensors", *options)
    size = Path("model.safetensors").stat().st_size
    assert re.fullmatch(line("model.safetensors", size, "1 tensor of 8 bytes", "nested.pt (pytorch-zip)"), said)
    with open_checkpoint("model.safetensors") as checkpoint:
        assert {key: tensor.numpy().tolist() for key, tensor in checkpoint.tree.items()} == {"net.w": [1, 2, 3, 4]}


def test_export_says_what_tied_tensors_cost_and_what_is_left_out() -> None:
    small_checkpoint()
    first, second, third = stdout("export", "model.pt", "model.safetensors").splitlines()
    assert first == "Note: left out `step`: no tensors"
    assert second == (
        "Note: tied tensors have bytes of their own, since safetensors has no ties: `tied` (16 bytes more)"
    )
    assert third.startswith("model.safetensors: ")


def test_export_takes_a_record_in_a_wheel() -> None:
    small_wheel()
    said = stdout("export", f"{WHEEL}/demo/2.mpk", "two.safetensors")
    size = Path("two.safetensors").stat().st_size
    assert re.fullmatch(line("two.safetensors", size, "1 tensor of 16 bytes", f"{WHEEL}/demo/2.mpk (record)"), said)
    assert refusal("export", WHEEL, "one.safetensors") == (
        f"Error: {WHEEL}: expected a wheel with one record, found 2: `demo/1.mpk`, `demo/2.mpk`\n"
        f"  Name one of them: {WHEEL}/demo/1.mpk\n"
    )


def test_export_keeps_the_numbers_of_layers_unless_told_otherwise() -> None:
    small_checkpoint()
    run("export", "model.pt", "kept.safetensors")
    run("export", "model.pt", "closed.safetensors", "--reindex")
    for name, number in (("kept", 2), ("closed", 1)):
        with open_checkpoint(f"{name}.safetensors") as checkpoint:
            assert f"layers.{number}.w" in checkpoint.tree


def test_export_speaks_of_options_as_flags() -> None:
    write("model.mpk", small_record())
    assert refusal("export", "model.mpk", "out.safetensors", "--precision", "half", status=2) == (
        "Error: model.mpk: --precision: expected a checkpoint to convert, found a record\n"
        "  Leave it out: the tensors of a record are as the conversion made them.\n"
    )
    wide = tensor(storage("0", 1, "ComplexDoubleStorage"), size=(1,))
    write("model.pt", zip_checkpoint(state_dict(w=wide), {"0": FLOATS}))
    assert refusal("export", "model.pt", "out.safetensors") == (
        "Error: model.pt: expected dtypes that safetensors has, found `complex128` in `w`\n"
        "  Cast them: --precision '^w$=complex64', or leave them out with --exclude.\n"
    )
    run("export", "model.pt", "out.safetensors", "--precision", "^w$=complex64")


@pytest.mark.parametrize("output", ["out.pt", "out", "out.SAFETENSORS"])
def test_export_goes_into_a_safetensors_file(output: str) -> None:
    small_checkpoint()
    said = refusal("export", "model.pt", output, "--force", status=2)
    assert said == (
        f"Error: OUTPUT: expected a path ending in `.safetensors`, found `{output}`\n  Write out.safetensors.\n"
    )


def test_a_safetensors_file_is_replaced_with_force_only() -> None:
    small_checkpoint()
    write("out.safetensors", safetensors())
    assert refusal("export", "model.pt", "out.safetensors") == (
        "Error: out.safetensors: expected no file there, found a safetensors file\n"
        "  Replace it with --force, or give another OUTPUT.\n"
    )
    assert Path("out.safetensors").read_bytes() == safetensors()
    run("export", "model.pt", "out.safetensors", "--force")
    assert Path("out.safetensors").read_bytes() != safetensors()


@pytest.mark.parametrize("force", [[], ["--force"]])
@pytest.mark.parametrize("there", [b"", b"text", b"PK\x03\x04", b"\x82\xa8metadata"], ids=repr)
def test_no_other_file_is_replaced_by_an_export(there: bytes, force: list[str]) -> None:
    small_checkpoint()
    write("out.safetensors", there)
    said = refusal("export", "model.pt", "out.safetensors", *force)
    assert said.startswith("Error: out.safetensors: expected no file there, found ")
    assert said.endswith("\n  Give another OUTPUT, or remove the file.\n")
    assert Path("out.safetensors").read_bytes() == there


def test_the_source_is_never_replaced() -> None:
    write("model.safetensors", safetensors())
    assert refusal("export", "model.safetensors", "model.safetensors", "--force") == (
        "Error: model.safetensors: expected another file as output, found the checkpoint itself\n"
        "  Give the export a name of its own.\n"
    )
    assert Path("model.safetensors").read_bytes() == safetensors()


def test_the_example_and_its_export_are_equal() -> None:
    run("export", str(EXAMPLE), "digits.safetensors")
    assert run("diff", str(EXAMPLE), "digits.safetensors").stdout.startswith("equal: 16 tensors, 36,204 values")


def test_what_an_export_says_of_reindexing_names_the_flag_that_it_has() -> None:
    write("model.pt", zip_checkpoint(pickled({"l.3.w": tensor()}), {"0": FLOATS}))
    assert run("export", "model.pt", "out.safetensors", "--reindex").stderr == (
        "Warning: `l` begins at 3, and at 0 after reindexing: if it is part of a model (a lone shard, an adapter), "
        "leaving out --reindex keeps the numbers\n"
    )
    run("convert", "model.pt", "model.mpk")
    assert refusal("export", "model.mpk", "other.safetensors", "--reindex", status=2) == (
        "Error: model.mpk: --reindex: expected a checkpoint to convert, found a record\n"
        "  Leave it out: the tensors of a record are as the conversion made them.\n"
    )
