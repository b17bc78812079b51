"""Layers and functions: torch's stored outputs, the laws that a forward pass obeys, and what is refused."""

from __future__ import annotations

import json
import math
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import wheelweights as ww
from looking.closeness import assert_close
from wheelweights import nn
from wheelweights.nn import _arrays, _convolution, _normal

if TYPE_CHECKING:
    from collections.abc import Iterator

EXPECTED = Path(__file__).parents[1] / "checkpoints" / "nn" / "expected.npz"
with np.load(EXPECTED) as stored:
    CASES: dict[str, dict[str, Any]] = json.loads(str(stored["cases"]))
    ARRAYS: dict[str, Any] = {name: stored[name] for name in stored.files if name != "cases"}
for array in ARRAYS.values():
    array.flags.writeable = False  # as the arrays of a record, so that a write to parameters or inputs fails here

Array = np.ndarray[Any, Any]


def random(*shape: int, seed: int = 0, dtype: Any = np.float32) -> Array:
    return np.random.default_rng(seed).standard_normal(shape).astype(dtype)


def stored_arrays(case: str, role: str) -> dict[str, Array]:
    prefix = f"{case}/{role}/"
    return {name.removeprefix(prefix): array for name, array in ARRAYS.items() if name.startswith(prefix)}


def lists_to_tuples(values: dict[str, Any]) -> dict[str, Any]:
    return {name: tuple(value) if isinstance(value, list) else value for name, value in values.items()}


def flat(outputs: Any) -> list[Array]:
    return [array for output in outputs for array in flat(output)] if isinstance(outputs, tuple) else [outputs]


# What torch gives


@pytest.mark.parametrize("case", [name for name, case in CASES.items() if "layer" in case])
def test_layer_gives_torch_outputs_from_torch_parameters(case: str) -> None:
    state, options = stored_arrays(case, "state"), lists_to_tuples(CASES[case]["settings"])
    if "out_proj.weight" in state:
        options["out_proj"] = nn.Linear(state.pop("out_proj.weight"), state.pop("out_proj.bias"))
    if "weight_ih_l0" in state:
        options["parameters"], state = state, {}
    layer = getattr(nn, CASES[case]["layer"])(**state, **options)
    found = flat(layer(*stored_arrays(case, "input").values(), **stored_arrays(case, "mask")))
    for one, other in zip(found, stored_arrays(case, "output").values(), strict=True):
        assert_close(one, other)


@pytest.mark.parametrize("case", [name for name, case in CASES.items() if "function" in case])
def test_function_gives_torch_outputs(case: str) -> None:
    function, options = getattr(nn, CASES[case]["function"]), lists_to_tuples(CASES[case]["settings"])
    assert_close(function(*stored_arrays(case, "input").values(), **options), ARRAYS[f"{case}/output/0"])


def test_every_public_layer_and_function_has_a_stored_case() -> None:
    tested = {case.get("layer") or case["function"] for case in CASES.values()}
    assert set(nn.__all__) - tested == {"Array", "BatchNorm", "LayerError", "skeleton"}


# Binding


@pytest.mark.parametrize(
    ("layer", "other"),
    [
        pytest.param(nn.Conv2d.init(2, 4, 3, stride=2), nn.Conv2d.init(2, 4, 3), id="Conv2d"),
        pytest.param(nn.BatchNorm1d.init(3), nn.BatchNorm1d.init(3), id="BatchNorm1d"),
        pytest.param(nn.LSTM.init(3, 4, 2, bidirectional=True), nn.LSTM.init(3, 4, 2, bidirectional=True), id="LSTM"),
        pytest.param(nn.GRU.init(3, 4, bias=False), nn.GRU.init(3, 4, bias=False), id="GRU"),
        pytest.param(nn.MultiheadAttention.init(4, 2), nn.MultiheadAttention.init(4, 2), id="MultiheadAttention"),
    ],
)
def test_instance_binds_from_torch_keys_and_keeps_its_settings(layer: Any, other: Any) -> None:
    state = dict(state_dict(other, "net."))
    bound = ww.bind(layer, state, prefix="net.")
    found = dict(state_dict(bound, "net."))
    assert found.keys() == state.keys()
    for key, array in state.items():
        np.testing.assert_array_equal(found[key], array)
    assert {k: v for k, v in vars(bound).items() if not_arrays(v)} == {
        k: v for k, v in vars(layer).items() if not_arrays(v)
    }


def not_arrays(value: object) -> bool:
    return not isinstance(value, np.ndarray | dict | nn.Linear)


def state_dict(value: Any, key: str) -> list[tuple[str, Array]]:
    """The keys of a layer's arrays as torch would name them, with the arrays."""
    if isinstance(value, np.ndarray):
        return [(key.removesuffix("."), value)]
    if isinstance(value, dict):
        return [(f"{key}{name}", array) for name, array in value.items()]
    if not hasattr(value, "__dataclass_fields__"):
        return []
    return [
        item
        for name, inner in vars(value).items()
        for item in state_dict(inner, key if name == "parameters" else f"{key}{name}.")
    ]


