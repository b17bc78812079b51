"""The settings that are found of each layer of torch are those that the layer has, in every container that names it."""

from __future__ import annotations

import warnings
from typing import TYPE_CHECKING, Any

import pytest

torch = pytest.importorskip("torch")

from torch import nn  # noqa: E402

from hatch_wheelweights import open_checkpoint  # noqa: E402
from hatch_wheelweights.options.model import TensorOptions  # noqa: E402

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from hatch_wheelweights.checkpoint.module_classes import ModuleClass

pytestmark = pytest.mark.filterwarnings("ignore")


class Holder(nn.Module):
    """A model of one layer."""

    def __init__(self, layer: Any) -> None:
        super().__init__()
        self.layer = layer

    def forward(self, x: Any) -> Any:
        """Use it."""
        return self.layer(x)


def padded(kind: Any, axes: int, **more: Any) -> list[tuple[Any, tuple[int, ...]]]:
    """Return convolutions of some paddings with the shape of their input."""
    shape = (1, 4, *(8,) * axes)
    modes = ("zeros", "reflect", "replicate", "circular")
    made = [(kind(4, 6, 3, padding=1, padding_mode=mode, **more), shape) for mode in modes]
    return [*made, *((kind(4, 6, size, padding="same", **more), shape) for size in (3, 4)), (kind(4, 6, 3), shape)]


# Layers, each with the shape of an input
LAYERS: list[tuple[Any, tuple[int, ...]]] = [
    (nn.Linear(6, 4), (2, 6)),
    *padded(nn.Conv1d, 1, dilation=2),
    *padded(nn.Conv2d, 2, groups=2, bias=False),
    *padded(nn.Conv3d, 3),
    (nn.Conv2d(4, 6, (3, 5), stride=(2, 1), padding=(0, 2)), (1, 4, 8, 8)),
    (nn.ConvTranspose1d(4, 6, 3, stride=2, padding=1, output_padding=1), (1, 4, 8)),
    (nn.ConvTranspose2d(4, 6, 3, stride=2, groups=2), (1, 4, 8, 8)),
    (nn.ConvTranspose3d(4, 6, 3, dilation=2), (1, 4, 4, 4, 4)),
    (nn.BatchNorm1d(4, eps=1e-3, momentum=0.2), (2, 4)),
    (nn.BatchNorm2d(4, momentum=None, affine=False), (2, 4, 3, 3)),
    (nn.BatchNorm3d(4, track_running_stats=False), (2, 4, 3, 3, 3)),
    (nn.InstanceNorm2d(4, affine=True), (2, 4, 3, 3)),
    (nn.LayerNorm(4, eps=1e-6), (2, 4)),
    (nn.LayerNorm((3, 4), elementwise_affine=False), (2, 3, 4)),
    (nn.RMSNorm(4), (2, 4)),
    (nn.RMSNorm(4, eps=1e-5), (2, 4)),
    (nn.GroupNorm(2, 4, eps=1e-4), (2, 4, 3)),
    (nn.LSTM(4, 3, num_layers=2, bidirectional=True, batch_first=True, dropout=0.1), (2, 5, 4)),
    (nn.GRU(4, 3, bias=False), (2, 5, 4)),
    (nn.RNN(4, 3, nonlinearity="relu"), (2, 5, 4)),
    (nn.LSTMCell(4, 3), (2, 4)),
    (nn.TransformerEncoderLayer(8, 2, dim_feedforward=16, batch_first=True), (2, 5, 8)),
    (nn.Dropout(0.3), (2, 5)),
    (nn.Dropout2d(0.3), (2, 5, 3, 3)),
    (nn.AlphaDropout(0.3), (2, 5)),
    (nn.MaxPool1d(2), (2, 5, 8)),
    (nn.MaxPool2d(3, stride=2, padding=1, ceil_mode=True), (2, 5, 8, 8)),
    (nn.AvgPool2d(2, count_include_pad=False), (2, 5, 8, 8)),
    (nn.AvgPool3d((1, 2, 2)), (2, 5, 8, 8, 8)),
    (nn.AdaptiveAvgPool2d((1, 1)), (2, 5, 8, 8)),
    (nn.AdaptiveAvgPool2d((None, 3)), (2, 5, 8, 8)),
    (nn.AdaptiveAvgPool1d(1), (2, 5, 8)),
    (nn.ReLU(inplace=True), (2, 5)),
    (nn.ReLU6(), (2, 5)),
    (nn.LeakyReLU(0.2), (2, 5)),
    (nn.ELU(0.5), (2, 5)),
    (nn.GELU(approximate="tanh"), (2, 5)),
    (nn.GELU(), (2, 5)),
    (nn.SiLU(), (2, 5)),
    (nn.Hardtanh(-2.0, 2.0), (2, 5)),
    (nn.Softplus(beta=2), (2, 5)),
    (nn.Sigmoid(), (2, 5)),
    (nn.Softmax(dim=-1), (2, 5)),
    (nn.LogSoftmax(dim=1), (2, 5)),
    (nn.PReLU(5), (2, 5)),
    (nn.Threshold(0.1, 20.0), (2, 5)),
    (nn.GLU(), (2, 4)),
    (nn.Flatten(), (2, 5, 3)),
    (nn.Unflatten(1, (2, 3)), (2, 6)),
    (nn.Upsample(scale_factor=2, mode="bilinear", align_corners=False), (2, 5, 3, 3)),
    (nn.PixelShuffle(2), (2, 4, 3, 3)),
    (nn.ZeroPad2d(1), (2, 4, 3, 3)),
    (nn.ReflectionPad1d(1), (2, 4, 3)),
    (nn.ConstantPad1d(1, 3.0), (2, 4, 3)),
]


