"""A pickle interpreter that cannot run anything.

Knows how a pickle begins, goes on and stops; the opcodes are in `opcodes`, the moves and their budgets in `machine`.
Knows nothing of files, nor of what a tensor is made of. The result is plain values, tensors and two inert nodes,
`Global` and `Opaque`: a class that a pickle names is never imported and a function it calls is never run. The caller's
`find` tells what a known name means (`collections.OrderedDict`, `torch._utils._rebuild_tensor_v2`).

Values can be shared, deep and cyclic: walk the result with an explicit stack, never recursively.
"""

from __future__ import annotations

import struct
from typing import TYPE_CHECKING, Any, Final

from hatch_wheelweights.checkpoint.machine import Machine
from hatch_wheelweights.checkpoint.opcodes import OPERATIONS, REFUSED, STOP
from hatch_wheelweights.checkpoint.remedies import DOUBTFUL
from hatch_wheelweights.errors import CheckpointError

if TYPE_CHECKING:
    from collections.abc import Callable

    from hatch_wheelweights.checkpoint.machine import Buffer
    from hatch_wheelweights.checkpoint.nodes import Global

__all__ = ["load"]

MAX_OPCODES: Final = 32_000_000


def load(
    data: Buffer,
    *,
    find: Callable[[str, str], Global],
    persistent_load: Callable[[Any], Any] | None = None,
    start: int = 0,
    end: int | None = None,
    where: str = "the pickle",
) -> tuple[Any, int]:
    """Interpret the pickle that begins at `start`; return its value and the position behind its STOP.

    `find(module, name)` gives the meaning of a name or raises UnsafePickleError; `persistent_load(pid)` gives a
    storage. `where` names the place in errors. Raises CheckpointError, with the position, for anything malformed or
    over a budget.
    """
    machine = Machine(data, start, len(data) if end is None else end, find, persistent_load)
    try:
        return _run(machine), machine.position
    except CheckpointError as error:
        error.position = _position(machine, where)
        raise
    except _FAULTS as error:
        raise CheckpointError(
            f"malformed pickle: {_reason(error)}", position=_position(machine, where), remedy=DOUBTFUL
        ) from error


def _run(machine: Machine) -> Any:
    for _ in range(MAX_OPCODES):
        machine.opcode_position = machine.position
        opcode = machine.take(1)
        operation = OPERATIONS.get(opcode)
        if operation is not None:
            operation(machine)
        elif opcode == STOP:
            return _result(machine)
        else:
            raise CheckpointError(f"pickle has opcode {_named(opcode)}, which no checkpoint needs")
    raise CheckpointError(f"pickle has more than {MAX_OPCODES:,} operations")


def _result(machine: Machine) -> Any:
    value = machine.stack.pop()
    if machine.stack or machine.marks:
        raise ValueError("STOP leaves values on the stack")
    return value


def _named(opcode: bytes) -> str:
    number = f"0x{opcode.hex()}"
    return f"{REFUSED[opcode]} ({number})" if opcode in REFUSED else number


def _position(machine: Machine, where: str) -> str:
    return f"byte {machine.opcode_position:,} of {where}"


# What Python raises where a pickle is malformed
_FAULTS: Final = (
    ArithmeticError,
    AttributeError,
    LookupError,
    MemoryError,
    RecursionError,
    TypeError,
    ValueError,
    struct.error,
)


def _reason(error: BaseException) -> str:
    if isinstance(error, IndexError):
        return "it takes more values than there are"
    if isinstance(error, KeyError):
        return "it asks for a memo entry that is not there"
    return str(error) or type(error).__name__
