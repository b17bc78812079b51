"""Pickles that are malformed, or that mean one thing to one reader and another to the next."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np
import pytest

from making.checkpoints import CONTAINERS, python2_checkpoint, zip_checkpoint
from making.pickles import Code, beside, call, name, ordered_dict, pickled, python2, state_dict, storage, tensor
from making.values import VALUES

if TYPE_CHECKING:
    from looking.opening import Refused

every_container = pytest.mark.parametrize("container", CONTAINERS.values(), ids=CONTAINERS)


@pytest.mark.parametrize(
    "attack",
    [
        pytest.param(b"", id="empty"),
        pytest.param(b"\x80", id="nothing after PROTO"),
        pytest.param(b"\x80\x02", id="no opcodes"),
        pytest.param(state_dict()[:-1], id="no stop"),
        pytest.param(b"\x80\x02.", id="stop on an empty stack"),
        pytest.param(b"\x80\x02(.", id="stop on a mark"),
        pytest.param(b"\x80\x02NN.", id="two values left"),
        pytest.param(b"\x80\x02(}.", id="a mark left"),
        pytest.param(b"\x80\x02R.", id="reduce on an empty stack"),
        pytest.param(b"\x80\x02)R.", id="reduce without function"),
        pytest.param(b"\x80\x02NNR.", id="reduce of None"),
        pytest.param(b"\x80\x02u.", id="setitems without mark"),
        pytest.param(b"\x80\x02}(Nu.", id="key without value"),
        pytest.param(b"\x80\x02}NNNs.", id="setitem on None"),
        pytest.param(b"\x80\x02}](su.", id="unhashable key"),
        pytest.param(b"\x80\x02}]Ns.", id="list as key"),
        pytest.param(b"\x80\x02e.", id="appends on an empty stack"),
        pytest.param(b"\x80\x02(e.", id="appends on a mark"),
        pytest.param(b"\x80\x020.", id="pop on an empty stack"),
        pytest.param(b"\x80\x021.", id="pop_mark on an empty stack"),
        pytest.param(b"\x80\x022.", id="dup on an empty stack"),
        pytest.param(b"\x80\x02t.", id="tuple without mark"),
        pytest.param(b"\x80\x02\x85.", id="tuple1 on an empty stack"),
        pytest.param(b"\x80\x02N\x87.", id="tuple3 of one"),
        pytest.param(b"\x80\x02(N\x86.", id="tuple2 across a mark"),
        pytest.param(b"\x80\x02Q.", id="persistent id on an empty stack"),
        pytest.param(b"\x80\x02NQ.", id="persistent id None"),
        pytest.param(b"\x80\x02b.", id="build on an empty stack"),
        pytest.param(b"\x80\x02h7.", id="memo missing"),
        pytest.param(b"\x80\x02j\xff\xff\xff\x7f.", id="long memo missing"),
        pytest.param(b"g7\n.", id="text memo missing"),
        pytest.param(b"gx\n.", id="memo index no number"),
        pytest.param(b"\x80\x02q\x00N.", id="put on an empty stack"),
        pytest.param(b"\x80\x04\x94.", id="memoize on an empty stack"),
        pytest.param(b"\x80\x04\x93.", id="stack_global on an empty stack"),
        pytest.param(b"\x80\x04NN\x93.", id="stack_global of None"),
        pytest.param(b"\x80\x02)\x81.", id="newobj without class"),
        pytest.param(b"\x80\x04\x90.", id="additems on an empty stack"),
        pytest.param(b"\x80\x04\x8f(]\x90.", id="unhashable item"),
        pytest.param(b"\x80\x04(]\x91.", id="unhashable frozen item"),
        pytest.param(b"Ix\n.", id="INT of no number"),
        pytest.param(b"Lx\n.", id="LONG of no number"),
        pytest.param(b"Fx\n.", id="FLOAT of no number"),
        pytest.param(b"I1", id="line without end"),
        pytest.param(b"Sabc\n.", id="STRING without quotes"),
        pytest.param(b"S'\n.", id="STRING with half its quotes"),
        pytest.param(b"V\\ud800\n.", id="lone surrogate"),
        pytest.param(b"V\\uzzzz\n.", id="bad escape"),
        pytest.param(b"\x80\x02X\x02\x00\x00\x00\xff\xfe.", id="text that is no UTF-8"),
        pytest.param(b"\x80\x02c\xff\n\xfe\n.", id="global that is no UTF-8"),
        pytest.param(b"\x80\x02cm", id="global without end"),
        pytest.param(b"\x80\x02c\n\n.", id="global without name"),
    ],
)
def test_refuses_a_malformed_pickle(refused: Refused, attack: bytes) -> None:
    """One error for all of them; torch raises seven kinds (pytorch#127525)."""
    for container in CONTAINERS.values():
        refused(container(attack))


@pytest.mark.parametrize("length", range(0, len(state_dict()), 7))
def test_refuses_a_pickle_cut_anywhere(refused: Refused, length: int) -> None:
    refused(zip_checkpoint(state_dict()[:length]))


@pytest.mark.parametrize("more", [b"cos\nsystem\n.", b"\x00", b".", state_dict()])
def test_refuses_bytes_after_stop(refused: Refused, more: bytes) -> None:
    refused(zip_checkpoint(state_dict() + more), "data.pkl", "byte")


@pytest.mark.parametrize("protocol", [6, 99, 255])
def test_refuses_a_protocol_that_does_not_exist(refused: Refused, protocol: int) -> None:
    refused(zip_checkpoint(pickled(ordered_dict({"w": tensor()}), protocol)), f"{protocol}")


def test_opens_int_keys_as_decimal_strings(opened: Any) -> None:
    arrays = opened(zip_checkpoint(pickled({0: {1: tensor()}, "b": [tensor(), {2: tensor()}]})), reindex=False)
    assert sorted(arrays) == ["0.1", "b.0", "b.1.2"]


def test_opens_the_byte_strings_of_python_2(opened: Any) -> None:
    arrays = opened(zip_checkpoint(pickled({python2("w"): tensor(), Code(b"U\x03a\xc3\xa9"): tensor()})))
    assert list(arrays) in (["w", "aé"], ["w", "a\xc3\xa9"])
    assert list(opened(python2_checkpoint())) == ["w"]


def test_opens_a_latin_1_key_of_python_2(opened: Any) -> None:
    assert list(opened(zip_checkpoint(pickled({Code(b"U\x02a\xe9"): tensor()})))) == ["aé"]


def test_opens_a_storage_whose_key_is_an_int(opened: Any) -> None:
    """Torch formats the key into the name of the member, so it loads these."""
    np.testing.assert_array_equal(opened(zip_checkpoint(state_dict(w=tensor(storage(key=0)))))["w"], VALUES)


def test_refuses_keys_that_collide_once_they_are_flat(refused: Refused) -> None:
    refused(zip_checkpoint(pickled({"a": {"b": tensor()}, "a.b": tensor()})), "a.b")
    refused(zip_checkpoint(pickled({0: tensor(), "0": tensor()})), "0")
    refused(zip_checkpoint(pickled({"a": [tensor()], "a.0": tensor()})), "a.0")


def test_prints_hostile_names_escaped(refused: Refused) -> None:
    message = refused(zip_checkpoint(state_dict(**{"\x1b[31mred\n": tensor(offset=1)})))
    assert "\x1b" not in message
    refused(zip_checkpoint(beside(name("\x1b[31mred", "\x1b]0;x\x07"))[:-1] + b"R."))
    refused(zip_checkpoint(pickled(call(name("\x1b[31mred\r", "\x1b]0;x\x07")))))
    refused(zip_checkpoint(state_dict(w=tensor(storage(key="\x1b[31m")))))
