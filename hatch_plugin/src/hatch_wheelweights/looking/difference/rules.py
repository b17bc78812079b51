"""Rules of renaming: what turns the keys of one file into those of another, and keys that follow a rule.

Knows keys alone, which are segments between dots. A rule replaces a run of segments by another: at the start of a key,
at its end, or wherever it is found. All rules apply to a key at once, to its own segments.
"""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass
from difflib import SequenceMatcher
from typing import TYPE_CHECKING, Final, TypeAlias

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Mapping

__all__ = ["Rule", "Rules", "explanations", "rules_of", "trusted"]

MAX_COMPARED: Final = 24  # segments that are compared one by one; longer runs are replaced as a whole
MAX_DOUBT: Final = 0.1  # of the keys of a rule that may contradict it
MAX_NEW: Final = 1_000  # characters that a rule that is applied puts into a key
MAX_USED: Final = 16  # rules that are applied to one key

Segments: TypeAlias = tuple[str, ...]


@dataclass(frozen=True, slots=True)
class Rule:
    """Segments of a key that are replaced by others; both may be empty, but not at once."""

    old: Segments
    new: Segments
    at_start: bool
    at_end: bool

    @property
    def patterns(self) -> tuple[str, str]:
        """The rule as two patterns, in which `*` is any text: `module.*` and `*`."""
        return self._pattern(self.old), self._pattern(self.new)

    @property
    def inverse(self) -> Rule:
        """The rule that leads back."""
        return Rule(self.new, self.old, self.at_start, self.at_end)

    @property
    def is_whole_key(self) -> bool:
        """Whether the rule is for one key alone."""
        return self.at_start and self.at_end

    def _pattern(self, segments: Segments) -> str:
        before = () if self.at_start else ("*",)
        after = () if self.at_end else ("*",)
        return ".".join((*before, *segments, *after)) or "*"


Explanation: TypeAlias = tuple[Rule, ...]


# The rules that turn one key into another


def explanations(old_key: str, new_key: str) -> list[Explanation]:
    """Return the ways to turn a key into another one, each as the rules that do it together.

    A way is to replace what differs as a whole, at the start, at the end or in the middle, or only those parts of it
    that differ.
    """
    old, new = tuple(old_key.split(".")), tuple(new_key.split("."))
    tail = _common(old[::-1], new[::-1])
    head = _common(old[: len(old) - tail], new[: len(new) - tail])
    found: list[Explanation] = [(_rule(old, new, (0, len(old) - tail), (0, len(new) - tail)),)]
    first = _common(old, new)
    last = _common(old[first:][::-1], new[first:][::-1])
    if first:
        found.append((_rule(old, new, (first, len(old)), (first, len(new))),))
        found.append((_rule(old, new, (first, len(old) - last), (first, len(new) - last)),))
    found.append((_rule(old, new, (head, len(old) - tail), (head, len(new) - tail)),))
    found.append(tuple(_parts(old, new, head, tail)))
    return list(dict.fromkeys(found))


def _common(these: Segments, those: Segments) -> int:
    """Return how many segments both begin with."""
    count = 0
    for this, that in zip(these, those, strict=False):
        if this != that:
            break
        count += 1
    return count


def _parts(old: Segments, new: Segments, head: int, tail: int) -> Iterator[Rule]:
    """Yield a rule for each part that differs, between what both begin and end with."""
    cores = old[head : len(old) - tail], new[head : len(new) - tail]
    if max(map(len, cores)) > MAX_COMPARED or set(cores[0]).isdisjoint(cores[1]):
        yield _rule(old, new, (head, len(old) - tail), (head, len(new) - tail))
        return
    for tag, i, j, k, m in SequenceMatcher(None, *cores, autojunk=False).get_opcodes():
        if tag != "equal":
            yield _rule(old, new, (head + i, head + j), (head + k, head + m))


def _rule(old: Segments, new: Segments, olds: tuple[int, int], news: tuple[int, int]) -> Rule:
    """Return the rule that replaces one slice by the other, with a neighbour where it would say nothing alone.

    That is where something is inserted in the middle, and where a number is replaced by a number.
    """
    (i, j), (k, m) = olds, news
    at_start, at_end = i == 0 and k == 0, j == len(old) and m == len(new)
    if i == j and not at_start and not at_end:
        j, m = j + 1, m + 1
        at_end = j == len(old) and m == len(new)
    elif i > 0 and k > 0 and all(segment.isdecimal() for segment in (*old[i:j], *new[k:m])):
        i, k = i - 1, k - 1
        at_start = i == 0 and k == 0
    return Rule(old[i:j], new[k:m], at_start, at_end)


