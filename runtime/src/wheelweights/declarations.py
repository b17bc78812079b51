"""What an annotation can declare beside a type: the shape of an array, the length of a list."""

from __future__ import annotations

from dataclasses import dataclass
from typing import cast

from wheelweights.report import BindError

__all__ = ["Length", "Shape"]


@dataclass(frozen=True, init=False)
class Shape:
    """Declare the shape of an array: `Annotated[np.ndarray, Shape(8, 3, None, 3)]`, where None is any length."""

    dims: tuple[int | None, ...]

    def __init__(self, *dims: int | None) -> None:
        object.__setattr__(self, "dims", dims)

    def fits(self, shape: tuple[int, ...]) -> bool:
        """Return whether an array of this shape is one that was declared."""
        return len(shape) == len(self.dims) and all(
            want in (None, dim) for want, dim in zip(self.dims, shape, strict=True)
        )


@dataclass(frozen=True)
class Length:
    """Declare the length of a list: `Annotated[list[Block], Length(12)]`, also of a `Sequence` or `tuple[Block, ...]`.

    A record must then have the items 0 to 11, each with a key at least.
    """

    items: int

    def __repr__(self) -> str:
        return f"Length({self.items})"

    def __post_init__(self) -> None:
        items = cast("object", self.items)  # a type checker takes the annotation for true
        if not isinstance(items, int) or isinstance(items, bool) or items < 0:
            raise BindError(f"Length: expected a number, at least 0, found {items!r}", found=items)
