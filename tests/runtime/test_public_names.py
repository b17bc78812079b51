"""The public names: imported when they are used, seen by type checkers, and nothing else passes for one."""

from __future__ import annotations

import ast
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

import wheelweights
import wheelweights.record


@pytest.mark.parametrize("name", wheelweights.__all__)
def test_every_public_name_is_there(name: str) -> None:
    assert getattr(wheelweights, name) is getattr(wheelweights, name)
    assert name in dir(wheelweights)


def test_a_name_that_is_none_is_an_attribute_error() -> None:
    module: Any = wheelweights
    with pytest.raises(AttributeError, match=r"^module 'wheelweights' has no attribute 'opne_record'$"):
        module.opne_record  # noqa: B018
    with pytest.raises(ImportError, match="opne_record"):
        exec("from wheelweights import opne_record")


def test_type_checkers_see_every_name_and_no_way_to_any_other() -> None:
    """`__getattr__` would make every name one of type Any."""
    tree = ast.parse(Path(str(wheelweights.__file__)).read_text(encoding="utf-8"))
    seen: set[str] = set()
    for node in tree.body:
        checking = isinstance(node, ast.If) and ast.unparse(node.test)
        for inner in ast.walk(node) if checking == "TYPE_CHECKING" else [node]:
            assert not (isinstance(inner, ast.FunctionDef) and inner.name == "__getattr__")
            if isinstance(inner, ast.ImportFrom):
                seen.update(alias.name for alias in inner.names)
    assert set(wheelweights.__all__) <= seen


def test_opening_a_record_imports_neither_models_nor_layers() -> None:
    rare = ["annotations", "binding", "burn", "checking", "config", "golden", "package", "nn", "report", "torch"]
    code = f"import sys, wheelweights; print([name for name in {rare} if 'wheelweights.' + name in sys.modules])"
    run = subprocess.run([sys.executable, "-c", code], check=True, capture_output=True, text=True)
    assert run.stdout == "[]\n"


@pytest.mark.parametrize("name", wheelweights.record.__all__)
def test_the_record_has_its_names(name: str) -> None:
    assert getattr(wheelweights.record, name)
