"""Records as torch tensors, and back into the torch models they came from."""

from __future__ import annotations

import gc
import sys
import warnings
from pathlib import Path
from typing import Any

import ml_dtypes
import msgpack
import numpy as np
import pytest
import torch

import wheelweights.torch
from wheelweights.dtypes import DTYPES, numpy_dtype
from wheelweights.errors import DtypeError
from wheelweights.record import Record, open_record, write_record


def record_of(path: Path, arrays: dict[str, Any], **options: Any) -> Record:
    write_record(path, arrays, **options)
    return open_record(path)


@pytest.mark.parametrize("name", DTYPES)
def test_gives_every_dtype_as_torchs_own(tmp_path: Path, name: str) -> None:
    codes = np.arange(192, dtype=np.uint8) & (1 if name == "bool" else 255)
    array = codes.view(numpy_dtype(name)).reshape(2, -1)
    tensor = wheelweights.torch.state_dict(record_of(tmp_path / "r.mpk", {"x": array}))["x"]
    assert tensor.dtype is getattr(torch, name)
    assert tuple(tensor.shape) == array.shape
    assert tensor.contiguous().view(torch.uint8).numpy().tobytes() == codes.tobytes()
    if name.startswith(("bfloat", "float8")):
        assert np.array_equal(tensor.float().numpy(), array.astype(np.float32), equal_nan=True)


def test_needs_no_ml_dtypes(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    record = record_of(tmp_path / "r.mpk", {"x": np.array([1.5, -2.5], ml_dtypes.bfloat16)})
    numpy_dtype.cache_clear()
    monkeypatch.setitem(sys.modules, "ml_dtypes", None)
    with pytest.raises(DtypeError, match="numpy has no `bfloat16` of its own"):
        record["x"]
    assert wheelweights.torch.state_dict(record)["x"].tolist() == [1.5, -2.5]


def test_shares_the_mapped_memory_and_keeps_it_alive(tmp_path: Path) -> None:
    record = record_of(tmp_path / "r.mpk", {"x": np.arange(6, dtype=np.float32).reshape(2, 3), "": np.float64(2.5)})
    tensors = wheelweights.torch.state_dict(record)
    assert tensors["x"].data_ptr() == record["x"].ctypes.data
    assert tensors["x"].device.type == "cpu"
    record.close()
    del record
    gc.collect()
    assert tensors["x"].sum().item() == 15
    assert tensors[""].shape == ()


def test_tied_tensors_share_their_storage(tmp_path: Path) -> None:
    shared = np.ones(3, np.float32)
    record = record_of(
        tmp_path / "r.mpk", {"a": shared, "b": shared, "c": shared.copy(), "d": np.ones(0), "e": np.ones((0, 2))}
    )
    tensors = wheelweights.torch.state_dict(record)
    assert tensors["a"].untyped_storage().data_ptr() == tensors["b"].untyped_storage().data_ptr()
    assert tensors["a"].data_ptr() != tensors["c"].data_ptr()
    assert tensors["e"].shape == (0, 2)


def test_warns_of_nothing_and_leaves_other_warnings_on(tmp_path: Path) -> None:
    record = record_of(tmp_path / "r.mpk", {"x": np.ones(3, np.float32)})
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        wheelweights.torch.state_dict(record)
        with pytest.raises(UserWarning):
            warnings.warn("another", UserWarning, stacklevel=1)


def test_goes_back_into_the_model_under_the_names_of_the_checkpoint(tmp_path: Path) -> None:
    model = torch.nn.Sequential(torch.nn.Linear(3, 4), torch.nn.ReLU(), torch.nn.BatchNorm1d(4))
    arrays = {key: value.numpy() for key, value in model.state_dict().items()}
    renamed = {key.replace("2.", "1."): array for key, array in arrays.items()}
    source_keys = {key.replace("2.", "1."): key for key in arrays}
    record = record_of(tmp_path / "r.mpk", renamed, source_keys=source_keys)
    assert "1.running_mean" in wheelweights.torch.state_dict(record)
    other = torch.nn.Sequential(torch.nn.Linear(3, 4), torch.nn.ReLU(), torch.nn.BatchNorm1d(4))
    loaded = other.load_state_dict(wheelweights.torch.state_dict(record, source_keys=True))
    assert not loaded.missing_keys
    assert not loaded.unexpected_keys
    x = torch.randn(5, 3)
    assert torch.equal(model.eval()(x), other.eval()(x))
    other[0].weight.data.add_(1)  # load_state_dict copied: the map is not written to
    assert np.array_equal(record["0.weight"], arrays["0.weight"])


def test_copies_the_tensors_of_burn_that_are_not_aligned(tmp_path: Path) -> None:
    values = np.arange(5, dtype=np.float64)
    tensor = {"bytes": values.tobytes(), "shape": [5], "dtype": "F64"}
    for shift in range(8):
        path = tmp_path / f"{shift}.mpk"
        path.write_bytes(msgpack.packb({"metadata": {"float": "x" * shift}, "item": {"w": tensor}}))
        found = wheelweights.torch.state_dict(open_record(path))["w"]
        assert found.data_ptr() % 8 == 0
        assert found.tolist() == [0, 1, 2, 3, 4]


def test_the_modules_name_hides_nothing() -> None:
    assert wheelweights.torch is not torch
    assert Path(str(torch.__file__)).parent.name == "torch"
