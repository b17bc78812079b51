"""The page about a file, as people use it: with eyes, a pointer, keys, a phone."""

from __future__ import annotations

import itertools
from typing import TYPE_CHECKING, Any

import pytest

from hatch_wheelweights.looking.inspection.page import web_file
from hatch_wheelweights.looking.single_page import joined
from hatch_wheelweights.looking.texts import human_count, human_size
from making.looked import fact, looked, statistics, transformer
from making.small_files import HOSTILE, HOSTILE_SHOWN

if TYPE_CHECKING:
    from collections.abc import Callable

    from playwright.sync_api import Locator, Page

    Opened = Callable[..., Page]

SIZES = pytest.mark.parametrize("size", ["wide", "narrow"])


def rows(page: Page) -> Locator:
    """Return the rows that are in the document."""
    return page.locator("#rows > [role=row]")


def row(page: Page, name: str) -> Locator:
    """Return the row of a module or a tensor, the first of that name."""
    return rows(page).filter(has=page.locator(f".name:text-is('{name}')")).first


def names(page: Page) -> list[str]:
    """Return the names in the rows, in order."""
    return page.locator("#rows .name").all_inner_texts()


def search(page: Page, text: str) -> str:
    """Search, and return what is said of the number of tensors."""
    page.locator("#search").fill(text)
    return page.locator("#status").inner_text()


def address(page: Page) -> Any:
    """Return what the address has after the `#`."""
    return page.evaluate("location.hash.slice(1)")


def focused(page: Page) -> Any:
    """Return the name in the row that has the focus."""
    return page.evaluate("document.activeElement.querySelector('.name')?.textContent")


# ------------------------------------------------------------------------------------- what is to be seen


@SIZES
def test_opens_as_a_tree_that_fits(opened: Opened, size: str) -> None:
    page = opened(transformer(12), size=size)
    assert names(page)[:5] == ["embed", "layers", "0-11", "attention", "query"]
    assert row(page, "0-11").locator(".times").inner_text() == "12 ×"
    assert row(page, "query").locator(".class").inner_text() == "Linear"
    assert page.evaluate("document.documentElement.scrollWidth") == page.evaluate("innerWidth")


def test_says_how_much_there_is_as_the_command_line_does(opened: Opened) -> None:
    page = opened(transformer(12))
    assert page.locator("header p").inner_text().endswith("97 tensors, 513k parameters, 2.05 MB")
    layers = row(page, "0-11")
    assert layers.locator(".parameters").inner_text() == "449k"
    assert layers.locator(".bytes").inner_text() == "1.79 MB"
    embed = row(page, "embed")
    assert embed.locator(".parameters").inner_text() == "64.0k"
    assert embed.locator(".shape").text_content() == "weight (1000, 64)"


@SIZES
def test_the_search_and_what_there_is_stay_in_sight(opened: Opened, size: str) -> None:
    page = opened(transformer(1250), size=size)
    assert page.locator("#whole").is_hidden()
    page.locator("#columns .key button").click()
    page.evaluate("scrollTo(0, 5000)")
    page.locator("#whole").wait_for()
    assert page.locator("#whole").inner_text().startswith("model.pt: 10,001 tensors, 46.8M parameters, ")
    assert page.evaluate("document.documentElement.scrollWidth") == page.evaluate("innerWidth")
    for part in ("#search", "#whole", "#columns"):
        box = page.locator(part).bounding_box()
        assert box
        assert 0 <= box["y"] < 200


def test_bars_show_the_share_of_the_whole(opened: Opened) -> None:
    page = opened(transformer(12))
    shares = [
        float(row(page, name).locator(".bar").evaluate("e => e.style.getPropertyValue('--share')"))
        for name in ("embed", "layers")
    ]
    assert sum(shares) == pytest.approx(1)
    assert shares[0] == pytest.approx(256_000 / 2_052_096, abs=1e-3)


