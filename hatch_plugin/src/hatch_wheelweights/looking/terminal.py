"""How the command line says what it found: tables on a terminal, plain lines elsewhere, and options as flags.

Knows words and widths; knows no formats. Names and values come from files, so whatever a terminal could obey is
escaped.
"""

from __future__ import annotations

import json
import re
import shlex
import sys
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final

from wheelweights.errors import printable

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    from hatch_wheelweights.looking.inspect import Inspection, Tensor
    from wheelweights import WheelweightsError

__all__ = [
    "as_flags",
    "counted",
    "dtype_text",
    "facts",
    "human_size",
    "note",
    "print_inspection",
    "shown_value",
    "size_text",
    "with_flags",
]

MAX_VALUE_CHARACTERS: Final = 200


@dataclass(frozen=True)
class Table:
    """Rows of text under headings; the columns in `right` are numbers."""

    title: str
    headings: tuple[str, ...]
    rows: list[tuple[str, ...]]
    right: frozenset[int] = frozenset()


def human_size(size: int) -> str:
    """Return a number of bytes with three digits or more: `288 B`, `45.1 kB`, `1.34 GB`."""
    amount = float(size)
    for unit in ("B", "kB", "MB", "GB"):
        if amount < 999.5:
            return f"{size} B" if unit == "B" else f"{amount:#.3g} {unit}".replace(". ", " ")
        amount /= 1000
    return f"{amount:,.2f} TB"


def shown_value(value: Any) -> str:
    """Return a plain value on one line, cut at 200 characters."""
    text = printable(value if isinstance(value, str) else json.dumps(value, ensure_ascii=False))
    return text if len(text) <= MAX_VALUE_CHARACTERS else f"{text[: MAX_VALUE_CHARACTERS - 3]}..."


def facts(inspection: Inspection) -> list[str]:
    """Return what a file is, in a line, and how much it holds, in another."""
    lines = [f"{printable(inspection.path)}: {inspection.kind}, {human_size(inspection.size)}"]
    if inspection.records:
        lines.append(counted(len(inspection.records), "record"))
    elif inspection.problem is None:
        count = counted(len(inspection.kept), "tensor")
        lines.append(f"{count}, {counted(inspection.values, 'value')}, {human_size(inspection.nbytes)}")
        out = len(inspection.tensors) - len(inspection.kept)
        lines[-1] += f"; {counted(out, 'tensor')} left out" if out else ""
    return lines


def note(tensor: Tensor) -> str:
    """Say what is particular about a tensor."""
    tied = [f"tied to {printable(tensor.tied_to)}"] if tensor.tied_to is not None else []
    fault = [f"cannot be read: {tensor.fault}"] if tensor.fault is not None else []
    left_out = [] if tensor.kept else ["left out"]
    return "; ".join(map(printable, [*left_out, *tied, *fault, *tensor.notes]))


def dtype_text(tensor: Tensor) -> str:
    """Return a tensor's dtype, and the one that it would be cast to."""
    cast = f" -> {tensor.new_dtype}" if tensor.new_dtype != tensor.dtype else ""
    return printable(tensor.dtype) + cast


def size_text(nbytes: int | None) -> str:
    """Return the bytes of a tensor, where they are known."""
    return "?" if nbytes is None else human_size(nbytes)


# Tables and lines


def print_inspection(inspection: Inspection) -> None:
    """Print an inspection to standard output: with rich where that is a terminal, as plain text elsewhere."""
    blocks = list(_blocks(inspection))
    if sys.stdout.isatty():
        _print_rich(blocks)
    else:
        print("\n\n".join(map(_plain, blocks)))  # noqa: T201


def _blocks(inspection: Inspection) -> Iterator[str | Table]:
    yield "\n".join(facts(inspection))
    if inspection.tensors:
        yield _tensor_table(inspection)
    if inspection.problem is not None:
        yield with_flags(inspection.problem)
    if inspection.top_level:
        yield _pairs("At the root", inspection.top_level)
    if inspection.others:
        yield _pairs("Other values", inspection.others)
    if inspection.config is not None:
        yield f"Configuration\n{_indented_json(inspection.config)}"
    if inspection.metadata:
        yield _pairs("Metadata", {name: shown_value(value) for name, value in inspection.metadata.items()})
    for record in inspection.records:
        yield from _blocks(record)


def _pairs(title: str, pairs: Mapping[str, str]) -> Table:
    return Table(title, (), [(printable(name) or "(the root)", printable(value)) for name, value in pairs.items()])


