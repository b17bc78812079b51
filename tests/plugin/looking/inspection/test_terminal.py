"""What is in a file, on a terminal and in a pipe: within a screen, however large the model is."""

from __future__ import annotations

import os
import subprocess
import sys
from dataclasses import replace

import pytest

import hatch_wheelweights
from hatch_wheelweights.checkpoint.module_classes import ModuleClass
from hatch_wheelweights.errors import PYTHON
from hatch_wheelweights.looking.inspection import outline
from hatch_wheelweights.looking.inspection.facts import FileFacts
from hatch_wheelweights.looking.inspection.tensors import TensorFacts
from hatch_wheelweights.looking.inspection.terminal import Screen, text_of
from hatch_wheelweights.looking.texts import width_of
from looking.commands import process, run, stdout
from making.checkpoints import zip_checkpoint
from making.looked import fact, looked, statistics
from making.pickles import ordered_dict, pickled, state_dict, tensor
from making.small_files import HOSTILE, HOSTILE_SHOWN, hostile_checkpoints, write


def model(*keys: str, shape: tuple[int, ...] = (2,)) -> FileFacts:
    """Return the facts of a file with float32 tensors of one shape."""
    tensors = tuple(TensorFacts(key, key, shape, "float32", "float32", 4 * shape[0]) for key in keys)
    return FileFacts(path="model.pt", kind="pytorch-zip", size=1_000, tensors=tensors, total=len(tensors))


def rows(facts: FileFacts, depth: int | None = None) -> list[str]:
    """Return the lines of the tree, without its headings."""
    return text_of(facts, PYTHON, Screen(depth=depth)).split("\n\n")[1].splitlines()[1:]


def test_all_of_a_small_model_is_shown() -> None:
    assert rows(model("fc.weight", "fc.bias")) == [
        "fc                           4  16 B",
        "  weight  (2,) float32       2   8 B",
        "  bias    (2,) float32       2   8 B",
    ]


def test_of_a_larger_model_the_levels_that_fit_are_shown_and_leaves_are_one_line() -> None:
    keys = [f"m{i}{'x' * i}.{part}.{name}" for i in range(12) for part in "ab" for name in ("weight", "bias")]
    shown = rows(model(*keys))
    assert len(shown) == 36
    assert [line.split(maxsplit=1) for line in shown[:3]] == [
        ["m0", "8  32 B"],
        ["a", "weight, bias (2,)       4  16 B"],
        ["b", "weight, bias (2,)       4  16 B"],
    ]


@pytest.mark.parametrize("count", [100, 5_000])
def test_a_list_that_never_ends_is_cut_and_counted(count: int) -> None:
    facts = model(*(f"m{i}{'xyz'[i % 3]}" for i in range(count)))
    lines = text_of(facts, PYTHON, Screen(hint=": ask")).splitlines()
    assert len(lines) <= 40
    assert lines[-1] == f"and {count - 35:,} more: ask"
    within = text_of(model(*(f"layers.{i}.{'xyz'[i % 3]}" for i in range(count))), PYTHON, Screen()).splitlines()
    assert len(within) <= 40
    assert within[-1] == f"and {count - 34:,} more"


def test_a_depth_is_shown_whatever_lines_it_takes() -> None:
    facts = model(*(f"m{i}{'xyz'[i % 3]}.w" for i in range(100)))
    assert len(rows(facts, 1)) == 100
    assert len(rows(facts, 2)) == 200


def test_lines_keep_to_the_width_but_names_are_never_cut() -> None:
    keys = [f"m{i}{'x' * i}.{'y' * 20}{j}" for i in range(40) for j in "abcdefg"]
    assert max(map(len, text_of(model(*keys), PYTHON, Screen(width=80)).splitlines())) == 80
    key = "x" * 300
    write("model.pt", zip_checkpoint(pickled(ordered_dict({key: tensor()}))))
    assert f"{key}  (4,) float32       4  16 B\n" in stdout("inspect", "model.pt")


