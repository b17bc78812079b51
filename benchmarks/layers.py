"""Forward passes of `wheelweights.nn` beside torch's, both on one thread."""

from __future__ import annotations

import functools
from typing import TYPE_CHECKING, Any

import numpy as np
from measuring import OURS, Row, compared

from wheelweights import nn

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

Case = tuple[str, Any, tuple[int, ...], "Callable[[], Any]"]


def cases() -> list[Case]:
    """Name, layer or function of ours, shape of the input, and a maker of torch's counterpart."""
    import torch

    rng = np.random.default_rng(0)
    t = torch.nn
    return [
        ("linear 1024->1024, 256 rows", nn.Linear.init(1024, 1024, rng=rng), (256, 1024), lambda: t.Linear(1024, 1024)),
        ("linear 784->10, 1 row", nn.Linear.init(784, 10, rng=rng), (1, 784), lambda: t.Linear(784, 10)),
        (
            "conv2d 3x3 64->64, 8x56x56",
            nn.Conv2d.init(64, 64, 3, padding=1, rng=rng),
            (8, 64, 56, 56),
            lambda: t.Conv2d(64, 64, 3, padding=1),
        ),
        (
            "conv2d 7x7 stride 2 3->64, 2x224x224",
            nn.Conv2d.init(3, 64, 7, 2, 3, rng=rng),
            (2, 3, 224, 224),
            lambda: t.Conv2d(3, 64, 7, 2, 3),
        ),
        (
            "conv2d 1x1 256->64, 8x28x28",
            nn.Conv2d.init(256, 64, 1, rng=rng),
            (8, 256, 28, 28),
            lambda: t.Conv2d(256, 64, 1),
        ),
        (
            "conv2d 3x3 512->512, 8x7x7",
            nn.Conv2d.init(512, 512, 3, padding=1, rng=rng),
            (8, 512, 7, 7),
            lambda: t.Conv2d(512, 512, 3, padding=1),
        ),
        (
            "conv2d 3x3 depthwise 128, 8x28x28",
            nn.Conv2d.init(128, 128, 3, padding=1, groups=128, rng=rng),
            (8, 128, 28, 28),
            lambda: t.Conv2d(128, 128, 3, padding=1, groups=128),
        ),
        ("conv2d 3x3 1->8, 1x28x28", nn.Conv2d.init(1, 8, 3, rng=rng), (1, 1, 28, 28), lambda: t.Conv2d(1, 8, 3)),
        (
            "conv1d 80->384 kernel 3, 1x3000",
            nn.Conv1d.init(80, 384, 3, padding=1, rng=rng),
            (1, 80, 3000),
            lambda: t.Conv1d(80, 384, 3, padding=1),
        ),
        (
            "conv_transpose2d 4x4 stride 2 64->32, 4x28x28",
            nn.ConvTranspose2d.init(64, 32, 4, 2, 1, rng=rng),
            (4, 64, 28, 28),
            lambda: t.ConvTranspose2d(64, 32, 4, 2, 1),
        ),
        (
            "conv_transpose1d 8 stride 4 128->64, 2x500",
            nn.ConvTranspose1d.init(128, 64, 8, 4, 2, rng=rng),
            (2, 128, 500),
            lambda: t.ConvTranspose1d(128, 64, 8, 4, 2),
        ),
        ("batch_norm 64, 8x56x56", nn.BatchNorm2d.init(64), (8, 64, 56, 56), lambda: t.BatchNorm2d(64)),
        ("layer_norm 768, 8x128", nn.LayerNorm.init(768), (8, 128, 768), lambda: t.LayerNorm(768)),
        ("layer_norm 768, 1 row", nn.LayerNorm.init(768), (1, 1, 768), lambda: t.LayerNorm(768)),
        ("group_norm 32 of 64, 8x56x56", nn.GroupNorm.init(32, 64), (8, 64, 56, 56), lambda: t.GroupNorm(32, 64)),
        (
            "lstm 128->256, 2 layers, 64 steps, batch 16",
            nn.LSTM.init(128, 256, 2, rng=rng),
            (64, 16, 128),
            lambda: t.LSTM(128, 256, 2),
        ),
        ("lstm 32->64, 100 steps, batch 1", nn.LSTM.init(32, 64, rng=rng), (100, 1, 32), lambda: t.LSTM(32, 64)),
        ("gru 128->256, 64 steps, batch 16", nn.GRU.init(128, 256, rng=rng), (64, 16, 128), lambda: t.GRU(128, 256)),
        (
            "attention 512, 8 heads, 8x128",
            self_attention(nn.MultiheadAttention.init(512, 8, batch_first=True, rng=rng)),
            (8, 128, 512),
            lambda: self_attention(t.MultiheadAttention(512, 8, batch_first=True).eval()),
        ),
        *(
            (
                f"attention {width}, {heads} heads, 1x{length}",
                self_attention(nn.MultiheadAttention.init(width, heads, batch_first=True, rng=rng)),
                (1, length, width),
                functools.partial(torch_attention, t, width, heads),
            )
            for width, heads, length in ((768, 12, 512), (384, 6, 1500))
        ),
        (
            "attention, one query and 512 keys, 12 heads of 64",
            with_keys(rng, nn.scaled_dot_product_attention, np.asarray),
            (1, 12, 1, 64),
            lambda: with_keys(rng, t.functional.scaled_dot_product_attention, torch.from_numpy),
        ),
        ("leaky_relu 8x64x56x56", nn.leaky_relu, (8, 64, 56, 56), t.LeakyReLU),
        ("elu 8x64x56x56", nn.elu, (8, 64, 56, 56), t.ELU),
        ("hardswish 8x64x56x56", nn.hardswish, (8, 64, 56, 56), t.Hardswish),
        ("gelu 8x128x2048", nn.gelu, (8, 128, 2048), t.GELU),
        ("silu 8x128x2048", nn.silu, (8, 128, 2048), t.SiLU),
        ("relu 8x64x56x56", nn.relu, (8, 64, 56, 56), t.ReLU),
        ("softmax 8x8x128x128", nn.softmax, (8, 8, 128, 128), lambda: t.Softmax(-1)),
        (
            "max_pool2d 3, stride 2, 8x64x56x56",
            lambda x: nn.max_pool2d(x, 3, 2, 1),
            (8, 64, 56, 56),
            lambda: t.MaxPool2d(3, 2, 1),
        ),
        ("avg_pool2d 2, 8x64x56x56", lambda x: nn.avg_pool2d(x, 2), (8, 64, 56, 56), lambda: t.AvgPool2d(2)),
        (
            "adaptive_avg_pool2d 7, 8x64x56x56",
            lambda x: nn.adaptive_avg_pool2d(x, 7),
            (8, 64, 56, 56),
            lambda: t.AdaptiveAvgPool2d(7),
        ),
    ]


def torch_attention(t: Any, width: int, heads: int) -> Callable[[Any], Any]:
    return self_attention(t.MultiheadAttention(width, heads, batch_first=True).eval())


def with_keys(rng: Any, attention: Callable[..., Any], convert: Callable[[Any], Any]) -> Callable[[Any], Any]:
    keys, values = (convert(rng.standard_normal((1, 12, 512, 64), np.float32)) for _ in range(2))
    return lambda query: attention(query, keys, values)


def self_attention(layer: Any) -> Callable[[Any], Any]:
    return lambda x: layer(x, x, x, need_weights=False)


def measure(folder: Path, *, quick: bool) -> list[Row]:  # noqa: ARG001 (no files)
    import torch

    torch.set_num_threads(1)
    torch.set_grad_enabled(False)
    rows: list[Row] = []
    for work, ours, shape, theirs in cases():
        x = np.random.default_rng(1).standard_normal(shape, np.float32)
        counterpart, tensor = theirs(), torch.from_numpy(x)
        if isinstance(counterpart, torch.nn.Module):
            counterpart.eval()
        pair = {"torch": functools.partial(counterpart, tensor), OURS: functools.partial(ours, x)}
        rows += compared(work, pair, 3 if quick else 25)
    return rows
