"""How it is said that two files differ: what they share, the rules of their names, by module, and the worst tensors.

Knows sentences and columns; knows no markup. Names and values come from files, so whatever a terminal could obey is
escaped here. `spelling` says how options are written for the reader.
"""

from __future__ import annotations

import math
import re
from collections import Counter
from typing import TYPE_CHECKING, Final

from hatch_wheelweights.errors import spelt
from hatch_wheelweights.looking.difference.modules import modules_of, worst_first, worst_modules
from hatch_wheelweights.looking.difference.values import ValueDifference
from hatch_wheelweights.looking.texts import dtype_name, shape_text, shortened
from hatch_wheelweights.looking.words import part_text
from wheelweights.errors import backticked, counted, listed, printable

if TYPE_CHECKING:
    from collections.abc import Hashable, Iterator, Sequence

    from hatch_wheelweights.errors import Spelling
    from hatch_wheelweights.looking.difference.facts import Comparison, Form, TensorDifference
    from hatch_wheelweights.looking.difference.modules import ModuleDifference
    from hatch_wheelweights.looking.difference.renames import Rename

__all__ = [
    "cosine_text",
    "difference_lines",
    "differences_text",
    "form_lines",
    "form_text",
    "largest_text",
    "module_row",
    "name_lines",
    "named",
    "note_lines",
    "relative_text",
    "renames_text",
    "summary",
]

SHOWN: Final = 20  # of each list
TABLE_FROM: Final = 6  # tensors that differ; fewer are seen at once without a table
WIDEST: Final = 60  # characters that a column is padded to

_NUMBER: Final = re.compile(r"(?<![^.])[0-9]{1,18}(?![^.])")  # of a layer, in a pattern


def difference_lines(comparison: Comparison, spelling: Spelling) -> list[str]:
    """Return what there is to say, the summary first; of long lists the first 20, and how many more there are."""
    lines = [summary(comparison), *note_lines(comparison, spelling), *name_lines(comparison), *form_lines(comparison)]
    worst = worst_first(comparison.differing)
    if len(worst) + sum(map(len, comparison.only)) >= TABLE_FROM:
        lines += _module_lines(comparison)
    lines += _cut([f"{named(tensor)}: {differences_text(tensor, spelling)}" for tensor in worst], "different")
    for path, only in zip(comparison.paths, comparison.only, strict=True):
        told = [f"only in {path}: {backticked(key)}: {form_text(form)}" for key, form in only.items()]
        lines += _cut(told, f"only in {path}")
    return [printable(line) for line in lines]


def _cut(lines: Sequence[str], what: str) -> list[str]:
    more = len(lines) - SHOWN
    return [*lines[:SHOWN], *([f"and {more:,} more {what}"] if more > 0 else [])]


# The two files as a whole


def summary(comparison: Comparison) -> str:
    """Return one line that counts every tensor of both files once, renamed ones besides."""
    counts = comparison.counts
    renamed = sum(tensor.renamed for tensor in comparison.both)
    equal = [tensor for tensor in comparison.both if tensor.state == "equal"]
    only_names = renamed and comparison.equal_but_for_names
    words = [f"equal{' but for the names' if only_names else ''}: {_amount(equal)}"]
    if counts["within"]:
        words.append(f"within the tolerances: {counts['within']:,} ({_at_most(comparison)})")
    if counts["different"]:
        words.append(f"different: {counts['different']:,}")
    if renamed:
        words.append(f"renamed: {renamed:,}")
    sides = zip(comparison.paths, comparison.only, strict=True)
    return printable("; ".join([*words, *(f"only in {path}: {len(only):,}" for path, only in sides if only)]))


def _amount(tensors: Sequence[TensorDifference]) -> str:
    elements = sum(math.prod(tensor.forms[0].shape) for tensor in tensors)
    nans = sum(tensor.values.nan_in_both for tensor in tensors if tensor.values)
    in_nans = f", {nans:,} of them NaN in both" if nans else ""
    return f"{counted(len(tensors), 'tensor')}, {counted(elements, 'value')}{in_nans}"


