"""How far long work has come, told to whoever shows it.

Work that reads many bytes says with `working` what it does and how many there are, and with `advance` how many it has
done. A command, or the build hook, that shows progress gives itself as the `Sink`; without one, telling costs next to
nothing. The sink is a context variable, which threads do not inherit: only the thread that shows it tells.
"""

from __future__ import annotations

from contextlib import contextmanager
from contextvars import ContextVar
from typing import TYPE_CHECKING, Final, Protocol

if TYPE_CHECKING:
    from collections.abc import Callable, Generator

__all__ = ["Sink", "advance", "showing", "working"]


class Sink(Protocol):
    """What shows progress: of one piece of work at a time."""

    def begin(self, what: str, nbytes: int) -> None:
        """Show work on so many bytes; `what` says what is done to what, as "Converting model.pt"."""
        ...

    def advance(self, nbytes: int) -> None:
        """Show that so many more bytes are done; in the end they can be more or fewer than were announced."""
        ...

    def end(self) -> None:
        """Take down what is shown: the work is over, well or not."""
        ...


_SINK: Final[ContextVar[Sink | None]] = ContextVar("_SINK", default=None)
_ADVANCE: Final[ContextVar[Callable[[int], None] | None]] = ContextVar("_ADVANCE", default=None)


def advance(nbytes: int) -> None:
    """Tell that so many more bytes are done of the work that is under way; nothing happens where none is shown."""
    told = _ADVANCE.get()
    if told is not None:
        told(nbytes)


@contextmanager
def working(what: str, nbytes: int) -> Generator[None]:
    """Announce work on so many bytes. Work that is part of announced work counts towards that.

    Not for a generator to hold while it waits: whoever takes from it would work under this name.
    """
    sink = _SINK.get()
    if sink is None or _ADVANCE.get() is not None:
        yield
        return
    sink.begin(what, nbytes)
    token = _ADVANCE.set(sink.advance)
    try:
        yield
    finally:
        _ADVANCE.reset(token)
        sink.end()


@contextmanager
def showing(sink: Sink) -> Generator[None]:
    """Let a sink be told of the work that is done inside."""
    token = _SINK.set(sink)
    try:
        yield
    finally:
        _SINK.reset(token)
