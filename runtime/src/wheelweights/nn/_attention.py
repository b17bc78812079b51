"""Attention: scaled dot products, and torch's layer of many heads around them."""

from __future__ import annotations

import itertools
import math
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Self

import numpy as np

from wheelweights.nn._arrays import Array, LayerError, narrowed, unfit, widened
from wheelweights.nn._layer import Layer, of_shape, with_axes
from wheelweights.nn._linear import Linear, linear
from wheelweights.nn._starts import constant, normal, uniform

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from numpy.random import Generator

    from wheelweights.nn._layer import Fault, Shape, Shapes

SCORES = 1 << 16  # at a time, so that the passes over them stay in the processor's cache
QUERIES = 128  # at a time, at least, where there are many keys: every block reads all of them
ALL = slice(None)
PRODUCTS = "scaled_dot_product_attention"


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

    Queries are taken in blocks, so that memory for all L x S scores is never needed.
    """
    query = np.asarray(query)
    wide, wide_key, wide_value = widened(query, key, value)
    shared = _shared(wide, wide_key) if enable_gqa else 1
    scores = _scores_shape(wide.shape, wide_key.shape, wide_value.shape, shared)
    masks = [] if attn_mask is None else [_spread(_checked_mask(attn_mask), scores)]
    filled = output = np.empty((*scores[:-1], wide_value.shape[-1]), wide.dtype)
    if shared > 1:
        wide, filled, *masks = (_grouped(x, shared) for x in (wide, output, *masks))
        wide_key, wide_value = wide_key[..., None, :, :], wide_value[..., None, :, :]
    _attend(wide, wide_key, wide_value, filled, masks=masks, hidden=False, is_causal=is_causal, scale=scale, zeros=True)
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
        (N, S): True takes an element out, floats are added. A query that may see nothing gives NaN where weights are
        wanted, and otherwise the bias of the output, as in torch. Without `need_weights`, no memory is needed for all
        L x S scores.
        """
        heads = self._checked_heads()
        batches = self._batches(query, key, value)
        wide, wide_key, wide_value = (
            linear(x, weight, bias) for x, weight, bias in zip(widened(*batches), *self._in_projections(), strict=True)
        )
        masks = _masks((len(wide), heads, wide.shape[1], wide_key.shape[1]), attn_mask, key_padding_mask)
        if self.bias_k is not None and self.bias_v is not None:
            wide_key, wide_value = _one_more(wide_key, self.bias_k), _one_more(wide_value, self.bias_v)
        if self.add_zero_attn:
            wide_key, wide_value = _one_more(wide_key, 0), _one_more(wide_value, 0)
        shown = (len(wide), 1 if average_attn_weights else heads, wide.shape[1], wide_key.shape[1])
        weights = np.zeros(shown, wide.dtype) if need_weights else None
        output = np.empty_like(wide)
        parts = [_split(part, heads) for part in (wide, wide_key, wide_value, output)]
        _attend(*parts, weights=weights, masks=masks, hidden=True, zeros=not need_weights or wide_key.shape[1] == 0)
        output = narrowed(self.out_proj(output), query)
        if weights is not None and average_attn_weights:
            weights = weights[:, 0]
            weights /= heads
        weights = None if weights is None else narrowed(weights, query)
        if np.ndim(query) == 2:
            return output[0], None if weights is None else weights[0]
        return output if self.batch_first else output.swapaxes(0, 1), weights

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


