"""Measuring by turns: what is compared runs in one process or one loop, round by round, so that noise meets all alike.

Knows nothing of what is measured.
"""

from __future__ import annotations

import os
import random
import statistics
import subprocess
import sys
import time
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

OURS = "wheelweights"


@dataclass(frozen=True)
class Row:
    """What one contender took for one piece of work: seconds, in the middle and at both ends of all rounds.

    `ratio` is to the first contender. `note` is what else was counted, such as bytes.
    """

    work: str
    name: str
    median: float
    low: float
    high: float
    ratio: float
    note: str = ""

    @property
    def plain(self) -> dict[str, Any]:
        """As JSON has it."""
        return asdict(self)


def compared(
    work: str,
    contenders: Mapping[str, Callable[[], object]],
    rounds: int,
    *,
    before: Callable[[], object] = lambda: None,
    warm: bool = True,
) -> list[Row]:
    """Run all contenders in each round, in another order each time, and return a row for each.

    `before` runs before each of them and is not timed. A contender that returns a float has taken its time itself.
    Where they are `warm`, each runs once before, so that no round imports modules or fills caches.
    """
    for action in contenders.values() if warm else ():
        action()
    seconds: dict[str, list[float]] = {name: [] for name in contenders}
    order = random.Random(0)
    for _ in range(rounds):
        for name, action in order.sample(list(contenders.items()), len(contenders)):
            before()
            seconds[name].append(taken_by(action))
    medians = {name: statistics.median(times) for name, times in seconds.items()}
    first = next(iter(medians.values()))
    return [
        Row(work, name, medians[name], min(times), max(times), medians[name] / first) for name, times in seconds.items()
    ]


SHORT, MANY = 0.005, 50  # what takes less than 5 ms is done so often in a row


def taken_by(action: Callable[[], object]) -> float:
    """Return the seconds that an action takes, or says that it took; of a short one, the mean of many in a row.

    What it gives is let go before the next one, so that nobody pays for what somebody else has opened.
    """
    begin = time.perf_counter()
    own = action()
    taken = time.perf_counter() - begin
    if isinstance(own, float):
        return own
    del own
    if taken >= SHORT:
        return taken
    begin = time.perf_counter()
    for _ in range(MANY):
        action()
    return (time.perf_counter() - begin) / MANY


def in_a_process(code: str, *arguments: object) -> tuple[float, int]:
    """Run code in a Python of its own; return what it prints: the seconds it took, and a count (of bytes, say)."""
    done = subprocess.run(
        [sys.executable, "-c", code, *map(str, arguments)], check=True, capture_output=True, text=True
    )
    seconds, count = done.stdout.split()[-2:]
    return float(seconds), int(count)


def whole_process(code: str, *arguments: object) -> float:
    """Return the seconds of a Python that runs code, from its start to its end."""
    begin = time.perf_counter()
    subprocess.run([sys.executable, "-c", code, *map(str, arguments)], check=True, capture_output=True)
    return time.perf_counter() - begin


def evict(*files: Path) -> None:
    """Take files out of the page cache."""
    os.sync()
    for file in files:
        descriptor = os.open(file, os.O_RDONLY)
        os.posix_fadvise(descriptor, 0, 0, os.POSIX_FADV_DONTNEED)
        os.close(descriptor)


def transferred(action: Callable[[], object]) -> str:
    """Return how much an action reads and writes, whatever comes out of a cache or goes into one."""

    def counts() -> dict[str, int]:
        lines = Path("/proc/self/io").read_text().splitlines()
        return {name: int(count) for name, count in (line.split(": ") for line in lines)}

    before = counts()
    action()
    after = counts()
    read, written = ((after[name] - before[name]) / 1e6 for name in ("rchar", "wchar"))
    return f"reads {read:,.0f} MB, writes {written:,.0f} MB"


def keep_busy() -> subprocess.Popen[bytes]:
    """Start a process that keeps one processor busy until it is killed."""
    return subprocess.Popen([sys.executable, "-c", "while True: pass"])
