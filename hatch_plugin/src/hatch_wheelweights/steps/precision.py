"""Which dtype each tensor gets, by `precision`: one for all of them, or rules on their final keys.

Knows which dtype a precision asks for and which tensors keep theirs, all without reading one. How the values are cast,
and what they may lose, is in `casting`.
"""

from __future__ import annotations

from collections import defaultdict
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

from hatch_wheelweights.errors import PRECISION, Place, Text, Words
from hatch_wheelweights.options.values import precision_rules
from hatch_wheelweights.steps.casting import Goal, Losses, cast, kind_of
from hatch_wheelweights.steps.remap import nearest_are, nearest_keys
from wheelweights.dtypes import DTYPES
from wheelweights.errors import listed

if TYPE_CHECKING:
    from collections.abc import Hashable, Iterator, Mapping, Sequence

    from hatch_wheelweights.checkpoint import LazyTensor
    from hatch_wheelweights.options.precisions import Precision, PrecisionRule
    from hatch_wheelweights.steps.report import Report

__all__ = ["cast_tensors"]

# The dtype that each kind of a tensor's gets; one that is not here keeps its own
_PRECISIONS: Final[Mapping[str, Mapping[str, str]]] = {
    "keep": {},
    "full": {"float": "float32", "complex": "complex64"},
    "half": {"float": "float16"},
    "double": {"float": "float64", "complex": "complex128"},
    "bfloat16": {"float": "bfloat16"},
}
# Variances of 1e-8 are common, and 0 in float16; bfloat16 has the range of float32
_STATISTICS: Final = {"running_mean", "running_var"}


@dataclass(frozen=True)
class _Decision:
    """The dtype that a tensor gets; the reason where it is not what was asked for, and whether that is a surprise."""

    dtype: str
    reason: str | None = None
    warn: bool = False


def cast_tensors(
    tensors: Mapping[str, LazyTensor],
    precision: Precision | Sequence[tuple[str, str] | Mapping[str, str]],
    report: Report,
) -> tuple[dict[str, LazyTensor], dict[str, str]]:
    """Return the tensors as `precision` asks for them, and for those that keep a dtype in spite of it, the reason.

    A precision casts floats, and complex numbers where there is such a dtype, never integers or bools; running
    statistics of norms keep their dtype under `half`, and float8_e8m0fnu does, whose range float16 does not have. Of
    rules, the first whose pattern is found in a key counts, and a tensor without one keeps its dtype. A rule that names
    a dtype casts every tensor to it. Tensors that cannot be read are left as they are.

    What is odd about rules and dtypes is added to the report's warnings; what values lose, when they are read, to its
    warnings and notes. See `casting.cast` for the errors that reading raises.
    """
    if precision == "keep":
        return dict(tensors), {}
    rules = precision_rules(precision)
    chosen = {key: _chosen(key, rules) for key in tensors}
    decided = {key: _decide(key, tensor, rules, chosen[key]) for key, tensor in tensors.items()}
    if not isinstance(precision, str):
        report.warnings.extend(_idle(rules, chosen))
    report.warnings.extend(_not_cast(decided))
    report.warnings.extend(_untied(tensors, decided))
    losses = Losses(report)
    made = dict(tensors)
    for key, number in chosen.items():
        if number is not None and decided[key].dtype != tensors[key].dtype:
            shown = None if isinstance(precision, str) else number
            made[key] = cast(tensors[key], Goal(key, decided[key].dtype, rules[number], shown), losses)
    return made, {key: decision.reason for key, decision in decided.items() if decision.reason is not None}


def _chosen(key: str, rules: Sequence[PrecisionRule]) -> int | None:
    """Return the number of the first rule whose pattern is found in a key."""
    return next((i for i, rule in enumerate(rules) if rule.compiled.search(key)), None)


def _decide(key: str, tensor: LazyTensor, rules: Sequence[PrecisionRule], number: int | None) -> _Decision:
    """Return the dtype that a tensor gets by the rule of a number."""
    if number is None or tensor.fault is not None or tensor.dtype not in DTYPES:
        return _Decision(tensor.dtype)
    asked = rules[number].dtype
    if asked not in _PRECISIONS:
        return _Decision(asked)
    kind = kind_of(tensor.dtype)
    if kind == "complex" and asked != "keep" and kind not in _PRECISIONS[asked]:
        return _kept(tensor, "there is no complex dtype of this precision", warn=True)
    if (asked, tensor.dtype) == ("half", "float8_e8m0fnu"):
        return _kept(tensor, "float16 does not have its range", warn=True)
    dtype = _PRECISIONS[asked].get(kind, tensor.dtype)
    if asked == "half" and dtype != tensor.dtype and _is_statistic(key, tensor):
        return _kept(tensor, "float16 is too coarse for running statistics")
    return _Decision(dtype)


def _kept(tensor: LazyTensor, why: str, *, warn: bool = False) -> _Decision:
    return _Decision(tensor.dtype, f"kept {tensor.dtype}: {why}", warn)


def _is_statistic(key: str, tensor: LazyTensor) -> bool:
    return any(name.rpartition(".")[2] in _STATISTICS for name in (key, tensor.key or ""))


# What is odd


def _idle(rules: Sequence[PrecisionRule], chosen: Mapping[str, int | None]) -> Iterator[Text]:
    """Yield a warning for each rule by which no tensor is cast; one that matches every key is for whatever is left."""
    used = set(chosen.values())
    for i, rule in enumerate(rules):
        if i in used:
            continue
        matching = sum(1 for key in chosen if rule.compiled.search(key))
        if matching == 0:
            near = nearest_are(nearest_keys(rule.pattern, chosen))
            yield Words(Place((PRECISION, i)), f" matches nothing: {rule}{near}")
        elif matching < len(chosen):
            yield Words(Place((PRECISION, i)), f" has no effect, as rules before it match the same keys: {rule}")


def _not_cast(decided: Mapping[str, _Decision]) -> list[str]:
    """Return a warning for each reason why tensors kept a dtype that they should not have."""
    keys: defaultdict[str, list[str]] = defaultdict(list)
    for key, decision in decided.items():
        if decision.warn and decision.reason is not None:
            keys[decision.reason].append(key)
    return [f"{listed(keys[reason])}: {reason}" for reason in keys]


def _untied(tensors: Mapping[str, LazyTensor], decided: Mapping[str, _Decision]) -> Iterator[Text]:
    """Yield a warning of the tensors that rules tear apart: a record ties those that are of one dtype."""
    dtypes: defaultdict[Hashable, set[str]] = defaultdict(set)
    for key, tensor in tensors.items():
        dtypes[tensor.tie].add(decided[key].dtype)
    torn = [key for key, tensor in tensors.items() if len(dtypes[tensor.tie]) > 1]
    if torn:
        fact = f" gives several dtypes to tensors that share memory, which the record holds apart: {listed(torn)}"
        yield Words(PRECISION, fact)