def test_repr_names_dtypes_and_shapes_instead_of_numbers() -> None:
    assert repr(nn.Linear(random(3, 2))) == "Linear(weight=<float32 (3, 2)>, bias=None)"
    assert (
        repr(nn.GRU({"weight_ih_l0": random(3, 2)}))
        == "GRU(parameters={'weight_ih_l0': <float32 (3, 2)>}, batch_first=False)"
    )


# Laws


def naive_convolution(x: Array, weight: Array, strides: Any, paddings: Any, dilations: Any, groups: int) -> Array:
    """The definition of a convolution, one multiplication at a time, for any number of spatial axes."""
    size = [
        (n + 2 * p - d * (k - 1) - 1) // s + 1
        for n, k, s, p, d in zip(x.shape[2:], weight.shape[2:], strides, paddings, dilations, strict=True)
    ]
    result = np.zeros((len(x), len(weight), *size))
    per_group = len(weight) // groups
    for image, channel, *place in np.ndindex(*result.shape):
        for inner, *offset in np.ndindex(*weight.shape[1:]):
            at = [a * s - p + o * d for a, s, p, o, d in zip(place, strides, paddings, offset, dilations, strict=True)]
            if all(0 <= a < n for a, n in zip(at, x.shape[2:], strict=True)):
                source = channel // per_group * weight.shape[1] + inner
                result[(image, channel, *place)] += x[(image, source, *at)] * weight[(channel, inner, *offset)]
    return result


@st.composite
def convolutions(draw: st.DrawFn) -> tuple[Array, Array, dict[str, Any]]:
    axes = draw(st.integers(1, 2))
    numbers = st.tuples(*[st.integers(1, 3)] * axes)
    kernel, dilation, stride = draw(numbers), draw(numbers), draw(numbers)
    padding = draw(st.tuples(*[st.integers(0, 2)] * axes))
    groups, inner, outer, images = (draw(st.integers(1, 2)) for _ in range(4))
    size = [
        max(1, d * (k - 1) + 1 - 2 * p) + draw(st.integers(0, 4))
        for d, k, p in zip(dilation, kernel, padding, strict=True)
    ]
    seed = draw(st.integers(0, 99))
    x = random(images, groups * inner, *size, seed=seed, dtype=np.float64)
    weight = random(groups * outer, inner, *kernel, seed=seed + 1, dtype=np.float64)
    return x, weight, {"stride": stride, "padding": padding, "dilation": dilation, "groups": groups}


CONVOLUTIONS, TRANSPOSES = (nn.Conv1d, nn.Conv2d), (nn.ConvTranspose1d, nn.ConvTranspose2d)


@given(convolutions())
@settings(max_examples=60, deadline=None)
def test_convolution_is_the_direct_sum(case: tuple[Array, Array, dict[str, Any]]) -> None:
    x, weight, options = case
    found = CONVOLUTIONS[x.ndim - 3](weight, **options)(x)
    expected = naive_convolution(
        x, weight, options["stride"], options["padding"], options["dilation"], options["groups"]
    )
    assert_close(found, expected)


@given(convolutions())
@settings(max_examples=60, deadline=None)
def test_transposed_convolution_is_the_transpose(case: tuple[Array, Array, dict[str, Any]]) -> None:
    """<conv(x), y> = <x, transpose(y)>; an output_padding stands for the end of x that no output has looked at."""
    x, weight, options = case
    image = CONVOLUTIONS[x.ndim - 3](weight, **options)(x)
    settings = [options[name] for name in ("stride", "padding", "dilation")]
    extra = tuple(
        (n + 2 * p - d * (k - 1) - 1) % s
        for n, k, s, p, d in zip(x.shape[2:], weight.shape[2:], *settings, strict=True)
    )
    y = random(*image.shape, seed=5, dtype=np.float64)
    back = TRANSPOSES[x.ndim - 3](weight, **options, output_padding=extra)(y)
    assert back.shape == x.shape
    np.testing.assert_allclose(np.vdot(image, y), np.vdot(x, back), rtol=1e-9, atol=1e-9)


@pytest.mark.parametrize("limit", [1, 2_000, 10_000, 30_000])
def test_convolution_in_blocks_gives_what_it_gives_at_once(limit: int, monkeypatch: pytest.MonkeyPatch) -> None:
    one, two = nn.Conv1d.init(4, 6, 3, 2, 1, groups=2), nn.Conv2d.init(4, 6, 3, 2, 1, groups=2)
    row, image = random(5, 4, 100), random(5, 4, 11, 9)
    expected = one(row), two(image)
    monkeypatch.setattr(_convolution, "COLUMN_BYTES", limit)
    assert_close(one(row), expected[0])
    assert_close(two(image), expected[1])


