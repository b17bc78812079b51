"""What the annotations of a model say: which of its fields are arrays, modules, containers or variants.

Knows type hints; knows no record and no key. A hint becomes one of seven small values (`Leaf`, `Struct`, `Items`,
`Fixed`, `Named`, `Either`, `Static`), so that `binding` need not know the many ways in which Python can spell the same
thing.
"""

from __future__ import annotations

import dataclasses
import functools
import inspect
import types
import typing
from dataclasses import MISSING, InitVar, dataclass
from typing import TYPE_CHECKING, Any, NamedTuple, TypeGuard

import numpy as np
import numpy.typing as npt

from wheelweights.errors import backticked
from wheelweights.plain import is_dict, is_sequence
from wheelweights.report import BindError

if TYPE_CHECKING:
    from collections.abc import Iterable

    from _typeshed import DataclassInstance

__all__ = [
    "Either",
    "Field",
    "Fixed",
    "Items",
    "Kind",
    "Leaf",
    "Named",
    "Shape",
    "Static",
    "Struct",
    "fields_of",
    "has_arrays",
    "holds_arrays",
    "is_array",
    "is_module",
    "is_of",
    "kind_name",
    "parse",
    "plain_name",
    "takes_arrays",
]


@dataclass(frozen=True, init=False)
class Shape:
    """Declare the shape of an array: `Annotated[np.ndarray, Shape(8, 3, None, 3)]`, where None is any length."""

    dims: tuple[int | None, ...]

    def __init__(self, *dims: int | None) -> None:
        object.__setattr__(self, "dims", dims)

    def fits(self, shape: tuple[int, ...]) -> bool:
        """Return whether an array of this shape is one that was declared."""
        return len(shape) == len(self.dims) and all(
            want in (None, dim) for want, dim in zip(self.dims, shape, strict=True)
        )


class Leaf(NamedTuple):
    """An array, with the shape and the numpy scalar types (`np.float32`, `np.floating`) that the hint declares."""

    shape: Shape | None = None
    scalars: tuple[type, ...] = ()


class Struct(NamedTuple):
    """A dataclass, with the arguments of a generic one."""

    cls: type
    args: tuple[Any, ...] = ()


class Items(NamedTuple):
    """`list[item]` or `tuple[item, ...]`. A hint inside another is parsed when it is needed: hints can be recursive."""

    container: type
    item: Any


class Fixed(NamedTuple):
    """`tuple[first, second]`."""

    items: tuple[Any, ...]


class Named(NamedTuple):
    """`dict[str, item]`."""

    item: Any


class Either(NamedTuple):
    """`first | second`, and whether `None` is among them."""

    variants: tuple[Any, ...]
    optional: bool


class Static(NamedTuple):
    """Anything else: not in a record."""

    hint: Any


Kind = Leaf | Struct | Items | Fixed | Named | Either | Static


@dataclass(frozen=True, eq=False, repr=False)
class Field:
    """A field of a dataclass; `flatten` and `static` come from its metadata, `required` fields have no default."""

    name: str
    kind: Kind
    required: bool
    flatten: bool
    static: bool
    field: dataclasses.Field[Any]

    def default(self) -> Any:
        """Return the default, made by the default factory where there is one; MISSING without either."""
        if self.field.default_factory is not MISSING:
            return self.field.default_factory()
        return self.field.default


def parse(hint: Any) -> Kind:
    """Return what a hint means, also through aliases, `Annotated`, `Final` and `NewType`."""
    hint, shape = _plain(hint)
    origin, args = typing.get_origin(hint), typing.get_args(hint)
    if origin in (typing.Union, types.UnionType):
        return Either(tuple(arg for arg in args if arg is not type(None)), type(None) in args)
    cls = origin or hint
    if not inspect.isclass(cls):
        return Static(hint)
    if dataclasses.is_dataclass(cls):
        return Struct(cls, args)
    if _is_array_class(cls):
        return Leaf(shape, _scalars(args))
    return _container(cls, args) or Static(hint)


def kind_name(kind: Kind) -> str:
    """Return what a message calls a kind: the name of its class, `A | B`, "array"."""
    match kind:
        case Struct(cls):
            return cls.__name__
        case Static(hint):
            return str(getattr(hint, "__name__", hint))
        case Either(variants, optional):
            return " | ".join([*(kind_name(parse(variant)) for variant in variants), *["None"] * optional])
        case Items(container):
            return container.__name__
        case Leaf() | Fixed() | Named():
            return {Leaf: "array", Fixed: "tuple", Named: "dict"}[type(kind)]


def is_array(value: object) -> bool:
    """Return whether a value is an array: of numpy, or of any library whose arrays have a shape and a dtype."""
    return not isinstance(value, type) and _is_array_class(type(value))


@functools.lru_cache(maxsize=1024)
def fields_of(struct: Struct) -> tuple[Field, ...]:
    """Return the fields that make a dataclass, `InitVar`s included.

    Raises BindError for an annotation that cannot be resolved at run time.
    """
    hints = _resolved_hints(struct.cls)
    arguments = dict(zip(getattr(struct.cls, "__parameters__", ()), struct.args, strict=False))
    plain = {field.name for field in dataclasses.fields(struct.cls)}
    return tuple(
        Field(
            name=field.name,
            kind=parse(_substituted(hints[field.name], arguments)),
            required=field.default is MISSING and field.default_factory is MISSING,
            flatten=bool(field.metadata.get("flatten")),
            static=bool(field.metadata.get("static")) or field.name not in plain,
            field=field,
        )
        for field in vars_of(struct.cls)
        if field.name in plain or isinstance(hints[field.name], InitVar)
    )


