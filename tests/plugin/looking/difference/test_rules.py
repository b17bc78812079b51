"""Rules of renaming: what they make of a key, whichever of them there are."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from hatch_wheelweights.looking.difference.rules import Rule, Rules, explanations

SEGMENTS = st.sampled_from(["a", "b", "0", "weight"])
KEYS = st.lists(SEGMENTS, min_size=1, max_size=5).map(tuple)
RULES = st.builds(
    Rule,
    st.lists(SEGMENTS, max_size=3).map(tuple),
    st.lists(SEGMENTS, max_size=2).map(tuple),
    st.booleans(),
    st.booleans(),
).filter(lambda rule: bool(rule.old) or rule.at_start or rule.at_end)


def applied(rules: list[Rule], key: tuple[str, ...]) -> tuple[str, tuple[Rule, ...]]:
    """Do what `Rules.applied` does, by trying every rule at every place."""
    made: list[str] = []
    used: list[Rule] = []
    position = 0
    while position <= len(key):
        for rule in sorted(rules, key=lambda rule: -len(rule.old)):
            end = position + len(rule.old)
            fits = key[position:end] == rule.old and end <= len(key) and not (rule.at_start and position)
            if fits and (rule.old or position in (0, len(key))) and not (rule.at_end and end != len(key)):
                made += rule.new
                used.append(rule)
                break
        else:
            end = position
        if end == position:
            made += key[position : position + 1]
            end += 1
        position = end
    return ".".join(made), tuple(used)


@given(st.lists(RULES, max_size=8), KEYS)
def test_the_longest_rule_that_fits_a_place_applies_the_first_of_equally_long_ones(
    rules: list[Rule], key: tuple[str, ...]
) -> None:
    assert Rules(rules).applied(".".join(key)) == applied(rules, key)


@given(KEYS, KEYS)
def test_an_explanation_makes_the_other_key_and_its_inverse_leads_back(
    old: tuple[str, ...], new: tuple[str, ...]
) -> None:
    for rules in explanations(".".join(old), ".".join(new)):
        if len(rules) == 1 and old != new:
            (rule,) = rules
            assert rule.inverse.inverse == rule
            assert rule.inverse.patterns == rule.patterns[::-1]
        if len(rules) == 1 and rules[0].is_whole_key:
            assert Rules(rules).applied(".".join(old))[0] == ".".join(new)
            assert Rules([rules[0].inverse]).applied(".".join(new))[0] == ".".join(old)


def test_thousands_of_long_rules_that_begin_alike_cost_no_more_than_their_keys() -> None:
    """Trying each length at each place would take 10 to the 12th steps here."""
    inside = [Rule(("a",) * i + (f"z{i}",), ("b",), at_start=False, at_end=False) for i in range(2_000)]
    anchored = [Rule(rule.old[::-1], ("b",), at_start=False, at_end=True) for rule in inside]
    key = ".".join(["a"] * 2_000)
    assert Rules([*inside, *anchored]).applied(key) == (key, ())


def test_no_rule_makes_a_key_grow_without_bounds() -> None:
    many = Rule(("a",), ("b",) * 20, at_start=False, at_end=False)
    long = Rule(("a",), ("b" * 2_000,), at_start=False, at_end=False)
    assert len(Rules([many]).applied(".".join(["a"] * 10_000))[0]) < 30_000
    assert Rules([long]).applied("x.a.y") == ("x.a.y", ())
