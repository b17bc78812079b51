"""What the values of a checkpoint are without their classes: a step from any value to what JSON, or Python, has for it.

Knows how Python, numpy, torch and the makers of configurations pickle theirs: namespaces, dataclasses and other
objects by their attributes, dicts and lists by their items, named tuples by their items, enums by their values, dates,
times, paths, exact numbers, dtypes, devices, small tensors, OmegaConf's nodes. Runs nothing and imports nothing of
what a file names. What has no such form comes as `Formless`, which says what it is.
"""

from __future__ import annotations

import math
import re
from collections.abc import Sized
from typing import TYPE_CHECKING, Any, Final

import numpy as np

from hatch_wheelweights.checkpoint import Global, LazyTensor, Opaque
from hatch_wheelweights.checkpoint.stdlib_names import STANDARD_LIBRARY
from hatch_wheelweights.checkpoint.values import is_dict, is_list, type_name
from hatch_wheelweights.errors import CheckpointError
from hatch_wheelweights.steps.interpolation import Interpolations, Scoped, content, is_omega, scoped
from hatch_wheelweights.steps.known_objects import KNOWN
from hatch_wheelweights.steps.objects import attributes, is_module, items_of, part_of_key
from wheelweights.config import Formless, Unnamed
from wheelweights.errors import backticked, quoted
from wheelweights.plain import is_collection, is_sequence

if TYPE_CHECKING:
    from collections.abc import Collection, Iterable

    from hatch_wheelweights.checkpoint import Account

__all__ = ["BYTES_PER_VALUE", "MAX_NUMBERS", "Values"]

MAX_NUMBERS: Final = 4_096  # of a tensor or an array
MAX_STEPS: Final = 30  # from an object to its plain form, and of a set in a set
STEPS_PER_VALUE: Final = 2
ITEMS_PER_STEP: Final = 8
STORED_BYTES_PER_STEP: Final = 256  # of a storage, all of which a tensor may have to inflate
BYTES_PER_VALUE: Final = 64  # about what a value takes in memory, so that a million shared ones end within seconds

_AS_DICT: Final = "Save it as a dict where its class is installed, or set the key to a part without it."
_NO_TENSOR: Final = "Set the key to a part that holds no tensor."


