"""Records of version 1 that were written once: they open for ever, and today's writer writes the same bytes."""

from __future__ import annotations

import hashlib
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from records.make_records import contents
from wheelweights import open_record, write_record

RECORDS = Path(__file__).parents[1] / "records"
# What was written is what is there: a file that was made again by another writer would not say so itself
SHA256 = {
    "dtypes": "a7c36c9b390926e690d39c3a16951637a4d4ab09d7abc020d0ca3b5abee56563",
    "names": "6bfcb1fecaee6f8d0903b06f1c52875a3b26f8193c1288857219551d33b4aee5",
    "nothing": "a1a25369aa37f4c39aa0d04ee8b768ee75d0029c5c04da4e3761db2670e6cfc1",
    "shapes": "dd5c4dd55c2af227a2d1c87a56e948946caa2487288d45f9953a7fc2c66d738d",
    "ties": "898f68b97a77f5e092841dcf6eda05e92cd5f0b093f29b92cd04699442fefc6d",
}


def test_all_records_are_tried() -> None:
    files = sorted(file.name for file in RECORDS.glob("*.mpk"))
    assert files == sorted(f"v1_{name}.mpk" for name in SHA256) == sorted(f"v1_{name}.mpk" for name in contents())


@pytest.mark.parametrize("name", SHA256)
def test_is_the_file_that_was_written_once(name: str) -> None:
    assert hashlib.sha256((RECORDS / f"v1_{name}.mpk").read_bytes()).hexdigest() == SHA256[name]


@pytest.mark.parametrize("mmap", [True, False])
@pytest.mark.parametrize("name", SHA256)
def test_opens_with_all_its_values(name: str, mmap: bool) -> None:
    expected: dict[str, Any] = contents()[name]
    record = open_record(RECORDS / f"v1_{name}.mpk", mmap=mmap)
    record.verify()
    assert list(record) == list(expected["tensors"])
    assert record.metadata == expected.get("metadata", {})
    for key, values in expected["tensors"].items():
        assert (record[key].dtype, record[key].shape) == (values.dtype, values.shape)
        assert record[key].tobytes() == values.tobytes()
        assert record.info(key).source == expected.get("source_keys", {}).get(key, key)


def test_keeps_ties() -> None:
    record = open_record(RECORDS / "v1_ties.mpk")
    assert np.shares_memory(record["encoder"], record["decoder"])
    assert not np.shares_memory(record["encoder"], record["turned"])


@pytest.mark.parametrize("name", SHA256)
def test_is_rewritten_byte_for_byte(name: str, tmp_path: Path) -> None:
    golden = (RECORDS / f"v1_{name}.mpk").read_bytes()
    write_record(tmp_path / "made.mpk", **contents()[name])
    assert (tmp_path / "made.mpk").read_bytes() == golden
    with open_record(RECORDS / f"v1_{name}.mpk") as record:
        sources = {key: record.info(key).source for key in record}
        write_record(tmp_path / "copied.mpk", record, metadata=record.metadata, source_keys=sources)
    assert (tmp_path / "copied.mpk").read_bytes() == golden
