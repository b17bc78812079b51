"""The sdist: it holds records, or checkpoints on request, and makes the same wheel as the tree."""

from __future__ import annotations

import gzip
import os
import shutil
import tarfile
from typing import TYPE_CHECKING

import pytest

import wheelweights as ww
from looking.wheels import members
from making.checkpoints import safetensors
from making.projects import RECORD

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from making.projects import Project

    Refused = Callable[[Callable[[], object]], str]

HOOK = "[tool.hatch.build.hooks.wheelweights]\n"
SOURCES = HOOK + 'sdist = "sources"\n'
BOTH = pytest.mark.parametrize("kind", ["records", "sources"])
UNPACKED = (
    "  This is an unpacked sdist, with the record in the place of the checkpoint: change the table in the project "
    "itself, and make the sdist again."
)


def content(sdist: Path) -> list[str]:
    with tarfile.open(sdist) as archive:
        return sorted(name.removeprefix("demo-1.0/") for name in archive.getnames())


def shipped(sdist: Path) -> list[str]:
    """Return what an sdist holds of checkpoints and records."""
    return [name for name in content(sdist) if name.endswith((".pt", ".mpk", ".npz", ".safetensors"))]


def table(kind: str) -> str:
    return f'{HOOK}sdist = "{kind}"\n'


def ignore_weights(project: Project) -> None:
    (project.root / ".git").mkdir()
    (project.root / ".gitignore").write_text("*.pt\n*.mpk\nweights/\n")


def ignore_weights_above(project: Project) -> None:
    (project.root.parent / ".git").mkdir()
    (project.root.parent / ".gitignore").write_text("*.pt\n*.mpk\n")


def link_weights(project: Project) -> None:
    store = project.root.parent / "store"
    store.mkdir()
    shutil.move(project.source, store / "blob")
    project.source.symlink_to(os.path.relpath(store / "blob", project.source.parent))


def link_the_folder(project: Project) -> None:
    shutil.move(project.root / "weights", project.root.parent / "store")
    (project.root / "weights").symlink_to("../store")


def nothing(project: Project) -> None:
    pass


@pytest.mark.parametrize("layout", ["src", "flat"])
@pytest.mark.parametrize(
    "tables",
    [
        pytest.param("", id="by default"),
        pytest.param('[tool.hatch.build.targets.sdist]\nonly-include = ["{package}"]', id="only-include"),
        pytest.param('[tool.hatch.build.targets.sdist]\ninclude = ["{package}/*.py"]', id="include"),
        pytest.param('[tool.hatch.build]\nartifacts = ["*.pt", "*.mpk"]', id="artifacts"),
    ],
)
@pytest.mark.parametrize("prepare", [nothing, ignore_weights, ignore_weights_above, link_weights, link_the_folder])
@BOTH
def test_holds_one_of_the_two_and_makes_the_wheel_of_the_tree(
    new_project: Callable[..., Project], layout: str, tables: str, prepare: Callable[[Project], None], kind: str
) -> None:
    project = new_project(layout=layout, tables=table(kind) + tables)
    prepare(project)
    project.wheel("editable")
    sdist = project.sdist()
    expected = f"{project.package}/conv2d.mpk" if kind == "records" else "weights/conv2d.pt"
    assert shipped(sdist) == [expected]
    with tarfile.open(sdist) as archive:
        assert all(member.isreg() for member in archive)
    assert project.unpacked_sdist().wheel().read_bytes() == project.wheel().read_bytes()


def test_holds_records_by_default(new_project: Callable[..., Project]) -> None:
    assert shipped(new_project().sdist()) == ["src/demo/conv2d.mpk"]


def test_holds_nothing_of_the_checkpoint_but_the_record(new_project: Callable[..., Project]) -> None:
    project = new_project()
    sdist = gzip.decompress(project.sdist().read_bytes())
    assert b"conv2d/data.pkl" in project.source.read_bytes()
    assert b"conv2d/data.pkl" not in sdist


@BOTH
def test_a_checkpoint_beside_the_code_is_there_once_or_not_at_all(
    new_project: Callable[..., Project], kind: str
) -> None:
    project = new_project(record=RECORD.replace("weights/", "{package}/"), tables=table(kind))
    project.source.rename(project.root / project.package / "conv2d.pt")
    assert shipped(project.sdist()) == ["src/demo/conv2d." + {"records": "mpk", "sources": "pt"}[kind]]
    assert project.unpacked_sdist().wheel().read_bytes() == project.wheel().read_bytes()


