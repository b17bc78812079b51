"""How the table in pyproject.toml spells options, and where it is."""

from __future__ import annotations

import json
import re
from typing import TYPE_CHECKING, Final

from hatch_wheelweights.errors import Place, Spelling
from wheelweights.plain import is_mapping, is_sequence

if TYPE_CHECKING:
    from collections.abc import Sequence

__all__ = ["TABLE", "TOML", "hook_place", "record_place", "records_place", "toml_name"]

# A true suffix of the path in pyproject.toml and in hatch.toml, in the build's table and in a target's.
TABLE: Final = "hooks.wheelweights"

_BARE_KEY: Final = re.compile(r"[A-Za-z0-9_-]+")
_UNPRINTABLE: Final = re.compile(r"[^ -~]")


def hook_place() -> Place:
    """Return the place of the hook's own table."""
    return Place((TABLE,), TOML)


def records_place() -> Place:
    """Return the place of the records' tables."""
    return hook_place() / "records"


def record_place(number: int) -> Place:
    """Return the place of one record's table."""
    return records_place() / number


def toml_name(name: str) -> str:
    """Return the name of an option as the table has it."""
    return name.replace("_", "-")


def _toml_value(value: object) -> str:
    """Return a value as TOML: text with backslashes in single quotes, as regular expressions are best written."""
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, str):
        literal = "\\" in value and "'" not in value and value.isprintable()
        return f"'{value}'" if literal else _basic_string(value)
    if is_mapping(value):
        return f"{{ {', '.join(f'{_toml_key(str(name))} = {_toml_value(one)}' for name, one in value.items())} }}"
    return f"[{', '.join(map(_toml_value, value))}]" if is_sequence(value) else json.dumps(value)


def _toml_key(name: str) -> str:
    return name if _BARE_KEY.fullmatch(name) else _basic_string(name)


def _basic_string(text: str) -> str:
    """Return text in double quotes. TOML has the escapes of JSON and one of eight digits, but none of two."""
    return _UNPRINTABLE.sub(_escaped, json.dumps(text, ensure_ascii=False))


def _escaped(found: re.Match[str]) -> str:
    return found[0] if found[0].isprintable() else f"\\U{ord(found[0]):08x}"


def _lines_to_add(settings: Sequence[str]) -> str:
    return f"Add the line{'s' if len(settings) > 1 else ''}: {' and '.join(settings)}"


def _setting(name: str, value: object) -> str:
    return f"{toml_name(name)} = {_toml_value(value)}"


TOML: Final = Spelling(toml_name, _setting, _lines_to_add)
