"""The report of a binding: which keys fit a model and which do not, as values and as one error.

Knows keys and field paths; knows neither how a model is read nor how it is built.
"""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass
from typing import TYPE_CHECKING

from wheelweights.errors import SHOWN_ITEMS, WheelweightsError, backticked, counted, listed
from wheelweights.names import is_number, join, missing_from, pattern, ranges_of, spans, split_at_number

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Sequence

__all__ = ["BindError", "BindReport", "Mismatch", "first", "misfit", "misnumbered", "why_not"]


LIKE = 3  # so many faults that are alike are one line


@dataclass(frozen=True)
class Mismatch:
    """What exists but does not fit: `kind` is "shape", "dtype", "array" (it is none), "variant" or "numbers".

    "numbers" are those of the items of a list, whose name is `key`; `note` says which are missing.
    """

    kind: str
    field: str
    key: str
    expected: object
    found: object
    note: str = ""

    def __str__(self) -> str:
        return f"{self.field}: {self.said()}"

    def said(self, key: str | None = None) -> str:
        """Return what was expected and found, and in which key (or pattern of keys)."""
        what = f"{self.kind} " if self.kind == "dtype" else ""
        where = "" if self.kind == "variant" else f" in {backticked(self.key if key is None else key)}"
        note = f": {self.note}" if self.note else ""
        return f"expected {what}{self.expected}, found {self.found}{where}{note}"


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


def misnumbered(key: str, path: str, numbers: Sequence[str], places: Sequence[int]) -> Mismatch:
    """Return what is wrong with the numbers of a list that has these places for items."""
    found = [int(number) for number in numbers]
    gaps, over = missing_from(found, places), ranges_of([number for number in found if number not in places])
    told, what = (gaps, "missing") if gaps else (over, "left over")
    note = f"{spans(told)} {'is' if sum(map(len, told)) == 1 else 'are'} {what}"
    wanted = spans([places] if isinstance(places, range) else ranges_of(places))
    expected = f"item {wanted}" if len(places) == 1 else f"items {wanted}" if places else "no items"
    return Mismatch("numbers", path, key, expected, spans(ranges_of(found)), note)


def why_not(name: str, report: BindReport) -> str:
    """Return, in one line, why a variant does not fit."""
    faults = [f"missing {listed(report.missing)}"] if report.missing else []
    faults += [f"unexpected {listed(report.unexpected_keys)}"] if report.unexpected_keys else []
    faults += [str(mismatch) for mismatch in report.mismatches[:1]]
    return f"{name}: {', '.join(faults) or 'fits'}"


def misfit(
    report: BindReport,
    subject: str,
    *,
    partial: bool,
    unfillable: bool,
    more: Iterable[str] = (),
    remedy: str | None = None,
) -> BindError:
    """Return the error that tells every fault: like ones of many items in one line, and the first 8 lines of each kind.

    `unfillable` says that the model has no value of its own for a missing key: then `partial` would not help. `more`
    are further lines, and `remedy` is a better one than the faults alone suggest.
    """
    kinds = [f"{mismatch.kind} mismatch" for mismatch in report.mismatches]
    kinds += ["missing key"] * len(report.missing) + ["unexpected key"] * len(report.unexpected_keys)
    details = [*first(_mismatches(report)), *first(_missing(report)), *_unexpected(report), *more]
    counts = ", ".join(counted(count, kind) for kind, count in Counter(kinds).items())
    remedy = remedy or _remedy(report, partial=partial, unfillable=unfillable)
    error = BindError(f"{subject}: {counts}", details=details, remedy=remedy)
    error.report = report
    return error


def _mismatches(report: BindReport) -> Iterator[str]:
    alike: dict[tuple[object, ...], list[Mismatch]] = {}
    for one in report.mismatches:
        alike.setdefault((pattern(one.key), one.kind, str(one.expected), str(one.found)), []).append(one)
    for (shape_of_key, *_), group in alike.items():
        if len(group) < LIKE:
            yield from map(str, group)
        else:
            yield f"{counted(len(group), 'array')} alike: {group[0].said(str(shape_of_key))}"


def _missing(report: BindReport) -> Iterator[str]:
    for items, names in _by_items(report.missing).items():
        keys = [join(item, name) if name else item for item in items for name in names]
        if len(keys) < LIKE or not items[0]:
            yield from (f"{report.missing[key]}: missing {backticked(key)}" for key in keys)
        elif len(items) == 1:
            yield f"{backticked(items[0])}: missing {listed(names)}"
        else:
            numbers = spans(ranges_of(sorted(int(item.rpartition(".")[2]) for item in items)))
            container = items[0].rpartition(".")[0]
            what = f"missing {listed(names)}" if any(names) else "missing"
            yield f"{counted(len(items), 'item')} {backticked(join(container, 'N'))} (N: {numbers}): {what}"


def _by_items(keys: Iterable[str]) -> dict[tuple[str, ...], list[str]]:
    """Return keys as the items of lists with the names that are alike in them, or as modules with the names in them."""
    names_of: dict[str, list[str]] = {}
    for key in keys:
        item, name = split_at_number(key)
        names_of.setdefault(item, []).append(name)
    alike: dict[tuple[str, ...], list[str]] = {}
    for item, names in names_of.items():
        container, _, number = item.rpartition(".")
        of_list = is_number(number)
        alike.setdefault((str(of_list), container if of_list else item, *names), []).append(item)
    return {tuple(items): names for (_, _, *names), items in alike.items()}


def _unexpected(report: BindReport) -> Iterator[str]:
    keys = report.unexpected_keys
    if len(keys) <= SHOWN_ITEMS:
        yield from [f"unexpected: {listed(keys)}"] if keys else []
        return
    patterns = Counter(map(pattern, keys))
    shown = [backticked(one) + (f" ({count:,} times)" if count > 1 else "") for one, count in patterns.items()]
    more = len(shown) - SHOWN_ITEMS
    yield f"unexpected: {', '.join(shown[:SHOWN_ITEMS])}" + (f" and {more:,} more" if more > 0 else "")


def _remedy(report: BindReport, *, partial: bool, unfillable: bool) -> str:
    if {mismatch.kind for mismatch in report.mismatches} == {"numbers"}:
        return (
            "Bind the record that was made for this model: a missing item is a lost layer "
            "(gaps that are meant are closed by reindex at build time)."
        )
    if report.mismatches:
        return "Bind the record that was made for this model, or change what the model declares."
    if partial and not report.bound:
        return "Check the prefix: keys are looked up below it, and bound without it."
    if unfillable:
        return (
            "Rename keys with key-remap at build time, or bind an instance with partial=True to keep the values it has."
        )
    return "Rename keys with key-remap at build time, or pass partial=True to bind only the keys that exist."
