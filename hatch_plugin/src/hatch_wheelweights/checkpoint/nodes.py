"""What a pickle gives besides plain values: two inert nodes; and which values may be keys.

A class or function that a pickle names is a `Global`, which is never imported; an object of an unknown class is an
`Opaque`, which only remembers how it was made.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any, Final, TypeAlias

import numpy as np

from hatch_wheelweights.checkpoint.tensors import LazyTensor
from hatch_wheelweights.checkpoint.values import is_tuple
from wheelweights.errors import backticked

__all__ = ["MAX_NUMBER_TUPLES", "Call", "Global", "Opaque", "cheap_key", "described", "has_text"]

MAX_KEY_ITEMS: Final = 64  # of a tuple as a dict key: hashing a tuple is not cached
MAX_KEY_INT: Final = 1 << 60  # beyond it, Python's hash of an int can be made to collide with any other
MAX_NUMBER_TUPLES: Final = 5_000  # as keys: the hashes of tuples of numbers can be made to collide

Call: TypeAlias = Callable[[tuple[Any, ...]], Any]


@dataclass(frozen=True, slots=True)
class Global:
    """A class or function that a pickle names; never imported.

    `call` says what calling it gives, `setstate` what BUILD makes of the result of such a call; without them the
    result is an `Opaque`.
    """

    module: str
    name: str
    call: Call | None = field(default=None, compare=False, repr=False)
    setstate: Callable[[Opaque, Any], Any] | None = field(default=None, compare=False, repr=False)

    def __str__(self) -> str:
        return f"{self.module}.{self.name}"


@dataclass(eq=False)
class Opaque:
    """An object of an unknown class: what was called, with what, and the state it was given; inert.

    `state` is what BUILD gave, `items` what a list (values) or dict (pairs) subclass holds.
    """

    module: str
    name: str
    args: tuple[Any, ...] = ()
    state: Any = None
    items: list[Any] = field(default_factory=list[Any])

    def __str__(self) -> str:
        return f"{self.module}.{self.name}"

    def __repr__(self) -> str:
        return f"<Opaque {self.module}.{self.name}>"  # not the content: that can be cyclic


def described(value: Any) -> str:
    """Return what an error calls a value: the name of a node in backticks, the type of any other."""
    return backticked(value) if isinstance(value, (Global, Opaque)) else f"a {type(value).__name__}"


_KEYS: Final = (str, bytes, int, float, np.generic, Global, Opaque, LazyTensor, type(None))


def cheap_key(key: Any, *, numbers: bool = True) -> Any:
    """Return a dict key or set item, replaced by a node unless its hash is cheap and cannot be made to collide.

    Nodes and tensors are told apart by identity. `numbers` says whether a tuple of numbers is still allowed as a key.
    Raises TypeError for a value that is no key in Python either.
    """
    return key if _is_cheap(key, numbers=numbers) else Opaque("builtins", type(key).__name__, (key,))


def _is_cheap(key: Any, *, numbers: bool) -> bool:
    if is_tuple(key):
        return _is_plain(key) and (numbers or has_text(key))
    if isinstance(key, (complex, frozenset)):  # np.complex128 is a complex
        return False
    if not isinstance(key, _KEYS):
        raise TypeError(f"{described(key)} is a key")
    return not isinstance(key, int) or abs(key) < MAX_KEY_INT


def _is_plain(key: tuple[Any, ...]) -> bool:
    return len(key) <= MAX_KEY_ITEMS and all(not is_tuple(item) and cheap_key(item) is item for item in key)


def has_text(key: tuple[Any, ...]) -> bool:
    """Tell whether a tuple holds text or bytes, whose hashes depend on a secret of the process."""
    return any(isinstance(item, (str, bytes)) for item in key)
