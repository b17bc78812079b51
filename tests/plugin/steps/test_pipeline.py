"""The pipeline between a checkpoint's tree and a record: its order, its two short steps, and its laws."""

from __future__ import annotations

import json
import re

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from hatch_wheelweights import open_checkpoint
from hatch_wheelweights.steps.pipeline import Report, debug_table, filter_keys, reindex_keys, state_dict
from hatch_wheelweights.errors import CheckpointError, ConfigError, RemapError
from making.tensors import faulty, lazy, sealed

# The pipeline


def test_goes_from_the_tree_to_final_keys_in_the_documented_order():
    tree = {
        "epoch": 3,
        "model": {
            "net.layers.1.w": lazy([1.0, 2.0]),
            "net.layers.3.w": lazy([3.0], tie="shared"),
            "net.layers.5.w": lazy([3.0], tie="shared"),
            "net.step": lazy([70_000]),
            "head.w": faulty(),
            "note": "plain",
        },
    }
    report = Report()
    tensors = state_dict(
        tree,
        top_level_key="model",
        key_remap=[(r"^net\.", ""), ("layers", "blocks")],
        precision="half",
        exclude=["^head"],
        report=report,
    )
    assert {key: (tensor.key, tensor.dtype) for key, tensor in tensors.items()} == {
        "blocks.0.w": ("net.layers.1.w", "float16"),
        "blocks.1.w": ("net.layers.3.w", "float16"),
        "blocks.2.w": ("net.layers.5.w", "float16"),
        "step": ("net.step", "int64"),
    }
    assert list(tensors["blocks.0.w"].numpy()) == [1.0, 2.0]
    assert tensors["blocks.1.w"].tie == tensors["blocks.2.w"].tie
    assert [(row.key, row.new_key, row.dtype, row.new_dtype) for row in report.rows] == [
        ("net.layers.1.w", "blocks.0.w", "float64", "float16"),
        ("net.layers.3.w", "blocks.1.w", "float64", "float16"),
        ("net.layers.5.w", "blocks.2.w", "float64", "float16"),
        ("net.step", "step", "int64", "int64"),
        ("head.w", None, "float32", "float32"),
    ]
    assert report.others == {"note": "str 'plain'"}
    assert report.warnings == ["`step`: kept int64: int16 cannot hold 70,000"]


def test_gathers_all_faults_of_the_options_before_it_looks_at_the_tree():
    with pytest.raises(ConfigError) as caught:
        state_dict(None, key_remap=[("(", ""), ("a", "$1")], include=["ok", "["], exclude="*", precision="hlaf")
    assert [error.splitlines()[0] for error in caught.value.errors] == [
        "key_remap[0].pattern: missing ), unterminated subpattern at position 0",
        "key_remap[1].replacement: unknown group `1` at position 0",
        "include[1]: unterminated character set at position 0",
        "exclude[0]: nothing to repeat at position 0",
        "precision: expected `bfloat16`, `double`, `full`, `half`, `keep`, found `hlaf`",
    ]
    assert caught.value.errors[-1].splitlines()[1] == "  Did you mean `half`?"


def test_reads_no_tensor_before_it_is_asked_for():
    tree = {"a.0.w": sealed(), "a.2.w": sealed("float64"), "n": sealed("bool")}
    report = Report()
    tensors = state_dict(
        tree, key_remap=[("a", "b")], include=[r"\."], exclude=["1"], precision="bfloat16", report=report
    )
    assert list(tensors) == ["b.0.w"]
    assert "Cast: BF16" in debug_table(report)
    with pytest.raises(AssertionError, match="the tensor was read"):
        tensors["b.0.w"].numpy()


def test_filters_see_the_keys_after_remap_and_reindex():
    tree = {"old.3.w": sealed(), "old.7.w": sealed()}
    assert list(state_dict(tree, key_remap=[("old", "new")], include=[r"^new\.1\."])) == ["new.1.w"]


