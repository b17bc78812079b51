"""The line that shows progress: when it appears, what it says, that it fits, and that nothing of it remains."""

from __future__ import annotations

import io

import pytest
from hypothesis import given
from hypothesis import strategies as st

from hatch_wheelweights.looking.progress import (
    DELAY_SECONDS,
    EVERY_SECONDS,
    ProgressLine,
    State,
    cells_of,
    line_of,
    shortened_to,
    shown_on,
)
from hatch_wheelweights.progress import advance, working
from looking.screen import lines_on_screen

MB = 1_000_000
NAME = "Converting model.pt"


class Terminal(io.TextIOWrapper):
    """A stream that says it is a terminal."""

    def __init__(self, encoding: str = "utf-8") -> None:
        self.written = io.BytesIO()
        super().__init__(self.written, encoding=encoding, newline="")

    def isatty(self) -> bool:
        return True

    @property
    def text(self) -> str:
        return self.written.getvalue().decode(self.encoding)


class Line(ProgressLine):
    """A line whose clock stands still until it is set."""

    def __init__(self, terminal: Terminal, columns: int = 80) -> None:
        self.seconds = 0.0
        super().__init__(terminal, clock=lambda: self.seconds, width=lambda: columns)


def test_short_work_shows_nothing() -> None:
    line = Line(terminal := Terminal())
    line.begin(NAME, 102 * MB)
    line.seconds = DELAY_SECONDS - 0.01
    line.advance(MB)
    line.end()
    assert terminal.text == ""


def test_long_work_shows_what_is_done_how_fast_and_how_long_it_will_take() -> None:
    line = Line(terminal := Terminal())
    line.begin(NAME, 102 * MB)
    line.seconds = 1.5
    line.advance(45 * MB)
    assert lines_on_screen(terminal.text, 80) == [
        "Converting model.pt  ━━━━━━─────────  45.0 MB of 102 MB  30.0 MB/s  0:02 left"
    ]


def test_the_line_is_not_drawn_more_often_than_a_person_can_see() -> None:
    line = Line(terminal := Terminal())
    line.begin(NAME, 100 * MB)
    for step in range(1000):
        line.seconds = DELAY_SECONDS + step / 1000
        line.advance(MB)
    assert terminal.text.count("\r") == 1 / EVERY_SECONDS


def test_nothing_of_the_line_remains_not_even_of_the_key_that_ended_it() -> None:
    line = Line(terminal := Terminal())
    line.begin("Converting a-model-with-a-longer-name.pt", 100 * MB)
    line.seconds = 3700
    line.advance(1)
    line.seconds = 3701
    line.advance(99 * MB)
    before = terminal.text
    line.end()
    end = terminal.text.removeprefix(before)
    assert len(lines_on_screen(before, 80)) == 1
    assert lines_on_screen(before + "^C" + end, 80) == []
    assert lines_on_screen(terminal.text + "Interrupted.\n", 80) == ["Interrupted."]
    line.end()
    assert terminal.text == before + end


def test_a_second_piece_of_work_begins_from_nothing() -> None:
    line = Line(terminal := Terminal())
    for name in ("Verifying a.mpk", "Verifying b.mpk"):
        line.begin(name, 10 * MB)
        line.seconds += 1
        line.advance(5 * MB)
        assert lines_on_screen(terminal.text, 80)[0].startswith(f"{name}  ")
        assert "  5.00 MB of 10.0 MB  5.00 MB/s  0:01 left" in lines_on_screen(terminal.text, 80)[0]
        line.end()


def test_a_terminal_that_goes_away_does_not_end_the_work() -> None:
    class Gone(Terminal):
        def write(self, _: str) -> int:
            raise OSError("gone")

    line = Line(Gone())
    line.begin(NAME, 10)
    line.seconds = 1
    line.advance(5)
    line.end()


def test_what_the_terminal_has_no_characters_for_is_escaped() -> None:
    line = Line(terminal := Terminal("ascii"))
    line.begin("Converting größe\x1b[31m.pt", 10 * MB)
    line.seconds = 1
    line.advance(5 * MB)
    assert lines_on_screen(terminal.text, 80) == [
        r"Converting gr\xf6\xdfe\x1b[31m.pt  5.00 MB of 10.0 MB  5.00 MB/s  0:01 left"
    ]


