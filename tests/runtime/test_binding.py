from __future__ import annotations

import dataclasses
import functools
import pickle
import sys
from collections import OrderedDict
from collections.abc import Callable, Iterator, Mapping
from dataclasses import InitVar, dataclass, field
from types import ModuleType
from typing import TYPE_CHECKING, Annotated, Any, ClassVar, Generic, NamedTuple, NewType, TypeVar

import ml_dtypes
import numpy as np
import pytest
from numpy.typing import NDArray

from wheelweights import nn
from wheelweights.binding import Shape, bind, bind_report
from wheelweights.record import open_record, write_record
from wheelweights.report import BindError

if TYPE_CHECKING:
    from decimal import Decimal
    from pathlib import Path

Array = NDArray[Any]
Weight = NewType("Weight", np.ndarray)
T = TypeVar("T")


def zeros(*shape: int) -> Array:
    return np.zeros(shape, np.float32)


def numbered(*keys: str, shape: tuple[int, ...] = (2,)) -> dict[str, Array]:
    """Return arrays that can be told apart: the first holds zeros, the second ones, ..."""
    return {key: np.full(shape, i, np.float32) for i, key in enumerate(keys)}


@dataclass(frozen=True)
class Conv:
    weight: Array
    bias: Array | None = None
    stride: int = 1


@dataclass
class Block:
    conv: Conv
    scale: np.ndarray


@dataclass
class Net:
    encoder: list[Block]
    head: Conv


@dataclass
class Relu:
    slope: float = 0.0


@dataclass
class Node:
    value: Array
    left: Node | None = None
    right: Node | None = None


def net_keys(*numbers: int) -> list[str]:
    return [f"encoder.{n}.{name}" for n in numbers for name in ("conv.weight", "scale")] + ["head.weight"]


def one_field(hint: Any, **options: Any) -> Any:
    """Return a dataclass `Model` with the one field `x` of this annotation."""
    return dataclasses.make_dataclass("Model", [("x", hint, field(**options))])


def leaves(tree: Any) -> list[Any]:
    """Return the arrays of a tree, in its order."""
    if isinstance(tree, np.ndarray):
        return [tree]
    if dataclasses.is_dataclass(tree):
        tree = [getattr(tree, f.name) for f in dataclasses.fields(tree)]
    return [leaf for item in tree for leaf in leaves(item)] if isinstance(tree, list) else []


# Types


def test_makes_the_tree_that_the_annotations_say() -> None:
    record = numbered(*net_keys(0, 1))
    net = bind(Net, record)
    assert type(net) is Net
    assert [type(block) for block in net.encoder] == [Block, Block]
    assert net.encoder[1].conv.weight is record["encoder.1.conv.weight"]
    assert net.head.weight is record["head.weight"]
    assert (net.head.bias, net.head.stride) == (None, 1)


@pytest.mark.parametrize(
    "hint",
    [
        np.ndarray,
        NDArray[np.float32],
        NDArray[Any],
        Annotated[np.ndarray, "anything", Shape(2)],
        Weight,
        np.ndarray[Any, np.dtype[np.floating[Any]]],
        "NDArray[np.float32 | np.float16]",
        "np.ndarray",
    ],
    ids=str,
)
def test_takes_every_way_to_say_array(hint: Any) -> None:
    record = numbered("x")
    assert bind(one_field(hint), record).x is record["x"]


