"""How each step grows with the bytes, and with the number of tensors: none faster than in proportion."""

from __future__ import annotations

import functools
import math
import shutil
from typing import TYPE_CHECKING

import building
import data
from measuring import Row, compared

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

BY_SIZE = "growth, by megabytes"
BY_TENSORS = "growth, by tensors"


def measure(folder: Path, *, quick: bool) -> list[Row]:
    """Return a row for each step and point; `note` is the point, as a number."""
    sizes = (5, 10) if quick else (10, 50, 200, 500, 1000, 2000)
    counts = (10, 100) if quick else (10, 100, 1000, 10_000, 100_000)
    rounds = 2 if quick else 3
    rows = [row for megabytes in sizes for row in of_size(folder / f"{megabytes}", megabytes, rounds)]
    return rows + [row for count in counts for row in of_tensors(folder / f"n{count}", count, rounds)]


def of_size(folder: Path, megabytes: int, rounds: int) -> list[Row]:
    import hatch_wheelweights
    import wheelweights

    folder.mkdir()
    arrays = data.state_dict(megabytes)
    pt, st = data.write_pt(folder / "w.pt", arrays), data.write_safetensors(folder / "w.safetensors", arrays)
    del arrays
    record = folder / "w.mpk"
    hatch_wheelweights.convert(pt, record)
    steps = {
        "open a record": lambda: wheelweights.open_record(record),
        "convert .pt": lambda: hatch_wheelweights.convert(pt, record),
        "convert .safetensors": lambda: hatch_wheelweights.convert(st, record),
        "wheel, stored": functools.partial(building.build, building.project(folder / "a", st, "stored")),
        "wheel, deflated": functools.partial(building.build, building.project(folder / "b", st, "deflated")),
    }
    return at_point(BY_SIZE, megabytes, steps, rounds, folder)


def of_tensors(folder: Path, count: int, rounds: int) -> list[Row]:
    import hatch_wheelweights
    import wheelweights

    folder.mkdir()
    arrays = data.state_dict(count * 256 / 2**20, count)
    pt, st = data.write_pt(folder / "w.pt", arrays), data.write_safetensors(folder / "w.safetensors", arrays)
    record = folder / "w.mpk"
    hatch_wheelweights.convert(pt, record)
    steps = {
        "open a record": lambda: wheelweights.open_record(record),
        "open a .pt": lambda: hatch_wheelweights.open_checkpoint(pt).state_dict(),
        "open a .safetensors": lambda: hatch_wheelweights.open_checkpoint(st).state_dict(),
        "convert .pt": lambda: hatch_wheelweights.convert(pt, record),
        "convert .safetensors": lambda: hatch_wheelweights.convert(st, record),
    }
    return at_point(BY_TENSORS, count, steps, rounds, folder)


def at_point(
    work: str, point: int, steps: dict[str, functools.partial[object]], rounds: int, folder: Path
) -> list[Row]:
    rows = [Row(**{**row.plain, "note": str(point), "ratio": 1.0}) for row in compared(work, steps, rounds)]
    shutil.rmtree(folder)
    return rows


def lines(rows: Sequence[Row], work: str) -> dict[str, list[tuple[int, float]]]:
    """Return the points of each step: where, and the median seconds there."""
    found: dict[str, list[tuple[int, float]]] = {}
    for row in rows:
        if row.work == work:
            found.setdefault(row.name, []).append((int(row.note), row.median))
    return found


def exponent(points: Sequence[tuple[int, float]]) -> float:
    """Return the slope of the last two points in logarithms: 1 is in proportion, 0 is not at all."""
    (x, y), (x_last, y_last) = points[-2:]
    return math.log(y_last / y) / math.log(x_last / x)
