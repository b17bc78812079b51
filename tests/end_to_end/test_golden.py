"""Golden outputs on their way: through tree and sdist into the wheel, beside the record, and out of it again."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest

import wheelweights as ww
from hatch_wheelweights import convert
from looking.wheels import assert_sound, members, read_member
from making.goldens import Convolutions, golden_arrays, write_npz
from making.projects import RECORD

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from making.projects import Project

    Refused = Callable[[Callable[[], object]], str]

GOLDEN = RECORD + 'golden = "weights/golden.npz"\n'
LINE = "golden.mpk: golden outputs of the model and 2 parts, from weights/golden.npz\n"


@pytest.fixture
def project(new_project: Callable[..., Project]) -> Project:
    return with_golden(new_project(record=GOLDEN))


def with_golden(project: Project) -> Project:
    convert(project.source, project.root / "model.mpk")
    net = ww.bind(Convolutions, ww.open_record(project.root / "model.mpk", mmap=False))
    (project.root / "model.mpk").unlink()
    write_npz(project.root / "weights" / "golden.npz", golden_arrays(net))
    return project


def golden_of(project: Project) -> Path:
    return project.output.with_name("conv2d.golden.mpk")


def test_the_wheel_has_it_beside_the_record_and_not_the_npz(
    project: Project, capsys: pytest.CaptureFixture[str]
) -> None:
    wheel = project.wheel()
    names = [name for name in members(wheel) if ".dist-info/" not in name]
    assert names == ["demo/__init__.py", "demo/conv2d.mpk", "demo/conv2d.golden.mpk"]
    assert_sound(wheel)
    assert f"demo/conv2d.{LINE}" in capsys.readouterr().err


def test_nothing_is_left_behind(project: Project, temporary: Path) -> None:
    before = project.files()
    project.wheel()
    assert project.files() == before
    assert list(temporary.iterdir()) == []


def test_the_record_is_the_same_with_and_without_it(project: Project, tmp_path: Path) -> None:
    convert(project.source, tmp_path / "plain.mpk")
    assert read_member(project.wheel(), "demo/conv2d.mpk") == (tmp_path / "plain.mpk").read_bytes()


@pytest.mark.parametrize("kind", ["records", "sources"])
def test_the_sdist_carries_it_and_makes_the_same_wheel(
    project: Project, monkeypatch: pytest.MonkeyPatch, kind: str
) -> None:
    monkeypatch.setenv("SOURCE_DATE_EPOCH", "1700000000")
    (project.root / ".gitignore").write_text("*.npz\n")
    pyproject = project.root / "pyproject.toml"
    pyproject.write_text(f'{pyproject.read_text()}\n[tool.hatch.build.hooks.wheelweights]\nsdist = "{kind}"\n')
    unpacked = project.unpacked_sdist()
    assert (unpacked.root / "weights" / "golden.npz").is_file() == (kind == "sources")
    assert unpacked.output.with_name("conv2d.golden.mpk").is_file() == (kind == "records")
    assert unpacked.wheel().read_bytes() == project.wheel().read_bytes()


def test_an_npz_in_the_package_stays_out_of_the_wheel(new_project: Callable[..., Project]) -> None:
    project = with_golden(new_project(record=RECORD + 'golden = "{package}/golden.npz"\n'))
    shutil.move(project.root / "weights" / "golden.npz", project.output.with_name("golden.npz"))
    assert not any(name.endswith(".npz") for name in members(project.wheel()))


@pytest.mark.parametrize("compression", ["deflated", "stored"])
@pytest.mark.parametrize("unpacked", [False, True], ids=["in the archive", "unpacked"])
def test_check_finds_it_where_the_wheel_is(
    new_project: Callable[..., Project], tmp_path: Path, compression: str, unpacked: bool
) -> None:
    hook = f'[tool.hatch.build.hooks.wheelweights]\ncompression = "{compression}"\n'
    wheel = with_golden(new_project(record=GOLDEN, tables=hook)).wheel()
    if unpacked:
        shutil.unpack_archive(wheel, tmp_path / "site", "zip")
    code = (
        "import wheelweights as ww; from making.goldens import Convolutions\n"
        "record = ww.load('demo', 'conv2d.mpk')\n"
        "report = ww.check(ww.bind(Convolutions, record), record)\n"
        "print([(one.part, one.kind) for one in report.comparisons])\n"
    )
    path = os.pathsep.join([str(tmp_path / "site" if unpacked else wheel), *filter(None, sys.path)])
    run = subprocess.run(
        [sys.executable, "-c", code], env={**os.environ, "PYTHONPATH": path}, check=True, capture_output=True, text=True
    )
    assert run.stdout == "[('conv1', 'fits'), ('conv2', 'fits'), ('', 'fits')]\n"


def test_an_editable_install_has_it_in_the_tree(project: Project) -> None:
    before = project.files()
    wheel = project.wheel("editable")
    assert not any(name.endswith((".mpk", ".npz")) for name in members(wheel))
    assert project.files().keys() - before.keys() == {"src/demo/conv2d.mpk", "src/demo/conv2d.golden.mpk"}
    record = ww.open_record(project.output)
    assert ww.check(ww.bind(Convolutions, record), record).fits


def change_the_npz(project: Project) -> None:
    with np.load(project.root / "weights" / "golden.npz") as arrays:
        changed = {name: array + 1 for name, array in arrays.items()}
    write_npz(project.root / "weights" / "golden.npz", changed)


def damage_it(project: Project) -> None:
    golden_of(project).write_bytes(golden_of(project).read_bytes()[:-1])


def remove_it(project: Project) -> None:
    golden_of(project).unlink()


@pytest.mark.parametrize("change", [change_the_npz, damage_it, remove_it])
def test_an_editable_install_renews_it(
    project: Project, change: Callable[[Project], None], capsys: pytest.CaptureFixture[str]
) -> None:
    project.wheel("editable")
    capsys.readouterr()
    project.wheel("editable")
    assert capsys.readouterr().err == "src/demo/conv2d.mpk: up to date with weights/conv2d.pt\n"
    change(project)
    project.wheel("editable")
    assert capsys.readouterr().err.endswith(f"src/demo/conv2d.{LINE}")
    ww.open_record(golden_of(project)).verify()


def test_one_that_was_left_in_the_tree_gets_into_no_wheel(project: Project) -> None:
    project.wheel("editable")
    pyproject = project.root / "pyproject.toml"
    pyproject.write_text(pyproject.read_text().replace('golden = "weights/golden.npz"\n', ""))
    assert [name for name in members(project.wheel()) if name.endswith(".mpk")] == ["demo/conv2d.mpk"]


def test_cleaning_removes_it(project: Project) -> None:
    before = project.files()
    project.wheel("editable")
    project.clean()
    assert project.files() == before


def test_cleaning_leaves_the_one_of_another_record(project: Project) -> None:
    foreign = golden_of(project)
    ww.write_record(foreign, {}, metadata={"source": {"name": "other.pt"}})
    project.clean()
    assert foreign.is_file()


@pytest.mark.parametrize(
    ("change", "message"),
    [
        pytest.param(
            lambda project: (project.root / "weights" / "golden.npz").unlink(),
            "hooks.wheelweights.records[0].golden: expected a file, found none: `weights/golden.npz`\n"
            "  Make it in torch: hatch_wheelweights.golden(model, *inputs, path=...).",
            id="missing",
        ),
        pytest.param(
            lambda project: (project.root / "weights" / "golden.npz").write_bytes(b"PK"),
            "weights/golden.npz: a zip file does not begin with its first member\n"
            "  Make it again, in torch with hatch_wheelweights.golden, or with numpy.savez.",
            id="damaged",
        ),
        pytest.param(
            lambda project: write_npz(project.root / "weights" / "golden.npz", {"input": 1, "output": 1, "fc/input": 1,
                                                                             "fc/output": 1}),
            "weights/golden.npz: part `fc`: no tensor of that part in the checkpoint\n"
            "  Name parts with tensors of their own, as the checkpoint's keys begin.",
            id="a part of another model",
        ),
    ],
)  # fmt: skip
@pytest.mark.parametrize("version", ["standard", "editable"])
def test_what_does_not_fit_stops_the_build(
    project: Project, refused: Refused, change: Callable[[Project], Any], message: str, version: str
) -> None:
    change(project)
    before = project.files()
    assert refused(lambda: project.wheel(version)) == message
    assert project.files() == before
    assert list((project.root / "dist").iterdir()) == []


def test_a_glob_has_one_for_each_checkpoint(new_project: Callable[..., Project]) -> None:
    record = (
        GOLDEN.replace("conv2d.pt", "conv*.pt").replace("conv2d.mpk", "{stem}.mpk").replace("golden.npz", "{stem}.npz")
    )
    project = with_golden(new_project(record=record))
    (project.root / "weights" / "golden.npz").rename(project.root / "weights" / "conv2d.npz")
    assert [name for name in members(project.wheel()) if name.endswith(".mpk")] == [
        "demo/conv2d.mpk",
        "demo/conv2d.golden.mpk",
    ]


def test_a_record_that_hatch_brings_to_its_place_stops_the_build(
    new_project: Callable[..., Project], refused: Refused
) -> None:
    other = RECORD.replace("{package}/conv2d.mpk", "other/demo/conv2d.golden.mpk")
    project = with_golden(new_project(record=GOLDEN + other, tables="[tool.hatch.build]\nsources = ['src', 'other']"))
    assert refused(project.wheel).startswith(
        "hooks.wheelweights.records: expected one record at `demo/conv2d.golden.mpk` in the wheel, found two\n"
    )
