"""The report of a binding: which keys fit a model and which do not, as values and as one error.

Knows keys and field paths; knows neither how a model is read nor how it is built.
"""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass
from typing import TYPE_CHECKING

from wheelweights.errors import SHOWN_ITEMS, WheelweightsError, backticked, counted, listed

if TYPE_CHECKING:
    from collections.abc import Iterable

__all__ = ["BindError", "BindReport", "Mismatch", "first", "misfit", "why_not"]


@dataclass(frozen=True)
class Mismatch:
    """A key that exists but does not fit: `kind` is "shape", "dtype", "array" (it is none) or "variant"."""

    kind: str
    field: str
    key: str
    expected: object
    found: object

    def __str__(self) -> str:
        what = f"{self.kind} " if self.kind == "dtype" else ""
        where = "" if self.kind == "variant" else f" in {backticked(self.key)}"
        return f"{self.field}: expected {what}{self.expected}, found {self.found}{where}"


@dataclass(frozen=True)
class BindReport:
    """Which keys bind and which do not: `bound` and `missing` map keys to field paths (`Net.encoder[2].conv.weight`).

    Keys are the record's, prefix included. Keys outside the prefix are in no list.
    """

    bound: dict[str, str]
    missing: dict[str, str]
    unexpected_keys: list[str]
    mismatches: list[Mismatch]

    @property
    def missing_keys(self) -> list[str]:
        """Keys that the model has and the record lacks."""
        return list(self.missing)

    @property
    def fits(self) -> bool:
        """Whether the model and the record have the same keys, and shapes and dtypes agree."""
        return not (self.missing or self.unexpected_keys or self.mismatches)


class BindError(WheelweightsError, ValueError):
    """A record does not fit a model; `report` lists every fault, or is None if the model itself is at fault."""

    report: BindReport | None = None


def first(lines: Iterable[str]) -> list[str]:
    """Return the first 8 lines and, as one line more, how many are left out."""
    every = list(lines)
    more = len(every) - SHOWN_ITEMS
    return [*every[:SHOWN_ITEMS], f"and {more:,} more"] if more > 0 else every


def why_not(name: str, report: BindReport) -> str:
    """Return, in one line, why a variant does not fit."""
    faults = [f"missing {listed(report.missing)}"] if report.missing else []
    faults += [f"unexpected {listed(report.unexpected_keys)}"] if report.unexpected_keys else []
    faults += [str(mismatch) for mismatch in report.mismatches[:1]]
    return f"{name}: {', '.join(faults) or 'fits'}"


def misfit(report: BindReport, subject: str, *, partial: bool, unfillable: bool) -> BindError:
    """Return the error that lists every fault.

    `unfillable` says that the model has no value of its own for a missing key: then `partial` would not help.
    """
    kinds = [f"{mismatch.kind} mismatch" for mismatch in report.mismatches]
    kinds += ["missing key"] * len(report.missing) + ["unexpected key"] * len(report.unexpected_keys)
    details = first(str(mismatch) for mismatch in report.mismatches)
    details += first(f"{where}: missing {backticked(key)}" for key, where in report.missing.items())
    details += [f"unexpected: {listed(report.unexpected_keys)}"] if report.unexpected_keys else []
    counts = ", ".join(counted(count, kind) for kind, count in Counter(kinds).items())
    remedy = _remedy(report, partial=partial, unfillable=unfillable)
    error = BindError(f"{subject}: {counts}", details=details, remedy=remedy)
    error.report = report
    return error


def _remedy(report: BindReport, *, partial: bool, unfillable: bool) -> str:
    if report.mismatches:
        return "Bind the record that was made for this model, or change what the model declares."
    if partial and not report.bound:
        return "Check the prefix: keys are looked up below it, and bound without it."
    if unfillable:
        return (
            "Rename keys with key-remap at build time, or bind an instance with partial=True to keep the values it has."
        )
    return "Rename keys with key-remap at build time, or pass partial=True to bind only the keys that exist."
