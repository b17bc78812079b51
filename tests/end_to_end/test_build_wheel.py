"""The wheel that the hook makes: what is in it, what is not, and that it is always the same."""

from __future__ import annotations

import gc
import json
import math
import os
import struct
import zipfile
from email import message_from_bytes
from pathlib import Path
from typing import TYPE_CHECKING

import pytest
from hatchling.builders.wheel import WheelBuilder

from hatch_wheelweights import wheel
from hatch_wheelweights.hooks import hook as hooks
from looking.wheels import assert_sound, members, read_member
from making.checkpoints import safetensors
from making.projects import RECORD

if TYPE_CHECKING:
    from collections.abc import Callable

    from making.projects import Project

DIST_INFO = "demo-1.0.dist-info"
METADATA = [f"{DIST_INFO}/{name}" for name in ("METADATA", "WHEEL", "RECORD")]
AUDITED = (
    "demo-1.0-py3-none-any.whl: 1 record whole, no checkpoint, nothing left from earlier builds; what they need is "
    "required\n"
)
LAYOUTS = pytest.mark.parametrize("layout", ["src", "flat"])


def requirements(wheel: Path) -> list[str]:
    return message_from_bytes(read_member(wheel, f"{DIST_INFO}/METADATA")).get_all("Requires-Dist", [])


@LAYOUTS
def test_holds_the_record_once_and_no_checkpoint(new_project: Callable[..., Project], layout: str) -> None:
    wheel = new_project(layout=layout).wheel()
    assert members(wheel) == ["demo/__init__.py", "demo/conv2d.mpk", *METADATA]
    assert_sound(wheel)


def test_the_record_holds_torchs_values(
    new_project: Callable[..., Project], tmp_path: Path, is_conv2d: Callable[[Path], None]
) -> None:
    record = tmp_path / "conv2d.mpk"
    record.write_bytes(read_member(new_project().wheel(), "demo/conv2d.mpk"))
    is_conv2d(record)


def test_is_tagged_as_pure_python(new_project: Callable[..., Project]) -> None:
    wheel = new_project().wheel()
    assert wheel.name == "demo-1.0-py3-none-any.whl"
    assert b"Root-Is-Purelib: true\nTag: py3-none-any\n" in read_member(wheel, f"{DIST_INFO}/WHEEL")


def test_says_one_line_for_each_record(new_project: Callable[..., Project], capsys: pytest.CaptureFixture[str]) -> None:
    new_project().wheel()
    said = capsys.readouterr()
    assert said.out == ""
    assert said.err == f"demo/conv2d.mpk: 3 tensors, 136 bytes, from weights/conv2d.pt (pytorch-zip)\n{AUDITED}"


def test_prints_the_table_of_keys_when_asked(
    new_project: Callable[..., Project], capsys: pytest.CaptureFixture[str]
) -> None:
    new_project(record=RECORD + "debug = true\n").wheel()
    said = capsys.readouterr().err
    assert "Key: conv1.bias\nShape: [2]\nDtype: F32\n" in said
    assert said.endswith(f"demo/conv2d.mpk: 3 tensors, 136 bytes, from weights/conv2d.pt (pytorch-zip)\n{AUDITED}")


def test_needs_the_runtime_only(new_project: Callable[..., Project]) -> None:
    assert requirements(new_project(dependencies=("wheelweights",)).wheel()) == ["wheelweights"]


@pytest.mark.parametrize("compression", ["deflated", "stored"])
def test_two_builds_make_the_same_bytes(new_project: Callable[..., Project], compression: str) -> None:
    project = new_project(tables=f'[tool.hatch.build.hooks.wheelweights]\ncompression = "{compression}"', record="")
    text = (project.root / "pyproject.toml").read_text()
    (project.root / "pyproject.toml").write_text(text + RECORD.replace("{package}", project.package))
    first = project.wheel("standard", "dist/first")
    os.utime(project.source, (0, 0))
    assert first.read_bytes() == project.wheel("standard", "dist/second").read_bytes()
    with zipfile.ZipFile(first) as archive:
        method = archive.getinfo("demo/conv2d.mpk").compress_type
    assert method == {"deflated": zipfile.ZIP_DEFLATED, "stored": zipfile.ZIP_STORED}[compression]