def test_convolution_copies_no_more_than_its_limit(monkeypatch: pytest.MonkeyPatch) -> None:
    sizes: list[int] = []
    columns: Any = _convolution._columns

    def counted(*args: Any) -> Iterator[Any]:
        for block in columns(*args):
            sizes.append(block[2].nbytes)
            yield block

    monkeypatch.setattr(_convolution, "COLUMN_BYTES", 40_000)
    monkeypatch.setattr(_convolution, "_columns", counted)
    nn.Conv2d.init(4, 6, 3)(random(7, 4, 20, 20))
    nn.Conv1d.init(4, 6, 3)(random(1, 4, 5000))
    assert len(sizes) > 10
    assert max(sizes) <= 40_000


@given(st.integers(1, 6), st.integers(1, 6), st.floats(-50, 50, width=32))
@settings(deadline=None)
def test_softmax_sums_to_one_and_does_not_mind_a_shift(rows: int, columns: int, shift: float) -> None:
    x = random(rows, columns) * 20
    for dim in (0, 1, -1):
        found = nn.softmax(x, dim)
        np.testing.assert_allclose(found.sum(axis=dim), 1, rtol=1e-6)
        np.testing.assert_allclose(nn.softmax(x + np.float32(shift), dim), found, rtol=1e-4, atol=1e-6)
        np.testing.assert_allclose(np.exp(nn.log_softmax(x, dim)), found, rtol=1e-4, atol=1e-6)


@pytest.mark.parametrize(("dtype", "places"), [(np.float32, 8), (np.float64, 8)])
def test_erfc_is_right_to_a_few_units_of_the_last_place(dtype: Any, places: int) -> None:
    z = np.linspace(0, 3, 20_001).astype(dtype)
    expected = np.array([math.erfc(float(number)) for number in z])
    assert np.max(np.abs(_normal.erfc(z) / expected - 1)) < places * np.finfo(dtype).eps


@pytest.mark.parametrize("dtype", [np.float16, np.float32, np.float64])
def test_gelu_keeps_infinities_and_nan(dtype: Any) -> None:
    x = np.array([-np.inf, -60, 0, 60, np.inf, np.nan], dtype)
    np.testing.assert_array_equal(nn.gelu(x), np.array([0, 0, 0, 60, np.inf, np.nan], dtype))


@pytest.mark.parametrize("function", [nn.sigmoid, nn.silu, nn.softplus, nn.elu, nn.tanh])
def test_activation_does_not_overflow(function: Any) -> None:
    x = np.array([-1e30, -1e3, 1e3, 1e30], np.float32)
    assert np.isfinite(function(x)).all()


def test_large_arrays_pass_through_gelu_block_by_block() -> None:
    x = random(3, _arrays.BLOCK)
    np.testing.assert_array_equal(nn.gelu(x), np.stack([nn.gelu(row) for row in x]))


@pytest.mark.parametrize(
    "layer", [nn.LSTM.init(3, 4, 2), nn.LSTM.init(3, 4, proj_size=2), nn.GRU.init(3, 4, 2)], ids=repr
)
@pytest.mark.parametrize("cut", [1, 3, 6])
def test_recurrent_layer_goes_on_from_the_state_it_returned(layer: Any, cut: int) -> None:
    x = random(7, 2, 3)
    whole, last = layer(x)
    first, state = layer(x[:cut])
    second, end = layer(x[cut:], state)
    np.testing.assert_allclose(np.concatenate([first, second]), whole, atol=1e-6)
    for one, other in zip(flat(end), flat(last), strict=True):
        np.testing.assert_allclose(one, other, atol=1e-6)


@pytest.mark.parametrize("kind", [nn.LSTM, nn.GRU])
def test_reverse_direction_is_the_forward_one_on_the_reversed_input(kind: Any) -> None:
    both = kind.init(3, 4, bidirectional=True)
    reverse = kind(
        {name.removesuffix("_reverse"): a for name, a in both.parameters.items() if name.endswith("_reverse")}
    )
    x = random(5, 2, 3)
    np.testing.assert_allclose(both(x)[0][..., 4:], reverse(x[::-1])[0][::-1], atol=1e-6)


@pytest.mark.parametrize("kind", [nn.LSTM, nn.GRU])
def test_recurrent_layer_reads_its_settings_off_its_parameters(kind: Any) -> None:
    options = {"proj_size": 2} if kind is nn.LSTM else {}
    layer = kind.init(3, 5, 2, bias=False, bidirectional=True, **options)
    assert (layer.input_size, layer.hidden_size, layer.num_layers, layer.bidirectional, layer.bias) == (
        3,
        5,
        2,
        True,
        False,
    )
    assert layer.proj_size == options.get("proj_size", 0)


