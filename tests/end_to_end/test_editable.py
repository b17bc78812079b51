"""Editable builds: the record lies in the tree, is fresh, and goes away again."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from typing import TYPE_CHECKING

import pytest

import wheelweights as ww
from hatch_wheelweights import convert
from looking.wheels import members
from making.checkpoints import safetensors
from making.projects import RECORD

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from making.projects import Project

LONG_AGO = (1_000_000_000, 1_000_000_000)


def is_rewritten(project: Project) -> bool:
    """Build once more, and tell whether the record in the tree was written by that."""
    os.utime(project.output, LONG_AGO)
    project.wheel("editable")
    return project.output.stat().st_mtime != LONG_AGO[0]


@pytest.mark.parametrize("layout", ["src", "flat"])
@pytest.mark.parametrize("exact", [False, True], ids=["by path", "dev-mode-exact"])
def test_writes_the_record_into_the_tree_only(
    new_project: Callable[..., Project], layout: str, exact: bool, is_conv2d: Callable[[Path], None]
) -> None:
    project = new_project(layout=layout, tables=f"[tool.hatch.build]\ndev-mode-exact = {str(exact).lower()}")
    before = project.files()
    wheel = project.wheel("editable")
    assert not any(name.endswith((".mpk", ".pt")) for name in members(wheel))
    is_conv2d(project.output)
    assert project.files().keys() - before.keys() == {f"{project.package}/conv2d.mpk"}


def test_keeps_a_record_that_is_up_to_date(
    new_project: Callable[..., Project], capsys: pytest.CaptureFixture[str]
) -> None:
    project = new_project()
    project.wheel("editable")
    capsys.readouterr()
    assert not is_rewritten(project)
    assert capsys.readouterr().err == "src/demo/conv2d.mpk: up to date with weights/conv2d.pt\n"


def change_checkpoint(project: Project) -> None:
    project.source.write_bytes(safetensors())


def change_options(project: Project) -> None:
    pyproject = project.root / "pyproject.toml"
    pyproject.write_text(pyproject.read_text().replace("output =", 'precision = "half"\noutput ='))


def change_metadata(project: Project) -> None:
    pyproject = project.root / "pyproject.toml"
    pyproject.write_text(pyproject.read_text().replace("output =", 'metadata = { license = "MIT" }\noutput ='))


def damage_record(project: Project) -> None:
    project.output.write_bytes(project.output.read_bytes()[:-1])


@pytest.mark.parametrize("change", [change_checkpoint, change_options, change_metadata, damage_record])
def test_renews_a_record_after(new_project: Callable[..., Project], change: Callable[[Project], None]) -> None:
    project = new_project()
    project.wheel("editable")
    change(project)
    assert is_rewritten(project)
    fresh = project.output.read_bytes()
    project.output.unlink()
    project.wheel("editable")
    assert project.output.read_bytes() == fresh


def test_a_file_that_is_no_record_is_not_replaced(
    new_project: Callable[..., Project], refused: Callable[[Callable[[], object]], str]
) -> None:
    project = new_project()
    project.output.write_bytes(b"something else")
    assert refused(lambda: project.wheel("editable")) == (
        "src/demo/conv2d.mpk: expected no file there but a record, which is replaced; found a file that begins with "
        "b'something else'\n  Give the record another name, or remove the file."
    )
    assert project.output.read_bytes() == b"something else"


def test_says_what_it_was_made_from_for_who_asks_the_system_alone(new_project: Callable[..., Project]) -> None:
    project = new_project()
    project.wheel("editable")
    state = project.source.stat()
    files = [["../../weights/conv2d.pt", state.st_size, state.st_mtime_ns]]
    assert ww.open_record(project.output).metadata["editable"] == {"files": files}
    os.utime(project.source, LONG_AGO)
    assert is_rewritten(project)


def test_renews_a_record_of_another_version_of_the_plugin(
    new_project: Callable[..., Project], monkeypatch: pytest.MonkeyPatch
) -> None:
    project = new_project()
    project.wheel("editable")
    monkeypatch.setattr("hatch_wheelweights.conversion.GENERATOR", "hatch-wheelweights 9.9.9")
    assert is_rewritten(project)


def test_makes_the_folder_of_the_record(new_project: Callable[..., Project]) -> None:
    project = new_project(record=RECORD.replace("{package}/", "{package}/data/"))
    project.wheel("editable")
    assert (project.output.parent / "data" / "conv2d.mpk").is_file()


def test_a_refused_checkpoint_leaves_the_record_as_it_was(
    new_project: Callable[..., Project], refused: Callable[[Callable[[], object]], str]
) -> None:
    project = new_project()
    project.wheel("editable")
    before = project.output.read_bytes()
    project.source.write_bytes(project.source.read_bytes()[:-100])
    assert refused(lambda: project.wheel("editable")).startswith("weights/conv2d.pt: ")
    assert project.output.read_bytes() == before


@pytest.mark.parametrize("kind", ["wheel", "sdist"])
def test_hatchlings_clean_only_removes_the_record(new_project: Callable[..., Project], kind: str) -> None:
    project = new_project()
    before = project.files()
    project.wheel("editable")
    command = [sys.executable, "-m", "hatchling", "build", "--clean-only", "--target", kind]
    subprocess.run(command, cwd=project.root, check=True)
    assert project.files() == before


def test_cleaning_removes_the_records_of_a_glob_only(new_project: Callable[..., Project]) -> None:
    project = new_project(record=RECORD.replace("conv2d.pt", "conv*.pt").replace("conv2d.mpk", "{stem}.mpk"))
    other = project.root / "weights" / "other.pt"
    shutil.copy(project.source, other)
    convert(other, project.output.with_name("by_hand.mpk"))
    project.output.with_name("foreign.mpk").write_bytes(b"something else")
    project.wheel("editable")
    project.clean()
    assert sorted(path.name for path in project.output.parent.glob("*.mpk")) == ["by_hand.mpk", "foreign.mpk"]


def test_cleaning_takes_brackets_in_a_path_for_what_they_are(new_project: Callable[..., Project]) -> None:
    project = new_project(record=RECORD.replace("{package}/", "{package}/[a]/"))
    before = project.files()
    project.wheel("editable")
    project.clean()
    assert project.files() == before


def test_cleaning_needs_no_checkpoint(new_project: Callable[..., Project]) -> None:
    project = new_project()
    project.wheel("editable")
    project.source.unlink()
    project.clean()
    assert not project.output.exists()


def test_cleaning_leaves_a_file_that_is_no_record(new_project: Callable[..., Project]) -> None:
    project = new_project()
    project.output.write_bytes(b"something else")
    project.clean()
    assert project.output.read_bytes() == b"something else"


@pytest.mark.skipif(os.name != "posix", reason="elsewhere, what is open cannot be removed")
@pytest.mark.parametrize("run", ["wheel", "sdist", "editable", "clean"])
def test_whatever_runs_next_removes_what_a_killed_build_left(new_project: Callable[..., Project], run: str) -> None:
    project = new_project()
    left = [project.output.parent / "__pycache__", project.root / "dist" / "__pycache__"]
    for folder in left:
        folder.mkdir(parents=True)
        (folder / f"conv2d.mpk.{'0' * 16}.tmp").write_bytes(b"half")
    if run == "clean":
        project.clean()
    elif run == "sdist":
        project.sdist()
    else:
        project.wheel("standard" if run == "wheel" else run)
    assert [folder for folder in left if folder.exists()] == []


@pytest.mark.parametrize("layout", ["src", "flat"])
def test_a_misspelt_folder_is_an_error_and_is_not_made(
    new_project: Callable[..., Project], refused: Callable[[Callable[[], object]], str], layout: str
) -> None:
    record = RECORD.replace("{package}", {"src": "src/demoo", "flat": "demoo"}[layout])
    project = new_project(layout=layout, record=record)
    before = project.files()
    assert "expected a package at `" in refused(lambda: project.wheel("editable"))
    assert "Did you mean `demo`? Correct the output." in refused(lambda: project.wheel("editable"))
    assert project.files() == before
    assert not (project.root / project.package).with_name("demoo").exists()
