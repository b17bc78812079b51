"""Binding: a record becomes the arrays of a dataclass tree.

Knows models and keys; knows no file format. Any mapping of keys to arrays binds. A walk over the model looks up each
array's key, checks its shape and dtype, and gathers every fault; only a walk without faults is built. So nothing is
ever half-bound.

A **type** as target is read by its annotations: arrays (`np.ndarray`, `NDArray[...]`), dataclasses, `list[T]`,
`tuple[T, ...]`, fixed tuples, `dict[str, T]`, `T | None` (None without a key) and `A | B` (the one variant that fits
exactly). Other fields need a default. An **instance** is read by its values: it has its variants, its lengths and its
shapes already. A default that is a module, or holds some, is such an instance.

Shapes and dtypes are declared in one of three ways:
- an instance (its shapes must agree; dtypes may differ, so that a half-precision record binds to a model that was made
  in float32);
- a hint for the shape, `Annotated[np.ndarray, Shape(8, 3, None, 3)]`, where None stands for any length;
- a hint for the dtype, `NDArray[np.float32]`, or a whole kind of them, `NDArray[np.floating]` (float16 and bfloat16
  included).

What is not declared is not checked.

A field's metadata can say `{"static": True}` (an array that is not in records), `{"optional": True}` (an array that an
instance keeps where the record has none, and takes where it has one) and, for a `dict[str, Array]`, `{"flatten": True}`
(its arrays stand directly beside the other fields, under their own names).
"""

from __future__ import annotations

import bisect
import contextlib
import copy
import dataclasses
import functools
import os
import types
from collections.abc import Callable, Iterable, Mapping
from dataclasses import MISSING
from typing import Any, TypeVar, cast, get_origin, overload

from wheelweights.annotations import (
    Array,
    Either,
    Field,
    Fixed,
    Items,
    Kind,
    Shape,
    Static,
    Struct,
    Table,
    dtype_name,
    fields_of,
    has_arrays,
    holds_arrays,
    is_array,
    is_of,
    parse,
    takes_arrays,
)
from wheelweights.errors import BindError, backticked, quoted
from wheelweights.report import BindReport, Mismatch, counted, first, misfit, why_not

__all__ = ["BindReport", "Mismatch", "Shape", "bind", "bind_report"]

T = TypeVar("T")
Build = Callable[[], Any]


@overload
def bind(target: type[T], record: Mapping[str, Any], prefix: str = "", partial: bool = False) -> T: ...
@overload
def bind(target: T, record: Mapping[str, Any], prefix: str = "", partial: bool = False) -> T: ...
def bind(target: Any, record: Mapping[str, Any], prefix: str = "", partial: bool = False) -> Any:
    """Return the model with the record's arrays in it: a new instance of a dataclass, or a copy of an instance.

    Arrays are taken as they are: views of the mapped file stay views, tied tensors stay the same memory. An instance is
    not modified; all that is not an array is kept, and `__post_init__` does not run again. Gaps in the numbers of a
    list are closed, in order.

    Only keys below `prefix` ("encoder" or "encoder.") are looked at, and are bound without it. Model and record must
    have the same keys; with `partial`, keys that are missing keep the value of the instance (or the default of a type),
    and unexpected ones are left. `bind_report` tells which; a wrong shape stays an error.

    Raises BindError, with every fault in its message and in its `report`.
    """
    walk = _Walk(record)
    build, report = walk.run(target, prefix)
    nothing_fits = bool(report.missing and not report.bound and record)  # a partial load of nothing is a mistake
    if report.mismatches or walk.unfillable or nothing_fits or not (partial or report.fits):
        path = getattr(record, "path", None)
        source = os.fspath(path) if isinstance(path, str | os.PathLike) else "the state_dict"
        below = f" below {backticked(prefix)}" if prefix else ""
        subject = f"{_name(target)} does not fit {source}{below}"
        raise misfit(report, subject, partial=partial, unfillable=bool(walk.unfillable))
    return build()


def bind_report(target: object, record: Mapping[str, Any], prefix: str = "") -> BindReport:
    """Return what binds, and what is missing, unexpected or mismatching, without binding anything.

    Raises BindError only for a target that no record can fit, such as a type with a required field that is not an
    array.
    """
    return _Walk(record).run(target, prefix)[1]


