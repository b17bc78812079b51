"""Measure what costly inputs cost: time at `n` and at `2 n`, memory, output. Run by hand; prints a Markdown table.

    python tests/hostile/measure_costs.py [NAME ...]

Each input goes the whole way that a user goes, in a process of its own: a checkpoint is opened, asked for its
state_dict and the faults in it, converted and inspected, a record or wheel inspected and verified. The law: time grows
by less than `FACTOR` where the size doubles, and takes at most `SECONDS` at `2 n`; memory grows above what the imports
take by at most `CONSTANT_BYTES` and `RATIO` times the file, and never by more than `MOST_BYTES`.
"""

from __future__ import annotations

import argparse
import contextlib
import gc
import io
import json
import os
import resource
import subprocess
import sys
import tempfile
import time
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

sys.path.insert(0, str(Path(__file__).parents[1]))  # the writers of the tests

from making.costly import COSTLY, HONEST, Costly

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

FACTOR = 2.5
SECONDS = 5
CONSTANT_BYTES = 48 << 20
RATIO = 80
MOST_BYTES = 1 << 30

CPU_SECONDS = 120
SPACE_BYTES = 6 << 30
SURE_SECONDS = 0.25  # below it, a factor means nothing
INPUTS = COSTLY | HONEST


@dataclass(frozen=True)
class Cost:
    """What one input took: of the slowest command its name and seconds, the memory of all, and how they ended."""

    size: int
    command: str
    seconds: float
    peak: int
    output: int
    result: str

    @property
    def too_much(self) -> bool:
        """Tell whether the memory is out of proportion, or the process was ended."""
        return self.peak > min(MOST_BYTES, CONSTANT_BYTES + RATIO * self.size) or self.result.startswith("ended")


# ------------------------------------------------------------------------------------- in the process


def commands(path: Path, costly: Costly) -> dict[str, Callable[[], str]]:
    """Return what a user does with such a file; each returns how it ended."""
    from click.testing import CliRunner

    import hatch_wheelweights
    import wheelweights
    from hatch_wheelweights.cli.commands import cli

    options = dict(costly.options)
    conversion = dict(options)
    options.pop("config_key", None)

    def opened() -> str:
        with hatch_wheelweights.open_checkpoint(path) as checkpoint:
            faults = [str(tensor.fault) for tensor in checkpoint.state_dict(**options).values() if tensor.fault]
            return f"opened, {len(faults):,} faults" if faults else "opened"

    def converted() -> str:
        return f"converted, {hatch_wheelweights.convert(path, path.with_name('out.mpk'), **conversion).size:,} bytes"

    def configured() -> str:
        from hatch_wheelweights.steps.configuration import json_text

        return f"JSON of {len(json_text(hatch_wheelweights.load_config(path, 'config'))):,}"

    def command(*arguments: str) -> str:
        done = CliRunner().invoke(cli, [*arguments, str(path)])
        if done.exception is not None and not isinstance(done.exception, SystemExit):
            raise done.exception
        return f"{'refused' if done.exit_code else 'printed'} {len(done.output):,}"

    inspect: dict[str, Callable[[], str]] = {"inspect": lambda: command("inspect")}
    if path.suffix == ".mpk":
        return {"open": lambda: repr(wheelweights.open_record(path))[:0] + "opened", **inspect,
                "verify": lambda: command("verify")}  # fmt: skip
    if path.suffix == ".whl":
        return inspect | {"verify": lambda: command("verify")}
    whole = {"open": opened, "convert": converted, **inspect}
    return whole | ({"config": configured} if "config_key" in conversion else {})


def run(name: str, path: Path) -> None:
    """Do all commands, and print a line of JSON for each."""
    from wheelweights.errors import WheelweightsError

    every = commands(path, INPUTS[name])
    with contextlib.suppress(ImportError):
        pass
    gc.collect()
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    for command, do in every.items():
        started = time.process_time()
        try:
            result = do()
        except WheelweightsError as error:
            result = f"refused: {str(error).splitlines()[0].removeprefix(str(path) + ': ')[:110]}"
        except Exception as error:  # noqa: BLE001 (what comes out is part of the table)
            result = f"{type(error).__name__}: {error!s:.80}"
        took = time.process_time() - started
        peak = 1024 * (resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before)
        print(json.dumps([command, took, peak, result]), flush=True)
        gc.collect()


# ------------------------------------------------------------------------------------- around the process