@pytest.mark.parametrize(
    ("state", "line"),
    [
        (State(NAME, 51 * MB, 102 * MB, 1.5), f"{NAME}  ━━━━━━━━━─────────  51.0 MB of 102 MB  34.0 MB/s  0:02 left"),
        (State(NAME, 0, 102 * MB, 1), f"{NAME}  {'─' * 18}      0 B of 102 MB      0 B/s  -:-- left"),
        (State(NAME, 102 * MB, 102 * MB, 1), f"{NAME}  {'━' * 18}   102 MB of 102 MB   102 MB/s  0:00 left"),
        (State(NAME, 110 * MB, 102 * MB, 1), f"{NAME}  {'━' * 18}   102 MB of 102 MB   110 MB/s  0:00 left"),
        (State(NAME, 0, 0, 0), f"{NAME}  {'━' * 21}      0 B of 0 B      0 B/s  -:-- left"),
        (State(NAME, MB, 102 * MB, 60), f"{NAME}  ───────────────  1.00 MB of 102 MB  16.7 kB/s  1:41:00 left"),
        (State(NAME, 1, 102 * MB, 60), f"{NAME}  {'─' * 18}      1 B of 102 MB      0 B/s  -:-- left"),
    ],
    ids=["half", "nothing yet", "all", "more than announced", "nothing to do", "hours", "for ever"],
)
def test_the_line_says_how_far_the_work_is(state: State, line: str) -> None:
    assert line_of(state, 80, "━─") == line


@pytest.mark.parametrize(
    ("width", "line"),
    [
        (60, f"{NAME}  51.0 MB of 102 MB  34.0 MB/s  0:02 left"),
        (50, f"{NAME}  51.0 MB of 102 MB  0:02 left"),
        (44, f"{NAME}  51.0 MB of 102 MB"),
        (37, "Convert...model.pt  51.0 MB of 102 MB"),
        (12, "51.0...02 MB"),
    ],
)
def test_in_little_room_the_line_keeps_what_tells_most(width: int, line: str) -> None:
    assert line_of(State(NAME, 51 * MB, 102 * MB, 1.5), width, "━─") == line


@given(
    state=st.builds(
        State,
        st.text(st.characters(categories=["L", "N", "P"]), max_size=100),
        st.integers(0, 1 << 50),
        st.integers(0, 1 << 50),
        st.floats(0, 1e9),
    ),
    width=st.integers(1, 200),
)
def test_the_line_fits_whatever_is_done(state: State, width: int) -> None:
    assert cells_of(line_of(state, width, "━─")) <= width


@given(text=st.text(st.characters(categories=["L", "N", "P"])), cells=st.integers(3, 60))
def test_a_shortened_text_keeps_both_ends_and_fits(text: str, cells: int) -> None:
    short = shortened_to(text, cells)
    head, dots, tail = short.partition("...")
    assert cells_of(short) <= cells
    assert short == text or (dots and text.startswith(head) and text.endswith(tail))


# ------------------------------------------------------------------------------------- where it is shown


@pytest.mark.parametrize("term", [None, "xterm", "dumb", "unknown"])
def test_a_terminal_shows_it_if_a_line_can_be_written_over_there(
    term: str | None, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("TERM", raising=False)
    if term is not None:
        monkeypatch.setenv("TERM", term)
    monkeypatch.setattr("hatch_wheelweights.looking.progress.DELAY_SECONDS", 0)
    terminal = Terminal()
    with shown_on(terminal), working(NAME, 10):
        advance(5)
    assert (NAME in terminal.text) == (term in (None, "xterm"))


def test_a_pipe_a_closed_stream_and_none_show_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("hatch_wheelweights.looking.progress.DELAY_SECONDS", 0)
    pipe, closed = io.StringIO(), io.StringIO()
    closed.close()
    for stream in (pipe, closed, None):
        with shown_on(stream), working(NAME, 10):
            advance(5)
    assert pipe.getvalue() == ""