def test_rows_are_cards_where_columns_have_no_room(opened: Opened) -> None:
    page = opened(transformer(12), size="narrow")
    name, shape = (row(page, "embed").locator(part).bounding_box() for part in (".name", ".shape"))
    assert name
    assert shape
    assert shape["y"] >= name["y"] + name["height"] - 1
    assert page.locator("#columns .mean").is_hidden()


def test_is_light_or_dark_as_the_system_is(opened: Opened) -> None:
    grounds = [
        opened(transformer(2), color_scheme=scheme).evaluate("getComputedStyle(document.body).backgroundColor")
        for scheme in ("light", "dark")
    ]
    assert grounds == ["rgb(255, 255, 255)", "rgb(21, 24, 28)"]


def test_only_the_rows_in_sight_are_in_the_document(opened: Opened) -> None:
    page = opened(transformer(1250))
    page.locator("#search").fill("layers")
    assert page.locator("#status").inner_text() == "10,000 of 10,001 tensors"
    assert page.locator("#tensors").get_attribute("aria-rowcount") == "10001"
    assert rows(page).count() < 60
    page.evaluate("scrollTo(0, 1e9)")
    page.wait_for_function("document.querySelector('#rows').lastChild.getAttribute('aria-rowindex') === '10001'")
    assert rows(page).count() < 60
    assert names(page)[-1] == "layers.1249.norm.bias"


def test_without_a_script_there_is_a_tree_all_the_same(opened: Opened) -> None:
    page = opened(transformer(12), java_script_enabled=False)
    assert page.locator("noscript summary code").all_inner_texts()[:2] == ["embed", "layers.0-11 (12 x)"]
    assert page.locator("noscript summary").first.is_visible()
    assert page.locator("#search").is_hidden()


def test_a_file_without_tensors_has_no_table(opened: Opened) -> None:
    page = opened(looked(others={"step": "int 12"}))
    assert page.locator("#work").is_hidden()
    page.get_by_text("Other values").click()
    assert page.get_by_text("int 12").is_visible()


# ------------------------------------------------------------------------------------- folding


@SIZES
def test_folds_and_unfolds_at_a_click(opened: Opened, size: str) -> None:
    page = opened(transformer(12), size=size)
    before = names(page)
    assert row(page, "query").get_attribute("aria-expanded") == "false"
    row(page, "query").click()
    assert row(page, "query").get_attribute("aria-expanded") == "true"
    assert names(page) == [*before[:5], "weight", "bias", *before[5:]]
    row(page, "query").click()
    assert names(page) == before


def test_folds_and_unfolds_everything(opened: Opened) -> None:
    page = opened(transformer(12))
    page.get_by_role("button", name="Fold all", exact=True).click()
    assert names(page) == ["embed", "layers"]
    page.get_by_role("button", name="Unfold all").click()
    assert names(page).count("bias") == 4


def test_keys_move_fold_and_open(opened: Opened) -> None:
    page = opened(transformer(12))
    rows(page).first.focus()
    for key, name in [
        ("ArrowDown", "layers"),
        ("ArrowRight", "0-11"),
        ("ArrowRight", "attention"),
        ("ArrowRight", "query"),
        ("ArrowLeft", "attention"),
        ("ArrowLeft", "attention"),
        ("ArrowDown", "mlp"),
        ("End", "norm"),
        ("Home", "embed"),
        ("ArrowUp", "embed"),
    ]:
        page.keyboard.press(key)
        assert focused(page) == name
    page.keyboard.press("ArrowRight")
    page.keyboard.press("ArrowRight")
    page.keyboard.press("Enter")
    assert page.evaluate("document.activeElement.textContent") == "embed.weight"
    page.keyboard.press("Escape")
    assert page.locator("#details").is_hidden()
    assert focused(page) == "weight"


