"""Numbers and strings as protocol 0 and Python 2 write them.

Python's unpicklers read more than its picklers write (octal numbers, spaces, underscores, escapes of text in bytes),
and not all of them the same. Whatever no pickler writes is refused.
"""

from __future__ import annotations

import re
from typing import Final

from hatch_wheelweights.checkpoint.values import Python2Text

__all__ = ["parsed_float", "parsed_int", "parsed_string", "python2_string"]

MAX_DIGITS: Final = 300
_INT: Final = re.compile(rb"-?(0|[1-9][0-9]*)")
_FLOAT: Final = re.compile(rb"[+-]?([0-9]+(\.[0-9]*)?([eE][+-]?[0-9]+)?|inf|nan)")
_PLAIN_ESCAPES: Final = re.compile(rb"(?:[^\\]|\\(?:[\\'\"nrt]|x[0-9a-fA-F]{2}))*", re.DOTALL)


def parsed_int(text: bytes) -> int:
    """Return an integer; raise ValueError where no pickler writes one so, or with that many digits."""
    if len(text) > MAX_DIGITS:
        raise ValueError(f"an integer has more than {MAX_DIGITS} digits")
    if not _INT.fullmatch(text):
        raise ValueError("an integer is no decimal number")
    return int(text)


def parsed_float(text: bytes) -> float:
    """Return a float; raise ValueError where no pickler writes one so."""
    if len(text) > MAX_DIGITS or not _FLOAT.fullmatch(text):
        raise ValueError(f"a float is no decimal number of at most {MAX_DIGITS} characters")
    return float(text)


def parsed_string(text: bytes) -> str | bytes:
    """Return a quoted string of Python 2; raise ValueError where no pickler writes one so."""
    if len(text) < 2 or text[:1] != text[-1:] or text[:1] not in (b"'", b'"'):
        raise ValueError("a string has no quotes")
    if not _PLAIN_ESCAPES.fullmatch(text[1:-1]):
        raise ValueError("a string has an escape that Python does not write")
    return python2_string(text[1:-1].decode("unicode_escape").encode("latin-1"))


def python2_string(raw: bytes) -> str | bytes:
    """Return Python 2's `str` as text where it is text: it was used for names and raw bytes alike."""
    try:
        text = raw.decode("utf-8")
    except UnicodeDecodeError:
        return raw
    return text if text.isascii() else Python2Text(text)
