"""Where a layer knows how the shapes of its arrays depend on each other, binding checks them."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest

import wheelweights as ww
from wheelweights import nn

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    from wheelweights.nn import Array


def faults(target: Any, shapes: dict[str, tuple[int, ...]], prefix: str = "") -> list[str]:
    return [str(one) for one in ww.bind_report(target, {key: np.zeros(s) for key, s in shapes.items()}).mismatches]


LINEAR = {"weight": (3, 2), "bias": (3,)}
VECTORS = {"weight": (4,), "bias": (4,), "running_mean": (4,), "running_var": (4,)}
ATTENTION = {
    "in_proj_weight": (12, 4),
    "in_proj_bias": (12,),
    "bias_k": (1, 1, 4),
    "bias_v": (1, 1, 4),
    "out_proj.weight": (4, 4),
    "out_proj.bias": (4,),
}
SEPARATE = {
    "q_proj_weight": (4, 4),
    "k_proj_weight": (4, 3),
    "v_proj_weight": (4, 5),
    "out_proj.weight": (4, 4),
}
LSTM = {"weight_ih_l0": (16, 3), "weight_hh_l0": (16, 4), "bias_ih_l0": (16,), "bias_hh_l0": (16,)}
GRU = {"weight_ih_l0": (12, 3), "weight_hh_l0": (12, 4), "weight_ih_l1": (12, 4), "weight_hh_l1": (12, 4)}

CASES: list[tuple[Any, dict[str, Any], dict[str, Any], list[str]]] = [
    (nn.Linear, LINEAR, {"weight": (3,)}, ["Linear.weight: expected 2 axes, found (3,) in `weight`"]),
    (nn.Linear, LINEAR, {"bias": (2,)}, ["Linear.bias: expected (3,), found (2,) in `bias`"]),
    (nn.Linear, LINEAR, {"bias": (3, 1)}, ["Linear.bias: expected (3,), found (3, 1) in `bias`"]),
    (
        nn.Embedding,
        {"weight": (5, 2)},
        {"weight": (5, 2, 1)},
        ["Embedding.weight: expected 2 axes, found (5, 2, 1) in `weight`"],
    ),
    (
        nn.Conv2d,
        {"weight": (8, 3, 3, 3), "bias": (8,)},
        {"weight": (8, 3, 3), "bias": (3,)},
        [
            "Conv2d.weight: expected 4 axes, found (8, 3, 3) in `weight`",
            "Conv2d.bias: expected (8,), found (3,) in `bias`",
        ],
    ),
    (
        nn.Conv1d,
        {"weight": (8, 3, 3)},
        {"weight": (8, 3)},
        ["Conv1d.weight: expected 3 axes, found (8, 3) in `weight`"],
    ),
    (
        nn.ConvTranspose1d,
        {"weight": (8, 3, 3), "bias": (6,)},
        {"bias": (8,)},
        ["ConvTranspose1d.bias: expected a multiple of 3, found (8,) in `bias`"],
    ),
    (
        nn.ConvTranspose2d,
        {"weight": (8, 3, 3, 3), "bias": (3,)},
        {"bias": (3, 1)},
        ["ConvTranspose2d.bias: expected one axis, found (3, 1) in `bias`"],
    ),
    (
        nn.BatchNorm2d,
        VECTORS,
        {"running_var": (3,)},
        ["BatchNorm2d.running_var: expected (4,), found (3,) in `running_var`"],
    ),
    (
        nn.BatchNorm1d,
        VECTORS,
        {"weight": (4, 1)},
        [
            "BatchNorm1d.weight: expected one axis, found (4, 1) in `weight`",
            *(
                f"BatchNorm1d.{name}: expected (4, 1), found (4,) in `{name}`"
                for name in ("bias", "running_mean", "running_var")
            ),
        ],
    ),
    (
        nn.LayerNorm,
        {"weight": (3, 4), "bias": (3, 4)},
        {"bias": (4,)},
        ["LayerNorm.bias: expected (3, 4), found (4,) in `bias`"],
    ),
    (
        nn.GroupNorm,
        {"weight": (4,), "bias": (4,)},
        {"bias": (5,)},
        ["GroupNorm.bias: expected (4,), found (5,) in `bias`"],
    ),
    (
        nn.MultiheadAttention,
        ATTENTION,
        {"in_proj_weight": (8, 4)},
        ["MultiheadAttention.in_proj_weight: expected (12, 4), found (8, 4) in `in_proj_weight`"],
    ),
    (
        nn.MultiheadAttention,
        ATTENTION,
        {"in_proj_bias": (4,), "bias_v": (4,)},
        [
            "MultiheadAttention.in_proj_bias: expected (12,), found (4,) in `in_proj_bias`",
            "MultiheadAttention.bias_v: expected (1, 1, 4), found (4,) in `bias_v`",
        ],
    ),
    (
        nn.MultiheadAttention,
        SEPARATE,
        {"q_proj_weight": (4, 3), "k_proj_weight": (3, 3), "v_proj_weight": (4,)},
        [
            "MultiheadAttention.q_proj_weight: expected (4, 4), found (4, 3) in `q_proj_weight`",
            "MultiheadAttention.k_proj_weight: expected (4, 3), found (3, 3) in `k_proj_weight`",
            "MultiheadAttention.v_proj_weight: expected 2 axes, found (4,) in `v_proj_weight`",
        ],
    ),
    (
        nn.LSTM,
        LSTM,
        {"bias_hh_l0": (12,)},
        ["LSTM.parameters['bias_hh_l0']: expected (16,), found (12,) in `bias_hh_l0`"],
    ),
    (
        nn.LSTM,
        LSTM,
        {"weight_ih_l0": (16,)},
        ["LSTM.parameters['weight_ih_l0']: expected 2 axes, found (16,) in `weight_ih_l0`"],
    ),
    (nn.LSTM, LSTM, {"extra": (16,)}, ["LSTM.parameters['extra']: expected none, found (16,) in `extra`"]),
    (
        nn.GRU,
        GRU,
        {"weight_ih_l1": (12, 3)},
        ["GRU.parameters['weight_ih_l1']: expected (12, 4), found (12, 3) in `weight_ih_l1`"],
    ),
]


@pytest.mark.parametrize(
    ("layer", "right", "wrong", "expected"), CASES, ids=[f"{c[0].__name__} {list(c[2])}" for c in CASES]
)
def test_a_layer_knows_what_its_shapes_must_be(
    layer: Any, right: dict[str, Any], wrong: dict[str, Any], expected: list[str]
) -> None:
    assert faults(layer, right) == []
    found = faults(layer, right | wrong)
    assert found == expected
    with pytest.raises(ww.BindError):
        ww.bind(layer, {key: np.zeros(shape) for key, shape in (right | wrong).items()})


@pytest.mark.parametrize("lost", sorted(LSTM))
def test_a_lost_parameter_of_a_recurrent_layer_is_told(lost: str) -> None:
    found = faults(nn.LSTM, {key: shape for key, shape in LSTM.items() if key != lost})
    assert any(f"`{lost}`" in one and "found none" in one for one in found)


def test_the_fault_is_in_the_report_with_the_key_of_the_record() -> None:
    @dataclass
    class Net:
        layers: list[nn.Linear]

    report = ww.bind_report(Net, {"net.layers.0.weight": np.zeros((3, 2)), "net.layers.0.bias": np.zeros(2)}, "net")
    assert [(one.kind, one.field, one.key, one.expected, one.found) for one in report.mismatches] == [
        ("shape", "Net.layers[0].bias", "net.layers.0.bias", (3,), (2,))
    ]


@dataclass
class Mixer:
    """A user's own."""

    left: Array
    right: Array
    inner: nn.Linear | None = None

    @classmethod
    def __check_shapes__(cls, shapes: Mapping[str, tuple[int, ...]]) -> Iterator[tuple[str, object, object]]:
        rows = shapes["left"][0]
        if shapes["right"][0] != rows:
            yield "right", (rows, "any"), shapes["right"]
        if shapes.get("inner.weight", (0, rows))[1] != rows:
            yield "inner.weight", f"(*, {rows})", shapes["inner.weight"]


