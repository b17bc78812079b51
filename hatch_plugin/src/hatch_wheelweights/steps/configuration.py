"""The configuration in a checkpoint: found by its key, as plain values or as a dataclass.

Knows what is asked for and what is left out: a dataclass asks for the fields that it declares, `load_config` without
one for everything, a record for whatever has a plain form. What each value is, is in `plain_values`. A tree can be
hostile (deep, cyclic, nodes shared a thousandfold): depth and size end where a record's do.
"""

from __future__ import annotations

import functools
import json
import math
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final, TypeVar

from hatch_wheelweights.checkpoint import Global, LazyTensor, Opaque
from hatch_wheelweights.checkpoint.values import is_list, type_name
from hatch_wheelweights.errors import CONFIG_KEY, CheckpointError, Do
from hatch_wheelweights.steps.interpolation import INTERPOLATION, Scoped
from hatch_wheelweights.steps.plain_values import BYTES_PER_VALUE, Values
from wheelweights.config import Formless, build, field_path
from wheelweights.errors import SHOWN_ITEMS, backticked, counted, did_you_mean, quoted
from wheelweights.plain import is_collection, is_dict

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from hatch_wheelweights.checkpoint import Account

__all__ = ["Configuration", "build_config", "config_value", "configuration", "json_text", "plain"]

MAX_DEPTH: Final = 30  # a record allows 32 levels, two of which are the document and `metadata`
MAX_BYTES: Final = 64 << 20  # of a record's header
MIN_INT: Final = -(1 << 63)  # of the integers of a record
MAX_INT: Final = (1 << 64) - 1

T = TypeVar("T")


@dataclass(frozen=True)
class Configuration:
    """The part of a configuration that has a plain form; `warnings` name what was left out, and what it is."""

    value: Any
    warnings: tuple[str, ...] = ()


def config_value(tree: Any, key: str | Sequence[str], account: Account) -> Any:
    """Return the plain form of what stands under a key, or a list of nested keys.

    Raises CheckpointError, with a list of what there is, for a key that is not there, and for what has no plain form.
    """
    values = Values(account)
    return plain(_found_under(tree, _keys(key), values), _place(key), values)


def configuration(tree: Any, key: str | Sequence[str], account: Account) -> Configuration:
    """Return what stands under a key, or a list of nested keys, without what has no plain form.

    Raises CheckpointError for a key that is not there, and where nothing under it has a plain form.
    """
    values = Values(account)
    walk = _Walk(_place(key), values)
    value = walk.value(_found_under(tree, _keys(key), values), ())
    if value is _NOTHING:
        raise walk.error()
    return Configuration(value, tuple(walk.warnings()))


def build_config(tree: Any, key: str | Sequence[str], config: type[T], account: Account) -> T:
    """Return a dataclass made of what stands under a key, or a list of nested keys; see `wheelweights.config.build`.

    Raises CheckpointError for a key that is not there, and for all that does not fit the fields of the dataclass.
    """
    values = Values(account)
    node = _found_under(tree, _keys(key), values)
    return build(config, node, _place(key), error=CheckpointError, opened=values.open)


def plain(value: Any, where: str, values: Values) -> Any:
    """Return a value of a checkpoint's tree in the form that JSON and msgpack have.

    Raises CheckpointError with the paths of all that has no such form; paths begin with `where`.
    """
    walk = _Walk(where, values)
    made = walk.value(value, ())
    if walk.lacks:
        raise walk.error()
    return made


def json_text(value: Any, where: str = "config") -> str:
    """Return plain values as JSON; raise CheckpointError for an infinite float or NaN, which it has not."""
    for place, number in _floats(value, where):
        if not math.isfinite(number):
            raise CheckpointError(
                f"{place}: expected a number that JSON has, found {number}",
                remedy=Do("Read it with load_config, or bake it into a record with ", CONFIG_KEY, ": both keep it."),
            )
    return json.dumps(value, indent=2, ensure_ascii=False, allow_nan=False)


def _keys(key: str | Sequence[str]) -> list[str]:
    return [key] if isinstance(key, str) else list(key)


