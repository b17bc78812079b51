"""The source as a whole: a docstring, the imports that are needed, and one class after the other."""

from __future__ import annotations

import textwrap
from typing import TYPE_CHECKING, Final

from hatch_wheelweights.looking.scaffold.class_texts import ClassTexts
from hatch_wheelweights.looking.scaffold.classes import Classes
from hatch_wheelweights.looking.scaffold.expressions import Spelling, beside
from hatch_wheelweights.looking.scaffold.kinds import Empty, variants_of
from hatch_wheelweights.looking.scaffold.layout import WIDTH
from hatch_wheelweights.looking.scaffold.making import EMPTY, Maker
from hatch_wheelweights.looking.scaffold.names import Taken

if TYPE_CHECKING:
    from collections.abc import Sequence

    from hatch_wheelweights.looking.scaffold.modules import Module

__all__ = ["source_of"]

FUNCTIONS: Final = ("init", "make", "start")  # the first that no field is called


def source_of(model: Module, title: str, *, has_layers: bool) -> str:
    """Return the source of the dataclasses of a model; `title` begins its docstring.

    `has_layers` is false for records of Burn: no layer of `wheelweights.nn` has their layout.
    """
    names = _names_in(model)
    function = next((name for name in FUNCTIONS if name not in names), beside("init", names))
    spelling = Spelling(names)
    classes = Classes(model, Taken(frozenset({*spelling.names, *names, EMPTY})), has_layers=has_layers)
    reserved = {*spelling.names, EMPTY, *(cls.name for cls in classes.all)}
    maker = Maker(classes.layers, function, reserved) if classes.need_init else None
    texts = ClassTexts(classes, spelling, maker)
    body = [line for cls in classes.all for line in ("", "", *texts.lines(cls))]
    empty = _empty_class(spelling) if _has_empty(classes) else []
    target = f"{classes.model.name}.{function}" if classes.need_init else classes.model.name
    said = [] if has_layers else [_BURN]
    docstring = _docstring(title, target, [*said, *([_CONVOLUTIONS] if _guesses_convolutions(classes) else [])])
    head = [*docstring, "", "from __future__ import annotations", "", *spelling.imports()]
    return "\n".join([*head, *empty, *body, ""])


def _names_in(model: Module) -> set[str]:
    names, waiting = set[str](), [model]
    while waiting:
        module = waiting.pop()
        names.update(module.parts)
        waiting += module.modules.values()
    return names


_BURN: Final = "Burn wrote the record: its linear layers keep (in, out), its norms gamma and beta."
_CONVOLUTIONS: Final = (
    "Weights of three or four axes are taken for those of convolutions. Where there is no bias, or as many channels "
    "come out as go in, a transposed convolution has the same shapes as a plain one: these are taken for plain ones."
)


def _docstring(title: str, target: str, said: Sequence[str]) -> list[str]:
    lines = [
        f'"""{title}',
        "",
        *textwrap.wrap("They hold the arrays and settings of the model. What it computes is not in the file.", WIDTH),
        "",
        f"    net = ww.bind({target}, record)",
    ]
    for text in said:
        lines += ["", *textwrap.wrap(text, WIDTH)]
    return [*lines, '"""']


def _guesses_convolutions(classes: Classes) -> bool:
    guessed = (layer for module, layer in classes.layers.items() if module.known is None)
    return any(layer.type.startswith("nn.Conv") for layer in guessed)


def _empty_class(spelling: Spelling) -> list[str]:
    said = "An item without tensors, such as an activation: the file does not say what it is."
    return ["", "", f"@{spelling('dataclass')}", f"class {EMPTY}:", f'    """{said}"""']


def _has_empty(classes: Classes) -> bool:
    waiting = [field.kind for cls in classes.all for field in cls.fields.values()]
    while waiting:
        kind = waiting.pop()
        waiting += variants_of(kind)
        if isinstance(kind, Empty):
            return True
    return False
