"""The tensors of a record as those of a checkpoint: the same values, in pieces, and checked while they are read."""

from __future__ import annotations

import zlib
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest

from hatch_wheelweights.checkpoint import files
from hatch_wheelweights.checkpoint.files import open_file
from hatch_wheelweights.looking.record_tensors import tensors_of_record
from making.records import buffer, entry, record
from making.values import FLOATS
from wheelweights import RecordError, open_record, write_record
from wheelweights.dtypes import DTYPES, numpy_dtype

if TYPE_CHECKING:
    from hatch_wheelweights.checkpoint import LazyTensor

BOTH = pytest.mark.parametrize("by_descriptor", [False, True], ids=["map", "descriptor"])


def tensors(*, by_descriptor: bool) -> dict[str, LazyTensor]:
    return tensors_of_record(open_record("m.mpk"), open_file(Path("m.mpk")) if by_descriptor else None)


@BOTH
@pytest.mark.parametrize("dtype", DTYPES)
def test_they_have_the_values_of_the_record(dtype: str, by_descriptor: bool) -> None:
    size = 60_000 * DTYPES[dtype].itemsize
    raw = np.random.default_rng(0).integers(0, 2 if dtype == "bool" else 256, size, np.uint8)
    array: Any = raw.view(numpy_dtype(dtype)).reshape(300, 200)
    write_record("m.mpk", {"w": array, "part": array[3], "none": array[:0], "one": array[5, 5]})
    found = tensors(by_descriptor=by_descriptor)
    for key, expected in {"w": array, "part": array[3], "none": array[:0], "one": array[5, 5]}.items():
        assert (found[key].dtype, found[key].shape, found[key].key) == (dtype, expected.shape, key)
        assert found[key].numpy().tobytes() == expected.tobytes()


@BOTH
def test_they_come_in_pieces_that_are_copies(by_descriptor: bool) -> None:
    array = np.arange(files.PIECE_BYTES // 4 * 2 + 5, dtype=np.float32)
    write_record("m.mpk", {"w": array})
    blocks = list(tensors(by_descriptor=by_descriptor)["w"].blocks())
    assert [block.nbytes for block in blocks] == [files.PIECE_BYTES, files.PIECE_BYTES, 20]
    assert np.concatenate(blocks).tobytes() == array.tobytes()


def test_tied_tensors_are_tied() -> None:
    array = np.ones(3, np.float32)
    write_record("m.mpk", {"a": array, "b": array, "c": array.copy()})
    found = tensors(by_descriptor=False)
    assert found["a"].tie == found["b"].tie != found["c"].tie
    assert found["a"].tie != tensors(by_descriptor=False)["a"].tie


@BOTH
def test_damage_is_told_behind_the_last_of_the_values(by_descriptor: bool) -> None:
    Path("m.mpk").write_bytes(record({"w": entry(crc32=7)}))
    blocks = tensors(by_descriptor=by_descriptor)["w"].blocks()
    assert next(blocks).tolist() == [1, 2, 3, 4]
    with pytest.raises(RecordError) as caught:
        next(blocks)
    assert str(caught.value) == (
        f"m.mpk: tensor `w`: damaged: expected CRC-32 00000007, found {zlib.crc32(FLOATS):08x}\n"
        "  Reinstall the package that ships it; if it is yours, rebuild the wheel."
    )


@BOTH
def test_a_bool_is_0_or_1(by_descriptor: bool) -> None:
    Path("m.mpk").write_bytes(record({"w": entry(dtype="bool")}, [buffer(b"\0\1\2\1")]))
    with pytest.raises(RecordError, match=r"^m\.mpk: tensor `w`: expected bytes 0 and 1 in a bool tensor, found 2"):
        list(tensors(by_descriptor=by_descriptor)["w"].blocks())
