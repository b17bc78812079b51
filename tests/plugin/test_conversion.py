"""The assembly line: a checkpoint in, a record out, and what the record says of it."""

from __future__ import annotations

import hashlib
import json
import os
import pickle
import zipfile
from collections import OrderedDict
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest

from hatch_wheelweights import CheckpointError, ConfigError, Conversion, RemapError, __version__, convert
from hatch_wheelweights.checkpoint import naming
from hatch_wheelweights.conversion import convert_file, is_current, plan_record, stamped, write_plan
from hatch_wheelweights.opening import open_checkpoint
from hatch_wheelweights.options.model import ConversionOptions
from making.checkpoints import legacy_checkpoint, safetensors, tar_checkpoint, zip_checkpoint
from making.pickles import get, name, pickled, put, storage, tensor
from making.values import FLOATS, VALUES
from wheelweights import RecordError, open_record, write_record
from wheelweights.errors import human_size

if TYPE_CHECKING:
    from collections.abc import Callable

GENERATOR = f"hatch-wheelweights {__version__}"
CONV2D = Path(__file__).parents[1] / "checkpoints" / "conv2d"


@pytest.fixture(autouse=True)
def _here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)


@pytest.fixture
def model(tmp_path: Path) -> Path:
    """A checkpoint of a few tensors and a configuration, as `model.pt`."""
    state = {
        "enc.0.weight": put(tensor(size=(2, 2), stride=(2, 1)), 90), "enc.2.weight": tensor(size=(2, 2), stride=(1, 2)),
        "tied": get(90), "count": tensor(storage("1", 1, "LongStorage"), size=(), stride=()),
    }  # fmt: skip
    content = pickled({"state_dict": state, "config": {"sizes": [1, 2], "name": "net"}, "epoch": 3})
    (tmp_path / "model.pt").write_bytes(zip_checkpoint(content, {"0": FLOATS, "1": (7).to_bytes(8, "little")}))
    return Path("model.pt")


def sha256(path: str | Path) -> str:
    return hashlib.sha256(Path(path).read_bytes()).hexdigest()


def metadata(**options: Any) -> dict[str, Any]:
    convert("model.pt", "model.mpk", top_level_key="state_dict", **options)
    return open_record("model.mpk").metadata


# --------------------------------------------------------------------------------------------------------------- values


def test_converts_conv2d_to_the_values_that_torch_has() -> None:
    convert(CONV2D / "conv2d.pt", "conv2d.mpk")
    expected = json.loads((CONV2D / "expected.json").read_text())["state_dict"]
    record = open_record("conv2d.mpk")
    record.verify()
    assert list(record) == list(expected)
    for key, each in expected.items():
        array = np.array(each["values"], each["dtype"])
        assert (record[key].dtype, record[key].shape) == (array.dtype, array.shape)
        assert record[key].tobytes() == array.tobytes()


class Independent(pickle.Unpickler):
    """Python's own unpickler with torch's tensors as numpy's; for a file that is known to be harmless."""

    def __init__(self, archive: zipfile.ZipFile) -> None:
        self._archive = archive
        self._root = archive.namelist()[0].partition("/")[0]
        super().__init__(archive.open(f"{self._root}/data.pkl"))

    def find_class(self, module: str, name: str) -> Any:
        if (module, name) == ("torch._utils", "_rebuild_tensor_v2"):
            return self._tensor
        if (module, name) == ("collections", "OrderedDict"):
            return OrderedDict
        return {"FloatStorage": np.float32, "LongStorage": np.int64}[name]

    def persistent_load(self, pid: Any) -> Any:
        _, dtype, key, _, _ = pid
        return np.frombuffer(self._archive.read(f"{self._root}/data/{key}"), dtype)

    @staticmethod
    def _tensor(flat: Any, offset: int, shape: Any, stride: Any, *_: object) -> Any:
        steps = [step * flat.itemsize for step in stride]
        return np.lib.stride_tricks.as_strided(flat[offset:], shape, steps)


def test_converts_mnist_to_the_values_that_numpy_reads(corpus: Path) -> None:
    path = corpus / "burn" / "models" / "mnist.pt"
    done = convert(path, "mnist.mpk")
    with zipfile.ZipFile(path) as archive:
        expected = Independent(archive).load()
    record = open_record("mnist.mpk")
    record.verify()
    assert (len(record), done.tensors) == (20, 20)
    assert list(record) == list(expected)
    for key, array in expected.items():
        assert (record[key].dtype, record[key].shape) == (array.dtype, array.shape)
        assert record[key].tobytes() == np.ascontiguousarray(array).tobytes()


