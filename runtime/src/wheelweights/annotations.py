"""What the annotations of a model say: which of its fields are arrays, modules, containers or variants.

Knows type hints; knows no record and no key. A hint becomes one of eight small values (`Leaf`, `Struct`, `Items`,
`Fixed`, `Named`, `Either`, `Static`, `Foreign`), so that `planning` need not know the many ways in which Python can
spell the same thing.
"""

from __future__ import annotations

import collections.abc
import dataclasses
import functools
import inspect
import types
import typing
from dataclasses import MISSING, InitVar, dataclass
from typing import TYPE_CHECKING, Any, NamedTuple, TypeGuard

import numpy as np

from wheelweights.declarations import Length, Shape
from wheelweights.hints import arguments_of, hint_name, plain_hint, resolved_hints
from wheelweights.plain import is_dict, is_sequence

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator

    from _typeshed import DataclassInstance
    from typing_extensions import TypeIs

__all__ = [
    "Either",
    "Field",
    "Fixed",
    "Foreign",
    "Items",
    "Kind",
    "Leaf",
    "Named",
    "Static",
    "Struct",
    "fields_of",
    "has_arrays",
    "holds_arrays",
    "is_array",
    "is_module",
    "is_of",
    "kind_name",
    "may_be_empty",
    "parse",
    "plain_name",
    "serves",
    "takes_arrays",
]


class Leaf(NamedTuple):
    """An array, with the shape and the numpy scalar types (`np.float32`, `np.floating`) that the hint declares."""

    shape: Shape | None = None
    scalars: tuple[type, ...] = ()


class Struct(NamedTuple):
    """A dataclass or a class of named tuples, with the arguments of a generic one."""

    cls: type
    args: tuple[Any, ...] = ()


class Items(NamedTuple):
    """`list[item]`, `tuple[item, ...]` or `Sequence[item]`, and the length that is declared.

    A hint inside another is parsed when it is needed: hints can be recursive.
    """

    container: type
    item: Any
    length: int | None = None


class Fixed(NamedTuple):
    """`tuple[first, second]`."""

    items: tuple[Any, ...]


class Named(NamedTuple):
    """`dict[str, item]` or `Mapping[str, item]`."""

    item: Any
    container: type = dict


class Either(NamedTuple):
    """`first | second`, and whether `None` is among them."""

    variants: tuple[Any, ...]
    optional: bool


class Static(NamedTuple):
    """Anything else: not in a record."""

    hint: Any


class Foreign(NamedTuple):
    """What records cannot fill, such as `set[Array]`, `dict[int, Linear]` or a module with a `Length`.

    A fault if it holds arrays.
    """

    hint: Any
    args: tuple[Any, ...]


Kind = Leaf | Struct | Items | Fixed | Named | Either | Static | Foreign


@dataclass(frozen=True, eq=False, repr=False)
class Field:
    """A field of a dataclass or a named tuple.

    `flatten` and `static` come from its metadata; `init` says whether the constructor takes it. `default_factory` makes
    the default, MISSING if there is none.
    """

    name: str
    kind: Kind
    required: bool
    flatten: bool
    static: bool
    init: bool
    default: Callable[[], Any]


def parse(hint: Any) -> Kind:
    """Return what a hint means, also through aliases, `Annotated`, `Final` and `NewType`."""
    hint, extras = plain_hint(hint)
    origin, args = typing.get_origin(hint), typing.get_args(hint)
    if origin in (typing.Union, types.UnionType):
        variants = [arg for arg in args if arg is not type(None)]
        return Either(tuple(_declaring(arg, extras) if extras else arg for arg in variants), type(None) in args)
    cls = origin or hint
    kind = _class_kind(hint, cls, args) if _is_class(cls) else Static(hint)
    return _declared(kind, hint, extras)


def _is_class(cls: object) -> TypeIs[type[Any]]:
    return inspect.isclass(cls)


def _class_kind(hint: Any, cls: Any, args: tuple[Any, ...]) -> Kind:
    if _is_struct(cls):
        return Struct(cls, args)
    if _is_array_class(cls):
        return Leaf(None, _scalars(args))
    if (found := _container(cls, args)) is not None:
        return found
    return Foreign(hint, args) if args and issubclass(cls, collections.abc.Iterable) else Static(hint)


def _declared(kind: Kind, hint: Any, extras: tuple[object, ...]) -> Kind:
    """Return the kind with the last `Shape` or `Length` that was declared for it."""
    shapes = [extra for extra in extras if isinstance(extra, Shape)]
    lengths = [extra for extra in extras if isinstance(extra, Length)]
    if isinstance(kind, Leaf) and shapes:
        kind = kind._replace(shape=shapes[-1])
    elif isinstance(kind, Items) and lengths:
        kind = kind._replace(length=lengths[-1].items)
    elif lengths:
        kind = Foreign(typing.Annotated[hint, lengths[-1]], (np.ndarray,))
    return kind


