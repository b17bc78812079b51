"""What a reader of records refuses: whatever differs from the specification in one point, with the whole message."""

from __future__ import annotations

import gc
import os
import random
import struct
import tracemalloc
import zlib
from collections import Counter
from functools import partial
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest

from making.records import CHECKSUM, MAGIC, Packed, Pairs, buffer, entry, header_of, record, sealed, zeros_in_header
from making.values import FLOATS, VALUES
from wheelweights import DtypeError, Record, RecordError, WheelweightsError, open_record
from wheelweights.record import read_record
from wheelweights.record.layout import MAX_BUFFER, MAX_HEADER

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

PULL = "\n  Run: git lfs pull --include model.mpk"
DAMAGED = "\n  Reinstall the package that ships it; if it is yours, rebuild the wheel."
CONVERT = "\n  Convert a checkpoint into a record with hatch-wheelweights: wheelweights convert SOURCE OUTPUT"
PAGE = "\n  Download it again: the server may want a login, or the address may be that of a page about the file."
SAVE_ARRAYS = '\n  Save its arrays by name: safetensors.numpy.save_file(arrays, "model.safetensors")'
KERAS = "an HDF5 file (such as a Keras model)"
GET_ORIGINAL = "\n  Get the checkpoint that it was made from: a .safetensors, .pt or .bin file."
FIELDS = "expected dtype, shape, offset, crc32 and perhaps source, found something else"
NUMBERS = "expected whole numbers as offset and crc32 and text as source, found something else"
SHAPE = "expected a shape of at most 64 dimensions, found something else"


def malformed(reason: str, key: str | None = None) -> str:
    subject = "" if key is None else f"tensor `{key}`: "
    return f"model.mpk: {subject}malformed record: {reason}{DAMAGED}"


@pytest.fixture
def refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Callable[[bytes], str]:
    """Write `model.mpk`, see it refused both mapped and in memory, and return the message."""
    monkeypatch.chdir(tmp_path)

    def refuse(data: bytes) -> str:
        (tmp_path / "model.mpk").write_bytes(data)
        messages = []
        for mmap in (True, False):
            with pytest.raises(RecordError) as caught:
                open_record("model.mpk", mmap=mmap)
            assert caught.value.path == "model.mpk"
            messages.append(str(caught.value))
        assert messages[0] == messages[1]
        return messages[0]

    return refuse


def opened(data: bytes) -> Record:
    return read_record(np.frombuffer(data, np.uint8), path="model.mpk")


def two(first: int, second: int, **changed: object) -> dict[str, object]:
    """Describe two tensors; `changed` is for the second."""
    return {"w": entry(first), "x": entry(second, **changed)}


def sized(data: bytes, size: int) -> bytes:
    """Change the size that a header gives of itself, and its checksum with it."""
    return sealed(data[: len(MAGIC)] + struct.pack(">I", size) + data[len(MAGIC) + 4 :])


def test_opens_what_the_deviations_deviate_from() -> None:
    assert opened(record())["w"].tolist() == list(VALUES)
    assert opened(record(two(5, 69), [buffer(), buffer()]))["x"].tolist() == list(VALUES)
    assert opened(record(two(5, 5)))["x"].tolist() == list(VALUES)
    assert len(opened(record({}, []))) == 0


# --------------------------------------------------------------------------------------------------- the header's frame


@pytest.mark.parametrize(
    ("version", "found"),
    [
        pytest.param(b"\x02", "version 2", id="the next one"),
        pytest.param(b"\x00", "version 0", id="none"),
        pytest.param(b"\x7f", "version 127", id="a late one"),
        pytest.param(b"\xcc", r"version b'\xcc'", id="a number of two bytes"),
        pytest.param(b"\xa1", r"version b'\xa1'", id="text"),
    ],
)
@pytest.mark.parametrize("entries", [7, 8, 9])
def test_rejects_another_version(refused: Callable[[bytes], str], version: bytes, found: str, entries: int) -> None:
    magic = bytes([0x80 | entries]) + MAGIC[1:].replace(b"version\x01", b"version" + version)
    assert refused(record(magic=magic)) == (
        f"model.mpk: expected a record of version 1, found {found}"
        "\n  Upgrade wheelweights: pip install --upgrade wheelweights"
    )


@pytest.mark.parametrize(
    "magic",
    [
        pytest.param(MAGIC.replace(b"\xabheader_size", b"\xabheader_sise"), id="another name"),
        pytest.param(MAGIC[:-1] + b"\xcd", id="a narrower size"),
        pytest.param(MAGIC.replace(b"\xabheader_size\xce", b"\xa8metadata\x80"), id="without header_size"),
        pytest.param(b"\x87" + MAGIC[1:], id="seven entries"),
    ],
)
def test_rejects_a_frame_that_is_not_that_of_version_1(refused: Callable[[bytes], str], magic: bytes) -> None:
    assert refused(record(magic=magic)) == malformed("its entries are not those of a record")


@pytest.mark.parametrize(
    "checksum",
    [
        pytest.param(b"", id="none"),
        pytest.param(CHECKSUM.replace(b"crc32", b"crc64"), id="another name"),
        pytest.param(CHECKSUM[:-1] + b"\xcd", id="narrower"),
    ],
)
def test_rejects_a_record_without_a_checksum_of_its_header(refused: Callable[[bytes], str], checksum: bytes) -> None:
    assert refused(record(checksum=checksum)) == malformed("its entries are not those of a record")


