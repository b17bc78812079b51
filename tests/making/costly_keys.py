"""Pickles whose keys cost more than their bytes: looked through each time, or chosen to collide; and honest ones.

Each function takes `n` and returns a whole checkpoint whose size is proportional to it.
"""

from __future__ import annotations

import random
import struct
from typing import TYPE_CHECKING, Any

import numpy as np

from making.costly_pickles import HUGE, again, file, kept, listed, long_text, numpy_dtype
from making.pickles import Code, call, code, name

if TYPE_CHECKING:
    from collections.abc import Iterator


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
    scalars = (again(0, 1) + code(struct.pack("<q", key)) + b"\x86R" + b"N" for key in probed(n).tolist())
    return file(Code(memo + b"}(" + b"".join(scalars) + b"u"))


def probed_memo(n: int) -> bytes:
    """The same as indexes of the memo."""
    return file(
        Code(b"".join(b"Nr" + struct.pack("<I", key) + b"0" for key in probed(n).tolist() if key < 1 << 32) + b"N")
    )


def probed_items(n: int) -> bytes:
    """The same as the pairs of an `OrderedDict`."""
    items = Code(b"](" + b"".join(code(key) + b"N\x86" for key in probed(n).tolist()) + b"e")
    return file(call(name("collections", "OrderedDict"), items))


def hashed_numbers(n: int) -> bytes:
    """Use as keys what a vocabulary is hashed to: 63 bits, by chance."""
    chance = random.Random(0)
    return file(Code(b"}(" + b"".join(code(chance.getrandbits(63)) + code(i) for i in range(n)) + b"u"))


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
