"""Casting gives the values that torch's `.to(dtype)` gives, or refuses; integers are left alone."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

import wheelweights.torch
from hatch_wheelweights import convert, open_checkpoint
from hatch_wheelweights.errors import CheckpointError
from hatch_wheelweights.steps.precision import cast_tensors
from hatch_wheelweights.steps.report import Report
from making.tensors import lazy
from wheelweights import open_record
from wheelweights.dtypes import numpy_dtype

if TYPE_CHECKING:
    from pathlib import Path

    from numpy.typing import NDArray

FLOATS = ["float16", "bfloat16", "float32", "float64", "float8_e4m3fn", "float8_e5m2", "float8_e4m3fnuz"]
WORDS: dict[str, torch.dtype] = {
    "half": torch.float16, "bfloat16": torch.bfloat16, "full": torch.float32, "double": torch.float64,
}  # fmt: skip


def _of(array: NDArray[Any], dtype: str) -> torch.Tensor:
    raw = torch.frombuffer(bytearray(array.tobytes()), dtype=torch.uint8)
    return raw.view(getattr(torch, dtype))


def _bits(tensor: torch.Tensor) -> NDArray[np.uint8]:
    return tensor.reshape(-1).view(torch.uint8).numpy()


def _cast(array: NDArray[Any], goal: str) -> NDArray[Any]:
    cast, _ = cast_tensors({"w": lazy(array)}, [("", goal)], Report())
    return cast["w"].numpy()


# Values between two of the target's, ties and what is just beside them, in the range of every dtype here
MIDDLE = st.builds(
    lambda whole, bits, nudge, scale: (whole + 0.5**bits + nudge) * 2.0**scale,
    st.integers(-4, 4),
    st.integers(1, 30),
    st.sampled_from([0, 2.0**-40, -(2.0**-40), 2.0**-26, -(2.0**-26)]),
    st.integers(-20, 6),
)
ODD = st.sampled_from([0.0, -0.0, np.inf, -np.inf, np.nan, 65504.0, 3e-8, 1e-9])


@settings(max_examples=1000)
@given(
    st.sampled_from(["float16", "bfloat16", "float32", "float64"]),
    st.sampled_from(FLOATS),
    st.lists(MIDDLE | ODD, min_size=1, max_size=12),
)
def test_what_is_accepted_has_torchs_values(dtype: str, goal: str, values: list[float]) -> None:
    with np.errstate(over="ignore"):
        array = np.array([1.0, *values]).astype(numpy_dtype(dtype))
    expected = _of(array, dtype).to(getattr(torch, goal))
    try:
        ours = _cast(array, goal)
    except CheckpointError:
        before, after = _of(array, dtype).double(), expected.double()
        finite = before.isfinite()
        lost = (before[finite] - after[finite]).abs().max() / before[finite].abs().max()
        assert not lost <= 0.01 or not torch.equal(before.isfinite(), after.isfinite()) or before.isinf().any()
        return
    assert torch.equal(_of(ours, goal).double().nan_to_num(1e99), expected.double().nan_to_num(1e99))


@given(
    st.binary(min_size=8, max_size=64),
    st.sampled_from(["float32", "float64"]),
    st.sampled_from(["half", "bfloat16", "full"]),
)
def test_any_bits_of_floats_become_what_torch_makes_of_them(raw: bytes, dtype: str, precision: Any) -> None:
    array = np.frombuffer(raw[: len(raw) // 8 * 8], numpy_dtype(dtype))
    array = np.concatenate([np.array([1000.0], array.dtype), array[np.abs(np.nan_to_num(array)) < 6e4]])
    cast, _ = cast_tensors({"w": lazy(array)}, precision, Report())
    ours = _of(cast["w"].numpy(), cast["w"].dtype)
    expected = _of(array, dtype).to(WORDS[precision])
    assert torch.equal(ours.double().nan_to_num(1e99), expected.double().nan_to_num(1e99))


@pytest.mark.parametrize("precision", WORDS)
def test_a_converted_model_has_the_dtypes_and_values_of_torchs_cast(precision: Any, tmp_path: Path) -> None:
    net = torch.nn.Sequential(torch.nn.Conv2d(3, 8, 3), torch.nn.BatchNorm2d(8), torch.nn.ReLU(), torch.nn.Linear(8, 2))
    state = net.state_dict() | {
        "ids": torch.arange(300),
        "q": torch.ones(3, dtype=torch.int8),
        "mask": torch.ones(2) > 0,
    }
    torch.save(state, tmp_path / "m.pt")
    convert(tmp_path / "m.pt", tmp_path / "m.mpk", precision=precision, reindex=False)
    ours = wheelweights.torch.state_dict(open_record(tmp_path / "m.mpk"))
    for key, tensor in state.items():
        statistic = precision == "half" and "running_" in key
        expected = tensor.to(WORDS[precision]) if tensor.is_floating_point() and not statistic else tensor
        assert ours[key].dtype == expected.dtype, key
        assert np.array_equal(_bits(ours[key]), _bits(expected)), key


def test_ties_of_torch_stay_ties(tmp_path: Path) -> None:
    shared = torch.randn(4, 4)
    torch.save({"a": shared, "b": shared, "c": shared.clone(), "d": shared[:2]}, tmp_path / "m.pt")
    with open_checkpoint(tmp_path / "m.pt") as checkpoint:
        tensors = checkpoint.state_dict(precision="half")
        assert tensors["a"].numpy() is tensors["b"].numpy()
        assert tensors["a"].tie != tensors["c"].tie
    convert(tmp_path / "m.pt", tmp_path / "m.mpk", precision="half")
    record = open_record(tmp_path / "m.mpk")
    assert record.info("a").offset == record.info("b").offset != record.info("c").offset
