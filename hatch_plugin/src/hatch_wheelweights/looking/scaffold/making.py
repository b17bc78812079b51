"""How the instances of a class are made: a function whose parameters are the values in which they differ.

`BasicBlock.init(64, 128, stride=2)`: each call in it, such as `nn.Conv2d.init(64, 128, 3, stride=2)`, is made once for
all instances. An argument that is the same in all of them stays a value; one that is not becomes a parameter, and so
does whether a module is there. Arguments of one kind that agree in all instances are one parameter.
"""

from __future__ import annotations

from dataclasses import dataclass
from itertools import islice
from typing import TYPE_CHECKING, Final, TypeAlias

from hatch_wheelweights.looking.scaffold.calls import Argument, Call, Code, Value
from hatch_wheelweights.looking.scaffold.kinds import Array, Empty, Fixed, Instance, Items, Kind, Named, Of
from hatch_wheelweights.looking.scaffold.modules import Module, Tensor
from hatch_wheelweights.looking.scaffold.names import Taken

if TYPE_CHECKING:
    from collections.abc import Collection, Mapping, Sequence

    from hatch_wheelweights.looking.scaffold.calls import Layer
    from hatch_wheelweights.looking.scaffold.kinds import Class, Field
    from hatch_wheelweights.looking.scaffold.modules import Part

__all__ = ["EMPTY", "Given", "Made", "MadeOf", "Maker", "Parameter", "Several"]

EMPTY: Final = "NoTensors"
SHAPE: Final = "shape"
COMPARED: Final = 64  # parameters that an argument is compared with, where it is not in all instances


@dataclass(frozen=True, slots=True)
class Several:
    """The items of a list, a tuple or, with names, a dict."""

    kind: type[list[object]] | type[tuple[object, ...]] | type[dict[str, object]]
    items: tuple[Made, ...]
    names: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Given:
    """What is made only where a parameter says so, and None elsewhere."""

    parameter: str
    made: Made


Made: TypeAlias = Call | Several | Given


@dataclass(eq=False, slots=True)
class Parameter:
    """A parameter: its default and its value in each instance, each None where there is none."""

    name: str
    group: str
    default: Value | None
    values: list[Value | None]

    def value_in(self, instance: int) -> Value:
        """Return the value in an instance; where it has none, one that does no harm."""
        return next(one for one in (self.values[instance], self.default, *self.values) if one is not None)


@dataclass(frozen=True)
class MadeOf:
    """How the instances of a class are made: the parameters, those without default first, and what makes each field."""

    parameters: list[Parameter]
    fields: dict[str, Made]


class Maker:
    """What makes the classes, found once for each of them. `function` is the name of what makes an instance."""

    def __init__(self, layers: Mapping[Module, Layer], function: str, reserved: Collection[str]) -> None:
        self._layers = layers
        self.function = function
        self._reserved = frozenset({*reserved, "cls"})
        self._made: dict[Class, tuple[MadeOf, dict[Module, int]]] = {}

    def made(self, cls: Class) -> MadeOf:
        """Return how the instances of a class are made."""
        return self._found(cls)[0]

    def _found(self, cls: Class) -> tuple[MadeOf, dict[Module, int]]:
        if cls not in self._made:
            parameters = _Parameters(self._reserved)
            fields: dict[str, Made] = {}
            for name, field in cls.fields.items():
                made = [self._of_field(name, field, module) for module in cls.instances]
                fields[name] = parameters.merged(made, name)
            ordered = sorted(parameters.all, key=lambda parameter: parameter.default is not None)
            numbers = {module: number for number, module in enumerate(cls.instances)}
            self._made[cls] = MadeOf(ordered, fields), numbers
        return self._made[cls]

    def _of_field(self, name: str, field: Field, module: Module) -> Made | None:
        if field.flatten:
            return self._of(module, field.kind)
        return self._of(module.parts[name], field.kind) if name in module.parts else None

    def _of(self, part: Part | None, kind: Kind) -> Made:  # noqa: PLR0911 (one for each kind)
        """Return what makes one instance of a kind: all arguments are values."""
        if isinstance(part, Tensor):
            return _array(part, kind)
        if part is None:
            return Call(EMPTY, ())
        match kind:
            case Of():
                return self._layers[part].call
            case Instance(cls):
                return self._instance(cls, part)
            case Named():
                return self._named(kind, part)
            case Fixed(kinds):
                parts = [part.parts.get(str(place)) for place in range(len(kinds))]
                return Several(tuple, tuple(map(self._of, parts, kinds)))
            case Items():
                return self._items(kind, part)
            case Array() | Empty():
                return Call(EMPTY, ())

    def _items(self, items: Items, module: Module) -> Several:
        parts = [module.parts.get(str(place)) for place in range(len(items.order))]
        return Several(list, tuple(map(self._of, parts, (items.kinds[number] for number in items.order))))

    def _named(self, named: Named, module: Module) -> Several:
        parts = [module.parts[name] for name in named.names]
        return Several(dict, tuple(map(self._of, parts, named.kinds)), named.names)

    def _instance(self, cls: Class, module: Module) -> Call:
        made, numbers = self._found(cls)
        number = numbers[module]
        arguments = [Argument(one.name, one.value_in(number), one.default, one.group) for one in made.parameters]
        return Call(f"{cls.name}.{self.function}", tuple(arguments))


