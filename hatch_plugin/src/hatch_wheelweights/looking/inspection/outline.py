"""What a checkpoint holds beside its state_dict: all of it, by the keys that lead there.

Containers are entered where there are tensors below; everything else is one value, described in a few words. A tree can
be hostile: each node is entered once, and what is gathered is bounded.
"""

from __future__ import annotations

from collections.abc import Iterable, Sized
from dataclasses import dataclass, field
from itertools import islice
from typing import Any, Final

import numpy as np

from hatch_wheelweights.checkpoint import Account, Global, LazyTensor, Opaque
from hatch_wheelweights.checkpoint.values import type_name
from hatch_wheelweights.looking.texts import dtype_name, shape_text, shortened
from hatch_wheelweights.steps.objects import is_module, part_of_key, parts
from hatch_wheelweights.steps.survey import Survey, children_of
from wheelweights.errors import backticked, counted, quoted
from wheelweights.plain import is_collection

__all__ = ["Distinct", "Outline", "holds", "outline"]

MAX_ENTRIES: Final = 10_000
MAX_VISITED: Final = 200_000
MAX_DEPTH: Final = 40
MAX_KEY: Final = 4_000  # characters
SHOWN_VALUES: Final = 4  # of a container without tensors
SHOWN_CHARACTERS: Final = 60  # ... and of what these say


@dataclass
class Outline:
    """What is in a tree besides one part of it: tensors by their keys, and what else there is, in words.

    `is_cut` is set where there is more than is gathered.
    """

    tensors: dict[str, LazyTensor] = field(default_factory=dict[str, LazyTensor])
    values: dict[str, str] = field(default_factory=dict[str, str])
    is_cut: bool = False


def outline(tree: Any, without: tuple[str, ...] | None, account: Account) -> Outline:
    """Return what a checkpoint's tree holds; not what is at the path `without`, where there is one."""
    survey = Survey(tree, whole_model=True, account=account)
    found = Outline()
    walk = _Walk(survey, found, without)
    if _children(tree) is None:
        walk.leaf("", tree)
    else:
        walk.enter(tree, (), "", 0)
    return found


class Distinct:
    """Numbers a key from the second time on: 1 and "1" are two keys of a dict."""

    def __init__(self) -> None:
        self._times: dict[str, int] = {}

    def of(self, key: str) -> str:
        """Return the key as it is told apart from those before."""
        told = key
        while told in self._times:
            self._times[key] += 1
            told = f"{key} ({self._times[key]})"
        self._times[told] = 1
        return told


@dataclass
class _Walk:
    survey: Survey
    found: Outline
    without: tuple[str, ...] | None
    visited: int = 0
    entered: dict[int, str] = field(default_factory=dict[int, str])
    distinct: Distinct = field(default_factory=Distinct)

    def enter(self, node: Any, path: tuple[str, ...] | None, prefix: str, depth: int) -> None:
        """Gather what a container holds; `path` is None once it has left that of the part which is left out."""
        self.entered[id(node)] = prefix.removesuffix(".")
        for name, value in _children(node) or ():
            self.visited += 1
            if self.visited > MAX_VISITED or len(self.found.tensors) + len(self.found.values) >= MAX_ENTRIES:
                self.found.is_cut = True
                return
            part = part_of_key(name)
            shown = f"<{type_name(name)}>" if part is None else part
            inner = None if path is None or part is None else (*path, part)
            self.visit(f"{prefix}{shown}"[:MAX_KEY], value, inner, depth + 1)

    def visit(self, key: str, value: Any, path: tuple[str, ...] | None, depth: int) -> None:
        """Gather a value, or what is in it."""
        if self.without is not None and path == self.without:
            return
        if path is not None and (self.without is None or path != self.without[: len(path)]):
            path = None
        if self.is_worth_it(value, path) and id(value) not in self.entered and depth < MAX_DEPTH:
            self.enter(value, path, f"{key}.", depth)
        else:
            self.leaf(key, value)

    def leaf(self, key: str, value: Any) -> None:
        """Gather a value that is not entered."""
        key = self.distinct.of(key)
        if isinstance(value, LazyTensor):
            self.found.tensors[key] = value
        else:
            seen = self.entered.get(id(value))
            same = None if seen is None else f"the same as {backticked(seen) if seen else 'the root'}"
            self.found.values[key] = same or holds(value, self.survey)

    def is_worth_it(self, value: Any, path: tuple[str, ...] | None) -> bool:
        """Tell whether there are tensors in a container, or the part that is left out."""
        if isinstance(value, LazyTensor):
            return False
        return self.survey[value].tensors > 0 or (path is not None and self.without is not None)


def _children(node: Any) -> Iterable[tuple[Any, Any]] | None:
    """Return the names and values that a container or an object holds; None for anything else."""
    below = children_of(node, whole_model=True)
    return parts(node) if below is None and isinstance(node, Opaque) else below


def holds(value: Any, survey: Survey) -> str:
    """Describe a value in a few words, with the first values in it; `survey` counts the tensors there."""
    tensors = 0 if isinstance(value, LazyTensor) else survey[value].tensors
    said = f"{_kind(value)}, {counted(tensors, 'tensor')}" if tensors else _kind(value)
    within = "" if tensors or is_module(value) else _first_values(value)
    return f"{said}: {within}" if within else said


def _kind(value: Any) -> str:
    """Describe a value itself; of what holds others, what it is and how many it has."""
    kind = type_name(value)
    if isinstance(value, LazyTensor):
        return f"tensor, {dtype_name(value.dtype)}, {shape_text(value.shape)}"
    if isinstance(value, Opaque):
        return f"{'whole model' if is_module(value) else 'object of class'} {backticked(value)}"
    if isinstance(value, Global):
        return f"the class or function {backticked(value)}"
    if isinstance(value, (str, bytes)):
        return f"{kind} {quoted(value)}"
    if isinstance(value, Sized) and not isinstance(value, np.generic):
        return f"{kind} of {len(value):,}"
    return "None" if value is None else f"{kind} {backticked(value)[1:-1]}"


def _first_values(value: Any) -> str:
    """Return the first values in a container or an object: `lr 0.1, betas tuple of 2`; nothing for anything else."""
    first = list(islice(_children(value) or (), SHOWN_VALUES + 1))
    said = [_value_in(_name_in(value, name), inner) for name, inner in first[:SHOWN_VALUES]]
    return shortened(", ".join([*said, *(["..."] if len(first) > SHOWN_VALUES else [])]), SHOWN_CHARACTERS)


def _name_in(container: Any, name: Any) -> str | None:
    """Return the name of a value in a container; None where it has none but its number."""
    is_numbered = is_collection(container) or (isinstance(container, Opaque) and isinstance(name, int))
    return None if is_numbered else part_of_key(name)


def _value_in(name: str | None, value: Any) -> str:
    """Return a value in a container, after its name where it has one: a number or a text as Python writes it."""
    if isinstance(value, (str, bytes)):
        said = quoted(value)
    elif isinstance(value, (bool, int, float, complex, np.generic)):
        said = backticked(f"{value}")[1:-1]
    else:
        said = _kind(value)
    return said if name is None else f"{shortened(name, SHOWN_CHARACTERS)} {said}"
