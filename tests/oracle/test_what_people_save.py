"""What people really put into a checkpoint, made by torch in the test and compared with what torch itself loads."""

from __future__ import annotations

import argparse
import collections
import datetime as dt
import enum
import pathlib
import random
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest

torch = pytest.importorskip("torch")

from hatch_wheelweights import open_checkpoint  # noqa: E402
from hatch_wheelweights.checkpoint import Global, LazyTensor, Opaque  # noqa: E402
from hatch_wheelweights.errors import CheckpointError, UnsafePickleError  # noqa: E402
from looking.state_dicts import assert_state_dict  # noqa: E402
from making.torch_models import Net, Plain, both_containers, every_protocol  # noqa: E402

if TYPE_CHECKING:
    from pathlib import Path

pytestmark = pytest.mark.filterwarnings("ignore:Detected pickle protocol")


class Colour(enum.Enum):
    """An enum by value."""

    RED = "red"


class Level(enum.IntEnum):
    """An enum of ints."""

    LOW = 1


@dataclass
class Config:
    """A configuration as a dataclass."""

    width: int = 4
    colour: Colour = Colour.RED
    sizes: list[int] = field(default_factory=lambda: [1, 2])


class FakeDictConfig:
    """Stands for omegaconf's class: the same shape of state."""

    def __init__(self) -> None:
        self.__dict__["_content"] = {"lr": 0.1}
        self.__dict__["_metadata"] = collections.defaultdict(list, {"ref_type": [Any]})


@pytest.fixture
def path(tmp_path: Path) -> Path:
    """Where the checkpoint goes."""
    return tmp_path / "model.ckpt"


def plain(node: Any) -> Any:
    """Return a tree with its tensors as lists."""
    match node:
        case LazyTensor():
            return node.numpy().tolist()
        case torch.Tensor():
            return node.detach().tolist()
        case np.ndarray():
            return node.tolist()
        case dict():
            return {plain(key): plain(value) for key, value in node.items()}
        case list():
            return [plain(value) for value in node]
        case tuple():
            return tuple(plain(value) for value in node)
        case np.generic():
            return node.item()
    return node


# ------------------------------------------------------------------------------------- state dicts


@both_containers
@every_protocol
def test_plain_state_dict(path: Path, how: Any, protocol: int) -> None:
    torch.save(Net().state_dict(), path, pickle_protocol=protocol, **how)
    with open_checkpoint(path) as checkpoint:
        assert checkpoint.kind == ("pytorch-legacy" if how else "pytorch-zip")
        assert_state_dict(checkpoint.state_dict(reindex=False), torch.load(path, weights_only=protocol < 4))


@both_containers
@pytest.mark.parametrize("key", ["model", "state_dict", "net", "ema", "model_state_dict"])
def test_nested_state_dict(path: Path, how: Any, key: str) -> None:
    net = Net()
    torch.save({"epoch": 3, key: net.state_dict(), "best": 0.5}, path, **how)
    with open_checkpoint(path) as checkpoint:
        assert checkpoint.tree["epoch"] == 3
        assert_state_dict(checkpoint.state_dict(top_level_key=key, reindex=False), net.state_dict())
        with pytest.raises(CheckpointError, match=f"`{key}`"):
            checkpoint.state_dict()


@both_containers
@every_protocol
def test_model_and_optimizer(path: Path, how: Any, protocol: int) -> None:
    net = Plain()
    optimizer = torch.optim.AdamW(net.parameters(), lr=1e-3, amsgrad=True)
    scheduler = torch.optim.lr_scheduler.OneCycleLR(optimizer, 0.1, total_steps=10)
    for _ in range(3):
        net(torch.randn(5, 3)).sum().backward()
        optimizer.step()
        scheduler.step()
    everything = {
        "model": net.state_dict(),
        "optimizer": optimizer.state_dict(),
        "scaler": torch.amp.GradScaler("cpu").state_dict(),
        "epoch": 7,
    }
    torch.save({**everything, "scheduler": scheduler.state_dict()}, path, pickle_protocol=protocol, **how)
    with open_checkpoint(path) as checkpoint:
        assert_state_dict(checkpoint.state_dict(top_level_key="model", reindex=False), net.state_dict())
        assert plain({k: checkpoint.tree[k] for k in everything}) == plain(everything)
        states = checkpoint.state_dict(top_level_key=["optimizer", "state"], reindex=False)
        assert "0.exp_avg" in states
        assert "2.step" in states
        np.testing.assert_array_equal(
            states["0.exp_avg"].numpy(), optimizer.state_dict()["state"][0]["exp_avg"].numpy()
        )


