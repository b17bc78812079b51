"""What the opcodes of a pickle do to values of known classes: as torch and Python do it, or an error.

The comparison with torch itself is in tests/oracle. These are the smallest files of each kind.
"""

from __future__ import annotations

import tempfile
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest

from hatch_wheelweights import open_checkpoint
from hatch_wheelweights.checkpoint import LazyTensor, read
from hatch_wheelweights.checkpoint.values import Deque
from hatch_wheelweights.errors import CheckpointError
from hatch_wheelweights.options.model import TensorOptions
from looking.opening import unless_it_hangs
from making.checkpoints import legacy_checkpoint, safetensors, tar_checkpoint, zip_checkpoint
from making.pickles import (
    Code,
    beside,
    build,
    call,
    code,
    get,
    legacy_storage,
    name,
    ordered_dict,
    persistent,
    pickled,
    put,
    state_dict,
    storage,
    tensor,
)
from making.values import FLOATS, VALUES

if TYPE_CHECKING:
    from pathlib import Path

    from hatch_wheelweights.checkpoint import Contents

HOOKS = ordered_dict()
ORDERED = name("collections", "OrderedDict")
DEQUE = name("collections", "deque")
PARAMETER = name("torch.nn.parameter", "Parameter")
V2 = name("torch._utils", "_rebuild_tensor_v2")
WITH_STATE = name("torch._utils", "_rebuild_parameter_with_state")
FROM_TYPE = name("torch._tensor", "_rebuild_from_type_v2")


@pytest.fixture
def contents(tmp_path: Path) -> Any:
    def contents_of(data: bytes) -> Contents:
        path = tmp_path / "model.pt"
        path.write_bytes(data)
        return read(path)

    return contents_of


def _made(function: bytes, *arguments: object) -> Code:
    """Make an object with NEWOBJ."""
    return Code(function + code(arguments) + b"\x81")


def _from_type(kind: bytes, state: object = None) -> Code:
    return call(FROM_TYPE, V2, Code(kind), (storage(), 0, (4,), (1,), False, HOOKS), state)


