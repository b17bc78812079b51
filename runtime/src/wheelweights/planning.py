"""Planning: one walk over a model that finds what each of its arrays is in a record.

Knows models and keys; reads no array. The walk looks up the key of each array, checks its shape and dtype, notes every
fault, and returns a function that builds the model.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import MISSING
from typing import TYPE_CHECKING, Any, NamedTuple, get_origin

import numpy as np

from wheelweights.annotations import (
    Either,
    Field,
    Fixed,
    Foreign,
    Items,
    Kind,
    Leaf,
    Named,
    Static,
    Struct,
    fields_of,
    has_arrays,
    holds_arrays,
    is_array,
    is_module,
    is_of,
    kind_name,
    may_be_empty,
    parse,
    serves,
    takes_arrays,
)
from wheelweights.casting import Cast
from wheelweights.declarations import Shape
from wheelweights.errors import backticked, counted, quoted
from wheelweights.instances import construct, filled, like, named_like, replaced
from wheelweights.keys import Keys
from wheelweights.names import in_order, join, numbers_fit
from wheelweights.plain import is_sequence
from wheelweights.report import BindError, BindReport, Mismatch, first, misnumbered, why_not
from wheelweights.skeleton import is_placeholder

if TYPE_CHECKING:
    from _typeshed import DataclassInstance
    from numpy.typing import DTypeLike

__all__ = ["Plan", "plan", "target_name"]

Build = Callable[[], Any]

HAVE_SHAPES = {"shape", "dtype"}  # kinds of mismatches of arrays
EMPTY_ITEMS = 1000  # at most so many items without keys are put into the gaps of one list


class Plan(NamedTuple):
    """How a model is made: `build` makes it, if the report is good enough.

    `unfillable` are missing keys for which the model has no value.
    """

    build: Build
    report: BindReport
    unfillable: set[str]


def plan(target: object, record: Mapping[str, Any], prefix: str = "", dtype: DTypeLike | None = None) -> Plan:
    """Return how a class or an instance is bound to a record; nothing is read from it or changed.

    Raises BindError for a target that no record can fit.
    """
    walk = _Walk(record, dtype=dtype)
    build, report = walk.run(target, prefix)
    return Plan(build, report, walk.unfillable)


class _Walk:
    """One walk over a model: each step notes what it found, and returns a function that builds its part.

    `key` is the name in the record, `path` the place in the model. `unfillable` are missing keys for which the model
    has no value; `shapes` are those of the arrays that the model will have, in the order of the walk.
    """

    def __init__(self, record: Mapping[str, Any], keys: Keys | None = None, *, dtype: DTypeLike | None = None) -> None:
        self.record = record
        self.keys = keys or Keys(record)
        self.cast = Cast(record, dtype)
        self.bound: dict[str, str] = {}
        self.missing: dict[str, str] = {}
        self.unfillable: set[str] = set()
        self.mismatches: list[Mismatch] = []
        self.shapes: list[tuple[str, tuple[int, ...]]] = []
        self.required: dict[str, str] = {}
        self.undecided: set[str] = set()
        self.open: list[Struct] = []

    def run(self, target: object, prefix: str) -> tuple[Build, BindReport]:
        kind, name, path = parse(target), prefix.removesuffix("."), target_name(target)
        is_class = isinstance(kind, Struct) and dataclasses.is_dataclass(kind.cls)
        if not (is_class or dataclasses.is_dataclass(target)):
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

    def undecide(self, key: str) -> None:
        """Leave all keys from here on out of the report: one mismatch tells of them."""
        self.undecided.update(self.keys.below(key), [key])

    def not_given(self, kind: Kind, path: str) -> Build:
        self.required[path] = backticked(kind_name(kind))
        return lambda: None

    # Arrays

    def array(self, key: str, path: str, expected: Leaf, current: Any = MISSING) -> Build:
        if key not in self.keys:
            self.missing[key] = path
            if current is MISSING or is_placeholder(current):
                self.unfillable.add(key)
            value: Any = current
            if is_array(value):
                self.shapes.append((key, tuple(value.shape)))
            return lambda: value
        self.bound[key] = path
        info = getattr(self.record, "info", None)
        if callable(info):  # a record describes its tensors without reading them
            self.check(key, path, expected, info(key))
            return lambda: self.cast.take(key)
        array = self.record[key]
        self.check(key, path, expected, array)
        return lambda: self.cast.taken(key, array)

    def check(self, key: str, path: str, expected: Leaf, described: Any) -> None:
        if not (hasattr(described, "shape") and hasattr(described, "dtype")):
            self.mismatches.append(Mismatch("array", path, key, "an array", backticked(type(described).__name__)))
            return
        shape = tuple(described.shape)
        self.shapes.append((key, shape))
        if expected.shape is not None and not expected.shape.fits(shape):
            self.mismatches.append(Mismatch("shape", path, key, expected.shape.dims, shape))
        if expected.scalars and not is_of(self.cast.name(described.dtype), expected.scalars):
            dtype = self.cast.name(self.record[key].dtype)  # `info` of a record that widens says what is stored
            if not is_of(dtype, expected.scalars):
                wanted = " or ".join(scalar.__name__ for scalar in expected.scalars)
                self.mismatches.append(Mismatch("dtype", path, key, wanted, dtype))

    def fit(self, cls: Any, key: str, path: str, *, since: tuple[int, int, int]) -> None:
        """Ask a class whether the shapes of its arrays, if all are known, fit each other.

        `since` is where the part of the walk began that found them.
        """
        check = getattr(cls, "__check_shapes__", None)
        faults = self.mismatches[since[1] :]
        if check is None or len(self.unfillable) > since[2] or any(one.kind not in HAVE_SHAPES for one in faults):
            return
        start = len(key) + 1 if key else 0
        shapes = {name[start:]: shape for name, shape in self.shapes[since[0] :]}
        told = {fault.key for fault in faults}
        for name, expected, found in check(shapes):
            at = join(key, name)
            if at not in told:
                place = self.bound.get(at) or self.missing.get(at) or f"{path}.{name}"
                self.mismatches.append(Mismatch("shape", place, at, expected, found))

    @property
    def here(self) -> tuple[int, int, int]:
        return len(self.shapes), len(self.mismatches), len(self.unfillable)

    def numbered(self, holds: list[bool], key: str, path: str) -> list[str] | None:
        """Return the number in the record of each item, or None if a number is missing and another one left over."""
        numbers = self.keys.numbers(key)
        if numbers_fit(holds, numbers):
            return in_order(holds, numbers)
        self.mismatches.append(misnumbered(key, path, numbers, [i for i, holding in enumerate(holds) if holding]))
        self.undecide(key)
        return None

    # Instances: values decide

    def value(self, value: Any, key: str, path: str) -> Build:
        if not has_arrays(value):
            return lambda: value
        if is_array(value):
            return self.array(key, path, Leaf(Shape(*value.shape)), value)
        if is_module(value):
            return self.instance(value, key, path)
        return self.sequence(value, key, path) if is_sequence(value) else self.table(value, key, path)

    def instance(self, instance: DataclassInstance, key: str, path: str) -> Build:
        builds: dict[str, Build] = {}
        since = self.here
        for field in dataclasses.fields(instance):
            if field.metadata.get("static") or not hasattr(instance, field.name):
                continue
            value, at = getattr(instance, field.name), f"{path}.{field.name}"
            below = key if field.metadata.get("flatten") else join(key, field.name)
            if not field.metadata.get("optional"):
                builds[field.name] = self.value(value, below, at)
            elif below in self.keys:
                builds[field.name] = self.array(below, at, Leaf(Shape(*value.shape)) if is_array(value) else Leaf())
        self.fit(type(instance), key, path, since=since)
        return lambda: replaced(instance, {name: build() for name, build in builds.items()})

    def sequence(self, values: list[Any] | tuple[Any, ...], key: str, path: str) -> Build:
        names = self.item_names(getattr(values, "_fields", ()), key)
        names = names or self.numbered([has_arrays(value) for value in values], key, path)
        if names is None:
            return lambda: values
        builds = [self.value(value, join(key, names[i]), f"{path}[{i}]") for i, value in enumerate(values)]
        return lambda: like(values, [build() for build in builds])

    def item_names(self, fields: Sequence[str], key: str) -> list[str] | None:
        """Return the names of the items of a named tuple: its fields', or None where the record numbers them."""
        by_name = any(self.keys.present(join(key, name)) for name in fields)
        return list(fields) if by_name or not self.keys.numbers(key) else None

    def table(self, values: dict[Any, Any], key: str, path: str) -> Build:
        builds = {name: self.value(value, join(key, str(name)), f"{path}[{name!r}]") for name, value in values.items()}

        return lambda: named_like(values, {name: build() for name, build in builds.items()})

    # Types: annotations decide

    def kind(self, kind: Kind, key: str, path: str) -> Build:  # noqa: PLR0911 (one for each kind)
        match kind:
            case Leaf():
                return self.array(key, path, kind)
            case Struct():
                return self.struct(kind, key, path)
            case Items():
                return self.items(kind, parse(kind.item), key, path)
            case Fixed(items):
                return self.fixed([parse(item) for item in items], key, path)
            case Named():
                return self.names({part: join(key, part) for part in self.keys.parts(key)}, kind, key, path)
            case Either():
                return self.either(kind, key, path)
            case Static():
                return self.not_given(kind, path)
            case Foreign():
                raise _foreign(kind, path)

    def struct(self, struct: Struct, key: str, path: str) -> Build:
        if struct in self.open and not self.keys.present(key):
            # A recursive type with no key here: report one placeholder instead of recursing
            return self.array(join(key, "*"), path, Leaf())
        self.open.append(struct)
        since = self.here
        builds = self.fields(struct, key, path)
        self.fit(struct.cls, key, path, since=since)
        self.open.pop()
        return lambda: construct(struct.cls, {name: build() for name, build in builds.items()})

    def fields(self, struct: Struct, key: str, path: str) -> dict[str, Build]:
        fields = fields_of(struct)
        own = [field.name for field in fields if not field.flatten]
        names = dict(zip(own, self.part_names(struct, own, key), strict=True))
        builds: dict[str, Build] = {}
        for field in fields:
            where = f"{path}.{field.name}"
            if field.flatten:
                build = self.flattened(field, set(own), key, where)
            else:
                build = self.field(field, join(key, names[field.name]), where)
            if build is not None:
                builds[field.name] = build
        return builds

    def part_names(self, struct: Struct, fields: list[str], key: str) -> list[str]:
        """Return the parts of keys that the fields have: their names, or the numbers of a named tuple's items."""
        if dataclasses.is_dataclass(struct.cls):
            return fields
        return self.item_names(fields, key) or [str(i) for i in range(len(fields))]

    def field(self, field: Field, key: str, path: str) -> Build | None:
        """Plan a field; None leaves it to its default."""
        kind = field.kind
        if not takes_arrays(field):
            if not field.required or not field.init:
                return None
            return self.struct(kind, key, path) if isinstance(kind, Struct) else self.not_given(kind, path)
        default = field.default()
        if serves(default, kind) and not self.keys.present(key):
            return None
        if is_array(default):
            return self.array(key, path, kind if isinstance(kind, Leaf) else Leaf(), default)
        return self.value(default, key, path) if has_arrays(default) else self.kind(kind, key, path)

    def flattened(self, field: Field, named: set[str], key: str, path: str) -> Build | None:
        """Plan a dict that takes every array directly below the key that no other field is named after."""
        kind, default = field.kind, field.default()
        if not isinstance(kind, Named):
            raise BindError(
                f"{path}: expected `dict[str, ...]` for a field with `flatten`, found {backticked(kind_name(kind))}"
            )
        if default is not MISSING and has_arrays(default):
            return self.value(default, key, path)
        names = {
            part: join(key, part) for part in self.keys.parts(key) if part not in named and join(key, part) in self.keys
        }
        kind = kind if isinstance(parse(kind.item), Leaf) else kind._replace(item=np.ndarray)
        return self.names(names, kind, key, path) if names or default is MISSING else None

    def names(self, names: dict[str, str], named: Named, key: str, path: str) -> Build:
        if not names:
            return self.array(join(key, "*"), path, Leaf())
        item = parse(named.item)
        builds = {name: self.kind(item, below, f"{path}[{quoted(name)}]") for name, below in names.items()}
        return lambda: filled(named.container, {name: build() for name, build in builds.items()})

    def items(self, items: Items, item: Kind, key: str, path: str) -> Build:
        """Plan the items 0 to n-1, as many as are declared or there; those without keys where such items can be."""
        found = self.keys.numbers(key)
        last = int(found[-1]) if found else -1
        places = range(last + 1 if items.length is None else items.length)
        gaps_are_items = may_be_empty(item) and last < len(places) <= len(found) + EMPTY_ITEMS
        numbers = [str(place) for place in places] if gaps_are_items else found
        if len(numbers) != len(places) or last >= len(places):
            self.mismatches.append(misnumbered(key, path, found, places))
        # For an empty list, plan item 0 anyway, so that its keys are reported as missing
        planned = numbers or ["0"] * (items.length != 0)
        builds = [self.kind(item, join(key, number), f"{path}[{i}]") for i, number in enumerate(planned)]
        return lambda: filled(items.container, [build() for build in builds[: len(numbers)]])

    def fixed(self, kinds: list[Kind], key: str, path: str) -> Build:
        numbers = self.numbered([holds_arrays(kind) for kind in kinds], key, path)
        if numbers is None:
            return lambda: None
        builds = [self.kind(kind, join(key, numbers[i]), f"{path}[{i}]") for i, kind in enumerate(kinds)]
        return lambda: tuple(build() for build in builds)

    def either(self, either: Either, key: str, path: str) -> Build:
        """Plan the one variant that fits: all its keys are there, none is left over, and shapes and dtypes agree."""
        if not holds_arrays(either):
            return self.not_given(either, path)
        if either.optional and not self.keys.present(key):
            return lambda: None
        kinds = map(parse, either.variants)
        variants = [kind for kind in kinds if isinstance(kind, Leaf | Struct) or holds_arrays(kind)]
        if len(variants) == 1:
            return self.kind(variants[0], key, path)
        trials = [self.trial(kind, key, path) for kind in variants]
        fitting = [(walk, build) for walk, build, report in trials if report.fits]
        if len(fitting) == 1:
            self.bound |= fitting[0][0].bound
            self.shapes += fitting[0][0].shapes
            return fitting[0][1]
        names = [kind_name(kind) for kind in variants]
        reasons = "; ".join(why_not(name, report) for name, (_, _, report) in zip(names, trials, strict=True))
        expected = f"exactly one of {', '.join(map(backticked, names))} to fit"
        self.mismatches.append(Mismatch("variant", path, key, expected, f"{len(fitting) or 'none'} ({reasons})"))
        self.undecide(key)
        return lambda: None

    def trial(self, kind: Kind, key: str, path: str) -> tuple[_Walk, Build, BindReport]:
        walk = _Walk(self.record, self.keys)
        walk.cast, walk.open = self.cast, list(self.open)
        build = walk.kind(kind, key, path)
        self.required |= walk.required
        unexpected = walk.left_over([*([key] if key in self.keys else []), *self.keys.below(key)])
        return walk, build, BindReport(walk.bound, walk.missing, unexpected, walk.mismatches)


def _foreign(kind: Foreign, path: str) -> BindError:
    return BindError(
        f"{path}: expected an annotation that binds, found {backticked(kind_name(kind))}",
        found=kind.hint,
        details=[
            "Arrays and modules bind in list, tuple, Sequence, dict[str, ...] and Mapping[str, ...].",
            "A Length goes with list[...], Sequence[...] or tuple[..., ...].",
        ],
        remedy='Use one of these, or field(metadata={"static": True}) for what is never in a record.',
    )


def target_name(target: object) -> str:
    """Return what a message calls a model: the name of its class."""
    target = get_origin(target) or target
    return target.__name__ if isinstance(target, type) else type(target).__name__
