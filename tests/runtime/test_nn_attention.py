"""Attention in blocks: the values of the plain formula, in the memory of one block."""

from __future__ import annotations

import tracemalloc
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from looking.closeness import assert_close
from wheelweights import nn
from wheelweights.nn import _attention

if TYPE_CHECKING:
    from collections.abc import Callable

Array = np.ndarray[Any, Any]
Inputs = tuple[Array, Array, Array]
MIB = 1 << 20


def random(*shape: int, seed: int = 0, dtype: Any = np.float32) -> Array:
    """An array that refuses to be written to, as those of a record do."""
    array = np.random.default_rng(seed).standard_normal(shape).astype(dtype)
    array.flags.writeable = False
    return array


def in_blocks(scores: int, queries: int, call: Callable[[], Any]) -> Any:
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(_attention, "SCORES", scores)
        patch.setattr(_attention, "QUERIES", queries)
        return call()


def plain(
    query: Array,
    key: Array,
    value: Array,
    attn_mask: Array | None = None,
    *,
    is_causal: bool = False,
    scale: float | None = None,
    shared: int = 1,
) -> Array:
    """The formula, all at once and in float64."""
    query, key, value = (x.astype(np.float64) for x in (query, key, value))
    if shared > 1:
        key, value = key.repeat(shared, axis=-3), value.repeat(shared, axis=-3)
    scores = query @ key.swapaxes(-1, -2) * (query.shape[-1] ** -0.5 if scale is None else scale)
    if attn_mask is not None:
        scores = np.where(attn_mask, scores, -np.inf) if attn_mask.dtype == bool else scores + attn_mask
    if is_causal:
        scores = np.where(np.tri(*scores.shape[-2:]) > 0, scores, -np.inf)
    largest = scores.max(axis=-1, keepdims=True, initial=-np.inf)
    weights = np.exp(scores - np.where(np.isfinite(largest), largest, 0))
    total = weights.sum(axis=-1, keepdims=True)
    result: Array = weights / np.where(total == 0, 1, total) @ value
    return result


@st.composite
def products(draw: st.DrawFn) -> tuple[Inputs, dict[str, Any], int]:
    """Query, key and value, the settings, and how many heads of the query share one of the key."""
    size = st.integers(1, 9)
    length, keys, features, columns = draw(size), draw(size), draw(st.integers(1, 4)), draw(st.integers(1, 4))
    shared = draw(st.sampled_from([1, 1, 2]))
    lead = draw(st.sampled_from([(2,), (3,), (2, 3)] if shared > 1 else [(), (2,), (3,), (2, 3)]))
    seed, dtype = draw(st.integers(0, 99)), draw(st.sampled_from([np.float32, np.float64]))
    query_lead, key_lead, value_lead = (*lead[:-1], lead[-1] * shared) if lead else (), lead, lead
    if shared == 1:
        leads = st.sampled_from([lead, lead[1:], (1,) * len(lead)])
        query_lead, key_lead, value_lead = draw(leads), draw(leads), draw(leads)
    arrays = (
        random(*query_lead, length, features, seed=seed, dtype=dtype),
        random(*key_lead, keys, features, seed=seed + 1, dtype=dtype),
        random(*value_lead, keys, columns, seed=seed + 2, dtype=dtype),
    )
    mask = None
    if draw(st.booleans()):
        whole = (*(query_lead if shared > 1 else np.broadcast_shapes(query_lead, key_lead, value_lead)), length, keys)
        shape = tuple(draw(st.sampled_from([1, n])) for n in whole)[draw(st.integers(0, len(whole) - 1)) :]
        given = random(*shape, seed=seed + 3, dtype=dtype)
        mask = draw(st.sampled_from([given, given > 0, given < -9]))
    options = {"attn_mask": mask, "is_causal": draw(st.booleans()), "scale": draw(st.sampled_from([None, 0.3]))}
    return arrays, options, shared


