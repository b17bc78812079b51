"""`scaffold` of models that torch saved: the source binds, is well typed, and has the settings that the file has."""

from __future__ import annotations

import importlib.util
import subprocess
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest

import hatch_wheelweights as hw
import wheelweights as ww
from looking.generated import bound, target
from oracle.models_to_scaffold import MODELS, ResNet, parameter_lists, vgg

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

torch = pytest.importorskip("torch")

ROOT = Path(__file__).parents[2]
UNPICKLABLE = {"weight_norms"}  # torch refuses to save parametrised modules as a whole

# Settings of torch's layers that ours have under the same names
SETTINGS = (
    "stride",
    "padding",
    "dilation",
    "groups",
    "output_padding",
    "eps",
    "num_heads",
    "num_groups",
    "batch_first",
)


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with a checkpoint of each model, and one of it as a whole."""
    folder = tmp_path_factory.mktemp("models")
    for name, make in MODELS.items():
        torch.manual_seed(0)
        model = make().eval()
        torch.save(model.state_dict(), folder / f"{name}.pt")
        if name not in UNPICKLABLE:
            torch.save(model, folder / f"{name}.whole.pt")
    return folder


def record_of(path: Path, **options: Any) -> ww.Record:
    hw.convert(path, path.with_suffix(".mpk"), **options)
    return ww.open_record(path.with_suffix(".mpk"))


@pytest.mark.parametrize("name", MODELS)
def test_binds_by_names_and_shapes(folder: Path, name: str) -> None:
    record = record_of(folder / f"{name}.pt")
    source = hw.scaffold(folder / f"{name}.pt")
    net = bound(source, record)
    state = ww.state_dict(net)
    assert all(np.shares_memory(state[key], record[key]) for key in record if record[key].size)
    assert hw.scaffold(record.path).partition("\n")[2] == source.partition("\n")[2]


@pytest.mark.parametrize("name", [name for name in MODELS if name not in UNPICKLABLE])
def test_binds_by_the_classes_and_has_their_settings(folder: Path, name: str) -> None:
    path = folder / f"{name}.whole.pt"
    net = bound(hw.scaffold(path, whole_model=True), record_of(path, whole_model=True))
    reference = torch.load(path, weights_only=False)
    compared = 0
    for key, layer in layers_of(net):
        theirs = found(reference, key)
        assert type(layer).__name__ in (type(theirs).__name__, "BatchNorm", "Linear")
        for setting in SETTINGS:
            if hasattr(layer, setting):
                compared += 1
                assert spread(getattr(layer, setting), theirs, setting) == getattr(theirs, setting), f"{key}.{setting}"
    assert compared or target(hw.scaffold(path, whole_model=True)).count(".") == 0


def layers_of(value: Any, key: str = "") -> Iterator[tuple[str, Any]]:
    """Yield the layers of `wheelweights.nn` in a model by their keys."""
    if type(value).__module__.startswith("wheelweights.nn"):
        yield key, value
    elif isinstance(value, list | tuple | dict):
        items = value.items() if isinstance(value, dict) else enumerate(value)
        for name, item in items:
            yield from layers_of(item, f"{key}.{name}")
    elif hasattr(value, "__dataclass_fields__"):
        for name, field in value.__dataclass_fields__.items():
            yield from layers_of(getattr(value, name), key if field.metadata.get("flatten") else f"{key}.{name}")


def found(module: Any, key: str) -> Any:
    """Return the module of a key; a record numbers the items with tensors alone."""
    for name in filter(None, key.split(".")):
        children = module._modules
        is_list = all(map(str.isdecimal, children))
        module = [child for child in children.values() if child.state_dict()][int(name)] if is_list else children[name]
    return module


def spread(value: Any, theirs: Any, setting: str) -> Any:
    """Return a number as torch keeps it: once for each axis."""
    expected = getattr(theirs, setting)
    return (value,) * len(expected) if isinstance(expected, tuple) and not isinstance(value, tuple) else value


def test_a_residual_network_as_a_whole(folder: Path) -> None:
    source = hw.scaffold(folder / "ResNet.whole.pt", whole_model=True)
    assert source == RESNET
    net: Any = bound(source, record_of(folder / "ResNet.whole.pt", whole_model=True))
    images = torch.randn(1, 3, 32, 32)
    reference = torch.load(folder / "ResNet.whole.pt", weights_only=False)
    x = reference.bn1(reference.conv1(images))
    expected = reference.layer2[0].downsample(x).detach().numpy()
    y = net.bn1(net.conv1(images.numpy()))
    for layer in net.layer2[0].downsample:
        y = layer(y)
    np.testing.assert_allclose(y, expected, rtol=0, atol=1e-5)


RESNET = '''\
"""Dataclasses for ResNet.whole.pt: 116 tensors, 83.3k values, 333 kB.

