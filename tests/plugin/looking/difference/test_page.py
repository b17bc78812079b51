"""The page of a comparison: whole, small, safe, and without a script; the same in a notebook."""

from __future__ import annotations

import base64
import hashlib
import re
from html.parser import HTMLParser

import numpy as np

import wheelweights as ww
from hatch_wheelweights import diff
from hatch_wheelweights.errors import PYTHON
from hatch_wheelweights.looking.difference.page import difference_page

HOSTILE = "<script>alert(1)</script>\x1b[31m\"'&\u202e"
VOID = {"meta", "br"}


class Tags(HTMLParser):
    """Notes the tags and the text of a page; complains about tags that are not closed."""

    def __init__(self) -> None:
        super().__init__()
        self.open: list[str] = []
        self.tags: list[str] = []
        self.text = ""

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append(tag)
        assert not {"src", "href", "onclick", "style"} & {name for name, _ in attrs}
        if tag not in VOID:
            self.open.append(tag)

    def handle_endtag(self, tag: str) -> None:
        assert self.open.pop() == tag

    def handle_data(self, data: str) -> None:
        self.text += data


def parsed(page: str) -> Tags:
    tags = Tags()
    tags.feed(page)
    assert tags.open == []
    return tags


def two_models(key: str) -> str:
    layers = {f"{key}.{i}.w": np.arange(4.0) + i for i in range(5)}
    ww.write_record("a.mpk", {f"m.{name}": array for name, array in layers.items()} | {f"{key}.mine": np.ones(3)})
    ww.write_record("b.mpk", layers | {f"{key}.0.w": np.arange(4.0) + 9, f"{key}.yours": np.ones(2)})
    return difference_page(diff("a.mpk", "b.mpk", rtol=1e-6), PYTHON)


def test_a_page_says_all_and_needs_nothing() -> None:
    page = two_models("net")
    tags = parsed(page)
    assert "script" not in tags.tags
    assert {"table", "details", "h1"} <= set(tags.tags)
    for text in (
        "a.mpk and b.mpk",
        "equal: 4 tensors, 16 values; different: 1; renamed: 5; only in a.mpk: 1; only in b.mpk: 1",
        "Allowed: |a - b| <= 0 + 1e-06 * |b|",
        "5 keys: `m.*` in a.mpk is `*` in b.mpk",
        "`m.net.0.w` -> `net.0.w`: 4 of 4 values differ, by at most 9",
        "`net.mine`: float64 (3,)",
        "`net.yours`: float64 (2,)",
    ):
        assert text in tags.text, text
    policy = re.search(r'Content-Security-Policy" content="([^"]*)"', page)
    style = re.search(r"<style>(.*)</style>", page, re.DOTALL)
    assert policy
    assert style
    digest = base64.b64encode(hashlib.sha256(style[1].encode()).digest()).decode()
    assert policy[1] == f"default-src 'none'; style-src 'sha256-{digest}'"
    assert "//" not in style[1]


def test_nothing_of_a_file_is_markup() -> None:
    page = two_models(HOSTILE)
    tags = parsed(page)
    assert not {"script", "b", "i"} & set(tags.tags)
    assert all(line.isprintable() for line in page.split("\n"))
    assert "<script>alert(1)" in tags.text


def test_a_notebook_shows_the_same() -> None:
    two_models("net")
    found = diff("a.mpk", "b.mpk")
    shown = parsed(found._repr_html_())  # pyright: ignore[reportPrivateUsage]  # the name that IPython asks for
    assert shown.tags[0] == "div"
    assert "5 keys: `m.*` in a.mpk is `*` in b.mpk" in shown.text


def test_files_that_are_equal_are_a_line() -> None:
    ww.write_record("a.mpk", {"w": np.ones(2)})
    tags = parsed(difference_page(diff("a.mpk", "a.mpk"), PYTHON))
    assert "equal: 1 tensor, 2 values" in tags.text
    assert not {"table", "details"} & set(tags.tags)
