"""Waiting for what others have in work, and for a server that does not answer."""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import TypeVar

from mnist_bench.core.errors import BenchError
from mnist_bench.core.formatting import counted

Answer = TypeVar("Answer")

AGAIN_SECONDS = 5.0
"""Between two looks."""
RETRY_SECONDS = 600.0
"""For so long a server may be gone before this machine gives up."""


def in_work_elsewhere(number: int, what: str) -> str:
    """For what is waited, in words.

    Args:
        number: How many.
        what: One of them: `part`, `trial`.
    """
    return f"waiting for {counted(number, what)} in work elsewhere; Ctrl-C leaves"


class Retry:
    """Waits, and says for what, once.

    Args:
        say: Told in one line what is waited for.
        seconds: For so long a server may be gone; with 0 it is not waited for.
    """

    def __init__(self, say: Callable[[str], None], seconds: float = RETRY_SECONDS) -> None:
        self._say, self._seconds = say, seconds
        self._unanswered_since: float | None = None
        self._told = ""

    def answered(self) -> None:
        """A server that was away is there again: whatever is away from now on is so anew."""
        self._unanswered_since = None

    def bear(self, error: BenchError) -> None:
        """Wait for a server that does not answer.

        Args:
            error: What it came to instead.

        Raises:
            BenchError: The same, where it was so for too long.
        """
        now = time.monotonic()
        if self._unanswered_since is None:
            self._unanswered_since = now
        if now - self._unanswered_since >= self._seconds:
            raise error
        self.wait(f"{error.message}; waiting for it, Ctrl-C leaves")

    def until_answered(self, call: Callable[[], Answer]) -> Answer:
        """Call something again until it is answered.

        Raises:
            BenchError: It was not for too long.
        """
        while True:
            try:
                return call()
            except BenchError as error:
                self.bear(error)

    def wait(self, what: str) -> None:
        """Wait for a moment.

        Args:
            what: For which, as people are told it.
        """
        if what != self._told:
            self._say(what)
            self._told = what
        time.sleep(AGAIN_SECONDS)
