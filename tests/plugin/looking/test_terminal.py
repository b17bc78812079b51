"""An inspection on a terminal and as plain text."""

from __future__ import annotations

import os
import subprocess
import sys
from types import SimpleNamespace

import pytest

from looking.commands import process, run, stdout
from making.checkpoints import zip_checkpoint
from making.pickles import ordered_dict, pickled, state_dict, tensor
from making.small_files import HOSTILE, HOSTILE_SHOWN, hostile_checkpoints, write


@pytest.mark.skipif(sys.platform == "win32", reason="needs a pseudo-terminal")
def test_a_terminal_gets_tables_and_no_escapes_from_the_file() -> None:
    import pty

    write("model.pt", zip_checkpoint(pickled(ordered_dict({HOSTILE: tensor(), "b[red]": tensor(size=(9,))}))))
    ours, theirs = pty.openpty()
    environment = {**os.environ, "COLUMNS": "140", "TERM": "xterm", "NO_COLOR": "1"}
    command = [sys.executable, "-m", "hatch_wheelweights", "inspect", "model.pt"]
    done = subprocess.run(command, stdout=theirs, stderr=subprocess.PIPE, env=environment, check=False)
    os.close(theirs)
    shown = os.read(ours, 1 << 16).decode()
    os.close(ours)
    assert (done.returncode, done.stderr) == (0, b"")
    assert "─" in shown
    assert HOSTILE_SHOWN in shown
    assert "b[red]" in shown
    assert "\x1b[31m" not in shown
    assert "\u202e" not in shown


def test_a_terminal_gets_plain_text_where_tables_would_take_long(monkeypatch: pytest.MonkeyPatch) -> None:
    from hatch_wheelweights.cli import commands

    write("model.pt", zip_checkpoint(state_dict(**{f"w{number}": tensor() for number in range(20)})))
    monkeypatch.setattr(commands, "sys", SimpleNamespace(stdout=SimpleNamespace(isatty=lambda: True)))
    assert "─" in stdout("inspect", "model.pt")
    monkeypatch.setattr(commands, "MAX_IN_TABLES", 100)
    assert "─" not in stdout("inspect", "model.pt")


def test_plain_output_is_never_cut_to_a_width() -> None:
    key = "x" * 300
    write("model.pt", zip_checkpoint(pickled(ordered_dict({key: tensor()}))))
    assert f"{key}  (4,)   float32  16 B\n" in stdout("inspect", "model.pt")


def test_names_that_the_output_cannot_encode_are_escaped() -> None:
    write("model.pt", zip_checkpoint(pickled(ordered_dict({"größe": tensor()}))))
    done = process("inspect", "model.pt", env={**os.environ, "PYTHONIOENCODING": "ascii"})
    assert (done.returncode, done.stderr) == (0, "")
    assert "gr\\xf6\\xdfe" in done.stdout


def test_no_name_of_a_file_reaches_the_terminal_unescaped() -> None:
    hostile_checkpoints()
    write("other.pt", zip_checkpoint(state_dict(w=tensor())))
    for arguments in (["inspect", "flat.pt"], ["inspect", "deep.pt"], ["diff", "flat.pt", "other.pt"]):
        result = run(*arguments, status=int(arguments[0] == "diff"))
        assert HOSTILE_SHOWN in result.stdout
        assert all(line.isprintable() for line in result.output.splitlines())
    refused = run("inspect", "deep.pt", "--top-level-key", "x", status=1)
    assert all(line.isprintable() for line in refused.stderr.splitlines())
