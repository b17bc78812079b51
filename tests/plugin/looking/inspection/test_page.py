"""What is in a file, as one HTML page."""

from __future__ import annotations

import base64
import hashlib
import json
import re
from dataclasses import replace
from importlib.resources import files
from pathlib import Path
from typing import Any

from hatch_wheelweights.cli.flags import FLAGS
from hatch_wheelweights.looking.inspection.page import SCRIPTS, STYLES, html_page, web_file
from hatch_wheelweights.looking.single_page import joined
from looking.commands import refusal, run, stdout
from making.looked import fact, looked, transformer
from making.small_files import HOSTILE, hostile_checkpoints, nested_checkpoint, small_checkpoint

WEB = files("hatch_wheelweights.looking.inspection") / "web"


def page_of(*arguments: str) -> str:
    """Return the page that the command writes."""
    run("inspect", *arguments, "--html", "page.html", "--force")
    return Path("page.html").read_text(encoding="utf-8")


def data_in(page: str) -> list[dict[str, Any]]:
    """Return the groups of tensors that a page has for its script."""
    (content,) = re.findall(r'<script type="application/json" id="data">(.*?)</script>', page)
    return json.loads(content)["groups"]


def test_inspect_writes_one_page_that_needs_nothing_else() -> None:
    small_checkpoint()
    assert stdout("inspect", "model.pt", "--html", "page.html") == "page.html: written\n"
    page = Path("page.html").read_text(encoding="utf-8")
    namespace = '"http://www.w3.org/2000/svg"'  # a name, not an address
    assert page.count(namespace) == 1
    assert not re.findall(r"(?:src|href)=|url\(|@import|https?:|\bfetch\(", page.replace(namespace, ""))
    assert "default-src 'none'" in page
    (group,) = data_in(page)
    assert group["keys"] == {"shared": [0, 7, 0], "rest": ["layers.0.w", "1.w", "tied"]}
    assert group["sources"] == {"shared": [0, 7, 0], "rest": ["layers.0.w", "2.w", "tied"]}
    assert group["notes"] == {"2": "tied to layers.0.w"}


def test_no_name_of_a_file_reaches_the_page_unescaped() -> None:
    hostile_checkpoints()
    for file in ("flat.pt", "deep.pt"):
        page = page_of(file)
        assert "alert(1)&lt;/script&gt;" in page
        assert r"alert(1)\u003c/script\u003e" in page
        assert "<script>alert" not in page
        assert all(line.isprintable() for line in page.splitlines())


def test_what_cannot_be_read_is_told_first() -> None:
    page = html_page(looked(fact("a"), replace(fact("b"), fault="reaches past its storage", nbytes=None)), FLAGS)
    assert "<li>1 tensor cannot be read: `b` reaches past its storage</li>" in page


def test_names_in_the_data_are_shown_as_a_table_shows_them() -> None:
    page = html_page(looked(fact(HOSTILE), fact("k" * 2_000)), FLAGS)
    (group,) = data_in(page)
    assert group["keys"]["rest"] == [r"\x1b[31m</td><script>alert(1)</script>\u202e[bold]", "k" * 997 + "..."]


def test_the_policy_of_a_page_allows_the_style_and_the_script_that_are_in_it_and_no_other() -> None:
    small_checkpoint()
    page = page_of("model.pt")
    directives = dict(re.findall(r"(\w+)-src '([^']*)'", page))
    assert directives.pop("default") == "none"
    for tag, expected in (
        ("style", "\n".join(map(web_file, STYLES))),
        ("script", joined(map(web_file, SCRIPTS))),
    ):
        (content,) = re.findall(rf"<{tag}>(.*?)</{tag}>", page, re.DOTALL)
        assert content == expected
        assert directives.pop(tag) == f"sha256-{base64.b64encode(hashlib.sha256(content.encode()).digest()).decode()}"
    assert directives == {}
    assert " style=" not in page
    assert not re.findall(r"<[^>]*\son\w+=", page)


