"""A pickle interpreter that cannot run anything.

Knows the opcodes of pickle protocols 0 to 5 (https://github.com/python/cpython/blob/main/Lib/pickletools.py) and what
a checkpoint may do with them; knows nothing of files or tensors. The result is plain values and two inert nodes,
`Global` and `Opaque`: a class that a pickle names is never imported and a function it calls is never run. What a
known name means (`collections.OrderedDict`, `torch._utils._rebuild_tensor_v2`) is told by the caller's `find`.

Budgets bound time and memory by the size of the pickle, because a hostile one can ask for far more than it is long.
Values can be shared, deep and cyclic: whoever walks the result does it with an explicit stack.
"""

from __future__ import annotations

import struct
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Final, Protocol

import numpy as np

from hatch_wheelweights.errors import CheckpointError, UnsafePickleError
from wheelweights.errors import backticked

if TYPE_CHECKING:
    from collections.abc import Callable

__all__ = ["HERE", "Buffer", "Global", "Opaque", "cheap_key", "load"]

HERE: Final = "<here>"  # in the text of an error that `find` raises: stands for the position in the file

MAX_OPCODES: Final = 32_000_000
MAX_CONTAINERS: Final = (
    4_000_000  # lists, tuples, dicts, sets, marks and calls: the costly ones, at some 60 bytes or more each
)
MAX_MEMO: Final = 4_000_000
MAX_INT_BYTES: Final = 1024
MAX_INT_DIGITS: Final = 300
MAX_NAME_CHARACTERS: Final = 1024
MAX_MEMO_INDEX: Final = 1 << 32
MAX_KEY_ITEMS: Final = 64  # of a tuple as a dict key: hashing a tuple is not cached
MAX_KEY_INT: Final = 1 << 60  # beyond it, Python's hash of an int can be made to collide with any other
MAX_NUMBER_TUPLES: Final = 5_000  # as keys: the hashes of tuples of numbers can be made to collide
MAX_COPIED: Final = 32 << 20  # bytes that calls may copy, plus COPIED_RATIO times the size of the pickle
COPIED_RATIO: Final = 8


class Buffer(Protocol):
    """Bytes in memory or in a map: what `load` reads."""

    def __len__(self) -> int: ...
    def __getitem__(self, index: slice, /) -> bytes: ...
    def find(self, sub: bytes, start: int, end: int, /) -> int:
        """Return where `sub` begins between `start` and `end`, or -1."""


@dataclass(frozen=True, slots=True)
class Global:
    """A class or function that a pickle names; never imported.

    `call` says what calling it gives, `setstate` what BUILD makes of the result of such a call; without them the
    result is an `Opaque`.
    """

    module: str
    name: str
    call: Callable[[tuple[Any, ...]], Any] | None = field(default=None, compare=False, repr=False)
    setstate: Callable[[Opaque, Any], Any] | None = field(default=None, compare=False, repr=False)

    def __str__(self) -> str:
        return f"{self.module}.{self.name}"


