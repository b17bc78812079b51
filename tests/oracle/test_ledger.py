"""Nothing leaves without a word: the storages that a file of torch refers to are written, excluded, or told of.

Over all quantised modules that torch makes, whole, scripted and as a state_dict; packed layers as other libraries have
them; modules with tensors as attributes; and the extra state of modules.
"""

from __future__ import annotations

import argparse
import copy
import io
import pickle
import warnings
import zipfile
from collections import OrderedDict, namedtuple
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import pytest

torch = pytest.importorskip("torch")

from torch import nn  # noqa: E402

from hatch_wheelweights import CheckpointError, convert, open_checkpoint  # noqa: E402
from wheelweights import open_record  # noqa: E402

if TYPE_CHECKING:
    from pathlib import Path

# torch says at every turn that this way of quantising will go
pytestmark = pytest.mark.filterwarnings("ignore")


# Quantised modules


def _dynamic(kind: type[nn.Module], *args: Any, dtype: Any = torch.qint8, **named: Any) -> nn.Module:
    model = nn.Sequential()
    model.plain = nn.LayerNorm(4)
    model.layer = kind(*args, **named)
    if kind in (nn.Embedding, nn.EmbeddingBag):
        qconfig = torch.ao.quantization.float_qparams_weight_only_qconfig
        if dtype is torch.quint4x2:
            qconfig = torch.ao.quantization.float_qparams_weight_only_qconfig_4bit
        model.layer.qconfig = qconfig
        return torch.ao.quantization.convert(torch.ao.quantization.prepare(model))
    return torch.ao.quantization.quantize_dynamic(model, dtype=dtype)


DYNAMIC = {
    "linear": lambda: _dynamic(nn.Linear, 4, 4),
    "linear without bias": lambda: _dynamic(nn.Linear, 4, 4, bias=False),
    "linear of 16 bits": lambda: _dynamic(nn.Linear, 4, 4, dtype=torch.float16),
    "lstm": lambda: _dynamic(nn.LSTM, 4, 4, num_layers=2, bidirectional=True),
    "lstm of 16 bits": lambda: _dynamic(nn.LSTM, 4, 4, dtype=torch.float16),
    "gru": lambda: _dynamic(nn.GRU, 4, 4),
    "lstm cell": lambda: _dynamic(nn.LSTMCell, 4, 4),
    "gru cell": lambda: _dynamic(nn.GRUCell, 4, 4),
    "rnn cell": lambda: _dynamic(nn.RNNCell, 4, 4),
    "encoder layer": lambda: _dynamic(nn.TransformerEncoderLayer, 4, 2, 8),
    "embedding": lambda: _dynamic(nn.Embedding, 8, 4),
    "embedding bag": lambda: _dynamic(nn.EmbeddingBag, 8, 4, mode="sum"),
    "embedding bag of 4 bits": lambda: _dynamic(nn.EmbeddingBag, 8, 4, mode="sum", dtype=torch.quint4x2),
}


def _static(*layers: nn.Module, shape: tuple[int, ...], fuse: Any = None) -> nn.Module:
    model = nn.Sequential(torch.ao.quantization.QuantStub(), *layers, torch.ao.quantization.DeQuantStub()).eval()
    if fuse:
        model = torch.ao.quantization.fuse_modules(model, fuse)
    model.qconfig = torch.ao.quantization.get_default_qconfig("fbgemm")
    prepared = torch.ao.quantization.prepare(model)
    prepared(torch.randn(shape))
    made: nn.Module = torch.ao.quantization.convert(prepared)
    made.plain = nn.LayerNorm(4)
    return made


def _traced_by_fx() -> nn.Module:
    from torch.ao.quantization import get_default_qconfig_mapping
    from torch.ao.quantization.quantize_fx import convert_fx, prepare_fx

    model = nn.Sequential(nn.Conv2d(2, 4, 3), nn.ReLU(), nn.Flatten(), nn.Linear(16, 4)).eval()
    example = (torch.randn(1, 2, 4, 4),)
    prepared = prepare_fx(model, get_default_qconfig_mapping("fbgemm"), example)
    prepared(*example)
    made: nn.Module = convert_fx(prepared)
    made.plain = nn.LayerNorm(4)
    return made


