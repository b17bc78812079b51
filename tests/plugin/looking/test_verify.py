"""Whether every byte of a wheel is covered: by its archive, by RECORD, and by the records in it."""

from __future__ import annotations

import zipfile
import zlib
from collections import Counter
from pathlib import Path

import pytest

from hatch_wheelweights.looking.verify import verify_file
from looking.commands import refusal, run, stdout
from looking.wheels import local_headers
from making.small_files import LISTING, WHEEL, listing_of, small_record, small_wheel, wheel, write
from wheelweights.errors import WheelweightsError

FILES = ("demo/1.mpk", "demo/2.mpk", "demo-1.0.dist-info/METADATA")


def files() -> dict[str, bytes]:
    return dict(zip(FILES, (small_record(1), small_record(2), b"Name: demo\n"), strict=True))


def faults(path: str) -> list[str]:
    """Return what verify finds in a file."""
    try:
        return [str(verdict.fault) for verdict in verify_file(path) if verdict.fault is not None]
    except WheelweightsError as error:
        return [str(error)]


# ------------------------------------------------------------------------------------- every bit


def installed(path: str) -> tuple[dict[str, bytes], dict[str, bytes]]:
    """Return names and bytes as an installer writes them: one that reads the directory (pip), one that reads headers.

    The second is how a wheel is unpacked while it is downloaded (uv).
    """
    with zipfile.ZipFile(path) as archive:
        by_directory = {member.filename: archive.read(member) for member in archive.infolist()}
    by_headers = {
        member.name: zlib.decompress(member.data, -15) if member.method == zipfile.ZIP_DEFLATED else member.data
        for member in local_headers(Path(path))
    }
    return by_directory, by_headers


def fields_without_effect(raw: bytes) -> dict[int, str]:
    """Return the places of the bytes of a wheel that change no installed name or byte, with what they are."""
    places: dict[int, str] = {}
    with zipfile.ZipFile(WHEEL) as archive:
        members = archive.infolist()
    central = raw.index(b"PK\1\2")
    for member in members:
        at = member.header_offset
        places |= dict.fromkeys(range(at + 4, at + 6), "version") | dict.fromkeys(range(at + 10, at + 14), "time")
        if member.compress_type == zipfile.ZIP_DEFLATED:  # other bits can inflate to the same bytes
            start = at + 30 + len(member.filename)
            places |= dict.fromkeys(range(start, start + member.compress_size), "deflated")
        places |= dict.fromkeys(range(central + 4, central + 8), "version")
        places |= dict.fromkeys(range(central + 12, central + 16), "time")
        places |= dict.fromkeys(range(central + 36, central + 42), "attributes")
        central += 46 + len(member.filename)
    return places


def test_every_flipped_bit_of_a_wheel_is_found_or_changes_no_installed_name_or_byte() -> None:
    """Of the flips that are not found, both kinds of installers write what they wrote before."""
    raw = wheel(files(), {"demo/2.mpk": zipfile.ZIP_DEFLATED, LISTING: zipfile.ZIP_DEFLATED})
    write(WHEEL, raw)
    before, harmless = installed(WHEEL), fields_without_effect(raw)
    assert faults(WHEEL) == []
    silent = Counter[str]()
    for flip in range(8 * len(raw)):
        changed = bytearray(raw)
        changed[flip >> 3] ^= 1 << (flip & 7)
        write(WHEEL, bytes(changed))
        if not faults(WHEEL):
            assert installed(WHEEL) == before, flip
            silent[harmless[flip >> 3]] += 1
    # Of four members: two dates of 32 bits; what made a file (8 + 8 bits) and the version that is needed, twice;
    # attributes without those for the kind of file
    assert silent.pop("deflated") < 64
    assert silent == {"time": 4 * 2 * 32, "version": 4 * (16 + 2 * 14), "attributes": 4 * (48 - 3)}


@pytest.mark.slow
def test_every_flipped_bit_of_a_wheel_that_was_written_as_a_stream_is_found_or_changes_nothing() -> None:
    class Pipe:
        def __init__(self) -> None:
            self.written = bytearray()

        def write(self, data: bytes) -> int:
            self.written += data
            return len(data)

        def flush(self) -> None:
            pass

    pipe = Pipe()
    one = {"demo/1.mpk": small_record()}
    with zipfile.ZipFile(pipe, "w") as archive:  # type: ignore[call-overload]
        archive.writestr(zipfile.ZipInfo("demo/1.mpk"), one["demo/1.mpk"], zipfile.ZIP_DEFLATED)
        archive.writestr(zipfile.ZipInfo(LISTING), listing_of(one), zipfile.ZIP_DEFLATED)
    raw = bytes(pipe.written)
    write(WHEEL, raw)
    assert faults(WHEEL) == []
    with zipfile.ZipFile(WHEEL) as archive:
        before = {member.filename: archive.read(member) for member in archive.infolist()}
    for flip in range(8 * len(raw)):
        changed = bytearray(raw)
        changed[flip >> 3] ^= 1 << (flip & 7)
        write(WHEEL, bytes(changed))
        if not faults(WHEEL):
            with zipfile.ZipFile(WHEEL) as archive:
                assert {member.filename: archive.read(member) for member in archive.infolist()} == before, flip


