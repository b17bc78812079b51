"""What a shell completes: commands, options, files, words, keys of a checkpoint and installed packages."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from pathlib import Path

import click
import pytest
from click.shell_completion import ShellComplete

from hatch_wheelweights.cli.commands import cli
from looking.commands import refusal, run, stdout
from making.checkpoints import zip_checkpoint
from making.installed import install
from making.pickles import ordered_dict, pickled, tensor
from making.small_files import HOSTILE, nested_checkpoint, small_checkpoint, small_record, write

COMMANDS = ["inspect", "convert", "export", "config", "verify", "diff", "completion"]
FILE = ["<file>"]


def completed(*words: str) -> list[str]:
    """Return what the last word can become."""
    *before, begun = words
    items = ShellComplete(cli, {}, "wheelweights", "_WHEELWEIGHTS_COMPLETE").get_completions(before, begun)
    return ["<file>" if item.type == "file" else str(item.value) for item in items]


def test_commands_and_options_are_completed() -> None:
    assert [word for word in completed("") if word in COMMANDS] == COMMANDS
    assert completed("insp") == ["inspect"]
    assert "--html" in completed("inspect", "model.pt", "--h")
    assert completed("completion", "z") == ["zsh"]


@pytest.mark.parametrize(
    "words",
    [
        ["inspect", "mo"],
        ["inspect", "model.pt", "--html", ""],
        ["convert", "mo"],
        ["convert", "model.pt", "mo"],
        ["convert", "--precision", "half", "model.pt", ""],
        ["convert", "model.pt", "--golden", ""],
        ["export", "model.pt", "mo"],
        ["config", "model.pt", "-o", "c"],
        ["config", "model.pt", "--key", "a", "--output", "c"],
        ["verify", "a.mpk", "b.mpk", ""],
        ["diff", ""],
        ["diff", "a.pt", "b"],
        ["diff", "a.pt", "b.pt", "--html", ""],
    ],
    ids=" ".join,
)
def test_files_are_completed_by_the_shell_itself(words: list[str]) -> None:
    assert completed(*words) == FILE


def test_every_argument_of_every_command_is_completed() -> None:
    context = click.Context(cli, resilient_parsing=True)
    for name in COMMANDS:
        command = cli.get_command(context, name)
        assert command is not None
        arguments = [param for param in command.params if isinstance(param, click.Argument)]
        assert arguments
        assert all(type(param.type) is not type(click.STRING) for param in arguments)


def test_the_words_of_an_option_are_completed() -> None:
    assert completed("convert", "--precision", "") == ["keep", "full", "half", "double", "bfloat16"]
    assert completed("convert", "--precision", "b") == ["bfloat16"]
    assert completed("inspect", "model.pt", "--key-remap", "") == []


def test_options_that_the_help_leaves_out_are_completed() -> None:
    assert completed("diff", "a.pt", "b.pt", "--a-top") == ["--a-top-level-key"]
    assert completed("diff", "a.pt", "b.pt", "--b-precision", "h") == ["half"]
    assert "--a-whole-model" not in stdout("diff", "--help")


def test_keys_are_those_of_the_file_that_was_named_before() -> None:
    nested_checkpoint()
    assert completed("inspect", "nested.pt", "--top-level-key", "") == ["model", "config"]
    assert completed("convert", "nested.pt", "out.mpk", "--top-level-key", "m") == ["model"]
    assert completed("config", "nested.pt", "--key", "c") == ["config"]
    assert completed("config", "nested.pt", "--key", "config", "--key", "") == ["net"]
    assert completed("diff", "gone.pt", "nested.pt", "--b-top-level-key", "") == ["model", "config"]


def test_no_key_is_completed_of_what_cannot_be_read_and_none_that_a_terminal_would_obey() -> None:
    small_checkpoint()
    Path("broken.pt").write_bytes(b"broken")
    tree = {HOSTILE: ordered_dict({"w": tensor()}), "two words": ordered_dict({}), "$(touch x)": {}, "good.key-1": {}}
    write("hostile.pt", zip_checkpoint(pickled(tree)))
    assert completed("inspect", "hostile.pt", "--top-level-key", "") == ["good.key-1"]
    for before in (["none.pt"], ["broken.pt"], ["model.pt"], []):
        assert completed("inspect", *before, "--top-level-key", "") == []


def test_packages_are_those_with_records(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.syspath_prepend(str(tmp_path / "site"))
    install(tmp_path / "site", "one", "1.0", {"one_package/__init__.py": b"", "one_package/a.mpk": small_record()})
    install(tmp_path / "site", "two", "1.0", {"two_package/__init__.py": b""})
    found = completed("verify", "--package", "")
    assert "one_package" in found
    assert "two_package" not in found
    assert completed("verify", "--package", "one_") == ["one_package"]


# ------------------------------------------------------------------------------------- shells


def test_the_script_of_each_shell_is_printed() -> None:
    assert "complete -o nosort -F _wheelweights_completion wheelweights" in stdout("completion", "bash")
    assert stdout("completion", "zsh").startswith("#compdef wheelweights\n")
    assert "complete --no-files --command wheelweights" in stdout("completion", "fish")
    assert "'csh' is not one of 'bash', 'zsh', 'fish'" in refusal("completion", "csh", status=2)


def test_the_help_says_how_completion_is_set_up() -> None:
    shown = run("completion", "--help").stdout
    assert 'eval "$(wheelweights completion bash)"' in shown
    assert "completion" in run("--help").stdout


def in_bash(line: str) -> list[str]:
    """Return what bash shows for a line in which the Tab key is pressed: words, or `<default>` for its own files."""
    script = f"""
eval "$(wheelweights completion bash)"
compopt() {{ echo "<$2>"; }}  # works only while somebody types
COMP_WORDS=({line})
COMP_CWORD=$((${{#COMP_WORDS[@]}} - 1))
_wheelweights_completion wheelweights
printf '%s\\n' "${{COMPREPLY[@]}}"
"""
    folder = Path("bin").absolute()
    folder.mkdir(exist_ok=True)
    command = folder / "wheelweights"
    command.write_text(f"#!{sys.executable}\nfrom hatch_wheelweights.cli import main\nmain()\n")
    command.chmod(0o755)
    path = f"{folder}{os.pathsep}{os.environ['PATH']}"
    done = subprocess.run(
        ["bash", "--norc", "-c", script], capture_output=True, text=True, check=True, env={**os.environ, "PATH": path}
    )
    assert done.stderr == ""
    return done.stdout.split()


@pytest.mark.skipif(shutil.which("bash") is None, reason="needs bash")
def test_bash_completes_commands_options_words_files_and_keys() -> None:
    nested_checkpoint()
    assert in_bash("wheelweights con") == ["convert", "config"]
    assert in_bash("wheelweights inspect --pac") == ["--package"]
    assert in_bash("wheelweights convert --precision h") == ["half"]
    assert in_bash("wheelweights inspect nested.pt --top-level-key ''") == ["model", "config"]
    assert in_bash("wheelweights inspect nes") == ["<default>"]
