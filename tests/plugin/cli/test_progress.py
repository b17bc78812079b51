"""Long work on a terminal, as a person sees it: a line that says how far it is, and that is gone when the work is over.

The commands run on pseudo-terminals. What takes long is made so: the line is drawn at each block, at once, and then the
work waits for ever where it is to be interrupted. Nothing depends on the clock.
"""

from __future__ import annotations

import re
import signal
import subprocess
import sys
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from looking.commands import process, stdout
from looking.screen import Screen, lines_on_screen
from making.small_files import WHEEL, nested_checkpoint, small_checkpoint, small_record, small_wheel

if TYPE_CHECKING:
    from collections.abc import Callable

pytestmark = pytest.mark.skipif(sys.platform == "win32", reason="needs a pseudo-terminal")

DRAWN_AT_ONCE = """
import sys, time
from hatch_wheelweights.cli import main
from hatch_wheelweights.looking import progress

def and_wait(self, nbytes, advance=progress.ProgressLine.advance):
    advance(self, nbytes)
    while True:  # a signal that comes just before one sleep begins is handled after it
        time.sleep(0.01)

progress.DELAY_SECONDS = progress.EVERY_SECONDS = 0
if {waiting}:
    progress.ProgressLine.advance = and_wait
sys.argv[1:] = {arguments}
main()
"""

COMMANDS = {
    "Converting model.pt": ["convert", "model.pt", "out.mpk"],
    "Exporting model.pt": ["export", "model.pt", "out.safetensors"],
    "Reading model.pt": ["inspect", "model.pt", "--stats", "--json"],
    "Comparing model.pt": ["diff", "model.pt", "model.pt"],
    "Verifying record.mpk": ["verify", "record.mpk"],
    f"Verifying {WHEEL}/demo/2.mpk": ["verify", WHEEL],
}
each_command = pytest.mark.parametrize(("what", "arguments"), COMMANDS.items(), ids=lambda one: one[0])


@pytest.fixture(autouse=True)
def small_files(in_a_folder_of_its_own: None) -> None:
    small_checkpoint()
    nested_checkpoint()
    small_wheel()
    Path("record.mpk").write_bytes(small_record())


def screen(arguments: list[str], *, waiting: bool = False, columns: int = 80, **environment: str) -> Screen:
    return Screen(["-c", DRAWN_AT_ONCE.format(arguments=arguments, waiting=waiting)], columns, environment)


def without_seconds(lines: str | list[str]) -> list[str]:
    """Return lines but for the time that converting took."""
    return [line.partition(") in ")[0] for line in (lines.splitlines() if isinstance(lines, str) else lines)]


@each_command
@pytest.mark.parametrize("columns", [80, 40])
def test_progress_is_shown_and_nothing_of_it_remains(what: str, arguments: list[str], columns: int) -> None:
    with screen(arguments, columns=columns) as terminal:
        assert terminal.status() == 0
    drawn = [line for line in terminal.seen.split("\r") if re.search(r"\d k?B of \d", line)]
    assert drawn
    assert all(len(line.rstrip()) < columns for line in drawn)
    assert any(line.startswith(what[0]) for line in drawn)
    assert columns < 80 or len(what) > 24 or any(line.startswith(f"{what}  ") for line in drawn)
    printed = [line.rpartition("\r")[2] for line in terminal.seen.replace("\r\n", "\n").split("\n") if line.strip()]
    for made in Path().glob("out.*"):
        made.unlink()
    assert without_seconds(printed) == without_seconds(stdout(*arguments))


INTERRUPTIONS: dict[str, Callable[[Screen], None]] = {
    "Ctrl-C": lambda terminal: terminal.press("\x03"),
    "SIGTERM": lambda terminal: terminal.send(signal.SIGTERM),
    "SIGHUP": lambda terminal: terminal.send(signal.SIGHUP),
}


@each_command
@pytest.mark.parametrize("interrupt", INTERRUPTIONS.values(), ids=INTERRUPTIONS)
def test_an_interruption_takes_the_line_away_and_leaves_nothing_half_made(
    interrupt: Callable[[Screen], None], what: str, arguments: list[str]
) -> None:
    before = sorted(Path().iterdir())
    with screen(arguments, waiting=True) as terminal:
        terminal.wait_for(" left")
        interrupt(terminal)
        assert terminal.status() == 3
    assert lines_on_screen(terminal.seen, 80) == ["Interrupted."]
    assert sorted(Path().iterdir()) == before


def test_a_terminal_that_cannot_write_over_a_line_shows_nothing() -> None:
    with screen(["verify", "record.mpk"], TERM="dumb") as terminal:
        assert terminal.status() == 0
    assert terminal.seen.replace("\r\n", "\n") == stdout("verify", "record.mpk")


@each_command
def test_a_pipe_gets_no_progress(what: str, arguments: list[str]) -> None:
    code = DRAWN_AT_ONCE.format(arguments=arguments, waiting=False)
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stderr == ""
    assert "\r" not in done.stdout
    assert what.partition(" ")[0] not in done.stdout


def test_standard_output_may_be_a_pipe_while_the_terminal_shows_progress() -> None:
    code = DRAWN_AT_ONCE.format(arguments=["verify", "record.mpk"], waiting=False)
    Path("command.py").write_text(code)
    import_and_redirect = "import os; os.dup2(os.open('out.txt', os.O_CREAT | os.O_WRONLY), 1)\n"
    with Screen(["-c", import_and_redirect + code]) as terminal:
        assert terminal.status() == 0
    assert "Verifying record.mpk" in terminal.seen
    assert lines_on_screen(terminal.seen, 80) == []
    assert Path("out.txt").read_text() == stdout("verify", "record.mpk")


def test_work_that_is_done_at_once_shows_nothing() -> None:
    with Screen(["-m", "hatch_wheelweights", "verify", "record.mpk"]) as terminal:
        assert terminal.status() == 0
    assert "\r" not in terminal.seen.replace("\r\n", "")


def test_a_command_in_a_pipe_says_what_it_says_on_a_terminal() -> None:
    assert process("verify", "record.mpk").stdout == stdout("verify", "record.mpk")
