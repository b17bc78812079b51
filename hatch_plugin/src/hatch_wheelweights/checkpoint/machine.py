"""The stack machine of a pickle: its state and its moves, each of which is charged for (see `charges`).

Knows the moves and not which opcode makes which. Budgets bound time and memory by the size of the pickle, because a
hostile one can ask for far more than it is long.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final, Protocol, overload

from hatch_wheelweights.checkpoint.charges import (
    ITEM_BYTES,
    KEY_BYTES,
    OBJECT_BYTES,
    SHORT_TUPLE,
    SLOT_BYTES,
    STEPS_PER_CALL,
    STORAGE_BYTES,
    kept_bytes,
    operand_steps,
    result_bytes,
)
from hatch_wheelweights.checkpoint.keys import NEAR_NUMBER, KeyGuard
from hatch_wheelweights.checkpoint.nodes import Global, Opaque, check_called, described, set_state, unsafe
from hatch_wheelweights.checkpoint.pickle_text import parsed_int, python2_string
from hatch_wheelweights.checkpoint.tensors import LazyTensor
from hatch_wheelweights.checkpoint.values import Bytearray, Deque, is_dict, is_list, is_set, is_tuple
from hatch_wheelweights.errors import CheckpointError, UnsafePickleError

if TYPE_CHECKING:
    from collections.abc import Callable

    from hatch_wheelweights.checkpoint.cost import Account

__all__ = ["Buffer", "Machine"]

MAX_INT_BYTES: Final = 1024
MAX_NAME_CHARACTERS: Final = 1024
MAX_PROTOCOL: Final = 5


class Buffer(Protocol):
    """Bytes in memory or in a file; as with `bytes`, an index gives one as a number."""

    def __len__(self) -> int: ...
    @overload
    def __getitem__(self, index: int, /) -> int: ...
    @overload
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
        *,
        account: Account,
    ) -> None:
        self.data = data
        self.account = account
        self.position = self.opcode_position = start
        self.end = end
        self.find = find
        self.persistent_load = persistent_load
        self.stack: list[Any] = []
        self.marks: list[list[Any]] = []
        self.memo: dict[int, Any] = {}
        self.unfinished: dict[int, list[int]] = {}  # id of a node that BUILD will replace -> where the memo holds it
        self.puts = 0
        self.owed = 0  # bytes of memory that are not charged yet, of each opcode no more than a small container takes
        self.keys = KeyGuard()
        self.faults: dict[int, CheckpointError] = {}  # by identity: those of tensors that were made
        self.storages: set[int] = set()  # by identity: those that were named before

    # Reading

    def take(self, count: int) -> bytes:
        """Return the next bytes."""
        position = self.position
        after = position + count
        if count < 0 or after > self.end:
            raise self._ended(count)
        self.position = after
        return self.data[position:after]

    def byte(self) -> int:
        """Return the next byte as a number."""
        position = self.position
        if position >= self.end:
            raise self._ended(1)
        self.position = position + 1
        return self.data[position]

    def number(self, size: int) -> int:
        """Return the next bytes as a little-endian number."""
        position = self.position
        after = position + size
        if after > self.end:
            raise self._ended(size)
        self.position = after
        return int.from_bytes(self.data[position:after], "little")

    def signed(self, size: int) -> int:
        """Return the next bytes as a little-endian number in two's complement."""
        return int.from_bytes(self.take(size), "little", signed=True)

    def line(self) -> bytes:
        """Return the next bytes up to a newline, which is stepped over."""
        newline = self.data.find(b"\n", self.position, self.end)
        if newline < 0:
            raise ValueError("a text argument has no end")
        taken = self.data[self.position : newline]
        self.position = newline + 1
        return taken

    def digits(self) -> int:
        """Return the next line as an integer."""
        return parsed_int(self.line())

    def _ended(self, count: int) -> ValueError:
        return ValueError(f"expected {count:,} more bytes, found {self.end - self.position:,}")

    # The account

    def settle(self, opcodes: int) -> None:
        """Charge for so many opcodes and for the memory that they owe: moves that take little do not charge for it."""
        owed, self.owed = self.owed, 0
        self.account.charge(opcodes + owed // OBJECT_BYTES, owed)

    # The stack

    def push(self, value: Any) -> None:
        """Push a value that costs no more than its bytes in the pickle."""
        self.stack.append(value)

    def push_container(self, value: Any, nbytes: int = 0) -> None:
        """Push a value that costs far more than its bytes in the pickle: an object and a few bytes."""
        self.owed += OBJECT_BYTES + nbytes
        self.stack.append(value)

    def mark(self) -> None:
        """Begin a new stack on top of the one that there is."""
        self.owed += OBJECT_BYTES
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
        self.push_container(items, SLOT_BYTES * count)

    def collect(self, make: Callable[[list[Any]], Any]) -> None:
        """Make one value of everything since the last mark."""
        items = self.pop_mark()
        self.owed += OBJECT_BYTES + ITEM_BYTES * len(items)
        if len(items) > SHORT_TUPLE:
            self.settle(0)
        self.stack.append(make(items))

    # The memo

    def put(self, index: int) -> None:
        """Remember the last value."""
        self.puts += 1
        self.owed += ITEM_BYTES
        if not 0 <= index < NEAR_NUMBER + 4 * self.puts:  # scattered ones can be made to collide in a dict
            raise ValueError(f"a memo index that is far from the number of values, {self.puts:,}")
        value = self.stack[-1]
        self.memo[index] = value
        if self.unfinished and id(value) in self.unfinished:
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
        self.push(self.signed(size))

    def int_text(self) -> None:
        """Push the integer of the next line; protocol 0 writes False and True as 00 and 01."""
        text = self.line()
        if text in (b"00", b"01"):
            self.push(text == b"01")
        else:
            self.push(parsed_int(text))

    def python2_string(self, size: int) -> None:
        """Push a string of Python 2; `size` is that of its length."""
        self.push(python2_string(self.take(self.number(size))))

    def text(self, size: int) -> None:
        """Push text; `size` is that of its length. A lone surrogate is legal in Python's own pickles."""
        self.stack.append(self.take(self.number(size)).decode("utf-8", "surrogatepass"))

    def raw(self, size: int) -> None:
        """Push bytes; `size` is that of their length."""
        self.push(self.take(self.number(size)))

    def raw_bytearray(self, size: int) -> None:
        """Push a bytearray; `size` is that of its length."""
        self.push(Bytearray(self.take(self.number(size))))

    # Containers

    def key(self, key: Any, *, followed: bool = False) -> Any:
        """Return a key of a dict or an item of a set; see `KeyGuard`."""
        before = self.keys.steps
        found = self.keys.key(key, followed=followed)
        self.account.charge(self.keys.steps - before, KEY_BYTES)
        return found

    def extend(self, items: list[Any]) -> None:
        """Add items to the list that is the last value."""
        target = self.stack[-1]
        if isinstance(target, Opaque) and not target.closed:
            if target.keyed:
                raise TypeError(f"items are appended to {described(target)}, which has keys")
            target.items.extend(items)
        elif is_list(target):
            target.extend(items)
            if isinstance(target, Deque) and target.maxlen is not None and len(target) > target.maxlen:
                raise ValueError("a deque has more items than its maximal length")
        else:
            raise TypeError(f"items are appended to {described(target)}")

    def add(self, items: list[Any]) -> None:
        """Add items to the set that is the last value."""
        target = self.stack[-1]
        if isinstance(target, Opaque) and not target.closed:
            target.items.extend(items)
        elif is_set(target):
            target.update(self.key(item) for item in items)
        else:
            raise TypeError(f"items are added to {described(target)}")

    def set_items(self, items: list[Any]) -> None:
        """Set keys and values, which alternate, in the last value."""
        if len(items) % 2:
            raise ValueError("a key has no value")
        target = self.stack[-1]
        plain = is_dict(target)
        pairs = [(self.key(items[i], followed=plain), items[i + 1]) for i in range(0, len(items), 2)]
        if isinstance(target, Opaque) and not target.closed:
            if target.items and not target.keyed:
                raise TypeError(f"keys are set in {described(target)}, which has items without keys")
            target.keyed = True
            target.items.extend(pairs)
        elif is_dict(target):
            before = self.keys.steps
            self.keys.fill(target, pairs)
            self.account.charge(self.keys.steps - before)
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

    def call(self, *, new: bool = False) -> None:
        """Push what calling a name gives, or `__new__` of it: an inert node where the name is unknown."""
        args, function = self.stack.pop(), self.stack.pop()
        if not isinstance(function, Global):
            raise UnsafePickleError(f"pickle calls {described(function)}, which no state_dict needs")
        check_called(function, args, new=new)
        if not is_tuple(args):
            raise TypeError(f"expected a tuple of arguments, found {described(args)}")
        self.account.charge(STEPS_PER_CALL + operand_steps(args))
        meaning = function.new if new else function.call
        if function.call and not meaning:
            raise TypeError(f"{described(function)} is not called, but made as an object of a class")
        result = meaning(args) if meaning else Opaque(function.module, function.name, args)
        self.account.charge(1, OBJECT_BYTES + result_bytes(result, args))
        self.stack.append(result)
        self._note_fault(result, args)
        if function.setstate and isinstance(result, Opaque):
            self.unfinished[id(result)] = []

    def build(self) -> None:
        """Give the last value a state: a node, an OrderedDict (its `_metadata`) or a Parameter."""
        state = self.stack.pop()
        target = self.stack[-1]
        if isinstance(target, Opaque):
            self._set_state(target, state)
        else:
            if isinstance(target, Global) and target.named_only:
                raise unsafe(str(target), "gives a state to")
            self.account.charge(STEPS_PER_CALL + operand_steps((state,)), kept_bytes(state))
            set_state(target, state)

    def _set_state(self, target: Opaque, state: Any) -> None:
        holders = self.unfinished.pop(id(target), None)
        setstate = self.find(target.module, target.name).setstate if holders is not None else None
        if setstate is None:
            if target.closed:
                raise TypeError(f"{described(target)} is given a state")
            target.state = state
            return
        self.account.charge(STEPS_PER_CALL + operand_steps((state,)))
        finished = setstate(target, state)
        self.account.charge(0, result_bytes(finished, state if is_tuple(state) else (state,)))
        self.stack[-1] = finished
        self._note_fault(finished, ())
        for index in holders or ():
            if self.memo.get(index) is target:
                self.memo[index] = finished

    def _note_fault(self, result: Any, args: tuple[Any, ...]) -> None:
        """Note a tensor that cannot be read; it speaks for those that it is made of."""
        if not isinstance(result, LazyTensor) or result.fault is None:
            return
        for arg in args:
            for part in arg if is_tuple(arg) else (arg,):
                if isinstance(part, LazyTensor):
                    self.faults.pop(id(part.fault), None)
        self.faults[id(result.fault)] = result.fault

    def persistent(self) -> None:
        """Push what a persistent id refers to."""
        if self.persistent_load is None:
            raise CheckpointError("pickle refers to a storage, but there can be none here")
        storage = self.persistent_load(self.stack.pop())
        self._note_fault(storage, ())
        is_new = id(storage) not in self.storages
        self.account.charge(STEPS_PER_CALL + 1, OBJECT_BYTES + (STORAGE_BYTES if is_new else 0))
        self.storages.add(id(storage))
        self.stack.append(storage)