def test_rows_say_to_screen_readers_where_they_are(opened: Opened) -> None:
    page = opened(transformer(12))
    found = row(page, "attention")
    said = [found.get_attribute(f"aria-{name}") for name in ("level", "posinset", "setsize", "expanded", "rowindex")]
    assert said == ["3", "1", "3", "true", "5"]
    assert page.get_by_role("treegrid", name="Modules and tensors").is_visible()
    chart = row(page, "query").get_by_role("img")
    assert chart.get_attribute("aria-label") == "Std over 12 layers: 0.0100 to 0.120"


def test_the_focus_survives_scrolling(opened: Opened) -> None:
    page = opened(transformer(1250))
    page.locator("#search").fill("layers")
    page.keyboard.press("ArrowDown")
    assert focused(page) == "layers.0.attention.query.weight"
    page.evaluate("scrollTo(0, 1e9)")
    page.wait_for_function("document.querySelector('#rows').lastChild.getAttribute('aria-rowindex') === '10001'")
    page.keyboard.press("ArrowDown")
    assert focused(page) == "layers.0.attention.query.bias"


# ------------------------------------------------------------------------------------- searching and sorting


@pytest.mark.parametrize(
    ("text", "count"),
    [
        ("attention", 24),
        ("ATTENTION weight", 12),
        ("layers.7", 8),
        ("*.bias", 48),
        ("layers.*.up.weight", 12),
        ("*norm*", 24),
        ("256x64", 12),
        ("(256, *)", 12),
        ("[64]", 48),
        ("(64,)", 48),
        ("* x 256", 0),
        ("*x256", 12),
        ("Linear", 24),
        ("sparse.Embedding", 1),
        ("std>0.115 weight", 5),
        ("Std>0.115 weight", 5),
        ("nan>0", 0),
        ("bytes>=65.536kB", 25),
        ("float32", 97),
        ("a+b(c", 0),
    ],
)
def test_search_finds_words_stars_shapes_and_measures(opened: Opened, text: str, count: int) -> None:
    page = opened(transformer(12))
    assert search(page, text) == f"{count} of 97 tensors"
    assert page.locator("#tensors").get_attribute("aria-rowcount") == str(count + 1)
    assert page.locator("#nothing").is_visible() == (count == 0)


@SIZES
def test_a_search_lists_whole_keys_and_leads_back_to_the_tree(opened: Opened, size: str) -> None:
    page = opened(transformer(12), size=size)
    before = names(page)
    page.keyboard.press("/")
    page.keyboard.type("layers.7 up")
    assert names(page) == ["layers.7.mlp.up.weight", "layers.7.mlp.up.bias"]
    page.keyboard.press("Escape")
    assert names(page) == before
    page.keyboard.type("norm")
    page.get_by_role("button", name="Back to the tree").click()
    assert names(page) == before


@SIZES
def test_sorts_by_a_heading_one_way_then_the_other_then_not(opened: Opened, size: str) -> None:
    page = opened(transformer(12), size=size)
    before = names(page)
    heading = page.locator("#columns .bytes")
    heading.get_by_role("button").click()
    assert heading.get_attribute("aria-sort") == "descending"
    assert names(page)[0] == "embed.weight"
    heading.get_by_role("button").click()
    assert heading.get_attribute("aria-sort") == "ascending"
    assert names(page)[0] == "layers.0.attention.query.bias"
    heading.get_by_role("button").click()
    assert heading.get_attribute("aria-sort") == "none"
    assert names(page) == before


def test_sorts_keys_as_numbers_count_and_what_is_found(opened: Opened) -> None:
    page = opened(transformer(12))
    search(page, "up.weight")
    page.locator("#columns .key button").click()
    assert names(page) == [f"layers.{i}.mlp.up.weight" for i in range(12)]
    page.locator("#columns .std button").click()
    assert names(page) == [f"layers.{i}.mlp.up.weight" for i in reversed(range(12))]


