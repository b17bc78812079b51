"""Measure wheelweights beside its peers: `hatch run bench`, or `python benchmarks [PART ...]`.

Each part runs in a process of its own, contenders by turns. Prints Markdown; `--write FOLDER` writes it there, as
benchmarks.md, with benchmarks.json and growth.svg.
"""

from __future__ import annotations

import argparse
import importlib
import json
import os
import subprocess
import sys
import tempfile
from pathlib import Path

import report
from measuring import Row

PARTS = ("opening", "converting", "building", "planning", "using", "layers", "growth")


def main() -> None:
    parser = argparse.ArgumentParser(prog="benchmarks", description=(__doc__ or "").partition("\n\n")[0])
    parser.add_argument("parts", nargs="*", metavar="PART", help=f"what to measure: {', '.join(PARTS)} (default: all)")
    parser.add_argument("--quick", action="store_true", help="small sizes and few rounds: shows that it runs")
    parser.add_argument("--folder", type=Path, help="where files are made: on a disk, with 8 GB free (default: TMPDIR)")
    parser.add_argument("--write", type=Path, metavar="FOLDER", help="write benchmarks.md, benchmarks.json, growth.svg")
    parser.add_argument("--rows", type=Path, help=argparse.SUPPRESS)
    options = parser.parse_args()
    for part in options.parts:
        if part not in PARTS:
            parser.error(f"there is no part {part!r}: choose from {', '.join(PARTS)}")
    if options.rows:
        run_here(options.parts[0], options)
        return
    found = {part: run(part, options) for part in options.parts or PARTS}
    machine = report.machine()
    text = report.markdown(found, machine)
    print(text)
    if options.write:
        (options.write / "benchmarks.md").write_text(text)
        rows = {part: [row.plain for row in rows] for part, rows in found.items()}
        (options.write / "benchmarks.json").write_text(json.dumps({"machine": machine, "parts": rows}, indent=1) + "\n")
        if "growth" in found:
            (options.write / "growth.svg").write_text(report.growth_figure(found["growth"]))


def run(part: str, options: argparse.Namespace) -> list[Row]:
    """Measure one part in a process of its own."""
    with tempfile.TemporaryDirectory() as folder:
        rows = Path(folder, "rows.json")
        command = [sys.executable, __file__, part, "--rows", str(rows)]
        command += ["--quick"] if options.quick else []
        command += ["--folder", str(options.folder)] if options.folder else []
        print(f"measuring: {part}", file=sys.stderr, flush=True)
        one_thread = {"OPENBLAS_NUM_THREADS": "1", "OMP_NUM_THREADS": "1"} if part == "layers" else {}
        subprocess.run(command, check=True, env={**os.environ, **one_thread}, stdout=sys.stderr)
        return [Row(**row) for row in json.loads(rows.read_text())]


def run_here(part: str, options: argparse.Namespace) -> None:
    with tempfile.TemporaryDirectory(dir=options.folder) as folder:
        rows = importlib.import_module(part).measure(Path(folder), quick=options.quick)
    options.rows.write_text(json.dumps([row.plain for row in rows]))


if __name__ == "__main__":
    main()
