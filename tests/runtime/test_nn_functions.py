"""Functions of `wheelweights.nn`, element by element: their formulas, special values, dtypes, strides and memory."""

from __future__ import annotations

import math
import tracemalloc
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from looking.closeness import assert_close
from wheelweights import nn
from wheelweights.nn import _arrays

if TYPE_CHECKING:
    from collections.abc import Callable

Array = np.ndarray[Any, Any]


def phi(x: Array) -> Array:
    return np.array([math.erfc(-number / math.sqrt(2)) / 2 for number in x])


def times(x: Array, factor: Array) -> Array:
    return np.where(factor == 0, 0, x * factor)


# name: the function, its formula in float64, the largest relative error in float32 (beside 1e-30, absolute)
FORMULAS: dict[str, tuple[Any, Callable[[Array], Array], float]] = {
    "relu": (nn.relu, lambda x: np.where(x < 0, 0, x), 0),
    "leaky_relu": (nn.leaky_relu, lambda x: np.where(x > 0, x, 0.01 * x), 2e-7),
    "elu": (nn.elu, lambda x: np.where(x > 0, x, np.expm1(x)), 5e-7),
    "sigmoid": (nn.sigmoid, lambda x: 1 / (1 + np.exp(-x)), 5e-7),
    "silu": (nn.silu, lambda x: x / (1 + np.exp(-x)), 5e-7),
    "tanh": (nn.tanh, np.tanh, 5e-7),
    "softplus": (nn.softplus, lambda x: np.where(x > 20, x, np.log1p(np.exp(x))), 5e-7),
    "hardsigmoid": (nn.hardsigmoid, lambda x: np.clip(x + 3, 0, 6) / 6, 5e-7),
    "hardswish": (nn.hardswish, lambda x: x * (np.clip(x + 3, 0, 6) / 6), 5e-7),
    "gelu": (nn.gelu, lambda x: times(x, phi(x)), 6e-6),
    "gelu tanh": (
        lambda x: nn.gelu(x, approximate="tanh"),
        lambda x: x / (1 + np.exp(-2 * math.sqrt(2 / math.pi) * (x + 0.044715 * x**3))),
        5e-6,
    ),
}
every_function = pytest.mark.parametrize("name", FORMULAS)
singles = st.floats(-5.5, 50, width=32) | st.sampled_from([0.0, -0.0, 1e-30, -1e-30, 3e38, math.inf, math.nan])


@every_function
@given(st.lists(singles, max_size=40))
@settings(max_examples=40, deadline=None)
def test_function_is_its_formula(name: str, numbers: list[float]) -> None:
    function, formula, tolerance = FORMULAS[name]
    x = np.array(numbers, np.float32)
    with np.errstate(all="ignore"):
        expected = formula(x.astype(np.float64))
        np.testing.assert_allclose(function(x), expected.astype(np.float32), tolerance, 1e-30)
        # in float64, too; hard functions lose digits of x + 3, which is near 0
        np.testing.assert_allclose(function(x.astype(np.float64)), expected, 2e-14, 1e-15)


@every_function
def test_function_is_its_formula_far_below_zero(name: str) -> None:
    function, formula, _ = FORMULAS[name]
    x = np.array([-7, -20, -90, -1e4], np.float32)
    with np.errstate(all="ignore"):
        np.testing.assert_allclose(function(x), formula(x.astype(np.float64)), 1e-5, 1e-9)


@given(
    st.lists(st.floats(width=32), max_size=30), st.floats(-3, 3) | st.sampled_from([1e-50, 1e39, math.inf, math.nan])
)
@example([0.0, -0.0, 2.0, -2.0, math.inf, -math.inf, math.nan], 0.0)
@example([0.0, -0.0, 2.0, -2.0, math.inf, -math.inf, math.nan], 1.0)
@example([0.0, -0.0, 2.0, -2.0, math.inf, -math.inf, math.nan], 2.5)
@settings(deadline=None)
def test_leaky_relu_takes_any_slope(numbers: list[float], slope: float) -> None:
    x = np.array(numbers, np.float32)
    with np.errstate(all="ignore"):
        expected = np.where(x > 0, x, x * np.float32(slope))
    found = nn.leaky_relu(x, slope)
    np.testing.assert_array_equal(found, expected)
    numeric = ~np.isnan(expected)
    np.testing.assert_array_equal(np.signbit(found)[numeric], np.signbit(expected)[numeric])


@given(st.lists(st.floats(width=32), max_size=30), st.floats(-3, 3) | st.sampled_from([1e-50, math.inf, math.nan]))
@example([0.0, -0.0, 2.0, -2.0, math.inf, -math.inf, math.nan], 1.0)
@settings(deadline=None)
def test_elu_takes_any_alpha(numbers: list[float], alpha: float) -> None:
    x = np.array(numbers, np.float32)
    with np.errstate(all="ignore"):
        wide = x.astype(np.float64)
        expected = np.where(x > 0, wide, alpha * np.expm1(wide)).astype(np.float32)
        np.testing.assert_allclose(nn.elu(x, alpha), expected, 5e-7, 1e-44)