def test_attention_does_not_mind_the_order_of_keys() -> None:
    layer = nn.MultiheadAttention.init(6, 2, batch_first=True)
    query, keys, order = random(2, 3, 6), random(2, 5, 6, seed=1), np.array([3, 0, 4, 2, 1])
    one, weights = layer(query, keys, keys)
    other, shuffled = layer(query, keys[:, order], keys[:, order])
    np.testing.assert_allclose(one, other, atol=1e-6)
    assert weights is not None
    assert shuffled is not None
    np.testing.assert_allclose(weights[..., order], shuffled, atol=1e-6)


def test_keys_that_are_padding_might_as_well_not_be_there() -> None:
    layer = nn.MultiheadAttention.init(6, 2, add_bias_kv=True, add_zero_attn=True)
    query, keys = random(3, 1, 6), random(5, 1, 6, seed=1)
    padded, _ = layer(query, keys, keys, np.array([[False, False, False, True, True]]))
    np.testing.assert_allclose(padded, layer(query, keys[:3], keys[:3])[0], atol=1e-6)


def test_causal_attention_does_not_look_ahead() -> None:
    query, key, value = (random(4, 6, seed=seed) for seed in range(3))
    whole = nn.scaled_dot_product_attention(query, key, value, is_causal=True)
    for length in range(1, 4):
        np.testing.assert_allclose(
            nn.scaled_dot_product_attention(query[:length], key[:length], value[:length])[-1],
            whole[length - 1],
            atol=1e-6,
        )


def test_query_that_may_see_nothing_gives_zeros() -> None:
    mask = np.array([[True, True], [False, False]])
    found = nn.scaled_dot_product_attention(random(2, 3), random(2, 3), random(2, 3), mask)
    assert found[0].any()
    np.testing.assert_array_equal(found[1], 0)


