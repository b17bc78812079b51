"""`wheelweights inspect`: what is in a file, as a person and as a script see it."""

from __future__ import annotations

import json
import re
import zipfile
from pathlib import Path
from typing import Any

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

TABLE = """\
In pyproject.toml
  [[tool.hatch.build.hooks.wheelweights.records]]
  source = "{name}"
  output = "src/my_package/{stem}.mpk"
"""


def table(name: str, *lines: str) -> str:
    """Return the block with the lines for pyproject.toml of a file in a folder without a project."""
    return TABLE.format(name=name, stem=Path(name).stem) + "".join(f"  {line}\n" for line in lines)


def test_inspect_shows_modules_shapes_dtypes_sizes_ties_and_other_values() -> None:
    small_checkpoint()
    assert (
        stdout("inspect", "model.pt")
        == f"""\
model.pt: pytorch-zip, {human_size(Path("model.pt").stat().st_size)}
3 tensors, 4 parameters, 2 other values, 32 B
float32 4 values, 16 B; int64 2 values, 16 B

Note: reindexed `layers`: 0, 2 -> 0, 1

Name    Holds           Values  Size  Note
layers                       6  32 B
  0                          4  16 B
    w   (2, 2) float32       4  16 B
  1                          2  16 B  from layers.2
    w   (2,) int64           2  16 B
tied    (2, 2) float32                tied to layers.0.w

Other values
  step  int 12

{table("model.pt")}"""
    )


def test_inspect_shows_what_the_options_of_a_conversion_would_do() -> None:
    small_checkpoint()
    options = ["--key-remap", r"layers\.(.*)", "blocks.$1", "--no-reindex", "--precision", "half", "--exclude", "tied"]
    assert (
        stdout("inspect", "model.pt", *options)
        == f"""\
model.pt: pytorch-zip, {human_size(Path("model.pt").stat().st_size)}
2 tensors, 4 parameters, 2 other values, 24 B; 1 tensor left out
int64 2 values, 16 B; float16 4 values, 8 B

Name    Holds                      Values  Size  Note
blocks                                  6  24 B  from layers
  0                                     4   8 B
    w   (2, 2) float32 -> float16       4   8 B
  2                                     2  16 B
    w   (2,) int64                      2  16 B
tied    (2, 2) float32                           left out

Other values
  step  int 12

In pyproject.toml
  [[tool.hatch.build.hooks.wheelweights.records]]
  source = "model.pt"
  output = "src/my_package/model.mpk"
  key-remap = [{{ pattern = 'layers\\.(.*)', replacement = "blocks.$1" }}]
  reindex = false
  precision = "half"
  exclude = ["tied"]
"""
    )


def test_inspect_shows_tensors_that_cannot_be_read_with_the_reason() -> None:
    rebuild = name("torch._utils", "_rebuild_qtensor")
    scheme = (name("torch", "per_tensor_affine"), 0.1, 0)
    tensors = {
        "far": tensor(size=(9,)),
        "quantized": call(rebuild, storage("1", 4, "QInt8Storage"), 0, (4,), (1,), scheme, False, ordered_dict()),
    }
    write("model.pt", zip_checkpoint(state_dict(**tensors), {"0": FLOATS, "1": bytes(4)}))
    lines = stdout("inspect", "model.pt").splitlines()
    assert lines[1] == "2 tensors, 0 parameters, 0 B"
    far = "cannot be read: reaches past its storage: expected at least 9 elements, found 4"
    quantized = "is quantised, which a record cannot hold"
    assert lines[2:4] == [
        "float32 1 tensor; qint8 1 tensor",
        f"2 tensors cannot be read: `far` {far.removeprefix('cannot be read: ')}; `quantized` {quantized}",
    ]
    assert lines[6] == f"far        (9,) float32                {far}"
    assert lines[7] == f"quantized  (4,) qint8                  cannot be read: {quantized}"
    assert "In pyproject.toml" not in lines  # the conversion would fail


