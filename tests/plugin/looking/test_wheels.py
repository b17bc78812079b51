"""Wheels that are odd, damaged, or made to be read in two ways: each is told in one clear line."""

from __future__ import annotations

import io
import struct
import tracemalloc
import warnings
import zipfile
from pathlib import Path
from typing import TYPE_CHECKING, Any, BinaryIO

import numpy as np
import pytest

import wheelweights as ww
from hatch_wheelweights.looking.wheels import FREE_HEADER, MAX_HEADER_RATIO, WHEEL_AGAIN, open_wheel
from looking.commands import refusal, run, stdout
from making.projects import make_project
from making.records import Packed, packed, record
from making.small_files import LISTING, WHEEL, listing_of, small_record, small_wheel, wheel, write
from making.zips import Member, zip_archive
from wheelweights import RecordError
from wheelweights.record import header_size

if TYPE_CHECKING:
    from collections.abc import Callable

RECORD = "demo/1.mpk"


def by_hand(*members: Member, listing: bytes | None = None, **options: Any) -> bytes:
    """Write a wheel header by header: a record, these members, and RECORD."""
    files = {RECORD: small_record()} | {member.name: member.data for member in members}
    last = Member(LISTING, listing_of(files).encode() if listing is None else listing, flags=0)
    return zip_archive([Member(RECORD, files[RECORD], flags=0), *members, last], alignment=1, **options)


def refused_by_both(content: bytes) -> str:
    """Return what inspect and verify say of a wheel: the same, in one line, and what to do in another."""
    write(WHEEL, content)
    said = refusal("inspect", WHEEL)
    assert refusal("verify", WHEEL) == said
    first, remedy = said.splitlines()
    assert remedy == f"  {WHEEL_AGAIN}"
    return first.removeprefix(f"Error: {WHEEL}: ")


# ------------------------------------------------------------------------------------- names


@pytest.mark.parametrize(
    "name", ["//a", "/a", "a//b", "../a", "a/../b", "./a", "a\\b", "a\0b", "C:/a", "c:a", "", "../", "/"]
)
def test_a_name_that_leads_astray_is_refused(name: str) -> None:
    assert refused_by_both(by_hand(Member(name, b"", flags=0))) == f"holds a file named {name!r}"


@pytest.mark.parametrize(
    ("first", "second"),
    [
        ("demo/2.mpk", "demo/2.mpk"),
        ("demo/2.mpk", "DEMO/2.mpk"),
        ("demo/straße", "demo/STRASSE"),
        ("demo/\u00e9", "demo/e\u0301"),
        ("demo/2.mpk", "demo-1.0.data/purelib/demo/2.mpk"),
        ("demo-1.0.data/platlib/demo/2.mpk", "demo-1.0.data/purelib/demo/2.mpk"),
    ],
)
def test_two_files_of_one_name_are_refused(first: str, second: str) -> None:
    flags = 0 if (first + second).isascii() else 0x800
    said = refused_by_both(by_hand(*(Member(name, small_record(), flags=flags) for name in (first, second))))
    assert said == f"holds two files of one name: `{first}` and `{second}`"


def test_two_records_of_one_name_are_refused_as_zipfile_writes_them() -> None:
    out = io.BytesIO()
    with warnings.catch_warnings(), zipfile.ZipFile(out, "w") as archive:
        warnings.simplefilter("ignore")
        for factor in (1, 2):
            archive.writestr(RECORD, small_record(factor))
        archive.writestr(LISTING, listing_of({RECORD: small_record(2)}))
    assert refused_by_both(out.getvalue()) == f"holds two files of one name: `{RECORD}` and `{RECORD}`"


def test_a_name_in_an_unmarked_code_is_refused() -> None:
    said = refused_by_both(by_hand(Member("demo/ü", flags=0)))
    assert said == "the name of `demo/ü` is not marked as UTF-8, and can be read in two ways"
    write(WHEEL, by_hand(Member("demo/ü", flags=0x800)))
    assert stdout("verify", WHEEL).splitlines()[-1].startswith(f"{WHEEL}: sound, 3 files, ")


