"""TorchScript archives: modules -> a state_dict.

Knows how `torch.jit.save` writes a module (an object of a class `__torch__....` whose state is a dict of attributes),
and where the constant tensors of the code are. What the code beside it says, `torchscript_code` knows.
"""

from __future__ import annotations

from functools import partial
from typing import TYPE_CHECKING, Any, Final, TypeVar

from hatch_wheelweights.checkpoint import pytorch_zip
from hatch_wheelweights.checkpoint.module_classes import ModuleClass, settings_of
from hatch_wheelweights.checkpoint.nodes import Opaque
from hatch_wheelweights.checkpoint.pytorch_zip import Pickled
from hatch_wheelweights.checkpoint.tensors import LazyTensor
from hatch_wheelweights.checkpoint.torchscript_code import Code, lists_tensors, tensor_names
from hatch_wheelweights.checkpoint.values import Ordered, is_dict
from hatch_wheelweights.errors import CheckpointError
from wheelweights.errors import backticked, quoted

if TYPE_CHECKING:
    from collections.abc import Container, Iterator

    from hatch_wheelweights.checkpoint.cost import Account
    from hatch_wheelweights.checkpoint.zip import ZipArchive

__all__ = ["read", "recognises"]

MAX_DEPTH: Final = 200
STEPS_PER_VISIT: Final = 8
BYTES_PER_ATTRIBUTE: Final = 100
BYTES_PER_LEVEL: Final = 64
T = TypeVar("T")


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
    tree = _state_dict(pickled.tree, archive)
    constants = pytorch_zip.read_pickle(archive, "constants.pkl", "constants")
    if constants.tree and tree.attributes is not None:
        tree.attributes["constants"] = constants.tree
    # The code for mobile devices has constants of its own, in the same folder
    unused = constants.unused if "bytecode.pkl" not in archive else []
    return Pickled(
        tree,
        {**pickled.storages, **constants.storages},
        [*pickled.unused, *unused],
        partial(_module_classes, pickled.tree, archive),
    )


def _state_dict(root: Opaque, archive: ZipArchive) -> Ordered:
    """Return the tensors of a module and of those in it."""
    tree = Ordered()
    left_out = tree.attributes = dict[Any, Any]()
    code = Code(archive, archive.account, lists_tensors, lambda _, lines: tensor_names(lines))
    for prefix, module, names in _modules(root, code, archive.account):
        if not is_dict(module.state):  # what its __getstate__ gives has no names
            left_out[prefix.removesuffix(".")] = module
        for name, value in _attributes(module).items():
            if isinstance(value, LazyTensor) and name in names:
                tree[f"{prefix}{name}"] = value
            elif not (isinstance(value, Opaque) and code[value] is not None):
                left_out[f"{prefix}{name}"] = value
    return tree


def _module_classes(root: Opaque, archive: ZipArchive, account: Account) -> dict[str, ModuleClass]:
    """Return the classes of a module and of those in it, with their attributes and what their code spells out."""
    from hatch_wheelweights.checkpoint.torchscript_settings import tells_settings, told  # noqa: PLC0415 (no conversion needs it)

    code = Code(archive, account, tells_settings, partial(told, account=account))
    classes: dict[str, ModuleClass] = {}
    for prefix, module, its in _modules(root, code, account):
        own = ((name, value) for name, value in _attributes(module).items() if not _is_tensor(name, value, its.tensors))
        classes[prefix.removesuffix(".")] = ModuleClass(its.name, settings_of([*its.settings.items(), *own], account))
    return classes


def _is_tensor(name: str, value: Any, tensors: Container[str]) -> bool:
    """Tell whether an attribute is a parameter or a buffer, or None where there could be one."""
    return (value is None and name in tensors) or isinstance(value, LazyTensor | Opaque)


def _modules(root: Opaque, code: Code[T], account: Account) -> Iterator[tuple[str, Opaque, T]]:
    """Yield each module with the prefix of its names and what the code says of its class, in the order of names.

    A module may be shared, and is then visited for each name.
    """
    pending: list[tuple[str, Opaque, frozenset[int]]] = [("", root, frozenset())]
    while pending:
        prefix, module, above = pending.pop()
        if len(above) > MAX_DEPTH:
            raise CheckpointError(f"TorchScript modules are nested more than {MAX_DEPTH} levels deep")
        if id(module) in above:
            raise CheckpointError("a TorchScript module contains itself")
        its = code[module]
        if its is None:
            raise _without_code(module)
        attributes = _attributes(module)
        account.charge(
            STEPS_PER_VISIT + len(attributes) + len(above),
            (len(attributes) + 1) * (2 * len(prefix) + BYTES_PER_ATTRIBUTE) + BYTES_PER_LEVEL * len(above),
        )
        yield prefix, module, its
        children: list[tuple[str, Opaque, frozenset[int]]] = []
        for name, value in attributes.items():
            if "." in str(name):
                raise CheckpointError(f"a TorchScript module has an attribute named {quoted(name)}")
            if isinstance(value, Opaque) and code[value] is not None:
                children.append((f"{prefix}{name}.", value, above | {id(module)}))
        pending.extend(reversed(children))


def _attributes(module: Opaque) -> dict[Any, Any]:
    return module.state if is_dict(module.state) else {}


def _without_code(module: Opaque) -> CheckpointError:
    return CheckpointError(
        f"the code of the TorchScript class {backticked(module)} is missing",
        remedy="Save the state_dict instead: torch.save(model.state_dict(), path)",
    )
