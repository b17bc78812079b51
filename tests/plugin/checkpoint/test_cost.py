"""While many objects are made, Python does not look for cycles; afterwards it does as before, however that ended."""

from __future__ import annotations

import gc
import sys
import weakref
from typing import TYPE_CHECKING, Any

import pytest

from hatch_wheelweights.checkpoint import collecting_later

if TYPE_CHECKING:
    from collections.abc import Iterator

MANY = 3_000  # objects after which Python looks for cycles


class Cycle:
    """An object that only the collector can free."""

    def __init__(self) -> None:
        self.itself = self


@pytest.fixture(autouse=True)
def _as_before() -> Iterator[None]:
    """Leave the collector as it was."""
    was_on, before = gc.isenabled(), gc.get_threshold()
    gc.enable()
    gc.set_threshold(700, 10, 10)
    yield
    gc.set_threshold(*before)
    (gc.enable if was_on else gc.disable)()


def test_nothing_is_collected_meanwhile() -> None:
    gc.collect()
    cycle = weakref.ref(Cycle())
    with collecting_later():
        assert [[] for _ in range(MANY)]
        assert cycle() is not None
    assert gc.isenabled()


def test_cycles_of_the_program_are_collected_between_two_openings() -> None:
    left: weakref.WeakSet[Cycle] = weakref.WeakSet()
    for _ in range(100):
        left.add(Cycle())
        with collecting_later():
            opened: list[list[Any]] = [[] for _ in range(MANY)]
        assert [[] for _ in opened]
    assert len(left) < 50


def test_an_interrupt_leaves_it_on_whenever_it_comes() -> None:
    ended = False
    count = 0
    while not ended:
        count += 1
        ended = not _is_interrupted(count)
        assert gc.isenabled(), f"after call {count}"
    assert count > 3


def _is_interrupted(count: int) -> bool:
    """Interrupt it as so many of Python's own functions have returned, as a signal does; tell whether there were."""
    left = count

    def interrupt(_: object, event: str, function: Any) -> None:
        nonlocal left
        left -= event == "c_return" and function is not sys.setprofile
        if left == 0:
            sys.setprofile(None)
            raise KeyboardInterrupt

    before = sys.getprofile()
    try:
        sys.setprofile(interrupt)
        with collecting_later():
            len("")
        sys.setprofile(before)
    except KeyboardInterrupt:
        return True
    finally:
        sys.setprofile(before)
    return False


def test_one_who_turned_it_off_keeps_it_off() -> None:
    gc.disable()
    with collecting_later():
        assert not gc.isenabled()
    assert not gc.isenabled()


def test_a_thread_that_found_it_off_does_not_turn_it_off(monkeypatch: pytest.MonkeyPatch) -> None:
    def is_on_soon() -> bool:
        gc.enable()  # as the thread does that turned it off, just then
        return False

    with monkeypatch.context() as patched:
        patched.setattr(gc, "isenabled", is_on_soon)
        with collecting_later():
            pass
    assert gc.isenabled()
