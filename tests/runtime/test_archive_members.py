"""Members of zip archives: mapped or inflated, and never anything but what both headers say."""

from __future__ import annotations

import mmap
import random
import struct
import tracemalloc
import zipfile
import zlib
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest

from making.zips import Member, zip_archive
from wheelweights import RecordError
from wheelweights.archives import INFLATED_RATIO, MAX_INFLATED, member_bytes

if TYPE_CHECKING:
    from pathlib import Path

DATA = bytes(range(256)) * 5
NAME = "demo/ä.mpk"
AGAIN = "\n  Get the archive again, or build it again."


def laid_down(folder: Path, *members: Member, **options: Any) -> Path:
    path = folder / "demo.zip"
    path.write_bytes(zip_archive(members, **options))
    return path


def info(archive: Path, name: str = NAME) -> zipfile.ZipInfo:
    with zipfile.ZipFile(archive) as opened:
        return opened.getinfo(name)


def refused(archive: Path, name: str = NAME, **changed: Any) -> str:
    """See a member refused, mapped or not, for one reason; `changed` are other values of what the directory says."""
    said = info(archive, name)
    for field, value in changed.items():
        setattr(said, field, value)
    messages = set()
    for mapped in (True, False):
        with pytest.raises(RecordError) as caught:
            member_bytes(archive, said, mmap=mapped)
        assert caught.value.path == f"{archive}/{said.filename}"
        messages.add(str(caught.value).removeprefix(f"{archive}/{said.filename}: "))
    (message,) = messages
    return message


@pytest.mark.parametrize("flags", [0x0800, 0x0808, 0x0806])
@pytest.mark.parametrize("method", [0, 8])
@pytest.mark.parametrize("mapped", [True, False])
def test_gives_the_bytes_of_a_member(tmp_path: Path, flags: int, method: int, mapped: bool) -> None:
    archive = laid_down(tmp_path, Member("first", b"1"), Member(NAME, DATA, flags, method), Member("last", b"2"))
    found = member_bytes(archive, info(archive), mmap=mapped)
    assert found.tobytes() == DATA
    assert not found.flags.writeable
    assert found.ctypes.data % 64 == 0
    owner: Any = found
    while isinstance(owner, np.ndarray | memoryview):
        owner = owner.base if isinstance(owner, np.ndarray) else owner.obj
    assert isinstance(owner, mmap.mmap) is (mapped and method == 0)


@pytest.mark.parametrize("method", [0, 8])
def test_gives_the_nothing_of_an_empty_member(tmp_path: Path, method: int) -> None:
    archive = laid_down(tmp_path, Member(NAME, b"", 0x800, method))
    assert [member_bytes(archive, info(archive), mmap=mapped).size for mapped in (True, False)] == [0, 0]


def test_gives_a_member_of_an_archive_behind_other_bytes(tmp_path: Path) -> None:
    """As a zipapp has them; `zipfile` counts from the start of the file."""
    path = tmp_path / "demo.pyz"
    with path.open("wb") as file:
        file.write(b"#!/usr/bin/env python3\n")
        with zipfile.ZipFile(file, "a") as archive:
            archive.writestr("model.mpk", DATA)
    assert member_bytes(path, info(path, "model.mpk")).tobytes() == DATA


def test_reads_sizes_of_64_bits(tmp_path: Path) -> None:
    path = tmp_path / "demo.zip"
    with zipfile.ZipFile(path, "w") as archive, archive.open("model.mpk", "w", force_zip64=True) as file:
        file.write(DATA)
    assert struct.pack("<2HQ", 1, 16, len(DATA)) in path.read_bytes()[:80], "the case that is meant"
    assert member_bytes(path, info(path, "model.mpk")).tobytes() == DATA


HEADERS = "expected one name, method and set of flags in its two headers, found others" + AGAIN
SIZES = "expected one CRC-32 and one size in its two headers, found others" + AGAIN


