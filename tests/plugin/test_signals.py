"""SIGTERM and SIGHUP, and SIGINT: an exception where nobody has decided otherwise, and the default again afterwards."""

from __future__ import annotations

import os
import signal
import threading

import pytest

from hatch_wheelweights.signals import ending_on_signals

pytestmark = pytest.mark.skipif(os.name != "posix", reason="Windows has no such signals")

BOTH = pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGHUP])


@BOTH
def test_raises_what_it_is_given_and_restores_the_default(number: signal.Signals) -> None:
    with pytest.raises(SystemExit) as caught, ending_on_signals(lambda one: SystemExit(128 + one)):
        os.kill(os.getpid(), number)
    assert caught.value.code == 128 + number
    assert signal.getsignal(number) is signal.SIG_DFL


@pytest.mark.parametrize("default", [signal.SIG_DFL, signal.default_int_handler])
def test_interrupts_are_raised_the_same_way_where_that_is_asked_for(default: signal.Handlers) -> None:
    before = signal.signal(signal.SIGINT, default)
    try:
        with ending_on_signals(SystemExit):
            assert signal.getsignal(signal.SIGINT) is default
        with pytest.raises(SystemExit), ending_on_signals(SystemExit, interrupts=True):
            os.kill(os.getpid(), signal.SIGINT)
        assert signal.getsignal(signal.SIGINT) is default
    finally:
        signal.signal(signal.SIGINT, before)


@BOTH
@pytest.mark.parametrize("decided", [signal.SIG_IGN, lambda *_: None])
def test_leaves_alone_what_somebody_has_decided(number: signal.Signals, decided: signal.Handlers) -> None:
    before = signal.signal(number, decided)
    try:
        with ending_on_signals(SystemExit):
            assert signal.getsignal(number) is decided
        assert signal.getsignal(number) is decided
    finally:
        signal.signal(number, before)


def test_does_nothing_in_another_thread() -> None:
    found: list[object] = []

    def run() -> None:
        with ending_on_signals(SystemExit):
            found.append(signal.getsignal(signal.SIGTERM))

    thread = threading.Thread(target=run)
    thread.start()
    thread.join()
    assert found == [signal.SIG_DFL]


def test_nested_the_outer_one_counts() -> None:
    inner = ending_on_signals(lambda _: SystemExit(2))
    with pytest.raises(SystemExit) as caught, ending_on_signals(lambda _: SystemExit(1)), inner:
        os.kill(os.getpid(), signal.SIGTERM)
    assert caught.value.code == 1
