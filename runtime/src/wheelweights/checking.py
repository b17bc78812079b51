"""The forward pass against torch's: outputs of a bound model compared with those that lie beside its record.

Nothing is intercepted and no graph is needed: the model is called with the inputs that torch was given, then each part
with the inputs that it had in torch. So a part that differs is itself at fault, whatever came before it.
"""

from __future__ import annotations

import dataclasses
import math
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final

import numpy as np

from wheelweights.annotations import has_arrays, is_module
from wheelweights.dtypes import DTYPES
from wheelweights.errors import (
    SHOWN_ITEMS,
    MissingRecordError,
    RecordError,
    WheelweightsError,
    backticked,
    counted,
    listed,
    printable,
)
from wheelweights.golden import MODEL, Name, arguments, by_part, golden_path, leaves, names_fault
from wheelweights.keys import Keys
from wheelweights.names import in_order, join
from wheelweights.plain import is_dict, is_sequence
from wheelweights.record import Record

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping

    from numpy.typing import NDArray

__all__ = ["CheckError", "CheckReport", "Comparison", "check"]

RTOL: Final = 1e-4  # of an output's largest magnitude: float32 sums in another order
RTOL_16_BITS: Final = 1e-2  # where a weight has 16 bits or fewer
SHOWN_OF_AN_ERROR: Final = 300  # characters


@dataclass(frozen=True)
class Comparison:
    """One output against torch's.

    `part` is the part's name, empty for the whole model; `output` is "output", or "output.0" where there are several.
    `absolute` is the largest difference, `relative` the same in units of the largest magnitude that torch's output has,
    `allowed` the largest absolute difference that is tolerated; they are NaN where there is nothing to compare. `kind`
    says how it ended: "fits", "part" (the model has none of that name, or one that cannot be called), "raised",
    "outputs" (others than torch's), "shape", "nan" (not where torch has it), or "differs". `fault` says it in words;
    None where the output is torch's.
    """

    part: str
    output: str
    absolute: float = math.nan
    relative: float = math.nan
    allowed: float = math.nan
    kind: str = "fits"
    fault: str | None = None


@dataclass(frozen=True, repr=False)
class CheckReport:
    """How far every output is from torch's: the parts in the order of the golden record, then the whole model."""

    comparisons: tuple[Comparison, ...]

    @property
    def faults(self) -> tuple[Comparison, ...]:
        """The outputs that are not torch's, within the tolerance."""
        return tuple(one for one in self.comparisons if one.fault is not None)

    @property
    def fits(self) -> bool:
        """Whether every output is torch's, within the tolerance."""
        return not self.faults

    def __repr__(self) -> str:
        count, wrong = counted(len(self.comparisons), "output"), len(self.faults)
        head = f"CheckReport: {f'{wrong:,} of {count} not' if wrong else count} as torch computed {_it(self)}"
        rows: list[tuple[str, ...]] = [("part", "output", "absolute", "relative", "allowed", "")]
        for one in self.comparisons:
            numbers = (f"{number:.1e}" for number in (one.absolute, one.relative, one.allowed))
            rows.append((one.part or "(model)", one.output, *numbers, one.kind))
        widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
        return "\n".join([head, *(_row(row, widths) for row in rows)])


class CheckError(WheelweightsError, ValueError):
    """A model does not compute what torch computed; `report` has every output, or is None where none was compared."""

    report: CheckReport | None = None


def check(
    net: Callable[..., Any], record: Record, *, rtol: float | None = None, atol: float | None = None
) -> CheckReport:
    """Call a bound model and its parts with the inputs beside its record; compare the outputs with torch's.

    The inputs and outputs are in the golden record (`model.golden.mpk` beside `model.mpk`), which the build makes where
    `golden` is set. An output is torch's if `|found - expected| <= atol + rtol * max(|expected|)` for every element.
    By default `rtol` is 1e-4, or 1e-2 for a part one of whose weights has 16 bits or fewer, and `atol` is 0; if one of
    them is given, the other is 0 unless it is given as well. Integers and bools must be equal unless a tolerance is
    given. NaN and infinity are to be where torch has them. Dtypes are not compared, only values.

    Returns the report. Raises CheckError, whose `report` has all outputs, for the first part (in the order of the file)
    that differs from torch, raises or is not there, else for the whole model; and where no golden record is beside the
    record, or that of other tensors. Raises RecordError for a golden record that is damaged.
    """
    golden = _golden(net, record)
    tolerances = _Tolerances(record, rtol, atol)
    parts, keys = by_part(golden), Keys(record)
    ordered = [*(part for part in parts if part != MODEL), MODEL]
    comparisons = [one for part in ordered for one in _compared(net, part, parts[part], keys, tolerances)]
    report = CheckReport(tuple(comparisons))
    if not report.fits:
        raise _differs(report, record.path)
    return report


# The golden record


