"""Packages as users of the hook write them, and builds of them in this process: 0.01 s each instead of seconds.

Knows hatchling's builders; knows nothing of the plugin but the name of its table.
"""

from __future__ import annotations

import shutil
from dataclasses import dataclass
from pathlib import Path

from hatchling.builders.sdist import SdistBuilder
from hatchling.builders.wheel import WheelBuilder

CONV2D = Path(__file__).parents[1] / "checkpoints" / "conv2d"

PYPROJECT = """\
[build-system]
requires = ["hatchling", "hatch-wheelweights"]
build-backend = "hatchling.build"

[project]
name = "demo"
version = "1.0"
requires-python = ">=3.11"
dependencies = [{dependencies}]

{tables}
"""

RECORD = """\
[[tool.hatch.build.hooks.wheelweights.records]]
source = "weights/conv2d.pt"
output = "{package}/conv2d.mpk"
"""


@dataclass(frozen=True)
class Project:
    """A package `demo` with the weights of two convolutions beside it."""

    root: Path
    package: str

    @property
    def source(self) -> Path:
        return self.root / "weights" / "conv2d.pt"

    @property
    def output(self) -> Path:
        return self.root / self.package / "conv2d.mpk"

    def wheel(self, version: str = "standard", into: str = "dist") -> Path:
        """Build a wheel."""
        return _build(WheelBuilder(str(self.root)), self.root / into, version)

    def sdist(self, into: str = "dist") -> Path:
        """Build an sdist."""
        return _build(SdistBuilder(str(self.root)), self.root / into, "standard")

    def clean(self) -> None:
        """Do what `hatchling build --clean-only` does."""
        assert list(WheelBuilder(str(self.root)).build(directory=str(self.root / "dist"), clean_only=True)) == []

    def unpacked_sdist(self) -> Project:
        """Build an sdist and unpack it elsewhere, as `python -m build` does."""
        elsewhere = self.root.with_name(f"{self.root.name}-unpacked")
        shutil.unpack_archive(self.sdist(), elsewhere, filter="data")
        (root,) = elsewhere.iterdir()
        return Project(root, self.package)

    def files(self) -> dict[str, bytes]:
        """Return the content of every file except built ones, so that a test can see that nothing changed."""
        files = (
            path for path in self.root.rglob("*") if path.is_file() and "dist" not in path.relative_to(self.root).parts
        )
        return {path.relative_to(self.root).as_posix(): path.read_bytes() for path in files}


def _build(builder: WheelBuilder | SdistBuilder, directory: Path, version: str) -> Path:
    (artifact,) = builder.build(directory=str(directory), versions=[version])
    return Path(artifact)


def make_project(
    root: Path,
    *,
    layout: str = "src",
    record: str = RECORD,
    tables: str = "",
    dependencies: tuple[str, ...] = ("wheelweights",),
) -> Project:
    """Write the package's files; `record` and `tables` are TOML, where `{package}` stands for the package's folder."""
    package = {"src": "src/demo", "flat": "demo"}[layout]
    quoted = ", ".join(f'"{dependency}"' for dependency in dependencies)
    text = PYPROJECT.format(dependencies=quoted, tables=f"{record}\n{tables}".replace("{package}", package))
    (root / package).mkdir(parents=True)
    (root / "weights").mkdir()
    (root / "pyproject.toml").write_text(text)
    (root / package / "__init__.py").write_text('"""A package with weights."""\n')
    shutil.copy(CONV2D / "conv2d.pt", root / "weights" / "conv2d.pt")
    return Project(root, package)
