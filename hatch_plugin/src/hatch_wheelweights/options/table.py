"""The hook's table as plain values: what may be configured, and everything that is wrong with it.

Knows each option's name, type and meaning in itself. Opens no file and never changes the table. All faults are
gathered, each with its path in the table, and raised together. Which files are meant is the business of `_sources`.
"""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from types import MappingProxyType
from typing import TYPE_CHECKING, Any, Final, TypeVar

from hatch_wheelweights.options.patterns import parse_pattern
from hatch_wheelweights.steps.precision import PRECISIONS
from hatch_wheelweights.steps.remap import parse_rule
from hatch_wheelweights.options.paths import check_output, check_records, check_source, resolve
from hatch_wheelweights.errors import ConfigError, Faults
from wheelweights.errors import backticked, did_you_mean, quoted

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator, Sequence

    _Made = TypeVar("_Made")
    _Reader = Callable[[object, str, Faults], _Made]

__all__ = ["Options", "RecordOptions", "load", "record_options", "resolve"]

# A true suffix of the path in pyproject.toml and in hatch.toml, in the build's table and in a target's.
TABLE: Final = "hooks.wheelweights"
COMPRESSIONS: Final = ("deflated", "stored")
# Hatch reads these from the same table.
HATCH_OPTIONS: Final = ("dependencies", "require-runtime-dependencies", "require-runtime-features", "enable-by-default")


@dataclass(frozen=True)
class RecordOptions:
    """One record: which checkpoint, where to, and what is done on the way. Names are the table's, with `_` for `-`."""

    source: str = ""
    output: str = ""
    top_level_key: tuple[str, ...] = ()
    key_remap: tuple[tuple[str, str], ...] = ()
    reindex: bool = True
    precision: str = "keep"
    include: tuple[str, ...] = ()
    exclude: tuple[str, ...] = ()
    config_key: tuple[str, ...] = ()
    metadata: Mapping[str, str] = field(default_factory=dict)
    whole_model: bool = False
    debug: bool = False


@dataclass(frozen=True)
class Options:
    """The whole table of the hook."""

    compression: str = "deflated"
    records: tuple[RecordOptions, ...] = ()

    def places(self) -> Iterator[tuple[str, RecordOptions]]:
        """Yield each record with its path in the table."""
        for i, record in enumerate(self.records):
            yield f"{TABLE}.records[{i}]", record


def load(table: Mapping[str, Any]) -> Options:
    """Return the options of the hook's table, as Hatch hands it over; raise one ConfigError with all of its faults."""
    faults = Faults()
    _refuse_unknown(table, ("compression", "records", *HATCH_OPTIONS), TABLE, faults)
    compression = table.get("compression", Options.compression)
    _choice(COMPRESSIONS)(compression, f"{TABLE}.compression", faults)
    records = _records(table.get("records"), f"{TABLE}.records", faults)
    options = Options(compression, tuple(records))
    check_records(options.places(), faults)
    faults.raise_any()
    return options


def record_options(
    options: Mapping[str, Any], *, source: str = "", output: str = "", spell: Callable[[str], str] = str
) -> RecordOptions:
    """Return the options of a conversion by hand (Python, command line); raise one ConfigError with all faults.

    `spell` turns the name of a field into the key that stands for it in `options`, and in the messages. None leaves an
    option at its default. `source` and `output` are taken as they are.
    """
    faults = Faults()
    given = {key: value for key, value in options.items() if value is not None}
    values = _values(given, {spell(name): name for name in _CONVERSION}, "", faults)
    faults.raise_any()
    return RecordOptions(source=source, output=output, **values)


def _records(tables: object, where: str, faults: Faults) -> Iterator[RecordOptions]:
    if isinstance(tables, Mapping):
        faults.add(where, "expected an array of tables, found a table", remedy=f"Write [[tool.hatch.build.{where}]].")
    elif not isinstance(tables, list | tuple) and tables is not None:
        faults.add(where, f"expected an array of tables, found {_found(tables)}")
    elif not tables:
        remedy = "Add such a table to pyproject.toml."
        faults.add(where, "expected at least one record, found none", *_EXAMPLE, remedy=remedy)
    else:
        for i, table in enumerate(tables):
            yield _record(table, f"{where}[{i}]", faults)


