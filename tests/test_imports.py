"""Who imports whom, and at what cost: arrows point down, the runtime stands alone, the hook is light."""

from __future__ import annotations

import ast
import graphlib
import subprocess
import sys
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

ROOT = Path(__file__).parents[1]
RUNTIME = ROOT / "runtime" / "src" / "wheelweights"
PLUGIN = ROOT / "hatch_plugin" / "src" / "hatch_wheelweights"
MODULES = sorted([*RUNTIME.rglob("*.py"), *PLUGIN.rglob("*.py")])

# The house, from the top floor down. A floor has rooms, with bars between them; a room has modules and whole packages.
# A module imports from its own room and from lower floors: not from above, not from next door.
HOUSE = {
    "hatch_wheelweights": (
        "hooks | cli __main__",
        "__init__",
        "exporting",
        "looking | conversion goldens distributions",
        "opening | wheel sdist audit copies | forward | written | safetensors",
        "steps",
        "options",
        "checkpoint",
        "errors _version signals deflate progress",
    ),
    "wheelweights": (
        "__init__",
        "package parts archives | torch | jax | checking golden",
        (
            "nn | binding planning casting annotations declarations hints instances keys names report suggestions state"
            " | record"
        ),
        "burn | config attempts scalars",
        "atomic | dtypes | formats | nearby | plain | skeleton | _msgpack",
        "errors | _version",
    ),
}
# Rooms that know less than their floor allows
ALONE = {
    "hatch_wheelweights.wheel": {
        "hatch_wheelweights.deflate",
        "hatch_wheelweights.errors",
        "hatch_wheelweights.progress",
        "wheelweights.atomic",
        "wheelweights.errors",
        "wheelweights.formats",
    },
    "hatch_wheelweights.sdist": {
        "hatch_wheelweights.copies",
        "hatch_wheelweights.deflate",
        "hatch_wheelweights.errors",
        "hatch_wheelweights.progress",
        "wheelweights.atomic",
        "wheelweights.errors",
        "wheelweights.formats",
    },
    "wheelweights.nn": {"wheelweights.errors", "wheelweights.plain", "wheelweights.skeleton"},
}


# ------------------------------------------------------------------------------------- what a file imports


def import_statements(
    file: Path, *, at_import_time: bool = False, for_types: bool = False
) -> Iterator[ast.Import | ast.ImportFrom]:
    """Yield the imports of a file: those in functions too, those under `TYPE_CHECKING` only if asked for."""
    waiting: list[ast.AST] = [ast.parse(file.read_text(encoding="utf-8"))]
    while waiting:
        node = waiting.pop()
        if isinstance(node, ast.If) and ast.unparse(node.test) == "TYPE_CHECKING" and not for_types:
            waiting += node.orelse
        elif at_import_time and isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef | ast.Lambda):
            continue
        elif isinstance(node, ast.Import | ast.ImportFrom):
            assert not getattr(node, "level", 0), "a relative import"
            yield node
        else:
            waiting += ast.iter_child_nodes(node)


def outside(file: Path, *, at_import_time: bool = False) -> set[str]:
    """Return the top-level modules that a file imports when it runs, without those of the standard library."""
    found = set[str]()
    for statement in import_statements(file, at_import_time=at_import_time):
        names = [str(statement.module)] if isinstance(statement, ast.ImportFrom) else [a.name for a in statement.names]
        found |= {name.partition(".")[0] for name in names}
    return found - sys.stdlib_module_names


def test_the_walk_over_imports_sees_them(tmp_path: Path) -> None:
    file = tmp_path / "module.py"
    file.write_text(
        "import a\nfrom typing import TYPE_CHECKING\nif TYPE_CHECKING:\n    import b\nelse:\n    import c\n"
        "def f():\n    from d.e import f\nif not TYPE_CHECKING:\n    import g.h\n"
    )
    assert outside(file, at_import_time=True) == {"a", "c", "g"}
    assert outside(file) == {"a", "c", "d", "g"}
    assert len(list(import_statements(file))) == 5
    assert len(list(import_statements(file, for_types=True))) == 6


