"""The stack machine of a pickle: its state, its moves, and the budgets that bound them.

Knows the moves and not which opcode makes which. Budgets bound time and memory by the size of the pickle, because a
hostile one can ask for far more than it is long.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final, Protocol, cast

from hatch_wheelweights.checkpoint.keys import NEAR_NUMBER, KeyGuard
from hatch_wheelweights.checkpoint.nodes import Global, Opaque, check_called, described, set_state, unsafe
from hatch_wheelweights.checkpoint.pickle_text import parsed_int, python2_string
from hatch_wheelweights.checkpoint.tensors import LazyTensor
from hatch_wheelweights.checkpoint.values import Bytearray, Deque, is_dict, is_list, is_set, is_tuple
from hatch_wheelweights.errors import CheckpointError, UnsafePickleError

if TYPE_CHECKING:
    from collections.abc import Callable, Sized

    from hatch_wheelweights.checkpoint.cost import Account

__all__ = ["SET_BYTES", "Buffer", "Machine"]

MAX_INT_BYTES: Final = 1024
MAX_NAME_CHARACTERS: Final = 1024
MAX_PROTOCOL: Final = 5

# What is charged beside one step for each opcode
STEPS_PER_CALL: Final = 4
BYTES_PER_STEP: Final = 256
SHORT_TUPLE: Final = 8
OBJECT_BYTES: Final = 128  # of any container, with what later steps note of it
SET_BYTES: Final = 160
STORAGE_BYTES: Final = 2500
SLOT_BYTES: Final = 8
ITEM_BYTES: Final = 64
KEY_BYTES: Final = 100
NODE_BYTES: Final = 400
TENSOR_BYTES: Final = 2000
DIMENSION_BYTES: Final = 32


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
        self.keys = KeyGuard()
        self.faults: dict[int, CheckpointError] = {}  # by identity: those of tensors that were made
        self.storages: set[int] = set()  # by identity: those that were named before

    # Reading

    def take(self, count: int) -> bytes:
        """Return the next bytes."""
        position = self.position
        after = position + count
        if count < 0 or after > self.end:
            raise ValueError(f"expected {count:,} more bytes, found {self.end - position:,}")
        self.position = after
        return self.data[position:after]

    def byte(self) -> int:
        """Return the next byte as a number."""
        return self.take(1)[0]

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
        """Return the next line as an integer."""
        return parsed_int(self.line())

    # The stack

    def push(self, value: Any) -> None:
        """Push a value that costs no more than its bytes in the pickle."""
        self.stack.append(value)

    def push_container(self, value: Any, nbytes: int = 0) -> None:
        """Push a value that costs far more than its bytes in the pickle: an object and so many bytes."""
        self.account.charge(1, OBJECT_BYTES + nbytes)
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
        self.push_container(items, SLOT_BYTES * count)

    def collect(self, make: Callable[[list[Any]], Any]) -> None:
        """Make one value of everything since the last mark."""
        items = self.pop_mark()
        self.account.charge(0, ITEM_BYTES * len(items))
        self.push_container(make(items))

    # The memo

    def put(self, index: int) -> None:
        """Remember the last value."""
        self.puts += 1
        self.account.charge(1, ITEM_BYTES)
        if not 0 <= index < NEAR_NUMBER + 4 * self.puts:  # scattered ones can be made to collide in a dict
            raise ValueError(f"a memo index that is far from the number of values, {self.puts:,}")
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
        self.account.charge(STEPS_PER_CALL + _operand_steps(args))
        meaning = function.new if new else function.call
        if function.call and not meaning:
            raise TypeError(f"{described(function)} is not called, but made as an object of a class")
        result = meaning(args) if meaning else Opaque(function.module, function.name, args)
        self.push_container(result, _result_bytes(result, args))
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
            self.account.charge(STEPS_PER_CALL + _operand_steps((state,)), _kept_bytes(state))
            set_state(target, state)

    def _set_state(self, target: Opaque, state: Any) -> None:
        holders = self.unfinished.pop(id(target), None)
        setstate = self.find(target.module, target.name).setstate if holders is not None else None
        if setstate is None:
            if target.closed:
                raise TypeError(f"{described(target)} is given a state")
            target.state = state
            return
        self.account.charge(STEPS_PER_CALL + _operand_steps((state,)))
        finished = setstate(target, state)
        self.account.charge(0, _result_bytes(finished, state if is_tuple(state) else (state,)))
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
        self.account.charge(STEPS_PER_CALL)
        storage = self.persistent_load(self.stack.pop())
        self._note_fault(storage, ())
        self.push_container(storage, 0 if id(storage) in self.storages else STORAGE_BYTES)
        self.storages.add(id(storage))


def _operand_steps(args: tuple[Any, ...], depth: int = 2) -> int:
    """Return the steps that looking through the arguments of a call takes: a pickle can name long ones in two bytes.

    `_rebuild_from_type_v2` has the arguments of another call among its own, so short tuples are looked into.
    """
    steps = len(args)
    for arg in args:
        if is_tuple(arg) and depth and len(arg) <= SHORT_TUPLE:
            steps += _operand_steps(arg, depth - 1)
        elif isinstance(arg, (list, tuple, dict, set, frozenset)):
            steps += len(cast("Sized", arg))
        elif isinstance(arg, (str, bytes)):
            steps += len(arg) // BYTES_PER_STEP
    return steps


def _kept_bytes(state: Any) -> int:
    """Return the memory that an OrderedDict or a Parameter takes to keep the state that it is given."""
    return OBJECT_BYTES + KEY_BYTES * (len(state) if is_dict(state) else 1)


def _result_bytes(result: Any, args: tuple[Any, ...]) -> int:
    """Return the memory that the result of a call takes, with what it keeps of the arguments."""
    if isinstance(result, LazyTensor):
        kept = sum(len(arg) for arg in args if isinstance(arg, (str, bytes)))
        return TENSOR_BYTES + DIMENSION_BYTES * len(result.shape) + kept
    if isinstance(result, Opaque):
        return NODE_BYTES + SLOT_BYTES * len(result.args)
    if isinstance(result, Global):
        return NODE_BYTES + len(result.module) + len(result.name)
    if isinstance(result, (list, tuple, dict, set, frozenset)):
        return ITEM_BYTES * len(cast("Sized", result))
    return len(result) if isinstance(result, (str, bytes)) else 0
