"""The builds that users start, in isolated environments, with nothing but a folder of wheels to install from."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
import venv
from dataclasses import dataclass
from typing import TYPE_CHECKING

import pytest

from looking.wheels import assert_sound
from making.checkpoints import safetensors
from making.projects import RECORD

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from making.projects import Project

    Run = Callable[..., str]

pytestmark = pytest.mark.slow

PYTHON = [sys.executable, "-m"]
FRONT_ENDS = {
    "pip wheel": [*PYTHON, "pip", "wheel", "--no-deps", "--wheel-dir", "out", "."],
    "pip wheel of an sdist": [*PYTHON, "pip", "wheel", "--no-deps", "--wheel-dir", "out", "dist/demo-1.0.tar.gz"],
    "build": [*PYTHON, "build", "--outdir", "out"],
    "build --wheel": [*PYTHON, "build", "--wheel", "--outdir", "out"],
    "uv build": [*PYTHON, "uv", "build", "--out-dir", "out"],
    "uv build --wheel": [*PYTHON, "uv", "build", "--wheel", "--out-dir", "out"],
    "hatch build": [*PYTHON, "hatch", "build", "out"],
}
FLAT = ["uv build", "hatch build"]  # the layout makes no difference to a front end: the quick ones show it


@pytest.fixture
def run(offline: dict[str, str], tmp_path: Path) -> Run:
    """Run a command in the project and return all that it said. It leaves no temporary files of ours."""
    temporary = tmp_path / "temporary"
    temporary.mkdir()

    def run_it(command: list[str | Path], project: Project, *, fails: bool = False) -> str:
        done = subprocess.run(
            command,
            cwd=project.root,
            env=offline | {"TMPDIR": str(temporary)},
            check=False,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
        )
        assert (done.returncode != 0) is fails, done.stdout
        assert list(temporary.glob("wheelweights-*")) == []
        return done.stdout

    return run_it


@dataclass(frozen=True)
class Environment:
    """An empty virtual environment to install into."""

    root: Path

    @property
    def python(self) -> Path:
        return self.root / ("Scripts/python.exe" if os.name == "nt" else "bin/python")

    def command(self, installer: str) -> list[str | Path]:
        if installer == "pip":
            return [*PYTHON, "pip", "--python", self.python, "install"]
        return [*PYTHON, "uv", "pip", "install", "--python", self.python]

    def again(self, installer: str) -> list[str]:
        """Return what makes a second install of the same version do its work."""
        return {"pip": [], "uv": ["--reinstall-package", "demo"]}[installer]


@pytest.fixture
def environment(tmp_path: Path) -> Environment:
    venv.create(tmp_path / "environment")
    return Environment(tmp_path / "environment")


@pytest.mark.parametrize(
    ("front_end", "layout"), [*((name, "src") for name in FRONT_ENDS), *((name, "flat") for name in FLAT)]
)
def test_every_front_end_makes_the_same_wheel(
    new_project: Callable[..., Project], run: Run, front_end: str, layout: str
) -> None:
    project = new_project(layout=layout)
    expected = project.wheel().read_bytes()
    project.sdist()
    run(FRONT_ENDS[front_end], project)
    (wheel,) = (project.root / "out").glob("*.whl")
    assert_sound(wheel)
    assert wheel.read_bytes() == expected


@pytest.mark.parametrize("front_end", [name for name in FRONT_ENDS if "sdist" not in name])
def test_every_front_end_shows_a_configuration_error_without_a_traceback(
    new_project: Callable[..., Project], run: Run, front_end: str
) -> None:
    project = new_project()
    pyproject = project.root / "pyproject.toml"
    pyproject.write_text(pyproject.read_text() + "precison = 'half'\n")
    said = run(FRONT_ENDS[front_end], project, fails=True)
    assert "hooks.wheelweights.records[0].precison: unknown option" in said
    assert "Did you mean `precision`?" in said
    assert "Traceback" not in said
    assert list(project.root.rglob("*.whl")) == []


# What users get wrong, under every front end: one clear message, no traceback, no wheel


def edit(old: str, new: str) -> Callable[[Project], None]:
    def change(project: Project) -> None:
        pyproject = project.root / "pyproject.toml"
        assert old in pyproject.read_text()
        pyproject.write_text(pyproject.read_text().replace(old, new))

    return change


def rename_source(project: Project) -> None:
    project.source.rename(project.source.with_name("conv2.pt"))


def leave_a_pointer(project: Project) -> None:
    pointer = "version https://git-lfs.github.com/spec/v1\noid sha256:0\nsize 12345\n"
    project.source.write_text(pointer)


def leave_a_link(project: Project) -> None:
    project.source.unlink()
    project.source.symlink_to("../.git/annex/objects/a/b/c")


def cut_source(project: Project) -> None:
    project.source.write_bytes(project.source.read_bytes()[:-100])


def leave_an_old_record(project: Project) -> None:
    project.wheel("editable")
    edit("conv2d.mpk", "renamed.mpk")(project)


def unpack_and_change(project: Project) -> None:
    unpacked = project.unpacked_sdist()
    shutil.rmtree(project.root)
    unpacked.root.rename(project.root)
    edit("output =", 'precision = "half"\noutput =')(project)


SHARED = '\n[tool.hatch.build.targets.wheel.shared-data]\nweights = "share"\n[[tool.hatch.build.hooks'
TOO_SMALL = "[tool.hatch.build.hooks.wheelweights]\ndistribution = { name = 'w', version = '1', max-size = 9 }\n[[tool"
RUNTIME = 'dependencies = ["wheelweights"]'
FAULTS: dict[str, tuple[Callable[[Project], None], str]] = {
    "missing": (rename_source, "Did you mean `weights/conv2.pt`?"),
    "git lfs": (leave_a_pointer, "Run: git lfs pull --include conv2d.pt"),
    "git annex": (leave_a_link, "Run: git annex get weights/conv2d.pt"),
    "damaged": (cut_source, "weights/conv2d.pt: "),
    "runtime": (
        edit(RUNTIME, "dependencies = []"),
        'Write in [project] of pyproject.toml: dependencies = ["wheelweights"]',
    ),
    "range": (edit(RUNTIME, 'dependencies = ["wheelweights<0.1"]'), "found `wheelweights<0.1`"),
    "shared data": (
        edit("[[tool.hatch.build.hooks", SHARED),
        "Take it, or its folder, out of force-include and shared-data.",
    ),
    "package": (edit("src/demo/conv2d.mpk", "src/demoo/conv2d.mpk"), "Did you mean `demo`? Correct the output."),
    "left over": (leave_an_old_record, "found `demo/conv2d.mpk`, made from conv2d.pt too"),
    "sdist": (unpack_and_change, "found others: `precision`"),
    "too large": (edit("[[tool", TOO_SMALL), "found 9 bytes and tensor `conv"),
}


WHEEL_MAKERS = ["pip wheel", "build --wheel", "uv build --wheel", "hatch build"]
# Each fault under two of them, in turn: all of them under all take minutes, and have been seen to pass
UNDER_TWO = [(fault, WHEEL_MAKERS[(n + more) % 4]) for n, fault in enumerate(FAULTS) for more in (0, 1)]


@pytest.mark.parametrize(("fault", "front_end"), UNDER_TWO)
def test_every_front_end_shows_what_is_wrong_in_few_lines(
    new_project: Callable[..., Project], run: Run, front_end: str, fault: str
) -> None:
    packages = '[tool.hatch.build.targets.wheel]\npackages = ["src/demo"]\nsources = ["src"]'
    project = new_project(tables=packages)
    change, expected = FAULTS[fault]
    change(project)
    said = run(FRONT_ENDS[front_end], project, fails=True)
    print(f"--- {fault}, {front_end}\n{said}")
    assert expected in said
    assert "Traceback" not in said
    assert [path for path in project.root.rglob("*.whl") if "dist" not in path.parts] == []


@pytest.mark.parametrize(("installer", "layout"), [("pip", "src"), ("uv", "src"), ("uv", "flat")])
def test_an_editable_install_finds_the_record_and_a_renewed_one_is_fresh(
    new_project: Callable[..., Project], run: Run, environment: Environment, installer: str, layout: str
) -> None:
    project = new_project(layout=layout)
    install = [*environment.command(installer), "--editable", "."]
    run(install, project)
    print_first_key = "import wheelweights as ww; print(next(iter(ww.load('demo', 'conv2d.mpk'))))"
    assert run([environment.python, "-c", print_first_key], project) == "conv1.weight\n"
    project.source.write_bytes(safetensors({"another.weight": ("F32", [4], 0, 16)}))
    run([*install, *environment.again(installer)], project)
    assert run([environment.python, "-c", print_first_key], project) == "another.weight\n"


@pytest.mark.parametrize("compression", ["deflated", "stored"])
def test_an_installed_wheel_runs_with_numpy_and_msgpack_alone(
    new_project: Callable[..., Project], run: Run, environment: Environment, compression: str
) -> None:
    project = new_project(tables=f'[tool.hatch.build.hooks.wheelweights]\ncompression = "{compression}"', record="")
    with (project.root / "pyproject.toml").open("a") as file:
        file.write(RECORD.replace("{package}", project.package))
    run([*environment.command("uv"), str(project.wheel())], project)
    code = """