class _Keys:
    """The keys of a record, ordered so that those below a name lie together."""

    def __init__(self, record: Mapping[str, Any]) -> None:
        self.position = {key: position for position, key in enumerate(record)}
        odd = next((key for key in self.position if not isinstance(key, str)), None)
        if odd is not None:
            raise BindError(f"expected a mapping with strings as keys, found the key {quoted(odd)}", found=odd)
        self._sorted = sorted(self.position)

    def __contains__(self, key: str) -> bool:
        return key in self.position

    def below(self, name: str) -> list[str]:
        """Return the keys that begin with `name.`, all keys for the empty name."""
        if not name:
            return self._sorted
        first = bisect.bisect_left(self._sorted, f"{name}.")
        return self._sorted[first : bisect.bisect_left(self._sorted, f"{name}/", first)]  # `/` is what follows `.`

    def present(self, name: str) -> bool:
        return name in self.position or bool(self.below(name))

    def parts(self, name: str) -> list[str]:
        """Return what stands after `name.` up to the next dot, each once, in the order of the record."""
        start = len(name) + 1 if name else 0
        keys = sorted(self.below(name), key=self.position.__getitem__)
        return list(dict.fromkeys(key[start:].partition(".")[0] for key in keys))

    def numbers(self, name: str) -> list[str]:
        """Return the parts that are plain decimal numbers (`02` is a name), in the order of the numbers."""
        plain = (part for part in self.parts(name) if part.isascii() and part.isdigit())
        return sorted((part for part in plain if part == "0" or part[0] != "0"), key=lambda part: (len(part), part))