_EXAMPLE: Final = (
    f"  [[tool.hatch.build.{TABLE}.records]]",
    '  source = "weights/model.pt"',
    '  output = "src/my_package/model.mpk"',
)


def _record(table: object, where: str, faults: Faults) -> RecordOptions:
    if not isinstance(table, Mapping):
        faults.add(where, f"expected a table, found {_found(table)}")
        return RecordOptions()
    for name, example in (("source", "weights/model.pt"), ("output", "src/my_package/model.mpk")):
        if name not in table:
            faults.add(f"{where}.{name}", "expected a path, found nothing", remedy=f'Write, say: {name} = "{example}"')
    return RecordOptions(**_values(table, {_toml_name(name): name for name in _PATHS | _CONVERSION}, where, faults))


def _toml_name(field_name: str) -> str:
    return field_name.replace("_", "-")


def _values(table: Mapping[str, Any], fields: Mapping[str, str], where: str, faults: Faults) -> dict[str, Any]:
    """Return the value of each field that the table sets."""
    _refuse_unknown(table, fields, where, faults)
    readers = _PATHS | _CONVERSION
    known = {key: value for key, value in table.items() if key in fields}
    return {fields[key]: readers[fields[key]](value, _at(where, key), faults) for key, value in known.items()}


def _refuse_unknown(table: Mapping[str, Any], known: Iterable[str], where: str, faults: Faults) -> None:
    known = tuple(known)
    for key in table:
        if key in known:
            continue
        if where == TABLE and key in map(_toml_name, _PATHS | _CONVERSION):
            remedy = f"Move it to [[tool.hatch.build.{TABLE}.records]]."
        elif where.startswith(TABLE) and key == "compression":
            remedy = f"Move it to [tool.hatch.build.{TABLE}]."
        else:
            remedy = did_you_mean(str(key), known) or f"Remove it, or use one of: {', '.join(sorted(known))}."
        faults.add(_at(where, key), "unknown option", remedy=remedy)


def _at(where: str, key: object) -> str:
    """Return the path of a key, quoted as TOML would."""
    name = str(key)
    shown = name if re.fullmatch(r"[\w-]+", name, re.ASCII) else json.dumps(name)
    return f"{where}.{shown}" if where else shown


def _found(value: object) -> str:
    """Say a value in TOML's words, and a scalar itself."""
    named = f"a value of type {backticked(type(value).__name__)}"
    word = next((word for kind, word in _WORDS.items() if isinstance(value, kind)), named)
    if isinstance(value, str):
        return f"{word} ({backticked(value)})"
    return f"{word} ({json.dumps(value)})" if isinstance(value, int | float) else word


_WORDS: Final[dict[type, str]] = {
    bool: "a boolean",  # before int, of which it is one
    int: "an integer",
    float: "a float",
    str: "a string",
    Mapping: "a table",
    list: "an array",
    tuple: "an array",
}


# Readers of values: each returns what it could make of the value and notes what is wrong with it.


def _boolean(value: object, where: str, faults: Faults) -> bool:
    if not isinstance(value, bool):
        remedy = "Leave out the quotes." if value in ("true", "false") else None
        faults.add(where, f"expected a boolean, found {_found(value)}", remedy=remedy)
    return value is True


def _string(value: object, where: str, faults: Faults) -> str:
    if not isinstance(value, str):
        faults.add(where, f"expected a string, found {_found(value)}")
        return ""
    # What a command line holds beyond its encoding comes as halves of surrogate pairs
    if any("\ud800" <= character <= "\udfff" for character in value):
        faults.add(where, f"expected text, found half of a character in {quoted(value)}")
    return value


def _choice(choices: Sequence[str], other_names: Mapping[str, str] = MappingProxyType({})) -> _Reader[str]:
    def read(value: object, where: str, faults: Faults) -> str:
        if value in choices:
            return str(value)
        expected = f"{', '.join(map(backticked, choices[:-1]))} or {backticked(choices[-1])}"
        found = backticked(value) if isinstance(value, str) else _found(value)
        meant = other_names.get(str(value).lower())
        remedy = f"Write {meant}." if meant else did_you_mean(str(value), choices)
        faults.add(where, f"expected {expected}, found {found}", remedy=remedy)
        return choices[0]

    return read


