"""Which part of a checkpoint is the state_dict, what its keys are, and what is said where there is none."""

from __future__ import annotations

import functools
from typing import Any

import pytest

from hatch_wheelweights.checkpoint import Account, Global, Opaque
from hatch_wheelweights.errors import CheckpointError
from hatch_wheelweights.steps.flatten import BYTES_PER_BESIDE, MAX_KEYS_PER_NAME, flatten
from hatch_wheelweights.steps.ledger import examine, settle
from hatch_wheelweights.steps.remap import MAX_KEY_CHARACTERS
from hatch_wheelweights.steps.report import Report
from hatch_wheelweights.steps.select import select
from hatch_wheelweights.steps.survey import MAX_DEPTH
from making.tensors import sealed

T = sealed()


def _flat(tree, top_level_key=None, *, whole_model=False):
    """Return the tensors and the other values; raise what would be lost."""
    account, report = Account(1 << 20), Report()
    flat = flatten(select(tree, top_level_key, account, whole_model=whole_model), account)
    settle(examine(flat, account), lambda _: True, report, flat)
    if report.fault:
        raise report.fault
    return flat.tensors, report.others


def _keys(tree, top_level_key=None, **options):
    return list(_flat(tree, top_level_key, **options)[0])


def _refusal(tree, top_level_key=None, **options) -> str:
    with pytest.raises(CheckpointError) as caught:
        _flat(tree, top_level_key, **options)
    return str(caught.value)


def _module(name="Net", parameters=(), buffers=(), modules=(), **state):
    kinds = {"_parameters": dict(parameters), "_buffers": dict(buffers), "_modules": dict(modules)}
    return Opaque("mynet.models", name, (), {"training": True, **kinds, **state})


NET = _module(
    parameters={"scale": T, "shift": None},
    buffers={"mean": T, "cache": T, "none": None},
    modules={"fc": _module("Linear", {"weight": T, "bias": T}), "drop": _module("Dropout"), "gone": None},
    _non_persistent_buffers_set={"cache"},
)


# Keys


def test_keeps_flat_keys_and_their_order():
    assert _keys({"b.weight": T, "a": T, "": T}) == ["b.weight", "a", ""]


def test_joins_nested_dicts_lists_and_tuples_with_dots():
    assert _keys({"a": {"b": T, "c": [T, {"d": T}]}, "e": (T, T)}) == ["a.b", "a.c.0", "a.c.1.d", "e.0", "e.1"]


def test_names_integer_keys_in_decimal_and_python_2_names_as_text():
    assert _keys({0: {"step": T}, 10: {"step": T}, -1: T}) == ["0.step", "10.step", "-1"]
    assert _keys({b"conv.weight": T, "é".encode(): T, b"\xe9": {"w": T}}) == ["conv.weight", "é", "é.w"]


def test_keeps_empty_parts_of_keys():
    assert _keys({"": {"": T, "w": T}, "a": {"": T}}) == [".", ".w", "a."]


def test_gives_every_tensor_its_name_in_the_checkpoint():
    tensors, _ = _flat({"epoch": 1, "model": {"fc": {"weight": T}}}, "model")
    assert {key: tensor.key for key, tensor in tensors.items()} == {"fc.weight": "fc.weight"}


def test_leaves_tensors_that_two_names_share_tied():
    shared = {"w": T}
    tensors, _ = _flat({"a": shared, "b": shared})
    assert list(tensors) == ["a.w", "b.w"]
    assert tensors["a.w"].tie == tensors["b.w"].tie


@pytest.mark.parametrize(
    ("tree", "places"),
    [
        ({"a.b": T, "a": {"b": T}}, "`a.b`: ['a.b'] and ['a']['b']"),
        ({1: {"w": T}, "1": {"w": T}}, "`1.w`: [1]['w'] and ['1']['w']"),
        ({"a": [T], "a.0": T}, "`a.0`: ['a'][0] and ['a.0']"),
    ],
)
def test_rejects_two_tensors_of_one_key(tree, places):
    assert _refusal(tree).splitlines()[0] == f"two tensors have the key {places}"


