"""The models of Burn's own import tests, as a user of the runtime writes them: from `.pt` to the output."""

from __future__ import annotations

import dataclasses
import json
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest

import wheelweights as ww
from hatch_wheelweights import CheckpointError, convert, load_config, open_checkpoint
from wheelweights import nn

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from numpy.typing import NDArray

    Record = Callable[..., ww.Record]


@pytest.fixture(scope="module")
def burn(corpus: Path) -> Path:
    return corpus / "burn"


@pytest.fixture(scope="module")
def cases(burn: Path) -> dict[str, Any]:
    models: dict[str, Any] = json.loads((burn / "cases.json").read_text())["models"]
    return models


@pytest.fixture
def record(burn: Path, cases: dict[str, Any], tmp_path: Path) -> Record:
    """Convert the checkpoint of a case by its own options, and others."""

    def converted(name: str, **options: Any) -> ww.Record:
        case = cases[name]
        rules = [(pattern, replacement) for pattern, replacement in case.get("key_remap", [])]
        own = {"key_remap": rules, "top_level_key": case.get("top_level_key")}
        convert(burn / case["file"], tmp_path / f"{name}.mpk", **own | options)
        return ww.open_record(tmp_path / f"{name}.mpk")

    return converted


# --------------------------------------------------------------------------------------------------- Forward passes


@dataclass
class TwoLinear:
    fc1: nn.Linear
    fc2: nn.Linear

    def __call__(self, x: nn.Array) -> nn.Array:
        return self.fc2(nn.relu(self.fc1(x)))


@dataclass
class OneLinear:
    fc1: nn.Linear

    def __call__(self, x: nn.Array) -> nn.Array:
        return self.fc1(x)


@dataclass
class TwoConvolutions:
    conv1: nn.Conv2d
    conv2: nn.Conv2d

    def __call__(self, x: nn.Array) -> nn.Array:
        return self.conv2(self.conv1(x))


@dataclass
class BatchNormed:
    norm1: nn.BatchNorm2d

    def __call__(self, x: nn.Array) -> nn.Array:
        return self.norm1(x)


@dataclass
class LayerNormed:
    norm1: nn.LayerNorm

    def __call__(self, x: nn.Array) -> nn.Array:
        return self.norm1(x)


@dataclass
class Embedded:
    embed: nn.Embedding

    def __call__(self, x: nn.Array) -> nn.Array:
        return self.embed(x)


@dataclass
class Padded(nn.Conv2d):
    padding: int = 1


@dataclass
class ManyConvolutions:
    fc: list[Padded]

    def __call__(self, x: nn.Array) -> nn.Array:
        for conv in self.fc:
            x = nn.relu(conv(x))
        return x


@dataclass
class Depthwise:
    dconv: nn.Conv2d = field(default_factory=lambda: nn.Conv2d.init(2, 2, 3, groups=2))
    pconv: nn.Conv2d = field(default_factory=lambda: nn.Conv2d.init(2, 2, 1))

    def __call__(self, x: nn.Array) -> nn.Array:
        return self.pconv(self.dconv(x))


@dataclass
class EitherConvolution:
    conv: nn.Conv2d | Depthwise

    def __call__(self, x: nn.Array) -> nn.Array:
        return self.conv(x)


MODELS = {
    "linear": TwoLinear,
    "linear_with_bias": OneLinear,
    "conv2d": TwoConvolutions,
    "key_remap": TwoConvolutions,
    "batch_norm": BatchNormed,
    "layer_norm": LayerNormed,
    "embedding": Embedded,
    "non_contiguous_indexes": ManyConvolutions,
    "enum_base": EitherConvolution,
    "enum_depthwise": EitherConvolution,
}


def assert_computes(net: Any, case: dict[str, Any]) -> None:
    x = np.asarray(case["input"])
    output = net(x if x.dtype.kind == "i" else x.astype(np.float32))
    assert output.dtype == np.float32
    np.testing.assert_allclose(output, case["expected"], rtol=0, atol=case["atol"])


@pytest.mark.parametrize("name", MODELS)
def test_computes_what_burn_expects(record: Record, cases: dict[str, Any], name: str) -> None:
    assert_computes(ww.bind(MODELS[name], record(name)), cases[name])


