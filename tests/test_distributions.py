"""What is published: two distributions that belong together."""

from __future__ import annotations

import tomllib
from pathlib import Path

import hatch_wheelweights
import wheelweights

ROOT = Path(__file__).parents[1]


def _project(folder: str) -> dict[str, object]:
    return tomllib.loads((ROOT / folder / "pyproject.toml").read_text())["project"]


def test_both_have_the_same_version_and_the_plugin_asks_for_it():
    assert hatch_wheelweights.__version__ == wheelweights.__version__
    assert f"wheelweights[ml-dtypes]=={wheelweights.__version__}" in _project("hatch_plugin")["dependencies"]


def test_the_runtime_depends_on_numpy_and_msgpack_alone():
    assert _project("runtime")["dependencies"] == ["numpy>=2", "msgpack>=1.2.3"]


def test_the_plugin_is_found_among_those_of_hatch():
    assert "Framework :: Hatch" in _project("hatch_plugin")["classifiers"]


def test_both_ship_both_licences():
    for name in ("LICENSE-MIT", "LICENSE-APACHE"):
        texts = {(ROOT / folder / name).read_text() for folder in (".", "runtime", "hatch_plugin")}
        assert len(texts) == 1
        assert all(name in _project(folder)["license-files"] for folder in ("runtime", "hatch_plugin"))


def test_both_are_typed():
    for package in (hatch_wheelweights, wheelweights):
        assert Path(package.__file__).with_name("py.typed").is_file()
