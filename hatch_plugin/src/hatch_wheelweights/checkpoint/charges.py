"""What the moves of the stack machine cost beside a step for each opcode: steps, and bytes of memory.

The memory of a value is counted with what later steps note of it.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final, cast

from hatch_wheelweights.checkpoint.nodes import Global, Opaque
from hatch_wheelweights.checkpoint.tensors import LazyTensor
from hatch_wheelweights.checkpoint.values import is_dict, is_tuple

if TYPE_CHECKING:
    from collections.abc import Sized

__all__ = [
    "ITEM_BYTES",
    "KEY_BYTES",
    "OBJECT_BYTES",
    "SET_BYTES",
    "SHORT_TUPLE",
    "SLOT_BYTES",
    "STEPS_PER_CALL",
    "STORAGE_BYTES",
    "kept_bytes",
    "operand_steps",
    "result_bytes",
]

STEPS_PER_CALL: Final = 4
BYTES_PER_STEP: Final = 256
SHORT_TUPLE: Final = 8  # looked into, by what charges for arguments and by what takes them
OBJECT_BYTES: Final = 128  # of any container
SET_BYTES: Final = 160
STORAGE_BYTES: Final = 2500
SLOT_BYTES: Final = 8
ITEM_BYTES: Final = 64
KEY_BYTES: Final = 100
NODE_BYTES: Final = 400
TENSOR_BYTES: Final = 2000
DIMENSION_BYTES: Final = 32
_SHORT: Final = frozenset({int, bool, float, type(None)})  # kinds of values that take no longer than one step


def operand_steps(args: tuple[Any, ...], depth: int = 2) -> int:
    """Return the steps that looking through the arguments of a call takes: a pickle can name long ones in two bytes.

    `_rebuild_from_type_v2` has the arguments of another call among its own, so short tuples are looked into.
    """
    steps = len(args)
    for arg in args:
        if type(arg) in _SHORT:
            continue
        if is_tuple(arg) and depth and len(arg) <= SHORT_TUPLE:
            steps += operand_steps(arg, depth - 1)
        elif isinstance(arg, (list, tuple, dict, set, frozenset)):
            steps += len(cast("Sized", arg))
        elif isinstance(arg, (str, bytes)):
            steps += len(arg) // BYTES_PER_STEP
    return steps


def kept_bytes(state: Any) -> int:
    """Return the memory that an OrderedDict or a Parameter takes to keep the state that it is given."""
    return OBJECT_BYTES + KEY_BYTES * (len(state) if is_dict(state) else 1)


def result_bytes(result: Any, args: tuple[Any, ...]) -> int:
    """Return the memory that the result of a call takes, with what it keeps of the arguments."""
    if isinstance(result, LazyTensor):
        kept = sum([len(arg) for arg in args if isinstance(arg, (str, bytes))])
        return TENSOR_BYTES + DIMENSION_BYTES * len(result.shape) + kept
    if isinstance(result, Opaque):
        return NODE_BYTES + SLOT_BYTES * len(result.args)
    if isinstance(result, Global):
        return NODE_BYTES + len(result.module) + len(result.name)
    if isinstance(result, (list, tuple, dict, set, frozenset)):
        return ITEM_BYTES * len(cast("Sized", result))
    return len(result) if isinstance(result, (str, bytes)) else 0