def _tensor_table(inspection: Inspection) -> Table:
    """Return the table of tensors; columns that would say nothing are not there."""
    columns: dict[str, list[str]] = {
        "Original key": [printable(tensor.source) for tensor in inspection.tensors],
        "Key": [printable(tensor.key) for tensor in inspection.tensors],
        "Shape": [str(tensor.shape) for tensor in inspection.tensors],
        "Dtype": [dtype_text(tensor) for tensor in inspection.tensors],
        "Size": [size_text(tensor.nbytes) for tensor in inspection.tensors],
        "Note": [note(tensor) for tensor in inspection.tensors],
    }
    if all(tensor.source == tensor.key for tensor in inspection.tensors):
        del columns["Original key"]
    if not any(columns["Note"]):
        del columns["Note"]
    right = frozenset([list(columns).index("Size")])
    return Table("", tuple(columns), list(zip(*columns.values(), strict=True)), right)


def _indented_json(value: Any) -> str:
    lines = json.dumps(value, indent=2, ensure_ascii=False).splitlines()
    return "\n".join(f"  {printable(line)}" for line in lines)


def _plain(block: str | Table) -> str:
    if isinstance(block, str):
        return block
    rows = [block.headings, *block.rows] if block.headings else block.rows
    widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
    indent = "  " if block.title else ""
    lines = [
        indent + "  ".join(
            cell.rjust(width) if i in block.right else cell.ljust(width)
            for i, (cell, width) in enumerate(zip(row, widths, strict=True))
        ).rstrip()
        for row in rows
    ]  # fmt: skip
    return "\n".join([block.title, *lines] if block.title else lines)


def _print_rich(blocks: list[str | Table]) -> None:
    from rich import box  # noqa: PLC0415 (only for terminals)
    from rich.console import Console  # noqa: PLC0415
    from rich.table import Table as RichTable  # noqa: PLC0415
    from rich.text import Text  # noqa: PLC0415

    console = Console(highlight=False)
    for i, block in enumerate(blocks):
        if i:
            console.print()
        if isinstance(block, str):
            first, *rest = block.split("\n")
            console.print(Text(first, style="bold"), *map(Text, rest), sep="\n")
            continue
        table = RichTable(
            box=box.SIMPLE_HEAD if block.headings else None, show_header=bool(block.headings), padding=(0, 1)
        )
        for number, heading in enumerate(block.headings or block.rows[0]):
            folds = heading in ("Original key", "Key", "Note") or not block.headings
            table.add_column(
                Text(heading) if block.headings else "",
                justify="right" if number in block.right else "left",
                overflow="fold",
                no_wrap=not folds,
                style="cyan" if heading == "Key" or (number == 0 and not block.headings) else "",
            )
        for row in block.rows:
            table.add_row(*map(Text, row))
        if block.title:
            console.print(Text(block.title, style="bold"))
        console.print(table)


def counted(count: int, thing: str) -> str:
    """Return `1 tensor`, `1,234 tensors`."""
    return f"{count:,} {thing}{'s' if count != 1 else ''}"


# Messages that name the options of a table, for somebody who has flags

_SETTING = re.compile(
    r"""(Add[ ]the[ ]lines?:[ ])? (?<![\w-])top-level-key[ ]=[ ]( \[[^][]*\] | "(?:[^"\\]|\\.)*" )
        ([ ]and[ ]whole-model[ ]=[ ]true)?""",
    re.VERBOSE,
)
_NAMED = re.compile(r"(?<![\w`-])(?=(?:top-level-key|key-remap|config-key)\b)")


def as_flags(text: str) -> str:
    """Return a sentence of ours with options written as flags: `top-level-key = "a"` becomes `--top-level-key a`."""
    text = text.replace("; it is relative to the project root", "")
    return _NAMED.sub("--", _SETTING.sub(_setting_as_flags, text))


def _setting_as_flags(match: re.Match[str]) -> str:
    try:
        keys = json.loads(match[2])
    except ValueError:  # the name of something in a file looks like a setting
        return match[0]
    flags = [f"--top-level-key {_in_a_shell(str(key))}" for key in ([keys] if isinstance(keys, str) else keys)]
    return ("Add: " if match[1] else "") + " ".join(flags + ["--whole-model"] * bool(match[3]))


def _in_a_shell(word: str) -> str:
    return shlex.quote(word) if word.isprintable() else json.dumps(word)


def with_flags(error: WheelweightsError) -> str:
    """Return the whole message of an error, its remedy with flags."""
    if error.remedy is None:
        return str(error)
    message = str(error)
    return message.removesuffix(error.remedy) + as_flags(error.remedy)
