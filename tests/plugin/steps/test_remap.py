"""Rules of key-remap: Burn's order, Rust's replacements, and no key lost in silence.

The expected outcomes of replacements were made with Rust's regex crate (through polars 2.1, `str.replace_all`).
"""

from __future__ import annotations

import re

import pytest
from hypothesis import assume, given
from hypothesis import strategies as st

from hatch_wheelweights.steps.remap import MAX_KEY_CHARACTERS, parse_rule, parse_rules, remap_keys
from hatch_wheelweights.errors import ConfigError, RemapError


def _remap(keys, *rules):
    warnings: list[str] = []
    faults: list[str] = []
    names = remap_keys(keys, parse_rules(rules, faults), warn=warnings.append)
    assert faults == []
    return names, warnings


def _refusal(keys, *rules) -> str:
    with pytest.raises(RemapError) as caught:
        _remap(keys, *rules)
    return str(caught.value)


# Replacing


@pytest.mark.parametrize(
    ("pattern", "replacement", "text", "expected"),
    [
        ("(.*)", "m.$1", "abc", "m.abc"),
        ("x*", "-", "abxc", "-a-b-c-"),
        ("x*", "-", "xx", "-"),
        ("x*", "-", "", "-"),
        ("a|", "-", "ba", "-b-"),
        ("|a", "-", "ab", "-a-b-"),
        (r"\b", "|", "ab cd", "|ab| |cd|"),
        ("(a)|b", "[$1]", "ab", "[a][]"),
        ("(a)?b", "[$1]", "b", "[]"),
        ("(a|ab)(c|bcd)", "$1,$2", "abcd", "a,bcd"),
        ("(?:(a)|b)*", "[$1]", "ab", "[a]"),
        ("(a)", "${1}_x", "a", "a_x"),
        ("(a)", "$1.x", "a", "a.x"),
        ("(a)", "$1-1", "a", "a-1"),
        ("(a)", "$01", "a", "a"),
        ("(?P<n>a)", "$n!", "a", "a!"),
        ("(?<n>a)", "${n}$n$0", "a", "aaa"),
        ("(a)", "$$1", "a", "$1"),
        ("(a)", "$$$1$$", "a", "$a$"),
        ("(a)", "$", "a", "$"),
        ("(a)", "$ $", "a", "$ $"),
        ("(a)", "$-1", "a", "$-1"),
        ("(a)", "$é", "a", "$é"),
        ("(a)", "${1}}", "a", "a}"),
        ("$", "-", "ab\n", "ab\n-"),
        (".", "-", "é\U0001f600", "--"),
        ("é*", "-", "aéb", "-a-b-"),
        ("^", "-", "aa", "-aa"),
        (r"\z", "-", "ab", "ab-"),
    ],
)
def test_replaces_every_match_as_rust_does(pattern, replacement, text, expected):
    assert parse_rule(pattern, replacement).apply(text) == expected


def test_tells_a_key_without_a_match_from_one_that_is_replaced_by_itself():
    assert parse_rule("b", "b").apply("a") is None
    assert parse_rule("a", "a").apply("a") == "a"


@given(st.text("abx.", max_size=12), st.sampled_from(["a", "ab?", "[ax]b", "(a|x)+", r"\.", "^a", "b$"]))
def test_agrees_with_python_where_no_match_is_empty(text, pattern):
    assert (parse_rule(pattern, "<$0>").apply(text) or text) == re.sub(pattern, r"<\g<0>>", text)


# Faults of a rule


def _fault(pattern, replacement) -> tuple[str | None, str]:
    with pytest.raises(ConfigError) as caught:
        parse_rule(pattern, replacement)
    return caught.value.path, caught.value.errors[0]


def test_rejects_the_group_that_a_missing_brace_makes():
    assert _fault("layer(.)", "block.$1_x") == (
        "replacement",
        "unknown group `1_x` at position 6\n    block.$1_x\n          ^\n  Write ${1}_x",
    )


@pytest.mark.parametrize(
    ("replacement", "fact", "remedy"),
    [
        ("$2", "unknown group `2` at position 0", "Name one of the pattern's groups: 0, 1, n; or write $$"),
        ("a${m}", "unknown group `m` at position 1", "Name one of the pattern's groups: 0, 1, n; or write $$"),
        ("${}", "unknown group `` at position 0", "Name one of the pattern's groups:"),
        ("${1 }", "unknown group `1 ` at position 0", "Name one of the pattern's groups:"),
        ("$nx", "unknown group `nx` at position 0", "Write ${n}x"),
        ("$10", "unknown group `10` at position 0", "Write ${1}0"),
        ("$99999999999999999999", "unknown group `99999999999999999999` at position 0", "Name one"),
        ("${1", "missing }, unterminated group name at position 0", "Close the name, or write $${"),
        (r"m.\1", r"`\1` is no group at position 2", "Write $1 for the first group"),
        (r"\g<n>", r"`\g` is no group at position 0", "Write $1 for the first group"),
    ],
)
def test_rejects_a_replacement_that_names_no_group(replacement, fact, remedy):
    path, error = _fault("(?P<n>a)", replacement)
    lines = error.splitlines()
    assert (path, lines[0]) == ("replacement", fact)
    assert lines[-1].startswith(f"  {remedy}")


def test_says_which_half_of_a_rule_is_at_fault():
    assert _fault("(", "x")[0] == "pattern"
    assert _fault(1, "x") == ("pattern", "expected a string, found int")
    assert _fault("a", None) == ("replacement", "expected a string, found NoneType")


def test_takes_rules_as_tables_pairs_and_objects_and_gathers_their_faults():
    class Both:
        pattern = "a"
        replacement = "b"

    faults: list[str] = []
    rules = [{"pattern": "a", "replacement": "b"}, ("a", "b"), ["a", "b"], Both(), parse_rule("a", "b")]
    parsed = parse_rules([*rules, ("a", "$1"), ("(", ""), {"pattern": "a"}], faults)
    assert [(rule.pattern, rule.replacement) for rule in parsed] == [("a", "b")] * 5
    assert [fault.splitlines()[0] for fault in faults] == [
        "key_remap[5].replacement: unknown group `1` at position 0",
        "key_remap[6].pattern: missing ), unterminated subpattern at position 0",
        "key_remap[7]: expected a pattern and a replacement",
    ]


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
        "  By key-remap[1]: `^(enc|dec)\\.` -> ``\n"
        "  Make the pattern more exact, so that every tensor keeps a name of its own."
    )


def test_rejects_a_key_that_becomes_another_that_no_rule_touches():
    assert _refusal(["a.w", "b.w"], ("^a", "b")).startswith("`a.w` and `b.w` both become `b.w`\n  By key-remap[0]: ")


def test_rejects_a_key_that_becomes_the_prefix_of_another():
    assert _refusal(["a", "w.scale"], ("^a$", "v"), ("^v$", "w")) == (
        "`a` becomes `w`, the prefix of `w.scale` (from `w.scale`)\n"
        "  By key-remap[1]: `^v$` -> `w`\n"
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
            r"key-remap[0] matches nothing: `encodr\.(\d)\.weight` -> `$1`; "
            "the nearest keys are `encoder.0.weight`, `decoder.0.weight`, `encoder.0.bias`"
        )
    ]


def test_warns_of_a_rule_that_an_earlier_one_left_nothing():
    _, warnings = _remap(["a"], ("a", "b"), ("a", "c"))
    assert warnings == ["key-remap[1] matches nothing: `a` -> `c`; the nearest keys are `b`"]


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
