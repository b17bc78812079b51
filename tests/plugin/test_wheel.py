"""Records in a built wheel: the archive, its headers and RECORD, whatever the files hold."""

from __future__ import annotations

import io
import random
import struct
import subprocess
import sys
import zipfile
from typing import TYPE_CHECKING

import pytest

from hatch_wheelweights import wheel as wheel_module
from hatch_wheelweights.errors import ConfigError
from hatch_wheelweights.wheel import BLOCK_BYTES, add_records
from looking.wheels import assert_sound, local_header, local_headers, members, read_member
from wheelweights import RecordError

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from making.projects import Project

LISTING = "demo-1.0.dist-info/RECORD"
NOISE = random.Random(0).randbytes(300_000)
COMPRESSIONS = pytest.mark.parametrize("compression", ["deflated", "stored"])


@pytest.fixture
def wheel(new_project: Callable[..., Project]) -> Path:
    """A wheel as hatchling builds it, without any record."""
    return new_project(record="").wheel()


@pytest.fixture
def file(tmp_path: Path) -> Callable[..., Path]:
    def write(content: bytes, name: str = "record") -> Path:
        path = tmp_path / name
        path.write_bytes(content)
        return path

    return write


@COMPRESSIONS
def test_puts_the_record_before_the_metadata_and_lists_it(
    wheel: Path, file: Callable[..., Path], compression: str
) -> None:
    before = members(wheel)
    add_records(wheel, {"demo/model.mpk": file(NOISE)}, compression)
    assert members(wheel) == ["demo/__init__.py", "demo/model.mpk", *before[1:]]
    assert read_member(wheel, "demo/model.mpk") == NOISE
    assert_sound(wheel)


@COMPRESSIONS
def test_makes_the_same_bytes_twice(wheel: Path, file: Callable[..., Path], compression: str) -> None:
    twin = wheel.with_name("twin.whl")
    twin.write_bytes(wheel.read_bytes())
    record = file(NOISE)
    add_records(wheel, {"demo/model.mpk": record}, compression)
    record.touch()
    add_records(twin, {"demo/model.mpk": record}, compression)
    assert wheel.read_bytes() == twin.read_bytes()


def test_keeps_the_other_members_byte_for_byte(wheel: Path, file: Callable[..., Path]) -> None:
    kept = [(head.name, head.data) for head in local_headers(wheel) if head.name != LISTING]
    add_records(wheel, {"demo/model.mpk": file(NOISE)}, "deflated")
    assert [(head.name, head.data) for head in local_headers(wheel) if head.name in dict(kept)] == kept


def test_keeps_modes_and_dates_of_the_other_members(wheel: Path, file: Callable[..., Path]) -> None:
    def about() -> dict[str, tuple[object, ...]]:
        with zipfile.ZipFile(wheel) as archive:
            return {
                info.filename: (info.external_attr, info.date_time, info.create_system) for info in archive.infolist()
            }

    before = about()
    add_records(wheel, {"demo/model.mpk": file(b"x")}, "deflated")
    after = about()
    assert after.pop("demo/model.mpk") == (0o100644 << 16, (2020, 2, 2, 0, 0, 0), 3)
    assert after == before