REFUSED = {
    # a state
    "state of a tensor": build(tensor(), (storage(), 0, (2,), (1,))),
    "state of a storage": build(storage(), "a"),
    "state of a dict": build(code({}), {"a": 1}),
    "state of a Counter": build(call(name("collections", "Counter")), {"a": 1}),
    "state of a deque": build(call(DEQUE), {"a": 1}),
    "state of a device": build(call(name("torch", "device"), "cpu"), {"a": 1}),
    "state of an OrderedDict that is a list": build(HOOKS, [1]),
    "state of an OrderedDict that hides a method": build(HOOKS, {"items": 1}),
    "state of a Parameter that sets values": build(call(PARAMETER, tensor()), (storage(), 0, (2,), (1,))),
    "second state of a Parameter": build(_made(PARAMETER), (tensor(), None)),
    # `__new__`
    "OrderedDict made with items": _made(ORDERED, [("a", 1)]),
    "Counter made with items": _made(name("collections", "Counter"), {"a": 1}),
    "set made with items": _made(name("builtins", "set"), [1]),
    "list made with items": _made(name("builtins", "list"), [1]),
    "bytearray made with items": _made(name("builtins", "bytearray"), b"a"),
    "function that is made": _made(V2, storage(), 0, (4,), (1,), False, HOOKS),
    "dtype that is made": _made(name("torch", "float32")),
    "array that is made": _made(name("numpy", "ndarray"), (1,)),
    # calls of values
    "dtype that is called": call(name("torch", "float32")),
    "storage class that is called": call(name("torch", "FloatStorage")),
    "storage class of another module": call(name("mynet", "FloatStorage")),
    "qscheme that is called": call(name("torch", "per_tensor_affine")),
    "device of nonsense": call(name("torch", "device"), "nonsense"),
    "device of two numbers": call(name("torch", "device"), "cuda:0", 1),
    "layout of nonsense": call(name("torch.serialization", "_get_layout"), "nonsense"),
    "size of two arguments": call(name("torch", "Size"), (1,), (2,)),
    "tensor of nonsense": call(name("torch", "FloatTensor"), {"a": 1}),
    "storage of a number": call(name("torch.storage", "UntypedStorage"), 4),
    # tensors
    "neg is there": tensor(metadata={"neg": False}),
    "metadata that is text": tensor(metadata="neg"),
    "metadata of other keys": tensor(metadata={1: True}),
    "requires_grad that is None": call(V2, storage(), 0, (4,), (1,), None, HOOKS),
    "Parameter of two arguments": call(name("torch._utils", "_rebuild_parameter"), tensor(), True),
    "Parameter that requires a dict": call(name("torch._utils", "_rebuild_parameter"), tensor(), {}, HOOKS),
    "Parameter of a storage": call(name("torch._utils", "_rebuild_parameter"), storage(), True, HOOKS),
    "Parameter of whole numbers": call(PARAMETER, tensor(storage("1", 2, "LongStorage"), size=(2,))),
    "Parameter with a number": call(WITH_STATE, tensor(), True, HOOKS, 1),
    "tensor of no class": _from_type(ORDERED),
    "sparse tensor of nothing": call(name("torch._utils", "_rebuild_sparse_tensor")),
    # containers
    "bytearray as a key": Code(code({}) + call(name("builtins", "bytearray"), b"a") + code(1) + b"s"),
    "OrderedDict in a key": Code(code({}) + code(((1, 2), HOOKS)) + code(1) + b"s"),
    "key of more items than a key has": Code(code({}) + code(tuple(range(1025))) + code(1) + b"s"),
    "Counter of pairs": call(name("collections", "Counter"), [["a", 1]]),
    "OrderedDict of a set": call(ORDERED, call(name("builtins", "set"), [("a", 1)])),
    "defaultdict of a number": call(name("collections", "defaultdict"), 1),
    "deque that is too long": call(DEQUE, [1, 2, 3], 2),
    "deque that grows too long": Code(call(DEQUE, (), 2) + b"(K\x01K\x02K\x03e"),
    "deque of three arguments": call(DEQUE, [1], 2, 3),
    "set that is appended to": Code(call(name("builtins", "set"), []) + code(1) + b"a"),
    "list that is added to": Code(b"](K\x01\x90"),
    "object of a known class": call(name("copyreg", "_reconstructor"), ORDERED, name("builtins", "object"), None),
    "key that is set in a storage": Code(call(name("torch.storage", "TypedStorage")) + code("a") + code(1) + b"s"),
    # protocol 0
    "float of too many characters": Code(b"F0." + b"0" * 309 + b"1e300\n"),
    "float with an underscore": Code(b"F1_0\n"),
    "integer with an L": Code(b"I1L\n"),
    "integer with a zero before it": Code(b"I010\n"),
    "escape of text in a string": Code(b"S'\\u0041'\n"),
}  # fmt: skip


@pytest.mark.parametrize("kind", REFUSED)
def test_refuses_what_python_or_torch_read_otherwise(contents: Any, kind: str) -> None:
    with pytest.raises(CheckpointError) as caught:
        contents(zip_checkpoint(beside(REFUSED[kind]), {"0": FLOATS, "1": bytes(16)}))
    assert str(caught.value).count("\n") <= 1


def test_refuses_more_arguments_than_a_tensor_is_made_of(contents: Any) -> None:
    rebuild = name("torch.nested._internal.nested_tensor", "_rebuild_njt")
    made = call(FROM_TYPE, rebuild, name("torch", "Tensor"), (1,) * 9, None)
    with pytest.raises(CheckpointError) as caught:
        contents(zip_checkpoint(beside(made), {"0": FLOATS}))
    assert caught.value.fact == "expected 0 to 8 arguments to rebuild a tensor from, found 9"


DOUBLED = Code(b")" + b"2\x86" * 60)  # a tuple twice, which is a tuple twice, and so on: its text has no end


