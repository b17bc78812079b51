"""The configuration in a checkpoint: what becomes a plain value, and what is an error with its path."""

from __future__ import annotations

import json
import math
from dataclasses import dataclass
from typing import Any

import numpy as np
import pytest

from hatch_wheelweights import load_config
from hatch_wheelweights.checkpoint import Account, Global, LazyTensor, Opaque
from hatch_wheelweights.errors import CheckpointError
from hatch_wheelweights.steps import configuration
from hatch_wheelweights.steps.configuration import MAX_DEPTH, json_text
from hatch_wheelweights.steps.plain_values import Values
from making import checkpoints, pickles

TENSOR = LazyTensor("float32", (200, 300), lambda: iter(()), tie=0)  # larger than a configuration's may be


def config_value(tree: Any, key: Any) -> Any:
    return configuration.config_value(tree, key, Account(1 << 20))


def plain(value: Any, where: str = "config") -> Any:
    return configuration.plain(value, where, Values(Account(1 << 20)))


def _omega(name: str, **state: Any) -> Opaque:
    """Return a node as OmegaConf 2.1 to 2.4 pickle theirs; each also holds its metadata and its parent."""
    module = "omegaconf.nodes" if name.endswith("Node") else f"omegaconf.{name.lower()}"
    metadata = Opaque("omegaconf.base", "Metadata", (), {"ref_type": Global("typing", "Any"), "key": None})
    return Opaque(module, name, (), {"_metadata": metadata, "_parent": None, **state})


def _message(value: Any) -> str:
    with pytest.raises(CheckpointError) as caught:
        plain(value)
    return str(caught.value)


@pytest.mark.parametrize(
    ("value", "expected"),
    [
        pytest.param({"a": [1, 2.5, "x", None, True]}, {"a": [1, 2.5, "x", None, True]}, id="plain already"),
        pytest.param((1, (2, 3)), [1, [2, 3]], id="tuples"),
        pytest.param({"b", "a"}, ["a", "b"], id="set"),
        pytest.param(frozenset({10, 9, 2.5}), [2.5, 9, 10], id="set of numbers"),
        pytest.param({"a", 1, None, (1, 2)}, [None, [1, 2], 1, "a"], id="set of all kinds"),
        pytest.param({1: "a", -2: "b", np.int64(3): "c"}, {"1": "a", "-2": "b", "3": "c"}, id="int keys"),
        pytest.param({b"py2": 1}, {"py2": 1}, id="Python 2 keys"),
        pytest.param(np.float32(0.5), 0.5, id="numpy float"),
        pytest.param(np.float64(0.1), 0.1, id="numpy double"),
        pytest.param(np.int16(-3), -3, id="numpy int"),
        pytest.param(np.bool_(True), True, id="numpy bool"),
        pytest.param(np.str_("a"), "a", id="numpy str"),
        pytest.param(np.dtype("<f4"), "float32", id="numpy dtype"),
        pytest.param(Global("torch", "float32"), "float32", id="torch dtype"),
        pytest.param(Global("torch", "bfloat16"), "bfloat16", id="torch bfloat16"),
        pytest.param(Global("torch", "float8_e4m3fn"), "float8_e4m3fn", id="torch float8"),
        pytest.param(Global("torch", "quint4x2"), "quint4x2", id="torch quantised dtype"),
        pytest.param(Global("numpy", "bool_"), "bool", id="numpy scalar class"),
        pytest.param(Opaque("torch", "device", ("cuda", 0)), "cuda:0", id="device with index"),
        pytest.param(Opaque("torch", "device", ("cpu",)), "cpu", id="device"),
        pytest.param(Opaque("pathlib", "PosixPath", ("/", "data", "x")), "/data/x", id="absolute path"),
        pytest.param(Opaque("pathlib", "PosixPath", ("data", "x")), "data/x", id="relative path"),
        pytest.param(Opaque("pathlib", "PosixPath"), ".", id="empty path"),
        pytest.param(Opaque("pathlib._local", "PosixPath", ("a", "b")), "a/b", id="path of Python 3.13"),
        pytest.param(Opaque("pathlib", "WindowsPath", ("C:\\", "data")), "C:\\data", id="path of Windows"),
        pytest.param(
            Opaque("argparse", "Namespace", (), {"lr": 1, "sub": Opaque("types", "SimpleNamespace", (), {"a": (1,)})}),
            {"lr": 1, "sub": {"a": [1]}},
            id="namespaces",
        ),
        pytest.param(Opaque("argparse", "Namespace"), {}, id="empty namespace"),
        pytest.param(
            Opaque("lightning.fabric.utilities.data", "AttributeDict", items=[("lr", 1), ("n", {"a": 2})], keyed=True),
            {"lr": 1, "n": {"a": 2}},
            id="dict subclass",
        ),
        pytest.param(
            Opaque("easydict", "EasyDict", (), {"lr": 1}, [("lr", 1)], keyed=True),
            {"lr": 1},
            id="dict subclass with attributes",
        ),
        pytest.param(
            _omega(
                "DictConfig",
                _content={
                    "dim": _omega("AnyNode", _val=4),
                    "layers": _omega(
                        "ListConfig", _content=[_omega("IntegerNode", _val=1), _omega("AnyNode", _val="x")]
                    ),
                    "none": _omega("AnyNode", _val=None),
                    "nothing": _omega("DictConfig", _content=None),
                    "same": _omega("AnyNode", _val="${dim}"),
                    "path": _omega("PathNode", _val=Opaque("pathlib", "PosixPath", ("a", "b"))),
                    3: _omega("UnionNode", _content=_omega("AnyNode", _val=1.5)),
                },
            ),
            {
                "dim": 4,
                "layers": [1, "x"],
                "none": None,
                "nothing": None,
                "same": 4,
                "path": "a/b",
                "3": 1.5,
            },
            id="OmegaConf",
        ),
        pytest.param([-(2**63), 2**64 - 1], [-(2**63), 2**64 - 1], id="the largest integers"),
    ],
)
def test_makes_values_plain(value, expected):
    found = plain(value)
    assert found == expected
    assert json.loads(json_text(found)) == expected
    assert type(found) is type(expected)


