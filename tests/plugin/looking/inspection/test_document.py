"""The JSON of an inspection: documented, and readable by any reader."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np

import hatch_wheelweights
import wheelweights as ww
from hatch_wheelweights.checkpoint.module_classes import ModuleClass
from hatch_wheelweights.errors import PYTHON
from hatch_wheelweights.looking.inspection.document import json_document, json_text
from hatch_wheelweights.looking.inspection.facts import FileFacts
from hatch_wheelweights.looking.inspection.tensors import TensorFacts
from making.small_files import (
    WHEEL,
    hostile_checkpoints,
    nested_checkpoint,
    small_checkpoint,
    small_wheel,
)

DOCUMENTATION = Path(__file__).parents[4] / "docs" / "inspect.md"
SCHEMA = json.loads(DOCUMENTATION.with_suffix(".schema.json").read_text(encoding="utf-8"))
TYPES: dict[str, type | tuple[type, ...]] = {
    "object": dict, "array": list, "string": str, "boolean": bool, "integer": int, "number": (int, float),
    "null": type(None),
}  # fmt: skip


def keys_in(value: Any, names: set[str]) -> set[str]:
    """Return the keys of objects of a fixed form; what is named by a file is left out."""
    if isinstance(value, list):
        return {key for one in value for key in keys_in(one, names)}
    if not isinstance(value, dict):
        return set()
    below = {key for name, one in value.items() if name not in names for key in keys_in(one, names)}
    return {*value, *below}


def faults(value: Any, schema: dict[str, Any] = SCHEMA, place: str = "") -> list[str]:
    """Return where a value is not as a schema says, and which keys it does not describe."""
    if "$ref" in schema:
        meant = SCHEMA["$defs"][schema["$ref"].rpartition("/")[2]]
        schema = meant | {"required": [*meant.get("required", ()), *schema.get("required", ())]}
    if "anyOf" in schema:
        return min((faults(value, option, place) for option in schema["anyOf"]), key=len)
    kinds = schema.get("type", [*TYPES])
    if not any(is_of(value, kind) for kind in ([kinds] if isinstance(kinds, str) else kinds)):
        return [f"{place}: {value!r:.50} is no {kinds}"]
    found: list[str] = []
    if isinstance(value, dict):
        known = schema.get("properties", {})
        found = [f"{place} lacks {name}" for name in set(schema.get("required", ())) - value.keys()]
        found += [f"{place}.{name} is not described" for name in value.keys() - known.keys() if known]
        below = [(name, known.get(name, schema.get("additionalProperties", {}))) for name in value]
        found += [fault for name, one in below for fault in faults(value[name], one, f"{place}.{name}")]
    for i, one in enumerate(value if isinstance(value, list) else ()):
        found += faults(one, schema.get("items", {}), f"{place}[{i}]")
    return found


def is_of(value: object, kind: str) -> bool:
    return isinstance(value, TYPES[kind]) and (kind == "boolean" or not isinstance(value, bool))


def test_every_document_is_as_the_schema_says() -> None:
    small_checkpoint()
    nested_checkpoint()
    small_wheel()
    ww.write_record("model.mpk", {"a.w": np.array([[np.nan, 1], [0, 0]]), "b": np.zeros(0)}, metadata={"x": {"y": [1]}})
    hostile_checkpoints()
    for file in ("model.pt", "nested.pt", "model.mpk", WHEEL, "flat.pt", "deep.pt"):
        for statistics in (False, True):
            assert faults(hatch_wheelweights.inspect(file, statistics=statistics).document()) == []
    assert faults({**hatch_wheelweights.inspect("model.pt").document(), "size": "1"}) == [".size: '1' is no integer"]


def test_the_text_has_a_line_for_each_tensor_and_each_node() -> None:
    small_wheel()
    small_checkpoint()
    for file, tensors in ((WHEEL, 0), ("model.pt", 3)):
        document = hatch_wheelweights.inspect(file, statistics=True).document()
        text = json_text(document)
        assert json.loads(text) == document
        lines = text.splitlines()
        assert sum(line.startswith('    {"key": ') for line in lines) == tensors
        assert all(line.count('"children"') <= 1 and line.count('"key"') <= 1 for line in lines)


def test_every_key_is_documented() -> None:
    small_checkpoint()
    found = hatch_wheelweights.inspect("model.pt", statistics=True).document()
    keys = keys_in(found, {"others", "metadata", "config", "top_level", "needs", "rest", "settings", "dtypes"})
    text = DOCUMENTATION.read_text(encoding="utf-8")
    assert sorted(key for key in keys if f"`{key}`" not in text) == []
    assert {"histogram", "children", "is_cut"} <= keys


def test_classes_and_settings_are_plain_values() -> None:
    facts = FileFacts(
        path="m.pt",
        kind="torchscript",
        size=1,
        tensors=(TensorFacts("c.w", "c.w", (1,), "float32", "float32", 4),),
        modules={
            "c": ModuleClass("torch.nn.modules.conv.Conv2d", {"stride": (2, 2), "eps": float("inf"), "mode": None})
        },
    )
    (module,) = json.loads(json.dumps(json_document(facts, PYTHON), allow_nan=False))["tree"]["children"]
    assert module["class"] == "torch.nn.modules.conv.Conv2d"
    assert module["settings"] == {"stride": [2, 2], "eps": "inf", "mode": None}


def test_statistics_that_json_lacks_are_texts() -> None:
    ww.write_record("m.mpk", {"w": np.array([1e308, -1e308, 1e308])})
    text = json.dumps(hatch_wheelweights.inspect("m.mpk", statistics=True).document(), allow_nan=False)
    statistics = json.loads(text)["tensors"][0]["statistics"]
    assert (statistics["minimum"], statistics["values"], len(statistics["histogram"])) == (-1e308, 3, 64)
