"""The commands, as a person and as a script see them: whole outputs, exit statuses, words for every mistake."""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
import zipfile
from pathlib import Path

import ml_dtypes
import numpy as np
import pytest
from click.testing import CliRunner, Result

import wheelweights as ww
from hatch_wheelweights import cli
from hatch_wheelweights.steps.precision import PRECISIONS
from hatch_wheelweights.looking.terminal import as_flags, human_size
from making.checkpoints import (
    FLOATS,
    call,
    legacy_checkpoint,
    name,
    ordered_dict,
    pickled,
    safetensors,
    state_dict,
    storage,
    tensor,
    zip_checkpoint,
)

HOSTILE = "\x1b[31m</td><script>alert(1)</script>\u202e[bold]"
SHOWN = r"\x1b[31m</td><script>alert(1)</script>\u202e[bold]"
EXAMPLE = Path(__file__).parents[3] / "example_project" / "weights" / "digits.pt"

pytestmark = pytest.mark.usefixtures("in_tmp_path")


@pytest.fixture
def in_tmp_path(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)


def run(*arguments: str, status: int = 0) -> Result:
    result = CliRunner().invoke(cli.cli, arguments, prog_name="wheelweights")
    assert result.exit_code == status, result.output
    assert result.exception is None or isinstance(result.exception, SystemExit)
    return result


def stdout(*arguments: str, status: int = 0) -> str:
    result = run(*arguments, status=status)
    assert result.stderr == ""
    return result.stdout


def refusal(*arguments: str, status: int = 1) -> str:
    result = run(*arguments, status=status)
    assert result.stdout == ""
    return result.stderr


def write(file: str, content: bytes) -> None:
    Path(file).write_bytes(content)


def small_checkpoint() -> None:
    """Four keys: a gap in the layers, a tie, a value that is no tensor."""
    tensors = {
        "layers.0.w": tensor(size=(2, 2), stride=(2, 1)),
        "layers.2.w": tensor(storage("1", 2, "LongStorage"), size=(2,)),
        "tied": tensor(size=(2, 2), stride=(2, 1)),
        "step": 12,
    }
    write("model.pt", zip_checkpoint(state_dict(**tensors), {"0": FLOATS, "1": bytes(16)}))


def nested_checkpoint() -> None:
    config = {"width": 8, "name": "tiny", "shape": (1, None)}
    tree = {"model": ordered_dict({"w": tensor()}), "epoch": 3, "config": {"net": config, "lr": float("nan")}}
    write("nested.pt", zip_checkpoint(pickled(tree)))


def small_wheel(compression: int = zipfile.ZIP_STORED) -> None:
    with zipfile.ZipFile("demo-1.0-py3-none-any.whl", "w", compression) as wheel:
        for number in (1, 2):
            ww.write_record("member.mpk", {"w": np.arange(4.0, dtype=np.float32) * number})
            wheel.write("member.mpk", f"demo/{number}.mpk")
        wheel.writestr("demo-1.0.dist-info/RECORD", "")
    Path("member.mpk").unlink()


# inspect


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
"""
    )


def test_inspect_shows_what_the_options_of_a_conversion_would_do() -> None:
    small_checkpoint()
    options = ["--key-remap", r"layers\.(.*)", "blocks.$1", "--no-reindex", "--precision", "half", "--exclude", "tied"]
    assert stdout("inspect", "model.pt", *options).split("\n\n")[:2] == [
        f"""\
model.pt: pytorch-zip, {human_size(Path("model.pt").stat().st_size)}
2 tensors, 6 values, 12 B; 1 tensor left out""",
        """\
Original key  Key         Shape   Dtype               Size  Note
layers.0.w    blocks.0.w  (2, 2)  float32 -> float16   8 B
layers.2.w    blocks.2.w  (2,)    int64 -> int16       4 B
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


def test_inspect_of_a_root_that_is_no_state_dict_shows_it_and_says_which_key_to_give() -> None:
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
    assert line in stdout("inspect", "model.pt").splitlines()


