"""What is said of records in parts, of the parts, and of what an interrupted build left."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

import wheelweights as ww
from looking.commands import refusal, run, stdout
from making.installed import in_parts, record_bytes
from making.small_files import WHEEL, small_record, wheel, write
from wheelweights.formats import INTERRUPTED_BUILD

STUB = "expected a record, found what a build that was interrupted left in its place"
AGAIN = "  Build it again, and install that one.\n"
DISTRIBUTIONS = "its 6 tensors: in the distributions big-weights-1==3, big-weights-2==3"
PART = "a part of a record, in the distribution big-weights-2==3"


@pytest.fixture(autouse=True)
def files() -> None:
    """Write `model.mpk` (an index), `part.mpk` (its second part), and a wheel with the index."""
    index, parts = in_parts()
    write("model.mpk", index)
    write("part.mpk", parts["big-weights-2"])
    write(WHEEL, wheel({"demo/model.mpk": index, "demo/other.mpk": small_record()}))


def test_inspect_says_where_the_tensors_of_a_record_in_parts_are() -> None:
    size = len(Path("model.mpk").read_bytes())
    assert stdout("inspect", "model.mpk") == (
        f"model.mpk: record-index, {size} B\n{DISTRIBUTIONS}\n\nMetadata\n  generator  test\n"
    )
    assert f"{WHEEL}/demo/model.mpk: record-index, {size} B\n{DISTRIBUTIONS}\n" in stdout("inspect", WHEEL)
    assert stdout("inspect", f"{WHEEL}/demo/model.mpk").splitlines()[1] == DISTRIBUTIONS
    run("inspect", "model.mpk", "--html", "page.html")
    assert f"{size} B \u00b7 {DISTRIBUTIONS}</p>" in Path("page.html").read_text()


def test_inspect_says_which_distribution_a_part_belongs_to() -> None:
    first, second, *rest = stdout("inspect", "part.mpk").splitlines()
    assert first.startswith("part.mpk: record, ")
    assert second == f"3 tensors, 12 parameters, 48 B; {PART}"
    assert "Metadata" not in rest


def test_the_json_of_inspect_has_the_parts() -> None:
    found = json.loads(stdout("inspect", "model.mpk", "--json"))
    assert (found["kind"], found["tensors"], found["part_of"]) == ("record-index", [], None)
    assert found["parts"] == ww.open_record("model.mpk", index=True).metadata["parts"]
    assert found["parts"] == found["metadata"]["parts"]
    assert [part["count"] for part in found["parts"]] == [3, 3]
    part = json.loads(stdout("inspect", "part.mpk", "--json"))
    assert (part["kind"], part["parts"], part["part_of"]) == ("record", [], "big-weights-2==3")


def test_verify_of_an_index_says_that_its_tensors_are_elsewhere() -> None:
    assert stdout("verify", "model.mpk") == f"model.mpk: sound, {DISTRIBUTIONS}\n"
    assert stdout("verify", "part.mpk") == f"part.mpk: sound, 3 tensors, 48 bytes; {PART}\n"
    first, second, third = stdout("verify", WHEEL).splitlines()
    assert first == f"{WHEEL}/demo/model.mpk: sound, {DISTRIBUTIONS}"
    assert second == f"{WHEEL}/demo/other.mpk: sound, 1 tensor, 16 bytes"
    assert third.startswith(f"{WHEEL}: sound, 3 files, ")


def test_diff_has_nothing_to_compare_in_an_index() -> None:
    for a, b in (("model.mpk", "part.mpk"), ("part.mpk", "model.mpk"), (WHEEL, WHEEL)):
        path = f"{WHEEL}/demo/model.mpk" if a == WHEEL else "model.mpk"
        assert refusal("diff", a, b) == (
            f"Error: {path}: expected a record with tensors, found the index of one whose tensors are in distributions "
            "of their own\n  Load it by its package: wheelweights.load(package, name).\n"
        )


def test_diff_says_which_side_is_a_part() -> None:
    assert stdout("diff", "part.mpk", "part.mpk") == (f"equal: 3 tensors, 12 values\npart.mpk: {PART}\n")


def test_of_many_parts_the_first_are_named() -> None:
    names = [f"w-{number}" for number in range(12)]
    rest = {"version": "1", "name": "m.mpk", "tensors": "0" * 64, "count": 1}
    parts = [{"distribution": name, "package": name.replace("-", "_"), **rest} for name in names]
    write("many.mpk", record_bytes({}, {"parts": parts}))
    shown = ", ".join(f"w-{number}==1" for number in range(10))
    assert stdout("verify", "many.mpk") == f"many.mpk: sound, its 12 tensors: in the distributions {shown} and 2 more\n"
    write("one.mpk", record_bytes({}, {"parts": [{"distribution": "w", "package": "w", **rest}]}))
    assert stdout("verify", "one.mpk") == "one.mpk: sound, its 1 tensor: in the distribution w==1\n"


@pytest.mark.parametrize("parts", [7, [7], [{}], "abc"])
def test_parts_that_are_none_are_told_in_one_line(parts: object) -> None:
    write("odd.mpk", record_bytes({}, {"parts": parts}))
    for command in ("inspect", "verify"):
        first, *_ = refusal(command, "odd.mpk").splitlines()
        assert first.startswith("Error: odd.mpk: malformed index of parts: expected ")


@pytest.mark.parametrize(
    "part", [7, [], {"distribution": "x"}, {"distribution": "\x1b[31m" + "x" * 10_000, "version": []}]
)
def test_what_a_part_says_of_itself_may_be_anything(part: object) -> None:
    write("odd.mpk", record_bytes({}, {"part": part}))
    for command in (
        ["inspect", "odd.mpk"],
        ["inspect", "odd.mpk", "--json"],
        ["verify", "odd.mpk"],
        ["diff", *["odd.mpk"] * 2],
    ):
        assert "\x1b" not in stdout(*command)
    assert len(stdout("verify", "odd.mpk")) < 400


# ------------------------------------------------------------------------------------- what an interrupted build left


@pytest.mark.parametrize("name", ["stub.mpk", "stub.bin"])
def test_what_an_interrupted_build_left_is_refused_whatever_its_name(name: str) -> None:
    write(name, INTERRUPTED_BUILD)
    for command in (["inspect", name], ["verify", name], ["diff", name, name]):
        assert refusal(*command) == f"Error: {name}: {STUB}\n{AGAIN}"


def test_a_wheel_whose_build_was_interrupted_is_refused() -> None:
    write(WHEEL, wheel({"demo/model.mpk": INTERRUPTED_BUILD, "demo/other.mpk": small_record()}))
    refused = f"Error: {WHEEL}/demo/model.mpk: {STUB}\n{AGAIN}"
    assert refusal("inspect", WHEEL) == refusal("diff", WHEEL, WHEEL) == refused
    assert refusal("inspect", f"{WHEEL}/demo/model.mpk") == refused
    result = run("verify", WHEEL, status=1)
    assert result.stderr == refused
    assert result.stdout == f"{WHEEL}/demo/other.mpk: sound, 1 tensor, 16 bytes\n"