@pytest.mark.parametrize(
    ("kind", "data"),
    [
        ("pytorch-zip", zip_checkpoint()),
        ("pytorch-legacy", legacy_checkpoint()),
        ("pytorch-tar", tar_checkpoint()),
        ("safetensors", safetensors()),
    ],
)
def test_converts_every_container(tmp_path: Path, kind: str, data: bytes) -> None:
    (tmp_path / "m").write_bytes(data)
    assert convert("m", "m.mpk").format == kind
    record = open_record("m.mpk")
    assert record["w"].tolist() == list(VALUES)
    assert record.metadata == {
        "generator": GENERATOR, "source": {"name": "m", "sha256": hashlib.sha256(data).hexdigest(), "format": kind},
    }  # fmt: skip


def test_converts_strided_tensors_in_blocks_to_c_order(model: Path) -> None:
    convert(model, "model.mpk", top_level_key="state_dict")
    record = open_record("model.mpk")
    assert record["enc.0.weight"].tolist() == [[1.0, 2.0], [3.0, 4.0]]
    assert record["enc.1.weight"].tolist() == [[1.0, 3.0], [2.0, 4.0]]
    assert record["count"].dtype == np.int64
    assert (record["count"].shape, int(record["count"])) == ((), 7)


def test_keeps_ties(model: Path) -> None:
    done = convert(model, "model.mpk", top_level_key="state_dict")
    record = open_record("model.mpk")
    assert np.shares_memory(record["tied"], record["enc.0.weight"])
    assert not np.shares_memory(record["tied"], record["enc.1.weight"])
    assert record.info("tied").offset == record.info("enc.0.weight").offset
    assert done.nbytes == 3 * 16 + 8


# --------------------------------------------------------------------------------------------------------- what it says


def test_returns_what_was_done(model: Path) -> None:
    done = convert(model, "model.mpk", top_level_key="state_dict")
    assert isinstance(done, Conversion)
    assert (done.source, done.output, done.format) == (Path("model.pt"), Path("model.mpk"), "pytorch-zip")
    assert (done.tensors, done.nbytes, done.size) == (4, 56, Path("model.mpk").stat().st_size)
    assert done.warnings == ()
    assert "enc.2.weight" in done.table
    assert "enc.1.weight" in done.table


def test_says_on_one_line_what_was_done(model: Path) -> None:
    done = convert(model, "model.mpk", top_level_key="state_dict")
    size = human_size(Path("model.mpk").stat().st_size)
    assert repr(done) == f"<Conversion 'model.pt' (pytorch-zip) -> 'model.mpk': 4 tensors, {size}>"
    told = replace(done, told=("a", "b"))
    assert repr(told) == f"<Conversion 'model.pt' (pytorch-zip) -> 'model.mpk': 4 tensors, {size}, 2 warnings>"


def test_passes_the_warnings_of_the_checkpoint_on(tmp_path: Path) -> None:
    change = {path: {"crc": 0} for path in ("data.pkl", "data/0", "version", "byteorder", ".format_version")}
    change |= {".storage_alignment": {"crc": 0}, ".data/serialization_id": {"crc": 0}}
    (tmp_path / "m.pt").write_bytes(zip_checkpoint(change=change))
    assert convert("m.pt", "m.mpk").warnings == ("the file has no checksums, so damage to it would go unnoticed",)


def test_says_where_it_came_from(model: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "elsewhere").mkdir()
    monkeypatch.chdir(tmp_path / "elsewhere")
    convert(tmp_path / model, "model.mpk", top_level_key="state_dict")
    assert open_record("model.mpk").metadata["source"] == {
        "name": "model.pt", "sha256": sha256(tmp_path / model), "format": "pytorch-zip",
    }  # fmt: skip
    assert str(tmp_path).encode() not in Path("model.mpk").read_bytes()


def test_has_only_what_was_chosen(model: Path) -> None:
    assert list(metadata()) == ["generator", "source", "options"]
    assert metadata()["options"] == {"top-level-key": ["state_dict"]}