class _Walk:
    """One walk over a model: each step returns how to build its part, and notes what it found.

    `key` is the name in the record, `path` the place in the model. `unfillable` are missing keys for which the model
    has no value.
    """

    def __init__(self, record: Mapping[str, Any], keys: _Keys | None = None) -> None:
        self.record = record
        self.keys = keys or _Keys(record)
        self.bound: dict[str, str] = {}
        self.missing: dict[str, str] = {}
        self.unfillable: set[str] = set()
        self.mismatches: list[Mismatch] = []
        self.required: dict[str, str] = {}
        self.undecided: set[str] = set()
        self.open: list[Struct] = []

    def run(self, target: object, prefix: str) -> tuple[Build, BindReport]:
        kind, name, path = parse(target), prefix.removesuffix("."), _name(target)
        if not (isinstance(kind, Struct) or dataclasses.is_dataclass(target)):
            raise BindError(f"expected a dataclass or an instance of one, found {backticked(path)}", found=target)
        try:
            build = self.struct(kind, name, path) if isinstance(kind, Struct) else self.value(target, name, path)
        except RecursionError as error:
            found = "one that is too deep or contains itself"
            raise BindError(f"{path}: expected a tree of modules, found {found}") from error
        if self.required:
            raise BindError(
                f"{path} cannot be made from a record alone: {counted(len(self.required), 'field')} that no record has",
                details=first(
                    f"{at}: expected an array or a default, found {hint}" for at, hint in self.required.items()
                ),
                remedy="Give each a default, or bind an instance.",
            )
        return build, BindReport(self.bound, self.missing, self.left_over(self.keys.below(name)), self.mismatches)

    def left_over(self, keys: Iterable[str]) -> list[str]:
        return [key for key in keys if key not in self.bound and key not in self.undecided]

    def not_given(self, kind: Kind, path: str) -> Build:
        self.required[path] = backticked(_kind_name(kind))
        return lambda: None

    # Arrays

    def array(self, key: str, path: str, expected: Array, current: Any = MISSING) -> Build:
        if key not in self.keys:
            self.missing[key] = path
            if current is MISSING:
                self.unfillable.add(key)
            return lambda: current
        self.bound[key] = path
        info = getattr(self.record, "info", None)
        if callable(info):  # a record tells of its tensors without reading them
            self.check(key, path, expected, info(key))
            return lambda: self.record[key]
        array = self.record[key]
        self.check(key, path, expected, array)
        return lambda: array

    def check(self, key: str, path: str, expected: Array, described: Any) -> None:
        if not (hasattr(described, "shape") and hasattr(described, "dtype")):
            self.mismatches.append(Mismatch("array", path, key, "an array", backticked(type(described).__name__)))
            return
        shape, dtype = tuple(described.shape), dtype_name(described.dtype)
        if expected.shape is not None and not expected.shape.fits(shape):
            self.mismatches.append(Mismatch("shape", path, key, expected.shape.dims, shape))
        if expected.scalars and not is_of(dtype, expected.scalars):
            dtype = dtype_name(self.record[key].dtype)  # a record that widens says what it stores
            if not is_of(dtype, expected.scalars):
                wanted = " or ".join(scalar.__name__ for scalar in expected.scalars)
                self.mismatches.append(Mismatch("dtype", path, key, wanted, dtype))

    # Instances: values decide

    def value(self, value: Any, key: str, path: str) -> Build:
        if not has_arrays(value):
            return lambda: value
        if is_array(value):
            return self.array(key, path, Array(Shape(*value.shape)), value)
        if dataclasses.is_dataclass(value):
            return self.instance(value, key, path)
        if isinstance(value, list | tuple):
            return self.sequence(value, key, path)
        return self.table(value, key, path)

    def instance(self, instance: Any, key: str, path: str) -> Build:
        builds = {}
        for field in dataclasses.fields(instance):
            if field.metadata.get("static") or not hasattr(instance, field.name):
                continue
            value, at = getattr(instance, field.name), f"{path}.{field.name}"
            below = key if field.metadata.get("flatten") else _join(key, field.name)
            if not field.metadata.get("optional"):
                builds[field.name] = self.value(value, below, at)
            elif below in self.keys:
                builds[field.name] = self.array(below, at, Array(Shape(*value.shape)) if is_array(value) else Array())
        return lambda: _replaced(instance, {name: build() for name, build in builds.items()})

    def sequence(self, values: list[Any] | tuple[Any, ...], key: str, path: str) -> Build:
        numbers = _in_order([has_arrays(value) for value in values], self.keys.numbers(key))
        builds = [self.value(value, _join(key, numbers[i]), f"{path}[{i}]") for i, value in enumerate(values)]
        return lambda: _like(values, [build() for build in builds])

    def table(self, values: dict[Any, Any], key: str, path: str) -> Build:
        builds = {name: self.value(value, _join(key, str(name)), f"{path}[{name!r}]") for name, value in values.items()}

        def build() -> dict[Any, Any]:
            new = copy.copy(values)
            new.update((name, build()) for name, build in builds.items())
            return new

        return build

    # Types: annotations decide

    def kind(self, kind: Kind, key: str, path: str) -> Build:  # noqa: PLR0911 (one for each kind)
        match kind:
            case Array():
                return self.array(key, path, kind)
            case Struct():
                return self.struct(kind, key, path)
            case Items(container, item):
                return self.items(container, parse(item), key, path)
            case Fixed(items):
                return self.fixed([parse(item) for item in items], key, path)
            case Table(item):
                return self.names({part: _join(key, part) for part in self.keys.parts(key)}, parse(item), key, path)
            case Either():
                return self.either(kind, key, path)
            case Static():
                return self.not_given(kind, path)

    def struct(self, struct: Struct, key: str, path: str) -> Build:
        if struct in self.open and not self.keys.present(key):
            return self.array(_join(key, "*"), path, Array())  # inside itself without end: its keys cannot be named
        self.open.append(struct)
        fields = fields_of(struct)
        named = {field.name for field in fields if not field.flatten}
        builds = {}
        for field in fields:
            where = f"{path}.{field.name}"
            if field.flatten:
                build = self.flattened(field, named, key, where)
            else:
                build = self.field(field, _join(key, field.name), where)
            if build is not None:
                builds[field.name] = build
        self.open.pop()
        return lambda: _constructed(struct.cls, {name: build() for name, build in builds.items()})

    def field(self, field: Field, key: str, path: str) -> Build | None:
        """Plan a field; None leaves it to its default."""
        kind = field.kind
        if not takes_arrays(field):
            if not field.required or not field.field.init:
                return None
            return self.struct(kind, key, path) if isinstance(kind, Struct) else self.not_given(kind, path)
        optional = isinstance(kind, Either) and kind.optional
        default = field.default()
        serves = default is not MISSING and (optional or not (default is None or has_arrays(default)))
        if serves and not self.keys.present(key):
            return None
        if is_array(default):
            return self.array(key, path, kind if isinstance(kind, Array) else Array(), default)
        return self.value(default, key, path) if has_arrays(default) else self.kind(kind, key, path)

    def flattened(self, field: Field, named: set[str], key: str, path: str) -> Build | None:
        """Plan a dict whose arrays stand beside the other fields: all directly below the key that no field is named."""
        kind, default = field.kind, field.default()
        if not isinstance(kind, Table):
            raise BindError(
                f"{path}: expected `dict[str, ...]` for a field with `flatten`, found {backticked(_kind_name(kind))}"
            )
        if default is not MISSING and has_arrays(default):
            return self.value(default, key, path)
        names = {
            part: _join(key, part)
            for part in self.keys.parts(key)
            if part not in named and _join(key, part) in self.keys
        }
        item = parse(kind.item)
        item = item if isinstance(item, Array) else Array()
        return self.names(names, item, key, path) if names or default is MISSING else None

    def names(self, names: dict[str, str], kind: Kind, key: str, path: str) -> Build:
        if not names:
            return self.array(_join(key, "*"), path, Array())
        builds = {name: self.kind(kind, below, f"{path}[{quoted(name)}]") for name, below in names.items()}
        return lambda: {name: build() for name, build in builds.items()}

    def items(self, container: type, kind: Kind, key: str, path: str) -> Build:
        numbers = self.keys.numbers(key)
        # Where there is no item, the first one is looked for all the same: the keys it lacks are what is missing.
        builds = [self.kind(kind, _join(key, number), f"{path}[{i}]") for i, number in enumerate(numbers or ["0"])]
        return lambda: container(build() for build in builds[: len(numbers)])

    def fixed(self, kinds: list[Kind], key: str, path: str) -> Build:
        numbers = _in_order([holds_arrays(kind) for kind in kinds], self.keys.numbers(key))
        builds = [self.kind(kind, _join(key, numbers[i]), f"{path}[{i}]") for i, kind in enumerate(kinds)]
        return lambda: tuple(build() for build in builds)

    def either(self, either: Either, key: str, path: str) -> Build:
        """Plan the one variant that fits: all its keys are there, none is left over, and shapes and dtypes agree."""
        if not holds_arrays(either):
            return self.not_given(either, path)
        if either.optional and not self.keys.present(key):
            return lambda: None
        variants = [kind for kind in map(parse, either.variants) if not isinstance(kind, Static)]
        if len(variants) == 1:
            return self.kind(variants[0], key, path)
        trials = [self.trial(kind, key, path) for kind in variants]
        fitting = [(walk, build) for walk, build, report in trials if report.fits]
        if len(fitting) == 1:
            self.bound |= fitting[0][0].bound
            return fitting[0][1]
        names = [_kind_name(kind) for kind in variants]
        reasons = "; ".join(why_not(name, report) for name, (_, _, report) in zip(names, trials, strict=True))
        expected = f"exactly one of {', '.join(map(backticked, names))} to fit"
        self.mismatches.append(Mismatch("variant", path, key, expected, f"{len(fitting) or 'none'} ({reasons})"))
        self.undecided.update(self.keys.below(key), [key])
        return lambda: None

    def trial(self, kind: Kind, key: str, path: str) -> tuple[_Walk, Build, BindReport]:
        walk = _Walk(self.record, self.keys)
        walk.open = list(self.open)
        build = walk.kind(kind, key, path)
        self.required |= walk.required
        unexpected = walk.left_over([*([key] if key in self.keys else []), *self.keys.below(key)])
        return walk, build, BindReport(walk.bound, walk.missing, unexpected, walk.mismatches)


