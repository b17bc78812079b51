"""The command as a whole: exit statuses, mistakes, and how it starts and ends as a process."""

from __future__ import annotations

import re
import subprocess
import sys
from pathlib import Path

import pytest

import wheelweights as ww
from looking.commands import process, python, refusal
from making.checkpoints import zip_checkpoint
from making.pickles import state_dict, tensor
from making.small_files import write


@pytest.mark.parametrize("command", [["inspect"], ["verify"], ["convert"], ["config", "--key", "a"], ["diff"]])
def test_a_file_that_is_not_there_is_told_in_words(command: list[str]) -> None:
    ww.write_record("there.mpk", {})
    second = {"convert": ["new.mpk"], "diff": ["there.mpk"]}.get(command[0], [])
    message = "Error: not there.pt: cannot be opened: No such file or directory\n  Check the path.\n"
    assert refusal(*command, "not there.pt", *second) == message


def test_wrong_usage_is_status_2() -> None:
    assert refusal("inspekt", status=2).startswith("Usage: wheelweights [OPTIONS] COMMAND [ARGS]...\n")
    assert refusal("config", "a.pt", status=2).splitlines()[-1] == "Error: Missing option '--key'."


def test_the_module_is_the_command() -> None:
    done = process("--version")
    assert (done.returncode, done.stderr) == (0, "")
    assert re.fullmatch(r"wheelweights \d+\.\d+\.\d+\n", done.stdout)


def loaded_by(code: str) -> set[str]:
    """Return the modules that code imports in a fresh interpreter."""
    done = python(f"import sys\ntry:\n    {code}\nexcept SystemExit:\n    pass\nprint()\nprint(*sys.modules)")
    assert (done.returncode, done.stderr) == (0, "")
    return set(done.stdout.splitlines()[-1].split())


@pytest.mark.parametrize("arguments", [["--help"], ["--version"], ["inspect", "--help"], ["diff", "--help"]])
def test_help_needs_nothing_heavy(arguments: list[str]) -> None:
    code = f"from hatch_wheelweights.cli import main; sys.argv[1:] = {arguments}; main()"
    assert not {"numpy", "msgpack", "rich", "hatchling", "zipfile"} & loaded_by(code)


def test_the_entry_point_imports_neither_click_nor_numpy_until_it_is_called() -> None:
    assert not {"click", "rich", "numpy", "wheelweights"} & loaded_by("import hatch_wheelweights.cli")


@pytest.mark.parametrize("missing", ["click", "rich"])
@pytest.mark.parametrize("start", ["from hatch_wheelweights.cli import main", "import runpy"])
def test_without_click_or_rich_one_line_says_what_to_install(missing: str, start: str) -> None:
    run = "main()" if "main" in start else "runpy.run_module('hatch_wheelweights', run_name='__main__')"
    done = python(f"import sys; sys.modules[{missing!r}] = None; {start}; sys.argv[1:] = ['inspect', 'a.pt']; {run}")
    assert (done.returncode, done.stdout) == (2, "")
    assert done.stderr == ("Error: the command line needs click and rich: pip install 'hatch-wheelweights[cli]'\n")


def test_an_interrupted_command_ends_with_one_line_and_status_3() -> None:
    write("model.pt", zip_checkpoint(state_dict(w=tensor())))
    done = python(
        """
import os, signal, sys, time
from hatch_wheelweights import conversion
from hatch_wheelweights.cli import main

def write_record(*_, **__):
    os.kill(os.getpid(), signal.SIGINT)
    time.sleep(60)

conversion.write_record = write_record
sys.argv[1:] = ["convert", "model.pt", "model.mpk"]
main()
"""
    )
    assert (done.returncode, done.stdout, done.stderr) == (3, "", "Interrupted.\n")
    assert not Path("model.mpk").exists()


def test_a_reader_that_goes_away_is_no_error() -> None:
    tensors = {f"layer{number}.weight": tensor() for number in range(5000)}
    write("model.pt", zip_checkpoint(state_dict(**tensors)))
    command = [sys.executable, "-m", "hatch_wheelweights", "inspect", "model.pt"]
    with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE) as running:
        assert running.stdout is not None
        assert running.stderr is not None
        running.stdout.read(1)
        running.stdout.close()
        assert running.stderr.read() == b""
