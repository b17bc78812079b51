"""The command as a whole: exit statuses, mistakes, and how it starts and ends as a process."""

from __future__ import annotations

import re
import subprocess
import sys
from pathlib import Path

import click
import pytest

import wheelweights as ww
from hatch_wheelweights.cli.commands import cli
from looking.commands import process, python, refusal, stdout
from making.checkpoints import zip_checkpoint
from making.pickles import state_dict, tensor
from making.small_files import write


@pytest.mark.parametrize("command", [["inspect"], ["verify"], ["convert"], ["config", "--key", "a"], ["diff"]])
def test_a_file_that_is_not_there_is_told_in_words(command: list[str]) -> None:
    ww.write_record("there.mpk", {})
    second = {"convert": ["new.mpk"], "diff": ["there.mpk"]}.get(command[0], [])
    message = "Error: no such.pt: cannot be opened: No such file or directory\n  Check the path.\n"
    assert refusal(*command, "no such.pt", *second) == message


@pytest.mark.parametrize("command", [["inspect"], ["verify"], ["convert"], ["config", "--key", "a"], ["diff"]])
def test_of_a_mistyped_file_the_nearest_one_is_named(command: list[str]) -> None:
    Path("weights").mkdir()
    ww.write_record("weights/there.mpk", {})
    second = {"convert": ["new.mpk"], "diff": ["weights/there.mpk"]}.get(command[0], [])
    message = "cannot be opened: No such file or directory\n  Did you mean `weights/there.mpk`?\n"
    assert refusal(*command, "weights/tehre.mpk", *second) == f"Error: weights/tehre.mpk: {message}"


@pytest.mark.parametrize(
    ("name", "said"),
    [("inspct", " Did you mean 'inspect'?"), ("CONVERT", " Did you mean 'convert'?"), ("frobnicate", "")],
)
def test_of_a_mistyped_command_the_nearest_one_is_named(name: str, said: str) -> None:
    assert refusal(name, status=2).splitlines()[-1] == f"Error: No such command '{name}'.{said}"


def test_of_a_mistyped_option_the_nearest_one_is_named() -> None:
    assert "--json" in refusal("inspect", "a.pt", "--jsn", status=2).splitlines()[-1]


def test_wrong_usage_is_status_2() -> None:
    assert refusal("inspekt", status=2).startswith("Usage: wheelweights [OPTIONS] COMMAND [ARGS]...\n")
    assert refusal("config", "a.pt", status=2).splitlines()[-1] == "Error: Missing option '--key'."


def test_the_module_is_the_command() -> None:
    done = process("--version")
    assert (done.returncode, done.stderr) == (0, "")
    assert re.fullmatch(r"wheelweights \d+\.\d+\.\d+\n", done.stdout)


def loaded_by(code: str) -> set[str]:
    """Return the modules that code imports in a fresh interpreter, without those that it begins with.

    Where coverage is measured, those are many.
    """
    report = "print()\nprint(*sys.modules)"
    before, done = (
        python(f"import sys\ntry:\n    {lines}\nexcept SystemExit:\n    pass\n{report}") for lines in ("pass", code)
    )
    assert (done.returncode, done.stderr) == (0, "")
    return set(done.stdout.splitlines()[-1].split()) - set(before.stdout.splitlines()[-1].split())


# What takes milliseconds to import, and hardly any command needs
RARELY_NEEDED = {
    "packaging", "hashlib", "tempfile", "concurrent.futures", "decimal", "fractions", "difflib", "tomllib", "logging",
    "importlib.metadata", "email", "urllib.request", "subprocess",
}  # fmt: skip


@pytest.mark.parametrize("arguments", [["--help"], ["--version"], ["inspect", "--help"], ["diff", "--help"]])
def test_help_needs_nothing_heavy(arguments: list[str]) -> None:
    code = f"from hatch_wheelweights.cli import main; sys.argv[1:] = {arguments}; main()"
    assert not {"numpy", "msgpack", "rich", "hatchling", "zipfile", *RARELY_NEEDED} & loaded_by(code)


@pytest.mark.parametrize("arguments", [["--help"], ["--version"]])
def test_the_list_of_commands_needs_no_command(arguments: list[str]) -> None:
    code = f"from hatch_wheelweights.cli import main; sys.argv[1:] = {arguments}; main()"
    ours = {name for name in loaded_by(code) if name.startswith("hatch_wheelweights.")}
    assert {name.removeprefix("hatch_wheelweights.") for name in ours} <= {
        "_version", "cli", "cli.commands", "cli.ending", "signals",
    }  # fmt: skip


