"""Weights in wheels of their own: the target `weights`, the wheel that requires them, and both together."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
import zipfile
from email import message_from_bytes
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

import wheelweights as ww
from hatch_wheelweights.hooks.weights import WeightsBuilder
from looking.wheels import assert_sound, members, read_member
from making.checkpoints import safetensors
from making.projects import RECORD

if TYPE_CHECKING:
    from collections.abc import Callable

    from making.projects import Project

    Refused = Callable[[Callable[[], object]], str]

TABLE = (
    "[tool.hatch.build.hooks.wheelweights]\ndistribution = { name = 'demo-weights', version = '3', max-size = 700 }\n"
)
WHEELS = ["demo_weights_1-3-py3-none-any.whl", "demo_weights_2-3-py3-none-any.whl"]
AT = "hooks.wheelweights.distribution"

OTHER = "that goes with the table, found one whose tensors are in demo-weights-1 3, demo-weights-2 3\n"
LOAD = """
import json, wheelweights as ww
record = ww.load("demo", "conv2d.mpk", verify=True)
print(json.dumps({key: value.tolist() for key, value in record.items()}))
"""


@pytest.fixture
def project(new_project: Callable[..., Project]) -> Project:
    """A package with two tensors, each of which takes a wheel."""
    project = new_project(record=RECORD.replace("conv2d.pt", "m.safetensors"), tables=TABLE)
    write_weights(project)
    return project


def write_weights(project: Project, first: int = 1) -> None:
    header = {"a": ("F32", [64], 0, 256), "b": ("F32", [64], 256, 512)}
    content = safetensors(header, bytes([first]) + bytes(range(255)) + bytes(256))
    (project.root / "weights" / "m.safetensors").write_bytes(content)


def weights(project: Project, into: str = "dist") -> list[Path]:
    return [Path(wheel) for wheel in WeightsBuilder(str(project.root)).build(directory=str(project.root / into))]


def installed(*wheels: Path, into: Path) -> Path:
    """Unpack wheels side by side, as installers do."""
    for wheel in wheels:
        with zipfile.ZipFile(wheel) as archive:
            archive.extractall(into)
    return into


def loaded(site: Path) -> subprocess.CompletedProcess[str]:
    path = os.pathsep.join([str(site), str(Path(ww.__file__).parents[1])])
    return subprocess.run(
        [sys.executable, "-c", LOAD],
        env={**os.environ, "PYTHONPATH": path},
        capture_output=True,
        text=True,
        check=False,
    )


def requirements(wheel: Path, name: str = "demo-1.0") -> list[str]:
    return message_from_bytes(read_member(wheel, f"{name}.dist-info/METADATA")).get_all("Requires-Dist", [])


def test_makes_wheels_of_data(project: Project, capsys: pytest.CaptureFixture[str]) -> None:
    wheels = weights(project)
    assert [wheel.name for wheel in wheels] == WHEELS
    assert sorted(file.name for file in (project.root / "dist").iterdir()) == WHEELS
    for number, wheel in enumerate(wheels, 1):
        package = f"demo_weights_{number}"
        assert members(wheel) == [
            f"{package}/__init__.py",
            f"{package}/demo/conv2d.mpk",
            f"{package}-3.dist-info/METADATA",
            f"{package}-3.dist-info/WHEEL",
            f"{package}-3.dist-info/RECORD",
        ]
        assert_sound(wheel)
        assert requirements(wheel, f"{package}-3") == []
    assert capsys.readouterr().err.splitlines()[-1].startswith(f"{WHEELS[1]}: 1 tensor in records of ")


def test_its_metadata_say_what_it_is(project: Project) -> None:
    message = message_from_bytes(read_member(weights(project)[0], "demo_weights_1-3.dist-info/METADATA"))
    assert dict(message.items()) == {
        "Metadata-Version": "2.4",
        "Name": "demo-weights-1",
        "Version": "3",
        "Summary": "Weights of demo, part 1 of 2",
        "Requires-Python": ">=3.11",
        "Description-Content-Type": "text/markdown",
    }
    assert str(message.get_payload()).startswith("# demo-weights-1\n\nWeights of the package [demo]")
    wheel = read_member(weights(project)[0], "demo_weights_1-3.dist-info/WHEEL")
    assert wheel.endswith(b"Root-Is-Purelib: true\nTag: py3-none-any\n")


def test_its_metadata_name_the_authors_in_utf_8_and_are_never_folded(project: Project) -> None:
    pyproject = project.root / "pyproject.toml"
    authors = [f"Zoë Größe {number}" for number in range(9)]
    tables = ", ".join(f"{{ name = '{name}' }}" for name in authors)
    text = pyproject.read_text().replace("[project]\n", f"[project]\nauthors = [{tables}]\n")
    pyproject.write_text(text, encoding="utf-8")
    metadata = read_member(weights(project)[0], "demo_weights_1-3.dist-info/METADATA").decode()
    assert f"\nAuthor: {', '.join(authors)}\n" in metadata


def test_licence_files_come_along(project: Project) -> None:
    (project.root / "LICENSE").write_text("MIT")
    assert "demo_weights_1-3.dist-info/licenses/LICENSE" in members(weights(project)[0])


def test_two_builds_make_the_same_bytes(project: Project) -> None:
    first = [wheel.read_bytes() for wheel in weights(project, "dist/first")]
    assert [wheel.read_bytes() for wheel in weights(project, "dist/second")] == first


def test_the_projects_wheel_requires_them_and_holds_no_tensor(project: Project) -> None:
    wheel = project.wheel()
    assert requirements(wheel) == ["wheelweights", "demo-weights-1==3", "demo-weights-2==3"]
    assert len(read_member(wheel, "demo/conv2d.mpk")) < 1_200
    assert project.unpacked_sdist().wheel().read_bytes() == wheel.read_bytes()


def test_records_that_share_parts_require_each_of_them_once(project: Project) -> None:
    """The wheel of the sdist reads off the records what the wheel of the tree has from the split."""
    pyproject = project.root / "pyproject.toml"
    second = RECORD.replace("conv2d.pt", "small.safetensors").replace("conv2d.mpk", "a_small.mpk")
    record = second.replace("{package}", project.package)
    pyproject.write_text(pyproject.read_text().replace("[[tool", f"{record}\n[[tool", 1).replace("700", "1100"))
    header = {"x": ("F32", [4], 0, 16), "y": ("F32", [4], 16, 32)}
    (project.root / "weights" / "small.safetensors").write_bytes(safetensors(header, bytes(32)))
    wheel = project.wheel()
    assert requirements(wheel) == ["wheelweights", "demo-weights-1==3", "demo-weights-2==3"]
    unpacked = project.unpacked_sdist()
    assert unpacked.wheel().read_bytes() == wheel.read_bytes()
    assert project.sdist("dist/again").read_bytes() == project.sdist("dist/once more").read_bytes()


def test_its_sdist_requires_them_too_and_holds_the_index(project: Project) -> None:
    """Installers that believe an sdist's metadata would not see them otherwise."""
    unpacked = project.unpacked_sdist()
    assert "Requires-Dist: demo-weights-2==3\n" in (unpacked.root / "PKG-INFO").read_text()
    assert len(ww.open_record(unpacked.output, index=True)) == 0


