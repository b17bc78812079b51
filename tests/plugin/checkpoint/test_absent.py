"""Files that something keeps elsewhere: whoever opens one is told the command that fetches it."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING

import pytest

from hatch_wheelweights import open_checkpoint
from hatch_wheelweights.errors import CheckpointError
from looking.commands import refusal

if TYPE_CHECKING:
    from pathlib import Path

ANNEX = ".git/annex/objects/Gx/3z/SHA256E-s104--0a.pt"
POINTERS = {
    "annex": (b"/annex/objects/SHA256E-s104--0a.pt\n", "its git-annex pointer (35 bytes)\n  Run: git annex get m.pt"),
    "lfs": (
        b"version https://git-lfs.github.com/spec/v1\noid sha256:0\nsize 9\n",
        "its Git LFS pointer (63 bytes)\n  Run: git lfs pull --include m.pt",
    ),
}


def failure(path: Path) -> str:
    with pytest.raises(CheckpointError) as caught:
        open_checkpoint(path)
    return str(caught.value)


@pytest.mark.parametrize(("content", "said"), POINTERS.values(), ids=POINTERS)
def test_a_pointer_in_its_place(tmp_path: Path, content: bytes, said: str) -> None:
    (tmp_path / "m.pt").write_bytes(content)
    assert failure(tmp_path / "m.pt").endswith(said)


def test_a_link_of_git_annex(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "m.pt").symlink_to(ANNEX)
    nowhere = "cannot be opened: No such file or directory\n  Run: git annex get m.pt"
    assert failure(tmp_path / "m.pt") == f"{tmp_path / 'm.pt'}: {nowhere}"
    for command in (["inspect", "m.pt"], ["convert", "m.pt", "m.mpk"]):
        assert refusal(*command) == f"Error: m.pt: {nowhere}\n"


def test_a_file_of_dvc(tmp_path: Path) -> None:
    (tmp_path / "m.pt.dvc").write_text("outs:\n")
    assert failure(tmp_path / "m.pt").endswith("\n  Run: dvc pull m.pt")


def test_a_shard(tmp_path: Path) -> None:
    index = tmp_path / "model.safetensors.index.json"
    index.write_text(json.dumps({"weight_map": {"w": "1.safetensors"}}))
    (tmp_path / "1.safetensors").symlink_to(ANNEX)
    said = failure(index)
    assert "1.safetensors" in said.splitlines()[0]
    assert said.endswith("\n  Run: git annex get 1.safetensors")


def test_a_name_that_is_missing_and_nothing_more(tmp_path: Path) -> None:
    assert failure(tmp_path / "m.pt").endswith("cannot be opened: No such file or directory\n  Check the path.")
