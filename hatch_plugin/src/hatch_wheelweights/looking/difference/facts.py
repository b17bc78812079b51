"""What the comparison of two files found, as plain values."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Literal, TypeAlias

from hatch_wheelweights.looking.difference.renames import Pairs
from hatch_wheelweights.looking.difference.values import EXACT, Tolerance, ValueDifference

if TYPE_CHECKING:
    from collections.abc import Mapping

__all__ = ["Comparison", "Form", "State", "TensorDifference"]

State: TypeAlias = Literal["equal", "within", "different"]


@dataclass(frozen=True)
class Form:
    """What there is to know of a tensor before its values are read."""

    dtype: str
    shape: tuple[int, ...]


@dataclass(frozen=True)
class TensorDifference:
    """A tensor that is in both files, and how they differ in it.

    `key` is that in the first file, `new_key` that in the second. `values` is None if the shapes differ, and if a
    tensor cannot be read: then `fault` is the reason, a text that may name options.
    """

    key: str
    new_key: str
    forms: tuple[Form, Form]
    values: ValueDifference | None = None
    fault: object = None
    tolerance: Tolerance = EXACT

    @property
    def renamed(self) -> bool:
        """Whether the tensor has another key in the second file."""
        return self.key != self.new_key

    @property
    def state(self) -> State:
        """How the values compare; names do not count.

        "equal": dtype, shape and all values are; "within" the tolerances: shape and, as far as those allow, the values
        are, in whatever dtype; "different": anything else. Without tolerances another dtype is a difference.
        """
        left, right = self.forms
        if self.values is None or self.values.differing or left.shape != right.shape:
            return "different"
        if left.dtype != right.dtype:
            return "different" if self.tolerance.exact else "within"
        return "within" if self.values.unequal else "equal"


@dataclass(frozen=True)
class Comparison:
    """Two files: the tensors in one of them only, and those in both.

    Each tensor of a file is in one place: in `only`, by its key, or in `both`, in the order of the first file. `pairs`
    says how those of another key were found. `part_of` are the distributions of records that are parts of one; None for
    other files. `notes` and `warnings` are of one file each: its path, and a text that may name options.
    """

    paths: tuple[str, str]
    only: tuple[Mapping[str, Form], Mapping[str, Form]]
    both: tuple[TensorDifference, ...]
    tolerance: Tolerance = EXACT
    pairs: Pairs = field(default_factory=lambda: Pairs({}))
    part_of: tuple[str | None, str | None] = (None, None)
    notes: tuple[tuple[str, object], ...] = ()
    warnings: tuple[tuple[str, object], ...] = ()

    @property
    def equal(self) -> bool:
        """Whether both hold the same tensors under the same keys, as far as the tolerances tell."""
        return self.equal_but_for_names and not any(tensor.renamed for tensor in self.both)

    @property
    def equal_but_for_names(self) -> bool:
        """Whether both hold the same tensors, be it under other keys."""
        return not any(self.only) and not self.differing

    @property
    def differing(self) -> list[TensorDifference]:
        """The tensors in both files that differ by more than their names and the tolerances."""
        return [tensor for tensor in self.both if tensor.state == "different"]

    @property
    def counts(self) -> dict[State, int]:
        """How many tensors in both files are equal, within the tolerances and different; renamed ones too."""
        found = Counter(tensor.state for tensor in self.both)
        return {"equal": found["equal"], "within": found["within"], "different": found["different"]}
