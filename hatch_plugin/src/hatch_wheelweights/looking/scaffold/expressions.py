"""Kinds and what makes them as Python expressions: annotations, calls, lists."""

from __future__ import annotations

from itertools import groupby
from typing import TYPE_CHECKING, Final

from hatch_wheelweights.looking.scaffold.calls import Argument, Call, Code, Value
from hatch_wheelweights.looking.scaffold.kinds import Array, Empty, Fixed, Instance, Items, Kind, Named, Of
from hatch_wheelweights.looking.scaffold.layout import Choice, Group, Item, prefixed
from hatch_wheelweights.looking.scaffold.making import EMPTY, Given, Parameter
from hatch_wheelweights.looking.scaffold.names import text_of

if TYPE_CHECKING:
    from collections.abc import Collection, Iterable, Iterator, Mapping

    from hatch_wheelweights.looking.scaffold.making import Made

__all__ = ["IMPORTS", "Spelling", "beside"]

# What the source may use: the module that has it, and whether it is a part of that module
IMPORTS: Final[Mapping[str, tuple[str, bool]]] = {
    **dict.fromkeys(
        ("bool", "classmethod", "dict", "float", "int", "list", "range", "str", "tuple"), ("builtins", True)
    ),
    **dict.fromkeys(("dataclass", "field", "replace"), ("dataclasses", True)),
    **dict.fromkeys(("Annotated", "Any", "Literal", "Self"), ("typing", True)),
    "np": ("numpy", False),
    "ww": ("wheelweights", False),
    "NDArray": ("numpy.typing", True),
    "nn": ("wheelweights", True),
}


MAX_VARIANTS: Final = 64  # in a union, which Python parses by recursion; of more kinds, an item is `Any`


class Spelling:
    """How the source spells what it uses; what is asked for is imported.

    A name that is also a field gets an underscore: inside a class, it is the field.
    """

    def __init__(self, fields: Collection[str]) -> None:
        self._used: dict[str, str] = {}
        self._called = {name: beside(name, fields) for name in IMPORTS}

    @property
    def names(self) -> set[str]:
        """What everything is called that the source may use."""
        return {*self._called.values()}

    def __call__(self, name: str) -> str:
        """Return what a name is called in the source; what follows its first dot stays."""
        first, dot, rest = name.partition(".")
        called = self._used[first] = self._called[first]
        return f"{called}{dot}{rest}"

    def imports(self) -> Iterator[str]:
        """Yield the imports of what was asked for, in the order that formatters give them."""
        lines = dict[tuple[bool, bool, str], list[str]]()
        for name, called in self._used.items():
            module, is_part = IMPORTS[name]
            if module != "builtins" or called != name:
                is_standard = module in ("builtins", "dataclasses", "typing")
                said = name if is_part and called == name else f"{name if is_part else module} as {called}"
                lines.setdefault((not is_standard, is_part, module), []).append(said)
        for is_other, parts in groupby(sorted(lines.items()), key=lambda item: item[0][0]):
            if is_other:
                yield ""
            for (_, is_part, module), names in parts:
                start = f"from {module} import " if is_part else "import "
                plain = sorted((name for name in names if " as " not in name), key=_import_order)
                renamed = sorted((name for name in names if " as " in name), key=_import_order)
                yield from (f"{start}{said}" for said in filter(None, [", ".join(plain), *renamed]))

    # Annotations

    def annotation(self, kind: Kind) -> Item:  # noqa: PLR0911 (one for each kind)
        """Return the annotation of a field."""
        match kind:
            case Array(scalar):
                inner = self("Any") if scalar is None else self(f"np.{scalar}")
                return f"{self('NDArray')}[{inner}]"
            case Of(type_):
                return self(type_)
            case Empty():
                return EMPTY
            case Instance(cls):
                return cls.name
            case Fixed(kinds):
                return Group(f"{self('tuple')}[", tuple(map(self.annotation, kinds)), "]")
            case Named(_, kinds):
                union = Group("", self._union(kinds), "", commas=False)
                return Group(f"{self('dict')}[", (self("str"), union), "]")
            case Items(kinds, order):
                items = Group(f"{self('list')}[", self._union(kinds), "]", commas=False)
                return Group(f"{self('Annotated')}[", (items, f"{self('ww.Length')}({len(order)})"), "]")

    def _union(self, kinds: Iterable[Kind]) -> tuple[Item, ...]:
        distinct = dict.fromkeys(kinds)
        if len(distinct) > MAX_VARIANTS:
            return (self("Any"),)
        first, *others = map(self.annotation, distinct)
        return (first, *(prefixed("| ", one) for one in others))

    def of_parameter(self, parameter: Parameter) -> str:
        """Return the annotation of a parameter, with its default."""
        values = [*parameter.values, parameter.default]
        types = " | ".join(dict.fromkeys(self._type(value) for value in values if value is not None))
        default = "" if parameter.default is None else f" = {self.value(parameter.default)}"
        return f"{parameter.name}: {types}{default}"

    def _type(self, value: Value) -> str:
        if isinstance(value, Code):
            return "None"
        if isinstance(value, str):
            return f"{self('Literal')}[{text_of(value)}]"
        if isinstance(value, tuple):
            return f"{self('tuple')}[{', '.join([self('int')] * len(value)) or '()'}]"
        return self(type(value).__name__)

    # Expressions

    def value(self, value: Value) -> str:
        """Return a value as source."""
        if isinstance(value, Code):
            return self(value) if "." in value else value
        return text_of(value) if isinstance(value, str) else repr(value)

    def made(self, made: Made) -> Item:
        """Return what makes an instance of a kind."""
        if isinstance(made, Given):
            return Choice("", self.made(made.made), made.parameter)
        if isinstance(made, Call):
            return self._call(made)
        if made.kind is dict:
            pairs = zip(made.names, made.items, strict=True)
            return Group("{", tuple(prefixed(f"{text_of(name)}: ", self.made(item)) for name, item in pairs), "}")
        if made.kind is tuple:
            return Group("(", tuple(map(self.made, made.items)), ")", lone=True)
        runs = [(item, len([*items])) for item, items in groupby(made.items)]
        if len(runs) == 1 and runs[0][1] > 1:
            return Group("[", (self.made(runs[0][0]), self._times(runs[0][1])), "]", commas=False)
        return Group("[", tuple(item for made, count in runs for item in self._run(made, count)), "]")

    def _run(self, made: Made, count: int) -> list[Item]:
        """Return an item of a list as often as it is there: written out twice at most."""
        one = self.made(made)
        return [one] * count if count < 3 else [Group("*(", (one, self._times(count)), ")", commas=False)]

    def _times(self, count: int) -> str:
        return f"for _ in {self('range')}({count})"

    def _call(self, call: Call) -> Item:
        arguments = tuple(map(self._argument, filter(lambda argument: argument.is_given, call.arguments)))
        made = Group(f"{self._function(call.function)}(", arguments, ")")
        if not call.unset:
            return made
        return Group(f"{self('replace')}(", (made, *(f"{name}=None" for name in call.unset)), ")")

    def _argument(self, argument: Argument) -> str:
        value = self.value(argument.value)
        return value if argument.default is None else f"{argument.name}={value}"

    def _function(self, function: str) -> str:
        return self(function) if function.startswith(("nn.", "np.")) else function


def beside(name: str, fields: Collection[str]) -> str:
    """Return a name that no field has: with as few underscores behind it as that takes."""
    while name in fields:
        name += "_"
    return name


def _import_order(name: str) -> tuple[bool, str]:
    return name[0].islower(), name
