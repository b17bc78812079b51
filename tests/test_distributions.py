"""What is published: two distributions that belong together."""

from __future__ import annotations

import shutil
import tomllib
from email import message_from_bytes
from pathlib import Path
from typing import Any

import pytest
from hatchling.builders.sdist import SdistBuilder
from hatchling.builders.wheel import WheelBuilder
from hatchling.metadata.core import ProjectMetadata
from hatchling.plugin.manager import PluginManager

import hatch_wheelweights
import wheelweights
from looking.wheels import members, read_member

ROOT = Path(__file__).parents[1]
VERSION_FILE = Path("runtime") / "src" / "wheelweights" / "_version.py"
EXTRAS = ["click"]


def _project(folder: str) -> dict[str, Any]:
    project: dict[str, Any] = tomllib.loads((ROOT / folder / "pyproject.toml").read_text())["project"]
    return project


def _metadata(root: Path) -> ProjectMetadata[PluginManager]:
    return ProjectMetadata(str(root), PluginManager())


@pytest.fixture
def of_another_version(tmp_path: Path) -> Path:
    """A copy of both distributions in which the one file with the version says 9.8.7."""
    for folder in ("runtime", "hatch_plugin"):
        shutil.copytree(ROOT / folder, tmp_path / folder, ignore=shutil.ignore_patterns("__pycache__", "dist"))
    text = (tmp_path / VERSION_FILE).read_text()
    assert text.count(wheelweights.__version__) == 1
    (tmp_path / VERSION_FILE).write_text(text.replace(wheelweights.__version__, "9.8.7"))
    return tmp_path


def test_both_have_the_same_version_and_the_plugin_asks_for_it() -> None:
    assert hatch_wheelweights.__version__ == wheelweights.__version__
    plugin = _metadata(ROOT / "hatch_plugin")
    assert plugin.version == _metadata(ROOT / "runtime").version == wheelweights.__version__
    assert f"wheelweights[ml-dtypes]=={wheelweights.__version__}" in plugin.core.dependencies


def test_the_version_is_in_one_file(of_another_version: Path) -> None:
    plugin = _metadata(of_another_version / "hatch_plugin")
    assert plugin.version == _metadata(of_another_version / "runtime").version == "9.8.7"
    assert "wheelweights[ml-dtypes]==9.8.7" in plugin.core.dependencies


def test_the_plugins_sdist_makes_the_wheel_of_the_tree(tmp_path: Path) -> None:
    (sdist,) = SdistBuilder(str(ROOT / "hatch_plugin")).build(directory=str(tmp_path), versions=["standard"])
    shutil.unpack_archive(sdist, tmp_path / "unpacked", filter="data")
    (unpacked,) = (tmp_path / "unpacked").iterdir()
    (from_tree,) = WheelBuilder(str(ROOT / "hatch_plugin")).build(directory=str(tmp_path), versions=["standard"])
    (from_sdist,) = WheelBuilder(str(unpacked)).build(directory=str(unpacked / "dist"), versions=["standard"])
    assert Path(from_sdist).read_bytes() == Path(from_tree).read_bytes()
    (metadata,) = (name for name in members(Path(from_tree)) if name.endswith(".dist-info/METADATA"))
    required = message_from_bytes(read_member(Path(from_tree), metadata)).get_all("Requires-Dist", [])
    assert f"wheelweights[ml-dtypes]=={wheelweights.__version__}" in required


def test_the_runtime_depends_on_numpy_and_msgpack_alone() -> None:
    assert _project("runtime")["dependencies"] == ["numpy>=2", "msgpack>=1.2.3"]


def test_a_build_needs_nothing_of_the_command_line() -> None:
    core = _metadata(ROOT / "hatch_plugin").core
    assert [name for name in EXTRAS if any(one.startswith(name) for one in core.dependencies)] == []
    assert [one.partition(">=")[0] for one in core.optional_dependencies["cli"]] == EXTRAS


def test_the_plugin_is_found_among_those_of_hatch() -> None:
    assert "Framework :: Hatch" in _project("hatch_plugin")["classifiers"]


def test_both_ship_both_licences() -> None:
    for name in ("LICENSE-MIT", "LICENSE-APACHE"):
        texts = {(ROOT / folder / name).read_text() for folder in (".", "runtime", "hatch_plugin")}
        assert len(texts) == 1
        assert all(name in _project(folder)["license-files"] for folder in ("runtime", "hatch_plugin"))


def test_both_are_typed() -> None:
    for package in (hatch_wheelweights, wheelweights):
        assert package.__file__
        assert Path(package.__file__).with_name("py.typed").is_file()
