"""Values of the standard library and the text that JSON has for them: dates, times, exact numbers, identifiers, paths.

Dates and times are ISO 8601 texts, a `timedelta` an ISO 8601 duration in days, hours, minutes and seconds
(`P1DT2H0.5S`), everything else what `str` gives. Knows neither records nor annotations.
"""

from __future__ import annotations

import datetime as dt
import decimal
import fractions
import pathlib
import re
import uuid
from typing import TYPE_CHECKING, Any, Final

if TYPE_CHECKING:
    from collections.abc import Callable

__all__ = ["duration_text", "from_text", "has_text"]

MAX_CHARACTERS: Final = 1000  # of a number: its digits take time that grows with their square


def has_text(cls: type) -> bool:
    """Return whether `from_text` makes values of a class."""
    return cls in _READERS or issubclass(cls, pathlib.PurePath)


def from_text(cls: type, text: str) -> Any:
    """Return the value of a class that a text stands for. Raises ValueError for a text that stands for none."""
    if issubclass(cls, pathlib.PurePath):
        return cls(text)
    try:
        return _READERS[cls](text)
    except (ValueError, ArithmeticError) as error:
        raise ValueError(f"no text of a {cls.__name__}") from error


def duration_text(duration: dt.timedelta) -> str:
    """Return a duration as ISO 8601 writes it, exactly: `P1DT3S`, `-PT0.5S`, `PT0S`."""
    size = abs(duration)
    seconds = f"{size.seconds}.{size.microseconds:06}".rstrip("0").rstrip(".") if size.microseconds else size.seconds
    days = f"{size.days}D" if size.days else ""
    time = f"T{seconds}S" if size.seconds or size.microseconds or not days else ""
    return f"{'-' if duration.days < 0 else ''}P{days}{time}"


def _duration(text: str) -> dt.timedelta:
    match = _DURATION.fullmatch(text)
    if match is None or text.endswith(("P", "T")):
        raise ValueError(text)
    sign, days, hours, minutes, seconds, fraction = match.groups(default="0")
    size = dt.timedelta(
        days=int(days),
        hours=int(hours),
        minutes=int(minutes),
        seconds=int(seconds),
        microseconds=int(fraction.ljust(6, "0")),
    )
    return -size if sign == "-" else size


def _decimal(text: str) -> decimal.Decimal:
    return decimal.Decimal(_short(text))


def _fraction(text: str) -> fractions.Fraction:
    if not _FRACTION.fullmatch(_short(text)):
        raise ValueError(text)
    return fractions.Fraction(text)


def _short(text: str) -> str:
    if len(text) > MAX_CHARACTERS:
        raise ValueError(f"{len(text)} characters")
    return text


_DURATION: Final = re.compile(
    r"(-?)P(?:([0-9]{1,9})D)?"
    r"(?:T(?:([0-9]{1,9})H)?(?:([0-9]{1,9})M)?(?:([0-9]{1,9})(?:\.([0-9]{1,6}))?S)?)?"
)
_FRACTION: Final = re.compile(r"-?[0-9]+(/[0-9]+)?")
_READERS: Final[dict[type, Callable[[str], Any]]] = {
    dt.datetime: dt.datetime.fromisoformat,
    dt.date: dt.date.fromisoformat,
    dt.time: dt.time.fromisoformat,
    dt.timedelta: _duration,
    decimal.Decimal: _decimal,
    fractions.Fraction: _fraction,
    uuid.UUID: uuid.UUID,
}