@given(products(), st.integers(1, 40), st.integers(1, 4))
@settings(max_examples=300, deadline=None)
def test_products_in_blocks_are_the_plain_formula(
    case: tuple[Inputs, dict[str, Any], int], scores: int, queries: int
) -> None:
    arrays, options, shared = case
    found = in_blocks(
        scores, queries, lambda: nn.scaled_dot_product_attention(*arrays, **options, enable_gqa=shared > 1)
    )
    expected = plain(*arrays, **options, shared=shared)
    assert_close(found, expected.astype(arrays[0].dtype), (case, scores, queries))


@pytest.mark.parametrize("is_causal", [False, True])
@pytest.mark.parametrize("length", [1, 127, 128, 129, 256, 257])
@pytest.mark.parametrize("keys", [127, 129, 512, 513])
def test_products_around_the_edge_of_a_block_are_the_plain_formula(length: int, keys: int, is_causal: bool) -> None:
    arrays = random(2, length, 8), random(2, keys, 8, seed=1), random(2, keys, 8, seed=2)
    found = nn.scaled_dot_product_attention(*arrays, is_causal=is_causal)
    assert_close(found, plain(*arrays, is_causal=is_causal).astype(np.float32))


@st.composite
def layers(draw: st.DrawFn) -> tuple[nn.MultiheadAttention, Inputs, dict[str, Any]]:
    heads, batch = draw(st.integers(1, 3)), draw(st.integers(1, 3))
    size, length, keys = heads * draw(st.integers(1, 3)), draw(st.integers(1, 8)), draw(st.integers(1, 8))
    kdim, vdim = draw(st.sampled_from([(size, size), (2, 5)]))
    layer = nn.MultiheadAttention.init(
        size,
        heads,
        add_bias_kv=draw(st.booleans()),
        add_zero_attn=draw(st.booleans()),
        kdim=kdim,
        vdim=vdim,
        batch_first=draw(st.booleans()),
        rng=np.random.default_rng(0),
    )
    inputs = random(batch, length, size), random(batch, keys, kdim, seed=1), random(batch, keys, vdim, seed=2)
    if not layer.batch_first:
        inputs = inputs[0].swapaxes(0, 1), inputs[1].swapaxes(0, 1), inputs[2].swapaxes(0, 1)
    options: dict[str, Any] = {"average_attn_weights": draw(st.booleans()), "need_weights": draw(st.booleans())}
    shape = draw(st.sampled_from([None, (length, keys), (batch * heads, length, keys)]))
    if shape is not None:
        mask = random(*shape, seed=3)
        options["attn_mask"] = mask > 0.5 if draw(st.booleans()) else mask
    if draw(st.booleans()):
        padding = np.arange(keys) >= np.arange(1, batch + 1)[:, None]
        options["key_padding_mask"] = padding if draw(st.booleans()) else np.where(padding, -np.inf, 0)
    return layer, inputs, options


