"""The tensors of a file as the script of a page reads them."""

from __future__ import annotations

import json
from dataclasses import replace
from typing import TYPE_CHECKING, Any

from hypothesis import given
from hypothesis import strategies as st

from hatch_wheelweights.cli.flags import FLAGS
from hatch_wheelweights.looking.inspection.page_data import HEIGHTS, groups_of, page_data
from hatch_wheelweights.looking.inspection.statistics import BINS
from hatch_wheelweights.looking.texts import key_text
from making.looked import fact, looked, statistics, transformer

if TYPE_CHECKING:
    from hatch_wheelweights.looking.inspection.facts import FileFacts


def data_of(facts: FileFacts) -> list[dict[str, Any]]:
    """Return the groups as the script reads them: through JSON."""
    return json.loads(json.dumps(page_data(groups_of(facts), FLAGS)))["groups"]


def texts_of(column: dict[str, list[Any]]) -> list[str]:
    """Return texts as `unshared` of the script does, which counts in UTF-16."""
    found = [b""]
    for shared, rest in zip(column["shared"], column["rest"], strict=True):
        found.append(found[-1][: 2 * shared] + rest.encode("utf-16-le"))
    return [text.decode("utf-16-le") for text in found[1:]]


@given(st.lists(st.text(max_size=30), unique=True))
def test_keys_come_back_as_a_table_shows_them(keys: list[str]) -> None:
    groups = data_of(looked(*map(fact, keys)))
    assert [key for group in groups for key in texts_of(group["keys"])] == [key_text(key) for key in keys]


def test_original_keys_are_there_where_some_differ() -> None:
    (group,) = data_of(transformer(1))
    assert group["sources"] is None
    (group,) = data_of(transformer(1, renamed=True))
    assert texts_of(group["sources"])[:2] == ["module.embed.weight", "module.layers.0.attention.query.weight"]


def test_layers_that_repeat_are_one_node_with_the_places_of_all_tensors() -> None:
    (group,) = data_of(transformer(3))
    nodes = group["nodes"]
    assert nodes["parts"][:6] == ["embed", "weight", "layers", "0", "attention", "query"]
    assert nodes["depths"][:6] == [0, 1, 0, 1, 2, 3]
    assert (nodes["labels"], nodes["counts"]) == ({"3": "0-2"}, {"3": 3})
    weight = nodes["parts"].index("query") + 1
    assert nodes["copies"][str(weight)] == [1, 9, 17]
    assert nodes["leaves"][weight] == 1
    place = nodes["classes"]["5"]
    settings = [["in_features", "64"], ["out_features", "64"]]
    assert group["classes"][place] == {"name": "torch.nn.modules.linear.Linear", "text": "Linear", "settings": settings}


def test_flags_tell_what_is_counted_kept_and_a_parameter() -> None:
    tensors = [
        fact("a"),
        fact("b", tied_to="a"),
        fact("c", kept=False),
        fact("n", dtype="int64"),
        fact("f", nbytes=None, fault="damaged"),
    ]
    (group,) = data_of(looked(*tensors))
    assert group["flags"] == "72032"
    assert group["notes"] == {"1": "tied to a", "2": "left out", "4": "cannot be read: damaged"}
    assert group["faults"] == [4]
    assert group["bytes"] == [16, 16, 16, 16, None]


def test_integers_that_javascript_cannot_hold_are_texts() -> None:
    (group,) = data_of(looked(fact("a", nbytes=1 << 53), fact("b", nbytes=(1 << 53) - 1)))
    assert group["bytes"] == ["9007199254740992", (1 << 53) - 1]


def test_statistics_are_columns_and_histograms_a_digit_for_each_bin() -> None:
    histogram = (0, 1, 1000, *[500] * (BINS - 3))
    found = statistics(64, 0.0123456, nans=2, minimum=-(1 << 60), maximum=float("inf"), histogram=histogram)
    (group,) = data_of(looked(fact("a", statistics=found), fact("b")))
    columns = group["statistics"]
    assert columns["nans"] == [2, None]
    assert columns["minimum"] == [str(-(1 << 60)), None]
    assert columns["mean"] == [0.0012346, None]
    assert columns["std"] == [0.012346, None]
    assert columns["maximum"] == ["Infinity", None]
    heights = ["01_" + HEIGHTS[32] * (BINS - 3), ""]
    assert columns["histogram"] == heights
    assert group["findings"] == {"0": ["2 NaN of 64 values"]}


def test_what_is_beside_the_state_dict_and_each_record_of_a_wheel_are_groups() -> None:
    facts = looked(fact("w"), beside=(fact("optimizer.w"),))
    assert [group["name"] for group in data_of(facts)] == ["state_dict", "beside the state_dict"]
    several = looked(beside=(fact("ema.w"), fact("net.w")), state_dicts=("ema", "net"))
    (group,) = data_of(several)
    assert group["nodes"]["marks"] == {"0": "a state_dict", "2": "a state_dict"}
    records = tuple(looked(fact("w"), path=f"demo.whl/{i}.mpk") for i in range(101))
    names = [group["name"] for group in data_of(looked(records=records, path="demo.whl"))]
    assert names == [f"{i}.mpk" for i in range(100)]


def test_ten_thousand_tensors_take_under_five_megabytes_with_statistics() -> None:
    facts = transformer(1250)
    varied = [
        replace(tensor, statistics=statistics(1 << 20, 0.01 + i / 7919, zeros=i, histogram=histogram(i)))
        for i, tensor in enumerate(facts.tensors)
    ]
    data = page_data(groups_of(looked(*varied)), FLAGS)
    assert len(varied) == 10_001
    assert len(json.dumps(data, separators=(",", ":"))) < 3_000_000


def histogram(i: int) -> tuple[int, ...]:
    return tuple((i * 7919 + each * 104_729) % 1000 for each in range(BINS))
