"""Pickles that are made to cost more than their bytes: most work is asked for by reference, not spelt out.

Each function takes `n` and returns a whole checkpoint whose size is proportional to it. In the file they have a
tensor `w` beside what is costly, so that a reader that survives has something to convert.
"""

from __future__ import annotations

import struct
from functools import partial
from typing import TYPE_CHECKING, Any

from making.checkpoints import zip_checkpoint
from making.pickles import Code, build, call, code, name, ordered_dict, pickled, storage, tensor

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable

REBUILD = name("torch._utils", "_rebuild_tensor_v2")
DEFLATED = {"data.pkl": {"method": 8}}


# ------------------------------------------------------------------------------------- building blocks


def kept(*things: object) -> bytes:
    """Remember things in the memo as 0, 1, 2 and so on; none stays on the stack."""
    return b"".join(code(thing) + b"q%c0" % index for index, thing in enumerate(things))


def again(*indexes: int) -> Code:
    """Push entries of the memo, two bytes each."""
    return Code(b"".join(b"h%c" % index for index in indexes))


def listed(*before: bytes, item: bytes, count: int) -> Code:
    """Push a list of one item, made again and again."""
    return Code(b"".join(before) + b"](" + item * count + b"e")


def dropped(*before: bytes, item: bytes, count: int) -> Code:
    """Make an item again and again, and drop it each time."""
    return Code(b"".join(before) + (item + b"0") * count + b"N")


def file(x: bytes, **more: Any) -> bytes:
    """Write a checkpoint of a tensor `w`, and of `x`."""
    return zip_checkpoint(pickled({"w": tensor(), "x": Code(x)}), **more)


def called(function: object, arguments: object, n: int, *, keep: bool = False) -> bytes:
    """Call one memoised function with one memoised tuple `n` times."""
    make = listed if keep else dropped
    return file(make(kept(function, arguments), item=again(0, 1) + b"R", count=n))