# ------------------------------------------------------------------------------------- the house


def modules_of(*packages: Path) -> dict[str, Path]:
    """Return the files of packages by the full names of their modules."""
    return {
        ".".join(file.relative_to(package.parent).with_suffix("").parts).removesuffix(".__init__"): file
        for package in packages
        for file in sorted(package.rglob("*.py"))
    }


def arrows_of(modules: Mapping[str, Path]) -> dict[str, set[str]]:
    """Return the modules that each module imports, in functions and for type checkers too: an arrow is an arrow."""
    return {
        module: {
            target
            for statement in import_statements(file, for_types=True)
            for target in _targets(statement, modules)
            if target != module
        }
        for module, file in modules.items()
    }


def _targets(statement: ast.Import | ast.ImportFrom, modules: Mapping[str, Path]) -> set[str]:
    if isinstance(statement, ast.Import):
        return {alias.name for alias in statement.names} & modules.keys()
    whole = str(statement.module)
    parts = {f"{whole}.{alias.name}" for alias in statement.names}
    of_whole = {whole} if parts - modules.keys() else set()  # else it names nothing but modules in there
    return (parts | of_whole) & modules.keys()


def places_of(house: Mapping[str, tuple[str, ...]]) -> dict[str, tuple[int, int]]:
    """Return the floor, counted from the top, and the room of everything that the house names."""
    floors = [(package, floor) for package, floors in house.items() for floor in floors]
    named = [
        (f"{package}.{name}", (level, room))
        for level, (package, floor) in enumerate(floors)
        for room, names in enumerate(floor.split("|"))
        for name in names.split()
    ]
    assert len(dict(named)) == len(named), "the house names something twice"
    return dict(named)


def listed_as(module: str) -> str:
    """Return the name under which the house lists a module: the first two parts of its own, or its `__init__`."""
    package, _, below = module.partition(".")
    return f"{package}.{below.partition('.')[0] or '__init__'}"


def faults(modules: Mapping[str, Path], house: Mapping[str, tuple[str, ...]]) -> list[str]:
    """Return what is wrong with the arrows between modules."""
    places = places_of(house)
    found = [f"{module} is in no room" for module in modules if listed_as(module) not in places]
    arrows = arrows_of(modules)
    for module, target in [(module, target) for module, targets in arrows.items() for target in sorted(targets)]:
        here, there = places.get(listed_as(module)), places.get(listed_as(target))
        if here and there and here != there and here[0] >= there[0]:
            found.append(f"{module} imports {target}, which is {'above' if there[0] < here[0] else 'next door'}")
    try:
        graphlib.TopologicalSorter(arrows).prepare()
    except graphlib.CycleError as error:
        circle = error.args[1][1:]
        first = circle.index(min(circle))
        found.append(f"a circle: {' <- '.join([*circle[first:], *circle[:first], circle[first]])}")
    return found


def test_arrows_point_down_and_never_in_a_circle() -> None:
    assert faults(modules_of(PLUGIN, RUNTIME), HOUSE) == []


def test_the_house_lists_nothing_that_is_gone() -> None:
    assert set(places_of(HOUSE)) == {listed_as(module) for module in modules_of(PLUGIN, RUNTIME)}


@pytest.mark.parametrize("room", ALONE)
def test_some_rooms_know_little_more_than_the_errors(room: str) -> None:
    arrows = arrows_of(modules_of(PLUGIN, RUNTIME))
    ours = {module for module in arrows if f"{module}.".startswith(f"{room}.")}
    assert ours
    targets = {target for module in ours for target in arrows[module]} - ours
    assert targets <= ALONE[room]


def test_the_plugin_imports_nothing_private_of_the_runtime() -> None:
    arrows = arrows_of(modules_of(PLUGIN, RUNTIME))
    private = {module for module in arrows if module.startswith("wheelweights.") and "._" in module}
    assert {target for module in arrows if module.startswith("hatch_") for target in arrows[module]} & private == set()


