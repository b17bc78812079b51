"""The error of a wrong model is short and says what may be meant; its report has everything."""

from __future__ import annotations

import dataclasses
from dataclasses import dataclass
from typing import Any

import numpy as np
import pytest

import wheelweights as ww
from wheelweights import nn


@dataclass
class Block:
    fc1: nn.Linear
    norm: nn.LayerNorm


@dataclass
class Net:
    layers: list[Block]
    head: nn.Linear

    @classmethod
    def init(cls, layers: int = 12) -> Net:
        blocks = [Block(nn.Linear.init(4, 4), nn.LayerNorm.init(4)) for _ in range(layers)]
        return cls(blocks, nn.Linear.init(4, 2))


@dataclass
class Sequential:
    body: list[nn.Linear]


@dataclass
class Inner:
    encoder: nn.Linear


@dataclass
class Outer:
    model: Inner


STATE = ww.state_dict(Net.init())
WHATEVER = (
    "  Rename keys with key-remap at build time, or bind an instance with partial=True to keep the values it has."
)


def refusal(target: Any, record: dict[str, Any], **options: Any) -> list[str]:
    """Return the lines of the error after the first."""
    with pytest.raises(ww.BindError) as caught:
        ww.bind(target, record, **options)
    return str(caught.value).splitlines()[1:]


# Like faults


def test_a_fault_of_many_items_is_one_line() -> None:
    record = {key: array for key, array in STATE.items() if not key.endswith("fc1.bias")}
    assert refusal(Net.init, record) == ["  12 items `layers.N` (N: 0 to 11): missing `fc1.bias`", WHATEVER]
    assert len(ww.bind_report(Net.init, record).missing) == 12


def test_items_with_other_faults_are_other_lines() -> None:
    lost = {
        *(f"layers.{n}.fc1.bias" for n in (1, 2, 5)),
        *(f"layers.{n}.norm.{p}" for n in (3, 4) for p in ("weight", "bias")),
    }
    record = {key: array for key, array in STATE.items() if key not in lost}
    assert refusal(Net.init, record)[:2] == [
        "  3 items `layers.N` (N: 1, 2, 5): missing `fc1.bias`",
        "  2 items `layers.N` (N: 3, 4): missing `norm.bias`, `norm.weight`",
    ]


def test_a_lost_item_is_one_line() -> None:
    record = {key: array for key, array in STATE.items() if not key.startswith("layers.11.")}
    assert refusal(Net.init, record)[0] == (
        "  `layers.11`: missing `fc1.bias`, `fc1.weight`, `norm.bias`, `norm.weight`"
    )


def test_like_mismatches_are_one_line() -> None:
    record = {key: np.zeros((4, 5)) if key.endswith("fc1.weight") else array for key, array in STATE.items()}
    assert refusal(Net.init, record)[0] == ("  12 arrays alike: expected (4, 4), found (4, 5) in `layers.N.fc1.weight`")
    assert len(ww.bind_report(Net.init, record).mismatches) == 12


def test_the_error_of_a_wrong_model_is_short() -> None:
    other = {
        f"h.{n}.attn.{name}.{part}": np.zeros(3) for n in range(30) for name in "qkvo" for part in ("weight", "bias")
    }
    lines = refusal(Net.init, other)
    assert len(lines) < 10
    assert lines[-2] == (
        "  unexpected: `h.N.attn.k.bias` (30 times), `h.N.attn.k.weight` (30 times), `h.N.attn.o.bias` (30 times), "
        "`h.N.attn.o.weight` (30 times), `h.N.attn.q.bias` (30 times), `h.N.attn.q.weight` (30 times), "
        "`h.N.attn.v.bias` (30 times), `h.N.attn.v.weight` (30 times)"
    )
    report = ww.bind_report(Net.init, other)
    assert (len(report.missing), len(report.unexpected_keys)) == (50, 240)


# What may be meant


def test_names_a_prefix_that_the_record_has() -> None:
    record = {f"module.{key}": array for key, array in STATE.items()}
    assert refusal(Net.init, record)[-2:] == [
        "  the keys of the record begin with `module.`, those of the model do not",
        '  Bind with prefix="module."',
    ]
    assert ww.bind(Net.init, record, prefix="module.").head.weight is record["module.head.weight"]


def test_names_a_prefix_below_another_and_beside_others() -> None:
    record = {f"a.net.module.{key}": array for key, array in STATE.items()} | {"a.step": np.zeros(1), "b": np.zeros(1)}
    assert refusal(Net.init, record, prefix="a")[-1] == '  Bind with prefix="a.net.module."'
    assert ww.bind(Net.init, record, prefix="a.net.module").head.weight is record["a.net.module.head.weight"]


def test_names_a_prefix_that_the_model_has() -> None:
    record = {"encoder.weight": np.zeros((2, 2)), "encoder.bias": np.zeros(2)}
    assert refusal(Outer, {**record})[-2:] == [
        "  the keys of the model begin with `model.`",
        (
            '  Put `model.` in front of them with key-remap at build time, or bind {f"model.{key}": record[key] '
            "for key in record}."
        ),
    ]
    assert ww.bind(Outer, {f"model.{key}": record[key] for key in record}).model.encoder.bias is record["encoder.bias"]


def test_knows_a_sequential_at_the_root() -> None:
    record = {f"{n}.{part}": np.zeros((2, 2) if part == "weight" else 2) for n in (0, 1) for part in ("weight", "bias")}
    numbers = "  the keys of the record begin with numbers, as those of a Sequential do"
    assert refusal(Sequential, record)[-2:] == [
        numbers,
        (
            '  Put `body.` in front of them with key-remap at build time, or bind {f"body.{key}": record[key] '
            "for key in record}."
        ),
    ]
    assert len(ww.bind(Sequential, {f"body.{key}": record[key] for key in record}).body) == 2
    assert refusal(nn.MultiheadAttention, record)[-2] == numbers


@pytest.mark.parametrize(("theirs", "ours"), [("fc_1", "fc1"), ("linear1", "linear_1"), ("Norm", "norm")])
def test_names_what_is_near(theirs: str, ours: str) -> None:
    block = dataclasses.make_dataclass("Block", [(ours, nn.Linear)])
    net: Any = dataclasses.make_dataclass("Net", [("layers", list[block])])  # type: ignore[valid-type]
    record = {key.replace("fc1", theirs): array for key, array in STATE.items() if "fc1" in key}
    lines = refusal(net, record)
    assert f"  `layers.N.{theirs}` in the record is near to `layers.N.{ours}` in the model" in lines


def test_says_nothing_where_nothing_is_near() -> None:
    assert refusal(nn.Linear, {"kernel": np.zeros((2, 2))}) == [
        "  Linear.weight: missing `weight`",
        "  unexpected: `kernel`",
        WHATEVER,
    ]
