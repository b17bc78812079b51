"""What a path leads to, and what is said of files that are nothing of ours."""

from __future__ import annotations

import zipfile
import zlib
from pathlib import Path

import numpy as np
import pytest

import wheelweights as ww
from hatch_wheelweights.looking.files import file_of, kind_of, open_file, size_of
from hatch_wheelweights.looking.wheels import WHEEL_AGAIN, Wheel
from looking.commands import refusal, run
from making.records import buffer, entry, record
from making.small_files import WHEEL, small_checkpoint, small_record, small_wheel, wheel, write


@pytest.mark.parametrize(
    ("file", "content", "message"),
    [
        pytest.param("a.pt", b"", "a.pt: expected a checkpoint, found an empty file", id="empty"),
        pytest.param("a.mpk", b"", "a.mpk: expected a record, found an empty file", id="empty record"),
        pytest.param("a.whl", b"", "a.whl: expected a wheel, found an empty file", id="empty wheel"),
        pytest.param(
            "a.whl", b"<!doctype html>", "a.whl: expected a wheel, found an HTML page (a failed download)", id="page"
        ),
        pytest.param(
            "a.whl", b"PK\3\4", "a.whl: truncated: a zip file without its central directory", id="damaged wheel"
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
    with zipfile.ZipFile("a.whl", "w") as archive:
        archive.writestr("a-1.dist-info/RECORD", "")
    assert refusal("verify", "a.whl") == (
        "Error: a.whl: no record in this wheel\n  Build it with hatch-wheelweights, and with its hooks enabled.\n"
    )


def test_a_wrong_place_in_a_wheel_lists_the_records() -> None:
    small_wheel()
    assert refusal("inspect", f"{WHEEL}/demo/3.mpk") == (
        f"Error: {WHEEL}/demo/3.mpk: no such record in the wheel\n  Name one of `demo/1.mpk`, `demo/2.mpk`.\n"
    )


@pytest.mark.parametrize("command", ["inspect", "verify"])
def test_rejects_a_member_of_a_wheel_that_is_made_to_fill_the_memory(command: str) -> None:
    with zipfile.ZipFile("a.whl", "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr("a-1.dist-info/RECORD", "")
        archive.writestr("a/a.mpk", bytes(40 << 20))
    size = Path("a.whl").stat().st_size
    errors = run(command, "a.whl", status=1).stderr.split("Error: ")
    assert f"a.whl/a/a.mpk: asks for more memory than a file of {size:,} bytes may take\n  {WHEEL_AGAIN}\n" in errors


def test_rejects_records_of_a_wheel_that_fill_the_memory_together() -> None:
    size = 20 << 20
    zeros = record({"w": entry(shape=[size], dtype="uint8", crc32=zlib.crc32(bytes(size)))}, [buffer(bytes(size))])
    files = {f"demo/{number}.mpk": zeros for number in range(2)}
    write(WHEEL, wheel(files, zipfile.ZIP_DEFLATED))
    assert refusal("inspect", WHEEL).startswith(f"Error: {WHEEL}/demo/1.mpk: asks for more memory than a file of ")
    result = run("verify", WHEEL, status=1)
    assert result.stdout == f"{WHEEL}/demo/0.mpk: sound, 1 tensor, {size:,} bytes\n"
    assert result.stderr.startswith(f"Error: {WHEEL}/demo/1.mpk: asks for more memory than a file of ")


def test_content_tells_what_a_file_is_whatever_its_name() -> None:
    small_checkpoint()
    small_wheel()
    ww.write_record("a.mpk", {"w": np.zeros(1)})
    for file, kind in (("model.pt", "pytorch-zip"), ("a.mpk", "record"), (WHEEL, "wheel")):
        write("a.bin", Path(file).read_bytes())
        assert kind_of(open_file("a.bin")) == kind


def test_a_path_may_go_on_inside_a_wheel() -> None:
    small_wheel()
    there = open_file(WHEEL)
    assert isinstance(there, Wheel)
    assert (there.path, there.records) == (WHEEL, ("demo/1.mpk", "demo/2.mpk"))
    assert there.size == Path(WHEEL).stat().st_size
    opened = open_file(f"{WHEEL}/demo/2.mpk")
    assert kind_of(opened) == "record"
    assert size_of(f"{WHEEL}/demo/2.mpk") == len(small_record())
    assert (file_of(f"{WHEEL}/demo/2.mpk"), file_of(WHEEL), file_of("a.pt")) == (WHEEL, WHEEL, "a.pt")
