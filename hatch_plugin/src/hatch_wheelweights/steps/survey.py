"""What a checkpoint's tree holds, counted in one pass.

Knows what has children: dicts, lists, tuples, sets, and a pickled `torch.nn.Module` where its parameters are asked for.
A tree can be hostile: deep, cyclic, or with nodes shared so often that it has more paths than atoms. So every node is
looked at once, without recursion, and whoever walks the tree afterwards follows only what is worth it.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Final, NamedTuple

import numpy as np

from hatch_wheelweights.checkpoint import Global, LazyTensor, Opaque
from hatch_wheelweights.checkpoint.allowed import is_value
from hatch_wheelweights.errors import CheckpointError
from wheelweights.errors import backticked

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

__all__ = ["MAX_DEPTH", "Content", "Survey", "children_of", "is_foreign", "is_module", "part_of_key"]

MAX_DEPTH: Final = 200


class Content(NamedTuple):
    """What stands below a node, counted once per path: tensors, nodes of unknown classes, plain values."""

    tensors: int = 0
    foreign: int = 0
    plain: int = 0

    def plus(self, other: Content) -> Content:
        """Return the sum of both."""
        return Content(self.tensors + other.tensors, self.foreign + other.foreign, self.plain + other.plain)


NOTHING: Final = Content()
TENSOR: Final = Content(tensors=1)
FOREIGN: Final = Content(foreign=1)
PLAIN: Final = Content(plain=1)


@dataclass(slots=True)
class _Frame:
    name: Any
    node: Any
    children: Iterator[tuple[Any, Any]]
    content: Content = NOTHING


@dataclass
class Survey:
    """The content of every node at and below `root`; modules have children where `whole_model` is true.

    `named_tensors` counts the names that tensors have in their own containers, each container once: what the file
    itself spells out. `fault` says where the tree holds itself or is too deep; it is an error only for whoever needs
    that part.
    """

    root: Any
    whole_model: bool
    named_tensors: int = 0
    fault: CheckpointError | None = None
    _contents: dict[int, Content | None] = field(default_factory=dict)  # by identity; None: still being counted

    def __post_init__(self) -> None:
        below = children_of(self.root, whole_model=self.whole_model)
        if below is None:
            return
        frames = [_Frame("", self.root, iter(below))]
        self._contents[id(self.root)] = None
        while frames:
            if inner := self._count(frames):
                frames.append(inner)
                continue
            done = frames.pop()
            self._contents[id(done.node)] = done.content
            if frames:
                frames[-1].content = frames[-1].content.plus(done.content)

    def __getitem__(self, node: Any) -> Content:
        """Return what is below a node, or what a leaf counts as."""
        return self._contents.get(id(node)) or _leaf(node)

    def _count(self, frames: list[_Frame]) -> _Frame | None:
        """Count the children of the last frame up to the first that has uncounted children itself; return that one."""
        frame = frames[-1]
        for name, child in frame.children:
            below = children_of(child, whole_model=self.whole_model)
            if below is None:
                leaf = _leaf(child)
                self.named_tensors += leaf.tensors
                frame.content = frame.content.plus(leaf)
            elif id(child) not in self._contents and len(frames) < MAX_DEPTH:
                self._contents[id(child)] = None
                return _Frame(name, child, iter(below))
            else:
                known = self._contents.get(id(child))
                if known is None:
                    self._set_fault([*(above.name for above in frames[1:]), name], cyclic=id(child) in self._contents)
                frame.content = frame.content.plus(known or NOTHING)
        return None

    def _set_fault(self, names: list[Any], *, cyclic: bool) -> None:
        place = backticked(".".join(str(part_of_key(name)) for name in names[:8]))
        fact = "holds itself" if cyclic else f"is part of a tree more than {MAX_DEPTH:,} levels deep"
        self.fault = self.fault or CheckpointError(
            f"the value at {place} {fact}", remedy="Save a plain dict of tensors in torch."
        )


def children_of(node: Any, *, whole_model: bool) -> Iterable[tuple[Any, Any]] | None:
    """Return the names and values that a node holds; None for a leaf."""
    if isinstance(node, dict):
        return node.items()
    if isinstance(node, (list, tuple, set, frozenset)):
        return enumerate(node)
    return _module_children(node) if whole_model and is_module(node) else None


def is_foreign(value: Any) -> bool:
    """Tell whether a node is an object, class or function that only the program which saved it could rebuild."""
    return isinstance(value, (Global, Opaque)) and not is_value(value)


def is_module(node: Any) -> bool:
    """Tell whether a node is a pickled `torch.nn.Module`."""
    state = node.state if isinstance(node, Opaque) else None
    return isinstance(state, dict) and all(isinstance(state.get(kind), dict) for kind in _MODULE_KINDS)


_MODULE_KINDS: Final = ("_parameters", "_buffers", "_modules")


def _module_children(module: Opaque) -> Iterator[tuple[Any, Any]]:
    """Yield what torch's `state_dict()` takes of a module, in its order: parameters, persistent buffers, modules."""
    state = module.state
    hidden = state.get("_non_persistent_buffers_set")  # torch < 1.6 has none
    skipped = hidden if isinstance(hidden, (set, frozenset)) else ()  # never copied: many modules may share it
    for kind in _MODULE_KINDS:
        for name, value in state[kind].items():
            if value is not None and not (kind == "_buffers" and name in skipped):
                yield name, value


def part_of_key(name: Any) -> str | None:
    """Return a dict key or list index as a part of a dotted key; None for what cannot be one."""
    if isinstance(name, str):
        return name
    if isinstance(name, bytes):  # Python 2's str
        try:
            return name.decode("utf-8")
        except UnicodeDecodeError:
            return name.decode("latin-1")
    if isinstance(name, (int, float, np.integer)) or name is None:
        return str(name)
    return None


def _leaf(value: Any) -> Content:
    if isinstance(value, LazyTensor):
        return TENSOR
    return FOREIGN if is_foreign(value) else PLAIN
