"""The law of what is shown: nothing from a file reaches a terminal unescaped, whatever command shows it."""

from __future__ import annotations

import json
import os
import sys
import zipfile
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest
from hypothesis import HealthCheck, example, given, settings
from hypothesis import strategies as st

import wheelweights as ww
from looking.commands import run
from making.checkpoints import EXPORTED_TENSOR, EXPORTED_WEIGHT, exported, safetensors, zip_checkpoint
from making.pickles import build, call, ordered_dict, pickled, stack_name, storage, tensor
from making.small_files import HOSTILE, listing_of, wheel

if TYPE_CHECKING:
    from collections.abc import Iterator

# What a terminal could obey, what turns or hides text, what ends lines, and what quotes and markup are made of
DANGEROUS = (
    "\x00\x07\x08\t\n\x0b\x0c\r\x1b\x7f\x80\x84\x85\x8d\x90\x9b\x9c\x9d\x9f\xad\u034f\u061c\u180e\u200b\u200d\u200e\u200f"
    "\u2028\u2029\u202a\u202d\u202e\u2066\u2069\ufeff\ufff9\U000e0001\U000e007f\U0010ffff"
)
ORDINARY = "ab.0/\\`'\"<>&[]{}%$é世🙂"
TEXTS = st.text(st.sampled_from(DANGEROUS + ORDINARY), min_size=1, max_size=12)
FORGED = "Error: forged"  # a line that no command says


def files(text: str) -> Iterator[tuple[str, bytes]]:
    """Yield files that hold a text wherever a file can hold one."""
    odd = stack_name(text, text)
    state = ordered_dict({text: tensor(), f"{text}2": tensor(size=(9,)), f"{text}.x": text, f"x.{text}": call(odd)})
    config = {text: [text, {text: text}], "dtype": call(odd), "path": text}
    dtype = call(stack_name("torch._utils", "_rebuild_tensor_v3"), storage(), 0, (4,), (1,), False, ordered_dict(),
                 stack_name("torch", text))  # fmt: skip
    parts = {"_parameters": {text: tensor()}, "_buffers": {}, "_modules": {}, text: 1}
    yield "flat.pt", zip_checkpoint(pickled(state))
    yield (
        "deep.pt",
        zip_checkpoint(pickled({text: state, "n": 1, "config": config, f"{text}3": build(call(odd), parts)})),
    )
    yield "plain.pt", zip_checkpoint(pickled({"w": tensor(), "config": {text: [text, {text: text}]}}))
    yield "dtype.pt", zip_checkpoint(pickled(ordered_dict({"w": tensor(), "x": dtype})))
    yield "root.pt", zip_checkpoint(pickled(call(odd, text)))
    yield "class.pt", zip_checkpoint(pickled(build(odd, {text: text})))
    yield "model.safetensors", safetensors({text: ("F32", [4], 0, 16)}, metadata={text: text})
    yield "odd.safetensors", safetensors({"w": (text, [4], 0, 16)})
    yield "index.json", json.dumps({"metadata": {text: text}, "weight_map": {text: text}}).encode()
    weights = {"w": EXPORTED_TENSOR, text: {**EXPORTED_TENSOR, "dtype": text}}
    described = {key: {**EXPORTED_WEIGHT, "tensor_meta": meta} for key, meta in weights.items()}
    yield "model.pt2", exported(json.dumps({"config": described}).encode())
    ww.write_record(
        "model.mpk", {text: np.ones(2)}, metadata={text: text, "user": {text: text}}, source_keys={text: f"{text}4"}
    )
    record = Path("model.mpk").read_bytes()
    yield "model.mpk", record
    yield "broken.mpk", record[:-1]
    safe = text.replace("\\", "").replace("\0", "").replace("/", "")
    members = {f"demo/m{safe}m.mpk": record, f"demo/x{safe}x": b"", "demo/1.mpk": record[:-1]}
    yield "a.whl", wheel(members)
    yield "b.whl", wheel(members, listing=listing_of({f"demo/{text}": b""}))
    yield "c.whl", wheel({**members, text: b""})
    yield "d.whl", wheel({"demo/1.mpk": record}, zipfile.ZIP_BZIP2)


def commands(file: str, text: str) -> Iterator[list[str]]:
    """Yield what a person asks of a file."""
    yield ["inspect", file]
    yield ["inspect", file, "--json"]
    yield ["inspect", file, "--html", "out.html"]
    yield ["verify", file]
    yield ["diff", file, "other.mpk"]
    yield ["diff", file, "other.mpk", "--json"]
    yield ["diff", file, "other.mpk", "--html", "out.html", "--force"]
    yield ["diff", file, file]
    if file.endswith((".whl", ".mpk")):
        return
    yield ["inspect", file, "--top-level-key", text, "--whole-model", "--config-key", "config"]
    yield ["inspect", file, "--key-remap", "nothing", "x", "--precision", "half"]
    yield ["convert", file, "out.mpk", "--debug", "--exclude", "2$|x|3"]
    yield ["convert", file, "out.mpk", "--debug", "--exclude", "nothing", "--metadata", f"a={text}"]
    yield ["convert", file, "out.mpk", "--top-level-key", text]
    yield ["config", file, "--key", "config"]
    yield ["config", file, "--key", text]
    yield ["config", file, "--key", "config", "-o", "config.json"]


