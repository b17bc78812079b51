"""The table of pyproject.toml that asks for a record of a file: lines that build when they are pasted.

Looks for the project that the file is in, and for its package, as Hatch finds it: a folder with an `__init__.py`, by
itself or in a namespace.
"""

from __future__ import annotations

import glob
import re
from dataclasses import fields
from pathlib import Path
from typing import TYPE_CHECKING, Final

from hatch_wheelweights.errors import ConfigError
from hatch_wheelweights.options.model import ConversionOptions, RecordOptions
from hatch_wheelweights.options.paths import STEM, stem_of
from hatch_wheelweights.options.table import chosen, load, record_lines
from hatch_wheelweights.options.toml import toml_name
from wheelweights.plain import is_dict

if TYPE_CHECKING:
    from collections.abc import Iterator

__all__ = ["table_of"]

PROJECT: Final = "pyproject.toml"
NO_PACKAGE: Final = "my_package"
_OTHER_FOLDERS: Final = {"tests", "test", "docs", "examples", "benchmarks"}
_ODD: Final = re.compile(r'[<>:"|?*{}/\\\s]')


def table_of(path: str, options: ConversionOptions, part: str = "") -> tuple[str, ...]:
    """Return the lines of the table; none for a path that the table cannot name.

    `part` tells the records of one file apart: it is added to the name of the output.
    """
    file = Path(path).absolute()
    root = next((folder for folder in file.parents if (folder / PROJECT).is_file()), None)
    folder = root or (Path.cwd() if file.is_relative_to(Path.cwd()) else file.parent)
    source = file.relative_to(folder).as_posix()
    stem = STEM if glob.has_magic(source) else _ODD.sub("_", stem_of(file.name))
    name = "-".join(filter(None, (stem, _ODD.sub("_", part))))
    output = f"{_package(root) if root else f'src/{NO_PACKAGE}'}/{name}.mpk"
    given = {field.name: getattr(options, field.name) for field in fields(ConversionOptions)}
    record = RecordOptions(source=glob.escape(source), output=output, **given)
    return tuple(record_lines(record)) if _is_allowed(record) else ()


def _is_allowed(record: RecordOptions) -> bool:
    """Tell whether the table can say this: there are paths, and keys in files, that no option can name."""
    named = {toml_name(option): value for option, value in chosen(record).items()}
    try:
        load({"records": [{"source": record.source, "output": record.output, **named}]})
    except ConfigError:
        return False
    return True


def _package(root: Path) -> str:
    """Return the folder of a project's package; the first there is, where none has the project's name."""
    named = _name(root)
    packages = [*_packages(root / "src"), *_packages(root)]
    first = next((package for package in packages if package.name == named), packages[0] if packages else None)
    return f"src/{named or NO_PACKAGE}" if first is None else first.relative_to(root).as_posix()


def _packages(folder: Path) -> Iterator[Path]:
    """Yield the packages in a folder; where there are none, those in namespaces."""
    for pattern in ("*/__init__.py", "*/*/__init__.py"):
        found = [file.parent for file in sorted(folder.glob(pattern))]
        packages = [each for each in found if all(map(_is_package_name, each.relative_to(folder).parts))]
        yield from packages
        if packages:
            break


def _is_package_name(name: str) -> bool:
    return name not in _OTHER_FOLDERS and name.isidentifier()


def _name(root: Path) -> str:
    """Return what a project's package is called, if it is called like the project."""
    import tomllib  # noqa: PLC0415 (only in a project)

    try:
        project = tomllib.loads((root / PROJECT).read_text(encoding="utf-8")).get("project")
    except (OSError, ValueError, RecursionError):
        return ""
    name = project.get("name") if is_dict(project) else None
    return re.sub(r"[-.]+", "_", name).lower() if isinstance(name, str) else ""