STATIC = {
    "linear": lambda: _static(nn.Linear(4, 4), shape=(2, 4)),
    "linear and relu": lambda: _static(nn.Linear(4, 4), nn.ReLU(), shape=(2, 4), fuse=[["1", "2"]]),
    "conv1d": lambda: _static(nn.Conv1d(2, 4, 3), shape=(1, 2, 8)),
    "conv2d": lambda: _static(nn.Conv2d(2, 4, 3), shape=(1, 2, 8, 8)),
    "conv3d": lambda: _static(nn.Conv3d(2, 4, 3), shape=(1, 2, 4, 4, 4)),
    "conv, bn and relu": lambda: _static(
        nn.Conv2d(2, 4, 3), nn.BatchNorm2d(4), nn.ReLU(), shape=(1, 2, 8, 8), fuse=[["1", "2", "3"]]
    ),
    "conv that is fused with nothing, and bn": lambda: _static(
        nn.Conv2d(2, 4, 3), nn.ReLU(), nn.BatchNorm2d(4), shape=(1, 2, 8, 8)
    ),
    "layer norm": lambda: _static(nn.Linear(4, 4), nn.LayerNorm(4), shape=(2, 4)),
    "group norm": lambda: _static(nn.Conv2d(2, 4, 3), nn.GroupNorm(2, 4), shape=(1, 2, 8, 8)),
    "instance norm": lambda: _static(nn.Conv2d(2, 4, 3), nn.InstanceNorm2d(4, affine=True), shape=(1, 2, 8, 8)),
    "traced by fx": _traced_by_fx,
}

QUANTISED = {
    **{f"dynamic {name}": make for name, make in DYNAMIC.items()},
    **{f"static {name}": make for name, make in STATIC.items()},
}


@pytest.mark.parametrize("make", QUANTISED.values(), ids=QUANTISED)
def test_a_quantised_module_that_is_saved_whole_is_refused_by_its_place(make: Any, tmp_path: Path) -> None:
    torch.save(make(), tmp_path / "q.pt")
    _check_refusal(tmp_path, whole_model=True)


@pytest.mark.parametrize("make", QUANTISED.values(), ids=QUANTISED)
def test_its_scripted_twin_is_refused_too(make: Any, tmp_path: Path) -> None:
    try:
        scripted = torch.jit.script(make())
    except Exception as error:  # noqa: BLE001
        pytest.skip(f"torch cannot script it: {str(error).splitlines()[0]}")
    scripted.save(tmp_path / "q.pt")
    _check_refusal(tmp_path)


@pytest.mark.parametrize("make", QUANTISED.values(), ids=QUANTISED)
def test_its_state_dict_is_refused_or_written_whole(make: Any, tmp_path: Path) -> None:
    torch.save(make().state_dict(), tmp_path / "q.pt")
    try:
        convert(tmp_path / "q.pt", tmp_path / "q.mpk")
    except CheckpointError:
        _check_refusal(tmp_path)
    else:  # the packed parameters of 16 bits are plain tensors there
        assert _accounted(tmp_path / "q.pt") == (len(_referred_to(tmp_path / "q.pt")), 0)


def _check_refusal(folder: Path, **options: Any) -> None:
    """The conversion is refused, names a place and a remedy, and accounts for the rest once that place is excluded."""
    with pytest.raises(CheckpointError) as caught:
        convert(folder / "q.pt", folder / "q.mpk", **options)
    places = caught.value.found if isinstance(caught.value.found, tuple) else (caught.value.key,)
    assert places
    assert "exclude" in str(caught.value) or "dequantize" in str(caught.value)
    assert not (folder / "q.mpk").exists()


# The law, by storages


def _referred_to(path: Path, member: str = "data") -> set[str]:
    """Return the keys of the storages that the pickle of a zip refers to, by Python's own unpickler."""
    keys: set[str] = set()

    class Counting(pickle.Unpickler):
        def persistent_load(self, pid: Any) -> Any:
            keys.add(str(pid[2]))
            return torch.UntypedStorage(64)

        def find_class(self, module: str, name: str) -> Any:
            return _Anything

    with zipfile.ZipFile(path) as archive:
        name = next(each for each in archive.namelist() if each.endswith(f"/{member}.pkl"))
        Counting(io.BytesIO(archive.read(name))).load()
    return keys


class _Anything(dict[Any, Any]):
    """Stands for every class and function."""

    args: tuple[Any, ...]

    def __new__(cls, *args: Any, **_: Any) -> Any:
        made = super().__new__(cls)
        made.args = args
        return made

    def __init__(self, *_: Any, **__: Any) -> None:
        super().__init__()

    def __setstate__(self, state: Any) -> None:
        self.state = state

    def append(self, item: Any) -> None:
        pass

    def extend(self, items: Any) -> None:
        pass

    def __hash__(self) -> int:  # type: ignore[override]  # some are keys
        return id(self)