@given(
    st.integers(1, 12).flatmap(lambda size: st.tuples(st.just(size), st.integers(1, 14))),
    st.sampled_from([np.float32, np.float64]),
)
@settings(deadline=None)
def test_adaptive_pooling_takes_the_mean_of_each_interval(sizes: tuple[int, int], dtype: Any) -> None:
    size, outputs = sizes
    x = random(2, size, dtype=dtype)
    expected = [x[:, i * size // outputs : -(-(i + 1) * size // outputs)].mean(axis=1) for i in range(outputs)]
    assert_close(nn.adaptive_avg_pool1d(x, outputs), np.stack(expected, axis=1))


@given(st.integers(1, 3), st.integers(1, 3), st.integers(0, 1), st.integers(1, 2), st.booleans())
@settings(deadline=None)
def test_pooling_reduces_each_window(kernel: int, stride: int, padding: int, dilation: int, include: bool) -> None:
    padding = min(padding, kernel // 2)
    x = random(2, 9, 8, dtype=np.float64)

    def windows(axis: int, gap: int) -> list[list[int]]:
        count = (x.shape[axis] + 2 * padding - gap * (kernel - 1) - 1) // stride + 1
        return [[i * stride - padding + k * gap for k in range(kernel)] for i in range(count)]

    def inside(rows: list[int], columns: list[int]) -> Array:
        return x[np.ix_(range(2), [r for r in rows if 0 <= r < 9], [c for c in columns if 0 <= c < 8])].reshape(2, -1)

    largest = [[inside(r, c).max(axis=1) for c in windows(2, dilation)] for r in windows(1, dilation)]
    assert_close(nn.max_pool2d(x, kernel, stride, padding, dilation), np.moveaxis(np.array(largest), -1, 0))
    sums = [
        [inside(r, c).sum(axis=1) / (kernel**2 if include else inside(r, c).shape[1]) for c in windows(2, 1)]
        for r in windows(1, 1)
    ]
    found = nn.avg_pool2d(x, kernel, stride, padding, count_include_pad=include)
    assert_close(found, np.moveaxis(np.array(sums), -1, 0))


def test_max_pooling_keeps_integers_and_lets_nan_win() -> None:
    assert_close(nn.max_pool1d(np.array([[-3, -2, -5, -4]]), 2), np.array([[-2, -4]]))
    np.testing.assert_array_equal(nn.max_pool1d(np.array([[1, np.nan, 3, 4]]), 2), [[np.nan, 4]])


# Dtypes and shapes


def every_layer() -> list[Any]:
    """A layer, and the shape of an input without a batch."""
    rng = np.random.default_rng(3)
    layers = [
        (nn.Linear.init(4, 3, rng=rng), (4,)),
        (nn.Conv1d.init(4, 3, 2, rng=rng), (4, 6)),
        (nn.Conv2d.init(4, 3, 2, padding=1, rng=rng), (4, 6, 5)),
        (nn.ConvTranspose1d.init(4, 3, 2, rng=rng), (4, 6)),
        (nn.ConvTranspose2d.init(4, 3, 2, rng=rng), (4, 6, 5)),
        (nn.BatchNorm.init(4), (4, 6)),
        (nn.LayerNorm.init(4), (3, 4)),
        (nn.GroupNorm.init(2, 4), (4, 5)),
        (nn.RMSNorm.init(4), (3, 4)),
        (nn.LSTM.init(4, 3, batch_first=True, bidirectional=True, rng=rng), (5, 4)),
        (nn.GRU.init(4, 3, batch_first=True, rng=rng), (5, 4)),
        (nn.MultiheadAttention.init(4, 2, batch_first=True, rng=rng), (5, 4)),
    ]
    return [pytest.param(layer, shape, id=type(layer).__name__) for layer, shape in layers]


def first(layer: Any, x: Array) -> Array:
    """The output of a layer, without its state or weights."""
    found: Any = layer(x, x, x) if isinstance(layer, nn.MultiheadAttention) else layer(x)
    return found[0] if isinstance(found, tuple) else found


@pytest.mark.parametrize(("layer", "shape"), every_layer())
def test_result_has_the_float_dtype_of_the_input(layer: Any, shape: tuple[int, ...]) -> None:
    x = random(2, *shape)
    expected = first(layer, x)
    assert expected.dtype == np.float32
    for dtype in (np.float16, np.float64):
        found = first(layer, x.astype(dtype))
        assert found.dtype == dtype
        np.testing.assert_allclose(found, expected, atol=5e-3 if dtype == np.float16 else 1e-5)
    assert first(layer, (x * 10).astype(np.int64)).dtype == np.float32


@pytest.mark.parametrize(("layer", "shape"), every_layer())
def test_half_precision_parameters_are_computed_with_in_float32(layer: Any, shape: tuple[int, ...]) -> None:
    halved = ww.bind(
        layer, {key: a.astype(np.float16) if a.dtype == np.float32 else a for key, a in state_dict(layer, "")}
    )
    widened = ww.bind(
        layer, {key: a.astype(np.float32) if a.dtype == np.float16 else a for key, a in state_dict(halved, "")}
    )
    x = random(2, *shape)
    np.testing.assert_array_equal(first(halved, x), first(widened, x))


@pytest.mark.parametrize(("layer", "shape"), every_layer())
def test_empty_batch_gives_an_empty_result(layer: Any, shape: tuple[int, ...]) -> None:
    one, none = first(layer, random(1, *shape)), first(layer, random(0, *shape))
    assert none.shape == (0, *one.shape[1:])


@pytest.mark.parametrize(("layer", "shape"), [case for case in every_layer() if "Norm" not in case.id])
def test_input_without_a_batch_is_a_batch_of_one(layer: Any, shape: tuple[int, ...]) -> None:
    x = random(*shape)
    np.testing.assert_allclose(first(layer, x), first(layer, x[None])[0], atol=1e-6)


@pytest.mark.parametrize(("layer", "shape"), every_layer())
def test_input_may_have_any_strides(layer: Any, shape: tuple[int, ...]) -> None:
    x = random(2, *shape)
    turned = np.asfortranarray(x)[::-1]
    np.testing.assert_allclose(first(layer, turned), first(layer, np.ascontiguousarray(turned)), atol=1e-6)


@pytest.mark.parametrize("kind", ["init", "default_rng"])
def test_random_start_is_reproducible_from_a_generator_alone(kind: str) -> None:
    def start(seed: int | None) -> Array:
        return nn.Conv2d.init(3, 4, 3, rng=None if seed is None else np.random.default_rng(seed)).weight

    if kind == "init":
        np.testing.assert_array_equal(start(1), start(1))
        assert not np.array_equal(start(1), start(2))
    else:
        assert not np.array_equal(start(None), start(None))


def test_two_kinds_of_half_precision_meet_in_float32() -> None:
    bfloat16 = pytest.importorskip("ml_dtypes").bfloat16
    weight, bias, x = random(3, 4).astype(bfloat16), random(3).astype(np.float16), random(2, 4).astype(np.float16)
    exact = x.astype(np.float32) @ weight.astype(np.float32).T + bias.astype(np.float32)
    assert_close(nn.Linear(weight, bias)(x), exact.astype(np.float16))


def test_numbers_that_are_too_large_become_infinite_without_a_word() -> None:
    large = np.full((4, 4), 3e38, np.float32)
    with np.errstate(all="raise"):
        assert np.isposinf(nn.Linear(large)(large)).all()
        assert np.isposinf(nn.Conv1d(large[:, :, None])(large)).all()


def test_bfloat16_goes_through_float32_and_back() -> None:
    bfloat16 = pytest.importorskip("ml_dtypes").bfloat16
    weight, x = random(3, 4).astype(bfloat16), random(2, 4).astype(bfloat16)
    exact = x.astype(np.float32) @ weight.astype(np.float32).T
    assert_close(nn.Linear(weight)(x), exact.astype(bfloat16))
    assert_close(nn.Linear(weight)(x.astype(np.float32)), exact)
    assert_close(nn.relu(x), np.maximum(x.astype(np.float32), 0).astype(bfloat16))


RNG = np.random.default_rng(0)


@pytest.mark.parametrize(
    ("array", "bound"),
    [
        pytest.param(nn.Linear.init(16, 90, rng=RNG).weight, 1 / 4, id="Linear"),
        pytest.param(nn.Linear.init(16, 900, rng=RNG).bias, 1 / 4, id="Linear bias"),
        pytest.param(nn.Conv2d.init(8, 90, 2, groups=2, rng=RNG).weight, 1 / 4, id="Conv2d"),
        pytest.param(nn.Conv2d.init(8, 900, 2, groups=2, rng=RNG).bias, 1 / 4, id="Conv2d bias"),
        pytest.param(nn.ConvTranspose1d.init(90, 8, 4, groups=2, rng=RNG).weight, 1 / 4, id="ConvTranspose1d"),
        pytest.param(nn.LSTM.init(90, 16, rng=RNG).parameters["weight_ih_l0"], 1 / 4, id="LSTM"),
        pytest.param(nn.GRU.init(90, 16, rng=RNG).parameters["weight_hh_l0"], 1 / 4, id="GRU"),
        pytest.param(nn.MultiheadAttention.init(24, 2, rng=RNG).in_proj_weight, 1 / 4, id="MultiheadAttention"),
        pytest.param(
            nn.MultiheadAttention.init(64, 2, kdim=32, rng=RNG).k_proj_weight, 1 / 4, id="MultiheadAttention keys"
        ),
    ],
)
def test_random_start_fills_its_range(array: Array, bound: float) -> None:
    assert array.dtype == np.float32
    assert 0.85 * bound < array.max() <= bound
    assert -bound <= array.min() < -0.85 * bound


def test_embedding_starts_with_zeros_for_padding() -> None:
    weight = nn.Embedding.init(5, 3, padding_idx=-1).weight
    assert not weight[4].any()
    assert weight[:4].all()


# What is refused

X: Any = np.zeros  # Any, because the checks are there for what a type checker would stop
LSTM = nn.LSTM.init(3, 4)
ATTENTION = nn.MultiheadAttention.init(4, 2)
REFUSED: dict[str, tuple[Any, str]] = {
    "linear": (
        lambda: nn.Linear(X((3, 2)))(X((4, 3))),
        "linear: expected an input of shape (*, 2) for a weight of shape (3, 2), found (4, 3)",
    ),
    "conv channels": (
        lambda: nn.Conv2d.init(3, 4, 2)(X((1, 4, 8, 8))),
        "Conv2d: expected an input of shape (N, 3, H, W) or (3, H, W), found (1, 4, 8, 8)",
    ),
    "conv axes": (
        lambda: nn.Conv1d.init(3, 4, 2)(X((1, 3, 8, 8))),
        "Conv1d: expected an input of shape (N, 3, L) or (3, L), found (1, 3, 8, 8)",
    ),
    "conv weight": (
        lambda: nn.Conv2d(X((4, 3, 2)))(X((1, 3, 8, 8))),
        "Conv2d: expected a weight of 4 axes, found (4, 3, 2)",
    ),
    "conv bias": (
        lambda: nn.Conv1d(X((4, 3, 2)), X(3))(X((3, 8))),
        "Conv1d: expected a bias of shape (4,), found (3,)",
    ),
    "conv too small": (
        lambda: nn.Conv2d.init(3, 4, 3, dilation=2)(X((1, 3, 8, 4))),
        "Conv2d: expected a size of at least (5, 5), padding included, found (8, 4)",
    ),
    "conv padding": (
        lambda: nn.Conv2d.init(3, 4, 3, padding="full")(X((1, 3, 8, 8))),  # type: ignore[arg-type]
        "Conv2d: padding: expected a number or 2 numbers, at least 0, found full",
    ),
    "conv same with stride": (
        lambda: nn.Conv2d.init(3, 4, 3, 2, "same")(X((1, 3, 8, 8))),
        "Conv2d: expected stride 1 with padding 'same', found 2",
    ),
    "conv stride": (
        lambda: nn.Conv2d.init(3, 4, 3, (1, 2, 3))(X((1, 3, 8, 8))),
        "Conv2d: stride: expected a number or 2 numbers, at least 1, found (1, 2, 3)",
    ),
    "conv groups": (
        lambda: nn.Conv2d.init(3, 4, 3, groups=2),
        "Conv2d: expected channels that groups=2 divides, found (3, 4)",
    ),
    "conv padding mode": (
        lambda: nn.Conv2d.init(3, 4, 3, padding_mode="reflect"),
        "Conv2d: expected padding_mode `zeros`, found `reflect`\n  Pad the input with numpy.pad, and set padding=0.",
    ),
    "conv transpose output_padding": (
        lambda: nn.ConvTranspose1d.init(3, 4, 3, 2, output_padding=2)(X((3, 8))),
        "ConvTranspose1d: expected output_padding below stride or dilation, found 2",
    ),
    "conv transpose padding": (
        lambda: nn.ConvTranspose1d.init(3, 4, 3, padding=2)(X((3, 2))),
        "ConvTranspose1d: expected padding that leaves something of an output of size (4,), found (2,)",
    ),
    "embedding beyond": (
        lambda: nn.Embedding(X((5, 2)))(np.array([1, 5])),
        "Embedding: expected indices from 0 to 4, found 5",
    ),
    "embedding negative": (
        lambda: nn.Embedding(X((5, 2)))(np.array([1, -1])),
        "Embedding: expected indices from 0 to 4, found -1",
    ),
    "embedding floats": (lambda: nn.Embedding(X((5, 2)))(X(3)), "Embedding: expected integers, found float64"),
    "batch norm without statistics": (
        lambda: nn.BatchNorm2d(X(3), X(3))(X((1, 3, 2, 2))),
        (
            "BatchNorm2d: expected running_mean and running_var, found None\n"
            "  Bind them, or set track_running_stats=False to normalise by the statistics of each batch."
        ),
    ),
    "batch norm 1d": (
        lambda: nn.BatchNorm1d.init(3)(X((1, 3, 2, 2))),
        "BatchNorm1d: expected an input of shape (N, 3) or (N, 3, L), found (1, 3, 2, 2)",
    ),
    "batch norm 2d": (
        lambda: nn.BatchNorm2d.init(3)(X((1, 4, 2, 2))),
        "BatchNorm2d: expected an input of shape (N, 3, H, W), found (1, 4, 2, 2)",
    ),
    "batch norm": (lambda: nn.BatchNorm.init(3)(X(3)), "BatchNorm: expected an input of shape (N, 3, *), found (3,)"),
    "batch norm of one": (
        lambda: nn.BatchNorm1d.init(3, track_running_stats=False)(X((1, 3))),
        "BatchNorm1d: expected more than one number per channel to take statistics of, found (1, 3)",
    ),
    "layer norm": (
        lambda: nn.LayerNorm.init((2, 3))(X((3, 2))),
        "LayerNorm: expected an input of shape (*, 2, 3), found (3, 2)",
    ),
    "layer norm weight": (
        lambda: nn.LayerNorm(X(3), normalized_shape=2)(X(3)),
        "LayerNorm: expected a weight of shape (2,), found (3,)",
    ),
    "rms norm without shape": (
        lambda: nn.RMSNorm()(X(3)),
        "RMSNorm: neither weight nor normalized_shape is set\n  Give one of them.",
    ),
    "group norm without groups": (
        lambda: nn.GroupNorm(X(4))(X((2, 4))),
        (
            "GroupNorm: num_groups is not set, and does not follow from the parameters\n"
            "  Give num_groups when the layer is made, or bind to an instance that has it."
        ),
    ),
    "group norm": (
        lambda: nn.GroupNorm.init(2, 4)(X((2, 6))),
        "GroupNorm: expected an input of shape (N, 4, *), found (2, 6)",
    ),
    "lstm input": (lambda: LSTM(X((5, 2, 4))), "LSTM: expected an input of shape (L, N, 3) or (L, 3), found (5, 2, 4)"),
    "lstm without time": (
        lambda: LSTM(X((0, 2, 3))),
        "LSTM: expected a sequence of at least one element, found (0, 2, 3)",
    ),
    "lstm state": (
        lambda: LSTM(X((5, 2, 3)), (X((1, 2, 4)), X((1, 3, 4)))),
        "LSTM: expected a state of shape (1, 2, 4), found (1, 3, 4)",
    ),
    "lstm half a state": (lambda: LSTM(X((5, 2, 3)), (X((1, 2, 4)),)), "LSTM: expected a state of 2 arrays, found 1"),  # type: ignore[arg-type]
    "lstm parameters": (
        lambda: nn.LSTM({name: a for name, a in LSTM.parameters.items() if name != "weight_hh_l0"})(X((5, 2, 3))),
        "LSTM: the parameters do not fit together\n  `weight_hh_l0`: expected shape (16, 4), found none",
    ),
    "gru without parameters": (
        lambda: nn.GRU({})(X((5, 2, 3))),
        "GRU: expected a parameter `weight_ih_l0`, found none",
    ),
    "attention without heads": (
        lambda: nn.MultiheadAttention(ATTENTION.out_proj, ATTENTION.in_proj_weight)(*[X((5, 2, 4))] * 3),
        (
            "MultiheadAttention: num_heads is not set, and does not follow from the parameters\n"
            "  Give num_heads when the layer is made, or bind to an instance that has it."
        ),
    ),
    "attention heads": (
        lambda: nn.MultiheadAttention.init(4, 3),
        "MultiheadAttention: expected num_heads that divides 4, found 3",
    ),
    "attention without weights": (
        lambda: nn.MultiheadAttention(ATTENTION.out_proj, num_heads=2)(*[X((5, 2, 4))] * 3),
        "MultiheadAttention: expected in_proj_weight, or q_proj_weight, k_proj_weight and v_proj_weight, found neither",
    ),
    "attention inputs": (
        lambda: ATTENTION(X((5, 2, 4)), X((6, 2, 4)), X((7, 2, 4))),
        (
            "MultiheadAttention: expected inputs of shapes (L, N, 4), (S, N, 4), (S, N, 4), or without N, found "
            "(5, 2, 4), (6, 2, 4), (7, 2, 4)"
        ),
    ),
    "attention mask": (
        lambda: ATTENTION(*[X((5, 2, 4))] * 3, attn_mask=X((5, 4))),
        "MultiheadAttention: expected attn_mask of shape (5, 5) or (4, 5, 5), found (5, 4)",
    ),
    "attention padding mask": (
        lambda: ATTENTION(X((5, 2, 4)), X((5, 2, 4)), X((5, 2, 4)), X((5, 2), bool)),
        "MultiheadAttention: expected key_padding_mask of shape (2, 5), found (5, 2)",
    ),
    "attention mask of integers": (
        lambda: ATTENTION(*[X((5, 2, 4))] * 3, attn_mask=X((5, 5), int)),
        "attention: expected a mask of bools or floats, found int64",
    ),
    "dot products": (
        lambda: nn.scaled_dot_product_attention(X((2, 3)), X((2, 4)), X((2, 4))),
        "scaled_dot_product_attention: expected shapes (*, L, E), (*, S, E), (*, S, V), found (2, 3), (2, 4), (2, 4)",
    ),
    "dot products of heads": (
        lambda: nn.scaled_dot_product_attention(X((4, 2, 3)), X((3, 2, 3)), X((3, 2, 3)), enable_gqa=True),
        (
            "scaled_dot_product_attention: expected shapes (*, L, E), (*, S, E), (*, S, V), "
            "found (4, 2, 3), (3, 2, 3), (3, 2, 3)"
        ),
    ),
    "dot products with a mask": (
        lambda: nn.scaled_dot_product_attention(X((2, 3)), X((4, 3)), X((4, 3)), X((4, 2))),
        "scaled_dot_product_attention: expected an attn_mask that spreads over (2, 4), found (4, 2)",
    ),
    "attention with half a bias": (
        lambda: nn.MultiheadAttention(ATTENTION.out_proj, bias_k=X((1, 1, 4)), num_heads=2)(*[X((5, 2, 4))] * 3),
        "MultiheadAttention: expected bias_k and bias_v, or neither, found one",
    ),
    "gelu": (
        lambda: nn.gelu(X(3), approximate="erf"),  # type: ignore[arg-type]
        "gelu: expected approximate to be `none` or `tanh`, found `erf`",
    ),
    "pool axes": (
        lambda: nn.max_pool2d(X(8), 2),
        "max_pool2d: expected an input of shape (N, C, H, W) or (C, H, W), found (8,)",
    ),
    "pool padding": (
        lambda: nn.avg_pool1d(X((1, 8)), 2, 2, 2),
        "avg_pool1d: expected padding of at most half the kernel (2), found 2",
    ),
    "pool too small": (lambda: nn.max_pool1d(X((1, 2)), 3), "max_pool1d: expected an axis of at least 3, found 2"),
    "pool kernel": (
        lambda: nn.max_pool1d(X((1, 2)), 0),
        "max_pool1d: kernel_size: expected a number or 1 numbers, at least 1, found 0",
    ),
    "adaptive pool": (
        lambda: nn.adaptive_avg_pool2d(X((1, 2, 2)), (1, 2, 3)),
        "adaptive_avg_pool2d: output_size: expected a number or 2 numbers, at least 1, found (1, 2, 3)",
    ),
}


@pytest.mark.parametrize("case", REFUSED)
def test_refuses_what_does_not_fit(case: str) -> None:
    call, message = REFUSED[case]
    with pytest.raises(nn.LayerError) as caught:
        call()
    assert str(caught.value) == message
    assert isinstance(caught.value, ww.WheelweightsError)