def test_a_value_in_place_of_another_is_not_written_out(contents: Any) -> None:
    magic = legacy_checkpoint().partition(b".")[0] + b"."
    files = {
        "expected protocol 1001, found a tuple": magic + pickled(DOUBLED),
        "expected a number of entries, found a tuple": tar_checkpoint(storages=pickled(DOUBLED)),
        "expected a storage class of torch, found a tuple": zip_checkpoint(
            beside(persistent("storage", DOUBLED, "0", "cpu", 4)), {"0": FLOATS}
        ),
    }
    for fact, data in files.items():
        with unless_it_hangs(), pytest.raises(CheckpointError) as caught:
            contents(data)
        assert caught.value.fact == fact


def test_a_value_in_place_of_a_class_is_not_written_out(contents: Any) -> None:
    rebuild = name("torch._utils", "_rebuild_wrapper_subclass")
    made = call(rebuild, DOUBLED, name("torch", "float32"), (2,), (1,), 0, None, None, False)
    with unless_it_hangs():
        tree = contents(zip_checkpoint(beside(made), {"0": FLOATS})).tree
    assert tree["x"].fault.fact == "is a tensor subclass without values of its own"
    assert (tree["x"].shape, tree["w"].numpy().tolist()) == ((2,), list(VALUES))


def test_hooks_that_hold_each_other_are_not_looked_through(contents: Any) -> None:
    made = call(V2, storage(), 0, (4,), (1,), False, DOUBLED)
    with unless_it_hangs():
        tree = contents(zip_checkpoint(beside(made), {"0": FLOATS})).tree
    assert tree["x"].numpy().tolist() == list(VALUES)


OTHER = tensor(storage("1"))
DATA = "is given `data`, which replaces its values when torch loads it"
OWN = "is given `{}`, which is torch's own name for something else"
CHANGED = {
    "Parameter with other values": (call(WITH_STATE, tensor(), True, HOOKS, {"data": OTHER}), DATA),
    "Parameter with no values": (call(WITH_STATE, tensor(), True, HOOKS, {"data": 1}), DATA),
    "Parameter with other values in a slot": (call(WITH_STATE, tensor(), True, HOOKS, (None, {"data": OTHER})), DATA),
    "Parameter with a gradient": (call(WITH_STATE, tensor(), True, HOOKS, {"grad": OTHER}), OWN.format("grad")),
    "Parameter that requires nonsense": (
        call(WITH_STATE, tensor(), True, HOOKS, {"requires_grad": 1}), OWN.format("requires_grad"),
    ),
    "tensor with other values": (_from_type(name("torch", "Tensor"), {"data": OTHER}), DATA),
    "tensor of another class with other values": (_from_type(name("mynet", "Subclass"), {"data": OTHER}), DATA),
}  # fmt: skip


@pytest.mark.parametrize("kind", CHANGED)
def test_an_attribute_that_changes_its_tensor_is_a_fault_of_it_alone(contents: Any, kind: str) -> None:
    made, fact = CHANGED[kind]
    tree = contents(zip_checkpoint(beside(made), {"0": FLOATS, "1": FLOATS[::-1]})).tree
    changed = tree["x"]
    assert (changed.fault.fact, str(changed.fault.remedy)) == (
        fact, "Save the state_dict instead: torch.save(model.state_dict(), path)",
    )  # fmt: skip
    assert changed.attributes is not None
    assert tree["w"].numpy().tolist() == list(VALUES)


@pytest.mark.parametrize(
    "state",
    [
        pytest.param({"data": tensor(), "requires_grad": False, "note": 1}, id="as bitsandbytes writes it"),
        pytest.param(({"data": tensor()}, {"requires_grad": True}), id="in slots"),
    ],
)
def test_attributes_that_say_what_a_tensor_is_anyway_are_harmless(contents: Any, state: Any) -> None:
    found = contents(zip_checkpoint(beside(call(WITH_STATE, tensor(), True, HOOKS, state)))).tree["x"]
    assert found.fault is None
    assert found.numpy().tolist() == list(VALUES)


