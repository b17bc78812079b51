"""Which files the records are made from, and where they go.

Knows paths in a project: what `source` and `output` may look like, globs, `{stem}`. Lists folders; opens no file.
"""

from __future__ import annotations

import dataclasses
import glob
import os
import re
import unicodedata
from dataclasses import dataclass
from pathlib import Path, PurePosixPath, PureWindowsPath
from typing import TYPE_CHECKING, Final

from hatch_wheelweights.errors import GOLDEN, Faults
from hatch_wheelweights.options.toml import record_place
from hatch_wheelweights.options.values import read_string
from wheelweights.errors import backticked, did_you_mean, listed
from wheelweights.golden import golden_path

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from hatch_wheelweights.errors import Place
    from hatch_wheelweights.options.model import HookOptions, RecordOptions

__all__ = ["Job", "check_golden", "check_output", "check_records", "check_source", "resolve"]

STEM: Final = "{stem}"
CHECKPOINT_SUFFIXES: Final = (".pt", ".pth", ".bin", ".ckpt", ".safetensors", ".index.json", ".tar", ".mpk", ".mpk.gz")
MAX_LOOKED_AT: Final = 10_000  # files, when looking for what may have been meant


@dataclass(frozen=True)
class Job:
    """One record to make: its files, joined to the project's folder, and its options with both made plain.

    `golden`, in the options, is joined to the folder as well.
    """

    source: Path
    output: Path
    options: RecordOptions


def resolve(options: HookOptions, root: str | os.PathLike[str]) -> tuple[Job, ...]:
    """Return what is to be converted, globs expanded in sorted order.

    Raises one ConfigError with all faults: a source that is not there, a glob that matches nothing, two records that
    end at one output.
    """
    root = Path(root)
    faults = Faults()
    found = [
        (record_place(i), _for_source(record, source))
        for i, record in enumerate(options.records)
        for source in _sources(os.fspath(record.source), root, record_place(i) / "source", faults)
    ]
    _check_distinct(found, faults)
    for place, record in found:
        _check_golden_is_there(record, root, place / GOLDEN, faults)
    faults.raise_any()
    return tuple(_job(root, record) for _, record in found)


def _job(root: Path, record: RecordOptions) -> Job:
    golden = None if record.golden is None else os.fspath(root / record.golden)
    return Job(root / record.source, root / record.output, dataclasses.replace(record, golden=golden))


def _check_golden_is_there(record: RecordOptions, root: Path, place: Place, faults: Faults) -> None:
    if record.golden is not None and not (root / record.golden).is_file():
        there = "a folder" if (root / record.golden).is_dir() else "none"
        remedy = "Make it in torch: hatch_wheelweights.golden(model, *inputs, path=...)."
        faults.add(place, f"expected a file, found {there}: {backticked(record.golden)}", remedy=remedy)


def check_source(value: object, place: Place, faults: Faults) -> str:
    """Return a source in its plain form (forward slashes, no `.`), and note what is wrong with it."""
    if not isinstance(value, str):
        return read_string(value, place, faults)
    text = value
    if "{" in text or "}" in text:
        faults.add(place, f"expected no braces, found {backticked(text)}", remedy=f"Write {STEM} in `output` only.")
    return _relative(text, place, faults)


def check_output(value: object, place: Place, faults: Faults) -> str:
    """Return an output in its plain form, and note what is wrong with it."""
    if not isinstance(value, str):
        return read_string(value, place, faults)
    text = value
    plain = _relative(text, place, faults)
    if braces := re.findall(r"\{[^{}]*\}?|\}", plain.replace(STEM, "")):
        faults.add(place, f"expected no braces but {backticked(STEM)}, found {backticked(braces[0])}")
    elif odd := set('<>:"|?*') & set(plain):
        fact = f"expected a path that every system can hold, found {listed(odd)} in {backticked(text)}"
        remedy = f"Write {STEM} for the name of each file that `source` matches." if "*" in odd else None
        faults.add(place, fact, remedy=remedy)
    elif plain and PurePosixPath(plain).suffix != ".mpk":
        ours = PurePosixPath(plain).with_suffix(".mpk")
        faults.add(place, f"expected a path ending in `.mpk`, found {backticked(text)}", remedy=f"Write {ours}.")
    return plain


def check_golden(value: object, place: Place, faults: Faults) -> str | None:
    """Return the path of a file of golden outputs in its plain form, and note what is wrong with it."""
    if not isinstance(value, str):
        read_string(value, place, faults)
        return None
    plain = _relative(value, place, faults)
    if braces := re.findall(r"\{[^{}]*\}?|\}", plain.replace(STEM, "")):
        faults.add(place, f"expected no braces but {backticked(STEM)}, found {backticked(braces[0])}")
    elif plain and PurePosixPath(plain).suffix != ".npz":
        faults.add(place, f"expected a path ending in `.npz`, found {backticked(value)}")
    return plain or None


