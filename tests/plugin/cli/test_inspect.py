"""`wheelweights inspect`: what is in a file, as a person and as a script see it."""

from __future__ import annotations

import json
import re
import zipfile
from pathlib import Path

import ml_dtypes
import numpy as np
import pytest
from click.testing import CliRunner

import wheelweights as ww
from hatch_wheelweights.cli.commands import cli
from hatch_wheelweights.looking.words import human_size
from looking.commands import refusal, run, stdout
from making.checkpoints import legacy_checkpoint, safetensors, zip_checkpoint
from making.pickles import call, name, ordered_dict, pickled, state_dict, storage, tensor
from making.small_files import WHEEL, nested_checkpoint, small_checkpoint, small_record, small_wheel, write
from making.values import FLOATS


def test_inspect_shows_keys_shapes_dtypes_sizes_ties_and_other_values() -> None:
    small_checkpoint()
    assert (
        stdout("inspect", "model.pt")
        == f"""\
model.pt: pytorch-zip, {human_size(Path("model.pt").stat().st_size)}
3 tensors, 10 values, 48 B

Original key  Key         Shape   Dtype    Size  Note
layers.0.w    layers.0.w  (2, 2)  float32  16 B
layers.2.w    layers.1.w  (2,)    int64    16 B
tied          tied        (2, 2)  float32  16 B  tied to layers.0.w

Other values
  step  int 12

Notes
  reindexed `layers`: 0, 2 -> 0, 1
"""
    )


def test_inspect_shows_what_the_options_of_a_conversion_would_do() -> None:
    small_checkpoint()
    options = ["--key-remap", r"layers\.(.*)", "blocks.$1", "--no-reindex", "--precision", "half", "--exclude", "tied"]
    assert stdout("inspect", "model.pt", *options).split("\n\n")[:2] == [
        f"""\
model.pt: pytorch-zip, {human_size(Path("model.pt").stat().st_size)}
2 tensors, 6 values, 24 B; 1 tensor left out""",
        """\
Original key  Key         Shape   Dtype               Size  Note
layers.0.w    blocks.0.w  (2, 2)  float32 -> float16   8 B
layers.2.w    blocks.2.w  (2,)    int64               16 B
tied          tied        (2, 2)  float32             16 B  left out""",
    ]


def test_inspect_shows_tensors_that_cannot_be_read_with_the_reason() -> None:
    rebuild = name("torch._utils", "_rebuild_qtensor")
    scheme = (name("torch", "per_tensor_affine"), 0.1, 0)
    tensors = {
        "far": tensor(size=(9,)),
        "quantized": call(rebuild, storage("1", 4, "QInt8Storage"), 0, (4,), (1,), scheme, False, ordered_dict()),
    }
    write("model.pt", zip_checkpoint(state_dict(**tensors), {"0": FLOATS, "1": bytes(4)}))
    lines = stdout("inspect", "model.pt").splitlines()
    assert lines[1] == "2 tensors, 0 values, 0 B"
    assert lines[4] == (
        "far        (9,)   float32     ?  cannot be read: reaches past its storage: "
        "expected at least 9 elements, found 4"
    )
    assert lines[5].startswith("quantized  (4,)   qint8       ?  cannot be read: ")


def test_inspect_of_a_root_that_is_not_a_state_dict_shows_it_and_says_which_key_to_give() -> None:
    nested_checkpoint()
    assert (
        stdout("inspect", "nested.pt")
        == f"""\
nested.pt: pytorch-zip, {human_size(Path("nested.pt").stat().st_size)}

expected a state_dict, found `config` (dict), `epoch` (int), `model` (1 tensor)
  Add: --top-level-key model

At the root
  model   dict of 1, 1 tensor
  epoch   int 3
  config  dict of 2
"""
    )
    assert "w    (4,)   float32  16 B" in stdout("inspect", "nested.pt", "--top-level-key", "model")