@pytest.mark.parametrize(
    ("files", "expected"),
    [
        pytest.param({}, [], id="a tree in order"),
        pytest.param(
            {"low/__init__.py": "import house.right"},
            ["house.low imports house.right, which is above"],
            id="an arrow back",
        ),
        pytest.param(
            {"low/deep.py": "def f():\n    from house.right import g"},
            ["house.low.deep imports house.right, which is above"],
            id="an arrow back in a function",
        ),
        pytest.param(
            {"low/deep.py": "from typing import TYPE_CHECKING\nif TYPE_CHECKING:\n    from house import right"},
            ["house.low.deep imports house.right, which is above"],
            id="an arrow back for types",
        ),
        pytest.param(
            {"left.py": "from house.right import f"},
            ["house.left imports house.right, which is next door"],
            id="an arrow to the next room",
        ),
        pytest.param(
            {"low/deep.py": "import house.low.deeper", "low/deeper.py": "from house.low import deep"},
            ["a circle: house.low.deep <- house.low.deeper <- house.low.deep"],
            id="a circle inside a room",
        ),
        pytest.param(
            {"low/deep.py": "from house.low import f", "low/__init__.py": "from house.low.deep import f"},
            ["a circle: house.low <- house.low.deep <- house.low"],
            id="a circle with a package",
        ),
        pytest.param({"new.py": ""}, ["house.new is in no room"], id="an unlisted module"),
        pytest.param({"new/part.py": ""}, ["house.new.part is in no room"], id="an unlisted package"),
    ],
)
def test_the_test_of_the_house_can_fail(tmp_path: Path, files: dict[str, str], expected: list[str]) -> None:
    in_order = {
        "__init__.py": "from house.high import f",
        "high.py": "from house.left import f\nfrom house.low import deep, f",
        "left.py": "import house.low.deep",
        "right.py": "",
        "low/__init__.py": "from house.low import deep",
        "low/deep.py": "import os",
    }
    for name, text in (in_order | files).items():
        (tmp_path / "house" / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / "house" / name).write_text(text)
    assert faults(modules_of(tmp_path / "house"), {"house": ("__init__", "high", "left | right", "low")}) == expected


# ------------------------------------------------------------------------------------- what may be imported


@pytest.mark.parametrize("file", sorted(RUNTIME.rglob("*.py")), ids=lambda file: file.relative_to(RUNTIME).as_posix())
def test_the_runtime_imports_numpy_and_msgpack_and_itself(file: Path) -> None:
    optional = {"dtypes.py": {"ml_dtypes"}, "torch.py": {"torch"}, "jax.py": {"jax"}}.get(file.name, set())
    assert outside(file) <= {"numpy", "msgpack", "wheelweights", *optional}
    assert outside(file, at_import_time=True) <= {"numpy", "msgpack", "wheelweights"}


def test_only_the_hook_imports_hatchling() -> None:
    assert {file.parent for file in MODULES if "hatchling" in outside(file)} == {PLUGIN / "hooks"}


def test_nothing_imports_torch_but_what_is_for_torch() -> None:
    assert [file.name for file in MODULES if "torch" in outside(file) and file.name != "torch.py"] == []


def loaded_by(code: str) -> set[str]:
    """Run code in a fresh interpreter; return the top-level modules outside the standard library that it imported."""
    imported = "(name for name, module in sys.modules.items() if getattr(module, '__spec__', None))"
    report = f"{code}\nimport sys; print(*{imported})"
    run = subprocess.run([sys.executable, "-c", report], check=True, capture_output=True, text=True)
    return {name.partition(".")[0] for name in run.stdout.split()} - sys.stdlib_module_names


def test_starting_the_runtime_loads_nothing_and_using_it_numpy_and_msgpack_only() -> None:
    nothing = loaded_by("")
    assert loaded_by("import wheelweights") - nothing == {"wheelweights"}
    using_it = loaded_by("import wheelweights; wheelweights.open_record")
    assert using_it - nothing == {"numpy", "msgpack", "wheelweights"}


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
    assert run.stdout == "<class 'hatch_wheelweights.hooks.hook.WheelweightsBuildHook'>\n"
