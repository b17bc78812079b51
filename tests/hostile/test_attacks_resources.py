"""Pickles built to exhaust the machine: they are refused, or open, within a budget of memory and time."""

from __future__ import annotations

import struct
from typing import TYPE_CHECKING, Any

import pytest

from hatch_wheelweights import open_checkpoint
from hatch_wheelweights.errors import CheckpointError
from making.checkpoints import CONTAINERS, zip_checkpoint
from making.pickles import (
    Code,
    beside,
    build,
    call,
    code,
    get,
    name,
    ordered_dict,
    pickled,
    put,
    state_dict,
    storage,
    tensor,
)

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

    from looking.opening import Refused

every_container = pytest.mark.parametrize("container", CONTAINERS.values(), ids=CONTAINERS)


def laughs(depth: int) -> Code:
    """Lists that hold one list twice, to this depth: 2 ** depth paths."""
    return Code(put(Code(b"]"), 0) + b"".join(_laugh(index) for index in range(1, depth)))


def _laugh(index: int) -> bytes:
    return b"0" + put(Code(b"](" + get(index - 1) + get(index - 1) + b"e"), index)


def laughing_dicts(depth: int) -> Code:
    """As `laughs`, with dicts around a tensor."""
    first = put(code({"w": tensor()}), 0)
    return Code(
        first
        + b"".join(b"0" + put(code({"a": get(index - 1), "b": get(index - 1)}), index) for index in range(1, depth))
    )


def laughing_tuples(depth: int) -> Code:
    """As `laughs`, with tuples around a tensor: they cannot be told by what is put into them later."""
    return Code(put(tensor(), 0) + b"".join(b"0" + put(Code(get(n - 1) * 2 + b"\x86"), n) for n in range(1, depth)))


def test_survives_a_billion_laughs(endured: Any) -> None:
    endured(zip_checkpoint(beside(laughs(60))))
    endured(zip_checkpoint(pickled(laughs(60))))


def test_refuses_a_billion_laughing_tensors(refused: Refused) -> None:
    refused(zip_checkpoint(pickled(laughing_dicts(60))))
    refused(zip_checkpoint(beside(laughing_dicts(60))))
    refused(zip_checkpoint(pickled({"w": laughing_tuples(60)})))


DEEP = {
    "list": lambda depth: Code(b"]" * depth + b"a" * (depth - 1)),
    "tuple": lambda depth: Code(b")" + b"\x85" * depth),
    "dict": lambda depth: Code(b"}X\x01\x00\x00\x00k" * depth + b"}" + b"s" * depth),
}


@every_container
@pytest.mark.parametrize("deep", DEEP.values(), ids=DEEP)
def test_survives_deep_nesting(endured: Any, container: Any, deep: Callable[[int], Code]) -> None:
    endured(container(pickled(deep(5_000))))


@pytest.mark.slow
@pytest.mark.parametrize("deep", DEEP.values(), ids=DEEP)
def test_survives_nesting_deeper_than_any_stack(endured: Any, deep: Callable[[int], Code]) -> None:
    endured(zip_checkpoint(beside(deep(200_000))))


@pytest.mark.parametrize(
    "wrap",
    [
        pytest.param(lambda inner: call(name("m", "C"), inner), id="arguments"),
        pytest.param(lambda inner: build(call(name("m", "C")), inner), id="state"),
        pytest.param(lambda inner: Code(inner + b"\x85Q"), id="persistent id"),
        pytest.param(lambda inner: call(name("builtins", "set"), [inner]), id="set"),
        pytest.param(lambda inner: call(name("torch", "Size"), inner), id="size"),
        pytest.param(lambda inner: call(name("collections", "OrderedDict"), [[inner, inner[:0] + code(1)]]), id="key"),
    ],
)
def test_survives_deep_nesting_in_objects(endured: Any, wrap: Callable[[Code], Code]) -> None:
    head, tail = wrap(Code(b"<>")).split(b"<>")
    depth = 3_000
    endured(zip_checkpoint(beside(Code(head * depth + b")" + tail * depth))))


