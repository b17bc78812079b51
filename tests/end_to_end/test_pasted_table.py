"""The lines that `inspect` gives for pyproject.toml build when they are pasted, whatever the checkpoint is."""

from __future__ import annotations

import zipfile
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

import hatch_wheelweights
import wheelweights as ww
from looking.commands import stdout
from looking.wheels import members
from making.checkpoints import safetensors, zip_checkpoint
from making.pickles import build, call, name, ordered_dict, pickled, tensor

if TYPE_CHECKING:
    from collections.abc import Callable

    from making.projects import Project

MODULE = {"_parameters": {"w": tensor()}, "_buffers": {}, "_modules": {}}
CHECKPOINTS = {
    "flat.pt": zip_checkpoint(pickled(ordered_dict({"w": tensor()}))),
    "lightning.ckpt": zip_checkpoint(pickled({"state_dict": ordered_dict({"w": tensor()}), "epoch": 1})),
    "nested.pt": zip_checkpoint(pickled({"a": {"b": ordered_dict({"w": tensor()}), "n": 1}, "m": 2})),
    "whole.pth": zip_checkpoint(pickled(build(call(name("mynet", "Net")), MODULE))),
    "in a dict.pt": zip_checkpoint(pickled({"model": build(call(name("mynet", "Net")), MODULE), "epoch": 1})),
    "model.safetensors": safetensors(),
    "n[1].pt": zip_checkpoint(pickled(ordered_dict({"w": tensor()}))),
}


def test_a_file_with_several_parts_gets_lines_for_each(
    new_project: Callable[..., Project], monkeypatch: pytest.MonkeyPatch
) -> None:
    project = new_project(record="")
    parts = {"generator": ordered_dict({"w": tensor()}), "critic": ordered_dict({"x": tensor()}), "step": 4}
    (project.root / "weights" / "gan.pt").write_bytes(zip_checkpoint(pickled(parts)))
    monkeypatch.chdir(project.root)
    pasted = stdout("inspect", "weights/gan.pt").partition("In pyproject.toml\n")[2]
    with Path("pyproject.toml").open("a") as pyproject:
        pyproject.write(f"\n{pasted}")
    records = [member for member in members(project.wheel()) if member.endswith(".mpk")]
    assert sorted(records) == ["demo/gan-critic.mpk", "demo/gan-generator.mpk"]


@pytest.mark.parametrize("layout", ["src", "flat"])
@pytest.mark.parametrize("file", CHECKPOINTS)
def test_the_lines_build(
    file: str, layout: str, new_project: Callable[..., Project], monkeypatch: pytest.MonkeyPatch
) -> None:
    project = new_project(layout=layout, record="")
    (project.root / "weights" / file).write_bytes(CHECKPOINTS[file])
    monkeypatch.chdir(project.root)
    pasted = stdout("inspect", f"weights/{file}").partition("In pyproject.toml\n")[2]
    with Path("pyproject.toml").open("a") as pyproject:
        pyproject.write(f"\n{pasted}")
    wheel = project.wheel()
    (record,) = [member for member in members(wheel) if member.endswith(".mpk")]
    with zipfile.ZipFile(wheel) as archive:
        archive.extract(record)
    expected = hatch_wheelweights.inspect(f"weights/{file}").tensors
    assert list(ww.open_record(record)) == [each.key for each in expected]
    assert record.startswith("demo/")