def test_rejects_a_header_that_is_not_as_it_was_written(refused: Callable[[bytes], str]) -> None:
    """The change is a meaning that a record may have: nothing but the checksum tells."""
    data = record(metadata={"config": {"heads": 8}})
    changed = data.replace(b"\xa5heads\x08", b"\xa5heads\x09")
    assert opened(sealed(changed)).config() == {"heads": 9}
    at = data.index(CHECKSUM) + len(CHECKSUM)
    stated, found = data[at : at + 4].hex(), sealed(changed)[at : at + 4].hex()
    assert refused(changed) == (f"model.mpk: damaged header: expected CRC-32 {stated}, found {found}{DAMAGED}")


@pytest.mark.parametrize(
    "data",
    [
        pytest.param(record(metadata=[]), id="metadata a list"),
        pytest.param(record(metadata={"a": b""}), id="bytes in metadata"),
        pytest.param(record(shift=1), id="not aligned"),
        pytest.param(record({"w": entry(dtype="F32")}), id="unknown dtype"),
        pytest.param(record(count=7), id="seven buffers"),
        pytest.param(record(order=("tensors", "metadata", "padding")), id="entries out of order"),
    ],
)
def test_believes_nothing_of_a_header_before_its_checksum(refused: Callable[[bytes], str], data: bytes) -> None:
    assert "damaged header" not in refused(data)
    at = data.index(CHECKSUM) + len(CHECKSUM)
    unsealed = data[:at] + bytes(4) + data[at + 4 :]
    assert refused(unsealed).startswith("model.mpk: damaged header: expected CRC-32 00000000, found ")


@pytest.mark.parametrize(
    "magic",
    [
        pytest.param(b"\xde\0\7" + MAGIC[1:], id="a wide map"),
        pytest.param(MAGIC.replace(b"wheelweights", b"wheelweightz"), id="another format"),
        pytest.param(MAGIC.replace(b"\xacwheelweights", b"\xd9\x0cwheelweights"), id="a wide text"),
    ],
)
def test_rejects_another_magic_number(refused: Callable[[bytes], str], magic: bytes) -> None:
    message = refused(record(magic=magic))
    assert message == f"model.mpk: expected a record, found a file that begins with {magic[:16]!a}" + CONVERT


def test_rejects_a_header_size_over_the_file_by_one_byte(refused: Callable[[bytes], str]) -> None:
    data = record({}, [])
    assert len(opened(data)) == 0
    assert refused(sized(data, len(data) + 1)) == (
        f"model.mpk: truncated: expected at least {len(data) + 1} bytes (end of the header), found {len(data)}{DAMAGED}"
    )


def test_rejects_a_header_size_over_64_MiB_before_anything_is_allocated(refused: Callable[[bytes], str]) -> None:  # noqa: N802
    tracemalloc.start()
    message = refused(record(size=(64 << 20) + 1))
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert message == "model.mpk: expected a header of at most 67,108,864 bytes, found 67,108,865" + DAMAGED
    assert peak < 1 << 20


def test_takes_a_header_size_of_64_MiB_for_possible(refused: Callable[[bytes], str]) -> None:  # noqa: N802
    data = record(size=MAX_HEADER)
    assert refused(data) == (
        f"model.mpk: truncated: expected at least 67,108,864 bytes (end of the header), found {len(data)}{DAMAGED}"
    )


@pytest.mark.parametrize("size", [0, 1, len(MAGIC), len(MAGIC) + 4, 59, 64, 69, 70, 123])
def test_rejects_a_header_size_that_is_too_small(refused: Callable[[bytes], str], size: int) -> None:
    assert refused(record(size=size)) == malformed("its header does not end where it says")


@pytest.mark.parametrize("by", [-64, -1, 1, 64])
def test_rejects_a_header_size_that_is_off(refused: Callable[[bytes], str], by: int) -> None:
    data = record()
    (size,) = struct.unpack_from(">I", data, len(MAGIC))
    message = refused(sized(data, size + by))
    assert message == "model.mpk: malformed record: its header does not end where it says" + DAMAGED


def test_rejects_a_header_that_does_not_end_aligned(refused: Callable[[bytes], str]) -> None:
    message = refused(record(shift=1))
    assert message == "model.mpk: malformed record: its header does not end where it says" + DAMAGED


def test_rejects_buffers_in_an_array_of_another_width(refused: Callable[[bytes], str]) -> None:
    message = refused(record(array=b"\x00\x00\xdc", count=1))
    assert message == "model.mpk: malformed record: its header does not end where it says" + DAMAGED


# ---------------------------------------------------------------------------------------------------------- its entries


def test_rejects_a_record_without_padding(refused: Callable[[bytes], str]) -> None:
    """Seven entries where the first byte promises eight."""
    metadata = {"a": " " * 42}  # so the header ends aligned all the same
    data = record(order=("metadata", "tensors"), padding=Packed(b""), metadata=metadata)
    (size,) = struct.unpack_from(">I", data, len(MAGIC))
    assert (size + 5) % 64 == 0, size
    assert refused(data) == malformed("its entries are not those of a record")


