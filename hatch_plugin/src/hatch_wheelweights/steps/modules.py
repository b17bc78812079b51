"""The classes of pickled modules, by the names that they have in a model: what `inspect` shows of a whole model.

Knows how torch pickles a `torch.nn.Module`, its settings being attributes of its state.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final

from hatch_wheelweights.checkpoint import Opaque
from hatch_wheelweights.checkpoint.module_classes import ModuleClass, settings_of
from hatch_wheelweights.steps.objects import is_module, module_settings, part_of_key, parts, size_of_module
from hatch_wheelweights.steps.survey import MAX_DEPTH, by_part, children_of

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Mapping

    from hatch_wheelweights.checkpoint import Account

__all__ = ["module_classes"]

STEPS_PER_MODULE: Final = 8
BYTES_PER_MODULE: Final = 400
CHARACTERS_PER_STEP: Final = 64
_GRAPH: Final = "torch.fx.graph_module"


def module_classes(
    tree: Any, top_level_key: str | Iterable[str] | None, told: Mapping[str, ModuleClass], account: Account
) -> dict[str, ModuleClass]:
    """Return the classes of the modules below a (nested) key of a checkpoint, by their keys below it, outermost first.

    "" is what the key leads to. `told` are those that the container says, by their keys in the whole. A module that has
    several keys is there under each; one that holds itself is not followed. Nothing is below a key that is not there.
    """
    keys = [top_level_key] if isinstance(top_level_key, str) else [str(key) for key in top_level_key or ()]
    classes = _below(keys, told, account)
    node = tree
    for key in keys:
        below = by_part(node, account)
        if key not in below:
            return classes
        node = below[key]
    known: dict[int, ModuleClass] = {}  # by identity
    for name, module in _modules(node, account):
        account.charge(STEPS_PER_MODULE, BYTES_PER_MODULE + 2 * len(name))
        if id(module) not in known:
            known[id(module)] = _class_of(module, account)
        classes[name] = known[id(module)]
    return classes


def _below(keys: list[str], told: Mapping[str, ModuleClass], account: Account) -> dict[str, ModuleClass]:
    account.charge(len(told))
    if not keys:
        return dict(told)
    part = ".".join(keys)
    within = f"{part}."
    return {name[len(within) :]: its for name, its in told.items() if name == part or name.startswith(within)}


def _class_of(module: Opaque, account: Account) -> ModuleClass:
    if module.module == _GRAPH:  # it is made by a function, and its attributes are those of the tracer
        return ModuleClass(f"{_GRAPH}.GraphModule", {})
    account.charge(1, 2 * (len(module.module) + len(module.name)))
    return ModuleClass(str(module), settings_of(module_settings(module), account))


@dataclass(slots=True)
class _Frame:
    prefix: str
    node: Any
    children: Iterator[tuple[Any, Any]]


def _modules(root: Any, account: Account) -> Iterator[tuple[str, Opaque]]:
    """Yield each module at and below a node with its key, depth first and in order; an object that is it is opened."""
    if is_module(root):
        yield "", root
    below = _children(root, account)
    frames = [_Frame("", root, iter(below or (parts(root) if isinstance(root, Opaque) else ())))]
    entered = {id(root)}
    while frames:
        inner = _next_container(frames[-1], account)
        if inner is None:
            entered.remove(id(frames.pop().node))
        elif id(inner.node) not in entered and len(frames) < MAX_DEPTH:
            if is_module(inner.node):
                yield inner.prefix[:-1], inner.node
            frames.append(inner)
            entered.add(id(inner.node))


def _next_container(frame: _Frame, account: Account) -> _Frame | None:
    """Return the next child that has children itself; None where there is no other."""
    for name, child in frame.children:
        account.charge(1)
        below = _children(child, account)
        part = part_of_key(name) if below is not None else None
        if below is not None and part is not None:
            key = f"{frame.prefix}{part}."
            account.charge(len(key) // CHARACTERS_PER_STEP)
            return _Frame(key, child, iter(below))
    return None


def _children(node: Any, account: Account) -> Iterable[tuple[Any, Any]] | None:
    if is_module(node):
        account.charge(size_of_module(node))
    return children_of(node, whole_model=True)
