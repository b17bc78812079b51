"""`wheelweights diff`: two files, compared under the options of a conversion."""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest

import wheelweights as ww
from looking.commands import refusal, run, stdout
from making.checkpoints import zip_checkpoint
from making.pickles import pickled, tensor
from making.small_files import small_checkpoint, write

if TYPE_CHECKING:
    from collections.abc import Iterable

FOUR = np.arange(4, dtype=np.float32)


def checkpoint(file: str, tree: object) -> None:
    write(file, zip_checkpoint(pickled(tree), {"0": FOUR.tobytes()}))


def layers(count: int, prefix: str = "", change: float = 0, changed: Iterable[int] = ()) -> dict[str, Any]:
    """Return the tensors of a model; of the changed layers, the first value is another."""
    found = {f"{prefix}layers.{i}.w": FOUR + i for i in range(count)}
    for i in changed:
        found[f"{prefix}layers.{i}.w"][0] += change
    return found


def test_diff_compares_a_checkpoint_with_the_record_made_of_it() -> None:
    small_checkpoint()
    options = ["--key-remap", "layers", "blocks", "--exclude", "tied"]
    run("convert", "model.pt", "model.mpk", *options)
    assert stdout("diff", "model.pt", "model.mpk", *options) == "equal: 2 tensors, 6 values\n"
    for_one = [option.replace("--", "--a-") for option in options]
    assert stdout("diff", "model.pt", "model.mpk", *for_one) == "equal: 2 tensors, 6 values\n"


def test_a_prefix_on_hundreds_of_keys_is_one_line() -> None:
    ww.write_record("ddp.mpk", layers(640, "module."))
    ww.write_record("plain.mpk", layers(640))
    assert stdout("diff", "ddp.mpk", "plain.mpk", status=1) == (
        "equal but for the names: 640 tensors, 2,560 values; renamed: 640\n"
        "640 keys: `module.*` in ddp.mpk is `*` in plain.mpk\n"
    )


def test_hundreds_of_differences_are_a_table_of_modules_and_the_worst_tensors() -> None:
    def model(change: float) -> dict[str, Any]:
        parts = ("encoder", "decoder")
        return {f"{part}.{key}": array for part in parts for key, array in layers(60, "", change, range(60)).items()}

    ww.write_record("a.mpk", model(0) | {"head.w": FOUR})
    ww.write_record("b.mpk", model(1) | {"head.w": FOUR})
    first, headings, *rows = stdout("diff", "a.mpk", "b.mpk", status=1).splitlines()
    assert first == "equal: 1 tensor, 4 values; different: 120"
    assert headings.split() == ["module", "tensors", "different", "largest", "relative", "cosine"]
    assert [row.split()[:5] for row in rows[:2]] == [
        ["encoder.layers", "60", "60", "1", "1"],
        ["decoder.layers", "60", "60", "1", "1"],
    ]
    assert rows[2] == "`encoder.layers.0.w`: 1 of 4 values differ, by at most 1 (relative 1), cosine 0.966092"
    assert rows[-1] == "and 100 more different"
    assert len(rows) == 2 + 20 + 1


def test_values_within_the_tolerances_are_equal_whatever_their_dtype() -> None:
    ww.write_record("a.mpk", {"v": FOUR / 3, "w": FOUR / 7, "n": np.array([7])})
    halves = {"v": (FOUR / 3).astype(np.float16), "w": (FOUR / 7).astype(np.float16)}
    ww.write_record("b.mpk", {**halves, "n": np.array([7])})
    assert stdout("diff", "a.mpk", "b.mpk", "--rtol", "1e-3") == (
        "equal: 1 tensor, 1 value; within the tolerances: 2 (by at most 0.000163, relative 0.000244)\n"
        "2 tensors: float32 in a.mpk is float16 in b.mpk\n"
    )
    assert "2 tensors: float32 in a.mpk is float16 in b.mpk\n" in stdout("diff", "a.mpk", "b.mpk", status=1)
    beyond = stdout("diff", "a.mpk", "b.mpk", "--atol", "1e-4", status=1)
    assert "`v`: dtype float32 / float16; 2 of 4 values differ, by at most 0.000163 (relative 0.000244)" in beyond
    assert beyond.endswith("; 1 beyond the tolerances\n")


@pytest.mark.parametrize("value", ["-1", "nan", "inf"])
def test_a_tolerance_that_is_none_is_wrong_usage(value: str) -> None:
    assert refusal("diff", "a.mpk", "b.mpk", "--rtol", value, status=2) == (
        f"Error: --rtol: expected a finite number of at least 0, found {float(value)}\n"
    )


def test_faults_of_the_options_for_one_file_are_told_at_their_flags() -> None:
    arguments = ["--a-precision", "hlf", "--a-key-remap", "(", "x"]
    assert refusal("diff", "a.pt", "b.pt", *arguments, status=2).splitlines()[0] == (
        "Error: configuration: 2 faults: --a-key-remap[0].pattern, --a-precision"
    )
    ww.write_record("b.mpk", {"w": FOUR})
    checkpoint("a.pt", {"w": tensor()})
    assert refusal("diff", "a.pt", "b.mpk", "--b-no-reindex", "--b-precision", "half", status=2) == (
        "Error: b.mpk: --b-no-reindex, --b-precision: expected a checkpoint to convert, found a record\n"
        "  Leave them out: the tensors of a record are as the conversion made them.\n"
    )


