"""Ctrl-C and SIGTERM: as exceptions, and held back while something must be done whole."""

from __future__ import annotations

import signal
import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from typing import TYPE_CHECKING, NoReturn

if TYPE_CHECKING:
    from sys import UnraisableHookArgs

# A terminal that closes ends its programs like SIGTERM; Windows knows no SIGHUP.
_TERMINATING = tuple(
    getattr(signal, name) for name in ("SIGTERM", "SIGHUP") if hasattr(signal, name)
)
_MOMENT_SECONDS = 0.05
"""Until a signal that was swallowed comes again: long enough for a callback to end."""


class Terminated(BaseException):
    """SIGTERM, raised where the program stands, as KeyboardInterrupt is for Ctrl-C."""


def raise_on_sigterm() -> None:
    """From now on SIGTERM, and a terminal that closes, raise `Terminated` in the main thread.

    In a weak reference's callback or a finalizer Python tells what is raised there and goes on, so
    that a signal at such a moment would be lost; imports are full of them. So it, and Ctrl-C, come
    again a moment later.
    """
    for number in _heeded(_TERMINATING):
        signal.signal(number, _raise)
    tell = sys.unraisablehook

    def come_again(swallowed: UnraisableHookArgs) -> None:
        numbers = {KeyboardInterrupt: signal.SIGINT, Terminated: signal.SIGTERM}
        number = numbers.get(swallowed.exc_type)
        if number is None:
            tell(swallowed)
            return
        timer = threading.Timer(_MOMENT_SECONDS, deliver, (number,))
        timer.daemon = True
        with suppress(RuntimeError):  # the interpreter is at its end, and starts no thread
            timer.start()

    sys.unraisablehook = come_again


def deliver(number: signal.Signals) -> None:
    """Give a signal to the main thread, from another one: it wakes from what it waits for."""
    ident = threading.main_thread().ident
    if sys.platform == "win32" or ident is None:
        signal.raise_signal(number)
    else:
        signal.pthread_kill(ident, number)


@contextmanager
def defer_signals() -> Iterator[None]:
    """Do something whole, then raise what came in between; a second signal raises at once.

    A run that was made must not be lost sight of, nor one half-ended stay RUNNING.
    """
    came: list[int] = []

    def remember(number: int, _frame: object) -> None:
        if came:
            _raise(number)
        came.append(number)

    heeded = _heeded((signal.SIGINT, *_TERMINATING))
    before = {number: signal.signal(number, remember) for number in heeded}
    try:
        yield
    finally:
        for number, previous in before.items():
            signal.signal(number, previous)
    if came:
        _raise(came[0])


def _heeded(numbers: tuple[signal.Signals, ...]) -> list[signal.Signals]:
    """Those that are not ignored: nohup and shells ask for that, and mean it."""
    # None: a handler that is not Python's, which could not be put back.
    return [n for n in numbers if signal.getsignal(n) not in (signal.SIG_IGN, None)]


def _raise(number: int, _frame: object = None) -> NoReturn:
    raise KeyboardInterrupt if number == signal.SIGINT else Terminated