def test_a_users_own_class_can_have_a_check() -> None:
    assert faults(Mixer, {"left": (3, 2), "right": (3, 5), "inner.weight": (7, 3)}) == []
    assert faults(Mixer, {"left": (3, 2), "right": (4, 5), "inner.weight": (7, 2), "inner.bias": (6,)}) == [
        "Mixer.inner.bias: expected (7,), found (6,) in `inner.bias`",
        "Mixer.right: expected (3, 'any'), found (4, 5) in `right`",
        "Mixer.inner.weight: expected (*, 3), found (7, 2) in `inner.weight`",
    ]


def test_a_check_is_not_asked_before_all_shapes_are_known() -> None:
    assert ww.bind_report(Mixer, {"right": np.zeros((3, 2))}).missing_keys == ["left"]
    assert [one.kind for one in ww.bind_report(Mixer, {"left": [1], "right": np.zeros(3)}).mismatches] == ["array"]


def test_an_instance_is_checked_with_the_shapes_that_it_will_have() -> None:
    mixer = Mixer(np.zeros((3, 2)), np.zeros((3, 5)))
    assert ww.bind(mixer, {"left": np.ones((3, 2))}, partial=True).right is mixer.right
    assert faults(mixer, {"left": (3, 2), "right": (4, 5)}) == [
        "Mixer.right: expected (3, 5), found (4, 5) in `right`"  # told once
    ]


