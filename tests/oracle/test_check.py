"""`golden` in torch and `check` without it: a model that computes what torch does passes, and each mistake is located.

`pytest tests/oracle/test_check.py -s` prints what was changed in the model, and what `check` said.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest

import hatch_wheelweights as hw
import wheelweights as ww
from wheelweights import nn

if TYPE_CHECKING:
    from collections.abc import Callable

torch = pytest.importorskip("torch")


class Reference(torch.nn.Module):
    """A convolution, a norm, an LSTM, attention, three square layers and a head."""

    def __init__(self) -> None:
        super().__init__()
        self.stem = torch.nn.Sequential(
            torch.nn.Conv2d(3, 8, 3, stride=2, padding=1), torch.nn.BatchNorm2d(8), torch.nn.ReLU(inplace=True)
        )
        self.lstm = torch.nn.LSTM(8, 8, batch_first=True)
        self.attn = torch.nn.MultiheadAttention(8, 2, batch_first=True)
        self.norm = torch.nn.LayerNorm(8, eps=1e-3)
        self.mix = torch.nn.ModuleList(torch.nn.Linear(8, 8) for _ in range(3))
        self.drop = torch.nn.Dropout(0.5)
        self.head = torch.nn.Linear(8, 4)

    def forward(self, images: Any, scale: Any = None) -> dict[str, Any]:
        x = self.stem(images).flatten(2).transpose(1, 2)
        x = self.lstm(x)[0]
        x = self.norm(x + self.attn(x, x, x, need_weights=False)[0])
        for layer in self.mix:
            x = x + self.drop(torch.relu(layer(x)))
        return {"logits": self.head(x.mean(1)) * scale, "features": x}


@dataclass
class Net:
    stem: tuple[nn.Conv2d, nn.BatchNorm2d]
    lstm: nn.LSTM
    attn: nn.MultiheadAttention
    norm: nn.LayerNorm
    mix: list[nn.Linear]
    head: nn.Linear
    activation: Any = nn.relu

    @classmethod
    def init(cls) -> Net:
        return cls(
            (nn.Conv2d.init(3, 8, 3, stride=2, padding=1), nn.BatchNorm2d.init(8)),
            nn.LSTM.init(8, 8, batch_first=True),
            nn.MultiheadAttention.init(8, 2, batch_first=True),
            nn.LayerNorm.init(8, eps=1e-3),
            [nn.Linear.init(8, 8) for _ in range(3)],
            nn.Linear.init(8, 4),
        )

    def __call__(self, images: nn.Array, scale: float) -> dict[str, nn.Array]:
        conv, norm = self.stem
        x = nn.relu(norm(conv(images)))
        x = x.reshape(*x.shape[:2], -1).swapaxes(1, 2)
        x = self.lstm(x)[0]
        x = self.norm(x + self.attn(x, x, x, need_weights=False)[0])
        for layer in self.mix:
            x = x + self.activation(layer(x))
        return {"logits": self.head(x.mean(1)) * scale, "features": x}


PARTS = ["stem.0", "stem.1", "lstm", "attn", "norm", "mix.0", "mix.1", "mix.2", "head"]


@pytest.fixture(scope="module")
def reference() -> Any:
    torch.manual_seed(0)
    model = Reference()
    with torch.no_grad():
        model.stem[1].running_mean.normal_()
        model.stem[1].running_var.uniform_(0.01, 0.1)
        for name, parameter in model.named_parameters():
            if name.endswith(("bias", "bias_ih_l0", "bias_hh_l0")):
                parameter.uniform_(0.1, 0.5)
    return model


@pytest.fixture(scope="module")
def record(reference: Any, tmp_path_factory: pytest.TempPathFactory) -> ww.Record:
    folder = tmp_path_factory.mktemp("golden")
    torch.save(reference.state_dict(), folder / "model.pt")
    inputs = torch.randn(2, 3, 8, 8)
    hw.golden(reference, inputs, path=folder / "golden.npz", modules=PARTS, kwargs={"scale": 2.0})
    hw.convert(folder / "model.pt", folder / "model.mpk", golden=folder / "golden.npz", exclude=["num_batches_tracked"])
    return ww.open_record(folder / "model.mpk")


@pytest.fixture(scope="module")
def net(record: ww.Record) -> Net:
    return ww.bind(Net.init(), record)


def test_the_model_that_computes_what_torch_does_passes(net: Net, record: ww.Record) -> None:
    report = ww.check(net, record)
    assert report.fits
    assert list(dict.fromkeys(one.part for one in report.comparisons)) == [*PARTS, ""]
    assert max(one.relative for one in report.comparisons) < 1e-5


def part(name: str, **settings: Any) -> Callable[[Net], Net]:
    return lambda net: replace(net, **{name: replace(getattr(net, name), **settings)})


def stem(place: int, **settings: Any) -> Callable[[Net], Net]:
    def change(net: Net) -> Net:
        layers: list[Any] = list(net.stem)
        layers[place] = replace(layers[place], **settings)
        return replace(net, stem=tuple(layers))

    return change


def layer(place: int, change: Callable[[nn.Linear], nn.Linear]) -> Callable[[Net], Net]:
    return lambda net: replace(net, mix=[change(one) if i == place else one for i, one in enumerate(net.mix)])


def in_lstm(name: str, change: Callable[[nn.Array], nn.Array]) -> Callable[[Net], Net]:
    def with_change(net: Net) -> Net:
        (field,) = (key for key, value in vars(net.lstm).items() if isinstance(value, dict))
        parameters = getattr(net.lstm, field)
        changed: dict[str, Any] = {field: {**parameters, name: change(parameters[name])}}
        return replace(net, lstm=replace(net.lstm, **changed))

    return with_change


MUTATIONS = [
    ("a bias is lost", layer(1, lambda one: replace(one, bias=None)), "mix.1", "differs"),
    ("a bias is zero", layer(2, lambda one: replace(one, bias=np.zeros(8, np.float32))), "mix.2", "differs"),
    ("the first of three layers is lost", lambda net: replace(net, mix=net.mix[1:]), "mix.0", "differs"),
    ("the last of three layers is lost", lambda net: replace(net, mix=net.mix[:-1]), "mix.2", "part"),
    ("two layers change places", lambda net: replace(net, mix=[net.mix[i] for i in (0, 2, 1)]), "mix.1", "differs"),
    ("a square weight is transposed", layer(0, lambda one: replace(one, weight=one.weight.T)), "mix.0", "differs"),
    ("stride 1, not 2", stem(0, stride=1), "stem.0", "shape"),
    ("padding 0, not 1", stem(0, padding=0), "stem.0", "shape"),
    ("padding (2, 0), not 1", stem(0, padding=(2, 0)), "stem.0", "shape"),
    ("dilation 2, not 1, and padding to suit", stem(0, dilation=2, padding=2), "stem.0", "differs"),
    ("eps 1e-3, not 1e-5, of a batch norm", stem(1, eps=1e-3), "stem.1", "differs"),
    ("eps 1e-5, not 1e-3, of a layer norm", part("norm", eps=1e-5), "norm", "differs"),
    ("the running mean is lost", stem(1, running_mean=np.zeros(8, np.float32)), "stem.1", "differs"),
    ("batch_first of the LSTM is forgotten", part("lstm", batch_first=False), "lstm", "differs"),
    ("batch_first of the attention is forgotten", part("attn", batch_first=False), "attn", "differs"),
    ("num_heads 4, not 2", part("attn", num_heads=4), "attn", "differs"),
    ("num_heads 3, which does not divide 8", part("attn", num_heads=3), "attn", "raised"),
    ("a bias of the LSTM is zero", in_lstm("bias_hh_l0", np.zeros_like), "lstm", "differs"),
    ("gates in another order", in_lstm("weight_ih_l0", lambda one: np.roll(one, 8, axis=0)), "lstm", "differs"),
    ("a NaN in a weight", layer(0, lambda one: replace(one, weight=one.weight * np.nan)), "mix.0", "nan"),
    ("gelu, not relu, in the model's own forward pass", lambda net: replace(net, activation=nn.gelu), "", "differs"),
]


@pytest.mark.parametrize(("change", "at", "kind"), [row[1:] for row in MUTATIONS], ids=[row[0] for row in MUTATIONS])
def test_each_mistake_is_found_and_located(
    net: Net, record: ww.Record, change: Callable[[Net], Net], at: str, kind: str, request: pytest.FixtureRequest
) -> None:
    with pytest.raises(ww.CheckError) as caught:
        ww.check(change(net), record)
    assert caught.value.report is not None
    first = caught.value.report.faults[0]
    what = request.node.name.partition("[")[2].removesuffix("]")
    print(f"\n| {what} | {caught.value.fact!s} |")
    assert (first.part, first.kind) == (at, kind)
    assert str(caught.value.fact).startswith(f"`{at}`" if at else "the model")