@pytest.mark.parametrize(
    ("hint", "keys", "shown"),
    [
        (list[Array], ["x.0", "x.1"], "[0, 1]"),
        (tuple[Array, ...], ["x.0", "x.1"], "(0, 1)"),
        (tuple[Array, Conv], ["x.0", "x.1.weight"], "(0, Conv(1))"),
        (tuple[Array, Relu, Conv], ["x.0", "x.2.weight"], "(0, Relu(), Conv(1))"),
        (tuple[Array, Relu, Conv], ["x.0", "x.1.weight"], "(0, Relu(), Conv(1))"),
        (dict[str, Array], ["x.b", "x.a"], "{'b': 0, 'a': 1}"),
        (dict[str, Conv], ["x.0.weight", "x.07.weight"], "{'0': Conv(0), '07': Conv(1)}"),
        (list[dict[str, list[Array]]], ["x.0.a.0", "x.1.b.0"], "[{'a': [0]}, {'b': [1]}]"),
        (Array | None, ["x"], "0"),
        (Conv | None, ["x.weight"], "Conv(0)"),
        (list[Conv | None], ["x.0.weight"], "[Conv(0)]"),
    ],
    ids=str,
)
def test_builds_containers(hint: Any, keys: list[str], shown: str) -> None:
    assert show(bind(one_field(hint), numbered(*keys)).x) == shown


def show(value: Any) -> str:
    """Show a tree: each array as its first number, each dataclass as its name and arrays."""
    if isinstance(value, np.ndarray):
        return str(int(value.flat[0]))
    if isinstance(value, list | tuple):
        inner = ", ".join(map(show, value))
        return f"[{inner}]" if isinstance(value, list) else f"({inner})"
    if isinstance(value, dict):
        return "{" + ", ".join(f"{key!r}: {show(item)}" for key, item in value.items()) + "}"
    if dataclasses.is_dataclass(value):
        fields = [getattr(value, f.name) for f in dataclasses.fields(value)]
        return f"{type(value).__name__}({', '.join(show(x) for x in fields if not isinstance(x, int | float | None))})"
    return repr(value)


def test_orders_a_list_by_number() -> None:
    record = numbered(*net_keys(10, *range(10)))
    net = bind(Net, record)
    assert [int(block.scale[0]) for block in net.encoder] == [*range(3, 23, 2), 1]


def test_leaves_static_fields_to_their_defaults() -> None:
    assert bind(Conv, numbered("weight")).stride == 1


def test_builds_modules_without_arrays_from_their_defaults() -> None:
    @dataclass
    class Act:
        relu: Relu
        weight: np.ndarray

    assert bind(Act, numbered("weight")).relu == Relu(0.0)


def test_takes_a_default_that_holds_arrays_as_an_instance() -> None:
    model = one_field(Conv, default=Conv(zeros(2), stride=2))
    assert bind(model, numbered("x.weight")).x.stride == 2
    with pytest.raises(BindError, match=r"Model\.x\.weight: expected \(2,\), found \(3,\) in `x\.weight`"):
        bind(model, {"x.weight": zeros(3)})


def test_an_array_as_default_says_nothing_of_the_shape() -> None:
    model = one_field(np.ndarray, default_factory=lambda: zeros(0))
    assert bind(model, numbered("x")).x.shape == (2,)
    assert bind_report(model, {}).missing_keys == ["x"]
    assert bind(model, {}, partial=True).x.shape == (0,)
    assert bind(one_field(Array | None, default_factory=lambda: zeros(3)), {}).x.shape == (3,)


def test_leaves_an_absent_list_to_its_default_and_reports_it_without() -> None:
    assert bind(one_field(list[Conv], default_factory=list), {}).x == []
    assert bind_report(one_field(list[Conv]), {}).missing == {"x.0.weight": "Model.x[0].weight"}
    assert bind_report(one_field(dict[str, Conv]), {}).missing == {"x.*": "Model.x"}
    assert bind_report(one_field(np.ndarray, default=None), {}).missing_keys == ["x"]


def test_binds_recursive_classes() -> None:
    record = numbered("value", "left.value", "left.right.value")
    root = bind(Node, record)
    assert root.right is None
    assert root.left is not None
    assert root.left.right is not None
    assert root.left.right.value is record["left.right.value"]


