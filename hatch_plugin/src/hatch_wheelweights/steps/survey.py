"""What a checkpoint's tree holds, counted in one pass.

Knows what has children: dicts, lists, tuples and sets, objects of their subclasses, and a pickled `torch.nn.Module`
where its parameters are asked for; of the part that was asked for by name, also any other object.
A tree can be hostile: deep, cyclic, or with nodes shared so often that it has more paths than atoms. So every node is
looked at once, without recursion, and whoever walks the tree afterwards follows only what is worth it.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Final, NamedTuple, TypeGuard

from hatch_wheelweights.checkpoint import Account, Global, LazyTensor, Opaque
from hatch_wheelweights.checkpoint.allowed import is_value
from hatch_wheelweights.errors import CheckpointError
from hatch_wheelweights.steps.objects import is_module, items_of, module_children, part_of_key, parts, size_of_module
from wheelweights.errors import backticked
from wheelweights.plain import is_collection, is_dict

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

__all__ = ["MAX_DEPTH", "Content", "Survey", "by_part", "children_of", "is_foreign"]

MAX_DEPTH: Final = 200
BYTES_PER_PART: Final = 100


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

    `account` is charged for every child that is looked at. `named_tensors` counts the names that tensors have in their
    own containers, each container once: what the file itself spells out. `fault` says where the tree holds itself or is
    too deep; it is an error only for whoever needs that part.
    """

    root: Any
    whole_model: bool
    account: Account
    named_tensors: int = 0
    fault: CheckpointError | None = None
    # By identity; None: still being counted
    _contents: dict[int, Content | None] = field(default_factory=dict[int, Content | None])
    _parts: dict[int, dict[str, Any]] = field(default_factory=dict[int, dict[str, Any]])  # by identity

    def __post_init__(self) -> None:
        below = self.children(self.root)
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

    def children(self, node: Any) -> Iterable[tuple[Any, Any]] | None:
        """Return the names and values that a node holds; None for a leaf. An object that is the root is opened."""
        if self.whole_model and is_module(node):
            self.account.charge(1 + size_of_module(node))
        below = children_of(node, whole_model=self.whole_model)
        is_opened = below is None and node is self.root and isinstance(node, Opaque) and not is_module(node)
        return parts(node) if is_opened else below

    def parts(self, node: Any) -> dict[str, Any]:
        """Return what `by_part` gives, once for each node."""
        if id(node) not in self._parts:
            self._parts[id(node)] = by_part(node, self.account)
        return self._parts[id(node)]

    def _count(self, frames: list[_Frame]) -> _Frame | None:
        """Count the children of the last frame up to the first that has uncounted children itself; return that one."""
        frame = frames[-1]
        for name, child in frame.children:
            self.account.charge(1)
            below = self.children(child)
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


def by_part(node: Any, account: Account) -> dict[str, Any]:
    """Return what a node holds by part of key, whatever it is; nothing for a leaf. Of two names, text comes first."""
    held = parts(node) if isinstance(node, Opaque) else children_of(node, whole_model=False) or ()
    found: dict[str, Any] = {}
    texts: set[str] = set()
    for name, value in held:
        account.charge(1, BYTES_PER_PART)
        part = part_of_key(name)
        if part is not None and (part not in found or (isinstance(name, str) and part not in texts)):
            found[part] = value
            texts.update({part} if isinstance(name, str) else ())
    return found


def children_of(node: Any, *, whole_model: bool) -> Iterable[tuple[Any, Any]] | None:
    """Return the names and values that a container holds; None for a leaf."""
    if is_dict(node):
        return node.items()
    if is_collection(node):
        return enumerate(node)
    if not isinstance(node, Opaque):
        return None
    if is_module(node):
        return module_children(node) if whole_model else None
    return items_of(node)


def is_foreign(value: Any) -> TypeGuard[Global | Opaque]:
    """Tell whether a node is an object, class or function that only the program which saved it could rebuild."""
    return isinstance(value, (Global, Opaque)) and not is_value(value)


def _leaf(value: Any) -> Content:
    if isinstance(value, LazyTensor):
        return TENSOR
    return FOREIGN if is_foreign(value) else PLAIN
