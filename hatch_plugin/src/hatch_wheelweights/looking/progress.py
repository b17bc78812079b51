"""A line on a terminal that shows how far long work has come, and that is gone when the work is over.

For the command line and the build hook alike, so it needs nothing but the standard library: the line is written over
with a carriage return, which every terminal knows. Work that is done in half a second shows nothing.
"""

from __future__ import annotations

import os
import time
import unicodedata
from contextlib import nullcontext, suppress
from typing import TYPE_CHECKING, Final, NamedTuple

from hatch_wheelweights.looking.texts import human_size
from hatch_wheelweights.progress import showing
from wheelweights.errors import printable

if TYPE_CHECKING:
    from collections.abc import Callable
    from contextlib import AbstractContextManager
    from typing import TextIO

__all__ = ["ProgressLine", "shown_on"]

DELAY_SECONDS: Final = 0.5  # of work before the line appears
EVERY_SECONDS: Final = 0.1  # it is drawn again
MOST_BAR: Final = 30  # cells
_LEAST_BAR: Final = 8
_LEAST_NAME: Final = 24  # cells for what is done; below, other things give way
_LONGEST_TOLD: Final = 100 * 3600  # seconds left
_ECHO: Final = "^C"  # which a terminal shows behind the line when it is pressed
_WITHOUT_CURSOR: Final = ("dumb", "unknown")  # values of TERM where a line cannot be written over


def shown_on(stream: TextIO | None) -> AbstractContextManager[None]:
    """Show the progress of what is done inside, if the stream is a terminal that can; otherwise show nothing."""
    return showing(ProgressLine(stream)) if stream is not None and _can_show(stream) else nullcontext()


def _can_show(stream: TextIO) -> bool:
    try:
        return stream.isatty() and os.environ.get("TERM") not in _WITHOUT_CURSOR
    except ValueError:  # it was closed
        return False


class ProgressLine:
    """The line on a terminal; a `progress.Sink`. Nothing else may be written there while it is shown."""

    def __init__(
        self,
        stream: TextIO,
        *,
        delay: float | None = None,
        clock: Callable[[], float] = time.monotonic,
        width: Callable[[], int] | None = None,
    ) -> None:
        self._stream = stream
        self._delay = DELAY_SECONDS if delay is None else delay
        self._clock = clock
        self._width = width or self._of_terminal
        self._what, self._total, self._done = "", 0, 0
        self._began = self._due = 0.0
        self._cells = 0  # that are on the screen

    def begin(self, what: str, nbytes: int) -> None:
        """Begin to count; the line appears when the work takes longer."""
        self._what, self._total, self._done = self._writable(printable(what)), nbytes, 0
        self._began = self._clock()
        self._due = self._began + self._delay

    def advance(self, nbytes: int) -> None:
        """Count, and draw the line where that is due."""
        self._done += nbytes
        now = self._clock()
        if now >= self._due:
            self._due = now + EVERY_SECONDS
            state = State(self._what, self._done, self._total, now - self._began)
            room = self._width() - 1 - len(_ECHO)
            self._write(line_of(state, room, "━─" if self._writable("━─") == "━─" else "=-"))

    def end(self) -> None:
        """Take the line off the screen."""
        if self._cells:
            self._put(f"\r{' ' * (self._cells + len(_ECHO))}\r")
            self._cells = 0

    def _write(self, text: str) -> None:
        cells = cells_of(text)
        # Before it is written, because writing may be interrupted
        over, self._cells = self._cells - cells, max(self._cells, cells)
        self._put(f"\r{text}{' ' * over}")
        self._cells = cells

    def _put(self, text: str) -> None:
        with suppress(OSError):  # where it cannot be shown, the work goes on
            self._stream.write(text)
            self._stream.flush()

    def _writable(self, text: str) -> str:
        """Return a text with escapes for what the terminal has no characters for."""
        encoding = self._stream.encoding or "ascii"
        return text.encode(encoding, "backslashreplace").decode(encoding)

    def _of_terminal(self) -> int:
        try:
            return os.get_terminal_size(self._stream.fileno()).columns or 80
        except OSError:
            return 80


class State(NamedTuple):
    """How far some work has come: bytes of a total, after so many seconds."""

    what: str
    done: int
    total: int
    seconds: float

    @property
    def rate(self) -> float:
        """Bytes in a second, on average."""
        return self.done / max(self.seconds, 1e-3)


def line_of(state: State, width: int, bar: str) -> str:
    """Return the line, in at most so many cells: what is done, a bar, bytes, speed and time left.

    The bar is made of two characters, for what is done and for what is not. Where there is little room, the bar goes
    first, then the speed, then the time left, then the name is cut.
    """
    amount = f"{human_size(min(state.done, state.total)):>7} of {human_size(state.total)}"
    speed, left = f"{human_size(round(state.rate)):>7}/s", _time_left(state)
    name = min(cells_of(state.what), _LEAST_NAME)
    for parts in ([amount, speed, left], [amount, left], [amount]):
        rest = "  ".join(parts)
        room = width - len(rest) - 2
        if room >= name:
            break
    bar_room = min(room - cells_of(state.what) - 2, MOST_BAR)
    if bar_room >= _LEAST_BAR:
        return f"{state.what}  {_bar(state, bar_room, bar)}  {rest}"
    return shortened_to(f"{shortened_to(state.what, room)}  {rest}" if room > 0 else rest, width)


def _bar(state: State, cells: int, bar: str) -> str:
    done = cells * min(state.done, state.total) // state.total if state.total else cells
    return bar[0] * done + bar[1] * (cells - done)


def _time_left(state: State) -> str:
    seconds = max(state.total - state.done, 0) / state.rate if state.rate else _LONGEST_TOLD
    return f"{_clock_time(seconds) if seconds < _LONGEST_TOLD else '-:--'} left"


def _clock_time(seconds: float) -> str:
    """Return a time as `0:07` or `1:02:03`."""
    whole = round(seconds)
    hours, minutes = whole // 3600, whole // 60 % 60
    return f"{hours}:{minutes:02}:{whole % 60:02}" if hours else f"{minutes}:{whole % 60:02}"


def shortened_to(text: str, cells: int) -> str:
    """Return a text that takes no more cells, without its middle: the end of a path tells most."""
    if cells_of(text) <= cells:
        return text
    keep = max(cells - 3, 0)
    head = _cut(text, keep // 2)
    tail = _cut(text[::-1], keep - cells_of(head))[::-1]
    return f"{head}...{tail}"[:cells]


def _cut(text: str, cells: int) -> str:
    """Return as much of the beginning of a text as so many cells hold."""
    taken = 0
    for at, character in enumerate(text):
        taken += cells_of(character)
        if taken > cells:
            return text[:at]
    return text


def cells_of(text: str) -> int:
    """Return how many cells of a terminal a text takes at most."""
    return sum(2 if unicodedata.east_asian_width(character) in "WF" else 1 for character in text)