def test_reports_every_tensor_in_burns_form():
    report = Report()
    tree = {"conv.conv1.bias": sealed(shape=(2,)), "conv.conv1.weight": sealed(shape=(2, 1)), "fc.w": sealed()}
    state_dict(tree, key_remap=[(r"conv\.(.*)", "$1")], exclude=["fc"], precision="half", report=report)
    assert debug_table(report) == (
        "Debug information of keys and tensor shapes:\n"
        "---\n"
        "Original Key: conv.conv1.bias\nRemapped Key: conv1.bias\nShape: [2]\nDtype: F32\nCast: F16\n"
        "---\n"
        "Original Key: conv.conv1.weight\nRemapped Key: conv1.weight\nShape: [2, 1]\nDtype: F32\nCast: F16\n"
        "---\n"
        "Key: fc.w\nShape: [2]\nDtype: F32\nFiltered: left out\n"
        "---"
    )


def test_says_once_why_several_tensors_kept_their_dtype():
    report = Report()
    tree = {f"bn{i}.num_batches_tracked": lazy(70_000) for i in range(3)}
    state_dict(tree, precision="half", report=report)
    tracked = ", ".join(f"`bn{i}.num_batches_tracked`" for i in range(3))
    assert report.warnings == [f"{tracked}: kept int64: int16 cannot hold 70,000"]


def test_says_eight_reasons_for_keeping_dtypes_and_counts_the_rest():
    report = Report()
    state_dict({f"n{i}": lazy(70_000 + i) for i in range(10)}, precision="half", report=report)
    assert len(report.warnings) == 9
    assert report.warnings[-1] == "and 2 more reasons why tensors kept their dtype"


# Reindexing


@pytest.mark.parametrize(
    ("old", "new"),
    [
        pytest.param("l.0.w l.2.w l.4.w", "l.0.w l.1.w l.2.w", id="gaps"),
        pytest.param("l.10.w l.9.w l.2.w", "l.2.w l.1.w l.0.w", id="numeric order, keys in theirs"),
        pytest.param("1.w 3.w", "0.w 1.w", id="root"),
        pytest.param("3.5.w 3.7.w 9.5.w", "0.0.w 0.1.w 1.0.w", id="numbers below numbers, each prefix by itself"),
        pytest.param("l.2.a.3.w l.4.a.5.w", "l.0.a.0.w l.1.a.0.w", id="nested, grouped by the original prefix"),
        pytest.param("l.999999999999999999999.w l.5.w", "l.1.w l.0.w", id="huge"),
        pytest.param("w.2 w.4", "w.2 w.4", id="never the last part"),
        pytest.param("2 4", "2 4", id="never the only part"),
        pytest.param("l.02.w l.+3.w l.-4.w l.5_0.w l.٣.w", "l.02.w l.+3.w l.-4.w l.5_0.w l.٣.w", id="names"),
        pytest.param("l.02.w l.norm.w l.2.w l.4.w", "l.02.w l.norm.w l.0.w l.1.w", id="numbers among names"),
        pytest.param("l.0 l.2.w l.4.w", "l.0 l.1.w l.2.w", id="a tensor called 0 keeps its name"),
        pytest.param("l.1 l.1.w l.3.w", "l.1 l.1.w l.3.w", id="a number that is a tensor and a container"),
        pytest.param(".2.w", ".0.w", id="empty parts"),
    ],
)
def test_closes_gaps(old, new):
    assert list(reindex_keys(old.split(" ")).items()) == list(zip(old.split(" "), new.split(" "), strict=True))


def test_leaves_numbers_alone_where_reindexing_is_off():
    assert list(state_dict({"l.2.w": sealed(), "l.4.w": sealed()}, reindex=False)) == ["l.2.w", "l.4.w"]


def test_reindexes_keys_with_thousands_of_parts_in_linear_memory():
    keys = [f"{i}{'.7' * 2000}.w" for i in range(50)]
    assert next(iter(reindex_keys(keys).values())) == f"0{'.0' * 2000}.w"


PARTS = st.sampled_from(["0", "1", "2", "7", "10", "02", "+1", "l", "w", ""])
KEYS = st.lists(st.lists(PARTS, min_size=1, max_size=5).map(".".join), unique=True, max_size=12)