def _golden(net: object, record: object) -> Record:
    """Return the golden record of a record, checked to be that."""
    if not isinstance(record, Record):
        fact = f"expected a record that was loaded or opened, found {backticked(type(record).__name__)}"
        raise CheckError(fact, remedy="Pass the record that the model was bound to.")
    if not callable(net) or isinstance(net, type):
        raise CheckError(
            f"expected a model that can be called, found {_described(net)}",
            path=record.path,
            remedy="Pass what `bind` returned; its class needs a `__call__`.",
        )
    try:
        golden = record.beside(golden_path)
    except MissingRecordError as error:
        raise _no_golden(record) from error
    if fault := names_fault(golden):
        raise RecordError(fault, path=golden.path, remedy="Build it again.")
    made_for = golden.metadata.get("golden")
    if not is_dict(made_for) or made_for.get("tensors") != record.tensors_digest:
        raise CheckError(
            f"expected the outputs of the model in {backticked(record.path)}, found those of other weights",
            path=golden.path,
            details=["The two were not made by one conversion."],
            remedy="Build them again, together; make the file of `golden` again when the weights have changed.",
        )
    return golden


def _described(value: object) -> str:
    return f"the class {backticked(value.__name__)}" if isinstance(value, type) else backticked(type(value).__name__)


def _no_golden(record: Record) -> CheckError:
    return CheckError(
        "no golden outputs beside this record",
        path=record.path,
        details=[
            "In torch: hatch_wheelweights.golden(model, *inputs, path='weights/golden.npz', modules=['encoder'])",
            'In the record\'s table in pyproject.toml: golden = "weights/golden.npz"',
        ],
        remedy="Make them in torch, name them where the record is built, and build it again.",
    )


# One part


class _Tolerances:
    """How far the outputs of each part may be from torch's."""

    def __init__(self, record: Record, rtol: float | None, atol: float | None) -> None:
        self._given = None if rtol is None and atol is None else (rtol or 0.0, atol or 0.0)
        self._short = [key for key in record if _is_short(record.info(key).dtype)]

    def of(self, part: str, expected: NDArray[Any], magnitude: float) -> float:
        """Return the largest absolute difference that is allowed."""
        if self._given is not None:
            rtol, atol = self._given
            return atol + rtol * magnitude
        if expected.dtype.kind in "biu":
            return 0.0
        short = any(part == MODEL or key.startswith(f"{part}.") for key in self._short)
        return (RTOL_16_BITS if short else RTOL) * magnitude


def _is_short(dtype: str) -> bool:
    return "float" in dtype and DTYPES[dtype].itemsize <= 2


def _compared(
    net: Any, part: str, arrays: Mapping[Name, NDArray[Any]], keys: Keys, tolerances: _Tolerances
) -> Iterator[Comparison]:
    """Call one part with its own inputs, and yield how far each of its outputs is from torch's."""
    module = _resolved(net, part, keys)
    if not _is_part(module, part):
        yield Comparison(part, "output", kind="part", fault=_no_part(module, net))
        return
    inputs = {name: np.array(array)[()] for name, array in arrays.items() if name.side == "input"}  # theirs to change
    outputs = {name: array for name, array in arrays.items() if name.side == "output"}
    positional, named = arguments(inputs)
    try:
        found = dict(leaves(module(*positional, **named), Name(part, "output")))
    except Exception as error:  # noqa: BLE001 (a user's model can raise anything, and the report tells of it)
        raised = type(error).__name__
        yield Comparison(part, "output", kind="raised", fault=f"raised {raised}: {_first_line(error)}")
        return
    if len(found) == len(outputs) == 1:  # a tuple of one, or an array and None, is no other output than the array
        found = dict(zip(outputs, found.values(), strict=True))
    if found.keys() != outputs.keys():
        yield Comparison(
            part, "output", kind="outputs", fault=f"expected {_sides(outputs)} as torch gave, found {_sides(found)}"
        )
        return
    for name, expected in outputs.items():
        yield _comparison(name, found[name], expected, tolerances)


def _is_part(found: object, part: str) -> bool:
    return callable(found) and (part == MODEL or is_module(found))


def _no_part(found: object, net: object) -> str:
    if found is None:
        return f"there is no such part in {backticked(type(net).__name__)}"
    return f"expected a part that can be called, found {_described(found)}"


def _first_line(error: Exception) -> str:
    return printable(str(error).partition("\n")[0])[:SHOWN_OF_AN_ERROR]


def _sides(names: Mapping[Name, object]) -> str:
    return listed((name._replace(part=MODEL) for name in names), empty="nothing")


def _comparison(name: Name, given: object, expected: NDArray[Any], tolerances: _Tolerances) -> Comparison:
    output = str(name._replace(part=MODEL))
    found = _array(given)
    if found is None:
        return Comparison(name.part, output, kind="outputs", fault=f"expected an array, found {_described(given)}")
    if found.shape != expected.shape:
        return Comparison(
            name.part, output, kind="shape", fault=f"expected shape {expected.shape}, found {found.shape}"
        )
    wide, wide_expected = _wide(found), _wide(expected)
    finite = np.abs(wide_expected[np.isfinite(wide_expected)])
    magnitude = float(finite.max(initial=0.0))
    allowed = tolerances.of(name.part, expected, magnitude)
    if fault := _not_a_number(wide, wide_expected):
        return Comparison(name.part, output, allowed=allowed, kind="nan", fault=fault)
    absolute = _largest_difference(wide, wide_expected)
    relative = absolute / magnitude if magnitude else 0.0 if absolute == 0 else math.inf
    if absolute <= allowed:
        return Comparison(name.part, output, absolute, relative, allowed)
    fault = f"differs by up to {absolute:.1e} (allowed: {allowed:.1e}), {relative:.1e} of torch's largest magnitude"
    return Comparison(name.part, output, absolute, relative, allowed, "differs", fault)


