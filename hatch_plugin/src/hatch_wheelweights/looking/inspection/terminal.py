"""What is in a file, as lines for a terminal or a pipe: the module tree within a screen, however large the model is.

Knows columns, widths and how many lines there are. Names are never cut, so that they can be searched and copied: what
is wider than its column sticks out.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from itertools import islice
from typing import TYPE_CHECKING, Final, TypeAlias

from hatch_wheelweights.errors import spelt
from hatch_wheelweights.looking.inspection.findings import findings
from hatch_wheelweights.looking.inspection.tree import MAX_DEPTH, rows_to_depth, tensor_rows
from hatch_wheelweights.looking.inspection.tree_words import (
    BARS,
    contents_text,
    name_text,
    node_note,
    number_text,
    share_text,
    sparkline,
)
from hatch_wheelweights.looking.texts import (
    human_count,
    json_of,
    key_or_root,
    shortened,
    size_text,
    value_text,
    width_of,
)
from hatch_wheelweights.looking.words import (
    SHOWN_RECORDS,
    contents_lines,
    kind_line,
    problem_text,
    unread_lines,
    unshown_line,
)
from wheelweights.errors import printable

if TYPE_CHECKING:
    from collections.abc import Callable, Container, Iterable, Iterator, Mapping, Sequence

    from hatch_wheelweights.errors import Spelling
    from hatch_wheelweights.looking.inspection.facts import FileFacts
    from hatch_wheelweights.looking.inspection.statistics import Statistics
    from hatch_wheelweights.looking.inspection.tree import Node, TreeRow

__all__ = ["Screen", "text_of"]

NAMES: Final = 60  # columns that the names have at most; longer ones stick out
CONTENTS: Final = 24  # columns that what a node is has at least
TELLING: Final = 3  # rows that say less than the beginning of a longer list
LEAST_ROWS: Final = 12  # of a tree, whatever else there is to show
SHOWN_PAIRS: Final = 10  # of the other values, of the metadata
SHOWN_FINDINGS: Final = 20
SPARKLINES: Final = (16, 8, 4)  # characters that a histogram has, as there is room
SHAPE: Final = 1_000  # characters that a tensor's shape has at most
GAP: Final = "  "
NAME: Final = "Name"

Style: TypeAlias = "Callable[[str, str], str]"


def _plain(text: str, _: str) -> str:
    return text


@dataclass(frozen=True)
class Screen:
    """What there is to write on.

    `width` and `lines` are wished for, not enforced: a name is never cut, and a tree has a dozen rows at least. `depth`
    is how many levels of modules are shown, however many lines these take; None for as many as fit. `style` sets a text
    off: as "title", "name" or "aside". `hint` says how to see what there was no room for. Histograms are drawn
    with `bars`.
    """

    width: int = 80
    lines: int = 40
    depth: int | None = None
    style: Style = _plain
    hint: str = ""
    bars: str = BARS


def text_of(facts: FileFacts, spelling: Spelling, screen: Screen) -> str:
    """Return the text, with an empty line between its parts."""
    return "\n\n".join("\n".join(block) for block in _blocks(facts, spelling, screen) if block)


def _blocks(facts: FileFacts, spelling: Spelling, screen: Screen) -> Iterator[list[str]]:
    before, after = _before(facts, spelling, screen), _after(facts, spelling, screen)
    used = sum(len(block) + 1 for block in (*before, *after) if block)
    rows = max(LEAST_ROWS, screen.lines - used)
    yield from before
    if facts.tensors:
        yield _tree_block(facts, spelling, screen, rows)
    elif facts.find is not None and facts.total and not facts.beside:
        yield [f"no key matches {printable(facts.find)}"]
    if facts.beside and not facts.tensors:
        title = "In the file" if facts.is_undecided else "Beside the state_dict"
        yield [screen.style(title, "title"), *_indented(_alone(facts, spelling, screen, rows))]
    yield from after
    for record in facts.records[:SHOWN_RECORDS]:
        yield from _blocks(record, spelling, replace(screen, lines=0) if len(facts.records) > 1 else screen)
    if (unshown := unshown_line(facts)) is not None:
        yield [unshown]


def _before(facts: FileFacts, spelling: Spelling, screen: Screen) -> list[list[str]]:
    """Return what is above the tree: what the file is, what is odd about it, what was taken."""
    first = f"{printable(facts.path)}: {kind_line(facts)}"
    notes = [f"Note: {printable(spelt(note, spelling))}" for note in facts.notes]
    problem = [] if facts.problem is None or facts.added else problem_text(facts.problem, spelling).split("\n")
    contents = [*contents_lines(facts), *unread_lines(facts, spelling)]
    return [[screen.style(first, "title"), *contents], problem, _findings(facts, screen), notes]


def _findings(facts: FileFacts, screen: Screen) -> list[str]:
    found = findings(facts.looked_at)
    more = [f"  and {len(found) - SHOWN_FINDINGS:,} more"] if len(found) > SHOWN_FINDINGS else []
    shown = [f"  {printable(str(finding))}" for finding in found[:SHOWN_FINDINGS]]
    return [screen.style("Look at", "title"), *shown, *more] if found else []


def _after(facts: FileFacts, spelling: Spelling, screen: Screen) -> list[list[str]]:
    """Return what is below the tree: the rest of the file, and what to write in pyproject.toml."""
    blocks: list[list[str]] = []
    if facts.tensors and facts.beside:
        blocks.append([screen.style("Beside the state_dict", "title"), *_beside(facts, spelling, screen)])
    else:
        title = "Beside the state_dict" if facts.tensors else "Other values"
        blocks.append(_titled(title, _pairs(facts.rest, screen), screen))
    if facts.problem is not None and not facts.tensors and not facts.beside and not facts.rest:
        blocks.append(_titled("At the root", _pairs(facts.top_level, screen), screen))
    blocks.append(_titled("Other values", _pairs(facts.others, screen), screen))
    if facts.config is not None:
        blocks.append(_titled("Configuration", [f"  {line}" for line in json_of(facts.config).split("\n")], screen))
    metadata = {name: shortened(value_text(value)) for name, value in facts.other_metadata.items()}
    blocks.append(_titled("Metadata", _pairs(metadata, screen), screen))
    blocks.append(_titled("In pyproject.toml", [f"  {printable(line)}".rstrip() for line in facts.table], screen))
    return [block for block in blocks if block]


def _alone(facts: FileFacts, spelling: Spelling, screen: Screen, most: int) -> list[str]:
    """Return the lines of the tensors of a file where none of a state_dict are shown: of a tree, at most `most`."""
    if facts.find is not None:
        return _lines(tensor_rows(facts.beside), spelling, screen)
    return _tree(facts.beside_tree, spelling, screen, most, frozenset(facts.state_dicts))


def _beside(facts: FileFacts, spelling: Spelling, screen: Screen) -> list[str]:
    """Return the lines of what is beside the state_dict, the names of tensors and of other values in one column."""
    rows, unshown = _beside_rows(facts, screen)
    names = max(map(width_of, [NAME, *map(_indented_name, rows), *_shown_names(facts.rest, screen)]))
    more = [f"and {unshown:,} more"] if unshown else []
    tree = _lines(rows, spelling, screen, names=names)
    return [*_indented([*tree, *more]), *_pairs(facts.rest, screen, names=names)]


def _beside_rows(facts: FileFacts, screen: Screen) -> tuple[list[TreeRow], int]:
    """Return the first level of what is beside the state_dict, as far as it is shown, and how many more there are."""
    if facts.find is not None:
        return tensor_rows(facts.beside), 0
    if screen.depth is not None:
        return list(rows_to_depth(facts.beside_tree, screen.depth)), 0
    rows = list(islice(rows_to_depth(facts.beside_tree, 1), SHOWN_PAIRS))
    return rows, len(facts.beside_tree.children) - len(rows)


def _titled(title: str, lines: list[str], screen: Screen) -> list[str]:
    return [screen.style(title, "title"), *lines] if lines else []


def _pairs(pairs: Mapping[str, str], screen: Screen, names: int = 0) -> list[str]:
    """Return names, in at least so many columns, and values side by side; of many, the first."""
    shown = _shown_names(pairs, screen)
    width = min(NAMES, max(map(width_of, shown), default=0))
    cells = (_padded(name, max(width, min(NAMES, names))) for name in shown)
    lines = [f"{GAP}{name}{GAP}{printable(value)}" for name, value in zip(cells, pairs.values(), strict=False)]
    unshown = len(pairs) - len(shown)
    return [*lines, *([f"{GAP}and {unshown:,} more"] if unshown else [])]


def _shown_names(pairs: Mapping[str, str], screen: Screen) -> list[str]:
    shown = SHOWN_PAIRS if screen.depth is None else len(pairs)
    return [key_or_root(name) for name in islice(pairs, shown)]


def _indented(lines: Iterable[str]) -> list[str]:
    return [GAP + line for line in lines]


# The tree


def _tree_block(facts: FileFacts, spelling: Spelling, screen: Screen, most: int) -> list[str]:
    if facts.find is not None:
        return _lines(tensor_rows(facts.tensors), spelling, screen)
    return _tree(facts.tree, spelling, screen, most)


def _tree(
    root: Node, spelling: Spelling, screen: Screen, most: int, state_dicts: frozenset[str] = frozenset()
) -> list[str]:
    """Return the lines of a tree: to the depth that is asked for, or as far as `most` lines go."""
    if screen.depth is not None:
        rows = list(rows_to_depth(root, screen.depth, apart=state_dicts))
        return _lines(rows, spelling, screen, state_dicts)
    rows, unshown = _fitting(root, most - 1, state_dicts)  # without the headings
    more = [screen.style(f"and {unshown:,} more{screen.hint}", "aside")] if unshown else []
    return [*_lines(rows, spelling, screen, state_dicts), *more]


def _fitting(root: Node, most: int, apart: Container[str]) -> tuple[list[TreeRow], int]:
    """Return at most so many rows, and how many children of the root they leave out.

    All of the tree where it fits, else the modules to the last depth that fits. Where that says next to nothing, as of
    a thousand layers in one list, the first rows of a level more.
    """
    rows = list(islice(rows_to_depth(root, MAX_DEPTH, apart=apart), most + 1))
    if len(rows) <= most:
        return rows, 0
    rows, depth = [], 0
    while True:
        deeper = list(islice(rows_to_depth(root, depth + 1, leaves=False, apart=apart), most + 1))
        if len(deeper) > most or len(deeper) == len(rows):
            break
        rows, depth = deeper, depth + 1
    if len(deeper) > most and len(rows) <= TELLING:
        level = min(row.level for row in deeper[-2:])
        left = sum(row.level == level for row in rows_to_depth(root, depth + 1, leaves=False, apart=apart))
        rows = deeper[: most - 1]
        return rows, left - sum(row.level == level for row in rows)
    return rows, 0


@dataclass(frozen=True)
class _Column:
    heading: str
    cells: list[str]
    right: bool = False
    least: int = 0  # columns that it has at least
    most: int = NAMES  # ... and at most; longer cells stick out

    @property
    def width(self) -> int:
        return min(self.most, max(self.least, *map(width_of, [self.heading, *self.cells])))


def _lines(
    rows: Sequence[TreeRow],
    spelling: Spelling,
    screen: Screen,
    state_dicts: frozenset[str] = frozenset(),
    names: int = 0,
) -> list[str]:
    """Return a line for each row, with headings above them; names have at least so many columns."""
    named = _Column(NAME, list(map(_indented_name, rows)), least=names)
    notes = [node_note(row, spelling, state_dicts) for row in rows]
    has_statistics = any(row.node.statistics is not None for row in rows)
    room = screen.width - named.width
    columns = _statistics_columns(rows, room, screen.bars) if has_statistics else _size_columns(rows, room)
    noted = [_Column("Note", notes)] if any(notes) else []
    return _table([named, *columns, *noted], screen)


def _indented_name(row: TreeRow) -> str:
    return GAP * row.level + name_text(row)


def _size_columns(rows: Sequence[TreeRow], width: int) -> list[_Column]:
    """Return the columns behind the names, for which there are so many columns of the screen."""
    counts = [human_count(row.node.totals.values) if _is_counted(row.node) else "" for row in rows]
    sizes = [size_text(row.node.totals.nbytes) if _is_counted(row.node) else "" for row in rows]
    used = max(map(len, [*counts, "Values"])) + max(map(len, [*sizes, "Size"]))
    room = max(CONTENTS, width - used - 3 * len(GAP))
    contents = [shortened(contents_text(row), room if row.node.tensor is None else SHAPE) for row in rows]
    holds = _Column("Holds", contents, most=max(NAMES, room))
    return [holds, _Column("Values", counts, right=True), _Column("Size", sizes, right=True)]


def _is_counted(node: Node) -> bool:
    """Tell whether there are values here: none are of modules without tensors, or of those that do not count."""
    if node.totals.values or node.tensor is None:
        return node.totals.values > 0
    return node.tensor.kept and node.tensor.fault is None and node.tensor.tied_to is None


def _statistics_columns(rows: Sequence[TreeRow], width: int, bars: str) -> list[_Column]:
    """Return the columns behind the names; the histograms are as wide as fits into so many columns of the screen."""
    known = [row.node.statistics for row in rows]

    def column(heading: str, cell: Callable[[Statistics], str]) -> _Column:
        return _Column(heading, ["" if each is None else cell(each) for each in known], right=True)

    numbers = [
        column("Min", lambda each: number_text(each.minimum)),
        column("Max", lambda each: number_text(each.maximum)),
        column("Mean", lambda each: number_text(each.mean)),
        column("Std", lambda each: number_text(each.std)),
        column("Zeros", lambda each: share_text(each.zeros, each.values)),
    ]
    room = width - sum(each.width + len(GAP) for each in numbers) - len(GAP)
    shown = next((size for size in SPARKLINES if size <= room), SPARKLINES[-1])
    drawn = ["" if each is None else sparkline(each.histogram, shown, bars) for each in known]
    heading = "Histogram" if shown == SPARKLINES[0] else "Hist"
    return [*numbers, *([_Column(heading, drawn)] if any(drawn) else [])]


def _table(columns: Sequence[_Column], screen: Screen) -> list[str]:
    widths = [column.width for column in columns]
    headings = screen.style(_line([column.heading for column in columns], columns, widths), "aside")
    lines = [_line(cells, columns, widths) for cells in zip(*(column.cells for column in columns), strict=True)]
    return [headings, *(_named(line, len(cell), screen) for line, cell in zip(lines, columns[0].cells, strict=True))]


def _line(cells: Iterable[str], columns: Iterable[_Column], widths: Iterable[int]) -> str:
    padded = [
        _padded(cell, width, right=column.right) for cell, column, width in zip(cells, columns, widths, strict=True)
    ]
    return GAP.join(padded).rstrip()


def _padded(cell: str, width: int, *, right: bool = False) -> str:
    space = " " * (width - width_of(cell))
    return space + cell if right else cell + space


def _named(line: str, length: int, screen: Screen) -> str:
    """Return a line with its name, which is the first so many characters, set off."""
    return screen.style(line[:length], "name") + line[length:]