def _array(tensor: Tensor, kind: Kind) -> Call:
    """Return what makes an array; of a dtype that numpy lacks, one of another dtype, which binds as well."""
    scalar = kind.scalar if isinstance(kind, Array) and kind.scalar else "float32"
    shape = Argument(SHAPE, tensor.shape, group=SHAPE)
    return Call("np.zeros", (shape, Argument("dtype", Code(f"np.{scalar}"))))


class _Parameters:
    """The parameters of one class, found while what makes its instances is merged."""

    def __init__(self, reserved: frozenset[str]) -> None:
        self.all: list[Parameter] = []
        self._taken = Taken(reserved)
        self._names = set[str]()
        self._exact: dict[object, Parameter] = {}

    def merged(self, made: Sequence[Made | None], place: str) -> Made:
        """Return what makes all instances at one place; None stands for those that have nothing there."""
        is_there = [one is not None for one in made]
        if all(is_there):
            return self._all(made, place)
        name = self._parameter(Argument(place, True, False, "presence"), is_there, place)
        return Given(name, self._all(made, place))

    def _all(self, made: Sequence[Made | None], place: str) -> Made:
        first = next(one for one in made if one is not None)
        if isinstance(first, Several):
            rows = [one.items if isinstance(one, Several) else None for one in made]
            columns = [[None if row is None else row[i] for row in rows] for i in range(len(first.items))]
            items = [self._all(column, f"{place}_{i}") for i, column in enumerate(columns)]
            return Several(first.kind, tuple(items), first.names)
        calls = [one if isinstance(one, Call) else None for one in made]
        call = next(one for one in calls if one is not None)
        arguments = (self._argument(calls, i, argument, place) for i, argument in enumerate(call.arguments))
        unset = next((one.unset for one in calls if one is not None and one.unset), ())
        return Call(call.function, tuple(arguments), unset)

    def _argument(self, calls: Sequence[Call | None], i: int, argument: Argument, place: str) -> Argument:
        values = [None if call is None else call.arguments[i].value for call in calls]
        if len({(type(value), value) for value in values if value is not None}) == 1:
            return argument
        return Argument(argument.name, Code(self._parameter(argument, values, place)), argument.default, argument.group)

    def _parameter(self, argument: Argument, values: Sequence[Value | None], place: str) -> str:
        """Return the name of the parameter that has these values: one that is there, or a new one."""
        key = (argument.group, argument.default, tuple(values))
        found = self._exact.get(key) or self._with_gaps(argument, values)
        if found is None:
            is_clear = argument.name not in self._names and argument.group != SHAPE
            own = argument.name if is_clear else f"{place}_{argument.name}"
            self._names.add(own)
            name = self._taken.free(own, "_")
            found = Parameter(name, argument.group, argument.default, [*values])
            self.all.append(found)
        self._exact[key] = found
        return found.name

    def _with_gaps(self, argument: Argument, values: Sequence[Value | None]) -> Parameter | None:
        """Return a parameter that has the same values, as far as both have any, and these as well from now on."""
        for found in islice(self.all, COMPARED):
            alike = found.group == argument.group and found.default == argument.default
            if alike and all(
                value is None or other is None or value == other
                for value, other in zip(values, found.values, strict=True)
            ):
                found.values = [
                    other if value is None else value for value, other in zip(values, found.values, strict=True)
                ]
                return found
        return None
