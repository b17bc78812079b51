"""The project that is built: its files, what its table asks for, and how its user is spoken to."""

# ruff: noqa: PLC0415

from __future__ import annotations

import os
import sys
import traceback
from contextlib import contextmanager
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Generator, Iterable, Mapping

    from hatchling.bridge.app import Application
    from hatchling.metadata.core import ProjectMetadata

    from hatch_wheelweights.options.model import HookOptions
    from hatch_wheelweights.options.paths import Job

__all__ = ["Project"]


@dataclass(frozen=True)
class Project:
    """A project that is built: the folder of its pyproject.toml, the hook's table, and what Hatch knows of it.

    Nothing is looked at before it is asked for.
    """

    root: Path
    table: Mapping[str, Any]
    metadata: ProjectMetadata[Any]
    app: Application

    @cached_property
    def options(self) -> HookOptions:
        """The hook's table, read; raise ConfigError with all of its faults."""
        from hatch_wheelweights.errors import ConfigError, Fault
        from hatch_wheelweights.options.table import load
        from hatch_wheelweights.options.toml import hook_place

        options, name = load(self.table), self.metadata.core.name
        distribution = options.distribution
        if distribution is not None and distribution.has(name, distribution.version):
            fact = f"expected a name of its own, found that of the project or one that parts may have: {name}"
            raise ConfigError(Fault(hook_place() / "distribution" / "name", fact, remedy=f"Write, say: {name}-weights"))
        return options

    @cached_property
    def jobs(self) -> tuple[Job, ...]:
        """The records to make; raise ConfigError for sources that are not there."""
        from hatch_wheelweights.options.paths import resolve

        return resolve(self.options, self.root)

    @property
    def is_unpacked_sdist(self) -> bool:
        """Whether this is no project's tree but an sdist that was unpacked."""
        from hatch_wheelweights.options.missing import is_unpacked_sdist

        return is_unpacked_sdist(self.root)

    def relative(self, file: str | os.PathLike[str]) -> str:
        """Return the path of a file in the project, as the user wrote it; of any other file, all of it."""
        path = Path(file)
        return path.relative_to(self.root).as_posix() if path.is_relative_to(self.root) else str(path)

    def wheel_place(self, file: Path) -> str:
        """Return where a file of the project goes in the project's wheel, with forward slashes."""
        return str(self._wheel.get_distribution_path(os.path.relpath(file, self.root))).replace(os.sep, "/")

    @cached_property
    def _wheel(self) -> Any:
        """What Hatch knows of the wheel, also while something else is built."""
        from hatchling.builders.wheel import WheelBuilder

        builder: Any = WheelBuilder(str(self.root), metadata=self.metadata, app=self.app)
        return builder.config

    def warn(self, warnings: Iterable[object], of: str) -> None:
        """Tell the user of what may be wrong with a file."""
        for warning in warnings:
            self.app.display_warning(f"{of}: {_in_toml(warning)}")

    def note(self, notes: Iterable[object], of: str) -> None:
        """Tell the user of what is as it should be."""
        for note in notes:
            self.app.display_info(f"{of}: {_in_toml(note)}")

    @contextmanager
    def spoken_to(self) -> Generator[None, None, None]:
        """Do long work: with its progress on a terminal, and with errors for the user."""
        from hatch_wheelweights.looking.progress import shown_on

        with self.errors_for_the_user(), shown_on(sys.stderr):
            yield

    @contextmanager
    def errors_for_the_user(self) -> Generator[None, None, None]:
        """Stop the build with the message of one of our errors, or of the system's; with its traceback only for -v."""
        from hatch_wheelweights.errors import message
        from hatch_wheelweights.options.toml import TOML
        from wheelweights import WheelweightsError

        try:
            yield
        except WheelweightsError as error:
            if error.path is not None:
                error.path = self.relative(error.path)
            self.app.display_debug(traceback.format_exc())
            self.app.abort(message(error, TOML))
        except OSError as error:  # what the system refuses: a full disk
            self.app.display_debug(traceback.format_exc())
            where = "" if error.filename is None else f"{self.relative(os.fsdecode(error.filename))}: "
            self.app.abort(f"{where}{error.strerror or error}")


def _in_toml(text: object) -> str:
    from hatch_wheelweights.errors import spelt
    from hatch_wheelweights.options.toml import TOML

    return spelt(text, TOML)
