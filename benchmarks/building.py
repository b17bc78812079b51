"""Building a wheel with a record in it, beside hatchling's own packing of the same file."""

from __future__ import annotations

import contextlib
import functools
import io
import os
from pathlib import Path

import data
from measuring import OURS, Row, compared, transferred

PROJECT = """
[build-system]
requires = ["hatchling", "hatch-wheelweights"]
build-backend = "hatchling.build"

[project]
name = "measured"
version = "1"
dependencies = ["wheelweights"]

[tool.hatch.build.targets.wheel]
packages = ["measured"]
"""
HOOK = """
[tool.hatch.build.hooks.wheelweights]
compression = "{compression}"
"""
RECORD = """
[[tool.hatch.build.hooks.wheelweights.records]]
source = "model.safetensors"
output = "measured/{name}.mpk"
"""


def project(folder: Path, checkpoint: Path, compression: str | None, records: int = 1) -> Path:
    """Write a project whose wheel gets records; without compression, a finished record as a file of its package."""
    import hatch_wheelweights

    package = folder / "measured"
    package.mkdir(parents=True)
    (package / "__init__.py").write_text("")
    tables = [RECORD.format(name=f"model{number}") for number in range(records)]
    hook = HOOK.format(compression=compression) + "".join(tables) if compression else ""
    (folder / "pyproject.toml").write_text(PROJECT + hook)
    if compression:
        (folder / "model.safetensors").hardlink_to(checkpoint)
    else:
        hatch_wheelweights.convert(checkpoint, package / "model.mpk")
    return folder


def build(folder: Path) -> Path:
    from hatchling.builders.wheel import WheelBuilder

    with contextlib.redirect_stderr(io.StringIO()), contextlib.redirect_stdout(io.StringIO()):
        (wheel,) = WheelBuilder(str(folder)).build(directory=str(folder / "dist"), versions=["standard"])
    return Path(wheel)


def measure(folder: Path, *, quick: bool) -> list[Row]:
    megabytes, rounds = (10, 2) if quick else (200, 5)
    checkpoint = data.write_safetensors(folder / "w.safetensors", data.state_dict(megabytes, 1))
    projects = {
        f"{OURS}, stored": project(folder / "stored", checkpoint, "stored"),
        f"{OURS}, deflated": project(folder / "deflated", checkpoint, "deflated"),
        f"{OURS}, stored, two records": project(folder / "two", checkpoint, "stored", 2),
        "hatchling alone": project(folder / "hatchling", checkpoint, None),
    }
    rows = compared(
        f"a wheel of {megabytes} MB of weights, warm",
        {name: functools.partial(build, root) for name, root in projects.items()},
        rounds,
        before=os.sync,
    )
    alone = rows[-1].median
    moved = {name: transferred(functools.partial(build, root)) for name, root in projects.items()}
    sizes = {name: next((root / "dist").glob("*.whl")).stat().st_size / 1e6 for name, root in projects.items()}
    return [
        Row(
            **{
                **row.plain,
                "note": f"{sizes[row.name]:,.1f} MB, {moved[row.name]}; hatchling takes {alone / row.median:.1f} x",
            }
        )
        for row in rows
    ]
