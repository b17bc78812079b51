"""OmegaConf's interpolations: they lead where OmegaConf leads them, and nothing is run."""

from __future__ import annotations

import json
import pickle
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

from hatch_wheelweights import load_config, open_checkpoint
from hatch_wheelweights.checkpoint import Account, Opaque
from hatch_wheelweights.errors import CheckpointError
from hatch_wheelweights.steps.configuration import configuration
from hatch_wheelweights.steps.plain_values import Values
from making import checkpoints
from wheelweights.config import Formless

if TYPE_CHECKING:
    from collections.abc import Iterator

PICKLED = Path(__file__).parents[2] / "checkpoints" / "omegaconf"
EXPECTED = json.loads((PICKLED / "expected.json").read_text())
PROTOCOLS = ("2", "5")


@pytest.fixture(params=PROTOCOLS)
def path(request: Any, tmp_path: Path) -> Path:
    """A checkpoint with a configuration that OmegaConf 2.4 pickled; see export_configs.py."""
    file = tmp_path / "model.pt"
    file.write_bytes(
        checkpoints.zip_checkpoint((PICKLED / f"omegaconf-2.4.0-protocol-{request.param}.pkl").read_bytes())
    )
    return file


def _faults(expected: Any, keys: tuple[Any, ...] = ()) -> Iterator[tuple[Any, ...]]:
    for key, value in expected.items():
        if isinstance(value, dict) and value.keys() == {"fault"}:
            yield (*keys, key)
        elif isinstance(value, dict):
            yield from _faults(value, (*keys, key))


def _without_faults(expected: Any) -> Any:
    if isinstance(expected, dict):
        kept = {key: value for key, value in expected.items() if not (isinstance(value, dict) and "fault" in value)}
        return {key: _without_faults(value) for key, value in kept.items()}
    return [_without_faults(one) for one in expected] if isinstance(expected, list) else expected


def test_gives_what_omegaconf_gives_and_names_the_rest(path: Path) -> None:
    with open_checkpoint(path) as checkpoint:
        found = checkpoint.configuration("cfg")
    assert found.value == _without_faults(EXPECTED)
    assert found.warnings == (
        (
            "cfg.missing: left out of the configuration: expected a value that JSON has,"
            " found `???`, which marks a missing value in OmegaConf"
        ),
        (
            "cfg.dangling: left out of the configuration: expected a value that JSON has,"
            " found the interpolation '${data.bach}', which leads to nothing in its configuration"
        ),
        (
            "cfg.cyclic: left out of the configuration: expected a value that JSON has,"
            " found an interpolation that leads back to itself, '${other_cyclic}'"
        ),
        (
            "cfg.other_cyclic: left out of the configuration: expected a value that JSON has,"
            " found an interpolation that leads back to itself, 'x${cyclic}'"
        ),
        (
            "cfg.home: left out of the configuration: expected a value that JSON has,"
            " found an interpolation by the resolver `oc.env`, which only a program can run"
        ),
        (
            "cfg.optimizer.seed: left out of the configuration: expected a value that JSON has,"
            " found `???`, which marks a missing value in OmegaConf"
        ),
    )
    assert [warning.split(":")[0].removeprefix("cfg.") for warning in found.warnings] == [
        ".".join(keys) for keys in _faults(EXPECTED)
    ]


def test_a_part_of_a_configuration_leads_into_the_whole(path: Path) -> None:
    assert load_config(path, "model_only") == EXPECTED["model"]
    assert load_config(path, ["cfg", "model", "inner"]) == EXPECTED["model"]["inner"]
    assert load_config(path, ["cfg", "chain"]) == 8


@dataclass
class Model:
    dim: int
    heads: int
    name: str


@dataclass
class Config:
    model: Model
    chain: int


@dataclass
class Broken(Config):
    home: str
    missing: int
    dangling: int | None


def test_a_dataclass_asks_for_what_it_declares_and_for_no_other_interpolation(path: Path) -> None:
    assert load_config(path, "cfg", Config) == Config(Model(8, 8, "net_8x32"), 8)


def test_names_each_interpolation_that_is_asked_for_and_leads_nowhere(path: Path) -> None:
    with pytest.raises(CheckpointError) as caught:
        load_config(path, "cfg", Broken)
    assert str(caught.value) == (
        f"{path}: configuration does not fit `Broken`: 3 unreadable values\n"
        "  cfg.home: expected `str`, found an interpolation by the resolver `oc.env`, which only a program can run\n"
        "  cfg.missing: expected `int`, found `???`, which marks a missing value in OmegaConf\n"
        "  cfg.dangling: expected `int | None`, found the interpolation '${data.bach}', which leads to nothing in its"
        " configuration"
    )


# Nodes by hand


def _leaf(value: Any, name: str = "AnyNode") -> Opaque:
    return Opaque("omegaconf.nodes", name, (), {"_metadata": None, "_parent": None, "_val": value})


def _config(**values: Any) -> Opaque:
    content = {key: value if isinstance(value, Opaque) else _leaf(value) for key, value in values.items()}
    return Opaque("omegaconf.dictconfig", "DictConfig", (), {"_parent": None, "_content": content})


def _opened(config: Opaque, key: str, size: int = 1 << 20) -> Any:
    values = Values(Account(size))
    found = values.open(values.open(config)[key])
    return found.found if isinstance(found, Formless) else found


