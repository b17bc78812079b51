"""What is in a file, as a notebook shows it: a tree that folds, in HTML without a script or a style sheet.

Everything from the file is escaped. A notebook keeps this in its own file, so it is bounded: of a large model, the
first nodes.
"""

from __future__ import annotations

from html import escape
from itertools import islice
from typing import TYPE_CHECKING, Final

from hatch_wheelweights.errors import PYTHON, spelt
from hatch_wheelweights.looking.inspection.findings import findings
from hatch_wheelweights.looking.inspection.tree import rows_to_depth
from hatch_wheelweights.looking.inspection.tree_words import (
    contents_text,
    name_text,
    node_note,
    number_text,
    share_text,
    sparkline,
)
from hatch_wheelweights.looking.texts import json_of, key_or_root, shortened, size_text, value_text
from hatch_wheelweights.looking.words import contents_lines, kind_line, many, problem_text, unread_lines
from wheelweights.errors import printable

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Mapping

    from hatch_wheelweights.errors import Spelling
    from hatch_wheelweights.looking.inspection.facts import FileFacts
    from hatch_wheelweights.looking.inspection.page_data import Group
    from hatch_wheelweights.looking.inspection.statistics import Statistics
    from hatch_wheelweights.looking.inspection.tree import Node, TreeRow

__all__ = ["details", "html_tree", "html_trees"]

MAX_NODES: Final = 2_000
MAX_DEPTH: Final = 12
SHOWN_RECORDS: Final = 10
SHOWN_FINDINGS: Final = 20
SHOWN_PAIRS: Final = 100
SPARKLINE: Final = 16
_END: Final = "</ul></details></li>"


def html_tree(facts: FileFacts, spelling: Spelling = PYTHON) -> str:
    """Return the HTML: what the file is, its modules, and, folded away, what else it holds."""
    return "".join(_section(facts, spelling))


def html_trees(groups: Iterable[Group], spelling: Spelling) -> str:
    """Return the HTML of the first trees alone, each below its name if there are several."""
    shown = list(islice(groups, SHOWN_RECORDS))
    parts: list[str] = []
    for group in shown:
        parts += [f"<p>{escape(group.name)}</p>"] if len(shown) > 1 else []
        parts += _tree(group.tree, spelling, group.state_dicts)
    return f"<div>{''.join(parts)}</div>" if parts else ""


def _section(facts: FileFacts, spelling: Spelling) -> Iterator[str]:
    yield f"<div><p>{'<br/>'.join(map(escape, _lines(facts, spelling)))}</p>"
    tree = facts.tree if facts.tensors else facts.beside_tree
    yield from _tree(tree, spelling, frozenset(facts.state_dicts))
    yield from _folded(facts, spelling)
    for record in facts.records[:SHOWN_RECORDS]:
        yield from _section(record, spelling)
    yield "</div>"


def _lines(facts: FileFacts, spelling: Spelling) -> Iterator[str]:
    """Yield what there is to say of the file as a whole."""
    yield f"{printable(facts.path)}: {kind_line(facts)}"
    yield from contents_lines(facts)
    yield from unread_lines(facts, spelling)
    for warning in facts.warnings:
        yield f"Warning: {printable(spelt(warning, spelling))}"
    found = findings(facts.looked_at)
    for finding in found[:SHOWN_FINDINGS]:
        yield f"Look at {printable(str(finding))}"
    if len(found) > SHOWN_FINDINGS:
        yield f"and {len(found) - SHOWN_FINDINGS:,} more"
    for note in facts.notes:
        yield f"Note: {printable(spelt(note, spelling))}"
    if facts.problem is not None and not facts.added:
        yield from problem_text(facts.problem, spelling).split("\n")


def _folded(facts: FileFacts, spelling: Spelling) -> Iterator[str]:
    """Yield what else there is, each part folded away under its title."""
    if facts.tensors and facts.beside:
        beside = "".join(_tree(facts.beside_tree, spelling))
        yield details("Beside the state_dict", beside + _list(facts.rest))
    elif facts.rest:
        yield details("Beside the state_dict" if facts.tensors else "Other values", _list(facts.rest))
    if facts.others:
        yield details("Other values", _list(facts.others))
    if facts.config is not None:
        yield details("Configuration", f"<pre>{escape(json_of(facts.config))}</pre>")
    if metadata := {name: shortened(value_text(value)) for name, value in facts.other_metadata.items()}:
        yield details("Metadata", _list(metadata))
    if facts.table:
        lines = "\n".join(map(printable, facts.table))
        yield details("In pyproject.toml", f"<pre>{escape(lines)}</pre>")


def details(title: str, content: str) -> str:
    """Return HTML that is folded away under a title."""
    return f"<details><summary>{title}</summary>{content}</details>"


def _list(pairs: Mapping[str, str]) -> str:
    """Return names and values; of many, the first."""
    names = map(key_or_root, islice(pairs, SHOWN_PAIRS))
    said = (f"{name}: {printable(value)}" for name, value in zip(names, pairs.values(), strict=False))
    more = [f"and {len(pairs) - SHOWN_PAIRS:,} more"] if len(pairs) > SHOWN_PAIRS else []
    return f"<ul>{''.join(f'<li>{escape(line)}</li>' for line in (*said, *more))}</ul>" if pairs else ""


def _tree(root: Node, spelling: Spelling, state_dicts: frozenset[str] = frozenset()) -> Iterator[str]:
    """Yield nested lists, in which what is below a node is folded away at first."""
    open_levels = 0
    yield "<ul>"
    for row in islice(rows_to_depth(root, MAX_DEPTH, apart=state_dicts), MAX_NODES):
        yield _END * (open_levels - row.level)
        open_levels = row.level + row.is_open
        said = _line(row, spelling, state_dicts)
        yield f"<li><details><summary>{said}</summary><ul>" if row.is_open else f"<li>{said}</li>"
    yield _END * open_levels
    yield "</ul>"


def _line(row: TreeRow, spelling: Spelling, state_dicts: frozenset[str]) -> str:
    totals, statistics = row.node.totals, row.node.statistics
    values = many(totals.values, "value")
    said = [
        contents_text(row),
        *([values, size_text(totals.nbytes)] if totals.values else []),
        "" if statistics is None else _statistics_text(statistics),
        node_note(row, spelling, state_dicts),
    ]
    return f"<code>{escape(name_text(row))}</code> {escape(' · '.join(filter(None, said)))}"


def _statistics_text(known: Statistics) -> str:
    numbers = {"min": known.minimum, "max": known.maximum, "mean": known.mean, "std": known.std}
    said = [f"{name} {number_text(number)}" for name, number in numbers.items() if number is not None]
    zeros = [f"zeros {share_text(known.zeros, known.values)}"] if known.zeros else []
    bars = sparkline(known.histogram, SPARKLINE).replace(" ", "\N{NO-BREAK SPACE}")  # HTML joins other spaces
    return " ".join(filter(None, [", ".join([*said, *zeros]), bars]))
