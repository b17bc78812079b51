"""The distributions that hold the weights of a project: their name, their version, and how large each may be."""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final

from hatch_wheelweights.options.values import Kind, read_string, refuse_unknown, said
from wheelweights.errors import backticked
from wheelweights.plain import is_mapping

if TYPE_CHECKING:
    from collections.abc import Mapping

    from hatch_wheelweights.errors import Faults, Place

__all__ = ["DISTRIBUTION", "Distribution"]

_KEYS: Final = ("name", "version", "max-size")
_NAME: Final = re.compile("[a-z0-9](?:[a-z0-9._-]*[a-z0-9])?", re.IGNORECASE)  # Python Packaging User Guide, "Names"
_SIZE: Final = re.compile(r"(\d+(?:\.\d+)?) ?(kB|MB|GB)", re.ASCII)
_UNITS: Final = {"kB": 10**3, "MB": 10**6, "GB": 10**9}


@dataclass(frozen=True)
class Distribution:
    """Where records go that are no part of the project's own wheel.

    `name` and `version` are in their normal form (`big-weights`, `3.0`). `max_size` is what the records in one wheel
    may take, in bytes; None is as much as it takes.
    """

    name: str
    version: str
    max_size: int | None = None

    def part_name(self, number: int, count: int) -> str:
        """Return the name of one of the distributions, the first of which has the number 1."""
        return self.name if count == 1 else f"{self.name}-{number}"

    def has(self, name: str, version: str) -> bool:
        """Return whether one of the distributions has this name and version."""
        number = name.removeprefix(self.name)
        return version == self.version and re.fullmatch("|-[1-9][0-9]*", number) is not None and name != number


def _read(value: object, place: Place, faults: Faults) -> Distribution | None:
    if not is_mapping(value):
        example = 'Write, say: distribution = { name = "my-weights", version = "1", max-size = "95MB" }'
        faults.add(
            place, f"expected a table of {', '.join(map(backticked, _KEYS))}, found {said(value)}", remedy=example
        )
        return None
    before = len(faults)
    refuse_unknown(value, _KEYS, place, faults)
    name, version = _name(value, place, faults), _version(value, place, faults)
    size = _size(value["max-size"], place / "max-size", faults) if "max-size" in value else None
    return Distribution(name, version, size) if len(faults) == before else None


def _name(table: Mapping[Any, Any], place: Place, faults: Faults) -> str:
    if "name" not in table:
        faults.add(place / "name", "expected the name of a distribution, found nothing")
        return ""
    from packaging.utils import canonicalize_name  # noqa: PLC0415 (a command line has no such option)

    before = len(faults)
    name = read_string(table["name"], place / "name", faults)
    normal = canonicalize_name(name)
    if len(faults) == before and not (_NAME.fullmatch(name) and normal.replace("-", "_").isidentifier()):
        fact = f"expected a distribution's name that can be imported, found {backticked(name)}"
        faults.add(place / "name", fact, remedy="Begin it with a letter; letters, digits and hyphens may follow.")
    return normal


def _version(table: Mapping[Any, Any], place: Place, faults: Faults) -> str:
    value = table.get("version")
    if not isinstance(value, str):
        remedy = f'Write it as text: version = "{value}"' if isinstance(value, int | float) else None
        found = said(value) if "version" in table else "nothing"
        faults.add(place / "version", f"expected a version as text, found {found}", remedy=remedy)
        return ""
    from packaging.version import InvalidVersion, Version  # noqa: PLC0415 (likewise)

    try:
        return str(Version(value))
    except InvalidVersion:
        fact = f"expected a version as in PEP 440, found {backticked(value)}"
        faults.add(place / "version", fact, remedy='Write, say: version = "3"')
        return ""


def _size(value: object, place: Place, faults: Faults) -> int | None:
    """Read a size: bytes as an integer, or text in units that are powers of 1000."""
    if isinstance(value, int) and not isinstance(value, bool) and value > 0:
        return value
    from decimal import Decimal  # noqa: PLC0415 (likewise)

    form = _SIZE.fullmatch(value) if isinstance(value, str) else None
    if form and (size := round(Decimal(form[1]) * _UNITS[form[2]])) > 0:
        return size
    fact = f"expected a number of bytes, or text in kB, MB or GB, found {said(value)}"
    faults.add(place, fact, remedy='Write, say: max-size = "95MB"')
    return None


def _plain(value: Distribution | None) -> object:
    if value is None:
        return None
    size = {} if value.max_size is None else {"max-size": value.max_size}
    return {"name": value.name, "version": value.version, **size}


_TEXT: Final = {"type": "string", "minLength": 1}
_SCHEMA: Final = {
    "type": "object",
    "properties": {
        "name": _TEXT,
        "version": _TEXT,
        "max-size": {"anyOf": [{"type": "integer", "minimum": 1}, {"type": "string", "pattern": f"^{_SIZE.pattern}$"}]},
    },
    "required": ["name", "version"],
    "additionalProperties": False,
}

# No flag: only the hook's own table has it, never that of a record
DISTRIBUTION: Final[Kind[Distribution | None]] = Kind(
    _read, _SCHEMA, "table of `name`, `version` and `max-size`", "word", plain=_plain
)
