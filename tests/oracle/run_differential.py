"""The differential run against torch: mutants by number, the same for the same seed.

A script, which the test runs as well:

    python tests/oracle/run_differential.py --seconds 600 --seed 7 --found differences
    python tests/oracle/run_differential.py --show 7 123456

It prints the counts by verdict, and writes each difference (the file, its pickle, what both sides said) into a folder.
The cases run in a process of their own, confined in memory and in time, which is started again where torch brings it
down: some mutants destroy numpy's memory there, after which the process crashes or never ends.
`--show SEED NUMBER` prints one case. See `looking.differential` for the law.
"""

from __future__ import annotations

import argparse
import collections
import faulthandler
import json
import os
import random
import signal
import subprocess
import sys
import tempfile
import time
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

sys.path.insert(0, str(Path(__file__).parents[1]))

from looking import differential
from looking.differential import Verdict, against_python, against_torch
from making.mutants import mutated, mutated_bytes
from making.opcodes import assembled, disassembled, shown
from making.torch_seeds import Parts, archive, checkpoint_seeds, pools

if TYPE_CHECKING:
    from collections.abc import Iterator

    from making.zips import Member

KINDS = (
    "zip by opcode", "legacy by opcode", "plain by opcode", "zip by opcode", "zip by byte", "legacy by byte",
    "plain by byte", "zip by opcode", "legacy by opcode", "members", "file by byte", "plain by opcode",
)  # fmt: skip
CASES_A_PROCESS = 20_000
CASE_CPU_SECONDS = 10
CASE_SECONDS = 60  # by the clock, for what has destroyed numpy's memory: it may crash, and it may wait for ever
PROCESS_BYTES = 6 << 30
SLOW = "too slow"
CRASH = "torch crashed"


class Cases:
    """The mutants of one seed: each is made from its number alone."""

    def __init__(self, seed: int) -> None:
        self.seed = seed
        self.parts = checkpoint_seeds()
        self.pools = pools(self.parts)

    def case(self, number: int) -> tuple[str, bytes, Parts]:
        """Return a mutant: what kind it is, its bytes, and the parts that it was put together from."""
        kind = KINDS[number % len(KINDS)]
        chance = random.Random(f"{self.seed} {number}")
        container, _, how = kind.partition(" by ")
        if kind == "members":
            parts = chance.choice(self.parts["zip"])
            return kind, archive(_bent(parts.members(), chance)), parts
        if container == "file":
            parts = chance.choice(self.parts[chance.choice(["zip", "legacy"])])
            return kind, mutated_bytes(parts.file(), chance), parts
        parts = self._mutant(chance.choice(self.parts[container]), how, chance)
        return kind, parts.file(), parts

    def _mutant(self, parts: Parts, how: str, chance: random.Random) -> Parts:
        at = parts.object
        if parts.container == "legacy" and chance.random() < 0.1:
            at = chance.choice([1, 2, 4, 4])
        if how == "byte":
            return parts.changed(at, mutated_bytes(parts.pickles[at], chance))
        ops = disassembled(parts.pickles[at])
        return parts.changed(at, assembled(mutated(ops, self.pools[parts.container], chance)))

    def verdict(self, number: int, path: Path) -> Verdict:
        """Compare a mutant."""
        _, data, parts = self.case(number)
        if parts.container == "plain":
            return against_python(data, parts.pickles[0], path)
        return against_torch(data, path)


def _bent(members: list[Member], chance: random.Random) -> list[Member]:
    """Bend what a zip holds besides its pickle: other contents, members that are missing, twice or elsewhere."""
    at = chance.randrange(len(members))
    member = members[at]
    small = [
        b"",
        b"0",
        b"1",
        b"2",
        b"3",
        b"3\n",
        b"10",
        b"9999",
        b"-1",
        b"3 ",
        b"big",
        b"little",
        b"little\n",
        b"LITTLE",
        b"x",
    ]
    match chance.randrange(9):
        case 0 | 1:
            return members[:at] + members[at + 1 :]
        case 2 | 3:
            small_one = chance.choice([i for i, each in enumerate(members) if len(each.data) < 64 and i])
            bent = replace(members[small_one], data=chance.choice(small))
            return [*members[:small_one], bent, *members[small_one + 1 :]]
        case 4:
            return [*members, chance.choice([member, replace(member, data=member.data[::-1])])]
        case 5:
            root, _, rest = member.name.partition("/")
            names = [
                f"{root}/{rest.upper()}",
                f"other/{rest}",
                f"{root}/x/{rest}",
                rest,
                f"{root}/{rest}/",
                f"{root}//{rest}",
            ]
            bent = replace(member, name=chance.choice(names))
        case 6:
            bent = replace(member, data=chance.choice([member.data[:-1], member.data + b"\0", b"", member.data * 2]))
        case 7:
            bent = replace(member, method=8, flags=0)
        case _:
            change: dict[str, Any] = chance.choice(
                [{"crc": 0}, {"crc": 1}, {"size": 1}, {"flags": 0}, {"flags": 0x0809}]
            )
            bent = replace(member, **change)
    return [*members[:at], bent, *members[at + 1 :]]


# ------------------------------------------------------------------------------------- one process


def work(seed: int, first: int, end: int) -> None:
    """Print a line of JSON for each case from `first` on."""
    import resource  # not on Windows

    resource.setrlimit(resource.RLIMIT_AS, (PROCESS_BYTES, PROCESS_BYTES))
    import torch

    torch.set_num_threads(1)
    cases = Cases(seed)
    print("null", flush=True)  # what follows is about the mutants
    with tempfile.TemporaryDirectory() as folder:
        os.chdir(folder)
        path = Path(folder) / "mutant.pt"
        for number in range(first, end):
            print(json.dumps([number, *_timed(cases, number, path)]), flush=True)


