"""The page about two files, as people read it: on a wide screen, on a phone, in the dark, by keyboard."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
import pytest

import wheelweights as ww
from hatch_wheelweights import diff
from hatch_wheelweights.errors import PYTHON
from hatch_wheelweights.looking.difference.page import difference_page
from making.small_files import HOSTILE

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from playwright.sync_api import Page

    Shown = Callable[..., Page]

SIZES = pytest.mark.parametrize("size", ["wide", "narrow"])
LONG = "a_module_with_a_name_that_is_longer_than_a_phone_is_wide.and_a_part_of_it_that_is_no_shorter"


@pytest.fixture
def page_of_two(tmp_path: Path) -> str:
    """The page about two models of 70 layers, of which every second differs; one layer has NaN, two are replaced."""
    rng = np.random.default_rng(0)
    ours = {f"layers.{i}.weight": rng.normal(size=(4, 4)) for i in range(70)} | {f"{LONG}.w": np.ones(3)}
    theirs = {key: array.copy() for key, array in ours.items()}
    for i in range(0, 70, 2):
        theirs[f"layers.{i}.weight"][0, 0] += i + 1
    theirs["layers.3.weight"][1, 1] = np.nan
    ww.write_record(tmp_path / "a.mpk", ours | {"head.weight": np.ones((2, 4)), "mine": np.ones(2)})
    named = {f"model.{key}": array for key, array in theirs.items()}
    ww.write_record(tmp_path / "b.mpk", named | {"model.head.weight": np.ones((3, 4)), HOSTILE: np.ones(2)})
    return difference_page(diff(tmp_path / "a.mpk", tmp_path / "b.mpk"), PYTHON)


@SIZES
def test_everything_fits_whatever_the_names(shown: Shown, page_of_two: str, size: str) -> None:
    page = shown(page_of_two, size=size)
    for summary in page.locator("summary").all():
        summary.click()
    assert page.evaluate("document.documentElement.scrollWidth") == page.evaluate("innerWidth")
    assert page.locator("details[open]").count() == page.locator("details").count() > 0


@SIZES
def test_the_verdict_and_the_rule_are_seen_first(shown: Shown, page_of_two: str, size: str) -> None:
    page = shown(page_of_two, size=size)
    verdict = page.locator(".verdict")
    assert verdict.inner_text().startswith("equal: 35 tensors, 547 values; different: 37; renamed: 72; only in ")
    assert "72 keys: `*` in " in page.locator("h2:text-is('Names') + ul").inner_text()
    box = page.locator("h2:text-is('Names') + ul").bounding_box()
    assert box
    assert box["y"] + box["height"] < 800


@SIZES
def test_the_table_is_read_whole_sideways_where_it_has_no_room(shown: Shown, page_of_two: str, size: str) -> None:
    page = shown(page_of_two, size=size)
    region = page.get_by_role("region", name="Differences by module")
    assert region.get_by_role("columnheader").all_inner_texts() == [
        "Module", "Tensors", "Different", "Largest", "Relative", "Cosine",
    ]  # fmt: skip
    last = region.get_by_role("columnheader", name="Cosine")
    last.scroll_into_view_if_needed()
    box = last.bounding_box()
    assert box
    assert box["x"] + box["width"] <= page.evaluate("innerWidth")
    layers = region.locator("tr", has=page.locator("th:text-is('layers')"))
    assert layers.locator("td").all_inner_texts()[:3] == ["70", "36", "NaN"]


def test_a_module_unfolds_by_keyboard_with_the_worst_tensor_first(shown: Shown, page_of_two: str) -> None:
    page = shown(page_of_two)
    layers = page.locator("details", has=page.locator("summary:text-is('layers: 36 tensors')"))
    assert not layers.locator("li").first.is_visible()
    layers.locator("summary").focus()
    page.keyboard.press("Enter")
    told = layers.locator("li").all_inner_texts()
    assert told[0] == "`layers.3.weight` -> `model.layers.3.weight`: 1 of 16 values differ, 1 NaN on one side only"
    assert len(told) == 36
    head = page.locator("details", has=page.locator("summary:text-is('head: 1 tensor')"))
    assert head.locator("li").text_content() == "`head.weight` -> `model.head.weight`: shape (2, 4) / (3, 4)"


def test_it_is_light_or_dark_as_the_system_is(shown: Shown, page_of_two: str) -> None:
    colours = [
        shown(page_of_two, color_scheme=scheme).locator(".verdict").evaluate("e => getComputedStyle(e).color")
        for scheme in ("light", "dark")
    ]
    assert colours == ["rgb(185, 28, 28)", "rgb(248, 113, 113)"]


def test_what_a_file_says_is_text(shown: Shown, page_of_two: str) -> None:
    page = shown(page_of_two)
    assert page.locator("script, img, iframe, b, i").count() == 0
    assert page.evaluate("document.title").endswith("b.mpk")