def _path(check: Callable[[str, str, Faults], str]) -> _Reader[str]:
    def read(value: object, where: str, faults: Faults) -> str:
        return check(value, where, faults) if isinstance(value, str) else _string(value, where, faults)

    return read


def _keys(value: object, where: str, faults: Faults) -> tuple[str, ...]:
    """Read one key, or the keys that lead to a nested value."""
    keys = [value] if isinstance(value, str) else value
    if not isinstance(keys, list | tuple):
        faults.add(where, f"expected a string or an array of strings, found {_found(value)}")
        return ()
    if not keys or "" in keys:
        faults.add(where, f"expected a key, found {'an empty string' if keys else 'an empty array'}")
    places = [where] if keys is not value else [f"{where}[{i}]" for i in range(len(keys))]
    return tuple(_string(key, place, faults) for place, key in zip(places, keys, strict=True))


def _patterns(value: object, where: str, faults: Faults) -> tuple[str, ...]:
    """Read an array of regular expressions."""
    if not isinstance(value, list | tuple):
        remedy = f"Put it in brackets: ['{value}']" if isinstance(value, str) else None
        faults.add(where, f"expected an array of strings, found {_found(value)}", remedy=remedy)
        return ()
    return tuple(_pattern(one, f"{where}[{i}]", faults) for i, one in enumerate(value))


def _pattern(value: object, where: str, faults: Faults) -> str:
    pattern = _string(value, where, faults)
    try:
        parse_pattern(pattern)
    except ConfigError as error:
        faults.append(f"{where}: {error.errors[0]}")
    return pattern


def _rules(value: object, where: str, faults: Faults) -> tuple[tuple[str, str], ...]:
    """Read the rules of key-remap."""
    if isinstance(value, list | tuple):
        return tuple(_rule(one, f"{where}[{i}]", faults) for i, one in enumerate(value))
    remedy = "Put it in brackets: [{ pattern = ..., replacement = ... }]" if isinstance(value, Mapping) else None
    faults.add(where, f"expected an array of tables, found {_found(value)}", remedy=remedy)
    return ()


def _rule(value: object, where: str, faults: Faults) -> tuple[str, str]:
    """Read `{ pattern, replacement }`; from Python (TOML has no tuples) a pair as well."""
    before = len(faults)
    table = dict(zip(_RULE, value, strict=True)) if isinstance(value, tuple) and len(value) == 2 else value
    if not isinstance(table, Mapping):
        remedy = r"Write, say: { pattern = 'conv\.(.*)', replacement = '$1' }"
        faults.add(where, f"expected a table of `pattern` and `replacement`, found {_found(value)}", remedy=remedy)
        return "", ""
    _refuse_unknown(table, _RULE, where, faults)
    for name in _RULE:
        if name not in table:
            faults.add(f"{where}.{name}", "expected a string, found nothing")
    pattern, replacement = (_string(table.get(name, ""), f"{where}.{name}", faults) for name in _RULE)
    if len(faults) == before:
        _check_rule(pattern, replacement, where, faults)
    return pattern, replacement


_RULE: Final = ("pattern", "replacement")


def _check_rule(pattern: str, replacement: str, where: str, faults: Faults) -> None:
    try:
        parse_rule(pattern, replacement)
    except ConfigError as error:
        faults.append(f"{where}.{error.path}: {error.errors[0]}")


def _metadata(value: object, where: str, faults: Faults) -> dict[str, str]:
    if not isinstance(value, Mapping):
        faults.add(where, f"expected a table of strings, found {_found(value)}")
        return {}
    pairs = [(_string(key, where, faults), _string(text, _at(where, key), faults)) for key, text in value.items()]
    return dict(pairs)


_DTYPES: Final = {
    "float32": "full", "fp32": "full", "float": "full", "float16": "half", "fp16": "half",
    "float64": "double", "fp64": "double", "bf16": "bfloat16",
}  # fmt: skip
_PATHS: Final[dict[str, _Reader[Any]]] = {"source": _path(check_source), "output": _path(check_output)}
_CONVERSION: Final[dict[str, _Reader[Any]]] = {
    "top_level_key": _keys,
    "key_remap": _rules,
    "reindex": _boolean,
    "precision": _choice(PRECISIONS, _DTYPES),
    "include": _patterns,
    "exclude": _patterns,
    "config_key": _keys,
    "metadata": _metadata,
    "whole_model": _boolean,
    "debug": _boolean,
}
