"""Damage of every kind to a small record, and none in silence: on opening or by `verify`, an error says it."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np
import pytest

from making.records import header_of
from wheelweights import RecordError, open_record, write_record
from wheelweights.dtypes import DTYPES, numpy_dtype
from wheelweights.record import read_record

if TYPE_CHECKING:
    from pathlib import Path


@pytest.fixture(scope="module")
def whole(tmp_path_factory: pytest.TempPathFactory) -> bytes:
    """A record of every dtype, of ties, empty tensors and scalars, with metadata of every kind and renamed tensors."""
    shared = np.arange(6, dtype=np.float32).reshape(2, 3)
    tensors: dict[str, Any] = {name: _values(name) for name in DTYPES}
    tensors |= {"tied": shared, "tied.too": shared, "none": np.empty((3, 0), np.int16), "scalar": np.array(2.5)}
    metadata = {
        "generator": "hatch-wheelweights 0.1.0",
        "source": {"name": "model.pt", "sha256": "0" * 64, "format": "pytorch-zip"},
        "config": {"heads": 8, "sizes": [1, -1, 2**63, 0.1, -(2**40)], "deep": {"er": [None, True, False, "", {}, []]}},
        "user": {"license": "MIT", "größe": "ä"},
    }
    path = tmp_path_factory.mktemp("whole") / "model.mpk"
    write_record(path, tensors, metadata=metadata, source_keys={"bool": "module.bool", "tied": "decoder"})
    return path.read_bytes()


def _values(name: str) -> np.ndarray[Any, Any]:
    raw = np.arange(4 * DTYPES[name].itemsize, dtype=np.uint8) % (2 if name == "bool" else 251)
    return raw.view(numpy_dtype(name))


def found_by(data: bytes) -> str:
    """Tell what finds that a record is damaged: "opening", "verify" or "nothing"; no error but ours comes out."""
    try:
        record = read_record(np.frombuffer(data, np.uint8), path="model.mpk")
    except RecordError as error:
        return "opening" if error.path == "model.mpk" else f"an error without a name: {error}"
    try:
        record.verify()
    except RecordError as error:
        return "verify" if error.path == "model.mpk" else f"an error without a name: {error}"
    return "nothing"


def test_a_record_that_is_as_it_was_written_is_sound(whole: bytes) -> None:
    assert found_by(whole) == "nothing"


def test_no_flipped_bit_is_silent(whole: bytes) -> None:
    header = len(header_of(whole))
    found = {"opening": 0, "verify": 0}
    for bit in range(8 * len(whole)):
        data = bytearray(whole)
        data[bit // 8] ^= 1 << bit % 8
        by = found_by(bytes(data))
        assert by == ("opening" if bit < 8 * header else "verify"), f"bit {bit % 8} of byte {bit // 8}"
        found[by] += 1
    assert found == {"opening": 8 * header, "verify": 8 * (len(whole) - header)}


@pytest.mark.parametrize("value", [0x00, 0xFF, 0x80, 0xC0])
def test_no_overwritten_byte_is_silent(whole: bytes, value: int) -> None:
    for at in range(len(whole)):
        if whole[at] != value:
            assert found_by(whole[:at] + bytes((value,)) + whole[at + 1 :]) in ("opening", "verify"), f"byte {at}"


def test_no_truncation_is_silent(whole: bytes) -> None:
    """Opening tells at once: the header says how long the file is."""
    for length in range(len(whole)):
        assert found_by(whole[:length]) == "opening", f"{length} bytes"


def test_no_appended_byte_is_silent(whole: bytes) -> None:
    for value in range(256):
        assert found_by(whole + bytes((value,))) == "opening", f"byte {value}"
    for count in (2, 5, 59, 63, 64, 128, 4096):
        assert found_by(whole + bytes(count)) == "opening", f"{count} bytes"


def test_no_lost_repeated_or_swapped_byte_is_silent(whole: bytes) -> None:
    for at in range(len(whole) - 1):
        assert found_by(whole[:at] + whole[at + 1 :]) == "opening", f"without byte {at}"
        assert found_by(whole[: at + 1] + whole[at:]) == "opening", f"byte {at} twice"
        if whole[at] != whole[at + 1]:
            swapped = whole[:at] + whole[at + 1 : at + 2] + whole[at : at + 1] + whole[at + 2 :]
            assert found_by(swapped) in ("opening", "verify"), f"bytes {at} and {at + 1} swapped"


def test_a_file_that_is_opened_with_verify_is_sound_or_refused(whole: bytes, tmp_path: Path) -> None:
    """On the disk, mapped and in memory; every 101st bit, and no bit."""
    path = tmp_path / "model.mpk"
    path.write_bytes(whole)
    for mmap in (True, False):
        assert len(open_record(path, mmap=mmap, verify=True)) == len(DTYPES) + 4
    for bit in range(0, 8 * len(whole), 101):
        data = bytearray(whole)
        data[bit // 8] ^= 1 << bit % 8
        path.write_bytes(data)
        for mmap in (True, False):
            with pytest.raises(RecordError):
                open_record(path, mmap=mmap, verify=True)
