"""`wheelweights convert`: the hook's conversion, by hand."""

from __future__ import annotations

import html
import json
import re
from pathlib import Path

import numpy as np
import pytest

import wheelweights as ww
from looking.commands import refusal, run, stdout
from making.checkpoints import zip_checkpoint
from making.pickles import build, call, name, ordered_dict, pickled, tensor
from making.small_files import nested_checkpoint, small_checkpoint, write

EXAMPLE = Path(__file__).parents[3] / "example_project" / "weights" / "digits.pt"


def test_convert_writes_the_record_and_says_so_in_one_line() -> None:
    nested_checkpoint()
    options = ["--top-level-key", "model", "--key-remap", "^", "net.", "--precision", "half"]
    more = ["--config-key", "config", "--config-key", "net", "--metadata", "license=MIT", "--metadata", "by=a=b"]
    line = stdout("convert", "nested.pt", "model.mpk", *options, *more)
    size = Path("model.mpk").stat().st_size
    expected = rf"model\.mpk: {size} bytes, 1 tensor of 8 bytes, from nested\.pt \(pytorch-zip\) in \d+\.\d\d s\n"
    assert re.fullmatch(expected, line)
    record = ww.open_record("model.mpk")
    assert record["net.w"].tolist() == [1, 2, 3, 4]
    assert record["net.w"].dtype == np.float16
    assert record.metadata["user"] == {"license": "MIT", "by": "a=b"}
    assert record.config() == {"width": 8, "name": "tiny", "shape": [1, None]}


def test_convert_prints_the_table_of_keys_with_debug() -> None:
    small_checkpoint()
    assert stdout("convert", "model.pt", "model.mpk", "--debug").startswith(
        "Debug information of keys and tensor shapes:\n---\nKey: layers.0.w\nShape: [2, 2]\nDtype: F32\n---\n"
    )


def test_convert_warns_on_stderr_in_the_words_of_the_command_line() -> None:
    write("model.pt", zip_checkpoint(pickled({"net": ordered_dict({"w": tensor()})})))
    result = run("convert", "model.pt", "model.mpk", "--top-level-key", "net", "--key-remap", "x", "y")
    assert result.stderr == "Warning: --key-remap[0] matches nothing: `x` -> `y`; the nearest keys are `w`\n"


def test_convert_says_which_flags_to_add() -> None:
    nested_checkpoint()
    assert refusal("convert", "nested.pt", "model.mpk") == (
        "Error: nested.pt: expected a state_dict, found `config` (dict), `epoch` (int), `model` (1 tensor)\n"
        "  Add: --top-level-key model\n"
    )
    assert not Path("model.mpk").exists()


def test_convert_says_which_flags_to_add_for_a_whole_model() -> None:
    state = {"_parameters": {"w": tensor()}, "_buffers": {}, "_modules": {}}
    write("model.pt", zip_checkpoint(pickled({"net": build(call(name("mine", "Net")), state), "epoch": 3})))
    assert refusal("convert", "model.pt", "model.mpk").splitlines()[-1] == "  Add: --top-level-key net --whole-model"
    run("convert", "model.pt", "model.mpk", "--top-level-key", "net", "--whole-model")
    assert list(ww.open_record("model.mpk")) == ["w"]


def test_convert_says_which_precision_holds_the_values() -> None:
    write("model.pt", zip_checkpoint(storages={"0": np.full(4, 1e30, "<f4").tobytes()}))
    assert refusal("convert", "model.pt", "model.mpk", "--precision", "half") == (
        "Error: model.pt: tensor `w`: expected finite values that `float16` can hold, found the magnitude 1e+30\n"
        "  By --precision half\n"
        "  Keep it: --precision '^w$=keep' --precision '=half', or use `bfloat16`, which has the range of float32.\n"
    )
    assert not Path("model.mpk").exists()
    run("convert", "model.pt", "model.mpk", "--precision", "^w$=keep", "--precision", "=half")
    assert ww.open_record("model.mpk").info("w").dtype == "float32"


def test_convert_says_what_was_lost_on_the_way() -> None:
    write("model.pt", zip_checkpoint(storages={"0": np.array([1, 1e-9, 1e-9, 0], "<f4").tobytes()}))
    done = run("convert", "model.pt", "model.mpk", "--precision", "half")
    assert "Note: rounded to 0, being too small for their new dtype: 2 values of `w`\n" in done.stdout
    write("model.pt", zip_checkpoint(storages={"0": np.array([1.1e-5, 0, 0, 0], "<f4").tobytes()}))
    done = run("convert", "model.pt", "other.mpk", "--precision", "half")
    assert done.stderr == (
        "Warning: tensors too small for their new dtype lose more than rounding: `w` (0.244% of 1.1e-05 in `float16`); "
        "a rule of --precision can keep them\n"
    )


def test_convert_and_inspect_say_which_numbers_reindexing_changed() -> None:
    write("model.pt", zip_checkpoint(pickled({"l.16.w": tensor(), "l.17.w": tensor()})))
    note = "reindexed `l`: 16, 17 -> 0, 1"
    warning = (
        "Warning: `l` begins at 16, and at 0 after reindexing: if it is part of a model (a lone shard, an adapter), "
        "--no-reindex keeps the numbers\n"
    )
    done = run("convert", "model.pt", "model.mpk")
    assert (done.stderr, f"Note: {note}\n" in done.stdout) == (warning, True)
    shown = run("inspect", "model.pt")
    assert shown.stderr == warning
    assert note in shown.stdout
    assert all(
        re.search(rf"^  {new} .*  from l\.{old}$", shown.stdout, re.MULTILINE) for old, new in ((16, 0), (17, 1))
    )
    document = json.loads(run("inspect", "model.pt", "--json").stdout)
    assert [(one["source"], one["key"]) for one in document["tensors"]] == [("l.16.w", "l.0.w"), ("l.17.w", "l.1.w")]
    assert document["notes"] == [note]
    run("inspect", "model.pt", "--html", "model.html")
    page = Path("model.html").read_text()
    assert all(f"from l.{old}" in page for old in (16, 17))
    assert html.escape(note) in page
    run("convert", "model.pt", "other.mpk", "--no-reindex")
    assert list(ww.open_record("other.mpk")) == ["l.16.w", "l.17.w"]


@pytest.mark.parametrize("key", ["a b", "c'd", "--e"])
def test_the_flags_that_a_message_shows_can_be_pasted_into_a_shell(key: str) -> None:
    import shlex

    write("model.pt", zip_checkpoint(pickled({key: ordered_dict({"w": tensor()}), "epoch": 3})))
    remedy = refusal("convert", "model.pt", "model.mpk").splitlines()[-1].removeprefix("  Add: ")
    run("convert", "model.pt", "model.mpk", *shlex.split(remedy))
    assert list(ww.open_record("model.mpk")) == ["w"]


def test_the_example_converts_into_a_record_with_the_same_values() -> None:
    run("convert", str(EXAMPLE), "digits.mpk")
    assert stdout("diff", str(EXAMPLE), "digits.mpk") == "equal: 16 tensors, 36,204 values\n"
    assert stdout("verify", "digits.mpk").startswith("digits.mpk: sound, 16 tensors, ")
