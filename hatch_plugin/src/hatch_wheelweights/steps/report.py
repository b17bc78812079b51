"""What became of every key: the table that `debug` prints and `inspect` shows.

Knows names, shapes and dtypes; never reads a tensor.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Final

from wheelweights.errors import printable

if TYPE_CHECKING:
    from hatch_wheelweights.checkpoint import LazyTensor
    from hatch_wheelweights.errors import CheckpointError

__all__ = ["LeftOut", "Report", "Row", "debug_table"]

MAX_OTHERS: Final = 10_000


@dataclass(frozen=True, slots=True)
class Row:
    """One tensor of the checkpoint and what becomes of it.

    `key` is its name there, `name` its name after remap and reindex; `kept` is false where filters leave it out.
    `dtype` is the checkpoint's, `new_dtype` the record's (the same where nothing is cast).
    """

    key: str
    name: str
    kept: bool
    shape: tuple[int, ...]
    dtype: str
    new_dtype: str
    notes: tuple[str, ...] = ()

    @property
    def new_key(self) -> str | None:
        """The key in the record; None where filters leave the tensor out."""
        return self.name if self.kept else None


@dataclass(frozen=True)
class LeftOut:
    """Something beside the tensors that holds tensors which no key of the state_dict leads to.

    `is_excluded` is set where filters leave it out; else a warning, a note or the fault tells of it.
    """

    key: str
    tensors: tuple[LazyTensor, ...]
    is_excluded: bool


@dataclass
class Report:
    """What a conversion does to names and dtypes: a row per tensor in the checkpoint's order, and what is said of it.

    `warnings` are of what may be wrong, `notes` of what is as it should be and yet worth a line. Both are texts:
    strings, or values that name options and are spelt for whoever reads them. `renumbered` is that of the notes which
    tells the layers that reindexing moved; None where it moved none.

    `left_out` accounts for the tensors that are in no row; `fault` is set where one of them would be missing. `values`
    are the keys of plain values that filters would keep, `others` maps the key of everything that is no tensor to a
    short description; beyond `MAX_OTHERS` they are not collected.
    """

    rows: list[Row] = field(default_factory=list[Row])
    warnings: list[object] = field(default_factory=list[object])
    notes: list[object] = field(default_factory=list[object])
    renumbered: str | None = None
    others: dict[str, str] = field(default_factory=dict[str, str])
    values: list[str] = field(default_factory=list[str])
    left_out: list[LeftOut] = field(default_factory=list[LeftOut])
    fault: CheckpointError | None = None

    def add_other(self, key: str, description: str) -> None:
        """Note a value that is no tensor."""
        if len(self.others) < MAX_OTHERS:
            self.others[key] = description


def debug_table(report: Report) -> str:
    """Return the table of keys in the form of Burn's `with_debug_print`, sorted by new key.

    A tensor that is left out or cast has one line more, and so has each note.
    """
    lines = ["Debug information of keys and tensor shapes:", "---"]
    for row in sorted(report.rows, key=lambda row: (row.name, row.key)):
        lines.extend([*_row_lines(row), "---"])
    return "\n".join(lines)


def _row_lines(row: Row) -> list[str]:
    if row.key == row.name:
        lines = [f"Key: {printable(row.key)}"]
    else:
        lines = [f"Original Key: {printable(row.key)}", f"Remapped Key: {printable(row.name)}"]
    lines += [f"Shape: {list(row.shape)}", f"Dtype: {printable(_burn_name(row.dtype))}"]
    if not row.kept:
        lines.append("Filtered: left out")
    elif row.new_dtype != row.dtype:
        lines.append(f"Cast: {printable(_burn_name(row.new_dtype))}")
    return [*lines, *(f"Note: {printable(note)}" for note in row.notes)]


def _burn_name(dtype: str) -> str:
    """Return a dtype as Burn prints it: `F32`, `I64`, `Bool`; float8, which Burn has not, as safetensors does."""
    for name, short in _SHORT.items():
        if dtype.startswith(name):
            return short + dtype.removeprefix(name).upper()
    return dtype.capitalize()


_SHORT: Final = {"bfloat": "BF", "float8_": "F8_", "float": "F", "uint": "U", "int": "I", "complex": "C"}
