"""What is in a file, for machines: the JSON document that `--json` prints."""

from __future__ import annotations

import json
import math
from dataclasses import asdict, fields
from typing import TYPE_CHECKING, Any, Final

from hatch_wheelweights.errors import spelt
from hatch_wheelweights.looking.inspection.findings import findings
from hatch_wheelweights.looking.texts import MAX_KEY_CHARACTERS, escaped_json, is_beyond_64_bits, shortened
from wheelweights.plain import is_mapping, is_sequence

if TYPE_CHECKING:
    from collections.abc import Iterable

    from hatch_wheelweights.errors import Spelling
    from hatch_wheelweights.looking.inspection.facts import FileFacts
    from hatch_wheelweights.looking.inspection.statistics import Statistics
    from hatch_wheelweights.looking.inspection.tensors import TensorFacts
    from hatch_wheelweights.looking.inspection.tree import Node

__all__ = ["json_document", "json_text"]

TREES: Final = ("tree", "beside_tree")


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
        "dtypes": {dtype: totals._asdict() for dtype, totals in facts.dtypes.items()},
        "tree": _node(facts.tree),
        "needs": {str(option): _plain(value) for option, value in facts.added.items()},
        "state_dicts": list(facts.state_dicts),
        "beside": [_tensor(tensor, spelling) for tensor in facts.beside],
        "rest": dict(facts.rest),
        "is_cut": facts.is_cut,
        "table": list(facts.table),
        "findings": [asdict(finding) for finding in findings(facts.looked_at)],
        "total": facts.total,
        "remedy": _remedy(facts, spelling),
        "beside_tree": _node(facts.beside_tree),
    }


def _remedy(facts: FileFacts, spelling: Spelling) -> str | None:
    remedy = None if facts.problem is None else facts.problem.remedy
    return None if remedy is None else spelt(remedy, spelling)


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
    return {**_numbers(statistics), "histogram": list(statistics.histogram)}


def _numbers(statistics: Statistics) -> dict[str, Any]:
    """Return statistics without the histogram, which those of several tensors lack."""
    names = (field.name for field in fields(statistics) if field.name != "histogram")
    return {name: _finite(getattr(statistics, name)) for name in names}


def _node(node: Node) -> dict[str, Any]:
    return {
        "name": node.name,
        "count": node.count,
        "source": None if node.source is None else shortened(node.source, MAX_KEY_CHARACTERS),
        "class": None if node.module is None else node.module.name,
        "settings": {} if node.module is None else _finite(_plain(node.module.settings)),
        "renamed": node.renamed,
        **node.totals._asdict(),
        "statistics": None if node.statistics is None else _numbers(node.statistics),
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


# As text


def json_text(document: dict[str, Any]) -> str:
    """Return the document as JSON with a line for each tensor, node of a tree, and other item: files can be large."""
    return escaped_json(_document(document, "\n"))


def _document(document: dict[str, Any], line: str) -> str:
    """Return a document; `line` begins a line at the depth of what it is in."""
    inner = f"{line}  "
    return _object(((name, _value(name, value, inner)) for name, value in document.items()), line)


def _value(name: str, value: Any, line: str) -> str:
    if name in TREES:
        return _node_text(value, line)
    if name == "records":
        return _array((_document(record, f"{line}  ") for record in value), line)
    if is_mapping(value):
        return _object(((key, _compact(one)) for key, one in value.items()), line)
    return _array(map(_compact, value), line) if is_sequence(value) else _compact(value)


def _node_text(node: dict[str, Any], line: str) -> str:
    """Return a node on a line, and each of those below it on one that is indented."""
    said = ((name, value) for name, value in node.items() if name != "children")
    pairs = [f"{_compact(name)}: {_compact(value)}" for name, value in said]
    below = node["children"]
    children = "null" if below is None else _array((_node_text(child, f"{line}  ") for child in below), line)
    return f'{{{", ".join(pairs)}, "children": {children}}}'


def _object(pairs: Iterable[tuple[str, str]], line: str) -> str:
    items = ",".join(f"{line}  {_compact(name)}: {value}" for name, value in pairs)
    return f"{{{items}{line}}}" if items else "{}"


def _array(values: Iterable[str], line: str) -> str:
    items = ",".join(f"{line}  {value}" for value in values)
    return f"[{items}{line}]" if items else "[]"


def _compact(value: Any) -> str:
    return json.dumps(value, ensure_ascii=False)
