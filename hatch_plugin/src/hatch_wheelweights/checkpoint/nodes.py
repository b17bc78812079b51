"""What a pickle gives besides plain values: two inert nodes; and which values may be keys.

A class or function that a pickle names is a `Global`, which is never imported; an object of an unknown class is an
`Opaque`, which only remembers how it was made.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any, Final, NamedTuple, TypeAlias, cast

import numpy as np

from hatch_wheelweights.checkpoint.tensors import LazyTensor
from hatch_wheelweights.checkpoint.values import Bytearray, Deque, Ordered, Python2Text, is_dict, is_tuple
from wheelweights.errors import backticked

__all__ = [
    "MAX_KEY_ITEMS",
    "NEAR_NUMBER",
    "Array",
    "Call",
    "Global",
    "KeyGuard",
    "Meaning",
    "Opaque",
    "Parameter",
    "can_require_grad",
    "check_state",
    "described",
]

MAX_KEY_ITEMS: Final = 64  # of a tuple as a dict key: hashing a tuple is not cached
MAX_KEY_WALK: Final = 1024  # the same, with those of tuples in it
MAX_KEY_INT: Final = 1 << 60  # beyond it, Python's hash of an int can be made to collide with any other
MAX_NUMBER_TUPLES: Final = 5_000  # as keys: the hashes of tuples of numbers can be made to collide
MAX_FAR_NUMBERS: Final = 5_000  # as keys, and so can those of numbers beyond these and four times the number of keys
NEAR_NUMBER: Final = 1 << 16

Call: TypeAlias = Callable[[tuple[Any, ...]], Any]
SetState: TypeAlias = Callable[["Opaque", Any], Any]


class Meaning(NamedTuple):
    """What a known name means: what calling it gives, what `__new__` of it gives, what a state makes of that.

    Without `new`, it is no class, or one whose `__new__` no checkpoint needs.
    """

    call: Call
    new: Call | None = None
    setstate: SetState | None = None


@dataclass(frozen=True, slots=True)
class Global:
    """A class or function that a pickle names; never imported.

    `call`, `new` and `setstate` are those of its `Meaning`; without `call` it is unknown, and gives an `Opaque`.
    """

    module: str
    name: str
    call: Call | None = field(default=None, compare=False, repr=False)
    new: Call | None = field(default=None, compare=False, repr=False)
    setstate: SetState | None = field(default=None, compare=False, repr=False)

    def __str__(self) -> str:
        return f"{self.module}.{self.name}"


@dataclass(eq=False)
class Opaque:
    """An object of an unknown class: what was called, with what, and the state it was given; inert.

    `state` is what BUILD gave, `items` what a list (values) or dict (pairs) subclass holds. One that is `closed` is of
    a known class: it has no items, and no state but the one that its class makes something of.
    """

    module: str
    name: str
    args: tuple[Any, ...] = ()
    state: Any = None
    items: list[Any] = field(default_factory=list[Any])
    closed: bool = False

    def __str__(self) -> str:
        return f"{self.module}.{self.name}"

    def __repr__(self) -> str:
        return f"<Opaque {self.module}.{self.name}>"  # not the content: that can be cyclic


class Array(LazyTensor):
    """An array of numpy: a tensor here, but not where torch expects one, and no key."""


class Parameter(LazyTensor):
    """A tensor that `torch.nn.Parameter` was called with: it may be given a state, which has no values in it."""


def can_require_grad(tensor: LazyTensor) -> bool:
    """Tell whether torch computes gradients of such a tensor: not of whole numbers, nor of bools."""
    return tensor.dtype.startswith(("float", "bfloat", "complex"))


def check_state(target: Any, state: Any) -> None:
    """Check the state that a value which is no node is given: two take one, and it has no values in it.

    An OrderedDict takes a dict of attributes (`_metadata`), none of which stands for a method; a Parameter takes
    (requires_grad, anything, hooks), as torch 0.2 and 0.3 wrote it. Raises TypeError for anything else.
    """
    if isinstance(target, Ordered):
        if not is_dict(state) or not all(isinstance(name, str) and not hasattr(target, name) for name in state):
            raise TypeError("the state of an OrderedDict is not a dict of attributes")
    elif isinstance(target, Parameter):
        if not is_tuple(state, 3) or not isinstance(state[0], bool) or (state[0] and not can_require_grad(target)):
            raise TypeError("the state of a Parameter is malformed")
    else:
        raise TypeError(f"{described(target)} is given a state")


_CALLED: Final[dict[type[object], str]] = {
    Ordered: "an OrderedDict",
    Deque: "a deque",
    Bytearray: "a bytearray",
    Python2Text: "a str",
    Parameter: "a parameter",
    Array: "an array",
    LazyTensor: "a tensor",
}


def described(value: Any) -> str:
    """Return what an error calls a value: the name of a node in backticks, the type of any other."""
    if isinstance(value, (Global, Opaque)):
        return backticked(value)
    kind = cast("type[object]", type(value))
    return _CALLED.get(kind) or f"a {kind.__name__}"


_COSTLY: Final = (complex, np.complexfloating, frozenset)
_KEYS: Final = (str, bytes, int, float, np.generic, Global, Opaque, LazyTensor, type(None), *_COSTLY)
_MADE_BY_NUMPY: Final = ("_frombuffer", "_reconstruct", "ndarray")


def _is_hashable(key: Any) -> bool:
    if isinstance(key, Opaque) and key.closed and key.name in _MADE_BY_NUMPY:
        return False  # an array, too, if not one that can be a tensor
    return isinstance(key, _KEYS) and not isinstance(key, (Bytearray, Array))


class KeyGuard:
    """Keeps the hashing of keys cheap: counts those whose hashes a file can choose so that they collide."""

    def __init__(self) -> None:
        self.steps = 0  # what looking through keys took
        self._keys = self._tuples = self._far = 0

    def key(self, key: Any) -> Any:
        """Return a dict key or set item, replaced by a node unless its hash is cheap and cannot be made to collide.

        Nodes and tensors are told apart by identity. Raises TypeError for a value that is no key in Python either.
        """
        self._keys += 1
        self.steps += 1
        if is_tuple(key):
            self._check_hashable(key)
        return key if self._is_cheap(key) else Opaque("builtins", type(key).__name__, (key,))

    def _check_hashable(self, key: tuple[Any, ...]) -> None:
        """Raise TypeError for a tuple with anything in it that is no key, and for one that is too large to tell."""
        stack: list[Any] = [key]
        left = MAX_KEY_WALK
        while stack:
            items = stack.pop()
            left -= len(items)
            self.steps += len(items)
            if left < 0:
                raise TypeError(f"a key has more than {MAX_KEY_WALK:,} items")
            for item in items:
                if is_tuple(item):
                    stack.append(item)
                elif not _is_hashable(item):
                    raise TypeError(f"{described(item)} is a key")

    def _is_cheap(self, key: Any) -> bool:
        if is_tuple(key):
            return self._is_cheap_tuple(key)
        if isinstance(key, _COSTLY):
            return False
        if not _is_hashable(key):
            raise TypeError(f"{described(key)} is a key")
        if isinstance(key, (int, float, np.number)):
            return self._is_cheap_number(cast("float", key))
        return True

    def _is_cheap_tuple(self, key: tuple[Any, ...]) -> bool:
        """Text that comes first hides, by a secret of the process, what the hashes of later items are combined with."""
        if len(key) > MAX_KEY_ITEMS or any(is_tuple(item) or not self._is_cheap(item) for item in key):
            return False
        if key and isinstance(key[0], (str, bytes)):
            return True
        self._tuples += 1
        return self._tuples <= MAX_NUMBER_TUPLES

    def _is_cheap_number(self, key: float) -> bool:
        """Numbers that are not far from the number of keys fill a table evenly; others can be chosen to collide."""
        if isinstance(key, int) and abs(key) >= MAX_KEY_INT:
            return False
        value = float(key)
        near = value.is_integer() and abs(value) < NEAR_NUMBER + 4 * self._keys
        self._far += not near
        return near or self._far <= MAX_FAR_NUMBERS