@pytest.mark.parametrize(
    ("value", "message"),
    [
        (
            {"a": [0, TENSOR]},
            (
                "config.a[1]: expected a value that JSON has, found a tensor (`float32`, shape (200, 300))\n"
                "  Set the key to a part that holds no tensor."
            ),
        ),
        (
            {"a b": Opaque("mynet.config", "Config")},
            (
                "config['a b']: expected a value that JSON has, found an object of class `mynet.config.Config`\n"
                "  Save it as a dict where its class is installed, or set the key to a part without it."
            ),
        ),
        (
            [Global("mynet", "Net")],
            (
                "config[0]: expected a value that JSON has, found the class or function `mynet.Net`\n"
                "  Save it as a dict where its class is installed, or set the key to a part without it."
            ),
        ),
        (b"abc", "config: expected a value that JSON has, found `bytes`"),
        (1j, "config: expected a value that JSON has, found `complex`"),
        (np.complex64(1), "config: expected a value that JSON has, found `complex`"),
        (np.clongdouble(1), f"config: expected a value that JSON has, found `{np.clongdouble.__name__}`"),
        (np.datetime64(1, "ns"), "config: expected a value that JSON has, found `datetime64`"),
        (np.bytes_(b"a"), "config: expected a value that JSON has, found `bytes`"),
        ({"n": 2**64}, "config.n: expected an integer of at most 64 bits, found one of 65"),
        ({"n": -(2**63) - 1}, "config.n: expected an integer of at most 64 bits, found one of 64"),
        ({"a": {(1, 2): 3}}, "config.a: expected text or integers as keys, found `tuple`"),
        ({True: 1}, "config: expected text or integers as keys, found `bool`"),
        ({None: 1}, "config: expected text or integers as keys, found `NoneType`"),
        (
            {1: "a", "1": "b"},
            "config['1']: expected a value that JSON has, found two of them, under keys that are the same as text",
        ),
        ({"a": "\ud800"}, "config.a: expected a value that JSON has, found half of a character in '\\ud800'"),
        ({"\ud800": 1}, "config: expected text or integers as keys, found half of a character in '\\ud800'"),
    ],
    ids=lambda value: None if isinstance(value, str) else "-",
)
def test_rejects_what_has_no_plain_form_with_its_path(value, message):
    assert _message(value) == message


