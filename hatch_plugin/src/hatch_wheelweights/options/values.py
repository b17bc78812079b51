"""The kinds of values that options have: how each is read and checked, and how it is described.

A reader takes whatever a table, a command line or a Python caller gives, returns what it could make of it, and notes
every fault with its place. Knows values alone: which options there are is in `model`.
"""

from __future__ import annotations

import json
import os
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from types import MappingProxyType
from typing import TYPE_CHECKING, Any, Final, Generic, Literal, TypeAlias, TypeVar, cast, get_args

from hatch_wheelweights.errors import KEY_REMAP, PRECISION, ConfigError, Do, Option, Setting
from hatch_wheelweights.options.patterns import parse_pattern
from hatch_wheelweights.options.precisions import OTHER_NAMES, Precision, PrecisionRule, parse_precision_rule
from hatch_wheelweights.options.rules import Rule, parse_rule
from wheelweights.errors import backticked, did_you_mean, quoted
from wheelweights.plain import is_mapping, is_sequence

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable

    from hatch_wheelweights.errors import Faults, Place

__all__ = [
    "BOOLEAN",
    "KEYS",
    "PATH",
    "PATTERNS",
    "PRECISIONS",
    "RULES",
    "TEXTS",
    "Flag",
    "Kind",
    "choice",
    "key_as_written",
    "precision_rules",
    "read_string",
    "refuse_unknown",
    "rule_of",
    "said",
]

T = TypeVar("T")

# How a command line gives a value: by being there, as one word, as a word each time the flag is there, as two words
# each time, as KEY=VALUE each time, as one word or as PATTERN=WORD each time.
Flag: TypeAlias = Literal["switch", "word", "words", "pairs", "assignments", "word or rules"]


def _as_it_is(value: object) -> object:
    """Return a value in the form that a table has: what is a tuple here is an array there."""
    return list(cast("tuple[object, ...]", value)) if isinstance(value, tuple) else value


@dataclass(frozen=True)
class Kind(Generic[T]):
    """A kind of value: its reader, its JSON schema, its name in the documentation, and its form as a flag.

    `names` are the names of what a flag's words are; for a choice, the choices. `plain` returns a value that has been
    read in the form that a table has: the metadata of a record holds it.
    """

    read: Callable[[object, Place, Faults], T]
    schema: Mapping[str, Any]
    says: str
    flag: Flag
    names: tuple[str, ...] = field(default=("VALUE",))
    plain: Callable[[T], object] = _as_it_is


# Readers

_STRING: Final = {"type": "string"}


def _read_boolean(value: object, place: Place, faults: Faults) -> bool:
    if not isinstance(value, bool):
        remedy = "Leave out the quotes." if value in ("true", "false") else None
        faults.add(place, f"expected a boolean, found {said(value)}", remedy=remedy)
    return value is True


def read_string(value: object, place: Place, faults: Faults) -> str:
    """Return a string; note anything else, and text that no file can hold."""
    if not isinstance(value, str):
        faults.add(place, f"expected a string, found {said(value)}")
        return ""
    # On a command line, bytes beyond its encoding arrive as halves of surrogate pairs
    if any("\ud800" <= character <= "\udfff" for character in value):
        faults.add(place, f"expected text, found half of a character in {quoted(value)}")
    return value


def _read_path(value: object, place: Place, faults: Faults) -> str:
    """Read a path: text, or from Python a `Path`."""
    if isinstance(value, os.PathLike):
        return read_string(os.fspath(cast("os.PathLike[str]", value)), place, faults)
    return read_string(value, place, faults)


def _read_keys(value: object, place: Place, faults: Faults) -> tuple[str, ...]:
    """Read one key, or the keys that lead to a nested value."""
    keys = [value] if isinstance(value, str) else value
    if not is_sequence(keys):
        faults.add(place, f"expected a string or an array of strings, found {said(value)}")
        return ()
    if not keys or "" in keys:
        faults.add(place, f"expected a key, found {'an empty string' if keys else 'an empty array'}")
    places = [place] if keys is not value else [place / i for i in range(len(keys))]
    return tuple(read_string(key, each, faults) for each, key in zip(places, keys, strict=True))


def _read_patterns(value: object, place: Place, faults: Faults) -> tuple[str, ...]:
    """Read an array of regular expressions."""
    if not is_sequence(value):
        remedy = f"Put it in brackets: ['{value}']" if isinstance(value, str) else None
        faults.add(place, f"expected an array of strings, found {said(value)}", remedy=remedy)
        return ()
    return tuple(_read_pattern(one, place / i, faults) for i, one in enumerate(value))


