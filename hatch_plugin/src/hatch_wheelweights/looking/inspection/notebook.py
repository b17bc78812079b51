"""What is in a file, as a notebook shows it: a tree that folds, in HTML without a script or a style sheet.

Everything from the file is escaped. A notebook keeps this in its own file, so it is bounded: of a large model, the
first nodes.
"""

from __future__ import annotations

from html import escape
from itertools import islice
from typing import TYPE_CHECKING, Final

from hatch_wheelweights.errors import PYTHON, spelt
from hatch_wheelweights.looking.inspection.tree import TreeRow, rows_to_depth
from hatch_wheelweights.looking.inspection.tree_words import contents_text, name_text, node_note
from hatch_wheelweights.looking.texts import size_text
from hatch_wheelweights.looking.words import contents_lines, kind_line, many, problem_text, unread_lines
from wheelweights.errors import printable

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

    from hatch_wheelweights.errors import Spelling
    from hatch_wheelweights.looking.inspection.facts import FileFacts

__all__ = ["html_tree"]

MAX_NODES: Final = 2_000
MAX_DEPTH: Final = 12
SHOWN_RECORDS: Final = 10
_END: Final = "</ul></details></li>"


def html_tree(facts: FileFacts, spelling: Spelling = PYTHON) -> str:
    """Return the HTML: what the file is, and its modules."""
    return "".join(_section(facts, spelling))


def _section(facts: FileFacts, spelling: Spelling) -> Iterator[str]:
    lines = [f"{printable(facts.path)}: {kind_line(facts)}", *contents_lines(facts), *unread_lines(facts, spelling)]
    lines += [f"Warning: {printable(spelt(warning, spelling))}" for warning in facts.warnings]
    lines += [f"Note: {printable(spelt(note, spelling))}" for note in facts.notes]
    if facts.problem is not None and not facts.added:
        lines += problem_text(facts.problem, spelling).split("\n")
    yield f"<div><p>{'<br/>'.join(map(escape, lines))}</p>"
    tree = facts.tree if facts.tensors else facts.beside_tree
    yield from _tree(islice(rows_to_depth(tree, MAX_DEPTH), MAX_NODES), spelling)
    for record in facts.records[:SHOWN_RECORDS]:
        yield from _section(record, spelling)
    yield "</div>"


def _tree(rows: Iterable[TreeRow], spelling: Spelling) -> Iterator[str]:
    """Yield nested lists, in which what is below a node is folded away at first."""
    open_levels = 0
    yield "<ul>"
    for row in rows:
        yield _END * (open_levels - row.level)
        open_levels = row.level + row.is_open
        said = _line(row, spelling)
        yield f"<li><details><summary>{said}</summary><ul>" if row.is_open else f"<li>{said}</li>"
    yield _END * open_levels
    yield "</ul>"


def _line(row: TreeRow, spelling: Spelling) -> str:
    totals = row.node.totals
    values = many(totals.values, "value")
    said = [
        contents_text(row),
        *([values, size_text(totals.nbytes)] if totals.values else []),
        node_note(row, spelling),
    ]
    return f"<code>{escape(name_text(row))}</code> {escape(' · '.join(filter(None, said)))}"