@dataclass(eq=False)
class Opaque:
    """An object of an unknown class: what was called, with what, and the state it was given; inert.

    `state` is what BUILD gave, `items` what a list (values) or dict (pairs) subclass holds.
    """

    module: str
    name: str
    args: tuple[Any, ...] = ()
    state: Any = None
    items: list[Any] = field(default_factory=list)

    def __str__(self) -> str:
        return f"{self.module}.{self.name}"

    def __repr__(self) -> str:
        return f"<Opaque {self.module}.{self.name}>"  # not the content: that can be cyclic


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
    storage. `where` names the place in errors. Raises CheckpointError for anything malformed or over a budget, with
    the position.
    """
    machine = _Machine(data, start, len(data) if end is None else end, find, persistent_load)
    try:
        return machine.run(), machine.position
    except (UnsafePickleError, CheckpointError) as error:
        error.args = (_placed(error.args[0], f"at byte {machine.opcode_position:,} of {where}"),)
        raise
    except _FAULTS as error:
        raise CheckpointError(
            f"malformed pickle at byte {machine.opcode_position:,} of {where}: {_reason(error)}",
            remedy="Get the file again: it is damaged, or not a checkpoint.",
        ) from error


_FAULTS = (
    ArithmeticError,
    AttributeError,
    LookupError,
    MemoryError,
    RecursionError,
    TypeError,
    ValueError,
    struct.error,
)


def _placed(fact: str, place: str) -> str:
    return fact.replace(HERE, place) if HERE in fact else f"{fact} ({place})"


def _reason(error: BaseException) -> str:
    if isinstance(error, IndexError):
        return "it takes more values than there are"
    if isinstance(error, KeyError):
        return "it asks for a memo entry that is not there"
    return str(error) or type(error).__name__


class _Machine:
    """The stack machine of one pickle."""

    def __init__(
        self,
        data: Buffer,
        start: int,
        end: int,
        find: Callable[[str, str], Global],
        persistent_load: Callable[[Any], Any] | None,
    ) -> None:
        self.data = data
        self.position = self.opcode_position = start
        self.end = end
        self.find = find
        self.persistent_load = persistent_load
        self.stack: list[Any] = []
        self.marks: list[list[Any]] = []
        self.memo: dict[int, Any] = {}
        self.unfinished: dict[int, list[int]] = {}  # id of a node that BUILD will replace -> where the memo holds it
        self.containers = 0
        self.number_tuples = 0
        self.copied = 0
        self.max_copied = MAX_COPIED + COPIED_RATIO * (end - start)

    def run(self) -> Any:
        for _ in range(MAX_OPCODES):
            self.opcode_position = self.position
            opcode = self.take(1)
            if opcode == b".":
                value = self.stack.pop()
                if self.stack or self.marks:
                    raise ValueError("STOP leaves values on the stack")
                return value
            operation = _OPERATIONS.get(opcode)
            if operation is None:
                raise CheckpointError(f"pickle opcode {opcode!r} is none that a checkpoint needs")
            operation(self)
        raise CheckpointError(f"pickle has more than {MAX_OPCODES:,} operations")

    # Reading

    def take(self, count: int) -> bytes:
        after = self.position + count
        if count < 0 or after > self.end:
            raise ValueError(f"expected {count:,} more bytes, found {self.end - self.position:,}")
        taken = self.data[self.position : after]
        self.position = after
        return taken

    def number(self, size: int, *, signed: bool = False) -> int:
        return int.from_bytes(self.take(size), "little", signed=signed)

    def line(self) -> bytes:
        newline = self.data.find(b"\n", self.position, self.end)
        if newline < 0:
            raise ValueError("a text argument has no end")
        taken = self.data[self.position : newline]
        self.position = newline + 1
        return taken

    def digits(self) -> int:
        text = self.line()
        if len(text) > MAX_INT_DIGITS:
            raise ValueError(f"an integer has more than {MAX_INT_DIGITS} digits")
        return int(text.rstrip(b"L"))

    # The stack

    def push(self, value: Any) -> None:
        self.stack.append(value)

    def push_container(self, value: Any) -> None:
        self.containers += 1
        if self.containers > MAX_CONTAINERS:
            raise CheckpointError(f"pickle makes more than {MAX_CONTAINERS:,} objects")
        self.stack.append(value)

    def pop_mark(self) -> list[Any]:
        if not self.marks:
            raise ValueError("there is no mark on the stack")
        items, self.stack = self.stack, self.marks.pop()
        return items

    def pop_tuple(self, count: int) -> None:
        if len(self.stack) < count:
            raise IndexError
        items = tuple(self.stack[-count:])
        del self.stack[-count:]
        self.push_container(items)

    def mark(self) -> None:
        self.push_container(None)
        self.stack.pop()
        self.marks.append(self.stack)
        self.stack = []

    def pop(self) -> None:
        if self.stack:
            self.stack.pop()
        else:
            self.pop_mark()  # as Python's: POP on a mark removes the mark

    def discard_mark(self) -> None:
        self.pop_mark()

    # The memo

    def put(self, index: int) -> None:
        if len(self.memo) >= MAX_MEMO:
            raise CheckpointError(f"pickle remembers more than {MAX_MEMO:,} objects")
        if not 0 <= index < MAX_MEMO_INDEX:
            raise ValueError("a memo index has more than 32 bits")
        value = self.stack[-1]
        self.memo[index] = value
        if id(value) in self.unfinished:
            self.unfinished[id(value)].append(index)

    # Objects

    def name(self, module: Any, name: Any) -> None:
        if not (isinstance(module, str) and isinstance(name, str)):
            raise TypeError("a class is named by something that is not text")
        if len(module) + len(name) > MAX_NAME_CHARACTERS:
            raise ValueError(f"a class name has more than {MAX_NAME_CHARACTERS} characters")
        self.push(self.find(module, name))

    def call(self) -> None:
        args, function = self.stack.pop(), self.stack.pop()
        if not isinstance(function, Global):
            raise UnsafePickleError(f"pickle calls {_kind(function)}, which no state_dict needs")
        if not isinstance(args, tuple):
            raise TypeError(f"expected a tuple of arguments, found {_kind(args)}")
        result = function.call(args) if function.call else Opaque(function.module, function.name, args)
        self.copied += _size(result)
        if self.copied > self.max_copied:
            raise CheckpointError(f"pickle copies more than {self.max_copied:,} bytes")
        self.push_container(result)
        if function.setstate and isinstance(result, Opaque):
            self.unfinished[id(result)] = []

    def build(self) -> None:
        state = self.stack.pop()
        target = self.stack[-1]
        if isinstance(target, Opaque):
            self._set_state(target, state)
        elif type(target) not in _STATELESS and not hasattr(target, "blocks"):
            raise TypeError(f"{_kind(target)} is given a state")

    def _set_state(self, target: Opaque, state: Any) -> None:
        holders = self.unfinished.pop(id(target), None)
        setstate = self.find(target.module, target.name).setstate if holders is not None else None
        if setstate is None:
            target.state = state
            return
        finished = setstate(target, state)
        self.stack[-1] = finished
        for index in holders or ():
            self.memo[index] = finished

    def extend(self, items: list[Any]) -> None:
        target = self.stack[-1]
        if isinstance(target, Opaque):
            target.items.extend(items)
        elif type(target) is list:
            target.extend(items)
        elif type(target) is set:
            target.update(self.key(item) for item in items)
        else:
            raise TypeError(f"items are added to {_kind(target)}")

    def set_items(self, items: list[Any]) -> None:
        if len(items) % 2:
            raise ValueError("a key has no value")
        pairs = [(self.key(items[i]), items[i + 1]) for i in range(0, len(items), 2)]
        target = self.stack[-1]
        if isinstance(target, Opaque):
            target.items.extend(pairs)
        elif type(target) is dict:
            target.update(pairs)
        else:
            raise TypeError(f"keys are set in {_kind(target)}")

    def key(self, key: Any) -> Any:
        self.number_tuples += isinstance(key, tuple) and not _has_text(key)
        return cheap_key(key, numbers=self.number_tuples <= MAX_NUMBER_TUPLES)

    def collect(self, make: Callable[[list[Any]], Any]) -> None:
        self.push_container(make(self.pop_mark()))

    def new_dict(self) -> None:
        items = self.pop_mark()
        self.push_container({})
        self.set_items(items)

    def persistent(self) -> None:
        if self.persistent_load is None:
            raise CheckpointError("pickle refers to a storage, and this place has none")
        self.push_container(self.persistent_load(self.stack.pop()))

    def protocol(self) -> None:
        version = self.number(1)
        if version > 5:
            raise CheckpointError(f"expected pickle protocol 0 to 5, found {version}")

    def frame(self) -> None:
        size = self.number(8)
        if size > self.end - self.position:
            raise ValueError(f"expected a frame of {size:,} bytes, found {self.end - self.position:,}")

    def long(self, size: int) -> None:
        if size > MAX_INT_BYTES:
            raise ValueError(f"an integer has more than {MAX_INT_BYTES:,} bytes")
        self.push(self.number(size, signed=True))

    def int_text(self) -> None:
        text = self.line()
        if text in (b"00", b"01"):  # how protocol 0 writes False and True
            self.push(text == b"01")
        else:
            self.position -= len(text) + 1
            self.push(self.digits())

    def string_text(self) -> None:
        text = self.line().strip()
        if len(text) < 2 or text[:1] != text[-1:] or text[:1] not in (b"'", b'"'):
            raise ValueError("a string has no quotes")
        self.push(_text(text[1:-1].decode("unicode_escape").encode("latin-1")))


def _text(raw: bytes) -> str | bytes:
    """Return Python 2's `str` as text where it is text: it was used for names and raw bytes alike."""
    try:
        return raw.decode("utf-8")
    except UnicodeDecodeError:
        return raw