def test_ends_where_a_class_needs_itself_for_ever() -> None:
    @dataclass
    class Endless:
        value: np.ndarray
        inner: Endless

    assert bind_report(Endless, numbered("value")).missing == {"inner.*": "Endless.inner"}


def test_binds_inherited_fields_and_generic_classes() -> None:
    @dataclass
    class Wrapper(Generic[T]):
        inner: T
        items: list[T]

    @dataclass
    class Child(Wrapper[Any]):
        inner: Conv
        items: list[Conv]
        own: np.ndarray

    record = numbered("inner.weight", "items.0.weight")
    wrapper = bind(Wrapper[Conv], record)
    assert show(wrapper) == "Wrapper(Conv(0), [Conv(1)])"
    assert show(bind(Child, numbered("inner.weight", "items.0.weight", "own"))) == "Child(Conv(0), [Conv(1)], 2)"
    assert show(bind(one_field(Wrapper[Array]), numbered("x.inner", "x.items.0")).x) == "Wrapper(0, [1])"


def test_knows_the_names_of_arrays_that_stand_under_type_checking(monkeypatch: pytest.MonkeyPatch) -> None:
    module = ModuleType("module_of_a_model")
    monkeypatch.setitem(sys.modules, module.__name__, module)
    source = "from __future__ import annotations\nfrom dataclasses import dataclass\n"
    fields = "    x: NDArray[np.float32]\n    y: npt.NDArray[Any]\n    z: Sequence[Array]\n    m: Mapping[str, Array]\n"
    exec(source + "@dataclass\nclass Net:\n" + fields, vars(module))
    net = bind(module.Net, numbered("x", "y", "z.0", "m.a"))
    assert (net.y[0], net.z[0][0], net.m["a"][0]) == (1, 2, 3)


def test_classes_made_in_a_function_know_each_other_while_it_runs() -> None:
    @dataclass
    class Inner:
        weight: np.ndarray

    @dataclass
    class Outer:
        inner: list[Inner | None]

    assert type(bind(Outer, numbered("inner.0.weight")).inner[0]) is Inner


def test_says_which_annotation_cannot_be_evaluated() -> None:
    @dataclass
    class Money:
        x: np.ndarray
        amount: Decimal

    with pytest.raises(BindError) as caught:
        bind(Money, numbered("x"))
    assert str(caught.value) == (
        "Money: expected annotations that can be evaluated, found one that cannot: name 'Decimal' is not defined\n"
        f"  Import or define what they use at the top of `{__name__}`, not under TYPE_CHECKING."
    )


def test_takes_all_arrays_beside_the_other_fields_into_a_flattened_dict() -> None:
    @dataclass
    class Lstm:
        scale: np.ndarray
        weights: dict[str, np.ndarray] = field(metadata={"flatten": True})
        hidden: int = 4

    keys = ["rnn.weight_ih_l0", "rnn.scale", "rnn.bias_ih_l0", "rnn.deeper.weight"]
    lstm = bind(Lstm, {key: a for key, a in numbered(*keys).items() if "deeper" not in key}, prefix="rnn")
    assert show(lstm.weights) == "{'weight_ih_l0': 0, 'bias_ih_l0': 2}"
    assert bind_report(Lstm, numbered(*keys), "rnn.").unexpected_keys == ["rnn.deeper.weight"]
    again = bind(lstm, numbered("weight_ih_l0", "bias_ih_l0", "scale"))
    assert show(again) == "Lstm(2, {'weight_ih_l0': 0, 'bias_ih_l0': 1})"
    assert bind_report(lstm, numbered("weight_ih_l0", "scale")).missing == {"bias_ih_l0": "Lstm.weights['bias_ih_l0']"}


def test_only_a_dict_is_flattened() -> None:
    with pytest.raises(
        BindError, match=r"^Model\.x: expected `dict\[str, \.\.\.\]` for a field with `flatten`, found `list`$"
    ):
        bind(one_field(list[Array], metadata={"flatten": True}), numbered("a"))


