r"""Regular expressions of the options: Python's `re`, made safe for patterns that were written for Burn.

Knows where Rust's regex syntax (https://docs.rs/regex/latest/regex/#syntax) and Python's differ. What only Rust knows
is translated (`(?<name>...)`, `\z`, and `$`, which is the very end there) or refused by `re` itself; what both accept
with different meanings is refused here, because a rule that silently means something else renames the wrong keys. Knows
nothing of keys or rules.
"""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Final

from hatch_wheelweights.errors import ConfigError, Fault

if TYPE_CHECKING:
    from collections.abc import Iterator

__all__ = ["fault_in", "parse_pattern"]

MAX_SHOWN_PATTERN: Final = 200

_TOKEN: Final = re.compile(
    r"(?P<escape>\\.)|(?P<class>\[\^?\]?)|(?P<named>\(\?<(?=\w))|(?P<possessive>[*+?}]\+)|(?P<end>\$)|.", re.DOTALL
)
_CLASS_TOKEN: Final = re.compile(r"(?P<escape>\\.)|(?P<close>\])|(?P<set>\[|&&|--|~~|\|\|)|.", re.DOTALL)
_MULTILINE: Final = re.compile(r"\(\?[a-zA-Z]*m")


def parse_pattern(pattern: str) -> re.Pattern[str]:
    """Compile a pattern of the options; raise ConfigError with one fault, which has no place yet."""
    translated, origins = _translated(pattern)
    try:
        return re.compile(translated)
    except re.error as error:
        position = None if error.pos is None else origins[min(error.pos, len(origins) - 1)]
        raise ConfigError(fault_in(error.msg, pattern, position, _remedy(error.msg))) from error
    except (OverflowError, RecursionError) as error:
        raise ConfigError(fault_in("too large a pattern", pattern, None, "Write a simpler pattern.")) from error


def fault_in(fact: str, text: str, position: int | None, remedy: str) -> Fault:
    """Return a fault in a pattern or replacement: the fact, the text with a mark below the position, the remedy."""
    details: list[str] = []
    if text.isprintable() and len(text) <= MAX_SHOWN_PATTERN:
        details.append(f"  {text}")
        if position is not None:
            details.append(f"  {' ' * position}^")
    return Fault(None, fact if position is None else f"{fact} at position {position}", tuple(details), remedy)


def _translated(pattern: str) -> tuple[str, list[int]]:
    """Return the pattern in Python's syntax and, for each character and for its end, the position it stems from."""
    pieces: list[str] = []
    origins: list[int] = []
    for position, piece in _pieces(pattern):
        pieces.append(piece)
        origins.extend([position] * len(piece))
    return "".join(pieces), [*origins, len(pattern)]


def _pieces(pattern: str) -> Iterator[tuple[int, str]]:
    """Yield the tokens of a pattern with their positions, each in Python's syntax; raise ConfigError for a trap."""
    end = "$" if _MULTILINE.search(pattern) else r"\Z"
    in_class = False
    position = 0
    while token := (_CLASS_TOKEN if in_class else _TOKEN).match(pattern, position):
        kind, text = token.lastgroup, token.group()
        if kind in _TRAPS or (kind == "escape" and text in _TRAPS):
            fact, remedy = _TRAPS[text if kind == "escape" else str(kind)]
            raise ConfigError(fault_in(f"`{text}` {fact}", pattern, position, remedy))
        in_class = kind == "class" or (in_class and kind != "close")
        yield position, _python_token(kind, text, end)
        position = token.end()


def _python_token(kind: str | None, text: str, end: str) -> str:
    if kind == "named":
        return "(?P<"
    if kind == "end":
        return end
    # `\z` is new in Python 3.14
    return r"\Z" if text == r"\z" else text


_TRAPS: Final = {
    "possessive": (
        "is one repetition inside another in Rust, a possessive one in Python",
        "Write (?:...)+ or (?>...) instead.",
    ),
    "set": (
        "in a character class is a set operation in Rust, or will be one in Python",
        "Put a backslash before the character.",
    ),
    r"\<": ("is the start of a word in Rust, a plain character in Python", r"Write \b, or < without the backslash."),
    r"\>": ("is the end of a word in Rust, a plain character in Python", r"Write \b, or > without the backslash."),
}


def _remedy(fact: str) -> str:
    if fact.startswith("missing ),"):
        return r"Close the group, or write \( to match a literal parenthesis."
    if fact.startswith("unbalanced parenthesis"):
        return r"Open the group, or write \) to match a literal parenthesis."
    if fact.startswith("unterminated character set"):
        return r"Close the class, or write \[ to match a literal bracket."
    if fact.startswith(("nothing to repeat", "multiple repeat")):
        return r"Say what is repeated, or put a backslash before the character to match it literally."
    return "Correct the pattern: the syntax is that of Python's re module."
