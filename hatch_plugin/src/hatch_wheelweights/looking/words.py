"""How things are said: what is in a file, what was checked.

Knows sentences; knows no widths and no markup. Names and values come from files, so whatever a terminal could obey is
escaped here. `spelling` says how options are written for the reader.
"""

from __future__ import annotations

from itertools import islice
from typing import TYPE_CHECKING, Final

from hatch_wheelweights.errors import CheckpointError, message, spelt
from hatch_wheelweights.looking.texts import dtype_name, human_count, human_size, shortened
from wheelweights.errors import backticked, counted, printable

if TYPE_CHECKING:
    from collections.abc import Sequence

    from hatch_wheelweights.errors import Spelling
    from hatch_wheelweights.looking.inspection.facts import FileFacts
    from hatch_wheelweights.looking.inspection.tensors import TensorFacts, Totals
    from hatch_wheelweights.looking.verify import Verdict

__all__ = [
    "SHOWN_RECORDS",
    "contents_lines",
    "dtype_text",
    "kind_line",
    "many",
    "note",
    "part_text",
    "problem_text",
    "sound_line",
    "totals_text",
    "unread_lines",
    "unshown_line",
]

SHOWN_RECORDS: Final = 100  # of a wheel
SHOWN_DTYPES: Final = 8
SHOWN_UNREAD: Final = 3  # tensors
SHOWN_PARTS: Final = 10  # of a record whose tensors are in distributions of their own


# What is in a file


def kind_line(facts: FileFacts) -> str:
    """Return what a file is, and its size."""
    return f"{facts.kind}, {human_size(facts.size)}"


def contents_lines(facts: FileFacts) -> list[str]:
    """Return how much a file holds, and of which dtypes; nothing where nobody knows which part is the state_dict."""
    if facts.records:
        return [counted(len(facts.records), "record")]
    if facts.is_undecided:
        return []
    if facts.parts:
        total = sum(part.count for part in facts.parts)
        return [f"its {counted(total, 'tensor')}: in {_distributions([part.requirement for part in facts.parts])}"]
    kept = len(facts.kept)
    found = counted(kept, "tensor") if facts.find is None else f"{kept:,} of {counted(facts.total, 'tensor')}"
    left_out = len(facts.tensors) - kept
    more = f"; {counted(left_out, 'tensor')} left out" if left_out else ""
    part = f"; {part_text(facts.part_of)}" if facts.part_of else ""
    return [f"{found}, {totals_text(facts.totals)}{more}{part}", *_dtypes_line(facts)]


def totals_text(totals: Totals) -> str:
    """Return how many parameters and other values there are, and their bytes."""
    others = totals.values - totals.parameters
    more = f", {many(others, 'other value')}" if others else ""
    return f"{many(totals.parameters, 'parameter')}{more}, {human_size(totals.nbytes)}"


def many(number: int, noun: str) -> str:
    """Return a number with three digits and what is counted: `25.6M values`."""
    return f"{human_count(number)} {noun}{'' if number == 1 else 's'}"


def _dtypes_line(facts: FileFacts) -> list[str]:
    """Return a line with what there is of each dtype, if there are several."""
    dtypes = facts.dtypes
    shown = [f"{dtype_name(dtype)} {_held(totals)}" for dtype, totals in islice(dtypes.items(), SHOWN_DTYPES)]
    more = [f"and {len(dtypes) - SHOWN_DTYPES:,} more dtypes"] if len(dtypes) > SHOWN_DTYPES else []
    return ["; ".join([*shown, *more])] if len(dtypes) > 1 else []


def _held(totals: Totals) -> str:
    if not totals.values:  # they are empty, or cannot be read
        return counted(totals.tensors, "tensor")
    return f"{many(totals.values, 'value')}, {human_size(totals.nbytes)}"


def unread_lines(facts: FileFacts, spelling: Spelling) -> list[str]:
    """Return a line with the first of the tensors that cannot be read, if there are any."""
    unread = [tensor for tensor in facts.looked_at if tensor.kept and tensor.fault is not None]
    shown = [f"{backticked(tensor.key)} {spelt(tensor.fault, spelling)}" for tensor in unread[:SHOWN_UNREAD]]
    more = [f"and {len(unread) - SHOWN_UNREAD:,} more"] if len(unread) > SHOWN_UNREAD else []
    said = printable("; ".join([*shown, *more]))
    return [f"{counted(len(unread), 'tensor')} cannot be read: {said}"] if unread else []


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


def unshown_line(facts: FileFacts) -> str | None:
    """Return how many records of a wheel are not shown, and how to see one; None if all are."""
    unshown = facts.records[SHOWN_RECORDS:]
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