def test_inspect_refuses_a_wrong_top_level_key() -> None:
    nested_checkpoint()
    assert refusal("inspect", "nested.pt", "--top-level-key", "modle") == (
        "Error: nested.pt: expected top-level key `modle`, found `config` (dict), `epoch` (int), `model` (1 tensor)\n"
        "  Did you mean `model`? Set --top-level-key.\n"
    )


def test_inspect_shows_a_configuration_that_would_be_baked_in() -> None:
    nested_checkpoint()
    shown = stdout("inspect", "nested.pt", "--top-level-key", "model", "--config-key", "config", "--config-key", "net")
    assert shown.split("\n\n")[2].splitlines()[:2] == ["Configuration", "  {"]


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
    wheel = "demo-1.0-py3-none-any.whl"
    blocks = stdout("inspect", wheel).split("\n\n")
    assert blocks[0].splitlines() == [f"{wheel}: wheel, {human_size(Path(wheel).stat().st_size)}", "2 records"]
    assert [block.splitlines()[0] for block in blocks[1::2]] == [
        f"{wheel}/demo/1.mpk: record, 251 B",
        f"{wheel}/demo/2.mpk: record, 251 B",
    ]
    assert stdout("inspect", f"{wheel}/demo/2.mpk").startswith(f"{wheel}/demo/2.mpk: record, 251 B\n1 tensor, 4 values")


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
        "config": None,
        "problem": None,
        "top_level": {},
        "records": [],
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


def test_inspect_writes_one_page_that_needs_nothing_else() -> None:
    small_checkpoint()
    assert stdout("inspect", "model.pt", "--html", "page.html") == "page.html: written\n"
    page = Path("page.html").read_text(encoding="utf-8")
    assert not re.findall(r"(?:src|href)=|url\(|@import|https?:", page)
    assert "default-src 'none'" in page
    assert '<th scope="row">layers.1.w</th><td class=source>layers.2.w</td>' in page
    assert "<td>tied to layers.0.w</td>" in page


def test_no_name_of_a_file_reaches_the_terminal_or_the_page_unescaped() -> None:
    state = ordered_dict({HOSTILE: tensor(), "tied": tensor(), f"{HOSTILE}s": HOSTILE})
    write("flat.pt", zip_checkpoint(pickled(state)))
    write("deep.pt", zip_checkpoint(pickled({HOSTILE: state, "n": 1})))
    write("other.pt", zip_checkpoint(state_dict(w=tensor())))
    for arguments in (["inspect", "flat.pt"], ["inspect", "deep.pt"], ["diff", "flat.pt", "other.pt"]):
        result = run(*arguments, status=int(arguments[0] == "diff"))
        assert SHOWN in result.stdout
        assert all(line.isprintable() for line in result.output.splitlines())
        assert all(
            line.isprintable()
            for line in run("inspect", "deep.pt", "--top-level-key", "x", status=1).stderr.splitlines()
        )
    for file in ("flat.pt", "deep.pt"):
        run("inspect", file, "--html", "page.html")
        page = Path("page.html").read_text(encoding="utf-8")
        assert "alert(1)&lt;/script&gt;" in page
        assert "<script>alert" not in page
        assert all(line.isprintable() for line in page.splitlines())


@pytest.mark.skipif(sys.platform == "win32", reason="needs a pseudo-terminal")
def test_a_terminal_gets_tables_and_no_escapes_from_the_file() -> None:
    import pty

    write("model.pt", zip_checkpoint(pickled(ordered_dict({HOSTILE: tensor(), "b[red]": tensor(size=(9,))}))))
    ours, theirs = pty.openpty()
    environment = {**os.environ, "COLUMNS": "140", "TERM": "xterm", "NO_COLOR": "1"}
    command = [sys.executable, "-m", "hatch_wheelweights", "inspect", "model.pt"]
    done = subprocess.run(command, stdout=theirs, stderr=subprocess.PIPE, env=environment, check=False)
    os.close(theirs)
    shown = os.read(ours, 1 << 16).decode()
    os.close(ours)
    assert (done.returncode, done.stderr) == (0, b"")
    assert "─" in shown
    assert SHOWN in shown
    assert "b[red]" in shown
    assert "\x1b[31m" not in shown
    assert "\u202e" not in shown


