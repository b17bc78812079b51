"""`hatch_wheelweights.inspect`: a value that shows itself in Python and in a notebook."""

from __future__ import annotations

import html
import json
import re
import xml.etree.ElementTree as ET

import numpy as np
import pytest

import hatch_wheelweights
import wheelweights as ww
from hatch_wheelweights import ConfigError
from looking.commands import stdout
from making.checkpoints import zip_checkpoint
from making.pickles import Code, build, name, ordered_dict, pickled, state_dict, tensor
from making.small_files import HOSTILE, HOSTILE_SHOWN, WHEEL, nested_checkpoint, small_checkpoint, small_wheel, write


def test_it_shows_what_the_command_shows() -> None:
    small_checkpoint()
    assert f"{hatch_wheelweights.inspect('model.pt')!r}\n" == stdout("inspect", "model.pt")


def test_it_spells_options_as_python_does() -> None:
    nested_checkpoint()
    assert 'Note: taken as the state_dict: `model`; a conversion needs top_level_key="model"\n' in repr(
        hatch_wheelweights.inspect("nested.pt")
    )


def test_its_document_is_what_json_prints() -> None:
    small_wheel()
    assert hatch_wheelweights.inspect(WHEEL).document() == json.loads(stdout("inspect", WHEEL, "--json"))


def test_it_takes_the_options_of_a_conversion_a_pattern_and_statistics() -> None:
    small_checkpoint()
    found = hatch_wheelweights.inspect("model.pt", find=r"\.w$", statistics=True, precision="half", reindex=False)
    assert [each.key for each in found.tensors] == ["layers.0.w", "layers.2.w"]
    assert [each.statistics.values for each in found.tensors if each.statistics] == [4, 2]
    assert [each.new_dtype for each in found.tensors] == ["float16", "int64"]
    assert (found.total, found.tree.totals.values) == (3, 6)
    with pytest.raises(ConfigError, match="expected a regular expression, found '\\('"):
        hatch_wheelweights.inspect("model.pt", find="(")


def test_a_notebook_gets_a_tree_that_folds_and_nothing_unescaped() -> None:
    write("model.pt", zip_checkpoint(state_dict(**{f"a.{HOSTILE}": tensor(), "b.c.w": tensor()})))
    shown = hatch_wheelweights.inspect("model.pt")._repr_html_()
    document = ET.fromstring(shown)  # every element is closed
    assert "<script>" not in shown
    assert HOSTILE_SHOWN in "".join(document.itertext())
    assert [summary[0].text for summary in document.findall("./ul//summary")] == ["a", "b.c"]


def test_a_notebook_gets_every_level() -> None:
    arrays = {f"layers.{i}.{name}": np.zeros(i + 1, np.float32) for i in range(2) for name in ("a.w", "b")}
    ww.write_record("m.mpk", arrays | {"head.w": np.zeros(3, np.float32)})
    document = ET.fromstring(hatch_wheelweights.inspect("m.mpk")._repr_html_())
    assert [code.text for code in document.iter("code")] == [
        "layers", "0", "a", "w", "b", "1", "a", "w", "b", "head", "w",
    ]  # fmt: skip
    assert len(document.findall("./ul/li")) == 2


def test_a_notebook_gets_all_that_the_terminal_shows() -> None:
    several = {part: ordered_dict({"w": tensor()}) for part in ("model", "ema")}
    write("two.pt", zip_checkpoint(pickled({**several, "epoch": 1})))
    shown = text_in(hatch_wheelweights.inspect("two.pt")._repr_html_())
    assert "model 4 values \u00b7 16 B \u00b7 <- a state_dict" in shown
    at = shown.index("Other values")
    assert shown[at : at + 3] == ["Other values", "epoch: int 1", "In pyproject.toml"]
    beside = hatch_wheelweights.inspect("two.pt", top_level_key="model")._repr_html_()
    at = text_in(beside).index("Beside the state_dict")
    assert text_in(beside)[at + 1 : at + 4] == ["ema", "w (4,) float32 \u00b7 tied to w", "epoch: int 1"]


def test_of_two_things_at_the_root_under_one_key_both_are_described() -> None:
    part = ordered_dict({"w": tensor()})
    root: dict[int | str, object] = {"model": part, "ema": part, 1: "a number", "1": "a text"}
    write("two.pt", zip_checkpoint(pickled(root)))
    top_level = {
        "model": "dict of 1, 1 tensor", "ema": "dict of 1, 1 tensor", "1": "str 'a number'", "1 (2)": "str 'a text'",
    }  # fmt: skip
    assert hatch_wheelweights.inspect("two.pt").document()["top_level"] == top_level


def test_a_notebook_gets_statistics_and_what_is_odd() -> None:
    ww.write_record("m.mpk", {"w": np.array([np.nan, -1, 0, 1], np.float32)}, metadata={"license": "MIT"})
    shown = text_in(hatch_wheelweights.inspect("m.mpk", statistics=True)._repr_html_())
    bars = "\u2588\xa0\xa0\xa0\xa0\xa0\xa0\xa0\u2588\xa0\xa0\xa0\xa0\xa0\xa0\u2588"
    assert shown[2] == "Look at `w`: 1 NaN of 4 values"
    assert shown[3] == (
        f"w (4,) float32 \u00b7 4 values \u00b7 16 B \u00b7 min -1, max 1, mean 0, std 1, zeros 25% {bars} \u00b7 1 NaN"
    )
    assert shown[4:] == ["Metadata", "license: MIT"]


def text_in(shown: str) -> list[str]:
    """Return the lines that HTML shows."""
    ends = re.sub(r"<br/>|</(?:p|li|summary|pre|ul|details)>", "\n", shown)
    return [line.strip() for line in html.unescape(re.sub(r"<[^>]*>", "", ends)).split("\n") if line.strip()]


def test_classes_are_shown_of_every_model_in_a_file_and_not_as_values_again() -> None:
    def model() -> bytes:
        drop = module("Dropout", p=0.5)
        return module("Net", parameters={"w": tensor()}, modules={"drop": drop})

    write("two.pt", zip_checkpoint(pickled({"model": model(), "ema": model(), "epoch": 1})))
    found = hatch_wheelweights.inspect("two.pt")
    named = {node.key: node.module.name for node in found.beside_tree.below() if node.module is not None}
    assert named == {
        "model": "net.Net", "model.drop": "net.Dropout", "ema": "net.Net", "ema.drop": "net.Dropout",
    }  # fmt: skip
    assert found.rest == {"epoch": "int 1"}
    write("one.pt", zip_checkpoint(pickled({"model": ordered_dict({"w": tensor()}), "ema": [model()]})))
    found = hatch_wheelweights.inspect("one.pt", top_level_key="model")
    named = {node.key: node.module.name for node in found.beside_tree.below() if node.module is not None}
    assert named == {"ema.0": "net.Net", "ema.0.drop": "net.Dropout"}


def module(kind: str, parameters: object = None, modules: object = None, **settings: object) -> Code:
    state = {"_parameters": parameters or {}, "_buffers": {}, "_modules": modules or {}, "training": True, **settings}
    return build(Code(name("net", kind) + b")\x81"), state)