@pytest.mark.parametrize(
    ("local", "said"),
    [
        pytest.param({"name": "demo/b.mpk"}, HEADERS, id="name"),
        pytest.param({"name": "demo/ä.mpkk"}, HEADERS, id="longer name"),
        pytest.param({"method": 8}, HEADERS, id="method"),
        pytest.param({"flags": 0}, HEADERS, id="flags"),
        pytest.param({"flags": 0x801}, HEADERS, id="encrypted there"),
        pytest.param({"size": 7}, SIZES, id="size"),
        pytest.param({"packed": 7}, SIZES, id="packed size"),
        pytest.param({"crc": 7}, SIZES, id="CRC-32"),
    ],
)
def test_refuses_two_headers_that_disagree(tmp_path: Path, local: dict[str, Any], said: str) -> None:
    assert refused(laid_down(tmp_path, Member(NAME, DATA, 0x800, local=local))) == said


@pytest.mark.parametrize("flags", [0x801, 0x840, 0x820, 0x2800])
def test_refuses_flags_that_it_does_not_know(tmp_path: Path, flags: int) -> None:
    assert refused(laid_down(tmp_path, Member(NAME, DATA, 0x800)), flag_bits=flags) == (
        f"expected a stored or deflated member of an archive, found method 0 with flags 0x{flags:04x}"
        "\n  Zip it again, stored or deflated."
    )


def test_refuses_methods_that_it_does_not_know(tmp_path: Path) -> None:
    path = tmp_path / "demo.zip"
    with zipfile.ZipFile(path, "w", zipfile.ZIP_LZMA) as archive:
        archive.writestr(NAME, DATA)
    assert refused(path).startswith("expected a stored or deflated member of an archive, found method 14 with flags ")


def test_refuses_a_stored_member_of_two_sizes(tmp_path: Path) -> None:
    archive = laid_down(tmp_path, Member(NAME, DATA, 0x800, size=len(DATA) + 1))
    assert refused(archive) == "expected one size of a stored member, found 1,280 and 1,281" + AGAIN


@pytest.mark.parametrize("offset", [10**4, 2**32, 2**63, 2**64 - 1])
def test_refuses_a_header_outside_the_archive(tmp_path: Path, offset: int) -> None:
    archive = laid_down(tmp_path, Member(NAME, DATA, 0x800))
    size = archive.stat().st_size
    assert refused(archive, header_offset=offset) == (
        f"expected its header before byte {size:,}, found byte {offset:,}" + AGAIN
    )


def test_refuses_a_header_before_the_archive(tmp_path: Path) -> None:
    archive = laid_down(tmp_path, Member(NAME, DATA, 0x800))
    assert (
        refused(archive, header_offset=-5)
        == f"expected its header before byte {archive.stat().st_size:,}, found byte -5{AGAIN}"
    )


@pytest.mark.parametrize("size", [10**4, 2**40, 2**64 - 1])
@pytest.mark.parametrize("flags", [0x0800, 0x0808])
def test_refuses_data_that_leave_the_archive(tmp_path: Path, size: int, flags: int) -> None:
    """With a data descriptor the directory alone gives the sizes; without one, both headers tell the same lie."""
    archive = laid_down(
        tmp_path, Member(NAME, DATA, flags, packed=size, size=size) if size < 2**32 else Member(NAME, DATA, 0x808)
    )
    message = refused(archive, compress_size=size, file_size=size)
    assert message.startswith(f"expected its end before byte {archive.stat().st_size:,}, found byte "), message


def test_refuses_lengths_in_the_local_header_that_leave_the_archive(tmp_path: Path) -> None:
    """Its name and extra field may take 64 KiB each: the data would begin behind the end."""
    path = laid_down(tmp_path, Member(NAME, DATA, 0x800), alignment=1)
    data = bytearray(path.read_bytes())
    struct.pack_into("<H", data, 28, 0xFFFF)
    path.write_bytes(data)
    assert refused(path).startswith("expected its end before byte ")