def _accounted(path: Path, **options: Any) -> tuple[int, int]:
    """Return how many storages are written, and how many excluded or told of."""
    with open_checkpoint(path) as checkpoint:
        tensors = checkpoint.state_dict(**options)
        written = {each for tensor in tensors.values() for each in tensor.storages}
        left = {each for one in tensors.report.left_out for tensor in one.tensors for each in tensor.storages} - written
        said = bool(tensors.report.warnings or tensors.report.notes)
        assert said or all(one.is_excluded for one in tensors.report.left_out)
    return len(written), len(left)


class Scaled(nn.Linear):
    """A module with tensors in plain attributes of every form."""

    def __init__(self) -> None:
        super().__init__(2, 2)
        self.scale = torch.ones(3)
        self.grid = [torch.ones(1), {"a": torch.ones(2)}]
        self.pair = (torch.ones(1), None)
        self.alias = self.weight
        self.register_buffer("hidden", torch.ones(5), persistent=False)
        self.register_buffer("shown", torch.ones(4))


def test_tensors_in_plain_attributes_of_modules_are_told_of(tmp_path: Path) -> None:
    model = nn.Sequential(Scaled(), nn.Sequential(Scaled()))
    torch.save(model, tmp_path / "m.pt")
    written, left = _accounted(tmp_path / "m.pt", whole_model=True)
    assert (written, left) == (6, 10)
    assert written + left == len(_referred_to(tmp_path / "m.pt"))
    done = convert(tmp_path / "m.pt", tmp_path / "m.mpk", whole_model=True)
    assert sorted(open_record(tmp_path / "m.mpk")) == sorted(model.state_dict())
    for name in ("0.scale", "0.grid", "0.pair", "1.0.scale"):
        assert any(f"`{name}`" in warning for warning in done.warnings)
    assert any("`0.hidden`" in note for note in done.notes)


def _tied() -> nn.Module:
    model = nn.Sequential(nn.Linear(2, 2), nn.Linear(2, 2))
    model[1].weight = model[0].weight
    return model


MODELS = {
    "transformer": lambda: nn.Transformer(4, 2, 1, 1, 8),
    "lstm": lambda: nn.LSTM(4, 4, 2, bidirectional=True),  # its attributes name the weights once more
    "attention": lambda: nn.MultiheadAttention(4, 2),
    "norms": lambda: nn.Sequential(nn.BatchNorm2d(2), nn.InstanceNorm2d(2, affine=True, track_running_stats=True)),
    "lists": lambda: nn.ModuleDict({"a": nn.ModuleList([nn.Linear(2, 2)]), "p": nn.ParameterList([torch.ones(2)])}),
    "tied": _tied,
    "swa": lambda: torch.optim.swa_utils.AveragedModel(nn.Linear(2, 2)),
    "traced by fx": lambda: torch.fx.symbolic_trace(nn.Sequential(nn.Linear(2, 2), nn.BatchNorm1d(2))),
}


@pytest.mark.parametrize("make", MODELS.values(), ids=MODELS)
def test_ordinary_models_saved_whole_have_nothing_to_tell(make: Any, tmp_path: Path) -> None:
    model = make()
    torch.save(model, tmp_path / "m.pt")
    done = convert(tmp_path / "m.pt", tmp_path / "m.mpk", whole_model=True, reindex=False)
    record = open_record(tmp_path / "m.mpk")
    expected = {key: value for key, value in model.state_dict().items() if isinstance(value, torch.Tensor)}
    assert list(record) == list(expected)
    for key, value in expected.items():
        assert record[key].tobytes() == value.detach().numpy().tobytes()
    assert done.warnings == ()
    written, left = _accounted(tmp_path / "m.pt", whole_model=True)
    assert written + left == len(_referred_to(tmp_path / "m.pt"))


# Packed layers, as other libraries have them


class QuantState:
    """What bitsandbytes keeps beside packed bytes, imitated."""

    def __init__(self) -> None:
        self.absmax = torch.ones(2)
        self.code = torch.ones(16)
        self.blocksize = 64


class Params4bit(nn.Parameter):
    """A parameter that carries its scales."""


def _with_state() -> nn.Module:
    layer = nn.Linear(4, 4)
    layer.weight = Params4bit(torch.zeros(8, 1, dtype=torch.uint8), requires_grad=False)
    layer.weight.quant_state = QuantState()
    return nn.Sequential(nn.LayerNorm(4), layer)


def _with_attributes(**attributes: Any) -> nn.Module:
    layer = nn.Linear(4, 4)
    layer.weight = nn.Parameter(torch.zeros(8, 1, dtype=torch.uint8), requires_grad=False)
    for name, value in attributes.items():
        setattr(layer, name, value)
    return nn.Sequential(nn.LayerNorm(4), layer)


