"""The one error that a user meets."""

from __future__ import annotations

EXIT_BROKE = 1
"""A run failed, or something broke on the way."""
EXIT_WRONG_REQUEST = 2
EXIT_INTERRUPTED = 130
EXIT_TERMINATED = 143


class BenchError(Exception):
    """What went wrong and where, in one line, and what to do about it.

    Attributes:
        message: What is wrong and where; no full stop at the end.
        hint: What to do about it; empty where nothing can be advised.
        exit_status: `EXIT_WRONG_REQUEST` when work was refused before it started,
            `EXIT_BROKE` when something broke on the way.
    """

    def __init__(
        self, message: str, hint: str = "", *, exit_status: int = EXIT_WRONG_REQUEST
    ) -> None:
        self.message = " ".join(message.split())
        self.hint = " ".join(hint.split())
        self.exit_status = exit_status
        super().__init__(str(self))

    def __str__(self) -> str:
        return f"{self.message}; {self.hint}" if self.hint else self.message


def another_version(what: str) -> BenchError:
    """Of something that another version of the suite shares.

    Args:
        what: With its name: `the plan mine`.
    """
    return BenchError(f"{what} is of another version of mnist-bench", "upgrade the elder one")