def test_a_layer_without_bias_binds_to_none(record: Record) -> None:
    assert ww.bind(TwoLinear, record("linear")).fc2.bias is None
    assert ww.bind(TwoConvolutions, record("conv2d")).conv2.bias is None


def test_closes_the_gaps_of_a_list_in_the_record(record: Record) -> None:
    closed = record("non_contiguous_indexes")
    assert [key for key in closed if key.endswith("weight")] == [f"fc.{i}.weight" for i in range(5)]
    assert [key for key in closed.state_dict(source_keys=True) if key.endswith("weight")] == [
        f"fc.{i}.weight" for i in (0, 2, 4, 6, 8)
    ]


@dataclass
class Relu:
    def __call__(self, x: nn.Array) -> nn.Array:
        return nn.relu(x)


@dataclass
class Sequential:
    fc: list[Padded | Relu]

    @classmethod
    def init(cls) -> Sequential:
        return cls([Relu() if i % 2 else Padded.init(2, 2, 3, padding=1) for i in range(10)])

    def __call__(self, x: nn.Array) -> nn.Array:
        for layer in self.fc:
            x = layer(x)
        return nn.relu(x)


@pytest.mark.parametrize("target", [Sequential, Sequential.init, "instance"])
def test_binds_a_list_whose_gaps_were_left(record: Record, cases: dict[str, Any], target: Any) -> None:
    target = Sequential.init() if target == "instance" else target
    left = record("non_contiguous_indexes", reindex=False)
    assert "fc.8.weight" in left
    assert_computes(ww.bind(target, left), cases["non_contiguous_indexes"])


def test_gaps_that_were_left_are_holes_in_a_list_without_items_for_them(record: Record) -> None:
    left = record("non_contiguous_indexes", reindex=False)
    five = ManyConvolutions([Padded.init(2, 2, 3, padding=1) for _ in range(5)])
    for target, expected in ((ManyConvolutions, "0 to 8"), (five, "0 to 4")):
        with pytest.raises(ww.BindError, match=f"expected items {expected}, found 0, 2, 4, 6, 8 in `fc`: 1, 3"):
            ww.bind(target, left)


def test_takes_the_variant_that_the_keys_are_of(record: Record) -> None:
    assert type(ww.bind(EitherConvolution, record("enum_base")).conv) is nn.Conv2d
    assert type(ww.bind(EitherConvolution, record("enum_depthwise")).conv) is Depthwise


def test_the_remapped_keys_fit_only_because_of_the_rule(record: Record) -> None:
    with pytest.raises(ww.BindError):
        ww.bind(TwoConvolutions, record("key_remap", key_remap=[]))


# -------------------------------------------------------------------------------------------------------------- Buffers


@dataclass
class Bools:
    buffer: NDArray[np.bool_]


@dataclass
class Integers:
    buffer: NDArray[np.int64]


@dataclass
class Floats:
    buffer: NDArray[np.float32]


BUFFERS = {"boolean": Bools, "integer": Integers, "buffer": Floats}


@pytest.mark.parametrize("name", BUFFERS)
def test_binds_a_buffer_in_its_own_dtype(record: Record, cases: dict[str, Any], name: str) -> None:
    bound: Any = ww.bind(BUFFERS[name], record(name))
    found, expected = bound.buffer, cases[name]["tensors"]["buffer"]
    assert (found.dtype, found.shape) == (np.dtype(expected["dtype"]), tuple(expected["shape"]))
    assert found.ravel()[: len(expected["first"])].tolist() == expected["first"]
    assert found.sum() == expected["sum"]


# -------------------------------------------------------------------------------------------------------- Configuration


@dataclass
class Config:
    n_head: int
    n_layer: int
    d_model: int
    some_float: float
    some_int: int
    some_bool: bool
    some_str: str
    some_list_int: list[int]
    some_list_str: list[str]
    some_list_float: list[float]
    some_dict: dict[str, str]


def test_loads_the_configuration_into_a_dataclass(burn: Path, cases: dict[str, Any]) -> None:
    case = cases["config"]
    config = load_config(burn / case["file"], case["key"], Config)
    assert config == Config(**case["config"])
    assert dataclasses.asdict(config) == load_config(burn / case["file"], case["key"]) == case["config"]


