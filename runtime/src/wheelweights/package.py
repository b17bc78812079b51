"""Records of installed packages, by package and name.

Knows where an installed package keeps its files: in a folder, or in a zip archive that it is imported from. Knows
nothing of the record's bytes.
"""

from __future__ import annotations

import json
import os
import warnings
from functools import cache, partial
from pathlib import Path
from typing import TYPE_CHECKING, Any, cast

import numpy as np

from wheelweights.archives import member_bytes
from wheelweights.dtypes import DTYPES
from wheelweights.errors import MissingRecordError, RecordError, backticked, counted, did_you_mean, listed, quoted
from wheelweights.parts import join, parts_of
from wheelweights.plain import is_dict, is_sequence
from wheelweights.record import Record, aligned_buffer, open_record, read_only, read_record

if TYPE_CHECKING:
    import zipfile
    from importlib.resources.abc import Traversable
    from types import ModuleType

    from numpy.typing import NDArray

    from wheelweights.parts import Part
    from wheelweights.record.mapping import Reopen

__all__ = ["load", "resource_bytes"]


def load(
    package: str | ModuleType, name: str, *, mmap: bool = True, widen: bool = False, verify: bool = False
) -> Record:
    """Open a record that an installed package ships.

    `name` is the record's path inside the package. A package imported from a zip archive works too: a stored member
    is mapped inside the archive, a deflated one is read into memory. A record whose tensors are in distributions of
    their own is opened over all of them; nothing is copied. `mmap`, `widen` and `verify` as for `open_record`.

    A worker process best loads its record itself, by the same two names: then the processes share the memory. (A record
    is pickled as no more than that; a model that is bound is pickled with a copy of every array.)

    Warns, with the command, if this is an editable install and the checkpoint has changed since the record was made;
    and, once for each record, if it is stored in an archive at a place where its arrays have to be copied. Raises
    RecordError if there is no such record or part of it, with the possible causes and the command that repairs the
    installation.
    """
    shown = package if isinstance(package, str) else package.__name__
    reopen = _loaded, (name, shown, mmap, widen, verify)
    odd: list[zipfile.Path] = []
    record = _opened(package, name, mmap=mmap, widen=widen, reopen=reopen, odd=odd)
    _warn_of_changes(record, shown)
    if not record and parts_of(record.metadata, record.path):
        record = join(record, partial(_part, mmap=mmap, odd=odd), widen=widen, reopen=reopen)
    for member in odd:
        _warn_of_copies(member.root.filename, member.at)
    if verify:
        record.verify()
    return record


def _loaded(name: str, package: str, mmap: bool, widen: bool, verify: bool) -> Record:
    return load(package, name, mmap=mmap, widen=widen, verify=verify)


def _opened(
    package: str | ModuleType, name: str, *, mmap: bool, widen: bool, reopen: Reopen, odd: list[zipfile.Path]
) -> Record:
    """Open a record as it lies in a package, an index without its parts; see `_record`."""
    shown = package if isinstance(package, str) else package.__name__
    if not name or name.startswith("/") or "\\" in name or ".." in name.split("/"):
        raise RecordError(f"expected the name of a file in package {backticked(shown)}, found {quoted(name)}")
    folder = _folder(package, shown)
    resource = _below(folder, name)
    if not _is_file(resource):
        raise _not_found(shown, name, folder)
    return _record(resource, mmap=mmap, widen=widen, reopen=reopen, odd=odd)


def _below(folder: Traversable, name: str) -> Traversable:
    resource = folder
    for part in name.split("/"):  # one by one: a namespace package's folder takes no more in Python 3.11
        resource = resource.joinpath(part)
    return resource


def _record(
    resource: Traversable | zipfile.Path, *, mmap: bool, widen: bool, reopen: Reopen, odd: list[zipfile.Path]
) -> Record:
    """Open a record in a folder or an archive; add it to `odd` if it lies where its arrays have to be copied."""
    if isinstance(resource, Path):
        return open_record(resource, mmap=mmap, widen=widen, index=True)
    data = resource_bytes(resource, mmap=mmap)
    record = read_record(data, path=str(resource), widen=widen, index=True, reopen=reopen)
    address: int = data.__array_interface__["data"][0]
    if any(address % DTYPES[dtype].alignment for dtype in {record.info(key).dtype for key in record}):
        odd.append(cast("zipfile.Path", resource))  # other resources are read into aligned memory
    return record


def _part(part: Part, *, mmap: bool, odd: list[zipfile.Path]) -> Record:
    """Open a part; raise MissingRecordError where its distribution is not installed.

    Its package is found and not imported: an index is a file, and what it names is not to be run.
    """
    folder = _folder_unimported(part.package)
    resource = None if folder is None else _below(folder, part.name)
    if resource is None or not _is_file(resource):
        raise MissingRecordError(f"no record {backticked(part.name)} in package {backticked(part.package)}")
    reopen = _loaded, (part.name, part.package, mmap, False, False)
    return _record(resource, mmap=mmap, widen=False, reopen=reopen, odd=odd)


def _folder_unimported(package: str) -> Traversable | None:
    """Return the folder of a top-level package, or None if there is no such package."""
    import importlib.util  # noqa: PLC0415 (only for records in parts)

    try:
        spec = importlib.util.find_spec(package)
    except ValueError:  # a module that has no spec, such as `__main__`
        return None
    if spec is None or not spec.submodule_search_locations:
        return None
    loader: Any = spec.loader
    reader: Any = loader.get_resource_reader(package) if hasattr(loader, "get_resource_reader") else None
    if hasattr(reader, "files"):
        found: Traversable = reader.files()
        return found
    return Path(spec.submodule_search_locations[0])


