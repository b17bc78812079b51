"""The pickle machine: every opcode is known, faults say where they are, and what it names is inert."""

from __future__ import annotations

import pickletools
from typing import Any

import pytest

from hatch_wheelweights.checkpoint import Global, Opaque, pickle
from hatch_wheelweights.checkpoint.allowed import find
from hatch_wheelweights.checkpoint.charges import ITEM_BYTES, OBJECT_BYTES
from hatch_wheelweights.checkpoint.cost import FREE_BYTES, Account
from hatch_wheelweights.checkpoint.opcodes import BY_NUMBER, OPERATIONS, REFUSED, STOP
from hatch_wheelweights.errors import CheckpointError, UnsafePickleError
from making.pickles import call, name, pickled

# ------------------------------------------------------------------------------------------------------------- opcodes

PYTHONS = {opcode.code.encode("latin-1"): opcode.name for opcode in pickletools.opcodes}


def test_every_opcode_of_python_makes_a_move_or_is_refused() -> None:
    """An opcode of a new protocol is missing here until somebody has decided."""
    assert OPERATIONS.keys() | REFUSED.keys() | {STOP} == PYTHONS.keys()
    assert not OPERATIONS.keys() & REFUSED.keys()
    assert STOP not in OPERATIONS | REFUSED


def test_a_byte_finds_the_move_of_its_opcode() -> None:
    assert len(BY_NUMBER) == 256
    assert {bytes([number]): move for number, move in enumerate(BY_NUMBER) if move} == OPERATIONS


def test_the_refused_opcodes_have_pythons_names() -> None:
    assert {opcode: PYTHONS[opcode] for opcode in REFUSED} == REFUSED


@pytest.mark.parametrize("opcode", REFUSED, ids=REFUSED.values())
def test_a_refused_opcode_is_named(opcode: bytes) -> None:
    with pytest.raises(CheckpointError) as caught:
        pickle.load(b"\x80\x02" + opcode + b".", find=find)
    assert str(caught.value) == (
        f"pickle has opcode {REFUSED[opcode]} (0x{opcode.hex()}), which no checkpoint needs (at byte 2 of the pickle)"
    )


def test_an_unknown_opcode_is_shown() -> None:
    with pytest.raises(CheckpointError) as caught:
        pickle.load(b"N0\xff", find=find)
    assert str(caught.value) == "pickle has opcode 0xff, which no checkpoint needs (at byte 2 of the pickle)"


# ------------------------------------------------------------------------------------------------------ where it failed


@pytest.mark.parametrize(
    ("data", "fact", "position"),
    [
        (b"\x80\x06N.", "expected pickle protocol 0 to 5, found 6", 0),
        (b"NN.", "malformed pickle: STOP leaves values on the stack", 2),
        (b"N\x85", "malformed pickle: expected 1 more bytes, found 0", 2),
        (b"0", "malformed pickle: there is no mark on the stack", 0),
        (b"N\x86.", "malformed pickle: it takes more values than there are", 1),
        (b"h\x07.", "malformed pickle: it asks for a memo entry that is not there", 0),
        (b"](K\x01u.", "malformed pickle: a key has no value", 4),
        (b"NNb.", "malformed pickle: a NoneType is given a state", 2),
        (b"NNs.", "malformed pickle: it takes more values than there are", 2),
        (b"N)R.", "pickle calls a NoneType, which no state_dict needs", 2),
        (b"NQ.", "pickle refers to a storage, but there can be none here", 1),
    ],
)
def test_a_fault_has_a_position(data: bytes, fact: str, position: int) -> None:
    """`fact` is whole without it."""
    with pytest.raises(CheckpointError) as caught:
        pickle.load(b"xyz" + data, find=find, start=3, where="the stream")
    error = caught.value
    assert (error.fact, error.args[0]) == (fact, fact)
    assert error.position == f"byte {3 + position:,} of the stream"
    assert str(error).splitlines()[0] == f"{fact} (at byte {3 + position:,} of the stream)"


def test_large_positions_are_grouped() -> None:
    with pytest.raises(CheckpointError) as caught:
        pickle.load(b"N0" * 5_000 + b"0.", find=find, where="archive/data.pkl")
    assert caught.value.position == "byte 10,000 of archive/data.pkl"


@pytest.mark.parametrize("strange", ["<here>", "{here}", "%s", "position"])
def test_a_name_is_never_taken_for_a_part_of_the_message(strange: str) -> None:
    with pytest.raises(UnsafePickleError) as caught:
        pickle.load(name("os", strange) + b".", find=find)
    assert str(caught.value).splitlines()[0] == (
        f"pickle asks for `os.{strange}`, which no state_dict needs (at byte 0 of the pickle)"
    )
    assert caught.value.found == f"os.{strange}"


def test_a_storage_that_cannot_be_given_has_the_position_of_its_reference() -> None:
    def persistent_load(pid: Any) -> Any:
        raise CheckpointError(f"no storage {pid}")

    with pytest.raises(CheckpointError) as caught:
        pickle.load(b"]K\x05Q.", find=find, persistent_load=persistent_load)
    assert str(caught.value) == "no storage 5 (at byte 3 of the pickle)"


# ---------------------------------------------------------------------------------------------------------------- nodes


def test_a_name_and_what_it_gives_are_inert() -> None:
    (made, end) = pickle.load(pickled(call(name("mymodule", "Thing"), 1, "a")), find=find)
    assert end == len(pickled(call(name("mymodule", "Thing"), 1, "a")))
    assert isinstance(made, Opaque)
    assert (str(made), repr(made), made.args) == ("mymodule.Thing", "<Opaque mymodule.Thing>", (1, "a"))
    (named, _) = pickle.load(name("mymodule", "Thing") + b".", find=find)
    assert named == Global("mymodule", "Thing")


# --------------------------------------------------------------------------------------------------- what it is charged


@pytest.mark.parametrize("count", [1, 85, 1_000, 10_000])
def test_each_small_container_and_memo_entry_is_charged(count: int) -> None:
    """Together with those of other opcodes, and at the latest at the end."""
    account = Account(0)
    pickle.load(b"]q\0" + b"]q\x010" * count + b".", find=find, account=account)
    assert account.nbytes == (count + 1) * (OBJECT_BYTES + ITEM_BYTES)
    assert account.steps >= 3 * (count - 85) + count  # a step for each opcode, and one for each container


def test_containers_beyond_the_account_are_an_error_soon_after_they_are() -> None:
    account = Account(0)
    most = FREE_BYTES // OBJECT_BYTES
    with pytest.raises(CheckpointError) as caught:
        pickle.load(b"]0" * 2 * most + b"N.", find=find, account=account)
    assert caught.value.fact == "asks for more memory than a file of 0 bytes may take"
    assert FREE_BYTES < account.nbytes <= FREE_BYTES + 256 * OBJECT_BYTES
