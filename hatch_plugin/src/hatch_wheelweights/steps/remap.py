"""Renaming keys by rules, as Burn's importer does, without losing one.

Knows the rules: in order, each on the outcome of the earlier ones, each for every match in the whole dotted key.
Replacements have the grammar of Rust's regex crate
(https://docs.rs/regex/latest/regex/struct.Captures.html#method.expand), and so has the treatment of empty matches.
Knows names only, no tensors.
"""

from __future__ import annotations

import difflib
import re
from collections.abc import Mapping
from dataclasses import dataclass
from itertools import islice
from typing import TYPE_CHECKING, Final

from hatch_wheelweights.options.patterns import fault, parse_pattern
from hatch_wheelweights.errors import ConfigError, RemapError
from wheelweights.errors import backticked

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator, Sequence

__all__ = ["MAX_COMPARED_KEYS", "MAX_KEY_CHARACTERS", "Rule", "nearest_keys", "parse_rule", "parse_rules", "remap_keys"]

# Patterns are the packager's, but keys are a file's, and matching can take the square of their length
MAX_KEY_CHARACTERS: Final = 4096
MAX_COMPARED_KEYS: Final = 2000
MAX_COMPARED_CHARACTERS: Final = 200


@dataclass(frozen=True)
class Rule:
    """One rule of key-remap, as written and compiled: `parts` are the replacement's literal texts and group numbers."""

    pattern: str
    replacement: str
    compiled: re.Pattern[str]
    parts: tuple[str | int, ...]

    def apply(self, key: str) -> str | None:
        """Return the key with every match replaced, or None where nothing matches."""
        pieces: list[str] = []
        copied = 0
        for match in _matches(self.compiled, key):
            pieces.append(key[copied : match.start()])
            pieces.extend(part if isinstance(part, str) else match[part] or "" for part in self.parts)
            copied = match.end()
        return "".join([*pieces, key[copied:]]) if pieces else None

    def __str__(self) -> str:
        return f"{backticked(self.pattern)} -> {backticked(self.replacement)}"


def _matches(pattern: re.Pattern[str], text: str) -> Iterator[re.Match[str]]:
    """Yield the matches as Rust does: an empty one right behind another match is skipped."""
    start, last_end = 0, -1
    while start <= len(text) and (match := pattern.search(text, start)):
        if match.start() == match.end() == last_end:
            start += 1
        else:
            yield match
            start = last_end = match.end()


def parse_rule(pattern: object, replacement: object) -> Rule:
    """Check and compile one rule.

    Raises ConfigError with one error, the whole text of the fault; its `path` is `pattern` or `replacement`, whichever
    is at fault.
    """
    try:
        compiled = parse_pattern(pattern)
    except ConfigError as error:
        error.path = "pattern"
        raise
    try:
        return Rule(str(pattern), str(replacement), compiled, tuple(_replacement_parts(replacement, compiled)))
    except ConfigError as error:
        error.path = "replacement"
        raise


def parse_rules(rules: Iterable[object], faults: list[str]) -> list[Rule]:
    """Return the rules of `key_remap`: `Rule`, `{pattern, replacement}` or pairs; every fault is added to `faults`."""
    parsed = []
    for i, rule in enumerate(rules):
        try:
            parsed.append(rule if isinstance(rule, Rule) else parse_rule(*_pattern_and_replacement(rule)))
        except ConfigError as error:
            faults.append(": ".join([f"key_remap[{i}]{'.' + error.path if error.path else ''}", error.errors[0]]))
    return parsed


def _pattern_and_replacement(rule: object) -> tuple[object, object]:
    if isinstance(rule, Mapping) and rule.keys() == {"pattern", "replacement"}:
        return rule["pattern"], rule["replacement"]
    if isinstance(rule, (tuple, list)) and len(rule) == 2:
        return rule[0], rule[1]
    if hasattr(rule, "pattern") and hasattr(rule, "replacement"):
        return rule.pattern, rule.replacement
    raise ConfigError("expected a pattern and a replacement\n  Write { pattern = 'conv\\.(.*)', replacement = '$1' }.")


# A reference is `${...}` or `$` and the longest run of word characters; any other `$` is a dollar sign, as in Rust.
_REFERENCE: Final = re.compile(
    r"\$(?:(?P<dollar>\$)|\{(?P<braced>[^}]*)\}|(?P<bare>[0-9A-Za-z_]+)|(?P<open>\{))|(?P<python>\\(?:[0-9]|g<))"
)


def _replacement_parts(replacement: object, pattern: re.Pattern[str]) -> Iterator[str | int]:
    """Yield the literal text and the group numbers of a replacement; raise ConfigError for an unknown group."""
    if not isinstance(replacement, str):
        raise ConfigError(f"expected a string, found {type(replacement).__name__}")
    copied = 0
    for reference in _REFERENCE.finditer(replacement):
        yield replacement[copied : reference.start()]
        copied = reference.end()
        if reference["dollar"]:
            yield "$"
            continue
        name = reference["bare"] if reference["braced"] is None else reference["braced"]
        group = None if name is None else _group(name, pattern)
        if group is None:
            raise ConfigError(fault(*_bad_reference(reference, name, pattern)))
        yield group
    yield replacement[copied:]