def test_leaves_arrays_alone_that_are_marked_static() -> None:
    @dataclass
    class Rotary:
        weight: np.ndarray
        table: np.ndarray = field(default_factory=lambda: zeros(3), metadata={"static": True})

    rotary = bind(Rotary, numbered("weight"))
    assert rotary.table.shape == (3,)
    assert bind(rotary, numbered("weight")).table is rotary.table
    assert bind_report(rotary, numbered("weight", "table")).unexpected_keys == ["table"]


def test_sets_arrays_that_the_constructor_does_not_take() -> None:
    @dataclass(frozen=True)
    class Late:
        weight: np.ndarray = field(init=False)
        axes: ClassVar[int] = 2

    assert bind(Late, numbered("weight")).weight[0] == 0


def test_runs_post_init_of_a_type_with_the_arrays() -> None:
    @dataclass
    class Counted:
        weight: np.ndarray
        size: int = field(init=False)

        def __post_init__(self) -> None:
            self.size = self.weight.size

    counted = bind(Counted, {"weight": zeros(3)})
    assert counted.size == 3
    counted.size = 7
    assert bind(counted, {"weight": zeros(3)}).size == 7  # an instance keeps what it has


# Instances


def an_instance() -> Net:
    return Net([Block(Conv(zeros(2), stride=2), zeros(2)) for _ in range(3)], Conv(zeros(2), zeros(2)))


def test_replaces_the_arrays_of_an_instance_and_keeps_the_rest() -> None:
    net = an_instance()
    before = leaves(net)
    record = numbered(*net_keys(0, 1, 2), "head.bias")
    bound = bind(net, record)
    assert bound.encoder[2].scale is record["encoder.2.scale"]
    assert bound.encoder[2].conv.stride == 2
    assert bound.head.bias is record["head.bias"]
    assert [id(array) for array in leaves(net)] == [id(array) for array in before]
    assert not any(array.any() for array in before)


def test_an_instance_has_its_optional_parts_already() -> None:
    without = Conv(zeros(2), bias=None)
    assert bind_report(without, numbered("weight", "bias")).unexpected_keys == ["bias"]
    assert bind_report(Conv(zeros(2), zeros(2)), numbered("weight")).missing_keys == ["bias"]


def test_items_without_arrays_take_no_number() -> None:
    layers = one_field(list[Any])([Conv(zeros(2)), Relu(), np.tanh, Conv(zeros(2))])
    for numbers in [(0, 3), (0, 1)]:
        bound = bind(layers, numbered(*(f"x.{n}.weight" for n in numbers)))
        assert show(bound.x[0]) == "Conv(0)"
        assert bound.x[1] is layers.x[1]
        assert bound.x[2] is np.tanh
        assert show(bound.x[3]) == "Conv(1)"


def test_binds_by_number_where_an_instance_has_more_or_fewer_items() -> None:
    report = bind_report(an_instance(), numbered(*net_keys(0, 2), "head.bias"))
    assert report.missing_keys == ["encoder.1.conv.weight", "encoder.1.scale"]
    assert report.bound["encoder.2.scale"] == "Net.encoder[2].scale"
    report = bind_report(an_instance(), numbered(*net_keys(0, 1, 2, 3), "head.bias"))
    assert report.unexpected_keys == ["encoder.3.conv.weight", "encoder.3.scale"]


class Pair(NamedTuple):
    first: Any
    second: Any


def test_keeps_the_kinds_of_containers() -> None:
    model = one_field(Any)({"a": Pair(zeros(2), 1), "b": OrderedDict(c=zeros(2)), 3: (zeros(2), "text")})
    bound = bind(model, numbered("x.a.0", "x.b.c", "x.3.0"))
    assert bound.x["a"] == Pair(bound.x["a"].first, 1)
    assert type(bound.x["b"]) is OrderedDict
    assert show(bound.x) == "{'a': (0, 1), 'b': {'c': 1}, 3: (2, 'text')}"
    assert model.x["b"]["c"] is not bound.x["b"]["c"]


