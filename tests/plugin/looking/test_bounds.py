"""What looking costs and shows is in proportion to the file: characters, rows and bytes read are counted, not seconds.

The inputs are those of `making.costly_records` in kind: what is long is named again and again by what is short.
"""

from __future__ import annotations

import json
import zipfile
import zlib
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

from hatch_wheelweights.checkpoint import files as checkpoint_files
from looking.commands import run, stdout
from making.checkpoints import zip_checkpoint
from making.pickles import Code, pickled, tensor
from making.records import buffer, entry, record
from making.small_files import HOSTILE, WHEEL, small_record, wheel, write

if TYPE_CHECKING:
    from collections.abc import Callable

LONG = 60_000
EMPTY = {"crc32": zlib.crc32(b"")}
COMMANDS = [["inspect"], ["inspect", "--json"], ["inspect", "--html", "out.html", "--force"], ["verify"]]


def ties(n: int) -> bytes:
    """Tensors with short keys that are tied to one with a long key."""
    return record({"x" * LONG: entry()} | {f"t{i}": entry() for i in range(n)})


def long_ties(n: int) -> bytes:
    return record({f"{i:x<4000}": entry() for i in range(n)})


def sources(n: int) -> bytes:
    """Tensors that were renamed, one of them from a long key."""
    names = ["y" * LONG, *(f"s{i}" for i in range(n))]
    return record({f"t{i}": entry(5, source=source) for i, source in enumerate(names)})


def ranks(n: int) -> bytes:
    """One tensor of rank 64 with large sizes beside those of rank 1."""
    wide = {"wide": entry(5, shape=[0] + [1 << 40] + [1] * 62, **EMPTY)}
    narrow = {f"t{i}": entry(5 + 64 * (i + 1), shape=[0], **EMPTY) for i in range(n)}
    return record(wide | narrow, [buffer(b"")] * (n + 1))


def metadata(n: int) -> bytes:
    """Short names in the metadata beside a long one."""
    return record(metadata={"m" * LONG: 1} | {f"m{i}": "v" for i in range(n)})


def unprintable(n: int) -> bytes:
    return record({"\U000e0001" * 900 + str(i): entry() for i in range(n)})


def records(n: int) -> bytes:
    return wheel({f"demo/{i}.mpk": small_record() for i in range(n)})


def deflated_records(n: int) -> bytes:
    return wheel({f"demo/{i}.mpk": small_record() for i in range(n)}, zipfile.ZIP_DEFLATED)


def unlisted_files(n: int) -> bytes:
    return wheel({"demo/1.mpk": small_record()} | {f"demo/{i}": b"" for i in range(n)}, listing=b"")


