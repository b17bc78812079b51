"""The hook's table in pyproject.toml as options, with everything that is wrong with it.

Opens no file and never changes the table. All faults are gathered, each with its place in the table, and raised
together. Which files are meant is the business of `paths`.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final

from hatch_wheelweights.errors import Faults, Option, Place
from hatch_wheelweights.options.model import ConversionOptions, HookOptions, RecordOptions, specs
from hatch_wheelweights.options.paths import check_golden, check_output, check_records, check_source
from hatch_wheelweights.options.reading import read_values
from hatch_wheelweights.options.toml import TABLE, TOML, toml_name
from hatch_wheelweights.options.values import KEYS, key_as_written, refuse_unknown, said
from wheelweights.plain import is_mapping, is_sequence

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence

__all__ = ["chosen", "load", "record_lines"]

# Hatch reads these from the same table.
HATCH_OPTIONS: Final = ("dependencies", "require-runtime-dependencies", "require-runtime-features", "enable-by-default")


_HOOK: Final = f"[tool.hatch.build.{TABLE}]"
_RECORDS: Final = f"[[tool.hatch.build.{TABLE}.records]]"


def load(table: Mapping[str, Any]) -> HookOptions:
    """Return the options of the hook's table, as Hatch hands it over; raise one ConfigError with all of its faults."""
    faults = Faults()
    place = Place((TABLE,), TOML)
    known = specs(HookOptions)
    _refuse_unknown(table, [*known, Option("records")], place, faults, also=HATCH_OPTIONS)
    values = read_values(HookOptions, _by_name(table), place, faults)
    records = tuple(_records(table.get("records"), place / "records", faults))
    options = HookOptions(**values, records=tuple(record for _, record in records))
    check_records(records, faults)
    faults.raise_any()
    return options


def chosen(options: ConversionOptions) -> dict[Option, Any]:
    """Return the options that are not at their default, as plain values, which TOML has, in the order of the fields."""
    default = ConversionOptions()
    return {
        option: spec.kind.plain(getattr(options, option))
        for option, spec in specs(ConversionOptions).items()
        if getattr(options, option) != getattr(default, option)
    }


def record_lines(options: RecordOptions) -> list[str]:
    """Return the lines of the table that asks for a record: its heading, the two paths, then what is not a default."""
    required = {option: getattr(options, option) for option, spec in specs(RecordOptions).items() if spec.required}
    settings = {**required, **chosen(options)}
    return [_RECORDS, *(TOML.setting(option, _shortest(option, value)) for option, value in settings.items())]


def _shortest(option: Option, value: Any) -> Any:
    """Return a key that is given as a list of one as that one."""
    is_one = specs(RecordOptions)[option].kind is KEYS and is_sequence(value) and len(value) == 1
    return value[0] if is_one else value


def _by_name(table: Mapping[str, Any]) -> dict[str, Any]:
    """Return the table by the options' names in Python; a key with an underscore is none of TOML's."""
    return {str(key).replace("-", "_"): value for key, value in table.items() if "_" not in str(key)}


def _records(tables: object, place: Place, faults: Faults) -> Iterable[tuple[Place, RecordOptions]]:
    if is_mapping(tables):
        remedy = f"Write [[tool.hatch.build.{place}]]."
        faults.add(place, "expected an array of tables, found a table", remedy=remedy)
    elif tables is not None and not is_sequence(tables):
        faults.add(place, f"expected an array of tables, found {said(tables)}")
    elif not tables:
        remedy = "Add such a table to pyproject.toml."
        faults.add(place, "expected at least one record, found none", *_example(place), remedy=remedy)
    else:
        for i, table in enumerate(tables):
            yield place / i, _record(table, place / i, faults)


def _example(place: Place) -> list[str]:
    """Return the lines of a table with nothing but what is required."""
    required = {option: spec for option, spec in specs(RecordOptions).items() if spec.required}
    lines = [f"{toml_name(option)} = {spec.example}" for option, spec in required.items()]
    return [f"  {line}" for line in (f"[[tool.hatch.build.{place}]]", *lines)]


def _record(table: object, place: Place, faults: Faults) -> RecordOptions:
    if not is_mapping(table):
        faults.add(place, f"expected a table, found {said(table)}")
        return RecordOptions("", "")
    known = specs(RecordOptions)
    for option, spec in known.items():
        if spec.required and toml_name(option) not in table:
            remedy = f"Write, say: {toml_name(option)} = {spec.example}"
            faults.add(place / option, "expected a path, found nothing", remedy=remedy)
    _refuse_unknown(table, known, place, faults)
    readers = {"source": check_source, "output": check_output, "golden": check_golden}
    values = read_values(RecordOptions, _by_name(table), place, faults, readers)
    required: dict[str, Any] = {"source": "", "output": ""}
    return RecordOptions(**required | values)


def _refuse_unknown(
    table: Mapping[Any, Any], known: Iterable[Option], place: Place, faults: Faults, also: Sequence[str] = ()
) -> None:
    """Note the keys that are unknown here; of those that belong to the other table, say so."""
    others = {toml_name(name): _HOOK for name in specs(HookOptions)}
    others |= {toml_name(name): _RECORDS for name in specs(RecordOptions)}
    names = [toml_name(name) for name in known]
    misplaced = [key for key in table if key in others and key not in names]
    for key in misplaced:
        faults.add(place / key_as_written(key), "unknown option", remedy=f"Move it to {others[key]}.")
    rest = {key: value for key, value in table.items() if key not in misplaced and key not in also}
    refuse_unknown(rest, names, place, faults)
