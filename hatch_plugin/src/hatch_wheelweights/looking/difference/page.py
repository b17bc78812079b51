"""A comparison as one HTML page that needs nothing else: no server, no other file, no network, and no script.

Everything from the files is escaped, and the page's content policy allows nothing but `page.css`, which is put into it.
What is long is folded.
"""

from __future__ import annotations

from html import escape
from importlib.resources import files
from typing import TYPE_CHECKING

from hatch_wheelweights.looking.difference.modules import modules_of, worst_first
from hatch_wheelweights.looking.difference.words import (
    differences_text,
    form_lines,
    form_text,
    module_row,
    name_lines,
    named,
    note_lines,
    summary,
)
from hatch_wheelweights.looking.single_page import single_page
from wheelweights.errors import backticked, counted, printable

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Sequence

    from hatch_wheelweights.errors import Spelling
    from hatch_wheelweights.looking.difference.facts import Comparison
    from hatch_wheelweights.looking.difference.modules import ModuleDifference

__all__ = ["difference_fragment", "difference_page"]

HEADINGS = ("Module", "Tensors", "Different", "Largest", "Relative", "Cosine")
MAX_ROWS = 10_000  # tensors of a module, or of one file only; a page of more would be slow to open


def difference_page(comparison: Comparison, spelling: Spelling) -> str:
    """Return the page."""
    body = "\n".join(_body(comparison, spelling))
    return single_page(" / ".join(comparison.paths), f'<main class="difference">\n{body}\n</main>', style=_style())


def difference_fragment(comparison: Comparison, spelling: Spelling) -> str:
    """Return the same without a page around it, for a notebook."""
    return f'<div class="difference"><style>{_style()}</style>{"".join(_body(comparison, spelling))}</div>'


def _style() -> str:
    return files("hatch_wheelweights.looking.difference").joinpath("page.css").read_text(encoding="utf-8")


def _text(value: str) -> str:
    return escape(printable(value))


def _body(comparison: Comparison, spelling: Spelling) -> Iterator[str]:
    left, right = map(_text, comparison.paths)
    yield f"<h1>{left} and {right}</h1>"
    yield f'<p class="verdict{" equal" if comparison.equal else ""}">{_text(summary(comparison))}</p>'
    tolerance = comparison.tolerance
    if not tolerance.exact:
        yield f"<p>Allowed: |a - b| &lt;= {tolerance.atol:g} + {tolerance.rtol:g} * |b|</p>"
    yield from _list(note_lines(comparison, spelling))
    yield from _section("Names", name_lines(comparison))
    yield from _section("Dtypes", form_lines(comparison))
    modules = modules_of(comparison)
    if modules:
        yield "<h2>By module</h2>"
        yield from _table(modules)
        yield "<h2>Tensors</h2>"
        for module in modules:
            yield from _folded(module, spelling)
    for path, only in zip(comparison.paths, comparison.only, strict=True):
        lines = [f"{backticked(key)}: {form_text(form)}" for key, form in only.items()]
        yield from _section(f"Only in {path}", lines)


def _section(title: str, lines: Sequence[str]) -> Iterator[str]:
    if lines:
        yield f"<h2>{_text(title)}</h2>"
        yield from _list(lines)


def _list(lines: Sequence[str]) -> Iterator[str]:
    if not lines:
        return
    yield "<ul>"
    yield from (f"<li>{_text(line)}</li>" for line in lines[:MAX_ROWS])
    if len(lines) > MAX_ROWS:
        yield f"<li>and {len(lines) - MAX_ROWS:,} more</li>"
    yield "</ul>"


def _table(modules: Iterable[ModuleDifference]) -> Iterator[str]:
    yield '<div class="wide" role="region" aria-label="Differences by module" tabindex="0"><table>'
    yield "<caption>Differences by module</caption><thead><tr>"
    name, *figures = HEADINGS
    yield f'<th scope="col">{name}</th>'
    yield from (f'<th scope="col" class="number">{figure}</th>' for figure in figures)
    yield "</tr></thead><tbody>"
    for module in modules:
        name, *figures = map(escape, module_row(module))
        cells = "".join(f'<td class="number">{figure}</td>' for figure in figures)
        yield f'<tr><th scope="row">{name}</th>{cells}</tr>'
    yield "</tbody></table></div>"


def _folded(module: ModuleDifference, spelling: Spelling) -> Iterator[str]:
    """Yield the tensors of a module that are not equal, the worst first, folded."""
    tensors = worst_first([tensor for tensor in module.both if tensor.state != "equal"])
    if tensors:
        yield f"<details><summary>{escape(module_row(module)[0])}: {counted(len(tensors), 'tensor')}</summary>"
        yield from _list([f"{named(tensor)}: {differences_text(tensor, spelling)}" for tensor in tensors])
        yield "</details>"
