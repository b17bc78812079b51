"""Which layer of `wheelweights.nn` a module is: by the class that the file names, else by the names and shapes in it.

Only what certainly binds is a layer; a module that none fits becomes a dataclass of its own. What shapes cannot tell (a
transposed convolution from another one, a group norm from a layer norm) is said beside the layer.
"""

from __future__ import annotations

import re
from dataclasses import replace
from functools import partial
from typing import TYPE_CHECKING, Final

from hatch_wheelweights.looking.scaffold import building
from hatch_wheelweights.looking.scaffold.building import Hints
from hatch_wheelweights.looking.scaffold.recurrent import gates_of
from hatch_wheelweights.looking.scaffold.settings import Settings

if TYPE_CHECKING:
    from collections.abc import Mapping

    from hatch_wheelweights.looking.scaffold.building import Make, Shapes
    from hatch_wheelweights.looking.scaffold.calls import Layer
    from hatch_wheelweights.looking.scaffold.modules import Module

__all__ = ["hints_of", "layer_of", "short_class"]

_FLOATS: Final = ("float", "bfloat")
_OF_TORCH: Final = re.compile(r"(^|\.)torch\.(nn|ao)\.")
_TABLE: Final = re.compile(r"emb|wte|wpe|vocab|lookup", re.IGNORECASE)
_MATRIX: Final = re.compile(r"proj|fc|lin|dense|head|query|key|value|qkv|gate|mlp|classifier|out", re.IGNORECASE)
_LAYER_NORM: Final = re.compile(r"(^|_)ln(_|\d|$)|layer_?norm", re.IGNORECASE)
_NORM: Final = re.compile(r"norm|ln", re.IGNORECASE)
_UPWARDS: Final = re.compile(r"up|dec|transp|gen", re.IGNORECASE)
_GROUPS: Final = re.compile(r"group|gn", re.IGNORECASE)


def hints_of(model: Module) -> Hints:
    """Return what a model as a whole says about its layers: whether some have matrices that are (in, out)."""
    waiting = [model]
    while waiting:
        module = waiting.pop()
        waiting += module.modules.values()
        shapes = {name: tensor.shape for name, tensor in module.tensors.items()}
        if module.known is None and shapes.keys() == {"weight", "bias"} and len(shapes["weight"]) == 2:
            rows, columns = shapes["weight"]
            if rows != columns and shapes["bias"] == (columns,):
                return Hints(has_transposed=True)
    return Hints()


def layer_of(module: Module, hints: Hints) -> Layer | None:
    """Return the layer that a module is, or None. `hints` learn from it what the next one may be."""
    shapes = _shapes_of(module)
    name = short_class(module)
    if shapes is None or (module.known is not None and name is None):
        return None  # a class of somebody's own: what it computes is not in the file
    make = _guess(module, shapes) if name is None else _BY_CLASS.get(name)
    settings = Settings({} if module.known is None else module.known.settings)
    layer = None if make is None else make(shapes, settings, hints)
    if layer is not None and layer.type.startswith("nn.Conv"):
        hints.channels = layer.call.arguments[1].value
    return layer


def short_class(module: Module) -> str | None:
    """Return the name of a class of torch's own; None for any other, and where the file names none."""
    name = "" if module.known is None else module.known.name
    return name.rpartition(".")[2] if _OF_TORCH.search(name) else None


def _shapes_of(module: Module) -> Shapes | None:
    """Return the shapes of the parameters by name, those of `out_proj` included; None for what is no layer."""
    shapes: Shapes = {}
    for name, tensor in module.tensors.items():
        if name != "num_batches_tracked":
            if not tensor.dtype.startswith(_FLOATS) or 0 in tensor.shape:
                return None
            shapes[name] = tensor.shape
    for name, inner in module.modules.items():
        if name != "out_proj" or inner.modules or not inner.tensors.keys() <= {"weight", "bias"}:
            return None
        shapes |= {f"{name}.{part}": tensor.shape for part, tensor in inner.tensors.items()}
    return shapes if "num_batches_tracked" not in module.tensors or "running_mean" in shapes else None


# By the class that the file names