def _size(result: Any) -> int:
    """Return what a call may have copied: a pickle can name something long in a few bytes, over and over."""
    if isinstance(result, (list, tuple, dict, set, frozenset)):
        return 64 * len(result)
    return len(result) if isinstance(result, (str, bytes)) else 0


def cheap_key(key: Any, *, numbers: bool = True) -> Any:
    """Return a dict key or set item where its hash is cheap and cannot be made to collide; else a node in its place.

    Nodes are told apart by identity. `numbers` says whether a tuple of numbers is still allowed as a key.
    """
    if isinstance(key, tuple):
        plain = len(key) <= MAX_KEY_ITEMS and all(
            not isinstance(item, tuple) and cheap_key(item) is item for item in key
        )
        cheap = plain and (numbers or _has_text(key))
    elif isinstance(key, (complex, frozenset)):  # np.complex128 is a complex
        cheap = False
    elif isinstance(key, _KEYS) or hasattr(key, "blocks"):
        cheap = not isinstance(key, int) or abs(key) < MAX_KEY_INT
    else:
        raise TypeError(f"{_kind(key)} is a key")
    return key if cheap else Opaque("builtins", type(key).__name__, (key,))


def _has_text(key: tuple[Any, ...]) -> bool:
    return any(isinstance(item, (str, bytes)) for item in key)