def test_dates_records_by_source_date_epoch(
    new_project: Callable[..., Project], file: Callable[..., Path], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("SOURCE_DATE_EPOCH", "1700000000")
    wheel = new_project(record="").wheel()
    add_records(wheel, {"demo/model.mpk": file(b"x")}, "stored")
    with zipfile.ZipFile(wheel) as archive:
        assert archive.getinfo("demo/model.mpk").date_time == (2023, 11, 14, 22, 13, 20)


def test_dates_records_no_earlier_than_a_zip_can(
    new_project: Callable[..., Project], file: Callable[..., Path], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("SOURCE_DATE_EPOCH", "0")
    wheel = new_project(record="").wheel()
    add_records(wheel, {"demo/model.mpk": file(b"x")}, "stored")
    with zipfile.ZipFile(wheel) as archive:
        assert archive.getinfo("demo/model.mpk").date_time == (1980, 1, 1, 0, 0, 0)


def test_stored_records_begin_on_64_byte_boundaries(wheel: Path, file: Callable[..., Path]) -> None:
    record = file(NOISE[:1001])
    add_records(wheel, {f"demo/{'x' * length}.mpk": record for length in range(1, 130)}, "stored")
    starts = [head.start for head in local_headers(wheel) if head.name.endswith(".mpk")]
    assert len(starts) == 129
    assert {start % 64 for start in starts} == {0}
    assert_sound(wheel)


def test_deflated_records_are_smaller(wheel: Path, file: Callable[..., Path]) -> None:
    add_records(wheel, {"demo/model.mpk": file(b"weights " * 10_000)}, "deflated")
    with zipfile.ZipFile(wheel) as archive:
        info = archive.getinfo("demo/model.mpk")
    assert info.compress_type == zipfile.ZIP_DEFLATED
    assert info.compress_size < 2_000


@COMPRESSIONS
@pytest.mark.parametrize("name", ["demo/a,b.mpk", 'demo/"quoted".mpk', "demo/größe.mpk", "demo/deep/er/model.mpk"])
def test_any_name_is_listed_as_it_is(wheel: Path, file: Callable[..., Path], name: str, compression: str) -> None:
    add_records(wheel, {name: file(b"content")}, compression)
    assert read_member(wheel, name) == b"content"
    assert_sound(wheel)


@COMPRESSIONS
@pytest.mark.parametrize("size", [0, 1, BLOCK_BYTES, BLOCK_BYTES + 1])
def test_any_size_is_kept(wheel: Path, file: Callable[..., Path], size: int, compression: str) -> None:
    add_records(wheel, {"demo/model.mpk": file(bytes(size))}, compression)
    assert read_member(wheel, "demo/model.mpk") == bytes(size)
    assert_sound(wheel)


def test_adds_to_a_wheel_that_has_records_already(wheel: Path, file: Callable[..., Path]) -> None:
    add_records(wheel, {"demo/a.mpk": file(b"a", "a")}, "stored")
    add_records(wheel, {"demo/b.mpk": file(b"b", "b")}, "deflated")
    assert [read_member(wheel, f"demo/{name}.mpk") for name in "ab"] == [b"a", b"b"]
    assert_sound(wheel)


def test_makes_sizes_known_where_the_old_wheel_had_data_descriptors(wheel: Path, file: Callable[..., Path]) -> None:
    class Pipe(io.RawIOBase):
        """A file that cannot seek, so that zipfile has to write data descriptors."""

        def __init__(self) -> None:
            self.content = bytearray()

        def writable(self) -> bool:
            return True

        def write(self, data: bytes) -> int:  # type: ignore[override]
            self.content += data
            return len(data)

    pipe = Pipe()
    with zipfile.ZipFile(wheel) as old, zipfile.ZipFile(pipe, "w", zipfile.ZIP_DEFLATED) as new:
        for info in old.infolist():
            new.writestr(info, old.read(info))
    wheel.write_bytes(pipe.content)
    with pytest.raises(AssertionError):
        assert_sound(wheel)
    add_records(wheel, {"demo/model.mpk": file(NOISE)}, "deflated")
    assert_sound(wheel)


def test_rejects_a_path_that_the_wheel_has_already(wheel: Path, file: Callable[..., Path]) -> None:
    before = wheel.read_bytes()
    with pytest.raises(ConfigError) as caught:
        add_records(wheel, {"demo/__init__.py": file(b"x")}, "deflated")
    assert str(caught.value) == (
        "expected `demo/__init__.py` in the wheel to come from this hook alone, "
        "found another file there\n"
        "  Give the record another output, or keep the other file out of the wheel."
    )
    assert wheel.read_bytes() == before


def test_a_failure_leaves_the_wheel_and_nothing_else(wheel: Path, file: Callable[..., Path], tmp_path: Path) -> None:
    before = wheel.read_bytes()
    with pytest.raises(RecordError, match="Is a directory"):
        add_records(wheel, {"demo/a.mpk": file(NOISE), "demo/b.mpk": tmp_path}, "deflated")
    assert wheel.read_bytes() == before
    assert list(wheel.parent.iterdir()) == [wheel]


def test_keeps_the_mode_of_the_wheel(wheel: Path, file: Callable[..., Path]) -> None:
    before = wheel.stat().st_mode
    add_records(wheel, {"demo/model.mpk": file(b"x")}, "deflated")
    assert wheel.stat().st_mode == before
    assert list(wheel.parent.iterdir()) == [wheel]


@COMPRESSIONS
@pytest.mark.parametrize(("size", "zip64"), [(9_999, False), (10_000, True), (10_001, True)])
def test_zip64_fields_stand_exactly_from_the_limit_on(
    wheel: Path, file: Callable[..., Path], monkeypatch: pytest.MonkeyPatch, size: int, zip64: bool, compression: str
) -> None:
    monkeypatch.setattr(wheel_module, "ZIP64_LIMIT", 10_000)
    content = bytes(size)
    add_records(wheel, {"demo/model.mpk": file(content)}, compression)
    assert read_member(wheel, "demo/model.mpk") == content
    assert_sound(wheel)
    head = local_header(wheel, "demo/model.mpk")
    assert head.extra.startswith(b"\x01\x00") is zip64
    assert head.needed == (45 if zip64 else 20)
    with zipfile.ZipFile(wheel) as archive:
        info = archive.getinfo("demo/model.mpk")
    assert info.extract_version == (45 if zip64 else 20)
    large = sum(value >= 10_000 for value in (info.file_size, info.compress_size))
    assert info.extra == (
        struct.pack("<2H", 1, 8 * large) + struct.pack(f"<{large}Q", *([size] * large)) if large else b""
    )
    if compression == "stored":
        assert head.start % 64 == 0


def test_offsets_past_the_limit_get_zip64_fields(
    wheel: Path, file: Callable[..., Path], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(wheel_module, "ZIP64_LIMIT", 5_000)
    add_records(wheel, {"demo/a.mpk": file(NOISE[:4_900], "a"), "demo/b.mpk": file(NOISE[:4_900], "b")}, "stored")
    assert_sound(wheel)
    with zipfile.ZipFile(wheel) as archive:
        extras = {info.filename: info.extra for info in archive.infolist()}
        offset = archive.getinfo(LISTING).header_offset
    assert extras["demo/a.mpk"] == b""
    assert extras[LISTING] == struct.pack("<2HQ", 1, 8, offset)
    assert b"PK\x06\x06" in wheel.read_bytes()
    assert b"PK\x06\x07" in wheel.read_bytes()


def test_many_members_get_a_zip64_end(wheel: Path, file: Callable[..., Path], monkeypatch: pytest.MonkeyPatch) -> None:
    count = len(members(wheel)) + 3
    record = file(b"x")
    for limit, expected in ((count + 1, False), (count, True)):
        monkeypatch.setattr(wheel_module, "ZIP64_COUNT_LIMIT", limit)
        twin = wheel.with_name(f"{limit}.whl")
        twin.write_bytes(wheel.read_bytes())
        add_records(twin, {f"demo/{number}.mpk": record for number in range(3)}, "deflated")
        assert (b"PK\x06\x06" in twin.read_bytes()) is expected
        assert_sound(twin)


def test_stores_what_deflating_would_lengthen_past_the_zip64_limit(
    wheel: Path, file: Callable[..., Path], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(wheel_module, "ZIP64_LIMIT", 10_000)
    add_records(wheel, {"demo/model.mpk": file(NOISE[:9_999])}, "deflated")
    with zipfile.ZipFile(wheel) as archive:
        info = archive.getinfo("demo/model.mpk")
    assert (info.compress_type, info.compress_size, info.extra) == (zipfile.ZIP_STORED, 9_999, b"")
    assert_sound(wheel)


@COMPRESSIONS
def test_wheel_unpack_accepts_it(wheel: Path, file: Callable[..., Path], tmp_path: Path, compression: str) -> None:
    add_records(wheel, {"demo/model.mpk": file(NOISE)}, compression)
    subprocess.run(
        [sys.executable, "-m", "wheel", "unpack", wheel, "-d", tmp_path / "out"], check=True, capture_output=True
    )
    assert (tmp_path / "out" / "demo-1.0" / "demo" / "model.mpk").read_bytes() == NOISE


@COMPRESSIONS
@pytest.mark.parametrize("installer", [["pip"], ["uv", "pip"]], ids=["pip", "uv"])
def test_installers_accept_it(
    wheel: Path, file: Callable[..., Path], tmp_path: Path, compression: str, installer: list[str]
) -> None:
    add_records(wheel, {"demo/model.mpk": file(NOISE)}, compression)
    target = tmp_path / "site"
    command: list[str | Path] = [
        sys.executable,
        "-m",
        *installer,
        "install",
        "--no-deps",
        "--no-index",
        "--target",
        target,
        wheel,
    ]
    subprocess.run(command, check=True, capture_output=True)
    assert (target / "demo" / "model.mpk").read_bytes() == NOISE


def test_a_stored_record_of_a_zip_imported_package_lies_in_the_archive_as_it_is(
    wheel: Path, file: Callable[..., Path]
) -> None:
    add_records(wheel, {"demo/model.mpk": file(NOISE)}, "stored")
    start = local_header(wheel, "demo/model.mpk").start
    assert wheel.read_bytes()[start : start + len(NOISE)] == NOISE
