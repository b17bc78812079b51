"""The tree of modules: what keys say, layers that repeat folded, totals that count each value once."""

from __future__ import annotations

import math

from hypothesis import given
from hypothesis import strategies as st

from hatch_wheelweights.checkpoint.module_classes import ModuleClass
from hatch_wheelweights.looking.inspection.tensors import TensorFacts, Totals, dtype_totals
from hatch_wheelweights.looking.inspection.tree import MAX_DEPTH, Node, module_tree, rows_to_depth


def facts(
    key: str,
    shape: tuple[int, ...] = (2,),
    dtype: str = "float32",
    source: str | None = None,
    tied_to: str | None = None,
) -> TensorFacts:
    nbytes = math.prod(shape) * 4
    return TensorFacts(key, key if source is None else source, shape, dtype, dtype, nbytes, tied_to=tied_to)


def shown(root: Node, depth: int = MAX_DEPTH) -> list[str]:
    """Return the names of the rows, indented, with how many each stands for."""
    many = {row: f" x{row.node.count}" for row in rows_to_depth(root, depth) if row.node.count > 1}
    return [f"{' ' * row.level}{row.name}{many.get(row, '')}" for row in rows_to_depth(root, depth)]


def block(prefix: str, *, width: int = 2) -> list[TensorFacts]:
    return [facts(f"{prefix}.fc.weight", (width, 2)), facts(f"{prefix}.fc.bias", (width,))]


def test_layers_that_repeat_are_one_node() -> None:
    tree = module_tree([each for i in range(12) for each in block(f"encoder.layer.{i}")])
    assert shown(tree) == ["encoder.layer.0-11 x12", " fc", "  weight", "  bias"]
    (layers,) = [row.node for row in rows_to_depth(tree, 1)]
    assert layers.keys == tuple(f"encoder.layer.{i}" for i in range(12))
    assert (layers.totals, layers.each) == (Totals(24, 72, 72, 288), Totals(2, 6, 6, 24))
    assert layers.children[0].totals == layers.totals  # of all twelve


def test_layers_that_differ_in_anything_are_not_folded() -> None:
    widths = (2, 3, 3, 2)
    assert shown(module_tree([each for i, width in enumerate(widths) for each in block(f"l.{i}", width=width)]), 2) == [
        "l", " 0.fc", " 1-2 x2", " 3.fc",
    ]  # fmt: skip
    for other in (facts("l.1.w", dtype="int64"), facts("l.1.v"), facts("l.1.w", tied_to="l.0.w"), facts("l.2.w")):
        assert not any(" x" in line for line in shown(module_tree([facts("l.0.w"), other])))


def test_layers_are_counted_in_the_order_of_numbers_not_of_texts() -> None:
    assert shown(module_tree([facts(f"l.{i}.w") for i in sorted(map(str, range(12)))]), 1) == ["l.0-11 x12"]


def test_names_that_end_in_a_number_fold_too() -> None:
    assert shown(module_tree([facts(f"block{i}.w") for i in range(3)]), 1) == ["block0-2 x3"]
    assert shown(module_tree([facts(f"w{i}") for i in range(3)])) == ["w0-2 x3"]
    assert shown(module_tree([facts(f"w{i}") for i in range(2)])) == ["w0", "w1"]  # two tensors say more than a line


def test_a_value_is_counted_once_however_many_keys_are_tied_to_it() -> None:
    tree = module_tree([facts("a.w", (3,)), facts("b.w", (3,), tied_to="a.w"), facts("b.running_mean", (5,))])
    assert tree.totals == Totals(3, 8, 3, 32)
    assert [child.totals for child in tree.children] == [Totals(1, 3, 3, 12), Totals(2, 5, 0, 20)]


def test_dtypes_are_listed_by_their_bytes() -> None:
    tensors = [facts("a", (1,), "int64"), facts("b", (4,)), facts("c", (4,))]
    assert list(dtype_totals(tensors).items()) == [
        ("float32", Totals(2, 8, 8, 32)), ("int64", Totals(1, 1, 0, 4)),
    ]  # fmt: skip


def test_the_part_that_renaming_has_changed_is_marked_once() -> None:
    tensors = [facts(f"blocks.{i}.fc.{name}", source=f"model.h.{i}.fc.{name}") for i in range(2) for name in "wb"]
    tree = module_tree([*tensors, facts("head.weight", source="lm.kernel")])
    sources = {row.name: row.source for row in rows_to_depth(tree, MAX_DEPTH) if row.source is not None}
    assert sources == {"blocks.0-1": "model.h.0-1", "weight": "lm.kernel"}
    renumbered = module_tree([facts("l.0.w", source="l.0.w"), facts("l.1.w", (3,), source="l.2.w")])
    assert [row.source for row in rows_to_depth(renumbered, 2)] == [None, None, "l.2"]


