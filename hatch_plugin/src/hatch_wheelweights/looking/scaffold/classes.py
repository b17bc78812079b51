"""From modules to classes: modules with the same fields are instances of one class, and so are nearly equal ones.

Two modules are nearly equal where one lacks fields that the other has, as residual blocks do: these fields are optional
then. Only modules whose class the file names alike, or which have names alike, are compared. Modules of a single field
are one class only if they have names alike, too: `pooler.dense` and `intermediate.dense` have nothing else in common.
"""

from __future__ import annotations

from itertools import islice
from typing import TYPE_CHECKING, Final

from hatch_wheelweights.looking.scaffold.kinds import (
    Array,
    Class,
    Empty,
    Field,
    Fixed,
    Instance,
    Items,
    Kind,
    Named,
    Of,
    array_of,
    joined,
    variants_of,
)
from hatch_wheelweights.looking.scaffold.layers import hints_of, layer_of, short_class
from hatch_wheelweights.looking.scaffold.modules import Module, Tensor
from hatch_wheelweights.looking.scaffold.names import class_name, is_field
from wheelweights.names import is_number

if TYPE_CHECKING:
    from collections.abc import Mapping

    from hatch_wheelweights.looking.scaffold.calls import Layer
    from hatch_wheelweights.looking.scaffold.modules import Part
    from hatch_wheelweights.looking.scaffold.names import Taken

__all__ = ["Classes"]

MAX_GAPS: Final = 64  # items without tensors in a list; with more of them it is a dict with numbers for names
MAX_TUPLE: Final = 32  # items of different kinds; more are a list
COMPARED: Final = 8  # classes that a module is compared with
_CONTAINERS: Final = {"Module", "Sequential", "ModuleList", "ModuleDict", "ParameterList", "ParameterDict"}


class Classes:
    """The classes of a model, in the order in which they need each other, the model's own last.

    `layers` are the modules that are layers of `wheelweights.nn`, `instances` those that are instances of the classes.
    Without `has_layers`, there are no layers.
    """

    def __init__(self, model: Module, taken: Taken, *, has_layers: bool) -> None:
        self.all: list[Class] = []
        self.layers: dict[Module, Layer] = {}
        self.instances = set[Module]()
        self._has_layers = has_layers
        self._needs_values = False
        self._taken = taken
        self._hints = hints_of(model)
        self._exact: dict[object, Class] = {}
        self._alike: dict[str, list[Class]] = {}
        self.model = self._class_of(model)

    @property
    def need_init(self) -> bool:
        """Whether a model must be made to be bound: its layers have settings, or annotations do not tell its items."""
        return self._needs_values or any(layer.has_settings for layer in self.layers.values())

    def _kind(self, part: Part) -> Kind:
        if isinstance(part, Tensor):
            return array_of(part)
        layer = layer_of(part, self._hints) if self._has_layers else None
        if layer is not None:
            self.layers[part] = layer
            return Of(layer.type)
        if _is_sequence(part):
            return self._sequence(part.parts)
        if not any(map(is_field, part.parts)):
            return self._named(part.parts)
        return Instance(self._class_of(part))

    def _sequence(self, parts: Mapping[str, Part]) -> Kind:
        """Return a list, or a short tuple where its items differ."""
        kinds = joined([self._kind(part) for _, part in sorted(parts.items(), key=lambda item: int(item[0]))])
        found = dict(zip(sorted(map(int, parts)), kinds, strict=True))
        all_kinds = [found.get(place, Empty()) for place in range(max(found) + 1)]
        distinct = list(dict.fromkeys(all_kinds))
        there = [kind for kind in distinct if kind != Empty()]
        differ = len(there) > 1
        # Where an item may be missing, annotations tell only if the others cannot do without keys
        self._needs_values |= len(there) < len(distinct) and not isinstance(there[0], Of | Array)
        if differ and len(all_kinds) <= MAX_TUPLE:
            return Fixed(tuple(all_kinds))
        self._needs_values |= differ
        numbers = {kind: number for number, kind in enumerate(distinct)}
        return Items(tuple(distinct), tuple(numbers[kind] for kind in all_kinds))

    def _named(self, parts: Mapping[str, Part]) -> Kind:
        kinds = joined([self._kind(part) for part in parts.values()])
        self._needs_values |= len(set(kinds)) > 1
        return Named(tuple(parts), tuple(kinds))

    # Classes

    def _class_of(self, module: Module) -> Class:
        """Return the class of a module: one that is there, changed if it is nearly equal, or a new one."""
        fields = self._fields(module)
        origin = _origin(module)
        name = _name_of(module, origin)
        named = origin or (name if len(fields) == 1 else None)
        exact = (named, tuple((field, one.kind, one.flatten) for field, one in fields.items()))
        found = None if module.above is None else self._exact.get(exact) or self._nearly(fields, origin or name)
        if found is None:
            found = Class(self._taken.free(class_name(name)), fields, [], origin)
            self.all.append(found)
            self._alike.setdefault(origin or name, []).append(found)
        found.inner |= _classes_in(fields)
        found.instances.append(module)
        self.instances.add(module)
        self._exact[exact] = found
        return found

    def _fields(self, module: Module) -> dict[str, Field]:
        """Return the fields of a module; what cannot be a field by its name is in a dict or list beside them."""
        odd = {name: part for name, part in module.parts.items() if not is_field(name)}
        fields = {name: Field(self._kind(part)) for name, part in module.parts.items() if name not in odd}
        if odd:
            is_list = len(odd) == len(module.parts) and _is_sequence(module)
            kind = self._sequence(odd) if is_list else self._named(odd)
            self._needs_values |= not all(isinstance(one, Array) for one in variants_of(kind)) or is_list
            name = "items" if is_list else "others"
            while name in module.parts:
                name += "_"
            fields[name] = Field(kind, flatten=True)
        return fields

    def _nearly(self, fields: Mapping[str, Field], group: str) -> Class | None:
        """Return a class that fits with some fields made optional, after making them so."""
        for found in islice(reversed(self._alike.get(group, ())), COMPARED):
            both = _both(found.fields, fields)
            if both is not None and not any(_reaches(inner, found) for inner in _classes_in(fields)):
                found.fields = both
                return found
        return None