def at_once(
    layer: nn.MultiheadAttention,
    inputs: Inputs,
    *,
    attn_mask: Array | None = None,
    key_padding_mask: Array | None = None,
    average_attn_weights: bool,
    need_weights: bool,
) -> tuple[Array, Array | None]:
    """The layer as its definition has it: all heads, all queries and all keys in float64."""
    heads, size = layer._checked_heads(), len(layer.out_proj.weight)
    batches = [x if layer.batch_first else x.swapaxes(0, 1) for x in inputs]
    parts = [
        x.astype(np.float64) @ weight.T + bias
        for x, weight, bias in zip(batches, *map(list, layer._in_projections()), strict=True)
    ]
    batch, length, keys = len(parts[0]), parts[0].shape[1], parts[1].shape[1]
    mask = np.zeros((batch, heads, length, keys))
    for one, shape in ((attn_mask, (-1, heads, length, keys)), (key_padding_mask, (batch, 1, 1, keys))):
        if one is not None:
            added = np.where(one, -np.inf, 0) if one.dtype == bool else one
            mask = mask + (added if one.shape == (length, keys) and one is attn_mask else added.reshape(shape))
    more: list[Any] = [(layer.bias_k, layer.bias_v)] * (layer.bias_k is not None) + [(0, 0)] * layer.add_zero_attn
    for pair in more:
        parts[1:] = [
            np.concatenate([x, np.broadcast_to(last, (batch, 1, size))], axis=1)
            for x, last in zip(parts[1:], pair, strict=True)
        ]
        mask = np.concatenate([mask, np.zeros((batch, heads, length, 1))], axis=-1)
    query, key, value = (x.reshape(batch, -1, heads, size // heads).swapaxes(1, 2) for x in parts)
    scores = query @ key.swapaxes(2, 3) * (size // heads) ** -0.5 + mask
    with np.errstate(invalid="ignore"):
        weights = np.exp(scores - scores.max(axis=-1, keepdims=True))
        weights /= weights.sum(axis=-1, keepdims=True)
    if not need_weights:
        weights = np.where(np.isneginf(scores).all(axis=-1, keepdims=True), 0, weights)  # as torch has it
    output = (weights @ value).swapaxes(1, 2).reshape(batch, length, size) @ layer.out_proj.weight.T
    output = output + layer.out_proj.bias
    shown = weights.mean(axis=1) if average_attn_weights else weights
    return output if layer.batch_first else output.swapaxes(0, 1), shown if need_weights else None


@given(layers(), st.integers(1, 60), st.integers(1, 4))
@settings(max_examples=200, deadline=None)
def test_layer_in_blocks_is_the_plain_formula(
    case: tuple[nn.MultiheadAttention, Inputs, dict[str, Any]], scores: int, queries: int
) -> None:
    layer, inputs, options = case
    output, weights = in_blocks(scores, queries, lambda: layer(*inputs, **options))
    expected, shown = at_once(layer, inputs, **options)
    assert_close(output, expected.astype(np.float32), case)
    assert (weights is None) == (shown is None)
    if shown is not None:
        assert_close(weights, shown.astype(np.float32), case)


def test_keys_that_no_query_of_a_block_may_see_are_not_read() -> None:
    length = 3 * _attention.QUERIES
    query, key, value = (random(length, 4, seed=seed).copy() for seed in range(3))
    expected = nn.scaled_dot_product_attention(query, key, value, is_causal=True)
    later = slice(_attention.SCORES // length, None)
    assert later.start < length
    key[later], value[later] = np.nan, np.nan
    found = nn.scaled_dot_product_attention(query, key, value, is_causal=True)
    np.testing.assert_array_equal(found[: later.start], expected[: later.start])
    assert np.isnan(found[later.start :]).all()


def peak(call: Callable[[], Any]) -> int:
    """Return how many bytes are in use at the most during a call, beyond those before it."""
    tracemalloc.start()
    try:
        call()
        return tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()


@pytest.mark.parametrize("mask", [None, "bool", "float", "causal"])
def test_products_need_the_memory_of_a_block_beside_the_output(mask: str | None) -> None:
    """Scores of all six heads are 54 MB, of one head 9 MB."""
    query, key, value = (random(1, 6, 1500, 64, seed=seed) for seed in range(3))
    masks: dict[str | None, Array] = {"bool": random(1500, 1500) > 0, "float": random(1500, 1500)}
    given, is_causal = masks.get(mask), mask == "causal"
    used = peak(lambda: nn.scaled_dot_product_attention(query, key, value, given, is_causal=is_causal))
    assert used - query.nbytes < 3 * MIB


@pytest.mark.parametrize("need_weights", [False, True])
def test_layer_needs_no_memory_for_the_scores_of_all_heads(need_weights: bool) -> None:
    """Query, key, value, what the heads give and the output have 2.3 MB each; the weights, if they are asked for, 9."""
    layer, x = nn.MultiheadAttention.init(384, 6, batch_first=True), random(1, 1500, 384)
    used = peak(lambda: layer(x, x, x, need_weights=need_weights))
    assert used - 5 * x.nbytes - need_weights * 4 * 1500**2 < 5 * MIB


def test_shared_heads_are_not_copied() -> None:
    query, key, value = random(32, 1, 64), random(2, 4096, 64), random(2, 4096, 64)
    used = peak(lambda: nn.scaled_dot_product_attention(query, key, value, enable_gqa=True))
    assert used < key.nbytes


@pytest.mark.parametrize("dtype", ["float16", "bfloat16"])
def test_half_precision_is_computed_in_float32_block_by_block(dtype: str) -> None:
    if dtype == "bfloat16":
        pytest.importorskip("ml_dtypes")
    query, key, value, mask = (random(2, 200, n, seed=seed).astype(dtype) for seed, n in enumerate((8, 8, 8, 200)))
    wide, wide_key, wide_value, wide_mask = (x.astype(np.float32) for x in (query, key, value, mask))
    for one, wide_one in ((None, None), (mask, wide_mask), (mask > 0, wide_mask > 0)):
        found = nn.scaled_dot_product_attention(query, key, value, one)
        assert found.dtype == query.dtype
        expected = nn.scaled_dot_product_attention(wide, wide_key, wide_value, wide_one)
        np.testing.assert_array_equal(found, expected.astype(dtype))


def test_scores_too_large_for_the_dtype_raise_no_warning() -> None:
    query, key, value = np.full((2, 4), 1e30, np.float32), np.full((3, 4), 1e30, np.float32), random(3, 4)
    assert np.isnan(nn.scaled_dot_product_attention(query, key, value)).all()  # as torch: infinity less infinity
    np.testing.assert_allclose(
        nn.scaled_dot_product_attention(query, np.array([[1e8] * 4, [0] * 4, [-1e8] * 4]), value, scale=1e-4),
        np.broadcast_to(value[0], (2, 4)),
    )


@pytest.mark.parametrize("mask", [None, np.zeros((2, 3), np.float32)], ids=["no mask", "mask"])
def test_query_whose_scores_are_all_minus_infinity_gives_zeros_as_in_torch(mask: Array | None) -> None:
    query, ones = np.full((2, 4), -np.inf, np.float32), np.ones((3, 4), np.float32)
    np.testing.assert_array_equal(nn.scaled_dot_product_attention(query, ones, ones, mask), np.zeros((2, 4)))


def test_query_without_keys_gives_zeros_and_the_layer_its_bias() -> None:
    query, nothing = random(2, 4), random(0, 4)
    np.testing.assert_array_equal(nn.scaled_dot_product_attention(query, nothing, nothing), np.zeros((2, 4)))
    layer = nn.MultiheadAttention.init(4, 2)
    layer.out_proj.bias = random(4, seed=1)
    output, weights = layer(query, nothing, nothing)
    np.testing.assert_array_equal(output, np.broadcast_to(layer.out_proj.bias, (2, 4)))
    assert weights is not None
    assert weights.shape == (2, 0)


def test_layer_gives_nan_where_a_query_may_see_nothing_and_no_warning() -> None:
    layer, x = nn.MultiheadAttention.init(4, 2), random(3, 4)
    output, weights = layer(x, x, x, attn_mask=np.array([[False] * 3, [True] * 3, [True, False, False]]))
    assert weights is not None
    assert [bool(np.isnan(row).all()) for row in output] == [False, True, False]
    assert [bool(np.isnan(row).all()) for row in weights] == [False, True, False]
    output, _ = layer(x, x, x, attn_mask=np.array([[True] * 3] * 3), need_weights=False)
    assert layer.out_proj.bias is not None
    np.testing.assert_array_equal(output, np.broadcast_to(layer.out_proj.bias, output.shape))


@pytest.mark.parametrize("shape", [(2, 2, 3), (5, 3), (1, 2, 3)])
def test_mask_larger_than_the_scores_is_refused_as_in_torch(shape: tuple[int, ...]) -> None:
    message = rf"scaled_dot_product_attention: expected an attn_mask that spreads over (1, 3), found {shape}"
    with pytest.raises(nn.LayerError) as caught:
        nn.scaled_dot_product_attention(random(1, 4), random(3, 4), random(3, 4), np.zeros(shape))
    assert str(caught.value) == message