They hold the arrays and settings of the model. What it computes is not in the file.

    net = ww.bind(ResNet.init, record)
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Annotated, Self

import wheelweights as ww
from wheelweights import nn


@dataclass
class BasicBlock:
    """`layer1.0` and 7 more: oracle.models_to_scaffold.BasicBlock."""

    # Without tensors: relu = ReLU

    conv1: nn.Conv2d
    bn1: nn.BatchNorm2d
    conv2: nn.Conv2d
    bn2: nn.BatchNorm2d
    downsample: tuple[nn.Conv2d, nn.BatchNorm2d] | None = None

    @classmethod
    def init(
        cls,
        in_channels: int,
        out_channels: int,
        stride: int = 1,
        downsample: bool = False,
    ) -> Self:
        return cls(
            conv1=nn.Conv2d.init(
                in_channels,
                out_channels,
                3,
                stride=stride,
                padding=1,
                bias=False,
            ),
            bn1=nn.BatchNorm2d.init(out_channels, eps=0.001),
            conv2=nn.Conv2d.init(out_channels, out_channels, 3, padding=1, bias=False),
            bn2=nn.BatchNorm2d.init(out_channels, eps=0.001),
            downsample=(
                (
                    nn.Conv2d.init(in_channels, out_channels, 1, stride=2, bias=False),
                    nn.BatchNorm2d.init(out_channels),
                )
                if downsample
                else None
            ),
        )


@dataclass
class ResNet:
    """The model: oracle.models_to_scaffold.ResNet."""

    # Without tensors: maxpool = MaxPool2d(kernel_size=3, stride=2, padding=1)

    conv1: nn.Conv2d
    bn1: nn.BatchNorm2d
    layer1: Annotated[list[BasicBlock], ww.Length(2)]
    layer2: Annotated[list[BasicBlock], ww.Length(2)]
    layer3: Annotated[list[BasicBlock], ww.Length(4)]
    fc: nn.Linear

    @classmethod
    def init(cls) -> Self:
        return cls(
            conv1=nn.Conv2d.init(3, 8, 7, stride=2, padding=3, bias=False),
            bn1=nn.BatchNorm2d.init(8),
            layer1=[BasicBlock.init(8, 8) for _ in range(2)],
            layer2=[
                BasicBlock.init(8, 16, stride=2, downsample=True),
                BasicBlock.init(16, 16),
            ],
            layer3=[
                BasicBlock.init(16, 32, stride=2, downsample=True),
                *(BasicBlock.init(32, 32) for _ in range(3)),
            ],
            fc=nn.Linear.init(32, 10),
        )
