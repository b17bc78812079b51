"""What a checkpoint holds beside its state_dict: all of it, by the keys that lead there.

Containers are entered where there are tensors below; everything else is one value, described in a few words. A tree can
be hostile: each node is entered once, and what is gathered is bounded.
"""

from __future__ import annotations

from collections.abc import Iterable, Sized
from dataclasses import dataclass, field
from typing import Any, Final

import numpy as np

from hatch_wheelweights.checkpoint import Account, Global, LazyTensor, Opaque
from hatch_wheelweights.checkpoint.values import type_name
from hatch_wheelweights.looking.texts import dtype_name, shape_text
from hatch_wheelweights.steps.objects import is_module, part_of_key, parts
from hatch_wheelweights.steps.survey import Survey, children_of
from wheelweights.errors import backticked, counted, quoted

__all__ = ["Outline", "outline"]

MAX_ENTRIES: Final = 10_000
MAX_VISITED: Final = 200_000
MAX_DEPTH: Final = 40
MAX_KEY: Final = 4_000  # characters


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
    if walk.children(tree) is None:
        walk.leaf("", tree)
    else:
        walk.enter(tree, (), "", 0)
    return found


@dataclass
class _Walk:
    survey: Survey
    found: Outline
    without: tuple[str, ...] | None
    visited: int = 0
    entered: dict[int, str] = field(default_factory=dict[int, str])
    times: dict[str, int] = field(default_factory=dict[str, int])  # that a key was found

    def enter(self, node: Any, path: tuple[str, ...] | None, prefix: str, depth: int) -> None:
        """Gather what a container holds; `path` is None once it has left that of the part which is left out."""
        self.entered[id(node)] = prefix.removesuffix(".")
        for name, value in self.children(node) or ():
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
        key = self.distinct(key)
        if isinstance(value, LazyTensor):
            self.found.tensors[key] = value
        else:
            seen = self.entered.get(id(value))
            same = None if seen is None else f"the same as {backticked(seen) if seen else 'the root'}"
            self.found.values[key] = same or self.holds(value)

    def distinct(self, key: str) -> str:
        """Return a key, numbered from the second time on: 1 and "1" are two keys of a dict."""
        self.times[key] = times = self.times.get(key, 0) + 1
        return key if times == 1 else f"{key} ({times})"

    def children(self, node: Any) -> Iterable[tuple[Any, Any]] | None:
        below = children_of(node, whole_model=True)
        return parts(node) if below is None and isinstance(node, Opaque) else below

    def is_worth_it(self, value: Any, path: tuple[str, ...] | None) -> bool:
        """Tell whether there are tensors in a container, or the part that is left out."""
        if isinstance(value, LazyTensor):
            return False
        return self.survey[value].tensors > 0 or (path is not None and self.without is not None)

    def holds(self, value: Any) -> str:
        """Describe a value in a few words."""
        return holds(value, self.survey)


def holds(value: Any, survey: Survey) -> str:
    """Describe a value in a few words; `survey` counts what is in it."""
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
        tensors = survey[value].tensors
        return f"{kind} of {len(value):,}" + (f", {counted(tensors, 'tensor')}" if tensors else "")
    return "None" if value is None else f"{kind} {backticked(value)[1:-1]}"
