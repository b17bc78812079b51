"""The account between a tree and its state_dict: every tensor is written, excluded, or told of."""

from __future__ import annotations

import functools
from typing import TYPE_CHECKING, Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from hatch_wheelweights import open_checkpoint
from hatch_wheelweights.checkpoint import Account, Global, LazyTensor, Opaque
from hatch_wheelweights.checkpoint.values import Ordered
from hatch_wheelweights.errors import CheckpointError
from hatch_wheelweights.options.model import TensorOptions
from hatch_wheelweights.steps.flatten import flatten
from hatch_wheelweights.steps.pipeline import state_dict
from hatch_wheelweights.steps.select import select
from making.checkpoints import legacy_checkpoint, zip_checkpoint
from making.pickles import Code, code, legacy_storage, pickled, storage, tensor
from making.tensors import faulty, sealed
from making.values import FLOATS

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from hatch_wheelweights.steps.report import Report

TENSOR = "float32 tensor of shape (2,)"
MEANT = "; name in exclude what is not needed"
NEITHER = f"neither parameters nor buffers; torch's state_dict() has them only where a class adds them{MEANT}"
ALONE = f"a record holds tensors alone{MEANT}"

class_of = functools.partial(Opaque, "mine")


def _module(name: str = "Net", parameters: Any = (), buffers: Any = (), modules: Any = (), **state: Any) -> Opaque:
    kinds = {"_parameters": dict(parameters), "_buffers": dict(buffers), "_modules": dict(modules)}
    return class_of(name, state={"training": True, **kinds, **state})


def _report(tree: Any, **options: Any) -> Report:
    return state_dict(tree, TensorOptions(**options), Account(1 << 20)).report


def _told(tree: Any, **options: Any) -> tuple[list[str], list[str], str | None]:
    """Return the warnings, the notes (with the keys of plain values), and the fault."""
    report = _report(tree, **options)
    return (
        list(map(str, report.warnings)),
        [*map(str, report.notes), *report.values],
        None if report.fault is None else str(report.fault),
    )


def _whole(**parts: Any) -> tuple[list[str], list[str], str | None]:
    return _told(_module(parameters={"w": sealed(), **parts.pop("parameters", {})}, **parts), whole_model=True)


# What holds no tensor


def test_a_state_dict_alone_has_nothing_to_tell():
    assert _told({"w": sealed(), "b": sealed()}) == ([], [], None)


def test_warns_of_objects_and_notes_plain_values():
    tree = {"w": sealed(), "_extra_state": class_of("Scales"), "cfg": {"act": [Global("mine", "relu")]}, "epoch": 3}
    assert _told(tree) == (
        [f"left out `_extra_state` (`mine.Scales`), `cfg` (dict with `mine.relu`): {ALONE}"],
        ["epoch"],
        None,
    )


def test_is_silent_about_what_is_excluded_or_not_included():
    tree = {"w": sealed(), "_extra_state": class_of("Scales"), "epoch": 3}
    assert _told(tree, exclude=["_extra_state", "epoch"]) == ([], [], None)
    assert _told(tree, include=["^w$"]) == ([], [], None)


@pytest.mark.parametrize("state", [b"scales", {"amax": 1.0}, 3], ids=str)
def test_warns_of_the_extra_state_of_a_module_whatever_it_is(state):
    warnings, notes, fault = _told({"w": sealed(), "fc._extra_state": state})
    assert warnings[0].startswith(f"left out `fc._extra_state` ({type(state).__name__}): ")
    assert (notes, fault) == ([], None)


def test_an_extra_state_of_none_is_a_note():
    assert _told({"w": sealed(), "_extra_state": None}) == ([], ["_extra_state"], None)


def test_shows_the_first_eight_and_counts_the_rest():
    warnings, _, _ = _told({"w": sealed(), **{f"x{i}": class_of("X") for i in range(20)}})
    assert "`x7` (`mine.X`) and 12 more: " in warnings[0]


# Tensors that no key leads to


HOLDERS = {
    "state": lambda t: class_of("Thing", state={"t": t}),
    "slots": lambda t: class_of("Thing", state=(None, {"t": t})),
    "state that is no dict": lambda t: class_of("Thing", state=[1, (t,)]),
    "arguments": lambda t: class_of("Thing", args=(1, {"t": t})),
    "items": lambda t: class_of("Thing", items=[1], state={"t": t}),
    "deeper object": lambda t: {"a": [class_of("Thing", state={"b": class_of("Part", args=(t,))})]},
    "array of objects": lambda t: Opaque("numpy.core.multiarray", "_reconstruct", state=(1, (1,), [t])),
    "key of a dict": lambda t: {"table": {t: 1}},
    "key that is a tuple": lambda t: {(1, t): 1},
    "set": lambda t: class_of("Bag", args=({t},)),
}


