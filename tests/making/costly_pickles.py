"""Pickles that are made to cost more than their bytes: most work is asked for by reference, not spelt out.

Each function takes `n` and returns a whole checkpoint whose size is proportional to it. In the file they have a
tensor `w` beside what is costly, so that a reader that survives has something to convert.
"""

from __future__ import annotations

import struct
from functools import partial
from typing import TYPE_CHECKING, Any

import numpy as np

from making.checkpoints import legacy_checkpoint, zip_checkpoint
from making.pickles import Code, build, call, code, name, ordered_dict, pickled, storage, tensor

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator

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
    long = Code(b"(" + b"K\1" * n + b"N" + b"t")
    return called(name("torch._utils", "_rebuild_sparse_tensor"), (long,), n, keep=True)


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
    arguments = Code(b"(" + name("mynet", "Net") + b"NN" + b"K\1" * n + b"t")
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
    shape = Code(kept(HUGE) + b"(" + again(0) * n + b"t")
    return called(name("numpy.core.numeric", "_frombuffer"), ("", numpy_dtype("u1"), shape, "C"), 1)


# ------------------------------------------------------------------------------------- keys


def keyed(key: bytes, n: int) -> bytes:
    """Set one memoised key in a dict, again and again."""
    return file(Code(kept(Code(key)) + b"}" + (again(0) + b"Ns") * n))


def tuple_keys_of_text(n: int) -> bytes:
    """Use one long tuple as key; its only text is its last item (the issue's row)."""
    return keyed(Code(b"(" + b"K\1" * n + code("x") + b"t"), n)


def tuple_keys_of_numbers(n: int) -> bytes:
    """Use one long tuple of numbers as key."""
    return keyed(Code(b"(" + b"K\1" * n + b"t"), n)


def tuple_keys_of_tuples(n: int) -> bytes:
    """Use one long tuple of empty tuples as key."""
    return keyed(Code(b"(" + b")" * n + b"t"), n)


def tuple_keys_at_the_limit(n: int) -> bytes:
    """Use one tuple of 64 texts as key."""
    return keyed(Code(code("x") + b"q\xff0(" + again(255) * 64 + b"t"), n)


def tuple_items(n: int) -> bytes:
    """Put one long tuple into a set, many times at once."""
    return file(Code(kept(Code(b"(" + b"K\1" * n + b"t")) + b"\x8f(" + again(0) * n + b"\x90"))


def tuples_in_frozen_sets(n: int) -> bytes:
    """Put one long tuple into a frozenset, many times at once."""
    return file(Code(kept(Code(b"(" + b"K\1" * n + b"t")) + b"(" + again(0) * n + b"\x91"))


def tuples_in_called_sets(n: int) -> bytes:
    """Make a set of a list of one long tuple."""
    many = Code(kept(Code(b"(" + b"K\1" * n + b"t")) + b"](" + again(0) * n + b"e")
    return file(call(name("builtins", "set"), many))


def long_names_as_keys(n: int) -> bytes:
    """Use one long text as key of many dicts."""
    return file(listed(kept(long_text(n)), item=b"}" + again(0) + b"Ns", count=n))


def key_of_huge_number(n: int) -> bytes:
    """Use a number of 2,400 digits as key."""
    return keyed(HUGE, n)


