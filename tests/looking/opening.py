"""Opening a checkpoint that may be hostile: everything in it is read, under a budget of memory and time.

Knows what every refusal has to be: one of our errors, one first line that names the file. Knows no file format.
"""

from __future__ import annotations

import os
import pickle
import signal
import subprocess
import sys
import tracemalloc
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any, Protocol

from hatch_wheelweights import open_checkpoint
from wheelweights.errors import WheelweightsError

if TYPE_CHECKING:
    from collections.abc import Iterator

    import numpy as np

BUDGET_BYTES = 48 << 20  # beyond BUDGET_RATIO times the size of the file
BUDGET_RATIO = 80  # an empty list takes one byte of a pickle and 64 of memory
BUDGET_SECONDS = 120  # a hang, not a slow machine
PROCESS_BYTES = 1 << 30


class Refused(Protocol):
    """The fixture `refused` of the tests that attack."""

    def __call__(
        self, data: bytes, *says: str, error: type[Exception] = ..., name: str = ..., **options: Any
    ) -> str: ...


def read_everything(path: Path, **options: Any) -> dict[str, np.ndarray[Any, Any]]:
    """Open a checkpoint, walk its tree and read every tensor of its state_dict."""
    with open_checkpoint(path) as checkpoint:
        _ = checkpoint.tree
        return {key: tensor.numpy().copy() for key, tensor in checkpoint.state_dict(**options).items()}


_CODE = {
    "os.system",
    "os.exec",
    "os.posix_spawn",
    "os.fork",
    "subprocess.Popen",
    "pty.spawn",
    "socket.connect",
    "shutil.rmtree",
}
_watching = False


def _watch(event: str, arguments: tuple[object, ...]) -> None:
    """Fail where code of a file has started a process or opened a connection."""
    if _watching and event in _CODE:
        raise AssertionError(f"{event} {arguments!r}")


sys.addaudithook(_watch)


@contextmanager
def watched() -> Iterator[None]:
    """Watch for code that runs inside the block."""
    global _watching  # noqa: PLW0603 (an audit hook stays for ever)
    _watching = True
    try:
        yield
    finally:
        _watching = False


@contextmanager
def guarded(budget: int = BUDGET_BYTES) -> Iterator[None]:
    """Fail where the block takes more memory than the budget, or hangs."""
    tracemalloc.start()
    try:
        with unless_it_hangs(), watched():
            yield
        peak = tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()
    assert peak < budget, f"{peak:,} bytes were taken"


@contextmanager
def unless_it_hangs() -> Iterator[None]:
    """Interrupt what hangs, where the system has alarms."""
    if not hasattr(signal, "SIGALRM"):
        yield
        return

    def hang(*_: object) -> None:
        raise AssertionError(f"not done after {BUDGET_SECONDS} seconds")

    before = signal.signal(signal.SIGALRM, hang)
    signal.alarm(BUDGET_SECONDS)
    try:
        yield
    finally:
        signal.alarm(0)
        signal.signal(signal.SIGALRM, before)


def outcome(path: Path, budget: int = BUDGET_BYTES, **options: Any) -> dict[str, Any] | WheelweightsError:
    """Return what a file gives: the arrays, or the error that refused it. Any other exception is the test's failure."""
    with guarded(budget + BUDGET_RATIO * path.stat().st_size):
        try:
            return read_everything(path, **options)
        except WheelweightsError as error:
            assert_well_said(error, path)
            return error


def assert_well_said(error: WheelweightsError, path: Path) -> None:
    """Check that the first line names the file, and that no control character of the file reached the message."""
    lines = str(error).split("\n")
    assert lines[0].startswith(f"{path}: "), str(error)
    assert all(line.isprintable() for line in lines), ascii(str(error))
    assert all(len(line) < 1000 for line in lines), str(error)
    assert all(lines), str(error)
    assert type(pickle.loads(pickle.dumps(error))) is type(error)


def outcome_in_a_process(path: Path) -> str:
    """Open the file in a process of at most 1 GiB, for what could bring a process down; return its last word.

    That is `opened`, or the first line of the error.
    """
    done = subprocess.run(
        [sys.executable, __file__, os.fspath(path)],
        capture_output=True,
        text=True,
        timeout=3 * BUDGET_SECONDS,
        check=False,
        env={**os.environ, "OPENBLAS_NUM_THREADS": "1", "PYTHONWARNINGS": "ignore"},
    )
    assert done.returncode == 0, f"exit status {done.returncode}\n{done.stderr[-2000:]}"
    return done.stdout.strip()


def _confined() -> None:
    try:
        import resource
    except ImportError:  # not on Windows
        return
    resource.setrlimit(resource.RLIMIT_AS, (PROCESS_BYTES, PROCESS_BYTES))
    resource.setrlimit(resource.RLIMIT_CPU, (BUDGET_SECONDS, BUDGET_SECONDS))


if __name__ == "__main__":
    _confined()
    try:
        read_everything(Path(sys.argv[1]))
        print("opened")
    except WheelweightsError as refusal:
        print(str(refusal).splitlines()[0])