# The rules of many pairs


def rules_of(pairs: Mapping[str, str]) -> dict[str, Explanation]:
    """Return for each key the rules that turn it into its partner: of the ways to do it, that with the most followers.

    A way is as strong as the rule in it that fewest other keys need; of equal ways the first counts.
    """
    ways = {key: explanations(key, partner) for key, partner in pairs.items()}
    followers = Counter(rule for each in ways.values() for rule in {rule for way in each for rule in way})
    return {key: max(each, key=lambda way: min(followers[rule] for rule in way)) for key, each in ways.items()}


def trusted(explained: Mapping[str, Explanation], pairs: Mapping[str, str]) -> Rules:
    """Return the rules that other keys may follow: those that hardly any of the known pairs contradicts."""
    followers = Counter(rule for rules in explained.values() for rule in rules)
    rules = Rules(rule for rule in followers if not rule.is_whole_key)
    contradicted: Counter[Rule] = Counter()
    for key, partner in pairs.items():
        image, used = rules.applied(key)
        if image != partner:
            contradicted.update(set(used) - set(explained[key]))
    return Rules(rule for rule in rules.all if contradicted[rule] <= followers[rule] * MAX_DOUBT)


class Rules:
    """Rules that are applied together, longer ones first.

    What a rule costs does not depend on the others: thousands can begin alike, and keys can have thousands of segments.
    So rules inside a key are short, and are applied a few times.
    """

    def __init__(self, rules: Iterable[Rule]) -> None:
        self.all = sorted(rules, key=lambda rule: -len(rule.old))
        self._whole: dict[Segments, int] = {}
        self._at_start, self._at_end, self._inside = _Branch(), _Branch(), _Branch()
        for number, rule in enumerate(self.all):  # of several rules, the first one counts
            if sum(map(len, rule.new)) > MAX_NEW:
                continue
            if rule.is_whole_key:
                self._whole.setdefault(rule.old, number)
            elif rule.at_start:
                self._at_start.add(rule.old, number)
            elif rule.at_end:
                self._at_end.add(rule.old[::-1], number)
            elif max(len(rule.old), len(rule.new)) <= MAX_COMPARED:
                self._inside.add(rule.old, number)

    def __bool__(self) -> bool:
        return bool(self.all)

    def applied(self, key: str) -> tuple[str, Explanation]:
        """Return what becomes of a key, and the rules that had a part in it."""
        segments = tuple(key.split("."))
        ends = {len(segments) - length: number for length, number in self._at_end.found(segments[::-1])}
        made: list[str] = []
        used: list[Rule] = []
        position = 0
        while position <= len(segments):
            rule = self._at(segments, position, ends) if len(used) < MAX_USED else None
            if rule is not None:
                made += rule.new
                used.append(rule)
            if rule is not None and rule.old:
                position += len(rule.old)
            else:
                made += segments[position : position + 1]
                position += 1
        return ".".join(made), tuple(used)

    def _at(self, segments: Segments, position: int, ends: Mapping[int, int]) -> Rule | None:
        """Return the longest rule whose segments begin at a position; `ends` are the rules of the end, by theirs."""
        found = [ends[position]] if position in ends else []
        if position == 0:
            found += [number for _, number in self._at_start.found(segments)]
            found += [self._whole[segments]] if segments in self._whole else []
        if position < len(segments) and segments[position] in self._inside.below:
            found += [number for _, number in self._inside.found(segments[position : position + MAX_COMPARED])]
        return self.all[min(found)] if found else None


class _Branch:
    """Where rules that begin with the same segments go apart; `number` is that of a rule that ends there."""

    __slots__ = ("below", "number")

    def __init__(self) -> None:
        self.below: dict[str, _Branch] = {}
        self.number: int | None = None

    def add(self, segments: Segments, number: int) -> None:
        """Add a rule by its number, unless there is one with the same segments."""
        branch = self
        for segment in segments:
            branch = branch.below.setdefault(segment, _Branch())
        if branch.number is None:
            branch.number = number

    def found(self, segments: Segments) -> list[tuple[int, int]]:
        """Return the length and the number of each rule that segments begin with."""
        found = [] if self.number is None else [(0, self.number)]
        branch = self
        for i, segment in enumerate(segments if self.below else ()):
            if segment not in branch.below:
                break
            branch = branch.below[segment]
            if branch.number is not None:
                found.append((i + 1, branch.number))
        return found
