"""What all layers are: a `repr`, a word for those who write a layer as torch does, shapes that must fit together.

Knows no layer.
"""

from __future__ import annotations

import dataclasses
import inspect
from typing import TYPE_CHECKING, Any

import numpy as np

from wheelweights.nn._arrays import described, unfit
from wheelweights.plain import is_sequence

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Mapping, Sequence
    from typing import TypeAlias

    Shape: TypeAlias = tuple[int, ...]
    Shapes: TypeAlias = Mapping[str, Shape]
    Fault: TypeAlias = tuple[str, object, object]

HOME = __name__.rpartition(".")[0]


class Layer:
    """What every layer has beside its fields."""

    __repr__ = described

    if not TYPE_CHECKING:  # a type checker takes the arguments of a constructor from the fields

        def __new__(cls, *args: Any, **kwargs: Any) -> Any:
            _refuse_settings(cls, args, kwargs)
            return super().__new__(cls)

    @classmethod
    def __check_shapes__(cls, shapes: Shapes) -> Iterable[Fault]:
        """Yield a name, the shape expected and the shape found for each array that does not fit the others.

        `bind` passes the shapes that the arrays below this layer will have, by their names below it.
        """
        return ()


def _refuse_settings(cls: Any, args: tuple[Any, ...], kwargs: dict[str, Any]) -> None:
    """Raise LayerError for a layer that is made as in torch, from its sizes, which is what `init` is for."""
    owner = next(base for base in cls.__mro__ if "__init__" in vars(base))
    if not owner.__module__.startswith(HOME):  # a subclass may have a constructor of its own
        return
    names = [field.name for field in dataclasses.fields(cls)]
    given = {**dict(zip(names, args, strict=False)), **kwargs}
    unknown = kwargs.keys() - set(names)
    if any(_is_setting(given.get(name)) for name in (names[0], "bias")) or (unknown and unknown & _settings(cls)):
        shown = ", ".join([*map(_shown, args), *(f"{name}={_shown(value)}" for name, value in kwargs.items())])
        module = "nn." if cls.__module__.startswith(HOME) else ""
        remedy = f"To make a layer from its settings, as in torch: {module}{cls.__name__}.init({shown})"
        raise unfit(cls.__name__, "arrays", f"settings ({shown})", remedy)


def _settings(cls: Any) -> set[str]:
    return set(inspect.signature(cls.init).parameters) if hasattr(cls, "init") else set()


def _is_setting(value: object) -> bool:
    numbers: Sequence[object] = value if is_sequence(value) and value else [value]
    return all(isinstance(number, int | float | np.number) for number in numbers)


def _shown(value: Any) -> str:
    return repr(value) if _is_setting(value) or not hasattr(value, "shape") else "..."


def with_axes(shapes: Shapes, name: str, axes: int) -> Iterator[Fault]:
    """Yield a fault if there is an array of this name with another number of axes."""
    if name in shapes and len(shapes[name]) != axes:
        yield name, f"{axes} axes" if axes > 1 else "one axis", shapes[name]


def of_shape(shapes: Shapes, shape: Shape, *names: str) -> Iterator[Fault]:
    """Yield a fault for each array of these names that has another shape."""
    for name in names:
        if shapes.get(name, shape) != shape:
            yield name, shape, shapes[name]


def all_alike(shapes: Shapes, *names: str, axes: int | None = None) -> Iterator[Fault]:
    """Yield a fault for each array of these names that has another shape than the first; `axes` of the first."""
    there = [name for name in names if name in shapes]
    if there:
        if axes is not None:
            yield from with_axes(shapes, there[0], axes)
        yield from of_shape(shapes, shapes[there[0]], *there[1:])
