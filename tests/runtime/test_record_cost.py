"""What a header costs: memory in proportion to its bytes, whatever they say, and nothing made of what is refused.

Every generator writes a header of some kind at any size. The law for a file: 48 MB and 80 times its size, at most 1 GB.
What is compared is memory as it is allocated; `python tests/runtime/test_record_cost.py` prints a table with times.
"""

from __future__ import annotations

import gc
import json
import os
import struct
import subprocess
import sys
import tempfile
import time
import tracemalloc
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np
import pytest

if __name__ == "__main__":
    sys.path.insert(0, str(Path(__file__).parents[1]))

from making.records import Packed, Pairs, buffer, entry, packed, record
from wheelweights import Record, RecordError
from wheelweights.record import header, open_record, read_record

if TYPE_CHECKING:
    from collections.abc import Callable

CONSTANT_BYTES = 48 << 20
RATIO = 80
MOST_BYTES = 1 << 30


def items(item: bytes, n: int) -> bytes:
    """A header whose metadata is a list of `n` equal items."""
    return record(metadata={"x": Packed(b"\xdd" + struct.pack(">I", n) + item * n)})


def pairs(value: bytes, n: int, key: str = "{:x}") -> bytes:
    """A header whose metadata is a map of `n` keys with equal values."""
    body = b"".join(packed(key.format(number)) + value for number in range(n))
    return record(metadata={"x": Packed(b"\xdf" + struct.pack(">I", n) + body)})


def one_key(n: int) -> Packed:
    """A map with one key `n` times."""
    return Packed(b"\xdf" + struct.pack(">I", n) + b"\xa1a\xc0" * n)


def tensors(n: int, one: dict[str, Any], key: str = "{:x}", *, tied: bool = False, source: str = "") -> bytes:
    """A header of `n` tensors: all on one buffer, or each on its own."""
    empty = {**entry(0), "shape": [0], "crc32": 0, **one}
    before, behind = packed(empty | {"offset": 7}).split(b"\xa6offset\x07")
    size = 4 if not source else 5
    body = bytearray()
    for number in range(n):
        place = packed("offset") + b"\xce" + struct.pack(">I", 5 if tied else 5 + 64 * number)
        body += packed(key.format(number)) + bytes((0x80 | size,)) + before[1:] + place + behind
        if source:
            body += packed("source") + packed(source.format(number))
    said = Packed(b"\xdf" + struct.pack(">I", n) + bytes(body))
    return record(said, [buffer(b"")] * (1 if tied else n))


def tree(leaf: bytes, n: int, width: int = 64) -> Packed:
    """Lists of lists, each of 64, down to `n` leaves."""
    level, count = leaf, 1
    while count < n:
        level, count = b"\xdc" + struct.pack(">H", width) + level * width, count * width
    return Packed(level)