def _declaring(hint: Any, extras: tuple[object, ...]) -> Any:
    """Return a variant with what was declared for the whole union, as far as it can be meant."""
    kind = parse(hint)
    wanted = Shape if isinstance(kind, Leaf) else Length if isinstance(kind, Items) else ()
    meant = [extra for extra in extras if isinstance(extra, wanted)]
    return functools.reduce(lambda inner, extra: typing.Annotated[inner, extra], meant, hint)


def kind_name(kind: Kind) -> str:
    """Return what a message calls a kind: the name of its class, `A | B`, "array"."""
    match kind:
        case Struct(cls):
            return cls.__name__
        case Static(hint):
            return str(getattr(hint, "__name__", hint))
        case Foreign(hint):
            return hint_name(hint)
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
    """Return the fields that make a dataclass or a named tuple, `InitVar`s included.

    Raises BindError for an annotation that cannot be resolved at run time.
    """
    hints = resolved_hints(struct.cls, struct.args)
    if _is_named_tuple(struct.cls):
        return tuple(_item_fields(struct.cls, hints))
    plain = {field.name for field in dataclasses.fields(struct.cls)}
    return tuple(
        Field(
            name=field.name,
            kind=parse(hints[field.name]),
            required=field.default is MISSING and field.default_factory is MISSING,
            flatten=bool(field.metadata.get("flatten")),
            static=bool(field.metadata.get("static")) or field.name not in plain,
            init=field.init,
            default=functools.partial(_default_of, field),
        )
        for field in vars_of(struct.cls)
        if field.name in plain or isinstance(hints[field.name], InitVar)
    )


def _default_of(field: dataclasses.Field[Any]) -> Any:
    return field.default if field.default_factory is MISSING else field.default_factory()


def _item_fields(cls: Any, hints: dict[str, Any]) -> Iterator[Field]:
    """Yield the fields of a class of named tuples."""
    defaults = cls._field_defaults
    for name in cls._fields:
        default = functools.partial(defaults.get, name, MISSING)
        kind = parse(hints.get(name, Any))
        yield Field(name, kind, name not in defaults, flatten=False, static=False, init=True, default=default)


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
            case Fixed(items=items) | Either(variants=items) | Foreign(args=items):
                pending += items
            case Struct() | Static():
                pass
    return False


def may_be_empty(kind: Kind) -> bool:
    """Return whether an item of this kind can be one without keys: None, or a variant that holds no arrays."""
    return isinstance(kind, Either) and (kind.optional or not all(map(holds_arrays, kind.variants)))


@functools.lru_cache(maxsize=4096)
def takes_arrays(field: Field) -> bool:
    """Return whether the values of a field come from a record, at least in part."""
    return not field.static and (field.flatten or holds_arrays(field.kind))


def serves(default: Any, kind: Kind) -> bool:
    """Return whether a default is enough where a record has no key: one without arrays, and of the right length."""
    if default is MISSING:
        return False
    if isinstance(kind, Either) and kind.optional:
        return True
    has_length = (
        not isinstance(kind, Items) or kind.length is None or (is_sequence(default) and len(default) == kind.length)
    )
    return default is not None and not has_arrays(default) and has_length


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


def _is_struct(cls: Any) -> bool:
    return dataclasses.is_dataclass(cls) or _is_named_tuple(cls)


def _is_named_tuple(cls: type[Any]) -> bool:
    return hasattr(cls, "_fields") and issubclass(cls, tuple)


def _container(cls: type, args: tuple[Any, ...]) -> Kind | None:
    """Return what a list, a tuple, a dict, one of their abstract classes or a subclass of them holds."""
    if cls is tuple:
        return Items(tuple, args[0]) if args[1:] == (Ellipsis,) else Fixed(args) if args else None
    for wanted, made in _MADE_FOR.items():
        if cls is wanted or (made is wanted and issubclass(cls, wanted)):
            given = arguments_of(cls, args)  # some classes, as OrderedDict, hand theirs on without saying so
            held = given.get(wanted) or next((given[base] for base in cls.__mro__ if given.get(base)), ())
            container = made if cls is wanted else cls
            if wanted in _NAMED:
                return Named(held[1], container) if len(held) == 2 and held[0] is str else None
            return Items(container, held[0]) if len(held) == 1 else None
    return None


_NAMED = (dict, collections.abc.Mapping, collections.abc.MutableMapping)
# What is made for a field of each class; of those that are made as they are, subclasses bind too
_MADE_FOR: dict[type, type] = {
    list: list,
    dict: dict,
    collections.abc.Sequence: list,
    collections.abc.MutableSequence: list,
    collections.abc.Mapping: dict,
    collections.abc.MutableMapping: dict,
}


def _scalars(args: tuple[Any, ...]) -> tuple[type, ...]:
    """Return the scalar types in `np.ndarray[shape, np.dtype[scalar]]`; none where it does not say."""
    (scalar,) = typing.get_args(args[1]) if len(args) == 2 and typing.get_args(args[1]) else (Any,)
    is_union = typing.get_origin(scalar) in (typing.Union, types.UnionType)
    scalars: list[Any] = [typing.get_origin(one) or one for one in (typing.get_args(scalar) if is_union else (scalar,))]
    return tuple(scalars) if Any not in scalars and all(isinstance(one, type) for one in scalars) else ()
