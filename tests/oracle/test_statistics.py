"""The statistics of a tensor are those that torch computes of it in double precision."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
import pytest
import torch

from hatch_wheelweights import open_checkpoint
from hatch_wheelweights.looking.inspection.statistics import BINS, statistics_of

if TYPE_CHECKING:
    from pathlib import Path

    from hatch_wheelweights.looking.inspection.statistics import Statistics

FLOATS = [
    "float16", "bfloat16", "float32", "float64",
    "float8_e4m3fn", "float8_e4m3fnuz", "float8_e5m2", "float8_e5m2fnuz", "float8_e8m0fnu",
]  # fmt: skip
INTEGERS = ["uint8", "uint16", "uint32", "uint64", "int8", "int16", "int32", "int64"]
COMPLEX = ["complex64", "complex128"]
SHAPES = [(3, 1), (64, 3, 7, 7), (1100, 1000)]  # those of the last one are read in pieces, the large ones twice
INF = float("inf")


def _statistics(tensor: torch.Tensor, folder: Path) -> Statistics:
    torch.save({"w": tensor}, folder / "model.pt")
    with open_checkpoint(folder / "model.pt") as checkpoint:
        return statistics_of(checkpoint.state_dict()["w"])


def _assert_as_torch(found: Statistics, tensor: torch.Tensor, values: torch.Tensor) -> None:
    """Compare with torch; `values` are those of the tensor, or their magnitudes, in double precision."""
    finite = values[values.isfinite()]
    assert (found.values, found.zeros) == (values.numel(), int((values == 0).sum()))
    assert (found.nans, found.infinities) == (int(values.isnan().sum()), int(values.isinf().sum()))
    assert (found.minimum, found.maximum) == (finite.min().item(), finite.max().item())
    largest = finite.abs().max().item()
    assert found.mean == pytest.approx(finite.mean().item(), rel=1e-12, abs=1e-15 * largest)
    assert found.std == pytest.approx(finite.std().item(), rel=1e-11)  # torch's own error in a million values
    assert (found.rows, found.dead_rows) == (tensor.shape[0], int((values.flatten(1) == 0).all(1).sum()))
    expected = torch.histc(finite, BINS, finite.min().item(), finite.max().item())
    assert torch.equal(torch.tensor(found.histogram, dtype=torch.float64), expected)


@pytest.mark.parametrize("shape", SHAPES)
@pytest.mark.parametrize("dtype", FLOATS)
def test_floats(dtype, shape, tmp_path):
    generator = torch.Generator().manual_seed(0)
    values = torch.randn(shape, generator=generator, dtype=torch.float64) * 3
    if dtype == "float8_e8m0fnu":
        values = values.abs()
    tensor = values.to(getattr(torch, dtype))
    _assert_as_torch(_statistics(tensor, tmp_path), tensor, tensor.double())


@pytest.mark.parametrize("dtype", FLOATS)
def test_planted_values(dtype, tmp_path):
    generator = torch.Generator().manual_seed(0)
    values = torch.randn((900, 500), generator=generator)
    values[3, 7:9] = torch.nan
    values[5, :3] = torch.tensor([INF, -INF, INF])
    if dtype == "float8_e8m0fnu":
        values = values.abs().clip(max=1)
    else:
        values[[0, 500, 501, 899]] = 0
        values[::2, ::3] = -0.0
    tensor = values.to(getattr(torch, dtype))
    found = _statistics(tensor, tmp_path)
    _assert_as_torch(found, tensor, tensor.double())
    assert found.nans >= 2
    assert found.dead_rows == (0 if dtype == "float8_e8m0fnu" else 4)


@pytest.mark.parametrize("shape", SHAPES)
@pytest.mark.parametrize("dtype", [*INTEGERS, "bool"])
def test_integers(dtype, shape, tmp_path):
    generator = torch.Generator().manual_seed(0)
    low, high = (0, 2) if dtype == "bool" else (0 if dtype.startswith("u") else -100, 127)
    tensor = torch.randint(low, high, shape, generator=generator).to(getattr(torch, dtype))
    _assert_as_torch(_statistics(tensor, tmp_path), tensor, tensor.double())


def test_integers_that_double_precision_does_not_have(tmp_path):
    tensor = torch.tensor([[-(2**63) + 1, 2**63 - 1, 2**53 + 1]])
    found = _statistics(tensor, tmp_path)
    assert (found.minimum, found.maximum) == (tensor.min().item(), tensor.max().item())
    assert found.std == pytest.approx(tensor.double().std().item(), rel=1e-12)


@pytest.mark.parametrize("shape", SHAPES)
@pytest.mark.parametrize("dtype", COMPLEX)
def test_magnitudes_of_complex_numbers(dtype, shape, tmp_path):
    generator = torch.Generator().manual_seed(0)
    tensor = torch.randn(shape, generator=generator, dtype=torch.complex128).to(getattr(torch, dtype))
    tensor[0] = 0
    # By numpy: in the last place, torch's abs() differs from it, and from its own for other layouts
    magnitudes = torch.from_numpy(np.abs(tensor.to(torch.complex128).numpy()))
    torch.testing.assert_close(magnitudes, tensor.to(torch.complex128).abs(), rtol=1e-15, atol=0)
    _assert_as_torch(_statistics(tensor, tmp_path), tensor, magnitudes)


def test_a_transposed_tensor_has_rows_along_its_own_first_axis(tmp_path):
    tensor = torch.randn((500, 300), generator=torch.Generator().manual_seed(0)).t()
    tensor[[0, 299]] = 0
    found = _statistics(tensor, tmp_path)
    _assert_as_torch(found, tensor, tensor.double())
    assert (found.rows, found.dead_rows) == (300, 2)


def test_equal_values(tmp_path):
    for value in (0.0, 0.1, -7.0):
        tensor = torch.full((20, 30), value)
        _assert_as_torch(_statistics(tensor, tmp_path), tensor, tensor.double())