_BY_CLASS: Final[Mapping[str, Make]] = {
    "Linear": building.linear,
    "NonDynamicallyQuantizableLinear": building.linear,
    "Embedding": building.embedding,
    "Conv1d": building.convolution,
    "Conv2d": building.convolution,
    "ConvTranspose1d": building.transposed,
    "ConvTranspose2d": building.transposed,
    "BatchNorm1d": partial(building.batch_norm, axes="1d"),
    "BatchNorm2d": partial(building.batch_norm, axes="2d"),
    "BatchNorm3d": building.batch_norm,
    "SyncBatchNorm": building.batch_norm,
    "LayerNorm": building.layer_norm,
    "GroupNorm": building.group_norm,
    "RMSNorm": building.rms_norm,
    "LSTM": building.lstm,
    "GRU": building.gru,
    "MultiheadAttention": building.attention,
}


# By names and shapes


def _guess(module: Module, shapes: Shapes) -> Make | None:
    """Return what makes the layer that has these names and shapes."""
    if "running_mean" in shapes:
        return building.batch_norm
    if "out_proj.weight" in shapes:
        return building.attention
    if "weight_ih_l0" in shapes:
        return {3: building.gru, 4: building.lstm}.get(gates_of(shapes) or 0)
    axes = len(shapes.get("weight", ()))
    if axes > 1 and shapes["weight"] == shapes.get("bias"):
        return building.layer_norm
    if axes in (3, 4):
        names = f"{module.name} {module.above.name if module.above else ''}"
        return _perhaps_transposed if _UPWARDS.search(names) else _convolution
    return _guess_by_axes(module.name, axes, biased="bias" in shapes)


def _guess_by_axes(name: str, axes: int, *, biased: bool) -> Make | None:
    if axes == 2 and _TABLE.search(name) and not biased:
        return building.embedding
    if axes == 2:
        return _linear if biased or _MATRIX.search(name) else _linear_or_embedding
    if axes == 1 and biased and _LAYER_NORM.search(name):
        return building.layer_norm
    if axes == 1 and biased:
        return _group_norm if _GROUPS.search(name) else _layer_norm
    return _rms_norm if axes == 1 and _NORM.search(name) else None


def _convolution(shapes: Shapes, settings: Settings, hints: Hints) -> Layer | None:
    weight, bias = shapes["weight"], shapes.get("bias")
    is_transposed = bias is not None and weight[0] != weight[1] and bias == weight[1:2]
    return (building.transposed if is_transposed else building.convolution)(shapes, settings, hints)


def _perhaps_transposed(shapes: Shapes, settings: Settings, hints: Hints) -> Layer | None:
    """Return a convolution, with a word where it may as well be a transposed one, as its name lets one think."""
    weight = shapes["weight"]
    layer = _convolution(shapes, settings, hints)
    is_certain = "bias" in shapes and weight[0] != weight[1]
    return layer if is_certain else _doubted(layer, f"nn.ConvTranspose{len(weight) - 2}d")


def _linear(shapes: Shapes, settings: Settings, hints: Hints) -> Layer | None:
    rows, columns = shapes["weight"]
    if hints.has_transposed and "bias" in shapes and rows == columns:
        return None
    return building.linear(shapes, settings, hints)


def _linear_or_embedding(shapes: Shapes, settings: Settings, hints: Hints) -> Layer | None:
    return _doubted(building.linear(shapes, settings, hints), "nn.Embedding")


def _group_norm(shapes: Shapes, settings: Settings, hints: Hints) -> Layer | None:
    return _doubted(building.group_norm(shapes, settings, hints), "nn.LayerNorm")


def _layer_norm(shapes: Shapes, settings: Settings, hints: Hints) -> Layer | None:
    return _doubted(building.layer_norm(shapes, settings, hints), "nn.GroupNorm")


def _rms_norm(shapes: Shapes, settings: Settings, hints: Hints) -> Layer | None:
    return _doubted(building.rms_norm(shapes, settings, hints), "nn.LayerNorm without a bias")


def _doubted(layer: Layer | None, other: str) -> Layer | None:
    return layer and replace(layer, doubt=f"or {other}: names and shapes do not tell")
