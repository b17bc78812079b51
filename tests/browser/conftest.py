"""A real browser: Chromium of the system, driven by playwright, for `hatch run browser:test`."""

from __future__ import annotations

import shutil
from typing import TYPE_CHECKING, Any

import pytest

from hatch_wheelweights.errors import PYTHON
from hatch_wheelweights.looking.inspection.page import html_page

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

    from playwright.sync_api import Browser, Page

    from hatch_wheelweights.looking.inspection.facts import FileFacts

CHROMIUM = shutil.which("chromium") or shutil.which("chromium-browser") or shutil.which("google-chrome")
SIZES = {"wide": (1280, 900), "narrow": (400, 800)}


@pytest.fixture(scope="session")
def browser() -> Iterator[Browser]:
    """The browser of the system."""
    playwright = pytest.importorskip("playwright.sync_api", reason="needs playwright")
    if CHROMIUM is None:
        pytest.skip("needs Chromium")
    with playwright.sync_playwright() as started:
        # The sandbox needs rights that containers lack; the pages are our own
        launched = started.chromium.launch(executable_path=CHROMIUM, args=["--no-sandbox"])
        yield launched
        launched.close()


@pytest.fixture
def shown(browser: Browser, tmp_path: Path) -> Iterator[Callable[..., Page]]:
    """Open a page of this HTML; at the end, nothing is in the console and nothing was asked of a network."""
    said: list[str] = []
    asked: list[str] = []
    contexts: list[Any] = []

    def of(html: str, link: str = "", *, size: str = "wide", **options: Any) -> Page:
        file = tmp_path / "page.html"
        file.write_text(html, encoding="utf-8")
        width, height = SIZES[size]
        context = browser.new_context(viewport={"width": width, "height": height}, **options)
        contexts.append(context)
        page = context.new_page()
        page.on("console", lambda message: said.append(message.text))
        page.on("pageerror", lambda error: said.append(str(error)))
        page.on("request", lambda request: asked.append(request.url))
        page.goto(file.as_uri() + link)
        return page

    yield of
    for context in contexts:
        context.close()
    assert said == []
    assert [url for url in asked if not url.startswith("file:")] == []
    assert len(asked) == len(contexts)


@pytest.fixture
def opened(shown: Callable[..., Page]) -> Callable[..., Page]:
    """Open the page about a file, as `shown` does."""

    def of(facts: FileFacts, link: str = "", **options: Any) -> Page:
        return shown(html_page(facts, PYTHON), link, **options)

    return of