def test_a_second_name_in_an_extra_field_is_refused() -> None:
    """Info-ZIP's field 0x7075: newer Pythons believe it, older ones do not."""
    out = io.BytesIO()
    with zipfile.ZipFile(out, "w") as archive:
        member = zipfile.ZipInfo(RECORD)
        member.extra = struct.pack("<2HBL", 0x7075, 5 + len("demo/2.mpk"), 1, 0) + b"demo/2.mpk"
        archive.writestr(member, small_record())
        archive.writestr(LISTING, listing_of({RECORD: small_record()}))
    assert refused_by_both(out.getvalue()) == f"a member of a zip file has two names, one of them b'{RECORD}'"


def with_modes(modes: dict[str, int]) -> bytes:
    out = io.BytesIO()
    with zipfile.ZipFile(out, "w") as archive:
        for name, mode in modes.items():
            member = zipfile.ZipInfo(name)
            member.external_attr = mode << 16
            archive.writestr(member, small_record() if name == RECORD else b"")
    return out.getvalue()


def test_a_link_is_refused() -> None:
    assert refused_by_both(with_modes({RECORD: 0o100644, "demo/link": 0o120777})) == (
        "`demo/link` is not a regular file (mode 120777)"
    )


def test_folders_are_no_files() -> None:
    files = {RECORD: small_record()}
    write(WHEEL, by_hand(Member("demo/", flags=0), Member("Demo/", flags=0), listing=listing_of(files).encode()))
    assert stdout("verify", WHEEL).splitlines()[-1].startswith(f"{WHEEL}: sound, 2 files, ")
    assert refused_by_both(by_hand(Member("demo/", b"x", flags=0))) == "holds a file named 'demo/'"


# ------------------------------------------------------------------------------------- the archive


@pytest.mark.parametrize(
    ("content", "said"),
    [
        (lambda: by_hand(Member("a", flags=1)), "member `a` is encrypted, or has other unknown flags (0x0001)"),
        (lambda: by_hand(Member("a", method=12, flags=0)), "member `a` is packed in an unknown way (method 12)"),
        (lambda: by_hand(Member("a", method=14, flags=0)), "member `a` is packed in an unknown way (method 14)"),
        (lambda: by_hand(Member("a", method=93, flags=0)), "member `a` is packed in an unknown way (method 93)"),
        (lambda: by_hand(Member("a", b"x", flags=0, local={"crc": 1})), "the two headers of member `a` disagree"),
        (lambda: by_hand(Member("a", b"x", flags=0, local={"name": "b"})), "the two headers of member `a` disagree"),
        (lambda: by_hand(Member("a", b"x", flags=0, local={"method": 8})), "the two headers of member `a` disagree"),
        (lambda: by_hand(Member("a", b"x", flags=8, local={"crc": 1})), "the two headers of member `a` disagree"),
        (
            lambda: by_hand(Member("a", b"x", flags=0, size=1 << 60, packed=1 << 60, local={"size": 1, "packed": 1})),
            "the two headers of member `a` disagree",
        ),
        (lambda: by_hand(Member("a", flags=0, offset=1 << 31)), "member `a` of a zip file lies outside it"),
        (lambda: by_hand(Member("a", flags=0, offset=0)), "the two headers of member `a` disagree"),
        (lambda: by_hand() + b"\0", "a zip file is followed by other bytes"),
        (lambda: by_hand(count=1), "the central directory of a zip file has more entries than it says"),
        (lambda: by_hand(count=9), "the central directory of a zip file is not where its end says"),
    ],
)  # fmt: skip
def test_an_archive_that_can_be_read_in_two_ways_is_refused(content: Callable[[], bytes], said: str) -> None:
    assert refused_by_both(content()) == said


