"""The file that may be meant by a path that leads nowhere: one with a similar name in the same folder.

Lists folders, opens nothing, and looks at so many names only that an error comes at once in a folder of any size.
"""

from __future__ import annotations

import os
from itertools import islice
from typing import TYPE_CHECKING, Final

from wheelweights.errors import nearest, printable

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

__all__ = ["meant_file"]

MAX_LISTED: Final = 5_000  # names of a folder
MAX_COMPARED: Final = 500  # of these
MAX_CHARACTERS: Final = 80  # of a name
MAX_FOLDERS: Final = 3  # that may be misspelt


def meant_file(path: str, suffixes: Sequence[str]) -> str | None:
    """Return "Did you mean `weights/model.pt`?" for a file that is there, or None.

    Files are those that end like the path, then those with other suffixes of the given ones; a folder of the path may
    be misspelt as well.
    """
    if "\0" in path or os.path.lexists(path):
        return None
    try:
        found = _meant(path, suffixes, MAX_FOLDERS)
    except OSError:  # a folder that cannot be listed
        return None
    return None if found is None else f"Did you mean `{printable(found)}`?"


def _meant(path: str, suffixes: Sequence[str], folders: int) -> str | None:
    """Return the path that is meant; without suffixes, that of a folder."""
    folder, name = os.path.split(path)
    if folder and not os.path.isdir(folder):  # noqa: PTH112 (importing pathlib takes longer)
        near = _meant(folder, (), folders - 1) if folders else None
        if near is None:
            return None
        folder = near
        if os.path.exists(whole := os.path.join(folder, name)):  # noqa: PTH110, PTH118
            return whole
    found = _nearest_name(name, _names(folder or ".", is_folder=not suffixes), suffixes)
    return None if found is None else os.path.join(folder, found)  # noqa: PTH118


def _names(folder: str, *, is_folder: bool) -> list[str]:
    with os.scandir(folder) as entries:
        some = islice(entries, MAX_LISTED)
        return sorted(one.name for one in some if _is_folder(one) == is_folder and one.name.isprintable())


def _is_folder(entry: os.DirEntry[str]) -> bool:
    try:
        return entry.is_dir()
    except OSError:  # a link that leads to itself, say
        return False


def _nearest_name(name: str, names: Iterable[str], suffixes: Sequence[str]) -> str | None:
    """Return the name that is nearest without its suffix, of those with the same suffix first."""
    own = _suffix(name, suffixes) or (os.path.splitext(name)[1] if suffixes else "")  # noqa: PTH122
    stem = name.removesuffix(own)
    known = [one for one in names if not suffixes or _suffix(one, suffixes)]
    for same in (True, False):
        stems: dict[str, list[str]] = {}
        for one in known:
            if (_suffix(one, suffixes) == own) == same:
                stems.setdefault(one.removesuffix(_suffix(one, suffixes)), []).append(one)
        near = nearest(stem, comparable(stem, stems))
        if near is not None:
            return nearest(name, stems[near]) or stems[near][0]
    return None


def comparable(stem: str, stems: Iterable[str]) -> Iterable[str]:
    """Yield what can be near at all: names of about the same length, and not for ever."""
    alike = (one for one in stems if len(one) <= MAX_CHARACTERS and len(one) <= 2 * len(stem) <= 4 * len(one))
    return islice(alike, MAX_COMPARED)


def _suffix(name: str, suffixes: Sequence[str]) -> str:
    """Return the longest of the suffixes that a name has; nothing where it has none of them."""
    return max((one for one in suffixes if name.endswith(one)), key=len, default="")
