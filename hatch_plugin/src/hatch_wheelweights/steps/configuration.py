"""The configuration in a checkpoint, as the values that JSON has.

Knows which objects of a pickle have an obvious plain form (namespaces, paths, devices, dtypes, numpy's scalars,
OmegaConf's nodes) and how each looks in the tree. Guesses at no other: what has no plain form is an error with its
path. A tree can be hostile (deep, cyclic, nodes shared a thousandfold): depth and size end where a record's do.
"""

from __future__ import annotations

import functools
import json
import math
import re
from pathlib import PurePosixPath, PureWindowsPath
from typing import TYPE_CHECKING, Any, Final

import numpy as np

from hatch_wheelweights.checkpoint import Global, LazyTensor, Opaque
from hatch_wheelweights.checkpoint.values import type_name
from hatch_wheelweights.errors import CONFIG_KEY, CheckpointError, Do
from hatch_wheelweights.steps.survey import part_of_key
from wheelweights.config import field_path
from wheelweights.errors import SHOWN_ITEMS, backticked, did_you_mean, quoted

if TYPE_CHECKING:
    from collections.abc import Collection, Iterator, Sequence

    from hatch_wheelweights.checkpoint import Account

__all__ = ["config_value", "json_text", "place_of", "plain"]

MAX_DEPTH: Final = 30  # a record allows 32 levels, two of which are the document and `metadata`
MAX_BYTES: Final = 64 << 20  # of a record's header
STEPS_PER_VALUE: Final = 2
ITEMS_PER_STEP: Final = 16
BYTES_PER_VALUE: Final = 64  # about what a value takes in memory, so that a million shared ones end within seconds


def config_value(tree: Any, key: str | Sequence[str], account: Account) -> Any:
    """Return the plain form of what stands under a key, or a list of nested keys.

    Raises CheckpointError, with a list of what there is, for a key that is not there.
    """
    keys = [key] if isinstance(key, str) else list(key)
    node = tree
    for i, one in enumerate(keys):
        children = _children(node)
        if one not in children:
            raise _missing_key(one, keys[:i], node, children)
        node = children[one]
    return plain(node, place_of(keys), account)


def plain(value: Any, where: str, account: Account) -> Any:
    """Return a value of a checkpoint's tree in the form that JSON and msgpack have.

    Tuples and sets become lists (sets sorted), int keys strings, dtypes, devices and paths their names. Interpolations
    of OmegaConf stay as they are written. Raises CheckpointError with the path of what has no such form.
    """
    return _Conversion(where, account).value(value, ())


def json_text(value: Any, where: str = "config") -> str:
    """Return plain values as JSON; raise CheckpointError for an infinite float or NaN, which it has not."""
    for place, number in _floats(value, where):
        if not math.isfinite(number):
            raise CheckpointError(
                f"{place}: expected a number that JSON has, found {number}",
                remedy=Do("Read it with load_config, or bake it into a record with ", CONFIG_KEY, ": both keep it."),
            )
    return json.dumps(value, indent=2, ensure_ascii=False, allow_nan=False)


def place_of(key: str | Sequence[str]) -> str:
    """Return the path of a key, or of nested ones, as errors show it."""
    return functools.reduce(field_path, [key] if isinstance(key, str) else key, "")


def _floats(value: Any, where: str) -> Iterator[tuple[str, float]]:
    if isinstance(value, float):
        yield where, value
    elif isinstance(value, dict | list):
        for key, one in value.items() if isinstance(value, dict) else enumerate(value):
            yield from _floats(one, field_path(where, key))


# From the tree to plain values


