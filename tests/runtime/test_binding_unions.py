"""Enum modules: a field annotated `A | B` becomes the one variant that fits exactly."""

from __future__ import annotations

import pickle
from dataclasses import dataclass, field
from typing import Annotated, Any, Union

import numpy as np
import pytest
from numpy.typing import NDArray

from wheelweights.binding import Shape, bind, bind_report
from wheelweights.report import BindError

Array = NDArray[Any]


@dataclass
class Plain:
    weight: Array


@dataclass
class Biased:
    weight: Array
    bias: Array


@dataclass
class MaybeBiased:
    weight: Array
    bias: Array | None = None


@dataclass
class Identity:
    pass


@dataclass
class Narrow:
    weight: Annotated[Array, Shape(2, None)]


@dataclass
class Wide:
    weight: Annotated[Array, Shape(4, None)]


@dataclass
class Sized:
    weight: Array
    size: int


@dataclass
class Net:
    layer: Plain | Biased


@dataclass
class Layers:
    layers: list[Plain | Biased | Identity]


@dataclass
class Shapes:
    layer: Narrow | Wide


@dataclass
class Optional:
    layer: Plain | Biased | None


@dataclass
class Skip:
    """As a residual block: a projection or nothing."""

    weight: Array
    shortcut: Plain | Identity


@dataclass
class Deep:
    block: Net | Optional | Skip


@dataclass
class Raw:
    weight: Union[Array, Plain, float]  # noqa: UP007 (both spellings are bound)


@dataclass
class Twin:
    layer: Plain | MaybeBiased


@dataclass
class Needy:
    layer: Plain | Sized


@dataclass
class Acts:
    weight: Array
    act: Identity | float = field(default_factory=Identity)


def arrays(*keys: str, shape: tuple[int, ...] = (2, 3)) -> dict[str, Array]:
    return {key: np.full(shape, i) for i, key in enumerate(keys)}


@pytest.mark.parametrize("reverse", [False, True], ids=["as written", "reversed"])
def test_takes_the_variant_that_fits_whatever_the_order(reverse: bool) -> None:
    layer = Biased | Plain if reverse else Plain | Biased
    model = type("Model", (), {"__annotations__": {"layer": layer}})
    model = dataclass(model)
    assert type(bind(model, arrays("layer.weight")).layer) is Plain
    assert type(bind(model, arrays("layer.weight", "layer.bias")).layer) is Biased


def test_decides_each_item_of_a_list() -> None:
    bound = bind(Layers, arrays("layers.0.weight", "layers.1.weight", "layers.1.bias"))
    assert [type(layer) for layer in bound.layers] == [Plain, Biased]


def test_a_gap_in_a_list_is_the_variant_without_arrays() -> None:
    bound = bind(Layers, arrays("layers.0.weight", "layers.2.weight", "layers.2.bias"))
    assert [type(layer) for layer in bound.layers] == [Plain, Identity, Biased]


def test_shapes_decide_between_variants_with_the_same_keys() -> None:
    assert type(bind(Shapes, arrays("layer.weight")).layer) is Narrow
    assert type(bind(Shapes, arrays("layer.weight", shape=(4, 3))).layer) is Wide


def test_no_key_means_none_or_the_variant_without_arrays() -> None:
    assert bind(Optional, {}).layer is None
    assert type(bind(Optional, arrays("layer.weight")).layer) is Plain
    assert bind(Skip, arrays("weight")).shortcut == Identity()
    assert type(bind(Skip, arrays("weight", "shortcut.weight")).shortcut) is Plain


def test_decides_through_nested_unions() -> None:
    deep = bind(Deep, arrays("block.weight", "block.shortcut.weight"))
    assert type(deep.block) is Skip
    with pytest.raises(BindError, match=r"found 2 \(Net: fits; Optional: fits; Skip: missing `block\.weight`"):
        bind(Deep, arrays("block.layer.weight"))


def test_an_array_can_be_a_variant() -> None:
    assert bind(Raw, arrays("weight")).weight.shape == (2, 3)  # type: ignore[union-attr]
    assert type(bind(Raw, arrays("weight.weight")).weight) is Plain


def test_names_each_variant_and_the_keys_that_decided() -> None:
    with pytest.raises(BindError) as caught:
        bind(Net, arrays("layer.weight", "layer.scale"))
    assert str(caught.value) == (
        "Net does not fit the state_dict: 1 variant mismatch\n"
        "  Net.layer: expected exactly one of `Plain`, `Biased` to fit, found none "
        "(Plain: unexpected `layer.scale`; Biased: missing `layer.bias`, unexpected `layer.scale`)\n"
        "  Bind the record that was made for this model, or change what the model declares."
    )
    report = caught.value.report
    assert report is not None
    assert report.unexpected_keys == report.missing_keys == []
    assert [(mismatch.kind, mismatch.key) for mismatch in report.mismatches] == [("variant", "layer")]
    assert pickle.loads(pickle.dumps(report)) == report


def test_says_which_shape_decided() -> None:
    report = bind_report(Shapes, arrays("layer.weight", shape=(3, 3)))
    assert str(report.mismatches[0]) == (
        "Shapes.layer: expected exactly one of `Narrow`, `Wide` to fit, found none "
        "(Narrow: Shapes.layer.weight: expected (2, None), found (3, 3) in `layer.weight`; "
        "Wide: Shapes.layer.weight: expected (4, None), found (3, 3) in `layer.weight`)"
    )


def test_rejects_variants_that_cannot_be_told_apart() -> None:
    with pytest.raises(BindError, match=r"found 2 \(Plain: fits; MaybeBiased: fits\)"):
        bind(Twin, arrays("layer.weight"))
    assert type(bind(Twin, arrays("layer.weight", "layer.bias")).layer) is MaybeBiased


def test_partial_does_not_let_a_subset_win() -> None:
    with pytest.raises(BindError, match=r"Biased: missing `layer.bias`, unexpected `layer.scale`"):
        bind(Net, arrays("layer.weight", "layer.scale"), partial=True)


def test_an_instance_has_its_variant_already() -> None:
    net = Net(Biased(np.zeros((2, 3)), np.zeros((2, 3))))
    assert type(bind(net, arrays("layer.weight", "layer.bias")).layer) is Biased
    assert bind_report(net, arrays("layer.weight")).missing_keys == ["layer.bias"]
    assert type(bind(net, arrays("layer.weight"), partial=True).layer) is Biased


def test_a_variant_must_be_one_that_a_record_can_give() -> None:
    with pytest.raises(BindError, match=r"Needy\.layer\.size: expected an array or a default, found `int`"):
        bind(Needy, arrays("layer.weight"))


def test_variants_without_arrays_are_static() -> None:
    assert bind(Acts, arrays("weight")).act == Identity()
    bare: Any = dataclass(type("Bare", (), {"__annotations__": {"weight": Array, "act": Identity | float}}))
    with pytest.raises(BindError, match=r"Bare\.act: expected an array or a default, found `Identity \| float`"):
        bind(bare, arrays("weight"))