@dataclass(frozen=True, slots=True)
class Slotted:
    weight: Array
    eps: float


class HandSlotted:
    __slots__ = ("__hidden",)

    def __init__(self) -> None:
        self.__hidden = 5

    @property
    def hidden(self) -> int:
        return self.__hidden


@dataclass
class Mixed(HandSlotted):
    weight: Array
    calls: ClassVar[list[str]] = []
    scratch: InitVar[int] = 0

    def __post_init__(self, scratch: int) -> None:
        super().__init__()
        self.calls.append("post_init")
        self.note = scratch

    @functools.cached_property
    def total(self) -> float:
        return float(self.weight.sum())


def test_copies_frozen_instances_with_slots() -> None:
    bound = bind(Slotted(zeros(2), 0.5), {"weight": np.ones(2)})
    assert bound.eps == 0.5
    assert bound.weight.sum() == 2
    assert pickle.loads(pickle.dumps(bound)).eps == 0.5


def test_copies_what_an_instance_has_besides_its_fields_without_running_post_init() -> None:
    Mixed.calls.clear()
    mixed = Mixed(zeros(2), 9)
    assert mixed.total == 0
    bound = bind(mixed, {"weight": np.ones(2)})
    assert (bound.hidden, bound.note, Mixed.calls) == (5, 9, ["post_init"])
    assert bound.total == 2  # not the number that was cached for the old array


def test_leaves_shared_parts_without_arrays_as_they_are() -> None:
    relu = Relu()
    model = one_field(Any)([relu, Conv(zeros(2))])
    assert bind(model, numbered("x.1.weight")).x[0] is relu


def test_refuses_keys_that_nest_without_end() -> None:
    with pytest.raises(BindError, match=r"^Node: expected a tree of modules, found one that is too deep"):
        bind(Node, {"left." * 5_000 + "value": zeros(2)})


def test_refuses_an_instance_that_contains_itself() -> None:
    model = one_field(Any)([zeros(2)])
    model.x.append(model)
    with pytest.raises(BindError) as caught:
        bind(model, numbered("x.0"))
    assert str(caught.value) == "Model: expected a tree of modules, found one that is too deep or contains itself"


# Strict and partial


def test_gathers_every_fault_in_one_error() -> None:
    record = numbered(*net_keys(0, 1, 2))
    record["encoder.2.conv.weight"] = zeros(8, 3, 5, 5)
    del record["head.weight"]
    record |= numbered("fc.weight", "fc.bias")
    net = an_instance()
    net.encoder[2] = Block(Conv(zeros(8, 3, 3, 3)), zeros(2))
    with pytest.raises(BindError) as caught:
        bind(net, record)
    assert str(caught.value) == (
        "Net does not fit the state_dict: 1 shape mismatch, 2 missing keys, 2 unexpected keys\n"
        "  Net.encoder[2].conv.weight: expected (8, 3, 3, 3), found (8, 3, 5, 5) in `encoder.2.conv.weight`\n"
        "  Net.head.weight: missing `head.weight`\n"
        "  Net.head.bias: missing `head.bias`\n"
        "  unexpected: `fc.bias`, `fc.weight`\n"
        "  Bind the record that was made for this model, or change what the model declares."
    )
    report = caught.value.report
    assert report == bind_report(net, record)
    assert report.missing_keys == ["head.weight", "head.bias"]
    assert report.unexpected_keys == ["fc.bias", "fc.weight"]
    assert [(m.kind, m.field, m.expected, m.found) for m in report.mismatches] == [
        ("shape", "Net.encoder[2].conv.weight", (8, 3, 3, 3), (8, 3, 5, 5))
    ]
    assert pickle.loads(pickle.dumps(caught.value)).report == report


