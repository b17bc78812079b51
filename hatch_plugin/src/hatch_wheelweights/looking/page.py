"""An inspection as one HTML page that needs nothing else: no server, no other file, no network.

Knows HTML. Everything from the inspected file is escaped, and the page's own policy lets no script run but the one
below, which sorts and filters; without scripts the page is complete, only still.
"""

from __future__ import annotations

import base64
import hashlib
import json
import math
from html import escape
from typing import TYPE_CHECKING, Any

from hatch_wheelweights.looking.terminal import as_flags, dtype_text, facts, note, size_text, with_flags
from wheelweights.errors import printable

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Mapping

    from hatch_wheelweights.looking.inspect import Inspection, Tensor

__all__ = ["html_page"]


def html_page(inspection: Inspection) -> str:
    """Return the page."""
    title = _text(inspection.path)
    body = "\n".join(_section(inspection, "h1"))
    policy = f"default-src 'none'; style-src {_hash(_STYLE)}; script-src {_hash(_SCRIPT)}"
    return f"""\
<!DOCTYPE html>
<html lang="en">
<head>
<meta charset="utf-8">
<meta http-equiv="Content-Security-Policy" content="{policy}">
<meta name="viewport" content="width=device-width, initial-scale=1">
<title>{title}</title>
<style>{_STYLE}</style>
</head>
<body>
<main>
{body}
</main>
<script>{_SCRIPT}</script>
</body>
</html>
"""


def _hash(content: str) -> str:
    return f"'sha256-{base64.b64encode(hashlib.sha256(content.encode()).digest()).decode()}'"


def _text(value: object) -> str:
    return escape(printable(str(value)))


def _section(inspection: Inspection, heading: str) -> Iterator[str]:
    first, *rest = facts(inspection)
    kind_and_size = first.removeprefix(f"{printable(inspection.path)}: ")
    yield f"<header><{heading}>{_text(inspection.path)}</{heading}>"
    yield f"<p>{'<br>'.join(map(_text, [kind_and_size, *rest]))}</p></header>"
    if inspection.warnings:
        yield "<ul class=warnings>"
        yield from (f"<li>{_text(as_flags(warning))}</li>" for warning in inspection.warnings)
        yield "</ul>"
    if inspection.tensors:
        yield from _tensor_table(inspection.tensors, "Tensors")
    if inspection.problem is not None:
        yield f"<pre>{escape(with_flags(inspection.problem))}</pre>"
    yield from _pairs("At the root", inspection.top_level)
    yield from _pairs("Other values", inspection.others)
    if inspection.config is not None:
        yield f"<h2>Configuration</h2><pre>{escape(_printable_json(inspection.config))}</pre>"
    yield from _pairs("Metadata", {name: _shown(value) for name, value in inspection.metadata.items()})
    for record in inspection.records:
        yield "<section>"
        yield from _section(record, "h2")
        yield "</section>"


def _shown(value: Any) -> str:
    return value if isinstance(value, str) else json.dumps(value, ensure_ascii=False)


def _printable_json(value: Any) -> str:
    return "\n".join(map(printable, json.dumps(value, indent=2, ensure_ascii=False).splitlines()))


def _pairs(title: str, pairs: Mapping[str, str]) -> Iterator[str]:
    if not pairs:
        return
    yield f"<h2>{title}</h2><dl>"
    yield from (f"<dt>{_text(name) or '(the root)'}</dt><dd>{_text(value)}</dd>" for name, value in pairs.items())
    yield "</dl>"


def _tensor_table(tensors: Iterable[Tensor], caption: str) -> Iterator[str]:
    tensors = list(tensors)
    renamed = any(tensor.source != tensor.key for tensor in tensors)
    headings = ["Key", *(["Original key"] if renamed else []), "Shape", "Dtype", "Size", "Note"]
    yield '<div class="filter" hidden><label>Filter <input type="search"></label> <output></output></div>'
    yield f'<div class="wide" role="region" aria-label="{caption}" tabindex="0"><table><caption>{caption}</caption>'
    yield "<thead><tr>"
    yield from (f'<th scope="col" class={heading.split()[-1].lower()}>{heading}</th>' for heading in headings)
    yield "</tr></thead><tbody>"
    for tensor in tensors:
        yield _row(tensor, renamed=renamed)
    yield "</tbody></table></div>"