@given(st.lists(st.floats(-200, 200, width=32), max_size=30), st.floats(0.1, 5), st.floats(-5, 500))
@settings(deadline=None)
def test_softplus_is_linear_beyond_any_threshold(numbers: list[float], beta: float, threshold: float) -> None:
    x = np.array(numbers)
    with np.errstate(over="ignore"):
        expected = np.where(x * beta > threshold, x, np.log1p(np.exp(x * beta)) / beta)
    np.testing.assert_allclose(nn.softplus(x, beta, threshold), expected, 1e-14)


def test_negative_zero_stays_negative() -> None:
    zero = np.array([-0.0], np.float32)
    for function in (nn.leaky_relu, nn.silu, nn.tanh, nn.hardswish, nn.gelu):
        assert np.signbit(function(zero)).all(), function


def test_gelu_loses_no_digits_for_negative_numbers() -> None:
    x = np.concatenate([np.linspace(-5.6, 6, 50_001), -np.geomspace(1e-30, 1, 1000)])
    for dtype, near, far in ((np.float32, 1e-6, 6e-6), (np.float64, 2e-15, 1e-14)):
        rounded = x.astype(dtype)
        exact = rounded.astype(np.float64) * phi(rounded.astype(np.float64))
        error = np.abs(nn.gelu(rounded) / exact - 1)
        assert error[x > -1].max() < near
        assert error.max() < far


def test_hardswish_is_the_identity_beyond_three() -> None:
    x = np.array([3, 3.3, 1e5, 1e38], np.float32)
    np.testing.assert_array_equal(nn.hardswish(x), x)


# Every shape, dtype and stride

ALL: dict[str, Any] = {name: function for name, (function, _, _) in FORMULAS.items()}
ALL |= {
    f"{f.__name__} {dim}": lambda x, f=f, dim=dim: f(x, dim) for f in (nn.softmax, nn.log_softmax) for dim in (-1, 0)
}
all_functions = pytest.mark.parametrize("name", ALL)


def sample(*shape: int) -> Array:
    return np.random.default_rng(1).normal(0, 3, shape).astype(np.float32)


@all_functions
def test_strides_do_not_matter(name: str) -> None:
    function, x = ALL[name], sample(6, 7, 8)
    views = (x.T, x[::-2, :, 1:-1], x[..., ::3], np.asfortranarray(x), np.broadcast_to(x[:1], x.shape), x.astype(">f4"))
    for view in views:
        np.testing.assert_array_equal(function(view), function(view.astype(np.float32, order="C")))


@all_functions
def test_input_is_not_written_to_and_the_result_is_new(name: str) -> None:
    for x in (sample(4, 5), sample(4, 5).astype(np.float16), sample(600, 600)):
        before = x.copy()
        x.flags.writeable = False
        result = ALL[name](x)
        np.testing.assert_array_equal(x, before)
        assert result.flags.writeable
        assert not np.shares_memory(result, x)


@all_functions
@pytest.mark.parametrize("shape", [(), (0,), (3, 0), (0, 3), (1,), (2, 1, 3)])
def test_result_has_the_shape_of_the_input(name: str, shape: tuple[int, ...]) -> None:
    result = ALL[name](sample(*shape))
    assert isinstance(result, np.ndarray)
    assert (result.shape, result.dtype) == (shape, np.float32)


@all_functions
def test_dtypes_are_computed_with_in_float32_at_least(name: str) -> None:
    function, x = ALL[name], sample(5, 6)
    half = x.astype(np.float16)
    if name == "relu":
        np.testing.assert_array_equal(function(half), np.maximum(half, 0))
        return
    np.testing.assert_array_equal(function(half), function(half.astype(np.float32)).astype(np.float16))
    np.testing.assert_array_equal(function(x.astype(np.int8)), function(x.astype(np.int8).astype(np.float32)))
    assert_close(function(x.astype(np.float64)).astype(np.float32), function(x))


@all_functions
def test_bfloat16_is_computed_with_in_float32(name: str) -> None:
    bfloat16 = pytest.importorskip("ml_dtypes").bfloat16
    x = sample(5, 6).astype(bfloat16)
    expected = ALL[name](x.astype(np.float32)).astype(bfloat16)
    np.testing.assert_array_equal(ALL[name](x).astype(np.float32), expected.astype(np.float32))


