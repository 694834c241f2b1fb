"""Ctrl-C and SIGTERM: as exceptions, and held back while something must be done whole."""

from __future__ import annotations

import signal
from collections.abc import Iterator
from contextlib import contextmanager
from typing import NoReturn

# A terminal that closes ends its programs like SIGTERM; Windows knows no SIGHUP.
_TERMINATING = tuple(
    getattr(signal, name) for name in ("SIGTERM", "SIGHUP") if hasattr(signal, name)
)


class Terminated(BaseException):
    """SIGTERM, raised where the program stands, as KeyboardInterrupt is for Ctrl-C."""


def raise_on_sigterm() -> None:
    """From now on SIGTERM, and a terminal that closes, raise `Terminated` in the main thread."""
    for number in _heeded(_TERMINATING):
        signal.signal(number, _raise)


@contextmanager
def held_back() -> Iterator[None]:
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
