"""A terminal as a person sees it: a command on a pseudo-terminal, and what stands on the screen."""

from __future__ import annotations

import os
import subprocess
import sys
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Self

if TYPE_CHECKING:
    from types import TracebackType

# A session leader that opens a terminal is controlled by it: then Ctrl-C interrupts
_CONTROLLED = """
import os, sys
os.open(os.ttyname(2), os.O_RDWR)
os.execv(sys.executable, [sys.executable, *sys.argv[1:]])
"""


@dataclass
class Screen:
    """Python on a terminal of its own. `seen` is everything that it wrote there."""

    arguments: list[str]
    columns: int = 80
    environment: dict[str, str] = field(default_factory=dict[str, str])
    seen: str = ""

    def __enter__(self) -> Self:
        import fcntl
        import pty
        import struct
        import termios

        self._ours, theirs = pty.openpty()
        fcntl.ioctl(theirs, termios.TIOCSWINSZ, struct.pack("HHHH", 24, self.columns, 0, 0))
        environment = {**os.environ, "TERM": "xterm", "PYTHONIOENCODING": "utf-8", **self.environment}
        self._process = subprocess.Popen(
            [sys.executable, "-c", _CONTROLLED, *self.arguments],
            stdin=theirs,
            stdout=theirs,
            stderr=theirs,
            env=environment,
            start_new_session=True,
        )
        os.close(theirs)
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, where: TracebackType | None
    ) -> None:
        self._process.kill()
        self._process.wait()
        os.close(self._ours)

    def wait_for(self, text: str) -> None:
        """Read until this is written."""
        while text not in self.seen:
            assert self._read(), f"{text!r} was never written: {self.seen!r}"

    def press(self, keys: str) -> None:
        """Type keys: `\\x03` is Ctrl-C."""
        os.write(self._ours, keys.encode())

    def send(self, signal: int) -> None:
        """Send a signal."""
        self._process.send_signal(signal)

    def status(self) -> int:
        """Read until it ends; return its exit status."""
        while self._read():
            pass
        return self._process.wait()

    def _read(self) -> bool:
        try:
            data = os.read(self._ours, 1 << 16)
        except OSError:  # Linux's way to say that the other end is closed
            return False
        self.seen += data.decode(errors="replace")
        return bool(data)


def lines_on_screen(written: str, columns: int) -> list[str]:
    """Return what stands on the screen: a carriage return goes back, what is written there replaces what stood there.

    Raises an error for anything else that moves the cursor.
    """
    lines, at = [""], 0
    for character in written:
        if character == "\n":
            lines.append("")
        elif character == "\r":
            at = 0
        else:
            assert character.isprintable(), f"{character!r} moves the cursor"
            assert at < columns, f"wider than the screen: {lines[-1]!r}"
            lines[-1] = lines[-1][:at].ljust(at) + character + lines[-1][at + 1 :]
            at += 1
    return [line.rstrip() for line in lines if line.strip()]