def _read_pattern(value: object, place: Place, faults: Faults) -> str:
    pattern = read_string(value, place, faults)
    try:
        parse_pattern(pattern)
    except ConfigError as error:
        faults.take(error, place)
    return pattern


@dataclass(frozen=True)
class _RuleForm:
    """What the rules of an option are made of: a pattern and one thing more; how a pair of them is checked."""

    option: Option
    names: tuple[str, str]
    parse: Callable[[str, str], object]
    example: Sequence[Mapping[str, str]]

    @property
    def says(self) -> str:
        """What a rule is, in the documentation."""
        return " and ".join(map(backticked, self.names))

    def read(self, value: object, place: Place, faults: Faults) -> tuple[tuple[str, str], ...]:
        """Read an array of rules, each as a pair."""
        if is_sequence(value):
            return tuple(self._read_rule(one, place / i, faults) for i, one in enumerate(value))
        remedy = Do("Put it in brackets: ", self._shown()) if is_mapping(value) else None
        faults.add(place, f"expected an array of tables, found {said(value)}", remedy=remedy)
        return ()

    def _read_rule(self, value: object, place: Place, faults: Faults) -> tuple[str, str]:
        """Read a table of both; a tuple, which only Python has, may be a pair of them."""
        before = len(faults)
        pair = _items(value)
        table: object = dict(zip(self.names, pair, strict=True)) if len(pair) == len(self.names) else value
        if not is_mapping(table):
            fact = f"expected a table of {self.says}, found {said(value)}"
            faults.add(place, fact, remedy=Do("Write, say: ", self._shown()))
            return "", ""
        refuse_unknown(table, self.names, place, faults)
        for name in self.names:
            if name not in table:
                faults.add(place / name, "expected a string, found nothing")
        first, second = (read_string(table.get(name, ""), place / name, faults) for name in self.names)
        if len(faults) == before:
            try:
                self.parse(first, second)
            except ConfigError as error:
                faults.take(error, place)
        return first, second

    def _shown(self) -> Setting:
        return Setting(self.option, self.example)

    def pair(self, rule: Mapping[str, str] | tuple[str, str]) -> tuple[str, str]:
        """Return a rule that has been read as a pair."""
        if isinstance(rule, tuple):
            return rule
        first, second = (rule[name] for name in self.names)
        return first, second

    def plain(self, rules: Sequence[tuple[str, str] | Mapping[str, str]]) -> list[dict[str, str]]:
        """Return rules that have been read as the tables that they are in TOML."""
        return [dict(zip(self.names, self.pair(rule), strict=True)) for rule in rules]

    @property
    def schema(self) -> dict[str, Any]:
        """The JSON schema of an array of rules."""
        items = {
            "type": "object",
            "properties": dict.fromkeys(self.names, _STRING),
            "required": list(self.names),
            "additionalProperties": False,
        }
        return {"type": "array", "items": items}


_REMAP: Final = _RuleForm(
    KEY_REMAP, ("pattern", "replacement"), parse_rule, [{"pattern": r"conv\.(.*)", "replacement": "$1"}]
)
_CASTS: Final = _RuleForm(
    PRECISION,
    ("pattern", "dtype"),
    parse_precision_rule,
    [{"pattern": r"^head\.", "dtype": "keep"}, {"pattern": "", "dtype": "half"}],
)


def rule_of(value: Mapping[str, str] | tuple[str, str]) -> Rule:
    """Return a rule of key_remap that has been read, compiled."""
    return parse_rule(*_REMAP.pair(value))


def precision_rules(value: Precision | Sequence[tuple[str, str] | Mapping[str, str]]) -> list[PrecisionRule]:
    """Return the rules of a precision that has been read, compiled; a word is a rule for every key."""
    pairs = [("", value)] if isinstance(value, str) else map(_CASTS.pair, value)
    return [parse_precision_rule(*pair) for pair in pairs]


def _items(value: object) -> tuple[object, ...]:
    """Return the items of a tuple; none of anything else."""
    return cast("tuple[object, ...]", value) if isinstance(value, tuple) else ()


def _read_texts(value: object, place: Place, faults: Faults) -> dict[str, str]:
    if not is_mapping(value):
        faults.add(place, f"expected a table of strings, found {said(value)}")
        return {}
    return {
        read_string(key, place, faults): read_string(text, place / key_as_written(key), faults)
        for key, text in value.items()
    }


