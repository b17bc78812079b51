"""Convolution and pooling: the ways to compute them, chosen by size, agree, and their results are plain arrays."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from looking.closeness import assert_close
from wheelweights import nn
from wheelweights.nn import _convolution

Array = np.ndarray[Any, Any]


def sample(*shape: int, dtype: Any = np.float32) -> Array:
    return np.random.default_rng(1).standard_normal(shape).astype(dtype)


CONVOLUTIONS: dict[str, tuple[Any, tuple[int, ...]]] = {
    "one channel": (nn.Conv2d.init(1, 8, 3, padding=2), (3, 1, 9, 7)),
    "depthwise": (nn.Conv2d.init(6, 6, 3, padding=1, groups=6), (2, 6, 9, 7)),
    "depthwise without a bias": (nn.Conv2d.init(6, 6, (2, 3), padding=1, groups=6, bias=False), (2, 6, 9, 7)),
    "several outputs": (nn.Conv2d.init(6, 9, (3, 2), dilation=(2, 3), padding=(0, 2), groups=3), (2, 6, 9, 7)),
    "one line": (nn.Conv2d.init(4, 4, (1, 3), groups=2), (2, 4, 1, 7)),
    "one axis": (nn.Conv1d.init(6, 6, 5, padding="same", dilation=2, groups=6), (2, 6, 11)),
    "no image": (nn.Conv1d.init(6, 6, 5, padding="same", groups=6), (0, 6, 11)),
}
every_convolution = pytest.mark.parametrize("name", CONVOLUTIONS)


@every_convolution
def test_few_outputs_of_a_group_are_computed_as_many_are(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    layer, shape = CONVOLUTIONS[name]
    x = sample(*shape)
    found = layer(x)
    assert found.flags.c_contiguous
    monkeypatch.setattr(_convolution, "FEW", 0)
    assert_close(found, layer(x))


@every_convolution
def test_few_outputs_of_a_group_are_computed_in_blocks(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    layer, shape = CONVOLUTIONS[name]
    x = sample(*shape)
    expected = layer(x)
    for limit in (2_000, 6_000):
        monkeypatch.setattr(_convolution, "CACHED_BYTES", limit)
        monkeypatch.setattr(_convolution, "NARROW", 1)
        assert_close(layer(x), expected)


@every_convolution
def test_padding_between_lines_hides_no_nan_and_spreads_none(name: str) -> None:
    layer, shape = CONVOLUTIONS[name]
    x = np.zeros(shape, np.float32)
    x[..., -1] = np.inf
    inside = np.isfinite(layer(x))
    x[..., -1] = 7
    changed = layer(x) != layer(np.zeros(shape, np.float32))
    np.testing.assert_array_equal(inside, ~changed)


TRANSPOSES: dict[str, tuple[Any, tuple[int, ...]]] = {
    "stride": (nn.ConvTranspose2d.init(4, 6, (3, 4), (2, 3), 1, output_padding=1, groups=2), (3, 4, 6, 5)),
    "dilation": (nn.ConvTranspose2d.init(4, 6, 3, dilation=(2, 3), bias=False), (3, 4, 6, 5)),
    "depthwise": (nn.ConvTranspose2d.init(4, 8, 4, 2, 1, groups=4), (3, 4, 6, 5)),
    "one axis": (nn.ConvTranspose1d.init(4, 6, 8, 4), (3, 4, 20)),
}


@pytest.mark.parametrize("name", TRANSPOSES)
@pytest.mark.parametrize("limit", [1, 1000, 3000])
def test_transposed_convolution_in_blocks_gives_what_it_gives_at_once(
    name: str, limit: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    layer, shape = TRANSPOSES[name]
    x = sample(*shape)
    expected = layer(x)
    monkeypatch.setattr(_convolution, "COLUMN_BYTES", limit)
    assert_close(layer(x), expected)


def test_transposed_convolution_multiplies_no_more_than_its_limit(monkeypatch: pytest.MonkeyPatch) -> None:
    blocks: list[int] = []
    parts: Any = _convolution._parts

    def counted(images: int, lines: int, line: int, column_bytes: int) -> Any:
        for some, rows in parts(images, lines, line, column_bytes):
            blocks.append((some.stop - some.start) * (rows.stop - rows.start) * line * column_bytes)
            yield some, rows

    monkeypatch.setattr(_convolution, "COLUMN_BYTES", 40_000)
    monkeypatch.setattr(_convolution, "_parts", counted)
    nn.ConvTranspose2d.init(4, 6, 3)(sample(7, 4, 20, 20))
    assert len(blocks) > 10
    assert max(blocks) <= 40_000


# Pooling

POOLS: dict[str, Any] = {
    "max": lambda x: nn.max_pool2d(x, 3, 2, 1),
    "max without padding": lambda x: nn.max_pool2d(x, 2),
    "max over the end": lambda x: nn.max_pool2d(x, 3, 2, ceil_mode=True),
    "mean": lambda x: nn.avg_pool2d(x, 3, 1, 1),
    "adaptive": lambda x: nn.adaptive_avg_pool2d(x, 4),
    "global": lambda x: nn.adaptive_avg_pool2d(x, 1),
    "one axis of two": lambda x: nn.adaptive_avg_pool2d(x, (1, None)),
}


@pytest.mark.parametrize("name", POOLS)
def test_pooling_gives_a_new_plain_array(name: str) -> None:
    for x in (sample(2, 3, 8, 9), sample(3, 8, 9), sample(0, 3, 8, 9), sample(9, 8, 3, 2).T):
        before = x.copy()
        found = POOLS[name](x)
        assert found.flags.c_contiguous
        assert found.flags.owndata or found.base is not None
        assert not np.shares_memory(found, x)
        np.testing.assert_array_equal(x, before)
        np.testing.assert_array_equal(found, POOLS[name](np.ascontiguousarray(x)))


@given(st.integers(1, 150), st.integers(1, 9), st.sampled_from([1, 2]))
@settings(deadline=None)
def test_adaptive_pooling_of_long_axes_takes_the_mean_of_each_interval(size: int, outputs: int, axis: int) -> None:
    x = sample(2, size, 3, dtype=np.float64) if axis == 1 else sample(2, 3, size, dtype=np.float64)
    intervals = [range(i * size // outputs, -(-(i + 1) * size // outputs)) for i in range(outputs)]
    expected = np.stack([np.take(x, interval, axis).mean(axis) for interval in intervals], axis)
    sizes = (outputs, None) if axis == 1 else (None, outputs)
    assert_close(nn.adaptive_avg_pool2d(x, sizes), expected)


@pytest.mark.parametrize("outputs", [1, 2, 3, 7, 40])
def test_adaptive_pooling_keeps_nan_and_infinity_in_their_intervals(outputs: int) -> None:
    x = np.zeros((1, 100), np.float32)
    x[0, 3], x[0, 60] = np.nan, np.inf
    found = nn.adaptive_avg_pool1d(x, outputs)[0]
    holds = [[i * 100 // outputs <= place < -(-(i + 1) * 100 // outputs) for i in range(outputs)] for place in (3, 60)]
    np.testing.assert_array_equal(np.isnan(found), holds[0])
    np.testing.assert_array_equal(np.isinf(found), np.array(holds[1]) & ~np.array(holds[0]))


def test_global_mean_of_integers_is_a_float32() -> None:
    found = nn.adaptive_avg_pool2d(np.arange(24).reshape(2, 3, 4), 1)
    np.testing.assert_array_equal(found, np.array([5.5, 17.5], np.float32).reshape(2, 1, 1))
    assert found.dtype == np.float32


@pytest.mark.parametrize("sizes", [(None, None), (4, 5), (None, 5)])
def test_adaptive_pooling_that_changes_nothing_gives_a_new_array(sizes: tuple[int | None, ...]) -> None:
    x = np.ones((2, 4, 5), np.float32)
    found = nn.adaptive_avg_pool2d(x, sizes)
    np.testing.assert_array_equal(found, x)
    assert not np.shares_memory(found, x)


def test_no_window_lies_in_the_padding_alone() -> None:
    with pytest.raises(nn.LayerError) as caught:
        nn.max_pool1d(np.zeros((1, 1, 1), np.float32), 2, 1, 2, 3)
    assert str(caught.value) == "max_pool1d: expected padding of at most half the kernel (2), found 2"


def test_a_mean_needs_a_divisor() -> None:
    with pytest.raises(nn.LayerError) as caught:
        nn.avg_pool2d(np.zeros((1, 2, 2)), 2, divisor_override=0)
    assert str(caught.value) == "avg_pool2d: divisor_override: expected a number other than 0, found 0"


def test_infinities_are_pooled_without_a_word() -> None:
    x = np.array([[[np.inf, -np.inf, 1, 2], [3, 4, np.nan, 6]]], np.float32)
    with np.errstate(all="raise"):
        for found in (nn.avg_pool2d(x, 2), nn.adaptive_avg_pool2d(x, 1), nn.adaptive_avg_pool2d(x, (1, 2))):
            assert np.isnan(found).all()
        assert nn.max_pool2d(x[..., :2], 2).tolist() == [[[np.inf]]]