def test_a_search_and_a_sort_begin_with_the_first_row(opened: Opened) -> None:
    page = opened(transformer(1250))
    heading = page.locator("#columns .key button")
    for act in (lambda: search(page, "bias"), heading.click):
        heading.click()
        page.evaluate("scrollTo(0, 50000)")
        page.locator("#whole").wait_for()
        act()
        first, above = (page.locator(each).bounding_box() for each in ("[aria-rowindex='2']", "#columns"))
        assert first
        assert above
        assert first["y"] == pytest.approx(above["y"] + above["height"], abs=2)
        page.get_by_role("button", name="Back to the tree").click()


def test_those_without_a_value_are_last_either_way(opened: Opened) -> None:
    tensors = [fact("a"), fact("b", statistics=statistics(4, 1.0)), fact("c", statistics=statistics(4, 2.0))]
    page = opened(looked(*tensors))
    page.locator("#columns .std button").click()
    assert names(page) == ["c", "b", "a"]
    page.locator("#columns .std button").click()
    assert names(page) == ["b", "c", "a"]


# ------------------------------------------------------------------------------------- details


@SIZES
def test_details_say_everything_about_a_tensor(opened: Opened, size: str) -> None:
    page = opened(transformer(12, renamed=True), "#layers.3.attention.query.weight", size=size)
    panel = page.locator("#details")
    assert panel.get_by_role("heading", level=2).inner_text() == "layers.3.attention.query.weight"
    terms = dict(zip(panel.locator("dt").all_inner_texts(), panel.locator("dd").all_inner_texts(), strict=True))
    said = {
        name: terms[name] for name in ("Original key", "Shape", "Dtype", "Values", "Mean", "Std", "Min", "Max", "Zeros")
    }
    assert said == {
        "Original key": "module.layers.3.attention.query.weight",
        "Shape": "(64, 64)",
        "Dtype": "float32",
        "Values": "4,096",
        "Mean": "0.00400",
        "Std": "0.0400",
        "Min": "-0.160",
        "Max": "0.160",
        "Zeros": "none",
    }
    assert terms["Size"].startswith("16.4 kB (16,384 bytes, 0.80% of all")
    assert terms["in_features"] == "64"
    assert panel.locator(".qualified").inner_text() == "torch.nn.modules.linear.Linear"
    assert panel.get_by_role("img", name="Histogram from -0.160 to 0.160").is_visible()
    assert page.evaluate("document.documentElement.scrollWidth") == page.evaluate("innerWidth")


def test_a_link_leads_to_the_tensor_in_the_tree_whichever_layer_it_is_in(opened: Opened) -> None:
    page = opened(transformer(12), "#layers.7.mlp.down.bias")
    assert focused(page) == "bias"
    assert page.locator("#details p.chosen").inner_text() == "8 of 12: Std 0.0800"
    page.evaluate("location.hash = 'layers.5.attention'")
    heading = page.locator("#details h2:text-is('layers.0-11.attention')")
    heading.wait_for()
    assert focused(page) == "attention"
    page.evaluate("location.hash = 'no.such.key%'")
    assert heading.is_visible()


def test_the_strip_chooses_a_layer_and_the_address_follows(opened: Opened) -> None:
    page = opened(transformer(12), "#layers.0.mlp.up.weight")
    slider = page.get_by_role("slider", name="Std over 12 layers")
    slider.focus()
    for key, layer in (("ArrowRight", 1), ("End", 11), ("ArrowRight", 11), ("ArrowLeft", 10), ("Home", 0)):
        page.keyboard.press(key)
        assert slider.get_attribute("aria-valuetext") == f"layers.{layer}.mlp.up.weight: {text_of(0.01 * (layer + 1))}"
        assert address(page) == f"layers.{layer}.mlp.up.weight"
    box = slider.bounding_box()
    assert box
    page.mouse.click(box["x"] + box["width"] * 4.5 / 12, box["y"] + 10)
    assert address(page) == "layers.4.mlp.up.weight"
    page.get_by_role("button", name="Next").click()
    assert address(page) == "layers.5.mlp.up.weight"