@all_functions
@pytest.mark.parametrize("block", [1, 7, 64])
def test_blocks_of_any_size_give_the_same(name: str, block: int, monkeypatch: pytest.MonkeyPatch) -> None:
    function, arrays = ALL[name], [sample(9, 10), sample(9, 10).astype(np.float16), sample(9, 10).T, sample(2, 3, 4)]
    arrays[0][3, 4] = -np.inf
    expected = [function(x) for x in arrays]
    monkeypatch.setattr(_arrays, "BLOCK", block)
    for x, whole in zip(arrays, expected, strict=True):
        assert_close(function(x), whole)


@every_function
@pytest.mark.parametrize("dtype", [np.float32, np.float16])
def test_memory_is_that_of_the_result_and_of_few_blocks(name: str, dtype: Any) -> None:
    x = sample(10, _arrays.BLOCK).astype(dtype)
    ALL[name](x[:1])
    tracemalloc.start()
    try:
        result = ALL[name](x)
        _, peak = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert peak < result.nbytes + 6 * 4 * _arrays.BLOCK


def test_overflow_is_silent_in_every_function() -> None:
    x = np.array([-np.inf, -3e38, 3e38, np.inf, np.nan], np.float32)
    with np.errstate(all="raise", under="ignore"):
        for function in ALL.values():
            function(x)


@pytest.mark.parametrize("function", [nn.softmax, nn.log_softmax])
def test_softmax_of_nothing_is_nothing(function: Any) -> None:
    for shape, dim in (((2, 0, 600), 1), ((2, 600, 0), 1), ((0, 600), 1), ((600, 0), 0)):
        assert function(np.zeros(shape, np.float32), dim).shape == shape


@pytest.mark.parametrize("function", [nn.softmax, nn.log_softmax])
def test_softmax_refuses_an_axis_that_is_not_there(function: Any) -> None:
    with pytest.raises(np.exceptions.AxisError, match="axis 2 is out of bounds for array of dimension 2"):
        function(sample(2, 3), 2)


# Layers that work on rows


def layers() -> list[Any]:
    generator = np.random.default_rng(2)

    def vector(size: int) -> Array:
        return generator.normal(1, 0.5, size).astype(np.float32)

    wide = nn.LayerNorm(vector(600), vector(600)), (5, 600)
    running: dict[str, Any] = {"running_mean": vector(6), "running_var": np.abs(vector(6))}
    found = {
        "LayerNorm": (nn.LayerNorm(vector(12), vector(12)), (7, 12)),
        "LayerNorm of long rows": wide,
        "RMSNorm": (nn.RMSNorm(vector(600)), (5, 600)),
        "GroupNorm": (nn.GroupNorm(vector(6), vector(6), num_groups=2), (3, 6, 5, 4)),
        "GroupNorm of long rows": (nn.GroupNorm(vector(6), vector(6), num_groups=2), (3, 6, 600)),
        "GroupNorm without parameters": (nn.GroupNorm(num_groups=3), (3, 6, 5)),
        "GroupNorm with a bias alone": (nn.GroupNorm(None, vector(6), num_groups=3), (3, 6, 5)),
        "BatchNorm": (nn.BatchNorm(vector(6), vector(6), **running), (3, 6, 5, 4)),
        "BatchNorm of long rows": (nn.BatchNorm(vector(6), vector(6), **running), (3, 6, 600)),
        "BatchNorm of vectors": (nn.BatchNorm(vector(6), vector(6), **running), (3, 6)),
    }
    return [pytest.param(layer, shape, id=name) for name, (layer, shape) in found.items()]


@pytest.mark.parametrize(("layer", "shape"), layers())
@pytest.mark.parametrize("block", [1, 50, 1300])
def test_layer_in_blocks_of_rows_gives_what_it_gives_at_once(
    layer: Any, shape: tuple[int, ...], block: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    x = sample(*shape)
    expected = layer(x)
    monkeypatch.setattr(_arrays, "BLOCK", block)
    assert_close(layer(x), expected)


@pytest.mark.parametrize(("layer", "shape"), layers())
@pytest.mark.parametrize(("offset", "tolerance"), [(0, 2e-6), (100, 5e-5)])
def test_layer_in_float32_is_near_the_one_in_float64(
    layer: Any, shape: tuple[int, ...], offset: float, tolerance: float
) -> None:
    x = (sample(*shape) + offset).astype(np.float32)
    exact = layer(x.astype(np.float64))
    np.testing.assert_allclose(layer(x), exact, tolerance, tolerance * np.abs(exact).max())


@pytest.mark.parametrize(("layer", "shape"), layers())
def test_layer_leaves_the_settings_of_numpy_alone(layer: Any, shape: tuple[int, ...]) -> None:
    before = np.getbufsize(), np.geterr()
    layer(sample(*shape))
    assert (np.getbufsize(), np.geterr()) == before