def test_reports_plain_values_beside_the_tensors():
    tensors, others = _flat(
        {"w": T, "epoch": 3, "name": "net\x1b", "none": None, "sizes": {"a": 1, "b": [2]}, "deep": {"w": T, "lr": 0.5}}
    )
    assert list(tensors) == ["w", "deep.w"]
    assert others == {
        "epoch": "int 3",
        "name": "str 'net\\x1b'",
        "none": "None",
        "sizes": "dict of 2",
        "deep.lr": "float 0.5",
    }


# Where the state_dict is


def test_takes_a_root_that_holds_a_tensor_directly():
    assert _keys({"w": T, "state": {"a": T, "n": 1}, "epoch": 3}) == ["w", "state.a"]


def test_takes_a_root_that_holds_nothing_but_tensors():
    assert _flat({"enc": {"w": T}, "dec": [{"w": T}], "none": {}})[0].keys() == {"enc.w", "dec.0.w"}


def test_numbers_a_list_of_tensors_below_its_only_name():
    assert _keys({"weights": [T, T]}) == ["weights.0", "weights.1"]
    assert _keys({"weights": (T, {"b": T})}) == ["weights.0", "weights.1.b"]


def test_does_not_guess_that_the_only_name_of_the_root_belongs_to_the_keys():
    assert _refusal({"model": {"w": T, "b": T}}) == (
        'expected a state_dict, found `model` (2 tensors)\n  Pass top_level_key="model".'
    )


@pytest.mark.parametrize("key", ["a", ["a"], ("a",), ["b", "c"], ["b", "0", "x"], ["1"], ["c"]])
def test_takes_what_stands_under_the_key_or_keys(key):
    part = {"w": T}
    tree = {"a": part, "b": {"c": part, 0: [part], "0": {"x": part}}, 1: part, b"c": part, "epoch": 3}
    assert _keys(tree, key) == ["w"]


def test_takes_a_list_item_by_its_number():
    assert _keys([3, {"w": T}], "1") == ["w"]


def test_says_which_line_to_add_where_one_child_is_a_state_dict():
    tree = {"epoch": 3, "dims": {"n": 1}, "model_state_dict": {f"{i}.w": T for i in range(167)}}
    assert _refusal(tree) == (
        "expected a state_dict, found `dims` (dict), `epoch` (int), `model_state_dict` (167 tensors)\n"
        '  Pass top_level_key="model_state_dict".'
    )


def test_names_all_state_dicts_where_there_are_two():
    tree = {"model": {"w": T}, "ema": {"w": T}, "optimizer": {"state": {0: {"m": T}}, "lr": 0.1}}
    assert _refusal(tree) == (
        "expected a state_dict, found `ema` (1 tensor), `model` (1 tensor), `optimizer` (dict)\n"
        "  Set top_level_key to one of `model`, `ema`."
    )


def test_never_suggests_a_key_that_is_cut():
    long = "x" * 300
    shown = f"`{long[:77]}...`"
    assert _refusal({long: {"w": T}, "epoch": 3}) == (
        f"expected a state_dict, found `epoch` (int), {shown} (1 tensor)\n  Set top_level_key to {shown}."
    )
    innermost: Any = {"w": T}
    deep = functools.reduce(lambda inner, key: {key: inner}, "abcdef", innermost)
    assert _refusal({"g": deep, "epoch": 3}).endswith('Pass top_level_key=["g", "f", "e", "d", "c", "b", "a"].')


def test_never_suggests_an_empty_key_which_no_option_can_name():
    rest = "expected a state_dict, found `` (1 tensor), `epoch` (int)"
    unnamed = "Set top_level_key to the key, or the list of nested keys, that holds the tensors."
    assert _refusal({"": {"w": T}, "epoch": 3}) == f"{rest}\n  {unnamed}"
    assert _refusal({"net": {"": {"w": T}}, "epoch": 3}).endswith('Pass top_level_key="net".')


def test_suggests_a_child_with_other_values_only_where_there_is_no_pure_one():
    assert _refusal({"model": {"w": T, "n": 1}, "epoch": 3}).endswith('Pass top_level_key="model".')