@pytest.mark.parametrize(
    ("root", "line"),
    [
        pytest.param(tensor(), "  (the root)  tensor, float32, (4,)", id="a tensor"),
        pytest.param(call(name("mynet", "Net"), 1), "  (the root)  object of class `mynet.Net`", id="an object"),
        pytest.param({"lr": 0.1, b"a": [1, 2]}, "  lr  float 0.1", id="no tensor"),
    ],
)
def test_inspect_shows_any_root(root: object, line: str) -> None:
    write("model.pt", zip_checkpoint(pickled(root, 3)))
    assert line in run("inspect", "model.pt").stdout.splitlines()  # storages that nothing refers to are warned of


def test_inspect_refuses_a_wrong_top_level_key() -> None:
    nested_checkpoint()
    assert refusal("inspect", "nested.pt", "--top-level-key", "modle") == (
        "Error: nested.pt: expected top-level key `modle`, found `config` (dict), `epoch` (int), `model` (1 tensor)\n"
        "  Did you mean --top-level-key model?\n"
    )


def test_inspect_shows_a_configuration_that_would_be_baked_in() -> None:
    nested_checkpoint()
    shown = stdout("inspect", "nested.pt", "--top-level-key", "model", "--config-key", "config", "--config-key", "net")
    assert shown.split("\n\n")[2].splitlines()[:2] == ["Configuration", "  {"]


def test_inspect_names_what_a_record_would_lack_of_the_configuration() -> None:
    write("odd.pt", zip_checkpoint(pickled({"model": {"w": tensor()}, "config": {"a": 1, "b": b"x"}})))
    result = run("inspect", "odd.pt", "--top-level-key", "model", "--config-key", "config")
    assert result.stderr == (
        "Warning: config.b: left out of the configuration: expected a value that JSON has, found `bytes`\n"
    )


def test_inspect_reads_other_containers() -> None:
    write("old.pt", legacy_checkpoint())
    write("model.safetensors", safetensors(metadata={"format": "pt"}))
    assert stdout("inspect", "old.pt").startswith("old.pt: pytorch-legacy, ")
    shown = stdout("inspect", "model.safetensors")
    assert shown.startswith("model.safetensors: safetensors, ")
    assert shown.endswith("\n\nMetadata\n  format  pt\n")


def test_inspect_shows_a_record_with_its_keys_in_the_checkpoint_and_its_metadata() -> None:
    arrays = {"a": np.zeros((3, 2), np.float32), "b": np.zeros(3, ml_dtypes.bfloat16)}
    ww.write_record("model.mpk", arrays, metadata={"user": {"by": "me"}, "x": "\x1b"}, source_keys={"b": "old.b"})
    assert (
        stdout("inspect", "model.mpk")
        == f"""\
model.mpk: record, {Path("model.mpk").stat().st_size} B
2 tensors, 9 values, 30 B

Original key  Key  Shape   Dtype     Size
a             a    (3, 2)  float32   24 B
old.b         b    (3,)    bfloat16   6 B

Metadata
  user  {{"by": "me"}}
  x     \\x1b
"""
    )


def test_inspect_shows_a_record_that_burn_wrote(corpus: Path) -> None:
    lines = stdout("inspect", str(corpus / "burn" / "modern_lstm_burn_0.17_half.mpk")).splitlines()
    assert lines[0].endswith("modern_lstm_burn_0.17_half.mpk: burn-record, 58.0 kB")
    assert lines[1] == "42 tensors, 27,457 values, 54.9 kB"
    assert lines[4] == "stacked_lstm.layers.0.weight_ih.weight  (1, 128)   float16    256 B"


@pytest.mark.parametrize("compression", [zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED], ids=["stored", "deflated"])
def test_inspect_lists_the_records_in_a_wheel(compression: int) -> None:
    small_wheel(compression)
    blocks = stdout("inspect", WHEEL).split("\n\n")
    assert blocks[0].splitlines() == [f"{WHEEL}: wheel, {human_size(Path(WHEEL).stat().st_size)}", "2 records"]
    assert [block.splitlines()[0] for block in blocks[1::2]] == [
        f"{WHEEL}/demo/1.mpk: record, {len(small_record())} B",
        f"{WHEEL}/demo/2.mpk: record, {len(small_record())} B",
    ]
    shown = stdout("inspect", f"{WHEEL}/demo/2.mpk")
    assert shown.startswith(f"{WHEEL}/demo/2.mpk: record, {len(small_record())} B\n1 tensor, 4 values")