OPENED: dict[str, tuple[Code, Any]] = {
    "OrderedDict with metadata": (build(ordered_dict({"a": 1}), {"_metadata": HOOKS}), {"a": 1}),
    "empty OrderedDict that is made": (_made(ORDERED), {}),
    "deque with a maximal length": (Code(call(DEQUE, (), 2) + b"(K\x01K\x02e"), [1, 2]),
    "set that is added to": (Code(b"\x8f(K\x01\x90"), {1}),
    "tuple that is made": (_made(name("builtins", "tuple"), [1, 2]), (1, 2)),
    "complex number": (call(name("builtins", "complex"), 1.0, 2.0), 1 + 2j),
    "bytearray": (call(name("builtins", "bytearray"), "a\xff", "latin-1"), b"a\xff"),
    "defaultdict": (call(name("collections", "defaultdict"), name("builtins", "list"), [("a", 1)]), {"a": 1}),
    "defaultdict of a lambda": (call(name("collections", "defaultdict"), name("mynet", "zero")), {}),
    "Counter": (call(name("collections", "Counter"), {"a": 2}), {"a": 2}),
    "string": (Code(b"S'a\\x41\\''\n"), "aA'"),
    "size": (call(name("torch", "Size"), (1, 2)), (1, 2)),
}


@pytest.mark.parametrize("kind", OPENED)
def test_opens_what_the_picklers_write(contents: Any, kind: str) -> None:
    thing, expected = OPENED[kind]
    found = contents(zip_checkpoint(beside(thing))).tree["x"]
    assert found == expected
    assert isinstance(found, type(expected))


def test_a_deque_keeps_its_length(contents: Any) -> None:
    found = contents(zip_checkpoint(beside(call(DEQUE, [1], 2)))).tree["x"]
    assert (type(found), found.maxlen) == (Deque, 2)


def test_a_slot_of_the_memo_that_was_written_again_stays(contents: Any) -> None:
    waiting = Code(call(name("numpy", "dtype"), "f4", False, True) + b"q\x01K\x05q\x010")
    dtype = build(waiting, (3, "<", None, None, None, -1, -1, 0))
    assert contents(zip_checkpoint(beside(Code(dtype + b"0h\x01")))).tree["x"] == 5


@pytest.mark.parametrize(
    "parameter",
    [
        build(call(PARAMETER, tensor()), (True, False, HOOKS)),
        build(_made(PARAMETER, tensor()), (True, False, HOOKS)),
        build(_made(PARAMETER), (tensor(), None, HOOKS, True, False)),
        call(WITH_STATE, tensor(), True, HOOKS, {"note": 1}),
        call(WITH_STATE, tensor(), True, HOOKS, (None, {"slot": 1})),
        _from_type(name("torch", "Tensor"), {"note": 1}),
        _from_type(name("mynet", "Subclass"), 1),
    ],
    ids=["called, 0.2", "made, 0.2", "empty, 0.1", "attributes", "slots", "tensor with attributes", "subclass"],
)
def test_parameters_of_all_ages_are_tensors(contents: Any, parameter: Code) -> None:
    np.testing.assert_array_equal(contents(zip_checkpoint(state_dict(w=parameter))).tree["w"].numpy(), VALUES)


# --------------------------------------------------------------------------------------------------------- containers


def test_a_storage_of_a_zip_file_has_five_parts(contents: Any) -> None:
    six = tensor(persistent("storage", name("torch", "FloatStorage"), "0", "cpu", 4, None))
    with pytest.raises(CheckpointError, match="something that is not a storage"):
        contents(zip_checkpoint(state_dict(w=six)))


def test_a_storage_of_a_stream_has_six_parts(contents: Any) -> None:
    with pytest.raises(CheckpointError, match="something that is not a storage"):
        contents(legacy_checkpoint(state_dict(w=tensor())))


def test_a_key_of_a_stream_is_text(contents: Any) -> None:
    number = persistent("storage", name("torch", "FloatStorage"), 0, "cpu", 4, None)
    with pytest.raises(CheckpointError, match="as the key of a storage, found a int"):
        contents(legacy_checkpoint(state_dict(w=tensor(number)), keys=[0]))