# ------------------------------------------------------------------------------------- RECORD


def rows(**changed: str) -> str:
    """Return the true RECORD with other rows for some files; an empty one leaves the row out."""
    text = listing_of(files()).splitlines(keepends=True)
    by_file = dict(zip(("one", "two", "about", "record"), text, strict=True)) | changed
    return "".join(by_file.values())


@pytest.mark.parametrize("algorithm", ["sha256", "sha384", "sha512", "sha3_256", "sha3_512", "blake2b", "blake2s"])
def test_a_true_listing_may_leave_itself_and_sizes_out_and_has_other_digests_than_sha256(algorithm: str) -> None:
    import base64
    import hashlib

    digest = base64.urlsafe_b64encode(hashlib.new(algorithm, b"Name: demo\n").digest()).rstrip(b"=").decode()
    other = f"{FILES[2]},{algorithm}={digest},"
    for listing in (rows(), rows(record=""), rows(about=f"{other}11\r\n"), rows(about=f"{other}\n")):
        write(WHEEL, wheel(files(), listing=listing))
        assert faults(WHEEL) == []


def test_a_digest_without_a_size_is_compared() -> None:
    write(WHEEL, wheel(files(), listing=rows(about=f"{FILES[2]},sha256=AAAA,\n")))
    (fault,) = faults(WHEEL)
    assert fault.startswith(f"{WHEEL}/{FILES[2]}: expected sha256 'AAAA', as RECORD says, found '")


def test_signatures_of_the_listing_are_not_listed() -> None:
    signed = {**files(), f"{LISTING}.jws": b"{}", f"{LISTING}.p7s": b"x"}
    write(WHEEL, wheel(signed, listing=rows()))
    assert faults(WHEEL) == []
    for row in (f"{LISTING}.jws,,\n", f"{LISTING}.jws,sha256=AAAA,2\n"):
        write(WHEEL, wheel(signed, listing=rows() + row))
        (fault,) = faults(WHEEL)
        said = f"{WHEEL}/{LISTING}.jws: is listed in RECORD, which it is a signature of"
        assert fault == f"{said}\n  Get the wheel again, or build it again."


COLUMNS = "expected rows of a name, a digest and a size"


@pytest.mark.parametrize(
    ("listing", "said"),
    [
        pytest.param({"about": ""}, f"{FILES[2]}: is not listed in RECORD", id="missing"),
        pytest.param(
            {"about": f"{FILES[2]},sha256=AAAA,11\n"},
            f"{FILES[2]}: expected sha256 'AAAA', as RECORD says, found '", id="digest",
        ),
        pytest.param(
            {"two": f"{FILES[1]},,251\n"},
            f"{FILES[1]}: expected a digest of SHA-256 or better in RECORD, found ''", id="no digest",
        ),
        pytest.param(
            {"two": f"{FILES[1]},md5=AAAA,251\n"},
            f"{FILES[1]}: expected a digest of SHA-256 or better in RECORD, found 'md5'", id="weak digest",
        ),
        pytest.param({"more": "a.mpk,,\n"}, f"{LISTING}: lists `a.mpk`, which is not in the wheel", id="no such file"),
        pytest.param({"more": f"{FILES[0]},,\n"}, f"{LISTING}: lists `{FILES[0]}` twice", id="twice"),
        pytest.param({"more": f"{LISTING},,\n"}, f"{LISTING}: lists `{LISTING}` twice", id="itself twice"),
        pytest.param(
            {"more": "a,b\n"}, f"{LISTING}: {COLUMNS}, found \"['a', 'b']\"", id="short row"
        ),
        pytest.param({"more": "\n"}, f"{LISTING}: {COLUMNS}, found '[]'", id="empty row"),
        pytest.param({"more": '"a"b,,\n'}, f"{LISTING}: malformed: ", id="CSV"),
        pytest.param({"more": '"a'}, f"{LISTING}: malformed: unexpected end of data", id="open quote"),
        pytest.param(
            {"record": f"{LISTING},sha256=AAAA,9\n"},
            f"{LISTING}: expected neither digest nor size of RECORD itself in RECORD", id="its own digest",
        ),
    ],
)  # fmt: skip
def test_a_listing_that_differs_from_the_files_is_found(listing: dict[str, str], said: str) -> None:
    write(WHEEL, wheel(files(), listing=rows(**listing)))
    found = [fault for fault in faults(WHEEL) if fault.startswith(f"{WHEEL}/{said}")]
    assert len(found) == 1, faults(WHEEL)
    assert found[0].endswith("\n  Get the wheel again, or build it again.")


