"""How one thing is written: a size, a key, a shape, a dtype, a value.

Names and values come from files, so whatever a terminal could obey is escaped here, and what is long is cut: one name
can be shown in many places.
"""

from __future__ import annotations

import functools
import json
import re
import unicodedata
from typing import Any, Final

from wheelweights.errors import backticked, human_size, printable

__all__ = [
    "MAX_KEY_CHARACTERS",
    "ascii_json",
    "dtype_name",
    "escaped_json",
    "human_count",
    "human_size",
    "is_beyond_64_bits",
    "json_of",
    "key_or_root",
    "key_text",
    "shape_text",
    "shortened",
    "size_text",
    "value_text",
    "width_of",
]

MAX_VALUE_CHARACTERS: Final = 200
MAX_KEY_CHARACTERS: Final = 1000


def human_count(number: int) -> str:
    """Return a number as it is below ten thousand, else with three digits: `9,408`, `53.2k`, `25.6M`, `1.34B`."""
    if number < 10_000:
        return f"{number:,}"
    amount = float(number)
    for unit in ("", "k", "M", "B"):
        if amount < 999.5:
            return f"{amount:#.3g}{unit}".replace(f".{unit}", unit)
        amount /= 1000
    return f"{amount:,.2f}T"


def value_text(value: Any) -> str:
    """Return a plain value on one line: text as it is, anything else as JSON."""
    return printable(value) if isinstance(value, str) else json_of(value, indent=None)


def shortened(text: str, characters: int = MAX_VALUE_CHARACTERS) -> str:
    """Return a text cut at 200 characters, or at another number."""
    return text if len(text) <= characters else f"{text[: characters - 3]}..."


def key_text(key: str) -> str:
    """Return a key as a table shows it: on one line, and cut at 1,000 characters."""
    return printable(shortened(key, MAX_KEY_CHARACTERS))


def key_or_root(key: str) -> str:
    """Return a key as a table shows it; the root has an empty one."""
    return key_text(key) or "(the root)"


def width_of(text: str) -> int:
    """Return how many columns of a terminal a text takes: two for wide characters, none for accents that combine.

    From East_Asian_Width (Unicode Standard Annex 11) and the categories of characters that enclose or do not advance.
    """
    return len(text) if text.isascii() else sum(map(_columns, text))


def _columns(character: str) -> int:
    if unicodedata.category(character) in ("Mn", "Me"):
        return 0
    return 2 if unicodedata.east_asian_width(character) in ("W", "F") else 1


def json_of(value: Any, indent: int | None = 2) -> str:
    """Return a plain value as JSON in which everything unprintable is escaped, as JSON escapes it."""
    return escaped_json(json.dumps(value, indent=indent, ensure_ascii=False))


_NOT_ASCII: Final = re.compile(r"[^\n -~]+")


def escaped_json(text: str) -> str:
    """Return JSON that parses to the same value, without unprintable characters other than line breaks.

    In JSON, line breaks stand between values only, and other unprintable characters in texts only.
    """
    return _NOT_ASCII.sub(lambda found: "".join(map(_escaped, found[0])), text)


def ascii_json(text: str) -> str:
    """Return JSON that parses to the same value, in ASCII."""
    return re.sub(r"[^\x00-\x7f]+", lambda found: json.dumps(found[0])[1:-1], text)


@functools.lru_cache(1024)
def _escaped(character: str) -> str:
    return character if character.isprintable() else json.dumps(character)[1:-1].replace("\x7f", "\\u007f")


def shape_text(shape: tuple[int, ...]) -> str:
    """Return a shape as Python writes it; a size of more than 64 bits, which only a damaged file has, as `?`."""
    shown = ["?" if is_beyond_64_bits(size) else str(size) for size in shape]
    return f"({', '.join(shown)}{',' if len(shown) == 1 else ''})"


def is_beyond_64_bits(size: int) -> bool:
    """Return whether a size is so large, or so far below 0, that its digits could fill pages."""
    return size.bit_length() > 63


def size_text(nbytes: int | None) -> str:
    """Return the size of a tensor, if it is known."""
    return "?" if nbytes is None else human_size(nbytes)


def dtype_name(dtype: str) -> str:
    """Return a dtype, which in a damaged file can be any text, cut at 80 characters."""
    return backticked(dtype)[1:-1]