def check_records(records: Sequence[tuple[Place, RecordOptions]], faults: Faults) -> None:
    """Note what is wrong between sources and outputs, as far as it can be told without looking at files."""
    complete = [(place, record) for place, record in records if record.source and record.output]
    for place, record in complete:
        if _is_glob(record) and STEM not in os.fspath(record.output):
            output = PurePosixPath(record.output)
            fact = f"expected {backticked(STEM)} in it because `source` is a glob, found {backticked(output)}"
            faults.add(place / "output", fact, remedy=f"Write {output.with_name(f'{STEM}.mpk')}.")
        if _is_glob(record) and record.golden is not None and STEM not in os.fspath(record.golden):
            fact = f"expected {backticked(STEM)} in it because `source` is a glob, found {backticked(record.golden)}"
            remedy = "Make a file for each checkpoint: no two give the same outputs."
            faults.add(place / GOLDEN, fact, remedy=remedy)
    plain = [(place, record) for place, record in complete if not _is_glob(record)]
    named = [(place, _for_source(record, os.fspath(record.source))) for place, record in plain]
    _check_distinct(named, faults)


def _is_glob(record: RecordOptions) -> bool:
    return glob.has_magic(os.fspath(record.source))


def _check_distinct(records: Sequence[tuple[Place, RecordOptions]], faults: Faults) -> None:
    """Note outputs that are one file, on any system, and outputs that are a source."""
    sources = {_folded(record.source): place for place, record in records}
    goldens = {_folded(golden_path(os.fspath(record.output))): place for place, record in records if record.golden}
    first: dict[str, RecordOptions] = {}
    for place, record in records:
        name = _folded(record.output)
        other = first.setdefault(name, record)
        if other is not record:
            faults.add(place / "output", _one_end(other, record), remedy="Give every record an output of its own.")
        if name in goldens:
            fact = f"expected a path of its own, found that of the golden record of {goldens[name]}"
            faults.add(place / "output", fact, remedy="Give every record an output of its own.")
        if name in sources:
            fact = f"expected a path of its own, found that of {sources[name]}.source: {backticked(record.output)}"
            faults.add(place / "output", fact)


def _one_end(first: RecordOptions, second: RecordOptions) -> str:
    end = backticked(first.output)
    if first.output != second.output:
        end = f"{end} and {backticked(second.output)}, which are one file on some systems"
    return f"{backticked(first.source)} and {backticked(second.source)} both end at {end}"


def _relative(text: str, place: Place, faults: Faults) -> str:
    """Return a path in its plain form; note why it is none inside the project."""
    windows = PureWindowsPath(text)
    plain = PurePosixPath(text).as_posix()
    if not text.isprintable():
        faults.add(place, f"expected a path, found control characters in {backticked(text)}")
    elif windows.drive or windows.root or text.startswith("~"):
        fact = f"expected a path relative to the project, found {backticked(text)}"
        faults.add(place, fact, remedy="Move the file into the project: an sdist holds nothing from outside.")
    elif "\\" in text:
        fact = f"expected forward slashes, found {backticked(text)}"
        faults.add(place, fact, remedy=f"Write {windows.as_posix()}.")
    elif ".." in windows.parts:
        fact = f"expected a path inside the project, found `..` in {backticked(text)}"
        faults.add(place, fact, remedy="Move the file into the project: an sdist holds nothing from outside.")
    elif not text.strip() or plain == ".":
        faults.add(place, f"expected the path of a file, found {backticked(text) if text else 'an empty string'}")
    else:
        return plain
    return ""


def _folded(path: str | os.PathLike[str]) -> str:
    """Return what two paths share when they are one file on some system."""
    return unicodedata.normalize("NFC", os.fspath(path).casefold())


def _for_source(record: RecordOptions, source: str) -> RecordOptions:
    """Return the record of one source: its name in the place of `{stem}`."""
    stem = _stem(PurePosixPath(source).name)
    golden = None if record.golden is None else os.fspath(record.golden).replace(STEM, stem)
    output = os.fspath(record.output).replace(STEM, stem)
    return dataclasses.replace(record, source=source, output=output, golden=golden)


def _stem(name: str) -> str:
    """Return a file's name without its suffix: `model` of `model.pt` and of `model.safetensors.index.json`."""
    whole = re.sub(r"(\.(safetensors|bin))?\.index\.json$|\.mpk\.gz$", "", name)
    return whole if whole != name else PurePosixPath(name).stem


def _sources(source: str, root: Path, place: Place, faults: Faults) -> list[str]:
    """Return the files that a source names, relative to the root, or note that there is none."""
    if not glob.has_magic(source):
        if (root / source).is_file():
            return [source]
        found = "a folder" if (root / source).is_dir() else "none"
        _missing(f"expected a file, found {found}: {backticked(source)}", source, root, place, faults)
        return []
    # Not Path.glob: there `**` and hidden files mean something else in each version of Python.
    matches = glob.glob(source, root_dir=root, recursive=True)  # noqa: PTH207
    files = sorted({PurePosixPath(*Path(match).parts).as_posix() for match in matches if (root / match).is_file()})
    if not files:
        _missing(f"expected files, found none: {backticked(source)}", source, root, place, faults)
    return files


def _missing(fact: str, source: str, root: Path, place: Place, faults: Faults) -> None:
    """Note a missing source, with the reason and the names that may have been meant."""
    there = list(_checkpoints(root))
    details = [f"Checkpoints in the project: {listed(there)}"] if there else ["The project holds no checkpoint."]
    remedy = did_you_mean(source, there)
    if (root / "PKG-INFO").is_file():
        details.insert(0, "This is an unpacked sdist (it has a PKG-INFO), and the file was not put into it.")
        remedy = remedy or "Make the sdist again from the project, with the build hook enabled."
    faults.add(place, fact, *details, remedy=remedy or "Paths are relative to the folder of pyproject.toml.")


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
