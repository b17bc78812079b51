"""What is in a file, as one HTML page: a tree that folds, a search, sorting, statistics, details.

What there is to say about the file as a whole is HTML; its tensors are data, which the script of `web/` shows as far as
they are in sight. Without a script, the page has the trees of a notebook.
"""

from __future__ import annotations

from html import escape
from importlib.resources import files
from typing import TYPE_CHECKING, Final

from hatch_wheelweights.errors import spelt
from hatch_wheelweights.looking.inspection.notebook import details, html_trees
from hatch_wheelweights.looking.inspection.page_data import groups_of, page_data
from hatch_wheelweights.looking.single_page import joined, json_element, single_page
from hatch_wheelweights.looking.texts import json_of, key_or_root, value_text
from hatch_wheelweights.looking.words import (
    SHOWN_RECORDS,
    contents_lines,
    kind_line,
    problem_text,
    unread_lines,
    unshown_line,
)
from wheelweights.errors import counted, printable

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence

    from hatch_wheelweights.errors import Spelling
    from hatch_wheelweights.looking.inspection.facts import FileFacts

__all__ = ["SCRIPTS", "STYLES", "html_page", "web_file"]

STYLES: Final = ("page.css", "table.css", "details.css", "media.css")
SCRIPTS: Final = (  # each after those that it imports
    "words.js", "elements.js", "model.js", "search.js", "order.js", "charts.js", "rows.js", "grid.js", "details.js",
    "main.js",
)  # fmt: skip


def html_page(facts: FileFacts, spelling: Spelling) -> str:
    """Return the page; `spelling` says how options are written for its reader."""
    body = "\n".join(_body(facts, spelling))
    style = "\n".join(map(web_file, STYLES))
    return single_page(facts.path, body, style=style, script=joined(map(web_file, SCRIPTS)))


def web_file(name: str) -> str:
    """Return the text of a file of `web/`."""
    return files("hatch_wheelweights.looking.inspection").joinpath("web", name).read_text(encoding="utf-8")


def _body(facts: FileFacts, spelling: Spelling) -> Iterator[str]:
    yield from _header(facts, "h1")
    yield "<main>"
    yield from _said(facts, spelling)
    yield from _records(facts, spelling)
    yield web_file("page.html")
    yield f"<noscript>{html_trees(groups_of(facts), spelling)}</noscript>"
    yield "</main>"
    yield json_element("data", page_data(groups_of(facts), spelling))


def _text(value: object) -> str:
    return escape(printable(str(value)))


def _header(facts: FileFacts, heading: str) -> Iterator[str]:
    folder, slash, name = printable(facts.path).rpartition("/")
    above = f'<span class="folder">{escape(folder + slash)}</span>' if slash else ""
    yield f"<header><{heading}>{above}{escape(name)}</{heading}>"
    first, *more = contents_lines(facts) or [""]
    lines = (" \u00b7 ".join(filter(None, (kind_line(facts), first))), *more)
    yield f"<p>{'<br>'.join(map(_text, lines))}</p></header>"


def _said(facts: FileFacts, spelling: Spelling) -> Iterator[str]:
    """Yield what there is to say besides the tensors: what matters most as it is, the rest folded."""
    yield from _texts("warnings", (*facts.warnings, *unread_lines(facts, spelling)), spelling)
    if facts.problem is not None and not facts.added:
        yield f"<pre>{escape(problem_text(facts.problem, spelling))}</pre>"
    folded = [block for block in _folded(facts, spelling) if block]
    if folded:
        yield f'<div class="about">{"".join(folded)}</div>'


def _folded(facts: FileFacts, spelling: Spelling) -> Iterator[str]:
    if facts.notes:
        yield details(counted(len(facts.notes), "note"), "".join(_texts("notes", facts.notes, spelling)))
    if facts.table:
        yield details("For pyproject.toml", f'<pre class="copied">{escape(chr(10).join(facts.table))}</pre>')
    yield _pairs("At the root", {} if facts.added else facts.top_level)
    yield _pairs("Other values", facts.others)
    yield _pairs("Beside the state_dict" if facts.tensors else "Other values", facts.rest)
    if facts.config is not None:
        yield details("Configuration", f'<pre class="copied">{escape(json_of(facts.config))}</pre>')
    yield _pairs("Metadata", {name: value_text(value) for name, value in facts.other_metadata.items()})


def _records(facts: FileFacts, spelling: Spelling) -> Iterator[str]:
    """Yield what there is to say about each record of a wheel."""
    if not facts.records:
        return
    shown = facts.records[:SHOWN_RECORDS]
    sections = "".join(f"<section>{''.join(_record(record, spelling))}</section>" for record in shown)
    unshown = unshown_line(facts)
    more = "" if unshown is None else f"<p>{escape(unshown)}</p>"
    yield f'<div class="about">{details("About each record", sections + more)}</div>'


def _record(record: FileFacts, spelling: Spelling) -> Iterator[str]:
    yield from _header(record, "h2")
    yield from _said(record, spelling)


def _texts(kind: str, texts: Sequence[object], spelling: Spelling) -> Iterator[str]:
    if texts:
        yield f'<ul class="{kind}">'
        yield from (f"<li>{_text(spelt(text, spelling))}</li>" for text in texts)
        yield "</ul>"


def _pairs(title: str, pairs: Mapping[str, str]) -> str:
    if not pairs:
        return ""
    said = (f"<dt>{escape(key_or_root(name))}</dt><dd>{_text(value)}</dd>" for name, value in pairs.items())
    return details(f"{title} <span>{len(pairs):,}</span>", f"<dl>{''.join(said)}</dl>")