@pytest.mark.parametrize(
    "node",
    [
        Opaque("torch", "device"),
        Opaque("torch", "device", (TENSOR,)),
        Opaque("torch", "device", ("cuda", "0")),
        Opaque("pathlib", "PosixPath", (TENSOR,)),
        Opaque("pathlib", "open", ("a",)),
        Opaque("omegaconf.dictconfig", "DictConfig", (), "text"),
        Opaque("omegaconf.dictconfig", "DictConfig", (), {"other": 1}),
        Opaque("mynet", "Config"),
        Opaque("mynet", "MyDict", ("argument",), {"a": 1}),
        Opaque("mynet", "Holder", (TENSOR,)),
        Opaque("mynet", "make_config", ("argument",)),
        Opaque("mynet", "make_config", (1, 2)),
        Opaque("torch", "device", ("cuda",) * 3),
        Opaque("datetime", "date", (b"\x07\xe8\x0d\x02",)),
        Opaque("datetime", "datetime", (b"\x07\xe8",)),
        Opaque("datetime", "time", (b"\x01\x02\x03\x00\x00\x00", Opaque("zoneinfo", "ZoneInfo", ("Europe/Zurich",)))),
        Opaque("datetime", "timedelta", (10**30, 0, 0)),
        Opaque("decimal", "Decimal", ("many",)),
        Opaque("fractions", "Fraction", (1, 0)),
        Opaque("uuid", "UUID", (), {"int": -1}),
        Opaque("uuid", "UUID"),
        Opaque("builtins", "range", (0, 10**9, 1)),
        Opaque("builtins", "slice", (1, "a", None)),
        Opaque("functools", "partial", (Global("mynet", "Net"),)),
        Opaque("torch.nn.modules.linear", "Linear", (), {"_parameters": {}, "_buffers": {}, "_modules": {}}),
    ],
    ids=lambda node: f"{node} {node.args} {node.state}",
)
def test_guesses_at_no_other_object(node):
    assert _message(node).startswith(f"config: expected a value that JSON has, found an object of class `{node}`\n")


def test_keeps_infinities_but_refuses_them_in_json():
    value = plain({"a": {"clip": [math.inf, 1.0]}})
    assert value == {"a": {"clip": [math.inf, 1.0]}}
    with pytest.raises(CheckpointError) as caught:
        json_text(value)
    assert str(caught.value) == (
        "config.a.clip[0]: expected a number that JSON has, found inf\n"
        "  Read it with load_config, or bake it into a record with config_key: both keep it."
    )


def test_json_keeps_text_readable():
    assert json_text({"name": "Zürich", "n": [1]}) == '{\n  "name": "Zürich",\n  "n": [\n    1\n  ]\n}'


def _nested(levels: int) -> Any:
    value: Any = 1
    for _ in range(levels):
        value = [value]
    return value


def test_depth_is_limited_at_its_limit_and_not_before():
    assert plain(_nested(MAX_DEPTH)) == _nested(MAX_DEPTH)
    assert _message(_nested(MAX_DEPTH + 1)) == (
        f"config{'[0]' * MAX_DEPTH}: expected at most {MAX_DEPTH} levels, found more"
    )


def _cycle(kind: str) -> Any:
    if kind == "dict":
        table: dict[str, Any] = {}
        table["a"] = table
        return table
    node = _omega("AnyNode") if kind == "node" else Opaque("argparse", "Namespace")
    node.state = {"_val": node} if kind == "node" else {"a": node}
    return node


@pytest.mark.parametrize("kind", ["dict", "node", "namespace"])
def test_a_value_that_holds_itself_is_an_error_and_no_loop(kind):
    expected = {
        "dict": "config.a: expected a value that ends, found one that holds itself",
        "node": (
            "config: expected a value that JSON has, found an interpolation that leads back to itself, a node in itself"
        ),
        "namespace": "config.a: expected a value that ends, found one that holds itself",
    }
    assert _message(_cycle(kind)) == expected[kind]


def test_nodes_shared_a_thousandfold_are_an_error_and_no_flood():
    value: Any = "x"
    for _ in range(MAX_DEPTH):  # 2 ** 30 values, if they were all looked at
        value = [value, value]
    assert _message(value).endswith(": the configuration is over 64 MiB, which a record cannot hold")


def test_a_long_text_shared_often_is_an_error():
    assert _message(["x" * (1 << 20)] * 100).startswith("config[63]: the configuration is over 64 MiB")


def test_long_keys_do_not_make_long_paths():
    message = _message({"k" * 1_000_000: {"k" * 1_000_000: TENSOR}})
    assert len(message) < 400


# Finding it


TREE = {
    "state_dict": {"fc.weight": TENSOR},
    "epoch": 3,
    "hyper_parameters": Opaque("argparse", "Namespace", (), {"model": {"dim": 4}, 7: ["a"]}),
    "optimizer": Opaque("mynet", "Adam"),
}


def test_finds_a_value_by_its_key():
    assert config_value(TREE, "epoch") == 3
    assert config_value(TREE, "hyper_parameters") == {"model": {"dim": 4}, "7": ["a"]}


def test_finds_a_nested_value_by_a_list_of_keys_also_through_objects():
    assert config_value(TREE, ["hyper_parameters", "model", "dim"]) == 4
    assert config_value(TREE, ("hyper_parameters", "7", "0")) == "a"


