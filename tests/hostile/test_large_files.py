"""Files of 10 GB, sparse on the disk: opening them and reading a part costs no memory."""

from __future__ import annotations

import json
import struct
import tracemalloc
from typing import TYPE_CHECKING

import pytest

from hatch_wheelweights import CheckpointError, open_checkpoint
from making.checkpoints import LEGACY_MAGIC, torch_members
from making.pickles import legacy_storage, pickled, state_dict, storage, tensor
from making.zips import Member, zip_end

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

NUMEL = 10 * 1024**3 // 4


def write_safetensors(path: Path) -> None:
    """Write a header, and nothing for the data."""
    header = json.dumps({"w": {"dtype": "F32", "shape": [NUMEL], "data_offsets": [0, 4 * NUMEL]}}).encode()
    _write(path, struct.pack("<Q", len(header)) + header)


def write_legacy(path: Path) -> None:
    """Write the pickles of a legacy stream, and nothing for the storage."""
    info = {"protocol_version": 1001, "little_endian": True}
    weight = state_dict(w=tensor(legacy_storage(numel=NUMEL), size=(NUMEL,)))
    _write(path, LEGACY_MAGIC + pickled(1001) + pickled(info) + weight + pickled(["0"]) + struct.pack("<q", NUMEL))


WIDE = struct.pack("<4sI2Q", b"PK\7\x08", 0, 4 * NUMEL, 4 * NUMEL)


def write_zip(path: Path, descriptor: bytes = WIDE) -> None:
    """Write a zip archive without checksums, and nothing for the storage, as `skip_data` does."""
    out, directory = bytearray(), bytearray()
    for member in torch_members(state_dict(w=tensor(storage(numel=NUMEL), size=(NUMEL,))), {}):
        directory += member.central_header(len(out))
        out += member.local_header(len(out)) + member.body + member.descriptor()
    big = Member("archive/data/0", crc=0, size=4 * NUMEL, packed=4 * NUMEL)
    directory += big.central_header(len(out))
    out += big.local_header(len(out))
    end = len(out) + 4 * NUMEL + len(descriptor)
    _write(path, bytes(out), descriptor + bytes(directory) + zip_end(end, len(directory), 7))


def _write(path: Path, head: bytes, tail: bytes = b"") -> None:
    with path.open("wb") as file:
        file.write(head)
        file.truncate(len(head) + 4 * NUMEL)
        file.seek(0, 2)
        file.write(tail)


@pytest.mark.parametrize("write", [write_safetensors, write_legacy, write_zip], ids=["safetensors", "legacy", "zip"])
def test_opening_a_large_file_takes_no_memory(tmp_path: Path, write: Callable[[Path], None]) -> None:
    path = tmp_path / "model.pt"
    try:
        write(path)
    except OSError:
        pytest.skip("this file system has no sparse files")
    tracemalloc.start()
    try:
        with open_checkpoint(path) as checkpoint:
            weight = checkpoint.state_dict()["w"]
            assert weight.shape == (NUMEL,)
            if write is not write_zip:  # its checksum would be taken over all of it
                assert not next(iter(weight.blocks()))[-1000:].any()
        peak = tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()
        path.unlink()
    assert peak < 4 << 20


@pytest.mark.parametrize("descriptor", [b"", b"PK\7\x08"], ids=["none", "signature"])
def test_a_large_member_without_its_data_descriptor_is_refused(tmp_path: Path, descriptor: bytes) -> None:
    path = tmp_path / "model.pt"
    try:
        write_zip(path, descriptor)
    except OSError:
        pytest.skip("this file system has no sparse files")
    with pytest.raises(CheckpointError) as caught:
        open_checkpoint(path)
    path.unlink()
    assert str(caught.value) == (
        f"{path}: the directory and the data descriptor of member `archive/data/0` disagree\n"
        "  Get the file again, or save it again with torch: it is damaged, or it was made to be read in two ways."
    )


@pytest.mark.slow
def test_reading_a_large_transposed_tensor_takes_a_block_at_a_time(tmp_path: Path) -> None:
    path = tmp_path / "model.pt"
    side = 1 << 14
    info = {"protocol_version": 1001, "little_endian": True}
    weight = state_dict(w=tensor(legacy_storage(numel=side * side), size=(side, side), stride=(1, side)))
    head = LEGACY_MAGIC + pickled(1001) + pickled(info) + weight + pickled(["0"]) + struct.pack("<q", side * side)
    with path.open("wb") as file:
        file.write(head)
        file.truncate(len(head) + 4 * side * side)
    tracemalloc.start()
    try:
        with open_checkpoint(path) as checkpoint:
            blocks = checkpoint.state_dict()["w"].blocks()
            assert not any(next(blocks).any() for _ in range(3))
        peak = tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()
        path.unlink()
    assert peak < 64 << 20
