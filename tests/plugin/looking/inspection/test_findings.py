"""What statistics show that somebody should know."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

import wheelweights as ww
from hatch_wheelweights.looking.inspection.findings import findings
from hatch_wheelweights.looking.inspection.inspect import Wanted, inspect_file
from hatch_wheelweights.options.model import ConversionOptions
from looking.commands import run, stdout
from making.checkpoints import zip_checkpoint
from making.pickles import ordered_dict, pickled, storage, tensor
from making.small_files import write
from making.values import FLOATS

NAN, INF = float("nan"), float("inf")


def planted() -> None:
    """Write `planted.mpk`: one sound tensor, and one for each thing that can be wrong."""
    rng = np.random.default_rng(0)
    arrays = {name: rng.normal(size=(4, 8)).astype(np.float32) for name in ("sound", "nan", "both", "dead")}
    arrays["nan"][1, 2] = NAN
    arrays["both"][0, :3] = NAN, INF, -INF
    arrays["dead"][[0, 3]] = 0
    arrays |= {
        "zero.weight": np.zeros((4, 8), np.float32),
        "zero.bias": np.zeros(4, np.float32),
        "bn.running_mean": np.zeros(4, np.float32),
        "ids": np.zeros((4, 8), np.int64),
        "step": np.zeros((), np.float32),
    }
    ww.write_record("planted.mpk", arrays)


EXPECTED = [
    "`nan`: 1 NaN of 32 values",
    "`both`: 1 NaN and 2 infinite of 32 values",
    "`dead`: 2 of 4 rows hold zeros alone",
    "`zero.weight`: all 32 values are 0",
]


def test_exactly_what_was_planted_is_found() -> None:
    planted()
    looked = inspect_file("planted.mpk", ConversionOptions(), Wanted(statistics=True))
    found = findings(looked.tensors)
    assert list(map(str, found)) == EXPECTED
    assert [finding.is_fault for finding in found] == [True, True, False, False]


def test_check_exits_with_1_for_what_is_not_finite_and_shows_all() -> None:
    planted()
    result = run("inspect", "planted.mpk", "--check", status=1)
    assert result.stderr == "Error: planted.mpk: 2 tensors with values that are not finite\n"
    assert result.stdout.split("\n\n")[1].splitlines() == ["Look at", *(f"  {line}" for line in EXPECTED)]
    assert stdout("inspect", "planted.mpk", "--stats") == result.stdout


def test_check_of_what_is_only_odd_is_no_error() -> None:
    planted()
    assert "`dead`: 2 of 4 rows hold zeros alone" in stdout("inspect", "planted.mpk", "--check", "--find", "dead")


def test_tied_tensors_are_told_once() -> None:
    array = np.full(3, NAN, np.float32)
    ww.write_record("tied.mpk", {"a": array, "b": array})
    looked = inspect_file("tied.mpk", ConversionOptions(), Wanted(statistics=True))
    assert list(map(str, findings(looked.tensors))) == ["`a`: 3 NaN of 3 values"]


def test_where_several_parts_could_be_meant_all_are_checked() -> None:
    bad = np.array([1, NAN, 2, 3], "<f4").tobytes()
    parts = {"a": ordered_dict({"w": tensor()}), "b": ordered_dict({"x": tensor(storage("1", 4))}), "step": 4}
    write("two.pt", zip_checkpoint(pickled(parts), {"0": FLOATS, "1": bad}))
    result = run("inspect", "two.pt", "--check", status=1)
    assert result.stderr == "Error: two.pt: 1 tensor with values that are not finite\n"
    assert "Look at\n  `b.x`: 1 NaN of 4 values\n" in result.stdout


@pytest.mark.parametrize(("argument", "status"), [("--stats", 0), ("--check", 1)])
def test_a_tensor_that_cannot_be_read_is_no_end_of_it(argument: str, status: int) -> None:
    ww.write_record("cut.mpk", {"a": np.ones(100, np.float32), "b": np.ones(100, np.float32)})
    with Path("cut.mpk").open("r+b") as file:
        file.seek(-410, 2)
        file.write(b"\xff")
    result = run("inspect", "cut.mpk", argument, status=status)
    assert "cannot be read: damaged: expected CRC-32 " in result.stdout
    assert result.stderr == ("Error: cut.mpk: 1 tensor that cannot be read\n" if status else "")
