"""Binding: a record becomes the arrays of a dataclass tree.

Knows models and keys; knows no file format. Any mapping of keys to arrays binds. A walk over the model looks up the key
of each array, checks its shape and dtype, and gathers every fault; only a walk without faults is built. So nothing is
ever half-bound.

A **type** as target is read by its annotations: arrays (`np.ndarray`, `NDArray[...]`), dataclasses, `list[T]`,
`tuple[T, ...]`, fixed tuples, `dict[str, T]`, `T | None` (None if there is no key) and `A | B` (the one variant that
fits exactly). Other fields need a default. An **instance** is read by its values: it has its variants, its lengths and
its shapes already. A default that is a module, or holds some, is such an instance.

Shapes and dtypes are declared in one of three ways:
- by an instance (its shapes must agree; dtypes may differ, so that a half-precision record binds to a model that was
  made in float32);
- by a hint for the shape, `Annotated[np.ndarray, Shape(8, 3, None, 3)]`, where None is any length;
- by a hint for the dtype, `NDArray[np.float32]`, or for a whole kind of dtypes, `NDArray[np.floating]` (float16 and
  bfloat16 included).

Nothing else is checked.

The metadata of a field can say `{"static": True}` (an array that is never in records), `{"optional": True}` (an array
that a record may lack: the instance then keeps its own) and, for a `dict[str, Array]`, `{"flatten": True}` (its arrays
are named as if they were fields beside it).
"""

from __future__ import annotations

import copy
import dataclasses
import os
from collections.abc import Callable, Iterable, Mapping
from dataclasses import MISSING
from typing import TYPE_CHECKING, Any, TypeVar, get_origin, overload

from wheelweights.annotations import (
    Either,
    Field,
    Fixed,
    Items,
    Kind,
    Leaf,
    Named,
    Shape,
    Static,
    Struct,
    fields_of,
    has_arrays,
    holds_arrays,
    is_array,
    is_module,
    is_of,
    kind_name,
    parse,
    plain_name,
    takes_arrays,
)
from wheelweights.errors import backticked, counted, quoted
from wheelweights.instances import construct, like, replaced
from wheelweights.keys import Keys, in_order, join
from wheelweights.plain import is_sequence
from wheelweights.report import BindError, BindReport, Mismatch, first, misfit, why_not

if TYPE_CHECKING:
    from _typeshed import DataclassInstance

__all__ = ["BindReport", "Mismatch", "Shape", "bind", "bind_report"]

T = TypeVar("T")
Build = Callable[[], Any]


@overload
def bind(target: type[T], record: Mapping[str, Any], prefix: str = "", partial: bool = False) -> T: ...
@overload
def bind(target: T, record: Mapping[str, Any], prefix: str = "", partial: bool = False) -> T: ...
def bind(target: Any, record: Mapping[str, Any], prefix: str = "", partial: bool = False) -> Any:
    """Return the model with the record's arrays in it: a new instance of a dataclass, or a copy of an instance.

    Arrays are not copied: views of the mapped file stay views, tied tensors stay the same memory. An instance is not
    modified; its copy keeps everything that is not an array, and `__post_init__` does not run again. Gaps in the
    numbers of a list are closed, in order.

    Only keys below `prefix` ("encoder" or "encoder.") are looked at, and are bound without it. Model and record must
    have the same keys; with `partial`, arrays whose keys are missing keep the value of the instance (or the default of
    a type), and unexpected keys are ignored. `bind_report` says which they are. A wrong shape is always an error.

    Raises BindError, with every fault in its message and in its `report`.
    """
    walk = _Walk(record)
    build, report = walk.run(target, prefix)
    nothing_fits = bool(report.missing and not report.bound and record)  # a partial load of nothing is a mistake
    if report.mismatches or walk.unfillable or nothing_fits or not (partial or report.fits):
        path: str | os.PathLike[str] | None = getattr(record, "path", None)
        source = os.fspath(path) if isinstance(path, str | os.PathLike) else "the state_dict"
        below = f" below {backticked(prefix)}" if prefix else ""
        subject = f"{_name(target)} does not fit {source}{below}"
        raise misfit(report, subject, partial=partial, unfillable=bool(walk.unfillable))
    return build()


def bind_report(target: object, record: Mapping[str, Any], prefix: str = "") -> BindReport:
    """Return which keys would bind, and which are missing, unexpected or mismatching; nothing is bound.

    Raises BindError only for a target that no record can fit, such as a type with a required field that is not an
    array.
    """
    return _Walk(record).run(target, prefix)[1]