@pytest.mark.parametrize(("name_of_view", "fact"), [("1", "two views of storages"), ("0", "have the same name")])
def test_a_view_has_a_name_of_its_own(contents: Any, name_of_view: str, fact: str) -> None:
    views = [(name_of_view, 0, 2), (name_of_view, 0 if name_of_view == "0" else 2, 2)]
    tensors = {f"w{i}": tensor(legacy_storage(view=view), size=(2,)) for i, view in enumerate(views)}
    with pytest.raises(CheckpointError, match=fact):
        contents(legacy_checkpoint(state_dict(**tensors)))


MEMBERS: dict[str, tuple[dict[str, dict[str, Any]], str]] = {
    "version 9999": ({"version": {"data": b"9999"}}, "expected version 1 to 10"),
    "version 0": ({"version": {"data": b"0"}}, "expected version 1 to 10"),
    "version of nothing": ({"version": {"data": b""}}, "expected version 1 to 10"),
    "no version": ({"version": {"name": "archive/x"}}, "expected version 1 to 10 of torch's zip format, found none"),
    "alignment of nonsense": ({".storage_alignment": {"data": b"x"}}, "expected a number as .storage_alignment"),
    "identification": ({".data/serialization_id": {"data": b"\xff"}}, "expected text as .data/serialization_id"),
    "damaged version": ({"version": {"crc": 1}}, "member `archive/version` is damaged"),
    "capitals": ({"byteorder": {"name": "archive/BYTEORDER"}}, "has a member named 'archive/BYTEORDER'|BYTEORDER"),
    "capitals of a folder": ({"data/0": {"name": "archive/Data/0"}}, "has a member named"),
}


@pytest.mark.parametrize("kind", MEMBERS)
def test_small_members_say_what_torch_reads(contents: Any, kind: str) -> None:
    change, fact = MEMBERS[kind]
    with pytest.raises(CheckpointError, match=fact):
        contents(zip_checkpoint(change=change))


@pytest.mark.parametrize("version", [b"1\n", b"3\n", b"3", b"10\n"])
def test_versions_of_torch_open(contents: Any, version: bytes) -> None:
    assert "w" in contents(zip_checkpoint(change={"version": {"data": version}})).tree


def test_a_big_endian_tensor_in_an_untyped_storage_is_not_read(contents: Any) -> None:
    """torch swaps the bytes of a storage by its own dtype, and not by that of the tensor."""
    v3 = name("torch._utils", "_rebuild_tensor_v3")
    untyped = storage(kind="UntypedStorage", module="torch.storage", numel=16)
    made = call(v3, untyped, 0, (8,), (1,), False, HOOKS, name("torch", "uint16"))
    assert contents(zip_checkpoint(state_dict(w=made))).tree["w"].fault is None
    assert contents(zip_checkpoint(state_dict(w=made), byteorder="big")).tree["w"].fault is not None


def test_a_safetensors_file_is_no_tar(contents: Any) -> None:
    key = "k" * (257 - 10) + "ustar"
    data = safetensors({key: ("F32", [4], 0, 16)})
    assert data[257:262] == b"ustar"
    assert contents(data).kind == "safetensors"