def test_a_record_has_the_configuration_baked_in(record: Record, cases: dict[str, Any]) -> None:
    baked = record("config", top_level_key="my_model", config_key=cases["config"]["key"])
    assert baked.config(Config) == Config(**cases["config"]["config"])
    assert baked.config() == cases["config"]["config"]
    assert len(baked) == 3


# ----------------------------------------------------------------------------------------- Top-level key, missing field


@dataclass
class OneConvolution:
    conv1: nn.Conv2d


@dataclass
class OneTooMany(OneConvolution):
    do_not_exist_in_pt: nn.Conv2d


def test_takes_the_state_dict_below_the_top_level_key(record: Record, cases: dict[str, Any]) -> None:
    conv = ww.bind(OneConvolution, record("top_level_key")).conv1
    for name in ("weight", "bias"):
        expected, found = cases["top_level_key"]["tensors"][f"my_state_dict.conv1.{name}"], getattr(conv, name)
        assert found.shape == tuple(expected["shape"])
        assert found.ravel()[: len(expected["first"])].tolist() == expected["first"]


def test_a_state_dict_below_a_key_is_not_taken_without_it(burn: Path, cases: dict[str, Any]) -> None:
    path = burn / cases["top_level_key"]["file"]
    with open_checkpoint(path) as checkpoint, pytest.raises(CheckpointError) as caught:
        checkpoint.state_dict()
    assert str(caught.value) == (
        f'{path}: expected a state_dict, found `my_state_dict` (2 tensors)\n  Pass top_level_key="my_state_dict".'
    )


def test_a_state_dict_beside_other_values_is_not_taken_without_its_key(burn: Path, cases: dict[str, Any]) -> None:
    path = burn / cases["config"]["file"]
    with open_checkpoint(path) as checkpoint, pytest.raises(CheckpointError) as caught:
        checkpoint.state_dict()
    assert str(caught.value) == (
        f"{path}: expected a state_dict, found `my_config` (dict), `my_model` (3 tensors)\n"
        '  Pass top_level_key="my_model".'
    )


def test_names_the_field_that_the_checkpoint_has_not(record: Record) -> None:
    lacking = record("missing_module_field")
    with pytest.raises(ww.BindError) as caught:
        ww.bind(OneTooMany, lacking)
    assert str(caught.value) == (
        f"OneTooMany does not fit {lacking.path}: 1 missing key\n"
        "  OneTooMany.do_not_exist_in_pt.weight: missing `do_not_exist_in_pt.weight`\n"
        "  Rename keys with key-remap at build time, or bind an instance with partial=True to keep the values it has."
    )


# ---------------------------------------------------------------------------------------------------------------- MNIST


@dataclass
class Mnist:
    conv1: nn.Conv2d
    conv2: nn.Conv2d
    conv3: nn.Conv2d
    norm1: nn.BatchNorm2d
    fc1: nn.Linear
    fc2: nn.Linear
    norm2: nn.BatchNorm1d

    def __call__(self, x: nn.Array) -> nn.Array:
        for conv in (self.conv1, self.conv2, self.conv3):
            x = nn.relu(conv(x))
        x = self.norm1(x).reshape(len(x), -1)
        return nn.log_softmax(self.norm2(self.fc2(nn.relu(self.fc1(x)))))


IMAGES = {"zeros": np.zeros(784), "all255": np.full(784, 255), "ramp": np.arange(784) % 256}


def test_mnist_classifies_as_burn_does(record: Record, cases: dict[str, Any]) -> None:
    case = cases["mnist"]
    assert set(case["inputs"]) == set(IMAGES)
    pixels = np.stack(list(IMAGES.values())).reshape(-1, 1, 28, 28)
    found = ww.bind(Mnist, record("mnist"))(((pixels / 255 - 0.1307) / 0.3081).astype(np.float32))
    expected = [case["inputs"][name]["expected"] for name in IMAGES]
    np.testing.assert_allclose(found, expected, rtol=0, atol=case["atol"])


def test_all_of_burns_models_are_tried(cases: dict[str, Any]) -> None:
    others = {"config", "top_level_key", "missing_module_field", "mnist"}
    assert set(cases) == {*MODELS, *BUFFERS, *others}