@pytest.mark.parametrize(
    ("target", "remedy"),
    [
        (Conv, "or bind an instance with partial=True to keep the values it has."),
        (Conv(zeros(2)), "or pass partial=True to bind only the keys that exist."),
    ],
    ids=["type", "instance"],
)
def test_says_what_helps_against_missing_keys(target: Any, remedy: str) -> None:
    record = {"weights": zeros(2)}
    with pytest.raises(BindError) as caught:
        bind(target, record)
    assert str(caught.value) == (
        "Conv does not fit the state_dict: 1 missing key, 1 unexpected key\n"
        "  Conv.weight: missing `weight`\n"
        "  unexpected: `weights`\n"
        "  `weights` in the record is near to `weight` in the model\n"
        f"  Rename keys with key-remap at build time, {remedy}"
    )


def test_shows_the_first_eight_of_many_faults() -> None:
    with pytest.raises(BindError) as caught:
        bind(one_field(Any)({chr(ord("a") + i): [zeros(2)] for i in range(20)}), {})
    lines = str(caught.value).splitlines()
    assert lines[0] == "Model does not fit the state_dict: 20 missing keys"
    assert lines[8:10] == ["  Model.x['h'][0]: missing `x.h.0`", "  and 12 more"]


class Reads(Mapping[str, Any]):
    """A mapping that remembers what was read from it."""

    def __init__(self, tensors: Mapping[str, Any]) -> None:
        self.tensors = tensors
        self.read: list[str] = []

    def __getitem__(self, key: str) -> Any:
        self.read.append(key)
        return self.tensors[key]

    def __iter__(self) -> Iterator[str]:
        return iter(self.tensors)

    def __len__(self) -> int:
        return len(self.tensors)


class Described(Reads):
    """A record as far as binding knows one: it tells of tensors without reading them."""

    path = "model.mpk"

    def info(self, key: str) -> Any:
        return self.tensors[key]


def test_reads_nothing_before_all_is_known_to_fit() -> None:
    record = Described({"weight": zeros(3), "bias": zeros(2)})
    with pytest.raises(BindError, match=r"^Conv does not fit model\.mpk: 1 shape mismatch"):
        bind(Conv(zeros(2), zeros(2)), record)
    assert record.read == []


def test_reads_each_tensor_once_and_none_that_is_unexpected() -> None:
    for record in (Reads(numbered("weight", "other")), Described(numbered("weight", "other"))):
        bind(Conv(zeros(2)), record, partial=True)
        assert record.read == ["weight"]


def test_partial_keeps_what_the_record_lacks_and_leaves_what_the_model_lacks() -> None:
    net = an_instance()
    record = numbered("head.weight", "fc.weight")
    bound = bind(net, record, partial=True)
    assert bound.head.weight is record["head.weight"]
    assert bound.head.bias is net.head.bias
    assert bound.encoder[1].scale is net.encoder[1].scale
    report = bind_report(net, record)
    assert report.bound == {"head.weight": "Net.head.weight"}
    assert report.unexpected_keys == ["fc.weight"]
    assert len(report.missing_keys) == 7
    assert not report.fits


def test_two_records_make_a_hybrid() -> None:
    first, second = numbered("weight"), {"bias": np.ones(2)}
    hybrid = bind(bind(Conv(zeros(2), zeros(2)), first, partial=True), second, partial=True)
    assert hybrid.weight is first["weight"]
    assert hybrid.bias is second["bias"]


def test_partial_still_rejects_a_wrong_shape() -> None:
    with pytest.raises(BindError, match="1 shape mismatch, 1 missing key"):
        bind(Conv(zeros(2), zeros(2)), {"weight": zeros(3)}, partial=True)


def test_partial_cannot_make_a_type_without_its_arrays() -> None:
    with pytest.raises(BindError, match="bind an instance with partial=True"):
        bind(Conv, numbered("bias"), partial=True)
    assert bind(Conv, numbered("weight", "other"), partial=True).bias is None


