"""`wheelweights config`: the configuration in a checkpoint, as JSON."""

from __future__ import annotations

from pathlib import Path

import pytest

from looking.commands import refusal, run, stdout
from making.checkpoints import zip_checkpoint
from making.pickles import name, pickled
from making.small_files import WHEEL, nested_checkpoint, small_wheel, write


def test_config_prints_json() -> None:
    nested_checkpoint()
    expected = '{\n  "width": 8,\n  "name": "tiny",\n  "shape": [\n    1,\n    null\n  ]\n}\n'
    assert stdout("config", "nested.pt", "--key", "config", "--key", "net") == expected
    assert stdout("config", "nested.pt", "--key", "config", "--key", "net", "-o", "config.json") == ""
    assert Path("config.json").read_text(encoding="utf-8") == expected


def test_config_refuses_what_json_has_not() -> None:
    nested_checkpoint()
    assert refusal("config", "nested.pt", "--key", "config") == (
        "Error: nested.pt: config.lr: expected a number that JSON has, found nan\n"
        "  Read it with load_config, or bake it into a record with --config-key: both keep it.\n"
    )


def test_config_leaves_out_what_has_no_plain_form_and_names_it() -> None:
    config = {"width": 8, "act": name("mynet", "Act"), "home": "${oc.env:HOME}"}
    write("odd.pt", zip_checkpoint(pickled({"config": config})))
    result = run("config", "odd.pt", "--key", "config")
    assert result.stdout == '{\n  "width": 8,\n  "home": "${oc.env:HOME}"\n}\n'
    assert result.stderr == (
        "Warning: config.act: left out of the configuration: expected a value that JSON has, found the class or"
        " function `mynet.Act`\n"
        "Warning: config.home: an interpolation outside OmegaConf's nodes, kept as text: '${oc.env:HOME}'\n"
    )


def test_config_lists_what_there_is_for_a_key_that_is_not() -> None:
    nested_checkpoint()
    assert refusal("config", "nested.pt", "--key", "confg") == (
        "Error: nested.pt: expected configuration key `confg`, found `config` (dict), `epoch` (int), `model` (dict)\n"
        "  Did you mean `config`?\n"
    )


@pytest.mark.parametrize(
    "arguments", [["config", "--key", "epoch", "-o"], ["inspect", "--html"]], ids=["config", "html"]
)
def test_nothing_is_written_over_the_file_that_is_read(arguments: list[str]) -> None:
    nested_checkpoint()
    before = Path("nested.pt").read_bytes()
    command, *options = arguments
    assert refusal(command, "nested.pt", *options, "./nested.pt") == (
        "Error: ./nested.pt: expected another file to write to, found the one that is read\n"
    )
    assert Path("nested.pt").read_bytes() == before


def test_nothing_is_written_over_the_wheel_whose_record_is_read() -> None:
    small_wheel()
    before = Path(WHEEL).read_bytes()
    assert refusal("inspect", f"{WHEEL}/demo/1.mpk", "--html", WHEEL) == (
        f"Error: {WHEEL}: expected another file to write to, found the one that is read\n"
    )
    assert Path(WHEEL).read_bytes() == before
