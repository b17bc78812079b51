"""The rules of `precision`: a pattern for final keys, and a precision or a dtype."""

from __future__ import annotations

from typing import get_args

import pytest

from hatch_wheelweights.errors import ConfigError
from hatch_wheelweights.options.precisions import OTHER_NAMES, Precision, parse_precision_rule
from wheelweights.dtypes import DTYPES


@pytest.mark.parametrize("dtype", sorted({*get_args(Precision), *DTYPES}))
def test_a_rule_takes_every_precision_and_every_dtype_of_a_record(dtype: str) -> None:
    rule = parse_precision_rule(r"^head\.", dtype)
    assert (rule.pattern, rule.dtype, str(rule)) == (r"^head\.", dtype, rf"`^head\.` -> `{dtype}`")
    assert rule.compiled.search("head.w")
    assert not rule.compiled.search("a.head.w")


def fault(pattern: str, dtype: str) -> str:
    with pytest.raises(ConfigError) as caught:
        parse_precision_rule(pattern, dtype)
    return str(caught.value)


def test_a_pattern_is_that_of_the_other_options() -> None:
    assert parse_precision_rule("(?<name>a)$", "half").compiled.pattern == r"(?P<name>a)\Z"
    assert fault("(", "half").startswith("pattern: missing ), unterminated subpattern at position 0\n")


def test_a_dtype_that_is_unknown_is_told_with_what_was_meant() -> None:
    assert fault("", "fp16") == "dtype: expected a precision or a dtype, found `fp16`\n  Write half."
    assert fault("", "BF16") == "dtype: expected a precision or a dtype, found `BF16`\n  Write bfloat16."
    assert fault("", "flaot16") == "dtype: expected a precision or a dtype, found `flaot16`\n  Did you mean `float16`?"
    assert fault("", "qint8").startswith("dtype: expected a precision or a dtype, found `qint8`\n  Did you mean ")
    assert fault("", "").splitlines()[1].startswith("  Write one of: keep, full, half, double, bfloat16, bool, int8, ")


def test_other_names_mean_precisions() -> None:
    assert set(OTHER_NAMES.values()) <= set(get_args(Precision))
