"""What is made from the options is what stands in the documentation."""

from __future__ import annotations

import importlib.util
import json
import tomllib
from pathlib import Path
from typing import Any

import pytest

from hatch_wheelweights.errors import Faults, Option, Place
from hatch_wheelweights.options.documentation import json_schema, markdown_table
from hatch_wheelweights.options.model import HookOptions, RecordOptions, specs
from hatch_wheelweights.options.toml import toml_name

ROOT = Path(__file__).parents[3]


@pytest.fixture(scope="module")
def generate() -> Any:
    spec = importlib.util.spec_from_file_location("generate", ROOT / "docs" / "generate.py")
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def test_the_readme_has_the_table_of_today(generate: Any) -> None:
    text = generate.README.read_text(encoding="utf-8")
    assert markdown_table() in text
    assert generate.readme_with_table(text) == text, "run: hatch run generate"


def test_the_schema_is_that_of_today(generate: Any) -> None:
    assert generate.SCHEMA.read_text(encoding="utf-8") == generate.schema_text(), "run: hatch run generate"


def test_the_table_has_every_option_once() -> None:
    named = [line.split("`")[1] for line in markdown_table().splitlines()[2:]]
    assert named == [toml_name(name) for model in (HookOptions, RecordOptions) for name in specs(model)]


def test_the_schema_knows_every_option() -> None:
    schema = json.loads(json.dumps(json_schema()))
    record = schema["properties"]["records"]["items"]
    assert set(record["properties"]) == set(map(toml_name, specs(RecordOptions)))
    assert record["required"] == ["source", "output"]
    word, rules = record["properties"]["precision"]["anyOf"]
    assert word["enum"] == ["keep", "full", "half", "double", "bfloat16"]
    assert rules["items"]["required"] == ["pattern", "dtype"]
    assert record["properties"]["precision"]["default"] == "keep"
    assert record["properties"]["reindex"] == {
        "description": specs(RecordOptions)[Option("reindex")].help, "type": "boolean", "default": True,
    }  # fmt: skip


def test_every_example_is_a_value_that_its_option_takes() -> None:
    for name, spec in specs(RecordOptions).items():
        if spec.example:
            faults = Faults()
            spec.kind.read(tomllib.loads(f"x = {spec.example}")["x"], Place((name,)), faults)
            assert faults == [], name