def test_together_they_are_the_whole_record(project: Project, tmp_path: Path) -> None:
    site = installed(project.wheel(), *weights(project), into=tmp_path / "site")
    done = loaded(site)
    assert done.returncode == 0, done.stderr
    project.wheel("editable")
    whole = ww.open_record(project.output)
    assert done.stdout == ww_json(whole)


def ww_json(record: ww.Record) -> str:
    import json

    return json.dumps({key: value.tolist() for key, value in record.items()}) + "\n"


def test_a_new_version_of_the_code_needs_no_new_weights(
    project: Project, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("hatch_wheelweights.conversion.GENERATOR", "hatch-wheelweights 0.0.1")
    old = weights(project)
    monkeypatch.undo()
    pyproject = project.root / "pyproject.toml"
    pyproject.write_text(pyproject.read_text().replace('version = "1.0"', 'version = "1.1"'))
    (project.root / project.package / "fix.py").write_text("")
    done = loaded(installed(project.wheel(), *old, into=tmp_path / "site"))
    assert done.returncode == 0, done.stderr


def test_other_weights_under_the_same_version_are_an_error(project: Project, tmp_path: Path) -> None:
    old = weights(project)
    write_weights(project, first=2)
    done = loaded(installed(project.wheel(), *old, into=tmp_path / "site"))
    assert done.returncode == 1
    assert "expected distribution `demo-weights-1` 3 with the tensors that this record was built with" in done.stderr


def test_an_editable_install_has_the_whole_record_and_requires_none(project: Project) -> None:
    assert requirements(project.wheel("editable")) == ["wheelweights"]
    assert list(ww.open_record(project.output)) == ["a", "b"]


def test_a_part_less_than_before_is_removed(project: Project) -> None:
    weights(project)
    other = project.root / "dist" / "demo_weights_1-2-py3-none-any.whl"
    other.write_bytes(b"of another version")
    pyproject = project.root / "pyproject.toml"
    pyproject.write_text(pyproject.read_text().replace("700", "70000"))
    assert [wheel.name for wheel in weights(project)] == ["demo_weights-3-py3-none-any.whl"]
    names = sorted(file.name for file in (project.root / "dist").iterdir())
    assert names == ["demo_weights-3-py3-none-any.whl", other.name]


def test_cleaning_removes_them(project: Project) -> None:
    weights(project)
    (project.root / "dist" / "other-3-py3-none-any.whl").write_bytes(b"")
    assert list(WeightsBuilder(str(project.root)).build(directory=str(project.root / "dist"), clean_only=True)) == []
    assert [file.name for file in (project.root / "dist").iterdir()] == ["other-3-py3-none-any.whl"]


def test_leaves_nothing_temporary(project: Project, temporary: Path) -> None:
    before = project.files()
    weights(project)
    assert project.files() == before
    assert list(temporary.iterdir()) == []


def test_hatchling_finds_the_target(project: Project) -> None:
    command = [sys.executable, "-m", "hatchling", "build", "-t", "weights"]
    done = subprocess.run(command, cwd=project.root, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    assert [line for line in done.stderr.splitlines() if line.startswith("dist")] == [f"dist/{name}" for name in WHEELS]


# What cannot be made


def test_without_a_distribution_there_is_nothing_to_make(new_project: Callable[..., Project], refused: Refused) -> None:
    assert refused(lambda: weights(new_project())) == (
        f"{AT}: expected the name and version of what the weights go into, found nothing\n"
        '  Write, say: distribution = { name = "my-weights", version = "1", max-size = "95MB" }'
    )


@pytest.mark.parametrize("build", ["weights", "wheel"])
@pytest.mark.parametrize("own", ["demo", "demo-weights-1"])
def test_the_name_of_the_project_is_taken(project: Project, refused: Refused, build: str, own: str) -> None:
    pyproject = project.root / "pyproject.toml"
    named = {"demo": "Demo", "demo-weights-1": "demo-weights"}[own]
    text = pyproject.read_text().replace("'demo-weights'", f"'{named}'").replace('name = "demo"', f'name = "{own}"')
    pyproject.write_text(text)
    assert refused(project.wheel if build == "wheel" else lambda: weights(project)) == (
        f"{AT}.name: expected a name of its own, found that of the project or one that parts may have: {own}\n"
        f"  Write, say: {own}-weights"
    )


def test_a_tensor_beyond_the_size_is_told(project: Project, refused: Refused) -> None:
    pyproject = project.root / "pyproject.toml"
    pyproject.write_text(pyproject.read_text().replace("700", "500"))
    for build in (project.wheel, lambda: weights(project)):
        assert refused(build).startswith(
            f"{AT}.max-size: expected room for every tensor, found 500 bytes and tensor `a`"
        )


def test_an_unpacked_sdist_makes_neither_weights_nor_an_editable_install(project: Project, refused: Refused) -> None:
    unpacked = project.unpacked_sdist()
    assert refused(lambda: weights(unpacked)) == (
        f"{AT}: expected the checkpoints to make the weights from, found an unpacked sdist without them\n"
        "  Make the weights in the project itself."
    )
    assert refused(lambda: unpacked.wheel("editable")) == (
        "src/demo/conv2d.mpk: expected a record with its tensors for an editable install, found one whose tensors are "
        "in others\n  Install it from the project itself; this is an unpacked sdist."
    )


@pytest.mark.parametrize(
    ("old", "new", "fact"),
    [
        (
            "version = '3'",
            "version = '4'",
            OTHER,
        ),
        ("demo-weights", "others", OTHER),
        ("distribution = ", "# ", OTHER),
    ],
)
def test_an_index_that_does_not_go_with_the_table_is_told(
    project: Project, refused: Refused, old: str, new: str, fact: str
) -> None:
    unpacked = project.unpacked_sdist()
    pyproject = unpacked.root / "pyproject.toml"
    pyproject.write_text(pyproject.read_text().replace(old, new))
    assert refused(unpacked.wheel).startswith(f"src/demo/conv2d.mpk: expected a record {fact}")


def test_a_whole_record_does_not_go_with_a_distribution(new_project: Callable[..., Project], refused: Refused) -> None:
    unpacked = new_project().unpacked_sdist()
    pyproject = unpacked.root / "pyproject.toml"
    pyproject.write_text(pyproject.read_text() + TABLE)
    assert refused(unpacked.wheel).startswith(
        "src/demo/conv2d.mpk: expected a record whose tensors are in `demo-weights`, found one that has them\n"
    )


def test_an_sdist_with_sources_makes_everything(project: Project) -> None:
    pyproject = project.root / "pyproject.toml"
    pyproject.write_text(pyproject.read_text().replace("distribution =", 'sdist = "sources"\ndistribution ='))
    unpacked = project.unpacked_sdist()
    assert unpacked.wheel().read_bytes() == project.wheel().read_bytes()
    assert [wheel.read_bytes() for wheel in weights(unpacked)] == [wheel.read_bytes() for wheel in weights(project)]
    shutil.rmtree(unpacked.root)