def _timed(cases: Cases, number: int, path: Path) -> list[str]:
    try:
        faulthandler.dump_traceback_later(CASE_SECONDS, exit=True)
        with _cpu_seconds(CASE_CPU_SECONDS):
            verdict = cases.verdict(number, path)
    except _TooSlowError:
        return [SLOW, "", ""]
    finally:
        faulthandler.cancel_dump_traceback_later()
    return [verdict.verdict, verdict.here, verdict.there]


class _TooSlowError(BaseException):
    """Nothing catches it on its way."""


@contextmanager
def _cpu_seconds(seconds: float) -> Iterator[None]:
    def stop(*_: object) -> None:
        raise _TooSlowError

    signal.signal(signal.SIGPROF, stop)
    signal.setitimer(signal.ITIMER_PROF, seconds)
    try:
        yield
    finally:
        signal.setitimer(signal.ITIMER_PROF, 0)


# ------------------------------------------------------------------------------------- all of them

Result = tuple[int, str, str, str]  # number, verdict, what was said here, what was said there


def results(seed: int, first: int, end: int, seconds: float) -> Iterator[Result]:
    """Yield what becomes of the cases, until they are done or the time is over."""
    until = time.monotonic() + seconds
    number = first
    while number < end and time.monotonic() < until:
        last = min(end, number + CASES_A_PROCESS)
        with subprocess.Popen(
            [sys.executable, __file__, "--work", str(seed), str(number), str(last)],
            stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL,
            text=True,
        ) as process:
            assert process.stdout is not None
            ready = process.stdout.readline()
            for line in process.stdout:
                found: Result = tuple(json.loads(line))
                number = found[0] + 1
                yield found
                if time.monotonic() > until:
                    process.terminate()
                    return
        if process.returncode:
            if not ready:
                raise RuntimeError(f"the process that compares ended with {process.returncode}")
            yield number, CRASH, "", f"exit status {process.returncode}"
            number += 1


def run(seed: int, first: int, end: int, seconds: float, found: Path | None) -> list[Result]:
    """Run the cases, print the counts, write the differences to a folder; return the differences."""
    cases = Cases(seed)
    counts: dict[str, collections.Counter[str]] = collections.defaultdict(collections.Counter)
    differences: list[Result] = []
    for result in results(seed, first, end, seconds):
        counts[KINDS[result[0] % len(KINDS)]][result[1]] += 1
        if result[1] in differential.DIFFERENCES:
            differences.append(result)
        if found is not None and result[1] in (*differential.DIFFERENCES, SLOW, CRASH):
            _write(found, cases, result)
    print(_table(counts))
    return differences


def _table(counts: dict[str, collections.Counter[str]]) -> str:
    verdicts = sorted({verdict for each in counts.values() for verdict in each})
    lines = [" ".join(f"{word:>20}" for word in ["", *(verdict[-20:] for verdict in verdicts)])]
    for kind, each in [*sorted(counts.items()), ("all", sum(counts.values(), collections.Counter()))]:
        lines.append(" ".join(f"{word:>20}" for word in [kind, *(f"{each[verdict]:,}" for verdict in verdicts)]))
    return "\n".join(lines)


def _write(folder: Path, cases: Cases, result: Result) -> None:
    number, verdict, here, there = result
    kind, data, parts = cases.case(number)
    folder.mkdir(parents=True, exist_ok=True)
    stem = folder / f"{cases.seed}-{number}"
    stem.with_suffix(".pt").write_bytes(data)
    lines = [f"{kind}: {verdict}", f"here: {here}", f"there: {there}"]
    lines += [f"pickle {at}: {shown(content)}" for at, content in enumerate(parts.pickles)]
    stem.with_suffix(".txt").write_text("\n".join(lines) + "\n", "utf-8", "backslashreplace")


def main() -> int:
    """Run by hand; return 1 where there is a difference."""
    parser = argparse.ArgumentParser(description="Compare mutants with torch.load(weights_only=True).")
    parser.add_argument("--seconds", type=float, default=600)
    parser.add_argument("--seed", type=int, default=7)
    parser.add_argument("--first", type=int, default=0)
    parser.add_argument("--cases", type=int, default=1 << 60)
    parser.add_argument("--found", type=Path, help="a folder for the differences")
    parser.add_argument("--show", type=int, nargs=2, metavar=("SEED", "NUMBER"))
    parser.add_argument("--work", type=int, nargs=3, help=argparse.SUPPRESS)
    given = parser.parse_args()
    if given.work:
        work(*given.work)
        return 0
    if given.show:
        return _show(*given.show)
    differences = run(given.seed, given.first, given.first + given.cases, given.seconds, given.found)
    for number, verdict, here, there in differences[:20]:
        print(f"{number}: {verdict}\n    here:  {here}\n    there: {there}")
    return int(bool(differences))


def _show(seed: int, number: int) -> int:
    cases = Cases(seed)
    kind, _, parts = cases.case(number)
    with tempfile.TemporaryDirectory() as folder:
        print(kind, cases.verdict(number, Path(folder) / "mutant.pt"))
    for content in parts.pickles:
        print(shown(content))
    return 0


if __name__ == "__main__":
    sys.exit(main())
