"""Checkpoints of several files: the index, and the shards that it names."""

from __future__ import annotations

import hashlib
import json
import struct
from pathlib import Path
from typing import Any

import pytest

from hatch_wheelweights import CheckpointError, convert, open_checkpoint
from making.checkpoints import legacy_checkpoint, safetensors, zip_checkpoint
from making.pickles import build, ordered_dict, pickled, tensor
from making.values import FLOATS, VALUES
from wheelweights import open_record

INDEX = "model.safetensors.index.json"


@pytest.fixture(autouse=True)
def _here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)


def shard(*keys: str) -> bytes:
    """Write a safetensors file whose tensors hold their index, their index again, and so on."""
    tensors = {key: ("F32", [2], 8 * at, 8 * at + 8) for at, key in enumerate(keys)}
    return safetensors(tensors, b"".join(struct.pack("<2f", at, at) for at in range(len(keys))))


def lay(folder: Path, weight_map: dict[str, str], *, index: str = INDEX, **files: bytes) -> None:
    """Write an index and its files; `one_bin` is `one.bin`, `sub__one_bin` is in a folder."""
    for name, data in files.items():
        path = folder / name.replace("__", "/").replace("_", ".")
        path.parent.mkdir(exist_ok=True)
        path.write_bytes(data)
    (folder / index).write_text(json.dumps({"metadata": {"total_size": 1}, "weight_map": weight_map}, indent=2))


def failure(index: str = INDEX) -> str:
    with pytest.raises(CheckpointError) as caught:
        open_checkpoint(index).state_dict()
    return str(caught.value)


def test_reads_the_shards_in_the_order_of_the_index(tmp_path: Path) -> None:
    weights = {"b": "two.st", "a": "one.st", "d": "two.st", "c": "one.st"}
    lay(tmp_path, weights, one_st=shard("a", "c"), two_st=shard("d", "b"))
    with open_checkpoint(INDEX) as checkpoint:
        assert checkpoint.kind == "sharded-safetensors"
        assert [str(file) for file in checkpoint.files] == [INDEX, "two.st", "one.st"]
        assert checkpoint.warnings == ()
        found = checkpoint.state_dict()
    assert {key: each.numpy().tolist() for key, each in found.items()} == {
        "b": [1, 1], "a": [0, 0], "d": [0, 0], "c": [1, 1],
    }  # fmt: skip
    assert list(found) == ["b", "a", "d", "c"]
    assert [found[key].path for key in "ab"] == ["one.st", "two.st"]


def test_reads_shards_that_torch_wrote_of_every_container(tmp_path: Path) -> None:
    weights = {"w": "one.bin", "v": "two.bin"}
    lay(tmp_path, weights, one_bin=zip_checkpoint(), two_bin=legacy_checkpoint(pickled({"v": _legacy()})))
    checkpoint = open_checkpoint(INDEX)
    assert checkpoint.kind == "sharded-pytorch"
    assert [each.numpy().tolist() for each in checkpoint.state_dict().values()] == [list(VALUES)] * 2


def _legacy() -> Any:
    from making.pickles import legacy_storage

    return tensor(legacy_storage())


def test_a_mixture_of_shards_is_one_of_torch(tmp_path: Path) -> None:
    lay(tmp_path, {"w": "one.bin", "a": "two.st"}, one_bin=zip_checkpoint(), two_st=shard("a"))
    assert open_checkpoint(INDEX).kind == "sharded-pytorch"


def test_shards_may_lie_in_folders_below_the_index(tmp_path: Path) -> None:
    lay(tmp_path, {"a": "sub/one.st"}, sub__one_st=shard("a"))
    assert open_checkpoint(INDEX).state_dict()["a"].numpy().tolist() == [0, 0]


def test_is_told_by_its_content_and_not_by_its_name(tmp_path: Path) -> None:
    lay(tmp_path, {"a": "one.st"}, index="weights.pt", one_st=shard("a"))
    assert open_checkpoint("weights.pt").kind == "sharded-safetensors"