def _kind(value: Any) -> str:
    return backticked(value) if isinstance(value, (Global, Opaque)) else f"a {type(value).__name__}"


_KEYS = (str, bytes, int, float, np.generic, Global, Opaque, type(None))
# What BUILD may name without effect: an OrderedDict's `_metadata`, attributes of list, dict and set subclasses.
_STATELESS = (dict, list, set, frozenset, tuple)


def _raw(machine: _Machine, size: int) -> None:
    machine.push(machine.take(machine.number(size)))


def _utf8(machine: _Machine, size: int) -> None:
    # A lone surrogate is legal in Python's own pickles
    machine.push(machine.take(machine.number(size)).decode("utf-8", "surrogatepass"))


def _python2(machine: _Machine, size: int) -> None:
    machine.push(_text(machine.take(machine.number(size))))


def _take_two(machine: _Machine) -> list[Any]:
    value, key = machine.stack.pop(), machine.stack.pop()
    return [key, value]


_OPERATIONS: Final[dict[bytes, Callable[[_Machine], None]]] = {
    b"\x80": _Machine.protocol,
    b"\x95": _Machine.frame,
    # the stack
    b"(": _Machine.mark,
    b"0": _Machine.pop,
    b"1": _Machine.discard_mark,
    b"2": lambda m: m.push(m.stack[-1]),
    # plain values
    b"N": lambda m: m.push(None),
    b"\x88": lambda m: m.push(True),
    b"\x89": lambda m: m.push(False),
    b"I": _Machine.int_text,
    b"J": lambda m: m.push(m.number(4, signed=True)),
    b"K": lambda m: m.push(m.number(1)),
    b"M": lambda m: m.push(m.number(2)),
    b"L": lambda m: m.push(m.digits()),
    b"\x8a": lambda m: m.long(m.number(1)),
    b"\x8b": lambda m: m.long(m.number(4, signed=True)),
    b"F": lambda m: m.push(float(m.line()[:MAX_INT_DIGITS])),
    b"G": lambda m: m.push(struct.unpack(">d", m.take(8))[0]),
    # text and bytes
    b"S": _Machine.string_text,
    b"T": lambda m: _python2(m, 4),
    b"U": lambda m: _python2(m, 1),
    b"V": lambda m: m.push(m.line().decode("raw_unicode_escape")),
    b"X": lambda m: _utf8(m, 4),
    b"\x8c": lambda m: _utf8(m, 1),
    b"\x8d": lambda m: _utf8(m, 8),
    b"B": lambda m: _raw(m, 4),
    b"C": lambda m: _raw(m, 1),
    b"\x8e": lambda m: _raw(m, 8),
    b"\x96": lambda m: _raw(m, 8),
    # containers
    b"]": lambda m: m.push_container([]),
    b"l": lambda m: m.collect(list),
    b"a": lambda m: m.extend([m.stack.pop()]),
    b"e": lambda m: m.extend(m.pop_mark()),
    b")": lambda m: m.push(()),
    b"t": lambda m: m.collect(tuple),
    b"\x85": lambda m: m.pop_tuple(1),
    b"\x86": lambda m: m.pop_tuple(2),
    b"\x87": lambda m: m.pop_tuple(3),
    b"}": lambda m: m.push_container({}),
    b"d": _Machine.new_dict,
    b"s": lambda m: m.set_items(_take_two(m)),
    b"u": lambda m: m.set_items(m.pop_mark()),
    b"\x8f": lambda m: m.push_container(set()),
    b"\x90": lambda m: m.extend(m.pop_mark()),
    b"\x91": lambda m: m.collect(lambda items: frozenset(m.key(item) for item in items)),
    # the memo
    b"p": lambda m: m.put(m.digits()),
    b"q": lambda m: m.put(m.number(1)),
    b"r": lambda m: m.put(m.number(4)),
    b"\x94": lambda m: m.put(len(m.memo)),
    b"g": lambda m: m.push(m.memo[m.digits()]),
    b"h": lambda m: m.push(m.memo[m.number(1)]),
    b"j": lambda m: m.push(m.memo[m.number(4)]),
    # objects
    b"c": lambda m: m.name(m.line().decode("utf-8"), m.line().decode("utf-8")),
    b"\x93": lambda m: m.name(*_take_two(m)),
    b"R": _Machine.call,
    b"\x81": _Machine.call,  # NEWOBJ: cls.__new__(cls, *args); nothing here tells it from a call
    b"b": _Machine.build,
    b"Q": _Machine.persistent,
}
