"""Type hints as Python gives them: resolved, out of their wrapping, with type variables replaced.

Knows neither arrays nor records.
"""

from __future__ import annotations

import collections.abc
import inspect
import types
import typing
from typing import Any

import numpy as np
import numpy.typing as npt

from wheelweights.errors import backticked
from wheelweights.plain import is_sequence
from wheelweights.report import BindError

__all__ = ["arguments_of", "hint_name", "plain_hint", "resolved_hints"]


def plain_hint(hint: Any) -> tuple[Any, tuple[object, ...]]:
    """Return the hint without its wrapping, and what `Annotated` says of it, the innermost last."""
    extras: tuple[object, ...] = ()
    while (inner := _unwrapped(hint)) is not hint:
        extras += tuple(reversed(getattr(hint, "__metadata__", ())))
        hint = inner
    return hint, extras


def _unwrapped(hint: Any) -> Any:
    """Return the hint inside one layer of wrapping, or the hint itself if there is none."""
    origin: Any = typing.get_origin(hint)
    inner = hint
    if origin is typing.Annotated:
        inner = hint.__origin__
    elif origin is typing.Final:
        inner = typing.get_args(hint)[0]
    elif hasattr(origin, "__value__"):  # a `type` alias (PEP 695) with arguments
        inner = origin.__value__[typing.get_args(hint)]
    elif isinstance(hint, typing.NewType):
        inner = hint.__supertype__
    elif isinstance(hint, typing.TypeVar):
        inner = hint if hint.__bound__ is None else hint.__bound__
    elif not isinstance(hint, type) and hasattr(hint, "__value__"):
        inner = hint.__value__
    return inner


def hint_name(hint: Any) -> str:
    """Return an annotation as it is written in code, without the modules."""
    origin, args = typing.get_origin(hint), typing.get_args(hint)
    if origin in (typing.Union, types.UnionType):
        return " | ".join(map(hint_name, args))
    if origin is typing.Annotated:
        return f"Annotated[{hint_name(args[0])}, {', '.join(map(repr, args[1:]))}]"
    if is_sequence(hint):  # the arguments of a Callable
        return f"[{', '.join(map(hint_name, hint))}]"
    if np.ndarray in (hint, origin) or getattr(origin, "__name__", None) == "NDArray":  # a `type` since numpy 2.5
        return "Array"
    if origin is None:
        return {types.NoneType: "None", Ellipsis: "..."}.get(hint, str(getattr(hint, "__name__", hint)))
    return f"{hint_name(origin)}[{', '.join(map(hint_name, args))}]"


def arguments_of(cls: Any, args: tuple[Any, ...]) -> dict[type, tuple[Any, ...]]:
    """Return the arguments that a class, with these of its own, gives to each generic class that it is made from."""
    found: dict[type, tuple[Any, ...]] = {cls: args}
    bases: tuple[Any, ...] = cls.__dict__.get("__orig_bases__", cls.__bases__)
    own = dict(zip(_parameters(cls, bases), args, strict=False))
    for base in bases:
        origin: Any = typing.get_origin(base) or base
        given = tuple(_substituted(arg, own) for arg in typing.get_args(base))
        if isinstance(origin, type) and origin is not typing.Generic:
            found = {**arguments_of(origin, given), **found}
    return found


def _parameters(cls: Any, bases: tuple[Any, ...]) -> tuple[Any, ...]:
    """Return the type variables of a class; `class Layers(list[T])`, without Generic, has those of its bases."""
    of_bases = (variable for base in bases for variable in getattr(base, "__parameters__", ()))
    return getattr(cls, "__parameters__", None) or tuple(dict.fromkeys(of_bases))


def resolved_hints(cls: type, args: tuple[Any, ...]) -> dict[str, Any]:
    """Return the hints of a class by name; type variables are replaced by what the class and its bases are given.

    Raises BindError for a hint that cannot be evaluated.
    """
    hints, given = _evaluated(cls), arguments_of(cls, args)
    for name in hints:
        base = _maker(cls, name)
        own = dict(zip(getattr(base, "__parameters__", ()), given.get(base, ()), strict=False))
        hints[name] = _substituted(hints[name], own)
    return hints


def _maker(cls: type, name: str) -> type:
    """Return the class that a field of a dataclass comes from: the same variable may mean two things in two bases."""

    def field(one: type) -> object:
        return vars(one).get("__dataclass_fields__", {}).get(name)

    return next((one for one in reversed(cls.__mro__) if field(one) is not None and field(one) is field(cls)), cls)


def _substituted(hint: Any, arguments: dict[Any, Any]) -> Any:
    """Return a hint of a generic class with its type variables replaced."""
    parameters = getattr(hint, "__parameters__", ())
    if isinstance(hint, typing.TypeVar):
        return arguments.get(hint, hint)
    if not arguments or not parameters or isinstance(hint, type):
        return hint
    return hint[tuple(arguments.get(parameter, parameter) for parameter in parameters)]


# Linters move imports that only annotations use under `if TYPE_CHECKING`, where they cannot be found at run time. So
# the usual names of arrays and of their containers are known without their imports.
_WELL_KNOWN: dict[str, Any] = {
    "Any": Any,
    "Array": np.ndarray,
    "Mapping": collections.abc.Mapping,
    "NDArray": npt.NDArray,
    "Sequence": collections.abc.Sequence,
    "np": np,
    "npt": npt,
    "numpy": np,
}


def _evaluated(cls: type) -> dict[str, Any]:
    known = {**_WELL_KNOWN, **_names_around(cls), cls.__name__: cls}
    names = {one.__name__: one for base in cls.__mro__ for one in getattr(base, "__type_params__", ())}
    while True:
        try:
            return typing.get_type_hints(cls, localns=names, include_extras=True)
        except NameError as error:
            if error.name in names or error.name not in known:
                raise _unresolved(cls, error) from error
            names[error.name] = known[error.name]
        except (TypeError, AttributeError, SyntaxError) as error:
            raise _unresolved(cls, error) from error


def _names_around(cls: type) -> dict[str, Any]:
    """Return the names of the function in which a class was made, while that function runs."""
    function = cls.__qualname__.rpartition(".<locals>.")[0]
    frame = inspect.currentframe() if function else None
    while frame is not None and frame.f_code.co_qualname != function:
        frame = frame.f_back
    return {} if frame is None else dict(frame.f_locals)


def _unresolved(cls: type, error: Exception) -> BindError:
    return BindError(
        f"{cls.__name__}: expected annotations that can be evaluated, found one that cannot: {error}",
        remedy=f"Import or define what they use at the top of {backticked(cls.__module__)}, not under TYPE_CHECKING.",
    )