def test_lightning(path: Path) -> None:
    net = Net()
    torch.save(
        {
            "epoch": 1,
            "global_step": 20,
            "pytorch-lightning_version": "2.5.0",
            "state_dict": {f"model.{key}": value for key, value in net.state_dict().items()},
            "loops": {"fit_loop": {"state_dict": {}, "epoch_progress": {"total": {"ready": 2}}}},
            "callbacks": {
                "ModelCheckpoint{'monitor': 'loss'}": {
                    "best_model_score": torch.tensor(0.5),
                    "dirpath": pathlib.Path("/a/b"),
                }
            },
            "optimizer_states": [torch.optim.SGD(net.parameters(), lr=0.1, momentum=0.9).state_dict()],
            "lr_schedulers": [],
            "hparams_name": "cfg",
            "hyper_parameters": FakeDictConfig(),
        },
        path,
    )
    with open_checkpoint(path) as checkpoint:
        assert_state_dict(
            checkpoint.state_dict(top_level_key="state_dict", key_remap=[(r"^model\.", "")], reindex=False),
            net.state_dict(),
        )
        config = checkpoint.tree["hyper_parameters"]
        assert isinstance(config, Opaque)
        assert config.name == "FakeDictConfig"
        assert config.state["_content"] == {"lr": 0.1}


def test_int_keys_and_lists_of_tensors(path: Path) -> None:
    saved: dict[str, Any] = {
        "layers": [torch.ones(2), torch.zeros(3)],
        "heads": {0: {"w": torch.ones(1)}, 10: {"w": torch.zeros(1)}},
        "pair": (torch.arange(2), [torch.arange(3), {"x": torch.arange(4)}]),
    }
    torch.save(saved, path)
    with open_checkpoint(path) as checkpoint:
        assert_state_dict(
            checkpoint.state_dict(reindex=False),
            {
                "layers.0": saved["layers"][0],
                "layers.1": saved["layers"][1],
                "heads.0.w": saved["heads"][0]["w"],
                "heads.10.w": saved["heads"][10]["w"],
                "pair.0": saved["pair"][0],
                "pair.1.0": saved["pair"][1][0],
                "pair.1.1.x": saved["pair"][1][1]["x"],
            },
        )


def test_a_list_of_tensors_alone(path: Path) -> None:
    torch.save([torch.ones(2), torch.zeros(3)], path)
    with open_checkpoint(path) as checkpoint:
        assert_state_dict(checkpoint.state_dict(), {"0": torch.ones(2), "1": torch.zeros(3)})


def test_a_tensor_alone(path: Path) -> None:
    """It has no name, so it is no state_dict; but it can be looked at."""
    torch.save(torch.arange(3.0), path)
    with open_checkpoint(path) as checkpoint:
        assert checkpoint.tree.numpy().tolist() == [0.0, 1.0, 2.0]
        with pytest.raises(CheckpointError):
            checkpoint.state_dict()


def test_an_empty_state_dict(path: Path) -> None:
    torch.save({}, path)
    with open_checkpoint(path) as checkpoint:
        assert checkpoint.tree == {}


# ------------------------------------------------------------------------------------- other values

SCALARS = [np.dtype(kind).type(1) for kind in "?bBhHiIqQefd"] + [
    np.complex64(1 + 2j),
    np.complex128(3j),
    np.bool_(False),
]


@both_containers
@every_protocol
def test_numpy_scalars(path: Path, how: Any, protocol: int) -> None:
    torch.save({"w": torch.ones(1), "values": SCALARS}, path, pickle_protocol=protocol, **how)
    with open_checkpoint(path) as checkpoint:
        found = checkpoint.tree["values"]
    assert [value.item() for value in found] == [value.item() for value in SCALARS]
    assert [np.asarray(value).dtype for value in found] == [value.dtype for value in SCALARS]


