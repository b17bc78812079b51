"""The settings of a layer as a file says them, checked: they come from a file, and must be what the layer takes."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Any, Final

from hatch_wheelweights.checkpoint.values import is_tuple
from hatch_wheelweights.looking.scaffold.calls import Argument

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from hatch_wheelweights.looking.scaffold.calls import Code, Value

__all__ = ["Settings", "alike"]

MAX_NUMBER: Final = 1 << 31


class Settings:
    """The settings of one layer: those that the file says, and the names of those that it does not say."""

    def __init__(self, said: Mapping[str, Any]) -> None:
        self._said = said
        self.unknown: list[str] = []

    def __getitem__(self, name: str) -> Any:
        return self._said.get(name)

    def argument(self, name: str, default: Value, read: Callable[[Any], Value | None]) -> Argument:
        """Return the argument that a setting is: its default where the file does not say it, or nothing usable."""
        value = read(self._said[name]) if name in self._said else None
        if value is None:
            self.unknown.append(name)
        return Argument(name, default if value is None else value, default, name)

    def per_axis(self, name: str, default: int, axes: int) -> Argument:
        """Return an argument that is a number, or one for each of the axes."""
        return self.argument(name, default, lambda value: _per_axis(value, axes))

    def switch(self, name: str) -> Argument:
        """Return an argument that is off by default."""
        return self.argument(name, False, lambda value: value if isinstance(value, bool) else None)

    def eps(self, default: float | Code = 1e-5) -> Argument:
        """Return the small number that a norm adds; None where the file says so, and the layer has that for default."""
        return self.argument(
            "eps", default, lambda value: default if value is None and default == "None" else _positive(value)
        )

    def number(self, name: str) -> int | None:
        """Return a number above 0; None, and unknown, where the file does not say one."""
        value = _whole(self._said.get(name))
        if not value:
            self.unknown.append(name)
        return value or None


def alike(values: tuple[int, ...]) -> int | tuple[int, ...]:
    """Return one number for values that are all the same."""
    return values[0] if values and len(set(values)) == 1 else values


def _per_axis(value: Any, axes: int) -> Value | None:
    if value in ("same", "valid"):
        return str(value)
    numbers = value if is_tuple(value) else (value,)
    found = [number for number in map(_whole, numbers) if number is not None]
    return alike(tuple(found)) if len(found) == len(numbers) and len(numbers) in (1, axes) else None


def _whole(value: Any) -> int | None:
    return value if isinstance(value, int) and not isinstance(value, bool) and 0 <= value < MAX_NUMBER else None


def _positive(value: Any) -> float | None:
    is_number = isinstance(value, int | float) and not isinstance(value, bool)
    return float(value) if is_number and math.isfinite(value) and value > 0 else None
