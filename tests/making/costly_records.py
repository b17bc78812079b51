"""Records and wheels that cost more than their bytes.

Each function takes `n` and returns a file whose size is proportional to it.
"""

from __future__ import annotations

import gzip
import io
import struct
import warnings
import zipfile
import zlib
from typing import TYPE_CHECKING

from making.records import Packed, Pairs, buffer, entry, packed, record

if TYPE_CHECKING:
    from collections.abc import Iterable

# ------------------------------------------------------------------------------------- records


def record_of_lists(n: int) -> bytes:
    """A header of empty lists (the issue's row)."""
    return record(metadata={"x": Packed(b"\xdd" + struct.pack(">I", n) + b"\x90" * n)})


def record_of_maps(n: int) -> bytes:
    """A header of empty maps."""
    return record(metadata={"x": Packed(b"\xdd" + struct.pack(">I", n) + b"\x80" * n)})


def record_of_deep_lists(n: int) -> bytes:
    """Metadata of lists in lists, as deep as it may be."""
    deep = b"\x91" * 28 + b"\x90"
    return record(metadata={"x": Packed(b"\xdd" + struct.pack(">I", n) + deep * n)})


def record_of_numbers(n: int) -> bytes:
    """Metadata of small numbers and floats."""
    return record(metadata={"x": Packed(b"\xdd" + struct.pack(">I", n) + (b"\xcb" + struct.pack(">d", 0.5)) * n)})


def record_of_small_maps(n: int) -> bytes:
    """Metadata of maps of one key."""
    return record(metadata={"x": Packed(b"\xdd" + struct.pack(">I", n) + b"\x81\xa0\xc0" * n)})


def record_of_ties(n: int) -> bytes:
    """Tied tensors with keys of 4,000 characters, and one of 60,000."""
    keys = [f"{i:x<4000}" for i in range(n)] + ["y" * 60_000]
    return record({key: entry() for key in keys})


def record_of_short_ties(n: int) -> bytes:
    """Tied tensors with short keys beside one of 60,000 characters: a table would be as wide in each line."""
    return record({"x" * 60_000: entry()} | {f"t{i}": entry() for i in range(n)})


def record_of_empty_tensors(n: int) -> bytes:
    """Tensors of no elements, each with a buffer of zeros."""
    empty = {"shape": [0], "crc32": zlib.crc32(b"")}
    tensors = Pairs((f"t{i}", entry(5 + 64 * i, **empty)) for i in range(n))
    return record(tensors, [buffer(b"")] * n)


def record_of_shapes(n: int) -> bytes:
    """Empty tensors of rank 64, tied."""
    empty = {"shape": [0] + [1] * 63, "crc32": zlib.crc32(b"")}
    return record({f"t{i}": entry(5, **empty) for i in range(n)}, [buffer(b"")])


def burn_of_lists(n: int) -> bytes:
    """A record of Burn whose module is a list of empty lists."""
    return _burn(Packed(b"\xdd" + struct.pack(">I", n) + b"\x90" * n))


def burn_of_numbers(n: int) -> bytes:
    """A tensor as Burn wrote it up to 0.13: a list of numbers."""
    value = Packed(b"\xdd" + struct.pack(">I", n) + b"\1" * n)
    return _burn({"w": {"id": "a", "param": {"value": value, "shape": [n]}}})


def burn_in_gzip(n: int) -> bytes:
    """The same, in gzip."""
    return gzip.compress(burn_of_numbers(64 * n), mtime=0)


def burn_lists_in_gzip(n: int) -> bytes:
    """Empty lists, in gzip."""
    return gzip.compress(burn_of_lists(64 * n), mtime=0)


def _burn(item: object) -> bytes:
    metadata = {"float": "f32", "int": "i32", "format": "burn_core::record::recorder::NamedMpkFileRecorder",
                "version": "0.13.0", "settings": "FullPrecisionSettings"}  # fmt: skip
    return bytes(packed({"metadata": metadata, "item": item}))


