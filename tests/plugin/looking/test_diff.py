"""What differs between two files: as values, and in lines."""

from __future__ import annotations

import zipfile
from pathlib import Path
from typing import TYPE_CHECKING, Any

import ml_dtypes
import numpy as np
import pytest

import wheelweights as ww
from hatch_wheelweights.looking import diff
from hatch_wheelweights.looking.diff import Outline, TensorDifference, ValueDifference, diff_files
from hatch_wheelweights.options.model import TensorOptions
from looking.commands import refusal, stdout
from making.checkpoints import zip_checkpoint
from making.pickles import state_dict, storage, tensor
from making.small_files import WHEEL, small_wheel, write

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from hatch_wheelweights.checkpoint import LazyTensor


def test_diff_tells_every_difference_and_exits_with_1() -> None:
    limits = np.iinfo(np.int64)
    ours: dict[str, NDArray[Any]] = {
        "equal": np.ones(3, np.float32),
        "ours": np.zeros(2),
        "shape": np.zeros((2, 3)),
        "dtype": np.ones(4, np.float32),
        "float": np.array([1, 2, np.nan, np.inf], np.float32),
        "bfloat16": np.array([1, 2], ml_dtypes.bfloat16),
        "int": np.array([limits.max, 5]),
        "bool": np.array([True, False]),
        "nan": np.array([np.nan, 1]),
    }
    theirs: dict[str, NDArray[Any]] = {
        "equal": np.ones(3, np.float32),
        "theirs": np.zeros(2),
        "shape": np.zeros((2, 4)),
        "dtype": np.ones(4, np.float16),
        "float": np.array([1, 2.5, np.nan, np.inf], np.float32),
        "bfloat16": np.array([1, 2.25], ml_dtypes.bfloat16),
        "int": np.array([limits.min, 5]),
        "bool": np.array([True, True]),
        "nan": np.array([0.0, 1.0]),
    }
    ww.write_record("a.mpk", ours)
    ww.write_record("b.mpk", theirs)
    assert (
        stdout("diff", "a.mpk", "b.mpk", status=1)
        == """\
only in a.mpk: `ours`: float64 (2,)
only in b.mpk: `theirs`: float64 (2,)
`shape`: shape (2, 3) / (2, 4)
`dtype`: dtype float32 / float16; equal values
`float`: 1 of 4 values differ, by at most 0.5
`bfloat16`: 1 of 2 values differ, by at most 0.25
`int`: 1 of 2 values differ, by at most 18,446,744,073,709,551,615
`bool`: 1 of 2 values differ, by at most 1
`nan`: 1 of 2 values differ, 1 NaN on one side only
equal: 1 tensor, 3 values; different: 7; only in a.mpk: 1; only in b.mpk: 1
"""
    )


def test_diff_of_equal_tensors_exits_with_0_and_counts_nan() -> None:
    ww.write_record("a.mpk", {"w": np.array([np.nan, 1, -0.0]), "none": np.zeros((0, 3))})
    ww.write_record("b.mpk", {"none": np.zeros((0, 3)), "w": np.array([np.nan, 1, 0.0])})
    assert stdout("diff", "a.mpk", "b.mpk") == "equal: 2 tensors, 3 values, 1 of them NaN in both\n"


