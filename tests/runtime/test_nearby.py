"""A mistyped path: the file that is meant is named, whatever is in the folder, and at once."""

from __future__ import annotations

import os
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from wheelweights import open_record
from wheelweights.errors import MissingRecordError
from wheelweights.nearby import MAX_COMPARED, MAX_LISTED, comparable, meant_file

SUFFIXES = (".pt", ".pth", ".safetensors", ".index.json", ".mpk", ".mpk.gz")


@pytest.fixture(autouse=True)
def _here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)


def files(*names: str) -> None:
    for name in names:
        Path(name).parent.mkdir(parents=True, exist_ok=True)
        Path(name).touch()


@pytest.mark.parametrize(
    ("path", "there", "meant"),
    [
        ("modle.pt", ["model.pt", "model.pth"], "model.pt"),
        ("model.pt", ["model.pth", "models.mpk"], "model.pth"),
        ("model.pth", ["model.mpk", "model.pt", "model.safetensors"], "model.pt"),
        ("model.ptt", ["model.mpk", "model.pt", "model.safetensors"], "model.pt"),
        ("model", ["model.mpk", "model.pt"], "model.pt"),
        ("model.safetensor", ["model.safetensors", "other.pt"], "model.safetensors"),
        ("model", ["model.pt"], "model.pt"),
        ("Model.pt", ["model.pt"], "model.pt"),
        ("model.mpk", ["model.mpk.gz"], "model.mpk.gz"),
        ("model.indx.json", ["model.index.json"], "model.index.json"),
        ("weights/modle.pt", ["weights/model.pt", "modle.txt"], "weights/model.pt"),
        ("./modle.pt", ["model.pt"], "./model.pt"),
        ("weigths/model.pt", ["weights/model.pt", "weight/other.pt"], "weights/model.pt"),
        ("weigths/modle.pt", ["weights/model.pt"], "weights/model.pt"),
        ("src/dmo/weigths/model.pt", ["src/demo/weights/model.pt"], "src/demo/weights/model.pt"),
    ],
)
def test_the_nearest_file_is_meant(path: str, there: list[str], meant: str) -> None:
    files(*there)
    assert meant_file(path, SUFFIXES) == f"Did you mean `{meant}`?"
    assert Path(meant).exists()


@pytest.mark.parametrize(
    ("path", "there"),
    [
        ("a.pt", ["b.pt"]),
        ("none.pt", ["model.pt", "gone.txt"]),
        ("model.pt", ["model.txt", "model.py"]),
        ("model.pt", ["model.pt/inside.txt"]),
        ("model.pt", ["model.pt"]),
        ("model.pt", ["mod\x1bel.pt"]),
        ("a/b/c/d/e/model.pt", ["a1/b1/c1/d1/e1/model.pt"]),
        ("", ["model.pt"]),
        ("model.pt\0", ["model.pt"]),
        ("x" * 5000, ["model.pt"]),
        ("/", []),
    ],
)
def test_nothing_is_meant_where_nothing_is_near(path: str, there: list[str]) -> None:
    files(*there)
    assert meant_file(path, SUFFIXES) is None


def test_a_link_that_leads_nowhere_is_there() -> None:
    files("modell.pt")
    Path("model.pt").symlink_to("gone.pt")
    assert meant_file("model.pt", SUFFIXES) is None


def test_links_that_lead_to_themselves_hide_no_other_file() -> None:
    files("model.pt")
    Path("a.pt").symlink_to("b.pt")
    Path("b.pt").symlink_to("a.pt")
    assert meant_file("modle.pt", SUFFIXES) == "Did you mean `model.pt`?"


def test_a_folder_that_cannot_be_listed_is_no_error(monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(_: object) -> None:
        raise PermissionError("no")

    monkeypatch.setattr(os, "scandir", refuse)
    assert meant_file("model.pt", SUFFIXES) is None


def test_of_a_folder_with_very_many_names_some_are_looked_at(monkeypatch: pytest.MonkeyPatch) -> None:
    listed = 0

    class Entry:
        def __init__(self, number: int) -> None:
            nonlocal listed
            listed += 1
            self.name = f"model-{number}.pt"

        def is_dir(self) -> bool:
            return False

    class Entries:
        def __enter__(self) -> object:
            return map(Entry, range(100_000))

        def __exit__(self, *_: object) -> None:
            pass

    monkeypatch.setattr(os, "scandir", lambda _: Entries())
    assert meant_file("model-x.pt", SUFFIXES) is not None
    assert listed == MAX_LISTED


@given(stem=st.text(max_size=300), stems=st.lists(st.text(max_size=300)))
def test_few_names_of_about_the_same_length_are_compared(stem: str, stems: list[str]) -> None:
    compared = list(comparable(stem, stems * 50))
    assert len(compared) <= MAX_COMPARED
    assert all(len(stem) <= 2 * len(one) and len(one) <= 2 * len(stem) for one in compared)


def test_opening_a_record_names_the_one_that_is_meant() -> None:
    files("src/demo/model.mpk", "src/demo/model.pt")
    with pytest.raises(MissingRecordError) as caught:
        open_record("src/demo/modle.mpk")
    assert str(caught.value) == (
        "src/demo/modle.mpk: cannot be opened: No such file or directory\n  Did you mean `src/demo/model.mpk`?"
    )