class _Conversion:
    """One conversion: the name of its root, and what it has used of `MAX_BYTES`. `keys` lead from there to a value."""

    def __init__(self, where: str, account: Account) -> None:
        self.where = where
        self.account = account
        self.spent = 0
        self.simplified: dict[int, Any] = {}  # nodes, which many names may share, by identity

    def error(self, keys: tuple[Any, ...], fact: str, remedy: str | None = None) -> CheckpointError:
        return CheckpointError(f"{functools.reduce(field_path, keys, self.where)}: {fact}", remedy=remedy)

    def spend(self, size: int, keys: tuple[Any, ...]) -> None:
        self.account.charge(STEPS_PER_VALUE, BYTES_PER_VALUE + size)
        self.spent += BYTES_PER_VALUE + size
        if self.spent > MAX_BYTES:
            raise self.error(keys, f"the configuration is over {MAX_BYTES >> 20} MiB, which a record cannot hold")

    def value(self, value: Any, keys: tuple[Any, ...]) -> Any:
        self.spend(0, keys)
        while (simpler := self.simpler(value)) is not value:
            self.spend(0, keys)
            value = simpler
        if value is None or isinstance(value, bool | float):
            return value
        if isinstance(value, int):
            return self.integer(value, keys)
        if isinstance(value, str):
            return self.text(value, keys)
        if not isinstance(value, dict | list | tuple | set | frozenset):
            fact = f"expected a value that JSON has, found {_found(value)}"
            raise self.error(keys, fact, _remedy(value))
        if len(keys) == MAX_DEPTH:
            raise self.error(keys, f"expected at most {MAX_DEPTH} levels, found more, or a value that holds itself")
        return self.table(value, keys) if isinstance(value, dict) else self.items(value, keys)

    def simpler(self, value: Any) -> Any:
        if not isinstance(value, Opaque):
            return _simplified(value)
        if id(value) not in self.simplified:
            self.account.charge(len(value.items) // ITEMS_PER_STEP + len(value.args))
            self.simplified[id(value)] = _simplified(value)
        return self.simplified[id(value)]

    def integer(self, value: int, keys: tuple[Any, ...]) -> int:
        if not -(1 << 63) <= value < 1 << 64:
            raise self.error(keys, f"expected an integer of at most 64 bits, found one of {value.bit_length():,}")
        return value

    def text(self, value: str, keys: tuple[Any, ...]) -> str:
        self.spend(len(value), keys)
        try:
            value.encode()
        except UnicodeEncodeError as error:  # pickles can hold half of a surrogate pair
            raise self.error(keys, f"expected text, found half of a character in {quoted(value)}") from error
        return value

    def table(self, value: dict[Any, Any], keys: tuple[Any, ...]) -> dict[str, Any]:
        made: dict[str, Any] = {}
        for key, one in value.items():
            name = _name(key)
            if name is None:
                raise self.error(keys, f"expected text or integers as keys, found {_found(key)}")
            if name in made:
                raise self.error((*keys, name), "two keys are the same as text")
            made[self.text(name, keys)] = self.value(one, (*keys, name))
        return made

    def items(self, value: Collection[Any], keys: tuple[Any, ...]) -> list[Any]:
        made = [self.value(one, (*keys, i)) for i, one in enumerate(value)]
        return sorted(made, key=_order) if isinstance(value, set | frozenset) else made


def _name(key: Any) -> str | None:
    """Return a key of a configuration as JSON would have it: text, or a whole number as text; None for others."""
    return None if key is None or isinstance(key, (bool, float)) else part_of_key(key)


def _order(value: Any) -> tuple[str, Any]:
    """Return a sort key for plain values of any types, so that a set gives the same list in every run."""
    if isinstance(value, list):
        return "list", [_order(one) for one in value]
    if isinstance(value, int | float) and not math.isnan(value):
        return "number", value
    return type_name(value), str(value)


_DTYPE: Final = re.compile(r"bool_?|(b?float|complex|q?u?int|bits)[0-9]\w*")
_NAMESPACES: Final = {("argparse", "Namespace"), ("types", "SimpleNamespace")}
_DICTS: Final = re.compile(r"\w*[Dd]ict|Munch|Bunch|Box")
_PATHS: Final = {
    "Path": PurePosixPath,
    "PosixPath": PurePosixPath,
    "PurePath": PurePosixPath,
    "PurePosixPath": PurePosixPath,
    "WindowsPath": PureWindowsPath,
    "PureWindowsPath": PureWindowsPath,
}


def _simplified(value: Any) -> Any:
    """Return a known node one step nearer to its plain form; the value itself where there is no such step."""
    if (
        isinstance(value, np.generic)
        and value.dtype.kind in "biufU"
        and not isinstance(item := value.item(), np.generic)
    ):
        return item
    if isinstance(value, np.dtype):
        return value.name
    if isinstance(value, Global) and value.module in ("torch", "numpy") and _DTYPE.fullmatch(value.name):
        return value.name.rstrip("_")
    return _simplified_object(value) if isinstance(value, Opaque) else value


def _simplified_object(node: Opaque) -> Any:
    args, state = node.args, node.state
    if (node.module, node.name) in _NAMESPACES:
        return {} if state is None else state
    if (node.module, node.name) == ("torch", "device") and args and _are(args[:1], str) and _are(args[1:], int):
        return ":".join(map(str, args))
    if node.module in ("pathlib", "pathlib._local") and node.name in _PATHS and _are(args, str):
        return str(_PATHS[node.name](*args))
    if node.module.startswith("omegaconf.") and isinstance(state, dict):
        return state.get("_val", state.get("_content", node))
    if _DICTS.fullmatch(node.name) and not args and (node.items or state is None):
        return dict(node.items) if all(map(_is_pair, node.items)) else node
    return node


def _is_pair(item: Any) -> bool:
    return isinstance(item, tuple) and len(item) == 2 and part_of_key(item[0]) is not None


def _are(values: tuple[Any, ...], kind: type) -> bool:
    return all(type(value) is kind for value in values)


# What is wrong


def _remedy(value: Any) -> str | None:
    if isinstance(value, Global | Opaque):
        return "Save it as a dict where its class is installed, or set the key to a part without it."
    return "Set the key to a part that holds no tensor." if isinstance(value, LazyTensor) else None


def _found(value: Any) -> str:
    if isinstance(value, LazyTensor):
        return f"a tensor ({backticked(value.dtype)}, shape {value.shape})"
    if isinstance(value, Opaque):
        return f"an object of class {backticked(value)}"
    if isinstance(value, Global):
        return f"the class or function {backticked(value)}"
    return backticked(type_name(value))


def _children(node: Any) -> dict[str, Any]:
    """Return what a node holds by its key as text; nothing where there are no keys."""
    for _ in range(MAX_DEPTH):
        node = _simplified(node)
    items = node.items() if isinstance(node, dict) else enumerate(node) if isinstance(node, list | tuple) else ()
    return {name: value for key, value in items if (name := part_of_key(key)) is not None}


def _missing_key(key: str, above: Sequence[str], node: Any, children: dict[str, Any]) -> CheckpointError:
    below = f" below {backticked(place_of(above))}" if above else ""
    shown = ", ".join(f"{backticked(name)} ({_kind(children[name])})" for name in sorted(children)[:SHOWN_ITEMS])
    more = f" and {len(children) - SHOWN_ITEMS:,} more" if len(children) > SHOWN_ITEMS else ""
    deeper = [
        name for name, value in children.items() if isinstance(inner := _simplified(value), dict) and key in inner
    ]
    remedy = did_you_mean(key, children) or ("Set the key to one of these." if children else None)
    if len(deeper) == 1:
        remedy = f"Did you mean the list {json.dumps([*above, deeper[0], key])}?"
    return CheckpointError(
        f"expected configuration key {backticked(key)}{below}, found {shown or _kind(node)}{more}",
        expected=key,
        found=tuple(children),
        remedy=remedy,
    )


def _kind(value: Any) -> str:
    if isinstance(value, LazyTensor):
        return "tensor"
    return backticked(value) if isinstance(value, Global | Opaque) else type_name(value)
