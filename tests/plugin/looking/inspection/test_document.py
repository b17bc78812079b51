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
from hatch_wheelweights.looking.inspection.document import json_document
from hatch_wheelweights.looking.inspection.facts import FileFacts
from hatch_wheelweights.looking.inspection.tensors import TensorFacts
from making.small_files import small_checkpoint

DOCUMENTATION = Path(__file__).parents[4] / "docs" / "inspect.md"


def keys_in(value: Any, names: set[str]) -> set[str]:
    """Return the keys of objects of a fixed form; what is named by a file is left out."""
    if isinstance(value, list):
        return {key for one in value for key in keys_in(one, names)}
    if not isinstance(value, dict):
        return set()
    below = {key for name, one in value.items() if name not in names for key in keys_in(one, names)}
    return {*value, *below}


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
