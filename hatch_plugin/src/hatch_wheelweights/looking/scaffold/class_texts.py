"""The text of one class: its fields with their annotations, and the function that makes an instance."""

from __future__ import annotations

import textwrap
from collections import deque
from typing import TYPE_CHECKING, Final

from hatch_wheelweights.looking.scaffold.kinds import Array, Fixed, Items
from hatch_wheelweights.looking.scaffold.layout import WIDTH, Group, lines_of, one_line, prefixed
from hatch_wheelweights.looking.scaffold.modules import Module, Tensor
from hatch_wheelweights.looking.scaffold.names import comment_text
from hatch_wheelweights.looking.scaffold.told import items_told, settings_told, silent_told

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from hatch_wheelweights.looking.scaffold.calls import Layer
    from hatch_wheelweights.looking.scaffold.classes import Classes
    from hatch_wheelweights.looking.scaffold.expressions import Spelling
    from hatch_wheelweights.looking.scaffold.kinds import Class, Field
    from hatch_wheelweights.looking.scaffold.making import Maker

__all__ = ["ClassTexts"]

SHOWN: Final = 12  # fields in one comment
MAX_KEY: Final = 60  # characters


class ClassTexts:
    """What the texts of all classes of a model have in common: how names are spelt, and what makes instances."""

    def __init__(self, classes: Classes, spelling: Spelling, maker: Maker | None) -> None:
        self._classes = classes
        self._spelling = spelling
        self._maker = maker

    def lines(self, cls: Class) -> Iterator[str]:
        """Yield the lines of a class."""
        yield f"@{self._spelling('dataclass')}"
        yield f"class {cls.name}:"
        yield f'    """{self._about(cls)}"""'
        is_list = any(_is_list(field) and field.flatten for field in cls.fields.values())
        told = [*settings_told(cls), *(() if is_list else silent_told(cls.instances[0]))]
        yield from [""] if told else []
        for text in told:
            yield from _comment(text, 4)
        names = sorted(cls.fields, key=lambda name: cls.fields[name].optional)  # those with a default come last
        layers = {name: [*self._layers(cls, name)] for name in names}
        yield from [""] if names else []
        doubted: list[str] = []
        for name in names:
            doubts = [*dict.fromkeys(f"{layer.type} {layer.doubt}" for layer in layers[name] if layer.doubt)]
            for doubt in doubts if doubts != doubted else ():  # once for several fields in a row
                yield from _comment(doubt, 4)
            doubted = doubts
            yield from self._field(cls, name)
        if self._maker is not None and names:
            yield ""
            yield from self._init(cls, self._maker, layers)

    def _about(self, cls: Class) -> str:
        said = "The model"
        if cls is not self._classes.model:
            more = f" and {len(cls.instances) - 1:,} more" if len(cls.instances) > 1 else ""
            said = f"`{comment_text(cls.instances[0].key, MAX_KEY)}`{more}"
        return f"{said}: {comment_text(cls.origin, MAX_KEY)}." if cls.origin else f"{said}."

    # Fields

    def _field(self, cls: Class, name: str) -> Iterator[str]:
        field = cls.fields[name]
        if field.flatten:
            what = "The model is a list: its keys begin with numbers"
            yield from _comment(what if _is_list(field) else "What has names that no field can have", 4)
        if name == "weight" and _is_transposed(cls):
            yield from _comment("Most likely (in, out), as x @ weight + bias takes it; nn.Linear has (out, in)", 4)
        first = cls.instances[0]
        for part in ([first] if field.flatten else _parts_of(cls, name, first)) if _is_list(field) else ():
            for text in items_told(name, part):
                yield from _comment(text, 4)
        lines = self._annotated(name, field)
        if (shape := _shape(cls, name, field)) is not None:
            fits = len(lines[0]) + len(shape) + 4 <= WIDTH
            lines = [f"{lines[0]}  # {shape}"] if fits else [f"    # {shape}", *lines]
        yield from lines

    def _annotated(self, name: str, field: Field) -> list[str]:
        annotation = prefixed(f"{name}: ", self._spelling.annotation(field.kind))
        if field.optional:
            return [*lines_of(f"{one_line(annotation)} | None = None", 4)]
        if not field.flatten:
            return [*lines_of(annotation, 4)]
        start, inner = f"{one_line(annotation)} = ", 'metadata={"flatten": True}'
        said = Group(f"{self._spelling('field')}(", (inner,), ")", commas=False)
        if len(start) + len(said.start) + 4 <= WIDTH:
            return [*lines_of(prefixed(start, said), 4)]
        if isinstance(annotation, Group):
            return [*lines_of(annotation, 4, f" = {one_line(said)}")]
        return [*lines_of(Group(f"{start}(", (one_line(said),), ")", commas=False), 4)]

    def _layers(self, cls: Class, name: str) -> Iterator[Layer]:
        """Yield the layers in a field of all instances: those in lists and dicts too, but none in other classes."""
        for module in cls.instances:
            waiting = deque(_parts_of(cls, name, module))
            while waiting:
                part = waiting.popleft()
                layer = self._classes.layers.get(part)
                if layer is not None:
                    yield layer
                elif part not in self._classes.instances:
                    waiting.extend(part.modules.values())

    # What makes an instance

    def _init(self, cls: Class, maker: Maker, layers: dict[str, list[Layer]]) -> Iterator[str]:
        made = maker.made(cls)
        parameters = ("cls", *map(self._spelling.of_parameter, made.parameters))
        yield f"    @{self._spelling('classmethod')}"
        yield from lines_of(Group(f"def {maker.function}(", parameters, f") -> {self._spelling('Self')}:"), 4)
        unknown: dict[tuple[str, ...], list[str]] = {}
        for name in cls.fields:
            for settings in dict.fromkeys(layer.unknown for layer in layers[name] if layer.unknown):
                unknown.setdefault(settings, []).append(name)
        for settings, names in unknown.items():
            yield from _comment(f"Not in the file: {_and(settings)} of {_and(names)}", 8)
        arguments = (prefixed(f"{name}=", self._spelling.made(one)) for name, one in made.fields.items())
        yield from lines_of(Group("return cls(", tuple(arguments), ")"), 8)