@pytest.mark.parametrize("holder", HOLDERS.values(), ids=HOLDERS)
def test_an_object_that_holds_a_tensor_is_an_error_unless_it_is_excluded(holder):
    tree = {"w": sealed(), "odd": holder(sealed())}
    _, _, fault = _told(tree)
    assert fault is not None
    assert fault.startswith("expected every tensor under a key of its own, found `odd` (")
    assert fault.splitlines()[0].endswith(", 1 tensor)")
    assert _told(tree, exclude=["^odd"]) == ([], [], None)


def test_says_what_to_do():
    _, _, fault = _told({"w": sealed(), "ema": class_of("Ema", state={"shadow": {"w": sealed(), "b": sealed()}})})
    assert fault == (
        "expected every tensor under a key of its own, found `ema` (`mine.Ema`, 2 tensors)\n"
        "  No code from the file is run, so the class cannot be rebuilt here.\n"
        "  Save them in a dict of tensors, or set top_level_key to what holds them. "
        'To leave them out: exclude=["^ema"].'
    )


def test_a_tensor_that_is_written_too_is_not_lost():
    tensor = sealed()
    warnings, _, fault = _told({"w": tensor, "ema": class_of("Ema", state={"w": tensor})})
    assert (len(warnings), fault) == (1, None)


def test_what_several_names_share_is_told_of_once():
    shared = class_of("Ema", state={"w": sealed()})
    _, _, fault = _told({"w": sealed(), "a": shared, "b": shared})
    assert fault is not None
    assert fault.splitlines()[0].endswith("found `a` (`mine.Ema`, 1 tensor)")


@pytest.mark.parametrize("state", [{"t": sealed()}, sealed()], ids=["dict", "tensor"])
def test_attributes_of_an_ordered_dict_are_told_of(state):
    tree = Ordered(w=sealed())
    tree.attributes = state if isinstance(state, dict) else {"t": state}
    assert _told(tree) == (
        [f"left out `t` ({TENSOR}): {NEITHER}"],
        [],
        None,
    )


def test_a_tensor_that_is_a_key_of_a_subclass_of_dict_is_told_of():
    warnings, notes, fault = _told(class_of("Dict", items=[("w", sealed()), (sealed(), 1)], keyed=True))
    assert warnings == [f"left out `<tensor>` ({TENSOR}): {NEITHER}"]
    assert (notes, fault) == ([], None)


@pytest.mark.parametrize(
    "content", [b"PK\x03\x04", b"\x80\x02}q\x00.", b"\x93NUMPY\x01\x00"], ids=["zip", "pickle", "numpy"]
)
@pytest.mark.parametrize(
    "holder", [lambda raw: raw, lambda raw: Opaque("_io", "BytesIO", (raw,))], ids=["bytes", "BytesIO"]
)
def test_bytes_that_may_hold_tensors_are_a_warning(content, holder):
    value = holder(content + bytes(40))
    warnings, notes, fault = _told({"w": sealed(), "saved": value})
    assert warnings[0].endswith(f": bytes that may hold tensors{MEANT}")
    assert (notes, fault) == ([], None)
    warnings, _, _ = _whole(saved=value)
    assert warnings[0].startswith("left out `saved` (")


def test_other_bytes_are_values():
    assert _told({"w": sealed(), "salt": bytes(range(64))}) == ([], ["salt"], None)


def test_the_state_of_random_numbers_is_no_weight():
    generator = Opaque("numpy.random._pickle", "__generator_ctor", state={"key": sealed("uint32")})
    warnings, notes, fault = _told({"w": sealed(), "rng": generator})
    assert (len(warnings), notes, fault) == (1, [], None)


def test_the_state_of_an_optimizer_beside_weights_is_told_of():
    tree = {"w": sealed(), "opt": {"state": {0: {"m": sealed()}}, "param_groups": [{"lr": 0.1}]}}
    warnings, _, fault = _told(tree)
    assert warnings == [f"`opt` is the state of an optimizer, and in the record{MEANT}"]
    assert fault is None
    assert _told(tree, exclude=["^opt"]) == ([], [], None)


# Names


