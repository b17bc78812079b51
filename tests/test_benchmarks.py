"""What the benchmarks make of what they measure: rows, tables, a figure. The measuring is `hatch run bench`."""

from __future__ import annotations

import sys
import xml.etree.ElementTree as ET
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

if TYPE_CHECKING:
    from collections.abc import Iterator

BENCHMARKS = Path(__file__).parents[1] / "benchmarks"
NAMES = ("figure", "growth", "measuring", "report")


@pytest.fixture
def benchmarks(monkeypatch: pytest.MonkeyPatch) -> Iterator[Any]:
    """The modules of the folder, which is no package: they are imported as the command imports them."""
    import importlib
    from types import SimpleNamespace

    monkeypatch.syspath_prepend(str(BENCHMARKS))
    before = set(sys.modules)
    yield SimpleNamespace(**{name: importlib.import_module(name) for name in NAMES})
    for name in set(sys.modules) - before:
        if str(BENCHMARKS) in str(getattr(sys.modules[name], "__file__", "")):
            del sys.modules[name]


def test_contenders_take_turns_and_are_compared_with_the_first(benchmarks: Any) -> None:
    done: list[str] = []
    times = {"first": iter((2.0, 8.0, 3.0)), "second": iter((9.0, 6.0, 1.0))}

    def contender(name: str) -> Any:
        def run() -> float:
            done.append(name)
            return next(times[name])

        return run

    rows = benchmarks.measuring.compared("work", {name: contender(name) for name in times}, 3, warm=False)
    assert [sorted(done[at : at + 2]) for at in (0, 2, 4)] == [["first", "second"]] * 3
    row = benchmarks.measuring.Row
    assert rows == [row("work", "first", 3.0, 2.0, 8.0, 1.0), row("work", "second", 6.0, 1.0, 9.0, 2.0)]


def test_what_comes_before_is_not_timed_and_a_warm_contender_runs_once_more(benchmarks: Any) -> None:
    done: list[str] = []
    (row,) = benchmarks.measuring.compared(
        "work", {"one": lambda: done.append("run")}, 2, before=lambda: done.append("before")
    )
    often = ["run"] * (1 + benchmarks.measuring.MANY)
    assert done == ["run", "before", *often, "before", *often]
    assert row.ratio == 1


def test_what_takes_long_is_done_once(benchmarks: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(benchmarks.measuring, "SHORT", 0)
    done: list[str] = []
    assert benchmarks.measuring.taken_by(lambda: done.append("run")) > 0
    assert done == ["run"]


def test_the_table_shows_every_contender(benchmarks: Any) -> None:
    row = benchmarks.measuring.Row
    found = {
        "opening": [
            row("open", "wheelweights", 0.0004, 0.0003, 0.0009, 1.0, "0.1 MB read"),
            row("open", "x", 2, 1, 3, 5000),
        ],
        "layers": [row("relu", "torch", 1e-3, 1e-3, 1e-3, 1.0), row("relu", "wheelweights", 25e-4, 1e-3, 1e-2, 2.5)],
    }
    about = {"date": "2026-01-01", "processor": "fast, 2 processors", "python": "3.11.7", "numpy": "2.4"}
    text = benchmarks.report.markdown(found, about)
    assert text.startswith("# Benchmarks\n\nWritten by `hatch run bench --write docs`")
    assert "\n2026-01-01, fast, 2 processors, python 3.11.7, numpy 2.4\n" in text
    assert (
        "\n| wheelweights | 400 µs | 300 µs to 900 µs | 1.00 | 0.1 MB read |\n| x | 2 s | 1 s to 3 s | 5,000.00 |  |\n"
        in text
    )
    assert "\n| relu | 1 ms | 2.50 ms | 2.50 |\n" in text


@pytest.mark.parametrize(
    ("value", "shown"),
    [
        (1.5, "1.50 s"),
        (12.34, "12.3 s"),
        (0.9999, "1.00 s"),
        (0.25, "250 ms"),
        (0.0123, "12.3 ms"),
        (4.2e-6, "4.20 µs"),
        (5e-8, "0.05 µs"),
    ],
)
def test_times_have_three_digits_and_a_unit(benchmarks: Any, value: float, shown: str) -> None:
    assert benchmarks.figure.seconds(value) == shown


def test_growth_is_shown_as_a_table_with_exponents_and_as_a_figure(benchmarks: Any) -> None:
    growth, row = benchmarks.growth, benchmarks.measuring.Row
    rows = [
        row(work, name, factor * point**power, 1, 1, 1.0, str(point))
        for work in (growth.BY_SIZE, growth.BY_TENSORS)
        for name, factor, power in (("open <a> record", 1e-3, 0), ("convert", 1e-4, 1))
        for point in (10, 100, 1000)
    ]
    text = benchmarks.report.markdown({"growth": rows}, {})
    assert "\n| open <a> record | 1 ms | 1 ms | 1 ms | 0.00 |\n| convert | 1 ms | 10 ms | 100 ms | 1.00 |\n" in text
    drawn = ET.fromstring(benchmarks.report.growth_figure(rows))
    space = "{http://www.w3.org/2000/svg}"
    assert len(drawn.findall(f".//{space}polyline")) == 4
    texts = [each.text for each in drawn.iter(f"{space}text")]
    assert texts.count("open <a> record") == 2
    assert {"10", "100", "1,000", "1 ms", "100 ms", "Seconds, by megabytes of weights"} <= set(texts)


def test_every_part_can_be_measured(benchmarks: Any) -> None:
    main = (BENCHMARKS / "__main__.py").read_text()
    parts = {
        file.stem
        for file in BENCHMARKS.glob("*.py")
        if "\ndef measure(folder: Path, *, quick: bool)" in file.read_text()
    }
    assert parts == {part for part in parts if f'"{part}"' in main}
    assert len(parts) == 7
