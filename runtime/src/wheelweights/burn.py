"""Records that Burn itself wrote: `NamedMpkFileRecorder` and `NamedMpkGzFileRecorder`, up to version 0.21.

Knows Burn's MessagePack and nothing of models. Such a file is a map of `metadata` (strings), `item` (the module tree)
and, mostly, `_b`:

- a struct is a map, a `Vec` or array a list, `None` and constants are nil, an enum is a map with one entry, its
  variant;
- a parameter is `{id, param: tensor}`; a tensor without gradient is the tensor alone;
- a tensor is `{bytes, shape, dtype}` with little-endian bytes; up to 0.13 it is `{value: [numbers], shape}`.

The names on the way to a tensor, joined by dots, are its key. Layout and names stay Burn's: `Linear.weight` is (in,
out), norms have `gamma` and `beta`. Values that are neither tensor nor container (an optimizer's step counter) are
left out.

Up to 0.13 a half-precision record holds each float as the integer of its bits. Only a negative number, which bits never
give, tells an integer tensor from such floats.

Nothing in the file is trusted: lengths are checked before they are used, and each limit below is a constant.
"""

from __future__ import annotations

import math
import struct
import zlib
from dataclasses import dataclass
from itertools import islice
from typing import TYPE_CHECKING, Any, cast

import numpy as np

from wheelweights._msgpack import Unpacker, UnpackException
from wheelweights.dtypes import DTYPES
from wheelweights.errors import RecordError, backticked, listed, quoted
from wheelweights.formats import HEAD_BYTES, Format, format_of, what_it_is, what_to_do

if TYPE_CHECKING:
    import os
    from collections.abc import Iterator, Mapping
    from typing import TypeAlias

    from numpy.typing import NDArray

    Value: TypeAlias = "bool | int | float | str | memoryview | NDArray[Any] | list[Value] | dict[str, Value] | None"

__all__ = ["BurnRecord", "BurnTensor", "read", "recognises"]

MAX_DEPTH = 64
MAX_VALUES = 200_000  # values besides the numbers in tensors: a parameter takes 9
MAX_NAME = 1_024
MAX_KEY = 4_096
MAX_RANK = 64
MAX_INFLATION = 100  # a .mpk.gz may grow to this many times its size ...
MIN_INFLATED = 16 << 20  # ... and to this size in any case

_CHUNK = 1 << 16

_DTYPES = {
    "F64": "float64", "F32": "float32", "Flex32": "float32", "F16": "float16", "BF16": "bfloat16",
    "I64": "int64", "I32": "int32", "I16": "int16", "I8": "int8",
    "U64": "uint64", "U32": "uint32", "U16": "uint16", "U8": "uint8", "Bool": "bool",
}  # fmt: skip
_BOOL_STORES = {"Native": "u1", "U8": "u1", "U32": "<u4"}
_HALVES = {"f16": "float16", "bf16": "bfloat16"}
_INTS = {"i16": "int16", "i32": "int32", "i64": "int64"}


@dataclass(frozen=True, eq=False)
class BurnTensor:
    """A tensor: `raw` has its bytes, flat, little-endian, in C order, read-only, and at any address."""

    dtype: str
    shape: tuple[int, ...]
    raw: NDArray[np.uint8]


@dataclass(frozen=True, eq=False)
class BurnRecord:
    """The contents of a record of Burn; `metadata` has its `float`, `int`, `format`, `version` and `settings`."""

    tensors: dict[str, BurnTensor]
    metadata: dict[str, Any]


def recognises(head: bytes) -> bool:
    """Return whether a file that begins with these bytes (16 are enough) is for `read`: a Burn record, or gzip."""
    return format_of(head) in (Format.BURN_RECORD, Format.GZIP)


def read(data: bytes | memoryview, *, path: str | os.PathLike[str] | None = None) -> BurnRecord:
    """Read a whole record, gzip or not; `raw` of a tensor is a view of `data` if its bytes are there as they are.

    Raises RecordError, which names `path`, and the tensor if it is one that is at fault.
    """
    try:
        head = bytes(data[:HEAD_BYTES])
        if format_of(head) is not Format.GZIP:
            return _record(memoryview(data))
        _check_packed(data, what_to_do(head, str(path)))
        return _record(memoryview(_inflated(data)))
    except RecordError as error:
        error.path = path if path is None else str(path)
        raise


