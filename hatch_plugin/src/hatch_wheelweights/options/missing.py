"""Why a file that the table names is not there, and what to do.

Lists folders and reads links; opens no file. What is kept elsewhere, `checkpoint.absent` tells.
"""

from __future__ import annotations

import glob
import os
import shlex
from pathlib import Path, PurePosixPath
from typing import TYPE_CHECKING, Final

from hatch_wheelweights.checkpoint.absent import CHECKPOINT_SUFFIXES, fetching
from wheelweights.errors import backticked, did_you_mean, listed

if TYPE_CHECKING:
    from collections.abc import Iterator

    from hatch_wheelweights.errors import Faults, Place

__all__ = ["is_unpacked_sdist", "note_missing", "outside"]

MAX_LOOKED_AT: Final = 10_000  # files, when looking for what may have been meant


def is_unpacked_sdist(root: Path) -> bool:
    """Return whether this is no project's tree but an sdist that was unpacked: PKG-INFO is in no other folder."""
    return (root / "PKG-INFO").is_file()


def note_missing(source: str, root: Path, place: Place, faults: Faults) -> None:
    """Note a source that names no file, with the reason and what to do; a source is relative to the root."""
    if glob.has_magic(source):
        fact, dangling = f"expected files, found none: {backticked(source)}", _dangling(source, root)
    else:
        file = root / source
        leads = f", which leads to {backticked(file.readlink())}" if file.is_symlink() else ""
        there = "a link to nothing" if leads else "a folder" if file.is_dir() else "none"
        there = "something that is not a regular file" if there == "none" and file.exists() else there
        fact, dangling = f"expected a file, found {there}: {backticked(source)}{leads}", source
    if dangling and (remedy := fetching(root / dangling, dangling)):
        faults.add(place, fact, remedy=remedy)
        return
    near = list(_checkpoints(root))
    details = [f"Checkpoints in the project: {listed(near)}"] if near else ["The project holds no checkpoint."]
    remedy = did_you_mean(source, near)
    if is_unpacked_sdist(root):
        reason = "This is an unpacked sdist (it has a PKG-INFO), with neither the file nor its record: it was made"
        details.insert(0, f"{reason} without the build hook, or with `exclude`.")
        remedy = remedy or "Make the sdist again from the project, with the build hook enabled."
    faults.add(place, fact, *details, remedy=remedy or "Paths are relative to the folder of pyproject.toml.")


def outside(path: str) -> str:
    """Return the remedy for a path that leads out of the project: links are followed, so one is enough."""
    name = PurePosixPath(path.replace("\\", "/")).name
    if not path.isprintable() or not name or name in {"..", "~"}:
        return "Name a file in the project."
    return f"Link it into the project, say: ln -s {shlex.quote(path)} {shlex.quote(name)} (links are followed)."


def _dangling(pattern: str, root: Path) -> str | None:
    """Return the first link to nothing, or file that DVC keeps, that a glob matches."""
    for kept in (pattern, f"{pattern}.dvc"):
        for match in sorted(glob.glob(kept, root_dir=root, recursive=True)):  # noqa: PTH207
            name = PurePosixPath(*Path(match).parts).as_posix()
            name = name.removesuffix(".dvc") if kept != pattern else name
            if not (root / name).exists():
                return name
    return None


def _checkpoints(root: Path) -> Iterator[str]:
    """Yield the files of the project that look like checkpoints, but not for ever."""
    looked_at = 0
    for folder, folders, names in os.walk(root):
        folders[:] = sorted(name for name in folders if not name.startswith((".", "__")))
        for name in names:
            if name.endswith(CHECKPOINT_SUFFIXES):
                yield Path(folder, name).relative_to(root).as_posix()
        looked_at += len(names) + 1
        if looked_at > MAX_LOOKED_AT:
            return