@BOTH
def test_two_builds_make_the_same_bytes(new_project: Callable[..., Project], kind: str) -> None:
    project = new_project(tables=table(kind))
    first = project.sdist("dist/first").read_bytes()
    project.wheel("editable")
    assert project.sdist("dist/second").read_bytes() == first


@BOTH
def test_leaves_nothing_temporary(new_project: Callable[..., Project], temporary: Path, kind: str) -> None:
    project = new_project(tables=table(kind))
    before = project.files()
    project.sdist()
    assert list(temporary.iterdir()) == []
    assert [file.name for file in (project.root / "dist").iterdir()] == ["demo-1.0.tar.gz"]
    assert project.files() == before


def test_an_sdist_of_an_unpacked_sdist_is_the_same(new_project: Callable[..., Project]) -> None:
    project = new_project()
    unpacked = project.unpacked_sdist()
    again = unpacked.sdist()
    assert shipped(again) == ["src/demo/conv2d.mpk"]
    shutil.unpack_archive(again, unpacked.root.parent / "again", filter="data")
    (root,) = (unpacked.root.parent / "again").iterdir()
    assert type(project)(root, project.package).wheel().read_bytes() == project.wheel().read_bytes()


def test_an_editable_install_of_an_unpacked_sdist_uses_its_record(
    new_project: Callable[..., Project], capsys: pytest.CaptureFixture[str]
) -> None:
    unpacked = new_project().unpacked_sdist()
    before = unpacked.files()
    capsys.readouterr()
    unpacked.wheel("editable")
    assert unpacked.files() == before
    assert capsys.readouterr().err == "src/demo/conv2d.mpk: as this unpacked sdist holds it\n"


def test_cleaning_an_unpacked_sdist_leaves_its_record(new_project: Callable[..., Project]) -> None:
    unpacked = new_project().unpacked_sdist()
    unpacked.clean()
    assert unpacked.output.is_file()


def test_sources_win_over_records_where_both_are_there(new_project: Callable[..., Project]) -> None:
    project = new_project()
    unpacked = project.unpacked_sdist()
    unpacked.source.parent.mkdir()
    unpacked.source.write_bytes(safetensors())
    assert unpacked.wheel().read_bytes() != project.wheel().read_bytes()


# The record of an unpacked sdist is the one that pyproject.toml asks for


def edit(project: Project, old: str, new: str) -> None:
    pyproject = project.root / "pyproject.toml"
    assert old in pyproject.read_text()
    pyproject.write_text(pyproject.read_text().replace(old, new))


@pytest.mark.parametrize("build", ["wheel", "sdist", "editable"])
@pytest.mark.parametrize(
    ("line", "differs"),
    [
        ('precision = "half"', "`precision`"),
        ("exclude = ['bias']\nreindex = false", "`exclude`, `reindex`"),
        ('metadata = { license = "MIT" }', "`metadata`"),
    ],
)
def test_other_options_than_those_it_was_made_with_are_an_error(
    new_project: Callable[..., Project], refused: Refused, build: str, line: str, differs: str
) -> None:
    unpacked = new_project().unpacked_sdist()
    edit(unpacked, "output =", f"{line}\noutput =")
    builds: dict[str, Callable[[], object]] = {
        "wheel": unpacked.wheel, "sdist": unpacked.sdist, "editable": lambda: unpacked.wheel("editable")
    }  # fmt: skip
    assert refused(builds[build]) == (
        f"src/demo/conv2d.mpk: expected a record made with the options in pyproject.toml, found others: {differs}\n"
        + UNPACKED
    )


def test_another_source_than_that_it_was_made_from_is_an_error(
    new_project: Callable[..., Project], refused: Refused
) -> None:
    unpacked = new_project().unpacked_sdist()
    edit(unpacked, "weights/conv2d.pt", "weights/better.pt")
    assert refused(unpacked.wheel) == (
        "src/demo/conv2d.mpk: expected a record made from `better.pt`, found one from `conv2d.pt`\n" + UNPACKED
    )


