"""Rules of key-remap: Rust's replacements and empty matches.

The expected outcomes of replacements were made with Rust's regex crate (through polars 2.1, `str.replace_all`).
"""

from __future__ import annotations

import re

import pytest
from hypothesis import given
from hypothesis import strategies as st

from hatch_wheelweights.errors import ConfigError
from hatch_wheelweights.options.rules import parse_rule

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


def _fault(pattern, replacement) -> tuple[str, str]:
    """Return which half of a rule is at fault, and what follows it."""
    with pytest.raises(ConfigError) as caught:
        parse_rule(pattern, replacement)
    (error,) = caught.value.errors
    half, _, text = error.partition(": ")
    return half, text


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
    assert _fault("a", "$1")[0] == "replacement"