def test_refuses_many_marks_cheaply(refused: Refused) -> None:
    refused(zip_checkpoint(b"\x80\x02" + b"(" * 300_000 + b"."))


@pytest.mark.slow
def test_survives_a_large_memo_index(endured: Any) -> None:
    for index in (2**24, 2**31, 2**32 - 1):
        endured(zip_checkpoint(b"\x80\x02" + put(Code(b"}"), index) + b"0" + ordered_dict({"w": tensor()}) + b"."))
    endured(zip_checkpoint(b"}p99999999999999999999\n0" + ordered_dict({"w": tensor()}) + b"."))


@pytest.mark.parametrize("opcode", [b"\x8c", b"X", b"\x8d", b"C", b"B", b"\x8e", b"\x96", b"U", b"T"])
def test_refuses_a_length_past_the_end(refused: Refused, opcode: bytes) -> None:
    width = {b"\x8c": 1, b"C": 1, b"U": 1, b"\x8d": 8, b"\x8e": 8, b"\x96": 8}.get(opcode, 4)
    for length in {
        255,
        (1 << 8 * width - 1) - 1,
        (1 << 8 * width) - 1,
        (1 << min(60, 8 * width - 2)),
        2**31 % 256**width,
    }:
        attack = opcode + length.to_bytes(width, "little") + b"few"
        refused(zip_checkpoint(b"\x80\x04" + attack), "byte")


@pytest.mark.parametrize("length", [1000, 2**31, 2**60, 2**64 - 1])
def test_refuses_a_frame_past_the_end(refused: Refused, length: int) -> None:
    refused(zip_checkpoint(b"\x80\x04\x95" + struct.pack("<Q", length) + state_dict()[2:]), "byte")


def test_refuses_huge_integers(refused: Refused) -> None:
    refused(zip_checkpoint(beside(Code(b"\x8b" + struct.pack("<i", 2**31 - 1) + b"\1"))), "byte")
    refused(zip_checkpoint(beside(Code(b"\x8b" + struct.pack("<i", -1)))), "byte")
    refused(zip_checkpoint(beside(Code(b"I" + b"9" * 1_000_000 + b"\n"))), "byte")
    refused(zip_checkpoint(beside(Code(b"L" + b"9" * 1_000_000 + b"L\n"))), "byte")
    refused(zip_checkpoint(beside(Code(b"\x8b" + struct.pack("<i", 1_000_000) + b"\1" * 1_000_000))), "byte")


@pytest.mark.parametrize("opening", [b"}(", b"\x8f("], ids=["dict", "set"])
def test_survives_keys_whose_hashes_are_all_the_same(survived: Any, opening: bytes) -> None:
    """Python's hash of an int is the int modulo 2 ** 61 - 1: a dict of such keys takes quadratic time."""
    modulus = 2**61 - 1
    value, close = (b"N", b"u") if opening == b"}(" else (b"", b"\x90")
    keys = b"".join(code(number * modulus) + value for number in range(1, 50_000))
    survived(zip_checkpoint(beside(Code(opening + keys + close))))


def test_survives_memo_indexes_whose_hashes_are_all_the_same(survived: Any) -> None:
    puts = b"".join(b"Np%d\n0" % (number * (2**61 - 1)) for number in range(1, 50_000))
    survived(zip_checkpoint(b"\x80\x02" + puts + state_dict()[2:]))


def test_survives_tuples_as_keys_whose_hashes_are_all_the_same(survived: Any) -> None:
    keys = b"".join(code(pair) + b"N" for pair in colliding_pairs(20_000))
    survived(zip_checkpoint(beside(Code(b"}(" + keys + b"u"))))


def colliding_pairs(count: int) -> Iterator[tuple[int, int]]:
    """Yield pairs with one hash: that of tuples is not keyed either (tuplehash in CPython's tupleobject.c)."""
    word = 1 << 64
    prime1, prime2, prime5 = 11400714785074694791, 14029467366897019727, 2870177450012600261
    inverse = pow(prime2, -1, word)
    target = 12345
    for first in range(1, 100 * count):
        mixed = (prime5 + first * prime2) % word
        mixed = ((mixed << 31) | (mixed >> 33)) % word * prime1 % word
        second = (target - mixed) * inverse % word
        if second < (1 << 61) - 1:
            yield first, second
            count -= 1
            if not count:
                return


