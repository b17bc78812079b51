"""An inspection as one HTML page that needs nothing else: no server, no other file, no network.

Everything from the inspected file is escaped, and the page's own content policy allows one style and one script: those
of `page.css` and `page.js`, which are put into the page. The script sorts and filters; without it the page is complete.
"""

from __future__ import annotations

import base64
import hashlib
import math
from html import escape
from importlib.resources import files
from typing import TYPE_CHECKING

from hatch_wheelweights.errors import spelt
from hatch_wheelweights.looking.texts import json_of, key_text, shape_text, size_text, value_text
from hatch_wheelweights.looking.words import (
    SHOWN_RECORDS,
    contents_line,
    dtype_text,
    kind_line,
    note,
    problem_text,
    unshown_line,
)
from wheelweights.errors import printable

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence

    from hatch_wheelweights.errors import Spelling
    from hatch_wheelweights.looking.inspect import Inspection, TensorFacts

__all__ = ["html_page"]


def html_page(inspection: Inspection, spelling: Spelling) -> str:
    """Return the page."""
    style, script = _beside("page.css"), _beside("page.js")
    body = "\n".join(_section(inspection, "h1", spelling))
    policy = f"default-src 'none'; style-src {_hash(style)}; script-src {_hash(script)}"
    return f"""\
<!DOCTYPE html>
<html lang="en">
<head>
<meta charset="utf-8">
<meta http-equiv="Content-Security-Policy" content="{policy}">
<meta name="viewport" content="width=device-width, initial-scale=1">
<title>{_text(inspection.path)}</title>
<style>{style}</style>
</head>
<body>
<main>
{body}
</main>
<script>{script}</script>
</body>
</html>
"""


def _beside(name: str) -> str:
    """Return the text of a file that lies beside this module."""
    return files("hatch_wheelweights.looking").joinpath(name).read_text(encoding="utf-8")


def _hash(content: str) -> str:
    return f"'sha256-{base64.b64encode(hashlib.sha256(content.encode()).digest()).decode()}'"


def _text(value: object) -> str:
    return escape(printable(str(value)))


def _texts(kind: str, texts: Sequence[object], spelling: Spelling) -> Iterator[str]:
    if texts:
        yield f"<ul class={kind}>"
        yield from (f"<li>{_text(spelt(text, spelling))}</li>" for text in texts)
        yield "</ul>"


def _section(inspection: Inspection, heading: str, spelling: Spelling) -> Iterator[str]:
    lines = [line for line in (kind_line(inspection), contents_line(inspection)) if line is not None]
    yield f"<header><{heading}>{_text(inspection.path)}</{heading}>"
    yield f"<p>{'<br>'.join(map(_text, lines))}</p></header>"
    yield from _texts("warnings", inspection.warnings, spelling)
    yield from _texts("notes", inspection.notes, spelling)
    if inspection.tensors:
        yield from _tensor_table(inspection.tensors, "Tensors", spelling)
    if inspection.problem is not None:
        yield f"<pre>{escape(problem_text(inspection.problem, spelling))}</pre>"
    yield from _pairs("At the root", inspection.top_level)
    yield from _pairs("Other values", inspection.others)
    if inspection.config is not None:
        yield f"<h2>Configuration</h2><pre>{escape(json_of(inspection.config))}</pre>"
    yield from _pairs("Metadata", {name: value_text(value) for name, value in inspection.other_metadata.items()})
    for record in inspection.records[:SHOWN_RECORDS]:
        yield "<section>"
        yield from _section(record, "h2", spelling)
        yield "</section>"
    if (unshown := unshown_line(inspection)) is not None:
        yield f"<p>{escape(unshown)}</p>"


def _pairs(title: str, pairs: Mapping[str, str]) -> Iterator[str]:
    if not pairs:
        return
    yield f"<h2>{title}</h2><dl>"
    yield from (
        f"<dt>{escape(key_text(name)) or '(the root)'}</dt><dd>{_text(value)}</dd>" for name, value in pairs.items()
    )
    yield "</dl>"


def _tensor_table(tensors: Sequence[TensorFacts], caption: str, spelling: Spelling) -> Iterator[str]:
    renamed = any(tensor.source != tensor.key for tensor in tensors)
    headings = ["Key", *(["Original key"] if renamed else []), "Shape", "Dtype", "Size", "Note"]
    yield '<div class="filter" hidden><label>Filter <input type="search"></label> <output></output></div>'
    yield f'<div class="wide" role="region" aria-label="{caption}" tabindex="0"><table><caption>{caption}</caption>'
    yield "<thead><tr>"
    yield from (f'<th scope="col" class={heading.split()[-1].lower()}>{heading}</th>' for heading in headings)
    yield "</tr></thead><tbody>"
    for tensor in tensors:
        yield _row(tensor, spelling, renamed=renamed)
    yield "</tbody></table></div>"


def _row(tensor: TensorFacts, spelling: Spelling, *, renamed: bool) -> str:
    state = ' class="fault"' if tensor.fault is not None else "" if tensor.kept else ' class="out"'
    size, exact = (-1, "unknown") if tensor.nbytes is None else (tensor.nbytes, f"{tensor.nbytes:,} bytes")
    elements = -1 if tensor.nbytes is None else math.prod(tensor.shape)
    cells = [
        f'<th scope="row">{escape(key_text(tensor.key))}</th>',
        *([f"<td class=source>{escape(key_text(tensor.source))}</td>"] if renamed else []),
        f'<td class=whole data-number="{elements}">{shape_text(tensor.shape)}</td>',
        f"<td class=whole>{escape(dtype_text(tensor))}</td>",
        f'<td class=size data-number="{size}" title="{exact}">{size_text(tensor.nbytes)}</td>',
        f"<td>{escape(note(tensor, spelling))}</td>",
    ]
    return f"<tr{state}>{''.join(cells)}</tr>"
