"""Models and other archives that torch makes: whole modules, TorchScript, exported programs, shards, safetensors."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest

torch = pytest.importorskip("torch")

from hatch_wheelweights import open_checkpoint  # noqa: E402
from hatch_wheelweights.errors import CheckpointError  # noqa: E402
from looking.state_dicts import assert_state_dict  # noqa: E402
from making.torch_models import Net, Plain, both_containers, every_protocol  # noqa: E402
from wheelweights.dtypes import DTYPES  # noqa: E402

if TYPE_CHECKING:
    from pathlib import Path


pytestmark = pytest.mark.filterwarnings("ignore:Detected pickle protocol")


@pytest.fixture
def path(tmp_path: Path) -> Path:
    """Where the checkpoint goes."""
    return tmp_path / "model.ckpt"


# ------------------------------------------------------------------------------------- whole models


@both_containers
@every_protocol
@pytest.mark.filterwarnings("ignore")
def test_whole_model(path: Path, how: Any, protocol: int) -> None:
    net = Net()
    torch.save(net, path, pickle_protocol=protocol, **how)
    with open_checkpoint(path) as checkpoint:
        assert_state_dict(checkpoint.state_dict(whole_model=True, reindex=False), net.state_dict())
        with pytest.raises(CheckpointError, match=r"whole pickled model \(`.*Net`\)"):
            checkpoint.state_dict()


def test_whole_model_under_a_key(path: Path) -> None:
    net = Net()
    torch.save({"epoch": 1, "model": net, "ema": None}, path)
    with open_checkpoint(path) as checkpoint:
        assert_state_dict(
            checkpoint.state_dict(top_level_key="model", whole_model=True, reindex=False), net.state_dict()
        )


class Lively(torch.nn.Module):
    """A model that holds functions, as people write them."""

    def __init__(self) -> None:
        super().__init__()
        self.fc = torch.nn.Linear(2, 2)
        self.activations = [torch.relu, torch.tanh, torch.nn.functional.gelu, torch.Tensor.sigmoid, torch.nn.ReLU]
        self.again = self.forward
        self.fc.register_forward_hook(self.hook)

    def hook(self, module: Any, inputs: Any, output: Any) -> None:
        """Do nothing."""

    def forward(self, x: Any) -> Any:
        """Use it."""
        return self.activations[0](self.fc(x))


@every_protocol
def test_whole_model_that_holds_functions(path: Path, protocol: int) -> None:
    torch.save(Lively(), path, pickle_protocol=protocol)
    with open_checkpoint(path) as checkpoint:
        assert list(checkpoint.state_dict(whole_model=True)) == ["fc.weight", "fc.bias"]


@pytest.mark.parametrize(
    "make",
    [
        lambda: torch.nn.Transformer(8, 2, 1, 1, 16),
        lambda: torch.nn.MultiheadAttention(8, 2),
        lambda: torch.nn.GRU(3, 4, 2),
        lambda: torch.nn.utils.parametrizations.weight_norm(torch.nn.Linear(3, 4)),
        lambda: torch.nn.Sequential(torch.nn.Embedding(5, 3, padding_idx=0), torch.nn.LayerNorm(3)),
        lambda: torch.nn.ParameterDict({"a": torch.nn.Parameter(torch.ones(2))}),
        lambda: torch.nn.Linear(3, 4).half(),
        lambda: torch.nn.Linear(3, 4).bfloat16(),
    ],
    ids=["transformer", "attention", "gru", "parametrised", "embedding", "parameters", "half", "bfloat16"],
)
@pytest.mark.filterwarnings("ignore")
def test_whole_models_of_torch(path: Path, make: Any) -> None:
    net = make()
    try:
        torch.save(net, path)
    except RuntimeError as error:
        pytest.skip(f"torch cannot save it: {error}")
    with open_checkpoint(path) as checkpoint:
        found = checkpoint.state_dict(whole_model=True, reindex=False)
        assert list(found) == list(net.state_dict())
        for key, value in net.state_dict().items():
            np.testing.assert_array_equal(found[key].numpy().astype(np.float64), value.double().numpy(), err_msg=key)


# ------------------------------------------------------------------------------------- torchscript


def scripted(path: Path, how: str) -> Any:
    """Save a model as TorchScript."""
    net = Plain().eval()
    module = torch.jit.trace(net, torch.randn(2, 3)) if how == "trace" else torch.jit.script(net)
    if how == "lite":
        module._save_for_lite_interpreter(str(path))
    else:
        module.save(str(path))
    return module


@pytest.mark.filterwarnings("ignore")
@pytest.mark.parametrize("how", ["script", "trace"])
def test_torchscript(path: Path, how: str) -> None:
    scripted(path, how)
    with open_checkpoint(path) as checkpoint:
        assert checkpoint.kind == "torchscript"
        found = checkpoint.state_dict(reindex=False)
        expected = torch.jit.load(str(path)).state_dict()
        assert set(expected) <= set(found)
        for key, value in expected.items():
            np.testing.assert_array_equal(found[key].numpy(), value.detach().numpy(), err_msg=key, strict=True)


@pytest.mark.filterwarnings("ignore")
@pytest.mark.parametrize("dtype", sorted(DTYPES))
def test_torchscript_of_every_dtype(path: Path, dtype: str) -> None:
    net = Plain().eval()
    net.register_buffer("x", torch.zeros(64, dtype=torch.uint8).view(getattr(torch, dtype)))
    torch.jit.trace(net, torch.randn(2, 3)).save(str(path))
    with open_checkpoint(path) as checkpoint:
        found = checkpoint.state_dict()["x"]
        assert (found.dtype, found.shape) == (dtype, tuple(torch.jit.load(str(path)).state_dict()["x"].shape))


@pytest.mark.filterwarnings("ignore")
def test_torchscript_lite(path: Path) -> None:
    module = scripted(path, "lite")
    with open_checkpoint(path) as checkpoint:
        found = checkpoint.state_dict(reindex=False)
        for key, value in module.state_dict().items():
            np.testing.assert_array_equal(found[key].numpy(), value.detach().numpy(), err_msg=key, strict=True)


class Talking(torch.nn.Module):
    """A scripted model with attributes of many types, and a tied weight."""

    def __init__(self) -> None:
        super().__init__()
        self.first = torch.nn.Linear(3, 3)
        self.second = torch.nn.Linear(3, 3, bias=False)
        self.second.weight = self.first.weight
        self.rnn = torch.nn.LSTM(3, 3)
        self.short = torch.nn.Parameter(torch.ones(2).half())
        self.sizes = [1, 2]
        self.table = {"a": torch.ones(2)}
        self.pair = (1, "x")
        self.name = "net"
        self.register_buffer("strided", torch.arange(6.0).reshape(2, 3).T)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """Use all of it."""
        x = self.second(self.first(x)) + len(self.sizes) + len(self.name) + self.pair[0] + self.strided.sum()
        return self.rnn(x[None])[0] + self.table["a"][0] + self.short[0]


@pytest.mark.filterwarnings("ignore")
def test_torchscript_with_attributes(path: Path) -> None:
    torch.jit.script(Talking()).save(str(path))
    with open_checkpoint(path) as checkpoint:
        found = checkpoint.state_dict(reindex=False)
        for key, value in torch.jit.load(str(path)).state_dict().items():
            np.testing.assert_array_equal(found[key].numpy(), value.detach().numpy(), err_msg=key, strict=True)
        assert found["first.weight"].tie == found["second.weight"].tie


@pytest.mark.filterwarnings("ignore")
def test_torchscript_frozen(path: Path) -> None:
    """Freezing turns the weights into constants of the code: there may be no state_dict, but no failure either."""
    torch.jit.freeze(torch.jit.script(Plain().eval())).save(str(path))
    with open_checkpoint(path) as checkpoint:
        assert checkpoint.kind == "torchscript"
        assert checkpoint.tree is not None


# ------------------------------------------------------------------------------------- export and shards


@pytest.mark.filterwarnings("ignore")
def test_export(tmp_path: Path) -> None:
    net = Plain().eval()
    path = tmp_path / "model.pt2"
    torch.export.save(torch.export.export(net, (torch.randn(2, 3),)), path)
    with open_checkpoint(path) as checkpoint:
        assert checkpoint.kind == "pytorch-export"
        found = checkpoint.state_dict(reindex=False)
        expected = torch.export.load(path).state_dict
        assert set(expected) <= set(found)
        for key, value in expected.items():
            np.testing.assert_array_equal(found[key].numpy(), value.detach().numpy(), err_msg=key, strict=True)


@pytest.mark.filterwarnings("ignore")
@pytest.mark.parametrize("dtype", ["float16", "bfloat16", "float64"])
def test_export_of_other_dtypes(tmp_path: Path, dtype: str) -> None:
    class Tall(torch.nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.w = torch.nn.Parameter(torch.randn(4, 3).T.to(getattr(torch, dtype)))
            self.register_buffer("b", torch.arange(8)[::2])

        def forward(self, x: torch.Tensor) -> torch.Tensor:
            return x @ self.w + self.b

    path = tmp_path / "model.pt2"
    torch.export.save(torch.export.export(Tall(), (torch.randn(2, 3).to(getattr(torch, dtype)),)), path)
    with open_checkpoint(path) as checkpoint:
        found = checkpoint.state_dict()
        for key, value in torch.export.load(path).state_dict.items():
            assert found[key].dtype == str(value.dtype).removeprefix("torch.")
            np.testing.assert_array_equal(
                found[key].numpy().astype(np.float64), value.detach().double().numpy(), err_msg=key
            )


def sharded(folder: Path, state: dict[str, Any], ending: str) -> Path:
    """Write a state_dict as Hugging Face shards it."""
    from safetensors.torch import save_file

    keys = sorted(state)
    parts = [keys[::2], keys[1::2]]
    weight_map: dict[str, str] = {}
    stem = "model" if ending == "safetensors" else "pytorch_model"
    for number, part in enumerate(parts, 1):
        name = f"{stem}-{number:05}-of-00002.{ending}"
        tensors = {key: state[key] for key in part}
        if ending == "safetensors":
            save_file(tensors, folder / name)
        else:
            torch.save(tensors, folder / name)
        weight_map |= dict.fromkeys(part, name)
    index = folder / f"{stem}.{ending}.index.json"
    index.write_text(json.dumps({"metadata": {"total_size": 1}, "weight_map": weight_map}, indent=2))
    return index


@pytest.mark.parametrize("ending", ["bin", "safetensors"])
def test_shards(tmp_path: Path, ending: str) -> None:
    state = {key: value.clone() for key, value in Net().state_dict().items()}
    index = sharded(tmp_path, state, ending)
    with open_checkpoint(index) as checkpoint:
        assert checkpoint.kind == ("sharded-safetensors" if ending == "safetensors" else "sharded-pytorch")
        found = checkpoint.state_dict(reindex=False)
        assert set(found) == set(state)
        for key, value in state.items():
            np.testing.assert_array_equal(found[key].numpy(), value.numpy(), err_msg=key, strict=True)


@pytest.mark.parametrize(
    "dtype", ["float32", "float16", "bfloat16", "float8_e4m3fn", "float8_e5m2", "int64", "bool", "uint16"]
)
def test_safetensors_of_torch(tmp_path: Path, dtype: str) -> None:
    from safetensors.torch import load_file, save_file

    path = tmp_path / "model.safetensors"
    save_file(
        {"w": torch.arange(6).reshape(2, 3).to(getattr(torch, dtype)), "e": torch.empty(0, 2), "s": torch.tensor(1.0)},
        path,
    )
    with open_checkpoint(path) as checkpoint:
        found = checkpoint.state_dict()
        for key, value in load_file(path).items():
            assert found[key].dtype == str(value.dtype).removeprefix("torch.")
            assert found[key].shape == tuple(value.shape)
            raw = value.contiguous().reshape(-1).view(torch.uint8).numpy().tobytes() if value.numel() else b""
            assert found[key].numpy().tobytes() == raw
