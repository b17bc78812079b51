"""The layers of `wheelweights.nn`, each made of the shapes of its parameters and the settings that a file says.

A function here returns None where the parameters are not exactly those of its layer, so that what it returns binds.
"""

# ruff: noqa: ARG001 (all take the same)

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final, TypeAlias

from hatch_wheelweights.looking.scaffold.calls import SIZE, Argument, Call, Code, Layer, Value
from hatch_wheelweights.looking.scaffold.names import comment_text
from hatch_wheelweights.looking.scaffold.recurrent import recurrent
from hatch_wheelweights.looking.scaffold.settings import Settings, alike

if TYPE_CHECKING:
    from collections.abc import Mapping

__all__ = [
    "Hints",
    "Make",
    "Shapes",
    "attention",
    "batch_norm",
    "convolution",
    "embedding",
    "group_norm",
    "gru",
    "layer_norm",
    "linear",
    "lstm",
    "rms_norm",
    "transposed",
]


@dataclass
class Hints:
    """What the rest of a model says about a layer.

    `channels` come out of the convolution before it. `has_transposed` is set where some matrices are (in, out), as
    those of GPT-2: then a square one may be, too.
    """

    channels: Value | None = None
    has_transposed: bool = False


Shapes: TypeAlias = dict[str, tuple[int, ...]]
Make: TypeAlias = Callable[[Shapes, Settings, Hints], Layer | None]


def linear(shapes: Shapes, settings: Settings, hints: Hints) -> Layer | None:
    """Return a Linear."""
    if not _fit(shapes, {"weight": 2}, bias=0):
        return None
    outputs, inputs = shapes["weight"]
    call = Call("nn.Linear.init", (_size("in_features", inputs), _size("out_features", outputs), _bias(shapes)))
    return Layer("nn.Linear", call, has_settings=False)


def embedding(shapes: Shapes, settings: Settings, hints: Hints) -> Layer | None:
    """Return an Embedding."""
    if not _fit(shapes, {"weight": 2}):
        return None
    rows, size = shapes["weight"]
    call = Call("nn.Embedding.init", (_size("num_embeddings", rows), _size("embedding_dim", size)))
    return Layer("nn.Embedding", call, has_settings=False)


def convolution(shapes: Shapes, settings: Settings, hints: Hints) -> Layer | None:
    """Return a Conv1d or Conv2d, by the axes of the weight; without groups in the file, those it most likely has."""
    axes = len(shapes.get("weight", ())) - 2
    if axes not in (1, 2) or not _fit(shapes, {"weight": axes + 2}, bias=0):
        return None
    outputs, inputs, *kernel = shapes["weight"]
    groups = _groups(settings, _depthwise(shapes["weight"], hints), outputs)
    return _spatial(f"nn.Conv{axes}d", settings, (inputs * groups, outputs, *kernel), groups, _bias(shapes))


def transposed(shapes: Shapes, settings: Settings, hints: Hints) -> Layer | None:
    """Return a ConvTranspose1d or ConvTranspose2d, by the axes of the weight."""
    axes = len(shapes.get("weight", ())) - 2
    if axes not in (1, 2) or not _fit(shapes, {"weight": axes + 2}):
        return None
    inputs, outputs, *kernel = shapes["weight"]
    groups = _groups(settings, 1, inputs)
    if shapes.get("bias", (outputs * groups,)) != (outputs * groups,):
        return None
    sizes = (inputs, outputs * groups, *kernel)
    return _spatial(f"nn.ConvTranspose{axes}d", settings, sizes, groups, _bias(shapes))


def _depthwise(weight: tuple[int, ...], hints: Hints) -> int:
    """Return the groups that a convolution most likely has: as many as channels, where it takes one of each."""
    return weight[0] if weight[1] == 1 and hints.channels == weight[0] else 1


def _groups(settings: Settings, guess: int, channels: int) -> int:
    groups = settings.number("groups")
    return groups if groups and channels % groups == 0 else guess