@pytest.mark.parametrize(
    ("deviation", "message"),
    [
        pytest.param(
            {"order": ("tensors", "metadata", "padding")},
            malformed("its entries are not those of a record"),
            id="entries out of order",
        ),
        pytest.param(
            {"order": ("metadata", "metadata", "padding")},
            malformed("its entries are not those of a record"),
            id="entry twice",
        ),
        pytest.param(
            {"tensors": []}, malformed("expected a map as `tensors`, found something else"), id="tensors a list"
        ),
        pytest.param(
            {"tensors": 1}, malformed("expected a map as `tensors`, found something else"), id="tensors a number"
        ),
        pytest.param(
            {"metadata": []}, malformed("expected a map as `metadata`, found something else"), id="metadata a list"
        ),
        pytest.param(
            {"metadata": Packed(b"\xc0")},
            malformed("expected a map as `metadata`, found something else"),
            id="no metadata",
        ),
        pytest.param(
            {"padding": Packed(b"\xc0")},
            malformed("its header does not end where it says"),
            id="padding nil, unaligned",
        ),
        pytest.param(
            {"tensors": Pairs([("w", entry()), ("w", entry())])},
            malformed("its key appears twice", "w"),
            id="tensor twice",
        ),
        pytest.param(
            {"tensors": Pairs([(1, entry())])},
            malformed("expected text as the key of a tensor, found a value of type int"),
            id="key a number",
        ),
        pytest.param(
            {"tensors": Pairs([(b"w", entry())])},
            malformed("expected text as the key of a tensor, found a value of type bytes"),
            id="key bytes",
        ),
        pytest.param(
            {"tensors": Pairs([(Packed(b"\xc0"), entry())])},
            malformed("expected text as the key of a tensor, found a value of type NoneType"),
            id="key nil",
        ),
        pytest.param(
            {"tensors": Pairs([((), entry())])},
            malformed("expected text as the key of a tensor, found a value of type tuple"),
            id="key a list",
        ),
        pytest.param(
            {"tensors": Pairs([({}, entry())])},
            malformed(FIELDS),
            id="key a map",
        ),
        pytest.param(
            {"metadata": Pairs([("a", 1), ("a", 2)])}, malformed("the key `a` appears twice"), id="metadata twice"
        ),
        pytest.param(
            {"metadata": {"a": Pairs([("b", 1), ("b", 2)])}},
            malformed("the key `b` appears twice"),
            id="twice, deeper",
        ),
        pytest.param(
            {"metadata": {"a": [Pairs([(b"b", 1)])]}},
            malformed("metadata holds bytes, which JSON lacks"),
            id="bytes as a key, deeper",
        ),
        pytest.param(
            {"metadata": {"a": Pairs([(1, 1)])}},
            malformed("expected text as the keys of metadata, found something else"),
            id="number as a key, deeper",
        ),
        pytest.param(
            {"metadata": Pairs([({}, 1)])},
            malformed("expected text as the keys of metadata, found something else"),
            id="map as a key",
        ),
        pytest.param(
            {"metadata": {"a": b"bytes"}},
            malformed("metadata holds bytes, which JSON lacks"),
            id="bytes in metadata",
        ),
        pytest.param(
            {"metadata": {"a": Packed(b"\xc7\x00\x05")}},
            malformed("metadata holds an extension type, which JSON lacks"),
            id="extension in metadata",
        ),
        pytest.param(
            {"metadata": {"a": Packed(b"\xd6\xff" + bytes(4))}},
            malformed("metadata holds an extension type, which JSON lacks"),
            id="timestamp in metadata",
        ),
        pytest.param(
            {"metadata": {"a": Packed(b"\xa1\xff")}},
            malformed("'utf-8' codec can't decode byte 0xff in position 0: invalid start byte"),
            id="not UTF-8",
        ),
        pytest.param(
            {"metadata": {"a": Packed(b"\xc1")}},
            malformed("it is not MessagePack"),
            id="a byte that MessagePack has not",
        ),
        pytest.param(
            {"metadata": {"a": Packed(b"\xdb\xff\xff\xff\xff")}},
            malformed("expected a value of metadata, found the end of the header"),
            id="text of 4 GiB",
        ),
        pytest.param(
            {"metadata": {"a": Packed(b"\xdd\xff\xff\xff\xff")}},
            malformed("metadata holds bytes, which JSON lacks"),
            id="list of 2**32 items, with what follows",
        ),
        pytest.param(
            {"metadata": {"a": Packed(b"\xdf\xff\xff\xff\xff")}},
            malformed("metadata holds bytes, which JSON lacks"),
            id="map of 2**32 pairs, with what follows",
        ),
        pytest.param(
            {"tensors": Packed(b"\xdf\xff\xff\xff\xff")},
            malformed("expected at most 524,288 tensors, found 4,294,967,295"),
            id="2**32 tensors",
        ),
        pytest.param({"tensors": Packed(b"\x81")}, malformed(FIELDS, "padding"), id="a tensor that is not there"),
    ],
)
def test_rejects_entries_of_the_wrong_type(
    refused: Callable[[bytes], str], deviation: dict[str, Any], message: str
) -> None:
    assert refused(record(**deviation)) == message


def test_rejects_padding_of_64_bytes_or_more(refused: Callable[[bytes], str]) -> None:
    assert refused(record(padding=bytes(zeros_in_header(record()) + 64))) == malformed("its padding is not zeros")


def test_rejects_padding_that_is_text(refused: Callable[[bytes], str]) -> None:
    zeros = zeros_in_header(record())
    assert refused(record(padding=Packed(b"\xd9" + bytes((zeros,)) + bytes(zeros)))) == malformed(
        "its padding is not zeros"
    )


def test_rejects_padding_that_is_not_zeros(refused: Callable[[bytes], str]) -> None:
    at = record().index(b"padding") + 9
    data = bytearray(record())
    data[at] = 1
    assert refused(sealed(bytes(data))) == malformed("its padding is not zeros")