@given(KEYS)
def test_reindexing_twice_is_reindexing_once(keys):
    once = list(reindex_keys(keys).values())
    assert list(reindex_keys(once).values()) == once


@given(KEYS)
def test_reindexing_keeps_keys_apart_and_changes_nothing_but_numbers(keys):
    new = reindex_keys(keys)
    assert list(new) == keys
    assert len(set(new.values())) == len(keys)
    for old, renamed in new.items():
        for before, after in zip(old.split("."), renamed.split("."), strict=True):
            assert before == after or re.fullmatch("[1-9][0-9]*", before)
        assert old.split(".")[-1] == renamed.split(".")[-1]


@given(KEYS)
def test_reindexing_makes_no_key_the_prefix_of_another(keys):
    new = reindex_keys(keys)
    for a in keys:
        for b in keys:
            assert new[b].startswith(f"{new[a]}.") == b.startswith(f"{a}.")


@given(st.lists(st.integers(0, 10**30), unique=True, min_size=1, max_size=20))
def test_reindexing_keeps_the_order_of_layers(layers):
    new = reindex_keys(f"layers.{layer}.w" for layer in layers)
    order = {layer: int(new[f"layers.{layer}.w"].split(".")[1]) for layer in layers}
    assert [order[layer] for layer in sorted(layers)] == list(range(len(layers)))


# Filtering


def _filter(keys, include=(), exclude=()):
    return filter_keys(keys, {text: re.compile(text) for text in include}, {text: re.compile(text) for text in exclude})


def test_keeps_what_any_include_and_no_exclude_pattern_finds():
    keys = ["enc.w", "enc.n", "dec.w", "head.w"]
    assert _filter(keys) == set(keys)
    assert _filter(keys, ["^enc", "head"], [r"\.n$"]) == {"enc.w", "head.w"}
    assert _filter(keys, exclude=["w"]) == {"enc.n"}


def test_rejects_patterns_that_match_nothing_and_shows_near_keys():
    with pytest.raises(CheckpointError) as caught:
        _filter(["encoder.weight", "decoder.weight", "x"], [r"^encodr\.", "x"], ["bias$"])
    assert str(caught.value).splitlines() == [
        r"expected keys that match `^encodr\.`, `bias$`, found none among 3",
        r"  Nearest to `^encodr\.`: `decoder.weight`, `encoder.weight`, `x`",
        "  Nearest to `bias$`: `decoder.weight`, `encoder.weight`, `x`",
        "  Correct the pattern in include or exclude, or remove it.",
    ]


def test_allows_an_exclude_pattern_for_keys_that_are_not_included_either():
    assert _filter(["enc.w", "dec.w"], ["enc"], ["dec"]) == {"enc.w"}


def test_rejects_filters_that_leave_nothing():
    with pytest.raises(CheckpointError, match="expected include and exclude to leave a tensor, found none left of 2"):
        _filter(["enc.w", "dec.w"], ["enc"], ["enc"])


def test_a_broken_tensor_that_is_left_out_does_no_harm():
    tensors = state_dict({"a": lazy([1.0]), "q": faulty("qint8")}, exclude=["^q$"], precision="half")
    assert [list(tensor.numpy()) for tensor in tensors.values()] == [[1.0]]
    with pytest.raises(CheckpointError, match=r"^tensor `q`: is broken"):
        state_dict({"a": lazy([1.0]), "q": faulty("qint8")})["q"].numpy()


@given(
    st.dictionaries(st.text("ab.", max_size=4), st.integers(-9, 9), min_size=1, max_size=6),
    st.sampled_from(["a", "b$"]),
)
def test_filtering_commutes_with_reading(values, pattern):
    tree = {key: lazy(np.full(2, value, np.float32)) for key, value in values.items()}
    read = {key: list(tensor.numpy()) for key, tensor in state_dict(tree).items()}
    filtered_later = {key: array for key, array in read.items() if re.search(pattern, key)}
    if not filtered_later:
        with pytest.raises(CheckpointError):
            state_dict(tree, include=[pattern])
        return
    filtered_first = {key: list(tensor.numpy()) for key, tensor in state_dict(tree, include=[pattern]).items()}
    assert filtered_first == filtered_later