def measure(name: str, n: int, seconds: int) -> Cost:
    """Make the input at `n` and measure it in a process of its own."""
    with tempfile.TemporaryDirectory() as folder:
        path, size = written(INPUTS[name], n, Path(folder))
        lines, status, stderr = confined([sys.executable, __file__, "--run", name, str(path)], seconds)
    if not lines:
        return Cost(size, "-", float(seconds), 0, 0, f"ended: {status} {stderr[-100:]}")
    slowest = max(lines, key=lambda line: line[1])
    result = slowest[3] if not slowest[3].startswith(("printed", "refused ")) else lines[0][3]
    if status:
        return Cost(size, f"after {lines[-1][0]}", float(seconds), lines[-1][2], 0, f"ended: {status}")
    printed = max((int(line[3].split()[1].replace(",", "")) for line in lines if line[0].startswith("inspect")
                   and line[3].startswith(("printed", "refused "))), default=0)  # fmt: skip
    strange = next((f"{line[0]}: {line[3]}" for line in lines if "Error: " in line[3]), None)
    return Cost(size, slowest[0], slowest[1], lines[-1][2], printed, strange or result)


def written(costly: Costly, n: int, folder: Path) -> tuple[Path, int]:
    """Write the file, or the folder of files; return the one to open and the bytes of all."""
    made = costly.make(n)
    files = {costly.file: made} if isinstance(made, bytes) else dict(made)
    for name, data in files.items():
        (folder / name).write_bytes(data)
    return folder / next(iter(files)), sum(map(len, files.values()))


def confined(command: list[str], seconds: int) -> tuple[list[Any], str, str]:
    """Run a process with limits; return its lines of JSON, how it ended where that was not well, and its words."""

    def limit() -> None:
        resource.setrlimit(resource.RLIMIT_CPU, (seconds, seconds + 2))
        resource.setrlimit(resource.RLIMIT_AS, (SPACE_BYTES, SPACE_BYTES))

    done = subprocess.run(
        command,
        capture_output=True,
        text=True,
        check=False,
        preexec_fn=limit,
        env={**os.environ, "OPENBLAS_NUM_THREADS": "1", "PYTHONWARNINGS": "ignore"},
    )
    status = {0: "", -24: f"CPU over {seconds} s", -9: "killed"}.get(done.returncode, f"status {done.returncode}")
    return [json.loads(line) for line in io.StringIO(done.stdout)], status, done.stderr


def row(name: str, seconds: int, scale: float) -> str:
    """Return a row of the table; what breaks the law is set in bold."""
    n = max(1, int(scale * INPUTS[name].n))
    once, twice = measure(name, n, seconds), measure(name, 2 * n, seconds)
    factor = twice.seconds / once.seconds if once.seconds > 0 else 0.0
    grown = twice.seconds > SURE_SECONDS and factor > FACTOR
    bad = grown or twice.seconds > SECONDS or once.too_much or twice.too_much
    marked = f"**{name}**" if bad else name
    sizes = f"{once.size / 1000:,.0f} / {twice.size / 1000:,.0f}"
    times = f"{once.seconds:.2f} / {twice.seconds:.2f}"
    peaks = f"{once.peak >> 20:,} / {twice.peak >> 20:,}{' !' if once.too_much or twice.too_much else ''}"
    cells = [marked, sizes, twice.command, times, f"{factor:.1f}", peaks, f"{twice.output / 1e6:.1f}", twice.result]
    return f"| {' | '.join(cell.replace('|', '/') for cell in cells)} |"


def rows(names: list[str], seconds: int, scale: float) -> Iterator[str]:
    """Yield the lines of the table."""
    yield "| input | kB at n / 2n | slowest | CPU s at n / 2n | factor | peak MB at n / 2n | output MB | result |"
    yield "|---|---|---|---|---|---|---|---|"
    for name in names:
        yield row(name, seconds, scale)


def main() -> None:
    """Print the table of the inputs that are named, or of all."""
    parser = argparse.ArgumentParser(description=main.__doc__)
    parser.add_argument("names", nargs="*", metavar="NAME")
    parser.add_argument("--seconds", type=int, default=CPU_SECONDS, help="of CPU time that a process gets")
    parser.add_argument("--scale", type=float, default=1, help="of every n")
    parser.add_argument("--run", nargs=2, metavar=("NAME", "FILE"), help=argparse.SUPPRESS)
    arguments = parser.parse_args()
    if arguments.run:
        run(arguments.run[0], Path(arguments.run[1]))
        return
    for line in rows(arguments.names or list(INPUTS), arguments.seconds, arguments.scale):
        print(line, flush=True)


if __name__ == "__main__":
    main()
