"""`.pt2` archives of torch.export; `checkpoints/exported` has the script that made the one of torch 2.13."""

from __future__ import annotations

import json
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest

from hatch_wheelweights import CheckpointError, convert, open_checkpoint
from making.values import FLOATS, VALUES
from making.zips import Member, zip_archive
from wheelweights import open_record
from wheelweights.dtypes import DTYPES, numpy_dtype

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

EXPORTED = Path(__file__).parents[2] / "checkpoints" / "exported"


def test_reads_the_weights_that_torch_exported() -> None:
    expected: dict[str, Any] = json.loads((EXPORTED / "expected.json").read_text())["state_dict"]
    with open_checkpoint(EXPORTED / "exported.pt2") as checkpoint:
        assert checkpoint.kind == "pytorch-export"
        found = checkpoint.state_dict()
    assert sorted(found) == sorted(expected)
    for key, each in expected.items():
        array = np.array(each["values"], numpy_dtype(each["dtype"]))
        assert (found[key].dtype, found[key].shape) == (each["dtype"], array.shape)
        assert found[key].numpy().tobytes() == array.tobytes()


def test_keeps_ties(tmp_path: Path) -> None:
    convert(EXPORTED / "exported.pt2", tmp_path / "model.mpk")
    record = open_record(tmp_path / "model.mpk")
    assert record.metadata["source"]["format"] == "pytorch-export"
    assert np.shares_memory(record["first.weight"], record["second.weight"])


# -------------------------------------------------------------------------------------------------------------- by hand


def ints(*values: int) -> list[dict[str, int]]:
    return [{"as_int": value} for value in values]


def weight(**changed: object) -> dict[str, Any]:
    """Describe four float32 in `weight_0`; `changed` are other values of its fields."""
    meta = {"dtype": 7, "sizes": ints(4), "strides": ints(1), "storage_offset": {"as_int": 0}, "layout": 7}
    outer = {"path_name": "weight_0", "is_param": True, "use_pickle": False}
    meta |= {key: value for key, value in changed.items() if key in meta}
    return {**outer, **{key: value for key, value in changed.items() if key not in meta}, "tensor_meta": meta}


