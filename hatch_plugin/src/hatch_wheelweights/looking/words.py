"""How things are said: sizes, dtypes, what is in a file, how two files differ.

Knows sentences; knows no widths and no markup. Names and values come from files, so whatever a terminal could obey is
escaped here. `spelling` says how options are written for the reader.
"""

from __future__ import annotations

import json
import math
from typing import TYPE_CHECKING, Any, Final

from hatch_wheelweights.errors import CheckpointError, message, spelt
from wheelweights.errors import backticked, counted, printable

if TYPE_CHECKING:
    from hatch_wheelweights.errors import Spelling
    from hatch_wheelweights.looking.diff import Difference, Outline, TensorDifference, ValueDifference
    from hatch_wheelweights.looking.inspect import Inspection, TensorFacts
    from wheelweights import Record

__all__ = [
    "contents_line",
    "difference_lines",
    "dtype_text",
    "human_size",
    "json_lines",
    "kind_line",
    "note",
    "problem_text",
    "shortened",
    "size_text",
    "sound_line",
    "value_text",
]

MAX_VALUE_CHARACTERS: Final = 200


def human_size(size: int) -> str:
    """Return a number of bytes with three digits or more: `288 B`, `45.1 kB`, `1.34 GB`."""
    amount = float(size)
    for unit in ("B", "kB", "MB", "GB"):
        if amount < 999.5:
            return f"{size} B" if unit == "B" else f"{amount:#.3g} {unit}".replace(". ", " ")
        amount /= 1000
    return f"{amount:,.2f} TB"


def value_text(value: Any) -> str:
    """Return a plain value on one line: text as it is, anything else as JSON."""
    return printable(value if isinstance(value, str) else json.dumps(value, ensure_ascii=False))


def shortened(text: str) -> str:
    """Return a text cut at 200 characters."""
    return text if len(text) <= MAX_VALUE_CHARACTERS else f"{text[: MAX_VALUE_CHARACTERS - 3]}..."


def json_lines(value: Any) -> list[str]:
    """Return the lines of a plain value as indented JSON."""
    return [printable(line) for line in json.dumps(value, indent=2, ensure_ascii=False).splitlines()]


# What is in a file


def kind_line(inspection: Inspection) -> str:
    """Return what a file is, and its size."""
    return f"{inspection.kind}, {human_size(inspection.size)}"


def contents_line(inspection: Inspection) -> str | None:
    """Return how much a file holds; None for a checkpoint whose root is not a state_dict."""
    if inspection.records:
        return counted(len(inspection.records), "record")
    if inspection.problem is not None:
        return None
    held = counted(len(inspection.kept), "tensor")
    left_out = len(inspection.tensors) - len(inspection.kept)
    more = f"; {counted(left_out, 'tensor')} left out" if left_out else ""
    return f"{held}, {counted(inspection.values, 'value')}, {human_size(inspection.nbytes)}{more}"


def problem_text(problem: CheckpointError, spelling: Spelling) -> str:
    """Return the message of what is wrong with a root, without the path: that is shown above it."""
    return message(CheckpointError(problem.fact, details=problem.details, remedy=problem.remedy), spelling)


def note(tensor: TensorFacts, spelling: Spelling) -> str:
    """Return what is particular about a tensor."""
    tied = [f"tied to {tensor.tied_to}"] if tensor.tied_to is not None else []
    fault = [f"cannot be read: {spelt(tensor.fault, spelling)}"] if tensor.fault is not None else []
    left_out = [] if tensor.kept else ["left out"]
    notes = [spelt(one, spelling) for one in tensor.notes]
    return "; ".join(map(printable, [*left_out, *tied, *fault, *notes]))


def dtype_text(tensor: TensorFacts) -> str:
    """Return a tensor's dtype, and the one that it would be cast to."""
    cast = f" -> {tensor.new_dtype}" if tensor.new_dtype != tensor.dtype else ""
    return printable(tensor.dtype) + cast


def size_text(nbytes: int | None) -> str:
    """Return the size of a tensor, if it is known."""
    return "?" if nbytes is None else human_size(nbytes)


def sound_line(record: Record) -> str:
    """Return the line for a record of which every byte was checked."""
    nbytes = sum(record.info(key).nbytes for key in record)
    checked = "sound" if record.format != "burn" else "well-formed (Burn's records have no checksums)"
    return f"{printable(record.path)}: {checked}, {counted(len(record), 'tensor')}, {nbytes:,} bytes"


# How two files differ


def difference_lines(difference: Difference, spelling: Spelling) -> list[str]:
    """Return a line for each difference, and one that counts them."""
    lines: list[str] = []
    for path, only in zip(difference.paths, difference.only, strict=True):
        lines += [f"only in {path}: {backticked(key)}: {_outlined(outline)}" for key, outline in only.items()]
    differing = [tensor for tensor in difference.both if not tensor.equal]
    lines += [f"{backticked(tensor.key)}: {_differences(tensor, spelling)}" for tensor in differing]
    return [printable(line) for line in (*lines, _summary(difference))]


def _outlined(outline: Outline) -> str:
    return f"{_dtype_name(outline.dtype)} {outline.shape}"


def _dtype_name(dtype: str) -> str:
    """Return a dtype, which in a damaged file can be any text, cut at 80 characters."""
    return backticked(dtype)[1:-1]


def _differences(tensor: TensorDifference, spelling: Spelling) -> str:
    left, right = tensor.sides
    found: list[str] = []
    if left.shape != right.shape:
        found.append(f"shape {left.shape} / {right.shape}")
    if left.dtype != right.dtype:
        found.append(f"dtype {_dtype_name(left.dtype)} / {_dtype_name(right.dtype)}")
    if tensor.fault is not None:
        found.append(f"cannot be compared: {spelt(tensor.fault, spelling)}")
    if tensor.values is not None:
        found.append(_value_differences(tensor.values))
    return "; ".join(found)


def _value_differences(values: ValueDifference) -> str:
    if not values.differing:
        return "equal values"
    largest = f"{values.largest:,}" if isinstance(values.largest, int) else f"{values.largest:.3g}"
    words = f"{values.differing:,} of {values.elements:,} values differ"
    if values.differing > values.nan_in_one:
        words += f", by at most {largest}"
    return words + (f", {values.nan_in_one:,} NaN on one side only" if values.nan_in_one else "")


def _summary(difference: Difference) -> str:
    equal = [tensor for tensor in difference.both if tensor.equal]
    elements = sum(math.prod(tensor.sides[0].shape) for tensor in equal)
    nans = sum(tensor.values.nan_in_both for tensor in equal if tensor.values)
    in_nans = f", {nans:,} of them NaN in both" if nans else ""
    words = [f"equal: {counted(len(equal), 'tensor')}, {counted(elements, 'value')}{in_nans}"]
    if differing := len(difference.both) - len(equal):
        words.append(f"different: {differing:,}")
    sides = zip(difference.paths, difference.only, strict=True)
    return "; ".join([*words, *(f"only in {path}: {len(only):,}" for path, only in sides if only)])
