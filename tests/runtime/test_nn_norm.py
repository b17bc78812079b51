"""Normalisation: as exact over long rows as over short ones, and without a word about what overflows."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from wheelweights import nn

LONG = (1 << 20) + 77
GENERATOR = np.random.default_rng(0)
# What drawing around 0 does not show: sums that grow with the length
ROWS: dict[str, Any] = {
    "a page": np.where(GENERATOR.random(LONG) < 0.01, 0.3, 0.9),
    "after relu": np.maximum(0, GENERATOR.standard_normal(LONG)),
    "two values": np.where(np.arange(LONG) % 2, 10.11, 10.1),
    "around 0": GENERATOR.standard_normal(LONG),
}


@pytest.mark.parametrize("name", ROWS)
@pytest.mark.parametrize("length", [100, 2048, 2049, 100_000, LONG])
def test_the_error_does_not_grow_with_the_row(name: str, length: int) -> None:
    row = ROWS[name][:length].astype(np.float32)
    wide = row.astype(np.float64)
    exact = (wide - wide.mean()) / np.sqrt(wide.var() + 1e-5)
    most = 1e-3 if name == "two values" else 3e-5  # of numbers whose difference is a thousandth of them
    for found in (nn.GroupNorm(None, None, 1)(row.reshape(1, 1, -1)), nn.LayerNorm(normalized_shape=length)(row)):
        assert np.abs(found.reshape(-1) - exact).max() < most
    pooled = nn.adaptive_avg_pool1d(row.reshape(1, 1, -1), 1)
    np.testing.assert_allclose(pooled.reshape(()), wide.mean(), 3e-6, 3e-6)


@pytest.mark.parametrize("value", [1e30, np.inf, np.nan])
def test_what_overflows_is_normalised_without_a_word(value: float) -> None:
    x = np.array([[value, 1, 2, 3]], np.float32)
    with np.errstate(all="raise"):
        for layer in (nn.LayerNorm(normalized_shape=4), nn.RMSNorm(normalized_shape=4), nn.GroupNorm(None, None, 2)):
            assert layer(x).shape == x.shape


@pytest.mark.parametrize("groups", [0, -2])
def test_there_is_at_least_one_group(groups: int) -> None:
    with pytest.raises(nn.LayerError) as caught:
        nn.GroupNorm(None, None, groups)(np.zeros((1, 4), np.float32))
    assert str(caught.value) == f"GroupNorm: num_groups: expected a number, at least 1, found {groups}"