def _at_most(comparison: Comparison) -> str:
    """Return how far apart the values are that the tolerances allow."""
    values = ValueDifference()
    for tensor in comparison.both:
        if tensor.state == "within" and tensor.values is not None:
            values = values.plus(tensor.values)
    return f"by at most {largest_text(values)}, relative {relative_text(values)}" if values.unequal else "equal values"


def note_lines(comparison: Comparison, spelling: Spelling) -> list[str]:
    """Return what is particular about each file."""
    parts = zip(comparison.paths, comparison.part_of, strict=True)
    lines = [f"{path}: {part_text(part)}" for path, part in parts if part is not None]
    lines += [f"{path}: {spelt(note, spelling)}" for path, note in comparison.notes]
    return [printable(line) for line in dict.fromkeys(lines)]


def form_lines(comparison: Comparison) -> list[str]:
    """Return how many tensors have another dtype, for each pair of dtypes that several have."""
    pairs = Counter(tuple(form.dtype for form in tensor.forms) for tensor in comparison.both)
    left, right = comparison.paths
    return [
        printable(f"{counted(count, 'tensor')}: {dtype_name(ours)} in {left} is {dtype_name(theirs)} in {right}")
        for (ours, theirs), count in pairs.most_common(SHOWN)
        if ours != theirs and count > 1
    ]


# Names


def name_lines(comparison: Comparison) -> list[str]:
    """Return the rules by which tensors have another key, the tensors that no rule tells, and those left unpaired."""
    pairs = comparison.pairs
    lines = _cut([renames_text(run, comparison.paths) for run in _runs(pairs.rules)], "rules")
    if pairs.by_names:
        lines.append("paired by names and shapes alone: no content is equal")
    single = [tensor for tensor in comparison.both if tensor.key in pairs.single]
    lines += _cut([f"renamed: {named(tensor)}" for tensor in single], "renamed")
    undecided = [
        f"equal contents, left unpaired: {listed(ours)} in {comparison.paths[0]}, "
        f"{listed(theirs)} in {comparison.paths[1]}"
        for ours, theirs in pairs.undecided
    ]
    return [printable(line) for line in [*lines, *_cut(undecided, "such contents")]]


def _runs(rules: Sequence[Rename]) -> list[list[Rename]]:
    """Return the rules, those together that move layers which follow each other by the same number of places."""
    alike: dict[Hashable, list[tuple[int, Rename]]] = {}
    for rule in rules:
        old, new = (_NUMBER.findall(pattern) for pattern in rule.patterns)
        is_move = len(old) == len(new) == 1
        shape = tuple(tuple(_NUMBER.split(pattern)) for pattern in rule.patterns)
        kind = (*shape, int(new[0]) - int(old[0])) if is_move else rule.patterns
        alike.setdefault(kind, []).append((int(old[0]) if is_move else 0, rule))
    found: list[list[Rename]] = []
    for moved in alike.values():
        numbers = sorted(moved, key=lambda one: one[0])
        for i, (number, rule) in enumerate(numbers):
            if i and number == numbers[i - 1][0] + 1:
                found[-1].append(rule)
            else:
                found.append([rule])
    return sorted(found, key=lambda run: -sum(rule.keys for rule in run))


def renames_text(rules: Sequence[Rename], paths: tuple[str, str]) -> str:
    """Return rules that go together in words: how many keys they are for, and what those are called in both files."""
    first, last = ([backticked(pattern) for pattern in rule.patterns] for rule in (rules[0], rules[-1]))
    keys = counted(sum(rule.keys for rule in rules), "key")
    if len(rules) == 1:
        return f"{keys}: {first[0]} in {paths[0]} is {first[1]} in {paths[1]}"
    return f"{keys}: {first[0]} to {last[0]} in {paths[0]} are {first[1]} to {last[1]} in {paths[1]}"