def _place(key: str | Sequence[str]) -> str:
    """Return the path of a key, or of nested ones, as errors show it."""
    return functools.reduce(field_path, _keys(key), "")


def _floats(value: Any, where: str) -> Iterator[tuple[str, float]]:
    if isinstance(value, float):
        yield where, value
    elif is_dict(value) or is_collection(value):
        for key, one in value.items() if is_dict(value) else enumerate(value):
            yield from _floats(one, field_path(where, key))


# From the tree to plain values

_NOTHING: Final = object()  # in place of a value that has no plain form


@dataclass(frozen=True)
class _Lack:
    """A value that has no plain form: its place, what is wrong with it, and what becomes of it in a record."""

    keys: tuple[Any, ...]
    fact: str
    remedy: str | None
    became: str


class _Walk:
    """One conversion: the name of its root, what it has used of `MAX_BYTES`, and what has no plain form.

    `keys` lead from the root to a value. The first few values without a plain form are `lacks`; `lacking` counts all.
    `kept` are the places of the first few texts that look like interpolations and are none; `keeping` counts all.
    """

    def __init__(self, where: str, values: Values) -> None:
        self.where = where
        self.values = values
        self.spent = 0
        self.lacks: list[_Lack] = []
        self.lacking = 0
        self.kept: list[tuple[tuple[Any, ...], str]] = []
        self.keeping = 0
        self._inside: set[int] = set()  # the nodes that lead to the one in hand, by identity

    def value(self, value: Any, keys: tuple[Any, ...]) -> Any:
        """Return the plain form of a value; _NOTHING if it has none."""
        self._spend(0, keys)
        opened = self.values.open(value)
        if is_dict(opened) or isinstance(opened, list):
            return self._inner(value, opened, keys)
        if isinstance(opened, str):
            self._spend(len(opened), keys)
            if INTERPOLATION in opened and not isinstance(value, Scoped):
                self._keep(opened, keys)
            return opened
        if opened is None or isinstance(opened, bool | float):
            return opened
        if not isinstance(opened, int):
            found = opened if isinstance(opened, Formless) else Formless(backticked(type_name(opened)))
            return self._lack(keys, f"expected a value that JSON has, found {found.found}", found.remedy)
        if not MIN_INT <= opened <= MAX_INT:
            bits = f"{opened.bit_length():,}"
            return self._lack(keys, f"expected an integer of at most 64 bits, found one of {bits}")
        return opened

    def _inner(self, value: Any, opened: Any, keys: tuple[Any, ...]) -> Any:
        """Return the plain form of a dict or list that was opened; each level is entered once."""
        node = value.node if isinstance(value, Scoped) else value
        if id(node) in self._inside:
            return self._lack(keys, "expected a value that ends, found one that holds itself")
        if len(keys) == MAX_DEPTH:
            return self._lack(keys, f"expected at most {MAX_DEPTH} levels, found more")
        self._inside.add(id(node))
        made = self._table(opened, keys) if is_dict(opened) else self._items(opened, keys)
        self._inside.discard(id(node))
        return made

    def _table(self, table: dict[Any, Any], keys: tuple[Any, ...]) -> dict[str, Any]:
        made: dict[str, Any] = {}
        for key, one in table.items():
            if isinstance(key, Formless):
                self._lack(
                    keys, f"expected text or integers as keys, found {key.found}", became="an entry is left out of"
                )
                continue
            self.values.account.charge(0, len(key))
            self._spend(len(key), (*keys, key))
            value = self.value(one, (*keys, key))
            if value is not _NOTHING:
                made[key] = value
        return made

    def _items(self, items: list[Any], keys: tuple[Any, ...]) -> list[Any]:
        """Return the items of a list; None in place of those that have no plain form, so that the others stay."""
        made: list[Any] = []
        for i, one in enumerate(items):
            value = self.value(one, (*keys, i))
            made.append(None if value is _NOTHING else value)
        return made

    def _lack(self, keys: tuple[Any, ...], fact: str, remedy: str | None = None, became: str | None = None) -> Any:
        self.lacking += 1
        if len(self.lacks) < SHOWN_ITEMS:
            became = became or ("None in" if keys and isinstance(keys[-1], int) else "left out of")
            self.lacks.append(_Lack(keys, fact, remedy, became))
        return _NOTHING

    def _keep(self, text: str, keys: tuple[Any, ...]) -> None:
        self.keeping += 1
        if len(self.kept) < SHOWN_ITEMS:
            self.kept.append((keys, text))

    def _spend(self, size: int, keys: tuple[Any, ...]) -> None:
        self.spent += BYTES_PER_VALUE + size
        if self.spent > MAX_BYTES:
            limit = f"the configuration is over {MAX_BYTES >> 20} MiB, which a record cannot hold"
            raise CheckpointError(f"{self._path(keys)}: {limit}")

    def _path(self, keys: tuple[Any, ...]) -> str:
        return functools.reduce(field_path, keys, self.where)

    def error(self) -> CheckpointError:
        """Return the error of all that has no plain form."""
        if self.lacking == 1:
            only = self.lacks[0]
            return CheckpointError(f"{self._path(only.keys)}: {only.fact}", remedy=only.remedy)
        shown = [f"{self._path(lack.keys)}: {lack.fact}" for lack in self.lacks]
        more = [f"and {self.lacking - len(shown):,} more"] if self.lacking > len(shown) else []
        return CheckpointError(
            f"{self.where}: {counted(self.lacking, 'value')} without a plain form",
            details=[*shown, *more],
            remedy="Set the key to a part without them, or ask for the fields you need with a dataclass.",
        )

    def warnings(self) -> Iterator[str]:
        """Yield what a build says of the configuration that it bakes into a record."""
        for lack in self.lacks:
            yield f"{self._path(lack.keys)}: {lack.became} the configuration: {lack.fact}"
        if more := self.lacking - len(self.lacks):
            yield f"{self.where}: {counted(more, 'more value')} left out, without a plain form"
        for keys, text in self.kept:
            yield f"{self._path(keys)}: an interpolation outside OmegaConf's nodes, kept as text: {quoted(text)}"
        if more := self.keeping - len(self.kept):
            yield f"{self.where}: {counted(more, 'more interpolation')} kept as text"