def test_inspect_takes_the_only_part_that_can_be_meant_and_shows_the_whole_file() -> None:
    nested_checkpoint()
    assert (
        stdout("inspect", "nested.pt")
        == f"""\
nested.pt: pytorch-zip, {human_size(Path("nested.pt").stat().st_size)}
1 tensor, 4 parameters, 16 B

Note: taken as the state_dict: `model`; a conversion needs --top-level-key model

Name  Holds         Values  Size
w     (4,) float32       4  16 B

Beside the state_dict
  epoch   int 3
  config  dict of 2: net dict of 3, lr nan

{table("nested.pt", 'top-level-key = "model"')}"""
    )
    assert stdout("inspect", "nested.pt", "--top-level-key", "model") == stdout("inspect", "nested.pt").replace(
        "Note: taken as the state_dict: `model`; a conversion needs --top-level-key model\n\n", ""
    )


def test_inspect_shows_every_part_where_several_can_be_meant() -> None:
    parts = {"a": ordered_dict({"w": tensor()}), "b": ordered_dict({"x": tensor(size=(2,))}), "step": 4}
    write("two.pt", zip_checkpoint(pickled(parts)))
    assert (
        stdout("inspect", "two.pt")
        == f"""\
two.pt: pytorch-zip, {human_size(Path("two.pt").stat().st_size)}

expected a state_dict, found `a` (1 tensor), `b` (1 tensor), `step` (int)
  Set --top-level-key to one of `a`, `b`.

In the file
  Name  Holds         Values  Size  Note
  a                        4  16 B  <- a state_dict
    w   (4,) float32       4  16 B
  b                        2   8 B  <- a state_dict
    x   (2,) float32       2   8 B

Other values
  step  int 4

In pyproject.toml
  [[tool.hatch.build.hooks.wheelweights.records]]
  source = "two.pt"
  output = "src/my_package/two-a.mpk"
  top-level-key = "a"

  [[tool.hatch.build.hooks.wheelweights.records]]
  source = "two.pt"
  output = "src/my_package/two-b.mpk"
  top-level-key = "b"
"""
    )


