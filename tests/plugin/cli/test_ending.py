"""How the command ends where its output cannot be written: one line, a status, no traceback, nothing left behind."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

import wheelweights as ww
from looking.commands import process, python, refusal
from making.checkpoints import safetensors, zip_checkpoint
from making.pickles import ordered_dict, pickled, tensor
from making.small_files import WHEEL, nested_checkpoint, small_checkpoint, small_wheel, write

ODD = "gr\u00f6\u00dfe \u91cd\u307f \U0001f600"
FULL = Path("/dev/full")
NO_SPACE = "No space left on device"
needs_full = pytest.mark.skipif(not FULL.exists(), reason="needs a device that is always full")

COMMANDS = [
    ["inspect", "model.pt"],
    ["inspect", "model.pt", "--json"],
    ["inspect", "model.pt", "--html", "page.html"],
    ["inspect", WHEEL],
    ["convert", "model.pt", "model.mpk"],
    ["config", "nested.pt", "--key", "config", "--key", "net"],
    ["verify", WHEEL],
    ["diff", "model.pt", "model.pt"],
    ["diff", "model.pt", "model.pt", "--json"],
    ["export", "model.pt", "model.safetensors"],
    ["scaffold", "model.pt"],
    ["inspect", "model.pt", "--stats"],
    ["completion", "bash"],
    ["--help"],
    ["inspect", "--help"],
    ["--version"],
]
FEW = [COMMANDS[0], COMMANDS[1], COMMANDS[6], ["--help"]]
TOLD = [
    ["inspect", "model.pt", "--key-remap", "nothing", "x"],
    ["inspect", "none.pt"],
    ["inspect", "--no-such-option"],
    ["verify", "model.pt"],
    ["no-such-command"],
]


@pytest.fixture(autouse=True)
def small_files(in_a_folder_of_its_own: None) -> None:
    small_checkpoint()
    nested_checkpoint()
    small_wheel()


def ended(arguments: list[str], redirection: str) -> tuple[int, str, str]:
    """Run the command in a shell; return its status and what it says on standard output and error."""
    line = f'exec "$0" -m hatch_wheelweights "$@" {redirection}'
    done = subprocess.run(["sh", "-c", line, sys.executable, *arguments], capture_output=True, text=True, check=False)
    return done.returncode, done.stdout, done.stderr


@needs_full
@pytest.mark.parametrize("arguments", COMMANDS, ids=" ".join)
def test_a_full_standard_output_is_told_in_one_line(arguments: list[str]) -> None:
    status, _, said = ended(arguments, ">/dev/full")
    what = "" if arguments[-1] in {"--help", "--version"} else "standard output cannot be written: "
    assert (status, said) == (1, f"Error: {what}{NO_SPACE}\n")


@needs_full
@pytest.mark.parametrize("arguments", TOLD, ids=" ".join)
def test_a_full_standard_error_leaves_a_status_that_is_not_zero(arguments: list[str]) -> None:
    status, _, said = ended(arguments, "2>/dev/full")
    assert (status, said) in ((1, ""), (2, ""))


@needs_full
def test_both_streams_may_be_full() -> None:
    assert ended(["inspect", "model.pt"], ">/dev/full 2>/dev/full")[0] == 1


@pytest.mark.skipif(sys.platform == "win32", reason="needs a shell")
@pytest.mark.parametrize("arguments", FEW, ids=" ".join)
def test_a_closed_standard_output_is_no_traceback(arguments: list[str]) -> None:
    status, shown, said = ended(arguments, ">&-")
    assert (shown, said) == ("", "")
    assert status == 0


@pytest.mark.skipif(sys.platform == "win32", reason="needs a shell")
@pytest.mark.parametrize("arguments", FEW, ids=" ".join)
def test_a_reader_that_has_gone_is_no_traceback(arguments: list[str]) -> None:
    """Even of a few bytes, which Python would keep until it exits."""
    reading, writing = os.pipe()
    os.close(reading)
    command = [sys.executable, "-m", "hatch_wheelweights", *arguments]
    done = subprocess.run(command, stdout=writing, stderr=subprocess.PIPE, check=False)
    os.close(writing)
    assert (done.returncode, done.stderr) == (1, b"")


@needs_full
@pytest.mark.parametrize(
    "arguments",
    [
        ["config", "nested.pt", "--key", "config", "--key", "net", "-o", "/dev/full"],
        ["inspect", "model.pt", "--html", "/dev/full"],
        ["diff", "model.pt", "model.pt", "--html", "/dev/full"],
        ["scaffold", "model.pt", "-o", "/dev/full"],
    ],
    ids=["config", "html", "diff", "scaffold"],
)
def test_a_full_device_as_output_is_told_in_one_line(arguments: list[str]) -> None:
    assert refusal(*arguments) == f"Error: /dev/full: cannot be written: {NO_SPACE}\n"


@needs_full
def test_a_record_is_not_written_to_a_device() -> None:
    Path("device.mpk").symlink_to(FULL)
    assert refusal("convert", "model.pt", "device.mpk").startswith("Error: device.mpk: cannot be written: ")
    assert FULL.is_char_device()


WITH_SMALL_FILES = """
import resource, signal, sys
signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
resource.setrlimit(resource.RLIMIT_FSIZE, (10, 10))
from hatch_wheelweights.cli import main
sys.argv[1:] = {arguments}
main()
"""


@pytest.mark.skipif(sys.platform == "win32", reason="needs a limit on the size of files")
@pytest.mark.parametrize("was_there", [False, True], ids=["new", "old"])
@pytest.mark.parametrize(
    ("arguments", "output"),
    [
        (["config", "nested.pt", "--key", "config", "--key", "net", "-o", "out.json"], "out.json"),
        (["inspect", "model.pt", "--html", "out.html"], "out.html"),
        (["convert", "model.pt", "out.mpk"], "out.mpk"),
        (["diff", "model.pt", "model.pt", "--html", "out.html"], "out.html"),
        (["scaffold", "model.pt", "-o", "out.py"], "out.py"),
        (["export", "model.pt", "out.safetensors"], "out.safetensors"),
    ],
    ids=["config", "html", "convert", "diff", "scaffold", "export"],
)
def test_a_file_that_cannot_be_written_whole_is_not_written(arguments: list[str], output: str, was_there: bool) -> None:
    if was_there and output.endswith(".mpk"):
        ww.write_record(output, {"w": np.zeros(1)})
    elif was_there and output.endswith(".safetensors"):
        Path(output).write_bytes(safetensors({}))
    elif was_there:
        Path(output).write_text("old")
    before = {path.name: path.read_bytes() for path in Path().iterdir()}
    done = python(WITH_SMALL_FILES.format(arguments=[*arguments, "--force"]))
    assert (done.returncode, done.stdout) == (1, "")
    assert done.stderr == f"Error: {output}: cannot be written: File too large\n"
    assert {path.name: path.read_bytes() for path in Path().iterdir()} == before


def test_no_memory_is_told_in_one_line() -> None:
    done = python(
        """