def text_of(value: float) -> str:
    return f"{value:.3f}" if value >= 0.1 else f"{value:.4f}"


def test_the_strips_show_the_statistic_that_is_chosen(opened: Opened) -> None:
    page = opened(transformer(12), "#layers.0.mlp.up.weight")
    page.get_by_label("Over layers").select_option("Max")
    assert row(page, "query").get_by_role("img").get_attribute("aria-label") == "Max over 12 layers: 0.0400 to 0.480"
    assert page.get_by_role("slider", name="Max over 12 layers").is_visible()
    page.locator("#columns .chart button").click()
    assert names(page)[:2] == ["embed.weight", "layers.11.attention.query.weight"]


def test_details_of_a_module_count_all_layers_and_one(opened: Opened) -> None:
    page = opened(transformer(12))
    row(page, "0-11").hover()
    row(page, "0-11").locator(".more").click()
    panel = page.locator("#details")
    assert panel.get_by_role("heading", level=2).inner_text() == "layers.0-11"
    terms = dict(zip(panel.locator("dt").all_inner_texts(), panel.locator("dd").all_inner_texts(), strict=True))
    assert terms["Keys"] == "layers.0 to layers.11"
    assert terms["Tensors"] == "96 (8 each)"
    assert terms["Parameters"] == "448,512 (37,376 each)"


def test_details_follow_the_row_and_lead_from_a_list_to_the_tree(opened: Opened) -> None:
    page = opened(transformer(12))
    search(page, "norm")
    row(page, "layers.0.norm.weight").click()
    for key in ("layers.0.norm.bias", "layers.1.norm.weight"):
        page.keyboard.press("ArrowDown")
        assert address(page) == key
    search(page, "*.norm.bias")
    row(page, "layers.1.norm.bias").click()
    page.keyboard.press("ArrowDown")
    assert address(page) == "layers.2.norm.bias"
    page.get_by_role("button", name="Show in the tree").click()
    assert focused(page) == "bias"
    assert names(page)[0] == "embed"
    page.get_by_role("button", name="Close the details").click()
    assert address(page) == ""


def test_what_is_odd_about_values_is_marked_all_the_way_up(opened: Opened) -> None:
    odd = fact("a.b.weight", (4, 4), statistics=statistics(16, 1.0, nans=3, dead_rows=1))
    page = opened(looked(odd, fact("a.b.bias", statistics=statistics(4, 0.0, zeros=4)), fact("c.w")))
    assert row(page, "a").locator(".warning").inner_text() == "2 findings"
    assert row(page, "c").locator(".warning").count() == 0
    row(page, "b").click()
    assert row(page, "weight").locator(".warning").inner_text() == "3 NaN, 1 dead row"
    assert row(page, "bias").locator(".warning").count() == 0
    row(page, "weight").click()
    assert page.locator("#details .warnings li").all_inner_texts() == [
        "3 NaN of 16 values",
        "1 of 64 rows hold zeros alone",
    ]


def test_what_is_beside_the_state_dict_is_a_group_with_links_of_its_own(opened: Opened) -> None:
    facts = looked(fact("w"), beside=(fact("w"), fact("optimizer.step", ())))
    page = opened(facts, "#beside%20the%20state_dict:w")
    assert names(page)[:3] == ["state_dict", "w", "beside the state_dict"]
    assert page.evaluate("document.activeElement.getAttribute('aria-rowindex')") == "5"
    assert address(page) == "beside%20the%20state_dict:w"


def test_strips_stand_on_the_ground_where_every_value_is_0(opened: Opened) -> None:
    constant = [fact(f"layers.{i}.w", statistics=statistics(4, 0.0)) for i in range(3)]
    page = opened(looked(*constant))
    path = page.locator("#rows .strip path").first.get_attribute("d") or ""
    assert [bar.split("h")[0] for bar in path.split("M")[1:]] == ["0.2 19.50", "1.2 19.50", "2.2 19.50"]


