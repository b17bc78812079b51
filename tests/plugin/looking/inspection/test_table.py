"""The lines for pyproject.toml name the file as its project does, and its package."""

from __future__ import annotations

import tomllib
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from hatch_wheelweights.looking.inspection.table import table_of
from hatch_wheelweights.options.model import ConversionOptions
from hatch_wheelweights.options.table import load


def project(*files: str, name: str = "my-net") -> Path:
    root = Path("p")
    for file in ("weights/net.pt", *files):
        (root / file).parent.mkdir(parents=True, exist_ok=True)
        (root / file).touch()
    (root / "pyproject.toml").write_text(f'[project]\nname = "{name}"\n')
    return root


def read(lines: tuple[str, ...]) -> dict[str, object]:
    """Return the table that the lines are."""
    table = tomllib.loads("\n".join(lines))["tool"]["hatch"]["build"]["hooks"]["wheelweights"]
    load(table)  # nothing is wrong with it
    return dict(table["records"][0])


@pytest.mark.parametrize(
    ("files", "folder"),
    [
        (["src/my_net/__init__.py"], "src/my_net"),
        (["my_net/__init__.py", "tests/__init__.py"], "my_net"),
        (["src/other/__init__.py", "src/my_net/__init__.py"], "src/my_net"),
        (["src/other/__init__.py", "tests/__init__.py"], "src/other"),
        (["src/ns/my_net/__init__.py", "src/ns/tests/__init__.py"], "src/ns/my_net"),
        (["ns/my_net/__init__.py"], "ns/my_net"),
        ([], "src/my_net"),
    ],
)
def test_the_package_is_the_one_that_hatch_finds(files: list[str], folder: str) -> None:
    root = project(*files)
    found = read(table_of(str(root / "weights/net.pt"), ConversionOptions()))
    assert found == {"source": "weights/net.pt", "output": f"{folder}/net.mpk"}


def test_a_file_outside_any_project_gets_a_name_to_replace() -> None:
    Path("a").mkdir()
    assert read(table_of("a/net.pt", ConversionOptions())) == {"source": "a/net.pt", "output": "src/my_package/net.mpk"}


def test_options_that_are_not_at_their_default_are_in_it() -> None:
    options = ConversionOptions(
        top_level_key=["a", "b"], key_remap=[(r"x\.(.*)", "$1")], reindex=False, precision="half", metadata={"a": "b"}
    )
    found = read(table_of("net.pt", options))
    assert {name: found[name] for name in list(found)[2:]} == {
        "top-level-key": ["a", "b"],
        "key-remap": [{"pattern": r"x\.(.*)", "replacement": "$1"}],
        "reindex": False,
        "precision": "half",
        "metadata": {"a": "b"},
    }
    assert read(table_of("net.pt", ConversionOptions(top_level_key=("a",))))["top-level-key"] == "a"


@pytest.mark.parametrize(
    ("name", "source", "output"),
    [
        ("a b.pt", "a b.pt", "a_b.mpk"),
        ("n[1].pt", "n[[]1].pt", "{stem}.mpk"),
        ("model.safetensors.index.json", "model.safetensors.index.json", "model.mpk"),
        ('q"uote.pt', 'q"uote.pt', "q_uote.mpk"),
    ],
)
def test_odd_names_are_written_so_that_they_are_read_again(name: str, source: str, output: str) -> None:
    found = read(table_of(name, ConversionOptions()))
    assert found == {"source": source, "output": f"src/my_package/{output}"}


@given(st.lists(st.text(st.characters(exclude_categories=["Cs"]), min_size=1, max_size=20), min_size=1, max_size=3))
def test_any_key_is_written_so_that_it_is_read_again(keys: list[str]) -> None:
    lines = table_of("net.pt", ConversionOptions(top_level_key=tuple(keys), metadata={key: key for key in keys}))
    assert all(line.isprintable() for line in lines)
    found = read(lines)
    assert found["top-level-key"] == (keys[0] if len(keys) == 1 else keys)
    assert found["metadata"] == {key: key for key in keys}


@pytest.mark.parametrize("key", ["\ud800", ""])
def test_a_key_that_no_option_can_name_gets_no_table(key: str) -> None:
    assert table_of("net.pt", ConversionOptions(top_level_key=(key,))) == ()


@pytest.mark.parametrize("name", ["a{b}.pt", "a\\b.pt", "a\nb.pt", "a:b.pt", "~a.pt"])
def test_a_name_that_no_table_can_hold_gets_none(name: str) -> None:
    assert table_of(name, ConversionOptions()) == ()
