"""Write expected.npz: torch's outputs for every layer and function of `wheelweights.nn`. Made with torch 2.13.0.

The entry `cases` is JSON: name -> {"layer" or "function", "settings"}; the arrays of a case are `name/state/KEY`,
`name/input/N`, `name/mask/NAME` and `name/output/N`.
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import nn
from torch.nn import functional

random = np.random.default_rng(20)
torch.set_grad_enabled(False)


def tensor(*shape: int) -> torch.Tensor:
    return torch.from_numpy(random.normal(size=shape).astype(np.float32))


def ready(module: nn.Module) -> nn.Module:
    """Return the module in evaluation mode with no parameter left at one or zero."""
    for name, value in module.state_dict().items():
        if value.dtype.is_floating_point:
            value.copy_(tensor(*value.shape).abs() + 0.5 if "var" in name else tensor(*value.shape) / 2)
    return module.eval()


INDICES = torch.tensor([[0, 3, 6], [6, 1, 1]])
CAUSAL = torch.triu(torch.ones(5, 5, dtype=torch.bool), 1)
PADDING = torch.tensor([[False, False, True, True], [False, False, False, True]])
S = dict[str, Any]

# name, layer, its module, settings that our layer needs beside the arrays, inputs, masks
LAYERS: list[tuple[str, str, nn.Module, S, list[Any], S]] = [
    ("linear", "Linear", nn.Linear(5, 3), {}, [tensor(2, 4, 5)], {}),
    ("linear without bias", "Linear", nn.Linear(5, 3, bias=False), {}, [tensor(5)], {}),
    (
        "conv1d",
        "Conv1d",
        nn.Conv1d(4, 6, 3, 2, 1, 2, 2),
        {"stride": 2, "padding": 1, "dilation": 2, "groups": 2},
        [tensor(2, 4, 12)],
        {},
    ),
    (
        "conv2d",
        "Conv2d",
        nn.Conv2d(3, 4, (3, 2), (2, 1), (1, 0)),
        {"stride": (2, 1), "padding": (1, 0)},
        [tensor(2, 3, 7, 6)],
        {},
    ),
    ("conv2d same", "Conv2d", nn.Conv2d(2, 3, (4, 3), padding="same"), {"padding": "same"}, [tensor(2, 6, 6)], {}),
    ("conv2d depthwise", "Conv2d", nn.Conv2d(4, 8, 3, groups=4), {"groups": 4}, [tensor(2, 4, 5, 5)], {}),
    (
        "conv transpose 1d",
        "ConvTranspose1d",
        nn.ConvTranspose1d(3, 2, 4, 2, 1, bias=False),
        {"stride": 2, "padding": 1},
        [tensor(2, 3, 5)],
        {},
    ),
    (
        "conv transpose 2d",
        "ConvTranspose2d",
        nn.ConvTranspose2d(4, 6, 3, 3, 1, 2, 2, dilation=2),
        {"stride": 3, "padding": 1, "output_padding": 2, "groups": 2, "dilation": 2},
        [tensor(2, 4, 3, 4)],
        {},
    ),
    ("embedding", "Embedding", nn.Embedding(7, 3), {}, [INDICES], {}),
    ("batch norm 1d", "BatchNorm1d", nn.BatchNorm1d(4), {}, [tensor(3, 4)], {}),
    ("batch norm 2d", "BatchNorm2d", nn.BatchNorm2d(3, eps=1e-3), {"eps": 1e-3}, [tensor(2, 3, 4, 2)], {}),
    (
        "batch norm of the batch",
        "BatchNorm2d",
        nn.BatchNorm2d(3, track_running_stats=False),
        {"track_running_stats": False},
        [tensor(2, 3, 4, 2)],
        {},
    ),
    ("layer norm", "LayerNorm", nn.LayerNorm((3, 4)), {}, [tensor(2, 3, 4)], {}),
    ("layer norm without bias", "LayerNorm", nn.LayerNorm(6, 0.1, bias=False), {"eps": 0.1}, [tensor(2, 3, 6)], {}),
    ("group norm", "GroupNorm", nn.GroupNorm(2, 6, 0.1), {"num_groups": 2, "eps": 0.1}, [tensor(2, 6, 3)], {}),
    ("rms norm", "RMSNorm", nn.RMSNorm(6, 0.1), {"eps": 0.1}, [tensor(2, 3, 6)], {}),
    ("rms norm of small numbers", "RMSNorm", nn.RMSNorm(6), {}, [tensor(2, 3, 6) / 1000], {}),
    ("lstm", "LSTM", nn.LSTM(3, 4), {}, [tensor(6, 2, 3)], {}),
    (
        "lstm deep",
        "LSTM",
        nn.LSTM(3, 4, 2, bidirectional=True, batch_first=True),
        {"batch_first": True},
        [tensor(2, 5, 3)],
        {},
    ),
    ("lstm projected", "LSTM", nn.LSTM(3, 5, 2, bias=False, proj_size=2), {}, [tensor(4, 3)], {}),
    ("gru", "GRU", nn.GRU(3, 4, 2, bidirectional=True), {}, [tensor(5, 2, 3), tensor(4, 2, 4)], {}),
    (
        "attention",
        "MultiheadAttention",
        nn.MultiheadAttention(6, 2),
        {"num_heads": 2},
        [tensor(5, 2, 6)] * 3,
        {"attn_mask": CAUSAL},
    ),
    (
        "attention of other sizes",
        "MultiheadAttention",
        nn.MultiheadAttention(6, 3, kdim=4, vdim=5, add_bias_kv=True, add_zero_attn=True, batch_first=True),
        {"num_heads": 3, "add_zero_attn": True, "batch_first": True},
        [tensor(2, 3, 6), tensor(2, 4, 4), tensor(2, 4, 5)],
        {"key_padding_mask": PADDING},
    ),
]
IMAGE, ROW = tensor(2, 3, 9, 8), torch.linspace(-12, 12, 49)
FUNCTIONS: list[tuple[str, Any, list[torch.Tensor], S]] = [
    *(
        (name, getattr(functional, name), [ROW], {})
        for name in ("relu", "leaky_relu", "elu", "gelu", "silu", "softplus", "tanh")
    ),
    *((name, getattr(functional, name), [ROW], {}) for name in ("sigmoid", "hardsigmoid", "hardswish")),
    ("gelu", functional.gelu, [ROW / 4], {}),
    ("gelu", functional.gelu, [ROW / 4], {"approximate": "tanh"}),
    ("softmax", functional.softmax, [IMAGE], {"dim": 1}),
    ("log_softmax", functional.log_softmax, [IMAGE], {"dim": -1}),
    ("max_pool2d", functional.max_pool2d, [IMAGE], {"kernel_size": 3, "stride": 2, "padding": 1, "ceil_mode": True}),
    ("max_pool2d", functional.max_pool2d, [IMAGE], {"kernel_size": (2, 3), "dilation": 2}),
    ("avg_pool2d", functional.avg_pool2d, [IMAGE], {"kernel_size": 3, "padding": 1, "ceil_mode": True}),
    ("avg_pool2d", functional.avg_pool2d, [IMAGE], {"kernel_size": (3, 2), "padding": 1, "count_include_pad": False}),
    ("max_pool1d", functional.max_pool1d, [IMAGE[0]], {"kernel_size": 3, "stride": 2}),
    ("avg_pool1d", functional.avg_pool1d, [IMAGE[0]], {"kernel_size": 4}),
    ("adaptive_avg_pool2d", functional.adaptive_avg_pool2d, [IMAGE], {"output_size": (4, 3)}),
    ("adaptive_avg_pool1d", functional.adaptive_avg_pool1d, [IMAGE[0]], {"output_size": 5}),
    ("linear", functional.linear, [tensor(3, 4), tensor(2, 4), tensor(2)], {}),
    (
        "scaled_dot_product_attention",
        functional.scaled_dot_product_attention,
        [tensor(2, 5, 4) for _ in range(3)],
        {"is_causal": True},
    ),
]


def flat(outputs: Any) -> list[np.ndarray[Any, Any]]:
    if isinstance(outputs, tuple):
        return [array for output in outputs for array in flat(output)]
    return [outputs.numpy()]


def main() -> None:
    cases: dict[str, S] = {}
    arrays: dict[str, Any] = {}
    for name, layer, module, settings, inputs, masks in LAYERS:
        cases[name] = {"layer": layer, "settings": settings}
        arrays |= {f"{name}/state/{key}": value.numpy() for key, value in ready(module).state_dict().items()}
        arrays |= {f"{name}/input/{n}": value.numpy() for n, value in enumerate(inputs)}
        arrays |= {f"{name}/mask/{key}": value.numpy() for key, value in masks.items()}
        arrays |= {f"{name}/output/{n}": value for n, value in enumerate(flat(module(*inputs, **masks)))}
    for number, (function, theirs, inputs, settings) in enumerate(FUNCTIONS):
        name = f"{function} {number}"
        cases[name] = {"function": function, "settings": settings}
        arrays |= {f"{name}/input/{n}": value.numpy() for n, value in enumerate(inputs)}
        arrays[f"{name}/output/0"] = theirs(*inputs, **settings).numpy()
    np.savez_compressed(Path(__file__).with_name("expected.npz"), cases=np.array(json.dumps(cases)), **arrays)


if __name__ == "__main__":
    main()