class _Walk:
    """One walk over a model: each step notes what it found, and returns a function that builds its part.

    `key` is the name in the record, `path` the place in the model. `unfillable` are missing keys for which the model
    has no value.
    """

    def __init__(self, record: Mapping[str, Any], keys: Keys | None = None) -> None:
        self.record = record
        self.keys = keys or Keys(record)
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
        self.required[path] = backticked(kind_name(kind))
        return lambda: None

    # Arrays

    def array(self, key: str, path: str, expected: Leaf, current: Any = MISSING) -> Build:
        if key not in self.keys:
            self.missing[key] = path
            if current is MISSING:
                self.unfillable.add(key)
            return lambda: current
        self.bound[key] = path
        info = getattr(self.record, "info", None)
        if callable(info):  # a record describes its tensors without reading them
            self.check(key, path, expected, info(key))
            return lambda: self.record[key]
        array = self.record[key]
        self.check(key, path, expected, array)
        return lambda: array

    def check(self, key: str, path: str, expected: Leaf, described: Any) -> None:
        if not (hasattr(described, "shape") and hasattr(described, "dtype")):
            self.mismatches.append(Mismatch("array", path, key, "an array", backticked(type(described).__name__)))
            return
        shape, dtype = tuple(described.shape), plain_name(described.dtype)
        if expected.shape is not None and not expected.shape.fits(shape):
            self.mismatches.append(Mismatch("shape", path, key, expected.shape.dims, shape))
        if expected.scalars and not is_of(dtype, expected.scalars):
            dtype = plain_name(self.record[key].dtype)  # `info` of a record that widens says what is stored
            if not is_of(dtype, expected.scalars):
                wanted = " or ".join(scalar.__name__ for scalar in expected.scalars)
                self.mismatches.append(Mismatch("dtype", path, key, wanted, dtype))

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
        for field in dataclasses.fields(instance):
            if field.metadata.get("static") or not hasattr(instance, field.name):
                continue
            value, at = getattr(instance, field.name), f"{path}.{field.name}"
            below = key if field.metadata.get("flatten") else join(key, field.name)
            if not field.metadata.get("optional"):
                builds[field.name] = self.value(value, below, at)
            elif below in self.keys:
                builds[field.name] = self.array(below, at, Leaf(Shape(*value.shape)) if is_array(value) else Leaf())
        return lambda: replaced(instance, {name: build() for name, build in builds.items()})

    def sequence(self, values: list[Any] | tuple[Any, ...], key: str, path: str) -> Build:
        numbers = in_order([has_arrays(value) for value in values], self.keys.numbers(key))
        builds = [self.value(value, join(key, numbers[i]), f"{path}[{i}]") for i, value in enumerate(values)]
        return lambda: like(values, [build() for build in builds])

    def table(self, values: dict[Any, Any], key: str, path: str) -> Build:
        builds = {name: self.value(value, join(key, str(name)), f"{path}[{name!r}]") for name, value in values.items()}

        def build() -> dict[Any, Any]:
            new = copy.copy(values)
            new.update((name, build()) for name, build in builds.items())
            return new

        return build

    # Types: annotations decide

    def kind(self, kind: Kind, key: str, path: str) -> Build:  # noqa: PLR0911 (one for each kind)
        match kind:
            case Leaf():
                return self.array(key, path, kind)
            case Struct():
                return self.struct(kind, key, path)
            case Items(container, item):
                return self.items(container, parse(item), key, path)
            case Fixed(items):
                return self.fixed([parse(item) for item in items], key, path)
            case Named(item):
                return self.names({part: join(key, part) for part in self.keys.parts(key)}, parse(item), key, path)
            case Either():
                return self.either(kind, key, path)
            case Static():
                return self.not_given(kind, path)

    def struct(self, struct: Struct, key: str, path: str) -> Build:
        if struct in self.open and not self.keys.present(key):
            # A recursive type with no key here: report one placeholder instead of recursing
            return self.array(join(key, "*"), path, Leaf())
        self.open.append(struct)
        fields = fields_of(struct)
        named = {field.name for field in fields if not field.flatten}
        builds: dict[str, Build] = {}
        for field in fields:
            where = f"{path}.{field.name}"
            if field.flatten:
                build = self.flattened(field, named, key, where)
            else:
                build = self.field(field, join(key, field.name), where)
            if build is not None:
                builds[field.name] = build
        self.open.pop()
        return lambda: construct(struct.cls, {name: build() for name, build in builds.items()})

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
        item = parse(kind.item)
        item = item if isinstance(item, Leaf) else Leaf()
        return self.names(names, item, key, path) if names or default is MISSING else None

    def names(self, names: dict[str, str], kind: Kind, key: str, path: str) -> Build:
        if not names:
            return self.array(join(key, "*"), path, Leaf())
        builds = {name: self.kind(kind, below, f"{path}[{quoted(name)}]") for name, below in names.items()}
        return lambda: {name: build() for name, build in builds.items()}

    def items(self, container: type, kind: Kind, key: str, path: str) -> Build:
        numbers = self.keys.numbers(key)
        # For an empty list, plan item 0 anyway, so that its keys are reported as missing
        builds = [self.kind(kind, join(key, number), f"{path}[{i}]") for i, number in enumerate(numbers or ["0"])]
        return lambda: container(build() for build in builds[: len(numbers)])

    def fixed(self, kinds: list[Kind], key: str, path: str) -> Build:
        numbers = in_order([holds_arrays(kind) for kind in kinds], self.keys.numbers(key))
        builds = [self.kind(kind, join(key, numbers[i]), f"{path}[{i}]") for i, kind in enumerate(kinds)]
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
        names = [kind_name(kind) for kind in variants]
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


def _name(target: object) -> str:
    target = get_origin(target) or target
    return target.__name__ if isinstance(target, type) else type(target).__name__
