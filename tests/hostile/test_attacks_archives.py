"""TorchScript archives, exported programs and pickled models that lie about what they hold."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest

from making.checkpoints import exported, zip_checkpoint
from making.pickles import Code, build, get, name, pickled, put, state_dict, tensor
from making.seeds import CODE, scripted, torchscript
from making.values import FLOATS, VALUES
from making.zips import Member, zip_archive

if TYPE_CHECKING:
    from looking.opening import Refused


def test_opens_a_well_formed_torchscript_archive(opened: Any) -> None:
    inner = scripted("Inner", {"b": tensor(size=(2,)), "training": True})
    arrays = opened(torchscript(pickled(scripted("Net", {"w": tensor(), "a": inner, "training": False}))))
    assert {key: array.tolist() for key, array in arrays.items()} == {"w": list(VALUES), "a.b": [1.0, 2.0]}


def test_refuses_a_torchscript_name_that_is_also_a_path(refused: Refused) -> None:
    inner = scripted("Inner", {"b": tensor(offset=1, size=(1,))})
    refused(torchscript(pickled(scripted("Net", {"a.b": tensor(size=(1,)), "a": inner}))), "a.b")
    refused(torchscript(pickled(scripted("Net", {"a": inner, "a.b": tensor(size=(1,))}))), "a.b")


def test_refuses_a_torchscript_module_in_itself(refused: Refused) -> None:
    module = put(Code(name("__torch__", "Net") + b")\x81"), 5)
    refused(torchscript(pickled(Code(module + b"}(" + b"X\x01\0\0\0a" + get(5) + b"ub"))))


@pytest.mark.slow
def test_refuses_torchscript_modules_that_are_shared_without_end(refused: Refused) -> None:
    modules = put(scripted("Inner", {"b": tensor()}), 0)
    for number in range(1, 40):
        modules = Code(modules + b"0" + put(scripted("Two", {"l": get(number - 1), "r": get(number - 1)}), number))
    refused(torchscript(pickled(modules)))


@pytest.mark.parametrize(
    "code",
    [
        pytest.param(b"", id="none"),
        pytest.param(b"class Net(Module):\n  __parameters__ = [", id="cut"),
        pytest.param(b"\xff\xfe" * 100, id="no text"),
        pytest.param(b"class Net(Module):\n" + b"  x : int\n" * 100_000, id="long"),
        pytest.param(b"class " + b"N" * 100_000 + b"(Module):\n", id="long name"),
        pytest.param(b'  __parameters__ = ["' + b'"' * 50_000 + b"]\n", id="many quotes"),
        pytest.param(b"class Net(Module):\n  __parameters__ = [" + b"]" * 50_000 + b" \n", id="many brackets"),
    ],
)
def test_survives_torchscript_code_that_is_odd(result: Any, code: bytes) -> None:
    result(torchscript(pickled(scripted("Net", {"w": tensor()})), code))


def test_refuses_torchscript_code_that_is_a_bomb(result: Any) -> None:
    result(torchscript(pickled(scripted("Net", {"w": tensor()})), CODE + bytes(20_000_000), method=8), budget=4 << 20)


# ------------------------------------------------------------------------------------------------------- torch.export


def test_opens_a_well_formed_exported_program(opened: Any) -> None:
    assert opened(exported())["w"].tolist() == list(VALUES)


@pytest.mark.parametrize(
    "change",
    [
        {"sizes": [{"as_int": 5}]},
        {"sizes": [{"as_int": -4}]},
        {"sizes": [{"as_int": 1 << 62}, {"as_int": 4}], "strides": [{"as_int": 0}, {"as_int": 1}]},
        {"sizes": [{"as_int": 4.0}]},
        {"sizes": [{"as_int": True}]},
        {"sizes": [{"as_expr": "s0"}]},
        {"sizes": None},
        {"sizes": [{"as_int": 1}] * 99, "strides": [{"as_int": 1}] * 99},
        {"strides": []},
        {"storage_offset": {"as_int": 1}},
        {"storage_offset": {"as_int": -1}},
        {"storage_offset": None},
        {"dtype": 8},
        {"dtype": 99},
        {"dtype": [7]},
        {"dtype": None},
        {"layout": 2},
        {"path_name": "../../version"},
        {"path_name": "../archive_format"},
        {"path_name": "weight_9"},
        {"path_name": "weight_0\0"},
        {"path_name": None},
        {"path_name": ["weight_0"]},
        {"use_pickle": True},
        {"use_pickle": "no"},
        {"tensor_meta": None},
    ],
    ids=lambda change: str(change)[:60],
)
def test_refuses_an_exported_weight_that_lies(refused: Refused, change: dict[str, Any]) -> None:
    refused(exported(**change))


@pytest.mark.parametrize(
    "config",
    [
        b"",
        b"{",
        b"[]",
        b"null",
        b"{}",
        b'{"config": []}',
        b'{"config": "x"}',
        b'{"config": {"w": null}}',
        b'{"config": {"w": 1, "w": 2}}',
        b'{"config":' * 20_000,
        b'{"config": {"w": ' + b"9" * 5_000 + b"}}",
        b'{"config": {"\\ud800": {}}}',
        b"\xff\xfe",
        '{"config": {}}'.encode("utf-16"),
    ],
    ids=lambda config: ascii(config[:30]),
)
def test_refuses_a_malformed_description_of_weights(refused: Refused, config: bytes) -> None:
    refused(exported(config))


def test_refuses_an_exported_program_without_weights(refused: Refused) -> None:
    refused(zip_archive([Member("m/archive_format", b"pt2")]))


# ------------------------------------------------------------------------------------------------------- whole models


def module(parameters: object, buffers: object, modules: object, **more: object) -> Code:
    """Pickle an object as torch pickles a module."""
    state = {"_parameters": parameters, "_buffers": buffers, "_modules": modules, **more}
    return build(Code(name("mynet", "Net") + b")\x81"), state)


def test_opens_a_well_formed_model(opened: Any) -> None:
    inner = module({"b": tensor(size=(2,))}, {"c": None}, {"none": None})
    whole = module({"w": tensor()}, {}, {"a": inner}, _non_persistent_buffers_set=[])
    assert list(opened(zip_checkpoint(pickled(whole)), whole_model=True)) == ["w", "a.b"]


def test_refuses_a_model_whose_names_collide(refused: Refused) -> None:
    inner = module({"b": tensor()}, {}, {})
    refused(zip_checkpoint(pickled(module({"a.b": tensor()}, {}, {"a": inner}))), "a.b", whole_model=True)
    refused(zip_checkpoint(pickled(module({"w": tensor()}, {"w": tensor()}, {}))), "`w`", whole_model=True)


def test_refuses_models_that_are_shared_without_end(refused: Refused) -> None:
    modules = put(module({"w": tensor()}, {}, {}), 0)
    for number in range(1, 40):
        modules = Code(modules + b"0" + put(module({}, {}, {"l": get(number - 1), "r": get(number - 1)}), number))
    refused(zip_checkpoint(pickled(modules)), whole_model=True)


@pytest.mark.parametrize(
    "whole",
    [
        module([], [], []),
        module(None, None, None),
        module({"w": 3}, {"x": "text"}, {"y": 1.5}),
        module({1: tensor()}, {None: tensor()}, {(): tensor()}),
        module({}, {}, {"a": tensor()}),
        module({"w": tensor()}, {}, {}, _non_persistent_buffers_set=7),
        module({"w": tensor()}, {}, {}, _non_persistent_buffers_set=[[], {}, tensor()]),
        build(Code(name("mynet", "Net") + b")\x81"), {"_parameters": {}}),
        build(Code(name("mynet", "Net") + b")\x81"), (None, {"_parameters": {"w": tensor()}})),
    ],
    ids=range(9),
)
def test_survives_models_that_are_odd(result: Any, whole: Code) -> None:
    result(zip_checkpoint(pickled(whole)), whole_model=True)
    result(zip_checkpoint(pickled({"model": whole, "w": tensor()})), whole_model=True)


def test_a_file_that_is_a_state_dict_and_an_exported_program_is_refused_or_read_as_one(result: Any) -> None:
    other = (Member("m/data.pkl", state_dict(x=tensor())), Member("m/data/0", FLOATS))
    found = result(exported(extra=other))
    assert not isinstance(found, dict) or list(found) == ["w"]
