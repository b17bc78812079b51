"""The rules of key_remap, and the language of their replacements.

Replacements have the grammar of Rust's regex crate
(https://docs.rs/regex/latest/regex/struct.Captures.html#method.expand), and empty matches are treated as there, so that
rules written for Burn mean the same here. Knows one key at a time; that renaming loses no tensor is the business of
`steps.remap`.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

from hatch_wheelweights.errors import ConfigError, Place
from hatch_wheelweights.options.patterns import fault_in, parse_pattern
from wheelweights.errors import backticked

if TYPE_CHECKING:
    from collections.abc import Iterator

__all__ = ["Rule", "parse_rule"]


@dataclass(frozen=True)
class Rule:
    """One rule, as written and compiled: `parts` are the replacement's literal texts and group numbers."""

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


def parse_rule(pattern: str, replacement: str) -> Rule:
    """Check and compile one rule.

    Raises ConfigError with one fault, whose place is `pattern` or `replacement`, whichever is at fault.
    """
    try:
        compiled = parse_pattern(pattern)
    except ConfigError as error:
        raise ConfigError(*(fault.below(Place(("pattern",))) for fault in error.faults)) from error
    return Rule(pattern, replacement, compiled, tuple(_replacement_parts(replacement, compiled)))


# A reference is `${...}` or `$` and the longest run of word characters; any other `$` is a dollar sign, as in Rust.
_REFERENCE: Final = re.compile(
    r"\$(?:(?P<dollar>\$)|\{(?P<braced>[^}]*)\}|(?P<bare>[0-9A-Za-z_]+)|(?P<open>\{))|(?P<python>\\(?:[0-9]|g<))"
)


def _replacement_parts(replacement: str, pattern: re.Pattern[str]) -> Iterator[str | int]:
    """Yield the literal text and the group numbers of a replacement; raise ConfigError for an unknown group."""
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
            raise ConfigError(fault_in(*_bad_reference(reference, name, pattern)).below(Place(("replacement",))))
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
