"""Differences by module: as deep as thirty rows allow, nothing counted twice."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from hatch_wheelweights.looking.difference.facts import Comparison, Form, TensorDifference
from hatch_wheelweights.looking.difference.modules import MAX_MODULES, modules_of, worst_first, worst_modules
from hatch_wheelweights.looking.difference.values import ValueDifference
from hatch_wheelweights.looking.difference.words import module_row

FORM = Form("float32", (4,))
KEYS = st.lists(st.sampled_from(["a", "b", "layers", *map(str, range(12))]), min_size=1, max_size=4).map(".".join)


def tensor(key: str, differing: int = 1, cosine: float = 0.5) -> TensorDifference:
    values = ValueDifference(4, differing, differing, 0.5 * differing, 1, products=(1, cosine, 1))
    return TensorDifference(key, key, (FORM, FORM), values)


def comparison(*tensors: TensorDifference, only: tuple[list[str], list[str]] = ([], [])) -> Comparison:
    sides = dict.fromkeys(only[0], FORM), dict.fromkeys(only[1], FORM)
    return Comparison(("a", "b"), sides, tensors)


def test_modules_are_as_deep_as_thirty_rows_allow() -> None:
    few = comparison(*[tensor(f"net.layers.{i}.{name}.w") for i in range(6) for name in "qkv"])
    assert [module.name for module in modules_of(few)] == [f"net.layers.{i}.{name}" for i in range(6) for name in "qkv"]
    more = comparison(*[tensor(f"{net}.layers.{i}.{name}.w") for net in "xy" for i in range(6) for name in "qkv"])
    assert [module.name for module in modules_of(more)] == [f"{net}.layers.{i}" for net in "xy" for i in range(6)]
    many = comparison(*[tensor(f"{net}.{i}.w") for net in "xy" for i in range(40)])
    assert [module.name for module in modules_of(many)] == ["x", "y"]


def test_what_is_equal_is_no_row() -> None:
    found = modules_of(comparison(tensor("a.w", 0), tensor("b.w", 1), tensor("b.v", 0), only=(["c.w"], ["d.w"])))
    assert [(module.name, len(module.both), module.only, module.differing) for module in found] == [
        ("b", 2, (0, 0), 1), ("c", 0, (1, 0), 1), ("d", 0, (0, 1), 1),
    ]  # fmt: skip


def test_the_values_of_a_module_are_compared_as_if_they_were_one_tensor() -> None:
    (module,) = modules_of(comparison(tensor("a.w", 1, 0.2), tensor("a.v", 2, 0.6)))
    assert module.values == ValueDifference(8, 3, 3, 1.0, 1)
    assert module.values.cosine == pytest.approx(0.4)


def test_of_many_modules_the_worst_are_shown_in_their_order() -> None:
    tensors = [tensor(f"m{i}.w", cosine=(i * 7 % 50) / 50) for i in range(50)]
    shown = [module.name for module in worst_modules(modules_of(comparison(*tensors)))]
    assert shown == [f"m{i}" for i in range(50) if i * 7 % 50 < MAX_MODULES]


def test_the_worst_tensor_has_no_values_then_nan_on_one_side_then_points_elsewhere_and_the_best_is_equal() -> None:
    unread = TensorDifference("unread", "unread", (FORM, FORM), fault="broken")
    cast = TensorDifference("cast", "cast", (FORM, Form("float16", (4,))), ValueDifference(4))
    broken = TensorDifference("broken", "broken", (FORM, FORM), ValueDifference(4, 1, 1, nan_in_one=1))
    found = worst_first([cast, tensor("good", cosine=0.9), tensor("bad", cosine=-0.9), broken, unread])
    assert [each.key for each in found] == ["unread", "broken", "bad", "good", "cast"]


def test_nothing_is_larger_than_a_difference_to_nan() -> None:
    broken = TensorDifference("m.w", "m.w", (FORM, FORM), ValueDifference(4, 1, 1, nan_in_one=1))
    found = modules_of(comparison(tensor("m.v"), broken, tensor("n.w", cosine=-1)))
    assert [module_row(module) for module in found] == [
        ("m", "2", "2", "NaN", "1", "0.500000"),
        ("n", "1", "1", "0.5", "1", "-1"),
    ]
    worst = [tensor(f"m{i}.w", cosine=-1) for i in range(40)]
    assert [module.name for module in worst_modules(modules_of(comparison(*worst, broken)))][-1] == "m"


@given(st.sets(KEYS, max_size=60), st.sets(KEYS, max_size=20), st.sets(KEYS, max_size=20))
def test_every_tensor_that_differs_is_in_one_module(both: set[str], ours: set[str], theirs: set[str]) -> None:
    found = modules_of(comparison(*map(tensor, sorted(both)), only=(sorted(ours - both), sorted(theirs - both))))
    assert sum(module.differing for module in found) == len(both) + len(ours - both) + len(theirs - both)
    assert len({module.name for module in found}) == len(found)
