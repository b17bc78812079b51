"""The finished wheel is opened again: it holds the records and nothing that it must not hold."""

from __future__ import annotations

import shutil
from typing import TYPE_CHECKING

import pytest

from hatch_wheelweights import convert
from looking.wheels import members
from making.projects import RECORD

if TYPE_CHECKING:
    from collections.abc import Callable

    from making.projects import Project

    Refused = Callable[[Callable[[], object]], str]

WHEEL = "demo-1.0-py3-none-any.whl"


@pytest.mark.parametrize(
    ("table", "place"),
    [
        (
            '[tool.hatch.build.targets.wheel.shared-data]\nweights = "share/demo"',
            "demo-1.0.data/data/share/demo/conv2d.pt",
        ),
        (
            '[tool.hatch.build.targets.wheel.shared-data]\n"weights/conv2d.pt" = "share/w.bin"',
            "demo-1.0.data/data/share/w.bin",
        ),
        ('[tool.hatch.build.targets.wheel.force-include]\nweights = "demo/raw"', "demo/raw/conv2d.pt"),
        ('[tool.hatch.build.targets.wheel.force-include]\n"weights/conv2d.pt" = "demo/a.txt"', "demo/a.txt"),
        ('[tool.hatch.build.targets.wheel.extra-metadata]\n"weights/conv2d.pt" = "w.pt"',
         "demo-1.0.dist-info/extra_metadata/w.pt"),
    ],
)  # fmt: skip
def test_a_checkpoint_that_came_in_by_another_way_is_an_error(
    new_project: Callable[..., Project], refused: Refused, table: str, place: str
) -> None:
    project = new_project(tables=table)
    assert refused(project.wheel) == (
        f"{WHEEL}: expected no checkpoint, found `conv2d.pt` at `{place}`\n"
        "  Take it, or its folder, out of force-include and shared-data."
    )
    assert list((project.root / "dist").iterdir()) == []


def test_a_copy_of_the_checkpoint_under_another_name_is_one(
    new_project: Callable[..., Project], refused: Refused
) -> None:
    project = new_project()
    shutil.copy(project.source, project.root / project.package / "table.dat")
    assert refused(project.wheel) == (
        f"{WHEEL}: expected no checkpoint, found `conv2d.pt` at `demo/table.dat`\n"
        "  Take it, or its folder, out of force-include and shared-data."
    )


def test_a_file_of_the_same_size_is_none(new_project: Callable[..., Project]) -> None:
    project = new_project()
    (project.root / project.package / "table.dat").write_bytes(bytes(project.source.stat().st_size))
    assert "demo/table.dat" in members(project.wheel())


@pytest.mark.parametrize("layout", ["src", "flat"])
def test_a_misspelt_package_is_an_error(new_project: Callable[..., Project], refused: Refused, layout: str) -> None:
    folder = {"src": "src/demoo", "flat": "demoo"}[layout]
    packages = f'[tool.hatch.build.targets.wheel]\npackages = ["{folder.replace("demoo", "demo")}"]'
    project = new_project(layout=layout, record=RECORD.replace("{package}", folder), tables=packages)
    said = refused(project.wheel)
    assert said.startswith(f"{WHEEL}: expected a package at `")
    assert said.endswith("found no code in that folder\n  Did you mean `demo`? Correct the output.") or layout == "src"


def test_a_record_outside_any_folder_is_an_error(new_project: Callable[..., Project], refused: Refused) -> None:
    project = new_project(record=RECORD.replace("{package}/", ""))
    assert refused(project.wheel) == (
        f"{WHEEL}: expected a record in a package, found `conv2d.mpk` in none\n"
        "  Give it an output in the folder of the package (one with an __init__.py)."
    )


def test_a_folder_without_code_that_is_named_like_one_with_code_is_a_warning(
    new_project: Callable[..., Project], capsys: pytest.CaptureFixture[str]
) -> None:
    project = new_project(record=RECORD.replace("{package}/", "{package}/enocder/"))
    (project.root / project.package / "encoder").mkdir()
    (project.root / project.package / "encoder" / "__init__.py").write_text("")
    project.wheel()
    assert (
        f"{WHEEL}: demo/enocder/conv2d.mpk is in a folder without code, beside demo/encoder: is its output misspelt?\n"
    ) in capsys.readouterr().err


def test_a_record_that_an_earlier_build_left_is_an_error(new_project: Callable[..., Project], refused: Refused) -> None:
    project = new_project()
    project.wheel("editable")
    pyproject = project.root / "pyproject.toml"
    pyproject.write_text(pyproject.read_text().replace("conv2d.mpk", "renamed.mpk"))
    assert refused(project.wheel) == (
        f"{WHEEL}: expected no record but those that are declared, found `demo/conv2d.mpk`, made from conv2d.pt too\n"
        "  Remove it, if an earlier build left it (its output had another name?), or declare it as a record."
    )
    project.output.unlink()
    assert "demo/renamed.mpk" in members(project.wheel())


def test_a_record_from_elsewhere_is_a_warning(
    new_project: Callable[..., Project], capsys: pytest.CaptureFixture[str]
) -> None:
    project = new_project()
    shutil.copy(project.source, project.root / "other.pt")
    convert(project.root / "other.pt", project.output.with_name("by_hand.mpk"))
    assert "demo/by_hand.mpk" in members(project.wheel())
    assert (
        f"{WHEEL}: demo/by_hand.mpk is a record that this project does not declare, made from other.pt\n"
    ) in capsys.readouterr().err


def test_another_hook_cannot_take_a_record_out(new_project: Callable[..., Project], refused: Refused) -> None:
    project = new_project(tables='[tool.hatch.build.targets.wheel.force-include]\n"pyproject.toml" = "demo/conv2d.mpk"')
    assert refused(project.wheel) == (
        "expected `demo/conv2d.mpk` in the wheel to come from this hook alone, found another file there\n"
        "  Give the record another output, or keep the other file out of the wheel."
    )
