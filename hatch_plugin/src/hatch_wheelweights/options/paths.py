"""Which files the records are made from, and where they go.

Knows paths in a project: what `source` and `output` may look like, globs, `{stem}`. Lists folders, opens no file.
"""

from __future__ import annotations

import dataclasses
import glob
import os
import re
import unicodedata
from pathlib import Path, PurePosixPath, PureWindowsPath
from typing import TYPE_CHECKING, Final

from hatch_wheelweights.errors import Faults
from wheelweights.errors import backticked, did_you_mean, listed

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

    from hatch_wheelweights.options.table import Options, RecordOptions

__all__ = ["check_output", "check_records", "check_source", "resolve"]

STEM: Final = "{stem}"
CHECKPOINT_SUFFIXES: Final = (".pt", ".pth", ".bin", ".ckpt", ".safetensors", ".index.json", ".tar", ".mpk", ".mpk.gz")
MAX_LOOKED_AT: Final = 10_000  # files, when looking for what may have been meant


def resolve(options: Options, root: str | os.PathLike[str]) -> tuple[tuple[Path, Path, RecordOptions], ...]:
    """Return what is to be converted: source and output of each record, and its options with both made plain.

    Paths are joined to `root`, the project's folder; globs are expanded in sorted order. Raises one ConfigError with
    all faults: a source that is not there, a glob that matches nothing, two records that end at one output.
    """
    root = Path(root)
    faults = Faults()
    found = [
        (where, dataclasses.replace(record, source=source, output=_output_of(record, source)))
        for where, record in options.places()
        for source in _sources(record.source, root, f"{where}.source", faults)
    ]
    check_distinct(found, faults)
    faults.raise_any()
    return tuple((root / record.source, root / record.output, record) for _, record in found)


def check_source(text: str, where: str, faults: Faults) -> str:
    """Return a source in its plain form (forward slashes, no `.`), and note what is wrong with it."""
    if "{" in text or "}" in text:
        faults.add(where, f"expected no braces, found {backticked(text)}", remedy=f"Write {STEM} in `output` only.")
    return _relative(text, where, faults)


def check_output(text: str, where: str, faults: Faults) -> str:
    """Return an output in its plain form, and note what is wrong with it."""
    plain = _relative(text, where, faults)
    if braces := re.findall(r"\{[^{}]*\}?|\}", plain.replace(STEM, "")):
        faults.add(where, f"expected no braces but {backticked(STEM)}, found {backticked(braces[0])}")
    elif odd := set('<>:"|?*') & set(plain):
        fact = f"expected a path that every system can hold, found {listed(odd)} in {backticked(text)}"
        remedy = f"Write {STEM} for the name of each file that `source` matches." if "*" in odd else None
        faults.add(where, fact, remedy=remedy)
    elif plain and PurePosixPath(plain).suffix != ".mpk":
        ours = PurePosixPath(plain).with_suffix(".mpk")
        faults.add(where, f"expected a path ending in `.mpk`, found {backticked(text)}", remedy=f"Write {ours}.")
    return plain


def check_records(records: Iterable[tuple[str, RecordOptions]], faults: Faults) -> None:
    """Note what is wrong between sources and outputs, as far as it can be told without looking at files."""
    complete = [(where, record) for where, record in records if record.source and record.output]
    for where, record in complete:
        if glob.has_magic(record.source) and STEM not in record.output:
            output = PurePosixPath(record.output)
            fact = f"expected {backticked(STEM)} in it because `source` is a glob, found {backticked(output)}"
            faults.add(f"{where}.output", fact, remedy=f"Write {output.with_name(f'{STEM}.mpk')}.")
    plain = [(where, record) for where, record in complete if not glob.has_magic(record.source)]
    check_distinct([(where, dataclasses.replace(record, output=_output_of(record))) for where, record in plain], faults)