def test_a_full_temporary_folder_is_an_error_with_a_remedy(contents: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    data = zip_checkpoint(change={"data/0": {"method": 8, "flags": 0}})
    found = contents(data).tree["w"]

    def full(*_: object, **__: object) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(tempfile, "TemporaryFile", full)
    with pytest.raises(CheckpointError, match="No space left on device") as caught:
        found.numpy()
    assert "Set TMPDIR to a folder with room" in str(caught.value)


# ------------------------------------------------------------------------------------------ tensors that cannot be read

MISSING = tensor(storage("9"))
NO_PLACE = {
    "dropped": Code(code(1) + MISSING + b"0"),
    "in the state of an OrderedDict": build(HOOKS, {"a": MISSING}),
    "in the attributes of a Parameter": call(WITH_STATE, tensor(), True, HOOKS, {"a": MISSING}),
    "in the hooks of a tensor": call(V2, storage(), 0, (4,), (1,), False, MISSING),
    "below a key that is set again": Code(b"}(" + code("a") + MISSING + code("a") + code(1) + b"u"),
    "a storage that no tensor is made of": Code(code(1) + storage("9") + b"0"),
}


@pytest.mark.parametrize("where", NO_PLACE)
def test_a_tensor_that_cannot_be_read_and_is_nowhere_is_an_error(contents: Any, where: str) -> None:
    with pytest.raises(CheckpointError, match="pickle drops a tensor that cannot be read") as caught:
        contents(zip_checkpoint(beside(NO_PLACE[where])))
    assert "its storage `data/9` is missing" in str(caught.value)


UNHELD = call(name("torch._utils", "_rebuild_sparse_tensor"), name("torch", "strided"), (tensor(), tensor(), (4,)))
CARRIED = {
    "in the state of an OrderedDict": (build(HOOKS, {"a": UNHELD}), "x"),
    "in the attributes of a Parameter": (call(WITH_STATE, tensor(), True, HOOKS, {"a": UNHELD}), "x.a"),
    "in the attributes of an attribute": (
        call(WITH_STATE, tensor(), True, HOOKS, {"a": build(HOOKS, {"b": UNHELD})}),
        "x.a",
    ),
    "in the hooks of a tensor": (call(V2, storage(), 0, (4,), (1,), False, UNHELD), "x._backward_hooks"),
}


@pytest.mark.parametrize("where", CARRIED)
def test_a_tensor_that_no_record_can_hold_is_told_of_where_another_value_carries_it(tmp_path: Path, where: str) -> None:
    made, key = CARRIED[where]
    (tmp_path / "model.pt").write_bytes(zip_checkpoint(beside(made)))
    with open_checkpoint(tmp_path / "model.pt") as checkpoint:
        report = checkpoint.tensors(TensorOptions(), incomplete=True).report
        assert [entry.key for entry in report.left_out] == [key]
        assert report.fault or report.warnings
        assert list(checkpoint.state_dict(exclude=["x", "x.*"])) == ["w"]


def test_a_tensor_that_a_device_holds_in_another_dtype_is_named(tmp_path: Path) -> None:
    """torch writes bfloat16 on XLA as float32."""
    function = name("torch._utils", "_rebuild_device_tensor_from_cpu_tensor")
    made = call(function, tensor(), name("torch", "bfloat16"), "xla:0", False)
    (tmp_path / "model.pt").write_bytes(zip_checkpoint(state_dict(w=made)))
    with open_checkpoint(tmp_path / "model.pt") as checkpoint, pytest.raises(CheckpointError) as caught:
        checkpoint.state_dict()["w"].numpy()
    assert (caught.value.key, caught.value.fact) == ("w", "is stored as `float32`")
    assert str(caught.value.remedy) == "Move it to the CPU in torch before saving: tensor.cpu()."


def test_a_tensor_that_is_made_of_others_speaks_for_them(contents: Any) -> None:
    sparse = call(name("torch._utils", "_rebuild_sparse_tensor"), name("torch", "strided"), (MISSING, tensor(), (1,)))
    assert contents(zip_checkpoint(beside(sparse))).tree["x"].fault is not None


def test_each_of_two_tensors_on_a_missing_storage_is_named(tmp_path: Path) -> None:
    path = tmp_path / "model.pt"
    shared = {"a": tensor(put(storage("9"), 100)), "b": tensor(get(100)), "c": tensor()}
    path.write_bytes(zip_checkpoint(state_dict(**shared)))
    with open_checkpoint(path) as checkpoint:
        found = checkpoint.tree
        for key in "ab":
            assert isinstance(found[key], LazyTensor)
            with pytest.raises(CheckpointError) as caught:
                found[key].named(key).numpy()
            assert caught.value.key == key


def test_a_fault_does_not_grow_as_it_is_read_again(contents: Any) -> None:
    found = contents(zip_checkpoint(state_dict(w=MISSING))).tree["w"]
    for _ in range(3):
        with pytest.raises(CheckpointError):
            found.numpy()
    assert found.fault.__traceback__ is None