def long1(value: int) -> Code:
    """Push an integer of at most 1,024 bytes."""
    raw = value.to_bytes(value.bit_length() // 8 + 1, "little", signed=True)
    return Code(b"\x8b" + struct.pack("<i", len(raw)) + raw)


HUGE = long1(1 << 8_100)  # 2,439 digits


def numbers(n: int) -> Code:
    """Push a list of one small number, `n` times."""
    return Code(b"](" + b"K\1" * n + b"e")


# ------------------------------------------------------------------------------------- tensors, made by one call


def sizes(size: Iterable[object], stride: Iterable[object], offset: object = 0) -> Code:
    """Push the arguments of a tensor."""
    return code((storage(), offset, tuple(size), tuple(stride), False, ordered_dict()))


def faults_of_long_numbers(n: int) -> bytes:
    """Tensors whose fault has to name sizes of 2,400 digits (the issue's first row)."""
    return called(REBUILD, sizes([HUGE] * 3, [long1(-(1 << 8_100))] * 3), n, keep=True)


def faults_of_many_long_numbers(n: int) -> bytes:
    """As above, with 64 of each."""
    memo = kept(HUGE)
    many = Code(memo + sizes([again(0)] * 64, [again(0)] * 64, long1(-(1 << 8_000))))
    return file(listed(memo + code(REBUILD) + b"q\x010" + many + b"q\x020", item=again(1, 2) + b"R", count=n))


def faults_that_reach_past(n: int) -> bytes:
    """Tensors that need a number of elements of 2,400 digits."""
    return called(REBUILD, sizes([4, 4], [HUGE, HUGE]), n, keep=True)


def faults_of_dtypes(n: int) -> bytes:
    """Tensors of a dtype that a record has not: each with an error of its own."""
    arguments = (storage(), 0, (4,), (1,), False, ordered_dict(), name("torch", "x" * 900))
    return called(name("torch._utils", "_rebuild_tensor_v3"), arguments, n, keep=True)


def sparse_tensors(n: int) -> bytes:
    """Tensors that a record cannot hold, whose sizes are looked for in `n` arguments."""
    return called(name("torch._utils", "_rebuild_sparse_tensor"), (_long(n), _long(n)), n, keep=True)


def nested_tensors_from_types(n: int) -> bytes:
    """The same by way of the function that subclasses of tensors have, in tuples in its arguments."""
    rebuild, kind = name("torch.nested._internal.nested_tensor", "_rebuild_njt"), name("torch", "Tensor")
    inner = Code(_long(n) + b"q\x090" + code(((again(9),) * 8,) * 8))
    return called(name("torch._tensor", "_rebuild_from_type_v2"), (rebuild, kind, inner, None), n, keep=True)


def _long(n: int) -> Code:
    """Push a tuple of which the last value says that it is no size."""
    return Code(b"(" + b"K\1" * n + b"Nt")


def hooks_of_hooks(n: int) -> bytes:
    """Give a tensor hooks that are a tuple twice, which is a tuple twice, and so on: of 2**n tuples."""
    hooks = Code(b")" + b"2\x86" * n)
    return file(call(REBUILD, storage(), 0, (4,), (1,), False, hooks))


def meta_tensors(n: int) -> bytes:
    """Tensors on the meta device."""
    arguments = (name("torch", "float32"), (HUGE,) * 64, (1,), False)
    return called(name("torch._utils", "_rebuild_meta_tensor_no_storage"), arguments, n, keep=True)


def repeated_tensors(n: int) -> bytes:
    """One good tensor, again and again."""
    return called(REBUILD, sizes([4], [1]), n, keep=True)


def repeated_tensors_of_rank_64(n: int) -> bytes:
    """One good tensor of as many dimensions as there can be."""
    return called(REBUILD, sizes([1] * 64, [1] * 64), n, keep=True)


def deflated_calls(n: int) -> bytes:
    """One call, again and again, in a pickle that is deflated (the issue's second row)."""
    calls = Code(kept(name("mynet", "Thing"), ()) + b"](" + (again(0, 1) + b"R") * (64 * n) + b"e")
    return file(calls, change=DEFLATED)


def deflated(item: bytes, n: int) -> bytes:
    """Repeat an item 64 times for each `n`, deflated, in a list."""
    return file(listed(item=item, count=64 * n), change=DEFLATED)


def deflated_pops(n: int) -> bytes:
    """Opcodes that leave nothing, deflated."""
    return file(Code(b"N0" * (64 * n) + b"N"), change=DEFLATED)


# ------------------------------------------------------------------------------------- calls on a long operand


def long_text(n: int) -> Code:
    """Push text of `n` characters."""
    return code("x" * n)


def pairs(n: int) -> Code:
    """Push a list of one pair, `n` times."""
    return Code(code(("a", 1)) + b"q\xff0](" + again(255) * n + b"e")


def on_list(module: str, qualname: str, n: int) -> bytes:
    """Call a container on one list of `n` equal items."""
    return called(name(module, qualname), (numbers(n),), n)


def on_pairs(module: str, qualname: str, n: int) -> bytes:
    """Call a kind of dict on one list of `n` equal pairs."""
    return called(name(module, qualname), (pairs(n),), n)


def default_dicts(n: int) -> bytes:
    """Call `defaultdict`, whose items are its second argument."""
    return called(name("collections", "defaultdict"), (name("builtins", "list"), pairs(n)), n)


def return_types(n: int) -> bytes:
    """Make named tuples of torch of one list of `n` items."""
    return called(name("torch.return_types", "max"), (numbers(n),), n)


def attributes(n: int) -> bytes:
    """Ask for an attribute with a long name."""
    return called(name("builtins", "getattr"), (name("mynet", "Net"), long_text(n)), n, keep=True)


def attributes_of_attributes(n: int) -> bytes:
    """Ask for attributes of attributes, whose names grow together."""
    more = b"".join(again(0) + again(index) + again(1) + b"\x86R" + b"q%c0" % (index + 1) for index in (2, 3, 4))
    memo = kept(name("builtins", "getattr"), long_text(n), name("mynet", "Net"))
    return file(dropped(memo, more, item=again(0, 4, 1) + b"\x86R", count=n))


def encoded_texts(n: int) -> bytes:
    """Encode one long text."""
    return called(name("_codecs", "encode"), (long_text(n), "latin1"), n)


def reconstructed_objects(n: int) -> bytes:
    """Make objects as protocol 0 does, with a long tuple behind the class, of which each takes a part."""
    arguments = Code(b"(" + name("mynet", "Net") + b"N" + b"K\1" * n + b"t")
    return called(name("copyreg", "_reconstructor"), arguments, n, keep=True)


def unknown_objects(n: int) -> bytes:
    """Make objects of an unknown class of one long tuple."""
    return called(name("mynet", "Net"), Code(b"(" + b"K\1" * n + b"t"), n, keep=True)


def parameter_states(n: int) -> bytes:
    """Give one long state to many Parameters of an old torch."""
    state = Code(b"](" + b"K\1" * n + b"e")
    memo = kept(name("torch.nn.parameter", "Parameter"), state)
    return file(dropped(memo, item=again(0) + b")\x81" + again(1) + b"b", count=n))


def shared_states(n: int) -> bytes:
    """Give one large dict as state to many objects."""
    state = Code(b"}(" + b"".join(code(f"k{i}") + b"N" for i in range(n)) + b"u")
    return file(listed(kept(name("mynet", "Net"), state), item=again(0) + b")\x81" + again(1) + b"b", count=n))


def tensors_from_types(n: int) -> bytes:
    """Make tensors by way of the function that subclasses of tensors have."""
    arguments = code((REBUILD, name("torch", "Tensor"), sizes([HUGE] * 3, [long1(-(1 << 8_100))] * 3), ordered_dict()))
    return called(name("torch._tensor", "_rebuild_from_type_v2"), arguments, n, keep=True)


def container_from_types(n: int) -> bytes:
    """Make sets by way of the function that subclasses of tensors have."""
    arguments = code((name("builtins", "set"), name("torch", "Tensor"), Code(numbers(n) + b"\x85"), ordered_dict()))
    return called(name("torch._tensor", "_rebuild_from_type_v2"), arguments, n)


# ------------------------------------------------------------------------------------- numpy


def numpy_dtype(text: str) -> Code:
    """Push a dtype of numpy."""
    return build(call(name("numpy", "dtype"), text, False, True), (3, "<", None, None, None, -1, -1, 0))


def numpy_buffers(n: int) -> bytes:
    """Make arrays of one long buffer (the issue's row)."""
    arguments = (long_text(n), numpy_dtype("u1"), (n,), "C")
    return called(name("numpy.core.numeric", "_frombuffer"), arguments, n, keep=True)


def numpy_states(n: int) -> bytes:
    """Give one long state, as text, to many arrays."""
    state = code((1, (n,), numpy_dtype("u1"), False, long_text(n)))
    empty = code((name("numpy", "ndarray"), (0,), "b"))
    memo = kept(name("numpy.core.multiarray", "_reconstruct"), empty, state)
    return file(listed(memo, item=again(0, 1) + b"R" + again(2) + b"b", count=n))


def numpy_object_arrays(n: int) -> bytes:
    """Make arrays of objects, which stay nodes."""
    state = code((1, (n,), numpy_dtype("O8"), False, numbers(n)))
    empty = code((name("numpy", "ndarray"), (0,), "b"))
    memo = kept(name("numpy.core.multiarray", "_reconstruct"), empty, state)
    return file(listed(memo, item=again(0, 1) + b"R" + again(2) + b"b", count=n))


def numpy_scalars(n: int) -> bytes:
    """Make scalars of one long text that does not fit their dtype."""
    return called(name("numpy.core.multiarray", "scalar"), (numpy_dtype("f8"), long_text(n)), n)


def numpy_texts(n: int) -> bytes:
    """Make scalars of text of 39,996 bytes."""
    raw = code("x\0\0\0" * 9_999)
    return called(name("numpy.core.multiarray", "scalar"), (numpy_dtype("U9999"), raw), n, keep=True)


def numpy_dtypes(n: int) -> bytes:
    """Make dtypes with many arguments, of which each takes a part."""
    return called(name("numpy", "dtype"), Code(b"(" + code("f8") + b"K\1" * n + b"t"), n, keep=True)


def numpy_dates(n: int) -> bytes:
    """Make scalars that are dates."""
    return called(name("numpy.core.multiarray", "scalar"), (numpy_dtype("M8"), "\1\0\0\0\0\0\0\0"), n, keep=True)


def numpy_shape_of_huge_sizes(n: int) -> bytes:
    """Make one empty array with `n` sizes of 2,400 digits."""
    shape = Code(b"(K\0" + HUGE * (n // 1000) + b"t")
    return called(name("numpy.core.numeric", "_frombuffer"), ("", numpy_dtype("u1"), shape, "C"), 1)


def numpy_shape_that_does_not_fit(n: int) -> bytes:
    """Make one array whose error names `n` sizes of 2,400 digits."""
    shape = Code(HUGE + b"q\xff0(" + again(255) * n + b"t")
    return called(name("numpy.core.numeric", "_frombuffer"), ("", numpy_dtype("u1"), shape, "C"), 1)


# ------------------------------------------------------------------------------------- names, text, numbers


def dotted_names(n: int) -> bytes:
    """Name classes of one module with 500 dots, in a few bytes each."""
    memo = kept(".".join("a" * 500))
    return file(Code(memo + b"](" + b"".join(again(0) + b"\x8c\5" + b"a%04x" % i + b"\x93" for i in range(n)) + b"e"))


def texts_of_numbers(n: int) -> bytes:
    """Integers of 300 digits, as text."""
    return file(Code(b"](" + (b"I" + b"9" * 300 + b"\n") * n + b"e"))


def texts_of_floats(n: int) -> bytes:
    """Floats of 300 digits, as text."""
    return file(Code(b"](" + (b"F0." + b"9" * 298 + b"\n") * n + b"e"))


def long_texts_of_floats(n: int) -> bytes:
    """One float of `n` digits, as text."""
    return file(Code(b"F0." + b"9" * n + b"\n"))


def escaped_texts(n: int) -> bytes:
    """Text with escapes, as protocol 0 writes it."""
    return file(Code(b"](V" + b"\\u00e9" * n + b"\nS'" + b"\\x41" * n + b"'\ne"))


def long_gets(n: int) -> bytes:
    """Take a long value out of the memo, and drop it."""
    return file(dropped(kept(long_text(n)), item=again(0), count=n))


def one_byte_values(opcode: bytes, n: int) -> bytes:
    """Make a value that is one byte in the file."""
    return file(listed(item=opcode, count=n))


def list_in_itself(n: int) -> bytes:
    """Append a list to itself, again and again."""
    return file(Code(b"]q\0(" + again(0) * n + b"e"))


def dict_again(n: int) -> bytes:
    """Set one key of a dict, again and again, each time in a batch of one."""
    return file(Code(kept("key") + b"}" + (b"(" + again(0) + b"Nu") * n))


def marks(n: int) -> bytes:
    """Set marks, and drop them."""
    return file(Code(b"(1" * n + b"N"))


def puts(n: int) -> bytes:
    """Remember one value at many places."""
    return file(Code(b"}" + b"".join(b"r" + struct.pack("<I", i) for i in range(n))))


def builds(n: int) -> bytes:
    """Give a state to one object, again and again."""
    return file(Code(call(name("mynet", "Net")) + b"Nb" * n))


ON_LISTS: dict[str, Callable[[int], bytes]] = {
    f"{qualname}_of_one_list": partial(on_list, module, qualname)
    for module, qualname in [
        ("builtins", "set"), ("builtins", "frozenset"), ("builtins", "list"), ("builtins", "tuple"),
        ("builtins", "bytes"), ("builtins", "bytearray"), ("collections", "deque"),
    ]
}  # fmt: skip
ON_PAIRS: dict[str, Callable[[int], bytes]] = {
    f"{qualname}_of_one_list": partial(on_pairs, module, qualname)
    for module, qualname in [("collections", "OrderedDict"), ("collections", "Counter"), ("builtins", "dict")]
}
