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

from hatch_wheelweights.checkpoint.absent import fetching
from hatch_wheelweights.errors import GOLDEN, Faults
from hatch_wheelweights.options.missing import is_unpacked_sdist, note_missing, outside
from hatch_wheelweights.options.toml import record_place
from hatch_wheelweights.options.values import read_string
from wheelweights.errors import backticked, listed
from wheelweights.golden import golden_path

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from hatch_wheelweights.errors import Place
    from hatch_wheelweights.options.model import HookOptions, RecordOptions

__all__ = ["STEM", "Job", "check_golden", "check_output", "check_records", "check_source", "resolve", "stem_of"]

STEM: Final = "{stem}"


@dataclass(frozen=True)
class Job:
    """One record to make: its files, joined to the project's folder, and its options with both made plain.

    `golden`, in the options, is joined to the folder as well. `source` is None where an unpacked sdist holds the record
    at `output` in the place of the checkpoint; then `options.source` is what the table says, which may be a glob.
    """

    source: Path | None
    output: Path
    options: RecordOptions


def resolve(options: HookOptions, root: str | os.PathLike[str]) -> tuple[Job, ...]:
    """Return what is to be converted, globs expanded in sorted order.

    Raises one ConfigError with all faults: a source that is not there, a glob that matches nothing, two records that
    end at one output.
    """
    root = Path(root)
    faults = Faults()
    found: list[tuple[Place, RecordOptions, bool]] = []
    for i, record in enumerate(options.records):
        place = record_place(i)
        sources = _sources(os.fspath(record.source), root)
        kept = [] if sources else list(_kept(record, options.records, root))
        found += [(place, _for_source(record, source), True) for source in sources]
        found += [(place, one, False) for one in kept]
        if not sources and not kept:
            note_missing(os.fspath(record.source), root, place / "source", faults)
    _check_distinct([(place, record) for place, record, _ in found], faults)
    for place, record, from_source in found:
        _check_golden_is_there(record, root, place / GOLDEN, faults, beside=not from_source)
    faults.raise_any()
    return tuple(_job(root, record, from_source=from_source) for _, record, from_source in found)


def _job(root: Path, record: RecordOptions, *, from_source: bool) -> Job:
    golden = None if record.golden is None else os.fspath(root / record.golden)
    source = root / record.source if from_source else None
    return Job(source, root / record.output, dataclasses.replace(record, golden=golden))


def _kept(record: RecordOptions, records: Sequence[RecordOptions], root: Path) -> Iterator[RecordOptions]:
    """Yield the records that an unpacked sdist holds in the place of checkpoints, each at the output that it has."""
    if not is_unpacked_sdist(root):
        return
    output = os.fspath(record.output)
    if STEM not in output:
        if (root / output).is_file():
            yield record
        return
    others = {os.fspath(other.output) for other in records}
    before, *between = map(re.escape, output.split(STEM))
    form = re.compile(f"{before}([^/]+)" + "".join(f"{part}(?:\\1)" for part in between[:-1]) + between[-1])
    matches = glob.glob(glob.escape(output).replace(STEM, "*"), root_dir=root)  # noqa: PTH207
    for name in sorted(PurePosixPath(*Path(match).parts).as_posix() for match in matches):
        stem = form.fullmatch(name)
        if stem and name not in others and not name.endswith(golden_path(".mpk")):
            golden = None if record.golden is None else os.fspath(record.golden).replace(STEM, stem[1])
            yield dataclasses.replace(record, output=name, golden=golden)


def _check_golden_is_there(
    record: RecordOptions, root: Path, place: Place, faults: Faults, *, beside: bool = False
) -> None:
    """Note golden outputs that are not there; `beside` the record of an unpacked sdist, the golden record counts."""
    if record.golden is None or (root / record.golden).is_file():
        return
    if beside and (root / golden_path(os.fspath(record.output))).is_file():
        return
    there = "a folder" if (root / record.golden).is_dir() else "none"
    remedy = fetching(root / record.golden, os.fspath(record.golden))
    remedy = remedy or "Make it in torch: hatch_wheelweights.golden(model, *inputs, path=...)."
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
        faults.add(place, fact, remedy=outside(text))
    elif "\\" in text:
        fact = f"expected forward slashes, found {backticked(text)}"
        faults.add(place, fact, remedy=f"Write {windows.as_posix()}.")
    elif ".." in windows.parts:
        fact = f"expected a path inside the project, found `..` in {backticked(text)}"
        faults.add(place, fact, remedy=outside(text))
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
    stem = stem_of(PurePosixPath(source).name)
    golden = None if record.golden is None else os.fspath(record.golden).replace(STEM, stem)
    output = os.fspath(record.output).replace(STEM, stem)
    return dataclasses.replace(record, source=source, output=output, golden=golden)


def stem_of(name: str) -> str:
    """Return a file's name without its suffix: `model` of `model.pt` and of `model.safetensors.index.json`."""
    whole = re.sub(r"(\.(safetensors|bin))?\.index\.json$|\.mpk\.gz$", "", name)
    return whole if whole != name else PurePosixPath(name).stem


def _sources(source: str, root: Path) -> list[str]:
    """Return the files that a source names, relative to the root; none if there is none."""
    if not glob.has_magic(source):
        return [source] if (root / source).is_file() else []
    # Not Path.glob: there `**` and hidden files mean something else in each version of Python.
    matches = glob.glob(source, root_dir=root, recursive=True)  # noqa: PTH207
    return sorted({PurePosixPath(*Path(match).parts).as_posix() for match in matches if (root / match).is_file()})
