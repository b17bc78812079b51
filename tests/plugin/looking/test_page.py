"""An inspection as one HTML page."""

from __future__ import annotations

import base64
import hashlib
import re
from importlib.resources import files
from pathlib import Path

from looking.commands import refusal, run, stdout
from making.small_files import hostile_checkpoints, nested_checkpoint, small_checkpoint


def test_inspect_writes_one_page_that_needs_nothing_else() -> None:
    small_checkpoint()
    assert stdout("inspect", "model.pt", "--html", "page.html") == "page.html: written\n"
    page = Path("page.html").read_text(encoding="utf-8")
    assert not re.findall(r"(?:src|href)=|url\(|@import|https?:", page)
    assert "default-src 'none'" in page
    assert '<th scope="row">layers.1.w</th><td class=source>layers.2.w</td>' in page
    assert "<td>tied to layers.0.w</td>" in page


def test_no_name_of_a_file_reaches_the_page_unescaped() -> None:
    hostile_checkpoints()
    for file in ("flat.pt", "deep.pt"):
        run("inspect", file, "--html", "page.html", "--force")
        page = Path("page.html").read_text(encoding="utf-8")
        assert "alert(1)&lt;/script&gt;" in page
        assert "<script>alert" not in page
        assert all(line.isprintable() for line in page.splitlines())


def test_the_policy_of_a_page_allows_the_style_and_the_script_that_are_in_it_and_no_other() -> None:
    small_checkpoint()
    run("inspect", "model.pt", "--html", "page.html")
    page = Path("page.html").read_text(encoding="utf-8")
    directives = dict(re.findall(r"(\w+)-src '([^']*)'", page))
    assert directives.pop("default") == "none"
    for kind, tag, file in (("style", "style", "page.css"), ("script", "script", "page.js")):
        (content,) = re.findall(rf"<{tag}>(.*?)</{tag}>", page, re.DOTALL)
        assert content == (files("hatch_wheelweights.looking") / file).read_text(encoding="utf-8")
        assert directives.pop(kind) == f"sha256-{base64.b64encode(hashlib.sha256(content.encode()).digest()).decode()}"
    assert directives == {}
    assert " style=" not in page


def test_a_page_spells_options_as_flags() -> None:
    nested_checkpoint()
    run("inspect", "nested.pt", "--html", "page.html")
    assert "Add: --top-level-key model</pre>" in Path("page.html").read_text(encoding="utf-8")
    options = ["--top-level-key", "model", "--key-remap", "nothing", "x"]
    run("inspect", "nested.pt", *options, "--html", "page.html", "--force")
    assert "<li>--key-remap[0] matches nothing: `nothing` -&gt; `x`" in Path("page.html").read_text(encoding="utf-8")


def test_a_page_that_cannot_be_written_is_told_in_words() -> None:
    small_checkpoint()
    assert refusal("inspect", "model.pt", "--html", "no/folder.html") == (
        "Error: no/folder.html: cannot be written: No such file or directory\n"
    )