def _group(name: str, pattern: re.Pattern[str]) -> int | None:
    if name.isascii() and name.isdecimal():
        return int(name) if len(name) < 10 and int(name) <= pattern.groups else None
    return pattern.groupindex.get(name)


def _bad_reference(reference: re.Match[str], name: str | None, pattern: re.Pattern[str]) -> tuple[str, str, int, str]:
    """Return the parts of the fault: fact, replacement, position, remedy."""
    text, place = reference.string, reference.start()
    if reference["open"]:
        return "missing }, unterminated group name", text, place, "Close the name, or write $${ for those characters."
    if name is None:
        shown = reference.group()[:2]
        return f"{backticked(shown)} is no group", text, place, "Write $1 for the first group, ${name} for a named one."
    known = max((i for i in range(1, len(name)) if _group(name[:i], pattern) is not None), default=0)
    if reference["bare"] and known:
        remedy = f"Write ${{{name[:known]}}}{name[known:]}"
    else:
        groups = [*map(str, range(pattern.groups + 1)), *pattern.groupindex]
        remedy = f"Name one of the pattern's groups: {', '.join(groups[:20])}; or write $$ for a dollar sign."
    return f"unknown group {backticked(name)}", text, place, remedy


def remap_keys(keys: Iterable[str], rules: Sequence[Rule], *, warn: Callable[[str], object]) -> dict[str, str]:
    """Return the new name of every key, in order.

    `warn` is given a line for every rule that matches nothing. Raises RemapError when two keys end at one name, or when
    a key becomes the prefix of another (`w` and `w.scale`) that was not so before.
    """
    names = {key: key for key in keys}
    for i, rule in enumerate(rules):
        renamed = {key: new for key, name in names.items() if (new := rule.apply(name)) is not None}
        if not renamed:
            near = nearest_keys(rule.pattern, names.values())
            warn(f"key-remap[{i}] matches nothing: {rule}{_nearest_are(near)}")
        for key, name in renamed.items():
            if len(name) > MAX_KEY_CHARACTERS:
                raise RemapError(
                    f"key-remap[{i}] makes {backticked(key)} longer than {MAX_KEY_CHARACTERS:,} characters",
                    details=[f"The rule: {rule}"],
                    remedy="Write a shorter replacement.",
                )
        names |= renamed
    if rules:
        _refuse_collisions(names, rules)
        _refuse_prefixes(names, rules)
    return names


def nearest_keys(pattern: str, keys: Iterable[str]) -> list[str]:
    """Return the (at most) three keys that look most like a pattern, nearest first."""
    text = re.sub(r"\\[AbBdDsSwWzZ]|\(\?P?<\w+>|\(\?:|\\|[][(){}^$*+?|]", "", pattern)
    compared = [key for key in islice(keys, MAX_COMPARED_KEYS) if len(key) <= MAX_COMPARED_CHARACTERS]
    return difflib.get_close_matches(text[:MAX_COMPARED_CHARACTERS], compared, n=3, cutoff=0.0)


def _nearest_are(near: Sequence[str]) -> str:
    return f"; the nearest keys are {', '.join(map(backticked, near))}" if near else ""


def _refuse_collisions(names: Mapping[str, str], rules: Sequence[Rule]) -> None:
    owners: dict[str, str] = {}
    for key, name in names.items():
        first = owners.setdefault(name, key)
        if first != key:
            raise RemapError(
                f"{backticked(first)} and {backticked(key)} both become {backticked(name)}",
                details=[_culprit(first, key, rules, str.__eq__)],
                remedy="Make the pattern more exact, so that every tensor keeps a name of its own.",
            )


def _refuse_prefixes(names: Mapping[str, str], rules: Sequence[Rule]) -> None:
    for short, long in _prefix_pairs(names):
        if not _is_prefix(short, long):  # a checkpoint may have such keys itself
            becomes = f"{backticked(short)} becomes {backticked(names[short])}"
            raise RemapError(
                f"{becomes}, the prefix of {backticked(names[long])} (from {backticked(long)})",
                details=[_culprit(short, long, rules, _is_prefix)],
                remedy="Make the pattern more exact, so that no key is the prefix of another.",
            )


def _prefix_pairs(names: Mapping[str, str]) -> Iterator[tuple[str, str]]:
    """Yield all pairs of (old) keys whose new names are a prefix and a longer name below it."""
    above: list[tuple[list[str], str]] = []
    for parts, key in sorted((name.split("."), key) for key, name in names.items()):
        while above and parts[: len(above[-1][0])] != above[-1][0]:
            above.pop()
        yield from ((short, key) for _, short in above)
        above.append((parts, key))


def _is_prefix(short: str, long: str) -> bool:
    return long.startswith(f"{short}.")


def _culprit(first: str, second: str, rules: Sequence[Rule], clash: Callable[[str, str], bool]) -> str:
    """Name the rule since which the names of two keys clash."""
    culprit = 0
    clashed = clash(first, second)
    for i, rule in enumerate(rules):
        first, second = (new if (new := rule.apply(name)) is not None else name for name in (first, second))
        now = clash(first, second)
        if now and not clashed:
            culprit = i
        clashed = now
    return f"By key-remap[{culprit}]: {rules[culprit]}"
