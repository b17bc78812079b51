"""Patterns of the options: Python's `re`, without what would silently mean something else in Burn."""

from __future__ import annotations

import pytest

from hatch_wheelweights.errors import ConfigError
from hatch_wheelweights.options.patterns import parse_pattern


def _fault(pattern: str) -> str:
    with pytest.raises(ConfigError) as caught:
        parse_pattern(pattern)
    (error,) = caught.value.errors
    return error


def test_shows_where_a_group_is_not_closed():
    assert _fault(r"conv(\.(.*)") == (
        "missing ), unterminated subpattern at position 4\n"
        "    conv(\\.(.*)\n"
        "        ^\n"
        "  Close the group, or write \\( to match a literal parenthesis."
    )


@pytest.mark.parametrize(
    ("pattern", "first", "remedy"),
    [
        pytest.param("a)", "unbalanced parenthesis at position 1", "Open the group, or write \\)", id="unbalanced"),
        pytest.param(
            "[a", "unterminated character set at position 0", "Close the class, or write \\[", id="open class"
        ),
        pytest.param("*a", "nothing to repeat at position 0", "Say what is repeated,", id="nothing to repeat"),
        pytest.param("a**", "multiple repeat at position 2", "Say what is repeated,", id="repeated repeat"),
        pytest.param(r"\pL", "bad escape \\p at position 0", "Correct the pattern:", id="Rust's classes"),
        pytest.param(r"a\x{61}", "incomplete escape \\x at position 1", "Correct the pattern:", id="Rust's hex"),
        pytest.param("a{99999999999}", "too large a pattern", "Write a simpler pattern.", id="huge repeat"),
        pytest.param("a++", "`++` is one repetition inside another in Rust", "Write (?:...)+", id="possessive"),
        pytest.param("a{2}+", "`}+` is one repetition inside another in Rust", "Write (?:...)+", id="possessive count"),
        pytest.param(
            "[a-z&&[^b]]", "`&&` in a character class is a set operation", "Put a backslash", id="intersection"
        ),
        pytest.param("[a--b]", "`--` in a character class is a set operation", "Put a backslash", id="difference"),
        pytest.param("[[:alpha:]]", "`[` in a character class is a set operation", "Put a backslash", id="POSIX class"),
        pytest.param(r"\<a", "`\\<` is the start of a word in Rust", "Write \\b,", id="start of word"),
    ],
)
def test_rejects_what_is_no_pattern_or_another_one_in_burn(pattern, first, remedy):
    lines = _fault(pattern).splitlines()
    assert lines[0].startswith(first)
    assert lines[-1].startswith(f"  {remedy}")


def test_points_into_the_pattern_as_it_was_written_although_it_is_translated():
    assert _fault(r"(?<n>a)$\z(").splitlines()[:3] == [
        "missing ), unterminated subpattern at position 10",
        r"    (?<n>a)$\z(",
        "              ^",
    ]


def test_leaves_out_the_excerpt_of_a_pattern_that_a_terminal_would_obey():
    assert _fault("\x1b[31m(").splitlines()[1:] == ["  Close the class, or write \\[ to match a literal bracket."]


@pytest.mark.parametrize(
    ("pattern", "text", "found"),
    [
        pytest.param(r"(?<layer>\d)", "a1", ["1"], id="named group in Rust's short form"),
        pytest.param(r"a\z", "a", ["a"], id="very end in Rust's form"),
        pytest.param("a$", "a\n", [], id="a dollar is the very end"),
        pytest.param("(?m)a$", "a\nb", ["a"], id="a dollar is the end of a line in multi-line mode"),
        pytest.param(r"\$", "a$", ["$"], id="escaped dollar"),
        pytest.param("[$]", "a$", ["$"], id="dollar in a class"),
        pytest.param("[]a]", "]", ["]"], id="bracket first in a class"),
        pytest.param("[^]a]", "]b", ["b"], id="bracket first in a negated class"),
        pytest.param(r"[\[\]]", "[", ["["], id="escaped brackets in a class"),
        pytest.param(r"\++", "++", ["++"], id="repeated literal plus"),
        pytest.param("(?<=a)b", "ab", ["b"], id="look-behind"),
        pytest.param("a??", "a", ["", "a", ""], id="lazy"),
    ],
)
def test_finds_what_both_languages_mean(pattern, text, found):
    assert [match.group() for match in parse_pattern(pattern).finditer(text)] == found
