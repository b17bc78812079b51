"""What an inert object holds: a pickled object is a class name, arguments, a state and items, and all of it is data.

Knows how the kinds of object that checkpoints have keep what they hold: subclasses of dict and list in their items,
modules of torch in the dicts of their state (those that `torch.fx` traced, in a dict among their arguments), everything
else in its attributes, or in its arguments. What only the code of a class could compute stays out of reach.
"""

from __future__ import annotations

from itertools import chain
from typing import TYPE_CHECKING, Any, Final, TypeGuard, cast

import numpy as np

from hatch_wheelweights.checkpoint import LazyTensor, Opaque
from hatch_wheelweights.checkpoint.values import is_dict, is_tuple
from wheelweights.plain import is_collection

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

__all__ = [
    "attributes",
    "carried",
    "everything",
    "hidden_buffers",
    "is_module",
    "items_of",
    "module_children",
    "module_parameters",
    "module_settings",
    "part_of_key",
    "parts",
    "rest",
    "size_of_module",
]

_KINDS: Final = ("_parameters", "_buffers", "_modules")


def items_of(node: Opaque) -> Iterable[tuple[Any, Any]] | None:
    """Return the keys and values of an object of a subclass of dict, or the numbered items of one of list.

    None for an object without items: an empty one cannot be told from any other object.
    """
    if not node.items:
        return None
    return node.items if node.keyed else enumerate(node.items)


def attributes(node: Opaque) -> Iterable[tuple[Any, Any]]:
    """Return the names and values of the attributes that the state of an object gives it, `__slots__` included."""
    if is_dict(node.state):
        return node.state.items()
    if is_tuple(node.state, 2):  # (of __dict__, of __slots__), as object.__reduce_ex__ writes it
        plain, slots = node.state
        if (plain is None or is_dict(plain)) and is_dict(slots):  # not copied: many objects may share them
            return chain(plain.items(), slots.items()) if plain and slots else (plain or slots).items()
    return ()


def parts(node: Opaque) -> Iterator[tuple[Any, Any]]:
    """Yield the names and values of all that an object holds, as a key can lead to them.

    Those are its items, what `state_dict()` would name of a module, its attributes, and, of an object that has none of
    these (a named tuple, say, whose pickle does not tell the names of its fields), its arguments by their number.
    """
    has_any = False
    for held in (items_of(node), module_children(node) if is_module(node) else None, attributes(node)):
        for item in held or ():
            has_any = True
            yield item
    if not has_any:
        yield from enumerate(node.args)


def is_module(node: Any) -> TypeGuard[Opaque]:
    """Tell whether a node is a pickled `torch.nn.Module`."""
    return isinstance(node, Opaque) and _module_state(node) is not None


def module_children(module: Opaque) -> Iterator[tuple[Any, Any]]:
    """Yield what torch's `state_dict()` takes of a module, in its order: parameters, persistent buffers, modules."""
    state = _module_state(module) or {}
    hidden = _hidden(state)
    for kind in _KINDS:
        for name, value in state[kind].items():
            if value is not None and not (kind == "_buffers" and name in hidden):
                yield name, value


def size_of_module(module: Opaque) -> int:
    """Return how many names a module has for parameters, buffers and modules, those of None included."""
    state = _module_state(module) or {}
    return sum(len(state[kind]) for kind in _KINDS)


def module_parameters(module: Opaque) -> Iterator[Any]:
    """Yield the parameters of a module itself; None for those that it does without."""
    state = _module_state(module) or {}
    yield from state["_parameters"].values()


def hidden_buffers(module: Opaque) -> Iterator[tuple[Any, Any]]:
    """Yield the buffers that are not persistent: torch's `state_dict()` leaves them out."""
    state = _module_state(module) or {}
    hidden = _hidden(state)
    yield from ((name, value) for name, value in state["_buffers"].items() if name in hidden)


def module_settings(module: Opaque) -> Iterator[tuple[Any, Any]]:
    """Yield the attributes of a module besides its parameters, buffers and modules."""
    state = _module_state(module) or {}
    yield from ((name, value) for name, value in state.items() if name not in _KINDS)


def rest(node: Opaque) -> Iterator[tuple[Any, Any]]:
    """Yield what an object holds besides its items, or, of a module, besides its parameters, buffers and modules."""
    module = _module_state(node)
    if module is not None:
        yield from module_settings(node)
        yield from (("args", arg) for arg in node.args if arg is not module)
        yield from enumerate(node.items)
    else:
        yield from enumerate(node.args)
    if node.keyed:
        yield from ((key, key) for key, _ in node.items if not isinstance(key, str))
    if node.state is not module:
        yield from attributes(node) or (("state", node.state),)


def everything(node: Any) -> Iterator[Any]:
    """Yield all that a node holds in any way, keys and what a tensor carries included."""
    if isinstance(node, Opaque):
        yield from (node.args, node.items, node.state)
    elif isinstance(node, LazyTensor):
        yield node.attributes
    elif is_dict(node):
        yield from (value for _, value in carried(node))
        yield from node
        yield from node.values()
    elif is_collection(node):
        yield from node


def carried(node: LazyTensor | dict[Any, Any]) -> Iterable[tuple[Any, Any]]:
    """Return the names and values of the attributes that a tensor or an OrderedDict has been given."""
    given = getattr(node, "attributes", None)
    if given is None:
        return ()
    return given.items() if is_dict(given) else (("state", given),)


def _module_state(node: Opaque) -> dict[Any, Any] | None:
    """Return the dict of a module's attributes; that of a `torch.fx.GraphModule` is its first argument."""
    for state in (node.state, node.args[0] if node.args else None):
        if is_dict(state) and all(is_dict(state.get(kind)) for kind in _KINDS):
            return state
    return None


def _hidden(state: dict[Any, Any]) -> set[Any] | frozenset[Any]:
    """Return the names of the buffers that are not persistent; never copied: many modules may share them."""
    hidden = state.get("_non_persistent_buffers_set")  # torch < 1.6 has none
    return cast("set[Any]", hidden) if isinstance(hidden, (set, frozenset)) else frozenset()


def part_of_key(name: Any) -> str | None:
    """Return a dict key or list index as a part of a dotted key; None for what cannot be one."""
    if isinstance(name, str):
        return name
    if isinstance(name, bytes):  # Python 2's str
        try:
            return name.decode("utf-8")
        except UnicodeDecodeError:
            return name.decode("latin-1")
    return str(cast("object", name)) if isinstance(name, (int, float, np.integer)) or name is None else None
