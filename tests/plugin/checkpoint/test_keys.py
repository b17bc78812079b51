"""Keys are cheap: what can be one, and what a dict does to find them, whatever numbers a file chooses."""

from __future__ import annotations

import random
import sys
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from hatch_wheelweights.checkpoint import Global, Opaque, pickle
from hatch_wheelweights.checkpoint.allowed import find
from hatch_wheelweights.checkpoint.cost import Account
from hatch_wheelweights.checkpoint.keys import (
    FREE_FAR_NUMBERS,
    MAX_FAR_NUMBERS,
    MAX_NUMBER_TUPLES,
    MIN_FOLLOWED,
    NEAR_NUMBER,
    PLACES_PER_STEP,
    KeyGuard,
)
from hatch_wheelweights.checkpoint.tensors import Storage, strided_tensor
from hatch_wheelweights.errors import CheckpointError
from making.costly_keys import probed
from making.pickles import Code, call, code, name, pickled

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable

TENSOR = strided_tensor(Storage(4, lambda: np.zeros(4, np.uint8)), "float32", 0, (1,), (1,))


@pytest.mark.parametrize(
    "key",
    ["a", b"a", 1, (1 << 64) - 1, True, 1.5, None, np.float32(1), ("a", 1), (1, 2), (), Global("m", "C"),
     Opaque("m", "C"), TENSOR],
    ids=repr,
)  # fmt: skip
def test_a_cheap_key_is_a_key(key: Any) -> None:
    assert KeyGuard().key(key) is key
    pickle_key = {key: 1}
    assert pickle_key[key] == 1


@pytest.mark.parametrize("key", [1j, np.complex128(1), frozenset(), ((1,),), (1,) * 65, 1 << 64], ids=repr)
@pytest.mark.parametrize("followed", [False, True])
def test_a_key_whose_hash_is_expensive_becomes_a_node(key: Any, followed: bool) -> None:
    found = KeyGuard().key(key, followed=followed)
    assert isinstance(found, Opaque)
    assert (found.module, found.name, found.args) == ("builtins", type(key).__name__, (key,))


def test_tuples_of_numbers_are_keys_while_they_are_few() -> None:
    guard = KeyGuard()
    kept = [guard.key((1, i)) for i in range(MAX_NUMBER_TUPLES + 2)]
    assert [type(key) for key in kept[-3:]] == [tuple, Opaque, Opaque]
    assert guard.key((1, "a")).args == ((1, "a"),), "text that comes last hides nothing"
    assert guard.key(("a", 1)) == ("a", 1)


FAR = [lambda i: (i + 1) << 30, lambda i: -((i + 1) << 30), lambda i: i + 0.5]
NAMES = ["int", "negative", "float"]


@pytest.mark.parametrize("far", FAR, ids=NAMES)
def test_scattered_numbers_are_items_of_sets_while_they_are_few(far: Callable[[int], float]) -> None:
    guard = KeyGuard()
    kept = [guard.key(far(i)) for i in range(MAX_FAR_NUMBERS + 2)]
    assert [type(key) for key in kept[-3:]] == [type(far(0)), Opaque, Opaque]


def test_numbers_in_a_row_are_keys_however_many_they_are() -> None:
    guard = KeyGuard()
    assert all(guard.key(i) is i for i in range(4 * NEAR_NUMBER))


@pytest.mark.parametrize("key", [[], {}, set(), ([],), np.dtype("f4"), bytearray()], ids=repr)
def test_what_is_no_key_is_refused(key: Any) -> None:
    with pytest.raises(TypeError, match=r" is a key$"):
        KeyGuard().key(key)


# --------------------------------------------------------------------------------------------- dicts that are followed


def filled(keys: Iterable[Any], *, at_once: int = 1) -> tuple[dict[Any, Any], KeyGuard]:
    """Fill a dict as a pickle does, so many keys at once; every value is the number of its pair."""
    guard, made = KeyGuard(), dict[Any, Any]()
    pairs = [(guard.key(key, followed=True), i) for i, key in enumerate(keys)]
    for start in range(0, len(pairs), at_once):
        guard.fill(made, pairs[start : start + at_once])
    return made, guard


HASHED = [chance.getrandbits(63) for chance in [random.Random(0)] for _ in range(20_000)]


