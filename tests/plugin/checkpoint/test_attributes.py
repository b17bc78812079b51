"""What a pickle gives a tensor or a dict besides its values stays with it; every storage is accounted for."""

from __future__ import annotations

import dataclasses
import gc
from typing import TYPE_CHECKING, Any

import pytest

from hatch_wheelweights.checkpoint import LazyTensor, Opaque, read
from hatch_wheelweights.checkpoint.nodes import Global
from hatch_wheelweights.checkpoint.values import Ordered, is_dict
from hatch_wheelweights.errors import CheckpointError
from making.checkpoints import (
    exported,
    legacy_checkpoint,
    safetensors,
    tar_checkpoint,
    tar_storages,
    tar_tensors,
    zip_checkpoint,
)
from making.pickles import (
    Code,
    build,
    call,
    code,
    get,
    legacy_storage,
    name,
    ordered_dict,
    pickled,
    put,
    state_dict,
    storage,
    tensor,
)
from making.seeds import PICKLES, SEEDS, STORAGES, scripted, torchscript
from making.values import FLOATS
from making.zips import Member, zip_archive

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

    from hatch_wheelweights.checkpoint import Contents

HOOKS = ordered_dict()
FLOAT = name("torch", "float32")
V2 = name("torch._utils", "_rebuild_tensor_v2")
PARAMETER = name("torch._utils", "_rebuild_parameter")
WITH_STATE = name("torch._utils", "_rebuild_parameter_with_state")
FROM_TYPE = name("torch._tensor", "_rebuild_from_type_v2")
CLASS = name("torch.nn.parameter", "Parameter")
V2_ARGUMENTS = (storage(), 0, (4,), (1,), False, HOOKS)


@pytest.fixture
def contents(tmp_path: Path) -> Callable[[bytes], Contents]:
    def contents_of(data: bytes) -> Contents:
        (tmp_path / "model.pt").write_bytes(data)
        return read(tmp_path / "model.pt")

    return contents_of


GIVEN: dict[str, tuple[Code, Any]] = {
    "no hooks": (tensor(), None),
    "hooks of None": (call(V2, storage(), 0, (4,), (1,), False, None), None),
    "hooks": (call(V2, storage(), 0, (4,), (1,), False, {"h": 1}), {"_backward_hooks": {"h": 1}}),
    "hooks of a Parameter": (call(PARAMETER, tensor(), True, {"h": 1}), {"_backward_hooks": {"h": 1}}),
    "state": (call(WITH_STATE, tensor(), True, HOOKS, {"scale": 2}), {"scale": 2}),
    "no state": (call(WITH_STATE, tensor(), True, HOOKS, None), None),
    "state of nothing": (call(WITH_STATE, tensor(), True, HOOKS, {}), None),
    "slots": (call(WITH_STATE, tensor(), True, HOOKS, (None, {"scale": 2})), (None, {"scale": 2})),
    "no slots": (call(WITH_STATE, tensor(), True, HOOKS, (None, {})), None),
    "state of a subclass": (call(FROM_TYPE, V2, name("m", "C"), V2_ARGUMENTS, {"scale": 2}), {"scale": 2}),
    "state of a subclass, anything": (call(FROM_TYPE, V2, name("m", "C"), V2_ARGUMENTS, [3]), [3]),
    "state of a subclass, nothing": (call(FROM_TYPE, V2, name("m", "C"), V2_ARGUMENTS, {}), None),
    "state of both": (
        call(FROM_TYPE, WITH_STATE, name("m", "C"), (tensor(), True, HOOKS, {"a": 1}), {"b": 2}),
        ({"a": 1}, {"b": 2}),
    ),
    "state and hooks": (
        call(WITH_STATE, tensor(), True, {"h": 1}, {"scale": 2}),
        ({"_backward_hooks": {"h": 1}}, {"scale": 2}),
    ),
    "state of a Parameter by its class": (build(call(CLASS, tensor(), True), (True, [3], {"h": 1})), [[3], {"h": 1}]),
    "no state of a Parameter by its class": (build(call(CLASS, tensor(), True), (True, None, None)), []),
    "state of a Parameter without a tensor": (
        build(call(CLASS), (tensor(), None, {"h": 1}, True, False)), [{"h": 1}],
    ),
    "no hooks of a Parameter without a tensor": (build(call(CLASS), (tensor(), None, HOOKS, True, False)), None),
    "a subclass without values": (
        call(
            FROM_TYPE,
            name("torch._utils", "_rebuild_wrapper_subclass"),
            name("m", "C"),
            (name("m", "C"), FLOAT, (4,), (1,), 0, name("torch", "strided"), name("torch", "x"), False),
            {"scale": 2},
        ),
        {"scale": 2},
    ),
}  # fmt: skip