@cache  # one warning a place and process
def _warn_of_copies(archive: str, member: str) -> None:
    text = (
        f"{archive}: the record {member} does not begin at a multiple of 64 bytes, so that its arrays have to be "
        "copied when they are used\n"
        '  Install its package unpacked, or import it from a wheel that was built with compression = "stored" '
        "(hatch-wheelweights aligns records; zip and zipapp do not)."
    )
    warnings.warn(text, RuntimeWarning, stacklevel=3)


def _warn_of_changes(record: Record, package: str) -> None:
    """Warn if this is the record of an editable install, and the checkpoint is not what it was made from any more.

    Costs a question to the system for each file of the checkpoint, and nothing in other installations.
    """
    editable = record.metadata.get("editable")
    files: object = editable.get("files") if is_dict(editable) else None
    entries = [one for one in files if is_sequence(one) and len(one) == 3] if is_sequence(files) else []
    changed = [file for file, *state in entries if isinstance(file, str) and _has_changed(record.path, file, state)]
    if not changed:
        return
    first, *others = (os.path.normpath(Path(record.path).parent / file) for file in changed)
    more = f" (and {counted(len(others), 'other file')})" if others else ""
    text = (
        f"{record.path}: the checkpoint {first}{more} has changed since this record was made from it\n"
        f"  Make it again, in its project: pip install -e . (uv: uv sync --reinstall-package "
        f"{_distribution_of(package, Path(record.path).parent) or 'NAME'})."
    )
    warnings.warn(text, UserWarning, stacklevel=3)


def _has_changed(path: str, file: str, state: list[Any]) -> bool:
    """Return whether a file, named from the folder of the record at `path`, is there and of another size or time."""
    try:
        found = (Path(path).parent / file).stat()
    except (OSError, ValueError):  # an editable install without the checkpoint
        return False
    return [found.st_size, found.st_mtime_ns] != state


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

    `resource` is what `importlib.resources.files` gives: a `zipfile.Path` if the package was imported from an archive.
    """
    import zipfile  # noqa: PLC0415 (only for packages in archives)

    if isinstance(resource, zipfile.Path):
        archive: zipfile.ZipFile = resource.root
        if archive.filename:
            return member_bytes(archive.filename, archive.getinfo(resource.at), mmap=mmap)
    content = resource.read_bytes()
    data = aligned_buffer(len(content))
    data[:] = np.frombuffer(content, np.uint8)
    return read_only(data)


def _not_found(package: str, name: str, folder: Traversable) -> RecordError:
    there = _records_in(folder)
    distribution = _distribution_of(package, folder)
    near = did_you_mean(name, there)
    return MissingRecordError(
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
        f"(uv: uv sync --reinstall-package {distribution})."
        if distribution
        else f"Reinstall the distribution that {backticked(package)} belongs to; in its own project: pip install -e .",
    )


def _records_in(folder: Traversable) -> list[str]:
    try:
        names = [item.name for item in folder.iterdir()]
        return [name for name in names if name.endswith(".mpk") and not name.endswith(".golden.mpk")]
    except OSError:
        return []


def _distribution_of(package: str, folder: Traversable) -> str | None:
    """Return the distribution that a package in a folder belongs to; None if that cannot be told.

    Several distributions can have packages below one top-level name: the one counts that lists files of this package.
    An editable install lists none; it counts if the folder is in its project. Where nothing is known of a top-level
    package, its distribution is taken to be named like it.
    """
    import importlib.metadata  # noqa: PLC0415 (only for the error)

    top, _, below_top = package.partition(".")
    candidates = sorted(set(importlib.metadata.packages_distributions().get(top, [])))
    below = f"{package.replace('.', '/')}/"
    found = [name for name in candidates if _lists(name, below)]
    if len(found) == 1:
        return found[0]
    if isinstance(folder, Path) and (name := _editable_around(folder)):
        return name
    return top if not candidates and not below_top else None


def _editable_around(folder: Path) -> str | None:
    """Return the editable distribution whose project holds a folder; of several, that of the innermost project."""
    import importlib.metadata  # noqa: PLC0415 (only for the error)

    around: list[tuple[int, str]] = []
    for distribution in importlib.metadata.distributions():
        project = _editable_project(distribution.read_text("direct_url.json"))
        if project is not None and folder.resolve().is_relative_to(project):
            around.append((len(project.parts), distribution.metadata["Name"]))
    return max(around)[1] if around else None


def _editable_project(direct_url: str | None) -> Path | None:
    """Return the folder that an installation is an editable one of, by its direct_url.json (PEP 610)."""
    from urllib.parse import urlsplit  # noqa: PLC0415 (only for the error)
    from urllib.request import url2pathname  # noqa: PLC0415

    try:
        said: Any = json.loads(direct_url or "null")
        if said is None or not said["dir_info"].get("editable"):
            return None
        url: str = said["url"]
        return Path(url2pathname(urlsplit(url).path)).resolve()
    except (ValueError, KeyError, TypeError, AttributeError, OSError):  # whatever an installer wrote there
        return None


def _lists(distribution: str, below: str) -> bool:
    """Return whether a distribution lists files below a folder, as far as it lists any."""
    import importlib.metadata  # noqa: PLC0415 (only for the error)

    try:
        files = importlib.metadata.distribution(distribution).files
    except importlib.metadata.PackageNotFoundError:
        return False
    return files is None or any(file.as_posix().startswith(below) for file in files)