def _array(value: object) -> NDArray[Any] | None:
    """Return an output as an array of numbers, or None if it is none."""
    try:
        array = np.asarray(value)
    except (TypeError, ValueError):
        return None
    return array if array.dtype.kind in "biufc" or array.dtype.name in DTYPES else None


def _wide(array: NDArray[Any]) -> NDArray[Any]:
    """Return the values, flat, in the widest type."""
    return array.astype(np.complex128 if array.dtype.kind == "c" else np.float64).reshape(-1)


def _not_a_number(found: NDArray[Any], expected: NDArray[Any]) -> str | None:
    """Return which of two arrays has NaN where the other has none."""
    ours, theirs = np.isnan(found), np.isnan(expected)
    if more := np.count_nonzero(ours & ~theirs):
        return f"NaN where torch has none: {more:,} of {counted(found.size, 'value')}"
    if fewer := np.count_nonzero(theirs & ~ours):
        return f"no NaN where torch has it: {fewer:,} of {counted(found.size, 'value')}"
    return None


def _largest_difference(found: NDArray[Any], expected: NDArray[Any]) -> float:
    """Return the largest difference; equal infinities, and NaN in both, have none."""
    with np.errstate(invalid="ignore", over="ignore"):
        difference = np.abs(found - expected)
    difference[(found == expected) | np.isnan(expected)] = 0
    difference[np.isnan(difference)] = np.inf  # infinity against another one
    return float(difference.max(initial=0.0))


# The part of that name


def _resolved(net: Any, part: str, keys: Keys) -> Any:
    """Return the part of a model that has a name, or None: fields of dataclasses, items of lists, values of dicts.

    A name comes from a file. It leads to nothing but modules of the tree, never to other attributes.
    """
    if part == MODEL:
        return net
    node, name = net, ""
    for step in part.split("."):
        node = _below(node, name, step, keys)
        name = join(name, step)
    return node


def _below(node: Any, name: str, step: str, keys: Keys) -> Any:
    if is_dict(node):
        return next((value for key, value in node.items() if str(key) == step), None)
    if is_sequence(node):
        return _item(node, step, keys.numbers(name))
    if is_module(node):
        return getattr(node, step, None) if step in {field.name for field in dataclasses.fields(node)} else None
    return None


def _item(values: list[Any] | tuple[Any, ...], step: str, numbers: list[str]) -> Any:
    """Return the item of a sequence that `bind` gives the arrays with this number (or, in a named tuple, name)."""
    if step in getattr(values, "_fields", ()):
        return getattr(values, step)
    holds = [has_arrays(item) for item in values]
    places = zip(in_order(holds, numbers), holds, values, strict=True)
    return next((item for place, holding, item in places if holding and place == step), None)


# What is said


def _it(report: CheckReport) -> str:
    return "it" if len(report.comparisons) == 1 else "them"


def _row(row: tuple[str, ...], widths: list[int]) -> str:
    part, output, *numbers, mark = row
    shown = [number.rjust(width) for number, width in zip(numbers, widths[2:], strict=False)]
    return "  ".join([part.ljust(widths[0]), output.ljust(widths[1]), *shown, mark]).rstrip()


def _differs(report: CheckReport, path: str) -> CheckError:
    first, *others = report.faults
    more = [f"{_subject(one)}: {one.fault}" for one in others]
    details = more[:SHOWN_ITEMS]
    if len(more) > SHOWN_ITEMS:
        details.append(f"and {len(more) - SHOWN_ITEMS:,} more")
    error = CheckError(f"{_subject(first)}: {first.fault}", path=path, details=details, remedy=_remedy(first, report))
    error.report = report
    return error


def _remedy(first: Comparison, report: CheckReport) -> str:
    if first.kind == "part":
        return "Leave it out of `modules` where the golden outputs are made, or make it a dataclass with a `__call__`."
    if first.part != MODEL:
        settings = "its settings (stride, padding, eps, batch_first, ...) and its forward pass"
        return f"Compare {settings} with those of {backticked(first.part)} in torch."
    if any(one.part != MODEL for one in report.comparisons):
        return "Compare the model's own forward pass with torch's: each of its parts gives what torch gave."
    return "Name `modules` where the golden outputs are made, to learn which part it is."


def _subject(one: Comparison) -> str:
    """Return the name of an output: the part alone where it has one output."""
    part = backticked(one.part) if one.part else "the model"
    return part if one.output == "output" else f"{part}, {one.output}"