@pytest.mark.parametrize("kind", GIVEN)
def test_a_tensor_keeps_what_it_is_given(contents: Any, kind: str) -> None:
    made, given = GIVEN[kind]
    found = contents(zip_checkpoint(state_dict(w=made))).tree["w"]
    assert found.attributes == given
    assert found.named("other").attributes is found.attributes
    assert dataclasses.replace(found, key="other").attributes is found.attributes


def test_an_ordered_dict_keeps_its_attributes(contents: Any) -> None:
    found = contents(zip_checkpoint(pickled(build(ordered_dict({"w": tensor()}), {"_metadata": {"": 1}})))).tree
    assert (type(found), found.attributes) == (Ordered, {"_metadata": {"": 1}})
    assert contents(zip_checkpoint()).tree.attributes is None


def test_attributes_add_up_and_are_those_of_their_time(contents: Any) -> None:
    """Like Python, BUILD takes what is in the state when it comes by."""
    state = put(code({"a": 1, "b": 1}), 7)
    built = Code(HOOKS + state + b"b" + code({"a": 2}) + b"b" + get(7) + code("late") + code(1) + b"s0")
    assert contents(zip_checkpoint(pickled({"w": tensor(), "x": built}))).tree["x"].attributes == {"a": 2, "b": 1}


@pytest.mark.parametrize("taken", ["items", "update", "move_to_end", "__class__", "__dict__"])
def test_an_attribute_may_not_stand_for_a_method(contents: Any, taken: str) -> None:
    assert contents(zip_checkpoint(pickled({"x": build(HOOKS, {"attributes": 1})}))).tree["x"].attributes
    with pytest.raises(CheckpointError, match="the state of an OrderedDict is not a dict of attributes"):
        contents(zip_checkpoint(pickled({"x": build(HOOKS, {taken: 1})})))


def test_a_state_that_is_given_again_and_again_is_charged(contents: Any) -> None:
    """One long state, named in two bytes, would be looked through each time."""
    long = put(code({f"k{i}": 1 for i in range(10_000)}), 7)
    again = Code(long + b"0" + HOOKS + (get(7) + b"b") * 10_000)
    with pytest.raises(CheckpointError, match="asks for more memory than a file of"):
        contents(zip_checkpoint(pickled({"x": again})))


# ------------------------------------------------------------------------------------------- storages


def parts_of(tree: Any) -> Iterator[Any]:
    """Yield all that is in a tree, what tensors and dicts carry included."""
    pending, seen = [tree], set[int]()
    while pending:
        node = pending.pop()
        if id(node) in seen:
            continue
        seen.add(id(node))
        yield node
        if is_dict(node):
            pending += [*node, *node.values(), getattr(node, "attributes", None)]
        elif isinstance(node, LazyTensor):
            pending.append(node.attributes)
        elif isinstance(node, Opaque):
            pending += [node.args, node.state, node.items]
        elif isinstance(node, (list, tuple, set, frozenset)) and not isinstance(node, Global):
            pending += node


def reached(found: Contents) -> list[str]:
    """Return the names of the storages that tensors of the tree are made of."""
    made_of = {storage_ for node in parts_of(found.tree) if isinstance(node, LazyTensor) for storage_ in node.storages}
    return [key for key, storage_ in found.storages.items() if storage_ in made_of]


VIEWS = {
    "w": tensor(legacy_storage()),
    "v": tensor(legacy_storage(view=("v", 1, 2)), size=(2,)),
    "u": tensor(legacy_storage(view=("u", 0, 4))),
}
LONGS = storage("1", 2, "LongStorage")
TWO_STORAGES = pickled(2) + b"".join(
    pickled((key, "cpu", name("torch", "FloatStorage"))) + (4).to_bytes(8, "little") + FLOATS for key in (1, 5)
)


@pytest.mark.parametrize(
    ("data", "names"),
    [
        pytest.param(zip_checkpoint(), ["data/0"], id="zip"),
        pytest.param(zip_checkpoint(state_dict(w=tensor(storage("9")))), ["data/9"], id="a missing storage"),
        pytest.param(zip_checkpoint(state_dict(w=tensor(storage(numel=3)))), ["data/0"], id="of another size"),
        pytest.param(zip_checkpoint(PICKLES["tensors"], STORAGES), ["data/0", "data/1", "data/2", "data/3"], id="all"),
        pytest.param(zip_checkpoint(state_dict(w=storage())), ["data/0"], id="a storage as a value"),
        pytest.param(legacy_checkpoint(), ["0"], id="legacy"),
        pytest.param(legacy_checkpoint(state_dict(**VIEWS)), ["0", "0[1:3]"], id="views"),
        pytest.param(tar_checkpoint(), ["1"], id="tar"),
        pytest.param(
            tar_checkpoint(storages=tar_storages(views=[(9, 1, 1, 3)]), tensors=tar_tensors(of=9, size=(2,))), ["9"],
            id="tar, views",
        ),
        pytest.param(torchscript(pickled(scripted("Net", {"w": tensor()}))), ["data/0"], id="torchscript"),
        pytest.param(safetensors(), [], id="safetensors"),
        pytest.param(exported(), [], id="exported"),
    ],
)  # fmt: skip
def test_storages_are_those_that_are_referred_to(contents: Any, data: bytes, names: list[str]) -> None:
    found = contents(data)
    assert list(found.storages) == names
    assert reached(found) == names