def _whole(model: Holder, _: Any, path: Path) -> None:
    torch.save(model, path)


def _scripted(model: Holder, _: Any, path: Path) -> None:
    try:
        torch.jit.script(model.layer).save(str(path))
    except RuntimeError:
        pytest.skip("torch cannot script this layer")


def _traced(model: Holder, x: Any, path: Path) -> None:
    torch.jit.trace(model, x, check_trace=False).save(str(path))


def _exported(model: Holder, x: Any, path: Path) -> None:
    torch.export.save(torch.export.export(model, (x,)), path)


def _decomposed(model: Holder, x: Any, path: Path) -> None:
    torch.export.save(torch.export.export(model, (x,)).run_decompositions(), path)


def layer_of(save: Callable[[Holder, Any, Path], None], layer: Any, shape: tuple[int, ...], path: Path) -> ModuleClass:
    """Return what is found of a layer in a file of a model of it."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        save(Holder(layer).eval(), torch.rand(shape), path)
    with open_checkpoint(path) as checkpoint:
        found = checkpoint.module_classes(TensorOptions())
    key = "" if save is _scripted else "layer"
    if key not in found:
        pytest.skip("the layer calls nothing")
    return found[key]


def attributes(layer: Any) -> dict[str, Any]:
    """Return what a layer was made with."""
    return {name: value for name, value in vars(layer).items() if not name.startswith("_") and name != "training"}


def same(its: Any, found: Any) -> bool:
    """Tell whether a layer has a setting: one number may stand for one of each axis; a function is told by its name."""
    if callable(its):
        return isinstance(found, str) and found.endswith(its.__name__)
    return found == its or (isinstance(found, tuple) and isinstance(its, int) and set(found) == {its})


LAYER = pytest.mark.parametrize(
    ("layer", "shape"), LAYERS, ids=lambda each: str(each) if isinstance(each, nn.Module) else ""
)


@LAYER
@pytest.mark.parametrize("save", [_whole, _scripted, _traced, _exported, _decomposed])
def test_what_is_found_of_a_layer_is_what_it_was_made_with(tmp_path: Path, save: Any, layer: Any, shape: Any) -> None:
    found = layer_of(save, layer, shape, tmp_path / "model.pt2")
    assert found.name == f"{type(layer).__module__}.{type(layer).__qualname__}"
    its = attributes(layer)
    assert {name: value for name, value in found.settings.items() if not same(its[name], value)} == {}


@LAYER
@pytest.mark.parametrize("save", [_whole, _scripted])
def test_a_container_that_keeps_settings_loses_none(tmp_path: Path, save: Any, layer: Any, shape: Any) -> None:
    its = {name for name, value in attributes(layer).items() if save is _whole or not callable(value)}
    assert set(layer_of(save, layer, shape, tmp_path / "model.pt").settings) == its


@pytest.mark.parametrize("save", [_traced, _exported])
def test_a_program_says_the_settings_of_convolutions(tmp_path: Path, save: Any) -> None:
    layer = nn.Conv2d(4, 6, 3, stride=2, padding=1, groups=2)
    found = layer_of(save, layer, (1, 4, 8, 8), tmp_path / "model.pt2").settings
    assert {name: found[name] for name in ("stride", "padding", "dilation", "groups")} == {
        "stride": (2, 2),
        "padding": (1, 1),
        "dilation": (1, 1),
        "groups": 2,
    }


@pytest.mark.parametrize(("padding_idx", "said"), [(None, None), (0, 0), (-1, 9)])
@pytest.mark.parametrize("save", [_traced, _exported])
def test_a_program_says_the_padding_of_an_embedding(tmp_path: Path, save: Any, padding_idx: Any, said: Any) -> None:
    path = tmp_path / "model.pt2"
    save(Holder(nn.Embedding(10, 4, padding_idx=padding_idx)).eval(), torch.tensor([1, 2]), path)
    with open_checkpoint(path) as checkpoint:
        assert checkpoint.module_classes(TensorOptions())["layer"].settings == {"padding_idx": said}


def test_a_module_that_is_called_twice_is_one_module(tmp_path: Path) -> None:
    class Twice(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.a = nn.Sequential(nn.Linear(3, 3), nn.LayerNorm(3))
            self.b = self.a

        def forward(self, x: Any) -> Any:
            return self.b(self.a(self.a(x)))

    x = torch.rand(2, 3)
    torch.export.save(torch.export.export(Twice(), (x,)), tmp_path / "model.pt2")
    with open_checkpoint(tmp_path / "model.pt2") as checkpoint:
        found = checkpoint.module_classes(TensorOptions())
    assert list(found) == ["", "a", "a.0", "a.1", "b", "b.0", "b.1"]
    assert found["a.1"].settings == {"normalized_shape": (3,), "eps": 1e-5}