def named(tensor: TensorDifference) -> str:
    """Return the key of a tensor, or both of its keys."""
    return f"{backticked(tensor.key)} -> {backticked(tensor.new_key)}" if tensor.renamed else backticked(tensor.key)


# Tensors


def form_text(form: Form) -> str:
    """Return dtype and shape."""
    return f"{dtype_name(form.dtype)} {shape_text(form.shape)}"


def differences_text(tensor: TensorDifference, spelling: Spelling) -> str:
    """Return how a tensor that is in both files differs, apart from its name."""
    left, right = tensor.forms
    found: list[str] = []
    if left.shape != right.shape:
        found.append(f"shape {shape_text(left.shape)} / {shape_text(right.shape)}")
    if left.dtype != right.dtype:
        found.append(f"dtype {dtype_name(left.dtype)} / {dtype_name(right.dtype)}")
    if tensor.fault is not None:
        found.append(f"cannot be compared: {printable(spelt(tensor.fault, spelling))}")
    if tensor.values is not None:
        found.append(_value_differences(tensor.values))
    return "; ".join(found)


def _value_differences(values: ValueDifference) -> str:
    if not values.unequal:
        return "equal values"
    told = f"{values.unequal:,} of {values.elements:,} values differ"
    if values.unequal > values.nan_in_one:
        told += f", by at most {largest_text(values)} (relative {relative_text(values)})"
    told += f", {values.nan_in_one:,} NaN on one side only" if values.nan_in_one else ""
    told += f", cosine {cosine_text(values)}" if values.cosine is not None else ""
    if values.differing == values.unequal:
        return told
    return f"{told}; " + (
        f"{values.differing:,} beyond the tolerances" if values.differing else "within the tolerances"
    )


def largest_text(values: ValueDifference) -> str:
    """Return the largest absolute difference, of integers with all digits."""
    return f"{values.largest:,}" if isinstance(values.largest, int) else f"{values.largest:.3g}"


def relative_text(values: ValueDifference) -> str:
    """Return the largest relative difference with three digits."""
    return f"{values.largest_relative:.3g}"


def cosine_text(values: ValueDifference) -> str:
    """Return the cosine with six digits, never rounded to 1: that is for equal values alone."""
    if values.cosine is None:
        return "-"
    return f"{values.cosine if not values.unequal else min(values.cosine, 0.999999):.6f}".replace("1.000000", "1")


# Modules


def module_text(module: ModuleDifference) -> str:
    """Return the key of a module."""
    return printable(shortened(module.name)) or "(the root)"


def _module_lines(comparison: Comparison) -> Iterator[str]:
    found = modules_of(comparison)
    shown = worst_modules(found)
    if len(shown) < 2:  # one says no more than the summary
        return
    rows = [("module", "tensors", "different", "largest", "relative", "cosine"), *map(module_row, shown)]
    widths = [min(max(map(len, column)), WIDEST) for column in zip(*rows, strict=True)]
    for name, *figures in rows:
        cells = [figure.rjust(width) for figure, width in zip(figures, widths[1:], strict=True)]
        yield "  ".join([name.ljust(widths[0]), *cells])
    if more := sum(module.differing > 0 for module in found) - len(shown):
        yield f"and {counted(more, 'more module')}, which differ less"


def module_row(module: ModuleDifference) -> tuple[str, str, str, str, str, str]:
    """Return the cells of a module: name, tensors, how many are different, and what is largest, as text.

    Where NaN is on one side only, nothing is larger.
    """
    values, total = module.values, len(module.both) + sum(module.only)
    largest = "NaN" if values.nan_in_one else largest_text(values)
    figures = ("-",) * 3 if not values.elements else (largest, relative_text(values), cosine_text(values))
    return module_text(module), f"{total:,}", f"{module.differing:,}", figures[0], figures[1], figures[2]