def test_lists_the_first_eight_keys_and_counts_the_rest():
    refusal = _refusal({"epoch": 1, **{f"k{i:02}": i for i in range(9)}, "x": {"y": {"w": {T: 1}}, "n": 1}})
    assert "`k06` (int) and 3 more.\n" in refusal
    assert refusal.endswith('Save tensors in a dict: torch.save({"weight": tensor}, "model.pt")')


@pytest.mark.parametrize("wrapper", [{}, {"epoch": 3}], ids=["pure", "with other values"])
def test_gives_the_whole_path_of_nested_wrappers(wrapper):
    tree = {"checkpoint": {"model": {"state_dict": {"w": T, "b": T}, **wrapper}, **wrapper}}
    assert _refusal(tree).endswith('\n  Pass top_level_key=["checkpoint", "model", "state_dict"].')
    assert _refusal({**tree, "args": Opaque("argparse", "Namespace")}).endswith('"state_dict"].')


def test_never_takes_the_state_of_an_optimizer_for_a_model():
    optimizer = {"state": {0: {"exp_avg": T}}, "param_groups": [{"lr": 0.1}]}
    assert _refusal({"model": {"net": {"w": T}}, "optimizer": optimizer, "epoch": 3}) == (
        "expected a state_dict, found `epoch` (int), `model` (1 tensor), `optimizer` (state of an optimizer)\n"
        '  Pass top_level_key=["model", "net"].'
    )
    assert _keys({"optimizer": optimizer}, ["optimizer", "state"]) == ["0.exp_avg"]


OPTIMIZER = {"state": {0: {"exp_avg": T}}, "param_groups": [{"lr": 0.1}]}
SCHEDULER = {"base_lrs": [0.1], "last_epoch": 3, "_last_lr": [0.1]}


@pytest.mark.parametrize(
    ("tree", "found"),
    [
        (OPTIMIZER, "the state of an optimizer"),
        (SCHEDULER, "the state of a scheduler"),
        ([OPTIMIZER, OPTIMIZER], "the states of optimizers"),
        ({"optimizer": OPTIMIZER}, "the state of an optimizer (`optimizer`) and no model"),
        ({"optimizer": OPTIMIZER, "epoch": 3}, "the state of an optimizer (`optimizer`) and no model"),
        ({"opt": {"state": {}, "param_groups": [{}]}}, "the state of an optimizer (`opt`) and no model"),
        (
            {"o": [OPTIMIZER], "s": [SCHEDULER, SCHEDULER]},
            "the state of an optimizer (`o`), the states of schedulers (`s`) and no model",
        ),
        ({"optimizers": {"g": OPTIMIZER, "d": OPTIMIZER}}, "the states of optimizers (`optimizers`) and no model"),
        (
            Opaque("torch.optim.adam", "Adam", state={"state": {}, "param_groups": []}),
            "a whole optimizer (`torch.optim.adam.Adam`)",
        ),
        (
            Opaque("torch.optim.lr_scheduler", "StepLR", state={"last_epoch": 3}),
            "a whole scheduler (`torch.optim.lr_scheduler.StepLR`)",
        ),
    ],
    ids=str,
)
def test_says_that_only_the_state_of_training_is_there(tree, found):
    assert _refusal(tree) == (
        f"expected a state_dict, found {found}\n"
        '  Save the model itself where torch is installed: torch.save(model.state_dict(), "model.pt")'
    )


def test_the_state_of_random_numbers_beside_a_model_does_not_make_the_root_one():
    random = sealed("uint8", (5056,))
    saved = {"model": {"w": T}, "optimizer": OPTIMIZER, "epoch": 3, "rng_state": random}
    assert _refusal(saved) == (
        "expected a state_dict, found `epoch` (int), `model` (1 tensor), `optimizer` (state of an optimizer), "
        "`rng_state` (tensor)\n"
        '  Pass top_level_key="model".'
    )
    assert _keys(saved, "model") == ["w"]
    assert _keys({"w": random, "step": 3}) == ["w"]  # bytes are weights where nothing else could be meant
    assert _keys({"w": random, "model": {"w": T}}) == ["w", "model.w"]  # nothing but tensors
    assert _keys({"w": T, "rng_state": random, "model": {"w": T}, "step": 3}) == ["w", "rng_state", "model.w"]


