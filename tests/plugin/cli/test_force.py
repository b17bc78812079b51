"""No file is replaced without --force, and with it only what can be made again: never weights."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

import wheelweights as ww
from looking.commands import refusal, run
from making.small_files import WHEEL, nested_checkpoint, small_checkpoint, small_wheel
from making.sparse import sparse_safetensors

CONVERT = ["convert", "model.pt"]
TEXTS = {"html": ["inspect", "model.pt", "--html"], "config": ["config", "nested.pt", "--key", "epoch", "-o"]}


@pytest.fixture(autouse=True)
def small_files(in_a_folder_of_its_own: None) -> None:
    small_checkpoint()
    nested_checkpoint()
    small_wheel()
    Path("other.pt").write_bytes(Path("model.pt").read_bytes())
    ww.write_record("old.mpk", {"w": np.zeros(1)})


def refused(*arguments: str, status: int = 1) -> str:
    """Run a command that must change nothing; return what it says."""
    before = {path.name: path.read_bytes() for path in Path().iterdir()}
    said = refusal(*arguments, status=status)
    assert {path.name: path.read_bytes() for path in Path().iterdir()} == before
    return said


def test_a_record_is_replaced_with_force_only() -> None:
    before = Path("old.mpk").read_bytes()
    assert refused(*CONVERT, "old.mpk") == (
        "Error: old.mpk: expected no file there, found a record\n  Replace it with --force, or give another OUTPUT.\n"
    )
    run(*CONVERT, "old.mpk", "--force")
    assert Path("old.mpk").read_bytes() != before


@pytest.mark.parametrize("force", [[], ["--force"]])
@pytest.mark.parametrize("output", ["other.pt", "new.safetensors", "new", WHEEL, "record.MPK", "model.pt"])
def test_a_record_goes_into_an_mpk_file(output: str, force: list[str]) -> None:
    said = refused(*CONVERT, output, *force, status=2)
    assert said.startswith(f"Error: OUTPUT: expected a path ending in `.mpk`, found `{output}`\n  Write ")
    assert said.count("\n") == 2


@pytest.mark.parametrize("force", [[], ["--force"]])
@pytest.mark.parametrize("there", [b"", b"text", b"PK\x03\x04", b"\x80\x02}q\x00.", b"\x82\xa8metadata"], ids=repr)
def test_no_other_file_is_replaced_by_a_record(there: bytes, force: list[str]) -> None:
    Path("new.mpk").write_bytes(there)
    said = refused(*CONVERT, "new.mpk", *force)
    assert said.startswith("Error: new.mpk: expected no file there, found ")
    assert said.endswith("\n  Give another OUTPUT, or remove the file.\n")


def test_names_from_a_shell_make_no_record() -> None:
    """`wheelweights convert *.pt` in a folder with two checkpoints."""
    assert refused("convert", "model.pt", "other.pt", status=2) == (
        "Error: OUTPUT: expected a path ending in `.mpk`, found `other.pt`\n  Write other.mpk.\n"
    )


@pytest.mark.parametrize("command", TEXTS.values(), ids=TEXTS)
def test_a_text_is_replaced_with_force_only(command: list[str]) -> None:
    Path("out.txt").write_text("old")
    assert refused(*command, "out.txt") == (
        "Error: out.txt: expected no file there, found one\n"
        "  Replace it with --force, or give another file to write to.\n"
    )
    run(*command, "out.txt", "--force")
    assert Path("out.txt").read_text() != "old"
    run(*command, "out.txt", "--force")


@pytest.mark.parametrize("force", [[], ["--force"]])
@pytest.mark.parametrize("command", TEXTS.values(), ids=TEXTS)
@pytest.mark.parametrize("there", ["other.pt", "old.mpk", WHEEL])
def test_no_weights_are_replaced_by_a_text(command: list[str], there: str, force: list[str]) -> None:
    said = refused(*command, there, *force)
    assert said.startswith(f"Error: {there}: expected no file there, found ")
    assert said.endswith("\n  Give another file to write to.\n")


@pytest.mark.parametrize("command", TEXTS.values(), ids=TEXTS)
@pytest.mark.parametrize("is_there", [True, False])
def test_nor_does_a_text_get_a_name_of_weights(command: list[str], is_there: bool) -> None:
    if is_there:
        Path("pointer.ckpt").write_text("oid sha256:0")
    assert refused(*command, "pointer.ckpt", "--force") == (
        "Error: pointer.ckpt: expected the name of a text, found one with the suffix .ckpt\n"
        "  Give another file to write to.\n"
    )
    assert Path("pointer.ckpt").exists() == is_there


# A command that is told to end


@pytest.mark.skipif(sys.platform == "win32", reason="needs POSIX's signals")
@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGHUP, signal.SIGINT])
def test_a_command_that_is_told_to_end_leaves_nothing(number: signal.Signals) -> None:
    sparse_safetensors(Path("large.safetensors"), 2 << 30, b"end")
    before = sorted(Path().rglob("*"))
    child = subprocess.Popen(
        [sys.executable, "-c", f"import os, signal; signal.signal({number}, signal.SIG_DFL)\n{MAIN}"],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        env={**os.environ, "PYTHONDONTWRITEBYTECODE": "1"},
    )
    while not list(Path("__pycache__").glob("out.mpk.*")) and child.poll() is None:
        pass
    child.send_signal(number)
    said, told = child.communicate()
    assert (child.returncode, said, told) == (3, "", "Interrupted.\n")
    assert sorted(Path().rglob("*")) == before


MAIN = """
import sys
if signal.getsignal(signal.SIGINT) is signal.SIG_DFL:
    signal.signal(signal.SIGINT, signal.default_int_handler)
from hatch_wheelweights.cli import main
sys.argv[1:] = ["convert", "large.safetensors", "out.mpk"]
main()
"""