def test_source_date_epoch_dates_every_member(
    new_project: Callable[..., Project], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("SOURCE_DATE_EPOCH", "1700000000")
    with zipfile.ZipFile(new_project().wheel()) as archive:
        assert {info.date_time for info in archive.infolist()} == {(2023, 11, 14, 22, 13, 20)}


def test_leaves_the_tree_as_it_was(new_project: Callable[..., Project]) -> None:
    project = new_project()
    before = project.files()
    project.wheel()
    project.sdist()
    assert project.files() == before


def test_takes_the_fresh_record_where_an_editable_build_left_one(new_project: Callable[..., Project]) -> None:
    project = new_project()
    expected = project.wheel("standard", "before").read_bytes()
    project.output.write_bytes(b"stale")
    assert project.wheel().read_bytes() == expected


IN_PACKAGE = RECORD.replace("weights/", "{package}/")


def put_source_into_package(project: Project) -> None:
    project.source.rename(project.root / project.package / "conv2d.pt")


@LAYOUTS
@pytest.mark.parametrize(
    "tables",
    [
        pytest.param("", id="by default"),
        pytest.param('[tool.hatch.build]\nartifacts = ["*.pt"]', id="artifacts"),
        pytest.param('[tool.hatch.build.targets.wheel]\nartifacts = ["*.pt"]', id="artifacts of the wheel"),
        pytest.param('[tool.hatch.build.targets.wheel]\nonly-include = ["{package}"]', id="only-include"),
        pytest.param('[tool.hatch.build.targets.wheel]\ninclude = ["*.pt", "*.py"]', id="include"),
    ],
)
def test_keeps_a_checkpoint_beside_the_code_out(new_project: Callable[..., Project], layout: str, tables: str) -> None:
    project = new_project(layout=layout, record=IN_PACKAGE, tables=tables)
    put_source_into_package(project)
    names = members(project.wheel())
    assert [name for name in names if name.endswith(".pt")] == []
    assert len([name for name in names if name.endswith("conv2d.mpk")]) == 1


def test_keeps_every_shard_out(new_project: Callable[..., Project]) -> None:
    project = new_project(record=RECORD.replace("weights/conv2d.pt", "{package}/model.safetensors.index.json"))
    folder = project.root / project.package
    for number in (1, 2):
        shard = safetensors({f"layer{number}.weight": ("F32", [4], 0, 16)})
        (folder / f"model-{number}.safetensors").write_bytes(shard)
    weight_map = {f"layer{number}.weight": f"model-{number}.safetensors" for number in (1, 2)}
    (folder / "model.safetensors.index.json").write_text(json.dumps({"metadata": {}, "weight_map": weight_map}))
    wheel = project.wheel()
    assert members(wheel) == ["demo/__init__.py", "demo/conv2d.mpk", *METADATA]
    assert project.unpacked_sdist().wheel().read_bytes() == wheel.read_bytes()


def test_passes_warnings_on(new_project: Callable[..., Project], capsys: pytest.CaptureFixture[str]) -> None:
    project = new_project(record=RECORD.replace("conv2d.pt", "model.safetensors.index.json"))
    shard = safetensors({"a": ("F32", [2], 0, 8), "b": ("F32", [2], 8, 16)})
    (project.root / "weights" / "1.safetensors").write_bytes(shard)
    (project.root / "weights" / "model.safetensors.index.json").write_text('{"weight_map": {"a": "1.safetensors"}}')
    project.wheel()
    assert capsys.readouterr().err.splitlines()[0] == (
        "weights/model.safetensors.index.json: the shards hold tensors that the index does not name: `b`"
    )


def test_warns_of_values_that_are_not_finite_whenever_it_reads_them(
    new_project: Callable[..., Project], capsys: pytest.CaptureFixture[str]
) -> None:
    project = new_project(record=RECORD.replace("conv2d.pt", "model.safetensors"))
    values = struct.pack("<4f", 1, math.nan, math.inf, -math.inf)
    (project.root / "weights" / "model.safetensors").write_bytes(safetensors({"w": ("F32", [4], 0, 16)}, values))
    warning = (
        "weights/model.safetensors: 1 tensor holds values that are not finite: `w` (1 NaN, 2 infinities); "
        "a mask that the model makes itself can be left out with exclude"
    )
    builds: list[tuple[Callable[[], object], int]] = [
        (project.wheel, 1),
        (project.sdist, 1),
        (lambda: project.wheel("editable"), 1),
        (lambda: project.wheel("editable"), 0),  # up to date, so that nothing is read
        (project.unpacked_sdist().wheel, 0),  # has the record already
    ]
    for build, times in builds:
        capsys.readouterr()
        build()
        assert capsys.readouterr().err.splitlines().count(warning) == times


@pytest.mark.parametrize(
    ("tables", "place"),
    [
        pytest.param('[tool.hatch.build.targets.wheel]\npackages = ["src/demo"]', "demo/conv2d.mpk", id="packages"),
        pytest.param('[tool.hatch.build.targets.wheel]\nsources = ["src"]', "demo/conv2d.mpk", id="sources"),
        pytest.param(
            '[tool.hatch.build.targets.wheel.sources]\n"src/demo" = "other"', "other/conv2d.mpk", id="sources renamed"
        ),
        pytest.param(
            '[tool.hatch.build.targets.wheel]\nonly-include = ["src/demo"]', "src/demo/conv2d.mpk", id="only-include"
        ),
        pytest.param('[tool.hatch.build]\nexclude = ["*.mpk"]', "demo/conv2d.mpk", id="excluded"),
    ],
)
def test_the_record_goes_where_hatch_puts_its_neighbours(
    new_project: Callable[..., Project], tables: str, place: str
) -> None:
    names = members(new_project(tables=tables).wheel())
    assert [name for name in names if name.endswith(".mpk")] == [place]
    assert place.replace("conv2d.mpk", "__init__.py") in names


def test_the_record_lands_beside_the_code_even_in_a_folder_without_any(new_project: Callable[..., Project]) -> None:
    project = new_project(record=RECORD.replace("{package}/", "{package}/data/deep/"))
    assert "demo/data/deep/conv2d.mpk" in members(project.wheel())


def test_several_records_come_from_a_glob(new_project: Callable[..., Project]) -> None:
    project = new_project(record=RECORD.replace("conv2d.pt", "*.pt").replace("conv2d.mpk", "{stem}.mpk"))
    (project.root / "weights" / "b.pt").write_bytes(project.source.read_bytes())
    (project.root / "weights" / "a.pt").write_bytes(project.source.read_bytes())
    wheel = project.wheel()
    assert members(wheel)[1:4] == ["demo/a.mpk", "demo/b.mpk", "demo/conv2d.mpk"]
    assert project.unpacked_sdist().wheel().read_bytes() == wheel.read_bytes()


def test_hatch_toml_works_too(new_project: Callable[..., Project]) -> None:
    project = new_project(record="")
    text = RECORD.replace("tool.hatch.", "").replace("{package}", project.package)
    (project.root / "hatch.toml").write_text(text)
    wheel = project.wheel()
    assert "demo/conv2d.mpk" in members(wheel)
    assert project.unpacked_sdist().wheel().read_bytes() == wheel.read_bytes()


def test_a_table_of_the_target_replaces_the_global_one(new_project: Callable[..., Project]) -> None:
    of_target = RECORD.replace("build.hooks", "build.targets.wheel.hooks").replace("conv2d.mpk", "other.mpk")
    assert members(new_project(tables=of_target).wheel())[1] == "demo/other.mpk"


def test_lets_hatchs_own_keys_through(new_project: Callable[..., Project]) -> None:
    keys = [
        "[tool.hatch.build.hooks.wheelweights]",
        'dependencies = ["six"]',
        "require-runtime-dependencies = false",
        "require-runtime-features = []",
        "enable-by-default = true",
    ]
    assert "demo/conv2d.mpk" in members(new_project(record="\n".join([*keys, RECORD])).wheel())


def test_a_disabled_hook_does_nothing(new_project: Callable[..., Project], monkeypatch: pytest.MonkeyPatch) -> None:
    project = new_project()
    monkeypatch.setenv("HATCH_BUILD_NO_HOOKS", "true")
    assert members(project.wheel()) == ["demo/__init__.py", *METADATA]


def test_builds_several_versions_one_after_the_other(
    new_project: Callable[..., Project], temporary: Path, is_conv2d: Callable[[Path], None]
) -> None:
    project = new_project()
    builder = WheelBuilder(str(project.root))
    versions = ["standard", "editable", "standard"]
    built = [members(Path(wheel)) for wheel in builder.build(directory=str(project.root / "dist"), versions=versions)]
    assert [any(name.endswith(".mpk") for name in names) for names in built] == [True, False, True]
    assert built[0] == built[2]
    is_conv2d(project.output)
    assert list(temporary.iterdir()) == []


def test_leaves_other_targets_alone(new_project: Callable[..., Project]) -> None:
    project = new_project()
    project.source.unlink()
    hook = hooks.WheelweightsBuildHook(str(project.root), {}, None, None, "dist", "other")  # type: ignore[arg-type]
    hook.initialize("standard", {})
    hook.finalize("standard", {}, "")


@pytest.mark.parametrize("kind", ["wheel", "sdist"])
def test_warns_of_what_pypi_will_not_take(
    new_project: Callable[..., Project], monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], kind: str
) -> None:
    project = new_project()
    monkeypatch.setattr(hooks, "PYPI_LIMIT_BYTES", (size := getattr(project, kind)().stat().st_size))
    capsys.readouterr()
    getattr(project, kind)()
    assert "PyPI" not in capsys.readouterr().err
    monkeypatch.setattr(hooks, "PYPI_LIMIT_BYTES", size - 1)
    artifact = getattr(project, kind)()
    assert capsys.readouterr().err.endswith(
        f"{artifact.name}: expected at most {size - 1:,} bytes, PyPI's default limit, found {size:,}\n"
        "  Put the records into distributions of their own with `distribution`, make them smaller with `precision`, or "
        "ask PyPI for a higher limit.\n"
    )