def test_a_loss_beside_a_model_and_an_optimizer_does_not_make_the_root_one():
    loss = sealed("float32", ())
    saved = {"epoch": 3, "model_state_dict": {"w": T}, "optimizer_state_dict": OPTIMIZER, "loss": loss}
    assert _refusal(saved) == (
        "expected a state_dict, found `epoch` (int), `loss` (tensor), `model_state_dict` (1 tensor), "
        "`optimizer_state_dict` (state of an optimizer)\n"
        '  Pass top_level_key="model_state_dict".'
    )
    assert _keys({"logit_scale": loss, "text": {"w": T}, "step": 3}) == ["logit_scale", "text.w"]  # no optimizer
    assert "head" in _keys({"head": T, "model": {"w": T}, "optimizer": OPTIMIZER})  # more than a number


@pytest.mark.parametrize(
    "training",
    [
        {"optimizer_states": [OPTIMIZER]},
        {"optimizers": {"generator": OPTIMIZER, "discriminator": OPTIMIZER}},
        {"scheduler": SCHEDULER},
        {"optimizer": {"state": {}, "param_groups": [{}]}, "cuda_rng_state": [sealed("uint8", (16,))]},
    ],
    ids=str,
)
@pytest.mark.parametrize("shape", [(), (1,)])
def test_however_the_state_of_training_is_kept_the_model_beside_it_is_meant(training, shape):
    saved = {"model": {"w": T}, "loss": sealed("float32", shape), "epoch": 3, **training}
    assert _refusal(saved).endswith('Pass top_level_key="model".')


def test_quantised_weights_are_no_state_of_a_generator():
    parts = {"packed": {"w": sealed("uint8", (4, 1))}, "scales": {"w": T}}
    assert "Pass top_level_key" not in _refusal({**parts, "epoch": 3})
    assert "`packed`, `scales`" in _refusal({**parts, "epoch": 3})


def test_a_list_under_many_names_is_looked_at_once():
    states = [OPTIMIZER] * 20_000
    names: dict[str, Any] = {f"n{i}": states for i in range(20_000)}
    assert "the states of optimizers (`n0`)" in _refusal(names)


def test_a_module_of_the_optimizers_package_is_a_model():
    averaged = Opaque(
        "torch.optim.swa_utils", "AveragedModel", state={"_parameters": {"w": T}, "_buffers": {}, "_modules": {}}
    )
    assert _keys(averaged, whole_model=True) == ["w"]


def test_what_can_be_a_model_is_not_passed_over_for_the_state_of_training():
    assert _refusal({"optimizer": OPTIMIZER, "net": {"w": T}}) == (
        "expected a state_dict, found `net` (1 tensor), `optimizer` (state of an optimizer)\n"
        '  Pass top_level_key="net".'
    )
    assert _refusal({"optimizer": OPTIMIZER, "scheduler": SCHEDULER, "net": Opaque("mine", "Net")}) == (
        "expected a state_dict, found `net` (`mine.Net`), `optimizer` (state of an optimizer), "
        "`scheduler` (state of a scheduler)\n"
        "  Set top_level_key to the key, or the list of nested keys, that holds the tensors."
    )


def test_names_the_near_key_where_the_top_level_key_is_missing():
    tree = {"epoch": 3, "dims": {"n": 1}, "model_state_dict": {"w": T}}
    assert _refusal(tree, "state_dict") == (
        "expected top-level key `state_dict`, found `dims` (dict), `epoch` (int), `model_state_dict` (1 tensor)\n"
        '  Did you mean top_level_key="model_state_dict"?'
    )