def _row(tensor: Tensor, *, renamed: bool) -> str:
    state = "" if tensor.kept and not tensor.fault else ' class="fault"' if tensor.fault else ' class="out"'
    size, exact = (-1, "unknown") if tensor.nbytes is None else (tensor.nbytes, f"{tensor.nbytes:,} bytes")
    elements = -1 if tensor.nbytes is None else math.prod(tensor.shape)
    cells = [
        f'<th scope="row">{_text(tensor.key)}</th>',
        *([f"<td class=source>{_text(tensor.source)}</td>"] if renamed else []),
        f'<td class=whole data-number="{elements}">{_text(tensor.shape)}</td>',
        f"<td class=whole>{escape(dtype_text(tensor))}</td>",
        f'<td class=size data-number="{size}" title="{exact}">{size_text(tensor.nbytes)}</td>',
        f"<td>{escape(note(tensor))}</td>",
    ]
    return f"<tr{state}>{''.join(cells)}</tr>"


_STYLE = """
:root { color-scheme: light dark; --line: #8884; --soft: #8881; --warn: light-dark(#b45309, #fbbf24); }
body { font: 16px/1.5 system-ui, sans-serif; margin: 0; }
main { max-width: 75rem; margin: 0 auto; padding: 1.5rem; }
h1, section h2 { font-size: 1.4rem; overflow-wrap: anywhere; margin: 0; }
h2 { font-size: 1.1rem; margin: 2rem 0 .5rem; }
section { border-top: 1px solid var(--line); margin-top: 2rem; padding-top: 1.5rem; }
header p { margin: .25rem 0 1rem; }
.warnings, tr.fault td:last-child { color: var(--warn); }
.filter { margin: 1rem 0 .5rem; }
.filter input { font: inherit; padding: .2rem .5rem; min-width: 16rem; }
.wide { overflow-x: auto; }
table { border-collapse: collapse; width: 100%; }
caption { position: absolute; clip-path: inset(50%); }
th, td { text-align: left; padding: .25rem .75rem .25rem 0; border-bottom: 1px solid var(--line); vertical-align: top; }
thead th { white-space: nowrap; }
tbody th, tbody td, dt, dd, pre { font: 14px/1.5 ui-monospace, monospace; overflow-wrap: anywhere; }
td.whole, td.size { white-space: nowrap; overflow-wrap: normal; }
td.size, th.size { text-align: right; }
tbody th, td:last-child, td.source { min-width: 12rem; }
tr.out { opacity: .55; }
tbody tr:hover { background: var(--soft); }
th button { font: inherit; color: inherit; background: none; border: 0; padding: 0; cursor: pointer; }
th[aria-sort=ascending] button::after { content: " \\2191"; }
th[aria-sort=descending] button::after { content: " \\2193"; }
dl { display: grid; grid-template-columns: max-content 1fr; gap: .25rem 1.5rem; }
dt { max-width: 24rem; } dd { margin: 0; }
pre { white-space: pre-wrap; background: var(--soft); padding: .75rem; }
"""

_SCRIPT = """
for (const table of document.querySelectorAll("table")) {
  const body = table.tBodies[0], heads = [...table.tHead.rows[0].cells];
  const filter = table.parentNode.previousElementSibling;
  const [input, output] = filter.querySelectorAll("input, output");
  const value = (row, i) => row.cells[i].dataset.number ?? row.cells[i].textContent;
  const compare = new Intl.Collator("en", {numeric: true}).compare;
  heads.forEach((head, i) => {
    const button = document.createElement("button");
    button.append(...head.childNodes);
    head.append(button);
    button.onclick = () => {
      const down = head.getAttribute("aria-sort") === "ascending", sign = down ? -1 : 1;
      heads.forEach(other => other.removeAttribute("aria-sort"));
      head.setAttribute("aria-sort", down ? "descending" : "ascending");
      body.append(...[...body.rows].sort((a, b) => sign * compare(value(a, i), value(b, i))));
    };
  });
  input.oninput = () => {
    const wanted = input.value.toLowerCase(), rows = [...body.rows];
    for (const row of rows) row.hidden = !row.textContent.toLowerCase().includes(wanted);
    output.textContent = wanted && `${rows.filter(row => !row.hidden).length} of ${rows.length}`;
  };
  filter.hidden = false;
}
"""
