"""Attention and recurrent layers give torch's values at sizes that are computed in several blocks or wide products."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from looking.closeness import assert_close
from wheelweights import nn

torch = pytest.importorskip("torch")
F = torch.nn.functional
RNG = np.random.default_rng(0)


@pytest.fixture(autouse=True)
def _no_gradients() -> Any:
    with torch.no_grad():
        yield


def tensor(*shape: int) -> Any:
    return torch.from_numpy(RNG.standard_normal(shape, np.float32))


def assert_near(found: Any, expected: Any) -> None:
    """Float32 sums over hundreds of terms, in another order than torch's."""
    assert found.dtype == np.float32
    np.testing.assert_allclose(found, expected.numpy(), rtol=2e-5, atol=2e-5 * max(1, float(expected.abs().max())))


SHAPES = {
    "prompt": ((1, 4, 300, 16), (1, 4, 300, 16)),
    "one query and a cache": ((1, 12, 1, 64), (1, 12, 777, 64)),
    "cross attention": ((2, 3, 40, 16), (2, 3, 600, 16)),
    "more queries than keys": ((3, 600, 16), (3, 40, 16)),
    "windows": ((50, 3, 49, 8), (50, 3, 49, 8)),
}


@pytest.mark.parametrize("mask", [None, "causal", "bool", "float", "keys"])
@pytest.mark.parametrize("shape", SHAPES)
def test_scaled_dot_products(shape: str, mask: str | None) -> None:
    query, key, value = tensor(*SHAPES[shape][0]), tensor(*SHAPES[shape][1]), tensor(*SHAPES[shape][1])
    given = None
    if mask in {"bool", "float", "keys"}:
        given = tensor(1 if mask == "keys" else query.shape[-2], key.shape[-2])
        given = given if mask == "float" else given > 0
    found = nn.scaled_dot_product_attention(
        query.numpy(),
        key.numpy(),
        value.numpy(),
        None if given is None else given.numpy(),
        is_causal=mask == "causal",
    )
    assert_near(found, F.scaled_dot_product_attention(query, key, value, given, is_causal=mask == "causal"))


@pytest.mark.parametrize("is_causal", [False, True])
@pytest.mark.parametrize("length", [1, 300])
def test_shared_heads(length: int, is_causal: bool) -> None:
    query, key, value = tensor(2, 8, length, 16), tensor(2, 2, 300, 16), tensor(2, 2, 300, 16)
    options: dict[str, Any] = {"enable_gqa": True, "is_causal": is_causal}
    found = nn.scaled_dot_product_attention(query.numpy(), key.numpy(), value.numpy(), **options)
    assert_near(found, F.scaled_dot_product_attention(query, key, value, **options))


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16], ids=str)
def test_half_precision(dtype: Any) -> None:
    query, key, value = (tensor(2, 4, 300, 16).to(dtype) for _ in range(3))
    expected = F.scaled_dot_product_attention(*(x.float() for x in (query, key, value))).to(dtype)
    if dtype is torch.float16:
        assert_close(nn.scaled_dot_product_attention(*(x.numpy() for x in (query, key, value))), expected.numpy())
        return
    bfloat16 = pytest.importorskip("ml_dtypes").bfloat16
    arrays = [x.contiguous().view(torch.int16).numpy().view(bfloat16) for x in (query, key, value, expected)]
    assert_close(nn.scaled_dot_product_attention(*arrays[:3]), arrays[3])


@pytest.mark.parametrize("average", [False, True])
@pytest.mark.parametrize("need_weights", [False, True])
@pytest.mark.parametrize("mask", [None, "bool", "float"])
def test_multihead_attention(need_weights: bool, average: bool, mask: str | None) -> None:
    module = torch.nn.MultiheadAttention(48, 4, kdim=20, vdim=30, add_bias_kv=True).eval()
    state = {name: parameter.numpy() for name, parameter in module.state_dict().items()}
    out_proj = nn.Linear(state.pop("out_proj.weight"), state.pop("out_proj.bias"))
    layer = nn.MultiheadAttention(out_proj, **state, num_heads=4)
    query, key, value = tensor(200, 2, 48), tensor(300, 2, 20), tensor(300, 2, 30)
    padding = torch.arange(300) >= torch.tensor([[300], [211]])
    masks: dict[str, Any] = {"key_padding_mask": padding}
    if mask:
        given = tensor(200, 300)
        masks = {"attn_mask": given if mask == "float" else given > 1}
        masks["key_padding_mask"] = torch.zeros(2, 300).masked_fill(padding, -torch.inf) if mask == "float" else padding
    flags: dict[str, Any] = {"need_weights": need_weights, "average_attn_weights": average}
    expected, weights = module(query, key, value, **masks, **flags)
    found, shown = layer(
        query.numpy(), key.numpy(), value.numpy(), **{name: one.numpy() for name, one in masks.items()}, **flags
    )
    assert_near(found, expected)
    assert (shown is None) == (weights is None)
    if shown is not None:
        assert_near(shown, weights)


@pytest.mark.parametrize("batch", [1, 2, 16, 65])
@pytest.mark.parametrize("kind", ["LSTM", "GRU"])
def test_recurrent_layers(kind: str, batch: int) -> None:
    module = getattr(torch.nn, kind)(40, 64, 2, bidirectional=True).eval()
    state = {name: parameter.numpy() for name, parameter in module.state_dict().items()}
    x = tensor(30, batch, 40)
    expected, last = module(x)
    found, found_last = getattr(nn, kind)(state)(x.numpy())
    assert_near(found, expected)
    for one, other in zip(found_last, last, strict=True) if kind == "LSTM" else [(found_last, last)]:
        assert_near(one, other)