@pytest.mark.parametrize("kind", sorted(SEEDS.keys() - {"pickle"}))
def test_every_seed_uses_its_storages(contents: Any, kind: str) -> None:
    for data in SEEDS[kind]:
        found = contents(data)
        assert reached(found) == list(found.storages)


@pytest.mark.parametrize(
    "dropped", [Code(LONGS + b"0"), Code(tensor(LONGS, size=(2,)) + b"0")]
)  # fmt: skip
def test_a_storage_that_is_dropped_is_among_them_and_not_reached(contents: Any, dropped: Code) -> None:
    data = zip_checkpoint(pickled({"w": tensor(), "x": Code(dropped + b"N")}), STORAGES)
    found = contents(data)
    assert list(found.storages) == ["data/0", "data/1"]
    assert reached(found) == ["data/0"]


@pytest.mark.parametrize(
    ("data", "warning"),
    [
        pytest.param(
            zip_checkpoint(None, {"0": FLOATS, "1": b"1234", "2": b"1234", "3": b""}),
            "the file holds 2 storages that no tensor refers to: `data/1`, `data/2`",
            id="zip",
        ),
        pytest.param(
            zip_checkpoint(None, {str(i): FLOATS for i in range(12)}),
            "the file holds 11 storages that no tensor refers to: `data/1`, `data/10`, `data/11`, `data/2`, `data/3`, "
            "`data/4`, `data/5`, `data/6` and 3 more",
            id="many",
        ),
        pytest.param(
            torchscript(pickled(scripted("Net", {"w": tensor()}))),
            "the file holds 3 storages that no tensor refers to: `data/1`, `data/2`, `data/3`",
            id="torchscript",
        ),
        pytest.param(
            tar_checkpoint(storages=TWO_STORAGES + pickled([])),
            "the file holds 1 storage that no tensor refers to: `5`",
            id="tar",
        ),
    ],
)
def test_storages_that_nothing_refers_to_are_told(contents: Any, data: bytes, warning: str) -> None:
    assert contents(data).warnings == (warning,)


def test_constants_of_the_code_that_nothing_refers_to_are_told_unless_there_is_code_for_mobile_devices(
    contents: Any,
) -> None:
    members = [
        Member("m/data.pkl", pickled(scripted("Net", {}))),
        Member("m/code/__torch__.py", b"class Net(Module):\n  __parameters__ = []\n"),
        Member("m/constants.pkl", pickled(())),
        Member("m/version", b"3\n"),
        Member("m/constants/0", FLOATS),
    ]
    warning = "the file holds 1 storage that no tensor refers to: `constants/0`"
    assert contents(zip_archive(members)).warnings == (warning,)
    assert contents(zip_archive([*members, Member("m/bytecode.pkl", b"")])).warnings == ()


def test_what_a_tensor_carries_is_gone_with_it(contents: Any) -> None:
    made = call(WITH_STATE, tensor(), True, HOOKS, {"scale": tensor(), "list": [tensor()]})
    gc.collect()
    gc.disable()
    try:
        found = contents(zip_checkpoint(state_dict(w=made)))
        file = found.files[0]
        del found
        assert len(gc.get_referrers(file)) == 0
    finally:
        gc.enable()


def test_storages_of_shards_are_named_by_their_shards(tmp_path: Path) -> None:
    """A shard that has two names is one file."""
    (tmp_path / "a.bin").write_bytes(zip_checkpoint())
    (tmp_path / "b.bin").write_bytes(legacy_checkpoint(state_dict(v=tensor(legacy_storage()), u=legacy_storage())))
    (tmp_path / "c.bin").hardlink_to(tmp_path / "b.bin")
    (tmp_path / "index.json").write_text('{"weight_map": {"w": "a.bin", "v": "b.bin", "u": "c.bin"}}')
    found = read(tmp_path / "index.json")
    assert list(found.storages) == ["a.bin: data/0", "c.bin: 0"]
    assert reached(found) == list(found.storages)
    for file in found.files:
        file.close()
