"""The figure of growth: seconds over megabytes and over tensors, on logarithmic axes, as SVG by hand.

Its colours follow the reader's light or dark page.
"""

from __future__ import annotations

import math
from html import escape
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence

    Points = Sequence[tuple[int, float]]

WIDTH, HEIGHT = 420, 320
LEFT, TOP, BOTTOM, LEGEND = 58, 34, 44, 150
COLOURS = ("#0072b2", "#d55e00", "#009e73", "#cc79a7", "#e69f00")  # told apart by colour-blind readers too
STYLE = """
  text { font: 12px system-ui, sans-serif; fill: #222 }
  .title { font-weight: 600 } .grid { stroke: #ddd } .line { fill: none; stroke-width: 2 }
  @media (prefers-color-scheme: dark) { text { fill: #ddd } .grid { stroke: #444 } }
"""
UNITS = ((1, "s"), (1e-3, "ms"), (1e-6, "µs"))


def figure(panels: Mapping[str, Mapping[str, Points]]) -> str:
    """Return an SVG with a panel for each title; a panel has lines, each with points (where, seconds)."""
    width = len(panels) * (WIDTH + LEGEND)
    drawn = "\n".join(
        f'<g transform="translate({number * (WIDTH + LEGEND)} 0)">\n{"".join(_panel(title, lines))}</g>'
        for number, (title, lines) in enumerate(panels.items())
    )
    return (
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {width} {HEIGHT}" role="img" '
        f'aria-label="{escape(", ".join(panels))}">\n<style>{STYLE}</style>\n{drawn}\n</svg>\n'
    )


def _panel(title: str, lines: Mapping[str, Points]) -> Iterator[str]:
    xs = [x for points in lines.values() for x, _ in points]
    ys = [y for points in lines.values() for _, y in points]
    low, high = math.floor(math.log10(min(ys))), math.ceil(math.log10(max(ys)))

    def across(x: float) -> float:
        return LEFT + (WIDTH - LEFT) * math.log(x / min(xs)) / math.log(max(xs) / min(xs))

    def up(y: float) -> float:
        return HEIGHT - BOTTOM - (HEIGHT - BOTTOM - TOP) * (math.log10(y) - low) / (high - low)

    yield f'<text class="title" x="{LEFT}" y="16">{escape(title)}</text>\n'
    for power in range(low, high + 1):
        y = up(10**power)
        yield f'<line class="grid" x1="{LEFT}" x2="{WIDTH}" y1="{y:.1f}" y2="{y:.1f}"/>'
        yield f'<text x="{LEFT - 6}" y="{y + 4:.1f}" text-anchor="end">{seconds(10**power)}</text>\n'
    for x in sorted(set(xs)):
        yield f'<line class="grid" x1="{across(x):.1f}" x2="{across(x):.1f}" y1="{TOP}" y2="{HEIGHT - BOTTOM}"/>'
        yield f'<text x="{across(x):.1f}" y="{HEIGHT - BOTTOM + 18}" text-anchor="middle">{x:,}</text>\n'
    ends = sorted((up(points[-1][1]), name) for name, points in lines.items())
    places = _apart([y for y, _ in ends])
    for colour, (name, points) in zip(COLOURS, lines.items(), strict=False):
        path = " ".join(f"{across(x):.1f},{up(y):.1f}" for x, y in points)
        yield f'<polyline class="line" stroke="{colour}" points="{path}"/>'
        y = places[[each for _, each in ends].index(name)]
        yield f'<text x="{WIDTH + 8}" y="{y + 4:.1f}" style="fill:{colour}">{escape(name)}</text>\n'


def _apart(ys: Sequence[float], least: float = 15) -> list[float]:
    """Return heights in their order, moved so that texts at them do not cover each other."""
    placed: list[float] = []
    for y in ys:
        placed.append(max(y, placed[-1] + least) if placed else y)
    over = max(0.0, placed[-1] - (HEIGHT - BOTTOM)) if placed else 0.0
    return [y - over for y in placed]


def seconds(value: float) -> str:
    """Return a time as a person reads it, three digits."""
    factor, unit = next((each for each in UNITS if value >= each[0] * 0.9995), UNITS[-1])
    shown = round(value / factor, 6)
    digits = 0 if shown >= 99.95 else 1 if shown >= 9.995 else 2
    return f"{shown:,.{digits}f} {unit}" if shown != round(shown) else f"{shown:,.0f} {unit}"