TREES = st.recursive(
    st.builds(sealed),
    lambda inner: (
        st.dictionaries(st.sampled_from(["a", "b", "0", "2", "x.y"]), inner, min_size=1, max_size=3)
        | st.lists(inner, min_size=1, max_size=3)
    ),
    max_leaves=12,
)
RULES = st.lists(
    st.tuples(st.sampled_from(["a", r"^b\.", r"\.0", "(.)2"]), st.sampled_from(["", "c", "$0"])), max_size=2
)


@given(TREES, RULES)
def test_every_tensor_of_a_tree_comes_out_or_an_error_does(tree, rules):
    leaves: list[object] = []

    def collect(node: object) -> None:
        for child in node.values() if isinstance(node, dict) else node if isinstance(node, list) else ():
            collect(child)
        if not isinstance(node, (dict, list)):
            leaves.append(node.tie)

    collect(tree)
    try:
        tensors = state_dict(tree, key_remap=rules)
    except (CheckpointError, RemapError):
        return
    assert [tensor.tie for tensor in tensors.values()] == leaves


# Burn's own cases


def _case(corpus, name):
    cases = json.loads((corpus / "burn" / "cases.json").read_text())["models"]
    return corpus / "burn" / cases[name]["file"], cases[name]


def test_remaps_burns_key_remap_case(corpus):
    path, _ = _case(corpus, "key_remap")
    with open_checkpoint(path) as checkpoint:
        tensors = checkpoint.state_dict(key_remap=[(r"conv\.(.*)", "$1")])
        assert {key: (tensor.key, tensor.shape) for key, tensor in tensors.items()} == {
            "conv1.weight": ("conv.conv1.weight", (2, 2, 2, 2)),
            "conv1.bias": ("conv.conv1.bias", (2,)),
            "conv2.weight": ("conv.conv2.weight", (2, 2, 2, 2)),
        }


def test_reindexes_burns_non_contiguous_case(corpus):
    path, _ = _case(corpus, "non_contiguous_indexes")
    with open_checkpoint(path) as checkpoint:
        renamed = {tensor.key: key for key, tensor in checkpoint.state_dict().items()}
        kept = checkpoint.state_dict(reindex=False)
    assert renamed == {f"fc.{2 * i}.{name}": f"fc.{i}.{name}" for i in range(5) for name in ("weight", "bias")}
    assert list(kept) == list(renamed)


def test_finds_burns_top_level_key(corpus):
    path, case = _case(corpus, "top_level_key")
    with open_checkpoint(path) as checkpoint:
        tensors = checkpoint.state_dict(case["top_level_key"])
        for key, expected in case["tensors"].items():
            array = tensors[key.removeprefix("my_state_dict.")].numpy()
            assert array.shape == tuple(expected["shape"])
            assert float(array.astype(np.float64).sum()) == pytest.approx(expected["sum"], abs=1e-6)
        with pytest.raises(CheckpointError) as caught:
            checkpoint.state_dict("my_state")
        with pytest.raises(CheckpointError) as without:
            checkpoint.state_dict()
    assert str(caught.value) == (
        f"{path}: expected top-level key `my_state`, found `my_state_dict` (2 tensors)\n"
        "  Did you mean `my_state_dict`? Set top-level-key."
    )
    assert str(without.value) == (
        f"{path}: expected a state_dict, found `my_state_dict` (2 tensors)\n"
        '  Add the line: top-level-key = "my_state_dict"'
    )


def test_suggests_the_key_in_burns_case_with_a_configuration(corpus):
    path, _ = _case(corpus, "config")
    with open_checkpoint(path) as checkpoint:
        with pytest.raises(CheckpointError) as caught:
            checkpoint.state_dict()
        assert list(checkpoint.state_dict("my_model")) == ["fc1.weight", "fc1.bias", "fc2.weight"]
    assert str(caught.value) == (
        f"{path}: expected a state_dict, found `my_config` (dict), `my_model` (3 tensors)\n"
        '  Add the line: top-level-key = "my_model"'
    )
