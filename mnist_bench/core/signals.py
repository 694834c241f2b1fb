"""Ctrl-C and SIGTERM as exceptions, and deferring them in critical sections."""

from __future__ import annotations

import signal
import sys
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from typing import TYPE_CHECKING, NoReturn

from mnist_bench.core.errors import EXIT_INTERRUPTED, EXIT_TERMINATED

if TYPE_CHECKING:
    from sys import UnraisableHookArgs

# A closing terminal sends SIGHUP, which is treated like SIGTERM; Windows has no SIGHUP.
_TERMINATING = tuple(
    getattr(signal, name) for name in ("SIGTERM", "SIGHUP") if hasattr(signal, name)
)
_REDELIVERY_SECONDS = 0.05
"""Delay before a swallowed signal is delivered again: long enough for a callback to end."""


interrupted = threading.Event()
"""Set once a signal is deferred: what waits for others then waits no longer than needed."""


class Terminated(BaseException):
    """Raised in the main thread on SIGTERM, as KeyboardInterrupt is on Ctrl-C."""


def raise_on_sigterm() -> None:
    """Raise `Terminated` in the main thread on SIGTERM and SIGHUP from now on.

    Python only reports exceptions in weak reference callbacks and finalizers, so a signal that
    arrives there would be lost; imports run many of these. Such a signal, Ctrl-C included, is
    delivered again shortly after.
    """
    for number in _not_ignored(_TERMINATING):
        signal.signal(number, _raise)
    previous_hook = sys.unraisablehook

    def redeliver(swallowed: UnraisableHookArgs) -> None:
        numbers = {KeyboardInterrupt: signal.SIGINT, Terminated: signal.SIGTERM}
        number = numbers.get(swallowed.exc_type)
        if number is None:
            previous_hook(swallowed)
            return
        timer = threading.Timer(_REDELIVERY_SECONDS, deliver, (number,))
        timer.daemon = True
        with suppress(RuntimeError):  # the interpreter is shutting down
            timer.start()

    sys.unraisablehook = redeliver


def deliver(number: signal.Signals) -> None:
    """Send a signal to the main thread from another thread, interrupting what it waits for."""
    ident = threading.main_thread().ident
    if sys.platform == "win32" or ident is None:
        signal.raise_signal(number)
    else:
        signal.pthread_kill(ident, number)


@contextmanager
def defer_signals() -> Iterator[None]:
    """Defer signals until the end of the context; a second signal raises immediately.

    Otherwise a run could be created in MLflow without being remembered, or stay RUNNING. Does
    nothing in other threads than the main one, where no signal arrives.
    """
    if threading.current_thread() is not threading.main_thread():
        yield
        return
    with _first_signal(lambda _: None) as received:
        yield
    if received:
        _raise(received[0])


@contextmanager
def on_interrupt(call: Callable[[int], None]) -> Iterator[None]:
    """Call a function with the exit status on Ctrl-C and SIGTERM; a second signal raises."""
    with _first_signal(
        lambda number: call(EXIT_INTERRUPTED if number == signal.SIGINT else EXIT_TERMINATED)
    ):
        yield


@contextmanager
def _first_signal(handle: Callable[[int], None]) -> Iterator[list[int]]:
    """Handle the first signal that is not ignored, and list it; a second one raises."""
    received: list[int] = []

    def receive(number: int, _frame: object) -> None:
        if received:
            _raise(number)
        received.append(number)
        interrupted.set()
        handle(number)

    numbers = _not_ignored((signal.SIGINT, *_TERMINATING))
    before = {number: signal.signal(number, receive) for number in numbers}
    try:
        yield received
    finally:
        for number, previous in before.items():
            signal.signal(number, previous)


def _not_ignored(numbers: tuple[signal.Signals, ...]) -> list[signal.Signals]:
    """Signals that are not ignored; nohup and shells ignore some on purpose."""
    # None: a handler that Python did not install, so it could not be restored.
    return [n for n in numbers if signal.getsignal(n) not in (signal.SIG_IGN, None)]


def _raise(number: int, _frame: object = None) -> NoReturn:
    raise KeyboardInterrupt if number == signal.SIGINT else Terminated
