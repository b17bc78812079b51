"""The stack machine of a pickle: its state, its moves, and the budgets that bound them.

Knows the moves and not which opcode makes which. Budgets bound time and memory by the size of the pickle, because a
hostile one can ask for far more than it is long.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final, Protocol, cast

from hatch_wheelweights.checkpoint.nodes import (
    MAX_NUMBER_TUPLES,
    Global,
    Opaque,
    cheap_key,
    described,
    has_text,
)
from hatch_wheelweights.checkpoint.tensors import LazyTensor
from hatch_wheelweights.checkpoint.values import is_dict, is_list, is_set, is_tuple
from hatch_wheelweights.errors import CheckpointError, UnsafePickleError

if TYPE_CHECKING:
    from collections.abc import Callable, Sized

__all__ = ["Buffer", "Machine"]

MAX_CONTAINERS: Final = 4_000_000  # lists, tuples, dicts, sets, marks and calls take 60 bytes or more each
MAX_MEMO: Final = 4_000_000
MAX_INT_BYTES: Final = 1024
MAX_INT_DIGITS: Final = 300
MAX_NAME_CHARACTERS: Final = 1024
MAX_MEMO_INDEX: Final = 1 << 32
MAX_PROTOCOL: Final = 5
MAX_COPIED: Final = 32 << 20  # bytes that calls may copy, plus COPIED_RATIO times the size of the pickle
COPIED_RATIO: Final = 8


class Buffer(Protocol):
    """Bytes in memory or in a map."""

    def __len__(self) -> int: ...
    def __getitem__(self, index: slice, /) -> bytes: ...
    def find(self, sub: bytes, start: int, end: int, /) -> int:
        """Return where `sub` begins between `start` and `end`, or -1."""
        ...


class Machine:
    """The stack machine of one pickle.

    Its moves raise CheckpointError over a budget, UnsafePickleError for a call that no checkpoint needs, and Python's
    own errors (ValueError, LookupError, TypeError and their like) for whatever is malformed.
    """

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

    # Reading

    def take(self, count: int) -> bytes:
        """Return the next bytes."""
        after = self.position + count
        if count < 0 or after > self.end:
            raise ValueError(f"expected {count:,} more bytes, found {self.end - self.position:,}")
        taken = self.data[self.position : after]
        self.position = after
        return taken

    def number(self, size: int, *, signed: bool = False) -> int:
        """Return the next bytes as a little-endian number."""
        return int.from_bytes(self.take(size), "little", signed=signed)

    def line(self) -> bytes:
        """Return the next bytes up to a newline, which is stepped over."""
        newline = self.data.find(b"\n", self.position, self.end)
        if newline < 0:
            raise ValueError("a text argument has no end")
        taken = self.data[self.position : newline]
        self.position = newline + 1
        return taken

    def digits(self) -> int:
        """Return the next line as a number; Python 2 wrote an L behind long ones."""
        text = self.line()
        if len(text) > MAX_INT_DIGITS:
            raise ValueError(f"an integer has more than {MAX_INT_DIGITS} digits")
        return int(text.rstrip(b"L"))

    # The stack

    def push(self, value: Any) -> None:
        """Push a value that costs no more than its bytes in the pickle."""
        self.stack.append(value)

    def push_container(self, value: Any) -> None:
        """Push a value that costs far more than its bytes in the pickle; they are counted."""
        self.containers += 1
        if self.containers > MAX_CONTAINERS:
            raise CheckpointError(f"pickle makes more than {MAX_CONTAINERS:,} objects")
        self.stack.append(value)

    def mark(self) -> None:
        """Begin a new stack on top of the one that there is."""
        self.push_container(None)
        self.stack.pop()
        self.marks.append(self.stack)
        self.stack = []

    def pop_mark(self) -> list[Any]:
        """Return what was pushed since the last mark, and go back to the stack below it."""
        if not self.marks:
            raise ValueError("there is no mark on the stack")
        items, self.stack = self.stack, self.marks.pop()
        return items

    def pop(self) -> None:
        """Drop the last value, or the mark where there is nothing above it, as Python's unpickler does."""
        if self.stack:
            self.stack.pop()
        else:
            self.pop_mark()

    def drop_mark(self) -> None:
        """Drop what was pushed since the last mark."""
        self.pop_mark()

    def pop_tuple(self, count: int) -> None:
        """Make a tuple of the last values."""
        if len(self.stack) < count:
            raise IndexError
        items = tuple(self.stack[-count:])
        del self.stack[-count:]
        self.push_container(items)

    def collect(self, make: Callable[[list[Any]], Any]) -> None:
        """Make one value of everything since the last mark."""
        self.push_container(make(self.pop_mark()))

    # The memo

    def put(self, index: int) -> None:
        """Remember the last value."""
        if len(self.memo) >= MAX_MEMO:
            raise CheckpointError(f"pickle remembers more than {MAX_MEMO:,} objects")
        if not 0 <= index < MAX_MEMO_INDEX:
            raise ValueError("a memo index has more than 32 bits")
        value = self.stack[-1]
        self.memo[index] = value
        if id(value) in self.unfinished:
            self.unfinished[id(value)].append(index)

    # Plain values

    def protocol(self) -> None:
        """Check the protocol that the pickle says it has."""
        version = self.number(1)
        if version > MAX_PROTOCOL:
            raise CheckpointError(f"expected pickle protocol 0 to {MAX_PROTOCOL}, found {version}")

    def frame(self) -> None:
        """Check the size of a frame; what is in it follows like everything else."""
        size = self.number(8)
        if size > self.end - self.position:
            raise ValueError(f"expected a frame of {size:,} bytes, found {self.end - self.position:,}")

    def long(self, size: int) -> None:
        """Push an integer of so many bytes."""
        if size > MAX_INT_BYTES:
            raise ValueError(f"an integer has more than {MAX_INT_BYTES:,} bytes")
        self.push(self.number(size, signed=True))

    def int_text(self) -> None:
        """Push the integer of the next line; protocol 0 writes False and True as 00 and 01."""
        text = self.line()
        if text in (b"00", b"01"):
            self.push(text == b"01")
        else:
            self.position -= len(text) + 1
            self.push(self.digits())

    def string_text(self) -> None:
        """Push the quoted string of the next line."""
        text = self.line().strip()
        if len(text) < 2 or text[:1] != text[-1:] or text[:1] not in (b"'", b'"'):
            raise ValueError("a string has no quotes")
        self.push(_python2(text[1:-1].decode("unicode_escape").encode("latin-1")))

    def python2_string(self, size: int) -> None:
        """Push a string of Python 2; `size` is that of its length."""
        self.push(_python2(self.take(self.number(size))))

    def text(self, size: int) -> None:
        """Push text; `size` is that of its length. A lone surrogate is legal in Python's own pickles."""
        self.push(self.take(self.number(size)).decode("utf-8", "surrogatepass"))

    def raw(self, size: int) -> None:
        """Push bytes; `size` is that of their length."""
        self.push(self.take(self.number(size)))

    # Containers

    def key(self, key: Any) -> Any:
        """Return a key of a dict or an item of a set; see `cheap_key`."""
        self.number_tuples += is_tuple(key) and not has_text(key)
        return cheap_key(key, numbers=self.number_tuples <= MAX_NUMBER_TUPLES)

    def extend(self, items: list[Any]) -> None:
        """Add items to the last value."""
        target = self.stack[-1]
        if isinstance(target, Opaque):
            target.items.extend(items)
        elif is_list(target):
            target.extend(items)
        elif is_set(target):
            target.update(self.key(item) for item in items)
        else:
            raise TypeError(f"items are added to {described(target)}")

    def set_items(self, items: list[Any]) -> None:
        """Set keys and values, which alternate, in the last value."""
        if len(items) % 2:
            raise ValueError("a key has no value")
        pairs = [(self.key(items[i]), items[i + 1]) for i in range(0, len(items), 2)]
        target = self.stack[-1]
        if isinstance(target, Opaque):
            target.items.extend(pairs)
        elif is_dict(target):
            target.update(pairs)
        else:
            raise TypeError(f"keys are set in {described(target)}")

    def new_dict(self) -> None:
        """Make a dict of the keys and values since the last mark."""
        items = self.pop_mark()
        self.push_container({})
        self.set_items(items)

    # Objects

    def name(self, module: Any, name: Any) -> None:
        """Push what a name means."""
        if not (isinstance(module, str) and isinstance(name, str)):
            raise TypeError("a class is named by something that is not text")
        if len(module) + len(name) > MAX_NAME_CHARACTERS:
            raise ValueError(f"a class name has more than {MAX_NAME_CHARACTERS} characters")
        self.push(self.find(module, name))

    def call(self) -> None:
        """Push what calling a name gives: what its `call` returns, an inert node where it has none."""
        args, function = self.stack.pop(), self.stack.pop()
        if not isinstance(function, Global):
            raise UnsafePickleError(f"pickle calls {described(function)}, which no state_dict needs")
        if not is_tuple(args):
            raise TypeError(f"expected a tuple of arguments, found {described(args)}")
        result = function.call(args) if function.call else Opaque(function.module, function.name, args)
        self.copied += _size(result)
        if self.copied > self.max_copied:
            raise CheckpointError(f"pickle copies more than {self.max_copied:,} bytes")
        self.push_container(result)
        if function.setstate and isinstance(result, Opaque):
            self.unfinished[id(result)] = []

    def build(self) -> None:
        """Give the last value a state.

        Without effect on containers and tensors: an OrderedDict's `_metadata`, attributes of their subclasses.
        """
        state = self.stack.pop()
        target = self.stack[-1]
        if isinstance(target, Opaque):
            self._set_state(target, state)
        elif not isinstance(target, _STATELESS):
            raise TypeError(f"{described(target)} is given a state")

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

    def persistent(self) -> None:
        """Push what a persistent id refers to."""
        if self.persistent_load is None:
            raise CheckpointError("pickle refers to a storage, but there can be none here")
        self.push_container(self.persistent_load(self.stack.pop()))


_STATELESS: Final = (dict, list, set, frozenset, tuple, LazyTensor)


def _python2(raw: bytes) -> str | bytes:
    """Return Python 2's `str` as text where it is text: it was used for names and raw bytes alike."""
    try:
        return raw.decode("utf-8")
    except UnicodeDecodeError:
        return raw


def _size(result: Any) -> int:
    """Return what a call may have copied: a pickle can name something long in a few bytes, over and over."""
    if isinstance(result, (list, tuple, dict, set, frozenset)):
        return 64 * len(cast("Sized", result))
    return len(result) if isinstance(result, (str, bytes)) else 0
