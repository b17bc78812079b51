"""Who imports whom, and at what cost: the runtime stands alone, the hook is light, no arrow points backwards."""

from __future__ import annotations

import ast
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
RUNTIME = ROOT / "runtime" / "src" / "wheelweights"
PLUGIN = ROOT / "hatch_plugin" / "src" / "hatch_wheelweights"
MODULES = sorted([*RUNTIME.rglob("*.py"), *PLUGIN.rglob("*.py")])


def imports_of(file: Path, *, at_import_time: bool = False) -> set[str]:
    """Return the full names of the modules that a file imports, those for type checkers left out."""
    tree = ast.parse(file.read_text())
    found: set[str] = set()
    waiting: list[ast.AST] = [tree]
    while waiting:
        node = waiting.pop()
        if isinstance(node, ast.If) and "TYPE_CHECKING" in ast.unparse(node.test):
            waiting += node.orelse
        elif at_import_time and isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef | ast.Lambda):
            continue
        else:
            found |= _imported(node)
            waiting += ast.iter_child_nodes(node)
    return found


def _imported(node: ast.AST) -> set[str]:
    match node:
        case ast.Import():
            return {alias.name for alias in node.names}
        case ast.ImportFrom():
            assert node.level == 0, "a relative import"
            return {str(node.module), *(f"{node.module}.{alias.name}" for alias in node.names)}
    return set()


def outside(names: set[str]) -> set[str]:
    return {top for top in (name.partition(".")[0] for name in names) if top not in sys.stdlib_module_names}


def test_the_walk_over_imports_sees_them(tmp_path: Path) -> None:
    file = tmp_path / "module.py"
    file.write_text(
        "import a\nfrom typing import TYPE_CHECKING\nif TYPE_CHECKING:\n    import b\nelse:\n    import c\n"
        "def f():\n    from d.e import f\n"
    )
    assert imports_of(file) == {"a", "typing", "typing.TYPE_CHECKING", "c", "d.e", "d.e.f"}
    assert imports_of(file, at_import_time=True) == {"a", "typing", "typing.TYPE_CHECKING", "c"}


@pytest.mark.parametrize("file", sorted(RUNTIME.rglob("*.py")), ids=lambda file: file.relative_to(RUNTIME).as_posix())
def test_the_runtime_imports_numpy_and_msgpack_and_itself(file: Path) -> None:
    optional = {"dtypes.py": {"ml_dtypes"}, "torch.py": {"torch"}, "jax.py": {"jax"}}.get(file.name, set())
    assert outside(imports_of(file)) <= {"numpy", "msgpack", "wheelweights", *optional}
    assert outside(imports_of(file, at_import_time=True)) <= {"numpy", "msgpack", "wheelweights"}


@pytest.mark.parametrize(
    ("part", "never"),
    [
        pytest.param(RUNTIME / "nn", {"wheelweights.record", "wheelweights.binding", "wheelweights.burn"}, id="nn"),
        pytest.param(RUNTIME / "binding.py", {"wheelweights.record", "wheelweights.nn"}, id="binding"),
        pytest.param(RUNTIME / "record.py", {"wheelweights.binding", "wheelweights.nn"}, id="record"),
        pytest.param(RUNTIME / "dtypes.py", {"wheelweights.record", "wheelweights.binding"}, id="dtypes"),
        pytest.param(RUNTIME / "errors.py", {"wheelweights.record", "wheelweights.dtypes"}, id="errors"),
        pytest.param(
            PLUGIN / "checkpoint",
            {f"hatch_wheelweights.{name}" for name in ("_options", "_convert", "_wheel", "hooks", "cli")},
            id="checkpoint",
        ),
        pytest.param(
            PLUGIN / "_options.py",
            {f"hatch_wheelweights.{name}" for name in ("_convert", "_wheel", "hooks", "cli")},
            id="options",
        ),
        pytest.param(
            PLUGIN / "_wheel.py",
            {f"hatch_wheelweights.{name}" for name in ("_options", "_convert", "hooks", "cli", "checkpoint")},
            id="wheel",
        ),
        pytest.param(
            PLUGIN / "_convert.py", {f"hatch_wheelweights.{name}" for name in ("_wheel", "hooks", "cli")}, id="convert"
        ),
    ],
)
def test_no_import_points_backwards(part: Path, never: set[str]) -> None:
    files = sorted(part.rglob("*.py")) if part.is_dir() else [part]
    assert files
    for file in files:
        assert not imports_of(file) & never, file.name


def test_only_the_hook_imports_hatchling() -> None:
    assert [file for file in MODULES if "hatchling" in outside(imports_of(file))] == [PLUGIN / "hooks.py"]


def test_nothing_imports_torch_but_what_is_for_torch() -> None:
    assert [file.name for file in MODULES if "torch" in outside(imports_of(file)) and file.name != "torch.py"] == []


def loaded_by(code: str) -> set[str]:
    """Run code in a fresh interpreter; return the top-level modules outside the standard library that it imported."""
    imported = "(name for name, module in sys.modules.items() if getattr(module, '__spec__', None))"
    report = f"{code}\nimport sys; print(*{imported})"
    run = subprocess.run([sys.executable, "-c", report], check=True, capture_output=True, text=True)
    return outside(set(run.stdout.split()))


def test_starting_the_runtime_loads_numpy_and_msgpack_only() -> None:
    assert loaded_by("import wheelweights") - loaded_by("") == {"numpy", "msgpack", "wheelweights"}


def test_the_runtime_works_where_everything_else_is_blocked(tmp_path: Path) -> None:
    code = """
import sys
for name in ("torch", "hatchling", "hatch_wheelweights", "safetensors", "isal", "ml_dtypes", "click", "rich"):
    sys.modules[name] = None
import numpy as np
import wheelweights as ww
import wheelweights.nn
ww.write_record(sys.argv[1], {"w": np.arange(3, dtype=np.float32)})
assert ww.open_record(sys.argv[1])["w"].tolist() == [0, 1, 2]
"""
    subprocess.run([sys.executable, "-c", code, tmp_path / "model.mpk"], check=True)


def test_hatch_loads_nothing_heavy_with_the_hook() -> None:
    hatchling = "import hatchling.plugin.manager, hatchling.builders.hooks.plugin.interface"
    with_hook = loaded_by(f"{hatchling}, hatch_wheelweights.hooks")
    assert with_hook - loaded_by(hatchling) == {"hatch_wheelweights"}


def test_hatch_finds_the_hook() -> None:
    code = "from hatchling.plugin.manager import PluginManager; print(PluginManager().build_hook.get('wheelweights'))"
    run = subprocess.run([sys.executable, "-c", code], check=True, capture_output=True, text=True)
    assert run.stdout == "<class 'hatch_wheelweights.hooks.WheelweightsBuildHook'>\n"
