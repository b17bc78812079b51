"""Placeholders: arrays that have a shape and a dtype and nothing else, for models that are made only to be bound.

Inside `skeleton()` the layers of `wheelweights.nn` start with placeholders instead of random numbers, so that a model
of any size is made at once and costs no memory. Knows neither layers nor binding.
"""

from __future__ import annotations

import contextlib
import math
from contextvars import ContextVar
from typing import TYPE_CHECKING, Any, NoReturn

import numpy as np
from numpy.lib.mixins import NDArrayOperatorsMixin

from wheelweights.errors import WheelweightsError

if TYPE_CHECKING:
    from collections.abc import Generator

__all__ = ["Placeholder", "PlaceholderError", "is_placeholder", "placeholders_wanted", "skeleton"]

_WANTED: ContextVar[bool] = ContextVar("placeholders_wanted", default=False)


class PlaceholderError(WheelweightsError, AttributeError):
    """A model was used whose arrays are placeholders. An AttributeError, so that `hasattr` works on them."""


class Placeholder(NDArrayOperatorsMixin):
    """What stands for an array: its shape and its dtype, without values.

    Everything that needs values raises PlaceholderError, arithmetic, indexing and `np.asarray` included.
    """

    __slots__ = ("_dtype", "_shape")

    def __init__(self, shape: tuple[int, ...], dtype: Any = np.float32) -> None:
        self._shape = tuple(shape)
        self._dtype: np.dtype[Any] = np.dtype(dtype)

    @property
    def shape(self) -> tuple[int, ...]:
        """The shape of the array that belongs here."""
        return self._shape

    @property
    def dtype(self) -> np.dtype[Any]:
        """The dtype of the array that belongs here."""
        return self._dtype

    @property
    def ndim(self) -> int:
        """The number of axes."""
        return len(self._shape)

    @property
    def size(self) -> int:
        """The number of elements."""
        return math.prod(self._shape)

    @property
    def nbytes(self) -> int:
        """The bytes that the array would take; the placeholder takes none of them."""
        return self.size * self._dtype.itemsize

    def __hash__(self) -> int:  # arithmetic comes with a comparison, and that would make it unhashable
        return id(self)

    def __len__(self) -> int:
        if not self._shape:
            raise TypeError("len() of a placeholder without axes")
        return self._shape[0]

    def __repr__(self) -> str:
        return f"<placeholder {self._dtype.name} {self._shape}>"

    def _no_values(self, *_: Any, **__: Any) -> NoReturn:
        raise PlaceholderError(
            f"a placeholder of shape {self._shape} has no values to compute with",
            expected="an array",
            found=self,
            remedy="Bind the model to a record first: ww.bind(model, record).",
        )

    __array_ufunc__ = __array_function__ = __array__ = _no_values
    __getitem__ = __setitem__ = __iter__ = __contains__ = _no_values
    __bool__ = __int__ = __float__ = __complex__ = __index__ = _no_values

    def __getattr__(self, name: str) -> Any:
        if name.startswith("__"):  # what copy, pickle and numpy ask every object for
            raise AttributeError(name)
        self._no_values()


@contextlib.contextmanager
def skeleton() -> Generator[None]:
    """Let the layers of `wheelweights.nn` that are made in this block have placeholders for arrays.

        with nn.skeleton():
            net = Net.init()          # no random numbers, no memory
        net = ww.bind(net, record)    # the same as ww.bind(Net.init, record)

    A placeholder has the shape and the dtype of the array that `init` would have made. To compute with one is a
    PlaceholderError. Only this thread (or task) is affected.
    """
    token = _WANTED.set(True)
    try:
        yield
    finally:
        _WANTED.reset(token)


def placeholders_wanted() -> bool:
    """Return whether this is inside `skeleton()`."""
    return _WANTED.get()


def is_placeholder(value: object) -> bool:
    """Return whether a value is a placeholder."""
    return isinstance(value, Placeholder)
