"""The words and the rules of `precision`: which dtype a tensor gets, by its final key.

Knows one key at a time; what a dtype means for the values of a tensor is the business of `steps.precision`.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Final, Literal, TypeAlias, get_args

from hatch_wheelweights.errors import ConfigError, Fault, Place
from hatch_wheelweights.options.patterns import parse_pattern
from wheelweights.errors import backticked, did_you_mean

if TYPE_CHECKING:
    import re
    from collections.abc import Mapping

__all__ = ["OTHER_NAMES", "Precision", "PrecisionRule", "parse_precision_rule"]

Precision: TypeAlias = Literal["keep", "full", "half", "double", "bfloat16"]

# What people write instead of a precision
OTHER_NAMES: Final[Mapping[str, Precision]] = {
    "float32": "full", "fp32": "full", "float": "full", "float16": "half", "fp16": "half",
    "float64": "double", "fp64": "double", "bf16": "bfloat16",
}  # fmt: skip


@dataclass(frozen=True)
class PrecisionRule:
    """One rule, as written and compiled: `dtype` is a `Precision` or the name of a dtype."""

    pattern: str
    dtype: str
    compiled: re.Pattern[str]

    def __str__(self) -> str:
        return f"{backticked(self.pattern)} -> {backticked(self.dtype)}"


def parse_precision_rule(pattern: str, dtype: str) -> PrecisionRule:
    """Check and compile one rule.

    Raises ConfigError with one fault, whose place is `pattern` or `dtype`, whichever is at fault.
    """
    try:
        compiled = parse_pattern(pattern)
    except ConfigError as error:
        raise ConfigError(*(fault.below(Place(("pattern",))) for fault in error.faults)) from error
    if dtype not in get_args(Precision) and dtype not in (dtypes := _dtypes()):
        meant = OTHER_NAMES.get(dtype.lower())
        names = (*get_args(Precision), *dtypes)
        remedy = f"Write {meant}." if meant else did_you_mean(dtype, names) or f"Write one of: {', '.join(names)}."
        fact = f"expected a precision or a dtype, found {backticked(dtype)}"
        raise ConfigError(Fault(Place(("dtype",)), fact, remedy=remedy))
    return PrecisionRule(pattern, dtype, compiled)


def _dtypes() -> tuple[str, ...]:
    """Return the names of the dtypes that a record can hold."""
    from wheelweights.dtypes import DTYPES  # noqa: PLC0415 (imports numpy, which wrong usage does without)

    return tuple(name for name in DTYPES if name not in get_args(Precision))
