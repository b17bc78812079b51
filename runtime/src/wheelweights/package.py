"""Records of installed packages, by package and name.

Knows where an installed package keeps its files: in a folder, or in a zip archive that it is imported from. Knows
nothing of the record's bytes.
"""

from __future__ import annotations

import struct
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from wheelweights.errors import RecordError, backticked, did_you_mean, listed, quoted
from wheelweights.record import Record, aligned_buffer, open_record, read_record

if TYPE_CHECKING:
    import zipfile
    from importlib.resources.abc import Traversable
    from types import ModuleType

    from numpy.typing import NDArray

__all__ = ["load", "resource_bytes"]


def load(package: str | ModuleType, name: str, *, mmap: bool = True, widen: bool = False) -> Record:
    """Open a record that an installed package ships.

    `name` is the record's path inside the package. A package imported from a zip archive works too: a stored member
    is mapped inside the archive, a deflated one is read into memory. `mmap` and `widen` as for `open_record`. Raises
    RecordError if there is no such record, with the possible causes and the command that repairs the installation.
    """
    shown = package if isinstance(package, str) else package.__name__
    if not name or name.startswith("/") or "\\" in name or ".." in name.split("/"):
        raise RecordError(f"expected the name of a file in package {backticked(shown)}, found {quoted(name)}")
    folder = _folder(package, shown)
    resource = folder
    for part in name.split("/"):  # one by one: a namespace package's folder takes no more in Python 3.11
        resource = resource.joinpath(part)
    if not _is_file(resource):
        raise _not_found(shown, name, folder)
    if isinstance(resource, Path):
        return open_record(resource, mmap=mmap, widen=widen)
    data = resource_bytes(resource, mmap=mmap)
    return read_record(data, path=str(resource), widen=widen, reopen=(_loaded, (shown, name, mmap, widen)))


def _loaded(package: str, name: str, mmap: bool, widen: bool) -> Record:
    return load(package, name, mmap=mmap, widen=widen)


def _folder(package: str | ModuleType, shown: str) -> Traversable:
    """Return the folder of a package; `shown` is the package's name."""
    if shown in ("", "__main__"):  # a script belongs to no package, and importlib has no error of its own for it
        raise RecordError(
            f"expected the name of an installed package, found {quoted(shown)}",
            remedy="Give the name that the package is imported by.",
        )
    import importlib.resources  # noqa: PLC0415 (costs 10 ms; not needed to open a record by path)

    try:
        return importlib.resources.files(package)
    except (ModuleNotFoundError, TypeError) as error:
        raise RecordError(
            f"package {backticked(shown)} cannot be imported: {error}", remedy="Install it, or correct the name."
        ) from error


def _is_file(resource: Traversable) -> bool:
    try:
        return resource.is_file()
    except OSError:  # a name that no file can have
        return False


def resource_bytes(resource: Traversable | zipfile.Path, *, mmap: bool) -> NDArray[np.uint8]:
    """Return the bytes of a file in a package, read-only: mapped if a zip archive stores it, else read into memory.

    `resource` is what `importlib.resources.files` gives, or a `zipfile.Path`.
    """
    import zipfile  # noqa: PLC0415 (only for packages in archives)

    if isinstance(resource, zipfile.Path):
        archive: zipfile.ZipFile = resource.root
        member = archive.getinfo(resource.at)
        if mmap and member.compress_type == zipfile.ZIP_STORED and archive.filename:
            return _member_in_archive(archive.filename, member)
    with resource.open("rb") as file:
        content = file.read()
    data = aligned_buffer(len(content))
    data[:] = np.frombuffer(content, np.uint8)
    data.flags.writeable = False
    return data


def _member_in_archive(archive: str, member: zipfile.ZipInfo) -> NDArray[np.uint8]:
    """Return a stored member as a view of the mapped archive; the lengths in its local header give its place."""
    whole = np.memmap(archive, np.uint8, mode="r")
    name_size, extra_size = struct.unpack("<2H", whole[member.header_offset + 26 : member.header_offset + 30].tobytes())
    start = member.header_offset + 30 + name_size + extra_size
    return np.asarray(whole[start : start + member.file_size])


def _not_found(package: str, name: str, folder: Traversable) -> RecordError:
    there = _records_in(folder)
    distribution = _distribution_of(package)
    near = did_you_mean(name, there)
    return RecordError(
        f"no record {backticked(name)} in package {backticked(package)} (looked in {folder})",
        details=[
            f"Records there: {listed(there)}." + (f" {near}" if near else ""),
            (
                "Possible causes: the wheel was built with its hooks disabled (HATCH_BUILD_NO_HOOKS) or without "
                "hatch-wheelweights in"
            ),
            "build-system.requires; or this is an editable install from before the record was declared.",
        ],
        remedy=f"Reinstall it: pip install --force-reinstall {distribution}; in its own project: pip install -e . "
        f"(uv: uv sync --reinstall-package {distribution}).",
    )


def _records_in(folder: Traversable) -> list[str]:
    try:
        return [item.name for item in folder.iterdir() if item.name.endswith(".mpk")]
    except OSError:
        return []


def _distribution_of(package: str) -> str:
    import importlib.metadata  # noqa: PLC0415 (only for the error)

    top = package.partition(".")[0]
    return next(iter(importlib.metadata.packages_distributions().get(top, [])), top)
