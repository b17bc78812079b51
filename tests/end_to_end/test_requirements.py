"""What a project has to require: the hook says so, and adds nothing."""

from __future__ import annotations

from email import message_from_bytes
from typing import TYPE_CHECKING

import pytest

import wheelweights as ww
from looking.wheels import read_member
from making.checkpoints import safetensors
from making.projects import RECORD

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from making.projects import Project

    Refused = Callable[[Callable[[], object]], str]

KINDS = pytest.mark.parametrize("kind", ["wheel", "editable", "sdist"])


def build(project: Project, kind: str) -> Path:
    return project.sdist() if kind == "sdist" else project.wheel("standard" if kind == "wheel" else kind)


def requirements(wheel: Path) -> list[str]:
    return message_from_bytes(read_member(wheel, "demo-1.0.dist-info/METADATA")).get_all("Requires-Dist", [])


@KINDS
@pytest.mark.parametrize(
    ("dependencies", "line"),
    [
        ((), 'dependencies = ["wheelweights"]'),
        (("six>=1",), 'dependencies = ["six>=1", "wheelweights"]'),
        (("hatch-wheelweights",), 'dependencies = ["hatch-wheelweights", "wheelweights"]'),
    ],
)
def test_a_project_that_does_not_list_the_runtime_is_told_the_line(
    new_project: Callable[..., Project], refused: Refused, kind: str, dependencies: tuple[str, ...], line: str
) -> None:
    project = new_project(dependencies=dependencies)
    before = project.files()
    assert refused(lambda: build(project, kind)) == (
        f"project.dependencies: expected `wheelweights`, found none\n  Write in [project] of pyproject.toml: {line}"
    )
    assert project.files() == before


def test_an_optional_dependency_does_not_count(new_project: Callable[..., Project], refused: Refused) -> None:
    project = new_project(dependencies=(), tables='[project.optional-dependencies]\nall = ["wheelweights"]')
    assert refused(project.wheel).startswith("project.dependencies: expected `wheelweights`, found none\n")


def test_dynamic_dependencies_are_left_to_what_makes_them(
    new_project: Callable[..., Project], refused: Refused
) -> None:
    project = new_project()
    pyproject = project.root / "pyproject.toml"
    pyproject.write_text(pyproject.read_text().replace('dependencies = ["wheelweights"]', 'dynamic = ["dependencies"]'))
    assert refused(project.wheel) == (
        "project.dependencies: expected `wheelweights`, found none\n"
        '  They are dynamic: let what makes them add "wheelweights".'
    )


def test_dynamic_dependencies_count(new_project: Callable[..., Project]) -> None:
    project = new_project(tables="[tool.hatch.metadata.hooks.custom]")
    (project.root / "hatch_build.py").write_text(
        "from hatchling.metadata.plugin.interface import MetadataHookInterface\n"
        "class Add(MetadataHookInterface):\n"
        "    def update(self, metadata):\n"
        "        metadata['dependencies'] = ['wheelweights']\n"
    )
    pyproject = project.root / "pyproject.toml"
    pyproject.write_text(pyproject.read_text().replace('dependencies = ["wheelweights"]', 'dynamic = ["dependencies"]'))
    wheel = project.wheel()
    assert requirements(wheel) == ["wheelweights"]
    assert project.unpacked_sdist().wheel().read_bytes() == wheel.read_bytes()


@pytest.mark.parametrize("pin", ["wheelweights<9,>=0.1", "WheelWeights", "wheelweights; python_version > '3'"])
def test_leaves_the_users_pin_of_the_runtime_alone(
    new_project: Callable[..., Project], pin: str, capsys: pytest.CaptureFixture[str]
) -> None:
    (found,) = requirements(new_project(dependencies=(pin,)).wheel())
    assert found.lower().replace('"', "'") == pin.lower()
    assert "project.dependencies" not in capsys.readouterr().err


@KINDS
@pytest.mark.parametrize("pin", ["wheelweights<0.1", "wheelweights>=999", "wheelweights[ml-dtypes]!=VERSION"])
def test_a_range_without_the_runtime_of_this_hook_is_refused(
    new_project: Callable[..., Project], refused: Refused, kind: str, pin: str
) -> None:
    pin = pin.replace("VERSION", ww.__version__)
    project = new_project(dependencies=(pin,))
    assert refused(lambda: build(project, kind)) == (
        f"project.dependencies: expected a range with wheelweights {ww.__version__}, which this hook writes for, found "
        f"`{pin}`\n"
        f'  Write "wheelweights>={ww.__version__}", or build with the hook of an older release.'
    )


def bfloat16(project: Project, dtype: str = "BF16", size: int = 2) -> None:
    (project.root / "weights" / "m.safetensors").write_bytes(safetensors({"w": (dtype, [16 // size], 0, 16)}))


OF_SAFETENSORS = RECORD.replace("conv2d.pt", "m.safetensors")


@pytest.mark.parametrize(("dtype", "size", "name"), [("BF16", 2, "bfloat16"), ("F8_E4M3", 1, "float8_e4m3fn")])
def test_a_dtype_that_numpy_has_not_needs_the_extra(
    new_project: Callable[..., Project], capsys: pytest.CaptureFixture[str], dtype: str, size: int, name: str
) -> None:
    project = new_project(record=OF_SAFETENSORS)
    bfloat16(project, dtype, size)
    wheel = project.wheel()
    assert (
        f"project.dependencies: expected `wheelweights[ml-dtypes]`, because demo/conv2d.mpk holds {name}, found "
        "`wheelweights`\n"
        '  Write "wheelweights[ml-dtypes]" there; without it a program can read the record only with widen=True.\n'
    ) in capsys.readouterr().err
    assert requirements(wheel) == ["wheelweights"]


@pytest.mark.parametrize("dependencies", [("wheelweights[ml_dtypes]>=0.1",), ("wheelweights", "ml-dtypes>=0.5")])
def test_the_extra_or_its_library_is_enough(
    new_project: Callable[..., Project], capsys: pytest.CaptureFixture[str], dependencies: tuple[str, ...]
) -> None:
    project = new_project(record=OF_SAFETENSORS, dependencies=dependencies)
    bfloat16(project)
    project.wheel()
    assert "project.dependencies" not in capsys.readouterr().err