@pytest.mark.parametrize(("width", "heading", "bars"), [(55, "Histogram", 16), (54, "Hist", 8), (46, "Hist", 4)])
def test_histograms_are_as_wide_as_there_is_room(width: int, heading: str, bars: int) -> None:
    facts = looked(fact("layer.weight", (64, 64), statistics=statistics(4096, 0.1, histogram=(64,) * 64)))
    lines = text_of(facts, PYTHON, Screen(width=width)).split("\n\n")[1].splitlines()
    assert lines[0].endswith(f"Zeros  {heading}")
    assert lines[2].endswith(f"  {'█' * bars}")
    assert max(map(len, lines)) <= width


def test_columns_are_straight_in_a_wide_terminal_too() -> None:
    settings = {f"setting_{i}": i for i in range(20)}
    facts = replace(model("a.w", "b.w"), modules={"a": ModuleClass("Net", settings), "b": ModuleClass("Net", {})})
    lines = text_of(facts, PYTHON, Screen(width=120, depth=1)).split("\n\n")[1].splitlines()
    assert [len(line) for line in lines] == [120] * 3


def test_columns_are_straight_whatever_the_names_are_written_in() -> None:
    keys = ["weight", "\u91cd\u307f", "e\u0301", "\U0001f600"]
    lines = rows(model(*keys))
    assert [width_of(line.partition("(2,)")[0]) for line in lines] == [8] * 4


def test_names_of_tensors_and_values_beside_a_state_dict_are_in_one_column() -> None:
    facts = model("w")
    beside = replace(facts.tensors[0], key="ema.w", source="ema.w")
    for rest in ({"epoch": "int 3", "hyper_parameters": "dict of 1"}, {"a": "int 1"}):
        lines = text_of(replace(facts, beside=(beside,), rest=rest), PYTHON, Screen()).splitlines()
        width = max(map(len, [*rest, "Name"]))
        assert lines[lines.index("Beside the state_dict") + 1 :] == [
            f"  {'Name':{width}}  Holds   Values  Size",
            f"  {'ema':{width}}  w (2,)       2   8 B",
            *(f"  {name:{width}}  {value}" for name, value in rest.items()),
        ]


def test_what_shares_memory_with_the_state_dict_is_tied_to_it_and_counts_nothing() -> None:
    model_, ema = ordered_dict({"net.w": tensor()}), [tensor(), tensor(size=(2,))]
    write("one.pt", zip_checkpoint(pickled({"state_dict": model_, "ema": ema, "epoch": 1})))
    facts = hatch_wheelweights.inspect("one.pt", top_level_key="state_dict")
    assert {each.key: each.tied_to for each in facts.beside} == {"ema.0": "net.w", "ema.1": None}
    assert (facts.totals.values, facts.beside_tree.totals.values) == (4, 2)
    assert "  ema    0 (4,), 1 (2,)       2   8 B  `0` tied to net.w" in repr(facts).splitlines()


def test_tensors_beside_a_state_dict_are_shown_in_ten_lines_and_the_others_counted() -> None:
    facts = model("w")
    beside = tuple(replace(facts.tensors[0], key=f"{key}.x", source=f"{key}.x") for key in "abcdefghijklm")
    lines = text_of(replace(facts, beside=beside), PYTHON, Screen()).splitlines()
    at = lines.index("Beside the state_dict")
    assert [line.split()[0] for line in lines[at + 2 :]] == [*"abcdefghij", "and"]
    assert lines[-1] == "  and 3 more"


def test_what_is_beside_a_state_dict_is_shown_in_ten_lines() -> None:
    facts = FileFacts(path="a", kind="b", size=1, rest={f"k{i}": "int 1" for i in range(30)})
    lines = text_of(facts, PYTHON, Screen()).splitlines()
    assert lines[-1] == "  and 20 more"
    assert len(lines) == 15


@pytest.mark.skipif(sys.platform == "win32", reason="needs a pseudo-terminal")
@pytest.mark.parametrize("no_color", [True, False])
def test_a_terminal_gets_colours_and_no_escapes_from_the_file(no_color: bool) -> None:
    import pty

    write("model.pt", zip_checkpoint(pickled(ordered_dict({HOSTILE: tensor(), "b[red]": tensor(size=(9,))}))))
    ours, theirs = pty.openpty()
    environment = {**os.environ, "COLUMNS": "140", "TERM": "xterm"} | ({"NO_COLOR": "1"} if no_color else {})
    if not no_color:
        environment.pop("NO_COLOR", None)
    command = [sys.executable, "-m", "hatch_wheelweights", "inspect", "model.pt"]
    done = subprocess.run(command, stdout=theirs, stderr=subprocess.PIPE, env=environment, check=False)
    os.close(theirs)
    shown = os.read(ours, 1 << 16).decode()
    os.close(ours)
    assert (done.returncode, done.stderr) == (0, b"")
    assert HOSTILE_SHOWN in shown
    assert "b[red]" in shown
    assert ("\x1b[" in shown) == (not no_color)
    assert "\x1b[31m" not in shown
    assert "\u202e" not in shown


