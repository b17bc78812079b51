"""Python's own containers and plain values: what their names in a pickle mean.

Each takes the arguments that Python's picklers write. Others mean something in Python, too, and rarely what one would
think (`set.__new__` of a list is empty, a Counter counts a list); they are refused.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final

from hatch_wheelweights.checkpoint.keys import KeyGuard
from hatch_wheelweights.checkpoint.nodes import Global, Meaning, Opaque
from hatch_wheelweights.checkpoint.values import Bytearray, Deque, Ordered, are_ints, is_dict, is_list, is_tuple

if TYPE_CHECKING:
    from hatch_wheelweights.checkpoint.nodes import Call

__all__ = ["CONTAINERS"]

PLACES_PER_PAIR: Final = 16  # that a dict may look at for its key: a call on a list is charged a step for each pair


def _items(args: tuple[Any, ...]) -> list[Any]:
    if not args:
        return []
    items = args[0] if len(args) == 1 else None
    if not (is_list(items) or is_tuple(items)):
        raise TypeError("a container is made from something that is not a list")
    return list(items)


def _dict(args: tuple[Any, ...]) -> dict[Any, Any]:
    if len(args) == 1 and is_dict(args[0]):
        return dict(args[0])
    pairs = _items(args)
    if not all(is_tuple(pair, 2) or (is_list(pair) and len(pair) == 2) for pair in pairs):
        raise TypeError("a dict is made from something that is not pairs of a key and a value")
    guard = KeyGuard(PLACES_PER_PAIR)
    made: dict[Any, Any] = {}
    guard.fill(made, [(guard.key(key, followed=True), value) for key, value in pairs])
    return made


def _ordered(args: tuple[Any, ...]) -> Ordered:
    return Ordered(_dict(args)) if args else Ordered()


def _tuple(args: tuple[Any, ...]) -> tuple[Any, ...]:
    return tuple(_items(args))


def _counter(args: tuple[Any, ...]) -> dict[Any, Any]:
    if args and not is_dict(args[0]):
        raise TypeError("a Counter is made from something that is not a dict")
    return _dict(args)


def _default_dict(args: tuple[Any, ...]) -> dict[Any, Any]:
    """Return what is in a defaultdict; its first argument makes new values, and is a class where it is not None."""
    if args and args[0] is not None and not _makes_values(args[0]):
        raise TypeError("a defaultdict makes values by something that cannot be called")
    return _dict(args[1:])


def _makes_values(value: Any) -> bool:
    """Tell whether a node can be called: an unknown class or function, one of Python's, or a partial one."""
    if isinstance(value, Global):
        return value.call is None or value.named_only or value.module in ("builtins", "collections")
    return isinstance(value, Opaque) and (value.module, value.name) == ("functools", "partial")


def _set(args: tuple[Any, ...]) -> set[Any]:
    guard = KeyGuard()
    return {guard.key(item) for item in _items(args)}


def _frozenset(args: tuple[Any, ...]) -> frozenset[Any]:
    return frozenset(_set(args))


def _deque(args: tuple[Any, ...]) -> Deque:
    items, maxlen = _items(args[:1]), args[1] if len(args) > 1 else None
    if len(args) > 2 or not (maxlen is None or (type(maxlen) is int and len(items) <= maxlen < 1 << 63)):
        raise TypeError("a deque has no maximal length, or has more items than that")
    return Deque(items, maxlen)


def _empty(make: type[Any]) -> Call:
    """Return the `new` of a class that a list or dict is made by: it gives an empty one, whatever its arguments."""

    def new(args: tuple[Any, ...]) -> Any:
        if args:
            raise TypeError("an empty container is made from something")
        return make()

    return new


def _encode(args: tuple[Any, ...]) -> bytes:
    """Return the bytes that protocol 2 writes as text in latin-1."""
    text, encoding = args
    if not isinstance(text, str) or encoding not in ("latin1", "latin-1", "utf-8"):
        raise TypeError("bytes are written in an unknown way")
    return text.encode(encoding)


def _bytes(args: tuple[Any, ...]) -> bytes:
    if len(args) != 1:
        return _encode(args) if args else b""
    (content,) = args
    # Protocols 0 to 2 of Python 3 write some as a list
    if isinstance(content, bytes) or (is_list(content) and are_ints(content)):
        return bytes(content)
    raise TypeError("bytes are made from something else")


def _bytearray(args: tuple[Any, ...]) -> Bytearray:
    return Bytearray(_bytes(args))


def _complex(args: tuple[Any, ...]) -> complex:
    real, imaginary = args
    if type(real) is not float or type(imaginary) is not float:
        raise TypeError("a complex number is not made of two floats")
    return complex(real, imaginary)


def _reconstructor(args: tuple[Any, ...]) -> Opaque:
    """Return the object that protocols 0 and 1 write as (class, base, value of the base)."""
    made, base, value = args
    if not isinstance(made, Global) or made.call or not isinstance(base, Global):
        raise TypeError("an object has no class, or a known one")
    return Opaque(made.module, made.name, () if value is None else (value,))


def _typed_value(args: tuple[Any, ...]) -> Any:
    """Return the value that TorchScript writes with the name of its type."""
    value, kind = args
    if not isinstance(kind, str):
        raise TypeError("a value of TorchScript has a type that is not named by text")
    return value


def _typed_list(args: tuple[Any, ...]) -> list[Any]:
    """Return a list of TorchScript, whose type is in the name of the function that makes it (before torch 1.5)."""
    (items,) = args
    if not is_list(items):
        raise TypeError("a list of TorchScript is made from something else")
    return items


def _both(call: Call) -> Meaning:
    """Return the meaning of a class whose instances are made by `__new__` alone."""
    return Meaning(call, call)


CONTAINERS: Final[dict[tuple[str, str], Meaning]] = {
    ("collections", "OrderedDict"): Meaning(_ordered, _empty(Ordered)),
    ("collections", "defaultdict"): Meaning(_default_dict, _empty(dict)),
    ("collections", "Counter"): Meaning(_counter, _empty(dict)),
    ("collections", "deque"): Meaning(_deque, _empty(list)),
    ("builtins", "dict"): Meaning(_dict, _empty(dict)),
    ("builtins", "list"): Meaning(_items, _empty(list)),
    ("builtins", "tuple"): _both(_tuple),
    ("builtins", "set"): Meaning(_set, _empty(set)),
    ("builtins", "frozenset"): _both(_frozenset),
    ("builtins", "bytes"): _both(_bytes),
    ("builtins", "bytearray"): Meaning(_bytearray, _empty(Bytearray)),
    ("builtins", "complex"): _both(_complex),
    ("_codecs", "encode"): Meaning(_encode),
    ("copyreg", "_reconstructor"): Meaning(_reconstructor),
    ("torch.jit._pickle", "restore_type_tag"): Meaning(_typed_value),
    **{
        ("torch.jit._pickle", f"build_{kind}list"): Meaning(_typed_list) for kind in ("int", "tensor", "double", "bool")
    },
}
