"""Signals: as exceptions, and held back while something is done whole."""

from __future__ import annotations

import signal
import sys
import threading
import weakref
from collections.abc import Iterator

import pytest

from mnist_bench.core.signals import Terminated, defer_signals, raise_on_sigterm


@pytest.fixture(autouse=True)
def handlers() -> Iterator[None]:
    """The handlers of a program that has just started, and pytest's own again afterwards."""
    before = {number: signal.getsignal(number) for number in (signal.SIGINT, signal.SIGTERM)}
    hook = sys.unraisablehook
    signal.signal(signal.SIGINT, signal.default_int_handler)
    raise_on_sigterm()
    yield
    sys.unraisablehook = hook
    for number, handler in before.items():
        signal.signal(number, handler)


def test_sigterm_raises():
    with pytest.raises(Terminated):
        signal.raise_signal(signal.SIGTERM)


class Thing:
    """May be referred to weakly."""


BOTH = [(signal.SIGINT, KeyboardInterrupt), (signal.SIGTERM, Terminated)]


@pytest.mark.parametrize(("number", "raised"), BOTH)
def test_a_signal_that_python_swallows_comes_again(number, raised):
    """As in the callback of a weak reference, of which an import makes hundreds."""
    thing = Thing()
    swallowed = weakref.ref(thing, lambda _: signal.raise_signal(number))
    with pytest.raises(raised):
        del thing
        threading.Event().wait(60)
    assert swallowed() is None


def test_any_other_fault_that_python_swallows_is_told_as_ever():
    told = []
    sys.unraisablehook = lambda unraisable: told.append(unraisable.exc_type)
    raise_on_sigterm()
    thing = Thing()
    swallowed = weakref.ref(thing, lambda _: int("none"))
    del thing
    assert swallowed() is None
    assert told == [ValueError]


@pytest.mark.parametrize(("number", "raised"), BOTH)
def test_what_is_held_back_is_done_whole_and_then_interrupted(number, raised):
    done = []
    with pytest.raises(raised), defer_signals():
        done.append("begun")
        signal.raise_signal(number)
        done.append("ended")
    assert done == ["begun", "ended"]


def test_a_second_signal_does_not_wait():
    done = []
    with pytest.raises(KeyboardInterrupt), defer_signals():
        signal.raise_signal(signal.SIGTERM)
        done.append("still here")
        signal.raise_signal(signal.SIGINT)
        done.append("never here")
    assert done == ["still here"]


def test_without_a_signal_nothing_is_raised_and_the_handlers_are_back():
    before = signal.getsignal(signal.SIGINT)
    with defer_signals():
        assert signal.getsignal(signal.SIGINT) is not before
    assert signal.getsignal(signal.SIGINT) is before


def test_a_fault_inside_is_not_hidden_by_a_signal():
    with pytest.raises(ValueError, match="fault"), defer_signals():
        signal.raise_signal(signal.SIGINT)
        raise ValueError("fault")
