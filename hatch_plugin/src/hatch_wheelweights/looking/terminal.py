"""An inspection on a terminal, or as plain text: lines and tables.

Knows columns and widths. rich draws the tables on a terminal; plain text is never cut to a width, and what is wider
than a column sticks out, so that one long name does not make every line as long.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Final, TypeAlias

from hatch_wheelweights.errors import spelt
from hatch_wheelweights.looking.texts import json_of, key_text, shape_text, shortened, size_text, value_text
from hatch_wheelweights.looking.words import (
    SHOWN_RECORDS,
    contents_line,
    dtype_text,
    kind_line,
    note,
    problem_text,
    unshown_line,
)
from wheelweights.errors import printable

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    from rich.table import Table

    from hatch_wheelweights.errors import Spelling
    from hatch_wheelweights.looking.inspect import Inspection

__all__ = ["plain_text", "print_tables"]

WIDEST: Final = 120  # characters that a column of plain text is padded to


@dataclass(frozen=True)
class Column:
    """A column of text. `right` aligns numbers; `folds` lets a terminal break its cells; `named` sets it off."""

    heading: str
    cells: list[str]
    right: bool = False
    folds: bool = False
    named: bool = False


@dataclass(frozen=True)
class Columns:
    """Columns of equal length side by side, under a title; without headings if the columns have none."""

    title: str
    columns: tuple[Column, ...]

    @property
    def rows(self) -> list[tuple[str, ...]]:
        """The cells, row by row."""
        return list(zip(*(column.cells for column in self.columns), strict=True))

    @property
    def headings(self) -> tuple[str, ...]:
        """The headings, or nothing."""
        headings = tuple(column.heading for column in self.columns)
        return headings if any(headings) else ()


Block: TypeAlias = str | Columns


def plain_text(inspection: Inspection, spelling: Spelling) -> str:
    """Return an inspection as text, with an empty line between its parts."""
    blocks = _blocks(inspection, spelling)
    return "\n\n".join(block if isinstance(block, str) else _plain_columns(block) for block in blocks)


def print_tables(inspection: Inspection, spelling: Spelling) -> None:
    """Print an inspection to the terminal that is standard output, in tables and colours of rich."""
    from rich.console import Console  # noqa: PLC0415 (only for terminals)
    from rich.text import Text  # noqa: PLC0415

    console = Console(highlight=False)
    for i, block in enumerate(_blocks(inspection, spelling)):
        if i:
            console.print()
        if isinstance(block, str):
            first, *rest = block.split("\n")
            console.print(Text(first, style="bold"), *map(Text, rest), sep="\n")
            continue
        if block.title:
            console.print(Text(block.title, style="bold"))
        console.print(_rich_table(block))


# What there is to print


def _blocks(inspection: Inspection, spelling: Spelling) -> Iterator[Block]:
    first = f"{printable(inspection.path)}: {kind_line(inspection)}"
    contents = contents_line(inspection)
    yield first if contents is None else f"{first}\n{contents}"
    if inspection.tensors:
        yield _tensor_columns(inspection, spelling)
    if inspection.problem is not None:
        yield problem_text(inspection.problem, spelling)
    if inspection.top_level:
        yield _pairs("At the root", inspection.top_level)
    if inspection.others:
        yield _pairs("Other values", inspection.others)
    if inspection.notes:
        yield "\n".join(["Notes", *(f"  {printable(spelt(note, spelling))}" for note in inspection.notes)])
    if inspection.config is not None:
        yield "\n".join(["Configuration", *(f"  {line}" for line in json_of(inspection.config).split("\n"))])
    if metadata := inspection.other_metadata:
        yield _pairs("Metadata", {name: shortened(value_text(value)) for name, value in metadata.items()})
    for record in inspection.records[:SHOWN_RECORDS]:
        yield from _blocks(record, spelling)
    if (unshown := unshown_line(inspection)) is not None:
        yield unshown


def _pairs(title: str, pairs: Mapping[str, str]) -> Columns:
    names = [key_text(name) or "(the root)" for name in pairs]
    values = [printable(value) for value in pairs.values()]
    return Columns(title, (Column("", names, folds=True, named=True), Column("", values, folds=True)))


def _tensor_columns(inspection: Inspection, spelling: Spelling) -> Columns:
    """Return the table of tensors, without the columns that would say nothing."""
    tensors = inspection.tensors
    renamed = any(tensor.source != tensor.key for tensor in tensors)
    notes = [note(tensor, spelling) for tensor in tensors]
    source = Column("Original key", [key_text(tensor.source) for tensor in tensors], folds=True)
    columns = [
        Column("Key", [key_text(tensor.key) for tensor in tensors], folds=True, named=True),
        Column("Shape", [shape_text(tensor.shape) for tensor in tensors]),
        Column("Dtype", [dtype_text(tensor) for tensor in tensors]),
        Column("Size", [size_text(tensor.nbytes) for tensor in tensors], right=True),
    ]
    noted = [Column("Note", notes, folds=True)] if any(notes) else []
    return Columns("", (*([source] if renamed else []), *columns, *noted))


# How it is printed


def _plain_columns(table: Columns) -> str:
    rows = [table.headings, *table.rows] if table.headings else table.rows
    widths = [min(max(map(len, cells)), WIDEST) for cells in zip(*rows, strict=True)]
    indent = "  " if table.title else ""
    lines = [table.title] if table.title else []
    for row in rows:
        cells = [
            cell.rjust(width) if column.right else cell.ljust(width)
            for column, cell, width in zip(table.columns, row, widths, strict=True)
        ]
        lines.append((indent + "  ".join(cells)).rstrip())
    return "\n".join(lines)


def _rich_table(columns: Columns) -> Table:
    """Return the columns as rich draws them. Texts are `Text`, so that no name in a file is taken for markup."""
    from rich import box  # noqa: PLC0415
    from rich.table import Table  # noqa: PLC0415
    from rich.text import Text  # noqa: PLC0415

    headings = columns.headings
    table = Table(box=box.SIMPLE_HEAD if headings else None, show_header=bool(headings), padding=(0, 1))
    for column in columns.columns:
        table.add_column(
            Text(column.heading),
            justify="right" if column.right else "left",
            overflow="fold",
            no_wrap=not column.folds,
            style="cyan" if column.named else "",
        )
    for row in columns.rows:
        table.add_row(*map(Text, row))
    return table