def test_a_program_before_the_archive_is_refused() -> None:
    """`zipfile` and pip read such a file."""
    small_wheel()
    content = b"#!/bin/sh\n" + Path(WHEEL).read_bytes()
    assert refused_by_both(content).startswith("expected a wheel, found a file that begins with b'#!/bin/sh")


@pytest.mark.parametrize("header", [b"PK\3\4", b"PK\1\2"], ids=["header", "directory"])
def test_a_version_that_some_readers_refuse_is_refused(header: bytes) -> None:
    small_wheel()
    content = bytearray(Path(WHEEL).read_bytes())
    content[content.index(header) + (4 if header == b"PK\3\4" else 6)] = 64
    assert refused_by_both(bytes(content)) == "member `demo/1.mpk` needs version 6.4 of the zip format"


def test_bytes_between_files_are_refused() -> None:
    small_wheel()
    content = Path(WHEEL).read_bytes()
    second = content.index(b"PK\3\4", 4)
    end = content.rindex(b"PK\5\6")
    moved = content[:second] + b"hidden" + content[second:end]
    start = struct.unpack_from("<L", content, end + 16)[0] + len(b"hidden")
    moved += content[end : end + 16] + struct.pack("<LH", start, 0)
    assert refused_by_both(moved) == "the two headers of member `demo/2.mpk` disagree"


@pytest.mark.parametrize("method", [zipfile.ZIP_BZIP2, zipfile.ZIP_LZMA])
def test_other_compressions_are_refused_as_zipfile_writes_them(method: int) -> None:
    said = refused_by_both(wheel({RECORD: small_record()}, {RECORD: method}))
    assert said == f"member `{RECORD}` is packed in an unknown way (method {method})"


def test_a_wheel_that_is_cut_short_anywhere_is_refused() -> None:
    content = wheel({RECORD: small_record()})
    for size in range(len(content)):
        write(WHEEL, content[:size])
        run("verify", WHEEL, status=1)


# ------------------------------------------------------------------------------------- headers that inflate


def equal_texts(count: int) -> bytes:
    """A record whose metadata is a list of equal texts, of three bytes each."""
    return record(metadata={"x": Packed(b"\xdd" + struct.pack(">I", count) + packed("ab") * count)})


def of_2000(tensors: dict[str, np.ndarray[Any, Any]]) -> bytes:
    ww.write_record("some.mpk", tensors, metadata={"config": {"layers": [{"heads": 8, "act": "gelu"}] * 125}})
    return Path("some.mpk").read_bytes()


PARTS = ["q_proj", "k_proj", "v_proj", "o_proj", "gate", "up", "down", "norm"]
KEYS = [f"model.layers.{i}.{part}.{name}" for i in range(125) for part in PARTS for name in ("weight", "bias")]


@pytest.mark.parametrize(
    "tensors",
    [
        lambda: {key: np.zeros((4, 4), np.float32) + 0 for key in KEYS},
        lambda: dict.fromkeys(KEYS, np.zeros(4, np.float32)),
        lambda: {key: np.zeros((0, 4), np.float32) for key in KEYS},
        dict,
    ],
    ids=["equal", "tied", "empty", "none"],
)
def test_a_header_of_2000_equal_tensors_may_inflate(tensors: Callable[[], dict[str, Any]]) -> None:
    content = of_2000(tensors())
    write(WHEEL, wheel({RECORD: content}, zipfile.ZIP_DEFLATED))
    with open_wheel(WHEEL) as opened:
        assert 3 * opened.files[RECORD].compressed < len(content)
        assert len(opened.open(RECORD)) == len(tensors())
        assert 4 * opened._opened.account.nbytes < opened._opened.account.max_nbytes
    stdout("inspect", WHEEL)
    stdout("verify", WHEEL)


