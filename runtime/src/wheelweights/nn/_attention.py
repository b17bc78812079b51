"""Attention: scaled dot products, and torch's layer of many heads around them."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING, Self

import numpy as np

from wheelweights.nn._arrays import Array, LayerError, narrowed, unfit, widened
from wheelweights.nn._functional import softmax
from wheelweights.nn._layer import Layer, of_shape, with_axes
from wheelweights.nn._linear import Linear, linear
from wheelweights.nn._starts import constant, normal, uniform

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from numpy.random import Generator

    from wheelweights.nn._layer import Fault, Shapes


def scaled_dot_product_attention(
    query: Array,
    key: Array,
    value: Array,
    attn_mask: Array | None = None,
    *,
    is_causal: bool = False,
    scale: float | None = None,
    enable_gqa: bool = False,
) -> Array:
    """Return softmax(query @ key^T * scale + mask) @ value: (*, L, E), (*, S, E), (*, S, V) -> (*, L, V).

    `attn_mask` is broadcast to (*, L, S): of bools, True lets an element take part (in `MultiheadAttention` it is the
    other way round, as in torch); of floats, it is added. `is_causal` lets position i see the keys up to i. A query
    that may see nothing gives zeros. The scale is 1 / sqrt(E) unless given. With `enable_gqa`, key and value may have
    fewer heads (third axis from the end), each shared by as many neighbouring heads of the query.
    """
    query = np.asarray(query)
    wide, wide_key, wide_value = widened(query, key, value)
    if enable_gqa and query.ndim > 2 and query.shape[-3] % wide_key.shape[-3] == 0:
        shared = query.shape[-3] // wide_key.shape[-3]
        wide_key, wide_value = wide_key.repeat(shared, axis=-3), wide_value.repeat(shared, axis=-3)
    mask = None if attn_mask is None else _additive(attn_mask, hidden=False)
    _check_products(wide, wide_key, wide_value, mask)
    if is_causal:
        causal = _additive(np.tri(wide.shape[-2], wide_key.shape[-2], dtype=bool), hidden=False)
        mask = causal if mask is None else mask + causal
    output, _ = _attend(wide, wide_key, wide_value, mask=mask, scale=scale)
    if mask is not None:
        np.copyto(output, 0, where=np.all(mask == -np.inf, axis=-1, keepdims=True))
    return narrowed(output, query)


@dataclass(eq=False, repr=False)
class MultiheadAttention(Layer):
    """Attention of many heads, as torch.nn.MultiheadAttention in evaluation mode.

    Where the keys or values have another size than the queries (torch's `kdim`, `vdim`), `q_proj_weight`,
    `k_proj_weight` and `v_proj_weight` replace `in_proj_weight`.
    """

    out_proj: Linear
    in_proj_weight: Array | None = None
    """(3 * embed_dim, embed_dim): query, key, value"""
    q_proj_weight: Array | None = None
    """(embed_dim, embed_dim)"""
    k_proj_weight: Array | None = None
    """(embed_dim, kdim)"""
    v_proj_weight: Array | None = None
    """(embed_dim, vdim)"""
    in_proj_bias: Array | None = None
    """(3 * embed_dim,)"""
    bias_k: Array | None = None
    """(1, 1, embed_dim): one more key for every query, and `bias_v` its value"""
    bias_v: Array | None = None
    num_heads: int | None = None
    """Must be set before a call: it does not follow from the parameters."""
    add_zero_attn: bool = False
    batch_first: bool = False

    @classmethod
    def init(
        cls,
        embed_dim: int,
        num_heads: int,
        bias: bool = True,
        add_bias_kv: bool = False,
        add_zero_attn: bool = False,
        *,
        kdim: int | None = None,
        vdim: int | None = None,
        batch_first: bool = False,
        rng: Generator | None = None,
    ) -> Self:
        """Return random parameters as torch starts them: after Xavier, the biases of the projections zero."""
        rng = np.random.default_rng() if rng is None else rng
        kdim, vdim = kdim or embed_dim, vdim or embed_dim
        parameters: dict[str, Array] = {}
        if kdim == vdim == embed_dim:
            parameters["in_proj_weight"] = _xavier(rng, 3 * embed_dim, embed_dim)
        else:
            sizes = {"q_proj_weight": embed_dim, "k_proj_weight": kdim, "v_proj_weight": vdim}
            parameters |= {name: _xavier(rng, embed_dim, size) for name, size in sizes.items()}
        if add_bias_kv:
            spread = embed_dim**-0.5
            parameters |= {name: normal(rng, (1, 1, embed_dim), spread) for name in ("bias_k", "bias_v")}
        if bias:
            parameters["in_proj_bias"] = constant(3 * embed_dim, 0)
        weight = Linear.init(embed_dim, embed_dim, bias=False, rng=rng).weight
        out_proj = Linear(weight, constant(embed_dim, 0) if bias else None)
        layer = cls(out_proj, **parameters, num_heads=num_heads, add_zero_attn=add_zero_attn, batch_first=batch_first)
        layer._checked_heads()
        return layer

    @classmethod
    def __check_shapes__(cls, shapes: Shapes) -> Iterator[Fault]:
        size = shapes.get("out_proj.weight", ())[:1]
        if not size:
            return
        yield from of_shape(shapes, (*size, *size), "out_proj.weight", "q_proj_weight")
        yield from of_shape(shapes, (3 * size[0], *size), "in_proj_weight")
        yield from of_shape(shapes, (3 * size[0],), "in_proj_bias")
        yield from of_shape(shapes, (1, 1, *size), "bias_k", "bias_v")
        for name in ("k_proj_weight", "v_proj_weight"):
            yield from with_axes(shapes, name, 2)
            yield from of_shape(shapes, (*size, *shapes.get(name, ())[1:]), name)

    def __call__(
        self,
        query: Array,
        key: Array,
        value: Array,
        key_padding_mask: Array | None = None,
        need_weights: bool = True,
        *,
        attn_mask: Array | None = None,
        average_attn_weights: bool = True,
    ) -> tuple[Array, Array | None]:
        """Return the output and the weights (None without `need_weights`).

        Shapes: query (L, N, embed_dim), key (S, N, kdim), value (S, N, vdim), with `batch_first` N in front; or all
        without N. The output is as the query, the weights (N, L, S), their mean over the heads, or without
        `average_attn_weights` (N, num_heads, L, S). `attn_mask` is (L, S) or (N * num_heads, L, S), `key_padding_mask`
        (N, S): True takes an element out, floats are added. A query that may see nothing gives NaN, as in torch.
        """
        heads = self._checked_heads()
        batches = self._batches(query, key, value)
        wide, wide_key, wide_value = (
            linear(x, weight, bias) for x, weight, bias in zip(widened(*batches), *self._in_projections(), strict=True)
        )
        size = (len(wide), heads, wide.shape[1], wide_key.shape[1])
        mask = _merged(size, attn_mask, key_padding_mask)
        if self.bias_k is not None and self.bias_v is not None:
            wide_key, wide_value, mask = _one_more(wide_key, self.bias_k, wide_value, self.bias_v, mask)
        if self.add_zero_attn:
            wide_key, wide_value, mask = _one_more(wide_key, 0, wide_value, 0, mask)
        parts = (_split(part, heads) for part in (wide, wide_key, wide_value))
        output, weights = _attend(*parts, mask=mask)
        output = narrowed(self.out_proj(output.swapaxes(1, 2).reshape(wide.shape)), query)
        shown = narrowed(weights.mean(axis=1) if average_attn_weights else weights, query) if need_weights else None
        if np.ndim(query) == 2:
            return output[0], None if shown is None else shown[0]
        return output if self.batch_first else output.swapaxes(0, 1), shown

    def _checked_heads(self) -> int:
        size = len(self.out_proj.weight)
        if self.num_heads is None:
            remedy = "Give num_heads when the layer is made, or bind to an instance that has it."
            fact = "MultiheadAttention: num_heads is not set, and does not follow from the parameters"
            raise LayerError(fact, remedy=remedy)
        if self.num_heads < 1 or size % self.num_heads:
            raise unfit("MultiheadAttention", f"num_heads that divides {size}", self.num_heads)
        return self.num_heads

    def _in_projections(self) -> tuple[Sequence[Array], Sequence[Array | None]]:
        """Return the weights and the biases for query, key and value."""
        separate = [self.q_proj_weight, self.k_proj_weight, self.v_proj_weight]
        fused = [] if self.in_proj_weight is None else np.split(self.in_proj_weight, 3)
        weights = fused or [weight for weight in separate if weight is not None]
        biases = [None] * 3 if self.in_proj_bias is None else [*np.split(self.in_proj_bias, 3)]
        if (self.bias_k is None) != (self.bias_v is None):
            raise unfit("MultiheadAttention", "bias_k and bias_v, or neither", "one")
        if len(weights) != 3:
            raise unfit(
                "MultiheadAttention", "in_proj_weight, or q_proj_weight, k_proj_weight and v_proj_weight", "neither"
            )
        return weights, biases

    def _batches(self, *inputs: Array) -> list[Array]:
        """Return query, key and value, checked against each other and the parameters, as (N, length, size)."""
        sizes = [weight.shape[1] for weight in self._in_projections()[0]]
        arrays = [np.asarray(x) for x in inputs]
        found = [x.shape for x in arrays]
        if {x.ndim for x in arrays} == {2}:
            arrays = [x[None] for x in arrays]
        elif not self.batch_first:
            arrays = [x.swapaxes(0, 1) if x.ndim == 3 else x for x in arrays]
        query, key, value = arrays
        fits = (
            {x.ndim for x in arrays} == {3}
            and [x.shape[2] for x in arrays] == sizes
            and key.shape[:2] == value.shape[:2]
        )
        if not fits or len(query) != len(key):
            layout = "(N, {}, {})" if self.batch_first else "({}, N, {})"
            expected = ", ".join(layout.format(length, size) for length, size in zip("LSS", sizes, strict=True))
            raise unfit("MultiheadAttention", f"inputs of shapes {expected}, or without N", ", ".join(map(str, found)))
        return arrays


def _split(x: Array, heads: int) -> Array:
    """Return (N, length, size) as (N, heads, length, size / heads)."""
    return x.reshape(*x.shape[:2], heads, x.shape[2] // heads).swapaxes(1, 2)


def _check_products(query: Array, key: Array, value: Array, mask: Array | None) -> None:
    name, shapes = "scaled_dot_product_attention", [query.shape, key.shape, value.shape]
    expected, found = "shapes (*, L, E), (*, S, E), (*, S, V)", ", ".join(map(str, shapes))
    if min(map(len, shapes)) < 2 or query.shape[-1] != key.shape[-1] or key.shape[-2] != value.shape[-2]:
        raise unfit(name, expected, found)
    try:
        lead = np.broadcast_shapes(*(shape[:-2] for shape in shapes))
    except ValueError:
        raise unfit(name, expected, found) from None
    scores = (*lead, query.shape[-2], key.shape[-2])
    if mask is not None:
        try:
            np.broadcast_shapes(mask.shape, scores)
        except ValueError:
            raise unfit(name, f"an attn_mask that spreads over {scores}", mask.shape) from None


def _attend(
    query: Array, key: Array, value: Array, *, mask: Array | None, scale: float | None = None
) -> tuple[Array, Array]:
    """Return the output and the weights."""
    scale = query.shape[-1] ** -0.5 if scale is None else scale
    scores: Array = (query * scale) @ key.swapaxes(-1, -2)
    if mask is not None:
        scores = scores + mask.astype(scores.dtype, copy=False)
    weights = softmax(scores)
    return weights @ value, weights


def _additive(mask: Array, hidden: bool) -> Array:
    """Return a mask to be added: 0 where an element takes part, -inf where a mask of bools has the value `hidden`."""
    mask = np.asarray(mask)
    if mask.dtype == bool:
        return np.where(mask == hidden, np.float32(-np.inf), np.float32(0))
    if mask.dtype.kind in "iu":
        raise unfit("attention", "a mask of bools or floats", mask.dtype.name)
    return mask


def _merged(size: tuple[int, int, int, int], attn_mask: Array | None, key_padding_mask: Array | None) -> Array | None:
    """Return both masks as one to be added to scores of shape `size`, (N, heads, L, S)."""
    batch, heads, length, keys = size
    mask = None
    if attn_mask is not None:
        mask = _additive(attn_mask, hidden=True)
        if mask.shape not in {(length, keys), (batch * heads, length, keys)}:
            expected = f"({length}, {keys}) or ({batch * heads}, {length}, {keys})"
            raise unfit("MultiheadAttention", f"attn_mask of shape {expected}", mask.shape)
        mask = mask.reshape((batch, heads, length, keys) if mask.ndim == 3 else (1, 1, length, keys))
    if key_padding_mask is not None:
        padding = _additive(key_padding_mask, hidden=True)
        if padding.shape not in ({(batch, keys)} | ({(keys,)} if batch == 1 else set())):
            raise unfit("MultiheadAttention", f"key_padding_mask of shape ({batch}, {keys})", padding.shape)
        padding = padding.reshape(batch, 1, 1, keys)
        mask = padding if mask is None else mask + padding
    return mask


def _one_more(
    key: Array, more_key: Array | int, value: Array, more_value: Array | int, mask: Array | None
) -> tuple[Array, Array, Array | None]:
    """Append one element, the same in all batches, to keys and values; no mask hides it."""
    longer = [
        np.concatenate([x, np.broadcast_to(more, (len(x), 1, x.shape[2])).astype(x.dtype)], axis=1)
        for x, more in ((key, more_key), (value, more_value))
    ]
    unmasked = None if mask is None else np.concatenate([mask, np.zeros((*mask.shape[:-1], 1), mask.dtype)], axis=-1)
    return longer[0], longer[1], unmasked


def _xavier(rng: Generator, rows: int, columns: int) -> Array:
    return uniform(rng, (rows, columns), math.sqrt(6 / (rows + columns)))
