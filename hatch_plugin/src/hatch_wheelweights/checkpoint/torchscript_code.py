"""The code in a TorchScript archive, read as text: which classes are modules, and which lines each of them has.

Knows how `torch.jit.save` prints a class (torch/csrc/jit/serialization/python_print.cpp), and where it lists the names
of its parameters and buffers (`  __parameters__ = ["weight", ]`). None of it is run.
"""

from __future__ import annotations

import io
import re
from typing import TYPE_CHECKING, Final, Generic, TypeVar

if TYPE_CHECKING:
    from collections.abc import Callable, Container

    from hatch_wheelweights.checkpoint.cost import Account
    from hatch_wheelweights.checkpoint.nodes import Opaque
    from hatch_wheelweights.checkpoint.zip import ZipArchive

__all__ = ["Code", "lists_tensors", "tensor_names"]

MAX_CODE: Final = 16 << 20
T = TypeVar("T")

_CLASS: Final = re.compile(r"class (\w+)\((\w+)\):")
_PARAMETERS: Final = "  __parameters__ = ["
_BUFFERS: Final = "  __buffers__ = ["
_NAME: Final = re.compile(r'"([^"]*)"')
_MANGLED: Final = re.compile(r"___torch_mangle_\d+")


class Code(Generic[T]):
    """What the code of an archive says about its classes: what `meaning` makes of the `wanted` lines of each module's.

    `meaning` is given the class's name as well, as it was before it was compiled. All work is charged to the account; a
    file of code is read when one of its classes is first asked for, and a class is looked into when it is.
    """

    def __init__(
        self,
        archive: ZipArchive,
        account: Account,
        wanted: Callable[[str], bool],
        meaning: Callable[[str, list[str]], T],
    ) -> None:
        self._archive = archive
        self._account = account
        self._wanted = wanted
        self._meaning = meaning
        self._lines: dict[str, dict[str, list[str]]] = {}  # by module and by class
        self._known: dict[tuple[str, str], T | None] = {}
        self._left = MAX_CODE

    def __getitem__(self, node: Opaque) -> T | None:
        """Return what is said about the class of an object; None where the code has no such class of modules."""
        key = node.module, node.name
        if key not in self._known:
            if node.module not in self._lines:
                self._lines[node.module] = self._read(node.module)
            lines = self._lines[node.module].get(node.name)
            self._known[key] = None if lines is None else self._meaning(_unmangled(str(node)), lines)
        return self._known[key]

    def _read(self, module: str) -> dict[str, list[str]]:
        """Return the wanted lines of each class of a module."""
        file = f"code/{module.replace('.', '/')}.py"
        if file not in self._archive:
            return {}
        source = self._archive.read(file, limit=self._left)
        self._left -= len(source)
        self._account.charge(len(source) // 64, 8 * len(source))
        lines: dict[str, list[str]] = {}
        name = ""
        for line in io.StringIO(source.decode("utf-8", "replace")):
            if found := _CLASS.match(line):
                name = found[1] if found[2] == "Module" else ""
                lines.update({name: []} if name else {})
            elif name and self._wanted(line):
                lines[name].append(line)
        return lines


def _unmangled(name: str) -> str:
    """Return the name of a class as it was before it was compiled."""
    parts = name.removeprefix("__torch__.").split(".")
    return ".".join(part for part in parts if not _MANGLED.fullmatch(part))


def lists_tensors(line: str) -> bool:
    """Tell whether a line lists the parameters or the buffers of a class."""
    return line.startswith((_PARAMETERS, _BUFFERS))


def tensor_names(lines: list[str]) -> Container[str]:
    """Return the names in such lines; where no line lists buffers (torch < 1.6), every tensor counts as named."""
    if not any(line.startswith(_BUFFERS) for line in lines):
        return _Everything()
    return frozenset(name for line in lines for name in _NAME.findall(line))


class _Everything:
    def __contains__(self, name: object) -> bool:
        return True
