"""Which tensors of two files are the same under another key: found by equal content, then by the rules that this shows.

Knows keys, shapes and what identifies a content; reads nothing. What could be meant in two ways is left unpaired.
"""

from __future__ import annotations

import heapq
from collections import Counter
from dataclasses import dataclass
from itertools import islice
from typing import TYPE_CHECKING, Final, TypeAlias

from hatch_wheelweights.looking.difference.rules import Rules, explanations, rules_of, trusted

if TYPE_CHECKING:
    from collections.abc import Callable, Hashable, Iterable, Iterator, Mapping

    from hatch_wheelweights.looking.difference.rules import Explanation

__all__ = ["Lone", "Pairs", "Rename", "paired"]

SAMPLED: Final = 8  # keys of each group of equal contents whose partners are guessed, and
GUESSES: Final = 16  # how many partners are tried for each
MAX_GUESSES: Final = 20_000  # in all
TRIED: Final = 30  # rules that got the most guesses, fewer of very many keys
MAX_APPLIED: Final = 7_500_000  # times that a rule is tried on a segment of a key, for a few seconds
MAX_SHARED: Final = 100  # characters at each end of a key that are compared with another one's
LISTED_FROM: Final = 2  # keys that a rule is told for; one key alone is told by its names

Side: TypeAlias = "dict[str, Lone]"
Group: TypeAlias = tuple[list[str], list[str]]


@dataclass(frozen=True, slots=True)
class Lone:
    """A tensor that is to be paired: its key is in one file only, or is another tensor's in the other.

    `content` is equal for tensors of equal dtype, shape and bytes; None where it was not read, or cannot be. `plain` is
    true where all values are the same: many tensors hold nothing but zeros, so that such a content proves little.
    """

    shape: tuple[int, ...]
    content: Hashable = None
    plain: bool = False


@dataclass(frozen=True, slots=True)
class Rename:
    """A rule of renaming as patterns, `module.*` and `*`: so many keys of the first file follow it."""

    patterns: tuple[str, str]
    keys: int


@dataclass(frozen=True, slots=True)
class Pairs:
    """The keys of one file, each with its partner in the other.

    `rules` tell most of them, those that most keys follow first; `single` are the keys that they leave to be told one
    by one. `by_names` is true where no content is equal, and names and shapes alone made the rule. `undecided` are keys
    with equal contents, not of one value, that could be paired in several ways, and are not.
    """

    partners: Mapping[str, str]
    rules: tuple[Rename, ...] = ()
    single: frozenset[str] = frozenset()
    by_names: bool = False
    undecided: tuple[tuple[tuple[str, ...], tuple[str, ...]], ...] = ()


def paired(ours: Mapping[str, Lone], theirs: Mapping[str, Lone]) -> Pairs:
    """Pair the keys of two files with other keys.

    A key may be in both files, where it is that of two tensors; then it is no partner of itself.

    In this order: contents that each file has once; keys that follow the rules which these show, where the shapes
    agree; contents that a file has several times, by the rule that most keys follow; and contents of one value, where
    the last part of the key is the same. Where no content is equal, one prefix or suffix that explains the keys. At
    last, keys that follow these rules whatever their shapes: a layer that was replaced is in both files.

    The order of the files does not matter: pairs are sought in both, and those that contradict each other left.
    """
    partners, by_names = _agreed(_sought(ours, theirs), _sought(theirs, ours))
    partners = {key: partners[key] for key in ours if key in partners}
    rules, single = _shortest(partners)
    met = set(partners.values())
    rest = (
        {key: lone for key, lone in ours.items() if key not in partners},
        {key: lone for key, lone in theirs.items() if key not in met},
    )
    left = _groups(*rest, lambda lone: None if lone.plain else lone.content)
    undecided = tuple((tuple(these), tuple(those)) for these, those in left)
    return Pairs(partners, rules, single, by_names, undecided)


def _sought(ours: Mapping[str, Lone], theirs: Mapping[str, Lone]) -> _Pairing:
    """Pair keys by what turns those of the first file into those of the second."""
    work = _Pairing(dict(ours), dict(theirs))
    work.take_certain()
    work.follow_rules()
    work.leave_equal()
    work.take_voted(lambda lone: lone.content, _enough_of_equal_content)
    work.follow_rules()
    work.take_plain()
    work.by_names = not work.partners and work.take_voted(lambda lone: lone.shape, _enough_by_names)
    work.follow_rules(of_any_shape=True)
    return work