def test_rejects_bytes_between_the_entries(refused: Callable[[bytes], str]) -> None:
    message = refused(record(magic=MAGIC, padding=Packed(b"\xc4\x00\xc0" + bytes(51))))
    assert message.startswith("model.mpk: malformed record: ")


def nested(depth: int) -> Packed:
    """Pack maps in maps, so many levels with metadata itself."""
    return Packed(b"\x81\xa1a" * depth + b"\xc0")


def test_opens_metadata_of_32_levels() -> None:
    value = opened(record(metadata=nested(32))).metadata
    for _ in range(32):
        value = value["a"]
    assert value is None


@pytest.mark.parametrize(
    "metadata",
    [
        pytest.param(nested(33), id="maps"),
        pytest.param({"a": Packed(b"\x91" * 32 + b"\xc0")}, id="lists"),
        pytest.param(nested(500), id="far deeper"),
    ],
)
def test_rejects_nesting_over_32(refused: Callable[[bytes], str], metadata: object) -> None:
    assert refused(record(metadata=metadata)) == malformed("metadata is nested deeper than 32 levels")


@pytest.mark.parametrize("level", [b"\x81\xa1a", b"\x91"])
def test_rejects_nesting_over_what_any_stack_holds(refused: Callable[[bytes], str], level: bytes) -> None:
    message = refused(record(metadata={"a": Packed(level * 200_000 + b"\xc0")}))
    assert message.startswith("model.mpk: malformed record: ")


@pytest.mark.slow
def test_opens_a_list_of_2_to_the_20_items_in_metadata_and_rejects_one_more(refused: Callable[[bytes], str]) -> None:
    assert len(opened(record(metadata={"a": [0] * 1_048_576})).metadata["a"]) == 1_048_576
    assert refused(record(metadata={"a": [0] * 1_048_577})) == malformed(
        "metadata holds more than 262,144 maps and lists, or more than 1,048,576 other values"
    )


@pytest.mark.parametrize(
    "claim", [b"\xdf\xff\xff\xff\xff", b"\xdd\xff\xff\xff\xff", b"\xdd\x00\x10\x00\x00", b"\xc6\xff\xff\xff\xff"]
)
def test_takes_no_memory_for_a_claim(refused: Callable[[bytes], str], claim: bytes) -> None:
    tracemalloc.start()
    message = refused(record(metadata={"a": Packed(claim)}))
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert message.startswith("model.mpk: malformed record: ")
    assert peak < 2 << 20


# ---------------------------------------------------------------------------------------------------------- its tensors


def without(field: str) -> dict[str, object]:
    return {name: value for name, value in entry().items() if name != field}


@pytest.mark.parametrize(
    ("tensor", "reason"),
    [
        pytest.param(None, FIELDS, id="nil"),
        pytest.param([], FIELDS, id="list"),
        pytest.param({}, FIELDS, id="empty"),
        pytest.param(without("dtype"), FIELDS, id="no dtype"),
        pytest.param(without("shape"), FIELDS, id="no shape"),
        pytest.param(without("offset"), FIELDS, id="no offset"),
        pytest.param(without("crc32"), FIELDS, id="no crc32"),
        pytest.param(entry(stride=[1]), FIELDS, id="one more"),
        pytest.param(entry(shape=4), SHAPE, id="shape a number"),
        pytest.param(entry(shape=None), SHAPE, id="shape nil"),
        pytest.param(entry(shape="4"), SHAPE, id="shape text"),
        pytest.param(entry(shape=[-4]), SHAPE, id="negative dim"),
        pytest.param(entry(shape=[-1, -4]), SHAPE, id="two negative dims"),
        pytest.param(entry(shape=[4.0]), SHAPE, id="dim a float"),
        pytest.param(entry(shape=[True]), SHAPE, id="dim a bool"),
        pytest.param(entry(shape=["4"]), SHAPE, id="dim text"),
        pytest.param(entry(shape=[[4]]), SHAPE, id="dim a list"),
        pytest.param(entry(shape=entry()), SHAPE, id="shape an entry"),
        pytest.param(entry(shape=[1 << 63]), SHAPE, id="dim of 64 bits"),
        pytest.param(entry(shape=[4] + [1] * 64), SHAPE, id="rank 65"),
        pytest.param(
            entry(shape=[1 << 62, 4]),
            "expected at most 4,294,967,291 bytes in a tensor, found 73,786,976,294,838,206,464",
            id="2**66 bytes",
        ),
        pytest.param(
            entry(shape=[1 << 32, 1 << 32]),
            "expected at most 4,294,967,291 bytes in a tensor, found 73,786,976,294,838,206,464",
            id="wraps to 0",
        ),
        pytest.param(
            entry(shape=[(1 << 63) - 1] * 64),
            "expected at most 4,294,967,291 bytes in a tensor, found 2**128 or more",
            id="2**4034 bytes",
        ),
        pytest.param(
            entry(shape=[1 << 30]), "expected at most 4,294,967,291 bytes in a tensor, found 4,294,967,296", id="4 GiB"
        ),
        pytest.param(
            entry(shape=[0, 1 << 61]),
            "expected sizes that make less than 2**63 bytes without the 0, found '[0, 2305843009213693952]'",
            id="empty but huge",
        ),
        pytest.param(entry(offset=-5), NUMBERS, id="negative offset"),
        pytest.param(entry(offset="5"), NUMBERS, id="offset text"),
        pytest.param(entry(offset=5.0), NUMBERS, id="offset a float"),
        pytest.param(entry(offset=1 << 63), NUMBERS, id="offset of 64 bits"),
        pytest.param(entry(crc32=-1), NUMBERS, id="negative crc32"),
        pytest.param(entry(crc32=1 << 32), NUMBERS, id="crc32 of 33 bits"),
        pytest.param(entry(crc32=None), NUMBERS, id="crc32 nil"),
        pytest.param(entry(source=b"w"), NUMBERS, id="source bytes"),
        pytest.param(entry(source=None), NUMBERS, id="source nil"),
    ],
)
def test_rejects_a_tensor_that_is_not_well_described(
    refused: Callable[[bytes], str], tensor: object, reason: str
) -> None:
    assert refused(record({"w": tensor})) == malformed(reason, "w")