def test_shapes_decide_between_variants() -> None:
    @dataclass
    class Net:
        layer: nn.Linear | nn.Embedding | nn.Conv2d

    assert type(ww.bind(Net, {"layer.weight": np.zeros((8, 3, 3, 3))}).layer) is nn.Conv2d
    assert type(ww.bind(Net, {"layer.weight": np.zeros((8, 3)), "layer.bias": np.zeros(8)}).layer) is nn.Linear


# Layers made as in torch


@pytest.mark.parametrize(
    ("make", "name", "shown"),
    [
        (lambda nn: nn.Linear(3, 2), "Linear", "3, 2"),
        (lambda nn: nn.Linear(in_features=3, out_features=2), "Linear", "in_features=3, out_features=2"),
        (lambda nn: nn.Linear(np.zeros((3, 2)), True), "Linear", "..., True"),
        (lambda nn: nn.Conv1d(3, 8, 3), "Conv1d", "3, 8, 3"),
        (lambda nn: nn.Conv2d(3, 8, kernel_size=3, stride=2), "Conv2d", "3, 8, kernel_size=3, stride=2"),
        (lambda nn: nn.ConvTranspose2d(3, 8, (3, 3)), "ConvTranspose2d", "3, 8, (3, 3)"),
        (lambda nn: nn.Embedding(10, 3), "Embedding", "10, 3"),
        (lambda nn: nn.BatchNorm2d(64), "BatchNorm2d", "64"),
        (lambda nn: nn.BatchNorm1d(num_features=64), "BatchNorm1d", "num_features=64"),
        (lambda nn: nn.LayerNorm((3, 4), eps=1e-6), "LayerNorm", "(3, 4), eps=1e-06"),
        (lambda nn: nn.RMSNorm([4]), "RMSNorm", "[4]"),
        (lambda nn: nn.GroupNorm(2, 4), "GroupNorm", "2, 4"),
        (lambda nn: nn.GroupNorm(num_groups=2, num_channels=4), "GroupNorm", "num_groups=2, num_channels=4"),
        (lambda nn: nn.LSTM(3, 8, 2, batch_first=True), "LSTM", "3, 8, 2, batch_first=True"),
        (lambda nn: nn.GRU(input_size=3, hidden_size=8), "GRU", "input_size=3, hidden_size=8"),
        (lambda nn: nn.MultiheadAttention(8, 2), "MultiheadAttention", "8, 2"),
    ],
    ids=lambda value: value if isinstance(value, str) else "",
)
def test_a_layer_made_from_settings_is_an_error_that_shows_init(make: Any, name: str, shown: str) -> None:
    with pytest.raises(nn.LayerError) as caught:
        make(nn)
    assert str(caught.value) == (
        f"{name}: expected arrays, found settings ({shown})\n"
        f"  To make a layer from its settings, as in torch: nn.{name}.init({shown})"
    )


def test_other_mistakes_stay_those_of_a_dataclass() -> None:
    linear: Any = nn.Linear
    with pytest.raises(TypeError, match="unexpected keyword argument 'wieght'"):
        linear(wieght=np.zeros((3, 2)))
    with pytest.raises(TypeError, match="missing 1 required positional argument: 'weight'"):
        linear()


def test_a_subclass_may_have_a_constructor_of_its_own() -> None:
    class Square(nn.Linear):
        def __init__(self, size: int) -> None:
            super().__init__(np.eye(size))

    class Named(nn.Linear):
        pass

    assert Square(3).weight.shape == (3, 3)
    wrong: Any = Named
    with pytest.raises(nn.LayerError, match=r"as in torch: Named\.init\(3, 2\)"):
        wrong(3, 2)
