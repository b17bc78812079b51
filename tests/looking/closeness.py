"""How near two results must be: the tolerances of all tests of `wheelweights.nn`, by dtype."""

from __future__ import annotations

from typing import Any

import numpy as np

# relative to the value, and absolute in units of the largest value of the result (sums cancel)
TOLERANCES = {"float16": (2e-3, 2e-3), "bfloat16": (1.6e-2, 1.6e-2), "float32": (1e-5, 1e-5), "float64": (1e-12, 1e-12)}


def assert_close(found: Any, expected: Any, case: object = "") -> None:
    """Check shape, dtype and values; NaN and infinities must be in the same places."""
    found, expected = np.asarray(found), np.asarray(expected)
    assert found.shape == expected.shape, case
    assert found.dtype == expected.dtype, case
    if expected.dtype.kind in "biu":
        np.testing.assert_array_equal(found, expected, err_msg=str(case))
        return
    relative, absolute = TOLERANCES[expected.dtype.name]
    wide, finite = expected.astype(np.float64), expected.astype(np.float64)
    finite = np.abs(finite[np.isfinite(finite)])
    scale = max(1.0, float(finite.max())) if finite.size else 1.0
    np.testing.assert_allclose(found.astype(np.float64), wide, relative, absolute * scale, err_msg=str(case))