@pytest.mark.parametrize(
    ("dtype", "found"),
    [
        ("float", "`float`"),
        ("F32", "`F32`"),
        ("<f4", "`<f4`"),
        ("", "``"),
        ("object", "`object`"),
        ("complex32", "`complex32`"),
        (7, "`7`"),
        (None, "`None`"),
    ],
)
def test_rejects_an_unknown_dtype(refused: Callable[[bytes], str], dtype: object, found: str) -> None:
    message = refused(record({"w": entry(dtype=dtype)}))
    assert message == f"model.mpk: tensor `w`: unsupported dtype {found}{DAMAGED}"


def test_rejects_an_entry_as_dtype(refused: Callable[[bytes], str]) -> None:
    message = refused(record({"w": entry(dtype=entry())}))
    assert message.startswith("model.mpk: tensor `w`: unsupported dtype `")


def test_rejects_a_list_of_anything_but_sizes(refused: Callable[[bytes], str]) -> None:
    assert refused(record({"w": entry(dtype=["float32"])})) == malformed(SHAPE, "w")


def test_opens_a_tensor_of_rank_64() -> None:
    assert opened(record({"w": entry(shape=[1] * 63 + [4])}))["w"].shape == (1,) * 63 + (4,)


def test_opens_an_empty_tensor_of_the_largest_size_that_numpy_has() -> None:
    tensor = entry(shape=[0, (1 << 61) - 1], crc32=0)
    assert opened(record({"w": tensor}, [buffer(b"")]))["w"].shape == (0, (1 << 61) - 1)


# ---------------------------------------------------------------------------------------------------------- its buffers


@pytest.mark.parametrize("offset", [0, 4, 6, 21, 64, 68, 70, 133, 1 << 40])
def test_rejects_an_offset_that_is_not_the_start_of_a_buffer(refused: Callable[[bytes], str], offset: int) -> None:
    """Also a payload inside of another's buffer (21), and one past the end of the file."""
    data = record({"w": entry(offset)})
    start = data.index(FLOATS)
    assert refused(data) == malformed(
        f"expected its values at byte {start:,}, found offset {start - 5 + offset:,}", "w"
    )


def test_rejects_buffers_with_a_hole_between_them(refused: Callable[[bytes], str]) -> None:
    data = record(two(5, 133), [buffer(), buffer(), buffer()], count=2)
    at = data.index(FLOATS)
    assert refused(data) == malformed(f"expected its values at byte {at + 64}, found offset {at + 128}", "x")


def test_rejects_a_buffer_that_no_tensor_names(refused: Callable[[bytes], str]) -> None:
    message = refused(record(None, [buffer(), buffer()]))
    assert message == malformed("expected 1 buffers for its tensors, found 2")


def test_rejects_a_number_of_buffers_that_is_a_lie(refused: Callable[[bytes], str]) -> None:
    assert refused(record(count=0)) == malformed("expected 1 buffers for its tensors, found 0")
    assert refused(record(count=0xFFFFFFFF)) == malformed("expected 1 buffers for its tensors, found 4,294,967,295")


def test_rejects_buffers_in_another_order_than_their_tensors(refused: Callable[[bytes], str]) -> None:
    data = record(two(69, 5), [buffer(), buffer()])
    at = data.index(FLOATS)
    assert refused(data) == malformed(f"expected its values at byte {at}, found offset {at + 64}", "w")


@pytest.mark.parametrize(
    "changed",
    [
        pytest.param({"dtype": "int32"}, id="dtype"),
        pytest.param({"shape": [2, 2]}, id="shape"),
        pytest.param({"shape": [3]}, id="part of it"),
        pytest.param({"shape": [0]}, id="nothing of it"),
        pytest.param({"crc32": 0}, id="checksum"),
    ],
)
def test_rejects_two_different_tensors_on_one_buffer(
    refused: Callable[[bytes], str], changed: dict[str, object]
) -> None:
    message = refused(record(two(5, 5, **changed)))
    assert message == malformed("shares a buffer with `w`, which has another dtype, shape or checksum", "x")


@pytest.mark.parametrize(
    ("sources", "other", "source", "key"),
    [
        pytest.param({"w": "old", "x": "old"}, "w", "old", "x", id="two that were renamed"),
        pytest.param({"w": "x"}, "x", "x", "w", id="one that was renamed, before"),
        pytest.param({"x": "w"}, "w", "w", "x", id="one that was renamed, behind"),
        pytest.param({"w": "x", "x": "x"}, "w", "x", "x", id="one that says that it kept its key"),
        pytest.param({"w": "w", "x": "w"}, "w", "w", "x", id="another that says so"),
    ],
)
def test_rejects_two_tensors_with_one_source(
    refused: Callable[[bytes], str], sources: dict[str, str], other: str, source: str, key: str
) -> None:
    """`state_dict(source_keys=True)` could give one of them only."""
    tensors = {"w": entry(5), "x": entry(69)}
    for each, said in sources.items():
        tensors[each]["source"] = said
    assert refused(record(tensors, [buffer(), buffer()])) == malformed(
        f"expected a source of its own, found `{source}`, that of `{other}`", key
    )