def test_records_the_options_that_are_not_at_their_defaults(model: Path) -> None:
    found = metadata(
        key_remap=[("^enc", "encoder")], reindex=False, precision="half", include=["weight"], exclude=["tied"],
        whole_model=False,
    )  # fmt: skip
    assert found["options"] == {
        "top-level-key": ["state_dict"],
        "key-remap": [{"pattern": "^enc", "replacement": "encoder"}],
        "reindex": False,
        "precision": "half",
        "include": ["weight"],
        "exclude": ["tied"],
    }


def test_records_rules_of_precision_as_the_table_has_them(model: Path) -> None:
    expected = [{"pattern": "weight", "dtype": "half"}, {"pattern": "count", "dtype": "int32"}]
    for rules in ([("weight", "half"), ("count", "int32")], expected):
        assert metadata(precision=rules)["options"]["precision"] == expected
    record = open_record("model.mpk")
    assert {key: record.info(key).dtype for key in record} == {
        "enc.0.weight": "float16", "enc.1.weight": "float16", "tied": "float32", "count": "int32",
    }  # fmt: skip
    read = ConversionOptions(top_level_key=("state_dict",), precision=(("weight", "half"), ("count", "int32")))
    assert outcome("model.mpk", model, read)


def test_bakes_in_the_configuration_and_the_users_metadata(model: Path) -> None:
    found = metadata(config_key="config", metadata={"license": "MIT"})
    assert found["config"] == {"sizes": [1, 2], "name": "net"}
    assert found["user"] == {"license": "MIT"}
    assert list(found) == ["generator", "source", "options", "config", "user"]
    assert open_record("model.mpk").config() == {"sizes": [1, 2], "name": "net"}


def test_leaves_out_of_the_configuration_what_has_no_plain_form_and_names_it(tmp_path: Path) -> None:
    config = {"dim": 8, "act": name("torch.nn.modules.activation", "ReLU"), "shift": tensor()}
    Path("model.pt").write_bytes(zip_checkpoint(pickled({"state_dict": {"w": tensor()}, "config": config})))
    done = convert("model.pt", "model.mpk", top_level_key="state_dict", config_key="config")
    assert done.warnings[-1] == (
        "config.act: left out of the configuration: expected a value that JSON has, found the class or function"
        " `torch.nn.modules.activation.ReLU`"
    )
    assert open_record("model.mpk").config() == {"dim": 8, "shift": list(VALUES)}


def test_notes_the_keys_of_the_checkpoint(model: Path) -> None:
    convert(model, "model.mpk", top_level_key="state_dict", key_remap=[("^tied$", "head.weight")])
    record = open_record("model.mpk")
    assert {key: record.info(key).source for key in record} == {
        "enc.0.weight": "enc.0.weight", "enc.1.weight": "enc.2.weight", "head.weight": "tied", "count": "count",
    }  # fmt: skip
    assert b"enc.2.weight" in Path("model.mpk").read_bytes()
    assert list(record.state_dict(source_keys=True)) == ["enc.0.weight", "enc.2.weight", "tied", "count"]


def test_the_same_input_gives_the_same_bytes_wherever_and_whenever(model: Path, tmp_path: Path) -> None:
    options: dict[str, Any] = {"top_level_key": "state_dict", "precision": "half", "metadata": {"b": "1", "a": "2"}}
    convert(model, "one.mpk", **options)
    (tmp_path / "deep" / "er").mkdir(parents=True)
    (tmp_path / "deep" / "model.pt").write_bytes(model.read_bytes())
    os.utime(tmp_path / "deep" / "model.pt", (1, 1))
    convert(tmp_path / "deep" / "model.pt", tmp_path / "deep" / "er" / "two.mpk", **options)
    assert sha256("one.mpk") == sha256("deep/er/two.mpk")


# ----------------------------------------------------------------------------------------------------------- what fails


def failure(kind: type[Exception], *arguments: Any, **options: Any) -> str:
    before = {path: path.read_bytes() for path in Path().rglob("*") if path.is_file()}
    with pytest.raises(kind) as caught:
        convert(*arguments, **options)
    after = {path: path.read_bytes() for path in Path().rglob("*") if path.is_file()}
    assert after == before, "something was changed or left behind"
    return str(caught.value)


def test_refuses_to_overwrite_the_checkpoint(model: Path) -> None:
    message = (
        "model.pt: expected another file as output, found the checkpoint itself\n  Give the record a name of its own."
    )
    assert failure(CheckpointError, model, "model.pt", top_level_key="state_dict") == message
    assert failure(CheckpointError, model, model.absolute(), top_level_key="state_dict") == message
    Path("link.mpk").hardlink_to(model)
    assert failure(CheckpointError, model, "link.mpk", top_level_key="state_dict") == message


