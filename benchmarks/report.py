"""What was measured, as a person reads it: tables in Markdown, the machine, the figure of growth."""

from __future__ import annotations

import datetime as dt
import importlib.metadata
import os
import platform
from pathlib import Path
from typing import TYPE_CHECKING

import figure
import growth
from figure import seconds
from measuring import OURS, Row

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence

LIBRARIES = ("wheelweights", "numpy", "msgpack", "isal", "torch", "safetensors", "onnxruntime", "jax", "hatchling")


def machine() -> dict[str, str]:
    """Return what the figures depend on beside the code."""
    versions = {name: version for name in LIBRARIES if (version := _version(name))}
    return {
        "date": dt.datetime.now(dt.UTC).date().isoformat(),
        "processor": f"{_processor()}, {os.cpu_count()} processors",
        "memory": f"{os.sysconf('SC_PAGE_SIZE') * os.sysconf('SC_PHYS_PAGES') / 2**30:.0f} GB",
        "system": f"{platform.system()} {platform.release().partition('-')[0]}",
        "python": platform.python_version(),
        **versions,
    }


def _version(name: str) -> str | None:
    try:
        return importlib.metadata.version(name)
    except importlib.metadata.PackageNotFoundError:
        return None


def _processor() -> str:
    lines = Path("/proc/cpuinfo").read_text().splitlines() if Path("/proc/cpuinfo").exists() else []
    named = [line.partition(":")[2].strip() for line in lines if line.startswith("model name")]
    return named[0] if named else platform.machine()


def markdown(found: Mapping[str, Sequence[Row]], about: Mapping[str, str]) -> str:
    """Return all that was measured as Markdown."""
    return "\n".join(_lines(found, about)) + "\n"


def _lines(found: Mapping[str, Sequence[Row]], about: Mapping[str, str]) -> Iterator[str]:
    yield "# Benchmarks"
    yield ""
    yield "Written by `hatch run bench --write docs`: what is compared runs by turns, in one run. Times are medians,"
    yield "with the fastest and the slowest round; what takes less than 5 ms is done 50 times in a row in each round."
    yield "Look at the ratios. Cold is a file that is not in the page cache."
    yield ""
    yield ", ".join(
        f"{name} {value}" if name in LIBRARIES or name == "python" else value for name, value in about.items()
    )
    for part, rows in found.items():
        yield ""
        yield f"## {part.capitalize()}"
        if part == "growth":
            yield from _growth(rows)
        elif part == "layers":
            yield from _layers(rows)
        else:
            yield from _works(rows)


def _works(rows: Sequence[Row]) -> Iterator[str]:
    for work in dict.fromkeys(row.work for row in rows):
        yield ""
        yield f"| {work} | median | rounds | ratio | |"
        yield "|---|---:|---:|---:|---|"
        for row in rows:
            if row.work == work:
                spread = f"{seconds(row.low)} to {seconds(row.high)}"
                yield f"| {row.name} | {seconds(row.median)} | {spread} | {row.ratio:,.2f} | {row.note} |"


def _layers(rows: Sequence[Row]) -> Iterator[str]:
    """Yield one table of all layers, the worst ratio first."""
    pairs = {work: {row.name: row for row in rows if row.work == work} for work in dict.fromkeys(r.work for r in rows)}
    yield ""
    yield "| one thread, the worst first | torch | ours | ratio |"
    yield "|---|---:|---:|---:|"
    for work, pair in sorted(pairs.items(), key=lambda item: -item[1][OURS].ratio):
        times = seconds(pair["torch"].median), seconds(pair[OURS].median)
        yield f"| {work} | {times[0]} | {times[1]} | {pair[OURS].ratio:.2f} |"


def _growth(rows: Sequence[Row]) -> Iterator[str]:
    yield ""
    yield "![Seconds over megabytes and over tensors](growth.svg)"
    yield ""
    yield "The exponent is that of the last two points: 1 is in proportion, 0 does not grow."
    for work in (growth.BY_SIZE, growth.BY_TENSORS):
        lines = growth.lines(rows, work)
        places = [place for place, _ in next(iter(lines.values()))]
        yield ""
        yield f"| {work} | {' | '.join(f'{place:,}' for place in places)} | exponent |"
        yield f"|---|{'---:|' * (len(places) + 1)}"
        for name, points in lines.items():
            shown = " | ".join(seconds(y) for _, y in points)
            yield f"| {name} | {shown} | {growth.exponent(points):.2f} |"


def growth_figure(rows: Sequence[Row]) -> str:
    """Return the figure of growth as SVG."""
    titles = {growth.BY_SIZE: "Seconds, by megabytes of weights", growth.BY_TENSORS: "Seconds, by number of tensors"}
    return figure.figure({title: growth.lines(rows, work) for work, title in titles.items()})