# Kinds

_STRINGS: Final = {"type": "array", "items": _STRING}

BOOLEAN: Final = Kind(_read_boolean, {"type": "boolean"}, "boolean", "switch")
KEYS: Final = Kind(
    _read_keys,
    {"anyOf": [_STRING | {"minLength": 1}, _STRINGS | {"minItems": 1}]},
    "string or array of strings",
    "words",
    ("KEY",),
)
PATTERNS: Final = Kind(
    _read_patterns,
    {"type": "array", "items": {"type": "string", "format": "regex"}},
    "array of regular expressions",
    "words",
    ("PATTERN",),
)
RULES: Final = Kind(
    _REMAP.read,
    _REMAP.schema,
    f"array of tables of {_REMAP.says}",
    "pairs",
    ("PATTERN", "REPLACEMENT"),
    _REMAP.plain,
)
TEXTS: Final = Kind(
    _read_texts,
    {"type": "object", "additionalProperties": _STRING},
    "table of strings",
    "assignments",
    ("KEY=VALUE",),
)
PATH: Final = Kind(_read_path, _STRING, "path", "word", ("PATH",))


def choice(literal: Any, other_names: Mapping[str, str] = MappingProxyType({})) -> Kind[Any]:
    """Return the kind of a `Literal` of strings; `other_names` maps what people write instead to what they mean."""
    choices: tuple[str, ...] = get_args(literal)

    def read(value: object, place: Place, faults: Faults) -> str:
        if value in choices:
            return str(value)
        expected = f"{', '.join(map(backticked, choices[:-1]))} or {backticked(choices[-1])}"
        found = backticked(value) if isinstance(value, str) else said(value)
        meant = other_names.get(str(value).lower())
        remedy = f"Write {meant}." if meant else did_you_mean(str(value), choices)
        faults.add(place, f"expected {expected}, found {found}", remedy=remedy)
        return choices[0]

    return Kind(read, {"enum": list(choices)}, " or ".join(f'`"{one}"`' for one in choices), "word", choices)


def _precisions() -> Kind[Any]:
    """Return the kind of a precision: one word, or rules."""
    word = choice(Precision, OTHER_NAMES)

    def read(value: object, place: Place, faults: Faults) -> str | tuple[tuple[str, str], ...]:
        if isinstance(value, str):
            return str(word.read(value, place, faults))
        if not (is_sequence(value) or is_mapping(value)):
            faults.add(place, f"expected a string or an array of tables of {_CASTS.says}, found {said(value)}")
            return ()
        return _CASTS.read(value, place, faults) or "keep"  # without any rule, too

    def plain(value: Precision | Sequence[tuple[str, str] | Mapping[str, str]]) -> object:
        return value if isinstance(value, str) else _CASTS.plain(value)

    schema = {"anyOf": [word.schema, _CASTS.schema]}
    names = (*word.names, "PATTERN=DTYPE")
    return Kind(read, schema, f"{word.says}, or array of tables of {_CASTS.says}", "word or rules", names, plain)


PRECISIONS: Final = _precisions()


# What readers share


def refuse_unknown(table: Mapping[Any, object], known: Iterable[str], place: Place, faults: Faults) -> None:
    """Note every key that is not known, with the nearest one that is."""
    known = tuple(known)
    for key in table:
        if key not in known:
            remedy = did_you_mean(str(key), known) or f"Remove it, or use one of: {', '.join(sorted(known))}."
            faults.add(place / key_as_written(key), "unknown option", remedy=remedy)


def key_as_written(key: object) -> str:
    """Return a key of a table, quoted where TOML would quote it."""
    name = str(key)
    return name if re.fullmatch(r"[\w-]+", name, re.ASCII) else json.dumps(name)


def said(value: object) -> str:
    """Name a value in TOML's words; a string or a number with itself."""
    named = f"a value of type {backticked(type(value).__name__)}"
    word = next((word for kind, word in _WORDS.items() if isinstance(value, kind)), named)
    if isinstance(value, str):
        return f"{word} ({backticked(value)})"
    return f"{word} ({json.dumps(value)})" if isinstance(value, int | float) else word


_WORDS: Final[dict[type, str]] = {
    bool: "a boolean",  # before int: every bool is one
    int: "an integer",
    float: "a float",
    str: "a string",
    Mapping: "a table",
    list: "an array",
    tuple: "an array",
    Sequence: "an array",
}
