"""What goes wrong between a checkpoint and a wheel. How a message is composed stands in `wheelweights.errors`."""

from __future__ import annotations

from typing import TYPE_CHECKING

from wheelweights.errors import WheelweightsError

if TYPE_CHECKING:
    from collections.abc import Iterable

__all__ = ["CheckpointError", "ConfigError", "Faults", "RemapError", "UnsafePickleError"]


PLACES_SHOWN = 4


class CheckpointError(WheelweightsError, ValueError):
    """A checkpoint is missing, malformed, unsupported, or does not hold what was asked for."""


class UnsafePickleError(CheckpointError):
    """A pickle asks for code that no checkpoint needs. Nothing of it was run."""


class RemapError(WheelweightsError, ValueError):
    """Renaming would lose a tensor: two keys end at one name, or one becomes the prefix of another."""


class ConfigError(WheelweightsError, ValueError):
    """The configuration has faults; `errors` lists every one, each beginning with its path in the table and a colon."""

    def __init__(self, errors: str | Iterable[str], *, path: str | None = None) -> None:
        self.errors = (errors,) if isinstance(errors, str) else tuple(errors)
        one = len(self.errors) == 1
        lines = [line for error in self.errors for line in error.splitlines()]
        super().__init__(self.errors[0] if one else _counted(self.errors), path=path, details=[] if one else lines)

    def __reduce__(self) -> tuple[type[ConfigError], tuple[tuple[str, ...]], dict[str, object]]:
        return type(self), (self.errors,), self.__dict__


class Faults(list[str]):
    """Faults of a configuration, gathered before any is raised. Each is a whole text that begins with its path."""

    def add(self, where: str, fact: str, *details: str, remedy: str | None = None) -> None:
        """Note one fault, in the form of every message: fact, details, remedy."""
        self.append(str(WheelweightsError(f"{where}: {fact}", details=details, remedy=remedy)))

    def raise_any(self) -> None:
        """Raise ConfigError with all of them, if there are any."""
        if self:
            raise ConfigError(self)


def _counted(errors: tuple[str, ...]) -> str:
    """Say how many faults there are and where, in a line that stands alone."""
    places = [error.partition(": ")[0] for error in errors]
    more = f" and {len(places) - PLACES_SHOWN} more" if len(places) > PLACES_SHOWN else ""
    return f"configuration: {len(errors)} faults: {', '.join(places[:PLACES_SHOWN])}{more}"