def test_bounds_what_expanded_views_take_together(tmp_path: Path) -> None:
    """Each is what torch could have saved; together they would be a record of 160 GB, from 16 bytes."""
    sizes = {f"v{number}": (number + 1, 1 << 20) for number in range(280)}
    path = tmp_path / "model.pt"
    path.write_bytes(
        zip_checkpoint(state_dict(**{key: tensor(size=size, stride=(0, 0)) for key, size in sizes.items()}))
    )
    try:
        readable = [each for each in open_checkpoint(path).state_dict().values() if each.fault is None]
    except CheckpointError:
        return
    assert sum(each.nbytes for each in readable) < 2 << 30


def test_survives_a_long_name_over_many_tensors(survived: Any) -> None:
    """Each key would hold a copy of it."""
    leaves = {"w": put(tensor(), 9)} | {str(number): get(9) for number in range(5_000)}
    survived(zip_checkpoint(pickled({"a" * 1_000_000: leaves})), key="a" * 1_000_000 + ".w")


@pytest.mark.slow
def test_survives_one_call_made_many_times(survived: Any) -> None:
    """Five bytes of the pickle make a tensor each."""
    function = put(name("torch._utils", "_rebuild_tensor_v2"), 0)
    arguments = put(code((storage(), 0, (4,), (1,), False, ordered_dict())), 1)
    calls = Code(b"](" + function + arguments + b"R" + b"h\0h\1R" * 30_000 + b"e")
    survived(zip_checkpoint(pickled({"w": tensor(), "x": calls})))


@pytest.mark.slow
def test_survives_containers_that_are_copied_over_and_over(endured: Any) -> None:
    text = put(code("x" * 1_000_000), 0)
    encode = put(name("_codecs", "encode"), 1) + put(code((text, "latin1")), 2) + b"R" + b"h\1h\2R" * 500
    endured(zip_checkpoint(beside(Code(b"](" + encode + b"e"))))
    long = code(dict.fromkeys(range(10_000)))
    copies = put(name("collections", "OrderedDict"), 1) + put(code((long,)), 2) + b"R" + b"h\1h\2R" * 500
    endured(zip_checkpoint(beside(Code(b"](" + copies + b"e"))))
    endured(zip_checkpoint(beside(Code(put(Code(b"]"), 1) + b"(" + b"N" * 1000 + b"e" + b"(h\1e" * 10_000))))


@pytest.mark.slow
def test_survives_a_container_in_itself(endured: Any) -> None:
    endured(zip_checkpoint(beside(Code(put(Code(b"]"), 0) + get(0) + b"a"))))
    endured(zip_checkpoint(beside(Code(put(Code(b"}"), 0) + b"(" + code("self") + get(0) + b"u"))))
    endured(
        zip_checkpoint(pickled(Code(put(Code(b"}"), 0) + b"(" + code("w") + tensor() + code("me") + get(0) + b"u")))
    )
    endured(zip_checkpoint(beside(Code(put(Code(b"]"), 0) + b"(" + get(0) + b"tR"))))
    endured(zip_checkpoint(beside(Code(put(call(name("m", "C")), 0) + get(0) + b"b"))))


def test_survives_many_duplicates_of_one_long_text(survived: Any) -> None:
    text = put(code("x" * 50_000), 0)
    survived(zip_checkpoint(pickled({"w": tensor(), "x": Code(b"](" + text + get(0) * 20_000 + b"e")})))


def test_survives_many_tensors_over_one_storage(survived: Any) -> None:
    views = {f"v{number}": tensor(offset=number % 4, size=(1,)) for number in range(2_000)}
    survived(zip_checkpoint(state_dict(w=tensor(), **views)))