@pytest.mark.parametrize(
    ("root", "line"),
    [
        pytest.param(tensor(), "  (the root)  (4,) float32       4  16 B", id="a tensor"),
        pytest.param(call(name("mynet", "Net"), 1), "  0  int 1", id="an object"),
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
    assert ["Configuration", "  {"] in [block.splitlines()[:2] for block in shown.split("\n\n")]


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
    assert "\n\nMetadata\n  format  pt\n\n" in shown


def test_inspect_shows_a_record_with_its_keys_in_the_checkpoint_and_its_metadata() -> None:
    arrays = {"a": np.zeros((3, 2), np.float32), "b": np.zeros(3, ml_dtypes.bfloat16)}
    ww.write_record("model.mpk", arrays, metadata={"user": {"by": "me"}, "x": "\x1b"}, source_keys={"b": "old.b"})
    assert (
        stdout("inspect", "model.mpk")
        == f"""\
model.mpk: record, {Path("model.mpk").stat().st_size} B
2 tensors, 9 parameters, 30 B
float32 6 values, 24 B; bfloat16 3 values, 6 B

Name  Holds           Values  Size  Note
a     (3, 2) float32       6  24 B
b     (3,) bfloat16        3   6 B  from old.b

Metadata
  user  {{"by": "me"}}
  x     \\x1b
"""
    )


def test_inspect_shows_a_record_that_burn_wrote(corpus: Path) -> None:
    lines = stdout("inspect", str(corpus / "burn" / "modern_lstm_burn_0.17_half.mpk")).splitlines()
    assert lines[0].endswith("modern_lstm_burn_0.17_half.mpk: burn-record, 58.0 kB")
    assert lines[1] == "42 tensors, 27.5k parameters, 54.9 kB"
    assert lines[4] == "stacked_lstm.layers                                  13.7k  27.4 kB"
    assert len(lines) <= 40


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
    assert shown.startswith(f"{WHEEL}/demo/2.mpk: record, {len(small_record())} B\n1 tensor, 4 parameters")


def outline(node: dict[str, Any]) -> tuple[object, ...]:
    """Return what a node of the tree says, with the number of its children."""
    totals = {name: node[name] for name in ("tensors", "values", "parameters", "nbytes")}
    children = node["children"]
    return node["name"], node["count"], node["class"], node["settings"], totals, children and len(children)


def test_inspect_prints_json_for_machines() -> None:
    small_checkpoint()
    found = json.loads(stdout("inspect", "model.pt", "--json"))
    first, _, tied = found.pop("tensors")
    tree, beside = found.pop("tree"), found.pop("beside_tree")
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
        "totals": {"tensors": 3, "values": 6, "parameters": 4, "nbytes": 32},
        "dtypes": {
            "float32": {"tensors": 2, "values": 4, "parameters": 4, "nbytes": 16},
            "int64": {"tensors": 1, "values": 2, "parameters": 0, "nbytes": 16},
        },
        "needs": {},
        "state_dicts": [],
        "beside": [],
        "rest": {},
        "is_cut": False,
        "table": [
            "[[tool.hatch.build.hooks.wheelweights.records]]",
            'source = "model.pt"',
            'output = "src/my_package/model.mpk"',
        ],
        "findings": [],
        "total": 3,
        "remedy": None,
    }
    assert outline(beside) == ("", 1, None, {}, {"tensors": 0, "values": 0, "parameters": 0, "nbytes": 0}, [])
    assert [outline(node) for node in (tree, *tree["children"])] == [
        ("", 1, None, {}, found["totals"], 2),
        ("layers", 1, None, {}, {"tensors": 2, "values": 6, "parameters": 4, "nbytes": 32}, 2),
        ("tied", 1, None, {}, {"tensors": 1, "values": 0, "parameters": 0, "nbytes": 0}, None),
    ]
    assert [(node["source"], node["renamed"]) for node in tree["children"][0]["children"]] == [
        (None, 0), ("layers.2", 1),
    ]  # fmt: skip
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
        "statistics": None,
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
    assert found["remedy"] == "Add: --top-level-key model"
    assert found["top_level"] == {
        "model": "dict of 1, 1 tensor", "epoch": "int 3", "config": "dict of 2: net dict of 3, lr nan",
    }  # fmt: skip
    assert found["needs"] == {"top_level_key": "model"}
    assert found["rest"] == {"epoch": "int 3", "config": "dict of 2: net dict of 3, lr nan"}
    assert [each["key"] for each in found["tensors"]] == ["w"]


def test_every_checkpoint_of_burn_can_be_inspected(corpus: Path) -> None:
    for path in sorted(corpus.rglob("*.pt")):
        result = CliRunner().invoke(cli, ["inspect", str(path)])
        assert result.exit_code == (1 if path.stem == "broken" else 0), (path, result.output)
        assert result.exception is None or isinstance(result.exception, SystemExit)


def test_find_lists_tensors_by_their_key_here_or_in_the_file() -> None:
    small_checkpoint()
    found = stdout("inspect", "model.pt", "--find", r"^layers\.[12]")
    assert found.split("\n\n")[0].splitlines()[1] == "1 of 3 tensors, 0 parameters, 2 other values, 16 B"
    assert found.split("\n\n")[2].splitlines() == [
        "Name        Holds       Values  Size  Note",
        "layers.1.w  (2,) int64       2  16 B  from layers.2.w",
    ]
    assert "no key matches nothing\n" in stdout("inspect", "model.pt", "--find", "nothing")
    assert [
        each["key"] for each in json.loads(stdout("inspect", "model.pt", "--find", "tied", "--json"))["tensors"]
    ] == ["tied"]
    assert refusal("inspect", "model.pt", "--find", "(", status=2).startswith(
        "Error: expected a regular expression, found '(': "
    )


def test_depth_shows_so_many_levels() -> None:
    small_checkpoint()
    rows = stdout("inspect", "model.pt", "--depth", "1").split("\n\n")[2].splitlines()[1:]
    assert [row.split("  ")[0] for row in rows] == ["layers", "tied"]
    rows = stdout("inspect", "model.pt", "--depth", "2").split("\n\n")[2].splitlines()[1:]
    assert [row.strip().split("  ")[0] for row in rows] == ["layers", "0", "1", "tied"]


def test_stats_shows_the_statistics_of_tensors_and_modules() -> None:
    arrays = {
        "a.w": np.array([[1.0, -1.0], [0.0, 0.0]], np.float32),
        "a.b": np.full(3, 2, np.float32),
        "a.n": np.array(9),  # integers are no part of what is said of their module
    }
    ww.write_record("a.mpk", arrays)
    assert stdout("inspect", "a.mpk", "--stats").split("\n\n")[1:] == [
        "Look at\n  `a.w`: 1 of 2 rows hold zeros alone",
        """\
Name  Min  Max   Mean    Std  Zeros  Histogram         Note
a      -1    2  0.857   1.21    29%                    1 dead of 2 rows
  w    -1    1      0  0.816    50%  ▄       █      ▄  1 dead of 2 rows
  b     2    2      2      0      0          █
  n     9    9      9      -      0          █
""",
    ]


def test_the_records_of_an_installed_package_are_shown(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    (tmp_path / "shipped").mkdir()
    (tmp_path / "shipped" / "__init__.py").write_text("raise AssertionError('nothing of a package is executed')\n")
    ww.write_record(tmp_path / "shipped" / "model.mpk", {"w": np.ones(3, np.float32)})
    monkeypatch.syspath_prepend(str(tmp_path))
    shown = stdout("inspect", "--package", "shipped")
    assert shown.splitlines()[:2] == [
        f"shipped: package, {human_size((tmp_path / 'shipped/model.mpk').stat().st_size)}",
        "1 record",
    ]
    assert "w     (3,) float32       3  12 B\n" in shown
    assert "Give FILE or --package, not both." in refusal("inspect", "a.mpk", "--package", "shipped", status=2)
    assert "Missing argument 'FILE' or option '--package'." in refusal("inspect", status=2)
    assert refusal("inspect", "--package", "shipped", "--precision", "half", status=2).startswith(
        "Error: --precision: expected a checkpoint to convert, found a record\n"
    )


def test_resnet_and_bert_fit_on_a_screen() -> None:
    """Their state_dicts by names and shapes: within 40 lines of 80 columns."""
    norm = {"weight": (64,), "bias": (64,), "running_mean": (64,), "running_var": (64,), "num_batches_tracked": ()}
    resnet: dict[str, tuple[int, ...]] = {"conv1.weight": (64, 3, 7, 7)} | {f"bn1.{k}": v for k, v in norm.items()}
    for layer, blocks in enumerate((3, 4, 6, 3), 1):
        for block in range(blocks):
            for part in (*"123", *(["downsample"] if block == 0 else [])):
                place = f"layer{layer}.{block}."
                conv, bn = (
                    (f"{place}{part}.{i}" for i in "01")
                    if part == "downsample"
                    else (f"{place}conv{part}", f"{place}bn{part}")
                )
                resnet |= {f"{conv}.weight": (8, 8, 1, 1)} | {f"{bn}.{k}": v for k, v in norm.items()}
    linear = {"weight": (8, 8), "bias": (8,)}
    names = ("word", "position", "token_type")
    bert: dict[str, tuple[int, ...]] = {f"bert.embeddings.{name}_embeddings.weight": (30, 8) for name in names}
    for place in ("attention.self.query", "attention.self.key", "attention.self.value", "attention.output.dense"):
        bert |= {f"bert.encoder.layer.{i}.{place}.{k}": v for i in range(12) for k, v in linear.items()}
    for model, shapes in {"resnet": resnet, "bert": bert}.items():
        ww.write_record(f"{model}.mpk", {key: np.zeros(shape, np.float32) for key, shape in shapes.items()})
        lines = stdout("inspect", f"{model}.mpk").splitlines()
        assert len(lines) <= 40
        assert max(map(len, lines)) <= 80
    assert any("encoder.layer.0-11" in line and "(12 x)" in line for line in lines)