def test_opens_tensors_that_swapped_their_keys() -> None:
    opening = opened(record({"w": entry(5, source="x"), "x": entry(69, source="w")}, [buffer(), buffer()]))
    assert list(opening.state_dict(source_keys=True)) == ["x", "w"]


def test_rejects_tensors_that_overlap(refused: Callable[[bytes], str]) -> None:
    """The first takes two blocks of 64 bytes; the second says that it begins in the second of them."""
    long = buffer(FLOATS * 5)
    data = record({"w": entry(shape=[20]), "x": entry(69)}, [long, buffer()])
    at = data.index(FLOATS)
    assert refused(data) == malformed(f"expected its values at byte {at + 128}, found offset {at + 64}", "x")


@pytest.mark.parametrize(
    ("written", "found"),
    [
        pytest.param(buffer(length=16), r"b'\xc6\x00\x00\x00\x10'", id="without the zeros"),
        pytest.param(buffer(length=58), r"b'\xc6\x00\x00\x00:'", id="one less"),
        pytest.param(buffer(length=60), r"b'\xc6\x00\x00\x00<'", id="one more"),
        pytest.param(buffer(length=123), r"b'\xc6\x00\x00\x00{'", id="a block more"),
        pytest.param(buffer(length=0xFFFFFFFF), r"b'\xc6\xff\xff\xff\xff'", id="4 GiB"),
        pytest.param(buffer(mark=b"\xdb"), r"b'\xdb\x00\x00\x00;'", id="text"),
        pytest.param(buffer(mark=b"\xdd"), r"b'\xdd\x00\x00\x00;'", id="array"),
    ],
)
def test_rejects_a_buffer_whose_length_field_disagrees(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, written: bytes, found: str
) -> None:
    """When its tensor is taken, or everything is verified: opening reads no further than the header."""
    monkeypatch.chdir(tmp_path)
    (tmp_path / "model.mpk").write_bytes(record(two(5, 69), [buffer(), written]))
    # a bytes repr holds backslashes, so compare it as it is printed
    message = malformed(f"expected a buffer of 59 bytes, found {found}", "x")
    for mmap in (True, False):
        opening = open_record("model.mpk", mmap=mmap)
        assert opening["w"].tolist() == list(VALUES)
        assert opening.info("x").shape == (4,)
        takes: list[Callable[[], object]] = [
            partial(opening.__getitem__, "x"), partial(opening.raw, "x"), opening.state_dict, opening.verify,
            partial(open_record, "model.mpk", mmap=mmap, verify=True),
        ]  # fmt: skip
        for take in takes:
            with pytest.raises(RecordError) as caught:
                take()
            assert str(caught.value) == message
            assert (caught.value.path, caught.value.key) == ("model.mpk", "x")


def test_rejects_an_oversized_shape_for_its_buffer(refused: Callable[[bytes], str]) -> None:
    data = record({"w": entry(shape=[15])})
    at = data.index(FLOATS)
    assert refused(data) == (
        f"model.mpk: truncated: expected at least {at + 123} bytes (end of tensor `w`), found {at + 59}{DAMAGED}"
    )


def test_rejects_bytes_after_the_last_buffer(refused: Callable[[bytes], str]) -> None:
    size = len(record())
    for tail in (b"\0", b"\xc0", bytes(64)):
        message = refused(record(tail=tail))
        assert message == f"model.mpk: expected a record of {size} bytes, found {size + len(tail)}{DAMAGED}"


def test_rejects_a_record_cut_in_a_tensor(refused: Callable[[bytes], str]) -> None:
    payload = bytes(4_000_000)
    data = record({"fc.weight": entry(shape=[1_000_000], crc32=zlib.crc32(payload))}, [buffer(payload)])
    size = len(data)
    assert refused(data[:3_500_000]) == (
        f"model.mpk: truncated: expected at least {size:,} bytes (end of tensor `fc.weight`), found 3,500,000\n"
        "  Reinstall the package that ships it; if it is yours, rebuild the wheel."
    )


def test_measures_the_end_of_a_tensor_with_its_padding(refused: Callable[[bytes], str]) -> None:
    """All values are there; the last of the zeros behind them is not."""
    size = len(record())
    message = refused(record()[:-1])
    assert (
        message
        == f"model.mpk: truncated: expected at least {size} bytes (end of tensor `w`), found {size - 1}{DAMAGED}"
    )


def test_rejects_a_record_cut_at_every_byte(refused: Callable[[bytes], str]) -> None:
    data = record(two(5, 69), [buffer(), buffer()], metadata={"user": {"license": "MIT"}})
    for length in range(len(data)):
        message = refused(data[:length])
        if length == 0:
            assert message == f"model.mpk: expected a record, found an empty file{DAMAGED}"
        elif length < MAGIC.index(b"\xa7version"):
            assert (
                message
                == f"model.mpk: expected a record, found a file that begins with {data[:length][:16]!a}{CONVERT}"
            )
        else:
            assert message.startswith("model.mpk: truncated: expected at least "), message
            assert message.endswith(f", found {length}{DAMAGED}"), message