def _agreed(there: _Pairing, back: _Pairing) -> tuple[dict[str, str], bool]:
    """Return the pairs of two searches, the second from the other end, that no other pair contradicts.

    Those by names alone count where the other search found no equal content. Returns whether they were needed, too.
    """
    by_names = all(way.by_names or not way.partners for way in (there, back))
    ways = (there, there.partners.items()), (back, [(key, partner) for partner, key in back.partners.items()])
    found = {pair for way, pairs in ways if way.by_names == by_names for pair in pairs}
    keys, partners = Counter(key for key, _ in found), Counter(partner for _, partner in found)
    pairs = {key: partner for key, partner in found if keys[key] == partners[partner] == 1}
    return pairs, by_names and bool(pairs)


def _shortest(partners: Mapping[str, str]) -> tuple[tuple[Rename, ...], frozenset[str]]:
    """Return the rules, and the keys that they leave to be told one by one: whichever way needs fewer words.

    A segment that was put in has rules as many as segments follow it; to take it out again is one. The order of the
    files does not matter.
    """
    back = rules_of({partner: key for key, partner in partners.items()})
    ways = (
        _told(rules_of(partners)),
        _told({key: tuple(rule.inverse for rule in back[partner]) for key, partner in partners.items()}),
    )
    return min(ways, key=lambda way: _length(way[0], way[1], partners))


def _length(
    rules: tuple[Rename, ...], single: frozenset[str], partners: Mapping[str, str]
) -> tuple[int, list[tuple[int, list[str]]], list[list[str]]]:
    """Return what is less for fewer words, then for rules of more keys; it is the same in either order of the files."""
    told = sorted((-rule.keys, sorted(rule.patterns)) for rule in rules)
    return len(told) + len(single), told, sorted(sorted((key, partners[key])) for key in single)


def _told(explained: Mapping[str, Explanation]) -> tuple[tuple[Rename, ...], frozenset[str]]:
    followers = Counter(rule for rules in explained.values() for rule in rules)
    listed = [(rule, count) for rule, count in followers.most_common() if count >= LISTED_FROM]
    known = {rule for rule, _ in listed}
    single = frozenset(key for key, rules in explained.items() if not known.issuperset(rules))
    return tuple(Rename(rule.patterns, count) for rule, count in listed), single


def _content(lone: Lone) -> Hashable:
    return lone.content


def _groups(ours: Side, theirs: Side, of: Callable[[Lone], Hashable]) -> list[Group]:
    """Return the keys on both sides that have the same in common; None is nothing to have in common."""
    groups: dict[Hashable, Group] = {}
    for side, lones in enumerate((ours, theirs)):
        for key, lone in lones.items():
            if (common := of(lone)) is not None:
                groups.setdefault(common, ([], []))[side].append(key)
    return [group for group in groups.values() if all(group)]


