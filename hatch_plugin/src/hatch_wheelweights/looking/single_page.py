"""An HTML document that needs nothing else: no server, no other file, no network.

Its content policy allows one style and at most one script, by their hashes: those that are put into it. They are
written as files of their own; the script as modules, which are joined here.
"""

from __future__ import annotations

import base64
import hashlib
import json
import re
from html import escape
from typing import TYPE_CHECKING, Any, Final

from hatch_wheelweights.looking.texts import escaped_json
from wheelweights.errors import printable

if TYPE_CHECKING:
    from collections.abc import Iterable

__all__ = ["joined", "json_element", "single_page"]

_IMPORT: Final = re.compile(r"^import [^;]*;\n", re.MULTILINE)
_EXPORT: Final = re.compile(r"^export (?=(?:async )?(?:class|const|function)\b)", re.MULTILINE)


def single_page(title: str, body: str, *, style: str, script: str | None = None) -> str:
    """Return a document; `body` is HTML whose texts are escaped, without `style` attributes and event handlers."""
    policy = f"default-src 'none'; style-src {_hash(style)}"
    run = ""
    if script is not None:
        policy += f"; script-src {_hash(script)}"
        run = f"<script>{script}</script>\n"
    return f"""\
<!DOCTYPE html>
<html lang="en">
<head>
<meta charset="utf-8">
<meta http-equiv="Content-Security-Policy" content="{policy}">
<meta name="viewport" content="width=device-width, initial-scale=1">
<meta name="color-scheme" content="light dark">
<title>{escape(printable(title))}</title>
<style>{style}</style>
</head>
<body>
{body}
{run}</body>
</html>
"""


def joined(modules: Iterable[str]) -> str:
    """Return modules of JavaScript as one script; each comes after those that it imports.

    In a document that may not load anything they cannot import each other, so their imports and the word `export` are
    left out, and everything is in one scope: the names that they declare at the top must differ.
    """
    parts = (_EXPORT.sub("", _IMPORT.sub("", module)).strip() for module in modules)
    return '"use strict";\n(() => {\n' + "\n\n".join(parts) + "\n})();\n"


def json_element(name: str, value: Any) -> str:
    """Return plain values as an element that a script can read, and that no text in them can end."""
    text = escaped_json(json.dumps(value, ensure_ascii=False, separators=(",", ":")))
    for character in "<>&":  # in JSON, they are in texts only
        text = text.replace(character, f"\\u{ord(character):04x}")
    return f'<script type="application/json" id="{name}">{text}</script>'


def _hash(content: str) -> str:
    return f"'sha256-{base64.b64encode(hashlib.sha256(content.encode()).digest()).decode()}'"