def test_finds_a_bool_that_is_neither_0_nor_1_when_it_is_read() -> None:
    payload = b"\0\1\2\1"
    opening = opened(record({"w": entry(dtype="bool", crc32=zlib.crc32(payload))}, [buffer(payload)]))
    message = "model.mpk: tensor `w`: expected bytes 0 and 1 in a bool tensor, found 2" + DAMAGED
    for read in (lambda: opening["w"], opening.verify):
        with pytest.raises(RecordError) as caught:
            read()
        assert str(caught.value) == message


# --------------------------------------------------------------------------------------------- what the file is instead


@pytest.mark.parametrize(
    ("data", "said"),
    [
        pytest.param(b"", "an empty file" + DAMAGED, id="empty"),
        pytest.param(
            b"version https://git-lfs.github.com/spec/v1\noid sha256:0\nsize 9\n",
            "a Git LFS pointer" + PULL,
            id="LFS pointer",
        ),
        pytest.param(b"PK\3\4" + bytes(60), "a zip archive (a PyTorch checkpoint or a wheel)" + CONVERT, id="zip"),
        pytest.param(
            bytes.fromhex("80028a0a6cfc9c46f9206aa850192e") + bytes(60),
            "a PyTorch checkpoint (torch < 1.6)" + CONVERT,
            id="legacy",
        ),
        pytest.param(b"\x80\4\x95" + bytes(60), "a pickle" + CONVERT, id="pickle"),
        pytest.param(struct.pack("<Q", 60) + b'{"w":' + bytes(60), "a safetensors file" + CONVERT, id="safetensors"),
        pytest.param(b"<!DOCTYPE html>\n<html>", "an HTML page (a failed download)" + PAGE, id="HTML"),
        pytest.param(b"\n  <HTML lang=en>", "an HTML page (a failed download)" + PAGE, id="HTML after a line"),
        pytest.param(b"\x93NUMPY\1\0", "a NumPy array file" + SAVE_ARRAYS + ".", id="npy"),
        pytest.param(
            b"\x89HDF\r\n\x1a\n",
            "an HDF5 file (such as a Keras model)" + SAVE_ARRAYS + ", where Keras or h5py can read it.",
            id="HDF5",
        ),
        pytest.param(b"GGUF\3", "a GGUF file (llama.cpp)" + GET_ORIGINAL, id="GGUF"),
        pytest.param(b"\x28\xb5\x2f\xfd", "a zstd file\n  Run: zstd -d < model.mpk > model.unpacked.mpk", id="zstd"),
        pytest.param(b'{"a": 1}', "a JSON file" + CONVERT, id="JSON"),
        pytest.param(b"\x1b[2Jhello", r"a file that begins with b'\x1b[2Jhello'" + CONVERT, id="something else"),
        pytest.param(
            b"\x87\xa6format\xacwheel",
            r"a file that begins with b'\x87\xa6format\xacwheel'" + CONVERT,
            id="cut in the magic",
        ),
    ],
)
def test_says_what_the_file_is_instead(refused: Callable[[bytes], str], data: bytes, said: str) -> None:
    assert refused(data) == f"model.mpk: expected a record, found {said}"


def test_says_that_the_file_is_missing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    with pytest.raises(RecordError) as caught:
        open_record("gone.mpk")
    assert str(caught.value) == "gone.mpk: cannot be opened: No such file or directory"


def test_says_that_it_is_a_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "folder.mpk").mkdir()
    with pytest.raises(RecordError) as caught:
        open_record("folder.mpk")
    assert str(caught.value) == "folder.mpk: expected a record, found a folder"


@pytest.mark.skipif(not hasattr(os, "mkfifo"), reason="needs pipes")
def test_does_not_wait_for_a_pipe(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "pipe.mpk")
    with pytest.raises(RecordError, match=r"found something that is not a regular file$"):
        open_record(tmp_path / "pipe.mpk")


@pytest.mark.parametrize("name", ["a\0b", "x" * 5_000])
def test_refuses_a_name_that_no_file_can_have(name: str) -> None:
    with pytest.raises(RecordError, match=r"cannot be opened: "):
        open_record(name)


def test_names_a_file_that_is_cut_while_it_is_read(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "model.mpk").write_bytes(record())
    real = os.fstat

    class Longer:
        st_size = len(record()) + 1

    monkeypatch.setattr("wheelweights.record.reading.os.fstat", lambda _: Longer)
    with pytest.raises(RecordError) as caught:
        open_record("model.mpk", mmap=False)
    monkeypatch.setattr("wheelweights.record.reading.os.fstat", real)
    assert str(caught.value) == "model.mpk: the file was cut while it was read"


def test_escapes_names_that_hold_terminal_escapes(refused: Callable[[bytes], str]) -> None:
    strange = "\x1b[2J\x07\u202e\r\nw"
    message = refused(record({strange: entry(dtype=strange)}))
    shown = r"\x1b[2J\x07\u202e\r\nw"
    assert message == f"model.mpk: tensor `{shown}`: unsupported dtype `{shown}`{DAMAGED}"
    message = refused(record(metadata=Pairs([(strange, 1), (strange, 2)])))
    assert message == malformed(f"the key `{shown}` appears twice")


def test_cuts_long_names(refused: Callable[[bytes], str]) -> None:
    message = refused(record({"w" * 50_000: entry(dtype="d" * 50_000)}))
    assert message == (f"model.mpk: tensor `{'w' * 77}...`: unsupported dtype `{'d' * 77}...`{DAMAGED}")


# --------------------------------------------------------------------------------------------------------- many of them