def probed(n: int) -> np.ndarray[Any, Any]:
    """Return integers, less than 2 ** 40, that a dict has to look for all over its table, one after the other.

    CPython looks at the places 5 * i + 1 + perturb, where perturb is the hash, shifted by 5 bits each time. The first
    third of the keys are a run of places that follow each other without perturb. The second third come from such
    places, and go through taken ones until their perturb is 0, early in that run: they have to walk to its end.
    """
    bits = max(n.bit_length() - 1, 8)
    mask, run = (1 << bits) - 1, (1 << bits) // 3
    places = [0]
    while len(places) < run:
        places.append((5 * places[-1] + 1) & mask)
    order = np.full(1 << bits, 1 << bits, np.int64)
    order[places] = np.arange(run)
    taken = order < run
    found: list[np.ndarray[Any, Any]] = []
    start, step = 1 << bits, 1 << 21
    while sum(map(len, found)) < run and start < 1 << 34:
        keys = np.arange(start, start + step)
        place, perturb = keys & mask, keys.copy()
        good = taken[place]
        while perturb.max() > 0:
            keys, place, perturb = keys[good], place[good], perturb[good] >> 5
            place = (5 * place + perturb + 1) & mask
            good = taken[place]
            if not keys.size:
                break
        found.append(keys[order[place] < run // 4])
        start += step
    return np.concatenate([np.array(places), *found])[: 2 * run]


def probed_numbers(n: int) -> bytes:
    """Use integers as keys that are chosen for dict probing (the issue's row)."""
    return file(Code(b"}(" + b"".join(code(key) + b"N" for key in probed(n).tolist()) + b"u"))


def probed_numbers_one_by_one(n: int) -> bytes:
    """The same, each set by itself."""
    return file(Code(b"}" + b"".join(code(key) + b"Ns" for key in probed(n).tolist())))


def probed_floats(n: int) -> bytes:
    """The same as floats, which hash as the integers do."""
    return file(Code(b"}(" + b"".join(code(float(key)) + b"N" for key in probed(n).tolist()) + b"u"))


def probed_scalars(n: int) -> bytes:
    """The same as scalars of numpy."""
    memo = kept(name("numpy.core.multiarray", "scalar"), numpy_dtype("i8"))
    scalars = (
        again(0, 1) + code(struct.pack("<q", key)) + b"\x86R" + b"N" for key in probed(n).tolist()
    )
    return file(Code(memo + b"}(" + b"".join(scalars) + b"u"))


def probed_memo(n: int) -> bytes:
    """The same as indexes of the memo."""
    return file(Code(b"".join(b"Nr" + struct.pack("<I", key) + b"0" for key in probed(n).tolist() if key < 1 << 32) + b"N"))


def probed_items(n: int) -> bytes:
    """The same as the pairs of an `OrderedDict`."""
    items = Code(b"](" + b"".join(code(key) + b"N\x86" for key in probed(n).tolist()) + b"e")
    return file(call(name("collections", "OrderedDict"), items))


def same_hashes(n: int, last: bytes = b"") -> bytes:
    """Use tuples as keys, of numbers with one hash, with something behind them."""
    tuples = (b"(" + code(one) + code(two) + last + b"tN" for one, two in colliding_pairs(n))
    return file(Code(b"}(" + b"".join(tuples) + b"u"))


def tuples_with_text_of_one_hash(n: int) -> bytes:
    """Text at the end of a tuple hides nothing where all before it collide."""
    return same_hashes(n, code("x"))


def complex_scalars_of_one_hash(n: int) -> bytes:
    """Scalars of complex64 whose parts cancel out in the hash."""
    memo = kept(name("numpy.core.multiarray", "scalar"), numpy_dtype("c8"))
    values = [(-1_000_003.0 * k * 2.0**s, k * 2.0**s) for s in range(-60, 60) for k in range(1, 17)][:n]
    scalars = (again(0, 1) + code(struct.pack("<2f", *value)) + b"\x86R" + b"N" for value in values)
    return file(Code(memo + b"}(" + b"".join(scalars) + b"u" + b"0" + b"N" * n + b"0" * (n - 1)))


def colliding_pairs(count: int) -> Iterator[tuple[int, int]]:
    """Yield pairs with one hash: that of tuples depends on no secret (tuplehash in CPython's tupleobject.c)."""
    word = 1 << 64
    prime1, prime2, prime5 = 11400714785074694791, 14029467366897019727, 2870177450012600261
    inverse = pow(prime2, -1, word)
    for first in range(1, 100 * count):
        mixed = (prime5 + first * prime2) % word
        mixed = ((mixed << 31) | (mixed >> 33)) % word * prime1 % word
        second = (12345 - mixed) * inverse % word
        if second < (1 << 60) - 1:
            yield first, second
            count -= 1
            if not count:
                return


# ------------------------------------------------------------------------------------- storages


def missing_storages(n: int) -> bytes:
    """Name storages that are not there, in few bytes."""
    memo = kept("storage", name("torch", "FloatStorage"), "cpu")
    names = (b"(" + again(0, 1) + code(f"m{i}") + again(2) + b"K\4tQ" for i in range(n))
    return file(Code(memo + b"](" + b"".join(names) + b"e"))


def storages_of_huge_size(n: int) -> bytes:
    """Name storages of 2,400 digits of elements."""
    memo = kept("storage", name("torch", "FloatStorage"), "cpu", HUGE)
    names = (b"(" + again(0, 1) + code(f"m{i}") + again(2, 3) + b"tQ" for i in range(n))
    return file(Code(memo + b"](" + b"".join(names) + b"e"))


def one_storage_again(n: int) -> bytes:
    """Name one storage again and again."""
    pid = code(("storage", name("torch", "FloatStorage"), "0", "cpu", 4))
    return file(listed(kept(pid), item=again(0) + b"Q", count=n))


def legacy_views(n: int) -> bytes:
    """Name parts of one storage of a legacy stream, each another one."""
    memo = kept("storage", name("torch", "FloatStorage"), "0", "cpu")
    size = 1 << 12
    views = (
        b"(" + again(0, 1, 2, 3) + code(size) + b"(" + again(2) + code(i % size) + code(i // size) + b"tt" + b"Q"
        for i in range(n)
    )
    tree = pickled({"x": Code(memo + b"](" + b"".join(views) + b"e")})
    return legacy_checkpoint(tree, {"0": bytes(4 * size)})


def legacy_storages(n: int) -> bytes:
    """Name many empty storages of a legacy stream."""
    memo = kept("storage", name("torch", "FloatStorage"), "cpu")
    names = (b"(" + again(0, 1) + code(str(i)) + again(2) + b"K\0NtQ" for i in range(n))
    tree = pickled({"x": Code(memo + b"](" + b"".join(names) + b"e")})
    return legacy_checkpoint(tree, {str(i): b"" for i in range(n)})


def view(of: int, hooks: int, offset: int, size: tuple[int, ...], stride: tuple[int, ...]) -> Code:
    """Push a tensor over a memoised storage, without hooks that are memoised, too."""
    return Code(REBUILD + b"(" + again(of) + code(offset) + code(size) + code(stride) + b"\x89" + again(hooks) + b"tR")


def views(of: bytes, n: int, *, offset: int, size: tuple[int, ...], stride: tuple[int, ...]) -> bytes:
    """Pickle `n` views that differ in the stride of a dimension of size 1; `offset` is the number of offsets."""
    tensors = {f"v{i}": view(0, 1, i % offset, (1, *size), (i, *stride)) for i in range(n)}
    return pickled(Code(kept(of, ordered_dict()) + code(tensors)))


def overlapping_views(n: int) -> bytes:
    """Take `n` views of nearly all of one storage of 4,096 `n` bytes."""
    size = 1024 * n
    tree = views(storage(numel=size), n, offset=n, size=(size - n,), stride=(1,))
    return zip_checkpoint(tree, {"0": bytes(4 * size)})


def expanded_views(n: int) -> bytes:
    """Expand a few bytes to a megabyte, `n` times, along 20 dimensions that do not go together."""
    return zip_checkpoint(
        views(storage(kind="CharStorage", numel=16), n, offset=4, size=(2,) * 20, stride=(0, 1) * 10)
    )


def expanded_integers(n: int) -> bytes:
    """Expand an integer to 32 MB, `n` times; whether they fit in another precision is found by reading them."""
    return zip_checkpoint(views(storage(kind="LongStorage", numel=2), n, offset=2, size=(1 << 22,), stride=(0,)),
                          {"0": bytes(16)})


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
