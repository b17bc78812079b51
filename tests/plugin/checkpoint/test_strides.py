"""Strides: which are contiguous, as numpy has it."""

from __future__ import annotations

import math

import numpy as np
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from hatch_wheelweights.checkpoint.strides import contiguous_strides, is_contiguous

SHAPES = st.lists(st.integers(0, 5), max_size=4).map(tuple)


@settings(deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(shape=SHAPES, data=st.data())
def test_contiguous_is_what_numpy_calls_so(shape: tuple[int, ...], data: st.DataObject) -> None:
    stride = tuple(data.draw(st.integers(0, 30)) for _ in shape)
    if 0 in shape:
        return
    array = np.lib.stride_tricks.as_strided(np.empty(500, np.int8), shape, stride)
    assert is_contiguous(shape, stride) == array.flags.c_contiguous
    assert math.prod(shape) == array.size


@given(shape=SHAPES, fortran=st.booleans())
def test_contiguous_strides_are_those_of_numpy(shape: tuple[int, ...], fortran: bool) -> None:
    strides = contiguous_strides(shape, fortran=fortran)
    if 0 not in shape:
        assert fortran or is_contiguous(shape, strides)
        assert strides == np.empty(shape, np.int8, order="F" if fortran else "C").strides
