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
    "dtypes": "6f9c05cb733c6bc649acdf818a9aad8de36cd50ecf8cdefb02508753abf675d9",
    "names": "5d08a612ffc73233d8fc09830dd40bc81ca8a2b0372595ff74abcefbc3498194",
    "nothing": "ac823a7f74a39a971a9d5910335dc7b434e5007e4bd48eee655473f9bf7b0baa",
    "shapes": "48ad310b81e158b91be4d92a70bba2669dff1b25c9289a4b40bfe40053e8cf11",
    "ties": "7863e2b284905e2509aecfff198ca0bf42ab70b96c927836530b5be30513b017",
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
    record = open_record(RECORDS / f"v1_{name}.mpk", mmap=mmap, verify=True)
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
