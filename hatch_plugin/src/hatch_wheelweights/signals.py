"""Ending in order when the system asks for it.

A process that is told to end (a cancelled job, `timeout`, a container that is stopped) ends at once by default, and
leaves what was half made. Only the command and the build hook use this: a library does not decide what signals do.
"""

from __future__ import annotations

import signal
import threading
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any, Final

if TYPE_CHECKING:
    from collections.abc import Callable, Generator

__all__ = ["ending_on_signals", "ignore_signals"]

_SIGNALS: Final = tuple(getattr(signal, name) for name in ("SIGTERM", "SIGHUP") if hasattr(signal, name))
_DEFAULTS: Final = (signal.SIG_DFL, signal.default_int_handler)


@contextmanager
def ending_on_signals(raised: Callable[[int], BaseException], *, interrupts: bool = False) -> Generator[None]:
    """Raise an exception, made from the number, where SIGTERM or SIGHUP would end this process.

    With `interrupts` also for SIGINT, which is Ctrl-C, in place of KeyboardInterrupt. Only in the main thread, and only
    where nobody else has decided what they do; the default is restored.
    """
    changed: dict[signal.Signals, Any] = {}

    def end(number: int, _: object) -> None:
        raise raised(number)

    if threading.current_thread() is threading.main_thread():
        found = {one: signal.getsignal(one) for one in (*_SIGNALS, *([signal.SIGINT] if interrupts else []))}
        changed |= {one: handler for one, handler in found.items() if handler in _DEFAULTS}
    for one in changed:
        signal.signal(one, end)
    try:
        yield
    finally:
        if threading.current_thread() is threading.main_thread():
            for one, default in changed.items():
                signal.signal(one, default)


def ignore_signals() -> None:
    """Let this process exit in peace: what it had to do is done, or told."""
    if threading.current_thread() is threading.main_thread():
        for one in (*_SIGNALS, signal.SIGINT):
            signal.signal(one, signal.SIG_IGN)