def test_filters_see_what_stands_beside_under_its_new_name():
    tree = {
        "model": {"encoder": {"w": sealed(), "ema": class_of("Ema", state={"w": sealed()})}, "head": sealed()},
        "w": sealed(),
    }
    rules = {"key_remap": [(r"^model\.", "")]}
    _, _, fault = _told(tree, **rules, include=["^encoder"])
    assert fault is not None
    assert "`encoder.ema` (`mine.Ema`, 1 tensor, `model.encoder.ema` in the checkpoint)" in fault
    assert fault.endswith('exclude=["^encoder\\\\.ema"].')
    assert _told(tree, **rules, exclude=[r"^encoder\.ema"]) == ([], [], None)
    assert _told(tree, **rules, include=["^head"]) == ([], [], None)


def test_the_number_of_an_item_that_is_lost_counts_when_gaps_are_closed():
    items = {str(i): _module(parameters={"w": sealed()}) for i in (0, 2, 3)}
    items["1"] = _module(_packed=class_of("Packed", state={"w": sealed()}))
    report = _report(_module(modules=dict(sorted(items.items()))), whole_model=True, exclude=[r"^1\."])
    assert [row.name for row in report.rows] == ["0.w", "2.w", "3.w"]
    assert report.fault is None


def test_the_number_of_an_item_without_tensors_does_not():
    items = {
        "0": _module(parameters={"w": sealed()}),
        "1": _module(scale=[1.0]),
        "2": _module(parameters={"w": sealed()}),
    }
    assert [row.name for row in _report(_module(modules=items), whole_model=True).rows] == ["0.w", "1.w"]


# Whole models


def test_a_plain_attribute_of_a_module_is_a_warning():
    warnings, notes, fault = _whole(scale=sealed(), grid=[sealed(), sealed()], modules={"fc": _module(stride=sealed())})
    assert warnings == [
        f"left out `scale` ({TENSOR}), `grid` (list, 2 tensors), `fc.stride` ({TENSOR}): {NEITHER}",
    ]
    assert (notes, fault) == ([], None)


def test_buffers_that_are_not_persistent_are_a_note():
    inner = _module(buffers={"cache": sealed(), "mean": sealed()}, _non_persistent_buffers_set={"cache"})
    assert _whole(modules={"bn": inner}) == (
        [],
        ["left out `bn.cache`, as torch's state_dict() does: not persistent"],
        None,
    )


def test_what_an_attribute_shares_with_the_tree_is_not_lost():
    weight = sealed()
    fc = _module("Linear", parameters={"weight": weight})
    assert _whole(modules={"fc": fc}, _flat_weights=[weight], alias=fc, hooks={0: class_of("Hook", args=(fc,))}) == (
        [],
        [],
        None,
    )


@pytest.mark.parametrize(
    ("module", "place"),
    [
        (_module(_packed_params=Opaque("torch", "ScriptObject", state=((sealed(), sealed()), "x"))), "_packed_params"),
        (_module(scale=faulty("qint8")), "scale"),
        (_module(parameters={"w": sealed("uint8")}, meta={"scale": sealed(), "zero": sealed()}), "meta"),
        (_module(parameters={"w": faulty("float4_e2m1fn_x2")}, absmax=sealed()), "absmax"),
        (_module(layers=[_module(parameters={"w": sealed()})]), "layers"),
    ],
    ids=[
        "packed parameters",
        "quantised attribute",
        "scales of whole numbers",
        "scales of float4",
        "modules in a list",
    ],
)
def test_the_weights_of_a_quantised_or_hidden_layer_are_an_error(module, place):
    _, _, fault = _whole(modules={"fc": module})
    assert fault is not None
    assert fault.startswith(f"expected every tensor under a key of its own, found `fc.{place}` (")
    tree = _module(parameters={"w": sealed()}, modules={"fc": module})
    assert _report(tree, whole_model=True, exclude=[rf"^fc\.{place}"]).fault is None


def test_the_attributes_of_a_packed_parameter_are_an_error_and_those_of_a_float_a_warning():
    packed, plain = sealed("uint8"), sealed()
    for one in (packed, plain):
        object.__setattr__(one, "attributes", {"absmax": sealed(), "blocksize": 64})
    _, _, fault = _told({"w": packed})
    assert fault is not None
    assert fault.splitlines()[0] == (
        "expected every tensor under a key of its own, found `w.absmax` (float32 tensor of shape (2,))"
    )
    assert fault.endswith('To leave them out: exclude=["^w\\\\.absmax"].')
    warnings, _, fault = _told({"w": plain})
    assert fault is None
    assert warnings[0].startswith("left out `w.absmax` (float32 tensor of shape (2,)): neither")


