"""Literals in code that torch writes, read as text: numbers, True, False, None, text, and tuples and lists of these.

Knows how torch prints them (torch/csrc/jit/serialization/python_print.cpp). Nothing is evaluated.
"""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Any, Final, NamedTuple

if TYPE_CHECKING:
    from collections.abc import Iterator

__all__ = ["MAX_DEPTH", "MAX_LINE", "Argument", "arguments", "literal"]

MAX_LINE: Final = 1_000  # characters; no more of a line is looked at
MAX_DEPTH: Final = 4  # of tuples in tuples
_TOKEN: Final = re.compile(
    r"\s*(?:(?P<float>-?(?:\d+(?:\.\d*)?[eE][-+]?\d+|\d+\.\d*|inf|nan)(?!\w))|(?P<int>-?\d{1,20}(?![\w.]))"
    r'|(?P<word>True|False|None)(?!\w)|"(?P<text>[^"\\]*)"|(?P<mark>[\[\](),]))\s*'
)
_WORDS: Final = {"True": True, "False": False, "None": None}
_CLOSING: Final = {"(": ")", "[": "]"}


def literal(text: str) -> Any:
    """Return the value of a literal; lists are tuples. Raise ValueError for anything else, and for what is long."""
    if len(text) > MAX_LINE:
        raise ValueError("a literal is too long")
    tokens = _tokens(text)
    value = _value(next(tokens, _END), tokens, 0)
    if next(tokens, None) is not None:
        raise ValueError("something follows a literal")
    return value


class _Mark(str):
    """A bracket or a comma, as opposed to text."""

    __slots__ = ()


_END: Final = _Mark()


def _tokens(text: str) -> Iterator[Any]:
    """Yield values and marks."""
    position = 0
    while position < len(text):
        found = _TOKEN.match(text, position)
        if found is None:
            raise ValueError("not a literal")
        position = found.end()
        yield _token(found)


def _token(found: re.Match[str]) -> Any:
    kind = str(found.lastgroup)
    text = found[kind]
    if kind == "mark":
        return _Mark(text)
    if kind == "word":
        return _WORDS[text]
    return float(text) if kind == "float" else int(text) if kind == "int" else text


def _value(token: Any, tokens: Iterator[Any], depth: int) -> Any:
    if not isinstance(token, _Mark):
        return token
    if token not in _CLOSING or depth == MAX_DEPTH:
        raise ValueError("not a literal")
    return tuple(_items(_CLOSING[token], tokens, depth + 1))


def _items(closing: str, tokens: Iterator[Any], depth: int) -> Iterator[Any]:
    """Yield what is between two brackets; a comma may follow the last."""
    for token in tokens:
        if isinstance(token, _Mark) and token == closing:
            return
        yield _value(token, tokens, depth)
        after = next(tokens, _END)
        if not isinstance(after, _Mark) or after not in {",", closing}:
            raise ValueError("no comma in a tuple")
        if after == closing:
            return
    raise ValueError("a tuple has no end")


# The arguments of calls


class Argument(NamedTuple):
    """An argument of a call: its name, where it has one, and its value; no literal is `is_literal` false."""

    name: str
    value: Any
    is_literal: bool


_PIECE: Final = re.compile(r'"(?:[^"\\]|\\.)*"|[^"\[\](),]+|[\[\](),]')
_NAMED: Final = re.compile(r"\s*(\w+)=(?!=)")


def arguments(line: str, start: int) -> list[Argument]:
    """Return the arguments of the call whose bracket opens before `start`; raise ValueError where it has no end."""
    depth, begin, texts = 0, start, list[str]()
    for piece in _PIECE.finditer(line, start):
        mark = piece[0]
        if depth == 0 and mark in (",", ")"):
            texts.append(line[begin : piece.start()])
            begin = piece.end()
            if mark == ")":
                return [_argument(text) for text in texts if text.strip()]
        depth += (mark in "([") - (mark in ")]") if len(mark) == 1 else 0
    raise ValueError("a call has no end")


def _argument(text: str) -> Argument:
    named = _NAMED.match(text)
    name, rest = (named[1], text[named.end() :]) if named else ("", text)
    try:
        return Argument(name, literal(rest), is_literal=True)
    except ValueError:
        return Argument(name, None, is_literal=False)