def _spatial(type_: str, settings: Settings, sizes: tuple[int, ...], groups: int, bias: Argument) -> Layer:
    """Return a convolution or a transposed one: of `sizes` (in, out, *kernel)."""
    inputs, outputs, *kernel = sizes
    named = [
        settings.per_axis("stride", 1, len(kernel)),
        settings.per_axis("padding", 0, len(kernel)),
        *([settings.per_axis("output_padding", 0, len(kernel))] if "Transpose" in type_ else []),
        settings.per_axis("dilation", 1, len(kernel)),
    ]
    doubt = _padded_otherwise(settings, named[1])
    if doubt is not None:
        named[1] = Argument("padding", 0, 0, "padding")
    arguments = (
        _size("in_channels", inputs),
        _size("out_channels", outputs),
        Argument("kernel_size", alike(tuple(kernel)), group="kernel_size"),
        *named,
        Argument("groups", groups, 1, "groups"),
        bias,
    )
    unknown = [one.name for one in arguments if one.name in settings.unknown]
    return Layer(type_, Call(f"{type_}.init", arguments), tuple(unknown), doubt)


_MODES: Final = {"reflect": "reflect", "replicate": "edge", "circular": "wrap"}  # of torch and of numpy.pad


def _padded_otherwise(settings: Settings, padding: Argument) -> str | None:
    """Return what to do about a convolution that does not pad with zeros; None where it does, or does not pad."""
    mode = settings["padding_mode"]
    is_known = "padding" not in settings.unknown
    if not isinstance(mode, str) or mode == "zeros" or (is_known and padding.value in (0, "valid")):
        return None
    how = f' with numpy.pad, mode "{_MODES[mode]}"' if mode in _MODES else ""
    much = f" by {padding.value}" if is_known and padding.value != "same" else ""
    kept = ", so that its size stays" if padding.value == "same" else ""
    return f"cannot pad with {comment_text(repr(mode), 40)} as the file says: pad its input{much}{how}{kept}"


def batch_norm(shapes: Shapes, settings: Settings, hints: Hints, axes: str = "") -> Layer | None:
    """Return a BatchNorm, or the one for so many axes."""
    names = {"weight", "bias", "running_mean", "running_var"}
    is_affine, tracks = "weight" in shapes, "running_mean" in shapes
    wanted = (
        names - (set() if is_affine else {"weight", "bias"}) - (set() if tracks else {"running_mean", "running_var"})
    )
    sizes = set(shapes.values())
    if shapes.keys() != wanted or len(sizes) != 1 or (len(next(iter(sizes))) != 1):
        return None
    ((size,),) = sizes
    arguments = (
        _size("num_features", size),
        settings.eps(),
        _switch("affine", is_affine),
        _switch("track_running_stats", tracks),
    )
    type_ = f"nn.BatchNorm{axes}"
    return Layer(type_, Call(f"{type_}.init", arguments), tuple(settings.unknown))


def layer_norm(shapes: Shapes, settings: Settings, hints: Hints) -> Layer | None:
    """Return a LayerNorm."""
    weight = shapes.get("weight", ())
    if not weight or shapes.keys() - {"weight", "bias"} or shapes.get("bias", weight) != weight:
        return None
    arguments = (_normalized(weight), settings.eps(), _switch("bias", "bias" in shapes))
    return Layer("nn.LayerNorm", Call("nn.LayerNorm.init", arguments), tuple(settings.unknown))


def rms_norm(shapes: Shapes, settings: Settings, hints: Hints) -> Layer | None:
    """Return an RMSNorm."""
    weight = shapes.get("weight", ())
    if not weight or shapes.keys() != {"weight"}:
        return None
    arguments = (_normalized(weight), settings.eps(Code("None")))
    return Layer("nn.RMSNorm", Call("nn.RMSNorm.init", arguments), tuple(settings.unknown))