def check_distinct(records: list[tuple[str, RecordOptions]], faults: Faults) -> None:
    """Note outputs that are one file, on any system, and outputs that are a source."""
    sources = {_folded(record.source): where for where, record in records}
    first: dict[str, RecordOptions] = {}
    for where, record in records:
        name = _folded(record.output)
        other = first.setdefault(name, record)
        if other is not record:
            faults.add(f"{where}.output", _one_end(other, record), remedy="Give every record an output of its own.")
        if name in sources:
            fact = f"expected a path of its own, found that of {sources[name]}.source: {backticked(record.output)}"
            faults.add(f"{where}.output", fact)


def _one_end(first: RecordOptions, second: RecordOptions) -> str:
    end = backticked(first.output)
    if first.output != second.output:
        end = f"{end} and {backticked(second.output)}, which are one file on some systems"
    return f"{backticked(first.source)} and {backticked(second.source)} both end at {end}"


def _relative(text: str, where: str, faults: Faults) -> str:
    """Return a path in its plain form; note why it is none inside the project."""
    windows = PureWindowsPath(text)
    plain = PurePosixPath(text).as_posix()
    if not text.isprintable():
        faults.add(where, f"expected a path, found control characters in {backticked(text)}")
    elif windows.drive or windows.root or text.startswith("~"):
        fact = f"expected a path relative to the project, found {backticked(text)}"
        faults.add(where, fact, remedy="Move the file into the project: an sdist holds nothing from outside.")
    elif "\\" in text:
        fact = f"expected forward slashes, found {backticked(text)}"
        faults.add(where, fact, remedy=f"Write {windows.as_posix()}.")
    elif ".." in windows.parts:
        fact = f"expected a path inside the project, found `..` in {backticked(text)}"
        faults.add(where, fact, remedy="Move the file into the project: an sdist holds nothing from outside.")
    elif not text.strip() or plain == ".":
        faults.add(where, f"expected the path of a file, found {backticked(text) if text else 'an empty string'}")
    else:
        return plain
    return ""


def _folded(path: str) -> str:
    """Return what two paths share when they are one file on some system."""
    return unicodedata.normalize("NFC", path.casefold())


def _output_of(record: RecordOptions, source: str | None = None) -> str:
    return record.output.replace(STEM, _stem(PurePosixPath(source or record.source).name))


def _stem(name: str) -> str:
    """Return a file's name without its suffix: `model` of `model.pt` and of `model.safetensors.index.json`."""
    whole = re.sub(r"(\.(safetensors|bin))?\.index\.json$|\.mpk\.gz$", "", name)
    return whole if whole != name else PurePosixPath(name).stem


def _sources(source: str, root: Path, where: str, faults: Faults) -> list[str]:
    """Return the files that a source names, relative to the root, or note that there is none."""
    if not glob.has_magic(source):
        if (root / source).is_file():
            return [source]
        found = "a folder" if (root / source).is_dir() else "none"
        _missing(f"expected a file, found {found}: {backticked(source)}", source, root, where, faults)
        return []
    # Not Path.glob: there `**` and hidden files mean something else in each version of Python.
    matches = glob.glob(source, root_dir=root, recursive=True)  # noqa: PTH207
    files = sorted({PurePosixPath(*Path(match).parts).as_posix() for match in matches if (root / match).is_file()})
    if not files:
        _missing(f"expected files, found none: {backticked(source)}", source, root, where, faults)
    return files


def _missing(fact: str, source: str, root: Path, where: str, faults: Faults) -> None:
    """Note a missing source, with the reason and the names that may have been meant."""
    there = list(_checkpoints(root))
    details = [f"Checkpoints in the project: {listed(there)}"] if there else ["The project holds no checkpoint."]
    remedy = did_you_mean(source, there)
    if (root / "PKG-INFO").is_file():
        details.insert(0, "This is an unpacked sdist (it has a PKG-INFO), and the file was not put into it.")
        remedy = remedy or "Make the sdist again from the project, with the build hook enabled."
    faults.add(where, fact, *details, remedy=remedy or "Paths are relative to the folder of pyproject.toml.")


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
