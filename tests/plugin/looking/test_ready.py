"""Options that an error names as its remedy are taken where only one part of a file could be meant."""

from __future__ import annotations

import pytest

from hatch_wheelweights import CheckpointError, open_checkpoint
from hatch_wheelweights.errors import PYTHON, TOP_LEVEL_KEY, WHOLE_MODEL, spelt
from hatch_wheelweights.looking.ready import part_note, ready
from hatch_wheelweights.options.model import TensorOptions
from making.checkpoints import zip_checkpoint
from making.pickles import build, call, name, ordered_dict, pickled, tensor
from making.small_files import nested_checkpoint, small_checkpoint, write


def test_a_state_dict_needs_nothing() -> None:
    small_checkpoint()
    with open_checkpoint("model.pt") as checkpoint:
        found = ready(checkpoint, TensorOptions())
    assert (found.options, found.added, found.problem) == (TensorOptions(), {}, None)
    assert part_note(found.added) is None


def test_the_only_part_is_taken_and_told() -> None:
    nested_checkpoint()
    with open_checkpoint("nested.pt") as checkpoint:
        found = ready(checkpoint, TensorOptions(precision="half"))
    assert list(found.tensors) == ["w"]
    assert found.options == TensorOptions(top_level_key="model", precision="half")
    assert found.added == {TOP_LEVEL_KEY: "model"}
    assert found.problem is not None
    assert spelt(part_note(found.added), PYTHON) == (
        'taken as the state_dict: `model`; a conversion needs top_level_key="model"'
    )


def test_a_part_below_others_is_named_by_all_of_its_keys() -> None:
    write("deep.pt", zip_checkpoint(pickled({"a": {"b": ordered_dict({"w": tensor()}), "n": 1}, "m": 2})))
    with open_checkpoint("deep.pt") as checkpoint:
        found = ready(checkpoint, TensorOptions())
    assert found.added == {TOP_LEVEL_KEY: ["a", "b"]}
    assert spelt(part_note(found.added), PYTHON) == (
        'taken as the state_dict: `a.b`; a conversion needs top_level_key=["a", "b"]'
    )


def test_a_whole_model_is_taken_running_nothing() -> None:
    state = {"_parameters": {"w": tensor()}, "_buffers": {}, "_modules": {}}
    model = build(call(name("mynet", "Net")), state)
    write("model.pt", zip_checkpoint(pickled(model)))
    with open_checkpoint("model.pt") as checkpoint:
        found = ready(checkpoint, TensorOptions())
    assert (list(found.tensors), found.added) == (["w"], {WHOLE_MODEL: True})
    assert spelt(part_note(found.added), PYTHON) == (
        "taken as the state_dict: the model itself; a conversion needs whole_model=True"
    )


@pytest.mark.parametrize("key", ["w", "config", "absent"])
def test_a_key_that_somebody_gave_is_never_replaced(key: str) -> None:
    nested_checkpoint()
    with open_checkpoint("nested.pt") as checkpoint, pytest.raises(CheckpointError):
        ready(checkpoint, TensorOptions(top_level_key=key))


def test_of_several_parts_none_is_taken() -> None:
    write("two.pt", zip_checkpoint(pickled({"a": ordered_dict({"w": tensor()}), "b": ordered_dict({"w": tensor()})})))
    with open_checkpoint("two.pt") as checkpoint:
        found = ready(checkpoint, TensorOptions())  # two dicts of tensors are a state_dict of two modules
        assert list(found.tensors) == ["a.w", "b.w"]
    parts = {"a": ordered_dict({"w": tensor()}), "b": ordered_dict({"w": tensor()}), "step": 1}
    write("two.pt", zip_checkpoint(pickled(parts)))
    with open_checkpoint("two.pt") as checkpoint, pytest.raises(CheckpointError):
        ready(checkpoint, TensorOptions())
