"""The differences by module: what thousands of tensors come to, in some thirty rows."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

from hatch_wheelweights.looking.difference.values import ValueDifference

if TYPE_CHECKING:
    from hatch_wheelweights.looking.difference.facts import Comparison, TensorDifference

__all__ = ["MAX_MODULES", "ModuleDifference", "modules_of", "worst_first", "worst_modules"]

MAX_MODULES: Final = 30
DEEPEST: Final = 8


@dataclass(frozen=True)
class ModuleDifference:
    """A module, by its key in the first file, and what is below it.

    `both` are its tensors in both files, `only` how many there are in one file only; those of the second file count in
    the module that their own key names. `values` are all values that were compared, as if they were one tensor.
    """

    name: str
    both: tuple[TensorDifference, ...]
    only: tuple[int, int]
    values: ValueDifference

    @property
    def differing(self) -> int:
        """How many tensors are different or in one file only."""
        return sum(tensor.state == "different" for tensor in self.both) + sum(self.only)

    @property
    def equal(self) -> bool:
        """Whether all is exactly equal; names do not count."""
        return not any(self.only) and all(tensor.state == "equal" for tensor in self.both)


def modules_of(comparison: Comparison) -> tuple[ModuleDifference, ...]:
    """Return the modules in which not all is equal, in the order of the first file.

    They are as deep as 30 rows allow; there are more where one level has one module, and the next one more than 30.
    """
    found = _at_depth(comparison, 1)
    for depth in range(2, DEEPEST + 1):
        deeper = _at_depth(comparison, depth)
        if len(deeper) > MAX_MODULES and len(found) > 1:
            break
        found = deeper
    return found


def _at_depth(comparison: Comparison, depth: int) -> tuple[ModuleDifference, ...]:
    names = [_module(tensor.key, depth) for tensor in comparison.both]
    both: dict[str, list[TensorDifference]] = {name: [] for name in names}
    for name, tensor in zip(names, comparison.both, strict=True):
        both[name].append(tensor)
    only: dict[str, list[int]] = {}
    for side, keys in enumerate(comparison.only):
        for key in keys:
            only.setdefault(_module(key, depth), [0, 0])[side] += 1
    modules = (_module_of(name, both.get(name, []), only.get(name, [0, 0])) for name in both | only)
    return tuple(module for module in modules if not module.equal)


def _module(key: str, depth: int) -> str:
    """Return the first parts of the key of a tensor's module: all of them, or as many as `depth`."""
    return ".".join(key.split(".")[:-1][:depth])


def _module_of(name: str, both: list[TensorDifference], only: list[int]) -> ModuleDifference:
    values = ValueDifference()
    for tensor in both:
        values = values.plus(tensor.values or ValueDifference())
    return ModuleDifference(name, tuple(both), (only[0], only[1]), values)


def worst_modules(modules: tuple[ModuleDifference, ...]) -> list[ModuleDifference]:
    """Return the modules that differ beyond the tolerances: the 30 worst if there are more, in the order they had."""
    differing = [module for module in modules if module.differing]
    worst = sorted(range(len(differing)), key=lambda i: _goodness(differing[i].values))[:MAX_MODULES]
    return [differing[i] for i in sorted(worst)]


def worst_first(tensors: list[TensorDifference]) -> list[TensorDifference]:
    """Return the tensors with those first that have no values to compare, then those with NaN on one side only.

    Then come those that point elsewhere most; those whose values are equal, in whatever dtype, are last.
    """
    return sorted(tensors, key=lambda tensor: _goodness(tensor.values))


def _goodness(values: ValueDifference | None) -> tuple[float, ...]:
    if values is None:
        return (0,)
    if not values.unequal:
        return (2,)
    return 1, not values.nan_in_one, -2 if values.cosine is None else values.cosine, -values.largest