def _is_sequence(module: Module) -> bool:
    """Return whether the parts of a module are the items of a list."""
    return all(map(is_number, module.parts)) and max(map(int, module.parts)) < len(module.parts) + MAX_GAPS


def _origin(module: Module) -> str | None:
    """Return the class that the file names, unless that says no more than that there are modules in it."""
    if module.known is None or short_class(module) in _CONTAINERS:
        return None
    return module.known.name


def _name_of(module: Module, origin: str | None) -> str:
    """Return what the class of a module may be called: as in the file, or as the module, an item in the singular."""
    if origin is not None:
        return origin.rpartition(".")[2]
    if module.above is None:
        return "Net"
    named, is_item = module, False
    while named.above is not None and is_number(named.name):
        named, is_item = named.above, True
    name = named.name or "item"
    return name[:-1] if is_item and name.endswith("s") and not name.endswith("ss") else name.rstrip("0123456789_")


def _both(ones: Mapping[str, Field], others: Mapping[str, Field]) -> dict[str, Field] | None:
    """Return fields that fit both of two classes; None where most are not in both, or one has two kinds."""
    common = ones.keys() & others.keys()
    if 2 * len(common) < len(ones.keys() | others.keys()):
        return None
    fields = dict[str, Field]()
    for name in dict.fromkeys([*ones, *others]):
        one, other = ones.get(name), others.get(name)
        kind = _one_kind(one, other)
        flatten = (one or other or Field(Empty())).flatten
        if kind is None or (flatten and name not in common):
            return None
        optional = name not in common or any(field is not None and field.optional for field in (one, other))
        fields[name] = Field(kind, optional, flatten)
    return fields


def _one_kind(one: Field | None, other: Field | None) -> Kind | None:
    if one is None or other is None:
        found = one or other
        return None if found is None else found.kind
    if one.flatten != other.flatten:
        return None
    kinds = [one.kind, other.kind]
    alike = one.kind == other.kind or all(isinstance(kind, Array) for kind in kinds)
    return joined(kinds)[0] if alike else None


def _classes_in(fields: Mapping[str, Field]) -> set[Class]:
    found = set[Class]()
    waiting = [field.kind for field in fields.values()]
    while waiting:
        kind = waiting.pop()
        waiting += variants_of(kind)
        if isinstance(kind, Instance):
            found.add(kind.cls)
    return found


def _reaches(start: Class, target: Class) -> bool:
    """Return whether a class is another one, or has it somewhere inside."""
    seen, waiting = {start}, [start]
    while waiting:
        found = waiting.pop()
        if found is target:
            return True
        waiting += found.inner - seen
        seen |= found.inner
    return False
