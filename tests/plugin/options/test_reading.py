"""Options by hand: what keyword arguments may say, and the signatures made from the model."""

from __future__ import annotations

import inspect
from typing import Any

import pytest

from hatch_wheelweights import Checkpoint, convert, open_checkpoint
from hatch_wheelweights.errors import ConfigError
from hatch_wheelweights.options.model import ConversionOptions, TensorOptions, specs
from hatch_wheelweights.options.reading import read_keywords
from hatch_wheelweights.options.values import precision_rules
from making.checkpoints import zip_checkpoint


def test_reads_the_options_of_python():
    options = {"top_level_key": ("a", "b"), "key_remap": [("a", "b"), {"pattern": "c", "replacement": "d"}]}
    expected = ConversionOptions(top_level_key=("a", "b"), key_remap=(("a", "b"), ("c", "d")))
    assert read_keywords(ConversionOptions, options) == expected


def test_rejects_text_that_a_record_cannot_hold():
    with pytest.raises(ConfigError) as caught:
        read_keywords(ConversionOptions, {"metadata": {"license": "M\udcffT"}})
    assert str(caught.value) == "metadata.license: expected text, found half of a character in 'M\\udcffT'"


def test_reads_rules_of_precision_as_tables_and_as_pairs():
    rules: list[Any] = [("^head", "keep"), {"pattern": "", "dtype": "float16"}]
    expected = ConversionOptions(precision=(("^head", "keep"), ("", "float16")))
    assert read_keywords(ConversionOptions, {"precision": rules}) == expected
    assert read_keywords(ConversionOptions, {"precision": tuple(rules)}) == expected
    assert [str(rule) for rule in precision_rules(rules)] == ["`^head` -> `keep`", "`` -> `float16`"]
    assert [str(rule) for rule in precision_rules("half")] == ["`` -> `half`"]


def test_none_leaves_the_default():
    assert read_keywords(ConversionOptions, {"precision": None, "top_level_key": None}) == ConversionOptions()


def test_gathers_all_faults():
    with pytest.raises(ConfigError) as caught:
        read_keywords(ConversionOptions, {"precision": "hlaf", "topLevelKey": "a"})
    assert str(caught.value) == (
        "configuration: 2 faults: topLevelKey, precision\n"
        "  topLevelKey: unknown option\n"
        "    Did you mean `top_level_key`?\n"
        "  precision: expected `keep`, `full`, `half`, `double` or `bfloat16`, found `hlaf`\n"
        "    Did you mean `half`?"
    )


@pytest.mark.parametrize(
    ("option", "value", "message"),
    [
        pytest.param("precision", "float16", "precision: expected `keep`, `full`, `half`, `double` or `bfloat16`, "
            "found `float16`\n  Write half.", id="precision"),
        pytest.param("precision", [("a", "hlaf")], "precision[0].dtype: expected a precision or a dtype, found `hlaf`\n"
            "  Did you mean `half`?", id="precision of a rule"),
        pytest.param("precision", ("a", "half"), "configuration: 2 faults: precision[0], precision[1]\n"
            "  precision[0]: expected a table of `pattern` and `dtype`, found a string (`a`)\n"
            '    Write, say: precision=[{"pattern": "^head\\\\.", "dtype": "keep"}, {"pattern": "", "dtype": "half"}]\n'
            "  precision[1]: expected a table of `pattern` and `dtype`, found a string (`half`)\n"
            '    Write, say: precision=[{"pattern": "^head\\\\.", "dtype": "keep"}, {"pattern": "", "dtype": "half"}]',
            id="a pair that is no list of pairs"),
        pytest.param("include", "conv", "include: expected an array of strings, found a string (`conv`)\n"
            "  Put it in brackets: ['conv']", id="include"),
        pytest.param("key_remap", [["a", "b"]], "key_remap[0]: expected a table of `pattern` and `replacement`, "
            'found an array\n  Write, say: key_remap=[{"pattern": "conv\\\\.(.*)", "replacement": "$1"}]', id="rule"),
        pytest.param("key_remap", [("(a)", "$1_x")], "key_remap[0].replacement: unknown group `1_x` at position 0\n"
            "    $1_x\n    ^\n  Write ${1}_x", id="replacement"),
        pytest.param("reindex", 0, "reindex: expected a boolean, found an integer (0)", id="boolean"),
        pytest.param("presicion", "half", "presicion: unknown option\n  Did you mean `precision`?", id="unknown"),
    ],
)  # fmt: skip
def test_convert_and_state_dict_give_one_verdict(option, value, message, tmp_path):
    path = tmp_path / "model.pt"
    path.write_bytes(zip_checkpoint())
    for attempt in (
        lambda: convert(path, tmp_path / "model.mpk", **{option: value}),
        lambda: open_checkpoint(path).state_dict(**{option: value}),
    ):
        with pytest.raises(ConfigError) as caught:
            attempt()
        assert str(caught.value) == message


def test_source_and_output_are_no_options_of_a_conversion():
    with pytest.raises(ConfigError) as caught:
        read_keywords(ConversionOptions, {"source": "a.pt"})
    assert str(caught.value).startswith("source: unknown option\n")


def test_signatures_have_the_options_of_the_model():
    of_convert = inspect.signature(convert).parameters
    assert list(of_convert) == ["source", "output", *specs(ConversionOptions)]
    assert {of_convert[name].kind for name in specs(ConversionOptions)} == {inspect.Parameter.KEYWORD_ONLY}
    assert list(inspect.signature(Checkpoint.state_dict).parameters) == ["self", *specs(TensorOptions)]
    assert of_convert["precision"].default == "keep"
    assert inspect.signature(convert).return_annotation == "Conversion"
