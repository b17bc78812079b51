"""`wheelweights scaffold`: dataclasses that a file binds to, printed or written."""

from __future__ import annotations

from pathlib import Path

import numpy as np

import hatch_wheelweights as hw
import wheelweights as ww
from looking.commands import refusal, run, stdout
from making.small_files import nested_checkpoint, small_checkpoint


def test_scaffold_prints_what_the_function_returns() -> None:
    small_checkpoint()
    source = stdout("scaffold", "model.pt", "--exclude", "^step$", "--no-reindex")
    assert source == hw.scaffold("model.pt", exclude=["^step$"], reindex=False)
    assert source.startswith('"""Dataclasses for model.pt: ')


def test_scaffold_writes_a_file_whole_and_over_another_only_with_force() -> None:
    small_checkpoint()
    assert stdout("scaffold", "model.pt", "-o", "net.py") == ""
    assert Path("net.py").read_text(encoding="utf-8") == hw.scaffold("model.pt")
    assert refusal("scaffold", "model.pt", "-o", "net.py") == (
        "Error: net.py: expected no file there, found one\n"
        "  Replace it with --force, or give another file to write to.\n"
    )
    Path("net.py").write_text("old")
    assert stdout("scaffold", "model.pt", "-o", "net.py", "--force") == ""
    assert Path("net.py").read_text(encoding="utf-8") == hw.scaffold("model.pt")


def test_scaffold_writes_over_no_weights() -> None:
    small_checkpoint()
    before = Path("model.pt").read_bytes()
    assert refusal("scaffold", "model.pt", "-o", "model.pt", "--force") == (
        "Error: model.pt: expected another file to write to, found the one that is read\n"
    )
    assert Path("model.pt").read_bytes() == before


def test_scaffold_says_which_key_to_give() -> None:
    nested_checkpoint()
    assert "  Add: --top-level-key model\n" in refusal("scaffold", "nested.pt")


def test_scaffold_spells_the_remedy_for_a_key_as_a_flag() -> None:
    ww.write_record("model.mpk", {"a": np.zeros(2, np.float32), ".b": np.zeros(2, np.float32)})
    result = run("scaffold", "model.mpk", status=1)
    assert result.stderr == (
        "Error: model.mpk: tensor `.b`: expected keys that a dataclass can have, found a key that begins with an empty"
        " name, which no field of a dataclass can have\n"
        "  Rename it with --key-remap.\n"
    )
