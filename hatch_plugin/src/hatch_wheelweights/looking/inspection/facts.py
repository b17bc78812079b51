"""What there is to say about a file, as a value that knows neither words nor widths."""

from __future__ import annotations

import math
from dataclasses import dataclass, field
from functools import cached_property
from typing import TYPE_CHECKING, Any

from hatch_wheelweights.looking.inspection.tensors import dtype_totals, sum_of
from hatch_wheelweights.looking.inspection.tree import module_tree

if TYPE_CHECKING:
    from collections.abc import Mapping

    from hatch_wheelweights.checkpoint.module_classes import ModuleClass
    from hatch_wheelweights.errors import CheckpointError, Option
    from hatch_wheelweights.looking.inspection.tensors import TensorFacts, Totals
    from hatch_wheelweights.looking.inspection.tree import Node
    from wheelweights.parts import Part

__all__ = ["FileFacts"]


@dataclass(frozen=True, kw_only=True)
class FileFacts:
    """What there is to say about a file.

    `kind` is that of `kind_of`, `size` counts the bytes of all its files. `tensors` are those of the state_dict under
    the options, or, with `find`, those of them whose key matches it; `total` is how many there are. `others` describes
    the values beside them in the state_dict, `modules` are the classes and settings of its modules, by their keys in
    the file, as far as it says them. `records` are those of a wheel. `parts` hold the tensors of a record that has none
    itself; `part_of` is the distribution of a record that is such a part. `warnings` and `notes` are texts that may
    name options.

    `problem` is set if the root of a checkpoint is not a state_dict: then `top_level` has the keys at the root and what
    they hold. If one part alone could be meant, the tensors are its own, and `added` are the options that take it; if
    several could be, there are no tensors, and `state_dicts` are the keys of those parts. `beside` are the tensors of
    the file that are not in the state_dict (with `find`, those whose key matches it), `beside_modules` the classes of
    modules there, and `rest` its other values, by the keys that lead to them; `is_cut` tells that there are more.

    `table` are the lines of pyproject.toml that ask for a record of the file, or of each part that could be meant; none
    where the conversion would fail.
    """

    path: str
    kind: str
    size: int
    tensors: tuple[TensorFacts, ...] = ()
    total: int = 0
    find: str | None = None
    others: Mapping[str, str] = field(default_factory=dict[str, str])
    modules: Mapping[str, ModuleClass] = field(default_factory=dict[str, "ModuleClass"])
    metadata: Mapping[str, Any] = field(default_factory=dict[str, Any])
    warnings: tuple[object, ...] = ()
    notes: tuple[object, ...] = ()
    config: Any = None
    problem: CheckpointError | None = None
    top_level: Mapping[str, str] = field(default_factory=dict[str, str])
    added: Mapping[Option, object] = field(default_factory=dict["Option", object])
    state_dicts: tuple[str, ...] = ()
    beside: tuple[TensorFacts, ...] = ()
    beside_modules: Mapping[str, ModuleClass] = field(default_factory=dict[str, "ModuleClass"])
    rest: Mapping[str, str] = field(default_factory=dict[str, str])
    is_cut: bool = False
    table: tuple[str, ...] = ()
    records: tuple[FileFacts, ...] = ()
    parts: tuple[Part, ...] = ()
    part_of: str | None = None

    @property
    def kept(self) -> list[TensorFacts]:
        """The tensors that the filters leave."""
        return [tensor for tensor in self.tensors if tensor.kept]

    @property
    def other_metadata(self) -> dict[str, Any]:
        """The metadata without what `parts` and `part_of` say."""
        said = {*(("parts", "order") if self.parts else ()), *(("part",) if self.part_of else ())}
        return {name: value for name, value in self.metadata.items() if name not in said}

    @property
    def looked_at(self) -> tuple[TensorFacts, ...]:
        """The tensors that were asked for: those of the state_dict; where nobody knows which that is, all."""
        return self.tensors or (self.beside if self.is_undecided else ())

    @property
    def is_undecided(self) -> bool:
        """Whether nobody knows which part of the file is the state_dict."""
        return self.problem is not None and not self.added

    @property
    def nbytes(self) -> int:
        """Bytes of the tensors that are kept; tied ones count each."""
        return sum(tensor.nbytes or 0 for tensor in self.kept)

    @property
    def values(self) -> int:
        """Elements of the tensors that are kept and can be read; tied ones count each."""
        return sum(math.prod(tensor.shape) for tensor in self.kept if tensor.nbytes is not None)

    @cached_property
    def dtypes(self) -> Mapping[str, Totals]:
        """The totals by dtype, the one of most bytes first."""
        return dtype_totals(self.tensors)

    @cached_property
    def totals(self) -> Totals:
        """Tensors, values, parameters and bytes of those that are kept; tied ones count once."""
        return sum_of(self.dtypes.values())

    @cached_property
    def tree(self) -> Node:
        """The tensors as a tree of modules, layers that repeat folded."""
        return module_tree(self.tensors, {} if self.find else self.modules)

    @cached_property
    def beside_tree(self) -> Node:
        """What is beside the state_dict as such a tree."""
        return module_tree(self.beside, {} if self.find else self.beside_modules)
