"""`wheelweights config`: the configuration in a checkpoint, as JSON."""

from __future__ import annotations

from pathlib import Path

import pytest

from looking.commands import refusal, stdout
from making.small_files import WHEEL, nested_checkpoint, small_wheel


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
