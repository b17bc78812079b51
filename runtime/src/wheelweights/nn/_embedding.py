"""The embedding layer."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Self

import numpy as np

from wheelweights.nn._arrays import Array, unfit, widened
from wheelweights.nn._layer import Layer, with_axes
from wheelweights.nn._starts import normal
from wheelweights.skeleton import is_placeholder

if TYPE_CHECKING:
    from collections.abc import Iterator

    from numpy.random import Generator

    from wheelweights.nn._layer import Fault, Shapes


@dataclass(eq=False, repr=False)
class Embedding(Layer):
    """Look up a row of the weight for each integer: (*) -> (*, embedding_dim).

    Only the rows asked for are read. They have the dtype of the weight; those of a weight in half precision (float16,
    bfloat16, float8) become float32, where torch gives half: the other layers return the dtype of their input, so that
    all activations of a model would be half, and converted to float32 and back in each layer. torch's `padding_idx` and
    `max_norm` matter in training only.
    """

    weight: Array
    """(num_embeddings, embedding_dim)"""

    @classmethod
    def init(
        cls, num_embeddings: int, embedding_dim: int, padding_idx: int | None = None, *, rng: Generator | None = None
    ) -> Self:
        """Return random rows as torch starts them: standard normal, the row `padding_idx` zero."""
        weight = normal(rng, (num_embeddings, embedding_dim))
        if padding_idx is not None and not is_placeholder(weight):
            weight[padding_idx] = 0
        return cls(weight)

    @classmethod
    def __check_shapes__(cls, shapes: Shapes) -> Iterator[Fault]:
        return with_axes(shapes, "weight", 2)

    def __call__(self, x: Array) -> Array:
        x = np.asarray(x)
        rows = len(self.weight)
        if x.dtype.kind not in "iu":
            raise unfit("Embedding", "integers", x.dtype.name)
        if x.size and (x.min() < 0 or x.max() >= rows):
            wrong = int(x.min() if x.min() < 0 else x.max())
            raise unfit("Embedding", f"indices from 0 to {rows - 1}", wrong)
        found = np.asarray(self.weight[x])
        wide: Array = found if found.dtype.kind in "biu" else widened(found)[0]
        return wide