def test_partial_of_an_empty_record_changes_nothing() -> None:
    net = an_instance()
    assert [id(array) for array in leaves(bind(net, {}, partial=True))] == [id(array) for array in leaves(net)]


def test_partial_rejects_a_record_of_which_nothing_fits() -> None:
    with pytest.raises(BindError) as caught:
        bind(Conv(zeros(2)), numbered("encoder.weight"), prefix="decoder", partial=True)
    assert str(caught.value) == (
        "Conv does not fit the state_dict below `decoder`: 1 missing key\n"
        "  Conv.weight: missing `decoder.weight`\n"
        "  Check the prefix: keys are looked up below it, and bound without it."
    )


@pytest.mark.parametrize("prefix", ["encoder", "encoder."])
def test_prefix_binds_a_part_and_ignores_the_rest(prefix: str) -> None:
    record = numbered("encoder.weight", "encoder_2.weight", "encoder-2.weight", "decoder.weight", "encoder")
    assert bind(Conv, record, prefix).weight is record["encoder.weight"]
    assert bind(Conv(zeros(2)), record, prefix=prefix, partial=True).weight is record["encoder.weight"]
    assert bind_report(Conv, record, prefix).bound == {"encoder.weight": "Conv.weight"}


def test_a_key_below_an_array_is_unexpected() -> None:
    assert bind_report(Conv, numbered("weight", "weight.scale")).unexpected_keys == ["weight.scale"]


@pytest.mark.parametrize("part", ["00", "+1", "\u0663", "1.5.weight", "9" * 5_000])
def test_only_plain_numbers_are_items_of_a_list(part: str) -> None:
    report = bind_report(one_field(list[Array]), numbered("x.0", f"x.{part}"))
    assert report.bound == {"x.0": "Model.x[0]"}
    assert report.unexpected_keys == [f"x.{part}"]


def test_tied_tensors_stay_the_same_memory() -> None:
    shared = zeros(2)
    bound = bind(Conv, {"weight": shared, "bias": shared})
    assert bound.weight is bound.bias is shared


def test_binds_bfloat16_and_float8_as_they_are() -> None:
    record = {"weight": zeros(2).astype(ml_dtypes.bfloat16), "bias": zeros(2).astype(ml_dtypes.float8_e5m2)}
    assert bind(Conv, record).weight.dtype == ml_dtypes.bfloat16
    assert bind(Conv(zeros(2), zeros(2)), record).bias is record["bias"]


# Declarations


@pytest.mark.parametrize(
    ("declared", "found", "fits"),
    [
        (Shape(8, 3, None, 3), (8, 3, 7, 3), True),
        (Shape(8, 3, None, 3), (8, 3, 3, 5), False),
        (Shape(8, 3, None, 3), (8, 3, 3), False),
        (Shape(None), (0,), True),
        (Shape(), (), True),
        (Shape(), (1,), False),
    ],
    ids=str,
)
def test_checks_the_declared_shape(declared: Shape, found: tuple[int, ...], fits: bool) -> None:
    report = bind_report(one_field(Annotated[np.ndarray, declared]), {"x": zeros(*found)})
    assert report.fits is fits
    assert list(map(str, report.mismatches)) == (
        [] if fits else [f"Model.x: expected {declared.dims}, found {found} in `x`"]
    )


@pytest.mark.parametrize(
    ("declared", "found", "expected"),
    [
        (np.float32, "float32", None),
        (np.float32, "float16", "float32"),
        (np.floating, "float16", None),
        (np.floating, ml_dtypes.bfloat16, None),
        (np.floating, "int8", "floating"),
        (np.integer, ml_dtypes.float8_e4m3fn, "integer"),
        (ml_dtypes.bfloat16, ml_dtypes.bfloat16, None),
        (np.float32 | np.float16, "float64", "float32 or float16"),
        (np.bool, "bool", None),
        (np.generic, "complex64", None),
    ],
    ids=str,
)
def test_checks_the_declared_dtype(declared: Any, found: Any, expected: str | None) -> None:
    record = {"x": np.zeros(2, found)}
    lines = [str(mismatch) for mismatch in bind_report(one_field(NDArray[declared]), record).mismatches]
    name = record["x"].dtype.name
    assert lines == ([] if expected is None else [f"Model.x: expected dtype {expected}, found {name} in `x`"])