@pytest.mark.parametrize(
    ("key", "message"),
    [
        pytest.param(
            ["a", "x"],
            'expected top-level key `x` below `a`, found `b` (1 tensor), `n` (int)\n  Pass top_level_key=["a", "b"].',
            id="nested",
        ),
        pytest.param(
            "a.b",
            'expected top-level key `a.b`, found `a` (dict), `t` (tensor)\n  Did you mean top_level_key=["a", "b"]?',
            id="dotted instead of a list",
        ),
        pytest.param(
            ["a", "n", "x"],
            "expected top-level key `x` below `a.n`, found int\n"
            "  Set top_level_key to the key, or the list of nested keys, that holds the tensors.",
            id="below a number",
        ),
        pytest.param(
            "t",
            "expected a state_dict under `t`, found a single tensor\n  Set top_level_key to the dict that holds it.",
            id="a tensor",
        ),
        pytest.param(
            ["a", "n"],
            "expected a state_dict under `a.n`, found int without any tensor\n"
            "  Set top_level_key to the part that holds the tensors.",
            id="a number",
        ),
    ],
)
def test_says_how_far_the_keys_lead(key, message):
    assert _refusal({"a": {"b": {"w": T}, "n": 1}, "t": T}, key) == message


@pytest.mark.parametrize(
    ("tree", "message"),
    [
        (
            T,
            (
                "expected a state_dict, found a single tensor\n"
                "  The tensor itself is `open_checkpoint(...).tree`.\n"
                '  Save tensors in a dict: torch.save({"weight": tensor}, "model.pt")'
            ),
        ),
        (
            3,
            (
                "expected a state_dict, found int without any tensor\n"
                '  Save tensors in a dict: torch.save({"weight": tensor}, "model.pt")'
            ),
        ),
        (
            {"epoch": 3},
            (
                "expected a state_dict, found dict without any tensor\n"
                "  It holds `epoch` (int).\n"
                '  Save tensors in a dict: torch.save({"weight": tensor}, "model.pt")'
            ),
        ),
        (
            Opaque("my.thing", "Box"),
            (
                "expected a state_dict, found `my.thing.Box`\n"
                "  No code from the file is run, so the class cannot be rebuilt here.\n"
                '  Save it again where torch is installed: torch.save(model.state_dict(), "model.pt")'
            ),
        ),
    ],
)
def test_rejects_a_root_that_holds_no_state_dict(tree, message):
    assert _refusal(tree) == message


# Objects of unknown classes


class_of = functools.partial(Opaque, "mine")


def _subclass(**items):
    return class_of("AttributeDict", items=list(items.items()), keyed=True)


def test_takes_objects_of_subclasses_of_dict_and_list_for_what_they_are():
    assert _keys(_subclass(w=T, b=_subclass(w=T))) == ["w", "b.w"]
    assert _keys({"state_dict": _subclass(w=T), "step": 3}, "state_dict") == ["w"]
    assert _keys({"w": T, "layers": class_of("Layers", items=[{"w": T}, {"w": T}])}) == [
        "w",
        "layers.0.w",
        "layers.1.w",
    ]


def test_says_which_key_leads_to_a_subclass_of_dict():
    assert _refusal({"state_dict": _subclass(w=T), "step": 3}).endswith('\n  Pass top_level_key="state_dict".')


NUMBERS = dict.fromkeys(map(str, range(400)), 0)
EMA = class_of("Ema", state={"shadow": {"w": T}, "decay": 0.9})
SLOTS = class_of("Slotted", state=(None, {"params": {"w": T}}))
FIELDS = class_of("Fields", args=(3, {"w": T}))


@pytest.mark.parametrize(
    ("tree", "key"),
    [
        ({"ema": EMA}, ["ema", "shadow"]),
        (EMA, "shadow"),
        ({"learner": class_of("Learner", state={"ema": EMA})}, ["learner", "ema", "shadow"]),
        (SLOTS, "params"),
        ({"a": SLOTS}, ["a", "params"]),
        ({"named": FIELDS}, ["named", "1"]),
        ({"params": class_of("Params", state={"w": T})}, "params"),
    ],
    ids=range(7),
)
def test_a_key_leads_into_objects(tree, key):
    assert _keys(tree, key) == ["w"]


