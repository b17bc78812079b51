"""The modules of a model, as the dots of its keys make them, with the class of each where the file names it.

Refuses the keys that no dataclass can have. Knows shapes and dtypes; reads no tensor.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Final, TypeAlias

from hatch_wheelweights.errors import KEY_REMAP, CheckpointError, Do
from wheelweights.errors import backticked

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

    from hatch_wheelweights.checkpoint.module_classes import ModuleClass

__all__ = ["Module", "Part", "Tensor", "modules_of"]

MAX_DEPTH: Final = 64  # modules in one another: Python's parser takes 200 nested brackets, a list in a list two or more
MAX_MODULES: Final = 100_000

_RENAMED: Final = Do("Rename it with ", KEY_REMAP, ".")


@dataclass(frozen=True, slots=True)
class Tensor:
    """A tensor as a record will have it; `source` is its key in the checkpoint."""

    key: str
    shape: tuple[int, ...]
    dtype: str
    source: str


@dataclass(eq=False, slots=True)
class Module:
    """What lies below one name: tensors and modules, in the order of the keys.

    Where the file names classes, `known` is that of the module, `source` its key there, and `silent` are the classes of
    the modules in it that have no tensors, by their names.
    """

    name: str
    above: Module | None = None
    parts: dict[str, Part] = field(default_factory=dict[str, "Part"])
    known: ModuleClass | None = None
    source: str | None = None
    silent: dict[str, ModuleClass] = field(default_factory=dict[str, "ModuleClass"])

    @property
    def key(self) -> str:
        """The names on the way to the module, joined by dots; the model itself has the key ''."""
        names: list[str] = []
        module: Module = self
        while module.above is not None:
            names.append(module.name)
            module = module.above
        return ".".join(reversed(names))

    @property
    def tensors(self) -> dict[str, Tensor]:
        """The tensors directly in the module."""
        return {name: part for name, part in self.parts.items() if isinstance(part, Tensor)}

    @property
    def modules(self) -> dict[str, Module]:
        """The modules directly in the module."""
        return {name: part for name, part in self.parts.items() if isinstance(part, Module)}


Part: TypeAlias = Tensor | Module


def modules_of(tensors: Iterable[Tensor], classes: Mapping[str, ModuleClass], path: str) -> Module:
    """Return the model that tensors make; `classes` are those of its modules by their keys in the checkpoint.

    Raises CheckpointError for keys that no dataclass can have: a tensor with others below its name, a name without
    characters at the top, more than 64 names.
    """
    modules = [Module("")]
    sources: dict[str, Module] = {}
    for tensor in tensors:
        names = _checked_names(tensor.key, path)
        line = _line(modules, names, tensor, path)
        if len(modules) > MAX_MODULES:
            raise CheckpointError(f"expected at most {MAX_MODULES:,} modules, found more", path=path)
        line[-1].parts[names[-1]] = tensor
        if classes:
            _name_classes(line, names, tensor.source.split("."), classes, sources)
    for key, known in classes.items():
        above, _, name = key.rpartition(".")
        if key and key not in sources and above in sources:
            sources[above].silent[name] = known
    return modules[0]


def _line(modules: list[Module], names: list[str], tensor: Tensor, path: str) -> list[Module]:
    """Return the modules on the way to a tensor, the model first; those that are made are added to `modules`."""
    line = modules[:1]
    for name in names[:-1]:
        part = line[-1].parts.get(name)
        if part is None:
            line[-1].parts[name] = part = Module(name, line[-1])
            modules.append(part)
        if isinstance(part, Tensor):
            raise _refused(part.key, f"a tensor of this name, and {backticked(tensor.key)} below it", path)
        line.append(part)
    if names[-1] in line[-1].parts:
        raise _refused(tensor.key, "a tensor of this name, and others below it", path)
    return line


def _checked_names(key: str, path: str) -> list[str]:
    if key.count(".") > MAX_DEPTH:
        raise _refused(
            key, f"modules that are nested {key.count('.'):,} deep, and classes for {MAX_DEPTH} at most", path
        )
    if key.startswith(".") or not key:
        raise _refused(key, "a key that begins with an empty name, which no field of a dataclass can have", path)
    return key.split(".")


def _name_classes(
    line: list[Module],
    names: list[str],
    source: list[str],
    classes: Mapping[str, ModuleClass],
    sources: dict[str, Module],
) -> None:
    """Give the modules on the way to a tensor the classes that the checkpoint has for them, and note them in `sources`.

    Their names there may be others: a rule may have taken some in front away, and a number may be another one.
    """
    for above in range(1, min(len(names), len(source)) + 1):
        here, there = names[-above], source[-above]
        if here != there and not (here.isdigit() and there.isdigit()):
            return
        module = line[len(names) - above]
        if module.source is None:
            module.source = ".".join(source[: len(source) - above])
            module.known = classes.get(module.source)
            sources.setdefault(module.source, module)


def _refused(key: str, found: str, path: str) -> CheckpointError:
    return CheckpointError(
        f"expected keys that a dataclass can have, found {found}", path=path, key=key, found=found, remedy=_RENAMED
    )