def test_a_wrong_size_in_the_listing_is_found() -> None:
    right = rows()
    wrong = right.replace(",11\n", ",12\n")
    assert wrong != right
    write(WHEEL, wheel(files(), listing=wrong))
    assert faults(WHEEL) == [
        f"{WHEEL}/{FILES[2]}: expected '12' bytes, as RECORD says, found 11\n  Get the wheel again, or build it again."
    ]


@pytest.mark.parametrize(
    ("listing", "said"),
    [
        pytest.param(b"\xff,,\n", "malformed: 'utf-8' codec can't decode byte 0xff in position 0", id="not UTF-8"),
        pytest.param(b"demo/\0.mpk,,\n", r"lists `demo/\x00.mpk`, which is not in the wheel", id="NUL"),
        pytest.param(b"a," * 100_000, "expected at most ", id="too long"),
        pytest.param(b"a" * 1_000, f"{COLUMNS}, found ", id="one long field"),
        pytest.param(b"", None, id="empty"),
    ],
)
def test_a_listing_that_is_none_is_told_in_one_line_and_the_records_are_still_checked(
    listing: bytes, said: str | None
) -> None:
    write(WHEEL, wheel(files(), listing=listing))
    result = run("verify", WHEEL, status=1)
    if said is None:
        assert result.stderr.count("is not listed in RECORD") == 3
        return
    assert result.stderr.startswith(f"Error: {WHEEL}/{LISTING}: {said}")
    assert result.stderr.count("Error: ") == 1
    assert result.stdout.splitlines() == [f"{WHEEL}/{name}: sound, 1 tensor, 16 bytes" for name in FILES[:2]]


@pytest.mark.parametrize(
    ("names", "found"),
    [
        ([], "none"),
        (["demo-1.0.dist-info/METADATA"], "`demo-1.0.dist-info`"),
        (["a-1.dist-info/RECORD", "b-1.dist-info/RECORD"], "`a-1.dist-info`, `b-1.dist-info`"),
        (["a-1.dist-info/RECORD", "b-1.dist-info/METADATA"], "`a-1.dist-info`, `b-1.dist-info`"),
        (["demo/a-1.dist-info/RECORD"], "none"),
    ],
)
def test_a_wheel_has_one_listing(names: list[str], found: str) -> None:
    with zipfile.ZipFile(WHEEL, "w") as archive:
        archive.writestr("demo/1.mpk", small_record())
        for name in names:
            archive.writestr(name, "")
    assert stdout("inspect", WHEEL).startswith(f"{WHEEL}: wheel, ")
    result = run("verify", WHEEL, status=1)
    first = f"Error: {WHEEL}: expected one folder *.dist-info with a RECORD in it, found {found}"
    assert result.stderr.splitlines()[0] == first
    assert result.stdout == f"{WHEEL}/demo/1.mpk: sound, 1 tensor, 16 bytes\n"


# ------------------------------------------------------------------------------------- the files


def test_damage_to_a_file_that_is_no_record_is_found() -> None:
    write(WHEEL, wheel(files()))
    content = Path(WHEEL).read_bytes()
    write(WHEEL, content.replace(b"Name: demo\n", b"Name: Demo\n"))
    result = run("verify", WHEEL, status=1)
    assert result.stderr.startswith(f"Error: {WHEEL}/{FILES[2]}: damaged: expected CRC-32 ")
    assert result.stdout.count(": sound, 1 tensor, ") == 2


def test_a_listing_that_disagrees_with_the_archive_is_found_even_where_the_checksums_are_right() -> None:
    """The issue's case: CRC-32 and record are right, and RECORD says something else; pip and uv install it."""
    write(WHEEL, wheel(files(), listing=listing_of(files() | {FILES[0]: small_record(3)})))
    result = run("verify", WHEEL, status=1)
    assert result.stderr.startswith(f"Error: {WHEEL}/{FILES[0]}: expected sha256 ")
    assert result.stdout == f"{WHEEL}/{FILES[1]}: sound, 1 tensor, 16 bytes\n"


def test_a_record_by_its_place_in_a_wheel_is_checked_alone() -> None:
    small_wheel()
    assert stdout("verify", f"{WHEEL}/demo/2.mpk") == f"{WHEEL}/demo/2.mpk: sound, 1 tensor, 16 bytes\n"


def test_a_wheel_with_very_many_faults_names_the_first_hundred() -> None:
    names = {f"demo/{number}.py": b"" for number in range(150)}
    write(WHEEL, wheel({"demo/1.mpk": small_record(), **names}, listing=""))
    said = refusal("verify", WHEEL).splitlines()
    assert len(said) == 2 * 100 + 1
    assert said[-1] == f"Error: {WHEEL}: 51 more faults"