# ------------------------------------------------------------------------------------- wheels


def wheel(members: Iterable[tuple[str, bytes]], method: int = zipfile.ZIP_STORED) -> bytes:
    """Write a wheel, as far as a list of files makes one."""
    out = io.BytesIO()
    with zipfile.ZipFile(out, "w", method) as archive:
        for path, data in members:
            archive.writestr(zipfile.ZipInfo(path), data, method)
        archive.writestr("demo-1.0.dist-info/RECORD", "")
    return out.getvalue()


def wheel_of_records(n: int) -> bytes:
    """Put `n` small records into a wheel (the issue's row)."""
    one = record()
    return wheel((f"demo/{i}.mpk", one) for i in range(n))


def wheel_of_deflated_records(n: int) -> bytes:
    """The same, deflated."""
    one = record()
    return wheel(((f"demo/{i}.mpk", one) for i in range(n)), zipfile.ZIP_DEFLATED)


def wheel_of_other_members(n: int) -> bytes:
    """Put one deflated record beside `n` other members."""
    others = [(f"demo/{i}.py", b"") for i in range(n)]
    return wheel(iter([("demo/0.mpk", record()), *others]), zipfile.ZIP_DEFLATED)


def wheel_of_a_deep_member(n: int) -> bytes:
    """Put a deflated record beside a member of `n` levels (the issue's row; at most 32,000)."""
    return wheel(iter([("demo/0.mpk", record()), ("a/" * min(n, 32_000) + "b", b"")]), zipfile.ZIP_DEFLATED)


def wheel_of_deep_members(n: int) -> bytes:
    """Put a deflated record beside `n` members of 200 levels."""
    others = [(f"{i}/" + "a/" * 200 + "b", b"") for i in range(n)]
    return wheel(iter([("demo/0.mpk", record()), *others]), zipfile.ZIP_DEFLATED)


def wheel_of_a_double_slash(n: int) -> bytes:
    """Put a deflated record beside a member `//a` (the issue's row: it never ended)."""
    others = [("//a", b"")] + [(f"demo/{i}.py", b"") for i in range(n)]
    return wheel(iter([("demo/0.mpk", record()), *others]), zipfile.ZIP_DEFLATED)


def wheel_that_inflates(n: int) -> bytes:
    """Deflate a record of zeros to a thousandth."""
    size = 1024 * n
    crc = zlib.crc32(bytes(size))
    zeros = record({"w": entry(shape=[size], dtype="uint8", crc32=crc)}, [buffer(bytes(size))])
    return wheel(iter([("demo/0.mpk", zeros)]), zipfile.ZIP_DEFLATED)


def wheel_of_one_name(n: int) -> bytes:
    """Put `n` records of one name into a wheel."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        return wheel(("demo/0.mpk", record()) for _ in range(n))


def wheel_of_texts(n: int) -> bytes:
    """Deflate a record whose header has equal texts, of three bytes each."""
    texts = Packed(b"\xdd" + struct.pack(">I", 300 * n) + packed("ab") * (300 * n))
    return wheel(iter([("demo/0.mpk", record(metadata={"x": texts}))]), zipfile.ZIP_DEFLATED)


def wheel_of_records_of_texts(n: int) -> bytes:
    """Deflate `n` records, each with as many texts as pass in so few bytes."""
    texts = Packed(b"\xdd" + struct.pack(">I", 40_000) + packed("ab") * 40_000)
    one = record(metadata={"x": texts})
    return wheel(((f"demo/{i}.mpk", one) for i in range(n)), zipfile.ZIP_DEFLATED)


def wheel_of_lists(n: int) -> bytes:
    """Deflate a record whose header has empty lists."""
    return wheel(iter([("demo/0.mpk", record_of_lists(64 * n))]), zipfile.ZIP_DEFLATED)
