"""`golden` with real torch: its tensors, its hooks, its modes, its outputs."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np
import pytest

import hatch_wheelweights as hw
import wheelweights as ww

if TYPE_CHECKING:
    from pathlib import Path

torch = pytest.importorskip("torch")
nn = torch.nn


def made(path: Path, model: Any, *inputs: Any, **options: Any) -> dict[str, Any]:
    hw.golden(model, *inputs, path=path / "golden.npz", **options)
    with np.load(path / "golden.npz", allow_pickle=False) as arrays:
        return dict(arrays)


@pytest.mark.parametrize(
    "dtype",
    ["bfloat16", "float8_e4m3fn", "float8_e4m3fnuz", "float8_e5m2", "float8_e5m2fnuz", "float8_e8m0fnu"],
)
def test_what_numpy_lacks_is_float32_with_the_same_values(tmp_path: Path, dtype: str) -> None:
    class Cast(nn.Module):
        def forward(self, x: Any) -> Any:
            return x.to(getattr(torch, dtype))

    x = torch.rand(64) + 0.5
    found = made(tmp_path, Cast(), x)["output"]
    assert found.dtype == np.float32
    assert torch.equal(torch.from_numpy(found), x.to(getattr(torch, dtype)).float())


@pytest.mark.parametrize(
    "dtype", ["float16", "float32", "float64", "int64", "int8", "uint8", "bool", "complex64", "complex128", "uint16"]
)
def test_other_dtypes_stay(tmp_path: Path, dtype: str) -> None:
    found = made(tmp_path, nn.Identity(), torch.ones(3, dtype=getattr(torch, dtype)))
    assert found["input"].dtype == found["output"].dtype == np.dtype(dtype)


def test_views_that_numpy_cannot_share_are_copied(tmp_path: Path) -> None:
    x = torch.tensor([1 + 2j, 3 - 1j])
    found = made(tmp_path, nn.Identity(), x.conj())
    np.testing.assert_array_equal(found["output"], [1 - 2j, 3 + 1j])
    found = made(tmp_path, nn.Identity(), x.conj().imag)
    np.testing.assert_array_equal(found["output"], [-2, 1])


@pytest.mark.filterwarnings("ignore:.*quantized tensor creation:UserWarning")
@pytest.mark.parametrize("kind", ["sparse", "meta", "quantized"])
def test_tensors_without_plain_values_are_refused_by_name(tmp_path: Path, kind: str) -> None:
    x = {
        "sparse": lambda: torch.eye(3).to_sparse(),
        "meta": lambda: torch.ones(3, device="meta"),
        "quantized": lambda: torch.quantize_per_tensor(torch.ones(3), 0.1, 0, torch.qint8),
    }[kind]()
    with pytest.raises(hw.ConfigError) as caught:
        hw.golden(nn.Identity(), x, path=tmp_path / "golden.npz")
    assert str(caught.value).startswith("inputs: expected a tensor or a number at `input`, found `Tensor` (")
    assert list(tmp_path.iterdir()) == []


def test_gradients_modes_and_hooks_are_as_they_were(tmp_path: Path) -> None:
    model = nn.Sequential(nn.Linear(3, 3), nn.Dropout(0.9), nn.BatchNorm1d(3), nn.Linear(3, 1)).train()
    model[2].eval()
    seen: list[tuple[bool, bool]] = []
    model[0].register_forward_hook(lambda module, *_: seen.append((module.training, torch.is_grad_enabled())))
    state = {key: value.clone() for key, value in model.state_dict().items()}
    made(tmp_path, model, torch.randn(4, 3), modules=["0", "2", "3"])
    assert seen == [(False, False)]
    assert torch.is_grad_enabled()
    assert [module.training for module in model.modules()] == [True, True, True, False, True]
    assert [len(module._forward_hooks) + len(module._forward_pre_hooks) for module in model] == [1, 0, 0, 0]
    assert all(torch.equal(value, state[key]) for key, value in model.state_dict().items())
    model(torch.randn(4, 3)).sum().backward()
    assert model[0].weight.grad is not None


def test_a_model_that_raises_is_as_it_was(tmp_path: Path) -> None:
    model = nn.Sequential(nn.Linear(3, 3), nn.Linear(4, 4)).train()
    with pytest.raises(RuntimeError, match="shapes cannot be multiplied"):
        hw.golden(model, torch.randn(2, 3), path=tmp_path / "golden.npz", modules=["0", "1"])
    assert all(module.training for module in model.modules())
    assert not any(module._forward_hooks or module._forward_pre_hooks for module in model.modules())
    assert torch.is_grad_enabled()
    assert list(tmp_path.iterdir()) == []


def test_in_place_layers_change_nothing_that_was_kept(tmp_path: Path) -> None:
    model = nn.Sequential(nn.Linear(3, 3), nn.ReLU(inplace=True), nn.Linear(3, 2))
    x = torch.randn(2, 3)
    found = made(tmp_path, model, x, modules=["0", "1"])
    with torch.no_grad():
        np.testing.assert_array_equal(found["0/output"], model[0](x).numpy())
    np.testing.assert_array_equal(found["1/input"], found["0/output"])
    assert (found["0/output"] < 0).any()


def test_recurrent_and_attention_layers_have_named_outputs(tmp_path: Path) -> None:
    state = (torch.zeros(1, 2, 4), torch.zeros(1, 2, 4))
    assert list(made(tmp_path, nn.LSTM(3, 4), torch.randn(5, 2, 3), state)) == [
        "input.0", "input.1.0", "input.1.1", "output.0", "output.1.0", "output.1.1",
    ]  # fmt: skip
    query = torch.randn(5, 2, 4)
    attention = nn.MultiheadAttention(4, 2)
    assert list(made(tmp_path, attention, query, query, query, kwargs={"need_weights": False})) == [
        "input.0", "input.1", "input.2", "input.need_weights", "output.0",
    ]  # fmt: skip


def test_a_projection_that_attention_only_reads_is_not_called(tmp_path: Path) -> None:
    query = torch.randn(5, 2, 4)
    with pytest.raises(hw.ConfigError, match=r"module `out_proj` was not called"):
        made(tmp_path, nn.MultiheadAttention(4, 2), query, query, query, modules=["out_proj"])


def test_a_layer_under_two_names_is_kept_under_both(tmp_path: Path) -> None:
    layer = nn.Linear(3, 3)
    model = nn.Sequential(layer, nn.ReLU(), layer)
    found = made(tmp_path, model, torch.randn(2, 3), modules=["0", "2"])
    np.testing.assert_array_equal(found["0/output"], found["2/output"])


@pytest.mark.filterwarnings("ignore:.*torch.jit:DeprecationWarning")
def test_a_script_is_a_model_as_well(tmp_path: Path) -> None:
    model = torch.jit.script(nn.Sequential(nn.Linear(3, 3), nn.ReLU()))
    found = made(tmp_path, model, torch.randn(2, 3))
    assert list(found) == ["input", "output"]


@pytest.mark.parametrize("dtype", ["float32", "bfloat16", "float16"])
def test_what_torch_computed_is_what_the_layer_computes(tmp_path: Path, dtype: str) -> None:
    torch.manual_seed(0)
    layer = nn.Linear(16, 8).to(getattr(torch, dtype))
    torch.save(layer.state_dict(), tmp_path / "model.pt")
    made(tmp_path, layer, torch.randn(4, 16).to(getattr(torch, dtype)))
    hw.convert(tmp_path / "model.pt", tmp_path / "model.mpk", golden=tmp_path / "golden.npz")
    record = ww.open_record(tmp_path / "model.mpk", widen=True)
    report = ww.check(ww.bind(ww.nn.Linear, record), record)
    assert report.fits