def deep_names(n: int) -> bytes:
    return wheel({"demo/1.mpk": small_record(), **{f"{i}/" + "a/" * 2_000 + "b": b"" for i in range(n // 20)}})


def long_scheme_names(n: int) -> bytes:
    return wheel({"demo/1.mpk": small_record(), **{f"{i}" + ".data" * 2_000 + "/b": b"" for i in range(n // 20)}})


RECORDS = [ties, long_ties, sources, ranks, metadata, unprintable]
WHEELS = [records, deflated_records, unlisted_files, deep_names, long_scheme_names]
CASES = [(make, "a.mpk") for make in RECORDS] + [(make, WHEEL) for make in WHEELS]


@pytest.mark.parametrize("command", COMMANDS, ids=" ".join)
@pytest.mark.parametrize(("make", "file"), CASES, ids=[make.__name__ for make, _ in CASES])
def test_what_is_shown_is_in_proportion_to_the_file(
    make: Callable[[int], bytes], file: str, command: list[str]
) -> None:
    sizes, shown = zip(*(size_and_output(make(n), file, command) for n in (200, 400)), strict=True)
    assert shown[1] <= 20_000 + 20 * sizes[1]
    assert shown[1] <= 20_000 + 2.1 * shown[0]


def size_and_output(content: bytes, file: str, command: list[str]) -> tuple[int, int]:
    """Return the size of a file, and how many characters a command prints or writes about it."""
    write(file, content)
    first, *options = command
    result = run(first, file, *options, status=int(make_fails(file, first)))
    page = Path("out.html")
    written = len(page.read_text(encoding="utf-8")) if page.exists() else 0
    return len(content), len(result.output) + written


def make_fails(file: str, command: str) -> bool:
    """Return whether the wheel is one whose listing is empty: verify has a line for each file."""
    if command != "verify" or file != WHEEL:
        return False
    with zipfile.ZipFile(file) as archive:
        return not archive.read(archive.namelist()[-1])


@pytest.mark.parametrize("command", ["inspect", "verify"])
@pytest.mark.parametrize("make", WHEELS, ids=lambda make: make.__name__)
def test_what_is_read_of_a_wheel_is_in_proportion_to_it(
    make: Callable[[int], bytes], command: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    read: list[int] = []
    read_into = checkpoint_files._read_into

    def counted(*arguments: Any) -> int:
        read.append(read_into(*arguments))
        return read[-1]

    monkeypatch.setattr(checkpoint_files, "_read_into", counted)
    for n in (100, 200):
        read.clear()
        size, _ = size_and_output(make(n), WHEEL, [command])
        assert sum(read) <= 6 * (1 << 16) + 8 * size


def test_the_first_hundred_records_of_a_wheel_are_shown_and_the_others_counted() -> None:
    write(WHEEL, records(250))
    shown = stdout("inspect", WHEEL)
    assert shown.count(": record, ") == 100
    assert shown.splitlines()[1] == "250 records"
    last = f"and 150 more records; name one to see it, such as {WHEEL}/demo/100.mpk"
    assert shown.splitlines()[-1] == last
    assert len(json.loads(stdout("inspect", WHEEL, "--json"))["records"]) == 250
    assert stdout("inspect", WHEEL, "--html", "out.html") == "out.html: written\n"
    page = Path("out.html").read_text(encoding="utf-8")
    assert page.count("<section>") == 100
    assert f"<p>{last}</p>" in page
    assert stdout("verify", WHEEL).count(": sound, 1 tensor, ") == 250
    write(WHEEL, records(100))
    assert " more record" not in stdout("inspect", WHEEL)


def test_a_long_key_is_cut_in_tables_and_shorter_still_where_another_is_tied_to_it() -> None:
    key = "k" * 1_500
    write("a.mpk", record({key: entry(), "t": entry()}))
    lines = stdout("inspect", "a.mpk").splitlines()
    assert lines[4].split("  ")[0] == "k" * 997 + "..."
    assert lines[5].endswith("  tied to " + "k" * 197 + "...")
    first, second = json.loads(stdout("inspect", "a.mpk", "--json"))["tensors"]
    assert (first["key"], second["tied_to"]) == (key, "k" * 997 + "...")


def test_a_cell_that_is_wider_than_its_column_does_not_widen_the_lines_of_others() -> None:
    write("a.mpk", record({"x" * 500: entry(), "t": entry()}))
    lines = stdout("inspect", "a.mpk").splitlines()
    assert lines[4] == f"{'x' * 500}  (4,) float32       4  16 B"
    assert lines[5].split("  (4,)")[0] == "t".ljust(60)


def test_a_name_of_32_000_levels_is_no_trouble() -> None:
    write(WHEEL, wheel({"demo/1.mpk": small_record(), "a/" * 32_000 + "b": b""}, zipfile.ZIP_DEFLATED))
    assert stdout("inspect", WHEEL).splitlines()[1] == "1 record"
    assert stdout("verify", WHEEL).splitlines()[-1].startswith(f"{WHEEL}: sound, 3 files, ")


def test_numbers_without_end_are_shown_as_unknown() -> None:
    huge = Code(b"\x8b" + (1000).to_bytes(4, "little") + b"\1" * 1000)
    write("a.pt", zip_checkpoint(pickled({"w": tensor(), "x": tensor(size=(huge,) * 64, stride=(huge,) * 64)})))
    for command in COMMANDS[:3]:
        result = run(command[0], "a.pt", *command[1:], status=1)
        assert len(result.output) < 1_000


def test_a_dtype_that_is_any_text_is_cut_and_escaped() -> None:
    from making.checkpoints import EXPORTED_TENSOR, EXPORTED_WEIGHT, exported

    meta = {"a": EXPORTED_TENSOR, "b": {**EXPORTED_TENSOR, "dtype": HOSTILE + "d" * 5_000}}
    described = {key: {**EXPORTED_WEIGHT, "tensor_meta": one} for key, one in meta.items()}
    write("a.pt2", exported(json.dumps({"config": described}).encode()))
    shown = stdout("inspect", "a.pt2")
    assert r"ScalarType \x1b[31m</td>" in shown
    assert len(shown) < 2_000