def test_what_is_left_out_is_told_of_layers_that_repeat_too(opened: Opened) -> None:
    page = opened(looked(*(fact(f"layers.{i}.w", kept=False) for i in range(3)), fact("w")))
    page.get_by_role("button", name="Unfold all").click()
    assert row(page, "w").locator(".note").inner_text() == "left out"


def test_a_closed_module_has_the_note_of_the_tensor_whose_shape_it_shows(opened: Opened) -> None:
    others = (fact(f"x{i}.y.w", (i + 2,)) for i in range(40))
    page = opened(looked(fact("emb.w"), *others, fact("lin.w", tied_to="emb.w")))
    assert row(page, "emb").locator(".note").count() == 0
    page.evaluate("scrollTo(0, 1e9)")
    row(page, "lin").wait_for()
    assert row(page, "lin").locator(".note").inner_text() == "tied to emb.w"
    row(page, "lin").click()
    assert row(page, "lin").locator(".note").count() == 0
    assert rows(page).last.locator(".note").inner_text() == "tied to emb.w"


def test_a_prefix_that_renaming_took_from_every_key_is_told(opened: Opened) -> None:
    page = opened(looked(*(fact(key, source=f"module.{key}") for key in ("a.w", "b.w", "c"))))
    assert page.locator("#rows .source").all_inner_texts() == ["from module.a", "from module.b", "from module.c"]


def test_of_layers_that_repeat_it_is_told_how_many_were_renamed(opened: Opened) -> None:
    numbers = {"a": (0, 2, 5), "b": (1, 2, 3)}
    page = opened(
        looked(*(fact(f"{part}.{i}.w", source=f"{part}.{n}.w") for part in "ab" for i, n in enumerate(numbers[part])))
    )
    assert page.locator("#rows .source").all_inner_texts() == ["2 renamed", "from b.1 and others"]


# --------------------------------------------------------------------------------------------- other media


def test_prints_every_row_and_says_how_many_are_too_many(opened: Opened) -> None:
    for count, more in ((500, ""), (2001, "1 row more in the page")):
        page = opened(looked(*(fact(f"w{i}", (i + 1,)) for i in range(count))))
        page.evaluate("dispatchEvent(new Event('beforeprint'))")
        assert rows(page).count() == min(count, 2000)
        assert names(page) == [f"w{i}" for i in range(min(count, 2000))]
        page.emulate_media(media="print")
        assert page.locator("#unprinted").inner_text() == more
        tops = page.evaluate("[...document.querySelectorAll('#rows > *')].map(row => row.getBoundingClientRect().top)")
        assert all(second - first == pytest.approx(30) for first, second in itertools.pairwise(tops))
        page.evaluate("dispatchEvent(new Event('afterprint'))")
        assert rows(page).count() < 60


def test_bars_are_there_where_the_system_chooses_the_colours(opened: Opened) -> None:
    page = opened(transformer(2), forced_colors="active")
    assert page.locator("#rows .bar").first.evaluate("bar => getComputedStyle(bar).backgroundImage") != "none"


# ------------------------------------------------------------------------------------- what files can hold


def test_names_from_a_file_are_text_wherever_they_are_shown(opened: Opened) -> None:
    page = opened(
        looked(fact(f"{HOSTILE}.w"), fact("x", source=HOSTILE, notes=(HOSTILE,)), metadata={HOSTILE: HOSTILE})
    )
    assert HOSTILE_SHOWN in names(page)
    search(page, "script")
    row(page, "x").click()
    assert HOSTILE_SHOWN in page.locator("#details").inner_text()
    assert page.locator("script:not(#data)").count() == 1


