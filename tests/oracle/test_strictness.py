"""A model that is bound by its factory refuses whatever torch's `load_state_dict(strict=True)` refuses."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest

import wheelweights as ww
from wheelweights import nn

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

torch = pytest.importorskip("torch")
pytestmark = pytest.mark.filterwarnings("ignore:enable_nested_tensor:UserWarning")

State = dict[str, Any]


@dataclass
class Mlp:
    layers: list[Any]

    @classmethod
    def init(cls) -> Mlp:
        return cls([nn.Linear.init(4, 4), nn.relu, nn.Linear.init(4, 4, bias=False), nn.relu, nn.Linear.init(4, 2)])


@dataclass
class ConvNet:
    stem: list[Any]
    up: nn.ConvTranspose2d
    norm: nn.GroupNorm
    plain: nn.LayerNorm

    @classmethod
    def init(cls) -> ConvNet:
        stem = [nn.Conv2d.init(3, 4, 3, stride=2), nn.BatchNorm2d.init(4), nn.relu, nn.Conv2d.init(4, 6, 1, groups=2)]
        up = nn.ConvTranspose2d.init(6, 4, 2, groups=2)
        return cls(stem, up, nn.GroupNorm.init(2, 4), nn.LayerNorm.init(8, elementwise_affine=False))


@dataclass
class Block:
    self_attn: nn.MultiheadAttention
    linear1: nn.Linear
    norm1: nn.LayerNorm


@dataclass
class Encoder:
    embed: nn.Embedding
    blocks: list[Block]
    rnn: nn.LSTM
    cross: nn.MultiheadAttention

    @classmethod
    def init(cls) -> Encoder:
        blocks = [Block(nn.MultiheadAttention.init(8, 2), nn.Linear.init(8, 8), nn.LayerNorm.init(8)) for _ in range(3)]
        rnn = nn.LSTM.init(8, 4, 2, bidirectional=True)
        return cls(nn.Embedding.init(10, 8), blocks, rnn, nn.MultiheadAttention.init(8, 2, add_bias_kv=True, kdim=4))


def torch_mlp() -> Any:
    layers = [torch.nn.Linear(4, 4), torch.nn.ReLU(), torch.nn.Linear(4, 4, bias=False), torch.nn.ReLU()]
    return torch.nn.ModuleDict({"layers": torch.nn.Sequential(*layers, torch.nn.Linear(4, 2))})


def torch_conv_net() -> Any:
    stem = [torch.nn.Conv2d(3, 4, 3, 2), torch.nn.BatchNorm2d(4), torch.nn.ReLU(), torch.nn.Conv2d(4, 6, 1, groups=2)]
    return torch.nn.ModuleDict(
        {
            "stem": torch.nn.Sequential(*stem),
            "up": torch.nn.ConvTranspose2d(6, 4, 2, groups=2),
            "norm": torch.nn.GroupNorm(2, 4),
            "plain": torch.nn.LayerNorm(8, elementwise_affine=False),
        }
    )


def torch_encoder() -> Any:
    def block() -> Any:
        parts = {"self_attn": torch.nn.MultiheadAttention(8, 2), "linear1": torch.nn.Linear(8, 8)}
        return torch.nn.ModuleDict(parts | {"norm1": torch.nn.LayerNorm(8)})

    return torch.nn.ModuleDict(
        {
            "embed": torch.nn.Embedding(10, 8),
            "blocks": torch.nn.ModuleList(block() for _ in range(3)),
            "rnn": torch.nn.LSTM(8, 4, 2, bidirectional=True),
            "cross": torch.nn.MultiheadAttention(8, 2, add_bias_kv=True, kdim=4),
        }
    )


MODELS: dict[str, tuple[Callable[[], Any], Callable[[], Any]]] = {
    "mlp": (torch_mlp, Mlp.init),
    "conv net": (torch_conv_net, ConvNet.init),
    "encoder": (torch_encoder, Encoder.init),
}


def damages(state: State) -> Iterator[tuple[str, State]]:
    """Yield a state_dict with one damage, and what it is."""
    items = {key.rpartition(".")[0] for key in state}
    for key, tensor in state.items():
        others = {name: one for name, one in state.items() if name != key}
        yield f"without {key}", others
        yield f"{key} renamed", {**others, f"{key}_": tensor}
        yield f"{key} of another shape", {**others, key: torch.ones(*tensor.shape, 2)}
        yield f"{key} in a module", {**others, f"module.{key}": tensor}
        yield f"something below {key}", {**state, f"{key}.scale": tensor}
        if tensor.ndim:
            yield f"{key} one longer", {**others, key: torch.ones(tensor.shape[0] + 1, *tensor.shape[1:])}
    for item in sorted(items):
        yield f"without {item}", {key: one for key, one in state.items() if not key.startswith(f"{item}.")}
        container, _, number = item.rpartition(".")
        if number.isdigit():
            moved = f"{container}.{int(number) + 7}."
            yield f"{item} moved", {key.replace(f"{item}.", moved): one for key, one in state.items()}
            more = {key.replace(f"{item}.", moved): one for key, one in state.items() if key.startswith(f"{item}.")}
            yield f"{item} twice", {**state, **more}
    yield "nothing", {}
    yield "all in a module", {f"module.{key}": tensor for key, tensor in state.items()}


def torch_refuses(model: Any, state: State) -> bool:
    try:
        model.load_state_dict(state, strict=True)
    except RuntimeError:
        return True
    return False


def ours_refuses(factory: Callable[[], Any], state: State) -> bool:
    arrays = {key: tensor.numpy() for key, tensor in state.items()}
    if ww.bind_report(factory, arrays).fits:
        ww.bind(factory, arrays)
        return False
    with pytest.raises(ww.BindError):
        ww.bind(factory, arrays)
    return True


@pytest.mark.parametrize("name", MODELS)
def test_refuses_what_torch_refuses(name: str) -> None:
    make, factory = MODELS[name]
    model = make()
    state = {key: tensor.clone() for key, tensor in model.state_dict().items()}
    assert not torch_refuses(model, state)
    assert not ours_refuses(factory, state)
    verdicts = [
        (what, torch_refuses(model, damaged), ours_refuses(factory, damaged)) for what, damaged in damages(state)
    ]
    assert [what for what, theirs, ours in verdicts if theirs and not ours] == []
    assert sum(theirs for _, theirs, _ in verdicts) > 30


@pytest.mark.parametrize("name", MODELS)
def test_the_order_of_names_is_torchs(name: str) -> None:
    make, factory = MODELS[name]
    state = make().state_dict()
    with nn.skeleton():
        ours = ww.state_dict(factory())
    assert sorted(ours) == sorted(state)
    assert {key: array.shape for key, array in ours.items()} == {key: tuple(one.shape) for key, one in state.items()}
    if name != "encoder":  # torch puts the weights of a MultiheadAttention with `kdim` before its bias
        assert list(ours) == list(state)


@pytest.mark.parametrize("name", MODELS)
def test_the_state_of_a_bound_model_loads_into_torchs(name: str) -> None:
    make, factory = MODELS[name]
    first, second = make(), make()
    net = ww.bind(factory, {key: tensor.numpy() for key, tensor in first.state_dict().items()})
    second.load_state_dict({key: torch.from_numpy(np.array(array)) for key, array in ww.state_dict(net).items()})
    for key, tensor in second.state_dict().items():
        assert torch.equal(tensor, first.state_dict()[key])
