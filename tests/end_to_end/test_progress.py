"""What a build shows of its progress: a line on a terminal while it works, and with -v what each record took."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from typing import TYPE_CHECKING

import pytest

from looking.screen import Screen

if TYPE_CHECKING:
    from collections.abc import Callable

    from making.projects import Project

DRAWN_AT_ONCE = """
import sys
from hatchling.cli import hatchling
from hatch_wheelweights.looking import progress
progress.DELAY_SECONDS = progress.EVERY_SECONDS = 0
sys.argv[1:] = {arguments}
hatchling()
"""
LINE = re.compile(r"[kMG]?B/s  [\d:-]+ left")
TOOK = re.compile(r"weights/conv2d\.pt -> demo/conv2d\.mpk: [\d.]+ k?B in \d\.\d\d s, [\d.]+ [kMG]?B/s")


def build(project: Project, target: str, verbose: str) -> subprocess.CompletedProcess[str]:
    code = DRAWN_AT_ONCE.format(arguments=["build", "-t", target])
    environment = {**os.environ, "HATCH_VERBOSE": verbose}
    return subprocess.run(
        [sys.executable, "-c", code], cwd=project.root, env=environment, capture_output=True, text=True, check=True
    )


@pytest.mark.skipif(sys.platform == "win32", reason="needs a pseudo-terminal")
@pytest.mark.parametrize(("target", "made"), [("wheel", "demo-1.0-py3-none-any.whl"), ("sdist", "demo-1.0.tar.gz")])
def test_a_build_on_a_terminal_shows_what_it_converts_and_writes(
    target: str, made: str, new_project: Callable[..., Project], monkeypatch: pytest.MonkeyPatch
) -> None:
    project = new_project()
    monkeypatch.chdir(project.root)
    with Screen(["-c", DRAWN_AT_ONCE.format(arguments=["build", "-t", target])]) as terminal:
        assert terminal.status() == 0
    drawn = [line for line in terminal.seen.split("\r") if LINE.search(line)]
    assert any(line.startswith("Converting conv2d.pt  ") for line in drawn)
    assert any(line.startswith(f"Writing {made}  ") for line in drawn)
    printed = [line.rpartition("\r")[2] for line in terminal.seen.replace("\r\n", "\n").split("\n")]
    assert not any(LINE.search(line) for line in printed)
    assert any(line.startswith(f"{made}: ") for line in printed)
    assert (project.root / "dist" / made).exists()


@pytest.mark.parametrize("verbose", ["0", "1"])
def test_a_build_in_a_pipe_shows_no_progress_and_with_v_what_each_record_took(
    verbose: str, new_project: Callable[..., Project]
) -> None:
    done = build(new_project(), "wheel", verbose)
    said = done.stdout + done.stderr
    assert not LINE.search(said)
    assert "Converting" not in said
    assert bool(TOOK.search(said)) == (verbose == "1")
