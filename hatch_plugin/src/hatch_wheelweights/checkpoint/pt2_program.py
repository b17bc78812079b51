"""The program in a `.pt2` archive of torch.export: the modules that its nodes come from, and what their calls say.

Knows the JSON of `models/*.json` (torch/_export/serde/schema.py, serialize.py): each node is the call of an operator,
and its metadata name the modules whose code made it, from the outermost to the innermost, as
`L__self___conv1,conv1,torch.nn.modules.conv.Conv2d;...`. A module that calls nothing is not in it.
"""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Any, Final

from hatch_wheelweights.checkpoint.literals import Argument
from hatch_wheelweights.checkpoint.module_classes import ModuleClass, settings_of
from hatch_wheelweights.checkpoint.operators import operators_of, settings_of_calls

if TYPE_CHECKING:
    from hatch_wheelweights.checkpoint.cost import Account
    from hatch_wheelweights.checkpoint.operators import Operator

__all__ = ["classes_of_program"]

STEPS_PER_NODE: Final = 2
STEPS_PER_ARGUMENT: Final = 2
CHARACTERS_PER_STEP: Final = 32
BYTES_PER_MODULE: Final = 600
_ATEN: Final = "torch.ops.aten."
_NOT_FINITE: Final = {"Infinity": math.inf, "-Infinity": -math.inf, "NaN": math.nan}


def classes_of_program(program: Any, account: Account) -> dict[str, ModuleClass]:
    """Return the classes of a program's modules by their names, in the order in which they are called.

    Raises AttributeError, LookupError, TypeError or ValueError where it is not the JSON of a program.
    """
    names: dict[str, str] = {}
    calls: dict[str, list[tuple[Operator, list[Argument]]]] = {}
    for node in program["graph_module"]["graph"]["nodes"]:
        stack = node["metadata"].get("nn_module_stack", "")
        account.charge(STEPS_PER_NODE + len(stack) // CHARACTERS_PER_STEP)
        modules = [tuple(entry.split(",")) for entry in stack.split(";") if entry]
        for _, path, name in modules:
            if path not in names:
                account.charge(1, BYTES_PER_MODULE + len(path) + len(name))
                names[path] = name
        operator = _operator(node["target"], names[modules[-1][1]]) if modules else None
        if operator is not None:
            account.charge(STEPS_PER_ARGUMENT * len(node["inputs"]))
            calls.setdefault(modules[-1][1], []).append((operator, [_argument(given) for given in node["inputs"]]))
    return {
        path: ModuleClass(name, settings_of(settings_of_calls(calls.get(path, ())).items(), account))
        for path, name in names.items()
    }


def _operator(target: str, layer: str) -> Operator | None:
    """Return the arguments of the operator that a node calls, if they say settings of the layer."""
    if not target.startswith(_ATEN):
        return None
    return operators_of(layer).get(target.removeprefix(_ATEN).partition(".")[0].removesuffix("_"))


def _argument(given: dict[str, Any]) -> Argument:
    """Return an argument; what is no plain value, such as a tensor or a size that the input decides, is no literal."""
    ((kind, value),) = given["arg"].items()
    if kind == "as_none":
        return Argument(given["name"], None, is_literal=True)
    if kind == "as_float":
        return Argument(given["name"], _NOT_FINITE.get(value, value), is_literal=True)
    if kind in ("as_ints", "as_floats", "as_bools"):
        return Argument(given["name"], tuple(value), is_literal=True)
    return Argument(given["name"], value, is_literal=kind in ("as_int", "as_bool", "as_string"))