def test_looking_into_a_small_file_imports_what_it_needs() -> None:
    write("model.pt", zip_checkpoint(state_dict(w=tensor())))
    loaded = loaded_by("from hatch_wheelweights.cli import main; sys.argv[1:] = ['inspect', 'model.pt']; main()")
    steps = {f"hatch_wheelweights.steps.{name}" for name in ("configuration", "interpolation", "plain_values")}
    others = {f"hatch_wheelweights.{name}" for name in ("conversion", "looking.page", "looking.installed")}
    assert not {"rich", "hatchling", "ml_dtypes", "wheelweights.nn", *RARELY_NEEDED, *steps, *others} & loaded
    assert "numpy" in loaded


def test_verifying_a_file_does_not_ask_what_is_installed() -> None:
    ww.write_record("model.mpk", {})
    loaded = loaded_by("from hatch_wheelweights.cli import main; sys.argv[1:] = ['verify', 'model.mpk']; main()")
    assert not {"hatch_wheelweights.looking.installed", "importlib.metadata", "email"} & loaded


@pytest.mark.skipif(not Path("/proc/self/task").exists(), reason="needs a list of the threads of a process")
@pytest.mark.parametrize("asked", [None, "2"])
def test_no_thread_is_started_for_multiplying_matrices(asked: str | None) -> None:
    """OpenBLAS starts one for each processor when numpy is imported, unless somebody has said how many."""
    write("model.pt", zip_checkpoint(state_dict(w=tensor())))
    before = "" if asked is None else f"os.environ['OPENBLAS_NUM_THREADS'] = {asked!r}"
    code = f"""
import os, sys
os.environ.pop("OPENBLAS_NUM_THREADS", None)
{before}
from hatch_wheelweights.cli import main
sys.argv[1:] = ["inspect", "model.pt"]
try:
    main()
except SystemExit:
    print(os.environ["OPENBLAS_NUM_THREADS"], len(os.listdir("/proc/self/task")) <= int(asked or 1))
"""
    assert python(code.replace("asked or 1", str(asked or 1))).stdout.splitlines()[-1] == f"{asked or 1} True"


def test_the_entry_point_imports_neither_click_nor_numpy_until_it_is_called() -> None:
    assert not {"click", "rich", "numpy", "wheelweights"} & loaded_by("import hatch_wheelweights.cli")


@pytest.mark.parametrize("start", ["from hatch_wheelweights.cli import main", "import runpy"])
def test_without_click_one_line_says_what_to_install(start: str) -> None:
    run = "main()" if "main" in start else "runpy.run_module('hatch_wheelweights', run_name='__main__')"
    done = python(f"import sys; sys.modules['click'] = None; {start}; sys.argv[1:] = ['inspect', 'a.pt']; {run}")
    assert (done.returncode, done.stdout) == (2, "")
    assert done.stderr == ("Error: the command line needs click: pip install 'hatch-wheelweights[cli]'\n")


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


INTERRUPTED_WHERE = {
    "while click reads the command line": ("click", "Command.context_class"),
    "before the command begins": ("hatch_wheelweights.looking.progress", "shown_on"),
}


@pytest.mark.skipif(sys.platform == "win32", reason="needs POSIX's signals")
@pytest.mark.parametrize("number", ["SIGINT", "SIGTERM"])
@pytest.mark.parametrize(("module", "name"), INTERRUPTED_WHERE.values(), ids=INTERRUPTED_WHERE)
def test_an_interruption_ends_alike_wherever_it_comes(module: str, name: str, number: str) -> None:
    done = python(
        f"""
import os, signal, sys
import {module}
from hatch_wheelweights.cli import main

def interrupted(*_, **__):
    os.kill(os.getpid(), signal.{number})

signal.signal(signal.SIGINT, signal.default_int_handler)
{module}.{name} = interrupted
sys.argv[1:] = ["inspect", "model.pt"]
main()
"""
    )
    assert (done.returncode, done.stdout, done.stderr) == (3, "", "Interrupted.\n")


@pytest.mark.skipif(sys.platform == "win32", reason="needs POSIX's signals")
@pytest.mark.parametrize("number", ["SIGINT", "SIGTERM"])
def test_an_interruption_after_all_is_said_changes_nothing(number: str) -> None:
    done = python(
        f"""
import atexit, os, signal, sys
from hatch_wheelweights.cli import main

atexit.register(lambda: os.kill(os.getpid(), signal.{number}))
sys.argv[1:] = ["--version"]
main()
"""
    )
    assert (done.returncode, done.stderr) == (0, "")
    assert done.stdout.startswith("wheelweights ")


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


@pytest.mark.parametrize("command", cli.list_commands(click.Context(cli)))
def test_the_help_of_each_command_ends_with_examples_whose_options_it_has(command: str) -> None:
    shown, _, examples = stdout(command, "--help").partition("\n  Examples:\n")
    assert f"wheelweights {command} " in examples
    known = cli.get_command(click.Context(cli), command)
    assert known is not None
    options = {flag for param in known.params for flag in param.opts}
    assert set(re.findall(r" (--?[a-z][a-z-]*)", examples)) <= options
    assert shown.startswith(f"Usage: wheelweights {command} ")