def test_layers_that_repeat_say_how_many_of_them_were_renamed() -> None:
    renumbered = {0: 0, 1: 2, 2: 5}
    tensors = [facts(f"l.{new}.fc.w", source=f"l.{old}.fc.w") for new, old in renumbered.items()]
    tensors += [
        facts(f"h.{i}.{part}.w", source=f"h.{i}.{part if i else part + 1}.w") for i in (0, 1) for part in (1, 2)
    ]
    said = {row.name: (row.source, row.node.renamed) for row in rows_to_depth(module_tree(tensors), MAX_DEPTH)}
    assert said == {
        "l.0-2": (None, 2), "fc": (None, 0), "w": (None, 0), "h.0-1": (None, 0), "1-2": ("h.0.2", 2),
    }  # fmt: skip


def test_classes_and_modules_without_tensors_stand_where_the_file_has_them() -> None:
    classes = {
        "": ModuleClass("Net", {}),
        "net.conv": ModuleClass("torch.nn.modules.conv.Conv2d", {"stride": (2, 2)}),
        "net.relu": ModuleClass("torch.nn.modules.activation.ReLU", {}),
        "net.fc": ModuleClass("torch.nn.modules.linear.Linear", {}),
    }
    renamed = [facts("conv.weight", source="net.conv.weight"), facts("fc.weight", source="net.fc.weight")]
    for tensors, prefix in ((renamed, ""), ([facts("net.conv.weight"), facts("net.fc.weight")], "net.")):
        rows = [row.node for row in rows_to_depth(module_tree(tensors, classes), MAX_DEPTH) if row.node.tensor is None]
        named = [(node.key, node.module.name.rpartition(".")[2]) for node in rows if node.module is not None]
        assert named == [
            (f"{prefix}{name}", kind) for name, kind in (("conv", "Conv2d"), ("relu", "ReLU"), ("fc", "Linear"))
        ]


def test_keys_with_empty_parts_lead_to_modules_with_keys_of_their_own() -> None:
    keys = ["", ".", ".w", "a.", "a..w"]
    tree = module_tree([facts(key, (i + 1,)) for i, key in enumerate(keys)])
    rows = list(rows_to_depth(tree, MAX_DEPTH))
    assert [row.node.key for row in rows if row.node.tensor is not None] == keys
    assert [(row.name, row.node.key) for row in rows if row.node.tensor is None] == [("", ""), ("a", "a"), ("", "a.")]


def test_a_module_that_is_set_apart_has_a_line_of_its_own() -> None:
    tree = module_tree([facts("state_dict.model.w"), facts("state_dict.model.b")])
    assert shown(tree) == ["state_dict.model", " w", " b"]
    apart = rows_to_depth(tree, MAX_DEPTH, apart={"state_dict"})
    assert [row.name for row in apart] == ["state_dict", "model", "w", "b"]


KEYS = st.lists(st.text("ab01.", min_size=1, max_size=12), unique=True, max_size=30)


@given(KEYS, st.data())
def test_every_tensor_is_below_the_root_once_and_totals_add_up(keys: list[str], data: st.DataObject) -> None:
    shapes = st.sampled_from([(), (2,), (2, 3)])
    tensors = [facts(key, data.draw(shapes)) for key in keys]
    tree = module_tree(tensors)
    leaves = [key for row in rows_to_depth(tree, MAX_DEPTH) if row.node.tensor is not None for key in row.node.keys]
    assert sorted(leaves) == sorted(keys)
    assert tree.totals.values == sum(math.prod(tensor.shape) for tensor in tensors)
    for row in rows_to_depth(tree, MAX_DEPTH):
        if row.node.children:
            assert row.node.totals.values == sum(child.totals.values for child in row.node.children)
            assert row.node.totals.values == row.node.each.values * row.node.count or row.node.count == 1


def test_keys_of_any_depth_and_length_make_a_tree_in_proportion() -> None:
    deep = module_tree([facts(".".join("a" * 10_000)), facts("b." * 10_000)])
    assert len(list(rows_to_depth(deep, 100_000))) <= 2 * MAX_DEPTH
    many = [facts(f"{i}." + ".".join("abcdefgh" * 100)) for i in range(3_000)]
    nodes = list(rows_to_depth(module_tree(many), 100_000))
    assert sum(len(key) for row in nodes for key in row.node.keys) < 70_000_000