@pytest.mark.slow
def test_opens_100_000_tiny_tensors_and_finds_the_one_that_is_wrong() -> None:
    """A reader that looked at all others for each of them would never end."""
    count = 100_000
    tensors = {f"layers.{index}.bias": entry(5 + 64 * index) for index in range(count)}
    data = record(tensors, [buffer()] * count)
    opening = opened(data)
    assert len(opening) == count
    assert opening[f"layers.{count - 1}.bias"].tolist() == list(VALUES)
    with pytest.raises(RecordError, match=rf"truncated: expected at least {len(data):,} bytes"):
        opened(data[:-1])


MUTANTS = 100_000
SEED = 20_260_101


def base() -> bytes:
    tensors = {
        "conv.weight": entry(shape=[2, 2], source="old.weight"),
        "tied": entry(shape=[2, 2]),
        "mask": entry(69, dtype="bool", shape=[4], crc32=zlib.crc32(b"\0\1\1\0")),
        "half": entry(133, dtype="bfloat16", shape=[8]),
        "none": entry(197, shape=[3, 0], crc32=0),
    }
    metadata = {"generator": "by hand", "config": {"sizes": [1, 2.5, None, True], "deep": {"er": "text"}}}
    return record(tensors, [buffer(), buffer(b"\0\1\1\0"), buffer(), buffer(b"")], metadata=metadata)


MARKS = bytes.fromhex("00017f808f909fa0bfc0c1c4c6c9cacbcccfd3d9dbdcdddedfff")  # with which values of MessagePack begin


def mutant(data: bytes, header: int, chance: random.Random) -> bytes:
    """Change the header in one to three places: bits, bytes, numbers, lost, repeated and moved parts.

    Its checksum is made right, or nothing but the checksum would be tried; its size, mostly.
    """
    changed = bytearray(data)
    for _ in range(chance.choice((1, 1, 2, 3))):
        at = chance.randrange(header)
        match chance.randrange(7):
            case 0:
                changed[at] ^= 1 << chance.randrange(8)
            case 1:
                changed[at] = chance.randrange(256)
            case 2:
                changed[at] = chance.choice(MARKS)
            case 3:
                del changed[at : at + chance.choice((1, 2, 8, 64))]
            case 4:
                changed[at:at] = changed[at : at + chance.choice((1, 2, 8, 64))]
            case 5:
                changed[at : at + 4] = struct.pack(">I", chance.choice((0, 1, 5, 64, 0x7FFFFFFF, 0xFFFFFFFF)))
            case _:
                start = chance.randrange(header)
                part = changed[start : start + chance.randrange(1, 40)]
                changed[at : at + len(part)] = part
    if chance.random() < 0.9:
        changed = resized(changed, header + len(changed) - len(data))
    return sealed(bytes(changed))


def resized(data: bytearray, size: int) -> bytearray:
    """Let a header that grew or shrank to this size say so, and end aligned, if its padding can still be found."""
    at, end = data.find(b"\xa7padding\xc4") + 9, data.find(b"\xa7buffers")
    if 9 < at < end:
        before = end - at - 1
        zeros = (before - size - 5) % 64
        data[at:end] = bytes((zeros,)) + bytes(zeros)
        size += zeros - before
    data[len(MAGIC) : len(MAGIC) + 4] = struct.pack(">I", size)
    return data


def survive(data: bytes) -> str:
    """Open a mutant and read all of it; only our errors may come out. Return what happened."""
    try:
        opening = read_record(np.frombuffer(data, np.uint8), path="mutant.mpk")
    except RecordError as error:
        return "refused" if error.path == "mutant.mpk" else f"refused without a name: {error}"
    try:
        for array in opening.values():
            assert array.nbytes <= len(data)
        opening.verify()
    except (RecordError, DtypeError):
        return "found damaged"
    return "opened"


@pytest.mark.slow
def test_only_our_errors_come_out_of_100_000_mutated_headers() -> None:
    data, chance = base(), random.Random(SEED)
    header = len(header_of(data))
    outcomes: Counter[str] = Counter()
    assert survive(data) == "opened"
    for _ in range(MUTANTS):
        outcomes[survive(mutant(data, header, chance))] += 1
    assert outcomes.keys() == {"refused", "found damaged", "opened"}
    assert outcomes["refused"] > MUTANTS // 2  # most changes are faults,
    assert outcomes["opened"] > 100  # but not all: a name may be another one
    assert outcomes["found damaged"] > 100


def test_mutated_headers_take_little_memory_and_leak_none() -> None:
    data, chance = base(), random.Random(SEED + 1)
    header = len(header_of(data))
    mutants = [mutant(data, header, chance) for _ in range(2_000)]
    for each in mutants:
        survive(each)
    gc.collect()
    tracemalloc.start()
    try:
        for each in mutants[:500]:  # what is cached for good is cached now
            survive(each)
        gc.collect()
        before = tracemalloc.get_traced_memory()[0]
        tracemalloc.reset_peak()
        for each in mutants:
            survive(each)
        gc.collect()
        after, peak = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert after - before < 50_000
    assert peak - before < 4 << 20


def test_only_our_errors_come_out_of_noise_behind_the_magic_number() -> None:
    chance = random.Random(SEED + 2)
    for _ in range(2_000):
        size = chance.randrange(60, 400)
        noise = MAGIC + struct.pack(">I", size) + chance.randbytes(size)
        with pytest.raises(WheelweightsError):
            opened(noise)


def test_the_largest_tensor_that_the_limit_allows_is_59_modulo_64() -> None:
    assert MAX_BUFFER % 64 == 59
    assert MAX_BUFFER == 2**32 - 5
