"""Files that are not there: what keeps them elsewhere and the command that fetches them, or the name that is meant.

Weights are rarely in a repository themselves: git-annex and DVC leave links in their place, or a small file beside it.
A link that leads nowhere and a file of DVC's tell which it is. Any other path may be misspelt. Reads links and lists
folders; opens nothing (what a pointer file says, whoever opens it tells).
"""

from __future__ import annotations

import os
import re
import shlex
from typing import TYPE_CHECKING, Final

from wheelweights.errors import printable
from wheelweights.nearby import meant_file

if TYPE_CHECKING:
    from pathlib import Path

__all__ = ["CHECKPOINT_SUFFIXES", "fetching", "remedy_for"]

CHECKPOINT_SUFFIXES: Final = (".pt", ".pth", ".bin", ".ckpt", ".safetensors", ".index.json", ".tar", ".mpk", ".mpk.gz")
_SUFFIXES: Final = (*CHECKPOINT_SUFFIXES, ".whl", ".npz")


def remedy_for(file: Path, shown: str) -> str:
    """Return the remedy for a file that cannot be opened: the command that fetches it, or the path that is meant."""
    return fetching(file, shown) or meant_file(os.fspath(file), _SUFFIXES) or "Check the path."


def fetching(file: Path, shown: str) -> str | None:
    """Return the remedy for a file that is kept elsewhere: the command that fetches it, or None."""
    try:
        if file.is_symlink() and not file.exists():
            return _for_link(file, file.readlink().as_posix(), printable(shlex.quote(shown)))
        if not file.exists() and _of_dvc(file):
            return f"Run: dvc pull {printable(shlex.quote(shown))}"
    except (OSError, ValueError):  # a name that no file can have
        pass
    return None


def _for_link(file: Path, target: str, name: str) -> str:
    if ".git/annex/objects/" in target:
        return f"Run: git annex get {name}"
    if ".dvc/cache/" in target or _of_dvc(file):
        return f"Run: dvc pull {name}"
    if re.search(r"(^|/)blobs/[0-9a-f]{40,64}$", target):
        return "Download it again: this is a link into the cache of a model hub, where the file is no longer."
    return f"Get the file that it leads to, or correct the link: ln -sfn TARGET {name}"


def _of_dvc(file: Path) -> bool:
    """Return whether DVC keeps a file, or its folder: what it writes about it stands beside it."""
    kept = [file, file.parent] if file.parent.name else [file]
    return any(one.with_name(f"{one.name}.dvc").is_file() for one in kept)