def test_numbers_beyond_javascript_are_exact_in_the_details(opened: Opened) -> None:
    found = statistics(4, 1.0, minimum=-(1 << 62), maximum=(1 << 62) + 1)
    page = opened(looked(fact("w", dtype="int64", nbytes=(1 << 60) + 1, statistics=found)), "#w")
    said = page.locator("#details").inner_text()
    assert "1,152,921,504,606,846,977 bytes" in said
    assert "4611686018427387905" in said


def test_keys_that_share_characters_beyond_sixteen_bits_are_whole(opened: Opened) -> None:
    keys = ["a🔥🔥.w", "a🔥🔥.x", "a🔥.w", "a🔦.w"]
    page = opened(looked(*map(fact, keys)))
    search(page, "a")
    assert names(page) == keys


def test_odd_keys_have_links(opened: Opened) -> None:
    for key in ("", "a b/c#d%20:e", "ключ", "🔥🔥", ".", "a..b"):
        page = opened(looked(fact(key), fact("other.w")))
        page.evaluate("document.querySelector('#columns .key button').click()")
        row(page, key or "(no name)").click()
        link = page.evaluate("location.hash")
        again = opened(looked(fact(key), fact("other.w")), link)
        assert again.locator("#details h2").count() == bool(key)


def test_the_lines_for_pyproject_can_be_copied_or_are_selected(opened: Opened) -> None:
    page = opened(looked(fact("w"), table=('source = "model.pt"', 'output = "model.mpk"')))
    page.get_by_text("For pyproject.toml").click()
    page.evaluate("void (navigator.clipboard.writeText = () => Promise.reject(new Error()))")
    page.get_by_role("button", name="Copy", exact=True).click()
    page.get_by_text("Selected, ready to copy").wait_for()
    assert page.evaluate("getSelection().toString()") == 'source = "model.pt"\noutput = "model.mpk"'


def test_sizes_and_counts_are_those_of_the_command_line(opened: Opened) -> None:
    page = opened(looked(fact("w")))
    script = joined([web_file("words.js")]).replace("})();", "return { countText, sizeText };\n})()")
    numbers = [0, 999, 1000, 9999, 10_000, 10_250, 100_500, 524_500, 999_499, 999_500, 10**12, 1_125 * 10**9, 1 << 53]
    numbers += [int(f"{digits}5{'0' * zeros}") for digits in range(100, 1000, 7) for zeros in range(1, 11)]
    made = page.evaluate(
        f"numbers => {{ const words = {script.partition(chr(10))[2].rstrip(';' + chr(10))}; "
        "return numbers.map(each => [words.countText(each), words.sizeText(each)]); }",
        numbers,
    )
    assert made == [[human_count(number), human_size(number)] for number in numbers]


def test_the_longest_numbers_fit_their_columns(opened: Opened) -> None:
    longest = {"minimum": -1.23456e-308, "maximum": -1.2345e308, "mean": -4.5e-41}
    wide = fact("w", dtype="int64", statistics=statistics(4, 1.0, minimum=-(1 << 63), maximum=(1 << 63) - 1))
    page = opened(looked(fact("v", statistics=statistics(4, 1.0, **longest)), wide))
    numbers = page.locator("#rows .statistic")
    assert numbers.all_inner_texts()[:4] == ["-4.50e-41", "1.00", "-1.23e-308", "-1.23e308"]
    assert numbers.all_inner_texts()[6:] == ["-9.22e18", "9.22e18"]
    assert all(numbers.evaluate_all("cells => cells.map(cell => cell.scrollWidth <= cell.clientWidth)"))


def test_a_reason_that_is_longer_than_its_column_ends_in_dots_and_is_whole_in_its_title(opened: Opened) -> None:
    reason = "cannot be read: " + "is quantised, " * 20
    page = opened(looked(fact("w", notes=(reason,))))
    note = page.locator("#rows .note")
    assert note.get_attribute("title") == reason
    assert note.evaluate("note => note.getBoundingClientRect().right <= note.parentNode.getBoundingClientRect().right")