def test_an_object_at_the_root_needs_a_key():
    assert _refusal(class_of("Params", state={"w": T, "fitted": True})) == (
        "expected a state_dict, found `mine.Params`\n"
        "  It holds `fitted` (bool), `w` (tensor).\n"
        "  No code from the file is run, so the class cannot be rebuilt here.\n"
        '  Save it again where torch is installed: torch.save(model.state_dict(), "model.pt")'
    )


@pytest.mark.parametrize(("tree", "key"), [([{"w": T}, 3], "0"), ({"m": ({"w": T}, 3)}, ["m", "0"])])
def test_a_key_leads_into_lists_and_is_found_there(tree, key):
    assert _keys(tree, key) == ["w"]
    shown = f'"{key}"' if isinstance(key, str) else '["m", "0"]'
    assert _refusal(tree).endswith(f"  Pass top_level_key={shown}.")


def test_takes_the_attributes_of_the_object_that_a_key_leads_to():
    assert _keys({"ema": EMA}, "ema") == ["shadow.w"]


def test_a_key_leads_into_modules_and_to_them():
    learner = class_of("Learner", state={"model": NET, "cbs": [1]})
    assert _keys(learner, "model", whole_model=True) == ["scale", "mean", "fc.weight", "fc.bias"]
    assert _keys({"l": learner}, ["l", "model", "fc"], whole_model=True) == ["weight", "bias"]
    assert _refusal(learner).splitlines() == [
        "expected a state_dict, found `mine.Learner`",
        "  It holds `cbs` (list), `model` (whole model `mynet.models.Net`).",
        "  No code from the file is run, so the class cannot be rebuilt here.",
        '  Pass top_level_key="model" and whole_model=True.',
    ]


def test_says_what_an_object_holds_where_the_key_is_missing():
    assert _refusal({"ema": EMA}, ["ema", "shadows"]) == (
        "expected top-level key `shadows` below `ema`, found `decay` (float), `shadow` (1 tensor)\n"
        '  Did you mean top_level_key=["ema", "shadow"]?'
    )


def test_leaves_out_values_that_are_no_tensors_though_python_has_classes_for_them():
    values = {
        "dtype": Global("torch", "float32"),
        "device": Opaque("torch", "device", ("cuda", 0)),
        "path": Opaque("pathlib", "PosixPath", ("a",)),
        "date": Opaque("datetime", "datetime", (b"x",)),
        "names": Opaque("numpy.core.multiarray", "_reconstruct", ()),
    }
    assert _keys({"w": T, **values}) == ["w"]


def test_leaves_objects_outside_of_the_part_alone():
    assert _keys({"model": {"w": T}, "args": Opaque("argparse", "Namespace", (), {"lr": 1})}, "model") == ["w"]


# Whole models


def test_rejects_a_whole_pickled_model_and_names_its_class():
    assert _refusal(NET) == (
        "expected a state_dict, found a whole pickled model (`mynet.models.Net`)\n"
        "  No code from the file is run, so the class cannot be rebuilt here.\n"
        "  Its parameters can be taken without running any: whole_model=True.\n"
        '  Save it again where torch is installed: torch.save(model.state_dict(), "model.pt")'
    )


def test_rebuilds_the_names_of_a_whole_model():
    expected = ["scale", "mean", "fc.weight", "fc.bias"]
    assert _keys(NET, whole_model=True) == expected
    assert _keys({"model": NET, "epoch": 3}, "model", whole_model=True) == expected
    assert _keys({"model": NET, "epoch": 3}, ["model", "fc"], whole_model=True) == ["weight", "bias"]
    assert _keys({"w": T, "net": NET}, whole_model=True) == ["w", *(f"net.{key}" for key in expected)]


def test_takes_all_buffers_of_models_from_before_non_persistent_ones():
    assert _keys(_module(buffers={"mean": T, "cache": T}), whole_model=True) == ["mean", "cache"]


