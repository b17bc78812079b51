"""How things are said: what is in a file, how two files differ, what was checked.

Knows sentences; knows no widths and no markup. Names and values come from files, so whatever a terminal could obey is
escaped here. `spelling` says how options are written for the reader.
"""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Final

from hatch_wheelweights.errors import CheckpointError, message, spelt
from hatch_wheelweights.looking.texts import dtype_name, human_size, shape_text, shortened
from wheelweights.errors import backticked, counted, printable

if TYPE_CHECKING:
    from collections.abc import Sequence

    from hatch_wheelweights.errors import Spelling
    from hatch_wheelweights.looking.diff import Difference, Outline, TensorDifference, ValueDifference
    from hatch_wheelweights.looking.inspect import Inspection, TensorFacts
    from hatch_wheelweights.looking.verify import Verdict

__all__ = [
    "SHOWN_RECORDS",
    "contents_line",
    "difference_lines",
    "dtype_text",
    "kind_line",
    "note",
    "part_text",
    "problem_text",
    "sound_line",
    "unshown_line",
]

SHOWN_RECORDS: Final = 100  # of a wheel
SHOWN_PARTS: Final = 10  # of a record whose tensors are in distributions of their own


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
    if inspection.parts:
        total = sum(part.count for part in inspection.parts)
        return f"its {counted(total, 'tensor')}: in {_distributions([part.requirement for part in inspection.parts])}"
    held = counted(len(inspection.kept), "tensor")
    left_out = len(inspection.tensors) - len(inspection.kept)
    more = f"; {counted(left_out, 'tensor')} left out" if left_out else ""
    part = f"; {part_text(inspection.part_of)}" if inspection.part_of else ""
    return f"{held}, {counted(inspection.values, 'value')}, {human_size(inspection.nbytes)}{more}{part}"


def part_text(distribution: str) -> str:
    """Return what a part of a record is."""
    return f"a part of a record, in the distribution {printable(shortened(distribution))}"


def _distributions(requirements: Sequence[str]) -> str:
    shown = ", ".join(requirements[:SHOWN_PARTS])
    more = f" and {len(requirements) - SHOWN_PARTS:,} more" if len(requirements) > SHOWN_PARTS else ""
    return f"the distribution{'' if len(requirements) == 1 else 's'} {shown}{more}"


def problem_text(problem: CheckpointError, spelling: Spelling) -> str:
    """Return the message of what is wrong with a root, without the path: that is shown above it."""
    said = message(CheckpointError(problem.fact, details=problem.details, remedy=problem.remedy), spelling)
    return "\n".join(map(printable, said.split("\n")))


def note(tensor: TensorFacts, spelling: Spelling) -> str:
    """Return what is particular about a tensor."""
    tied = [f"tied to {shortened(tensor.tied_to)}"] if tensor.tied_to is not None else []
    fault = [f"cannot be read: {spelt(tensor.fault, spelling)}"] if tensor.fault is not None else []
    left_out = [] if tensor.kept else ["left out"]
    notes = [spelt(one, spelling) for one in tensor.notes]
    return "; ".join(map(printable, [*left_out, *tied, *fault, *notes]))


def dtype_text(tensor: TensorFacts) -> str:
    """Return a tensor's dtype, and the one that it would be cast to."""
    cast = f" -> {dtype_name(tensor.new_dtype)}" if tensor.new_dtype != tensor.dtype else ""
    return dtype_name(tensor.dtype) + cast


def unshown_line(inspection: Inspection) -> str | None:
    """Return how many records of a wheel are not shown, and how to see one; None if all are."""
    unshown = inspection.records[SHOWN_RECORDS:]
    if not unshown:
        return None
    return f"and {counted(len(unshown), 'more record')}; name one to see it, such as {printable(unshown[0].path)}"


def sound_line(verdict: Verdict) -> str:
    """Return the line for a record or a wheel of which every byte was checked."""
    checked = "sound" if verdict.kind != "burn-record" else "well-formed (Burn's records have no checksums)"
    held = counted(verdict.count, "file" if verdict.kind == "wheel" else "tensor")
    if verdict.kind == "record-index":
        return f"{printable(verdict.path)}: {checked}, its {held}: in {_distributions(verdict.parts)}"
    parts = f", in {_distributions(verdict.parts)}" if verdict.parts else ""
    part = f"; {part_text(verdict.part_of)}" if verdict.part_of else ""
    return f"{printable(verdict.path)}: {checked}, {held}, {verdict.nbytes:,} bytes{parts}{part}"


# How two files differ


def difference_lines(difference: Difference, spelling: Spelling) -> list[str]:
    """Return a line for each difference, and one that counts them."""
    pairs = zip(difference.paths, difference.part_of, strict=True)
    lines = [f"{path}: {part_text(part)}" for path, part in pairs if part is not None]
    for path, only in zip(difference.paths, difference.only, strict=True):
        lines += [f"only in {path}: {backticked(key)}: {_outlined(outline)}" for key, outline in only.items()]
    differing = [tensor for tensor in difference.both if not tensor.equal]
    lines += [f"{backticked(tensor.key)}: {_differences(tensor, spelling)}" for tensor in differing]
    return [printable(line) for line in (*lines, _summary(difference))]


def _outlined(outline: Outline) -> str:
    return f"{dtype_name(outline.dtype)} {shape_text(outline.shape)}"


def _differences(tensor: TensorDifference, spelling: Spelling) -> str:
    left, right = tensor.sides
    found: list[str] = []
    if left.shape != right.shape:
        found.append(f"shape {shape_text(left.shape)} / {shape_text(right.shape)}")
    if left.dtype != right.dtype:
        found.append(f"dtype {dtype_name(left.dtype)} / {dtype_name(right.dtype)}")
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