class _Pairing:
    """The keys that have no partner yet, and those that have one."""

    def __init__(self, ours: Side, theirs: Side) -> None:
        self.ours = ours
        self.theirs = theirs
        self.partners: dict[str, str] = {}
        self.by_names = False

    def take(self, key: str, partner: str) -> None:
        self.partners[key] = partner
        del self.ours[key], self.theirs[partner]

    def take_certain(self) -> None:
        """Pair the contents that both files have once, and that prove something."""
        for ours, theirs in _groups(self.ours, self.theirs, _content):
            if len(ours) == len(theirs) == 1 and ours != theirs and not self.ours[ours[0]].plain:
                self.take(ours[0], theirs[0])

    def follow_rules(self, *, of_any_shape: bool = False) -> None:
        """Pair the keys that follow the rules of the known pairs, where shapes agree and no two keys become one."""
        rules = trusted(rules_of(self.partners), self.partners)
        images = ((key, rules.applied(key)[0]) for key in (self.ours if rules else ()))
        known = {key: image for key, image in images if image in self.theirs}  # images of hostile keys can be long
        met = Counter(known.values())
        for key, image in known.items():
            is_its = met[image] == 1 and image != key
            if is_its and (of_any_shape or self.theirs[image].shape == self.ours[key].shape):
                self.take(key, image)

    def leave_equal(self) -> None:
        """Leave the keys that are in both files with one content, and that no rule leads elsewhere."""
        for key, lone in list(self.ours.items()):
            if lone.content is not None and key in self.theirs and self.theirs[key].content == lone.content:
                del self.ours[key], self.theirs[key]

    def take_plain(self) -> None:
        """Pair contents that both files have once and that prove little, where the last part of the key agrees."""
        for ours, theirs in _groups(self.ours, self.theirs, _content):
            if len(ours) == len(theirs) == 1 and ours != theirs and _last(ours[0]) == _last(theirs[0]):
                self.take(ours[0], theirs[0])

    def take_voted(self, of: Callable[[Lone], Hashable], enough: Callable[[_Vote, _Pairing], bool]) -> bool:
        """Pair keys in groups by the rules that most of them follow, one after the other; return whether any did.

        Of so many or so long keys that this would take minutes, none is paired.
        """
        taken = 0
        segments = sum(key.count(".") + 1 for key in self.ours) + 1
        tried = min(TRIED, MAX_APPLIED // segments)
        for _ in range(MAX_APPLIED // (tried * segments) if tried > 1 else 0):  # one alone has no rival to dispute it
            won = [vote for vote in _elected(_groups(self.ours, self.theirs, of), tried) if enough(vote, self)]
            for key, partner in [pair for vote in won for pair in vote.pairs.items()]:
                self.take(key, partner)
            taken += len(won)
            if not won:
                break
        return taken > 0


def _last(key: str) -> str:
    return key.rpartition(".")[2]


# Where one content, or one shape, is that of several keys


@dataclass(frozen=True)
class _Vote:
    """Rules, and the keys that follow them inside their groups."""

    rules: Explanation
    pairs: dict[str, str]

    @property
    def rank(self) -> tuple[int, int, int]:
        """What is better is less: more pairs, then fewer rules, then shorter ones."""
        return -len(self.pairs), len(self.rules), sum(len(rule.old) + len(rule.new) for rule in self.rules)

    def disputes(self, other: _Vote) -> bool:
        """Return whether a key of both has another partner there, on either side."""
        if any(other.pairs.get(key, partner) != partner for key, partner in self.pairs.items()):
            return True
        theirs = {partner: key for key, partner in other.pairs.items()}
        return any(theirs.get(partner, key) != key for key, partner in self.pairs.items())


def _enough_of_equal_content(vote: _Vote, _: _Pairing) -> bool:
    return len(vote.pairs) >= LISTED_FROM


def _enough_by_names(vote: _Vote, pairing: _Pairing) -> bool:
    """Return whether one prefix or suffix explains at least half of the keys of the smaller side."""
    (rule, *more) = vote.rules
    half = min(len(pairing.ours), len(pairing.theirs)) / 2
    is_affix = not more and (rule.at_start or rule.at_end)
    return is_affix and len(vote.pairs) >= max(half, LISTED_FROM)


def _elected(groups: list[Group], tried: int) -> list[_Vote]:
    """Return the rules that pair most keys of the groups, without those that others as good, or better, dispute."""
    guesses = Counter(islice((rules for group in groups for rules in _guessed(*group)), MAX_GUESSES))
    votes = [_Vote(rules, _followed(rules, groups)) for rules, _ in guesses.most_common(tried)]
    votes.sort(key=lambda vote: vote.rank)
    won: list[_Vote] = []
    met: set[str] = set()
    for i, vote in enumerate(votes):
        rivals = [other for j, other in enumerate(votes) if j < i or other.rank == vote.rank]
        if vote.pairs.keys().isdisjoint(met) and not any(map(vote.disputes, rivals)):
            won.append(vote)
            met |= vote.pairs.keys()
    return won


def _guessed(ours: list[str], theirs: list[str]) -> Iterator[Explanation]:
    """Yield rules that would pair some keys of a group."""
    for key in ours[:SAMPLED]:
        for partner in _alike(key, theirs):
            if partner != key:
                yield from explanations(key, partner)


def _alike(key: str, others: Iterable[str]) -> list[str]:
    """Return the keys that share the most text with one, at its end and at its start."""
    start, end = key[:MAX_SHARED], key[: -MAX_SHARED - 1 : -1]
    return heapq.nlargest(
        GUESSES, others, key=lambda other: _shared(end, other[: -MAX_SHARED - 1 : -1]) + _shared(start, other)
    )


def _shared(this: str, that: str) -> int:
    """Return how many characters both begin with."""
    return next(
        (i for i, pair in enumerate(zip(this, that, strict=False)) if pair[0] != pair[1]), min(map(len, (this, that)))
    )


def _followed(rules: Explanation, groups: list[Group]) -> dict[str, str]:
    """Return the keys that rules turn into a key of the same group, which no other key becomes."""
    applied = Rules(rules)
    pairs: dict[str, str] = {}
    for ours, theirs in groups:
        known = set(theirs)
        images = {key: applied.applied(key)[0] for key in ours}
        met = Counter(images.values())
        pairs |= {key: image for key, image in images.items() if image in known and met[image] == 1 and image != key}
    return pairs