def group_norm(shapes: Shapes, settings: Settings, hints: Hints) -> Layer | None:
    """Return a GroupNorm; without a number of groups where the file does not say it, so that no call passes."""
    if not _fit(shapes, {"weight": 1, "bias": 1}) or shapes["weight"] != shapes["bias"]:
        return None
    (channels,) = shapes["weight"]
    groups = settings.number("num_groups")
    arguments = (
        Argument("num_groups", groups or 1, group="num_groups"),
        _size("num_channels", channels),
        settings.eps(),
    )
    call = Call("nn.GroupNorm.init", arguments, () if groups else ("num_groups",))
    return Layer("nn.GroupNorm", call, tuple(settings.unknown))


def lstm(shapes: Shapes, settings: Settings, hints: Hints) -> Layer | None:
    """Return an LSTM."""
    return recurrent("nn.LSTM", shapes, settings)


def gru(shapes: Shapes, settings: Settings, hints: Hints) -> Layer | None:
    """Return a GRU."""
    return recurrent("nn.GRU", shapes, settings)


def attention(shapes: Shapes, settings: Settings, hints: Hints) -> Layer | None:
    """Return a MultiheadAttention; without a number of heads where the file does not say it, so that no call passes."""
    out = shapes.get("out_proj.weight", ())
    if len(out) != 2:
        return None
    size = out[0]
    kdim, vdim = (_columns(shapes, name, size) for name in ("k_proj_weight", "v_proj_weight"))
    bias, extra = "in_proj_bias" in shapes, "bias_k" in shapes
    if shapes != _attention_shapes(size, (kdim, vdim), bias=bias, extra=extra):
        return None
    heads = settings.number("num_heads")
    heads = heads if heads and size % heads == 0 else None
    none = Code("None")
    dims = [Argument(name, none if dim == size else dim, none, name) for name, dim in (("kdim", kdim), ("vdim", vdim))]
    arguments = (
        _size("embed_dim", size),
        Argument("num_heads", heads or 1, group="num_heads"),
        _switch("bias", bias),
        _switch("add_bias_kv", extra, default=False),
        settings.switch("add_zero_attn"),
        *dims,
        settings.switch("batch_first"),
    )
    call = Call("nn.MultiheadAttention.init", arguments, () if heads else ("num_heads",))
    return Layer("nn.MultiheadAttention", call, tuple(settings.unknown))


def _columns(shapes: Shapes, name: str, default: int) -> int:
    shape = shapes.get(name, ())
    return shape[1] if len(shape) == 2 else default


def _attention_shapes(size: int, dims: tuple[int, int], *, bias: bool, extra: bool) -> Shapes:
    """Return the shapes that attention has: of keys and values of these sizes, with biases, with one more key."""
    shapes: Shapes = {"out_proj.weight": (size, size)}
    if set(dims) == {size}:
        shapes["in_proj_weight"] = (3 * size, size)
    else:
        named = zip(("q_proj_weight", "k_proj_weight", "v_proj_weight"), (size, *dims), strict=True)
        shapes |= {name: (size, dim) for name, dim in named}
    if bias:
        shapes |= {"in_proj_bias": (3 * size,), "out_proj.bias": (size,)}
    return shapes | (dict.fromkeys(("bias_k", "bias_v"), (1, 1, size)) if extra else {})


# Arguments


def _fit(shapes: Shapes, axes: Mapping[str, int], bias: int | None = None) -> bool:
    """Return whether the arrays of these names, with as many axes, are all there is, but for a `bias` that fits one."""
    given = {name: len(shape) for name, shape in shapes.items()}
    fits = given == dict(axes) or given == {**axes, "bias": 1}
    return fits and (bias is None or shapes.get("bias", shapes["weight"][bias : bias + 1]) == shapes["weight"][:1])


def _size(name: str, value: int) -> Argument:
    return Argument(name, value, group=SIZE)


def _normalized(weight: tuple[int, ...]) -> Argument:
    return Argument("normalized_shape", weight[0] if len(weight) == 1 else weight, group=SIZE)


def _bias(shapes: Shapes) -> Argument:
    return _switch("bias", "bias" in shapes)


def _switch(name: str, value: bool, *, default: bool = True) -> Argument:
    return Argument(name, value, default, name)
