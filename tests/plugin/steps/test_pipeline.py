"""The pipeline between a checkpoint's tree and a record: its order, its two short steps, and its laws."""

from __future__ import annotations

import json
import re
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from hatch_wheelweights import open_checkpoint
from hatch_wheelweights.checkpoint import Account
from hatch_wheelweights.errors import CheckpointError, RemapError
from hatch_wheelweights.options.model import TensorOptions
from hatch_wheelweights.steps import pipeline
from hatch_wheelweights.steps.report import debug_table
from making.tensors import faulty, lazy, sealed

if TYPE_CHECKING:
    from hatch_wheelweights.steps.pipeline import StateDict


def state_dict(tree: object, **options: Any) -> StateDict:
    return pipeline.state_dict(tree, TensorOptions(**options), Account(1 << 20))


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
    tensors = state_dict(
        tree,
        top_level_key="model",
        key_remap=[(r"^net\.", ""), ("layers", "blocks")],
        precision="half",
        exclude=["^head"],
    )
    report = tensors.report
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
    (warning,) = report.warnings
    assert str(warning) == (
        "`blocks` begins at 1, and at 0 after reindexing: if it is part of a model (a lone shard, an adapter), "
        "reindex=False keeps the numbers"
    )
    assert report.notes == ["reindexed `blocks`: 1, 3, 5 -> 0, 1, 2"]


def test_says_how_much_it_is_and_counts_tied_tensors_once():
    tied = {name: lazy([1.0, 2.0], tie="shared") for name in ("a", "b")}
    assert repr(state_dict(tied)) == "<StateDict: 2 tensors, 16 B>"
    assert repr(state_dict(tied | {"c": faulty(), "d.7.w": lazy([1.0])})) == "<StateDict: 4 tensors, 24 B, 1 warning>"


def test_reads_no_tensor_before_it_is_asked_for():
    tree = {"a.0.w": sealed(), "a.2.w": sealed("float64"), "n": sealed("bool")}
    tensors = state_dict(tree, key_remap=[("a", "b")], include=[r"\."], exclude=["1"], precision="bfloat16")
    assert list(tensors) == ["b.0.w"]
    assert "Cast: BF16" in debug_table(tensors.report)
    with pytest.raises(AssertionError, match="the tensor was read"):
        tensors["b.0.w"].numpy()


def test_filters_see_the_keys_after_remap_and_reindex():
    tree = {"old.3.w": sealed(), "old.7.w": sealed()}
    assert list(state_dict(tree, key_remap=[("old", "new")], include=[r"^new\.1\."])) == ["new.1.w"]


def test_reports_every_tensor_in_burns_form():
    tree = {"conv.conv1.bias": sealed(shape=(2,)), "conv.conv1.weight": sealed(shape=(2, 1)), "fc.w": sealed()}
    tensors = state_dict(tree, key_remap=[(r"conv\.(.*)", "$1")], exclude=["fc"], precision="half")
    assert debug_table(tensors.report) == (
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
    tree = {f"phase{i}": sealed("complex64") for i in range(3)}
    report = state_dict(tree, precision="half").report
    assert report.warnings == [
        "`phase0`, `phase1`, `phase2`: kept complex64: there is no complex dtype of this precision"
    ]


def test_notes_in_the_table_that_running_statistics_keep_their_dtype():
    tree = {"net.bn.running_var": sealed(), "net.bn.weight": sealed(), "net.bn.num_batches_tracked": sealed("int64")}
    report = state_dict(tree, key_remap=[("running_var", "variance")], precision="half").report
    assert [(row.new_key, row.new_dtype, row.notes) for row in report.rows] == [
        ("net.bn.variance", "float32", ("kept float32: float16 is too coarse for running statistics",)),
        ("net.bn.weight", "float16", ()),
        ("net.bn.num_batches_tracked", "int64", ()),
    ]
    assert "Note: kept float32: float16 is too coarse for running statistics" in debug_table(report)
    assert (report.warnings, report.notes) == ([], [])


def test_rules_of_precision_see_the_final_keys():
    tree = {"old.3.w": sealed(), "old.7.w": sealed(), "head.w": sealed()}
    rules = [(r"^new\.1\.", "keep"), {"pattern": "^new", "dtype": "float64"}]
    tensors = state_dict(tree, key_remap=[("old", "new")], exclude=["head"], precision=rules)
    assert {key: tensor.dtype for key, tensor in tensors.items()} == {"new.0.w": "float64", "new.1.w": "float32"}
    (warning,) = state_dict(tree, exclude=["head"], precision=[("head", "half")]).report.warnings[1:]
    assert str(warning).startswith("precision[0] matches nothing: `head` -> `half`; the nearest keys are ")


def test_the_report_says_what_was_lost_once_a_tensor_has_been_read():
    tensors = state_dict({"w": lazy(np.array([1, 1e-9], np.float32)), "ids": sealed("int64")}, precision="half")
    assert tensors.report.notes == []
    for _ in range(2):
        assert list(tensors["w"].numpy()) == [1, 0]
    assert list(map(str, tensors.report.notes)) == ["rounded to 0, being too small for their new dtype: 1 value of `w`"]


def test_says_nothing_of_numbers_that_are_left_out_or_kept():
    tree = {"l.1.w": sealed(), "m.1.w": sealed(), "n.w": sealed()}
    for options in ({"include": ["n"]}, {"reindex": False}):
        report = state_dict(tree, **options).report
        assert (report.warnings, report.notes) == ([], [])
    assert state_dict(tree, exclude=["^m"]).report.notes == ["reindexed `l`: 1 -> 0"]


def test_leaves_numbers_alone_where_reindexing_is_off():
    assert list(state_dict({"l.2.w": sealed(), "l.4.w": sealed()}, reindex=False)) == ["l.2.w", "l.4.w"]


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
    leaves: list[Any] = []

    def collect(node: Any) -> None:
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
        tensors = checkpoint.state_dict(top_level_key=case["top_level_key"])
        for key, expected in case["tensors"].items():
            array = tensors[key.removeprefix("my_state_dict.")].numpy()
            assert array.shape == tuple(expected["shape"])
            assert float(array.astype(np.float64).sum()) == pytest.approx(expected["sum"], abs=1e-6)
        with pytest.raises(CheckpointError) as caught:
            checkpoint.state_dict(top_level_key="my_state")
        with pytest.raises(CheckpointError) as without:
            checkpoint.state_dict()
    assert str(caught.value) == (
        f"{path}: expected top-level key `my_state`, found `my_state_dict` (2 tensors)\n"
        '  Did you mean top_level_key="my_state_dict"?'
    )
    assert str(without.value) == (
        f'{path}: expected a state_dict, found `my_state_dict` (2 tensors)\n  Pass top_level_key="my_state_dict".'
    )


def test_suggests_the_key_in_burns_case_with_a_configuration(corpus):
    path, _ = _case(corpus, "config")
    with open_checkpoint(path) as checkpoint:
        with pytest.raises(CheckpointError) as caught:
            checkpoint.state_dict()
        assert list(checkpoint.state_dict(top_level_key="my_model")) == ["fc1.weight", "fc1.bias", "fc2.weight"]
    assert str(caught.value) == (
        f"{path}: expected a state_dict, found `my_config` (dict), `my_model` (3 tensors)\n"
        '  Pass top_level_key="my_model".'
    )
