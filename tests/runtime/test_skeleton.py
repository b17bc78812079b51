"""A factory as target: the settings and biases of an instance, the memory of none."""

from __future__ import annotations

import asyncio
import copy
import functools
import pickle
import threading
import tracemalloc
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest

import wheelweights as ww
from wheelweights import nn
from wheelweights.skeleton import Placeholder, PlaceholderError, is_placeholder, placeholders_wanted

if TYPE_CHECKING:
    from collections.abc import Callable

Array = nn.Array


@dataclass
class Net:
    conv: nn.Conv2d
    norm: nn.BatchNorm2d
    head: list[nn.Linear]
    name: str = "net"

    @classmethod
    def init(cls, size: int = 4, *, bias: bool = True) -> Net:
        heads = [nn.Linear.init(size, size, bias=bias), nn.Linear.init(size, 2)]
        return cls(nn.Conv2d.init(3, size, 3, stride=2), nn.BatchNorm2d.init(size), heads, name="made")


LAYERS: dict[str, Callable[[], Any]] = {
    "Linear": lambda: nn.Linear.init(3, 2),
    "Conv1d": lambda: nn.Conv1d.init(4, 6, 3, groups=2),
    "Conv2d": lambda: nn.Conv2d.init(4, 6, (3, 2), bias=False),
    "ConvTranspose1d": lambda: nn.ConvTranspose1d.init(4, 6, 3, groups=2),
    "ConvTranspose2d": lambda: nn.ConvTranspose2d.init(4, 6, 3),
    "Embedding": lambda: nn.Embedding.init(5, 3, padding_idx=1),
    "BatchNorm1d": lambda: nn.BatchNorm1d.init(4),
    "BatchNorm2d": lambda: nn.BatchNorm2d.init(4, affine=False, track_running_stats=False),
    "LayerNorm": lambda: nn.LayerNorm.init((3, 4)),
    "RMSNorm": lambda: nn.RMSNorm.init(4),
    "GroupNorm": lambda: nn.GroupNorm.init(2, 4),
    "LSTM": lambda: nn.LSTM.init(3, 4, 2, bidirectional=True, proj_size=2),
    "GRU": lambda: nn.GRU.init(3, 4, bias=False),
    "MultiheadAttention": lambda: nn.MultiheadAttention.init(4, 2, add_bias_kv=True),
    "MultiheadAttention of other sizes": lambda: nn.MultiheadAttention.init(4, 2, kdim=3, vdim=5),
}


def described(net: Any) -> dict[str, Any]:
    return {name: (array.shape, array.dtype) for name, array in ww.state_dict(net).items()}


def a_record(factory: Any) -> dict[str, Array]:
    return {name: np.ones(shape, dtype) for name, (shape, dtype) in described(factory()).items()}


# Binding


def test_binds_what_a_factory_makes_with_the_arrays_of_the_record() -> None:
    record = a_record(Net.init)
    net = ww.bind(Net.init, record)
    assert type(net) is Net
    assert (net.conv.stride, net.name) == (2, "made")
    assert ww.state_dict(net).keys() == record.keys()
    assert all(array is record[name] for name, array in ww.state_dict(net).items())


@pytest.mark.parametrize("layer", LAYERS)
def test_every_layer_starts_with_placeholders_of_the_right_shapes(layer: str) -> None:
    make = LAYERS[layer]
    with nn.skeleton():
        skeleton = make()
    assert described(skeleton) == described(make())
    large = [array for array in ww.state_dict(skeleton).values() if array.shape]
    assert all(map(is_placeholder, large))
    record = a_record(make)
    bound = ww.bind(make, record)
    assert {name: id(array) for name, array in ww.state_dict(bound).items()} == {
        name: id(array) for name, array in record.items()
    }
    settings = {name: value for name, value in vars(bound).items() if isinstance(value, int | float | str | bool)}
    assert settings == {name: getattr(make(), name) for name in settings}


@pytest.mark.parametrize(
    "factory",
    [
        Net.init,
        lambda: Net.init(size=4),
        functools.partial(Net.init, 4),
        functools.partial(Net.init, size=4, bias=True),
    ],
    ids=["method", "lambda", "partial", "keywords"],
)
def test_a_factory_is_any_function_without_arguments(factory: Any) -> None:
    assert type(ww.bind(factory, a_record(Net.init))) is Net
    assert ww.bind_report(factory, a_record(Net.init)).fits


def test_biases_are_as_strict_as_the_instance_says() -> None:
    record = a_record(Net.init)
    without = {key: array for key, array in record.items() if key != "head.0.bias"}
    with pytest.raises(ww.BindError, match=r"1 missing key\n  Net\.head\[0\]\.bias: missing `head\.0\.bias`"):
        ww.bind(Net.init, without)
    assert ww.bind_report(lambda: Net.init(bias=False), record).unexpected_keys == ["head.0.bias"]
    assert ww.bind(lambda: Net.init(bias=False), without).head[0].bias is None
    assert ww.bind(Net, without).head[0].bias is None  # a class cannot know better


