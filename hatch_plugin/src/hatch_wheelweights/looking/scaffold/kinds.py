"""What the fields of the source can be: arrays, layers, lists, tuples, dicts, and classes of the source itself."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, TypeAlias

from wheelweights.dtypes import DTYPES

if TYPE_CHECKING:
    from hatch_wheelweights.looking.scaffold.modules import Module, Tensor

__all__ = [
    "Array",
    "Class",
    "Empty",
    "Field",
    "Fixed",
    "Instance",
    "Items",
    "Kind",
    "Named",
    "Of",
    "array_of",
    "joined",
    "variants_of",
]


@dataclass(frozen=True, slots=True)
class Array:
    """An array: of a scalar type of numpy, None for one that numpy lacks, or for several; of so many axes, if alike."""

    scalar: str | None
    axes: int | None


@dataclass(frozen=True, slots=True)
class Of:
    """A layer of `wheelweights.nn`, by its type."""

    type: str


@dataclass(frozen=True, slots=True)
class Empty:
    """An item without tensors."""


@dataclass(frozen=True, slots=True)
class Items:
    """A list: the kinds of its items, and which of them each item is."""

    kinds: tuple[Kind, ...]
    order: tuple[int, ...]


@dataclass(frozen=True, slots=True)
class Fixed:
    """A tuple."""

    kinds: tuple[Kind, ...]


@dataclass(frozen=True, slots=True)
class Named:
    """A dict with texts as keys."""

    names: tuple[str, ...]
    kinds: tuple[Kind, ...]


@dataclass(frozen=True, slots=True)
class Instance:
    """An instance of a class of the source."""

    cls: Class


Kind: TypeAlias = Array | Of | Empty | Items | Fixed | Named | Instance


@dataclass(slots=True)
class Field:
    """A field of a class: None in some instances if it is `optional`, with its names beside it if it is `flatten`."""

    kind: Kind
    optional: bool = False
    flatten: bool = False


@dataclass(eq=False, slots=True)
class Class:
    """A class of the source: its fields by name, and the modules that are instances of it.

    `origin` is the class that the file names.
    """

    name: str
    fields: dict[str, Field]
    instances: list[Module]
    origin: str | None = None
    inner: set[Class] = field(default_factory=set["Class"])


def array_of(tensor: Tensor) -> Array:
    """Return the kind of a tensor."""
    dtype = DTYPES.get(tensor.dtype)
    is_numpys = dtype is not None and not tensor.dtype.startswith(("bfloat", "float8"))
    return Array(("bool_" if tensor.dtype == "bool" else tensor.dtype) if is_numpys else None, len(tensor.shape))


def joined(kinds: list[Kind]) -> list[Kind]:
    """Return the kinds of several items; arrays are one kind, of one dtype or any, if there is nothing else."""
    arrays = [kind for kind in kinds if isinstance(kind, Array)]
    if not arrays or len(arrays) != len(kinds):
        return kinds
    scalars, axes = ({array.scalar for array in arrays}, {array.axes for array in arrays})
    one = Array(scalars.pop() if len(scalars) == 1 else None, axes.pop() if len(axes) == 1 else None)
    return [one] * len(kinds)


def variants_of(kind: Kind) -> tuple[Kind, ...]:
    """Return the kinds inside a kind."""
    return kind.kinds if isinstance(kind, Items | Fixed | Named) else ()