def test_diff_finds_a_difference_in_the_last_element_whatever_blocks_the_tensors_come_in(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(diff, "PIECE_ELEMENTS", 7)
    values = np.arange(100, dtype=np.float32).reshape(10, 10)
    transposed = zip_checkpoint(
        state_dict(w=tensor(storage(numel=100), size=(10, 10), stride=(1, 10))), {"0": values.T.tobytes()}
    )
    write("a.pt", transposed)
    changed = values.copy()
    changed[-1, -1] += 0.5
    ww.write_record("b.mpk", {"w": values})
    ww.write_record("c.mpk", {"w": changed})
    assert stdout("diff", "a.pt", "b.mpk") == "equal: 1 tensor, 100 values\n"
    assert stdout("diff", "a.pt", "c.mpk", status=1).startswith("`w`: 1 of 100 values differ, by at most 0.5\n")


def test_diff_counts_a_tensor_that_cannot_be_read_as_different() -> None:
    write("a.pt", zip_checkpoint(state_dict(w=tensor(size=(9,)), v=tensor())))
    assert stdout("diff", "a.pt", "a.pt", status=1) == (
        "`w`: cannot be compared: reaches past its storage: expected at least 9 elements, found 4\n"
        "equal: 1 tensor, 4 values; different: 1\n"
    )


def test_diff_compares_wheels_record_by_record() -> None:
    small_wheel()
    Path(WHEEL).rename("a.whl")
    small_wheel(zipfile.ZIP_DEFLATED)
    assert stdout("diff", "a.whl", WHEEL) == "equal: 2 tensors, 8 values\n"
    assert stdout("diff", "a.whl/demo/1.mpk", f"{WHEEL}/demo/2.mpk", status=1) == (
        "`w`: 3 of 4 values differ, by at most 3\nequal: 0 tensors, 0 values; different: 1\n"
    )
    ww.write_record("one.mpk", {"w": np.zeros(4)})
    assert refusal("diff", "one.mpk", WHEEL, status=2) == (
        "Error: one.mpk: expected a wheel with several records, like the other one, found one file\n"
        "  Name the record in the wheel: package.whl/package/model.mpk\n"
    )


def test_a_difference_is_a_value() -> None:
    ww.write_record("a.mpk", {"same": np.ones(2), "ours": np.zeros((2, 1)), "v": np.array([1, np.nan, 3])})
    ww.write_record("b.mpk", {"same": np.ones(2), "theirs": np.zeros(0, np.int8), "v": np.array([1, 2, 3.5])})
    found = diff_files("a.mpk", "b.mpk", TensorOptions())
    assert found.paths == ("a.mpk", "b.mpk")
    assert found.only == ({"ours": Outline("float64", (2, 1))}, {"theirs": Outline("int8", (0,))})
    same, v = found.both
    assert same == TensorDifference(
        "same", (Outline("float64", (2,)), Outline("float64", (2,))), ValueDifference(elements=2)
    )
    assert v.values == ValueDifference(elements=3, differing=2, largest=0.5, nan_in_one=1)
    assert (found.equal, same.equal, v.equal) == (False, True, False)


@pytest.mark.parametrize("is_record", [False, True])
def test_the_values_of_tied_tensors_are_compared_once_and_told_under_every_key(
    is_record: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    compared: list[tuple[LazyTensor, LazyTensor]] = []
    compare = diff._value_difference

    def counted(left: LazyTensor, right: LazyTensor) -> ValueDifference:
        compared.append((left, right))
        return compare(left, right)

    monkeypatch.setattr(diff, "_value_difference", counted)
    shared, other, alone = np.ones(4, bool), np.array([True, True, True, False]), np.ones(4, bool)
    ties = {f"t{i}": shared for i in range(50)}
    if is_record:
        ww.write_record("a.mpk", ties | {"alone": alone, "split": alone})
        ww.write_record("b.mpk", dict.fromkeys(ties, other) | {"alone": alone, "split": other.copy()})
    else:
        tree = {key: tensor(storage(kind="BoolStorage")) for key in (*ties, "alone", "split")}
        write("a.pt", zip_checkpoint(state_dict(**tree), {"0": b"\1\1\1\1"}))
        write("b.pt", zip_checkpoint(state_dict(**tree), {"0": b"\1\1\1\0"}))
    found = diff_files(*(("a.mpk", "b.mpk") if is_record else ("a.pt", "b.pt")), TensorOptions())
    assert len(compared) == (3 if is_record else 1)
    one = ValueDifference(4, 1, 1)
    expected = dict.fromkeys([*ties, "split"], one) | {"alone": ValueDifference(4) if is_record else one}
    assert {each.key: each.values for each in found.both} == expected
