"""Fixtures of the whole suite."""

from __future__ import annotations

import functools
import importlib.metadata
import os
import subprocess
import sys
from pathlib import Path
from typing import TYPE_CHECKING

import pytest
from filelock import FileLock
from hypothesis import HealthCheck, settings

from making.projects import Project, make_project

if TYPE_CHECKING:
    from collections.abc import Callable

# No test depends on how fast or how busy the machine is
settings.register_profile("untimed", deadline=None, suppress_health_check=[HealthCheck.too_slow])
settings.load_profile("untimed")

ROOT = Path(__file__).parents[1]
CHECKPOINTS = Path(__file__).parent / "checkpoints"
CORPUS = ROOT.parent / "shared" / "corpus"


@pytest.hookimpl(optionalhook=True)  # of pytest-xdist, for `-n logical`
def pytest_xdist_auto_num_workers(config: pytest.Config) -> int | None:
    """Run a single file in this process: most files take less time than workers take to start."""
    files = {Path(argument.partition("::")[0]) for argument in config.args}
    return 0 if len(files) == 1 and files.pop().is_file() else None


@pytest.fixture(scope="session")
def corpus() -> Path:
    """The folder of checkpoints from Burn's test suite, where it lies beside the checkout."""
    if not CORPUS.is_dir():
        pytest.skip(f"needs the corpus of checkpoints in {CORPUS.parent.name}/{CORPUS.name} beside the checkout")
    return CORPUS


@pytest.fixture
def new_project(tmp_path: Path) -> Callable[..., Project]:
    """Make a package with weights; takes the keywords of `making.projects.make_project`."""
    return functools.partial(make_project, tmp_path / "demo")


@pytest.fixture(scope="session")
def wheelhouse(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with wheels of both distributions and all that they need to build and run; made once a run."""
    base = tmp_path_factory.getbasetemp()
    shared = base.parent if "PYTEST_XDIST_WORKER" in os.environ else base
    house = shared / "wheelhouse"
    with FileLock(shared / "wheelhouse.lock"):
        if not (house / "uv.toml").exists():
            _fill(house)
            (house / "uv.toml").write_text(f'no-index = true\nfind-links = ["{house.as_posix()}"]\n')
    return house


def _fill(house: Path) -> None:
    pip: list[str | Path] = [sys.executable, "-m", "pip"]
    own: list[str | Path] = [
        "wheel",
        "--no-deps",
        "--no-build-isolation",
        "--wheel-dir",
        house,
        ROOT / "runtime",
        ROOT / "hatch_plugin",
    ]
    subprocess.run([*pip, *own], check=True, capture_output=True)
    # The version of the builds in this process, whose wheels are compared with those of the front ends
    hatchling = f"hatchling=={importlib.metadata.version('hatchling')}"
    others: list[str | Path] = ["download", "--only-binary", ":all:", "--dest", house, "--find-links", house]
    done = subprocess.run(
        [*pip, *others, hatchling, "editables", "hatch-wheelweights"], check=False, capture_output=True
    )
    if done.returncode:
        pytest.skip("needs a registry of packages, to make the wheelhouse")


@pytest.fixture(scope="session")
def offline(wheelhouse: Path) -> dict[str, str]:
    """Environment variables with which pip, uv, build and hatch see the wheelhouse and nothing else, and no caches."""
    ours = {name: value for name, value in os.environ.items() if not name.startswith(("PIP_", "UV_", "HATCH_"))}
    own = str(wheelhouse)
    return ours | {
        "PIP_CONFIG_FILE": os.devnull,
        "PIP_NO_INDEX": "1",
        "PIP_FIND_LINKS": own,
        "PIP_DISABLE_PIP_VERSION_CHECK": "1",
        "PIP_NO_COMPILE": "1",  # most of the time of an isolated build
        "UV_CONFIG_FILE": f"{own}/uv.toml",
        "UV_OFFLINE": "1",
        "UV_CACHE_DIR": f"{own}-uv",
        "HATCH_DATA_DIR": f"{own}-hatch",
        "HATCH_CACHE_DIR": f"{own}-hatch-cache",
    }
