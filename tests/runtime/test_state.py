"""`state_dict` is the inverse of `bind`."""

from __future__ import annotations

import dataclasses
from collections import OrderedDict
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np
import pytest

import wheelweights as ww
from wheelweights import nn

if TYPE_CHECKING:
    from pathlib import Path

Array = nn.Array


class Pair(NamedTuple):
    first: Array
    second: nn.Linear


@dataclass
class Relu:
    slope: float = 0.0


@dataclass
class Net:
    blocks: list[nn.Linear | Relu]
    scale: Array
    table: dict[str, nn.Embedding]
    pair: Pair
    lstm: nn.LSTM
    norm: nn.BatchNorm1d
    missing: nn.Linear | None = None
    frequencies: Array = field(default_factory=lambda: np.ones(3), metadata={"static": True})


def a_net() -> Net:
    return Net(
        [nn.Linear.init(2, 2), Relu(0.1), nn.Linear.init(2, 3, bias=False)],
        np.ones(2),
        {"a": nn.Embedding.init(3, 2)},
        Pair(np.ones(1), nn.Linear.init(1, 1)),
        nn.LSTM.init(2, 3, bias=False),
        nn.BatchNorm1d.init(2),
    )


def test_names_every_array_in_torchs_order() -> None:
    net = a_net()
    state = ww.state_dict(net)
    assert list(state) == [
        "scale",
        "blocks.0.weight",
        "blocks.0.bias",
        "blocks.2.weight",
        "table.a.weight",
        "pair.first",
        "pair.second.weight",
        "pair.second.bias",
        "lstm.weight_ih_l0",
        "lstm.weight_hh_l0",
        "norm.weight",
        "norm.bias",
        "norm.running_mean",
        "norm.running_var",
        "norm.num_batches_tracked",
    ]
    assert state["scale"] is net.scale
    assert state["lstm.weight_ih_l0"] is net.lstm.parameters["weight_ih_l0"]


def test_is_undone_by_binding(tmp_path: Path) -> None:
    net = a_net()
    state = ww.state_dict(net)
    ww.write_record(tmp_path / "net.mpk", state)
    record = ww.open_record(tmp_path / "net.mpk")
    for target in (net, a_net, Net):
        bound: Any = ww.bind(target, record)
        again = ww.state_dict(bound)
        assert list(again) == list(state) == list(record)
        for name, array in again.items():
            np.testing.assert_array_equal(array, state[name])
        assert [type(block) for block in bound.blocks] == [nn.Linear, Relu, nn.Linear]
        assert type(bound.pair) is Pair


def test_a_prefix_is_put_in_front() -> None:
    linear = nn.Linear.init(2, 2)
    for prefix in ("net.head", "net.head."):
        state = ww.state_dict(linear, prefix=prefix)
        assert list(state) == ["net.head.weight", "net.head.bias"]
        assert ww.bind(nn.Linear, state, prefix=prefix).bias is linear.bias


def test_tied_arrays_come_under_each_name() -> None:
    shared = np.ones((2, 2))
    state = ww.state_dict(dataclasses.make_dataclass("Tied", ["a", "b"])(nn.Linear(shared), nn.Linear(shared)))
    assert list(state) == ["a.weight", "b.weight"]
    assert state["a.weight"] is state["b.weight"] is shared


def test_other_containers_and_arrays_of_other_libraries() -> None:
    class Tensor:
        shape, dtype = (2,), "float32"

    one = dataclasses.make_dataclass("Made", ["x"])
    tensor = Tensor()
    state = ww.state_dict(one({"a": (tensor, "text"), 3: OrderedDict(b=np.ones(1)), "c": [{}, [np.ones(1)]]}))
    assert list(state) == ["x.a.0", "x.3.b", "x.c.1.0"]
    assert state["x.a.0"] is tensor


@pytest.mark.parametrize(
    ("net", "shown"), [(nn.Linear, "Linear"), ({"a": np.ones(1)}, "dict"), (None, "NoneType")], ids=str
)
def test_takes_an_instance_of_a_dataclass(net: Any, shown: str) -> None:
    with pytest.raises(ww.BindError) as caught:
        ww.state_dict(net)
    assert str(caught.value) == f"expected an instance of a dataclass, found `{shown}`"


def test_two_arrays_of_one_name_are_an_error() -> None:
    @dataclass
    class Twice:
        weight: Array
        more: dict[str, Array] = field(metadata={"flatten": True})

    with pytest.raises(ww.BindError, match=r"Twice: expected one array of each name, found two `weight`$"):
        ww.state_dict(Twice(np.ones(1), {"weight": np.ones(1)}))
    made = dataclasses.make_dataclass("Made", ["x"])
    with pytest.raises(ww.BindError, match=r"found two `x\.1`$"):
        ww.state_dict(made({1: np.ones(1), "1": np.ones(1)}))


def test_a_model_that_contains_itself_is_an_error() -> None:
    net = dataclasses.make_dataclass("Made", ["x"])([np.ones(1)])
    net.x.append(net)
    with pytest.raises(ww.BindError, match=r"^Made: expected a tree of modules, found one that is too deep"):
        ww.state_dict(net)


def test_a_record_gives_a_plain_dict(tmp_path: Path) -> None:
    ww.write_record(tmp_path / "r.mpk", {"new": np.ones(2)}, source_keys={"new": "old"})
    record = ww.open_record(tmp_path / "r.mpk")
    assert list(record.state_dict()) == list(record.state_dict(source_keys=False)) == ["new"]
    assert list(record.state_dict(source_keys=True)) == ["old"]