def test_shapes_are_those_of_the_instance() -> None:
    assert [str(one) for one in ww.bind_report(lambda: Net.init(5), a_record(Net.init)).mismatches][:2] == [
        "Net.conv.weight: expected (5, 3, 3, 3), found (4, 3, 3, 3) in `conv.weight`",
        "Net.conv.bias: expected (5,), found (4,) in `conv.bias`",
    ]


def test_an_instance_that_can_be_called_and_a_class_are_no_factories() -> None:
    @dataclass
    class Called:
        weight: Array

        def __call__(self) -> Called:
            raise AssertionError

    record = {"weight": np.ones(2)}
    assert type(ww.bind(Called(np.zeros(2)), record)) is Called
    assert type(ww.bind(Called, record)) is Called


def test_no_placeholder_is_left_by_partial() -> None:
    record = {"conv.weight": np.ones((4, 3, 3, 3))}
    with pytest.raises(ww.BindError) as caught:
        ww.bind(Net.init, record, partial=True)
    report = caught.value.report
    assert report is not None
    assert report.missing_keys[:2] == ["conv.bias", "norm.weight"]
    assert "bind an instance with partial=True to keep the values it has" in str(caught.value)
    assert ww.bind(Net.init(), record, partial=True).conv.weight is record["conv.weight"]


def test_partial_keeps_arrays_that_the_factory_made_itself() -> None:
    @dataclass
    class Scaled:
        linear: nn.Linear
        scale: Array

        @classmethod
        def init(cls) -> Scaled:
            return cls(nn.Linear.init(2, 2), np.full(2, 3.0))

    record = {"linear.weight": np.ones((2, 2)), "linear.bias": np.ones(2), "other": np.ones(1)}
    assert ww.bind(Scaled.init, record, partial=True).scale[0] == 3


def test_no_placeholder_is_left_anywhere_else() -> None:
    @dataclass
    class Odd:
        linear: nn.Linear
        table: Any = field(default=None, metadata={"static": True})

        def __post_init__(self) -> None:
            self.table = {"rows": [self.linear.weight]}
            self.tied = self.linear.weight
            self.loop = [self.table]
            self.loop.append(self.loop)

    record = {"weight": np.ones((2, 2)), "bias": np.ones(2)}
    with pytest.raises(ww.BindError) as caught:
        ww.bind(lambda: Odd(nn.Linear.init(2, 2)), {f"linear.{key}": array for key, array in record.items()})
    assert str(caught.value) == (
        "Odd: 2 placeholders that no record fills\n"
        "  Odd.table['rows'][0]\n"
        "  Odd.tied\n"
        "  Make these arrays with numpy: layers made by a factory start without values."
    )


def test_keeps_the_counter_of_a_norm_where_the_record_has_none() -> None:
    record = {name: array for name, array in a_record(Net.init).items() if "num_batches" not in name}
    assert ww.bind(Net.init, record).norm.num_batches_tracked == 0


def test_a_skeleton_binds_as_an_instance() -> None:
    record = a_record(Net.init)
    with nn.skeleton():
        net = Net.init()
    assert all(array is record[name] for name, array in ww.state_dict(ww.bind(net, record)).items())
    assert is_placeholder(net.conv.weight)


@pytest.mark.parametrize(
    ("factory", "message"),
    [
        (
            lambda: None,
            "expected an instance of a dataclass from `<lambda>`, found `NoneType`",
        ),
        (lambda: Net, "expected an instance of a dataclass from `<lambda>`, found `type`"),
        (
            lambda size: Net.init(size + 1),
            (
                "expected a function that takes no arguments, found `<lambda>`: missing a required argument: 'size'\n"
                "  Give them: ww.bind(lambda: <lambda>(...), record)"
            ),
        ),
        (
            nn.Linear.init,
            (
                "expected a function that takes no arguments, found `Linear.init`: "
                "missing a required argument: 'in_features'\n"
                "  Give them: ww.bind(lambda: Linear.init(...), record)"
            ),
        ),
    ],
    ids=["None", "class", "arguments", "layer"],
)
def test_says_what_is_wrong_with_a_factory(factory: Any, message: str) -> None:
    with pytest.raises(ww.BindError) as caught:
        ww.bind(factory, {})
    assert str(caught.value) == message


def test_what_a_factory_raises_is_raised() -> None:
    def failing() -> Net:
        raise KeyError("size")

    with pytest.raises(KeyError):
        ww.bind(failing, {})
    assert not placeholders_wanted()


def test_a_large_model_costs_no_memory() -> None:
    record = {
        "weight": np.broadcast_to(np.float32(1), (100_000, 100_000)),
        "bias": np.broadcast_to(np.float32(1), 100_000),
    }
    tracemalloc.start()
    net = ww.bind(lambda: nn.Linear.init(100_000, 100_000), record)
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert net.weight is record["weight"]
    assert peak < 1_000_000


@dataclass
class AlexNet:
    """The layers of the 61 million parameters of Krizhevsky's network, as torchvision has them."""

    features: list[nn.Conv2d]
    classifier: list[nn.Linear]

    @classmethod
    def init(cls) -> AlexNet:
        sizes = [(3, 64, 11), (64, 192, 5), (192, 384, 3), (384, 256, 3), (256, 256, 3)]
        return cls(
            [nn.Conv2d.init(inputs, outputs, kernel) for inputs, outputs, kernel in sizes],
            [nn.Linear.init(9216, 4096), nn.Linear.init(4096, 4096), nn.Linear.init(4096, 1000)],
        )