'''


@pytest.mark.filterwarnings("ignore:`torch.jit.*is deprecated:DeprecationWarning")
@pytest.mark.parametrize("kind", ["torchscript", "exported", "legacy", "safetensors"])
def test_reads_every_container(tmp_path: Path, kind: str) -> None:
    model = vgg().eval()
    path = tmp_path / {"exported": "model.pt2", "safetensors": "model.safetensors"}.get(kind, "model.pt")
    if kind == "torchscript":
        torch.jit.script(torch.nn.Sequential(*model.features)).save(path)
    elif kind == "exported":
        torch.export.save(torch.export.export(model.features, (torch.zeros(1, 3, 16, 16),)), path)
    elif kind == "legacy":
        torch.save(model.state_dict(), path, _use_new_zipfile_serialization=False)
    else:
        pytest.importorskip("safetensors.torch").save_file(model.state_dict(), path)
    source = hw.scaffold(path)
    bound(source, record_of(path))
    assert ("ReLU" in source) == (kind in ("torchscript", "exported"))


def test_plain_lists_and_flat_dicts(tmp_path: Path) -> None:
    layers = [{"weight": torch.zeros(2, 2), "bias": torch.zeros(2)} for _ in range(3)]
    saved: Mapping[str, Any] = {"w": [torch.zeros(2), torch.zeros(2)], "layers": layers, "scale": torch.tensor(1.0)}
    torch.save(saved, tmp_path / "model.pt")
    source = hw.scaffold(tmp_path / "model.pt")
    bound(source, record_of(tmp_path / "model.pt"))
    assert "    w: Annotated[list[NDArray[np.float32]], ww.Length(2)]\n" in source
    assert "    layers: Annotated[list[nn.Linear], ww.Length(3)]\n" in source
    assert "    scale: NDArray[np.float32]  # ()\n" in source


def test_the_options_of_a_conversion_apply(tmp_path: Path) -> None:
    model = parameter_lists()
    torch.save({"state": {f"module.{key}": value for key, value in model.state_dict().items()}}, tmp_path / "model.pt")
    options: Any = {"top_level_key": "state", "key_remap": [("^module.", "")], "precision": "half", "include": ["^par"]}
    source = hw.scaffold(tmp_path / "model.pt", **options)
    bound(source, record_of(tmp_path / "model.pt", **options))
    assert "    params: Annotated[list[NDArray[np.float16]], ww.Length(3)]\n" in source


# ---------------------------------------------------------------------------------------------------------- Well typed


@pytest.fixture(scope="module")
def sources(folder: Path) -> Path:
    """A folder with the source of every model, and of every model as a whole."""
    written = folder / "sources"
    written.mkdir()
    for name in MODELS:
        (written / f"by_shape_{name}.py").write_text(hw.scaffold(folder / f"{name}.pt"), encoding="utf-8")
        if name not in UNPICKLABLE:
            source = hw.scaffold(folder / f"{name}.whole.pt", whole_model=True)
            (written / f"by_class_{name}.py").write_text(source, encoding="utf-8")
    return written


def checked(*command: object) -> None:
    run = subprocess.run([sys.executable, "-m", *map(str, command)], capture_output=True, text=True, check=False)
    assert run.returncode == 0, run.stdout + run.stderr


def needs(tool: str) -> None:
    if importlib.util.find_spec(tool) is None:
        pytest.skip(f"needs {tool}")


def test_mypy_finds_nothing(sources: Path, tmp_path: Path) -> None:
    needs("mypy")
    checked("mypy", "--strict", "--config-file=", "--cache-dir", tmp_path, *sorted(sources.glob("*.py")))


def test_pyright_finds_nothing(sources: Path, tmp_path: Path) -> None:
    needs("pyright")
    settings = f'{{"include": ["{sources.as_posix()}"], "typeCheckingMode": "strict", "pythonVersion": "3.11"}}'
    (tmp_path / "pyrightconfig.json").write_text(settings)
    checked("pyright", "-p", tmp_path, "--pythonpath", sys.executable)


def test_a_formatter_changes_nothing(sources: Path) -> None:
    needs("ruff")
    checked("ruff", "format", "--isolated", "--check", sources)
    checked("ruff", "check", "--isolated", "--select", "E4,E7,E9,F,I", sources)


def test_the_models_are_more_than_twenty() -> None:
    assert len(MODELS) > 20
    assert ResNet is MODELS["ResNet"]
