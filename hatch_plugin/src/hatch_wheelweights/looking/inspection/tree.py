"""Tensors as a tree of modules, as their keys say it: what each holds, with layers that repeat folded into one.

A key is a path, `layer1.0.conv1.weight`: a module for each part but the last. Siblings whose names count on, and that
hold the same (names, shapes, dtypes, classes and settings), are one node: `0-11`. Keys come from files, so the depth
and the number of nodes are bounded: what goes beyond keeps its dots in one name.
"""

from __future__ import annotations

import re
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Final, NamedTuple, TypeAlias

from hatch_wheelweights.checkpoint import collecting_later
from hatch_wheelweights.looking.inspection.pooling import pooled
from hatch_wheelweights.looking.inspection.tensors import Totals, is_float, sum_of, totals_of

if TYPE_CHECKING:
    from collections.abc import Container, Iterable, Iterator, Mapping, Sequence

    from hatch_wheelweights.checkpoint.module_classes import ModuleClass
    from hatch_wheelweights.looking.inspection.statistics import Statistics
    from hatch_wheelweights.looking.inspection.tensors import TensorFacts

__all__ = ["MAX_DEPTH", "Node", "TreeRow", "module_tree", "rows_to_depth", "tensor_rows"]

MAX_DEPTH: Final = 60
MAX_NODES: Final = 500_000
MAX_CHARACTERS: Final = 64_000_000  # of the keys of all nodes, each of which holds those of its parents
FOLDED_TENSORS: Final = 3  # fewer are shown one by one; of modules, two fold
_NUMBERED: Final = re.compile(r"(.*?)(0|[1-9][0-9]{0,8})", re.DOTALL)


# Not frozen, as other values are, though nothing sets a field: see `LazyTensor`
@dataclass(slots=True, unsafe_hash=True)
class Node:
    """A module, or a tensor (then `tensor` is set, and there are no children).

    `name` is the last part of its key; that of a folded node names all that it stands for, `0-11`, of which there are
    `count`. `keys` are those of all modules or tensors that it stands for, which are more where a parent is folded. The
    class and the tensor are those of the first; `totals` and `statistics` are of all, `each` are the totals of one.
    `source` is the key that it has in the file, where renaming has changed more than its parents' names; `renamed`
    says of how many of `keys` this is true.
    """

    name: str
    keys: tuple[str, ...]
    totals: Totals
    each: Totals
    children: tuple[Node, ...] = ()
    count: int = 1
    tensor: TensorFacts | None = None
    module: ModuleClass | None = None
    source: str | None = None
    renamed: int = 0
    statistics: Statistics | None = None

    @property
    def key(self) -> str:
        """The whole key, of the first if it stands for several."""
        return self.keys[0]

    @property
    def is_leaf_module(self) -> bool:
        """Whether this is a module that holds nothing but tensors, or nothing."""
        return self.tensor is None and all(child.tensor is not None for child in self.children)

    @property
    def times(self) -> int:
        """How often this is there because parents are folded: each time it stands for `count`."""
        return len(self.keys) // self.count

    def below(self) -> Iterator[Node]:
        """Yield the nodes below this one."""
        waiting = list(self.children)
        while waiting:
            node = waiting.pop()
            yield node
            waiting.extend(node.children)


def module_tree(tensors: Iterable[TensorFacts], classes: Mapping[str, ModuleClass] | None = None) -> Node:
    """Return the root of the tree of modules; `classes` are by the keys that modules have in the file."""
    listed = list(tensors)
    depth = _depth(listed)
    with collecting_later():
        sources = _sources(listed, depth)
        root = _gathered(listed, classes or {}, sources, depth)
        return _Tree(sources, has_statistics=any(tensor.statistics is not None for tensor in listed)).of(root)


def _gathered(
    tensors: Iterable[TensorFacts],
    classes: Mapping[str, ModuleClass],
    sources: Mapping[str, str | None],
    depth: int,
) -> _Module:
    root = _Module("")
    keys = {source: key for key, source in sources.items() if source is not None}
    for source, module in classes.items():  # first: modules without tensors stand where the file has them
        root.add_class(_renamed(source, keys), module, depth)
    for tensor in tensors:
        root.add_tensor(tensor, depth)
    return root