@pytest.fixture
def archive(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Callable[..., str]:
    """Write `model.pt2` from configurations of weights, and return its name."""
    monkeypatch.chdir(tmp_path)

    def write(
        byteorder: str = "little", data: bytes = FLOATS, members: Sequence[Member] = (), **programs: object
    ) -> str:
        members = [Member("a/archive_format", b"pt2"), Member("a/byteorder", byteorder.encode()), *members]
        for program, config in programs.items():
            text = config if isinstance(config, bytes) else json.dumps({"config": config}).encode()
            members.append(Member(f"a/data/weights/{program}_weights_config.json", text))
        (tmp_path / "model.pt2").write_bytes(zip_archive([*members, Member("a/data/weights/weight_0", data)]))
        return "model.pt2"

    return write


def test_reads_strides_and_offsets(archive: Callable[..., str]) -> None:
    config = {
        "w": weight(),
        "t": weight(sizes=ints(2, 2), strides=ints(1, 2)),
        "s": weight(sizes=[], strides=[], storage_offset={"as_int": 3}),
    }
    found = open_checkpoint(archive(model=config)).state_dict()
    assert {key: each.numpy().tolist() for key, each in found.items()} == {
        "w": list(VALUES), "t": [[1.0, 3.0], [2.0, 4.0]], "s": 4.0,
    }  # fmt: skip


TORCH = {
    1: "uint8", 2: "int8", 3: "int16", 4: "int32", 5: "int64", 6: "float16", 7: "float32", 8: "float64",
    10: "complex64", 11: "complex128", 12: "bool", 13: "bfloat16", 28: "uint16", 29: "float8_e4m3fn", 30: "float8_e5m2",
    31: "float8_e4m3fnuz", 32: "float8_e5m2fnuz", 33: "float8_e8m0fnu", 34: "uint32", 35: "uint64",
}  # fmt: skip


@pytest.mark.parametrize(("number", "dtype"), TORCH.items())
def test_knows_torchs_numbers_of_dtypes(archive: Callable[..., str], number: int, dtype: str) -> None:
    (tensor,) = (
        open_checkpoint(archive(data=bytes(16), model={"w": weight(dtype=number, sizes=ints(1))})).state_dict().values()
    )
    assert tensor.dtype == dtype
    assert tensor.numpy().nbytes == DTYPES[dtype].itemsize


def test_knows_a_number_for_every_dtype_of_a_record() -> None:
    assert sorted(TORCH.values()) == sorted(DTYPES)


def test_swaps_big_endian_weights(archive: Callable[..., str]) -> None:
    swapped = np.array(VALUES, ">f4").tobytes()
    (tensor,) = open_checkpoint(archive("big", swapped, model={"w": weight()})).state_dict().values()
    assert tensor.numpy().tolist() == list(VALUES)


def test_gives_several_programs_by_their_names(archive: Callable[..., str]) -> None:
    found = open_checkpoint(archive(encoder={"w": weight()}, decoder={"w": weight()})).state_dict()
    assert sorted(found) == ["decoder.w", "encoder.w"]


def constants(config: dict[str, Any], program: str = "model") -> Member:
    return Member(f"a/data/constants/{program}_constants_config.json", json.dumps({"config": config}).encode())


def test_tells_of_the_constants_of_a_program(archive: Callable[..., str]) -> None:
    config = {"scale": weight(path_name="tensor_0"), "twice": weight(path_name="tensor_0", sizes=ints(2, 2))}
    config["twice"]["tensor_meta"]["strides"] = ints(2, 1)
    path = archive(model={"w": weight()}, members=[constants(config), Member("a/data/constants/tensor_0", FLOATS)])
    checkpoint = open_checkpoint(path)
    assert list(checkpoint.state_dict()) == ["w"]
    carried = checkpoint.tree.attributes
    assert {name: each.numpy().tolist() for name, each in carried.items()} == {
        "scale": list(VALUES), "twice": [[1.0, 2.0], [3.0, 4.0]],
    }  # fmt: skip
    (warning,) = convert(path, "model.mpk").warnings
    assert warning.startswith(
        "left out `scale` (float32 tensor of shape (4,)), `twice` (float32 tensor of shape (2, 2)): "
    )
    assert convert(path, "model.mpk", exclude=["scale", "twice"]).warnings == ()


def test_a_constant_that_only_torch_can_read_is_told_of_too(archive: Callable[..., str]) -> None:
    script = {"path_name": "custom_obj_0", "is_param": False, "use_pickle": True, "tensor_meta": None}
    config = {"tokens": script, "sub": weight(path_name="tensor_0", use_pickle=True)}
    members = [
        constants(config),
        Member("a/data/constants/custom_obj_0", b"PK"),
        Member("a/data/constants/tensor_0", b"PK"),
    ]
    (warning,) = convert(archive(model={"w": weight()}, members=members), "model.mpk").warnings
    assert warning.startswith("left out `tokens` (pickled tensor of shape ()), `sub` (float32 tensor of shape (4,)): ")


def test_programs_have_constants_of_their_own(archive: Callable[..., str]) -> None:
    members = [constants({"scale": weight(path_name="tensor_0")}, "one"), Member("a/data/constants/tensor_0", FLOATS)]
    (warning,) = convert(archive(one={"w": weight()}, two={"w": weight()}, members=members), "model.mpk").warnings
    assert warning.startswith("left out `one.scale` (float32 tensor of shape (4,)): ")


def test_warns_of_members_that_no_configuration_names(archive: Callable[..., str]) -> None:
    members = [
        constants({"scale": weight(path_name="tensor_0")}, "another"),
        Member("a/data/constants/tensor_0", FLOATS),
        Member("a/data/weights/weight_1", FLOATS),
    ]
    (warning,) = open_checkpoint(archive(model={"w": weight()}, members=members)).warnings
    assert warning == (
        "the file holds 3 storages that no tensor refers to: `data/constants/another_constants_config.json`, "
        "`data/constants/tensor_0`, `data/weights/weight_1`"
    )


def test_refuses_malformed_constants(archive: Callable[..., str]) -> None:
    with pytest.raises(CheckpointError) as caught:
        open_checkpoint(archive(model={"w": weight()}, members=[constants({"scale": {}})]))
    assert str(caught.value) == (
        "model.pt2: malformed `data/constants/model_constants_config.json`: KeyError('path_name')\n"
        "  Save the program again with torch.export.save."
    )


def test_says_that_there_are_no_weights(archive: Callable[..., str]) -> None:
    with pytest.raises(CheckpointError) as caught:
        open_checkpoint(archive())
    assert str(caught.value) == (
        "model.pt2: expected a checkpoint, found an exported program without weights_config.json\n"
        "  Save it again with a current torch, or save its weights: torch.save(program.state_dict, path)"
    )


@pytest.mark.parametrize(
    ("changed", "message"),
    [
        pytest.param(
            {"use_pickle": True},
            "is a tensor subclass, which only torch can read\n"
            "  Save the weights instead: torch.save(program.state_dict, path)",
            id="pickled",
        ),
        pytest.param(
            {"layout": 1},
            "is a tensor subclass, which only torch can read\n"
            "  Save the weights instead: torch.save(program.state_dict, path)",
            id="sparse",
        ),
        pytest.param(
            {"sizes": ints(5)}, "reaches past its storage: expected at least 5 elements, found 4", id="too large"
        ),
        pytest.param(
            {"storage_offset": {"as_int": -1}}, "negative offset, size or stride: -1, (4,), (1,)", id="negative offset"
        ),
        pytest.param(
            {"strides": ints(1, 1)}, "expected as many strides as dimensions, found 2 and 1", id="two strides"
        ),
        pytest.param(
            {"path_name": "weight_9"},
            "its storage `data/weights/weight_9` is missing\n  Get the file again: it is damaged.",
            id="missing",
        ),
        pytest.param(
            {"path_name": "../../archive_format"},
            "its storage `data/weights/../../archive_format` is missing\n  Get the file again: it is damaged.",
            id="another member",
        ),
    ],
)
def test_a_weight_that_cannot_be_read_hinders_no_other(
    archive: Callable[..., str], changed: dict[str, Any], message: str
) -> None:
    found = open_checkpoint(archive(model={"good": weight(), "bad": weight(**changed)})).state_dict()
    assert found["good"].numpy().tolist() == list(VALUES)
    with pytest.raises(CheckpointError) as caught:
        found["bad"].numpy()
    assert str(caught.value) == f"model.pt2: tensor `bad`: {message}"


def test_a_storage_of_no_whole_number_of_elements_is_refused(archive: Callable[..., str]) -> None:
    found = open_checkpoint(archive(data=FLOATS + b"\0", model={"w": weight()})).state_dict()
    with pytest.raises(CheckpointError) as caught:
        found["w"].numpy()
    assert str(caught.value) == "model.pt2: tensor `w`: its storage has the wrong size: 17 bytes of float32"


@pytest.mark.parametrize("number", [9, 0, 99, 1_000_000])
def test_names_a_dtype_that_no_record_has(archive: Callable[..., str], number: int) -> None:
    found = open_checkpoint(archive(model={"w": weight(dtype=number)})).state_dict()
    with pytest.raises(CheckpointError, match=r"^model\.pt2: tensor `w`: ") as caught:
        found["w"].numpy()
    assert ("complex32" if number == 9 else f"ScalarType {number}") in str(caught.value)


@pytest.mark.parametrize(
    "config",
    [
        b"",
        b"[]",
        b"{}",
        b'{"config": 1}',
        b'{"config": {"w": 1}}',
        b'{"config": {"w": {}}}',
        b"\xff",
        b"[" * 50_000,
        b'{"config": {"w": 1, "w": 2}}',
        {"w": weight(sizes=4)},
        {"w": weight(sizes=[4])},
        {"w": weight(sizes=[{"as_int": "4"}])},
        {"w": weight(sizes=[{"as_expr": {"hint": 4}}])},
        {"w": weight(sizes=ints(*[1] * 65))},
        {"w": weight(dtype=[])},
        {"w": weight(storage_offset=0)},
    ],
)
def test_refuses_a_malformed_configuration(archive: Callable[..., str], config: object) -> None:
    with pytest.raises(CheckpointError) as caught:
        open_checkpoint(archive(model=config))
    first, remedy = str(caught.value).splitlines()
    assert first.startswith("model.pt2: malformed `data/weights/model_weights_config.json`: ")
    assert len(first) < 200
    assert remedy == "  Save the program again with torch.export.save."