def test_refuses_to_overwrite_a_shard(tmp_path: Path) -> None:
    Path("one.st").write_bytes(safetensors())
    Path("index.json").write_text('{"weight_map": {"w": "one.st"}}')
    assert failure(CheckpointError, "index.json", "one.st").splitlines()[0] == (
        "index.json: expected another file as output, found the checkpoint itself"
    )


def test_says_that_the_folder_of_the_output_is_missing(model: Path) -> None:
    assert failure(RecordError, model, "nowhere/model.mpk", top_level_key="state_dict") == (
        "nowhere/model.mpk: cannot be written: No such file or directory"
    )


def test_says_that_the_output_is_a_folder(model: Path, tmp_path: Path) -> None:
    (tmp_path / "folder").mkdir()
    message = failure(RecordError, model, "folder", top_level_key="state_dict")
    assert message.startswith("folder: cannot be written: ")


def test_a_damaged_tensor_leaves_the_record_that_was_there(tmp_path: Path) -> None:
    write_record("model.mpk", {})
    before = Path("model.mpk").read_bytes()
    Path("model.pt").write_bytes(zip_checkpoint(change={"data/0": {"crc": 1}}))
    message = failure(CheckpointError, "model.pt", "model.mpk")
    assert message.startswith("model.pt: tensor `w`: member `archive/data/0` is damaged: expected CRC-32 00000001")
    assert Path("model.mpk").read_bytes() == before


def test_says_that_a_tensor_cannot_be_read_and_leaves_it_out_when_it_is_excluded() -> None:
    Path("model.pt").write_bytes(zip_checkpoint(pickled({"w": tensor(), "lost": tensor(storage("7"))})))
    assert failure(CheckpointError, "model.pt", "model.mpk") == (
        "model.pt: tensor `lost`: its storage `data/7` is missing\n  Get the file again: it is damaged."
    )
    assert convert("model.pt", "model.mpk", exclude=["lost"]).tensors == 1


def test_refuses_keys_that_no_record_can_have() -> None:
    """Python's pickle can hold half a character; MessagePack cannot. As a new name and as an old one."""
    Path("model.pt").write_bytes(
        zip_checkpoint(pickled({"w": tensor()}).replace(b"\1\0\0\0w", b"\3\0\0\0\xed\xa0\x80"))
    )
    for options in ({}, {"key_remap": [("^.$", "w")]}):
        assert failure(RecordError, "model.pt", "model.mpk", **options) == (
            r"model.pt: expected valid Unicode as a key, found '\ud800'"
        )


@pytest.mark.parametrize(
    ("options", "kind"),
    [
        ({"precision": "quarter"}, ConfigError),
        ({"precison": "half"}, ConfigError),
        ({"key_remap": [("(", "")]}, ConfigError),
        ({"key_remap": [("enc.*", "x")], "top_level_key": "state_dict"}, RemapError),
        ({"top_level_key": "gone"}, CheckpointError),
        ({"top_level_key": "state_dict", "config_key": "gone"}, CheckpointError),
    ],
)
def test_options_that_do_not_go_leave_nothing_behind(
    model: Path, options: dict[str, Any], kind: type[Exception]
) -> None:
    failure(kind, model, "model.mpk", **options)


def test_says_what_the_source_is_instead() -> None:
    Path("model.pt").write_bytes(b"<html>")
    assert failure(CheckpointError, "model.pt", "model.mpk").splitlines()[0] == (
        "model.pt: expected a checkpoint, found an HTML page (a failed download)"
    )


def test_names_the_source_as_its_caller_does(model: Path, tmp_path: Path) -> None:
    with pytest.raises(CheckpointError) as caught, naming("weights/model.pt"):
        open_checkpoint(tmp_path / model).state_dict(top_level_key="gone")
    assert str(caught.value).startswith("weights/model.pt: ")


# ----------------------------------------------------------------------------------------------------------- is_current

OPTIONS = ConversionOptions(top_level_key=("state_dict",), precision="half", metadata={"a": "b"})


def outcome(output: str, source: str | Path, options: ConversionOptions) -> bool:
    with open_checkpoint(source) as checkpoint:
        return is_current(Path(output), plan_record(checkpoint, options), options.golden)


@pytest.fixture
def current(model: Path) -> Callable[..., bool]:
    convert_file(model, "model.mpk", OPTIONS)

    def ask(output: str = "model.mpk", options: ConversionOptions = OPTIONS) -> bool:
        return outcome(output, model, options)

    return ask