def test_a_remedy_is_for_the_file_that_needs_it() -> None:
    checkpoint("a.pt", {"epoch": 1, "one": {"w": tensor()}, "two": {"w": tensor()}})
    checkpoint("b.pt", {"w": tensor()})
    assert "--b-top-level-key" in refusal("diff", "b.pt", "a.pt")
    assert "--a-top-level-key" in refusal("diff", "a.pt", "b.pt")
    assert "Set --top-level-key" in refusal("diff", "a.pt", "a.pt")
    assert stdout("diff", "a.pt", "b.pt", "--a-top-level-key", "two") == "equal: 1 tensor, 4 values\n"


@pytest.mark.parametrize("prefix", ["a", "b"])
def test_a_file_that_is_compared_with_itself_is_told_of_its_own_flags(prefix: str) -> None:
    checkpoint("a.pt", {"w": tensor()})
    assert refusal("diff", "a.pt", "a.pt", f"--{prefix}-top-level-key", "x") == (
        "Error: a.pt: expected top-level key `x`, found `w` (tensor)\n"
        f"  Set --{prefix}-top-level-key to the key, or the list of nested keys, that holds the tensors.\n"
    )
    told = run("diff", "a.pt", "a.pt", f"--{prefix}-key-remap", "x", "y").stderr
    assert told.startswith(f"Warning: a.pt: --{prefix}-key-remap[0] matches nothing: ")
    assert "Set --top-level-key to" in refusal("diff", "a.pt", "a.pt", "--top-level-key", "x")
    ww.write_record("b.mpk", {"w": FOUR})
    assert refusal("diff", "b.mpk", "b.mpk", f"--{prefix}-precision", "half", status=2) == (
        f"Error: b.mpk: --{prefix}-precision: expected a checkpoint to convert, found a record\n"
        "  Leave it out: the tensors of a record are as the conversion made them.\n"
    )


def test_files_that_differ_say_so_on_standard_output_and_a_problem_on_standard_error() -> None:
    ww.write_record("a.mpk", {"w": FOUR})
    ww.write_record("b.mpk", {"w": FOUR + 1})
    assert stdout("diff", "a.mpk", "b.mpk", status=1).startswith("equal: 0 tensors, 0 values; different: 1\n")
    assert refusal("diff", "a.mpk", "c.mpk", status=1).startswith("Error: c.mpk: ")


def test_a_warning_names_the_file_and_its_flag() -> None:
    checkpoint("a.pt", {"w": tensor()})
    checkpoint("b.pt", {"w": tensor()})
    told = run("diff", "a.pt", "b.pt", "--b-key-remap", "x", "y").stderr
    assert told.startswith("Warning: b.pt: --b-key-remap[0] matches nothing: ")
    assert run("diff", "a.pt", "b.pt", "--key-remap", "x", "y").stderr.startswith("Warning: a.pt: --key-remap[0] ")


def test_json_has_every_tensor_and_the_help_names_every_key() -> None:
    ww.write_record("a.mpk", layers(40, "module.", 1, range(30)) | {"mine": FOUR * 9})
    ww.write_record("b.mpk", layers(40) | {"yours": np.zeros(0)})
    found = json.loads(stdout("diff", "a.mpk", "b.mpk", "--json", status=1))
    assert found["paths"] == ["a.mpk", "b.mpk"]
    assert found["counts"] == {
        "equal": 10, "within": 0, "different": 30, "renamed": 40, "only_in_a": 1, "only_in_b": 1,
    }  # fmt: skip
    assert (found["equal"], found["equal_but_for_names"], found["rtol"], found["atol"]) == (False, False, 0, 0)
    assert found["renames"] == [{"pattern": "module.*", "new_pattern": "*", "keys": 40}]
    assert found["only_in_a"] == [{"key": "mine", "dtype": "float32", "shape": [4]}]
    assert found["only_in_b"] == [{"key": "yours", "dtype": "float64", "shape": [0]}]
    assert len(found["tensors"]) == 40
    assert found["tensors"][0] == {
        "key": "module.layers.0.w", "new_key": "layers.0.w", "state": "different",
        "dtypes": ["float32", "float32"], "shapes": [[4], [4]], "elements": 4, "unequal": 1, "differing": 1,
        "largest": 1.0, "largest_relative": "inf", "cosine": pytest.approx(14 / 15 ** 0.5 / 14 ** 0.5),
        "nan_in_both": 0, "nan_in_one": 0, "fault": None,
    }  # fmt: skip
    said = re.sub(r"\s+", " ", stdout("diff", "--help")).partition("keys of --json: ")[2].partition(".")[0]
    named = re.findall(r"\w+", said.replace(" and ", ", "))
    keys = [list(found), found["counts"], found["tensors"][0], found["only_in_a"][0], found["renames"][0]]
    assert set(named) == {key for each in [*keys, found["modules"][0]] for key in each}


def test_html_is_written_beside_the_files_and_over_none_of_them() -> None:
    ww.write_record("a.mpk", {"<b>w</b>": FOUR, "same": FOUR})
    ww.write_record("b.mpk", {"<b>w</b>": FOUR + 1, "same": FOUR})
    assert stdout("diff", "a.mpk", "b.mpk", "--html", "out.html", status=1) == "out.html: written\n"
    page = Path("out.html").read_text(encoding="utf-8")
    assert "&lt;b&gt;w&lt;/b&gt;" in page
    assert "<b>" not in page
    refused = "Error: a.mpk: expected another file to write to, found the one that is read\n"
    assert refusal("diff", "a.mpk", "b.mpk", "--html", "a.mpk", "--force") == refused
    assert refusal("diff", "a.mpk", "b.mpk", "--html", "b.mpk", "--force").startswith("Error: b.mpk: expected no file ")