def test_rejects_a_whole_model_inside_of_a_checkpoint():
    tree = {"model": NET, "epoch": 3}
    assert _refusal(tree) == (
        "expected a state_dict, found `epoch` (int), `model` (whole model `mynet.models.Net`)\n"
        '  Pass top_level_key="model" and whole_model=True.'
    )
    assert _refusal(tree, whole_model=True).endswith('\n  Pass top_level_key="model".')
    assert _refusal(tree, "model").startswith(
        "expected a state_dict under `model`, found a whole pickled model (`mynet.models.Net`)\n"
    )
    assert _refusal({"w": sealed(), "net": NET}).startswith(
        "expected a state_dict at `net`, found a whole pickled model (`mynet.models.Net`)\n"
    )


def test_rejects_a_model_without_parameters():
    assert _refusal(_module(), whole_model=True).startswith(
        "expected a state_dict, found whole model `mynet.models.Net` without any tensor\n"
    )


def test_rejects_an_unknown_object_among_the_modules():
    tree = _module(parameters={"w": T}, modules={"odd": Opaque("a", "Lazy")})
    assert _refusal(tree, whole_model=True).startswith(
        "expected every tensor under a key of its own, found `odd` (`a.Lazy`)\n"
    )


def test_takes_a_module_that_fx_traced_by_its_dict():
    state = {"_parameters": {"w": T}, "_buffers": {}, "_modules": {"fc": NET.state["_modules"]["fc"]}, "_code": "x"}
    graph = Opaque("torch.fx.graph_module", "reduce_graph_module", (state, "import torch"))
    assert _keys(graph, whole_model=True) == ["w", "fc.weight", "fc.bias"]
    assert _refusal(graph).startswith("expected a state_dict, found a whole pickled model (`torch.fx.graph_module.")


# Trees built to hurt


def _nested(depth: int, innermost):
    for _ in range(depth):
        innermost = [innermost]
    return innermost


def test_rejects_a_tree_that_is_one_level_too_deep():
    assert _keys(_nested(MAX_DEPTH, T)) == [".".join("0" * MAX_DEPTH)]
    assert "more than 200 levels deep" in _refusal(_nested(MAX_DEPTH + 1, T))


@pytest.mark.parametrize("innermost", [T, 1], ids=["tensor", "number"])
def test_rejects_a_tree_of_five_thousand_levels(innermost):
    assert _refusal({"w": T, "deep": _nested(5000, innermost)}).startswith(
        "the value at `deep.0.0.0.0.0.0.0` is part of"
    )


def test_leaves_deep_and_cyclic_values_outside_of_the_part_alone():
    cycle: list[object] = []
    cycle.append(cycle)
    assert _keys({"model": {"w": T}, "deep": _nested(5000, 1), "cycle": cycle}, "model") == ["w"]


def test_rejects_depth_that_shared_nodes_add_up():
    node = T
    tree = []
    for _ in range(10):
        node = _nested(MAX_DEPTH - 20, node)
        tree.append(node)
    assert "levels deep" in _refusal(tree)


@pytest.mark.parametrize("kind", [list, dict])
def test_rejects_a_tree_that_holds_itself(kind):
    inner: Any = [T] if kind is list else {"w": T}
    inner.append(inner) if kind is list else inner.update(me=inner)
    name = "1" if kind is list else "me"
    assert _refusal({"a": inner, "b": T}).startswith(f"the value at `a.{name}` holds itself\n")


def test_rejects_an_exponential_number_of_paths_at_once():
    node: Any = [T]
    for _ in range(60):
        node = [node, node]
    assert _refusal(node) == "expected at most 10,000 tensors, found 1,152,921,504,606,846,976"


def test_drops_an_exponential_number_of_paths_to_nothing():
    node: list[object] = []
    for _ in range(60):
        node = [node, node]
    tensors, others = _flat({"w": T, "laughs": node})
    assert (list(tensors), others) == (["w"], {"laughs": "list of 2"})


def test_drops_an_exponential_number_of_paths_to_unknown_objects():
    node: list[object] = [Opaque("a", "B")]
    for _ in range(60):
        node = [node, node]
    assert _keys({"w": T, "laughs": node}) == ["w"]


