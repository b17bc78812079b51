"""How long it takes to build a wheel with a record in it, beside hatchling's own compression of the same file.

Run: python benchmarks/building.py [MEGABYTES]

Makes a .safetensors file of normally distributed float32 weights and builds wheels of it in this process: with the
hook (deflated, stored), and with hatchling alone, which finds the finished record as a file of the package. Prints
medians, ratios and sizes.
"""

from __future__ import annotations

import statistics
import sys
import tempfile
import time
from pathlib import Path

import numpy as np
from hatchling.builders.wheel import WheelBuilder

import hatch_wheelweights

ROUNDS = 3
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

[[tool.hatch.build.hooks.wheelweights.records]]
source = "model.safetensors"
output = "measured/model.mpk"
"""


def write_safetensors(path: Path, megabytes: int) -> None:
    """Write one tensor, by hand, so that the benchmark needs no other library."""
    weights = np.random.default_rng(0).standard_normal((megabytes << 20) // 4, np.float32) * np.float32(0.02)
    offsets = f"[0,{weights.nbytes}]"
    header = f'{{"w":{{"dtype":"F32","shape":[{weights.size}],"data_offsets":{offsets}}}}}'.encode()
    with path.open("wb") as file:
        file.write(len(header).to_bytes(8, "little") + header)
        file.write(weights.data)


def project(folder: Path, compression: str | None) -> Path:
    package = folder / "measured"
    package.mkdir(parents=True)
    (package / "__init__.py").write_text("")
    (folder / "pyproject.toml").write_text(PROJECT + (HOOK.format(compression=compression) if compression else ""))
    return folder


def build(folder: Path) -> tuple[float, int]:
    begin = time.perf_counter()
    (wheel,) = WheelBuilder(str(folder)).build(directory=str(folder / "dist"), versions=["standard"])
    return time.perf_counter() - begin, Path(wheel).stat().st_size


def main() -> None:
    megabytes = int(sys.argv[1]) if len(sys.argv) > 1 else 200
    with tempfile.TemporaryDirectory() as temporary:
        root = Path(temporary)
        projects = {
            "hook, deflated (ISA-L)": project(root / "deflated", "deflated"),
            "hook, stored": project(root / "stored", "stored"),
            "hatchling alone (zlib)": project(root / "hatchling", None),
        }
        checkpoint = root / "model.safetensors"
        write_safetensors(checkpoint, megabytes)
        for folder in list(projects.values())[:2]:
            (folder / "model.safetensors").hardlink_to(checkpoint)
        hatch_wheelweights.convert(checkpoint, projects["hatchling alone (zlib)"] / "measured" / "model.mpk")
        print(f"A wheel with {megabytes} MB of float32 weights, medians of {ROUNDS} rounds")
        results = {name: [build(folder) for _ in range(ROUNDS)] for name, folder in projects.items()}
        first = statistics.median(seconds for seconds, _ in results["hook, deflated (ISA-L)"])
        for name, rounds in results.items():
            seconds = statistics.median(each for each, _ in rounds)
            print(f"  {name:26} {seconds:7.2f} s   {seconds / first:6.2f} x   {rounds[0][1] / 2**20:8.1f} MB")


if __name__ == "__main__":
    main()
