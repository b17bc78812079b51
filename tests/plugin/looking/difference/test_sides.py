"""Two files, each under options of its own, and the part of a checkpoint that is compared."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

import wheelweights as ww
from hatch_wheelweights import ConfigError, diff, open_checkpoint
from making.checkpoints import zip_checkpoint
from making.pickles import pickled, tensor
from making.small_files import WHEEL, small_wheel, write

FOUR = np.arange(4, dtype=np.float32)


def checkpoint(file: str, tree: object) -> None:
    """Write a checkpoint whose tensors all hold 0, 1, 2, 3."""
    write(file, zip_checkpoint(pickled(tree), {"0": FOUR.tobytes()}))


def lightning(file: str) -> None:
    state = {"model.w": tensor(), "model.b": tensor(offset=1, size=(2,), stride=(1,))}
    checkpoint(file, {"epoch": 3, "pytorch-lightning_version": "2.0", "state_dict": state, "hyper_parameters": {}})


def test_a_training_checkpoint_is_compared_with_one_of_lightning_without_an_option() -> None:
    checkpoint("train.pt", {"epoch": 1, "model": {"w": tensor(), "b": tensor(offset=1, size=(2,), stride=(1,))}})
    lightning("lightning.ckpt")
    found = diff("train.pt", "lightning.ckpt")
    assert repr(found) == (
        "equal but for the names: 2 tensors, 6 values; renamed: 2\n"
        'train.pt: taken as the state_dict: `model`; a conversion needs top_level_key="model"\n'
        'lightning.ckpt: taken as the state_dict: `state_dict`; a conversion needs top_level_key="state_dict"\n'
        "2 keys: `*` in train.pt is `model.*` in lightning.ckpt"
    )
    assert (found.equal, found.equal_but_for_names) == (False, True)


def test_an_option_holds_for_both_files_or_for_one() -> None:
    checkpoint("a.pt", {"one": {"w": tensor()}, "two": {"w": tensor(size=(2, 2))}})
    ww.write_record("b.mpk", {"w": FOUR})
    checkpoint("c.pt", {"w": tensor()})
    assert diff("a.pt", "b.mpk", top_level_key="one").equal
    assert not diff("a.pt", "a.pt", a_options={"top_level_key": "one"}, b_options={"top_level_key": "two"}).equal
    assert diff("a.pt", "c.pt", a_options={"top_level_key": "one"}).equal
    assert diff("c.pt", "a.pt", b_options={"top_level_key": ["one"]}).equal
    halves = diff("c.pt", "c.pt", precision="half", a_options={"precision": "keep"}, rtol=1e-3)
    assert halves.both[0].forms[0].dtype == "float32"
    assert halves.both[0].forms[1].dtype == "float16"
    assert diff("c.pt", "c.pt", a_options={"key_remap": [("w", "v")]}, b_options={"key_remap": [("w", "v")]}).equal


def test_options_of_one_file_are_checked_at_their_place_and_need_a_checkpoint_there() -> None:
    checkpoint("a.pt", {"w": tensor()})
    ww.write_record("b.mpk", {"w": FOUR})
    with pytest.raises(ConfigError) as caught:
        diff("a.pt", "b.mpk", b_options={"precision": "hlf", "include": 7})
    assert [str(fault.place) for fault in caught.value.faults] == ["b_options.precision", "b_options.include"]
    with pytest.raises(ConfigError) as caught:
        diff("a.pt", "b.mpk", b_options={"precision": "half"})
    assert str(caught.value) == (
        "b.mpk: precision: expected a checkpoint to convert, found a record\n"
        "  Leave it out: the tensors of a record are as the conversion made them."
    )
    with pytest.raises(ConfigError, match="unknown"):
        diff("a.pt", "b.mpk", a_options={"debug": True})


def test_what_is_odd_about_a_checkpoint_is_told_with_its_path() -> None:
    checkpoint("a.pt", {"w": tensor()})
    found = diff("a.pt", "a.pt", b_options={"key_remap": [("x", "y")]})
    ((path, warning),) = found.warnings
    assert path == "a.pt"
    assert str(warning).startswith("key_remap[0] matches nothing: ")


def test_layers_that_reindexing_moved_are_a_warning_where_the_files_differ() -> None:
    checkpoint("a.pt", {"l.3.w": tensor(), "l.5.w": tensor()})
    checkpoint("b.pt", {"l.0.w": tensor(), "l.1.w": tensor(), "l.2.w": tensor()})
    (warning,) = open_checkpoint("a.pt").state_dict().report.warnings
    assert diff("a.pt", "a.pt").warnings == ()
    assert [(path, str(told)) for path, told in diff("a.pt", "b.pt").warnings] == [("a.pt", str(warning))]


def test_layers_that_reindexing_moved_in_one_of_two_checkpoints_are_told_where_they_are_equal_too() -> None:
    checkpoint("a.pt", {"l.0.w": tensor(), "l.2.w": tensor()})
    checkpoint("b.pt", {"l.0.w": tensor(), "l.1.w": tensor()})
    found = diff("a.pt", "b.pt")
    assert found.equal
    assert repr(found) == "equal: 2 tensors, 8 values\na.pt: reindexed `l`: 0, 2 -> 0, 1"
    assert diff("b.pt", "a.pt").notes == found.notes
    ww.write_record("a.mpk", {"l.0.w": FOUR, "l.1.w": FOUR})
    assert diff("a.pt", "a.pt").notes == diff("a.pt", "a.mpk").notes == diff("b.pt", "b.pt").notes == ()


def test_the_records_of_wheels_are_told_apart_by_their_place() -> None:
    small_wheel()
    Path(WHEEL).rename("a.whl")
    small_wheel()
    assert [tensor.key for tensor in diff("a.whl", WHEEL).both] == ["demo/1.mpk: w", "demo/2.mpk: w"]
    with pytest.raises(ConfigError, match="expected a wheel with several records, like the other one, found one file"):
        diff("a.whl", "a.whl/demo/1.mpk")
