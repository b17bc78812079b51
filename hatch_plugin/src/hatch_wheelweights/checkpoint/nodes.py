"""What a pickle gives besides plain values: two inert nodes.

A class or function that a pickle names is a `Global`, which is never imported; an object of an unknown class is an
`Opaque`, which only remembers how it was made.
"""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Callable
from dataclasses import dataclass, field, replace
from typing import Any, Final, NamedTuple, TypeAlias, cast

from hatch_wheelweights.checkpoint.tensors import LazyTensor
from hatch_wheelweights.checkpoint.values import Bytearray, Deque, Ordered, Python2Text, is_dict, is_list, is_tuple
from hatch_wheelweights.errors import UnsafePickleError
from wheelweights.errors import backticked

__all__ = [
    "Array",
    "Call",
    "Global",
    "Meaning",
    "Opaque",
    "Parameter",
    "Uncalled",
    "can_require_grad",
    "carrying",
    "check_called",
    "described",
    "holds_anything",
    "hooked",
    "set_state",
    "unsafe",
]

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

    @property
    def named_only(self) -> bool:
        """Whether the name is one that may be in a file, and may not be called."""
        return isinstance(self.call, Uncalled)

    def __str__(self) -> str:
        return f"{self.module}.{self.name}"


@dataclass(frozen=True, slots=True)
class Uncalled:
    """The call of a function that a pickle may name, and may not call: it raises UnsafePickleError.

    `known` makes an inert value of the arguments with which it is harmless, or None.
    """

    module: str
    name: str
    known: Call | None = None

    def __call__(self, args: tuple[Any, ...]) -> Any:
        """Return what is known to be harmless; raise UnsafePickleError for everything else."""
        found = self.known(args) if self.known else None
        if found is None:
            raise unsafe(f"{self.module}.{self.name}", "calls")
        return found


def unsafe(name: str, act: str) -> UnsafePickleError:
    """Return the error of a pickle that asks for a name, calls it or gives it a state."""
    return UnsafePickleError(
        f"pickle {act} {backticked(name)}, which no state_dict needs",
        found=name,
        remedy="Nothing was run. Do not load this file with torch either; "
        "get the weights as .safetensors from someone you trust.",
    )


@dataclass(eq=False)
class Opaque:
    """An object of an unknown class: what was called, with what, and the state it was given; inert.

    `state` is what BUILD gave, `items` what a list (values) or, where they are `keyed`, a dict (pairs) subclass holds.
    One that is `closed` is of a known class: it has no items, and no state but the one that its class makes something
    of.
    """

    module: str
    name: str
    args: tuple[Any, ...] = ()
    state: Any = None
    items: list[Any] = field(default_factory=list[Any])
    closed: bool = False
    keyed: bool = False

    def __str__(self) -> str:
        return f"{self.module}.{self.name}"

    def __repr__(self) -> str:
        return f"<Opaque {self.module}.{self.name}>"  # not the content: that can be cyclic


class Array(LazyTensor):
    """An array of numpy: a tensor here, but not where torch expects one, and no key."""

    __slots__ = ()


class Parameter(LazyTensor):
    """A tensor that `torch.nn.Parameter` was called with: it may be given a state, which has no values in it.

    Its `attributes` are a list, to which the parts of such a state are added.
    """

    __slots__ = ()


def can_require_grad(tensor: LazyTensor) -> bool:
    """Tell whether torch computes gradients of such a tensor: not of whole numbers, nor of bools."""
    return tensor.dtype.startswith(("float", "bfloat", "complex"))


def set_state(target: Any, state: Any) -> None:
    """Give a state to a value which is no node: two take one, as their `attributes`, and it has no values in it.

    An OrderedDict takes a dict of attributes (`_metadata`), none of which stands for a method; a Parameter takes
    (requires_grad, anything, hooks), as torch 0.2 and 0.3 wrote it. Raises TypeError for anything else.
    """
    if isinstance(target, Ordered):
        if not is_dict(state) or not all(isinstance(name, str) and not hasattr(_ORDERED, name) for name in state):
            raise TypeError("the state of an OrderedDict is not a dict of attributes")
        target.attributes = target.attributes or {}
        target.attributes.update(state)
    elif isinstance(target, Parameter):
        if not is_tuple(state, 3) or not isinstance(state[0], bool) or (state[0] and not can_require_grad(target)):
            raise TypeError("the state of a Parameter is malformed")
        target.attributes.extend(part for part in state[1:] if part is not None)
    else:
        raise TypeError(f"{described(target)} is given a state")


def check_called(function: Global, args: Any, *, new: bool) -> None:
    """Raise UnsafePickleError for a function that may only be named: called, made an object of, or handed on.

    What is known to be called might call it in its turn, as the class of an array or as what rebuilds a tensor; a
    defaultdict does not when it is made.
    """
    named_only = function.named_only
    if named_only and (new or not is_tuple(args)):
        raise unsafe(str(function), "calls")
    if function.call and not named_only and is_tuple(args) and function.name != "defaultdict":
        for arg in args:
            if isinstance(arg, Global) and arg.named_only:
                raise unsafe(str(arg), f"has {backticked(function)} use")


def hooked(tensor: LazyTensor, hooks: Any) -> LazyTensor:
    """Return the tensor with its backward hooks, of which nearly all have none."""
    return carrying(tensor, {"_backward_hooks": hooks}) if holds_anything(hooks) else tensor


def carrying(tensor: LazyTensor, state: Any) -> LazyTensor:
    """Return the tensor with what a pickle gives it as attributes, besides those it has."""
    if not holds_anything(state):
        return tensor
    both = state if tensor.attributes is None else (tensor.attributes, state)
    return replace(tensor, attributes=both)


def holds_anything(value: Any) -> bool:
    """Tell whether hooks or a state are anything but None, nothing, or two of them.

    No tuple is looked through that is in another: one that holds the same tuple twice, which holds another twice, and
    so on, would have no end.
    """
    if is_tuple(value):
        return len(value) > 2 or any(map(_is_something, value))  # of __dict__ and of __slots__
    return _is_something(value)


def _is_something(value: Any) -> bool:
    return bool(value) if is_dict(value) or is_list(value) or is_tuple(value) else value is not None


_ORDERED: Final = OrderedDict[Any, Any]()

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