def _is_list(field: Field) -> bool:
    return isinstance(field.kind, Items | Fixed)


def _parts_of(cls: Class, name: str, module: Module) -> list[Module]:
    """Return the modules in a field of an instance: all that are no other field, if its names are beside it."""
    if cls.fields[name].flatten:
        return [part for inner, part in module.modules.items() if inner not in cls.fields]
    part = module.parts.get(name)
    return [part] if isinstance(part, Module) else []


def _is_transposed(cls: Class) -> bool:
    """Return whether a class has matrices that are (in, out), as their biases tell."""
    if cls.fields.keys() != {"weight", "bias"}:
        return False
    shapes = [[tensor.shape for tensor in module.tensors.values()] for module in cls.instances]
    pairs = [sorted(pair, key=len) for pair in shapes if sorted(map(len, pair)) == [1, 2]]
    tell = [bias == weight[1:] for bias, weight in pairs if weight[0] != weight[1]]
    return len(pairs) == len(shapes) and bool(tell) and all(tell)


def _shape(cls: Class, name: str, field: Field) -> str | None:
    """Return the shape of an array, with a question mark for each size that differs, and a dtype that numpy lacks."""
    if not isinstance(field.kind, Array) or field.flatten:
        return None
    tensors = [part for module in cls.instances if isinstance(part := module.parts.get(name), Tensor)]
    if field.kind.axes is None:
        return "of several shapes"
    sizes = [set(along) for along in zip(*(tensor.shape for tensor in tensors), strict=True)]
    shown = ", ".join(str(size.pop()) if len(size) == 1 else "?" for size in sizes)
    dtypes = sorted({tensor.dtype for tensor in tensors}) if field.kind.scalar is None else []
    return ", ".join([f"({shown}{',' if len(sizes) == 1 else ''})", *dtypes])


def _comment(text: str, indent: int) -> Iterator[str]:
    """Yield the lines of a comment."""
    start = f"{' ' * indent}# "
    yield from textwrap.wrap(text, WIDTH, initial_indent=start, subsequent_indent=start, break_long_words=False)


def _and(names: Sequence[str]) -> str:
    """Return names as a sentence has them; the first 12 of many, and how many follow."""
    if len(names) > SHOWN:
        return f"{', '.join(names[:SHOWN])} and {len(names) - SHOWN:,} more"
    return " and ".join([*filter(None, [", ".join(names[:-1])]), *names[-1:]])
