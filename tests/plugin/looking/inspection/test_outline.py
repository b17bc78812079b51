"""What a checkpoint holds beside its state_dict: all of it, once, in bounds."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from hatch_wheelweights.checkpoint import Account, LazyTensor, Opaque
from hatch_wheelweights.looking.inspection import outline as module
from hatch_wheelweights.looking.inspection.outline import outline


def leaf() -> LazyTensor:
    return LazyTensor("float32", (2,), lambda: iter([np.zeros(2, np.float32)]), object())


def of(tree: Any, without: tuple[str, ...] | None = None) -> tuple[list[str], dict[str, str]]:
    found = outline(tree, without, Account(1 << 20))
    assert not found.is_cut
    return list(found.tensors), found.values


def test_tensors_are_listed_and_other_values_are_described() -> None:
    tree = {"net": {"w": leaf()}, "opt": [{"m": leaf(), "step": 3}], "args": {"lr": 0.1, "deep": {"a": 1}}, "epoch": 2}
    assert of(tree) == (
        ["net.w", "opt.0.m"],
        {"opt.0.step": "int 3", "args": "dict of 2: lr 0.1, deep dict of 1", "epoch": "int 2"},
    )


@pytest.mark.parametrize(
    ("value", "said"),
    [
        ({"lr": 0.1, "name": "net", "nothing": None}, "dict of 3: lr 0.1, name 'net', nothing None"),
        ([1, 2, 3], "list of 3: 1, 2, 3"),
        ({str(i): i for i in range(9)}, "dict of 9: 0 0, 1 1, 2 2, 3 3, ..."),
        ([{"lr": 0.1}, [1]], "list of 2: dict of 1, list of 1"),
        ({(1, 2): 3}, "dict of 1: 3"),
        ({"x" * 100: "y" * 100}, f"dict of 1: {'x' * 57}..."),
        ({}, "dict of 0"),
        (Opaque("argparse", "Namespace", state={"lr": 0.1}), "object of class `argparse.Namespace`: lr 0.1"),
        (Opaque("pathlib", "PosixPath", ("/", "x")), "object of class `pathlib.PosixPath`: '/', 'x'"),
    ],
)  # fmt: skip
def test_of_what_holds_no_tensor_the_first_values_are_told(value: Any, said: str) -> None:
    assert of({"net": {"w": leaf()}, "args": value}) == (["net.w"], {"args": said})


def test_the_state_dict_is_left_out_and_nothing_else() -> None:
    tree = {"a": {"net": {"w": leaf()}, "ema": {"w": leaf()}}, "net": {"w": leaf()}}
    assert of(tree, ("a", "net")) == (["a.ema.w", "net.w"], {})
    assert of({"net": {"w": leaf()}, "epoch": 1}, ("net",)) == ([], {"epoch": "int 1"})


def test_what_several_keys_lead_to_is_entered_once() -> None:
    shared = {"w": leaf()}
    cyclic: dict[str, Any] = {"a": shared, "b": shared}
    cyclic["self"] = cyclic
    assert of(cyclic) == (["a.w"], {"b": "the same as `a`", "self": "the same as the root"})


def test_a_root_that_holds_nothing_is_a_value_itself() -> None:
    assert of(None) == ([], {"": "None"})
    assert of(3.5) == ([], {"": "float 3.5"})
    assert of(leaf()) == ([""], {})


def test_of_two_things_under_one_key_neither_vanishes() -> None:
    assert of({"1": leaf(), 1: leaf(), "n": 2, b"n": 3}) == (["1", "1 (2)"], {"n": "int 2", "n (2)": "int 3"})
    assert of({"1": leaf(), "1 (2)": leaf(), 1: leaf()}) == (["1", "1 (2)", "1 (3)"], {})
    assert of({"1": leaf(), 1: leaf(), "1 (2)": leaf()}) == (["1", "1 (2)", "1 (2) (2)"], {})


class Guarded(dict[str, int]):
    """A dict of which nobody may look at more than the first items."""

    def items(self) -> Any:
        yield from list(super().items())[:5]
        pytest.fail("looked at all of it")


def test_what_many_keys_can_lead_to_is_described_without_a_look_at_all_of_it() -> None:
    shared = Guarded({f"s{i}": i for i in range(100)})
    for state in (shared, ({"lr": 0.1}, shared)):
        (_, said) = of({"net": {"w": leaf()}, "a": Opaque("mine", "Slots", state=state)})
        assert said["a"].endswith("s0 0, s1 1, s2 2, s3 3, ..." if state is shared else "lr 0.1, s0 0, s1 1, s2 2, ...")


def test_what_is_gathered_is_bounded(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "MAX_ENTRIES", 5)
    found = outline({str(i): leaf() for i in range(20)}, None, Account(1 << 20))
    assert (len(found.tensors), found.is_cut) == (5, True)
    deep: Any = leaf()
    for _ in range(150):
        deep = {"a": deep}
    found = outline(deep, None, Account(1 << 20))
    assert list(found.values.values()) == ["dict of 1, 1 tensor"]
