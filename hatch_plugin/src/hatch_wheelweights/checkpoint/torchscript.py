"""TorchScript archives: modules -> a state_dict.

Knows how `torch.jit.save` writes a module (an object of a class `__torch__....` whose state is a dict of attributes),
how the code beside it says which attributes are parameters and buffers (`__parameters__ = ["weight", ]`), and where
the constant tensors of the code are. The code is read as text; none of it is run.
"""

from __future__ import annotations

import io
import re
from typing import TYPE_CHECKING, Any, Final

from hatch_wheelweights.checkpoint import pytorch_zip
from hatch_wheelweights.checkpoint.nodes import Opaque
from hatch_wheelweights.checkpoint.pytorch_zip import Pickled
from hatch_wheelweights.checkpoint.tensors import LazyTensor
from hatch_wheelweights.checkpoint.values import Ordered, is_dict
from hatch_wheelweights.errors import CheckpointError
from wheelweights.errors import backticked, quoted

if TYPE_CHECKING:
    from collections.abc import Container

    from hatch_wheelweights.checkpoint.cost import Account
    from hatch_wheelweights.checkpoint.zip import ZipArchive

__all__ = ["read", "recognises"]

MAX_DEPTH: Final = 200
STEPS_PER_VISIT: Final = 8
BYTES_PER_ATTRIBUTE: Final = 100
BYTES_PER_LEVEL: Final = 64
MAX_CODE: Final = 16 << 20
_CLASS: Final = re.compile(r"class (\w+)\((\w+)\):")
_PARAMETERS: Final = "  __parameters__ = ["
_BUFFERS: Final = "  __buffers__ = ["
_NAME: Final = re.compile(r'"([^"]*)"')


def recognises(archive: ZipArchive) -> bool:
    """Tell by the constants beside the pickle."""
    return "constants.pkl" in archive and "data.pkl" in archive


def read(archive: ZipArchive) -> Pickled:
    """Return the state_dict of the archive's module, under the names of `torch.jit.load(...).state_dict()`.

    Its attributes are what a state_dict leaves out: those of the modules, by their names, which are neither parameters
    nor buffers nor modules, and the `constants` of the code. Return the root as it is where it is no module (torch.jit
    saves nothing else; `torch.package` may).
    """
    pickled = pytorch_zip.read(archive)
    if not isinstance(pickled.tree, Opaque):
        return pickled
    tree = _state_dict(pickled.tree, _Code(archive), archive.account)
    constants = pytorch_zip.read_pickle(archive, "constants.pkl", "constants")
    if constants.tree and tree.attributes is not None:
        tree.attributes["constants"] = constants.tree
    # The code for mobile devices has constants of its own, in the same folder
    unused = constants.unused if "bytecode.pkl" not in archive else []
    return Pickled(tree, {**pickled.storages, **constants.storages}, [*pickled.unused, *unused])


def _state_dict(root: Opaque, code: _Code, account: Account) -> Ordered:
    """Return the tensors of a module and of those in it; a module may be shared, and is then visited for each name."""
    tree = Ordered()
    left_out = tree.attributes = dict[Any, Any]()
    pending: list[tuple[str, Opaque, frozenset[int]]] = [("", root, frozenset())]
    while pending:
        prefix, module, above = pending.pop()
        if len(above) > MAX_DEPTH:
            raise CheckpointError(f"TorchScript modules are nested more than {MAX_DEPTH} levels deep")
        if id(module) in above:
            raise CheckpointError("a TorchScript module contains itself")
        names = code.tensors_of(module)
        attributes = module.state if is_dict(module.state) else {}
        if module.state is not attributes:  # what its __getstate__ gives has no names
            left_out[prefix.removesuffix(".")] = module
        account.charge(
            STEPS_PER_VISIT + len(attributes) + len(above),
            (len(attributes) + 1) * (2 * len(prefix) + BYTES_PER_ATTRIBUTE) + BYTES_PER_LEVEL * len(above),
        )
        children: list[tuple[str, Opaque, frozenset[int]]] = []
        for name, value in attributes.items():
            if "." in str(name):
                raise CheckpointError(f"a TorchScript module has an attribute named {quoted(name)}")
            if isinstance(value, LazyTensor) and name in names:
                tree[f"{prefix}{name}"] = value
            elif isinstance(value, Opaque) and code.is_module(value):
                children.append((f"{prefix}{name}.", value, above | {id(module)}))
            else:
                left_out[f"{prefix}{name}"] = value
        pending.extend(reversed(children))
    return tree


class _Code:
    """What the code of the archive says about its classes."""

    def __init__(self, archive: ZipArchive) -> None:
        self._archive = archive
        self._classes: dict[str, dict[str, Container[str]]] = {}
        self._left = MAX_CODE

    def is_module(self, node: Opaque) -> bool:
        return self._names(node) is not None

    def tensors_of(self, node: Opaque) -> Container[str]:
        """Return the names of the attributes that are parameters and buffers."""
        names = self._names(node)
        if names is None:
            raise CheckpointError(
                f"the code of the TorchScript class {backticked(node)} is missing",
                remedy="Save the state_dict instead: torch.save(model.state_dict(), path)",
            )
        return names

    def _names(self, node: Opaque) -> Container[str] | None:
        file = f"code/{node.module.replace('.', '/')}.py"
        if file not in self._classes:
            self._classes[file] = self._read(file)
        return self._classes[file].get(node.name)

    def _read(self, file: str) -> dict[str, Container[str]]:
        if file not in self._archive:
            return {}
        source = self._archive.read(file, limit=self._left)
        self._left -= len(source)
        self._archive.account.charge(len(source) // 64, 8 * len(source))
        lines: dict[str, list[str]] = {}  # for each class, the lines that list its parameters and its buffers
        name = ""
        for line in io.StringIO(source.decode("utf-8", "replace")):
            if found := _CLASS.match(line):
                name = found[1] if found[2] == "Module" else ""
                lines.update({name: []} if name else {})
            elif name and line.startswith((_PARAMETERS, _BUFFERS)):
                lines[name].append(line)
        return {name: _listed(found) for name, found in lines.items()}


def _listed(lines: list[str]) -> Container[str]:
    """Return the names in the lines; where no line lists buffers (torch < 1.6), every tensor counts as named."""
    if not any(line.startswith(_BUFFERS) for line in lines):
        return _Everything()
    return frozenset(name for line in lines for name in _NAME.findall(line))


class _Everything:
    def __contains__(self, name: object) -> bool:
        return True