def chain(item: bytes, n: int, width: int = 63) -> Packed:
    """Lists in lists, 900 deep, each full of items before the next one begins; none ends before all of them."""
    depth = min(900, n // width + 1)
    one = b"\xdc" + struct.pack(">H", width + 1) + item * width
    return Packed(one * depth + b"\xc0")


class Kind(NamedTuple):
    """A kind of header, with a size at which it is opened, or refused for its counts."""

    make: Callable[[int], bytes]
    opens: int
    refused: int


COUNTED = 262_144 - 3
VALUES = 1_048_576
FIVE_PAIRS = b"\x85\xa0\xc0\xa1a\xc0\xa1b\xc0\xa1c\xc0\xa1d\xc0"
EMOJI = "\N{PILE OF POO}".encode()
RANK_64 = {"shape": [1] * 63 + [0]}
LARGE = {"shape": [0] + [(1 << 60) - 1] + [1] * 62, "dtype": "uint8"}
HEADERS: dict[str, Kind] = {
    "empty lists": Kind(lambda n: items(b"\x90", n), COUNTED, 8_000_000),
    "empty maps": Kind(lambda n: items(b"\x80", n), COUNTED, 8_000_000),
    "lists of an empty list": Kind(lambda n: items(b"\x91\x90", n), COUNTED // 2, 4_000_000),
    "lists 31 deep": Kind(lambda n: items(b"\x91" * 28 + b"\x90", n), COUNTED // 29, 270_000),
    "maps 31 deep": Kind(lambda n: items(b"\x81\xa0" * 28 + b"\x80", n), COUNTED // 29, 140_000),
    "maps of one pair": Kind(lambda n: items(b"\x81\xa0\xc0", n), COUNTED, 2_700_000),
    "maps of five pairs": Kind(lambda n: items(FIVE_PAIRS, n), 200_000, 560_000),
    "negative numbers": Kind(lambda n: items(b"\xe0", n), VALUES, 8_000_000),
    "numbers of 16 bits": Kind(lambda n: items(b"\xcd\x10\x00", n), VALUES, 2_700_000),
    "numbers of 64 bits": Kind(lambda n: items(b"\xcf" + b"\xff" * 8, n), VALUES, 1_100_000),
    "floats": Kind(lambda n: items(b"\xca\x3f\x00\x00\x00", n), VALUES, 1_600_000),
    "texts of two letters": Kind(lambda n: items(b"\xa2ab", n), VALUES, 2_700_000),
    "texts with an emoji": Kind(lambda n: items(b"\xa5a" + EMOJI, n), VALUES, 1_300_000),
    "one long text": Kind(lambda n: items(b"\xdb" + struct.pack(">I", n + 4) + b"a" * n + EMOJI, 1), 8_000_000, 0),
    "short keys": Kind(lambda n: pairs(b"\xc0", n), VALUES, 1_400_000),
    "long keys": Kind(lambda n: pairs(b"\xc0", n, "{:x>500}"), 16_000, 0),
    "one key again and again": Kind(lambda n: record(metadata={"x": one_key(n)}), 0, 1_100_000),
    "bytes": Kind(lambda n: items(b"\xc4\x02ab", n), 0, 2_000_000),
    "extensions": Kind(lambda n: items(b"\xd4\x05a", n), 0, 2_700_000),
    "timestamps": Kind(lambda n: items(b"\xd6\xff\0\0\0\0", n), 0, 1_300_000),
    "tensors": Kind(lambda n: tensors(n, {}), 50_000, 0),
    "tensors of rank 64": Kind(lambda n: tensors(n, RANK_64), 30_000, 0),
    "tensors of rank 64 with large sizes": Kind(lambda n: tensors(n, LARGE), 30_000, 0),
    "tied tensors": Kind(lambda n: tensors(n, {}, tied=True), 100_000, 0),
    "tied tensors of rank 64": Kind(lambda n: tensors(n, RANK_64, tied=True), 30_000, 0),
    "tensors with long keys": Kind(lambda n: tensors(n, {}, "{:x>2000}", tied=True), 2_000, 0),
    "tensors with sources": Kind(lambda n: tensors(n, {}, tied=True, source="old.{:x}"), 50_000, 0),
    "too many tensors": Kind(lambda n: tensors(n, {}, tied=True), 0, 524_289),
    "a tensor that is a tree of lists": Kind(lambda n: record({"w": tree(b"\x90", n)}), 0, 64**4),
    "a tensor that is a tree of numbers": Kind(lambda n: record({"w": tree(b"\xe0", n)}), 0, 64**4),
    "a tensor that is a tree of maps": Kind(lambda n: record({"w": tree(b"\x81\xa0\xc0", n)}), 0, 64**3),
    "a tensor that is a chain of lists": Kind(lambda n: record({"w": chain(b"\xe0", n)}), 0, 900 * 63),
    "a tensor that is a long text": Kind(lambda n: record({"w": "x" * n}), 0, 8_000_000),
    "a tensor of many fields": Kind(lambda n: record({"w": one_key(n)}), 0, 2_700_000),
    "a key that is a tree of numbers": Kind(lambda n: record(Pairs([(tree(b"\xe0", n), entry())])), 0, 64**4),
}  # fmt: skip
OPENED = {name: kind for name, kind in HEADERS.items() if kind.opens}
REFUSED = {name: kind for name, kind in HEADERS.items() if kind.refused}


def opened(data: bytes) -> Record:
    return read_record(np.frombuffer(data, np.uint8), path="model.mpk")


def peak_of(call: Callable[[], object]) -> int:
    gc.collect()
    tracemalloc.start()
    try:
        kept = call()
        peak = tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()
    del kept
    return peak


def law(size: int) -> int:
    return min(MOST_BYTES, CONSTANT_BYTES + RATIO * size)


@pytest.mark.slow
@pytest.mark.parametrize("name", OPENED)
def test_what_is_opened_takes_memory_in_proportion(name: str) -> None:
    kind = OPENED[name]
    data = kind.make(kind.opens)
    assert peak_of(lambda: opened(data)) < law(len(data))


@pytest.mark.slow
@pytest.mark.parametrize("name", REFUSED)
def test_of_what_is_refused_nothing_is_made(name: str) -> None:
    """A copy of the header, and what a tensor can take at most: not what all of it would be."""
    kind = REFUSED[name]
    data = kind.make(kind.refused)

    def refused() -> None:
        with pytest.raises(RecordError, match=r"model\.mpk: "):
            opened(data)

    assert peak_of(refused) < 2.5 * len(data) + (8 << 20)


@pytest.mark.parametrize("name", HEADERS)
def test_every_header_is_what_it_is_meant_to_be(name: str) -> None:
    """It opens where it is small enough, and is refused for what it holds, not for how it was written."""
    kind = HEADERS[name]
    if kind.opens:
        found = opened(kind.make(20))
        assert found.metadata or len(found) == 20
    elif name != "too many tensors":
        with pytest.raises(RecordError) as caught:
            opened(kind.make(20))
        assert "does not end where it says" not in str(caught.value)
        assert "entries are not those" not in str(caught.value)


def test_honest_records_of_100_000_tensors_open() -> None:
    found = opened(tensors(100_000, {}, "model.layers.{}.experts.weight"))
    assert len(found) == 100_000
    assert found["model.layers.99999.experts.weight"].shape == (0,)


# What opening costs for each tensor: counted, because a clock tells how busy the machine is


def honest(n: int) -> bytes:
    """A header as one is written, of `n` tensors in layers that are alike."""
    one = {"dtype": "float32", "shape": [0, 768], "crc32": 2**32 - 1}
    return tensors(n, one, "model.layers.{}.mlp.weight")


def blocks_for(data: bytes) -> int:
    """Tell how many blocks of memory an open record keeps."""
    opened(data)
    gc.collect()
    before = sys.getallocatedblocks()
    record = opened(data)
    gc.collect()
    blocks = sys.getallocatedblocks() - before
    assert len(record)
    return blocks


def calls_for(data: bytes) -> int:
    """Tell how many functions are called to open a record."""
    events: list[str] = []
    sys.setprofile(lambda _frame, event, _arg: events.append(event))
    try:
        opened(data)
    finally:
        sys.setprofile(None)
    return sum(event in ("call", "c_call") for event in events)


def test_a_tensor_more_is_a_few_blocks_more() -> None:
    """Its key, its shape, three numbers, what the header says of it, and its share of a dict."""
    few, many = 1_000, 5_000
    each = (blocks_for(honest(many)) - blocks_for(honest(few))) / (many - few)
    assert each < 8, f"{each:.1f} blocks"


@pytest.mark.skipif(sys.gettrace() is not None or sys.getprofile() is not None, reason="needs the profiler")
@pytest.mark.parametrize(
    ("source", "most"), [("", 17), ("module.layers.{}", 19)]
)  # of empty ones, whose size is not kept
def test_a_tensor_more_is_a_few_calls_more(source: str, most: int) -> None:
    few, many = 100, 500
    kinds = {"dtype": "float32", "shape": [0, 768], "crc32": 2**32 - 1}
    taken = [calls_for(tensors(n, kinds, "model.layers.{}", source=source)) for n in (few, many)]
    each = (taken[1] - taken[0]) / (many - few)
    assert each < most, f"{each:.1f} calls"


def test_shapes_that_a_file_can_make_collide_are_not_looked_up(monkeypatch: pytest.MonkeyPatch) -> None:
    """The hash of a tuple of numbers has no secret in it; with a 0 among them, the others can be any."""
    tables: list[Any] = []
    made = header._Tensors

    def noting(*arguments: Any) -> Any:
        tables.append(made(*arguments))
        return tables[-1]

    monkeypatch.setattr(header, "_Tensors", noting)
    opened(tensors(50, {"shape": [0, 7]}))
    assert [table._sizes for table in tables] == [{}]


# ------------------------------------------------------------------------------------- by hand: a table with times


def largest(kind: Kind) -> int:
    """Return a number at which a header of this kind has about 30 MB."""
    each = (len(kind.make(8_000)) - len(kind.make(4_000))) / 4_000
    return int(24e6 / max(each, 0.9)) if each else kind.opens or kind.refused


def measured(path: str) -> tuple[float, int, str]:
    """Open and verify a file; return its processor time, its memory above that of the imports, and the result."""
    before = most_memory()
    started = time.process_time()
    try:
        result = f"{len(open_record(path, verify=True)):,} tensors"
    except RecordError as error:
        result = str(error.fact)[:90]
    return time.process_time() - started, most_memory() - before, result


def most_memory() -> int:
    """Return the bytes that this process has had at most (`ru_maxrss` would begin with those of its parent)."""
    status = Path("/proc/self/status").read_text()
    return 1024 * int(status.partition("VmHWM:")[2].split()[0])


def row(name: str, n: int) -> list[Any]:
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "model.mpk"
        path.write_bytes(HEADERS[name].make(n))
        size = path.stat().st_size
        run = subprocess.run([sys.executable, __file__, "--run", str(path)], capture_output=True, text=True, check=True,
                             env={**os.environ, "OPENBLAS_NUM_THREADS": "1"})  # fmt: skip
    return [size, *json.loads(run.stdout)]


def main() -> None:
    if sys.argv[1:2] == ["--run"]:
        print(json.dumps(measured(sys.argv[2])))
        return
    print("| header | n | MB | CPU s at n / 2n | peak MB at n / 2n | allowed | result |\n|---|---|---|---|---|---|---|")
    for name in sys.argv[1:] or HEADERS:
        for n in dict.fromkeys([HEADERS[name].opens // 2, largest(HEADERS[name])]):
            if not n:
                continue
            once, twice = row(name, n), row(name, 2 * n)
            bad = " !" if twice[1] > 5 or any(each[2] > law(each[0]) for each in (once, twice)) else ""
            print(
                f"| {name} | {n:,} | {once[0] / 1e6:.1f} / {twice[0] / 1e6:.1f} | {once[1]:.2f} / {twice[1]:.2f} | "
                f"{once[2] >> 20} / {twice[2] >> 20}{bad} | {law(twice[0]) >> 20} | {twice[3]} |",
                flush=True,
            )


if __name__ == "__main__":
    main()
