"""HTML documents that need nothing else."""

from __future__ import annotations

import base64
import hashlib
import json
import re
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from hatch_wheelweights.looking.single_page import joined, json_element, single_page

PLAIN = st.recursive(
    st.none() | st.booleans() | st.integers() | st.text(),
    lambda inner: st.lists(inner) | st.dictionaries(st.text(), inner),
)


def test_the_policy_allows_the_style_and_the_script_that_are_in_it_and_no_other() -> None:
    page = single_page("t", "<p>x</p>", style="p {}", script="f()")
    assert re.findall(r"[a-z]+-src '[^']*'", page) == [
        "default-src 'none'",
        f"style-src 'sha256-{digest('p {}')}'",
        f"script-src 'sha256-{digest('f()')}'",
    ]
    assert "<style>p {}</style>" in page
    assert "<script>f()</script>" in page


def test_without_a_script_the_policy_allows_none() -> None:
    page = single_page("t", "<p>x</p>", style="p {}")
    assert re.findall(r"[a-z]+-src '[^']*'", page) == ["default-src 'none'", f"style-src 'sha256-{digest('p {}')}'"]
    assert "<script" not in page
    assert page.endswith("<p>x</p>\n</body>\n</html>\n")


def digest(content: str) -> str:
    return base64.b64encode(hashlib.sha256(content.encode()).digest()).decode()


def test_a_title_is_text() -> None:
    assert "<title>a&lt;b\\x1b</title>" in single_page("a<b\x1b", "", style="", script="")


@given(PLAIN)
def test_the_data_in_an_element_are_what_was_put_there_and_cannot_end_it(value: Any) -> None:
    element = json_element("data", value)
    start, end = '<script type="application/json" id="data">', "</script>"
    assert element.startswith(start)
    assert element.endswith(end)
    content = element[len(start) : -len(end)]
    assert not set("<>&\u2028\u2029\u202e\x1b") & set(content)
    assert json.loads(content) == value


def test_modules_are_joined_without_their_imports_and_exports() -> None:
    first = "export const a = 1;\n"
    imports = 'import {\n  a,\n  b,\n} from "./first.js";\nimport { c } from "./c.js";\n'
    second = f"{imports}\nexport async function f() {{\n  return a;\n}}\n"
    assert joined([first, second]) == (
        '"use strict";\n(() => {\nconst a = 1;\n\nasync function f() {\n  return a;\n}\n})();\n'
    )


@pytest.mark.parametrize("line", ["  export const a = 1;", "// import x;", "const s = 'export function';"])
def test_only_statements_are_left_out_of_modules(line: str) -> None:
    assert line.strip() in joined([line + "\n"])