def test_plain_output_is_never_cut_to_a_width() -> None:
    key = "x" * 300
    write("model.pt", zip_checkpoint(pickled(ordered_dict({key: tensor()}))))
    assert f"{key}  (4,)   float32  16 B\n" in stdout("inspect", "model.pt")


# convert


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
    assert result.stderr.startswith("Warning: --key-remap")


def test_convert_says_which_flags_to_add() -> None:
    nested_checkpoint()
    assert refusal("convert", "nested.pt", "model.mpk") == (
        "Error: nested.pt: expected a state_dict, found `config` (dict), `epoch` (int), `model` (1 tensor)\n"
        "  Add: --top-level-key model\n"
    )
    assert not Path("model.mpk").exists()


def test_faults_of_flags_are_told_together_under_their_flags_before_any_file_is_opened() -> None:
    options = ["--key-remap", "(", "x", "--precision", "hlf", "--include", "["]
    assert (
        refusal("convert", "not there.pt", "model.mpk", *options, status=2)
        == r"""Error: configuration: 3 faults: --key-remap[0].pattern, --precision, --include[0]
  --key-remap[0].pattern: missing ), unterminated subpattern at position 0
      (
      ^
    Close the group, or write \( to match a literal parenthesis.
  --precision: expected `keep`, `full`, `half`, `double` or `bfloat16`, found `hlf`
    Did you mean `half`?
  --include[0]: unterminated character set at position 0
      [
      ^
    Close the class, or write \[ to match a literal bracket.
"""
    )


@pytest.mark.parametrize(
    ("metadata", "message"),
    [
        pytest.param(["license"], "--metadata: expected KEY=VALUE, found 'license'", id="no value"),
        pytest.param(["=MIT"], "--metadata: expected KEY=VALUE, found '=MIT'", id="no key"),
        pytest.param(["a=1", "a=2"], "--metadata: expected each key once, found 'a' twice", id="twice"),
    ],
)
def test_wrong_metadata_is_wrong_usage(metadata: list[str], message: str) -> None:
    small_checkpoint()
    flags = [part for pair in metadata for part in ("--metadata", pair)]
    assert refusal("convert", "model.pt", "model.mpk", *flags, status=2).splitlines()[-1] == f"Error: {message}"


def test_precisions_in_the_help_are_those_that_there_are() -> None:
    assert cli.PRECISIONS == PRECISIONS


# config


def test_config_prints_json() -> None:
    nested_checkpoint()
    expected = '{\n  "width": 8,\n  "name": "tiny",\n  "shape": [\n    1,\n    null\n  ]\n}\n'
    assert stdout("config", "nested.pt", "--key", "config", "--key", "net") == expected
    assert stdout("config", "nested.pt", "--key", "config", "--key", "net", "-o", "config.json") == ""
    assert Path("config.json").read_text(encoding="utf-8") == expected


def test_config_refuses_what_json_has_not() -> None:
    nested_checkpoint()
    assert refusal("config", "nested.pt", "--key", "config") == (
        "Error: nested.pt: config.lr: expected a number that JSON has, found nan\n"
        "  Read it with load_config, or bake it into a record with --config-key: both keep it.\n"
    )


def test_config_lists_what_there_is_for_a_key_that_is_not() -> None:
    nested_checkpoint()
    assert refusal("config", "nested.pt", "--key", "confg") == (
        "Error: nested.pt: expected configuration key `confg`, found `config` (dict), `epoch` (int), `model` (dict)\n"
        "  Did you mean `config`?\n"
    )