@pytest.mark.parametrize(
    ("key", "message"),
    [
        pytest.param(
            "hyper_parameter",
            "expected configuration key `hyper_parameter`,"
            " found `epoch` (int), `hyper_parameters` (`argparse.Namespace`), `optimizer` (`mynet.Adam`),"
            " `state_dict` (dict)\n"
            "  Did you mean `hyper_parameters`?",
            id="near",
        ),
        pytest.param(
            "model",
            "expected configuration key `model`, found `epoch` (int), `hyper_parameters` (`argparse.Namespace`),"
            " `optimizer` (`mynet.Adam`), `state_dict` (dict)\n"
            '  Did you mean the list ["hyper_parameters", "model"]?',
            id="one level deeper",
        ),
        pytest.param(
            ["hyper_parameters", "model", "depth"],
            "expected configuration key `depth` below `hyper_parameters.model`, found `dim` (int)\n"
            "  Set the key to one of these.",
            id="nested",
        ),
        pytest.param(["epoch", "x"], "expected configuration key `x` below `epoch`, found int", id="below a number"),
    ],
)
def test_lists_what_there_is_when_a_key_is_missing(key, message):
    with pytest.raises(CheckpointError) as caught:
        config_value(TREE, key)
    assert str(caught.value) == message


def test_lists_eight_keys_and_counts_the_others():
    with pytest.raises(CheckpointError) as caught:
        config_value({f"k{i:02}": i for i in range(20)}, "zzzzz")
    assert str(caught.value) == (
        "expected configuration key `zzzzz`, found `k00` (int), `k01` (int), `k02` (int), `k03` (int), `k04` (int),"
        " `k05` (int), `k06` (int), `k07` (int) and 12 more\n"
        "  Set the key to one of these."
    )


def test_paths_begin_with_the_key():
    with pytest.raises(CheckpointError) as caught:
        config_value({"args": {"net": [TENSOR]}}, ["args", "net"])
    assert str(caught.value).startswith("args.net[0]: expected a value that JSON has")


# From a file


@dataclass
class Config:
    dim: int
    rate: float
    sizes: tuple[int, ...] = ()


def _checkpoint(tmp_path: Any, config: Any) -> Any:
    path = tmp_path / "model.pt"
    path.write_bytes(checkpoints.zip_checkpoint(pickles.pickled({"config": config})))
    return path


def test_reads_a_configuration_from_a_file(tmp_path):
    path = _checkpoint(tmp_path, {"dim": 4, "rate": 1, "sizes": (1, 2)})
    assert load_config(path, "config") == {"dim": 4, "rate": 1, "sizes": [1, 2]}
    assert load_config(path, "config", Config) == Config(4, 1.0, (1, 2))


def test_gathers_what_does_not_fit_the_dataclass(tmp_path):
    path = _checkpoint(tmp_path, {"dim": "4", "rates": [1], "other": 3})
    with pytest.raises(CheckpointError) as caught:
        load_config(path, "config", Config)
    assert str(caught.value) == (
        f"{path}: configuration does not fit `Config`: 1 wrong type, 1 missing field\n"
        "  config.dim: expected `int`, found `str` ('4')\n"
        "  config.rate: missing (`float`, no default). Did you mean `rates`?"
    )


def test_names_the_file_of_a_missing_key(tmp_path):
    path = _checkpoint(tmp_path, {})
    with pytest.raises(CheckpointError) as caught:
        load_config(str(path), "confg")
    assert str(caught.value) == (
        f"{path}: expected configuration key `confg`, found `config` (dict)\n  Did you mean `config`?"
    )


def test_reads_the_configuration_of_burns_own_test(corpus):
    case = json.loads((corpus / "burn" / "cases.json").read_text())["models"]["config"]
    assert load_config(corpus / "burn" / case["file"], case["key"]) == case["config"]


@dataclass
class BurnConfig:
    n_head: int
    n_layer: int
    d_model: int
    some_float: float
    some_int: float
    some_bool: bool
    some_str: str
    some_list_int: list[float]
    some_list_str: tuple[str, ...]
    some_list_float: tuple[float, float, float]
    some_dict: dict[str, str]
    added_since: int | None = None


def test_reads_it_into_a_dataclass_with_ints_for_floats(corpus):
    config = load_config(corpus / "burn" / "models" / "weights_with_config.pt", "my_config", BurnConfig)
    assert config == BurnConfig(
        2,
        3,
        512,
        0.1,
        1.0,
        True,
        "hello",
        [1.0, 2.0, 3.0],
        ("hello", "world"),
        (0.1, 0.2, 0.3),
        {"some_key": "some_value"},
    )