@pytest.mark.parametrize(
    ("text", "value"),
    [
        ("${a}", 1),
        ("${ a }", 1),
        ("${n.y}", 2),
        ("${n[y]}", 2),
        ("${[n].y}", 2),
        ("${.a}", 1),
        ("x${a}y${b}", "x1ytext"),
        ("${n.${k}}", 2),
        ("${${k2}}", 1),
        ("\\${a}", "${a}"),
        ("\\\\${a}", "\\1"),
        ("a\\b ${a}", "a\\b 1"),
        ("${a}}", "1}"),
        ("$a", "$a"),
        ("${t}|${none}|${f}", "True|None|0.001"),
        ("${..a}", "the interpolation '${..a}', which leads to nothing in its configuration"),
        ("${a.b}", "the interpolation '${a.b}', which leads to nothing in its configuration"),
        ("${now:%Y}", "an interpolation by the resolver `now`, which only a program can run"),
        ("x${oc.env:HOME,${a}}", "an interpolation by the resolver `oc.env`, which only a program can run"),
        ("${a", "a malformed interpolation, '${a'"),
        ("x ${a", "a malformed interpolation, 'x ${a'"),
        ("${}", "a malformed interpolation, '${}'"),
        ("${a b}", "a malformed interpolation, '${a b}'"),
        ("${a.}", "a malformed interpolation, '${a.}'"),
        ("x${n}", "text with an interpolation of `dict` in it"),
        ("${m}", "`???`, which marks a missing value in OmegaConf"),
        ("${q}", "an interpolation that leads back to itself, '${q}'"),
        ("${n.up}", "the interpolation '${..n}', which leads to what holds it"),
    ],
)
def test_an_interpolation_leads_where_omegaconf_leads_it(text: str, value: Any) -> None:
    config = _config(
        a=1, b="text", t=True, none=None, f=0.001, m="???", k="y", k2="a", n=_config(y=2, up="${..n}"), q=text
    )
    assert _opened(config, "q") == value


@pytest.mark.parametrize(
    ("name", "text", "value"),
    [
        ("StringNode", "${one}", "1"),
        ("IntegerNode", "${one}", 1),
        ("FloatNode", "${one}", 1),
        ("IntegerNode", "${none}", None),
        (
            "FloatNode",
            "${digit}",
            "an interpolation of `str` ('1'), which OmegaConf would convert for its FloatNode",
        ),
        ("BooleanNode", "${one}", "an interpolation of `int` (1), which OmegaConf would convert for its BooleanNode"),
    ],
)
def test_a_declared_type_is_kept_or_refused(name: str, text: str, value: Any) -> None:
    found = _opened(_config(one=1, digit="1", none=None, q=_leaf(text, name)), "q")
    assert (found, type(found)) == (value, type(value))


def test_text_outside_the_nodes_of_omegaconf_stays_and_is_told() -> None:
    found = configuration({"cfg": {"a": "${b}", "b": 1}}, "cfg", Account(1 << 20))
    assert found.value == {"a": "${b}", "b": 1}
    assert found.warnings == ("cfg.a: an interpolation outside OmegaConf's nodes, kept as text: '${b}'",)


def test_a_chain_of_interpolations_ends() -> None:
    links = {f"a{i}": f"${{a{i + 1}}}" for i in range(1000)}
    assert _opened(_config(**links), "a0").startswith("an interpolation that leads on more than 30 times, '${a")
    assert _opened(_config(**links, a1000=3), "a975") == 3


def test_the_longest_chain_of_the_deepest_names_is_followed() -> None:
    links = {f"a{i}": f"${{a${{b${{c${{d{i}}}}}}}}}" for i in range(29)}
    names = {f"{name}{i}": str(i + 1 if name == "b" else i) for name in "bcd" for i in range(30)}
    assert _opened(_config(**links, **names, a29=3), "a0") == 3


def test_names_in_names_end() -> None:
    for levels in (5, 10_000):
        found = _opened(_config(q="${" * levels + "}" * levels), "q")
        assert found.startswith("a malformed interpolation, '${${${")


def test_an_integer_that_takes_long_to_write_is_not_written() -> None:
    assert _opened(_config(a=1 << 100_000, q="x${a}"), "q") == "text with an interpolation of `int` in it"


def test_interpolations_that_multiply_a_text_end() -> None:
    links = {f"a{i}": f"${{a{i + 1}}}${{a{i + 1}}}" for i in range(28)}
    with pytest.raises(CheckpointError, match=r"^asks for more (work|memory) than a file of 1,000 bytes may take"):
        _opened(_config(**links, a28=""), "a0", size=1000)
    assert _opened(_config(**links, a28="x"), "a0", size=1 << 24) == "text that interpolations make too long"


def test_parents_that_go_round_are_no_loop() -> None:
    node = _leaf("${a}")
    node.state["_parent"] = node
    values = Values(Account(1 << 20))
    assert isinstance(values.open(node), Formless)


def test_pickles_are_those_of_the_script() -> None:
    assert {pickle.PROTO + bytes([int(protocol)]) for protocol in PROTOCOLS} == {
        file.read_bytes()[:2] for file in PICKLED.glob("*.pkl")
    }