def vars_of(cls: type) -> tuple[dataclasses.Field[Any], ...]:
    """Return every field of a dataclass, also those that `dataclasses.fields` leaves out (`InitVar`, `ClassVar`)."""
    return tuple(cls.__dataclass_fields__.values())  # type: ignore[attr-defined]


def holds_arrays(hint: Any) -> bool:
    """Return whether an array can be anywhere inside a hint (or a parsed one)."""
    seen: set[Struct] = set()  # so that a recursive class is looked into once
    pending = [hint]
    while pending:
        inner = pending.pop()
        match inner if isinstance(inner, Kind) else parse(inner):
            case Leaf():
                return True
            case Struct() as struct if struct not in seen:
                seen.add(struct)
                for field in fields_of(struct):
                    if field.flatten:
                        return True
                    pending += [] if field.static else [field.kind]
            case Items(item=item) | Named(item=item):
                pending.append(item)
            case Fixed(items=items) | Either(variants=items):
                pending += items
            case Struct() | Static():
                pass
    return False


@functools.lru_cache(maxsize=4096)
def takes_arrays(field: Field) -> bool:
    """Return whether the values of a field come from a record, at least in part."""
    return not field.static and (field.flatten or holds_arrays(field.kind))


def is_module(value: object) -> TypeGuard[DataclassInstance]:
    """Return whether a value is an instance of a dataclass."""
    return dataclasses.is_dataclass(value) and not isinstance(value, type)


def has_arrays(value: object) -> bool:
    """Return whether an array is anywhere inside a value."""
    if is_array(value):
        return True
    parts: Iterable[object] = ()
    if is_module(value):
        fields = [field.name for field in dataclasses.fields(value) if not field.metadata.get("static")]
        parts = (getattr(value, name, None) for name in fields)
    elif is_dict(value):
        parts = value.values()
    elif is_sequence(value):
        parts = value
    return any(map(has_arrays, parts))


def plain_name(dtype: object) -> str:
    """Return the name of a dtype of any library, without the library's own name (`torch.float32`)."""
    return str(getattr(dtype, "name", dtype)).rpartition(".")[2]


def is_of(name: str, scalars: tuple[type, ...]) -> bool:
    """Return whether a dtype belongs to a scalar type, concrete or abstract; bfloat16 and float8 are `np.floating`."""
    if any(scalar.__name__ == name for scalar in scalars):
        return True
    if name.startswith(("bfloat16", "float8")):
        return issubclass(np.floating, scalars)
    try:
        return issubclass(np.dtype(name).type, scalars)
    except TypeError:
        return False


def _is_array_class(cls: type) -> bool:
    return (
        hasattr(cls, "shape")
        and hasattr(cls, "dtype")
        and not (dataclasses.is_dataclass(cls) or issubclass(cls, np.generic))
    )


def _container(cls: type, args: tuple[Any, ...]) -> Kind | None:
    if cls is list and len(args) == 1:
        return Items(list, args[0])
    if cls is tuple and len(args) == 2 and args[1] is Ellipsis:
        return Items(tuple, args[0])
    if cls is tuple and args:
        return Fixed(args)
    if cls is dict and len(args) == 2 and args[0] is str:
        return Named(args[1])
    return None


def _plain(hint: Any) -> tuple[Any, Shape | None]:
    """Return the hint without its wrapping, and the innermost `Shape` found in it."""
    shape: Shape | None = None
    while (inner := _unwrapped(hint)) is not hint:
        extras: tuple[object, ...] = getattr(hint, "__metadata__", ())
        shape = next((extra for extra in extras if isinstance(extra, Shape)), shape)
        hint = inner
    return hint, shape


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


def _scalars(args: tuple[Any, ...]) -> tuple[type, ...]:
    """Return the scalar types in `np.ndarray[shape, np.dtype[scalar]]`; none where it does not say."""
    (scalar,) = typing.get_args(args[1]) if len(args) == 2 and typing.get_args(args[1]) else (Any,)
    is_union = typing.get_origin(scalar) in (typing.Union, types.UnionType)
    scalars: list[Any] = [typing.get_origin(one) or one for one in (typing.get_args(scalar) if is_union else (scalar,))]
    return tuple(scalars) if Any not in scalars and all(isinstance(one, type) for one in scalars) else ()


def _substituted(hint: Any, arguments: dict[Any, Any]) -> Any:
    """Return a hint of a generic class with its type variables replaced."""
    parameters = getattr(hint, "__parameters__", ())
    if isinstance(hint, typing.TypeVar):
        return arguments.get(hint, hint)
    if not arguments or not parameters or isinstance(hint, type):
        return hint
    return hint[tuple(arguments.get(parameter, parameter) for parameter in parameters)]


# Linters move imports that only annotations use under `if TYPE_CHECKING`, where they cannot be found at run time. So
# the usual names of arrays are known without their imports.
_WELL_KNOWN = {"Any": Any, "NDArray": npt.NDArray, "np": np, "npt": npt, "numpy": np}


def _resolved_hints(cls: type) -> dict[str, Any]:
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