def _record(data: memoryview) -> BurnRecord:
    head = bytes(data[:HEAD_BYTES])
    if format_of(head) is not Format.BURN_RECORD:
        raise RecordError(f"expected a record written by Burn, found {what_it_is(head)}")
    reader = _Reader(data)
    root = cast("dict[str, Value]", reader.value())  # a map: its first byte says so
    if reader.position != len(data):
        raise RecordError(f"expected the end of the record at byte {reader.position:,}, found {len(data):,} bytes")
    metadata = root.get("metadata")
    if not isinstance(metadata, dict) or "item" not in root:
        raise RecordError(f"expected `metadata` and `item`, found {listed(root)}")
    metadata = {name: value for name, value in metadata.items() if isinstance(value, str | int | float | bool)}
    tensors: dict[str, BurnTensor] = {}
    for key, found in _found(root["item"]):
        try:
            if key in tensors:
                raise RecordError("expected one tensor of this name, found two")
            tensors[key] = _tensor(found, metadata)
        except RecordError as error:
            error.key = key
            raise
    return BurnRecord(tensors, metadata)


def _check_packed(data: bytes | memoryview, remedy: str | None) -> None:
    """Raise RecordError for gzip data of something else, before all of it is inflated; damage is found there."""
    try:
        head = zlib.decompressobj(wbits=31).decompress(data[:_CHUNK], HEAD_BYTES)
    except zlib.error:
        return
    if head and format_of(head) is not Format.BURN_RECORD:
        raise RecordError(
            f"expected a record written by Burn in this gzip file, found {what_it_is(head)}", remedy=remedy
        )


def _inflated(data: bytes | memoryview) -> bytes:
    limit = max(MIN_INFLATED, MAX_INFLATION * len(data))
    inflater = zlib.decompressobj(wbits=31)
    try:
        inflated = inflater.decompress(data, limit + 1)
    except zlib.error as error:
        raise RecordError(f"expected gzip data, found damage: {error}") from error
    if len(inflated) > limit:
        raise RecordError(f"expected at most {limit:,} bytes from {len(data):,} bytes of gzip data, found more")
    if not inflater.eof:
        raise RecordError("truncated: expected the end of the gzip data, found the end of the file")
    if inflater.unused_data:
        raise RecordError(
            f"expected the end of the file, found {len(inflater.unused_data):,} bytes after the gzip data"
        )
    return inflated


# From the tree to tensors


def _found(item: Value) -> Iterator[tuple[str, dict[str, Any]]]:
    """Yield the maps that are tensors, each with its key, in the order of the file."""
    pending: list[tuple[str, Value]] = [("", item)]
    while pending:
        key, value = pending.pop()
        if isinstance(value, dict) and _is_parameter(value):
            value = value["param"]
        if isinstance(value, dict) and _is_tensor(value):
            yield key, value
        elif isinstance(value, dict | list):
            entries = value.items() if isinstance(value, dict) else enumerate(value)
            pending += reversed([(_join(key, str(name)), inner) for name, inner in entries])


def _join(key: str, name: str) -> str:
    joined = f"{key}.{name}" if key else name
    if len(joined) > MAX_KEY:
        raise RecordError(f"expected keys of at most {MAX_KEY:,} characters, found {backticked(joined)}")
    return joined


def _is_parameter(value: dict[str, Value]) -> bool:
    inner = value.get("param")
    return value.keys() == {"id", "param"} and isinstance(inner, dict) and _is_tensor(inner)


def _is_tensor(value: dict[str, Value]) -> bool:
    if value.keys() == {"bytes", "shape", "dtype"}:
        return isinstance(value["bytes"], memoryview)
    return value.keys() == {"value", "shape"} and _is_numbers(value["value"]) and _is_numbers(value["shape"])


def _is_numbers(value: Value) -> bool:
    return isinstance(value, np.ndarray) or value == []


