"""Waiting for other machines, and for a server that does not respond."""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import TypeVar

from mnist_bench.core.errors import BenchError
from mnist_bench.core.formatting import counted

Result = TypeVar("Result")

POLL_SECONDS = 5.0
"""Time between two attempts."""
RETRY_SECONDS = 600.0
"""How long a server may be unavailable before this machine gives up."""


def waiting_message(number: int, what: str) -> str:
    """The line that says what other machines are still working on.

    Args:
        number: How many.
        what: Singular noun, such as `trial`.
    """
    return f"waiting for {counted(number, what)} running elsewhere; Ctrl-C stops"


class Retry:
    """Waits, and reports each reason once.

    Args:
        log: Receives one line with what is waited for.
        seconds: How long a server may be unavailable; 0 disables retries.
    """

    def __init__(self, log: Callable[[str], None], seconds: float = RETRY_SECONDS) -> None:
        self._log, self._seconds = log, seconds
        self._unavailable_since: float | None = None
        self._last_message = ""

    def reset(self) -> None:
        """Restart the time limit at the next failure, since the server has responded."""
        self._unavailable_since = None

    def wait_or_raise(self, error: BenchError) -> None:
        """Wait for a server that does not respond.

        Raises:
            BenchError: `error`, if the server has been unavailable for too long.
        """
        now = time.monotonic()
        if self._unavailable_since is None:
            self._unavailable_since = now
        if now - self._unavailable_since >= self._seconds:
            raise error
        self.wait(f"{error.message}; retrying, Ctrl-C stops")

    def call(self, function: Callable[[], Result]) -> Result:
        """Call a function until it succeeds.

        Raises:
            BenchError: It failed for too long.
        """
        while True:
            try:
                return function()
            except BenchError as error:
                self.wait_or_raise(error)

    def wait(self, message: str) -> None:
        """Sleep until the next attempt, and report the message unless it was the last one."""
        if message != self._last_message:
            self._log(message)
            self._last_message = message
        time.sleep(POLL_SECONDS)