import importlib.metadata, importlib.util
import wheelweights as ww
print(*sorted(one.name for one in importlib.metadata.distributions()))
ww.load("demo", "conv2d.mpk").verify()
print(ww.load("demo", "conv2d.mpk")["conv2.weight"].shape)
"""
    said = run([environment.python, "-c", code], project)
    assert said == "demo msgpack numpy wheelweights\n(2, 2, 2, 2)\n"


@pytest.mark.parametrize("command", [["hatchling", "build", "--hooks-only"], ["hatch", "build", "--hooks-only"]])
def test_running_only_the_hooks_leaves_nothing(
    new_project: Callable[..., Project], run: Run, command: list[str]
) -> None:
    project = new_project()
    before = project.files()
    run([*PYTHON, *command], project)
    assert project.files() == before


def test_hatch_build_shows_one_line_for_each_record(new_project: Callable[..., Project], run: Run) -> None:
    said = run([*PYTHON, "hatch", "build", "--target", "wheel"], new_project())
    assert said.count("demo/conv2d.mpk: 3 tensors, 136 bytes, from weights/conv2d.pt (pytorch-zip)\n") == 1


def test_hatch_build_makes_the_weights_as_well(new_project: Callable[..., Project], run: Run) -> None:
    table = "[tool.hatch.build.hooks.wheelweights]\ndistribution = { name = 'demo-weights', version = '3' }\n"
    project = new_project(tables=table)
    run([*PYTHON, "hatch", "build", "--target", "wheel", "--target", "weights", "out"], project)
    wheels = sorted(wheel.name for wheel in (project.root / "out").glob("*.whl"))
    assert wheels == ["demo-1.0-py3-none-any.whl", "demo_weights-3-py3-none-any.whl"]
