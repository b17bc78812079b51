"""The sdist: it holds the checkpoints and no record, and makes the same wheel as the tree."""

from __future__ import annotations

import tarfile
from typing import TYPE_CHECKING

import pytest

import wheelweights as ww
from making.projects import RECORD

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from making.projects import Project


def content(sdist: Path) -> list[str]:
    with tarfile.open(sdist) as archive:
        return sorted(name.removeprefix("demo-1.0/") for name in archive.getnames())


def ignore_weights(project: Project) -> None:
    (project.root / ".git").mkdir()
    (project.root / ".gitignore").write_text("*.pt\n*.mpk\nweights/\n")


def ignore_weights_above(project: Project) -> None:
    (project.root.parent / ".git").mkdir()
    (project.root.parent / ".gitignore").write_text("*.pt\n")


def nothing(project: Project) -> None:
    pass


@pytest.mark.parametrize("layout", ["src", "flat"])
@pytest.mark.parametrize(
    "tables",
    [
        pytest.param("", id="by default"),
        pytest.param('[tool.hatch.build.targets.sdist]\nonly-include = ["{package}"]', id="only-include"),
        pytest.param('[tool.hatch.build.targets.sdist]\ninclude = ["{package}/*.py"]', id="include"),
        pytest.param('[tool.hatch.build]\nexclude = ["weights", "*.pt"]', id="exclude"),
    ],
)
@pytest.mark.parametrize("prepare", [nothing, ignore_weights, ignore_weights_above])
def test_holds_the_checkpoint_and_makes_the_wheel_of_the_tree(
    new_project: Callable[..., Project], layout: str, tables: str, prepare: Callable[[Project], None]
) -> None:
    project = new_project(layout=layout, tables=tables)
    prepare(project)
    project.wheel("editable")
    names = content(project.sdist())
    assert names.count("weights/conv2d.pt") == 1
    assert [name for name in names if name.endswith(".mpk")] == []
    assert project.unpacked_sdist().wheel().read_bytes() == project.wheel().read_bytes()


def test_holds_a_checkpoint_beside_the_code_once(new_project: Callable[..., Project]) -> None:
    project = new_project(record=RECORD.replace("weights/", "{package}/"))
    project.source.rename(project.root / project.package / "conv2d.pt")
    assert content(project.sdist()).count("src/demo/conv2d.pt") == 1
    assert project.unpacked_sdist().wheel().read_bytes() == project.wheel().read_bytes()


def test_two_builds_make_the_same_bytes(new_project: Callable[..., Project]) -> None:
    project = new_project()
    first = project.sdist("dist/first").read_bytes()
    project.wheel("editable")
    assert project.sdist("dist/second").read_bytes() == first


def test_needs_what_the_wheel_needs(new_project: Callable[..., Project]) -> None:
    unpacked = new_project(dependencies=()).unpacked_sdist()
    assert f"Requires-Dist: wheelweights>={ww.__version__}\n" in (unpacked.root / "PKG-INFO").read_text()


def test_makes_no_record(new_project: Callable[..., Project], temporary: Path) -> None:
    new_project().sdist()
    assert list(temporary.iterdir()) == []