class Values:
    """The values of one configuration; all work on them is charged to the account."""

    def __init__(self, account: Account) -> None:
        self.account = account
        self._interpolations = Interpolations(account)

    def open(self, value: Any) -> Any:
        """Return a value as None, a bool, int, float, complex, str, bytes, list or dict, or as `Formless`.

        The items of a list and the values of a dict are as the file has them, to be opened in their turn. The keys of a
        dict are text, or `Formless`. Sets become sorted lists.
        """
        for _ in range(MAX_STEPS):
            self.account.charge(STEPS_PER_VALUE, BYTES_PER_VALUE)
            nearer = self._nearer(value)
            if nearer is value:
                return value
            value = nearer
        return Formless("an object in an object, and so on")

    def _nearer(self, value: Any) -> Any:
        """Return a value one step nearer to its plain form; the value itself where it is plain, or has none."""
        if value is None or isinstance(value, bool | Formless) or type(value) in (int, float, complex, bytes):
            return value
        if isinstance(value, str):
            return self._text(value)
        if is_dict(value):
            return self._table(value.items(), value)
        if is_collection(value):
            return self._items(value)
        return self._numbers(value) if isinstance(value, LazyTensor) else self._inert(value)

    def _inert(self, value: Any) -> Any:
        if isinstance(value, Scoped | Opaque):
            return self._object(value)
        return _of_global(value) if isinstance(value, Global) else _of_python(value)

    def _text(self, text: str) -> str | Formless:
        self.account.charge(0, len(text))
        plain = text if type(text) is str else str(text)
        return plain if _is_whole(plain) else Formless(f"half of a character in {quoted(plain)}")

    def _items(self, items: Collection[Any]) -> list[Any]:
        self.account.charge(len(items) // ITEMS_PER_STEP)
        if not is_sequence(items):
            return sorted(items, key=self._order)
        return items if is_list(items) else list(items)

    def _order(self, value: Any, depth: int = 0) -> tuple[str, Any]:
        """Return a sort key for values of any types, so that a set gives the same list in every run."""
        value = self.open(value)
        if is_list(value):
            return "list", [self._order(one, depth + 1) for one in value] if depth < MAX_STEPS else []
        if isinstance(value, int | float) and not math.isnan(value):
            return "number", value
        return type_name(value), value.found if isinstance(value, Formless) else str(value)

    def _table(self, items: Iterable[tuple[Any, Any]], table: dict[Any, Any] | None = None) -> dict[Any, Any]:
        """Return items under their keys as text; `table` itself, if that is what the items are of, and it has them."""
        pairs = items if isinstance(items, list) else list(items)
        self.account.charge(1 + len(pairs) // ITEMS_PER_STEP)
        if table is not None and all(_is_final(key) for key in table):
            return table
        self.account.charge(len(pairs) // 2)
        made: dict[Any, Any] = {}
        for key, value in pairs:
            name = self._name(key)
            made[name] = Formless("two of them, under keys that are the same as text") if name in made else value
        return made

    def _name(self, key: Any) -> str | Formless:
        """Return a key as text, as JSON would have it."""
        opened = self.open(key) if isinstance(key, Global | Opaque) else key
        if opened is None or isinstance(opened, bool | float) or (name := part_of_key(opened)) is None:
            return Formless(_found(key))
        self.account.charge(0, len(name))
        return name if _is_whole(name) else Formless(f"half of a character in {quoted(name)}")

    def _object(self, value: Scoped | Opaque) -> Any:
        if isinstance(value, Opaque) and not is_omega(value):
            held = len(value.items) + (len(value.state) if isinstance(value.state, Sized) else 0)
            self.account.charge(held // ITEMS_PER_STEP + len(value.args))
            plain = _of_object(value)
            return self._table(plain) if isinstance(plain, _Pairs) else plain
        place = self._interpolations.resolved(value if isinstance(value, Scoped) else scoped(value))
        if not isinstance(place, Scoped):
            return place
        held = content(place.node)
        if is_dict(held):
            return self._table([(key, place.below(one)) for key, one in held.items()])
        if is_list(held):
            self.account.charge(len(held) // 2)
            return [place.below(one) for one in held]
        return held

    def _numbers(self, tensor: LazyTensor) -> Any:
        """Return the values of a small tensor as nested lists, as `tolist` gives them; a number for one of no axis."""
        count = math.prod(max(size, 1) for size in tensor.shape)
        if count > MAX_NUMBERS or tensor.fault is not None:
            return Formless(_found(tensor), _NO_TENSOR)
        stored = sum(storage.nbytes for storage in tensor.storages)
        self.account.charge(count + stored // STORED_BYTES_PER_STEP, count * BYTES_PER_VALUE)
        try:
            array = tensor.numpy()
        except CheckpointError:
            return Formless(f"{_found(tensor)} that cannot be read", _NO_TENSOR)
        return (array if array.dtype.kind in "biufc" else array.astype(np.float64)).tolist()


def _is_final(key: Any) -> bool:
    return isinstance(key, Formless) or (type(key) is str and _is_whole(key))


def _is_whole(text: str) -> bool:
    """Tell whether a text has no half of a surrogate pair in it, as pickles can."""
    if text.isascii():
        return True
    try:
        text.encode()
    except UnicodeEncodeError:
        return False
    return True


def _found(value: Any) -> str:
    """Return what a message calls a value without a plain form."""
    if isinstance(value, LazyTensor):
        return f"a tensor ({backticked(value.dtype)}, shape {value.shape})"
    if isinstance(value, Opaque):
        return f"an object of class {backticked(value)}"
    if isinstance(value, Global):
        return f"the class or function {backticked(value)}"
    return backticked(type_name(value))


# Values of Python and numpy, and names


def _of_python(value: Any) -> Any:
    if isinstance(value, bytes):  # a bytearray
        return bytes(value)
    if isinstance(value, np.dtype):
        return value.name
    item: Any = value.item() if _is_scalar(value) and value.dtype.kind in "biufcUS" else value
    return Formless(_found(value)) if item is value or _is_scalar(item) else item


def _is_scalar(value: Any) -> bool:
    """Tell whether a value is a scalar of numpy; so is what Python has no type for (a long double)."""
    return isinstance(value, np.generic)


_DTYPE: Final = re.compile(r"bool_?|(b?float|complex|q?u?int|bits)[0-9]\w*")


def _of_global(value: Global) -> str | Formless:
    """Return the name of a dtype or of an enum's member; a class or function has no plain form.

    Some versions of Python pickle a member by its name, as they do a method of a class: only names in capitals are
    taken for members.
    """
    if value.module in ("torch", "numpy") and _DTYPE.fullmatch(value.name):
        return value.name.rstrip("_")
    owner, _, last = value.name.rpartition(".")
    if owner and last.isupper() and _is_of_package(value):
        return last
    return Formless(_found(value), _AS_DICT, last if owner else None)


def _is_of_package(node: Global | Opaque) -> bool:
    """Tell whether a class is none of Python or numpy, whose own are known by name here."""
    return node.module.partition(".")[0] not in STANDARD_LIBRARY | {"numpy"}


# Objects


class _Pairs(list[tuple[Any, Any]]):
    """Keys and values that are to become a dict."""

    __slots__ = ()


def _of_object(node: Opaque) -> Any:
    known = KNOWN.get((node.module, node.name))
    if known is None:
        return _of_class(node)
    try:
        return known(node)
    except (ValueError, TypeError, LookupError, ArithmeticError):
        return Formless(_found(node), _AS_DICT)


def _of_class(node: Opaque) -> Any:
    """Return what an object of any class holds: its items, else its attributes, else what it was made of."""
    nothing = Formless(_found(node), _AS_DICT)
    if node.closed or not _is_of_package(node) or is_module(node) or node.module.startswith("omegaconf."):
        return nothing
    if node.items:
        return _Pairs(items_of(node) or ()) if node.keyed else list(node.items)
    held = _declared_attributes(node.state if is_dict(node.state) else dict(attributes(node)))
    if held and not node.args:
        return held
    if is_list(node.state) and node.state and not node.args:  # a frozen dataclass with slots
        return Unnamed(node.state)
    return nothing if node.state else _of_arguments(node, nothing)


def _of_arguments(node: Opaque, nothing: Formless) -> Any:
    """Return what an object without a state was made of; an empty dict or list for a class that is called one.

    That is all there is of a named tuple (its items), an enum's member (its value) and a subclass of str (its text). An
    empty dict or list holds nothing that tells it from other objects.
    """
    is_class = node.name.rpartition(".")[2].lstrip("_")[:1].isupper()
    if len(node.args) > 1:
        return list(node.args) if is_class else nothing
    if node.args:
        return node.args[0] if is_class and _is_value(node.args[0]) else nothing
    if _DICTS.fullmatch(node.name):
        return {}
    return [] if _LISTS.fullmatch(node.name) else nothing


def _declared_attributes(held: dict[Any, Any]) -> dict[Any, Any]:
    """Return attributes without the bookkeeping of pydantic, which keeps the fields of a model in a dict of their own.

    That of ml_collections does so too.
    """
    fields, more = held.get("__dict__"), held.get("__pydantic_extra__")
    if is_dict(fields):
        return {**fields, **more} if is_dict(more) else fields
    fields = held.get("_fields")
    return fields if is_dict(fields) and "_locked" in held else held


def _is_value(value: Any) -> bool:
    return value is None or isinstance(value, str | bytes | int | float | tuple)


_DICTS: Final = re.compile(r"\w*[Dd]ict|Munch|Bunch|Box|CfgNode")
_LISTS: Final = re.compile(r"\w*[Ll]ist")
