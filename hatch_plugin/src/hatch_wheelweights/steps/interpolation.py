"""OmegaConf's nodes: what they hold, and where their interpolations lead.

Knows how OmegaConf 2.0 to 2.4 pickle a configuration (DictConfig, ListConfig and a node for each value, each with its
parent) and the grammar of `${...}` (omegaconf/grammar/OmegaConfGrammarParser.g4). An interpolation is followed inside
its own configuration; resolvers (`${oc.env:HOME}`) are named and never run.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final

from hatch_wheelweights.checkpoint import Opaque
from hatch_wheelweights.checkpoint.values import is_dict, is_list
from hatch_wheelweights.steps.objects import part_of_key
from wheelweights.attempts import found_text
from wheelweights.config import Formless
from wheelweights.errors import backticked, quoted

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from hatch_wheelweights.checkpoint import Account

__all__ = ["INTERPOLATION", "MAX_ABOVE", "Interpolations", "Scoped", "content", "is_omega", "scoped"]

MAX_ABOVE: Final = 30  # levels of a configuration, and interpolations that lead to each other
MAX_TEXT: Final = 1 << 16  # of a text that has interpolations
MAX_NESTED: Final = 4  # interpolations in the name of another one
MAX_BITS: Final = 64  # of an integer in a text
STEPS_PER_TEXT: Final = 20
MISSING: Final = "???"
INTERPOLATION: Final = "${"


@dataclass(frozen=True, eq=False, slots=True)
class Scoped:
    """A node of OmegaConf at its place: `above` are the containers around it, the outermost first."""

    node: Opaque
    above: tuple[Opaque, ...]

    def below(self, value: Any) -> Any:
        """Return what this container holds at its place."""
        return Scoped(value, (*self.above, self.node)) if is_omega(value) else value


def is_omega(value: Any) -> bool:
    """Tell whether a value is a node of OmegaConf that holds something."""
    if not (isinstance(value, Opaque) and value.module.startswith("omegaconf.") and is_dict(value.state)):
        return False
    return "_val" in value.state or "_content" in value.state


def content(node: Opaque) -> Any:
    """Return what a node of OmegaConf holds: a value, a text with interpolations, or a dict or list of nodes."""
    return node.state.get("_val", node.state.get("_content"))


def scoped(node: Opaque) -> Scoped:
    """Return a node at the place that its own parents give it."""
    above: list[Opaque] = []
    parent = node.state.get("_parent")
    while is_omega(parent) and len(above) < MAX_ABOVE:
        above.append(parent)
        parent = parent.state.get("_parent")
    return Scoped(node, tuple(reversed(above)))


class Interpolations:
    """The interpolations of one configuration, and those of them that are being followed."""

    def __init__(self, account: Account) -> None:
        self.account = account
        self._followed: list[Opaque] = []

    def resolved(self, place: Scoped) -> Any:
        """Return where a node leads: another node at its place, a plain text, or `Formless` where it leads nowhere."""
        held = content(place.node)
        if is_omega(held):  # a UnionNode
            return self._within(place, lambda: self.resolved(Scoped(held, place.above)))
        if not isinstance(held, str):
            return place
        if held == MISSING:
            return Formless(f"{backticked(MISSING)}, which marks a missing value in OmegaConf")
        if INTERPOLATION not in held:
            return place
        return self._within(place, lambda: _as_declared(place.node, self._value(held, place.above)))

    def _within(self, place: Scoped, follow: Callable[[], Any]) -> Any:
        held = content(place.node)
        shown = quoted(held) if isinstance(held, str) else "a node in itself"
        if any(node is place.node for node in self._followed):
            return Formless(f"an interpolation that leads back to itself, {shown}")
        if len(self._followed) == MAX_ABOVE:
            return Formless(f"an interpolation that leads on more than {MAX_ABOVE} times, {shown}")
        self._followed.append(place.node)
        try:
            return follow()
        finally:
            self._followed.pop()

    def _value(self, text: str, above: tuple[Opaque, ...]) -> Any:
        """Return what a text means: what its only interpolation leads to, or the text with values in their places."""
        self.account.charge(STEPS_PER_TEXT + len(text), len(text))
        parts: list[str | _Body | None] = list(_parts(text)) if len(text) <= MAX_TEXT else [None]
        if len(parts) == 1 and isinstance(parts[0], _Body):
            return self._led_to(parts[0].text, above)
        return Formless(f"a malformed interpolation, {quoted(text)}") if None in parts else self._joined(parts, above)

    def _joined(self, parts: list[str | _Body | None], above: tuple[Opaque, ...]) -> str | Formless:
        """Return parts as one text, as OmegaConf writes the values in it."""
        made = ""
        for part in parts:
            value = self._led_to(part.text, above) if isinstance(part, _Body) else part
            if isinstance(value, Scoped):
                value = content(value.node)
            if isinstance(value, Formless):
                return value
            if not _has_text(value):
                return Formless(f"text with an interpolation of {found_text(value)} in it")
            made += str(value)
            self.account.charge(1, len(made))
            if len(made) > MAX_TEXT:
                return Formless("text that interpolations make too long")
        return made

    def _led_to(self, body: str, above: tuple[Opaque, ...]) -> Any:
        """Return what `${body}` leads to."""
        if INTERPOLATION in body and not _RESOLVER.match(body):
            inner = self._joined(list(_parts(body)), above)
            if isinstance(inner, Formless):
                return inner
            body = inner
        if resolver := _RESOLVER.match(body):
            name = backticked(resolver[1].strip())
            return Formless(f"an interpolation by the resolver {name}, which only a program can run")
        path = _PATH.fullmatch(body)
        if path is None:
            return Formless(f"a malformed interpolation, {_shown(body)}")
        return self._at(len(path[1]), _KEY.findall(path[2]), above, body)

    def _at(self, dots: int, keys: list[str], above: tuple[Opaque, ...], body: str) -> Any:
        """Return what stands under keys, from the root or so many levels up."""
        nothing = Formless(f"the interpolation {_shown(body)}, which leads to nothing in its configuration")
        if dots > len(above) or not above:
            return nothing
        up = len(above) - dots if dots else 0
        place: Any = Scoped(above[up], above[:up])
        for key in keys:
            place = self.resolved(place) if isinstance(place, Scoped) else nothing
            if not isinstance(place, Scoped):
                return place if isinstance(place, Formless) else nothing
            child = self._child(content(place.node), key)
            if child is None:
                return nothing
            place = place.below(child)
        place = self.resolved(place) if isinstance(place, Scoped) else place
        if isinstance(place, Scoped) and any(node is place.node for node in above):
            return Formless(f"the interpolation {_shown(body)}, which leads to what holds it")
        return place

    def _child(self, held: Any, key: str) -> Any:
        if is_dict(held):
            if key in held:
                return held[key]
            self.account.charge(1 + len(held) // 2)
            return next((value for name, value in held.items() if part_of_key(name) == key), None)
        if is_list(held) and _INDEX.fullmatch(key) and -len(held) <= int(key) < len(held):
            return held[int(key)]
        return None


def _has_text(value: Any) -> bool:
    """Tell whether a value in a text reads the same in every version of OmegaConf."""
    return type(value) in (str, float, bool, type(None)) or (type(value) is int and value.bit_length() <= MAX_BITS)


def _shown(body: str) -> str:
    return quoted(f"${{{body}}}")


def _as_declared(node: Opaque, value: Any) -> Any:
    """Return the value of an interpolation where a type is declared for it; OmegaConf would convert others."""
    declared = _DECLARED.get(node.name)
    if declared is None or isinstance(value, Formless):
        return value
    held = content(value.node) if isinstance(value, Scoped) else value
    if held is None or type(held) in declared:
        return value
    if node.name == "StringNode" and type(held) in (int, float, bool):
        return str(held)
    return Formless(f"an interpolation of {found_text(held)}, which OmegaConf would convert for its {node.name}")


# The grammar


@dataclass(frozen=True, slots=True)
class _Body:
    """What stands between `${` and `}`."""

    text: str


def _parts(text: str) -> Iterator[str | _Body | None]:
    """Yield the plain texts and the interpolations of a text in order; None where it is malformed.

    Backslashes are special only right before `${`: two stand for one, and an odd one makes `${` plain.
    """
    position = 0
    for match in _OPENING.finditer(text):
        if match.start() < position:
            continue  # inside an interpolation
        slashes = len(match[1])
        plain = text[position : match.start()] + "\\" * (slashes // 2) + ("${" if slashes % 2 else "")
        if plain:
            yield plain
        position = match.end()
        if slashes % 2 == 0:
            end = _closing(text, position)
            if end is None:
                yield None
                return
            yield _Body(text[position:end])
            position = end + 1
    if text[position:]:
        yield text[position:]


def _closing(text: str, start: int) -> int | None:
    """Return where the interpolation ends that begins at `start`; None if it does not, or nests too deeply."""
    depth = 1
    for match in _BRACE.finditer(text, start):
        depth += 1 if match[0] == "${" else -1
        if depth == 0:
            return match.start()
        if depth > MAX_NESTED:
            return None
    return None


_OPENING: Final = re.compile(r"(\\*)\$\{")
_BRACE: Final = re.compile(r"\$\{|\}")
_RESOLVER: Final = re.compile(r"([^:$]*):")
_NAME: Final = r"[^\s.\[\]{}:$'\"\\]+"
_PATH: Final = re.compile(rf"\s*(\.*)((?:{_NAME}|\[{_NAME}\])(?:\.{_NAME}|\[{_NAME}\])*)\s*")
_KEY: Final = re.compile(_NAME)
_INDEX: Final = re.compile(r"-?[0-9]{1,18}")
_DECLARED: Final[dict[str, tuple[type, ...]]] = {
    "StringNode": (str,),
    "IntegerNode": (int,),
    "FloatNode": (float, int),
    "BooleanNode": (bool,),
}