def test_another_release_of_the_hook_may_have_made_it(
    new_project: Callable[..., Project], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("hatch_wheelweights.conversion.GENERATOR", "hatch-wheelweights 0.0.1")
    project = new_project()
    wheel = project.wheel().read_bytes()
    unpacked = project.unpacked_sdist()
    monkeypatch.undo()
    assert unpacked.wheel().read_bytes() == wheel


def test_a_damaged_record_is_an_error(new_project: Callable[..., Project], refused: Refused) -> None:
    unpacked = new_project().unpacked_sdist()
    whole = bytearray(unpacked.output.read_bytes())
    whole[-100] ^= 1
    unpacked.output.write_bytes(whole)
    assert refused(unpacked.wheel).startswith("src/demo/conv2d.mpk: ")


def test_in_the_project_itself_a_record_takes_no_checkpoints_place(
    new_project: Callable[..., Project], refused: Refused
) -> None:
    project = new_project()
    project.wheel("editable")
    project.source.unlink()
    assert refused(project.wheel).startswith(
        "hooks.wheelweights.records[0].source: expected a file, found none: `weights/conv2d.pt`\n"
    )


def test_records_of_a_glob_are_found_again(new_project: Callable[..., Project]) -> None:
    record = RECORD.replace("conv2d.pt", "*.pt").replace("conv2d.mpk", "{stem}.mpk")
    project = new_project(record=record)
    for name in ("a", "b.c"):
        shutil.copy(project.source, project.source.with_name(f"{name}.pt"))
    assert shipped(project.sdist()) == ["src/demo/a.mpk", "src/demo/b.c.mpk", "src/demo/conv2d.mpk"]
    assert project.unpacked_sdist().wheel().read_bytes() == project.wheel().read_bytes()


# `exclude`


@pytest.mark.parametrize("where", ["build", "build.targets.sdist"])
@pytest.mark.parametrize(
    ("kind", "pattern", "left_out"),
    [
        ("records", "*.mpk", "src/demo/conv2d.mpk"),
        ("records", "/src/demo/conv2d.mpk", "src/demo/conv2d.mpk"),
        ("sources", "weights", "weights/conv2d.pt"),
        ("sources", "*.pt", "weights/conv2d.pt"),
    ],
)
def test_exclude_keeps_them_out_and_says_what_follows(
    new_project: Callable[..., Project],
    capsys: pytest.CaptureFixture[str],
    refused: Refused,
    where: str,
    kind: str,
    pattern: str,
    left_out: str,
) -> None:
    project = new_project(tables=f'{table(kind)}[tool.hatch.{where}]\nexclude = ["{pattern}"]')
    assert shipped(project.sdist()) == []
    said = capsys.readouterr().err
    assert said.count("left out") == 1
    assert f"{left_out}: left out of the sdist, as `exclude` says; no wheel can be built from it\n" in said
    assert refused(project.unpacked_sdist().wheel).startswith(
        "hooks.wheelweights.records[0].source: expected a file, found none: `weights/conv2d.pt`\n"
    )


def test_exclude_of_the_checkpoints_does_not_concern_records(
    new_project: Callable[..., Project], capsys: pytest.CaptureFixture[str]
) -> None:
    project = new_project(tables='[tool.hatch.build]\nexclude = ["weights", "*.pt"]')
    assert shipped(project.sdist()) == ["src/demo/conv2d.mpk"]
    assert "left out" not in capsys.readouterr().err


# No checkpoint by another way


@pytest.mark.parametrize("source", ["weights/conv2d.pt", "weights"])
def test_a_checkpoint_that_is_forced_in_is_an_error(
    new_project: Callable[..., Project], refused: Refused, source: str
) -> None:
    tables = f'[tool.hatch.build.targets.sdist.force-include]\n"{source}" = "elsewhere/{source}"'
    project = new_project(tables=tables)
    assert refused(project.sdist) == (
        "demo-1.0.tar.gz: expected no checkpoint in it but where it belongs, found `weights/conv2d.pt` at "
        "`elsewhere/weights/conv2d.pt`\n  Take it, or its folder, out of force-include."
    )
    assert list((project.root / "dist").iterdir()) == []


def test_an_sdist_with_sources_needs_them(new_project: Callable[..., Project], refused: Refused) -> None:
    unpacked = new_project().unpacked_sdist()
    edit(unpacked, "[[tool", SOURCES + "[[tool")
    assert refused(unpacked.sdist) == (
        "expected weights/conv2d.pt for an sdist with sources, found the record alone\n"
        "  Make the sdist in the project itself: this is an unpacked one."
    )


def test_the_record_is_sound(new_project: Callable[..., Project], is_conv2d: Callable[[Path], None]) -> None:
    unpacked = new_project().unpacked_sdist()
    is_conv2d(unpacked.output)
    assert "demo/conv2d.mpk" in members(unpacked.wheel())
    assert "editable" not in ww.open_record(unpacked.output).metadata
