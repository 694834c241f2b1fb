"""Signals as exceptions, and deferred signals."""

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
    """Install the handlers of the program; restore pytest's afterwards."""
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


class Referent:
    """An object for weak references."""


BOTH = [(signal.SIGINT, KeyboardInterrupt), (signal.SIGTERM, Terminated)]


@pytest.mark.parametrize(("number", "raised"), BOTH)
def test_signal_in_a_weak_reference_callback_is_delivered_again(number, raised):
    """Imports run hundreds of such callbacks."""
    referent = Referent()
    reference = weakref.ref(referent, lambda _: signal.raise_signal(number))
    with pytest.raises(raised):
        del referent
        threading.Event().wait(60)
    assert reference() is None


def test_other_unraisable_exceptions_reach_the_previous_hook():
    reported = []
    sys.unraisablehook = lambda unraisable: reported.append(unraisable.exc_type)
    raise_on_sigterm()
    referent = Referent()
    reference = weakref.ref(referent, lambda _: int("none"))
    del referent
    assert reference() is None
    assert reported == [ValueError]


@pytest.mark.parametrize(("number", "raised"), BOTH)
def test_deferred_signal_is_raised_after_the_block(number, raised):
    steps = []
    with pytest.raises(raised), defer_signals():
        steps.append("begun")
        signal.raise_signal(number)
        steps.append("ended")
    assert steps == ["begun", "ended"]


def test_second_signal_is_not_deferred():
    steps = []
    with pytest.raises(KeyboardInterrupt), defer_signals():
        signal.raise_signal(signal.SIGTERM)
        steps.append("still here")
        signal.raise_signal(signal.SIGINT)
        steps.append("never here")
    assert steps == ["still here"]


def test_handlers_are_restored():
    before = signal.getsignal(signal.SIGINT)
    with defer_signals():
        assert signal.getsignal(signal.SIGINT) is not before
    assert signal.getsignal(signal.SIGINT) is before


def test_exception_in_the_block_is_not_hidden_by_a_signal():
    with pytest.raises(ValueError, match="fault"), defer_signals():
        signal.raise_signal(signal.SIGINT)
        raise ValueError("fault")