def test_inspect_prints_json_for_machines() -> None:
    small_checkpoint()
    found = json.loads(stdout("inspect", "model.pt", "--json"))
    first, _, tied = found.pop("tensors")
    assert found == {
        "path": "model.pt",
        "kind": "pytorch-zip",
        "size": Path("model.pt").stat().st_size,
        "others": {"step": "int 12"},
        "metadata": {},
        "warnings": [],
        "notes": ["reindexed `layers`: 0, 2 -> 0, 1"],
        "config": None,
        "problem": None,
        "top_level": {},
        "records": [],
        "parts": [],
        "part_of": None,
    }
    assert first == {
        "key": "layers.0.w",
        "source": "layers.0.w",
        "shape": [2, 2],
        "dtype": "float32",
        "new_dtype": "float32",
        "nbytes": 16,
        "kept": True,
        "tied_to": None,
        "fault": None,
        "notes": [],
    }
    assert tied["tied_to"] == "layers.0.w"


def test_inspect_prints_json_that_any_reader_takes() -> None:
    ww.write_record("model.mpk", {}, metadata={"nan": float("nan"), "deep": [{"inf": float("inf")}]})

    def refuse(constant: str) -> None:
        raise AssertionError(constant)

    found = json.loads(stdout("inspect", "model.mpk", "--json"), parse_constant=refuse)
    assert found["metadata"] == {"nan": "nan", "deep": [{"inf": "inf"}]}


def test_the_help_of_inspect_names_every_key_of_its_json() -> None:
    small_checkpoint()
    found = json.loads(stdout("inspect", "model.pt", "--json"))
    named = re.sub(r"\s+", " ", stdout("inspect", "--help")).partition("keys of --json: ")[2].partition(".")[0]
    assert re.findall(r"\w+", named) == [*list(found)[:4], *found["tensors"][0], *list(found)[4:]]


def test_options_of_a_conversion_are_refused_where_there_is_no_checkpoint() -> None:
    ww.write_record("a.mpk", {"w": np.zeros(1)})
    assert refusal("inspect", "a.mpk", "--precision", "half", status=2) == (
        "Error: --precision: expected a checkpoint to convert, found a record\n"
        "  Leave it out: the tensors of a record are as the conversion made them.\n"
    )
    assert refusal("diff", "a.mpk", "a.mpk", "--no-reindex", "--include", "w", status=2) == (
        "Error: --no-reindex, --include: expected a checkpoint to convert, found a record\n"
        "  Leave them out: the tensors of a record are as the conversion made them.\n"
    )


def test_options_that_change_nothing_of_what_is_shown_are_wrong_usage() -> None:
    small_checkpoint()
    for flag in (["--metadata", "license=MIT"], ["--debug"]):
        last = refusal("inspect", "model.pt", *flag, status=2).splitlines()[-1]
        assert "No such option" in last
        assert flag[0] in last


def test_inspect_warns_on_stderr_and_in_its_json_in_the_words_of_the_command_line() -> None:
    small_checkpoint()
    result = run("inspect", "model.pt", "--key-remap", "nothing", "x", "--json")
    warning = result.stderr.removeprefix("Warning: ").rstrip("\n")
    assert warning.startswith("--key-remap[0] matches nothing: `nothing` -> `x`; the nearest keys are ")
    assert json.loads(result.stdout)["warnings"] == [warning]


def test_inspect_says_in_json_what_is_wrong_with_a_root() -> None:
    nested_checkpoint()
    found = json.loads(stdout("inspect", "nested.pt", "--json"))
    assert found["problem"] == "expected a state_dict, found `config` (dict), `epoch` (int), `model` (1 tensor)"
    assert found["top_level"] == {"model": "dict of 1, 1 tensor", "epoch": "int 3", "config": "dict of 2"}


def test_every_checkpoint_of_burn_can_be_inspected(corpus: Path) -> None:
    for path in sorted(corpus.rglob("*.pt")):
        result = CliRunner().invoke(cli, ["inspect", str(path)])
        assert result.exit_code == (1 if path.stem == "broken" else 0), (path, result.output)
        assert result.exception is None or isinstance(result.exception, SystemExit)