def _join(name: str, part: str) -> str:
    return f"{name}.{part}" if name else part


def _in_order(holds: list[bool], numbers: list[str]) -> list[str]:
    """Return the number in the record of each item of a sequence.

    Items without arrays (an activation in between) need none. Where there are as many numbers as items that need one
    they belong together in order, so that gaps and closed gaps bind alike; otherwise the number is the place, so that
    nothing slips into its neighbour.
    """
    places = [str(i) for i in range(len(holds))]
    needing = [i for i, holding in enumerate(holds) if holding]
    if len(needing) == len(numbers):
        for i, number in zip(needing, numbers, strict=True):
            places[i] = number
    return places


def _constructed(cls: type, values: dict[str, Any]) -> Any:
    given = {field.name for field in dataclasses.fields(cast("Any", cls)) if field.init}
    try:
        model = cls(**{name: value for name, value in values.items() if name in given})
    except TypeError as error:
        raise BindError(
            f"{cls.__name__}: expected a class that is made from its fields, found one that is not: {error}",
            remedy="Bind an instance of it.",
        ) from error
    for name in values.keys() - given:
        object.__setattr__(model, name, values[name])
    return model


def _replaced(instance: Any, values: dict[str, Any]) -> Any:
    """Copy an instance with other values, frozen or with slots, without running its constructor again."""
    cls = type(instance)
    new = object.__new__(cls)
    for base in cls.__mro__:
        for slot in vars(base).values():
            if isinstance(slot, types.MemberDescriptorType):
                with contextlib.suppress(AttributeError):  # a slot that was never set
                    slot.__set__(new, slot.__get__(instance))
    for name, value in getattr(instance, "__dict__", {}).items():
        # What a property cached was computed from the old arrays.
        if not isinstance(getattr(cls, name, None), functools.cached_property):
            new.__dict__[name] = value
    for name, value in values.items():
        object.__setattr__(new, name, value)
    return new


def _like(values: list[Any] | tuple[Any, ...], items: list[Any]) -> Any:
    if isinstance(values, tuple):
        return type(values)(*items) if hasattr(values, "_fields") else tuple(items)
    new = copy.copy(values)
    new[:] = items
    return new


def _name(target: object) -> str:
    target = get_origin(target) or target
    return target.__name__ if isinstance(target, type) else type(target).__name__


def _kind_name(kind: Kind) -> str:
    match kind:
        case Struct(cls):
            return cls.__name__
        case Static(hint):
            return str(getattr(hint, "__name__", hint))
        case Either(variants, optional):
            return " | ".join([*(_kind_name(parse(variant)) for variant in variants), *["None"] * optional])
        case Items(container):
            return container.__name__
    return {Array: "array", Fixed: "tuple", Table: "dict"}[type(kind)]