def test_a_header_that_inflates_beyond_any_honest_one_is_refused_before_it_is_read() -> None:
    content = equal_texts(500_000)
    write(WHEEL, wheel({RECORD: content}, zipfile.ZIP_DEFLATED))
    tracemalloc.start()
    with open_wheel(WHEEL) as opened, pytest.raises(RecordError) as caught:
        opened.open(RECORD)
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    packed_size = zipfile.ZipFile(WHEEL).getinfo(RECORD).compress_size
    limit, size = FREE_HEADER + MAX_HEADER_RATIO * packed_size, header_size(content)
    assert str(caught.value) == (
        f"{WHEEL}/{RECORD}: expected a header of at most {limit:,} bytes in {packed_size:,} packed ones, "
        f"found {size:,}\n  {WHEEL_AGAIN}"
    )
    assert (caught.value.expected, caught.value.found) == (limit, size)
    assert peak < 4 * len(content), "the values of the header were made"


def test_the_metadata_of_all_records_of_a_wheel_is_charged() -> None:
    files = {f"demo/{i}.mpk": equal_texts(40_000) for i in range(20)}
    write(WHEEL, wheel(files, zipfile.ZIP_DEFLATED))
    with open_wheel(WHEEL) as opened:
        kept = [opened.open(name) for name in opened.records[:12]]
        with pytest.raises(RecordError) as caught:
            opened.open("demo/12.mpk")
    size = Path(WHEEL).stat().st_size
    assert str(caught.value) == (
        f"{WHEEL}/demo/12.mpk: asks for more memory than a file of {size:,} bytes may take\n  {WHEEL_AGAIN}"
    )
    assert len(kept) == 12


# ------------------------------------------------------------------------------------- wheels as tools write them


class Stream(io.RawIOBase):
    """A pipe: it can only be written to."""

    def __init__(self, file: BinaryIO) -> None:
        self.file = file

    def writable(self) -> bool:
        return True

    def write(self, data: Any) -> int:
        return self.file.write(data)


@pytest.mark.parametrize("compression", [zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED], ids=["stored", "deflated"])
@pytest.mark.parametrize("zip64", [False, True], ids=["", "zip64"])
def test_a_wheel_that_was_written_as_a_stream_is_sound(compression: int, zip64: bool) -> None:
    """As a stream, sizes and checksums follow the data."""
    files = {RECORD: small_record(), "demo/__init__.py": b"", "demo/a.py": b"a = 1\n" * 99}
    with Path(WHEEL).open("wb") as file, zipfile.ZipFile(Stream(file), "w", compression) as archive:
        for name, content in {**files, LISTING: listing_of(files).encode()}.items():
            with archive.open(name, "w", force_zip64=zip64) as member:
                member.write(content)
        archive.comment = b"made by hand"
    assert zipfile.ZipFile(WHEEL).infolist()[0].flag_bits & 8
    assert stdout("verify", WHEEL).splitlines()[-1].startswith(f"{WHEEL}: sound, 4 files, ")
    assert stdout("inspect", WHEEL).startswith(f"{WHEEL}: wheel, ")


@pytest.mark.parametrize("compression", ["stored", "deflated"])
def test_a_wheel_that_the_hook_made_is_sound(tmp_path: Path, compression: str) -> None:
    tables = f'[tool.hatch.build.hooks.wheelweights]\ncompression = "{compression}"'
    made = make_project(tmp_path / "project", tables=tables).wheel()
    lines = stdout("verify", str(made)).splitlines()
    assert lines[0].startswith(f"{made}/demo/conv2d.mpk: sound, ")
    assert lines[1].startswith(f"{made}: sound, 5 files, ")


def test_a_wheel_is_mapped_once_however_many_records_it_has() -> None:
    """Each map would keep a descriptor of its own open, of which a process has about a thousand."""
    resource = pytest.importorskip("resource")
    files = {f"demo/{number}.mpk": small_record() for number in range(300)}
    write("a.whl", wheel(files))
    write("b.whl", wheel(files))
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (256, hard))
    try:
        assert stdout("diff", "a.whl", "b.whl") == "equal: 300 tensors, 1,200 values\n"
    finally:
        resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))