# Finding it


def _found_under(tree: Any, keys: list[str], values: Values) -> Any:
    node = tree
    for i, one in enumerate(keys):
        children = _children(node, values)
        if one not in children:
            raise _missing_key(one, keys[:i], node, children, values)
        node = children[one]
    return node


def _children(node: Any, values: Values) -> dict[str, Any]:
    """Return what a node holds by its key as text; nothing where there are no keys."""
    opened = None if isinstance(node, LazyTensor) else values.open(node)
    if is_dict(opened):
        return {name: value for name, value in opened.items() if isinstance(name, str)}
    return {str(i): value for i, value in enumerate(opened)} if is_list(opened) else {}


def _missing_key(
    key: str, above: Sequence[str], node: Any, children: dict[str, Any], values: Values
) -> CheckpointError:
    below = f" below {backticked(_place(above))}" if above else ""
    shown = ", ".join(f"{backticked(name)} ({_kind(children[name])})" for name in sorted(children)[:SHOWN_ITEMS])
    more = f" and {len(children) - SHOWN_ITEMS:,} more" if len(children) > SHOWN_ITEMS else ""
    deeper = [name for name, value in children.items() if key in _fields(value, values)]
    remedy = did_you_mean(key, children) or ("Set the key to one of these." if children else None)
    if len(deeper) == 1:
        remedy = f"Did you mean the list {json.dumps([*above, deeper[0], key])}?"
    return CheckpointError(
        f"expected configuration key {backticked(key)}{below}, found {shown or _kind(node)}{more}",
        expected=key,
        found=tuple(children),
        remedy=remedy,
    )


def _fields(value: Any, values: Values) -> dict[Any, Any]:
    opened = values.open(value) if is_dict(value) or isinstance(value, Opaque | Scoped) else None
    return opened if is_dict(opened) else {}


def _kind(value: Any) -> str:
    if isinstance(value, LazyTensor):
        return "tensor"
    value = value.node if isinstance(value, Scoped) else value
    return backticked(value) if isinstance(value, Global | Opaque) else type_name(value)
