"""Ending in order when the system asks for it.

A process that is told to end (a cancelled job, `timeout`, a container that is stopped) ends at once by default, and
leaves what was half made. Only the command and the build hook use this: a library does not decide what signals do.
"""

from __future__ import annotations

import signal
import threading
from contextlib import contextmanager
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from collections.abc import Callable, Generator

__all__ = ["ending_on_signals"]

_SIGNALS: Final = tuple(getattr(signal, name) for name in ("SIGTERM", "SIGHUP") if hasattr(signal, name))


@contextmanager
def ending_on_signals(raised: Callable[[int], BaseException]) -> Generator[None]:
    """Raise an exception, made from the number, where SIGTERM or SIGHUP would end this process.

    Only in the main thread, and only where nobody else has decided what they do; the default is restored.
    """
    changed: list[signal.Signals] = []

    def end(number: int, _: object) -> None:
        raise raised(number)

    if threading.current_thread() is threading.main_thread():
        changed += [one for one in _SIGNALS if signal.getsignal(one) is signal.SIG_DFL]
    for one in changed:
        signal.signal(one, end)
    try:
        yield
    finally:
        if threading.current_thread() is threading.main_thread():
            for one in changed:
                signal.signal(one, signal.SIG_DFL)