def test_something_among_the_modules_that_is_no_module_is_an_error():
    _, _, fault = _whole(modules={"odd": class_of("Lazy", args=(b"weights",))})
    assert fault is not None
    assert fault.startswith("expected every tensor under a key of its own, found `odd` (`mine.Lazy`)\n")


# The law


def _trees(depth: int = 3) -> st.SearchStrategy[Any]:
    leaves = st.builds(sealed) | st.integers() | st.none() | st.just(Global("mine", "f"))

    def grown(children: st.SearchStrategy[Any]) -> st.SearchStrategy[Any]:
        names = st.sampled_from(["a", "b", "_extra_state", "w"])
        dicts = st.dictionaries(names, children, max_size=3)
        return (
            dicts
            | st.lists(children, max_size=3)
            | st.builds(lambda items: class_of("Dict", items=list(items.items()), keyed=True), dicts)
            | st.builds(lambda state, args: class_of("Thing", args=tuple(args), state=state), dicts, st.lists(children))
            | st.builds(
                lambda p, b, m, rest: _module("Net", p, b, m, **rest, _non_persistent_buffers_set={"b"}),
                st.dictionaries(names, st.builds(sealed), max_size=2),
                st.dictionaries(names, st.builds(sealed), max_size=2),
                dicts,
                st.dictionaries(st.sampled_from(["x", "y"]), children, max_size=2),
            )
        )

    return st.recursive(leaves, grown, max_leaves=15)


def _tensors(node: Any, found: list[LazyTensor]) -> list[LazyTensor]:
    """Return every tensor of a tree, without any of the code under test."""
    if isinstance(node, LazyTensor):
        found.append(node)
    elif isinstance(node, dict):
        for key, value in node.items():
            _tensors(key, found)
            _tensors(value, found)
    elif isinstance(node, (list, tuple, set)):
        for value in node:
            _tensors(value, found)
    elif isinstance(node, Opaque):
        for value in (node.args, node.state, node.items):
            _tensors(value, found)
    return found


@given(_trees(), st.booleans(), st.sampled_from([(), ["x"], ["_extra_state"], [r"\.a"]]))
def test_every_tensor_of_the_part_is_written_excluded_or_told_of(tree: Any, whole_model: bool, exclude: Any):
    tree = {"root": sealed(), "tree": tree}
    try:
        tensors = state_dict(tree, TensorOptions(whole_model=whole_model, exclude=exclude), Account(1 << 20))
    except CheckpointError:  # two tensors of one key, a pattern that finds nothing
        return
    report = tensors.report
    told = sum(len(one.tensors) for one in report.left_out if not one.is_excluded)
    excluded = sum(len(one.tensors) for one in report.left_out if one.is_excluded)
    rows = {
        tensor.tie
        for tensor in flatten(
            select(tree, (), Account(1 << 20), whole_model=whole_model), Account(1 << 20)
        ).tensors.values()
    }
    assert len({tensor.tie for tensor in _tensors(tree, [])}) == len(rows) + excluded + told
    assert bool(told) <= bool(report.fault or report.warnings or report.notes)


# The storages of a file


def _dropping(storage: Callable[..., Code]) -> bytes:
    """Pickle a state_dict after a tensor over storage 9 that is dropped at once."""
    dropped, kept = tensor(storage("9", 2), size=(2,)), tensor(storage())
    return pickled(Code(dropped + b"0" + code({"w": kept})))


@pytest.mark.parametrize(
    ("write", "storage", "shown"), [(zip_checkpoint, storage, "data/9"), (legacy_checkpoint, legacy_storage, "9")]
)
def test_a_storage_that_no_tensor_is_made_of_is_told_of(
    write: Callable[..., bytes], storage: Callable[..., Code], shown: str, tmp_path: Path
) -> None:
    path = tmp_path / "model.pt"
    path.write_bytes(write(_dropping(storage), {"0": FLOATS, "9": FLOATS[:8]}))
    with open_checkpoint(path) as checkpoint:
        assert checkpoint.state_dict().report.warnings == [
            f"the file refers to 1 storage that no tensor is made of: `{shown}`"
        ]


def test_a_storage_that_nothing_refers_to_is_told_of(tmp_path: Path) -> None:
    path = tmp_path / "model.pt"
    path.write_bytes(zip_checkpoint(pickled({"w": tensor()}), {"0": FLOATS, "7": FLOATS}))
    with open_checkpoint(path) as checkpoint:
        assert checkpoint.warnings == ("the file holds 1 storage that no tensor refers to: `data/7`",)