ARRAYS = {
    "floats": np.arange(6.0).reshape(2, 3),
    "fortran": np.asfortranarray(np.arange(6, dtype=np.int32).reshape(2, 3)),
    "big endian": np.arange(3, dtype=">f4"),
    "bools": np.array([True, False]),
    "half": np.arange(3, dtype=np.float16),
    "unsigned": np.array([2**64 - 1], np.uint64),
    "complex": np.array([1 + 2j], np.complex64),
    "empty": np.empty((0, 3), np.float32),
    "scalar": np.array(3.5),
    "strided": np.arange(10)[::3],
    "transposed": np.arange(6, dtype=np.int16).reshape(2, 3).T,
}


@both_containers
@every_protocol
@pytest.mark.parametrize("kind", ARRAYS)
def test_numpy_arrays(path: Path, how: Any, protocol: int, kind: str) -> None:
    torch.save({"w": torch.ones(1), "array": ARRAYS[kind]}, path, pickle_protocol=protocol, **how)
    with open_checkpoint(path) as checkpoint:
        found = checkpoint.state_dict()["array"]
        assert found.dtype == ARRAYS[kind].dtype.name
        np.testing.assert_array_equal(found.numpy(), ARRAYS[kind])


@pytest.mark.parametrize(
    "array",
    [
        np.array(["a", "bc"]),
        np.array([b"a"]),
        np.array(["2020-01-01"], "M8[D]"),
        np.array([object()]),
        np.zeros(2, [("x", "f4")]),
        np.array([None, {"a": 1}]),
    ],
    ids=["text", "bytes", "dates", "objects", "records", "None and dict"],
)
@every_protocol
def test_arrays_that_are_no_tensors_hinder_nothing(path: Path, array: Any, protocol: int) -> None:
    torch.save({"model": {"w": torch.ones(1)}, "array": array}, path, pickle_protocol=protocol)
    with open_checkpoint(path) as checkpoint:
        assert checkpoint.tree["model"]
        assert list(checkpoint.state_dict(top_level_key="model")) == ["w"]


@both_containers
@every_protocol
def test_values_of_the_standard_library(path: Path, how: Any, protocol: int) -> None:
    saved = {
        "model": {"w": torch.ones(2)},
        "namespace": argparse.Namespace(lr=0.1, layers=[1, 2], nested=argparse.Namespace(x=None)),
        "path": pathlib.Path("/a/b"),
        "pure path": pathlib.PureWindowsPath("c:/a"),
        "colour": Colour.RED,
        "level": Level.LOW,
        "when": dt.datetime(2024, 1, 2, 3, 4, 5, 6, dt.UTC),
        "day": dt.date(2024, 1, 2),
        "span": dt.timedelta(days=1),
        "config": Config(),
        "counter": collections.Counter("aab"),
        "default": collections.defaultdict(list, {"a": [1]}),
        "deque": collections.deque([1, 2], maxlen=3),
        "ordered": collections.OrderedDict(b=1, a=2),
        "set": {1, 2},
        "frozen": frozenset("a"),
        "bytes": b"\x00\xff",
        "array of bytes": bytearray(b"xy"),
        "complex": 1 + 2j,
        "range": range(3),
        "large": 2**100,
        "negative": -(2**100),
        "rng": random.Random(0).getstate(),
        "type": Config,
        "float type": float,
    }
    torch.save(saved, path, pickle_protocol=protocol, **how)
    with open_checkpoint(path) as checkpoint:
        tree = checkpoint.tree
        assert list(checkpoint.state_dict(top_level_key="model")) == ["w"]
    same = ["counter", "default", "ordered", "set", "bytes", "complex", "large", "negative", "rng"]
    assert {key: tree[key] for key in same} == {key: saved[key] for key in same}
    assert list(tree["ordered"]) == ["b", "a"]
    assert list(tree["deque"]) == [1, 2]
    assert set(tree["frozen"]) == {"a"}
    assert bytes(tree["array of bytes"]) == b"xy"
    assert tree["namespace"].state["layers"] == [1, 2]
    assert tree["namespace"].state["nested"].state == {"x": None}
    assert tree["config"].state["width"] == 4
    assert (tree["path"].module.split(".")[0], tree["path"].name) == ("pathlib", "PosixPath")
    assert isinstance(tree["colour"], Opaque)
    assert isinstance(tree["type"], Global)


