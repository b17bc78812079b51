"""What metadata can be: checked as values before they are written, and as bytes before anything is made of them.

Metadata has the values that JSON has, with text as keys, within limits of the layout: so many levels, so many maps and
lists, so many other values. MessagePack says an empty list in one byte, for which Python takes 64: to count what has
been made would be to count too late.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final

from wheelweights.record.faults import malformed
from wheelweights.record.layout import MAX_CONTAINERS, MAX_DEPTH, MAX_VALUES

if TYPE_CHECKING:
    from typing import TypeAlias

    from wheelweights._msgpack import Value

    Head: TypeAlias = tuple[str, int, int]

__all__ = ["LIST", "MAP", "SCALAR", "TEXT", "head_of", "metadata_end", "metadata_fault"]

SCALAR, TEXT, LIST, MAP = "scalar", "text", "list", "map"

_TOO_DEEP: Final = f"metadata is nested deeper than {MAX_DEPTH} levels"
_TOO_MUCH: Final = (
    f"metadata holds more than {MAX_CONTAINERS:,} maps and lists, or more than {MAX_VALUES:,} other values"
)
_CUT_OFF: Final = "expected a value of metadata, found the end of the header"
_NO_TEXT: Final = "expected text as the keys of metadata, found something else"


def metadata_fault(metadata: dict[Any, Any]) -> str | None:
    """Return why these values cannot be metadata, or None if they can.

    Walks the levels one by one, without recursion.
    """
    pending: list[tuple[Value, int]] = [(metadata, 1)]
    containers = values = 0
    while pending:
        value, depth = pending.pop()
        if isinstance(value, dict | list):
            containers += 1
            if depth > MAX_DEPTH:
                return _TOO_DEEP
            if isinstance(value, dict) and not all(isinstance(key, str) for key in value):
                return _NO_TEXT
            if containers + values + len(pending) + len(value) > MAX_CONTAINERS + MAX_VALUES:
                return _TOO_MUCH
            pending.extend((item, depth + 1) for item in (value.values() if isinstance(value, dict) else value))
        elif value is None or type(value) in (bool, int, float, str):
            values += 1
        else:
            return f"metadata holds a value of type {type(value).__name__}, which JSON lacks"
        if containers > MAX_CONTAINERS or values > MAX_VALUES:
            return _TOO_MUCH
    return None


def metadata_end(data: bytes, at: int) -> int:
    """Return where the metadata that begins at byte `at` ends; make none of its values.

    Raises RecordError for bytes that are not the MessagePack of metadata. Does not look into texts.
    """
    left, is_map = 1, False  # of the values at this level: in a map, keys count
    outer: list[tuple[int, bool]] = []
    containers = values = 0
    while True:
        while not left:
            if not outer:
                if at > len(data):
                    raise malformed(_CUT_OFF)
                return at
            left, is_map = outer.pop()
        kind, at, items = head_of(data, at)
        is_key = is_map and not left % 2
        if is_key and kind is not TEXT:
            raise malformed(_NO_TEXT)
        left -= 1
        if kind is MAP or kind is LIST:
            containers += 1
            outer.append((left, is_map))
            left, is_map = (2 * items, True) if kind is MAP else (items, False)
            if len(outer) > MAX_DEPTH:
                raise malformed(_TOO_DEEP)
        else:
            values += not is_key
        if containers > MAX_CONTAINERS or values > MAX_VALUES:
            raise malformed(_TOO_MUCH)


_SCALARS: Final = {
    0xC0: 0, 0xC2: 0, 0xC3: 0, 0xCA: 4, 0xCB: 8, 0xCC: 1, 0xCD: 2, 0xCE: 4, 0xCF: 8, 0xD0: 1, 0xD1: 2, 0xD2: 4, 0xD3: 8,
}  # fmt: skip
_SIZED: Final = {
    0xD9: (TEXT, 1), 0xDA: (TEXT, 2), 0xDB: (TEXT, 4), 0xDC: (LIST, 2), 0xDD: (LIST, 4), 0xDE: (MAP, 2), 0xDF: (MAP, 4),
}  # fmt: skip


def head_of(data: bytes, at: int) -> Head:
    """Return of the MessagePack at byte `at` the kind, the end, and the number of items.

    The end is that of the value, or, for a map or a list, where its items begin. Raises RecordError for what JSON lacks
    and for a head that is cut off.
    """
    code = data[at] if at < len(data) else 0xC1
    if code < 0x80 or code >= 0xE0:
        return SCALAR, at + 1, 0
    if code < 0xA0:
        return MAP if code < 0x90 else LIST, at + 1, code & 0x0F
    if code < 0xC0:
        return TEXT, at + 1 + (code & 0x1F), 0
    if code in _SCALARS:
        return SCALAR, at + 1 + _SCALARS[code], 0
    if code not in _SIZED:
        raise malformed(_not_json(code) if at < len(data) else _CUT_OFF)
    kind, width = _SIZED[code]
    at += 1 + width
    size = int.from_bytes(data[at - width : at], "big")
    return (kind, at + size, 0) if kind is TEXT else (kind, at, size)


def _not_json(code: int) -> str:
    if code == 0xC1:
        return "it is not MessagePack"
    what = "bytes" if code < 0xC7 else "an extension type"
    return f"metadata holds {what}, which JSON lacks"
