"""The statistics of several tensors together are those of all their values."""

from __future__ import annotations

import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays

from hatch_wheelweights.checkpoint import LazyTensor
from hatch_wheelweights.looking.inspection.pooling import pooled
from hatch_wheelweights.looking.inspection.statistics import Statistics, statistics_of

VALUES = st.floats(-1e6, 1e6) | st.sampled_from([0.0, float("nan"), float("inf")])


def statistics(values: np.ndarray) -> Statistics:
    return statistics_of(LazyTensor("float64", values.shape, lambda: iter([values.reshape(-1)]), object()))


@given(st.lists(arrays(np.float64, st.integers(0, 6), elements=VALUES), min_size=1, max_size=5))
def test_pooled_statistics_are_those_of_all_values(parts: list[np.ndarray]) -> None:
    found = pooled([None, *map(statistics, parts)])
    expected = statistics(np.concatenate(parts))
    assert found is not None
    for name in ("values", "zeros", "nans", "infinities", "minimum", "maximum"):
        assert getattr(found, name) == getattr(expected, name), name
    for mine, whole in ((found.mean, expected.mean), (found.std, expected.std)):
        assert (mine is None) == (whole is None)
        assert mine is None or whole is None or math.isclose(mine, whole, rel_tol=1e-6, abs_tol=1e-6)


@pytest.mark.parametrize("factor", [1e300, 1e160, 1e-160, 1e-300])
def test_no_magnitude_is_too_large_or_too_small(factor: float) -> None:
    parts = [np.array([1.0, -2.0, 3.0]) * factor, np.array([4.0, 5.0]) * factor]
    found, expected = pooled(map(statistics, parts)), statistics(np.concatenate(parts))
    assert found is not None
    assert found.mean is not None
    assert found.std is not None
    assert math.isclose(found.mean, expected.mean or 0, rel_tol=1e-12)
    assert math.isclose(found.std, expected.std or 0, rel_tol=1e-12)


def test_nothing_has_no_statistics() -> None:
    assert pooled([]) is None
    assert pooled([None]) is None