@pytest.mark.parametrize("size", [len(DATA) - 1, len(DATA) + 1, 0])
def test_refuses_a_deflated_member_of_another_size(tmp_path: Path, size: int) -> None:
    archive = laid_down(tmp_path, Member(NAME, DATA, 0x800, 8, size=size))
    found = "more" if size < len(DATA) else "1,280"
    assert refused(archive) == f"expected {size:,} bytes, found {found}" + AGAIN


@pytest.mark.parametrize("method", [0, 8])
def test_refuses_what_it_reads_with_another_checksum(tmp_path: Path, method: int) -> None:
    archive = laid_down(tmp_path, Member(NAME, DATA, 0x800, method, crc=7))
    with pytest.raises(RecordError, match=rf"damaged: expected CRC-32 00000007, found {zlib.crc32(DATA):08x}\n"):
        member_bytes(archive, info(archive), mmap=False)


def test_refuses_damaged_deflated_bytes(tmp_path: Path) -> None:
    path = laid_down(tmp_path, Member(NAME, DATA, 0x800, 8))
    data = path.read_bytes()
    at = data.index(Member(NAME, DATA, method=8).body)
    path.write_bytes(data[:at] + b"\xff" * 8 + data[at + 8 :])
    assert refused(path).startswith("damaged: Error ")


def test_inflates_no_more_than_the_limit(tmp_path: Path) -> None:
    """What claims more is refused before memory is taken for it."""
    packed = len(Member(NAME, bytes(100_000), method=8).body)
    limit = MAX_INFLATED + INFLATED_RATIO * packed
    archive = laid_down(tmp_path, Member(NAME, bytes(100_000), 0x800, 8, size=limit + 1))
    tracemalloc.start()
    message = refused(archive)
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert message == (
        f"expected at most {limit:,} bytes from {packed:,} deflated ones, found {limit + 1:,}"
        "\n  Store it in the archive instead, if it is yours."
    )
    assert peak < 1 << 20


def test_inflates_into_the_memory_that_it_returns(tmp_path: Path) -> None:
    archive = laid_down(tmp_path, Member(NAME, bytes(16 << 20), 0x800, 8))
    tracemalloc.start()
    assert member_bytes(archive, info(archive)).size == 16 << 20
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert peak < 20 << 20


def test_stops_at_the_claimed_size_of_a_member_that_inflates_to_more(tmp_path: Path) -> None:
    archive = laid_down(tmp_path, Member(NAME, bytes(64 << 20), 0x800, 8, size=1_000))
    tracemalloc.start()
    assert refused(archive) == "expected 1,000 bytes, found more" + AGAIN
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert peak < 4 << 20


def test_names_the_archive_that_is_missing(tmp_path: Path) -> None:
    archive = laid_down(tmp_path, Member(NAME, DATA, 0x800))
    said = info(archive)
    archive.unlink()
    with pytest.raises(RecordError) as caught:
        member_bytes(archive, said)
    assert str(caught.value) == f"{archive}/{NAME}: cannot be read: No such file or directory"


def test_a_damaged_archive_gives_its_member_or_one_of_our_errors(tmp_path: Path) -> None:
    """Every bit of it; what cannot be told from the archive's bytes alone, a checksum of the member tells."""
    path = laid_down(tmp_path, Member(NAME, DATA[:40], 0x800), Member("b.mpk", DATA, 0x808, 8), alignment=1)
    data, chance = path.read_bytes(), random.Random(1)
    outcomes = {"given": 0, "refused": 0, "no archive": 0}
    for bit in chance.sample(range(8 * len(data)), 2_000):
        flipped = bytearray(data)
        flipped[bit // 8] ^= 1 << bit % 8
        path.write_bytes(flipped)
        try:
            with zipfile.ZipFile(path) as archive:
                members = archive.infolist()
        except (zipfile.BadZipFile, UnicodeDecodeError, NotImplementedError):
            outcomes["no archive"] += 1
            continue
        for member in members:
            try:
                assert member_bytes(path, member, mmap=False).tobytes() in (DATA[:40], DATA)
                outcomes["given"] += 1
            except RecordError:
                outcomes["refused"] += 1
    assert all(count > 100 for count in outcomes.values()), outcomes
