"""What is in a file, for machines: the JSON document that `--json` prints."""

from __future__ import annotations

import math
from dataclasses import asdict
from typing import TYPE_CHECKING, Any

from hatch_wheelweights.errors import spelt
from hatch_wheelweights.looking.inspection.findings import findings
from hatch_wheelweights.looking.inspection.tensors import dtype_totals
from hatch_wheelweights.looking.texts import MAX_KEY_CHARACTERS, is_beyond_64_bits, shortened
from wheelweights.plain import is_mapping, is_sequence

if TYPE_CHECKING:
    from hatch_wheelweights.errors import Spelling
    from hatch_wheelweights.looking.inspection.facts import FileFacts
    from hatch_wheelweights.looking.inspection.statistics import Statistics
    from hatch_wheelweights.looking.inspection.tensors import TensorFacts
    from hatch_wheelweights.looking.inspection.tree import Node

__all__ = ["json_document"]


def json_document(facts: FileFacts, spelling: Spelling) -> dict[str, Any]:
    """Return what is in a file as plain values; docs/inspect.md says what each key is.

    These keys stay as they are; others may be added. Of a tensor that cannot be read `nbytes` is null, and so is a size
    of more than 64 bits. Floats that JSON lacks are texts: "nan", "inf", "-inf".
    """
    return {
        "path": facts.path,
        "kind": facts.kind,
        "size": facts.size,
        "tensors": [_tensor(tensor, spelling) for tensor in facts.tensors],
        "others": dict(facts.others),
        "metadata": _finite(facts.metadata),
        "warnings": [spelt(warning, spelling) for warning in facts.warnings],
        "notes": [spelt(note, spelling) for note in facts.notes],
        "config": _finite(facts.config),
        "problem": None if facts.problem is None else spelt(facts.problem.fact, spelling),
        "top_level": dict(facts.top_level),
        "records": [json_document(record, spelling) for record in facts.records],
        "parts": [part.metadata for part in facts.parts],
        "part_of": facts.part_of,
        "totals": facts.totals._asdict(),
        "dtypes": {dtype: totals._asdict() for dtype, totals in dtype_totals(facts.tensors).items()},
        "tree": _node(facts.tree),
        "needs": {str(option): _plain(value) for option, value in facts.added.items()},
        "state_dicts": list(facts.state_dicts),
        "beside": [_tensor(tensor, spelling) for tensor in facts.beside],
        "rest": dict(facts.rest),
        "is_cut": facts.is_cut,
        "table": list(facts.table),
        "findings": [asdict(finding) for finding in findings(facts.looked_at)],
    }


def _tensor(tensor: TensorFacts, spelling: Spelling) -> dict[str, Any]:
    return {
        "key": tensor.key,
        "source": tensor.source,
        "shape": [None if is_beyond_64_bits(size) else size for size in tensor.shape],
        "dtype": tensor.dtype,
        "new_dtype": tensor.new_dtype,
        "nbytes": tensor.nbytes,
        "kept": tensor.kept,
        "tied_to": None if tensor.tied_to is None else shortened(tensor.tied_to, MAX_KEY_CHARACTERS),
        "fault": None if tensor.fault is None else spelt(tensor.fault, spelling),
        "notes": [spelt(note, spelling) for note in tensor.notes],
        "statistics": None if tensor.statistics is None else _statistics(tensor.statistics),
    }


def _statistics(statistics: Statistics) -> dict[str, Any]:
    return {name: _finite(value) for name, value in asdict(statistics).items()} | {
        "histogram": list(statistics.histogram)
    }


def _node(node: Node) -> dict[str, Any]:
    return {
        "name": node.name,
        "count": node.count,
        "source": None if node.source is None else shortened(node.source, MAX_KEY_CHARACTERS),
        "class": None if node.module is None else node.module.name,
        "settings": {} if node.module is None else _finite(_plain(node.module.settings)),
        **node.totals._asdict(),
        "children": None if node.tensor is not None else [_node(child) for child in node.children],
    }


def _plain(value: Any) -> Any:
    """Return values with tuples as lists, as JSON has them."""
    if is_mapping(value):
        return {str(name): _plain(one) for name, one in value.items()}
    return [_plain(one) for one in value] if is_sequence(value) else value


def _finite(value: Any) -> Any:
    """Return plain values with infinite floats and NaN, which JSON lacks, as text."""
    if isinstance(value, float):
        return value if math.isfinite(value) else str(value)
    if is_mapping(value):
        return {name: _finite(one) for name, one in value.items()}
    return [_finite(one) for one in value] if is_sequence(value) else value