def test_a_factory_draws_no_random_numbers_and_takes_no_memory(monkeypatch: pytest.MonkeyPatch) -> None:
    """Made as an instance, this one draws 61 million numbers, which takes seconds and 244 MB."""
    drawn: list[object] = []
    monkeypatch.setattr(np.random, "default_rng", lambda *seed: drawn.append(seed))
    with nn.skeleton():
        shapes = {name: value.shape for name, value in ww.state_dict(AlexNet.init()).items()}
    assert sum(int(np.prod(shape)) for shape in shapes.values()) == 61_100_840
    record = {name: np.broadcast_to(np.float32(1), shape) for name, shape in shapes.items()}
    tracemalloc.start()
    net = ww.bind(AlexNet.init, record)
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert not drawn
    assert peak < 1 << 20, f"{peak:,} bytes"
    assert all(value is record[name] for name, value in ww.state_dict(net).items())


# The block


def test_only_the_block_and_its_own_thread_and_task_are_affected() -> None:
    seen: list[bool] = []
    with nn.skeleton():
        thread = threading.Thread(target=lambda: seen.append(is_placeholder(nn.Linear.init(1, 1).weight)))
        thread.start()
        thread.join()
        with nn.skeleton():
            assert is_placeholder(nn.Linear.init(1, 1).weight)
        assert is_placeholder(nn.Linear.init(1, 1).bias)
    assert seen == [False]
    assert not is_placeholder(nn.Linear.init(1, 1).weight)

    async def inside(ready: asyncio.Event, done: asyncio.Event) -> None:
        with nn.skeleton():
            ready.set()
            await done.wait()

    async def both() -> bool:
        ready, done = asyncio.Event(), asyncio.Event()
        task = asyncio.create_task(inside(ready, done))
        await ready.wait()
        wanted = placeholders_wanted()
        done.set()
        await task
        return wanted

    assert asyncio.run(both()) is False


# Placeholders

USES: dict[str, Callable[[Any], object]] = {
    "add": lambda p: p + 1,
    "add to": lambda p: np.ones((3, 2)) + p,
    "multiply a scalar": lambda p: np.float32(2) * p,
    "multiply matrices": lambda p: np.ones((2, 3)) @ p,
    "compare": lambda p: p == p,
    "truth": bool,
    "float": float,
    "index": lambda p: p[0],
    "set": lambda p: p.__setitem__(0, 1),
    "iterate": list,
    "contain": lambda p: 1 in p,
    "asarray": np.asarray,
    "array of": lambda p: np.array([p, p]),
    "asarray with dtype": lambda p: np.asarray(p, dtype=np.float64),
    "copy to": lambda p: np.copyto(np.ones((3, 2)), p),
    "sum": np.sum,
    "split": lambda p: np.split(p, 3),
    "concatenate": lambda p: np.concatenate([p, p]),
    "result_type": np.result_type,
    "transpose": lambda p: p.T,
    "astype": lambda p: p.astype(np.float64),
    "finite": np.isfinite,
}


@pytest.mark.parametrize("use", USES)
def test_a_placeholder_is_never_taken_for_numbers(use: str) -> None:
    with pytest.raises(PlaceholderError) as caught:
        USES[use](Placeholder((3, 2)))
    assert str(caught.value) == (
        "a placeholder of shape (3, 2) has no values to compute with\n"
        "  Bind the model to a record first: ww.bind(model, record)."
    )
    assert isinstance(caught.value, ww.WheelweightsError)


def test_a_model_of_placeholders_does_not_run(tmp_path: Any) -> None:
    with nn.skeleton():
        net = Net.init()
    for call in (
        lambda: net.conv(np.ones((1, 3, 8, 8))),
        lambda: net.norm(np.ones((1, 4, 2, 2))),
        lambda: net.head[0](np.ones((1, 4))),
    ):
        with pytest.raises(PlaceholderError):
            call()
    with pytest.raises(ww.WheelweightsError):
        ww.write_record(tmp_path / "r.mpk", ww.state_dict(net))
    assert list(tmp_path.iterdir()) == []


def test_a_placeholder_tells_its_shape() -> None:
    one = Placeholder((3, 2), np.float16)
    assert (one.shape, one.dtype, one.ndim, one.size, one.nbytes, len(one)) == ((3, 2), np.float16, 2, 6, 12, 3)
    assert repr(one) == "<placeholder float16 (3, 2)>"
    assert repr(nn.Linear(one)) == "Linear(weight=<placeholder float16 (3, 2)>, bias=None)"  # type: ignore[arg-type]
    assert not hasattr(one, "detach")
    for again in (copy.copy(one), copy.deepcopy(one), pickle.loads(pickle.dumps(one))):
        assert (again.shape, again.dtype) == (one.shape, one.dtype)
    with pytest.raises(TypeError):
        len(Placeholder(()))
