"""The settings of modules that the code in a TorchScript archive spells out, read as text.

Knows how `torch.jit.save` prints the constants of a class (`  stride : Final[Tuple[int, int]] = (1, 1)`) and the
operators that its methods call (`torch._convolution(input, weight, bias, [1, 1], ...)`). None of it is run.
"""

from __future__ import annotations

import contextlib
import re
from itertools import islice
from typing import TYPE_CHECKING, Any, Final, NamedTuple

from hatch_wheelweights.checkpoint.literals import MAX_LINE, arguments, literal
from hatch_wheelweights.checkpoint.module_classes import MAX_SETTINGS
from hatch_wheelweights.checkpoint.operators import operators_of, settings_of_calls
from hatch_wheelweights.checkpoint.torchscript_code import lists_tensors, tensor_names

if TYPE_CHECKING:
    from collections.abc import Container, Iterator

    from hatch_wheelweights.checkpoint.cost import Account
    from hatch_wheelweights.checkpoint.literals import Argument
    from hatch_wheelweights.checkpoint.operators import Operator

__all__ = ["Told", "tells_settings", "told"]

STEPS_PER_CONSTANT: Final = 4
BYTES_PER_CONSTANT: Final = 200
CHARACTERS_PER_STEP: Final = 32
_CONSTANT: Final = re.compile(r"  (\w+) : Final\[[^=]*\] = (.*)")
_CALL: Final = re.compile(r"\btorch\.(\w+)\(")


class Told(NamedTuple):
    """What the code tells of a class of modules: its name, the names of its tensors, and the settings it spells out."""

    name: str
    tensors: Container[str]
    settings: dict[str, Any]


def tells_settings(line: str) -> bool:
    """Tell whether a line may say a setting, or which attributes are tensors."""
    return lists_tensors(line) or (len(line) <= MAX_LINE and (": Final[" in line or "torch." in line))


def told(name: str, lines: list[str], account: Account) -> Told:
    """Return what such lines tell of a class: its constants, or, of a layer of torch without, those of its calls.

    A traced module has no constants: what it was made with is where its operators are called.
    """
    listed = [line for line in lines if lists_tensors(line)]
    settings = dict(sorted(islice(_constants(lines, account), MAX_SETTINGS), key=_place))
    return Told(name, tensor_names(listed), settings or settings_of_calls(_calls(name, lines, account)))


def _constants(lines: list[str], account: Account) -> Iterator[tuple[str, Any]]:
    for line in lines:
        if found := _CONSTANT.fullmatch(line.rstrip("\n")):
            account.charge(STEPS_PER_CONSTANT, BYTES_PER_CONSTANT)
            with contextlib.suppress(ValueError):
                yield found[1], literal(found[2])


# torch prints constants in the order of a hash table: here, as the layers of torch take them, and others by name
_ORDER: Final = (
    *("in_features", "in1_features", "in2_features", "in_channels", "input_size", "num_embeddings", "num_features"),
    *("normalized_shape", "num_groups", "num_channels", "embed_dim", "num_heads", "out_features", "out_channels"),
    *("hidden_size", "num_layers", "embedding_dim", "kernel_size", "stride", "padding", "output_padding", "dilation"),
    *("groups", "padding_mode", "eps", "momentum"),
)
_PLACES: Final = {name: place for place, name in enumerate(_ORDER)}


def _place(constant: tuple[str, Any]) -> tuple[int, str]:
    name, _ = constant
    return _PLACES.get(name, len(_PLACES)), name


def _calls(name: str, lines: list[str], account: Account) -> Iterator[tuple[Operator, list[Argument]]]:
    """Yield the operators that say settings of a layer, with the arguments that its code calls them with."""
    operators = operators_of(name)
    for line in lines if operators else ():
        account.charge(1 + len(line) // CHARACTERS_PER_STEP)
        for found in _CALL.finditer(line):  # a call may be an argument of another
            operator = operators.get(found[1].removesuffix("_"))
            if operator is not None:
                account.charge(len(line) - found.end())  # an argument may take two characters
                with contextlib.suppress(ValueError):
                    yield operator, arguments(line, found.end())