@pytest.mark.parametrize("far", [*FAR, HASHED.__getitem__], ids=[*NAMES, "hashed"])
@pytest.mark.parametrize("at_once", [1, 1000, 20_000])
def test_scattered_numbers_are_keys_of_a_dict_however_many_they_are(far: Callable[[int], Any], at_once: int) -> None:
    keys = [far(i) for i in range(20_000)]
    made, guard = filled(keys, at_once=at_once)
    assert list(made.items()) == [(key, i) for i, key in enumerate(keys)]
    assert guard.steps < 4 * len(keys)


def test_a_vocabulary_by_hashes_stays_a_plain_dict_and_costs_a_few_steps_a_key() -> None:
    items = b"".join(code(key) + b"N" for key in HASHED)
    account = Account(1 << 30)
    (tree, _) = pickle.load(pickled(Code(b"}(" + items + b"u")), find=find, account=account)
    assert tree == dict.fromkeys(HASHED)
    assert account.steps < 8 * len(HASHED)
    pairs = Code(b"](" + b"".join(code(key) + b"N\x86" for key in HASHED) + b"e")
    (ordered, _) = pickle.load(pickled(call(name("collections", "OrderedDict"), pairs)), find=find)
    assert ordered == dict.fromkeys(HASHED)


@pytest.mark.parametrize("at_once", [1, 1 << 14])
@pytest.mark.parametrize("kind", [int, float, np.int64])
def test_numbers_that_are_chosen_to_collide_are_refused(kind: Callable[[int], Any], at_once: int) -> None:
    with pytest.raises(CheckpointError) as caught:
        filled(map(kind, probed(1 << 14).tolist()), at_once=at_once)
    assert str(caught.value) == (
        "the keys of a dict of 5,631 collide: looking each of them up takes far too long\n"
        "  Get the file again: it is damaged, or not a checkpoint."
    )


def test_numbers_that_collide_behind_near_ones_are_refused() -> None:
    """The first third fills a run of places, as numbers near the number of keys can; only the others are far."""
    keys = probed(1 << 15).tolist()
    assert sum(key < NEAR_NUMBER for key in keys) > len(keys) // 3
    with pytest.raises(CheckpointError, match="collide"):
        filled(keys)


def test_a_dict_that_a_call_makes_has_keys_that_are_found_sooner() -> None:
    """One list can be made a dict again and again, at one step for each of its pairs."""
    multiples = [i << 44 for i in range(1, 20_000)]
    assert list(filled(multiples)[0]) == multiples
    pairs = Code(b"](" + b"".join(code(key) + b"N\x86" for key in multiples) + b"e")
    with pytest.raises(CheckpointError, match=r"^the keys of a dict of [0-9,]+ collide: "):
        pickle.load(pickled(call(name("collections", "OrderedDict"), pairs)), find=find)


def test_the_steps_tell_how_many_places_were_looked_at() -> None:
    _, few = filled(HASHED)
    _, many = filled([i << 40 for i in range(1, 20_000)], at_once=20_000)
    assert few.steps < 3 * 20_000 < many.steps + 40_000
    assert many.steps > 20_000 + 20_000 * 8 // PLACES_PER_STEP


@pytest.mark.skipif(sys.implementation.name != "cpython", reason="the table is CPython's")
def test_a_followed_dict_grows_when_its_table_does() -> None:
    """The size that Python tells of a dict is that of its table, so the two must change at the same keys."""
    _, guard = filled(HASHED[: FREE_FAR_NUMBERS + MIN_FOLLOWED])
    (table,) = guard._tables.values()
    for key in HASHED[2_000:]:
        before = sys.getsizeof(table._target), len(table._taken)
        table.set(key, None)
        after = sys.getsizeof(table._target), len(table._taken)
        assert (before[0] == after[0]) == (before[1] == after[1])
    assert sum(table._taken) == len(table._target)


@given(st.lists(st.integers(0, 50) | st.integers(1 << 60, (1 << 60) + 50) | st.sampled_from("abc"), max_size=200))
def test_a_followed_dict_holds_what_a_dict_holds(keys: list[Any]) -> None:
    guard = KeyGuard()
    made: dict[Any, Any] = {}
    guard.fill(made, [(guard.key(key, followed=True), -1) for key in HASHED[:2_000]])
    pairs = [(guard.key(key, followed=True), i) for i, key in enumerate(keys)]
    guard.fill(made, pairs)
    assert list(made.items()) == list((dict.fromkeys(HASHED[:2_000], -1) | dict(pairs)).items())