def _tensor(found: dict[str, Any], metadata: Mapping[str, Value]) -> BurnTensor:
    shape = _shape(found["shape"])
    if "value" in found:
        dtype, values = _typed(np.asarray(found["value"]), metadata)
        if len(values) != math.prod(shape):
            raise RecordError(f"expected {math.prod(shape):,} numbers for shape {shape}, found {len(values):,}")
        return BurnTensor(dtype, shape, _read_only(values.view(np.uint8)))
    dtype, stored = _dtype(found["dtype"])
    itemsize = stored.itemsize if stored else DTYPES[dtype].itemsize
    expected, raw = math.prod(shape) * itemsize, np.frombuffer(found["bytes"], np.uint8)
    if len(raw) != expected:
        raise RecordError(f"expected {expected:,} bytes for {dtype} {shape}, found {len(raw):,}")
    return BurnTensor(dtype, shape, _read_only((raw.view(stored) != 0).view(np.uint8) if stored else raw))


def _read_only(raw: NDArray[np.uint8]) -> NDArray[np.uint8]:
    raw.flags.writeable = False
    return raw


def _shape(value: Value) -> tuple[int, ...]:
    dims: Value = value.tolist() if isinstance(value, np.ndarray) else value
    if isinstance(dims, list) and len(dims) <= MAX_RANK:
        shape = tuple(dim for dim in dims if type(dim) is int and dim >= 0)
        if len(shape) == len(dims):
            return shape
    raise RecordError(f"expected a shape of at most {MAX_RANK} lengths, found {quoted(dims)}")


def _dtype(name: Value) -> tuple[str, np.dtype[Any] | None]:
    """Return our name of a dtype of Burn, and for bools the integers that hold them."""
    kind, detail = next(iter(name.items())) if isinstance(name, dict) and len(name) == 1 else (name, "Native")
    if kind == "Bool" and isinstance(detail, str) and detail in _BOOL_STORES:
        return "bool", np.dtype(_BOOL_STORES[detail])
    if kind == "QFloat":
        raise RecordError(
            "expected numbers, found a quantized tensor (`QFloat`), which numpy cannot hold",
            remedy="Save the model from Burn again before it is quantized.",
        )
    if not isinstance(name, str) or name not in _DTYPES:
        raise RecordError(f"expected a dtype of Burn, found {backticked(name)}")
    return _DTYPES[name], None


def _typed(values: NDArray[Any], metadata: Mapping[str, Value]) -> tuple[str, NDArray[Any]]:
    """Return the dtype and the elements of a list of numbers; what integers stand for is in the metadata."""
    if values.dtype != np.int64:
        return values.dtype.name, values.astype(values.dtype.newbyteorder("<"))
    real = str(metadata.get("float")).rpartition(":")[2]
    dtype = _INTS.get(str(metadata.get("int")), "int64")
    lowest, highest = (int(values.min()), int(values.max())) if len(values) else (0, 0)
    if real in _HALVES and lowest >= 0 and highest <= 0xFFFF:
        return _HALVES[real], values.astype("<u2")
    limits = np.iinfo(dtype)
    if lowest < limits.min or highest > limits.max:
        raise RecordError(f"expected values of {dtype}, found {lowest} to {highest}")
    return dtype, values.astype(np.dtype(dtype).newbyteorder("<"))


# MessagePack. The library's own reader copies every tensor, and allocates memory for a length before it checks that the
# items are there.