@both_containers
@every_protocol
def test_values_of_torch(path: Path, how: Any, protocol: int) -> None:
    saved = {
        "model": {"w": torch.ones(2)},
        "size": torch.Size([1, 2]),
        "dtype": torch.float16,
        "device": torch.device("cuda", 1),
        "cpu": torch.device("cpu"),
        "rng": torch.get_rng_state(),
        "layout": torch.strided,
        "qscheme": torch.per_tensor_affine,
        "version": torch.__version__,
        "finfo": str(torch.finfo(torch.float32)),
    }
    torch.save(saved, path, pickle_protocol=protocol, **how)
    with open_checkpoint(path) as checkpoint:
        tree = checkpoint.tree
        assert list(checkpoint.state_dict(top_level_key="model")) == ["w"]
        assert tree["size"] == (1, 2)
        assert tree["dtype"] == Global("torch", "float16")
        assert (tree["device"].module, tree["device"].name, tree["device"].args) == ("torch", "device", ("cuda", 1))
        np.testing.assert_array_equal(tree["rng"].numpy(), saved["rng"].numpy())


def test_everything_that_torch_loads_with_weights_only_opens(path: Path) -> None:
    """The types on torch's own list."""
    saved = {
        "w": torch.ones(2),
        "types": [
            torch.float32,
            torch.Size([1]),
            torch.device("cpu"),
            collections.OrderedDict(a=1),
            collections.Counter("a"),
        ],
        "plain": [1, 1.5, None, True, "x", b"y", (1,), {2}, bytearray(b"z"), 1j],
        "np": [np.float32(1), np.arange(3), np.dtype("f4")],
    }
    torch.save(saved, path)
    with torch.serialization.safe_globals(
        [
            np._core.multiarray.scalar,  # type: ignore[attr-defined]
            np._core.multiarray._reconstruct,  # type: ignore[attr-defined]
            np.ndarray,
            np.dtype,
            type(np.dtype("f4")),
            type(np.dtype("i8")),
        ]
    ):
        torch.load(path, weights_only=True)
    with open_checkpoint(path) as checkpoint:
        assert checkpoint.tree["plain"][:5] == [1, 1.5, None, True, "x"]
        assert checkpoint.tree["types"][3] == {"a": 1}


KEYS = {
    "tuple": (1, "a"),
    "nested tuple": ((1, 2), (3,)),
    "long tuple": tuple(range(100)),
    "large int": 2**63 - 1,
    "negative int": -(2**62),
    "float": 1.5,
    "bool": True,
    "None": None,
    "complex": 1 + 2j,
    "bytes": b"\x00\xff",
    "dtype": torch.float32,
    "device": torch.device("cpu"),
    "size": torch.Size([1, 2]),
}


@pytest.mark.parametrize("protocol", [2, 4])
@pytest.mark.parametrize("kind", KEYS)
def test_keys_that_are_no_text_hinder_nothing(path: Path, kind: str, protocol: int) -> None:
    """Torch opens them all with weights_only."""
    torch.save({"model": {"w": torch.ones(1)}, "more": {KEYS[kind]: 1}}, path, pickle_protocol=protocol)
    with open_checkpoint(path) as checkpoint:
        assert list(checkpoint.state_dict(top_level_key="model")) == ["w"]
        assert list(checkpoint.tree["more"].values()) == [1]


@pytest.mark.parametrize("protocol", [2, 4])
def test_sets_of_tuples_hinder_nothing(path: Path, protocol: int) -> None:
    torch.save({"model": {"w": torch.ones(1)}, "more": {(1, 2), (3, 4)}}, path, pickle_protocol=protocol)
    with open_checkpoint(path) as checkpoint:
        assert list(checkpoint.state_dict(top_level_key="model")) == ["w"]
        assert checkpoint.tree["more"] == {(1, 2), (3, 4)}


def test_return_types(path: Path) -> None:
    torch.save({"m": torch.arange(4.0).reshape(2, 2).max(0), "w": torch.ones(1)}, path)
    with open_checkpoint(path) as checkpoint:
        assert checkpoint.tree is not None
        assert "w" in checkpoint.state_dict(include=["^w"])


def test_objects_that_run_code_are_refused(path: Path, tmp_path: Path) -> None:
    class Evil:
        def __reduce__(self) -> Any:
            return eval, (f"open({str(tmp_path / 'marker')!r}, 'w')",)

    torch.save({"w": torch.ones(1), "x": Evil()}, path)
    with pytest.raises(UnsafePickleError):
        open_checkpoint(path).state_dict()
    assert not (tmp_path / "marker").exists()