def test_a_record_that_widens_has_the_dtype_that_it_gives(tmp_path: Path) -> None:
    write_record(tmp_path / "r.mpk", {"x": zeros(2).astype(ml_dtypes.bfloat16)})
    model = one_field(NDArray[np.float32])
    assert bind(model, open_record(tmp_path / "r.mpk", widen=True)).x.dtype == np.float32
    assert not bind_report(model, open_record(tmp_path / "r.mpk")).fits


def test_an_instance_does_not_fix_the_dtype() -> None:
    assert bind(Conv(zeros(2)), {"weight": np.zeros(2, np.float16)}).weight.dtype == np.float16


def test_names_every_field_that_a_record_cannot_give() -> None:
    @dataclass
    class Layer:
        weight: np.ndarray
        heads: int
        act: Callable[[Any], Any]
        scratch: InitVar[int]

    with pytest.raises(BindError) as caught:
        bind(one_field(list[Layer]), {})
    assert str(caught.value) == (
        "Model cannot be made from a record alone: 3 fields that no record has\n"
        "  Model.x[0].heads: expected an array or a default, found `int`\n"
        "  Model.x[0].act: expected an array or a default, found `Callable`\n"
        "  Model.x[0].scratch: expected an array or a default, found `dataclasses.InitVar[int]`\n"
        "  Give each a default, or bind an instance."
    )


@pytest.mark.parametrize("target", [dict, {}, 3, "Net", np.zeros(2), list[Conv]], ids=str)
def test_rejects_a_target_that_is_no_dataclass(target: Any) -> None:
    with pytest.raises(BindError, match=r"^expected a dataclass or an instance of one, found `"):
        bind(target, {})


def test_rejects_a_mapping_with_other_keys_or_values() -> None:
    with pytest.raises(BindError, match=r"^expected a mapping with strings as keys, found the key '3'$"):
        bind(Conv, {"weight": zeros(2), 3: zeros(2)})  # type: ignore[dict-item]
    report = bind_report(Conv, {"weight": [1.0, 2.0]})
    assert str(report.mismatches[0]) == "Conv.weight: expected an array, found `list` in `weight`"


def test_says_when_a_class_is_not_made_from_its_fields() -> None:
    @dataclass
    class Odd:
        weight: np.ndarray

        def __init__(self, size: int) -> None:
            self.weight = zeros(size)

    with pytest.raises(
        BindError, match=r"^Odd: expected a class that is made from its fields, found one that is not: "
    ):
        bind(Odd, numbered("weight"))
    assert bind(Odd(2), numbered("weight")).weight[0] == 0


def test_keeps_an_optional_array_of_an_instance_where_the_record_has_none_and_takes_it_where_it_has_one():
    norm = nn.BatchNorm2d.init(2)
    arrays = {
        "weight": np.ones(2, "f4"),
        "bias": np.ones(2, "f4"),
        "running_mean": np.ones(2),
        "running_var": np.ones(2),
    }
    assert bind(norm, arrays).num_batches_tracked is norm.num_batches_tracked
    counted = {**arrays, "num_batches_tracked": np.array(7)}
    assert bind(norm, counted).num_batches_tracked == 7
    assert bind(nn.BatchNorm2d, counted).num_batches_tracked == 7
    assert bind(nn.BatchNorm2d, arrays).num_batches_tracked is None
    assert bind(bind(nn.BatchNorm2d, arrays), counted).num_batches_tracked == 7
