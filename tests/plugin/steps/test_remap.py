"""Renaming by the rules of key-remap: Burn's order, and no key lost in silence."""

from __future__ import annotations

import pytest
from hypothesis import assume, given
from hypothesis import strategies as st

from hatch_wheelweights.errors import RemapError
from hatch_wheelweights.options.rules import parse_rule
from hatch_wheelweights.steps.remap import MAX_KEY_CHARACTERS, remap_keys


def _remap(keys, *rules):
    warnings: list[object] = []
    names = remap_keys(keys, [parse_rule(*rule) for rule in rules], warn=warnings.append)
    return names, [str(warning) for warning in warnings]


def _refusal(keys, *rules) -> str:
    with pytest.raises(RemapError) as caught:
        _remap(keys, *rules)
    return str(caught.value)


# Renaming


def test_chains_rules_in_order_as_in_burns_test():
    keys = [
        "conv.weight",
        "layer.0.block.0.weight",
        "layer.0.block.1.bias",
        "layer.1.block.0.weight",
    ]
    names, warnings = _remap(
        keys,
        (r"(.+)\.block\.0\.(.+)", "$1.conv.$2"),
        (r"(.+)\.block\.1\.(.+)", "$1.bn.$2"),
        (r"layer\.([0-9])\.(.+)", "layer.blocks.$1.$2"),
    )
    assert names == {
        "conv.weight": "conv.weight",
        "layer.0.block.0.weight": "layer.blocks.0.conv.weight",
        "layer.0.block.1.bias": "layer.blocks.0.bn.bias",
        "layer.1.block.0.weight": "layer.blocks.1.conv.weight",
    }
    assert list(names) == keys
    assert warnings == []


def test_allows_two_keys_to_swap_their_names():
    names, _ = _remap(["a", "b"], ("^a$", "tmp"), ("^b$", "a"), ("^tmp$", "b"))
    assert names == {"a": "b", "b": "a"}


def test_rejects_two_keys_that_end_at_one_name_and_names_the_rule():
    assert _refusal(["x.w", "enc.w", "dec.w"], ("^x", "y"), (r"^(enc|dec)\.", ""), ("w", "v")) == (
        "`enc.w` and `dec.w` both become `v`\n"
        "  By key_remap[1]: `^(enc|dec)\\.` -> ``\n"
        "  Make the pattern more exact, so that every tensor keeps a name of its own."
    )


def test_rejects_a_key_that_becomes_another_that_no_rule_touches():
    assert _refusal(["a.w", "b.w"], ("^a", "b")).startswith("`a.w` and `b.w` both become `b.w`\n  By key_remap[0]: ")


def test_rejects_a_key_that_becomes_the_prefix_of_another():
    assert _refusal(["a", "w.scale"], ("^a$", "v"), ("^v$", "w")) == (
        "`a` becomes `w`, the prefix of `w.scale` (from `w.scale`)\n"
        "  By key_remap[1]: `^v$` -> `w`\n"
        "  Make the pattern more exact, so that no key is the prefix of another."
    )


def test_leaves_a_prefix_that_the_checkpoint_has_itself():
    names, _ = _remap(["m.w", "m.w.absmax", "m.w2"], (r"^m\.", ""))
    assert list(names.values()) == ["w", "w.absmax", "w2"]


def test_warns_of_a_rule_that_matches_nothing_with_the_three_nearest_keys():
    _, warnings = _remap(
        ["encoder.0.weight", "encoder.0.bias", "decoder.0.weight", "x"], (r"encodr\.(\d)\.weight", "$1")
    )
    assert warnings == [
        (
            r"key_remap[0] matches nothing: `encodr\.(\d)\.weight` -> `$1`; "
            "the nearest keys are `encoder.0.weight`, `decoder.0.weight`, `encoder.0.bias`"
        )
    ]


def test_warns_of_a_rule_that_an_earlier_one_left_nothing():
    _, warnings = _remap(["a"], ("a", "b"), ("a", "c"))
    assert warnings == ["key_remap[1] matches nothing: `a` -> `c`; the nearest keys are `b`"]


def test_rejects_a_key_that_grows_past_the_limit_by_one_character():
    key = "a" * (MAX_KEY_CHARACTERS - 1)
    assert len(_remap([key], ("$", "b"))[0][key]) == MAX_KEY_CHARACTERS
    assert "longer than 4,096 characters" in _refusal([key], ("$", "bc"))


KEYS = st.lists(st.text("ab.0", max_size=6), unique=True, max_size=8)
RULES = st.lists(
    st.tuples(
        st.sampled_from(["a", "b$", "^a", "(.)0", r"\.", "(a|b)+", ".*", "b|"]),
        st.sampled_from(["", "a", "${0}b", "b."]),
    ),
    max_size=3,
)


@given(KEYS, RULES)
def test_never_loses_a_key_without_an_error(keys, rules):
    new = _applied(keys, rules)
    if len(set(new)) < len(keys):
        with pytest.raises(RemapError, match="both become"):
            _remap(keys, *rules)
        return
    try:
        names, _ = _remap(keys, *rules)
    except RemapError:
        assume(False)  # a new prefix: the next test's
    assert names == dict(zip(keys, new, strict=True))


def _applied(keys, rules) -> list[str]:
    new = list(keys)
    for rule in rules:
        compiled = parse_rule(*rule)
        new = [key if (applied := compiled.apply(key)) is None else applied for key in new]
    return new


@given(KEYS, RULES)
def test_refuses_every_new_prefix(keys, rules):
    new = dict(zip(keys, _applied(keys, rules), strict=True))
    assume(len(set(new.values())) == len(keys))
    clash = any(new[b].startswith(f"{new[a]}.") and not b.startswith(f"{a}.") for a in keys for b in keys)
    if clash:
        with pytest.raises(RemapError, match="the prefix of"):
            _remap(keys, *rules)
    else:
        assert _remap(keys, *rules)[0] == new
