"""Pickles made by hand: an assembler of opcodes, and the names with which torch describes storages and tensors.

Knows nothing of the readers. What it assembles is well-formed; one argument makes one deviation.
"""

from __future__ import annotations

import struct
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping


class Code(bytes):
    """Opcodes that leave one object on the stack."""

    __slots__ = ()


def code(value: object) -> Code:
    """Assemble a plain value with protocol 2 opcodes (bytes need 3); `Code` is returned unchanged."""
    match value:
        case Code():
            return value
        case None | True | False:
            return Code({None: b"N", True: b"\x88", False: b"\x89"}[value])
        case int():
            return _integer(value)
        case float():
            return Code(b"G" + struct.pack(">d", value))
        case str():
            return Code(b"X" + struct.pack("<I", len(value.encode())) + value.encode())
        case bytes():
            return Code(b"B" + struct.pack("<I", len(value)) + value)
        case tuple():
            return Code(b"(" + b"".join(map(code, value)) + b"t")
        case list():
            return Code(b"](" + b"".join(map(code, value)) + b"e")
        case dict():
            return Code(b"}(" + b"".join(code(key) + code(item) for key, item in value.items()) + b"u")
    raise TypeError(value)


def _integer(value: int) -> Code:
    if 0 <= value < 256:
        return Code(b"K" + bytes([value]))
    if -(1 << 31) <= value < 1 << 31:
        return Code(b"J" + struct.pack("<i", value))
    raw = value.to_bytes(value.bit_length() // 8 + 1, "little", signed=True)
    return Code(b"\x8a" + bytes([len(raw)]) + raw)


def python2(text: str) -> Code:
    """Assemble a `str` as Python 2 pickled it."""
    return Code(b"U" + bytes([len(text)]) + text.encode())


def name(module: str, qualname: str) -> Code:
    """Push a class or function by its name."""
    return Code(f"c{module}\n{qualname}\n".encode())


def stack_name(module: str, qualname: str) -> Code:
    """Push a class or function by its name, as protocol 4 does."""
    return Code(b"".join(b"\x8c" + bytes([len(part)]) + part.encode() for part in (module, qualname)) + b"\x93")


def call(function: bytes, *arguments: object) -> Code:
    """Call with REDUCE."""
    return Code(function + code(arguments) + b"R")


def build(thing: bytes, state: object) -> Code:
    """Give a state with BUILD."""
    return Code(thing + code(state) + b"b")


def put(thing: bytes, index: int) -> Code:
    """Remember the object in the memo."""
    return Code(thing + b"r" + struct.pack("<I", index))


def get(index: int) -> Code:
    """Push an entry of the memo."""
    return Code(b"j" + struct.pack("<I", index))


def ordered_dict(items: Mapping[Any, Any] | None = None) -> Code:
    """Make a `collections.OrderedDict`, as a state_dict is."""
    pairs = b"".join(code(key) + code(value) for key, value in (items or {}).items())
    return Code(call(name("collections", "OrderedDict")) + (b"(" + pairs + b"u" if pairs else b""))


def persistent(*pid: object) -> Code:
    """Push a persistent id."""
    return Code(code(pid) + b"Q")


def storage(
    key: object = "0", numel: object = 4, kind: str = "FloatStorage", location: object = "cpu", module: str = "torch"
) -> Code:
    """Name a storage of a zip archive."""
    return persistent("storage", name(module, kind), key, location, numel)


def legacy_storage(
    key: str = "0",
    numel: object = 4,
    kind: str = "FloatStorage",
    view: object = None,
    say: Callable[[str], Code] = code,
) -> Code:
    """Name a storage of a legacy stream, or a view `(key, offset, numel)`; `say=python2` makes strings of Python 2."""
    return persistent(say("storage"), name("torch", kind), say(key), say("cpu"), numel, view)


def tensor(
    of: bytes | None = None, *, offset: object = 0, size: object = (4,), stride: object = (1,), metadata: object = None
) -> Code:
    """Rebuild a tensor over a storage."""
    more = () if metadata is None else (metadata,)
    rebuild = name("torch._utils", "_rebuild_tensor_v2")
    return call(rebuild, storage() if of is None else Code(of), offset, size, stride, False, ordered_dict(), *more)


def pickled(value: object, protocol: int = 2) -> bytes:
    """Close a pickle: PROTO, the value, STOP."""
    return (bytes([0x80, protocol]) if protocol >= 2 else b"") + code(value) + b"."


def state_dict(**tensors: object) -> bytes:
    """Pickle a state_dict of these tensors, or of one tensor `w` if none are given."""
    return pickled(ordered_dict(tensors or {"w": tensor()}))


def beside(thing: bytes) -> bytes:
    """Pickle a dict of one tensor `w` and another object, `x`."""
    return pickled({"w": tensor(), "x": Code(thing)})
