"""The kinds of values that options have: how each is read and checked, and how it is described.

A reader takes whatever a table, a command line or a Python caller gives, returns what it could make of it, and notes
every fault with its place. Knows values alone: which options there are is in `model`.
"""

from __future__ import annotations

import json
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from types import MappingProxyType
from typing import TYPE_CHECKING, Any, Final, Generic, Literal, TypeAlias, TypeVar, get_args

from hatch_wheelweights.errors import KEY_REMAP, ConfigError, Do, Setting
from hatch_wheelweights.options.patterns import parse_pattern
from hatch_wheelweights.options.rules import Rule, parse_rule
from wheelweights.errors import backticked, did_you_mean, quoted

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable

    from hatch_wheelweights.errors import Faults, Place

__all__ = [
    "BOOLEAN",
    "KEYS",
    "PATH",
    "PATTERNS",
    "RULES",
    "TEXTS",
    "Flag",
    "Kind",
    "choice",
    "key_as_written",
    "read_string",
    "refuse_unknown",
    "rule_of",
    "said",
]

T = TypeVar("T")

# How a command line gives a value: by being there, as one word, as a word each time the flag is there, as two words
# each time, as KEY=VALUE each time.
Flag: TypeAlias = Literal["switch", "word", "words", "pairs", "assignments"]


@dataclass(frozen=True)
class Kind(Generic[T]):
    """A kind of value: its reader, its JSON schema, its name in the documentation, and its form as a flag.

    `names` are the names of what a flag's words are; for a choice, the choices.
    """

    read: Callable[[object, Place, Faults], T]
    schema: Mapping[str, Any]
    says: str
    flag: Flag
    names: tuple[str, ...] = field(default=("VALUE",))


# Readers


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


def _read_keys(value: object, place: Place, faults: Faults) -> tuple[str, ...]:
    """Read one key, or the keys that lead to a nested value."""
    keys = [value] if isinstance(value, str) else value
    if not isinstance(keys, list | tuple):
        faults.add(place, f"expected a string or an array of strings, found {said(value)}")
        return ()
    if not keys or "" in keys:
        faults.add(place, f"expected a key, found {'an empty string' if keys else 'an empty array'}")
    places = [place] if keys is not value else [place / i for i in range(len(keys))]
    return tuple(read_string(key, each, faults) for each, key in zip(places, keys, strict=True))


def _read_patterns(value: object, place: Place, faults: Faults) -> tuple[str, ...]:
    """Read an array of regular expressions."""
    if not isinstance(value, list | tuple):
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


_RULE: Final = ("pattern", "replacement")
_EXAMPLE_RULE: Final = [{"pattern": r"conv\.(.*)", "replacement": "$1"}]


def _read_rules(value: object, place: Place, faults: Faults) -> tuple[tuple[str, str], ...]:
    """Read the rules of key_remap as pairs of a pattern and a replacement."""
    if isinstance(value, list | tuple):
        return tuple(_read_rule(one, place / i, faults) for i, one in enumerate(value))
    remedy = Do("Put it in brackets: ", Setting(KEY_REMAP, _EXAMPLE_RULE)) if isinstance(value, Mapping) else None
    faults.add(place, f"expected an array of tables, found {said(value)}", remedy=remedy)
    return ()


def _read_rule(value: object, place: Place, faults: Faults) -> tuple[str, str]:
    """Read a table of `pattern` and `replacement`; a tuple, which only Python has, may be a pair of them."""
    before = len(faults)
    table = dict(zip(_RULE, value, strict=True)) if isinstance(value, tuple) and len(value) == 2 else value
    if not isinstance(table, Mapping):
        fact = f"expected a table of `pattern` and `replacement`, found {said(value)}"
        faults.add(place, fact, remedy=Do("Write, say: ", Setting(KEY_REMAP, _EXAMPLE_RULE)))
        return "", ""
    refuse_unknown(table, _RULE, place, faults)
    for name in _RULE:
        if name not in table:
            faults.add(place / name, "expected a string, found nothing")
    pattern, replacement = (read_string(table.get(name, ""), place / name, faults) for name in _RULE)
    if len(faults) == before:
        try:
            parse_rule(pattern, replacement)
        except ConfigError as error:
            faults.take(error, place)
    return pattern, replacement


def rule_of(value: Mapping[str, str] | tuple[str, str]) -> Rule:
    """Return a rule of key_remap that has been read, compiled."""
    pattern, replacement = value if isinstance(value, tuple) else (value[name] for name in _RULE)
    return parse_rule(pattern, replacement)


def _read_texts(value: object, place: Place, faults: Faults) -> dict[str, str]:
    if not isinstance(value, Mapping):
        faults.add(place, f"expected a table of strings, found {said(value)}")
        return {}
    return {
        read_string(key, place, faults): read_string(text, place / key_as_written(key), faults)
        for key, text in value.items()
    }


# Kinds

_STRING: Final = {"type": "string"}
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
    _read_rules,
    {
        "type": "array",
        "items": {
            "type": "object",
            "properties": dict.fromkeys(_RULE, _STRING),
            "required": list(_RULE),
            "additionalProperties": False,
        },
    },
    "array of tables of `pattern` and `replacement`",
    "pairs",
    ("PATTERN", "REPLACEMENT"),
)
TEXTS: Final = Kind(
    _read_texts,
    {"type": "object", "additionalProperties": _STRING},
    "table of strings",
    "assignments",
    ("KEY=VALUE",),
)
PATH: Final = Kind(read_string, _STRING, "path", "word", ("PATH",))


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
