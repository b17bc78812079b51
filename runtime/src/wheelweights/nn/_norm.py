"""Normalisation layers, in evaluation mode.

Statistics are taken over the rows of a matrix; each layer says how its input becomes such rows.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, ClassVar, Self

import numpy as np

from wheelweights.nn._arrays import Array, LayerError, by_rows, narrowed, row_squares, row_sums, unfit, widened
from wheelweights.nn._layer import Layer, all_alike
from wheelweights.nn._starts import constant

if TYPE_CHECKING:
    from collections.abc import Iterator

    from wheelweights.nn._layer import Fault, Shapes


@dataclass(eq=False, repr=False)
class BatchNorm(Layer):
    """Bring each channel of (N, C, *) to mean 0 and variance 1 by the running statistics, then scale and shift it.

    With `track_running_stats=False`, by the statistics of the batch itself, as torch does for a layer that has no
    running ones.
    """

    weight: Array | None = None
    """(C,), as all the others"""
    bias: Array | None = None
    running_mean: Array | None = None
    running_var: Array | None = None
    # Only training needs it, so records are often made without it
    num_batches_tracked: Array | None = field(default=None, metadata={"optional": True})
    """One integer, used in training only."""
    eps: float = 1e-5
    track_running_stats: bool = True

    _shapes: ClassVar[dict[int, str]] = {}

    @classmethod
    def init(
        cls, num_features: int, eps: float = 1e-5, *, affine: bool = True, track_running_stats: bool = True
    ) -> Self:
        """Return the parameters as torch starts them: weight and variance one, the rest zero; nothing is random."""
        ones, zeros = constant(num_features, 1), constant(num_features, 0)
        weight, bias = (ones, zeros) if affine else (None, None)
        layer = cls(weight, bias, eps=eps, track_running_stats=track_running_stats)
        if not track_running_stats:
            return layer
        return replace(layer, running_mean=zeros, running_var=ones, num_batches_tracked=np.zeros((), np.int64))

    @classmethod
    def __check_shapes__(cls, shapes: Shapes) -> Iterator[Fault]:
        return all_alike(shapes, "weight", "bias", "running_mean", "running_var", axes=1)

    @np.errstate(over="ignore", invalid="ignore", divide="ignore")
    def __call__(self, x: Array) -> Array:
        x = np.asarray(x)
        self._check(x)
        wide, weight, bias, mean, variance = widened(x, self.weight, self.bias, self.running_mean, self.running_var)
        if not self.track_running_stats:
            rows = wide.swapaxes(0, 1).reshape(wide.shape[1], -1)
            mean, variance = rows.mean(axis=-1), rows.var(axis=-1)
        scale = 1 / np.sqrt(variance + self.eps)
        scale = scale if weight is None else scale * weight
        shift = -mean * scale if bias is None else bias - mean * scale
        return narrowed(_scaled_channels(wide, scale, shift), x)

    def _check(self, x: Array) -> None:
        name = type(self).__name__
        if self.track_running_stats and (self.running_mean is None or self.running_var is None):
            remedy = "Bind them, or set track_running_stats=False to normalise by the statistics of each batch."
            raise unfit(name, "running_mean and running_var", None, remedy)
        vectors = [v for v in (self.weight, self.bias, self.running_mean, self.running_var) if v is not None]
        channels = {len(vector) for vector in vectors} | set(x.shape[1:2])
        if x.ndim not in (self._shapes or range(2, x.ndim + 1)) or len(channels) > 1:
            shapes = " or ".join(self._shapes.values() or ["(N, C, *)"])
            raise unfit(
                name, "an input of shape " + shapes.replace("C", str(len(vectors[0])) if vectors else "C"), x.shape
            )
        if not self.track_running_stats and x.size <= x.shape[1]:
            raise unfit(name, "more than one number per channel to take statistics of", x.shape)


class BatchNorm1d(BatchNorm):
    """`BatchNorm` for inputs (N, C) or (N, C, L)."""

    _shapes: ClassVar[dict[int, str]] = {2: "(N, C)", 3: "(N, C, L)"}


class BatchNorm2d(BatchNorm):
    """`BatchNorm` for inputs (N, C, H, W)."""

    _shapes: ClassVar[dict[int, str]] = {4: "(N, C, H, W)"}


@dataclass(eq=False, repr=False)
class LayerNorm(Layer):
    """Bring the last axes, those of `normalized_shape`, to mean 0 and variance 1, then scale and shift each element."""

    weight: Array | None = None
    """Of shape `normalized_shape`, which may then be left out."""
    bias: Array | None = None
    normalized_shape: int | tuple[int, ...] | None = None
    eps: float = 1e-5

    @classmethod
    def init(
        cls,
        normalized_shape: int | tuple[int, ...],
        eps: float = 1e-5,
        elementwise_affine: bool = True,
        bias: bool = True,
    ) -> Self:
        """Return the parameters as torch starts them: weight one, bias zero; nothing is random."""
        weight = constant(normalized_shape, 1) if elementwise_affine else None
        zeros = constant(normalized_shape, 0) if elementwise_affine and bias else None
        return cls(weight, zeros, normalized_shape, eps)

    @classmethod
    def __check_shapes__(cls, shapes: Shapes) -> Iterator[Fault]:
        return all_alike(shapes, "weight", "bias")

    @np.errstate(over="ignore", invalid="ignore", divide="ignore")
    def __call__(self, x: Array) -> Array:
        x = np.asarray(x)
        shape = _normalized_shape(self, x)
        wide, weight, bias = widened(x, self.weight, self.bias)
        rows = wide.reshape(math.prod(x.shape[: x.ndim - len(shape)]), math.prod(shape))
        weight, bias = (vector if vector is None else vector.reshape(-1) for vector in (weight, bias))

        def fill(rows: Array, out: Array) -> None:
            out *= _centre(rows, out, self.eps)
            if weight is not None:
                out *= weight
            if bias is not None:
                out += bias

        result: Array = np.empty(rows.shape, rows.dtype)
        by_rows(fill, rows, result)
        return narrowed(result.reshape(x.shape), x)


@dataclass(eq=False, repr=False)
class RMSNorm(Layer):
    """Divide the last axes, those of `normalized_shape`, by the root of their mean square, then scale each element."""

    weight: Array | None = None
    """Of shape `normalized_shape`, which may then be left out."""
    normalized_shape: int | tuple[int, ...] | None = None
    eps: float | None = None
    """None: the spacing of the numbers next to 1 in the dtype of the computation (float32 for float16), as in torch."""

    @classmethod
    def init(
        cls, normalized_shape: int | tuple[int, ...], eps: float | None = None, elementwise_affine: bool = True
    ) -> Self:
        """Return the parameters as torch starts them: weight one; nothing is random."""
        return cls(constant(normalized_shape, 1) if elementwise_affine else None, normalized_shape, eps)

    @np.errstate(over="ignore", invalid="ignore", divide="ignore")
    def __call__(self, x: Array) -> Array:
        x = np.asarray(x)
        shape = _normalized_shape(self, x)
        wide, weight = widened(x, self.weight)
        rows = wide.reshape(math.prod(x.shape[: x.ndim - len(shape)]), math.prod(shape))
        eps = np.finfo(wide.dtype).eps if self.eps is None else self.eps

        def fill(rows: Array, out: Array) -> None:
            np.multiply(rows, _inverse_root(rows, eps), out=out)
            if weight is not None:
                out *= weight.reshape(-1)

        result: Array = np.empty(rows.shape, rows.dtype)
        by_rows(fill, rows, result)
        return narrowed(result.reshape(x.shape), x)


@dataclass(eq=False, repr=False)
class GroupNorm(Layer):
    """Bring each of `num_groups` groups of channels to mean 0 and variance 1, then scale and shift each channel.

    Input and output are (N, C, *).
    """

    weight: Array | None = None
    """(C,)"""
    bias: Array | None = None
    """(C,)"""
    num_groups: int | None = None
    """Must be set before a call: it does not follow from the parameters."""
    eps: float = 1e-5

    @classmethod
    def init(cls, num_groups: int, num_channels: int, eps: float = 1e-5, affine: bool = True) -> Self:
        """Return the parameters as torch starts them: weight one, bias zero; nothing is random."""
        weight, bias = constant(num_channels, 1), constant(num_channels, 0)
        return cls(weight, bias, num_groups, eps) if affine else cls(None, None, num_groups, eps)

    @classmethod
    def __check_shapes__(cls, shapes: Shapes) -> Iterator[Fault]:
        return all_alike(shapes, "weight", "bias", axes=1)

    @np.errstate(over="ignore", invalid="ignore", divide="ignore")
    def __call__(self, x: Array) -> Array:
        x = np.asarray(x)
        groups = self._groups(x)
        wide, weight, bias = widened(x, self.weight, self.bias)
        if not x.size:
            return narrowed(wide.copy(), x)
        vectors = [np.concatenate([v.reshape(groups, -1, 1)] * len(x)) for v in (weight, bias) if v is not None]

        def fill(rows: Array, out: Array, *vectors: Array) -> None:
            scale = _centre(rows.reshape(len(rows), -1), out.reshape(len(out), -1), self.eps)[..., None]
            out *= scale if weight is None else scale * vectors[0]
            if bias is not None:
                out += vectors[-1]

        rows = wide.reshape(len(x) * groups, x.shape[1] // groups, -1)
        result: Array = np.empty(rows.shape, rows.dtype)
        by_rows(fill, rows, result, *vectors)
        return narrowed(result.reshape(x.shape), x)

    def _groups(self, x: Array) -> int:
        if self.num_groups is None:
            remedy = "Give num_groups when the layer is made, or bind to an instance that has it."
            raise LayerError("GroupNorm: num_groups is not set, and does not follow from the parameters", remedy=remedy)
        vectors = [vector for vector in (self.weight, self.bias) if vector is not None]
        if self.num_groups < 1:
            raise unfit("GroupNorm: num_groups", "a number, at least 1", self.num_groups)
        if x.ndim < 2 or x.shape[1] % self.num_groups or any(len(vector) != x.shape[1] for vector in vectors):
            channels = len(vectors[0]) if vectors else f"a multiple of {self.num_groups}"
            raise unfit("GroupNorm", f"an input of shape (N, {channels}, *)", x.shape)
        return self.num_groups


def _normalized_shape(layer: LayerNorm | RMSNorm, x: Array) -> tuple[int, ...]:
    """Return the shape of the axes to normalise, checked against the weight's and the input's."""
    name, given = type(layer).__name__, layer.normalized_shape
    if given is None and layer.weight is None:
        raise LayerError(f"{name}: neither weight nor normalized_shape is set", remedy="Give one of them.")
    found: tuple[int, ...] | None = None if layer.weight is None else layer.weight.shape
    shape = (given,) if isinstance(given, int) else tuple(given or found or ())
    if found not in {None, shape}:
        raise unfit(name, f"a weight of shape {shape}", found)
    if not shape or x.shape[-len(shape) :] != shape:
        raise unfit(name, f"an input of shape (*, {', '.join(map(str, shape))})", x.shape)
    return shape


def _centre(rows: Array, out: Array, eps: float) -> Array:
    """Set `out` to `rows` less the mean of each, and return 1 / sqrt(biased variance + eps) of each, as a column."""
    np.subtract(rows, row_sums(rows) / rows.shape[1], out=out)
    return _inverse_root(out, eps)


def _inverse_root(rows: Array, eps: float) -> Array:
    """Return 1 / sqrt(mean square + eps) of each row, as a column."""
    scale: Array = 1 / np.sqrt(row_squares(rows) / rows.shape[1] + eps)
    return scale


def _scaled_channels(x: Array, scale: Array, shift: Array) -> Array:
    """Return x * scale + shift, of `x` (N, C, *) and one number for each channel."""
    if x.ndim == 2:
        result: Array = x * scale
        result += shift
        return result

    def fill(rows: Array, out: Array, scale: Array, shift: Array) -> None:
        np.multiply(rows, scale, out=out)
        out += shift

    rows = x.reshape(math.prod(x.shape[:2]), math.prod(x.shape[2:]))
    result = np.empty(rows.shape, rows.dtype)
    by_rows(fill, rows, result, *(np.tile(vector, len(x))[:, None] for vector in (scale, shift)))
    return result.reshape(x.shape)