def test_finds_the_shards_beside_the_index_wherever_it_is_opened_from(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    lay(tmp_path, {"a": "one.st"}, one_st=shard("a"))
    (tmp_path / "elsewhere").mkdir()
    monkeypatch.chdir(tmp_path / "elsewhere")
    assert list(open_checkpoint(f"../{INDEX}").state_dict()) == ["a"]


def test_warns_of_tensors_that_the_index_does_not_name(tmp_path: Path) -> None:
    lay(tmp_path, {"a": "one.st"}, one_st=shard("a", "z", "y"))
    checkpoint = open_checkpoint(INDEX)
    assert checkpoint.warnings == ("the shards hold tensors that the index does not name: `y`, `z`",)
    assert list(checkpoint.state_dict()) == ["a"]


@pytest.mark.parametrize(
    ("name", "warned"),
    [
        ("model-00001-of-00002.safetensors", True),
        ("pytorch_model-00002-of-00033.bin", True),
        ("model.00001-of-00001.safetensors", False),
        ("one-of-us.pt", False),
        ("model.safetensors", False),
    ],
)
def test_warns_of_a_shard_that_is_given_alone(tmp_path: Path, name: str, warned: bool) -> None:
    Path(name).write_bytes(shard("a"))
    done = convert(name, "model.mpk")
    assert bool(done.warnings) == warned
    if name.startswith("model-"):
        assert done.warnings == (
            "by its name it is shard 1 of 2, which have the other tensors: give the index.json beside it",
        )


def test_does_not_warn_of_the_shards_of_an_index(tmp_path: Path) -> None:
    names = [f"model-0000{i}-of-00002.safetensors" for i in (1, 2)]
    lay(tmp_path, dict(zip("ab", names, strict=True)))
    for name, key in zip(names, "ab", strict=True):
        Path(name).write_bytes(shard(key))
    assert open_checkpoint(INDEX).warnings == ()


def test_converts_into_one_record_that_knows_all_files(tmp_path: Path) -> None:
    lay(tmp_path, {"a": "one.st", "b": "two.st"}, one_st=shard("a"), two_st=shard("b"))
    done = convert(INDEX, "model.mpk")
    assert (done.format, done.tensors) == ("sharded-safetensors", 2)
    listed = "".join(
        f"{hashlib.sha256((tmp_path / file).read_bytes()).hexdigest()}  {file}\n"
        for file in (INDEX, "one.st", "two.st")
    )
    assert open_record("model.mpk").metadata["source"] == {
        "name": INDEX, "sha256": hashlib.sha256(listed.encode()).hexdigest(), "format": "sharded-safetensors",
    }  # fmt: skip


def test_tells_of_what_the_shards_hold_besides_tensors(tmp_path: Path) -> None:
    one = zip_checkpoint(pickled({"w": tensor(), "_extra_state": None}))
    two = zip_checkpoint(pickled({"v": tensor(), "v._extra_state": {"scale": 2.0}, "epoch": 3}))
    weights = {"w": "one.bin", "_extra_state": "one.bin", "v": "two.bin", "v._extra_state": "two.bin"}
    lay(tmp_path, weights, one_bin=one, two_bin=two)
    checkpoint = open_checkpoint(INDEX)
    assert list(checkpoint.tree) == ["w", "_extra_state", "v", "v._extra_state", "epoch"]
    assert checkpoint.warnings == ()
    done = convert(INDEX, "model.mpk")
    assert [warning.partition(":")[0] for warning in done.warnings] == ["left out `v._extra_state` (dict)"]
    assert convert(INDEX, "model.mpk", exclude=["v._extra_state"]).warnings == ()
    assert list(open_record("model.mpk")) == ["w", "v"]


def test_a_tensor_that_a_shard_has_no_key_for_is_told_of(tmp_path: Path) -> None:
    one = zip_checkpoint(pickled({"w": tensor(), "more": 1}))
    two = zip_checkpoint(pickled(build(ordered_dict({"v": tensor(), "more": [tensor(size=(2,))]}), {"n": tensor()})))
    lay(tmp_path, {"w": "one.bin", "v": "two.bin"}, one_bin=one, two_bin=two)
    (warning,) = convert(INDEX, "model.mpk").warnings
    assert warning.partition(":")[0] == "left out `two.bin` (list, 1 tensor)"


# ------------------------------------------------------------------------------------------------------------- refusals


@pytest.mark.parametrize("path", ["gone.distcp", f"{'a' * 300}.distcp", "a\0.distcp"])
def test_a_part_of_a_distributed_checkpoint_that_is_missing_cannot_be_opened(path: str) -> None:
    assert "cannot be opened: " in failure(path)


@pytest.mark.parametrize(
    ("path", "found"),
    [
        ("step 1", "the folder of a distributed checkpoint"),
        ("step 1/__0_0.distcp", "a file of a distributed checkpoint"),
        ("step 1/.metadata", "a file of a distributed checkpoint"),
    ],
)
def test_says_what_makes_one_file_of_a_distributed_checkpoint(tmp_path: Path, path: str, found: str) -> None:
    (tmp_path / "step 1").mkdir()
    for name in (".metadata", "__0_0.distcp"):
        (tmp_path / "step 1" / name).write_bytes(zip_checkpoint())
    assert failure(path) == (
        f"{path}: expected a checkpoint of one file, found {found} (torch.distributed.checkpoint)\n"
        "  Run: python -m torch.distributed.checkpoint.format_utils dcp_to_torch 'step 1' model.pt"
    )


def test_says_that_a_shard_is_missing(tmp_path: Path) -> None:
    lay(tmp_path, {"a": "one.st", "b": "none.st", "c": "gone.st"}, one_st=shard("a"))
    assert failure() == (
        f"{INDEX}: expected the 3 shards that it names, found 1\n"
        "  Missing: `gone.st`, `none.st`.\n"
        "  Get these files as well: a shard holds a part of the tensors."
    )


def test_says_how_to_fetch_a_shard_that_is_kept_elsewhere(tmp_path: Path) -> None:
    lay(tmp_path, {"a": "one.st", "b": "two.st"}, one_st=shard("a"))
    (tmp_path / "two.st.dvc").touch()
    assert failure() == "two.st: cannot be opened: No such file or directory\n  Run: dvc pull two.st"


def test_says_that_a_tensor_is_not_in_its_shard(tmp_path: Path) -> None:
    lay(tmp_path, {"a": "one.st", "b": "one.st"}, one_st=shard("a"))
    assert failure() == (f"{INDEX}: tensor `b` is not in its shard 'one.st'\n  Get the index and the shards again.")


def test_says_which_shard_is_cut(tmp_path: Path) -> None:
    lay(tmp_path, {"a": "one.st", "b": "two.st"}, one_st=shard("a"), two_st=shard("b")[:-1])
    assert failure() == "two.st: truncated: expected 8 bytes of data, found 7\n  Get the file again."


def test_says_which_shard_is_a_pointer(tmp_path: Path) -> None:
    pointer = b"version https://git-lfs.github.com/spec/v1\noid sha256:0\nsize 5000\n"
    lay(tmp_path, {"a": "sub/one.st"}, sub__one_st=pointer)
    assert failure().splitlines()[0] == (
        "sub/one.st: expected a checkpoint of 5,000 bytes, found its Git LFS pointer (66 bytes)"
    )


def test_refuses_a_shard_that_is_no_dict(tmp_path: Path) -> None:
    lay(tmp_path, {"w": "one.bin"}, one_bin=zip_checkpoint(pickled([tensor()])))
    assert failure() == (
        "one.bin: expected a dict of tensors as a shard, found a list\n  Save the shards again with save_pretrained."
    )


def test_refuses_a_shard_that_is_the_index_or_another(tmp_path: Path) -> None:
    lay(tmp_path, {"a": INDEX})
    assert failure() == f"{INDEX}: expected a shard, found another index of shards"
    lay(tmp_path, {"a": INDEX}, index="other.json")
    assert failure("other.json") == f"{INDEX}: expected a shard, found another index of shards"


@pytest.mark.parametrize(
    "name", ["../one.st", "/one.st", "sub/../../one.st", "..", "", ".", "sub\\one.st", "C:one.st", "a\0", "\x1b[2J/.."]
)
def test_refuses_names_that_leave_the_folder(tmp_path: Path, name: str) -> None:
    lay(tmp_path, {"a": name})
    assert failure() == (
        f"{INDEX}: expected the name of a shard beside the index, found {name!r}\n  Correct the index."
    )


NO_JSON = f"{INDEX}: expected a checkpoint or an index of shards, found malformed JSON"
NO_MAP = (
    f"{INDEX}: expected a checkpoint or an index of shards, found JSON without `weight_map`\n"
    "  Give the checkpoint itself."
)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("{}", NO_MAP),
        ('{"weight_map": {}}', NO_MAP),
        ('{"weight_map": []}', NO_MAP),
        ('{"weight_map": {"a": 1}}', NO_MAP),
        ('{"weight_map": {"a": null}}', NO_MAP),
        (
            '{"weight_map": {"a": "x", "a": "y"}}',
            f"{NO_JSON} (the key `a` is there twice)",
        ),
        (
            '{"weight_map": {}, "weight_map": {"a": "x"}}',
            f"{NO_JSON} (the key `weight_map` is there twice)",
        ),
        pytest.param(
            '{"weight_map": {"a": "x"}',
            f"{NO_JSON} (Expecting ',' delimiter: line 1 column 26 (char 25))",
            id="cut",
        ),
    ],
)
def test_refuses_an_index_that_is_none(tmp_path: Path, text: str, message: str) -> None:
    (tmp_path / INDEX).write_text(text)
    assert failure() == message


def test_deep_json_is_no_index(tmp_path: Path) -> None:
    (tmp_path / INDEX).write_text('{"a":' * 50_000)
    assert "malformed JSON" in failure()


def test_refuses_more_shards_than_any_model_has(tmp_path: Path) -> None:
    lay(tmp_path, {f"{number}": f"{number}.st" for number in range(10_001)})
    assert failure() == f"{INDEX}: expected at most 10,000 shards, found 10,001"


def test_values_are_read_from_the_shards(tmp_path: Path) -> None:
    lay(tmp_path, {"w": "one.bin"}, one_bin=zip_checkpoint(storages={"0": FLOATS[::-1]}))
    found = open_checkpoint(INDEX).state_dict()["w"].numpy()
    assert found.tobytes() == FLOATS[::-1]
