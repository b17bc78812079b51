"""Pickles as lists of opcodes.

Knows what each opcode takes from the stack and leaves on it (from `pickletools`), and so which runs of opcodes push
exactly one value: an `Expression`.
"""

from __future__ import annotations

import pickletools
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Sequence

BY_CODE = {info.code.encode("latin-1"): info for info in pickletools.opcodes}


@dataclass(frozen=True)
class Op:
    """One opcode and its argument, as they are written."""

    code: bytes
    argument: bytes = b""

    @property
    def name(self) -> str:
        """Python's name of the opcode."""
        return BY_CODE[self.code].name

    @property
    def encoding(self) -> str | None:
        """How `pickletools` calls the encoding of its argument."""
        info = BY_CODE[self.code].arg
        return info.name if info else None

    def __bytes__(self) -> bytes:
        return self.code + self.argument


def disassembled(data: bytes) -> list[Op]:
    """Return the opcodes of one pickle, STOP included; what follows it is left out."""
    found = [(info.code.encode("latin-1"), at) for info, _, at in pickletools.genops(data) if at is not None]
    ends = [at for _, at in found[1:]] + [found[-1][1] + 1]
    return [Op(code, data[at + 1 : end]) for (code, at), end in zip(found, ends, strict=True)]


def assembled(ops: Sequence[Op]) -> bytes:
    """Write the opcodes one after another."""
    return b"".join(map(bytes, ops))


def shown(data: bytes) -> str:
    """Return a pickle as one line of opcodes, as far as it can be taken apart."""
    words: list[str] = []
    try:
        for info, argument, _ in pickletools.genops(data):
            words.append(info.name if info.arg is None else f"{info.name} {argument!r}")
    except Exception as error:  # noqa: BLE001 (a mutant may be anything)
        words.append(f"... {type(error).__name__}: {error}")
    return " ".join(words)


# ------------------------------------------------------------------------------------- expressions

Expression = tuple[int, int]  # the first opcode, and the one behind the last


def expressions(ops: Sequence[Op]) -> list[Expression]:
    """Return the runs of opcodes that push exactly one value."""
    found: list[Expression] = []
    stack: list[int] = []  # where each value begins; a mark is -1 - its place
    for at, op in enumerate(ops):
        start = _start(op, at, stack)
        if start is not None:
            stack.append(start)
            found.append((start, at + 1))
    return found


def _start(op: Op, at: int, stack: list[int]) -> int | None:
    """Take from the stack what an opcode takes; return where the value that it leaves begins, or None."""
    if op.name == "MARK":
        stack.append(-1 - at)
        return None
    if op.name in ("PUT", "BINPUT", "LONG_BINPUT", "MEMOIZE"):
        return stack.pop() if stack and stack[-1] >= 0 else None
    if op.name == "DUP":
        return at
    before, after = BY_CODE[op.code].stack_before, BY_CODE[op.code].stack_after
    start = _popped(stack, at, before)
    return start if after else None


def _popped(stack: list[int], at: int, before: list[Any]) -> int:
    start = at
    if pickletools.markobject in before:
        while stack and stack[-1] >= 0:
            stack.pop()
        if stack:
            start = -1 - stack.pop()
        before = before[: before.index(pickletools.markobject)]
    for _ in before:
        if stack and stack[-1] >= 0:
            start = stack.pop()
    return start
