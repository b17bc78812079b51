"""What makes a layer in the source: a call with arguments, and what the file does not say about it."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final, TypeAlias

__all__ = ["SIZE", "Argument", "Call", "Code", "Layer", "Value"]


class Code(str):
    """An argument that is Python source already, such as `np.float32`."""

    __slots__ = ()


Value: TypeAlias = "bool | int | float | str | Code | tuple[int, ...]"

SIZE: Final = "size"


@dataclass(frozen=True, slots=True)
class Argument:
    """An argument of a call. It is left out where it has its default; without one, None, it is given by its place.

    Arguments of the same `group` that always have the same value can be one parameter.
    """

    name: str
    value: Value
    default: Value | None = None
    group: str = ""

    @property
    def is_given(self) -> bool:
        """Whether the call must give it."""
        return self.default is None or self.value != self.default


@dataclass(frozen=True, slots=True)
class Call:
    """A call: of `function`, with arguments, those without a default first. `unset` are fields to set to None."""

    function: str
    arguments: tuple[Argument, ...]
    unset: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Layer:
    """A layer of `wheelweights.nn`: its type, what makes it, and what is not known of it.

    `unknown` are settings that the file does not say, `doubt` says what else it may be, or what it cannot do.
    `has_settings` is false for layers whose arrays tell everything.
    """

    type: str
    call: Call
    unknown: tuple[str, ...] = ()
    doubt: str | None = None
    has_settings: bool = True