def test_drops_an_exponential_number_of_paths_to_modules_without_parameters():
    node = _module()
    for _ in range(60):
        node = _module(modules={"a": node, "b": node})
    assert _keys(_module(parameters={"w": T}, modules={"laughs": node}), whole_model=True) == ["w"]


def test_allows_shared_dicts_sixteen_keys_for_every_name_in_the_file():
    shared = {f"{i}": T for i in range(1000)}
    assert len(_keys([shared] * MAX_KEYS_PER_NAME)) == 16_000
    assert _refusal([shared] * (MAX_KEYS_PER_NAME + 1)).startswith("expected at most 16,000 tensors, found 17,000")


def test_rejects_a_key_past_the_limit_by_one_character():
    half = "a" * (MAX_KEY_CHARACTERS // 2)
    assert len(_keys({half: {half[1:]: T}, "b": T})[0]) == MAX_KEY_CHARACTERS
    assert _refusal({half: {half: T}, "b": T}).endswith(" has more than 4,096 characters")


def test_charges_names_for_their_parts_and_their_length():
    def charged(tree):
        account = Account(1 << 20)
        flatten(select(tree, None, Account(1 << 20), whole_model=False), account)
        return account.steps, account.nbytes

    plain = charged({"a": T})
    assert charged({"a": T, "b": T}) == (2 * plain[0], 2 * plain[1])
    assert charged({"a": {"a": T}, "b": T})[0] > charged({"aa": T, "b": T})[0]
    assert charged({"a" * 4000: T})[0] > plain[0] + 4000 // 100
    assert charged({"a": T, "n": 1}) == (plain[0] + 2, plain[1] + BYTES_PER_BESIDE + 1)


def test_refuses_more_names_than_a_file_of_this_size_may_have():
    deep: dict[str, Any] = {"0.1.2.3": T}
    for i in range(40):
        deep = {f"{i}.{i}.{i}": deep, "w": T}
    shared = [deep] * 15
    account = Account(0)
    account.max_nbytes = 1 << 20
    with pytest.raises(CheckpointError) as caught:
        flatten(select({"w": T, "x": shared}, None, Account(1 << 20), whole_model=False), account)
    assert str(caught.value) == (
        "asks for more memory than a file of 0 bytes may take\n"
        "  Save it again with torch, as a state_dict: no checkpoint needs that much."
    )


def test_rejects_tensors_in_a_set_and_under_keys_that_are_no_names():
    assert _refusal({"w": T, "set": {T}}).startswith(
        "expected tensors in a dict, list or tuple, found a set of them at `set`"
    )
    assert _refusal({"w": T, (1, 2): T}) == "expected text or numbers as keys of tensors, found `tuple` at ['<tuple>']"
    assert _flat({"w": T, (1, 2): 2})[1] == {"<tuple>": "int 2"}


def test_names_numbers_truth_and_none_as_python_prints_them():
    assert _keys({"w": T, 1.5: T, True: T, None: T}) == ["w", "1.5", "True", "None"]


def test_escapes_and_cuts_what_a_file_calls_its_keys():
    refusal = _refusal({"\x1b[31m" + "k" * 5000: {"w": T}, "n": 1})
    assert all(line.isprintable() and len(line) < 300 for line in refusal.splitlines())


@pytest.mark.parametrize(
    "tree",
    [
        pytest.param([_module(parameters=dict.fromkeys(map(str, range(400)))) for _ in range(400)], id="names of None"),
        pytest.param({str(i): class_of("Thing", state=NUMBERS) for i in range(400)}, id="objects of one state"),
    ],
)
def test_charges_every_name_that_it_looks_at(tree):
    account = Account(0)
    account.max_steps = 100_000
    with pytest.raises(CheckpointError, match="asks for more work"):
        select(tree, None, account, whole_model=True)


def test_looks_at_a_dict_of_many_names_once():
    account = Account(0)
    account.max_steps = 5_000
    optimizer: dict[str, Any] = {"state": {}, "param_groups": []}
    many = {str(i): optimizer for i in range(1000)}
    with pytest.raises(CheckpointError, match="expected a state_dict"):
        select(dict.fromkeys(map(str, range(1000)), many), None, account, whole_model=True)