def test_a_record_is_current_while_nothing_changed(current: Callable[..., bool]) -> None:
    assert current()
    os.utime("model.pt", (1, 1))
    assert current(), "the content counts, not the time"
    shown = ConversionOptions(debug=True, top_level_key=("state_dict",), precision="half", metadata={"a": "b"})
    assert current(options=shown), "debug changes no byte"


@pytest.mark.parametrize(
    "options",
    [
        ConversionOptions(top_level_key=("state_dict",), metadata={"a": "b"}),
        ConversionOptions(top_level_key=("state_dict",), precision="half"),
        ConversionOptions(top_level_key=("state_dict",), precision="half", metadata={"a": "c"}),
        ConversionOptions(top_level_key=("state_dict",), precision="half", metadata={"a": "b"}, reindex=False),
        ConversionOptions(top_level_key=("state_dict",), precision="half", metadata={"a": "b"}, config_key=("config",)),
    ],
)
def test_other_options_make_it_outdated(current: Callable[..., bool], options: ConversionOptions) -> None:
    assert not current(options=options)


@pytest.mark.parametrize("there", [b"", b"text", b"\x80\x02}q\x00.", b"PK\x03\x04", b"\x82\xa8metadata"], ids=repr)
@pytest.mark.parametrize("output", ["model.mpk", "other.safetensors"])
def test_only_a_record_is_replaced(model: Path, output: str, there: bytes) -> None:
    Path(output).write_bytes(there)
    with pytest.raises(RecordError) as caught:
        convert_file(model, output, OPTIONS)
    assert str(caught.value).startswith(f"{output}: expected no file there but a record, which is replaced; found ")
    assert str(caught.value).endswith("\n  Give the record another name, or remove the file.")
    assert Path(output).read_bytes() == there


def test_a_record_in_the_tree_is_current_while_its_source_is_the_same_file(model: Path) -> None:
    def ask() -> bool:
        with open_checkpoint(model) as checkpoint:
            return is_current(Path("model.mpk"), stamped(plan_record(checkpoint, OPTIONS), Path()), None)

    convert_file(model, "model.mpk", OPTIONS)
    assert not ask()
    with open_checkpoint(model) as checkpoint:
        write_plan(stamped(plan_record(checkpoint, OPTIONS), Path()), "model.mpk")
    assert ask()
    os.utime(model, (1, 1))
    assert not ask()


def test_another_checkpoint_makes_it_outdated(current: Callable[..., bool], model: Path) -> None:
    content = pickled({"state_dict": {"w": tensor()}, "epoch": 4})
    model.write_bytes(zip_checkpoint(content))
    assert not current()


def test_another_name_makes_it_outdated(current: Callable[..., bool], model: Path) -> None:
    assert current()
    other = model.rename("other.pt")
    assert not outcome("model.mpk", other, OPTIONS)


@pytest.mark.parametrize(
    "found",
    [
        pytest.param({}, id="nothing"),
        pytest.param({"generator": "hatch-wheelweights 0.0.0"}, id="another version"),
        pytest.param({"source": "model.pt"}, id="source text"),
        pytest.param({"source": None, "options": 1, "user": []}, id="strange types"),
    ],
)
def test_a_record_that_says_something_else_is_outdated(current: Callable[..., bool], found: dict[str, Any]) -> None:
    before = open_record("model.mpk").metadata
    write_record("other.mpk", {}, metadata=(before | found) if found else {})
    assert not current("other.mpk")


def test_what_is_no_record_is_outdated(current: Callable[..., bool], tmp_path: Path) -> None:
    assert not current("gone.mpk")
    (tmp_path / "text.mpk").write_text("text")
    assert not current("text.mpk")
    (tmp_path / "folder.mpk").mkdir()
    assert not current("folder.mpk")


def test_several_files_are_current_together(tmp_path: Path) -> None:
    Path("one.st").write_bytes(safetensors())
    Path("index.json").write_text('{"weight_map": {"w": "one.st"}}')
    convert("index.json", "model.mpk")
    assert outcome("model.mpk", "index.json", ConversionOptions())
    assert not outcome("model.mpk", "one.st", ConversionOptions())
    Path("one.st").write_bytes(safetensors(data=FLOATS[::-1]))
    assert not outcome("model.mpk", "index.json", ConversionOptions())
