"""A pickle interpreter that cannot run anything.

Knows how a pickle begins, goes on and stops; the opcodes are in `opcodes`, the moves and their budgets in `machine`.
Knows nothing of files, nor of what a tensor is made of. The result is plain values, tensors and two inert nodes,
`Global` and `Opaque`: a class that a pickle names is never imported and a function it calls is never run. The caller's
`find` tells what a known name means (`collections.OrderedDict`, `torch._utils._rebuild_tensor_v2`).

Values can be shared, deep and cyclic: walk the result with an explicit stack, never recursively.
"""

from __future__ import annotations

import itertools
import struct
from typing import TYPE_CHECKING, Any, Final, cast

from hatch_wheelweights.checkpoint.cost import Account
from hatch_wheelweights.checkpoint.machine import Machine
from hatch_wheelweights.checkpoint.nodes import Opaque
from hatch_wheelweights.checkpoint.opcodes import BY_NUMBER, REFUSED, STOP
from hatch_wheelweights.checkpoint.remedies import DOUBTFUL
from hatch_wheelweights.checkpoint.tensors import LazyTensor
from hatch_wheelweights.checkpoint.values import Ordered, is_dict, is_list, is_tuple
from hatch_wheelweights.errors import CheckpointError
from wheelweights.dtypes import DTYPES

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator

    from hatch_wheelweights.checkpoint.machine import Buffer
    from hatch_wheelweights.checkpoint.nodes import Global

__all__ = ["load"]

_CHARGED_TOGETHER: Final = 256
_BYTES_PER_VISIT: Final = 64


def load(
    data: Buffer,
    *,
    find: Callable[[str, str], Global],
    persistent_load: Callable[[Any], Any] | None = None,
    start: int = 0,
    end: int | None = None,
    where: str = "the pickle",
    account: Account | None = None,
) -> tuple[Any, int]:
    """Interpret the pickle that begins at `start`; return its value and the position behind its STOP.

    `find(module, name)` gives the meaning of a name or raises UnsafePickleError; `persistent_load(pid)` gives a
    storage. `where` names the place in errors; `account`, or one of its own, is charged for everything. Raises
    CheckpointError, with the position, for anything malformed or beyond the account.
    """
    end = len(data) if end is None else end
    account = account or Account(end - start)
    machine = Machine(data, start, end, find, persistent_load, account=account)
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
    data, end, operations = machine.data, machine.end, BY_NUMBER
    while True:
        for _ in range(_CHARGED_TOGETHER):
            position = machine.opcode_position = machine.position
            operation = operations[data[position]] if position < end else None
            if operation is None:
                return _stopped(machine)
            machine.position = position + 1
            operation(machine)
        machine.settle(_CHARGED_TOGETHER)


def _stopped(machine: Machine) -> Any:
    """Return the value of a pickle whose next opcode is STOP; raise the error of any other that makes no move."""
    opcode = machine.take(1)
    if opcode != STOP:
        raise CheckpointError(f"pickle has opcode {_named(opcode)}, which no checkpoint needs")
    machine.settle(1)
    value = machine.stack.pop()
    if machine.stack or machine.marks:
        raise ValueError("STOP leaves values on the stack")
    if machine.faults:
        _check_kept(machine, value)
    return value


def _check_kept(machine: Machine, value: Any) -> None:
    """Raise CheckpointError for a tensor that cannot be read where nothing in the value would say so.

    What other tensors and dicts carry as attributes says so of a kind of tensor that a record cannot hold, but not of a
    malformed one: with it, the whole file is.
    """
    dropped = dict(machine.faults)
    carried: list[Any] = []
    for tensor in _tensors(machine, [value], carried):
        dropped.pop(id(tensor.fault), None)
    if dropped and carried:
        for tensor in _tensors(machine, carried, carried):
            if not _is_malformed(tensor):
                dropped.pop(id(tensor.fault), None)
    for fault in dropped.values():
        raise CheckpointError("pickle drops a tensor that cannot be read", details=[fault.fact], remedy=fault.remedy)


def _tensors(machine: Machine, stack: list[Any], carried: list[Any]) -> Iterator[LazyTensor]:
    """Yield the tensors in values; add to `carried` what they and dicts carry."""
    seen = set[int]()
    while stack:
        node = stack.pop()
        if id(node) in seen:
            continue
        seen.add(id(node))
        machine.account.charge(1, _BYTES_PER_VISIT)
        if isinstance(node, LazyTensor):
            yield node
        else:
            stack.extend(_parts(node))
        if isinstance(node, (LazyTensor, Ordered)) and node.attributes is not None:
            carried.append(node.attributes)


def _is_malformed(tensor: LazyTensor) -> bool:
    """Tell whether a tensor cannot be read although a record can hold its kind, or its storage cannot be."""
    is_held = tensor.dtype in DTYPES and bool(tensor.storages)
    return is_held or any(storage.fault is not None for storage in tensor.storages)


def _parts(node: Any) -> Iterable[Any]:
    if is_dict(node):
        return itertools.chain(node, node.values())
    if is_list(node) or is_tuple(node) or isinstance(node, (set, frozenset)):
        return cast("Iterable[Any]", node)
    return (node.args, node.state, node.items) if isinstance(node, Opaque) else ()


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