def test_names_that_the_output_cannot_encode_are_escaped() -> None:
    write("model.pt", zip_checkpoint(pickled(ordered_dict({"größe": tensor()}))))
    done = process("inspect", "model.pt", env={**os.environ, "PYTHONIOENCODING": "ascii"})
    assert (done.returncode, done.stderr) == (0, "")
    assert "gr\\xf6\\xdfe" in done.stdout


def test_no_name_of_a_file_reaches_the_terminal_unescaped() -> None:
    hostile_checkpoints()
    write("other.pt", zip_checkpoint(state_dict(w=tensor())))
    for arguments in (["inspect", "flat.pt"], ["inspect", "deep.pt"], ["diff", "flat.pt", "other.pt"]):
        result = run(*arguments, status=int(arguments[0] == "diff"))
        assert HOSTILE_SHOWN in result.stdout
        assert all(line.isprintable() for line in result.output.splitlines())
    refused = run("inspect", "deep.pt", "--top-level-key", "x", status=1)
    assert all(line.isprintable() for line in refused.stderr.splitlines())


def test_the_mark_of_a_state_dict_is_shown_though_it_holds_one_module_alone() -> None:
    parts = {part: ordered_dict({"net.w": tensor(), "net.v": tensor()}) for part in ("model", "ema")}
    write("model.pt", zip_checkpoint(pickled({**parts, "epoch": 1})))
    lines = stdout("inspect", "model.pt").splitlines()
    marked = [line.split()[0] for line in lines if line.endswith("<- a state_dict")]
    assert marked == ["model", "ema"]


def test_a_pattern_finds_tensors_beside_the_state_dict_too() -> None:
    optimizer = {"state": {0: {"exp_avg": tensor()}}, "param_groups": []}
    write(
        "one.pt", zip_checkpoint(pickled({"model": ordered_dict({"w": tensor()}), "optimizer": optimizer, "epoch": 1}))
    )
    lines = stdout("inspect", "one.pt", "--find", "exp_avg").splitlines()
    assert "  optimizer.state.0.exp_avg  (4,) float32                tied to w" in lines
    assert "no key matches" not in "".join(lines)
    assert "exp_avg" not in stdout("inspect", "one.pt", "--find", "w")
    assert "no key matches nothing" in stdout("inspect", "one.pt", "--find", "nothing").splitlines()
    several = {part: ordered_dict({"w": tensor()}) for part in ("model", "ema")}
    write("two.pt", zip_checkpoint(pickled({**several, "epoch": 1})))
    lines = stdout("inspect", "two.pt", "--find", "ema").splitlines()
    assert [line for line in lines if "float32" in line] == ["  ema.w  (4,) float32                tied to model.w"]
    assert "no key matches" not in "".join(lines)


def test_what_cannot_be_read_is_told_first_though_its_line_is_not_shown() -> None:
    tensors = {f"a{i}x.b.c.w": tensor() for i in range(50)} | {"a3x.b.far": tensor(size=(9,))}
    write("model.pt", zip_checkpoint(pickled(ordered_dict(tensors))))
    lines = stdout("inspect", "model.pt").splitlines()
    fault = "reaches past its storage: expected at least 9 elements, found 4"
    assert lines[2] == f"1 tensor cannot be read: `a3x.b.far` {fault}"
    assert any("1 cannot be read; c.w tied to a0x.b.c.w" in line for line in lines)


def test_more_than_is_listed_is_said(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(outline, "MAX_ENTRIES", 1)
    several = {part: ordered_dict({"w": tensor()}) for part in ("model", "ema")}
    write("two.pt", zip_checkpoint(pickled({**several, "epoch": 1})))
    assert "Note: the file holds more than is listed here" in stdout("inspect", "two.pt").splitlines()