@pytest.mark.parametrize(
    "arguments", [["config", "--key", "epoch", "-o"], ["inspect", "--html"]], ids=["config", "html"]
)
def test_nothing_is_written_over_the_file_that_is_read(arguments: list[str]) -> None:
    nested_checkpoint()
    before = Path("nested.pt").read_bytes()
    command, *options = arguments
    assert refusal(command, "nested.pt", *options, "./nested.pt") == (
        "Error: ./nested.pt: expected another file to write to, found the one that is read\n"
    )
    assert Path("nested.pt").read_bytes() == before


def test_a_page_that_cannot_be_written_is_told_in_words() -> None:
    small_checkpoint()
    assert refusal("inspect", "model.pt", "--html", "no/folder.html") == (
        "Error: no/folder.html: cannot be written: No such file or directory\n"
    )


# verify


def test_verify_says_that_a_record_is_sound() -> None:
    ww.write_record("model.mpk", {"w": np.ones(4, np.float32)})
    assert stdout("verify", "model.mpk") == "model.mpk: sound, 1 tensor, 16 bytes\n"


def test_verify_says_that_a_record_of_burn_has_no_checksums(corpus: Path) -> None:
    path = corpus / "burn" / "modern_lstm_burn_0.17_half.mpk"
    line = f"{path}: well-formed (Burn's records have no checksums), 42 tensors, 54,914 bytes\n"
    assert stdout("verify", str(path)) == line


def test_verify_looks_at_every_record_in_a_wheel() -> None:
    small_wheel()
    wheel = Path("demo-1.0-py3-none-any.whl")
    sound = [f"{wheel}/demo/{number}.mpk: sound, 1 tensor, 16 bytes\n" for number in (1, 2)]
    assert stdout("verify", str(wheel)) == "".join(sound)
    content = bytearray(wheel.read_bytes())
    place = content.index(np.arange(4, dtype=np.float32).tobytes())
    content[place] ^= 1
    wheel.write_bytes(content)
    result = run("verify", str(wheel), status=1)
    assert result.stdout == sound[1]
    assert re.fullmatch(
        rf"Error: {wheel}/demo/1\.mpk: tensor `w`: damaged: expected CRC-32 \w{{8}}, found \w{{8}}\n"
        r"  Reinstall the package that ships it; if it is yours, rebuild the wheel\.\n",
        result.stderr,
    )


def test_verify_refuses_a_checkpoint() -> None:
    small_checkpoint()
    assert refusal("verify", "model.pt") == (
        "Error: model.pt: expected a record or a wheel, found a checkpoint (pytorch-zip)\n"
        "  Convert it into a record: wheelweights convert SOURCE OUTPUT\n"
    )


# diff