def _shared(query: Array, key: Array) -> int:
    """Return how many heads of the query share each head of the key: 1 where their numbers do not fit."""
    if min(query.ndim, key.ndim) < 3 or not key.shape[-3] or query.shape[-3] % key.shape[-3]:
        return 1
    return int(query.shape[-3] // key.shape[-3])


def _grouped(x: Array, shared: int) -> Array:
    """Return (*, heads, rows, columns) as (*, heads / shared, shared, rows, columns), to be broadcast as before."""
    if x.ndim < 3:
        return x
    split = (1, 1) if x.shape[-3] == 1 else (x.shape[-3] // shared, shared)
    return x.reshape(*x.shape[:-3], *split, *x.shape[-2:])


def _repeated(shape: Shape, shared: int) -> Shape:
    return (*shape[:-3], shape[-3] * shared, *shape[-2:]) if len(shape) > 2 else shape


def _scores_shape(query: Shape, key: Shape, value: Shape, shared: int) -> Shape:
    """Return (*, L, S), where each head of key and value serves `shared` heads of the query; refuse what is unfit."""
    shapes = query, _repeated(key, shared), _repeated(value, shared)
    try:
        lead = np.broadcast_shapes(*(shape[:-2] for shape in shapes))
    except ValueError:
        lead = None
    if lead is None or min(map(len, shapes)) < 2 or query[-1] != key[-1] or key[-2] != value[-2]:
        raise unfit(PRODUCTS, "shapes (*, L, E), (*, S, E), (*, S, V)", f"{query}, {key}, {value}")
    return (*lead, query[-2], key[-2])


def _spread(mask: Array, scores: Shape) -> Array:
    """Return a mask with as many columns as the scores; refuse one that cannot be broadcast to them."""
    try:
        np.broadcast_to(mask, scores)
    except ValueError:
        raise unfit(PRODUCTS, f"an attn_mask that spreads over {scores}", mask.shape) from None
    return np.broadcast_to(mask, (*mask.shape[:-1], scores[-1]))


def _attend(
    query: Array,
    key: Array,
    value: Array,
    output: Array,
    *,
    weights: Array | None = None,
    masks: Sequence[Array],
    hidden: bool,
    zeros: bool,
    is_causal: bool = False,
    scale: float | None = None,
) -> None:
    """Fill `output` with softmax(query @ key^T * scale + masks) @ value, a block of heads and queries at a time.

    Shapes: (*, L, E), (*, S, E), (*, S, V), (*, L, V). A mask is broadcast to (*, L, S), and hides none of the last
    keys if it has fewer columns; one of bools takes an element out where it is `hidden`. The softmax (*, L, S) is added
    to `weights`, of all heads together if these have one. A query that may see nothing gives `zeros`, or else NaN.
    """
    scale = max(1, query.shape[-1]) ** -0.5 if scale is None else float(scale)
    query, key, value = (_led(x, output.shape[:-2]) for x in (query, key, value))
    keys, lowest = key.shape[-2], np.finfo(query.dtype).min
    with np.errstate(over="ignore", invalid="ignore", divide="ignore"):
        for *lead, rows in _blocks(output.shape[:-1], keys):
            seen = slice(min(keys, rows.stop) if is_causal else keys)
            scores: Array = (query[*lead, rows] * scale) @ key[*lead, seen].swapaxes(-1, -2)
            for mask in masks:
                masked = scores[..., : mask.shape[-1]]
                masked += _additive(_part(mask, *lead, rows, seen), hidden, scores.dtype)
            if is_causal:
                ahead = scores[..., rows.start :]
                np.copyto(ahead, -np.inf, where=np.less.outer(*map(np.arange, ahead.shape[-2:])))
            scores -= scores.max(axis=-1, keepdims=True, initial=lowest)
            np.exp(scores, out=scores)
            total = scores.sum(axis=-1, keepdims=True)
            if zeros:
                total[total == 0] = 1
            filled = output[*lead, rows]
            np.matmul(scores, value[*lead, seen], out=filled)
            filled /= total
            if weights is not None:
                scores /= total
                shown = _part(weights, *lead, rows, seen)
                shown += scores if shown.shape == scores.shape else scores.sum(axis=-3, keepdims=True)


def _blocks(shape: Shape, keys: int) -> Iterator[tuple[slice, ...]]:
    """Cut queries, (*, L), into blocks whose scores are no more than `SCORES`, or those of `QUERIES` queries."""
    left = max(SCORES // max(keys, 1), QUERIES)
    parts: list[list[slice]] = []
    for size in reversed(shape):
        step = max(min(left, size), 1)
        left //= step
        parts.append([slice(start, min(start + step, size)) for start in range(0, size, step)])
    return itertools.product(*reversed(parts))


def _led(x: Array, lead: Shape) -> Array:
    """Return a view of `x`, (*, rows, columns), with these axes in front."""
    return x if x.shape[:-2] == lead else np.broadcast_to(x, (*lead, *x.shape[-2:]))


def _part(x: Array, *block: slice) -> Array:
    """Return what a block needs of `x`, whose axes of length 1 and missing first axes serve every block."""
    own = block[len(block) - x.ndim :]
    return x[tuple(ALL if size == 1 else part for size, part in zip(x.shape, own, strict=True))]


def _checked_mask(mask: Array) -> Array:
    mask = np.asarray(mask)
    if mask.dtype.kind in "iu":
        raise unfit("attention", "a mask of bools or floats", mask.dtype.name)
    return mask


def _additive(mask: Array, hidden: bool, dtype: np.dtype[Any]) -> Array:
    """Return a mask to be added: 0 where an element takes part, -inf where a mask of bools has the value `hidden`."""
    if mask.dtype != bool:
        return mask.astype(dtype, copy=False)
    result: Array = np.multiply(mask == hidden, np.finfo(dtype).min, dtype=dtype)  # several times as fast as np.where
    result *= 2  # only now -inf: 0 * -inf would be NaN
    return result


def _masks(size: Shape, attn_mask: Array | None, key_padding_mask: Array | None) -> list[Array]:
    """Return the masks given, to be broadcast to scores of shape `size`, (N, heads, L, S)."""
    batch, heads, length, keys = size
    masks: list[Array] = []
    if attn_mask is not None:
        mask = _checked_mask(attn_mask)
        if mask.shape not in {(length, keys), (batch * heads, length, keys)}:
            expected = f"({length}, {keys}) or ({batch * heads}, {length}, {keys})"
            raise unfit("MultiheadAttention", f"attn_mask of shape {expected}", mask.shape)
        masks.append(mask.reshape(size) if mask.ndim == 3 else mask)
    if key_padding_mask is not None:
        padding = _checked_mask(key_padding_mask)
        if padding.shape not in ({(batch, keys)} | ({(keys,)} if batch == 1 else set())):
            raise unfit("MultiheadAttention", f"key_padding_mask of shape ({batch}, {keys})", padding.shape)
        masks.append(padding.reshape(batch, 1, 1, keys))
    return masks


def _one_more(x: Array, more: Array | int) -> Array:
    """Append one element, the same in all batches, to keys or values."""
    return np.concatenate([x, np.broadcast_to(more, (len(x), 1, x.shape[2])).astype(x.dtype)], axis=1)


def _xavier(rng: Generator, rows: int, columns: int) -> Array:
    return uniform(rng, (rows, columns), math.sqrt(6 / (rows + columns)))
