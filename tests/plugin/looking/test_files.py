"""What a path leads to, and what is said of files that are nothing of ours."""

from __future__ import annotations

import zipfile
from pathlib import Path

import numpy as np
import pytest

import wheelweights as ww
from hatch_wheelweights.looking.files import Wheel, file_of, kind_of, open_file, size_of
from looking.commands import refusal
from making.small_files import WHEEL, small_checkpoint, small_wheel, write


@pytest.mark.parametrize(
    ("file", "content", "message"),
    [
        pytest.param("a.pt", b"", "a.pt: expected a checkpoint, found an empty file", id="empty"),
        pytest.param("a.mpk", b"", "a.mpk: expected a record, found an empty file", id="empty record"),
        pytest.param(
            "a.whl", b"PK\3\4", "a.whl: cannot be read as a wheel: File is not a zip file", id="damaged wheel"
        ),
        pytest.param(
            "a.bin",
            b"version https://git-lfs.github.com/spec/v1\nsize 9000\n",
            "a.bin: expected a checkpoint of 9,000 bytes, found its Git LFS pointer (53 bytes)",
            id="Git LFS pointer",
        ),
    ],
)
def test_a_file_that_is_nothing_of_ours_is_told_in_words(file: str, content: bytes, message: str) -> None:
    write(file, content)
    assert refusal("inspect", file).splitlines()[0] == f"Error: {message}"


def test_a_folder_is_told_in_words() -> None:
    assert refusal("inspect", ".") == "Error: .: expected a checkpoint, a record or a wheel, found a folder\n"


def test_a_wheel_without_records_says_how_to_build_it() -> None:
    with zipfile.ZipFile("a.whl", "w") as wheel:
        wheel.writestr("a-1.dist-info/RECORD", "")
    assert refusal("verify", "a.whl") == (
        "Error: a.whl: no record in this wheel\n  Build it with hatch-wheelweights, and with its hooks enabled.\n"
    )


def test_a_wrong_place_in_a_wheel_lists_the_records() -> None:
    small_wheel()
    assert refusal("inspect", f"{WHEEL}/demo/3.mpk") == (
        f"Error: {WHEEL}/demo/3.mpk: no such record in the wheel\n  Name one of `demo/1.mpk`, `demo/2.mpk`.\n"
    )


def test_rejects_a_member_of_a_wheel_that_is_made_to_fill_the_memory(monkeypatch: pytest.MonkeyPatch) -> None:
    from hatch_wheelweights.looking import files

    monkeypatch.setattr(files, "MAX_INFLATED", 1000)
    with zipfile.ZipFile("a.whl", "w", zipfile.ZIP_DEFLATED) as wheel:
        wheel.writestr("a-1.dist-info/RECORD", "")
        wheel.writestr("a/a.mpk", bytes(1 << 20))
    assert refusal("verify", "a.whl").startswith("Error: a.whl/a/a.mpk: expected at most ")


def test_content_tells_what_a_file_is_whatever_its_name() -> None:
    small_checkpoint()
    small_wheel()
    ww.write_record("a.mpk", {"w": np.zeros(1)})
    for file, kind in (("model.pt", "pytorch-zip"), ("a.mpk", "record"), (WHEEL, "wheel")):
        write("a.bin", Path(file).read_bytes())
        assert kind_of(open_file("a.bin")) == kind


def test_a_path_may_go_on_inside_a_wheel() -> None:
    small_wheel()
    wheel = open_file(WHEEL)
    assert wheel == Wheel(WHEEL, ("demo/1.mpk", "demo/2.mpk"))
    record = open_file(f"{WHEEL}/demo/2.mpk")
    assert kind_of(record) == "record"
    assert size_of(f"{WHEEL}/demo/2.mpk") == 251
    assert (file_of(f"{WHEEL}/demo/2.mpk"), file_of(WHEEL), file_of("a.pt")) == (WHEEL, WHEEL, "a.pt")
