"""The settings of torch's layers, where a program keeps no more of them than the operators that they call.

Knows which operators the forward of each layer calls (torch/nn/modules, torch/nn/functional.py), what their arguments
are in order, which of them the layer has as attributes, and what is meant where the program leaves one out
(aten/src/ATen/native/native_functions.yaml, torch 2.13). Nothing is called.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final, NamedTuple, TypeAlias

from hatch_wheelweights.checkpoint.values import are_ints, is_tuple

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence

    from hatch_wheelweights.checkpoint.literals import Argument

__all__ = ["Operator", "Operators", "operators_of", "settings_of_calls"]

_UNTOLD: Final = object()


class _Setting(NamedTuple):
    """An argument that a layer has as an attribute of that name, or of `attribute`.

    `kinds` are the types of its values, those in a tuple being whole numbers; `default` is meant where it is left out.
    """

    name: str
    kinds: tuple[type, ...]
    default: Any = _UNTOLD
    attribute: str = ""

    def accepts(self, value: Any) -> bool:
        """Tell whether an argument can be this one: operators of one name may differ in their arguments."""
        if value is None:
            return self.default is None
        return type(value) in self.kinds and (not is_tuple(value) or are_ints(value))


_BOOL: Final = (bool,)
_INT: Final = (int,)
_FLOAT: Final = (float, int)
_TEXT: Final = (str,)
_INTS: Final = (tuple,)

# The arguments of an operator in order: those that are no settings by their names alone
Operator: TypeAlias = "tuple[str | _Setting, ...]"
Operators: TypeAlias = "Mapping[str, Operator]"


def _any_convolution(axes: int) -> dict[str, Operator]:
    """Return what convolutions of all kinds call: traced, or decomposed: then other calls may do some padding."""
    stride, padding, dilation, groups = _sizes(axes)
    output = _Setting("output_padding", _INTS)
    return {
        "_convolution": ("input", "weight", "bias", stride, padding, dilation, "transposed", output, groups),
        "convolution": ("input", "weight", "bias", stride, "padding", dilation, "transposed", output, groups),
    }


def _sizes(axes: int) -> tuple[_Setting, _Setting, _Setting, _Setting]:
    ones, zeros = (1,) * axes, (0,) * axes
    return (
        _Setting("stride", _INTS, ones),
        _Setting("padding", (tuple, str), zeros),
        _Setting("dilation", _INTS, ones),
        _Setting("groups", _INT, 1),
    )


def _convolution(axes: int) -> Operators:
    """Return what a convolution calls: for other padding than zeros "pad" too, and then without padding of its own."""
    operator = ("input", "weight", "bias", *_sizes(axes))
    pad = ("input", _Setting("pad", _INTS, attribute="padding"), _Setting("mode", _TEXT, attribute="padding_mode"))
    return {f"conv{axes}d": operator, "_convolution_mode": operator, "pad": pad, **_any_convolution(axes)}


def _transposed(axes: int) -> Operators:
    stride, padding, dilation, groups = _sizes(axes)
    output = _Setting("output_padding", _INTS, (0,) * axes)
    operator = ("input", "weight", "bias", stride, padding, output, groups, dilation)
    return {f"conv_transpose{axes}d": operator, **_any_convolution(axes)}


_EPS: Final = _Setting("eps", _FLOAT, 1e-5)
_MOMENTUM: Final = _Setting("momentum", _FLOAT)
_SHAPE: Final = _Setting("normalized_shape", _INTS)
_BATCH_NORM: Final[Operators] = {
    "batch_norm": ("input", "weight", "bias", "running_mean", "running_var", "training", _MOMENTUM, _EPS),
    "_native_batch_norm_legit_no_training": ("input", "weight", "bias", "mean", "var", _MOMENTUM, _EPS),
}
_INSTANCE_NORM: Final[Operators] = {
    "instance_norm": ("input", "weight", "bias", "running_mean", "running_var", "use_input_stats", _MOMENTUM, _EPS),
}
_LAYER_NORM: Final[Operators] = {
    "layer_norm": ("input", _SHAPE, "weight", "bias", _EPS),
    "native_layer_norm": ("input", _SHAPE, "weight", "bias", _EPS),
}
_GROUPS: Final = _Setting("num_groups", _INT)
_GROUP_NORM: Final[Operators] = {
    "group_norm": ("input", _GROUPS, "weight", "bias", _EPS),
    "native_group_norm": (
        "input", "weight", "bias", "N", "C", "HxW", _GROUPS._replace(name="group", attribute="num_groups"), _EPS,
    ),
}  # fmt: skip


def _recurrent(operator: str) -> Operators:
    arguments = (
        "input",
        "hx",
        "params",
        _Setting("has_biases", _BOOL, attribute="bias"),
        _Setting("num_layers", _INT),
        _Setting("dropout", _FLOAT),
        "train",
        _Setting("bidirectional", _BOOL),
        _Setting("batch_first", _BOOL),
    )
    return {operator: arguments}


def _max_pool(axes: int) -> Operators:
    stride, padding, dilation, _ = _sizes(axes)
    kernel = _Setting("kernel_size", _INTS)
    operator = (
        "input",
        kernel,
        stride._replace(default=_UNTOLD),
        padding,
        dilation,
        _Setting("ceil_mode", _BOOL, False),
    )
    return {f"max_pool{axes}d": operator, f"max_pool{axes}d_with_indices": operator}


def _average_pool(axes: int) -> Operators:
    stride, padding, *_ = _sizes(axes)
    kernel, rounding = _Setting("kernel_size", _INTS), _Setting("ceil_mode", _BOOL, False)
    counted = _Setting("count_include_pad", _BOOL, True)
    return {f"avg_pool{axes}d": ("input", kernel, stride._replace(default=_UNTOLD), padding, rounding, counted)}


def _one(operator: str, *settings: _Setting) -> Operators:
    """Return an operator that takes the input and settings alone."""
    return {operator: ("input", *settings)}


_PADDED: Final = _Setting("pad", _INTS, attribute="padding")
_PADDING: Final = _one("pad", _PADDED)
_FILLED: Final = {"pad": ("input", _PADDED, "mode", _Setting("value", _FLOAT)), "constant_pad_nd": ("input", _PADDED)}
_OUTPUT: Final = _Setting("output_size", _INTS)
_DIM: Final = _Setting("dim", _INT)
_P: Final = _Setting("p", _FLOAT)
_MIN: Final = _Setting("min_val", _FLOAT, -1.0)
_MAX: Final = _Setting("max_val", _FLOAT, 1.0)

_LAYERS: Final[dict[str, Operators]] = {
    **{f"conv.Conv{n}d": _convolution(n) for n in (1, 2, 3)},
    **{f"conv.ConvTranspose{n}d": _transposed(n) for n in (1, 2, 3)},
    **{f"batchnorm.BatchNorm{n}d": _BATCH_NORM for n in (1, 2, 3)},
    **{f"instancenorm.InstanceNorm{n}d": _INSTANCE_NORM for n in (1, 2, 3)},
    "normalization.LayerNorm": _LAYER_NORM,
    "normalization.RMSNorm": {"rms_norm": ("input", _SHAPE, "weight", _Setting("eps", _FLOAT, None))},
    "normalization.GroupNorm": _GROUP_NORM,
    "sparse.Embedding": {"embedding": ("weight", "indices", _Setting("padding_idx", _INT, None))},
    "rnn.LSTM": _recurrent("lstm"),
    "rnn.GRU": _recurrent("gru"),
    "rnn.RNN": {**_recurrent("rnn_tanh"), **_recurrent("rnn_relu")},
    "dropout.Dropout": _one("dropout", _P),
    **{f"dropout.Dropout{n}d": _one("feature_dropout", _P) for n in (1, 2, 3)},
    "dropout.AlphaDropout": _one("alpha_dropout", _P),
    "dropout.FeatureAlphaDropout": _one("feature_alpha_dropout", _P),
    **{f"pooling.MaxPool{n}d": _max_pool(n) for n in (1, 2, 3)},
    **{f"pooling.AvgPool{n}d": _average_pool(n) for n in (1, 2, 3)},
    **{f"pooling.AdaptiveAvgPool{n}d": _one(f"adaptive_avg_pool{n}d", _OUTPUT) for n in (1, 2, 3)},
    **{f"pooling.AdaptiveMaxPool{n}d": _one(f"adaptive_max_pool{n}d", _OUTPUT) for n in (1, 2, 3)},
    "activation.LeakyReLU": _one("leaky_relu", _Setting("negative_slope", _FLOAT, 0.01)),
    "activation.ELU": _one("elu", _Setting("alpha", _FLOAT, 1.0)),
    "activation.CELU": _one("celu", _Setting("alpha", _FLOAT, 1.0)),
    "activation.GELU": _one("gelu", _Setting("approximate", _TEXT, "none")),
    "activation.GLU": _one("glu", _DIM._replace(default=-1)),
    "activation.Hardtanh": _one("hardtanh", _MIN, _MAX),
    "activation.ReLU6": _one("hardtanh", _MIN, _MAX),
    "activation.Softplus": _one("softplus", _Setting("beta", _FLOAT, 1.0), _Setting("threshold", _FLOAT, 20.0)),
    "activation.Threshold": _one("threshold", _Setting("threshold", _FLOAT), _Setting("value", _FLOAT)),
    "activation.Softmax": _one("softmax", _DIM),
    "activation.LogSoftmax": _one("log_softmax", _DIM),
    "flatten.Flatten": _one("flatten", _Setting("start_dim", _INT, 0), _Setting("end_dim", _INT, -1)),
    "flatten.Unflatten": _one("unflatten", _DIM, _Setting("sizes", _INTS, attribute="unflattened_size")),
    "pixelshuffle.PixelShuffle": _one("pixel_shuffle", _Setting("upscale_factor", _INT)),
    "pixelshuffle.PixelUnshuffle": _one("pixel_unshuffle", _Setting("downscale_factor", _INT)),
    **{f"padding.ZeroPad{n}d": _FILLED for n in (1, 2, 3)},
    **{f"padding.ConstantPad{n}d": _FILLED for n in (1, 2, 3)},
    **{f"padding.{kind}Pad{n}d": _PADDING for kind in ("Reflection", "Replication", "Circular") for n in (1, 2, 3)},
    "distance.CosineSimilarity": {
        "cosine_similarity": ("x1", "x2", _DIM._replace(default=1), _Setting("eps", _FLOAT, 1e-8))
    },
}
_NO_OPERATORS: Final[Operators] = {}

# What an operator is given for None
_NONE: Final = {("padding_idx", -1)}


def operators_of(layer: str) -> Operators:
    """Return the operators whose arguments say settings of a layer of torch, by name; there may be none."""
    return _LAYERS.get(layer.removeprefix("torch.nn.modules."), _NO_OPERATORS)


def settings_of_calls(calls: Iterable[tuple[Operator, Sequence[Argument]]]) -> dict[str, Any]:
    """Return what the calls that a layer makes say of its settings.

    What two calls say differently is no setting, nor is what stands for several values; a call whose arguments are not
    those of the operator says nothing.
    """
    settings: dict[str, Any] = {}
    doubtful = set[str]()
    for operator, arguments in calls:
        for name, value in _settings_of_call(operator, arguments).items():
            if settings.setdefault(name, value) != value or _is_ambiguous(name, value):
                doubtful.add(name)
    return {name: value for name, value in settings.items() if name not in doubtful}


def _is_ambiguous(name: str, value: Any) -> bool:
    """Tell whether a layer with another attribute calls the operator with this value too.

    No momentum is 0.0 there, and an output size of None is the size of the input.
    """
    return (name == "momentum" and value == 0) or (name == "output_size" and set(value) != {1})


def _settings_of_call(operator: Operator, arguments: Sequence[Argument]) -> dict[str, Any]:
    given = {argument.name: argument for argument in arguments if argument.name}
    positional = [argument for argument in arguments if not argument.name]
    settings: dict[str, Any] = {}
    for place, parameter in enumerate(operator):
        if isinstance(parameter, str):
            continue
        argument = positional[place] if place < len(positional) else given.get(parameter.name)
        if argument is None:
            value = parameter.default
        elif argument.is_literal and parameter.accepts(argument.value):
            value = argument.value
        else:
            return {}
        if value is not _UNTOLD:
            name = parameter.attribute or parameter.name
            settings[name] = None if (name, value) in _NONE else value
    return settings
