"""The opcodes of pickle protocols 0 to 5: the move that each makes, and those that no checkpoint needs.

Source: https://github.com/python/cpython/blob/main/Lib/pickletools.py, which a test compares with this table.
"""

from __future__ import annotations

import struct
from typing import TYPE_CHECKING, Any, Final

from hatch_wheelweights.checkpoint.charges import SET_BYTES
from hatch_wheelweights.checkpoint.machine import Machine
from hatch_wheelweights.checkpoint.pickle_text import parsed_float, parsed_int, parsed_string

if TYPE_CHECKING:
    from collections.abc import Callable

__all__ = ["BY_NUMBER", "OPERATIONS", "REFUSED", "STOP"]

STOP: Final = b"."

REFUSED: Final = {
    b"i": "INST",  # classes of Python 2, which are named and called at once
    b"o": "OBJ",
    b"\x92": "NEWOBJ_EX",  # __new__ with keyword arguments
    b"P": "PERSID",  # a storage reference as text
    b"\x82": "EXT1",  # names that are registered in a program, not in the file
    b"\x83": "EXT2",
    b"\x84": "EXT4",
    b"\x97": "NEXT_BUFFER",  # bytes that are not in the pickle
    b"\x98": "READONLY_BUFFER",
}


def _take_two(machine: Machine) -> list[Any]:
    value, key = machine.stack.pop(), machine.stack.pop()
    return [key, value]


OPERATIONS: Final[dict[bytes, Callable[[Machine], None]]] = {
    b"\x80": Machine.protocol,
    b"\x95": Machine.frame,
    # the stack
    b"(": Machine.mark,
    b"0": Machine.pop,
    b"1": Machine.drop_mark,
    b"2": lambda m: m.push(m.stack[-1]),
    # plain values
    b"N": lambda m: m.push(None),
    b"\x88": lambda m: m.push(True),
    b"\x89": lambda m: m.stack.append(False),
    b"I": Machine.int_text,
    b"J": lambda m: m.push(m.signed(4)),
    b"K": lambda m: m.stack.append(m.byte()),
    b"M": lambda m: m.stack.append(m.number(2)),
    b"L": lambda m: m.push(parsed_int(m.line().removesuffix(b"L"))),
    b"\x8a": lambda m: m.long(m.number(1)),
    b"\x8b": lambda m: m.long(m.signed(4)),
    b"F": lambda m: m.push(parsed_float(m.line())),
    b"G": lambda m: m.push(struct.unpack(">d", m.take(8))[0]),
    # text and bytes
    b"S": lambda m: m.push(parsed_string(m.line())),
    b"T": lambda m: m.python2_string(4),
    b"U": lambda m: m.python2_string(1),
    b"V": lambda m: m.push(m.line().decode("raw_unicode_escape")),
    b"X": lambda m: m.text(4),
    b"\x8c": lambda m: m.text(1),
    b"\x8d": lambda m: m.text(8),
    b"B": lambda m: m.raw(4),
    b"C": lambda m: m.raw(1),
    b"\x8e": lambda m: m.raw(8),
    b"\x96": lambda m: m.raw_bytearray(8),
    # containers
    b"]": lambda m: m.push_container([]),
    b"l": lambda m: m.collect(list),
    b"a": lambda m: m.extend([m.stack.pop()]),
    b"e": lambda m: m.extend(m.pop_mark()),
    b")": lambda m: m.stack.append(()),
    b"t": lambda m: m.collect(tuple),
    b"\x85": lambda m: m.pop_tuple(1),
    b"\x86": lambda m: m.pop_tuple(2),
    b"\x87": lambda m: m.pop_tuple(3),
    b"}": lambda m: m.push_container({}),
    b"d": Machine.new_dict,
    b"s": lambda m: m.set_items(_take_two(m)),
    b"u": lambda m: m.set_items(m.pop_mark()),
    b"\x8f": lambda m: m.push_container(set(), SET_BYTES),
    b"\x90": lambda m: m.add(m.pop_mark()),
    b"\x91": lambda m: m.collect(lambda items: frozenset(m.key(item) for item in items)),
    # the memo
    b"p": lambda m: m.put(m.digits()),
    b"q": lambda m: m.put(m.byte()),
    b"r": lambda m: m.put(m.number(4)),
    b"\x94": lambda m: m.put(len(m.memo)),
    b"g": lambda m: m.push(m.memo[m.digits()]),
    b"h": lambda m: m.stack.append(m.memo[m.byte()]),
    b"j": lambda m: m.stack.append(m.memo[m.number(4)]),
    # objects
    b"c": lambda m: m.name(m.line().decode("utf-8"), m.line().decode("utf-8")),
    b"\x93": lambda m: m.name(*_take_two(m)),
    b"R": Machine.call,
    b"\x81": lambda m: m.call(new=True),  # cls.__new__(cls, *args)
    b"b": Machine.build,
    b"Q": Machine.persistent,
}

# The same, as a byte of a pickle finds them
BY_NUMBER: Final = tuple(OPERATIONS.get(bytes([number])) for number in range(256))