def test_removes_temporary_files_after_success(new_project: Callable[..., Project], temporary: Path) -> None:
    new_project().wheel()
    assert list(temporary.iterdir()) == []


def test_removes_temporary_files_after_only_hooks_were_run(
    new_project: Callable[..., Project], temporary: Path
) -> None:
    project = new_project()
    assert list(WheelBuilder(str(project.root)).build(directory=str(project.root / "dist"), hooks_only=True)) == []
    gc.collect()
    assert list(temporary.iterdir()) == []
    assert list((project.root / "dist").iterdir()) == []


def test_removes_temporary_files_after_a_refusal(
    new_project: Callable[..., Project], temporary: Path, refused: Callable[[Callable[[], object]], str]
) -> None:
    second = RECORD.replace("conv2d.", "broken.")
    project = new_project(record=RECORD + second)
    (project.root / "weights" / "broken.pt").write_bytes(project.source.read_bytes()[:-200])
    assert refused(project.wheel).startswith("weights/broken.pt: ")
    assert list(temporary.iterdir()) == []
    assert list((project.root / "dist").iterdir()) == []


def test_leaves_no_wheel_without_its_records(
    new_project: Callable[..., Project],
    temporary: Path,
    monkeypatch: pytest.MonkeyPatch,
    refused: Callable[[Callable[[], object]], str],
) -> None:
    def full(*_: object) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(wheel._ZipWriter, "close", full)
    project = new_project()
    assert refused(project.wheel) == "dist/demo-1.0-py3-none-any.whl: cannot be written: No space left on device"
    assert list(temporary.iterdir()) == []
    assert list((project.root / "dist").iterdir()) == []


def test_removes_temporary_files_when_the_builder_fails(new_project: Callable[..., Project], temporary: Path) -> None:
    project = new_project(tables='[tool.hatch.build.targets.wheel.force-include]\n"missing.txt" = "missing.txt"')
    with pytest.raises(FileNotFoundError):
        project.wheel()
    gc.collect()
    assert [path for path in temporary.iterdir() if path.name.startswith("wheelweights-")] == []
