"""The build target `weights`: wheels that hold weights and nothing else.

They are made from the same table as the records of the project's own wheel, which requires them: see `distributions`.
"""

# ruff: noqa: PLC0415

from __future__ import annotations

import re
import time
from contextlib import ExitStack
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

from hatchling.builders.config import BuilderConfig
from hatchling.builders.plugin.interface import BuilderInterface
from hatchling.builders.utils import get_reproducible_timestamp

from hatch_wheelweights.hooks.project import Project

if TYPE_CHECKING:
    from collections.abc import Callable, Generator, Mapping

    from hatchling.plugin.manager import PluginManager

    from hatch_wheelweights.distributions import PartPlan
    from hatch_wheelweights.errors import ConfigError
    from hatch_wheelweights.options.distribution import Distribution

    Interface = BuilderInterface[BuilderConfig, PluginManager]
else:
    Interface = BuilderInterface  # not every hatchling lets it be subscripted

__all__ = ["WeightsBuilder"]

HOOK: Final = "wheelweights"


class WeightsBuilder(Interface):
    """Make the wheels of the distributions that hold the weights of a project."""

    PLUGIN_NAME = "weights"

    def build(
        self,
        *,
        directory: str | None = None,
        versions: list[str] | None = None,  # noqa: ARG002 (there is one)
        hooks_only: bool | None = None,
        clean: bool | None = None,
        clean_hooks_after: bool | None = None,  # noqa: ARG002 (no hook runs)
        clean_only: bool | None = False,
    ) -> Generator[str, None, None]:
        """Write the wheels, each whole, and yield the path of each."""
        from hatch_wheelweights.signals import ending_on_signals

        self.metadata.validate_fields()
        folder = Path(self.config.directory if directory is None else directory)
        folder.mkdir(parents=True, exist_ok=True)
        if clean or clean_only:
            self.clean(str(folder), [])
        if clean_only or hooks_only:
            return
        with ending_on_signals(lambda signal: SystemExit(128 + signal)), self._project.spoken_to():
            yield from map(str, self._built(folder))

    def clean(self, directory: str, versions: list[str]) -> None:  # noqa: ARG002
        """Remove wheels of these distributions, of any version and number."""
        with self._project.errors_for_the_user():
            for wheel in _wheels_of(self._distribution(), "[^-]+", Path(directory)):
                wheel.unlink()

    def get_version_api(self) -> dict[str, Callable[..., str]]:
        """Return the only version; `build` does not go by it, because it makes several artefacts."""
        return {"standard": lambda *_, **__: ""}

    @classmethod
    def get_config_class(cls) -> type[BuilderConfig]:
        """Return Hatch's own."""
        return BuilderConfig

    @property
    def _project(self) -> Project:
        metadata: Any = self.metadata
        hooks: Mapping[str, Any] = metadata.hatch.build_config.get("hooks", {})
        return Project(Path(self.root), hooks.get(HOOK, {}), metadata, self.app)

    def _distribution(self) -> Distribution:
        distribution = self._project.options.distribution
        if distribution is None:
            raise _no_distribution()
        return distribution

    def _built(self, folder: Path) -> Generator[Path]:
        from hatch_wheelweights.distributions import split, write_parts
        from hatch_wheelweights.hooks.records import make_records, plan_records
        from hatch_wheelweights.wheel import write_wheel
        from wheelweights import open_record
        from wheelweights.atomic import scratch_folder
        from wheelweights.errors import counted

        distribution, project = self._distribution(), self._project
        with ExitStack() as held:
            planned = plan_records(project, held)
            if any(one.plan is None for one in planned):
                raise _no_checkpoints()
            scratch = scratch_folder(folder)
            held.callback(scratch.remove)
            made = [one for one in make_records(project, planned, scratch.path) if not one.is_golden]
            records = {project.wheel_place(one.output): held.enter_context(open_record(one.file)) for one in made}
            parts = split(records, distribution)
            wheels = [folder / f"{part.package}-{part.version}-py3-none-any.whl" for part in parts]
            for other in _wheels_of(distribution, re.escape(distribution.version), folder):
                if other not in wheels:  # of an earlier split
                    other.unlink()
            for part, wheel in zip(parts, wheels, strict=True):
                files = write_parts(part, records, scratch.path)
                contents = self._contents(part, files, parts)
                write_wheel(wheel, contents, project.options.compression, time.gmtime(get_reproducible_timestamp()))
                tensors = counted(sum(map(len, part.keys.values())), "tensor")
                nbytes = sum(file.stat().st_size for file in files.values())
                project.note([f"{tensors} in records of {nbytes:,} bytes"], wheel.name)
                for file in files.values():
                    file.unlink()
                yield wheel

    def _contents(
        self, part: PartPlan, files: Mapping[str, Path], parts: tuple[PartPlan, ...]
    ) -> dict[str, Path | bytes]:
        """Return the files of a wheel by their places: the package with its records, then the dist-info folder."""
        from hatch_wheelweights.conversion import GENERATOR

        dist_info = f"{part.package}-{part.version}.dist-info"
        wheel = f"Wheel-Version: 1.0\nGenerator: {GENERATOR}\nRoot-Is-Purelib: true\nTag: py3-none-any\n"
        contents: dict[str, Path | bytes] = {
            f"{part.package}/__init__.py": f'"""Weights of {self.metadata.core.name}: data alone."""\n'.encode()
        }
        contents |= {f"{part.package}/{name}": file for name, file in sorted(files.items())}
        for licence in self.metadata.core.license_files:
            contents[f"{dist_info}/licenses/{licence}"] = Path(self.root, licence).read_bytes()
        contents[f"{dist_info}/METADATA"] = self._metadata(part, parts)
        contents[f"{dist_info}/WHEEL"] = wheel.encode()
        return contents

    def _metadata(self, part: PartPlan, parts: tuple[PartPlan, ...]) -> bytes:
        """Return METADATA (core metadata 2.4, Python Packaging User Guide)."""
        core = self.metadata.core
        which = "" if len(parts) == 1 else f", part {parts.index(part) + 1} of {len(parts)}"
        fields = [
            ("Metadata-Version", "2.4"),
            ("Name", part.distribution),
            ("Version", part.version),
            ("Summary", f"Weights of {core.name}{which}"),
            ("Author", ", ".join(core.authors_data["name"])),
            ("Author-email", ", ".join(core.authors_data["email"])),
            ("License-Expression", core.license_expression),
            *(("License-File", licence) for licence in core.license_files),
            ("Requires-Python", core.requires_python),
            ("Description-Content-Type", "text/markdown"),
        ]
        # Not by `email`, which folds long values and encodes what is not ASCII: here it is UTF-8
        head = "".join(f"{name}: {value}\n" for name, value in fields if value)
        description = (
            f"# {part.distribution}\n\n"
            f"Weights of the package [{core.name}](https://pypi.org/project/{core.name}/){which}: records of tensors, "
            "and no code. That package requires this one and opens it with "
            "[wheelweights](https://pypi.org/project/wheelweights/).\n"
        )
        return f"{head}\n{description}".encode()


def _wheels_of(distribution: Distribution, version: str, folder: Path) -> list[Path]:
    """Return the wheels in a folder that are of these distributions and of a version, given as a pattern."""
    name = re.escape(distribution.name.replace("-", "_"))
    form = re.compile(rf"{name}(_[0-9]+)?-{version}-py3-none-any\.whl")
    return [wheel for wheel in sorted(folder.glob("*.whl")) if form.fullmatch(wheel.name)]


def _fault(fact: str, remedy: str) -> ConfigError:
    from hatch_wheelweights.errors import ConfigError, Fault
    from hatch_wheelweights.options.toml import hook_place

    return ConfigError(Fault(hook_place() / "distribution", fact, remedy=remedy))


def _no_distribution() -> ConfigError:
    return _fault(
        "expected the name and version of what the weights go into, found nothing",
        'Write, say: distribution = { name = "my-weights", version = "1", max-size = "95MB" }',
    )


def _no_checkpoints() -> ConfigError:
    return _fault(
        "expected the checkpoints to make the weights from, found an unpacked sdist without them",
        "Make the weights in the project itself.",
    )
