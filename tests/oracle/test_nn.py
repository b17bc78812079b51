"""`wheelweights.nn` gives torch's values, over generated shapes and settings of every layer and function."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np
import pytest

from looking.closeness import assert_close
from wheelweights import nn

if TYPE_CHECKING:
    from collections.abc import Callable

torch = pytest.importorskip("torch")
F = torch.nn.functional

CASES = 250
pytestmark = pytest.mark.filterwarnings(
    "ignore:Using padding='same':UserWarning", "ignore:LSTM with projections:UserWarning"
)


class Draw:
    """A seeded source of cases; `settings` notes what was drawn, for the message of a failure."""

    def __init__(self, seed: int) -> None:
        self.rng = np.random.default_rng(seed)
        self.settings: dict[str, Any] = {"seed": seed}

    def number(self, name: str, low: int, high: int) -> int:
        self.settings[name] = int(self.rng.integers(low, high + 1))
        return int(self.settings[name])

    def one_of(self, name: str, *choices: Any) -> Any:
        self.settings[name] = choices[self.rng.integers(len(choices))]
        return self.settings[name]

    def flag(self, name: str) -> bool:
        return bool(self.one_of(name, False, True))

    def per_axis(self, name: str, axes: int, low: int, high: int) -> Any:
        """One number for all axes, or one each."""
        several = tuple(int(n) for n in self.rng.integers(low, high + 1, axes))
        return self.one_of(name, several[0], several)

    def dtype(self) -> Any:
        return self.one_of("dtype", torch.float32, torch.float32, torch.float64, torch.float16)

    def tensor(self, *shape: int, dtype: Any = None) -> Any:
        return torch.from_numpy(self.rng.normal(size=shape)).to(dtype or torch.float32)


def every_case() -> Any:
    return pytest.mark.parametrize(
        "seeds", [range(n, n + 50) for n in range(0, CASES, 50)], ids=lambda r: f"{r.start}-{r.stop - 1}"
    )


@pytest.fixture(autouse=True)
def _no_gradients() -> Any:
    with torch.no_grad():
        yield


def shuffled(module: Any, draw: Draw) -> Any:
    """The module in evaluation mode with every parameter and buffer random, so that none is one or zero by default."""
    for name, tensor in module.state_dict().items():
        if tensor.dtype.is_floating_point:
            values = draw.rng.uniform(0.5, 2, tensor.shape) if "var" in name else draw.rng.normal(0, 0.5, tensor.shape)
            tensor.copy_(torch.from_numpy(np.asarray(values)))
    return module.eval()


def arrays(module: Any) -> dict[str, Any]:
    """The state_dict as numpy arrays that refuse to be written to, as those of a record do."""
    result = {name: tensor.numpy().copy() for name, tensor in module.state_dict().items()}
    for array in result.values():
        array.flags.writeable = False
    return result


def numpy(tensor: Any) -> Any:
    array = tensor.numpy().copy()
    array.flags.writeable = False
    return array


@every_case()
def test_linear(seeds: range) -> None:
    for draw in map(Draw, seeds):
        dtype, features = draw.dtype(), draw.number("in", 1, 40)
        module = shuffled(
            torch.nn.Linear(features, draw.number("out", 1, 40), bias=draw.flag("bias"), dtype=dtype), draw
        )
        x = draw.tensor(*draw.one_of("lead", (), (3,), (2, 5), (0, 4), (2, 3, 4)), features, dtype=dtype)
        assert_close(nn.Linear(**arrays(module))(numpy(x)), module(x), draw.settings)


@every_case()
@pytest.mark.parametrize("axes", [1, 2])
def test_convolution(axes: int, seeds: range) -> None:
    torch_class, ours = [(torch.nn.Conv1d, nn.Conv1d), (torch.nn.Conv2d, nn.Conv2d)][axes - 1]
    for draw in map(Draw, seeds):
        dtype, groups = draw.dtype(), draw.number("groups", 1, 3)
        channels = groups * draw.number("in per group", 1, 4)
        kernel = draw.per_axis("kernel", axes, 1, 4)
        padding = draw.one_of(
            "pad", draw.per_axis("padding", axes, 0, 3), draw.per_axis("padding", axes, 0, 3), "same", "valid"
        )
        settings: dict[str, Any] = {
            "stride": 1 if padding == "same" else draw.per_axis("stride", axes, 1, 3),
            "padding": padding,
            "dilation": draw.per_axis("dilation", axes, 1, 3),
            "groups": groups,
        }
        draw.settings |= settings
        module = torch_class(
            channels,
            groups * draw.number("out per group", 1, 4),
            kernel,
            bias=draw.flag("bias"),
            dtype=dtype,
            **settings,
        )
        size = [draw.number(f"size {axis}", 10, 17) for axis in range(axes)]
        x = draw.tensor(*draw.one_of("lead", (), (1,), (4,), (0,)), channels, *size, dtype=dtype)
        layer = ours(**arrays(shuffled(module, draw)), **settings)
        assert_close(layer(numpy(x)), module(x), draw.settings)


@every_case()
@pytest.mark.parametrize("axes", [1, 2])
def test_transposed_convolution(axes: int, seeds: range) -> None:
    torch_class, ours = [
        (torch.nn.ConvTranspose1d, nn.ConvTranspose1d),
        (torch.nn.ConvTranspose2d, nn.ConvTranspose2d),
    ][axes - 1]
    for draw in map(Draw, seeds):
        dtype, groups = draw.one_of("dtype", torch.float32, torch.float64), draw.number("groups", 1, 3)
        channels = groups * draw.number("in per group", 1, 4)
        stride = draw.number("stride", 1, 3)
        settings = {
            "stride": stride,
            "padding": draw.per_axis("padding", axes, 0, 2),
            "output_padding": draw.number("output_padding", 0, stride - 1),
            "dilation": draw.per_axis("dilation", axes, 1, 3),
            "groups": groups,
        }
        module = torch_class(
            channels,
            groups * draw.number("out per group", 1, 4),
            draw.per_axis("kernel", axes, 1, 4),
            bias=draw.flag("bias"),
            dtype=dtype,
            **settings,
        )
        size = [draw.number(f"size {axis}", 5, 9) for axis in range(axes)]
        x = draw.tensor(*draw.one_of("lead", (), (1,), (4,), (0,)), channels, *size, dtype=dtype)
        layer = ours(**arrays(shuffled(module, draw)), **settings)
        assert_close(layer(numpy(x)), module(x), draw.settings)


@every_case()
def test_embedding(seeds: range) -> None:
    for draw in map(Draw, seeds):
        rows = draw.number("rows", 1, 30)
        module = torch.nn.Embedding(rows, draw.number("size", 1, 8), dtype=draw.dtype())
        shape = draw.one_of("shape", (), (4,), (2, 3), (0,))
        x = torch.from_numpy(np.asarray(draw.rng.integers(0, rows, shape))).to(
            draw.one_of("int", torch.int32, torch.int64)
        )
        layer = nn.Embedding(**arrays(shuffled(module, draw)))
        expected = module(x)
        if expected.dtype == torch.float16:  # ours gives the same numbers in float32
            expected = expected.float()
        assert_close(layer(numpy(x)), expected, draw.settings)


@every_case()
def test_batch_norm(seeds: range) -> None:
    for draw in map(Draw, seeds):
        channels, tracked = draw.number("channels", 1, 6), draw.flag("track_running_stats")
        dtype = draw.dtype() if tracked else draw.one_of("dtype", torch.float32, torch.float64)
        settings = {"eps": draw.one_of("eps", 1e-5, 1e-2), "track_running_stats": tracked}
        shape, torch_class, ours = draw.one_of(
            "shape",
            ((5, channels), torch.nn.BatchNorm1d, nn.BatchNorm1d),
            ((5, channels, 7), torch.nn.BatchNorm1d, nn.BatchNorm1d),
            ((2, channels, 3, 4), torch.nn.BatchNorm2d, nn.BatchNorm2d),
            ((2, channels, 3, 4), torch.nn.BatchNorm2d, nn.BatchNorm),
        )
        module = shuffled(torch_class(channels, affine=draw.flag("affine"), dtype=dtype, **settings), draw)
        x = draw.tensor(*shape, dtype=dtype)
        assert_close(ours(**arrays(module), **settings)(numpy(x)), module(x), draw.settings)


@every_case()
def test_layer_norm(seeds: range) -> None:
    for draw in map(Draw, seeds):
        dtype, shape = draw.dtype(), draw.one_of("normalized_shape", 6, (5,), (3, 4), (2, 3, 2))
        affine, eps = draw.flag("elementwise_affine"), draw.one_of("eps", 1e-5, 1e-2)
        module = torch.nn.LayerNorm(shape, eps, elementwise_affine=affine, bias=draw.flag("bias"), dtype=dtype)
        last = (shape,) if isinstance(shape, int) else shape
        x = draw.tensor(*draw.one_of("lead", (), (4,), (2, 3), (0,)), *last, dtype=dtype)
        given: dict[str, Any] = {} if affine else {"normalized_shape": shape}
        assert_close(
            nn.LayerNorm(**arrays(shuffled(module, draw)), **given, eps=eps)(numpy(x)), module(x), draw.settings
        )


@every_case()
def test_rms_norm(seeds: range) -> None:
    for draw in map(Draw, seeds):
        dtype, shape = draw.dtype(), draw.one_of("normalized_shape", 6, (5,), (3, 4))
        affine, eps = draw.flag("elementwise_affine"), draw.one_of("eps", None, 1e-5, 1e-2)
        module = torch.nn.RMSNorm(shape, eps, elementwise_affine=affine, dtype=dtype)
        last = (shape,) if isinstance(shape, int) else shape
        x = draw.tensor(*draw.one_of("lead", (), (4,), (2, 3), (0,)), *last, dtype=dtype) * draw.one_of(
            "scale", 1, 1e-3
        )
        given: dict[str, Any] = {} if affine else {"normalized_shape": shape}
        assert_close(nn.RMSNorm(**arrays(shuffled(module, draw)), **given, eps=eps)(numpy(x)), module(x), draw.settings)


@every_case()
def test_group_norm(seeds: range) -> None:
    for draw in map(Draw, seeds):
        dtype, groups = draw.dtype(), draw.number("num_groups", 1, 4)
        channels, eps = groups * draw.number("per group", 2, 4), draw.one_of("eps", 1e-5, 1e-2)
        module = torch.nn.GroupNorm(groups, channels, eps, affine=draw.flag("affine"), dtype=dtype)
        x = draw.tensor(*draw.one_of("shape", (3, channels), (2, channels, 5), (2, channels, 3, 4)), dtype=dtype)
        layer = nn.GroupNorm(**arrays(shuffled(module, draw)), num_groups=groups, eps=eps)
        assert_close(layer(numpy(x)), module(x), draw.settings)


@every_case()
@pytest.mark.parametrize("kind", ["LSTM", "GRU"])
def test_recurrent(kind: str, seeds: range) -> None:
    for draw in map(Draw, seeds):
        dtype, features = draw.one_of("dtype", torch.float32, torch.float64), draw.number("input_size", 1, 6)
        hidden, layers, both = (
            draw.number("hidden_size", 2, 6),
            draw.number("num_layers", 1, 3),
            draw.flag("bidirectional"),
        )
        settings: dict[str, Any] = {
            "batch_first": draw.flag("batch_first"),
            "bias": draw.flag("bias"),
            "bidirectional": both,
        }
        projected = draw.number("proj_size", 0, hidden - 1) if kind == "LSTM" else 0
        settings |= {"proj_size": projected} if kind == "LSTM" else {}
        module = shuffled(getattr(torch.nn, kind)(features, hidden, layers, dtype=dtype, **settings), draw)
        batch, length = draw.one_of("batch", None, 0, 1, 3), draw.number("length", 1, 5)
        lead = (length,) if batch is None else (batch, length) if settings["batch_first"] else (length, batch)
        x = draw.tensor(*lead, features, dtype=dtype)
        middle = () if batch is None else (batch,)
        parts = (projected or hidden, hidden) if kind == "LSTM" else (hidden,)
        start = [draw.tensor(layers * (1 + both), *middle, size, dtype=dtype) for size in parts]
        layer = getattr(nn, kind)(arrays(module), batch_first=settings["batch_first"])
        for given in (False, True):
            state = (tuple(start) if kind == "LSTM" else start[0],) if given else ()
            ours = (tuple(map(numpy, start)) if kind == "LSTM" else numpy(start[0]),) if given else ()
            expected, last = module(x, *state)
            found, found_last = layer(numpy(x), *ours)
            assert_close(found, expected, draw.settings)
            for one, other in zip(found_last, last, strict=True) if kind == "LSTM" else [(found_last, last)]:
                assert_close(one, other, draw.settings)


@every_case()
def test_multihead_attention(seeds: range) -> None:
    for draw in map(Draw, seeds):
        dtype, heads = draw.one_of("dtype", torch.float32, torch.float64), draw.number("num_heads", 1, 4)
        size = heads * draw.number("per head", 1, 4)
        kdim, vdim = draw.one_of("other sizes", (size, size), (size, size), (5, size), (3, 7))
        settings: dict[str, Any] = {
            "num_heads": heads,
            "add_zero_attn": draw.flag("add_zero_attn"),
            "batch_first": draw.flag("batch_first"),
        }
        module = torch.nn.MultiheadAttention(
            size,
            bias=draw.flag("bias"),
            add_bias_kv=draw.flag("add_bias_kv"),
            kdim=kdim,
            vdim=vdim,
            dtype=dtype,
            **settings,
        )
        state = arrays(shuffled(module, draw))
        out_proj = nn.Linear(
            **{name: state.pop(f"out_proj.{name}") for name in ("weight", "bias") if f"out_proj.{name}" in state}
        )
        layer = nn.MultiheadAttention(out_proj, **state, **settings)

        length, keys, batch = draw.number("L", 1, 5), draw.number("S", 2, 6), draw.one_of("batch", None, 1, 3)
        query, key, value = (
            draw.tensor(
                *((n,) if batch is None else (batch, n) if settings["batch_first"] else (n, batch)), last, dtype=dtype
            )
            for n, last in ((length, size), (keys, kdim), (keys, vdim))
        )
        if draw.flag("self attention") and (kdim, vdim) == (size, size):
            key, value, keys = query, query, length
        masks: dict[str, Any] = {}
        hidden = torch.from_numpy(draw.rng.random((length, keys)) < 0.3)
        hidden[:, 0] = False  # a query that may see nothing gives NaN in torch or not, depending on the path taken
        shape = draw.one_of("attn_mask", None, "bool", "float", "3-d")
        if shape == "bool":
            masks["attn_mask"] = hidden
        elif shape == "float":
            masks["attn_mask"] = draw.tensor(length, keys, dtype=dtype)
        elif shape == "3-d":
            masks["attn_mask"] = draw.tensor((batch or 1) * heads, length, keys, dtype=dtype)
        kind = draw.one_of("key_padding_mask", None, "as attn_mask")
        if kind:
            lead = () if batch is None else (batch,)
            padding = torch.from_numpy(draw.rng.random((*lead, keys)) < 0.3)
            padding[..., 0] = False
            as_bool = shape in {None, "bool"}
            masks["key_padding_mask"] = (
                padding if as_bool else torch.zeros(padding.shape, dtype=dtype).masked_fill(padding, -np.inf)
            )
        ours = {name: numpy(mask) for name, mask in masks.items()}
        flags: dict[str, Any] = {
            "need_weights": draw.flag("need_weights"),
            "average_attn_weights": draw.flag("average_attn_weights"),
        }
        expected, weights = module(query, key, value, **masks, **flags)
        found, found_weights = layer(numpy(query), numpy(key), numpy(value), **ours, **flags)
        assert_close(found, expected, draw.settings)
        assert (found_weights is None) == (weights is None), draw.settings
        if weights is not None:
            assert_close(found_weights, weights, draw.settings)


@every_case()
def test_scaled_dot_product_attention(seeds: range) -> None:
    for draw in map(Draw, seeds):
        dtype, grouped = draw.one_of("dtype", torch.float32, torch.float64), draw.flag("enable_gqa")
        heads, length, keys, size = (draw.number(name, 1, 6) for name in ("heads", "L", "S", "E"))
        shared = 2 if grouped else 1
        query = draw.tensor(2, heads * shared, length, size, dtype=dtype)
        key, value = draw.tensor(2, heads, keys, size, dtype=dtype), draw.tensor(2, heads, keys, size + 1, dtype=dtype)
        settings: dict[str, Any] = {"scale": draw.one_of("scale", None, 0.3), "enable_gqa": grouped}
        mask = draw.one_of("mask", None, "causal", "bool", "float")
        if mask == "causal":
            settings["is_causal"] = True
        elif mask:
            given = draw.tensor(2, 1, length, keys, dtype=dtype)
            settings["attn_mask"] = given if mask == "float" else given > 0
        ours = {name: numpy(item) if isinstance(item, torch.Tensor) else item for name, item in settings.items()}
        found = nn.scaled_dot_product_attention(*map(numpy, (query, key, value)), **ours)
        assert_close(found, F.scaled_dot_product_attention(query, key, value, **settings), draw.settings)


@every_case()
@pytest.mark.parametrize("axes", [1, 2])
@pytest.mark.parametrize("kind", ["max", "avg"])
def test_pooling(kind: str, axes: int, seeds: range) -> None:
    name = f"{kind}_pool{axes}d"
    for draw in map(Draw, seeds):
        kernel = draw.per_axis("kernel", axes, 1, 4)
        smallest = kernel if isinstance(kernel, int) else min(kernel)
        settings: dict[str, Any] = {
            "stride": draw.one_of("stride", None, draw.per_axis("stride", axes, 1, 4)),
            "padding": draw.per_axis("padding", axes, 0, smallest // 2),
            "ceil_mode": draw.flag("ceil_mode"),
        }
        if kind == "max":
            settings["dilation"] = draw.per_axis("dilation", axes, 1, 2)
        else:
            settings["count_include_pad"] = draw.flag("count_include_pad")
        if name == "avg_pool2d":
            settings["divisor_override"] = draw.one_of("divisor_override", None, 3)
        draw.settings |= settings
        size = [draw.number(f"size {axis}", 7, 14) for axis in range(axes)]
        dtype = draw.one_of("dtype", torch.float32, torch.float64, torch.float16)
        x = draw.tensor(*draw.one_of("lead", (), (3,), (0,)), 2, *size, dtype=dtype)
        assert_close(
            getattr(nn, name)(numpy(x), kernel, **settings), getattr(F, name)(x, kernel, **settings), draw.settings
        )


@every_case()
@pytest.mark.parametrize("axes", [1, 2])
def test_adaptive_pooling(axes: int, seeds: range) -> None:
    name = f"adaptive_avg_pool{axes}d"
    for draw in map(Draw, seeds):
        size = draw.per_axis("output_size", axes, 1, 9)
        if axes == 2:
            size = draw.one_of("output_size", size, (None, 3))
        x = draw.tensor(
            *draw.one_of("lead", (), (3,)), 2, *(draw.number(f"size {axis}", 1, 14) for axis in range(axes))
        )
        assert_close(getattr(nn, name)(numpy(x), size), getattr(F, name)(x, size), draw.settings)


ACTIVATIONS: dict[str, tuple[Callable[..., Any], Callable[..., Any], dict[str, Any]]] = {
    "relu": (nn.relu, F.relu, {}),
    "leaky_relu": (nn.leaky_relu, F.leaky_relu, {}),
    "leaky_relu steep": (nn.leaky_relu, F.leaky_relu, {"negative_slope": 1.5}),
    "elu": (nn.elu, F.elu, {"alpha": 0.7}),
    "gelu": (nn.gelu, F.gelu, {}),
    "gelu tanh": (nn.gelu, F.gelu, {"approximate": "tanh"}),
    "silu": (nn.silu, F.silu, {}),
    "sigmoid": (nn.sigmoid, torch.sigmoid, {}),
    "hardsigmoid": (nn.hardsigmoid, F.hardsigmoid, {}),
    "hardswish": (nn.hardswish, F.hardswish, {}),
    "tanh": (nn.tanh, torch.tanh, {}),
    "softplus": (nn.softplus, F.softplus, {}),
    "softplus sharp": (nn.softplus, F.softplus, {"beta": 3.0, "threshold": 5.0}),
    "softmax": (nn.softmax, F.softmax, {"dim": -1}),
    "softmax first": (nn.softmax, F.softmax, {"dim": 0}),
    "log_softmax": (nn.log_softmax, F.log_softmax, {"dim": 1}),
}


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16, torch.float32, torch.float64], ids=str)
@pytest.mark.parametrize("name", ACTIVATIONS)
def test_activation(name: str, dtype: Any) -> None:
    ours, theirs, settings = ACTIVATIONS[name]
    for seed in range(20):
        draw = Draw(seed)
        shape = draw.one_of("shape", (40, 3), (0, 4), (2, 3, 5), (300, 150))
        x = (draw.tensor(*shape) * draw.one_of("scale", 0.01, 1, 5, 100)).to(dtype)
        if dtype is torch.bfloat16:
            ml_dtypes = pytest.importorskip("ml_dtypes")
            found = ours(x.view(torch.int16).numpy().view(ml_dtypes.bfloat16), **settings)
            expected = theirs(x, **settings).contiguous().view(torch.int16).numpy().view(ml_dtypes.bfloat16)
            assert_close(found, expected, draw.settings)
        else:
            assert_close(ours(numpy(x), **settings), theirs(x, **settings), draw.settings)


def test_layers_start_with_the_parameters_that_torch_has() -> None:
    """Names, shapes and the spread of the random start."""
    rng = np.random.default_rng(0)
    pairs: list[tuple[Any, Any]] = [
        (nn.Linear.init(50, 40, rng=rng), torch.nn.Linear(50, 40)),
        (nn.Conv1d.init(6, 40, 5, groups=2, rng=rng), torch.nn.Conv1d(6, 40, 5, groups=2)),
        (nn.Conv2d.init(6, 40, (3, 5), rng=rng), torch.nn.Conv2d(6, 40, (3, 5))),
        (nn.ConvTranspose1d.init(40, 6, 5, rng=rng), torch.nn.ConvTranspose1d(40, 6, 5)),
        (nn.ConvTranspose2d.init(40, 60, 5, groups=2, rng=rng), torch.nn.ConvTranspose2d(40, 60, 5, groups=2)),
        (nn.Embedding.init(50, 40, rng=rng), torch.nn.Embedding(50, 40)),
        (nn.BatchNorm2d.init(40), torch.nn.BatchNorm2d(40)),
        (nn.LayerNorm.init((4, 5)), torch.nn.LayerNorm((4, 5))),
        (nn.RMSNorm.init(5), torch.nn.RMSNorm(5)),
        (nn.GroupNorm.init(2, 8), torch.nn.GroupNorm(2, 8)),
        (
            nn.LSTM.init(30, 20, 2, bidirectional=True, proj_size=7, rng=rng),
            torch.nn.LSTM(30, 20, 2, bidirectional=True, proj_size=7),
        ),
        (nn.GRU.init(30, 20, 2, rng=rng), torch.nn.GRU(30, 20, 2)),
        (
            nn.MultiheadAttention.init(40, 4, add_bias_kv=True, rng=rng),
            torch.nn.MultiheadAttention(40, 4, add_bias_kv=True),
        ),
        (
            nn.MultiheadAttention.init(40, 4, kdim=30, vdim=20, rng=rng),
            torch.nn.MultiheadAttention(40, 4, kdim=30, vdim=20),
        ),
    ]
    for ours, theirs in pairs:
        fields = {name: getattr(ours, name) for name in ours.__dataclass_fields__}
        fields |= fields.pop("parameters", {})
        fields |= (
            {f"out_proj.{name}": array for name, array in vars(fields.pop("out_proj")).items()}
            if "out_proj" in fields
            else {}
        )
        found = {name: array for name, array in fields.items() if isinstance(array, np.ndarray)}
        expected = {name: tensor.numpy() for name, tensor in theirs.state_dict().items()}
        assert {n: (a.shape, a.dtype) for n, a in found.items()} == {n: (a.shape, a.dtype) for n, a in expected.items()}
        for name, array in found.items():
            if array.size > 500:  # enough to compare the spread
                np.testing.assert_allclose(
                    array.std(), expected[name].std(), rtol=0.15, err_msg=f"{type(ours).__name__}.{name}"
                )
            elif not expected[name].any() or expected[name].min() == expected[name].max():
                np.testing.assert_array_equal(array, expected[name])