class _Reader:
    """Reads MessagePack off a buffer: `bin` as views, lists of numbers as arrays (float32, float64, bool, int64).

    Every length is checked against the bytes that are left.
    """

    def __init__(self, data: memoryview) -> None:
        self.data = data
        self.position = 0
        self.values = 0

    def value(self, depth: int = 0) -> Value:
        self.values += 1
        if self.values > MAX_VALUES:
            raise RecordError(f"expected at most {MAX_VALUES:,} values besides the numbers in tensors, found more")
        if depth > MAX_DEPTH:
            raise RecordError(f"expected at most {MAX_DEPTH} levels, found more")
        code = self.take(1)[0]
        if code in _CONSTANTS:
            return _CONSTANTS[code]
        if code <= 0x7F or code >= 0xE0:
            return code if code <= 0x7F else code - 0x100
        if code in _SCALARS:
            number: int | float = struct.unpack(_SCALARS[code], self.take(struct.calcsize(_SCALARS[code])))[0]
            return number
        if code not in _LENGTHS and code >= 0xC0:
            raise RecordError(f"expected MessagePack as Burn writes it, found the type 0x{code:02x}")
        return self.sized(code, depth)

    def sized(self, code: int, depth: int) -> Value:
        """Read a value that has a length: a map, a list, a string or bytes."""
        if code >= 0xC0:
            kind, width = _LENGTHS[code]
            length = int.from_bytes(self.take(width), "big")
        elif code >= 0xA0:
            kind, length = "str", code & 0x1F
        else:
            kind, length = "list" if code >= 0x90 else "map", code & 0x0F
        if kind == "map":
            return self.map(length, depth)
        if kind == "list":
            return self.list(length, depth)
        return self.take(length) if kind == "bin" else self.text(length)

    def take(self, count: int) -> memoryview:
        left = len(self.data) - self.position
        if count > left:
            raise RecordError(f"truncated: expected {count:,} bytes at byte {self.position:,}, found {left:,}")
        self.position += count
        return self.data[self.position - count : self.position]

    def text(self, length: int) -> str:
        if length > MAX_NAME:
            raise RecordError(f"expected strings of at most {MAX_NAME:,} bytes, found {length:,}")
        try:
            return str(self.take(length), "utf-8")
        except UnicodeDecodeError as error:
            raise RecordError(f"expected text in UTF-8 before byte {self.position:,}: {error.reason}") from error

    def map(self, length: int, depth: int) -> dict[str, Value]:
        result: dict[str, Value] = {}
        for _ in range(length):
            name = self.value(depth + 1)
            if not isinstance(name, str):
                raise RecordError(f"expected a string as key in a map, found {quoted(name)}")
            if name in result:
                raise RecordError(f"expected each key of a map once, found {backticked(name)} twice")
            result[name] = self.value(depth + 1)
        return result

    def list(self, length: int, depth: int) -> Value:
        left = len(self.data) - self.position
        if length > left:
            raise RecordError(
                f"truncated: expected a list of {length:,} values at byte {self.position:,}, found {left:,} bytes"
            )
        start = self.position
        numbers = self.numbers(length) if length else None
        if numbers is not None:
            return numbers
        self.position = start
        return [self.value(depth + 1) for _ in range(length)]

    def numbers(self, count: int) -> NDArray[Any] | None:
        """Return a list of numbers of one type as an array, None for any other list."""
        code = self.data[self.position]
        if code in (0xC2, 0xC3):
            codes = np.frombuffer(self.take(count), np.uint8)
            return codes == 0xC3 if bool(np.all(codes & 0xFE == 0xC2)) else None
        if code in (0xCA, 0xCB):
            width = 5 if code == 0xCA else 9
            rows = np.frombuffer(self.take(count * width), np.uint8).reshape(count, width)
            return rows[:, 1:].copy().view(f">f{width - 1}")[:, 0] if bool(np.all(rows[:, 0] == code)) else None
        return self.integers(count) if code in _INTEGERS else None

    def integers(self, count: int) -> NDArray[np.int64] | None:
        """Read integers, each as long as it needs to be, a chunk at a time."""
        result = np.empty(count, np.int64)
        for start in range(0, count, _CHUNK):
            wanted = min(_CHUNK, count - start)
            unpacker = Unpacker(max_array_len=0, max_map_len=0, max_str_len=0, max_bin_len=0, max_ext_len=0)
            unpacker.feed(self.data[self.position : self.position + 9 * wanted])
            try:
                values = [value for value in islice(unpacker, wanted) if type(value) is int]
                if len(values) != wanted:
                    return None
                result[start : start + wanted] = values
            except (ValueError, OverflowError, UnpackException):
                return None
            self.position += unpacker.tell()
        return result


_CONSTANTS = {0xC0: None, 0xC2: False, 0xC3: True}
_SCALARS = {
    0xCA: ">f",
    0xCB: ">d",
    0xCC: ">B",
    0xCD: ">H",
    0xCE: ">I",
    0xCF: ">Q",
    0xD0: ">b",
    0xD1: ">h",
    0xD2: ">i",
    0xD3: ">q",
}
_INTEGERS = {*range(0x80), *range(0xE0, 0x100), *range(0xCC, 0xD4)}
_LENGTHS = {
    0xC4: ("bin", 1), 0xC5: ("bin", 2), 0xC6: ("bin", 4), 0xD9: ("str", 1), 0xDA: ("str", 2), 0xDB: ("str", 4),
    0xDC: ("list", 2), 0xDD: ("list", 4), 0xDE: ("map", 2), 0xDF: ("map", 4),
}  # fmt: skip
