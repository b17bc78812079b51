"""The names of the source: which keys can be fields, what classes are called, and how texts are written.

Keys come from files: whatever is not a plain name becomes a text in quotes, with everything unprintable escaped.
"""

from __future__ import annotations

import builtins
import keyword
import re
import unicodedata
from typing import Final

from hatch_wheelweights.looking.texts import shortened
from wheelweights.errors import printable

__all__ = ["MAX_NAME", "Taken", "class_name", "comment_text", "is_field", "is_identifier", "text_of"]

MAX_NAME: Final = 60  # characters of a class
_WORD: Final = re.compile(r"[A-Za-z0-9]+")


def is_identifier(name: str) -> bool:
    """Return whether Python takes a name as it is: no keyword, and in the form that it brings names into."""
    return (
        name.isidentifier()
        and name.isprintable()
        and not keyword.iskeyword(name)
        and unicodedata.normalize("NFKC", name) == name
    )


def is_field(name: str) -> bool:
    """Return whether a part of a key can be a field; Python changes two underscores in front, or gives them meaning."""
    return is_identifier(name) and not name.startswith("__") and name not in _NOT_FIELDS


_NOT_FIELDS: Final = {"_", "mro"}  # `_: KW_ONLY` has a meaning; every class has a method `mro`, taken for a default


def text_of(text: str) -> str:
    """Return a text as Python source, in double quotes unless there are some in it."""
    shown = repr(text)
    return f'"{shown[1:-1]}"' if shown[0] == "'" and '"' not in shown else shown


def comment_text(text: str, characters: int = 80) -> str:
    """Return a text for a comment or a docstring: on one line, cut, and without what could end it."""
    shown = printable(shortened(text, characters))
    return shown.replace("\\", "\\\\").replace('"', "'")


def class_name(name: str) -> str:
    """Return a name as one of a class: `basic_block` is `BasicBlock`; `Module` where it has no letters."""
    words = [word[:1].upper() + word[1:] for word in _WORD.findall(name)]
    return "".join(words).lstrip("0123456789")[:MAX_NAME] or "Module"


_BUILTINS: Final = frozenset(dir(builtins))


class Taken:
    """Names that are taken: those of builtins, those given, and those that were free and have been handed out."""

    def __init__(self, names: frozenset[str]) -> None:
        self._given = names  # shared: there may be as many of these as classes
        self._names = set[str]()
        self._numbers: dict[str, int] = {}

    def free(self, name: str, separator: str = "") -> str:
        """Return a name that is not taken yet, with a number behind it where that is needed, and take it.

        The number follows an underscore if the name ends with another number: after `T5` comes `T5_2`.
        """
        found = name
        separator = separator or "_" * name[-1:].isdecimal()
        while found in self._names or found in self._given or found in _BUILTINS:
            number = self._numbers[name] = self._numbers.get(name, 1) + 1
            found = f"{name}{separator}{number}"
        self._names.add(found)
        return found
