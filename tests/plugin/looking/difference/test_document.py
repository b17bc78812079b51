"""The JSON of a comparison: documented, and readable by any reader."""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import Any

import numpy as np

import wheelweights as ww
from hatch_wheelweights import diff
from hatch_wheelweights.errors import PYTHON
from hatch_wheelweights.looking.difference.document import difference_document

DOCUMENTATION = Path(__file__).parents[4] / "docs" / "diff.md"


def keys_in(value: Any) -> set[str]:
    """Return the keys of all objects."""
    if isinstance(value, dict):
        return {*value, *(key for one in value.values() for key in keys_in(one))}
    return {key for one in value for key in keys_in(one)} if isinstance(value, list) else set()


def test_the_documentation_has_every_key_and_no_other() -> None:
    ww.write_record("a.mpk", {f"m.{i}.w": np.arange(4.0) + i for i in range(4)} | {"mine": np.ones(2)})
    ww.write_record("b.mpk", {f"{i}.w": np.arange(4.0) + max(i, 1) for i in range(4)} | {"yours": np.ones(3)})
    found = keys_in(difference_document(diff("a.mpk", "b.mpk"), PYTHON))
    table = DOCUMENTATION.read_text(encoding="utf-8").partition("\n## JSON")[2].partition("\n\nA size of")[0]
    documented = {name.removeprefix("tensors[].") for name in re.findall(r"`([\w.\[\]]+)`", table)}
    assert documented == found


def test_numbers_that_json_lacks_are_texts() -> None:
    ww.write_record("a.mpk", {"w": np.array([1.0, np.inf, np.nan])})
    ww.write_record("b.mpk", {"w": np.array([0.0, 1.0, np.nan])})
    text = json.dumps(difference_document(diff("a.mpk", "b.mpk"), PYTHON), allow_nan=False)
    (tensor,) = json.loads(text)["tensors"]
    assert (tensor["largest"], tensor["largest_relative"], tensor["cosine"]) == ("inf", "inf", None)
    assert (tensor["unequal"], tensor["nan_in_both"], tensor["nan_in_one"]) == (2, 1, 0)
