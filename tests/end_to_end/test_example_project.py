"""The example project, built and run as its users would: torch's logits from a wheel that needs no torch."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from email import message_from_bytes
from pathlib import Path

import pytest
from hatchling.builders.sdist import SdistBuilder
from hatchling.builders.wheel import WheelBuilder

from looking.wheels import assert_sound, members, read_member

EXAMPLE = Path(__file__).parents[2] / "example_project"


def copy(to: Path) -> Path:
    """Copy what a fresh clone would have."""
    shutil.copytree(EXAMPLE, to, ignore=shutil.ignore_patterns("*.mpk", "dist", "__pycache__"))
    return to


def build(root: Path, into: Path) -> Path:
    (wheel,) = WheelBuilder(str(root)).build(directory=str(into), versions=["standard"])
    return Path(wheel)


def digits(wheel: Path, *arguments: str) -> str:
    """Run the command with the wheel imported as it is, as a zip archive."""
    environment = {**os.environ, "PYTHONPATH": str(wheel)}
    command = [sys.executable, "-m", "digits", *arguments]
    return subprocess.run(command, check=True, env=environment, capture_output=True, text=True).stdout


def test_ships_its_code_its_images_and_its_record(tmp_path: Path) -> None:
    wheel = build(copy(tmp_path / "example"), tmp_path)
    names = [name for name in members(wheel) if ".dist-info/" not in name]
    assert [name for name in names if not name.endswith(".py")] == [
        "digits/held_out.npz",
        "digits/py.typed",
        "digits/digits.mpk",
        "digits/digits.golden.mpk",
    ]
    assert_sound(wheel)


def test_needs_the_runtime_only(tmp_path: Path) -> None:
    metadata = read_member(build(copy(tmp_path / "example"), tmp_path), "digits-1.0.0.dist-info/METADATA")
    assert message_from_bytes(metadata).get_all("Requires-Dist") == ["wheelweights"]


def test_is_the_same_wheel_from_two_places_and_from_the_sdist(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SOURCE_DATE_EPOCH", "1700000000")
    first = build(copy(tmp_path / "one"), tmp_path / "1").read_bytes()
    assert build(copy(tmp_path / "two" / "deep"), tmp_path / "2").read_bytes() == first
    (sdist,) = SdistBuilder(str(tmp_path / "one")).build(directory=str(tmp_path), versions=["standard"])
    shutil.unpack_archive(sdist, tmp_path / "unpacked", filter="data")
    assert build(tmp_path / "unpacked" / "digits-1.0.0", tmp_path / "3").read_bytes() == first


@pytest.mark.parametrize("compression", ["deflated", "stored"])
def test_gives_torchs_logits_without_being_unpacked(tmp_path: Path, compression: str) -> None:
    root = copy(tmp_path / "example")
    with (root / "pyproject.toml").open("a") as file:
        file.write(f'\n[tool.hatch.build.hooks.wheelweights]\ncompression = "{compression}"\n')
    said = digits(build(root, tmp_path), "--check", "0")
    assert "image 0: 7, with probability 95.3% (labelled 7)\n" in said
    assert "CheckReport: 5 outputs as torch computed them\n" in said
    assert "all 360 held-out images: 99.44% correct, logits within " in said
