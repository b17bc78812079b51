"""Embeddings in half precision: what they look up is float32, so that a model computes and stays in float32."""

from __future__ import annotations

import tracemalloc

import numpy as np
import pytest

from wheelweights import nn

RNG = np.random.default_rng(0)


@pytest.mark.parametrize(
    ("weight", "rows"),
    [
        ("float16", "float32"),
        ("bfloat16", "float32"),
        ("float8_e4m3fn", "float32"),
        ("float32", "float32"),
        ("float64", "float64"),
        ("int64", "int64"),
    ],
)
def test_embedding_gives_float32_at_the_least_and_leaves_integers(weight: str, rows: str) -> None:
    ml_dtypes = pytest.importorskip("ml_dtypes")
    table = np.arange(12).reshape(4, 3).astype(getattr(ml_dtypes, weight, None) or weight)
    found = nn.Embedding(table)(np.array([[3, 0], [1, 1]]))
    assert found.dtype.name == rows
    np.testing.assert_array_equal(found, table.astype(rows)[[[3, 0], [1, 1]]])


def test_a_model_in_half_precision_has_activations_in_float32() -> None:
    """An embedding in half would make everything after it half: each layer returns the dtype of its input."""
    table = RNG.standard_normal((9, 4)).astype(np.float16)
    norm = nn.LayerNorm(np.ones(4, np.float16), np.zeros(4, np.float16))
    head = nn.Linear(RNG.standard_normal((5, 4)).astype(np.float16), RNG.standard_normal(5).astype(np.float16))
    attention = nn.MultiheadAttention.init(4, 2, rng=RNG)
    hidden = norm(nn.Embedding(table)(np.array([[1, 2, 8]])))
    found = nn.gelu(head(attention(hidden, hidden, hidden)[0]))
    assert (hidden.dtype, found.dtype) == (np.float32, np.float32)


def test_embedding_widens_only_the_rows_that_are_asked_for() -> None:
    table = np.zeros((200_000, 16), np.float16)
    layer = nn.Embedding(table)
    tracemalloc.start()
    layer(np.array([1, 2]))
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert peak < 1 << 16