def test_diff_tells_every_difference_and_exits_with_1() -> None:
    limits = np.iinfo(np.int64)
    ours = {
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
    theirs = {
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


def test_diff_compares_a_checkpoint_with_the_record_made_of_it() -> None:
    small_checkpoint()
    options = ["--key-remap", "layers", "blocks", "--exclude", "tied"]
    run("convert", "model.pt", "model.mpk", *options)
    assert stdout("diff", "model.pt", "model.mpk", *options) == "equal: 2 tensors, 6 values\n"


def test_diff_finds_a_difference_in_the_last_element_whatever_blocks_the_tensors_come_in(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    from hatch_wheelweights.looking import diff

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
    wheel = "demo-1.0-py3-none-any.whl"
    Path(wheel).rename("a.whl")
    small_wheel(zipfile.ZIP_DEFLATED)
    assert stdout("diff", "a.whl", wheel) == "equal: 2 tensors, 8 values\n"
    assert stdout("diff", "a.whl/demo/1.mpk", f"{wheel}/demo/2.mpk", status=1) == (
        "`w`: 3 of 4 values differ, by at most 3\nequal: 0 tensors, 0 values; different: 1\n"
    )
    ww.write_record("one.mpk", {"w": np.zeros(4)})
    assert refusal("diff", "one.mpk", wheel, status=2) == (
        "Error: one.mpk: expected a wheel with several records, like the other one, found one file\n"
        "  Name the record in the wheel: package.whl/package/model.mpk\n"
    )


# Files that are nothing of ours, and mistakes


@pytest.mark.parametrize("command", [["inspect"], ["verify"], ["convert"], ["config", "--key", "a"], ["diff"]])
def test_a_file_that_is_not_there_is_told_in_words(command: list[str]) -> None:
    ww.write_record("there.mpk", {})
    second = ["there.mpk"] if command[0] in ("convert", "diff") else []
    message = "Error: not there.pt: cannot be opened: No such file or directory\n  Check the path.\n"
    assert refusal(*command, "not there.pt", *second) == message


@pytest.mark.parametrize(
    ("file", "content", "message"),
    [
        pytest.param("a.pt", b"", "a.pt: expected a checkpoint, found an empty file", id="empty"),
        pytest.param("a.mpk", b"", "a.mpk: expected a record, found an empty file", id="empty record"),
        pytest.param(
            "a.whl", b"PK\3\4", "a.whl: cannot be read as a wheel: File is not a zip file", id="damaged wheel"
        ),
        pytest.param(
            "a.bin",
            b"version https://git-lfs.github.com/spec/v1\nsize 9000\n",
            "a.bin: expected a checkpoint of 9,000 bytes, found its Git LFS pointer (53 bytes)",
            id="Git LFS pointer",
        ),
    ],
)
def test_a_file_that_is_nothing_of_ours_is_told_in_words(file: str, content: bytes, message: str) -> None:
    write(file, content)
    assert refusal("inspect", file).splitlines()[0] == f"Error: {message}"


def test_a_folder_is_told_in_words() -> None:
    assert refusal("inspect", ".") == "Error: .: expected a checkpoint, a record or a wheel, found a folder\n"


def test_a_wheel_without_records_says_how_to_build_it() -> None:
    with zipfile.ZipFile("a.whl", "w") as wheel:
        wheel.writestr("a-1.dist-info/RECORD", "")
    assert refusal("verify", "a.whl") == (
        "Error: a.whl: no record in this wheel\n  Build it with hatch-wheelweights, and with its hooks enabled.\n"
    )


def test_a_wrong_place_in_a_wheel_lists_the_records() -> None:
    small_wheel()
    assert refusal("inspect", "demo-1.0-py3-none-any.whl/demo/3.mpk") == (
        "Error: demo-1.0-py3-none-any.whl/demo/3.mpk: no such record in the wheel\n"
        "  Name one of `demo/1.mpk`, `demo/2.mpk`.\n"
    )


def test_rejects_a_member_of_a_wheel_that_is_made_to_fill_the_memory(monkeypatch: pytest.MonkeyPatch) -> None:
    from hatch_wheelweights.looking import files

    monkeypatch.setattr(files, "MAX_INFLATED", 1000)
    with zipfile.ZipFile("a.whl", "w", zipfile.ZIP_DEFLATED) as wheel:
        wheel.writestr("a-1.dist-info/RECORD", "")
        wheel.writestr("a/a.mpk", bytes(1 << 20))
    assert refusal("verify", "a.whl").startswith("Error: a.whl/a/a.mpk: expected at most ")


def test_options_of_a_conversion_are_refused_where_there_is_no_checkpoint() -> None:
    ww.write_record("a.mpk", {"w": np.zeros(1)})
    message = (
        "Error: conversion options: expected a checkpoint to use them on, found a record\n"
        "  Leave them out: the tensors of a record are as the conversion made them.\n"
    )
    assert refusal("inspect", "a.mpk", "--precision", "half", status=2) == message
    assert refusal("diff", "a.mpk", "a.mpk", "--no-reindex", status=2) == message


def test_wrong_usage_is_status_2() -> None:
    assert refusal("inspekt", status=2).startswith("Usage: wheelweights [OPTIONS] COMMAND [ARGS]...\n")
    assert refusal("config", "a.pt", status=2).splitlines()[-1] == "Error: Missing option '--key'."


def test_remedies_for_a_table_become_flags() -> None:
    assert as_flags('Add the line: top-level-key = ["a b", "c"]') == "Add: --top-level-key 'a b' --top-level-key c"
    assert (
        as_flags('Add the lines: top-level-key = "m" and whole-model = true') == "Add: --top-level-key m --whole-model"
    )
    assert as_flags('Add the line: top-level-key = "\\u001b"') == 'Add: --top-level-key "\\u001b"'
    assert as_flags("Set top-level-key to one of `a`.") == "Set --top-level-key to one of `a`."
    assert as_flags("Did you mean `top-level-key = [x]`?") == "Did you mean `top-level-key = [x]`?"


@pytest.mark.parametrize(
    ("size", "shown"),
    [
        (0, "0 B"), (999, "999 B"), (1000, "1.00 kB"), (45_096, "45.1 kB"), (999_499, "999 kB"), (999_500, "1.00 MB"),
        (1_340_000_000, "1.34 GB"), (10**15, "1,000.00 TB"),
    ],
)  # fmt: skip
def test_sizes_have_three_digits(size: int, shown: str) -> None:
    assert human_size(size) == shown


# As a process


def process(*arguments: str, **options: object) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-m", "hatch_wheelweights", *arguments]
    return subprocess.run(command, capture_output=True, text=True, check=False, **options)  # type: ignore[call-overload, no-any-return]


def test_the_module_is_the_command() -> None:
    done = process("--version")
    assert (done.returncode, done.stderr) == (0, "")
    assert re.fullmatch(r"wheelweights \d+\.\d+\.\d+\n", done.stdout)


def test_help_needs_nothing_heavy() -> None:
    code = (
        "import sys\nfrom hatch_wheelweights.cli import main\nsys.argv[1:] = ['inspect', '--help']\n"
        "try: main()\nexcept SystemExit: print(*sys.modules)"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert not {"numpy", "msgpack", "rich", "hatchling", "wheelweights", "zipfile"} & set(done.stdout.split())


def test_a_reader_that_goes_away_is_no_error() -> None:
    tensors = {f"layer{number}.weight": tensor() for number in range(5000)}
    write("model.pt", zip_checkpoint(state_dict(**tensors)))
    command = [sys.executable, "-m", "hatch_wheelweights", "inspect", "model.pt"]
    with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE) as running:
        assert running.stdout is not None
        assert running.stderr is not None
        running.stdout.read(1)
        running.stdout.close()
        assert running.stderr.read() == b""


def test_names_that_the_output_cannot_encode_are_escaped() -> None:
    write("model.pt", zip_checkpoint(pickled(ordered_dict({"größe": tensor()}))))
    done = process("inspect", "model.pt", env={**os.environ, "PYTHONIOENCODING": "ascii"})
    assert (done.returncode, done.stderr) == (0, "")
    assert "gr\\xf6\\xdfe" in done.stdout


def test_the_example_converts_into_a_record_with_the_same_values() -> None:
    run("convert", str(EXAMPLE), "digits.mpk")
    assert stdout("diff", str(EXAMPLE), "digits.mpk") == "equal: 16 tensors, 36,204 values\n"
    assert stdout("verify", "digits.mpk").startswith("digits.mpk: sound, 16 tensors, ")


def test_every_checkpoint_of_burn_can_be_inspected(corpus: Path) -> None:
    for path in sorted(corpus.rglob("*.pt")):
        result = CliRunner().invoke(cli.cli, ["inspect", str(path)])
        assert result.exit_code == (1 if path.stem == "broken" else 0), (path, result.output)
        assert result.exception is None or isinstance(result.exception, SystemExit)
