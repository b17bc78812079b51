"""The statistics of several tensors together are those of all their values."""

from __future__ import annotations

import math

import numpy as np
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


def test_nothing_has_no_statistics() -> None:
    assert pooled([]) is None
    assert pooled([None]) is None
