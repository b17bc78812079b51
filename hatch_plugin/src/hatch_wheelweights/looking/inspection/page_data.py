"""The tensors of a file and their tree, as the script of a page reads them: columns instead of objects, texts once.

Keys are written as how many characters each shares with the one before, and the rest; shapes, dtypes and classes as
places in a list; histograms as one digit for each bin. `web/model.js` makes objects of them.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, field
from os.path import commonprefix
from typing import TYPE_CHECKING, Any, Final

from hatch_wheelweights.looking.inspection.findings import findings
from hatch_wheelweights.looking.inspection.tensors import totals_of
from hatch_wheelweights.looking.inspection.tree_words import class_text
from hatch_wheelweights.looking.texts import key_text, shape_text, shortened
from hatch_wheelweights.looking.words import SHOWN_RECORDS, dtype_text, note
from wheelweights.errors import printable

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Sequence

    from hatch_wheelweights.checkpoint.module_classes import ModuleClass
    from hatch_wheelweights.errors import Spelling
    from hatch_wheelweights.looking.inspection.facts import FileFacts
    from hatch_wheelweights.looking.inspection.statistics import Statistics
    from hatch_wheelweights.looking.inspection.tensors import TensorFacts
    from hatch_wheelweights.looking.inspection.tree import Node

__all__ = ["Group", "groups_of", "page_data"]

COUNTED: Final = 1  # flags of a tensor: its values and bytes are in the totals
KEPT: Final = 2
PARAMETER: Final = 4
HEIGHTS: Final = "0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz-_"
EXACT: Final = 1 << 53  # a larger integer is a text: the numbers of JavaScript are floats
NAMES: Final = ("zeros", "nans", "infinities", "minimum", "maximum", "mean", "std", "rows", "deadRows", "values")


@dataclass(frozen=True, slots=True)
class Group:
    """Tensors that have a tree of their own: those of a state_dict, of a record in a wheel, or what is beside them."""

    name: str
    tensors: Sequence[TensorFacts]
    tree: Node
    state_dicts: frozenset[str] = frozenset()


def groups_of(facts: FileFacts) -> Iterator[Group]:
    """Yield what the page shows as trees; a group without tensors and classes is none."""
    if facts.tensors or facts.tree.children:
        yield Group("state_dict", facts.tensors, facts.tree)
    if facts.beside:
        yield Group(
            "beside the state_dict" if facts.tensors else "in the file",
            facts.beside,
            facts.beside_tree,
            frozenset(facts.state_dicts),
        )
    for record in facts.records[:SHOWN_RECORDS]:
        yield Group(key_text(record.path.removeprefix(f"{facts.path}/")), record.tensors, record.tree)


def page_data(groups: Iterable[Group], spelling: Spelling) -> dict[str, Any]:
    """Return plain values that JSON holds; `spelling` says how notes write options."""
    return {"statistics": NAMES, "groups": [_group(group, spelling) for group in groups]}


def _group(group: Group, spelling: Spelling) -> dict[str, Any]:
    tensors = group.tensors
    shapes, dtypes, classes = _Places(), _Places(), _Places()
    keys = [key_text(tensor.key) for tensor in tensors]
    sources = [key_text(tensor.source) for tensor in tensors]
    notes = {i: text for i, tensor in enumerate(tensors) if (text := note(tensor, spelling))}
    described: list[Any] = []
    nodes = _nodes(group, classes, described)
    return {
        "name": group.name,
        "keys": _unshared(keys),
        "sources": None if sources == keys else _unshared(sources),
        "shape": [shapes.of(shape_text(tensor.shape)) for tensor in tensors],
        "shapes": list(shapes.found),
        "dtype": [dtypes.of(dtype_text(tensor)) for tensor in tensors],
        "dtypes": list(dtypes.found),
        "bytes": [_integer(tensor.nbytes) for tensor in tensors],
        "flags": "".join(str(_flags(tensor)) for tensor in tensors),
        "notes": notes,
        "faults": [i for i, tensor in enumerate(tensors) if tensor.fault is not None],
        "findings": _findings(tensors),
        "statistics": _statistics([tensor.statistics for tensor in tensors]),
        "classes": described,
        "nodes": nodes,
    }


def _findings(tensors: Sequence[TensorFacts]) -> dict[int, list[str]]:
    """Return what is odd about the values of tensors, by their places."""
    places = {tensor.key: i for i, tensor in enumerate(tensors)}
    found: dict[int, list[str]] = {}
    for finding in findings(tensors):
        found.setdefault(places[finding.key], []).append(finding.text)
    return found


@dataclass(slots=True)
class _Places:
    """Numbers texts by their first appearance."""

    found: dict[str, int] = field(default_factory=dict[str, int])

    def of(self, value: str) -> int:
        return self.found.setdefault(value, len(self.found))


def _unshared(texts: Iterable[str]) -> dict[str, list[Any]]:
    """Return texts without what each shares with the one before; lengths are those of JavaScript, in UTF-16."""
    shared, rest, last = list[int](), list[str](), ""
    for text in texts:
        prefix = commonprefix((last, text))  # noqa: RUF071 (not of paths)
        shared.append(len(prefix.encode("utf-16-le")) // 2)
        rest.append(text[len(prefix) :])
        last = text
    return {"shared": shared, "rest": rest}


def _flags(tensor: TensorFacts) -> int:
    totals = totals_of(tensor)
    counted = tensor.kept and tensor.tied_to is None and tensor.nbytes is not None
    return COUNTED * counted + KEPT * tensor.kept + PARAMETER * (totals.parameters > 0)


# Statistics


def _statistics(found: Sequence[Statistics | None]) -> dict[str, list[Any]] | None:
    """Return a column for each statistic, with null where there is none."""
    if not any(found):
        return None
    empty: tuple[Any, ...] = (None,) * len(NAMES)
    rows = (empty if each is None else _row(each) for each in found)
    columns = dict(zip(NAMES, map(list, zip(*rows, strict=True)), strict=True))
    return {**columns, "histogram": ["" if each is None else _heights(each.histogram) for each in found]}


def _row(found: Statistics) -> tuple[Any, ...]:
    """Return statistics in the order of NAMES."""
    counts = (found.zeros, found.nans, found.infinities)
    measured = (found.minimum, found.maximum, found.mean, found.std)
    rows = (found.rows, found.dead_rows, found.values)
    return (*map(_integer, counts), *map(_measured, measured), *map(_integer, rows))


def _integer(value: int | None) -> int | str | None:
    return value if value is None or -EXACT < value < EXACT else str(value)


def _measured(value: float | None) -> float | int | str | None:
    """Return a statistic with five digits; an integer, such as the least of a tensor of integers, with all."""
    if value is None or isinstance(value, int):
        return _integer(value)
    if not math.isfinite(value):
        return str(value).replace("inf", "Infinity")  # as JavaScript writes it, and JSON cannot
    short = float(f"{value:.5g}")
    return int(short) if short.is_integer() and abs(short) < EXACT else short


def _heights(histogram: Sequence[int]) -> str:
    """Return a digit for each bin; only an empty one has 0."""
    highest = max(histogram, default=0)
    last = len(HEIGHTS) - 1
    return "".join(HEIGHTS[-(-count * last // highest)] for count in histogram) if highest else ""


# The tree


def _nodes(group: Group, classes: _Places, described: list[Any]) -> dict[str, Any]:
    """Return the nodes below the root, each before those below it: a column of each fact, those that are rare by node.

    A leaf is the place of its tensor, -1 for a module; `copies` are those of folded ones. What a module counts follows
    from its tensors.
    """
    places = {tensor.key: i for i, tensor in enumerate(group.tensors)}
    columns: dict[str, Any] = {
        "depths": [], "parts": [], "leaves": [], "labels": {}, "counts": {}, "copies": {}, "classes": {}, "sources": {},
        "renamed": {}, "marks": {}, "statistics": {},
    }  # fmt: skip
    for i, (depth, node) in enumerate(_below(group.tree)):
        part = _part(node)
        is_single = node.tensor is not None and len(node.keys) == 1  # its statistics are those of the tensor
        columns["depths"].append(depth)
        columns["parts"].append(part)
        columns["leaves"].append(-1 if node.tensor is None else places[node.key])
        rare = {
            "labels": key_text(node.name) if key_text(node.name) != part else None,
            "counts": node.count if node.count > 1 else None,
            "copies": [places[key] for key in node.keys] if node.tensor and len(node.keys) > 1 else None,
            "classes": None if node.module is None else _class(node.module, classes, described),
            "sources": None if node.source is None else key_text(node.source),
            "renamed": node.renamed if node.renamed and node.source is None else None,
            "marks": "a state_dict" if node.key in group.state_dicts and not node.tensor else None,
            "statistics": None if node.statistics is None or is_single else _row(node.statistics),
        }
        for name, value in rare.items():
            if value is not None:
                columns[name][i] = value
    if group.tree.statistics is not None:
        columns["below"] = _row(group.tree.statistics)
    if group.tree.module is not None:
        columns["top"] = _class(group.tree.module, classes, described)
    return columns


def _below(root: Node) -> Iterator[tuple[int, Node]]:
    """Yield the nodes below a root, each before those below it, with their depths."""
    waiting = [(0, child) for child in reversed(root.children)]
    while waiting:
        depth, node = waiting.pop()
        yield depth, node
        waiting.extend((depth + 1, child) for child in reversed(node.children))


def _part(node: Node) -> str:
    """Return the last part of a node's key, of the first copy if it stands for several."""
    if node.count == 1:
        return key_text(node.name)
    first, _, _ = node.name.rpartition("-")
    return key_text(first)


def _class(module: ModuleClass, classes: _Places, described: list[Any]) -> int:
    """Return the place of a class with its settings, which many modules can share."""
    settings = [[key_text(name), _setting(value)] for name, value in module.settings.items()]
    form = (printable(shortened(module.name)), settings)
    place = classes.of(repr(form))
    if place == len(described):
        described.append({"name": form[0], "text": shortened(class_text(module)), "settings": settings})
    return place


def _setting(value: object) -> str:
    return printable(shortened(value if isinstance(value, str) else repr(value)))
