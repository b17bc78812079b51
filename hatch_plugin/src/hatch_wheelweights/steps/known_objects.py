"""The objects whose classes are known by name, of which a plain form can be made without their code.

Knows what Python, torch and pytz pickle of dates, times, durations, exact numbers, ranges, paths, devices and
namespaces (the C and Python sources of each module's `__reduce__`). A function here raises ValueError, TypeError or
ArithmeticError for an object that its class cannot have pickled.
"""

from __future__ import annotations

import datetime as dt
import decimal
import fractions
import functools
import uuid
from pathlib import PurePath, PurePosixPath, PureWindowsPath
from typing import TYPE_CHECKING, Any, Final

from hatch_wheelweights.checkpoint import Opaque
from hatch_wheelweights.checkpoint.values import are_ints, is_dict, is_list
from wheelweights.scalars import duration_text, from_text

if TYPE_CHECKING:
    from collections.abc import Callable

__all__ = ["KNOWN", "MAX_RANGE"]

MAX_RANGE: Final = 4_096  # numbers of a range
MAX_BITS: Final = 1_024  # of each integer that an object is made of


def _date(node: Opaque) -> str:
    data, _ = _packed(node, 4)
    return dt.date(data[0] << 8 | data[1], data[2], data[3]).isoformat()


def _datetime(node: Opaque) -> str:
    data, zone = _packed(node, 10)
    date = (data[0] << 8 | data[1], data[2] & 0x7F, data[3])
    return dt.datetime(*date, *_clock(data[4:]), tzinfo=zone, fold=data[2] >> 7).isoformat()


def _time(node: Opaque) -> str:
    data, zone = _packed(node, 6)
    hour, minute, second, micro = _clock(data)
    return dt.time(hour & 0x7F, minute, second, micro, zone, fold=hour >> 7).isoformat()


def _packed(node: Opaque, size: int) -> tuple[bytes, dt.tzinfo | None]:
    """Return the bytes that a date or a time is packed into, and its time zone."""
    data, *zones = node.args
    data = data.encode("latin-1") if isinstance(data, str) else data
    if not isinstance(data, bytes) or len(data) != size or len(zones) > 1:
        raise ValueError
    return data, _zone(zones[0]) if zones else None


def _clock(data: bytes) -> tuple[int, int, int, int]:
    return data[0], data[1], data[2], int.from_bytes(data[3:6], "big")


def _zone(zone: Any) -> dt.tzinfo | None:
    """Return a time zone of a fixed offset; others are rules, which only their code knows."""
    if zone is None:
        return None
    if isinstance(zone, Opaque) and (zone.module, zone.name) in _UTC:
        return dt.UTC
    if not isinstance(zone, Opaque) or (zone.module, zone.name) != ("datetime", "timezone") or not zone.args:
        raise ValueError
    return dt.timezone(_timedelta(zone.args[0]))


def _timedelta(node: Any) -> dt.timedelta:
    if not isinstance(node, Opaque) or (node.module, node.name) != ("datetime", "timedelta"):
        raise ValueError
    return dt.timedelta(*_ints(node.args, 3))


def _duration(node: Opaque) -> str:
    return duration_text(_timedelta(node))


def _ints(args: tuple[Any, ...], count: int) -> tuple[int, ...]:
    if len(args) != count or not are_ints(args) or any(arg.bit_length() > MAX_BITS for arg in args):
        raise ValueError
    return args


def _decimal(node: Opaque) -> str:
    (text,) = node.args
    if not isinstance(text, str):
        raise TypeError
    return str(from_text(decimal.Decimal, text))


def _fraction(node: Opaque) -> str:
    if len(node.args) == 1 and isinstance(node.args[0], str):  # Python < 3.12
        return str(from_text(fractions.Fraction, node.args[0]))
    return str(fractions.Fraction(*_ints(node.args, 2)))


def _uuid(node: Opaque) -> str:
    return str(uuid.UUID(int=node.state["int"]))


def _range(node: Opaque) -> list[int]:
    numbers = range(*_ints(node.args, 3))
    if len(numbers) > MAX_RANGE:
        raise ValueError
    return list(numbers)


def _slice(node: Opaque) -> list[int | None]:
    if len(node.args) != 3:
        raise ValueError
    return [None if arg is None else _ints((arg,), 1)[0] for arg in node.args]


def _device(node: Opaque) -> str:
    kind, *index = node.args
    if not isinstance(kind, str) or len(index) > 1 or not are_ints(index):
        raise TypeError
    return ":".join(map(str, node.args))


def _path(node: Opaque, *, kind: type[PurePath]) -> str:
    if not all(type(arg) is str for arg in node.args):
        raise TypeError
    return str(kind(*node.args))


def _namespace(node: Opaque) -> dict[Any, Any]:
    if node.args or not (node.state is None or is_dict(node.state)):
        raise TypeError
    return node.state or {}


def _wrapper(node: Opaque) -> dict[Any, Any] | list[Any]:
    """Return the dict of a UserDict, or the list of a UserList."""
    data = node.state["data"]
    if not (is_dict(data) or is_list(data)):
        raise TypeError
    return data


_UTC: Final = {("pytz", "_UTC"), ("pytz", "UTC"), ("dateutil.tz.tz", "tzutc")}
KNOWN: Final[dict[tuple[str, str], Callable[[Opaque], Any]]] = {
    ("datetime", "date"): _date,
    ("datetime", "datetime"): _datetime,
    ("datetime", "time"): _time,
    ("datetime", "timedelta"): _duration,
    ("decimal", "Decimal"): _decimal,
    ("fractions", "Fraction"): _fraction,
    ("uuid", "UUID"): _uuid,
    ("builtins", "range"): _range,
    ("builtins", "xrange"): _range,
    ("builtins", "slice"): _slice,
    ("torch", "device"): _device,
    ("argparse", "Namespace"): _namespace,
    ("types", "SimpleNamespace"): _namespace,
    ("collections", "UserDict"): _wrapper,
    ("collections", "UserList"): _wrapper,
    **{
        (module, name): functools.partial(_path, kind=kind)
        for module in ("pathlib", "pathlib._local")
        for kind, names in (
            (PurePosixPath, ("Path", "PosixPath", "PurePath", "PurePosixPath")),
            (PureWindowsPath, ("WindowsPath", "PureWindowsPath")),
        )
        for name in names
    },
}