def assert_harmless(shown: str, *, debug: bool = False) -> None:
    lines = shown.split("\n")
    assert [line for line in lines if not line.isprintable()] == []
    if not debug:
        assert [line for line in lines if line.startswith(FORGED)] == []


def check(text: str) -> None:
    """Run every command on every file that holds a text, and look at all that it prints and writes."""
    ww.write_record("other.mpk", {"w": np.ones(3)})
    for file, content in files(text):
        Path(file).write_bytes(content)
        for arguments in commands(file, text):
            result = run_any(arguments)
            assert_harmless(result.stdout, debug="--debug" in arguments)
            assert_harmless(result.stderr)
            if "--json" in arguments and result.exit_code == 0:
                assert_same_json(file, result.stdout, text)
    for written in filter(Path.exists, map(Path, ("config.json", "out.html"))):
        assert_harmless(written.read_text(encoding="utf-8"))
        written.unlink()


def run_any(arguments: list[str]) -> Any:
    """Run a command, whatever its status."""
    from click.testing import CliRunner

    from hatch_wheelweights.cli.commands import cli

    result = CliRunner().invoke(cli, arguments, prog_name="wheelweights")
    assert result.exception is None or isinstance(result.exception, SystemExit), (arguments, result.exception)
    assert result.exit_code in (0, 1, 2)
    return result


def assert_same_json(file: str, shown: str, text: str) -> None:
    """Check that JSON parses to what the file holds, however it is escaped."""
    found = json.loads(shown)
    keys = {tensor["key"] for tensor in found["tensors"]}
    if file == "flat.pt" and found["problem"] is None:
        assert {text, f"{text}2"} <= keys
    if file == "model.safetensors":
        assert (keys, found["metadata"]) == ({text}, {text: text})
    if file == "model.mpk":
        assert found["metadata"] == {text: text, "user": {text: text}}
        assert [tensor["source"] for tensor in found["tensors"]] == [f"{text}4"]


@example(HOSTILE)
@example("\n" + FORGED)
@example("\r\x85\u2028" + FORGED)
@example("\x1b]0;title\x07\x1b[2J\x9b31m")
@example(DANGEROUS)
@given(TEXTS)
@settings(max_examples=10, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
def test_nothing_from_a_file_reaches_a_terminal_unescaped(text: str) -> None:
    check(text)


@pytest.mark.slow
@given(TEXTS)
@settings(max_examples=200, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
def test_nothing_from_any_file_reaches_a_terminal_unescaped(text: str) -> None:
    check(text)


@pytest.mark.skipif(sys.platform == "win32", reason="such names cannot be")
@pytest.mark.parametrize(
    "name", ["a\x1b[31m.pt", "a\n" + FORGED + ".pt", "a\x9b\u202e\x7f.pt", os.fsdecode(b"a\xff\x9b.pt")]
)
def test_a_name_of_a_file_is_shown_escaped(name: str) -> None:
    content = zip_checkpoint(pickled({"w": tensor(), "config": {"a": 1}}))
    Path(name).write_bytes(content)
    ww.write_record(f"{name}.mpk", {"w": np.ones(3)})
    Path(f"{name}.whl").write_bytes(wheel({"demo/1.mpk": Path(f"{name}.mpk").read_bytes()}))
    for file in (name, f"{name}.mpk", f"{name}.whl", f"{name}.whl/demo/1.mpk", f"{name}.none"):
        for command in (
            ["inspect", file], ["inspect", file, "--json"], ["inspect", file, "--html", f"{name}.html"],
            ["verify", file], ["diff", file, f"{name}.mpk"], ["convert", file, f"{name}.out.mpk"],
            ["config", file, "--key", "config"], ["config", file, "--key", "config", "-o", f"{name}/none"],
        ):  # fmt: skip
            result = run_any(command)
            assert_harmless(result.output)
    assert json.loads(run("inspect", name, "--json").stdout)["path"] == name


def test_json_of_a_configuration_parses_to_what_is_in_the_file() -> None:
    Path("a.pt").write_bytes(zip_checkpoint(pickled({"config": {DANGEROUS: [DANGEROUS, "é世🙂"]}})))
    shown = run("config", "a.pt", "--key", "config").stdout
    assert_harmless(shown)
    assert "é世🙂" in shown
    assert json.loads(shown) == {DANGEROUS: [DANGEROUS, "é世🙂"]}
