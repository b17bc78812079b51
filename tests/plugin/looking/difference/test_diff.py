"""What differs between two files: as values, and in lines."""

from __future__ import annotations

import json
import zipfile
from collections import Counter
from pathlib import Path
from typing import TYPE_CHECKING, Any

import ml_dtypes
import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

import wheelweights as ww
from hatch_wheelweights import diff as diff_of
from hatch_wheelweights.checkpoint import LazyTensor
from hatch_wheelweights.errors import PYTHON
from hatch_wheelweights.looking.difference import diff, values
from hatch_wheelweights.looking.difference.document import difference_document
from hatch_wheelweights.looking.difference.facts import Form, TensorDifference
from hatch_wheelweights.looking.difference.page import difference_page
from hatch_wheelweights.looking.difference.values import Tolerance, ValueDifference
from looking.commands import refusal, stdout
from making.checkpoints import zip_checkpoint
from making.pickles import state_dict, storage, tensor
from making.small_files import WHEEL, small_wheel, write

if TYPE_CHECKING:
    from collections.abc import Iterator

    from numpy.typing import NDArray


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
equal: 1 tensor, 3 values; different: 7; only in a.mpk: 1; only in b.mpk: 1
`shape`: shape (2, 3) / (2, 4)
`nan`: 1 of 2 values differ, 1 NaN on one side only
`float`: 1 of 4 values differ, by at most 0.5 (relative 0.2)
`int`: 1 of 2 values differ, by at most 18,446,744,073,709,551,615 (relative 2), cosine -1
`bool`: 1 of 2 values differ, by at most 1 (relative 1), cosine 0.707107
`bfloat16`: 1 of 2 values differ, by at most 0.25 (relative 0.111), cosine 0.998969
`dtype`: dtype float32 / float16; equal values
only in a.mpk: `ours`: float64 (2,)
only in b.mpk: `theirs`: float64 (2,)
"""
    )


def test_diff_of_equal_tensors_exits_with_0_and_counts_nan() -> None:
    ww.write_record("a.mpk", {"w": np.array([np.nan, 1, -0.0]), "none": np.zeros((0, 3))})
    ww.write_record("b.mpk", {"none": np.zeros((0, 3)), "w": np.array([np.nan, 1, 0.0])})
    assert stdout("diff", "a.mpk", "b.mpk") == "equal: 2 tensors, 3 values, 1 of them NaN in both\n"


def test_diff_finds_a_difference_in_the_last_element_whatever_blocks_the_tensors_come_in(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(values, "PIECE_ELEMENTS", 7)
    array = np.arange(100, dtype=np.float32).reshape(10, 10)
    transposed = zip_checkpoint(
        state_dict(w=tensor(storage(numel=100), size=(10, 10), stride=(1, 10))), {"0": array.T.tobytes()}
    )
    write("a.pt", transposed)
    changed = array.copy()
    changed[-1, -1] += 0.5
    ww.write_record("b.mpk", {"w": array})
    ww.write_record("c.mpk", {"w": changed})
    assert stdout("diff", "a.pt", "b.mpk") == "equal: 1 tensor, 100 values\n"
    assert stdout("diff", "a.pt", "c.mpk", status=1).splitlines()[1] == (
        "`w`: 1 of 100 values differ, by at most 0.5 (relative 0.00503), cosine 0.999999"
    )


def test_diff_counts_a_tensor_that_cannot_be_read_as_different() -> None:
    write("a.pt", zip_checkpoint(state_dict(w=tensor(size=(9,)), v=tensor())))
    assert stdout("diff", "a.pt", "a.pt", status=1) == (
        "equal: 1 tensor, 4 values; different: 1\n"
        "`w`: cannot be compared: reaches past its storage: expected at least 9 elements, found 4\n"
    )


def test_diff_compares_wheels_record_by_record() -> None:
    small_wheel()
    Path(WHEEL).rename("a.whl")
    small_wheel(zipfile.ZIP_DEFLATED)
    assert stdout("diff", "a.whl", WHEEL) == "equal: 2 tensors, 8 values\n"
    assert stdout("diff", "a.whl/demo/1.mpk", f"{WHEEL}/demo/2.mpk", status=1) == (
        "equal: 0 tensors, 0 values; different: 1\n"
        "`w`: 3 of 4 values differ, by at most 3 (relative 0.5), cosine 0.999999\n"
    )
    ww.write_record("one.mpk", {"w": np.zeros(4)})
    assert refusal("diff", "one.mpk", WHEEL, status=2) == (
        "Error: one.mpk: expected a wheel with several records, like the other one, found one file\n"
        "  Name the record in the wheel: package.whl/package/model.mpk\n"
    )


def test_a_difference_is_a_value() -> None:
    ww.write_record("a.mpk", {"same": np.ones(2), "ours": np.zeros((2, 1)), "v": np.array([1, np.nan, 3])})
    ww.write_record("b.mpk", {"same": np.ones(2), "theirs": np.zeros(0, np.int8), "v": np.array([1, 2, 3.5])})
    found = diff_of("a.mpk", "b.mpk")
    assert found.paths == ("a.mpk", "b.mpk")
    assert found.only == ({"ours": Form("float64", (2, 1))}, {"theirs": Form("int8", (0,))})
    same, v = found.both
    assert same == TensorDifference(
        "same", "same", (Form("float64", (2,)), Form("float64", (2,))), ValueDifference(elements=2)
    )
    assert v.values == ValueDifference(
        elements=3, unequal=2, differing=2, largest=0.5, largest_relative=0.5 / 3.5, nan_in_one=1
    )
    assert (found.equal, same.state, v.state) == (False, "equal", "different")
    assert repr(found) == (
        "equal: 1 tensor, 2 values; different: 1; only in a.mpk: 1; only in b.mpk: 1\n"
        "`v`: 2 of 3 values differ, by at most 0.5 (relative 0.143), 1 NaN on one side only\n"
        "only in a.mpk: `ours`: float64 (2, 1)\n"
        "only in b.mpk: `theirs`: int8 (0,)"
    )


@pytest.mark.parametrize("is_record", [False, True])
def test_the_values_of_tied_tensors_are_compared_once_and_told_under_every_key(
    is_record: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    compared: list[tuple[LazyTensor, LazyTensor]] = []
    compare = diff.compared

    def counted(left: LazyTensor, right: LazyTensor, tolerance: Tolerance) -> ValueDifference:
        compared.append((left, right))
        return compare(left, right, tolerance)

    monkeypatch.setattr(diff, "compared", counted)
    shared, other, alone = np.ones(4, bool), np.array([True, True, True, False]), np.ones(4, bool)
    ties = {f"t{i}": shared for i in range(50)}
    if is_record:
        ww.write_record("a.mpk", ties | {"alone": alone, "split": alone})
        ww.write_record("b.mpk", dict.fromkeys(ties, other) | {"alone": alone, "split": other.copy()})
    else:
        tree = {key: tensor(storage(kind="BoolStorage")) for key in (*ties, "alone", "split")}
        write("a.pt", zip_checkpoint(state_dict(**tree), {"0": b"\1\1\1\1"}))
        write("b.pt", zip_checkpoint(state_dict(**tree), {"0": b"\1\1\1\0"}))
    found = diff_of(*(("a.mpk", "b.mpk") if is_record else ("a.pt", "b.pt")))
    assert len(compared) == (3 if is_record else 1)
    one = ValueDifference(4, 1, 1, 1, np.inf)
    expected = dict.fromkeys([*ties, "split"], one) | {"alone": ValueDifference(4) if is_record else one}
    assert {each.key: each.values for each in found.both} == expected


# ------------------------------------------------------------------------------------- what is read, and how often


@pytest.fixture
def read(monkeypatch: pytest.MonkeyPatch) -> Counter[str]:
    """Count how often each tensor is read."""
    counts = Counter[str]()
    blocks = LazyTensor.blocks

    def counted(tensor: LazyTensor) -> Iterator[NDArray[Any]]:
        counts[f"{tensor.path}: {tensor.key}"] += 1
        yield from blocks(tensor)

    monkeypatch.setattr(LazyTensor, "blocks", counted)
    return counts


def test_a_tensor_is_read_once_unless_it_has_a_partner_with_another_content(read: Counter[str]) -> None:
    kept = {"same": np.arange(3.0), "changed": np.arange(3.0)}
    ours = {f"module.l{i}.w": np.arange(4.0) + i for i in range(3)} | {"module.head": np.ones(5), "mine": np.ones(7)}
    theirs = {f"l{i}.w": np.arange(4.0) + i for i in range(3)} | {"head": np.zeros(5), "yours": np.ones(8)}
    ww.write_record("a.mpk", kept | ours)
    ww.write_record("b.mpk", kept | {"changed": np.arange(3.0) + 1} | theirs)
    found = diff_of("a.mpk", "b.mpk")
    assert {tensor.new_key: tensor.state for tensor in found.both} == {
        "same": "equal", "changed": "different", "l0.w": "equal", "l1.w": "equal", "l2.w": "equal", "head": "different",
    }  # fmt: skip
    twice = {"a.mpk: module.head", "b.mpk: head"}
    never = {"a.mpk: mine", "b.mpk: yours"}
    assert read == {
        f"{path}: {key}": 2 if f"{path}: {key}" in twice else 1
        for path, keys in (("a.mpk", kept | ours), ("b.mpk", kept | theirs))
        for key in keys
        if f"{path}: {key}" not in never
    }


def test_nothing_is_read_for_names_where_no_form_is_that_of_another(read: Counter[str]) -> None:
    ww.write_record("a.mpk", {"a": np.ones(3)})
    ww.write_record("b.mpk", {"b": np.ones(3, np.float32), "c": np.ones((3, 1))})
    assert sum(map(len, diff_of("a.mpk", "b.mpk").only)) == 3
    assert read == {}


def test_a_renamed_tensor_is_compared_as_any_other() -> None:
    nans, full = np.array([np.nan, 1, 2]), np.arange(3.0)
    ww.write_record("a.mpk", {"m.w": nans, "m.v": full, "m.u": np.arange(4.0)})
    ww.write_record("b.mpk", {"w": nans, "v": full + 1, "u": np.arange(4.0)})
    found = diff_of("a.mpk", "b.mpk")
    assert repr(found).splitlines() == [
        "equal: 2 tensors, 7 values, 1 of them NaN in both; different: 1; renamed: 3",
        "3 keys: `m.*` in a.mpk is `*` in b.mpk",
        "`m.v` -> `v`: 3 of 3 values differ, by at most 1 (relative 1), cosine 0.956183",
    ]


def test_a_renamed_tensor_that_cannot_be_read_is_told_by_its_name() -> None:
    broken, whole = tensor(size=(9,)), tensor()
    write("a.pt", zip_checkpoint(state_dict(**{"m.w": broken, "m.v": whole, "m.u": tensor(offset=2, size=(2,))})))
    write("b.pt", zip_checkpoint(state_dict(w=broken, v=whole, u=tensor(offset=2, size=(2,)))))
    assert "`m.w` -> `w`: cannot be compared: reaches past its storage" in stdout("diff", "a.pt", "b.pt", status=1)


def test_what_is_damaged_in_a_record_is_told() -> None:
    ww.write_record("a.mpk", {"w": np.arange(4.0)})
    content = bytearray(Path("a.mpk").read_bytes())
    content[content.index(np.arange(4.0).tobytes()) + 9] ^= 1
    Path("b.mpk").write_bytes(content)
    for pair in (("a.mpk", "b.mpk"), ("b.mpk", "a.mpk")):
        assert "`w`: cannot be compared: damaged: expected CRC-32 " in stdout("diff", *pair, status=1)


# ------------------------------------------------------------------------------------- laws

KEYS = st.lists(st.sampled_from(["m", "a", "b", "0", "1", "w"]), min_size=1, max_size=3).map(".".join)
MODELS = st.dictionaries(KEYS, st.sampled_from([(0.0, 0.0), (1.0, 2.0), (1.0, 2.5), (3.0,), (4.0, np.nan)]), max_size=8)


def as_record(file: str, model: dict[str, tuple[float, ...]]) -> str:
    ww.write_record(file, {key: np.array(values) for key, values in model.items()})
    return file


@given(MODELS, MODELS)
@settings(suppress_health_check=[HealthCheck.function_scoped_fixture], deadline=None)
def test_every_tensor_is_in_one_place_and_both_directions_agree(
    ours: dict[str, tuple[float, ...]], theirs: dict[str, tuple[float, ...]]
) -> None:
    a, b = as_record("a.mpk", ours), as_record("b.mpk", theirs)
    found, back = diff_of(a, b), diff_of(b, a)
    assert sorted([*found.only[0], *(tensor.key for tensor in found.both)]) == sorted(ours)
    assert sorted([*found.only[1], *(tensor.new_key for tensor in found.both)]) == sorted(theirs)
    assert sum(found.counts.values()) == len(found.both)
    same = {tensor.key: tensor.state for tensor in found.both if not tensor.renamed}
    assert same == {tensor.key: tensor.state for tensor in back.both if not tensor.renamed}
    assert found.equal == back.equal == (repr(ours) == repr(theirs) or same_models(ours, theirs))


def same_models(ours: dict[str, tuple[float, ...]], theirs: dict[str, tuple[float, ...]]) -> bool:
    return repr(sorted(ours.items())) == repr(sorted(theirs.items()))


@given(MODELS)
@settings(suppress_health_check=[HealthCheck.function_scoped_fixture], deadline=None)
def test_a_file_equals_itself(model: dict[str, tuple[float, ...]]) -> None:
    file = as_record("a.mpk", model)
    assert diff_of(file, file).equal


# ------------------------------------------------------------------------------------- bounds


@pytest.mark.parametrize("forms", ["text", "json", "html"])
def test_what_is_told_is_in_proportion_to_the_file(forms: str) -> None:
    def written(count: int) -> int:
        long = "x" * 20_000
        ww.write_record("a.mpk", {long: np.ones(2)} | {f"m.t{i}": np.arange(3.0) for i in range(count)})
        ww.write_record("b.mpk", {long: np.zeros(2)} | {f"t{i}": np.arange(3.0) for i in range(count)})
        found = diff_of("a.mpk", "b.mpk")
        if forms == "text":
            return len(repr(found))
        if forms == "json":
            return len(json.dumps(difference_document(found, PYTHON)))
        return len(difference_page(found, PYTHON))

    assert written(400) - written(200) <= 200 * 400
    if forms == "text":
        assert written(400) < 3_000


@pytest.mark.parametrize("text", ["\x1b[31m\n\x9b\u202e", "a.\n.b", ".", "..", "a..b"])
def test_names_of_a_file_are_shown_on_lines_of_their_own(text: str) -> None:
    keys = [f"{i}{text}{i}" for i in range(8)]
    ww.write_record("a.mpk", {f"m{text}{key}": np.arange(3.0) + i for i, key in enumerate(keys)} | {text: np.ones(1)})
    ww.write_record("b.mpk", {key: np.arange(3.0) + i // 2 for i, key in enumerate(keys)} | {f"{text}2": np.ones(9)})
    found = diff_of("a.mpk", "b.mpk")
    assert all(line.isprintable() for line in repr(found).split("\n"))
    assert len(repr(found).split("\n")) < 60
