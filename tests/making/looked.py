"""What there is to say about files that are not there: facts for pages."""

from __future__ import annotations

import math
from typing import Any

from hatch_wheelweights.checkpoint.module_classes import ModuleClass
from hatch_wheelweights.looking.inspection.facts import FileFacts
from hatch_wheelweights.looking.inspection.statistics import BINS, Statistics
from hatch_wheelweights.looking.inspection.tensors import TensorFacts

SHAPES = {"attention.query": (64, 64), "mlp.up": (256, 64), "mlp.down": (64, 256), "norm": (64,)}


def looked(*tensors: TensorFacts, **values: Any) -> FileFacts:
    """Return the facts of a file that holds these tensors."""
    size = sum(tensor.nbytes or 0 for tensor in tensors)
    whole: dict[str, Any] = {"path": "weights/model.pt", "kind": "pytorch-zip", "size": size, "total": len(tensors)}
    return FileFacts(**(whole | {"tensors": tensors} | values))


def fact(key: str, shape: tuple[int, ...] = (4,), dtype: str = "float32", **values: Any) -> TensorFacts:
    """Return the facts of a tensor."""
    whole: dict[str, Any] = {"source": key, "new_dtype": dtype, "nbytes": 4 * math.prod(shape)}
    return TensorFacts(**({"key": key, "shape": shape, "dtype": dtype} | whole | values))


def statistics(values: int, std: float, **others: Any) -> Statistics:
    """Return statistics that look like those of weights."""
    histogram = tuple(round(1000 * math.exp(-(((i - 31.5) / 8) ** 2))) for i in range(BINS))
    whole: dict[str, Any] = {
        "values": values, "zeros": 0, "nans": 0, "infinities": 0, "minimum": -4 * std, "maximum": 4 * std,
        "mean": std / 10, "std": std, "rows": 64, "dead_rows": 0, "histogram": histogram,
    }  # fmt: skip
    return Statistics(**(whole | others))


def transformer(layers: int, *, with_statistics: bool = True, renamed: bool = False) -> FileFacts:
    """Return the facts of a model of equal layers, whose standard deviations count on; there are 9 tensors and more."""
    tensors = [_tensor("embed.weight", (1000, 64), 1.0, with_statistics, renamed)]
    for layer in range(layers):
        for name, shape in SHAPES.items():
            std = 0.01 * (layer + 1)
            tensors.append(_tensor(f"layers.{layer}.{name}.weight", shape, std, with_statistics, renamed))
            tensors.append(_tensor(f"layers.{layer}.{name}.bias", shape[:1], std, with_statistics, renamed))
    linear = ModuleClass("torch.nn.modules.linear.Linear", {"in_features": 64, "out_features": 64})
    prefix = "module." if renamed else ""
    embedding = ModuleClass("torch.nn.modules.sparse.Embedding", {"num_embeddings": 1000, "embedding_dim": 64})
    classes = {f"{prefix}embed": embedding}
    classes |= {f"{prefix}layers.{layer}.attention.query": linear for layer in range(layers)}
    return looked(*tensors, modules=classes)


def _tensor(key: str, shape: tuple[int, ...], std: float, with_statistics: bool, renamed: bool) -> TensorFacts:
    found = statistics(math.prod(shape), std) if with_statistics else None
    return fact(key, shape, source=f"module.{key}" if renamed else key, statistics=found)