def _depth(tensors: Sequence[TensorFacts]) -> int:
    """Return how many parts of their keys become nodes, so that these stay in proportion to the file."""
    characters = sum(len(tensor.key) + len(tensor.source) for tensor in tensors)
    return max(1, min(MAX_DEPTH, MAX_NODES // max(1, len(tensors)), MAX_CHARACTERS // max(1, characters)))


class TreeRow(NamedTuple):
    """A node as a line shows it: its level, its name with those of the parents that hold nothing else, and itself.

    `source` is that of the node, or what follows from that of such a parent.
    """

    level: int
    name: str
    node: Node
    is_open: bool
    source: str | None


def rows_to_depth(
    root: Node, depth: int, *, leaves: bool = True, apart: Container[str] = frozenset()
) -> Iterator[TreeRow]:
    """Yield the nodes below a root, in order, down to so many levels.

    Without `leaves`, modules that hold nothing but tensors stay closed: a line has room for those. Modules whose keys
    are in `apart` have a line of their own, even if they hold nothing but one other.
    """
    waiting = [(0, child) for child in reversed(root.children)]
    while waiting:
        level, node = waiting.pop()
        name, source = node.name, node.source
        while _is_link(node) and node.key not in apart:
            node = node.children[0]
            name = f"{name}.{node.name}"
            source = node.source or (source and _joined(source, node.name))
        is_open = level + 1 < depth and bool(node.children) and (leaves or not node.is_leaf_module)
        yield TreeRow(level, name, node, is_open, source)
        if is_open:
            waiting.extend((level + 1, child) for child in reversed(node.children))


def tensor_rows(tensors: Iterable[TensorFacts]) -> list[TreeRow]:
    """Return tensors as rows of a list, each under its whole key."""
    leaves = (_leaf(tensor.key, tensor, _other_source(tensor)) for tensor in tensors)
    return [TreeRow(0, leaf.name, leaf, is_open=False, source=leaf.source) for leaf in leaves]


def _leaf(name: str, tensor: TensorFacts, source: str | None) -> Node:
    totals, statistics = totals_of(tensor), tensor.statistics
    renamed = int(source is not None)
    return Node(name, (tensor.key,), totals, totals, (), 1, tensor, None, source, renamed, statistics)


def _other_source(tensor: TensorFacts) -> str | None:
    return None if tensor.source == tensor.key else tensor.source


def _is_link(node: Node) -> bool:
    """Tell whether a module holds nothing but one other module, of which nothing else is known."""
    return len(node.children) == 1 and node.children[0].tensor is None and node.count == 1 and node.module is None


# How keys become nodes


_Place: TypeAlias = "tuple[str, bool]"  # a name in a module, and whether it is a tensor's: both can have one name


@dataclass(slots=True)
class _Module:
    """A module that is being gathered; what it holds is in the file's order."""

    key: str
    children: dict[_Place, _Module | TensorFacts] = field(default_factory=dict["_Place", "_Module | TensorFacts"])
    module: ModuleClass | None = None

    def below(self, parts: Sequence[str]) -> _Module:
        module = self
        for part in parts:
            inner = module.children.get((part, False))
            if not isinstance(inner, _Module):
                inner = _Module(part if module is self else f"{module.key}.{part}")
                module.children[part, False] = inner
            module = inner
        return module

    def add_tensor(self, tensor: TensorFacts, depth: int) -> None:
        *above, name = tensor.key.split(".", depth - 1)
        self.below(above).children[name, True] = tensor

    def add_class(self, key: str, module: ModuleClass, depth: int) -> None:
        parts = key.split(".", depth) if key else []
        if len(parts) <= depth:
            self.below(parts).module = module


def _joined(prefix: str, name: str) -> str:
    return f"{prefix}.{name}" if prefix else name


class _Tree:
    """Makes nodes of modules; equal ones are told by a number for each shape of a subtree."""

    def __init__(self, sources: Mapping[str, str | None], *, has_statistics: bool) -> None:
        self.sources = sources
        self.has_statistics = has_statistics
        self.numbers: dict[object, int] = {}

    def of(self, root: _Module) -> Node:
        node, _ = self._module("", root, self.sources.get(""))
        return node

    def _module(self, name: str, module: _Module, source: str | None) -> tuple[Node, int]:
        shown = None if source is None or source == module.key else source
        made = [self._child(module, name, child) for name, child in _in_order(module)]
        folded = list(_folded(made)) if len(made) > 1 else made
        children = tuple(node for node, _ in folded)
        totals = sum_of(node.totals for node in children)
        statistics = pooled(map(_pooled_statistics, children)) if self.has_statistics else None
        described = None if module.module is None else (module.module.name, repr(module.module.settings))
        number = self._number((described, tuple((node.name, number) for node, number in folded)))
        renamed = int(shown is not None)
        node = Node(name, (module.key,), totals, totals, children, 1, None, module.module, shown, renamed, statistics)
        return node, number

    def _child(self, module: _Module, name: str, child: _Module | TensorFacts) -> tuple[Node, int]:
        above = self.sources.get(module.key) if module.key else None  # no line shows the root's
        expected = None if above is None else _joined(above, name)
        if isinstance(child, _Module):
            source = self.sources.get(child.key)
            return self._module(name, child, None if source == expected else source)
        source = None if child.source == expected else _other_source(child)
        return _leaf(name, child, source), self._tensor(child)

    def _tensor(self, tensor: TensorFacts) -> int:
        said = (str(tensor.fault), *map(str, tensor.notes)) if tensor.fault or tensor.notes else ()
        tied = tensor.tied_to is None
        return self._number((tensor.shape, tensor.dtype, tensor.new_dtype, tensor.kept, tied, said))

    def _number(self, form: object) -> int:
        return self.numbers.setdefault(form, len(self.numbers))


def _in_order(module: _Module) -> list[tuple[str, _Module | TensorFacts]]:
    """Return the children in the file's order; numbers in theirs, because some writers sort them as texts.

    Of a module whose class is known, its own tensors come first, as in torch's state_dict.
    """
    children = [(name, child) for (name, _), child in module.children.items()]
    if all(name.isdecimal() and _NUMBERED.fullmatch(name) for name, _ in children):
        children.sort(key=lambda child: int(child[0]))
    elif module.module is not None:
        children.sort(key=lambda child: isinstance(child[1], _Module))
    return children


def _folded(nodes: Iterable[tuple[Node, int]]) -> Iterator[tuple[Node, int]]:
    """Yield nodes, those that count on and are equal as one."""
    run: list[tuple[Node, int]] = []
    for node, number in nodes:
        if run and not (run[-1][1] == number and _counts_on(run[-1][0].name, node.name)):
            yield from _one_of(run)
            run = []
        run.append((node, number))
    yield from _one_of(run)


def _one_of(run: list[tuple[Node, int]]) -> Iterator[tuple[Node, int]]:
    if len(run) < (FOLDED_TENSORS if run and run[0][0].tensor is not None else 2):
        yield from run
        return
    first, number = run[0]
    last = _NUMBERED.fullmatch(run[-1][0].name)
    whole = _merged([node for node, _ in run])
    yield replace(whole, name=f"{first.name}-{last[2] if last else ''}", count=len(run)), number


def _pooled_statistics(node: Node) -> Statistics | None:
    """Return what a node adds to those of its module: nothing if it is integers, which ids and counts are."""
    return None if node.tensor is not None and not is_float(node.tensor) else node.statistics


def _merged(nodes: Sequence[Node]) -> Node:
    """Return the first of equal nodes, with the keys, totals and statistics of all of them, and so for its children."""
    return replace(
        nodes[0],
        keys=tuple(key for node in nodes for key in node.keys),
        totals=sum_of(node.totals for node in nodes),
        children=tuple(_merged(children) for children in zip(*(node.children for node in nodes), strict=True)),
        renamed=sum(node.renamed for node in nodes),
        statistics=pooled(node.statistics for node in nodes),
    )


def _counts_on(name: str, following: str) -> bool:
    before, after = _NUMBERED.fullmatch(name), _NUMBERED.fullmatch(following)
    return bool(before and after and before[1] == after[1] and int(before[2]) + 1 == int(after[2]))


# What renaming has changed


def _sources(tensors: Sequence[TensorFacts], depth: int) -> dict[str, str | None]:
    """Return the key in the file of every module, as its tensors say it; None where they do not agree."""
    if all(tensor.key == tensor.source for tensor in tensors):
        return {}
    found: dict[str, str | None] = {}
    for tensor in tensors:
        keys, sources = tensor.key.split("."), tensor.source.split(".")
        while len(keys) <= depth and keys and sources and keys[-1] == sources[-1]:
            keys.pop()
            sources.pop()
            key, source = ".".join(keys), ".".join(sources)
            if found.setdefault(key, source) != source:
                found[key] = None
    return found


def _renamed(source: str, keys: Mapping[str, str]) -> str:
    """Return the key that a module of the file has now: that of the nearest one above it whose tensors say it."""
    parts = source.split(".") if source and keys else []
    for length in range(len(parts), -1, -1):
        above = ".".join(parts[:length])
        if above in keys:
            return ".".join(filter(None, [keys[above], *parts[length:]]))
    return source