import sys
from hatch_wheelweights.looking.inspection import inspect
from hatch_wheelweights.cli import main

def inspect_file(*_):
    raise MemoryError

inspect.inspect_file = inspect_file
sys.argv[1:] = ["inspect", "model.pt"]
main()
"""
    )
    assert (done.returncode, done.stdout, done.stderr) == (3, "", "Error: out of memory\n")


def test_what_the_system_refuses_is_told_with_the_file() -> None:
    done = python(
        """
import sys
from hatch_wheelweights.looking.inspection import inspect
from hatch_wheelweights.cli import main

def inspect_file(*_):
    open("gone.pt")

inspect.inspect_file = inspect_file
sys.argv[1:] = ["inspect", "model.pt"]
main()
"""
    )
    assert (done.returncode, done.stdout, done.stderr) == (1, "", "Error: gone.pt: No such file or directory\n")


@pytest.mark.parametrize("encoding", ["ascii", "cp1252", "utf-8"])
@pytest.mark.parametrize(
    "arguments",
    [["inspect", "a.pt", "--json"], ["diff", "a.pt", "a.pt", "--json"], ["config", "a.pt", "--key", "config"]],
)
def test_json_is_json_whatever_the_output_can_encode(arguments: list[str], encoding: str) -> None:
    write("a.pt", zip_checkpoint(pickled({"model": ordered_dict({ODD: tensor()}), "config": {ODD: ODD}})))
    done = process(*arguments, env={**os.environ, "PYTHONIOENCODING": encoding}, encoding=encoding)
    assert (done.returncode, done.stderr) == (0, "")
    shown = json.dumps(json.loads(done.stdout), ensure_ascii=False)
    assert ODD in shown or arguments[0] == "diff"  # equal tensors are not named


@pytest.mark.parametrize(("encoding", "bar"), [("ascii", "#"), ("cp1252", "#"), ("utf-8", "█")])
def test_histograms_are_drawn_with_what_the_output_can_encode(encoding: str, bar: str) -> None:
    write("a.pt", safetensors({"w": ("F32", [32], 0, 128)}, np.repeat(np.arange(4, dtype="<f4"), 8).tobytes()))
    done = process("inspect", "a.pt", "--stats", env={**os.environ, "PYTHONIOENCODING": encoding}, encoding=encoding)
    line = next(line for line in done.stdout.splitlines() if line.startswith("w "))
    assert line.endswith(f"25%  {bar}    {bar}    {bar}    {bar}")