def test_every_file_of_the_folder_is_in_the_page() -> None:
    assert {*SCRIPTS, *STYLES, "page.html"} == {file.name for file in WEB.iterdir()}


def test_each_file_of_the_script_comes_after_those_that_it_imports() -> None:
    for i, name in enumerate(SCRIPTS):
        imported = re.findall(r'^import [^;]* from "\./([^"]*)";$', web_file(name), re.MULTILINE)
        assert set(imported) <= set(SCRIPTS[:i])


def test_no_two_files_of_the_script_declare_the_same_name() -> None:
    pattern = re.compile(
        r"^(?:export )?(?:async )?(?:class|const|function|let) (\w+|\[[^\]]*\]|\{[^}]*\})", re.MULTILINE
    )
    names = [name for file in SCRIPTS for name in pattern.findall(web_file(file))]
    assert len(names) > 50
    assert sorted(names) == sorted(set(names))


def test_nothing_from_a_file_becomes_markup_in_the_script() -> None:
    script = joined(map(web_file, SCRIPTS))
    assert not re.findall(r"innerHTML|outerHTML|insertAdjacentHTML|document\.write|\beval\b|new Function", script)


def test_a_page_spells_options_as_flags() -> None:
    nested_checkpoint()
    assert "--top-level-key model" in page_of("nested.pt")
    options = ["--top-level-key", "model", "--key-remap", "nothing", "x"]
    assert "<li>--key-remap[0] matches nothing: `nothing` -&gt; `x`" in page_of("nested.pt", *options)


def test_a_page_says_what_there_is_besides_the_tensors() -> None:
    facts = looked(
        fact("w"),
        warnings=("something is odd",),
        notes=("a note",),
        others={"step": "int 12", "epoch": "int 3"},
        rest={"epoch": "int 5"},
        config={"width": 8},
        metadata={"license": "MIT"},
        table=('source = "weights/model.pt"',),
    )
    page = html_page(facts, FLAGS)
    assert '<h1><span class="folder">weights/</span>model.pt</h1>' in page
    assert '<ul class="warnings"><li>something is odd</li></ul>' in page.replace("\n", "")
    assert '<pre class="copied">source = &quot;weights/model.pt&quot;</pre>' in page
    for shown in (
        '<summary>1 note</summary><ul class="notes"><li>a note</li></ul>',
        "Other values <span>2</span></summary><dl><dt>step</dt><dd>int 12</dd><dt>epoch</dt><dd>int 3</dd></dl>",
        "Beside the state_dict <span>1</span></summary><dl><dt>epoch</dt><dd>int 5</dd></dl>",
        "&quot;width&quot;: 8",
        "<dt>license</dt><dd>MIT</dd>",
    ):
        assert shown in page


def test_without_a_script_a_page_has_the_tree_of_a_notebook() -> None:
    (content,) = re.findall(r"<noscript>(.*)</noscript>", html_page(transformer(12), FLAGS), re.DOTALL)
    assert "<code>layers.0-11 (12 x)</code>" in content


def test_without_a_script_a_page_has_the_tree_of_each_part_under_its_name() -> None:
    page = html_page(looked(fact("w"), beside=(fact("ema.w"),)), FLAGS)
    (content,) = re.findall(r"<noscript>(.*)</noscript>", page, re.DOTALL)
    assert re.findall(r"<p>(.*?)</p>|<code>(.*?)</code>", content) == [
        ("state_dict", ""), ("", "w"), ("beside the state_dict", ""), ("", "ema"), ("", "w"),
    ]  # fmt: skip
    assert "<noscript></noscript>" in html_page(looked(), FLAGS)


def test_a_page_of_ten_thousand_tensors_takes_less_than_five_megabytes() -> None:
    assert len(html_page(transformer(1250), FLAGS).encode()) < 5_000_000


def test_a_page_that_cannot_be_written_is_told_in_words() -> None:
    small_checkpoint()
    assert refusal("inspect", "model.pt", "--html", "no/folder.html") == (
        "Error: no/folder.html: cannot be written: No such file or directory\n"
    )
