"""The classes of modules and their settings: whole models, TorchScript and exported programs, as data of the file.

`checkpoints/torchscript`, `exported` and `old_torch` have the scripts that made the files of torch.
"""

from __future__ import annotations

import json
import math
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

from hatch_wheelweights import CheckpointError, open_checkpoint
from hatch_wheelweights.checkpoint import Account, Global, Opaque
from hatch_wheelweights.checkpoint.module_classes import MAX_SETTINGS, MAX_VALUES, ModuleClass, Name, settings_of
from hatch_wheelweights.options.model import TensorOptions
from making.checkpoints import exported, safetensors, torch_members, zip_checkpoint
from making.costly_classes import exported_program, node, program
from making.costly_trees import module
from making.pickles import Code, build, get, name, ordered_dict, pickled, put, tensor
from making.zips import Member, zip_archive

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

CHECKPOINTS = Path(__file__).parents[2] / "checkpoints"
LINEAR = "torch.nn.modules.linear.Linear"
CONV = "torch.nn.modules.conv.Conv2d"


def classes(path: Path | str, top_level_key: Any = None) -> Mapping[str, ModuleClass]:
    with open_checkpoint(path) as checkpoint:
        return checkpoint.module_classes(TensorOptions(top_level_key=top_level_key))


@pytest.fixture
def written(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Callable[[bytes], str]:
    """Write a file in the current folder, and return its name."""
    monkeypatch.chdir(tmp_path)

    def write(data: bytes) -> str:
        Path("model.pt").write_bytes(data)
        return "model.pt"

    return write


# ------------------------------------------------------------------------------------- files of torch

NORM = {"num_features": 2, "eps": 1e-5, "momentum": 0.1, "affine": True, "track_running_stats": True}
NET = {
    "": ModuleClass("Net", {}),
    "blocks": ModuleClass("torch.nn.modules.container.ModuleList", {}),
    "blocks.0": ModuleClass("Block", {}),
    "blocks.0.fc": ModuleClass(LINEAR, {"in_features": 3, "out_features": 2}),
    "blocks.1": ModuleClass("Block", {}),
    "blocks.1.fc": ModuleClass(LINEAR, {"in_features": 3, "out_features": 2}),
    "norm": ModuleClass("torch.nn.modules.batchnorm.BatchNorm1d", NORM),
    "head": ModuleClass(LINEAR, {"in_features": 2, "out_features": 3}),
}


@pytest.mark.parametrize("file", ["scripted.pt", "lite.ptl"])
def test_a_scripted_module_has_its_constants_as_settings(file: str) -> None:
    found = classes(CHECKPOINTS / "torchscript" / file)
    assert found == NET
    assert list(found) == list(NET)


def test_a_traced_module_has_as_settings_what_its_operators_are_called_with() -> None:
    norm = ModuleClass("torch.nn.modules.batchnorm.BatchNorm1d", {"momentum": 0.1, "eps": 1e-5})
    expected = {key: ModuleClass(each.name, {}) for key, each in NET.items()} | {"norm": norm}
    assert classes(CHECKPOINTS / "torchscript" / "traced.pt") == expected


@pytest.mark.parametrize("version", ["1.4.0-python-2.7", "1.5.1-python-3.6", "1.6.0-python-3.6"])
def test_scripted_modules_of_old_torch_have_classes(version: str) -> None:
    settings = {} if version.startswith("1.4") else {"in_features": 3, "out_features": 2}
    assert classes(CHECKPOINTS / "old_torch" / f"torch-{version}-script.pt") == {
        "": ModuleClass("Net", {}),
        "fc": ModuleClass(LINEAR, settings),
        "tied": ModuleClass(LINEAR, settings),
    }


def test_an_exported_program_names_the_modules_that_call_something() -> None:
    assert classes(CHECKPOINTS / "exported" / "exported.pt2") == {
        "": ModuleClass("__main__.Net", {}),
        "first": ModuleClass(LINEAR, {}),
        "second": ModuleClass(LINEAR, {}),
    }


@pytest.mark.parametrize("file", ["conv2d/conv2d.pt", "old_torch/torch-1.6.0-python-3.6-legacy.pt"])
def test_a_state_dict_names_no_classes(file: str) -> None:
    assert classes(CHECKPOINTS / file) == {}


def test_safetensors_name_no_classes(written: Callable[[bytes], str]) -> None:
    assert classes(written(safetensors())) == {}


def test_opening_reads_no_more_than_before(monkeypatch: pytest.MonkeyPatch) -> None:
    from hatch_wheelweights.checkpoint.zip import ZipArchive

    read = list[str]()
    original = ZipArchive.read

    def noted(self: ZipArchive, name: str, *limit: int, **more: int) -> bytes:
        read.append(name)
        return original(self, name, *limit, **more)

    monkeypatch.setattr(ZipArchive, "read", noted)
    with open_checkpoint(CHECKPOINTS / "exported" / "exported.pt2") as checkpoint:
        checkpoint.state_dict()
        assert "models/model.json" not in read
        checkpoint.module_classes(TensorOptions())
    assert read.count("models/model.json") == 1


def test_a_closed_checkpoint_says_so() -> None:
    checkpoint = open_checkpoint(CHECKPOINTS / "exported" / "exported.pt2")
    checkpoint.close()
    with pytest.raises(CheckpointError, match="the checkpoint is closed"):
        checkpoint.module_classes(TensorOptions())


# ------------------------------------------------------------------------------------- what a setting is


def settings(**attributes: Any) -> dict[str, Any]:
    return settings_of(attributes.items(), Account(1 << 20))


def test_plain_values_are_settings() -> None:
    plain = {"a": None, "b": True, "c": -3, "d": 0.5, "e": "zeros", "f": (1, (2, 3)), "g": math.inf}
    assert settings(**plain) == plain


def test_lists_are_tuples() -> None:
    assert settings(a=[1, [2, "x"]]) == {"a": (1, (2, "x"))}


def test_what_is_referred_to_is_a_setting_by_its_name() -> None:
    found = settings(act=Global("torch.nn.functional", "relu"), both=(Global("torch", "float16"), None))
    assert found == {"act": "torch.nn.functional.relu", "both": ("torch.float16", None)}
    assert repr(found) == "{'act': torch.nn.functional.relu, 'both': (torch.float16, None)}"
    assert isinstance(found["act"], Name)


def test_an_object_is_a_setting_by_its_class() -> None:
    assert settings(mode=Opaque("mynet", "Mode", (1,)), parts=[Opaque("mynet", "Part")]) == {"mode": "mynet.Mode"}


def test_private_names_and_the_state_of_training_are_no_settings() -> None:
    assert settings(training=True, _hooks=1, a=1) == {"a": 1}


def test_long_values_are_left_out_whole() -> None:
    endless = list[Any]()
    endless.append(endless)
    wide = [[0] * 10] * 10
    long = {"a": [0] * MAX_VALUES, "b": "x" * 201, "c": 1 << 64, "d": endless, "e": wide, "f": "a\nb", "g": "\ud800"}
    assert settings(**long) == {}
    assert settings(a=[0] * (MAX_VALUES - 1), b="x" * 200, c=(1 << 64) - 1) != {}


def test_a_module_has_a_bounded_number_of_settings() -> None:
    assert list(settings(**{f"s{i}": i for i in range(1000)})) == [f"s{i}" for i in range(MAX_SETTINGS)]


def test_other_values_are_no_settings() -> None:
    assert settings(a={"x": 1}, b={1}, c=b"x", d=1j, e=({},), f=Opaque("torch", "device", ("cpu",), closed=True)) == {}


# ------------------------------------------------------------------------------------- whole models


def test_a_whole_model_has_attributes_as_settings(written: Callable[[bytes], str]) -> None:
    inner = module(_parameters={"weight": tensor()}, training=True, stride=(2, 2), padding_mode="zeros", _hooks={})
    outer = module(_modules={"a": inner, "none": None}, hidden_size=3, config={"x": 1})
    assert classes(written(zip_checkpoint(pickled(outer)))) == {
        "": ModuleClass("mynet.Net", {"hidden_size": 3}),
        "a": ModuleClass("mynet.Net", {"stride": (2, 2), "padding_mode": "zeros"}),
    }


def test_modules_in_a_dict_are_below_their_keys(written: Callable[[bytes], str]) -> None:
    inner = module(_parameters={"weight": tensor()}, n=1)
    path = written(zip_checkpoint(pickled({"ema": [module(_modules={"a": inner})], "w": tensor(), 3: inner})))
    one = ModuleClass("mynet.Net", {"n": 1})
    assert classes(path) == {"ema.0": ModuleClass("mynet.Net", {}), "ema.0.a": one, "3": one}
    assert classes(path, "ema") == {"0": ModuleClass("mynet.Net", {}), "0.a": one}
    assert classes(path, ["ema", "0"]) == {"": ModuleClass("mynet.Net", {}), "a": one}
    assert classes(path, "3") == {"": one}
    assert classes(path, "w") == classes(path, "missing") == {}


def test_a_key_leads_into_an_object(written: Callable[[bytes], str]) -> None:
    trainer = build(Code(name("mynet", "Trainer") + b")\x81"), {"model": module(n=1), "step": 3})
    path = written(zip_checkpoint(pickled({"trainer": trainer, "w": tensor()})))
    assert classes(path, ["trainer", "model"]) == {"": ModuleClass("mynet.Net", {"n": 1})}
    assert classes(path, "trainer") == {"model": ModuleClass("mynet.Net", {"n": 1})}
    assert classes(path) == {}


def test_a_shared_module_has_every_key(written: Callable[[bytes], str]) -> None:
    shared = module(_parameters={"weight": tensor()}, n=1)
    outer = module(_modules={"a": put(shared, 9), "b": get(9), "c": module(_modules={"d": get(9)})})
    found = classes(written(zip_checkpoint(pickled(outer))))
    assert list(found) == ["", "a", "b", "c", "c.d"]
    assert found["a"] is found["b"] is found["c.d"]


def test_a_module_in_itself_is_not_followed(written: Callable[[bytes], str]) -> None:
    empty = Code(name("mynet", "Net") + b")\x81")
    state = {"_parameters": {}, "_buffers": {}, "_modules": {"a": get(9), "b": module()}, "n": 1}
    found = classes(written(zip_checkpoint(pickled(build(put(empty, 9), state)))))
    assert found == {"": ModuleClass("mynet.Net", {"n": 1}), "b": ModuleClass("mynet.Net", {})}


def test_modules_are_followed_to_a_bounded_depth(written: Callable[[bytes], str]) -> None:
    made = module()
    for _ in range(300):
        made = module(_modules={"a": made})
    assert len(classes(written(zip_checkpoint(pickled(made))))) == 200


def test_a_traced_graph_module_has_its_class_and_no_settings(written: Callable[[bytes], str]) -> None:
    empty: dict[str, Any] = {"_parameters": {}, "_buffers": {}, "shape_env": None}
    body = empty | {"_modules": {"0": module(n=1)}, "_code": "def forward(self): pass"}
    made = Code(
        name("torch.fx.graph_module", "reduce_graph_module") + Code(b"(" + code_of(body) + b"X\0\0\0\0t") + b"R"
    )
    assert classes(written(zip_checkpoint(pickled(made)))) == {
        "": ModuleClass("torch.fx.graph_module.GraphModule", {}),
        "0": ModuleClass("mynet.Net", {"n": 1}),
    }


def code_of(value: object) -> Code:
    from making.pickles import code

    return code(value)


# ------------------------------------------------------------------------------------- TorchScript

NET_CODE = """class Net(Module):
  __parameters__ = ["bias", ]
  __buffers__ = []
  bias : NoneType
"""


@pytest.fixture
def scripted(written: Callable[[bytes], str]) -> Callable[..., str]:
    """Write an object with a state and the code of its class, `__torch__.Net` or another."""

    def write(code: str, module: str = "__torch__", kind: str = "Net", **state: object) -> str:
        root = build(Code(name(module, kind) + b")\x81"), ordered_dict(state))
        more = [
            Member(f"archive/code/{module.replace('.', '/')}.py", code.encode()),
            Member("archive/constants.pkl", pickled(())),
        ]
        return written(zip_archive([*torch_members(pickled(root)), *more]))

    return write


def test_constants_and_attributes_of_a_scripted_module_are_settings(scripted: Callable[..., str]) -> None:
    constants = """  stride : Final[Tuple[int, int]] = (2, 2)
  eps : Final[float] = 1.0000000000000001e-05
  mode : Final[str] = "zeros"
  momentum : Final[NoneType] = None
  in_channels : Final[int] = 3
  limit : Final[float] = -inf
"""
    path = scripted(NET_CODE + constants, bias=None, training=True, transposed=False, _b=1, w=tensor(), bias_k=None)
    found = classes(path)[""].settings
    assert found == {
        "in_channels": 3,
        "stride": (2, 2),
        "eps": 1e-5,
        "momentum": None,
        "limit": -math.inf,
        "mode": "zeros",
        "transposed": False,
        "bias_k": None,
    }
    assert list(found) == [*list(found)[:6], "transposed", "bias_k"]
    assert list(found)[:4] == ["in_channels", "stride", "eps", "momentum"]


@pytest.mark.parametrize(
    "line",
    [
        "  a : Final[int] = x",
        "  a : Final[int] = ((((((1,),),),),),)",
        "  a : Final[int] = (1, 2",
        "  a : Final[int] = 1 2",
        "  a : Final[int] = __import__('os').system('true')",
        "  a : Final[int] = 10000000000000000000000000000000000000000",
        f"  a : Final[int] = {'(' * 980}",
        f"  a : Final[int] = {'(' * 100_000}",
        f"  a : Final[Tuple[{'int, ' * 400}]] = (1,)",
        '  a : Final[str] = "\\x41"',
        '  a : Final[str] = "unended',
        "  a : Final[int] =",
        "  a : int = 1",
        "a : Final[int] = 1",
        "    a : Final[int] = 1",
    ],
)
def test_what_is_no_short_literal_is_no_setting(scripted: Callable[..., str], line: str) -> None:
    path = scripted(f"{NET_CODE}{line}\n  b : Final[int] = 1\n")
    assert classes(path)[""].settings == {"b": 1}


def test_names_are_as_they_were_before_compilation(scripted: Callable[..., str]) -> None:
    path = scripted(NET_CODE, "__torch__.torch.nn.modules.conv.___torch_mangle_37")
    assert classes(path)[""].name == "torch.nn.modules.conv.Net"


CONV_CODE = """class Conv2d(Module):
  __parameters__ = []
  __buffers__ = []
  def forward(self: __torch__.torch.nn.modules.conv.Conv2d,
    input: Tensor) -> Tensor:
"""
ZEROS = {"stride": (2, 2), "padding": (1, 1), "dilation": (1, 1), "groups": 4}
CALL = "torch._convolution(input, weight, None, [2, 2], [1, 1], [1, 1], False, [0, 0], 4, False, False, True, True)"


@pytest.fixture
def traced(scripted: Callable[..., str]) -> Callable[[str], Mapping[str, Any]]:
    """Return the settings of a convolution whose forward has these lines."""

    def write(lines: str) -> Mapping[str, Any]:
        return classes(scripted(CONV_CODE + lines, "__torch__.torch.nn.modules.conv", "Conv2d"))[""].settings

    return write


def test_arguments_of_a_traced_layer_are_settings(traced: Callable[[str], Mapping[str, Any]]) -> None:
    assert traced(f"    _0 = {CALL}\n") == ZEROS | {"output_padding": (0, 0)}
    assert traced(f"    _0 = {CALL}\n    return {CALL}\n") == ZEROS | {"output_padding": (0, 0)}


def test_a_call_in_a_call_says_settings_too(traced: Callable[[str], Mapping[str, Any]]) -> None:
    padded = CALL.replace("input", 'torch.pad(input, [1, 1, 1, 1], "reflect")')
    assert traced(f"    return {padded}\n") == {
        "padding_mode": "reflect",
        **{name: value for name, value in ZEROS.items() if name != "padding"},
        "output_padding": (0, 0),
    }


def test_what_is_left_out_of_a_call_has_the_value_of_the_operator(traced: Callable[[str], Mapping[str, Any]]) -> None:
    assert traced("    return torch.conv2d(input, weight)\n") == {
        "stride": (1, 1),
        "padding": (0, 0),
        "dilation": (1, 1),
        "groups": 1,
    }
    named = traced('    return torch.conv2d(input, f(a, ")"), groups=2, padding="same")\n')
    assert (named["groups"], named["padding"]) == (2, "same")


def test_what_two_calls_say_differently_is_no_setting(traced: Callable[[str], Mapping[str, Any]]) -> None:
    assert traced(f"    _0 = {CALL}\n    return torch.conv2d(input, weight, groups=4)\n") == {
        "dilation": (1, 1),
        "groups": 4,
        "output_padding": (0, 0),
    }


@pytest.mark.parametrize(
    "line",
    [
        "torch.conv2d(input, weight, None, [2, 2], [1, int(x)])",
        "torch.conv2d(input, weight, None, [2, 2], [0, 0], [1, 1], True)",
        "torch.conv2d(input, weight, None, (((((((2, 2)))))))",
        "torch.conv2d(input, weight, None, [2, 2]",
        f"torch.conv2d(input, weight, None, [2, 2]){' ' * 1000}",
        "torch.conv3d(input, weight)",
        "xtorch.conv2d(input, weight)",
        f"{'torch.conv2d(' * 70}",
    ],
)
def test_other_arguments_than_the_operators_say_nothing(traced: Callable[[str], Mapping[str, Any]], line: str) -> None:
    assert traced(f"    return {line}\n") == {}


# ------------------------------------------------------------------------------------- exported programs


def call(target: str, stack: str, **given: Any) -> bytes:
    inputs = [{"name": name, "arg": arg, "kind": 1} for name, arg in given.items()]
    made = {"target": f"torch.ops.aten.{target}", "inputs": inputs, "metadata": {"nn_module_stack": stack}}
    return json.dumps(made).encode()


def test_calls_of_an_exported_program_are_settings_of_the_innermost_module(written: Callable[[bytes], str]) -> None:
    stack = f"L__self__,,__main__.Net;L__self__conv,conv,{CONV}"
    again = f"L__self__,,__main__.Net;L__self__conv@1,conv,{CONV}"
    conv = {"input": {"as_tensor": {"name": "x"}}, "stride": {"as_ints": [2, 2]}, "groups": {"as_int": 2}}
    nodes = [
        call("conv2d.default", stack, **conv),
        call("relu.default", "L__self__,,__main__.Net;L__self__act,act,torch.nn.modules.activation.ReLU"),
        call("conv2d.default", "L__self__,,__main__.Net"),
        call("conv2d.default", again, **conv),
        call("hardtanh.default", "L,t,torch.nn.modules.activation.Hardtanh", max_val={"as_float": "Infinity"}),
        b'{"target": "_operator.getitem", "inputs": [], "metadata": {}}',
    ]
    assert classes(written(exported_program(program(*nodes)))) == {
        "": ModuleClass("__main__.Net", {}),
        "conv": ModuleClass(CONV, {"stride": (2, 2), "padding": (0, 0), "dilation": (1, 1), "groups": 2}),
        "act": ModuleClass("torch.nn.modules.activation.ReLU", {}),
        "t": ModuleClass("torch.nn.modules.activation.Hardtanh", {"min_val": -1.0, "max_val": math.inf}),
    }


def test_what_the_input_decides_is_no_setting(written: Callable[[bytes], str]) -> None:
    size = {"as_sym_ints": [{"as_name": "s0"}, {"as_int": 1}]}
    made = call("conv2d.default", f",c,{CONV}", padding=size)
    assert classes(written(exported_program(program(made)))) == {"c": ModuleClass(CONV, {})}


def test_several_programs_are_below_their_names(written: Callable[[bytes], str]) -> None:
    made = exported()
    assert classes(written(made)) == {}
    with open_checkpoint("model.pt") as checkpoint:
        assert list(checkpoint.state_dict()) == ["w"]
    config = json.dumps({"config": {}}).encode()
    members = [
        Member("a/archive_format", b"pt2"),
        *(Member(f"a/data/weights/{name}_weights_config.json", config) for name in ("x", "y")),
        *(Member(f"a/models/{name}.json", program(node())) for name in ("x", "y")),
    ]
    path = written(zip_archive(members))
    assert {key: each.name for key, each in classes(path).items()} == {"x": "N", "x.c": CONV, "y": "N", "y.c": CONV}
    assert {key: each.name for key, each in classes(path, "y").items()} == {"": "N", "c": CONV}


@pytest.mark.parametrize(
    ("text", "says"),
    [
        (b"{}", "KeyError('graph_module')"),
        (b"[", "JSONDecodeError('Expecting value: line 1 column 2 (char 1)')"),
        (b'{"a": 1, "a": 2}', "ValueError('the key `a` is there twice')"),
        (program(b'{"metadata": {"nn_module_stack": 3}}'), "TypeError(\"object of type 'int' has no len()\")"),
        (
            program(b'{"metadata": {"nn_module_stack": "a,b"}}'),
            "ValueError('not enough values to unpack (expected 3, got 2)')",
        ),
    ],
)
def test_a_malformed_program_is_said_when_its_classes_are_asked_for(
    written: Callable[[bytes], str], text: bytes, says: str
) -> None:
    with open_checkpoint(written(exported_program(text))) as checkpoint:
        assert list(checkpoint.state_dict()) == ["w"]
        with pytest.raises(CheckpointError) as caught:
            checkpoint.module_classes(TensorOptions())
    assert str(caught.value) == (
        f"model.pt: malformed `models/model.json`: {says}\n  Save the program again with torch.export.save."
    )


def test_a_program_nested_without_end_is_refused(written: Callable[[bytes], str]) -> None:
    with pytest.raises(CheckpointError, match=r"^model.pt: malformed `models/model.json`: "):
        classes(written(exported_program(b"[" * 100_000)))


def test_a_giant_program_is_refused(written: Callable[[bytes], str]) -> None:
    path = written(exported_program(b'{"graph_module":[' + b"[]," * 600_000 + b"0]}", method=8))
    with pytest.raises(CheckpointError, match=r"^model.pt: asks for more memory than a file of [\d,]+ bytes may take"):
        classes(path)