def _object() -> nn.Module:
    layer = nn.Identity()
    layer.packed = QuantState()
    return nn.Sequential(nn.LayerNorm(4), layer)


def _state_of_its_own() -> nn.Module:
    return nn.Sequential(nn.LayerNorm(4), Reduced())


class Reduced(nn.Module):
    """A module whose pickle does not look like one."""

    def __init__(self) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.ones(3))

    def __reduce__(self) -> Any:
        return (Reduced, (), ("packed", self.weight.data))

    def __setstate__(self, state: Any) -> None:
        self.weight = nn.Parameter(state[1])


PACKED = {
    "scales in the parameter": _with_state,
    "scales in a dict beside it": lambda: _with_attributes(meta={"scale": torch.ones(2), "zero": torch.ones(2)}),
    "scales beside it": lambda: _with_attributes(absmax=torch.ones(2)),
    "all in an object": _object,
    "a pickle of its own": _state_of_its_own,
}


@pytest.mark.parametrize("make", PACKED.values(), ids=PACKED)
def test_packed_layers_of_other_libraries_are_refused_by_their_place(make: Any, tmp_path: Path) -> None:
    torch.save(make(), tmp_path / "q.pt")
    with pytest.raises(CheckpointError, match=r"expected every tensor under a key of its own, found `1[.`]"):
        convert(tmp_path / "q.pt", tmp_path / "q.mpk", whole_model=True)
    convert(tmp_path / "q.pt", tmp_path / "q.mpk", whole_model=True, exclude=[r"^1"])
    assert list(open_record(tmp_path / "q.mpk")) == ["0.weight", "0.bias"]


# Objects beside tensors

Pair = namedtuple("Pair", "w b")


@dataclass
class Params:
    """A dataclass with a tensor."""

    w: Any


class Attributes(dict[Any, Any]):
    """A dict whose items are attributes too."""

    def __init__(self, *args: Any, **named: Any) -> None:
        super().__init__(*args, **named)
        self.__dict__ = self


EXTRA = {
    "BytesIO": io.BytesIO(b"scales"),
    "Namespace": argparse.Namespace(lr=0.1),
    "bytes": b"scales",
    "dict": {"amax": [1.0]},
    "object": QuantState.__new__(QuantState),
    "class": nn.ReLU,
    "number": 3,
}


class Extra(nn.Linear):
    """A module with an extra state."""

    def __init__(self, state: Any) -> None:
        super().__init__(2, 2)
        self.state = state

    def get_extra_state(self) -> Any:
        return self.state

    def set_extra_state(self, state: Any) -> None:
        self.state = state


@pytest.mark.parametrize("state", EXTRA.values(), ids=EXTRA)
def test_the_extra_state_of_a_module_is_told_of(state: Any, tmp_path: Path) -> None:
    torch.save(nn.Sequential(Extra(state)).state_dict(), tmp_path / "m.pt")
    done = convert(tmp_path / "m.pt", tmp_path / "m.mpk")
    assert any("`0._extra_state`" in warning for warning in done.warnings)
    assert convert(tmp_path / "m.pt", tmp_path / "m.mpk", exclude=["_extra_state"]).warnings == ()


def test_an_extra_state_of_tensors_is_written(tmp_path: Path) -> None:
    torch.save(Extra({"amax": torch.ones(3)}).state_dict(), tmp_path / "m.pt")
    done = convert(tmp_path / "m.pt", tmp_path / "m.mpk")
    assert "_extra_state.amax" in open_record(tmp_path / "m.mpk")
    assert done.warnings == ()


@pytest.mark.parametrize(
    ("thing", "key", "names"),
    [
        (Pair(torch.ones(1), torch.ones(2)), "x", ["0", "1"]),
        (Params(torch.ones(1)), "x", ["w"]),
        (Attributes(w=torch.ones(1)), "x", ["w"]),
        (argparse.Namespace(shadow={"w": torch.ones(1)}), ["x", "shadow"], ["w"]),
        (OrderedDict(w=torch.ones(1)), "x", ["w"]),
    ],
    ids=["namedtuple", "dataclass", "dict", "namespace", "OrderedDict"],
)
@pytest.mark.parametrize("legacy", [False, True], ids=["zip", "legacy"])
def test_a_key_leads_into_objects_that_torch_saved(
    thing: Any, key: Any, names: list[str], legacy: bool, tmp_path: Path
) -> None:
    torch.save({"x": copy.copy(thing), "epoch": 1}, tmp_path / "m.pt", _use_new_zipfile_serialization=not legacy)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        convert(tmp_path / "m.pt", tmp_path / "m.mpk", top_level_key=key)
    assert list(open_record(tmp_path / "m.mpk")) == names
