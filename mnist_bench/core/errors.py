"""The error that is shown to users, and exit statuses."""

from __future__ import annotations

EXIT_FAILURE = 1
"""A run failed, or an error occurred after work had started."""
EXIT_USAGE = 2
"""The request was rejected before any work started."""
EXIT_INTERRUPTED = 130
EXIT_TERMINATED = 143


class BenchError(Exception):
    """An error for users: one line with what is wrong, where, and what to do.

    Attributes:
        message: What is wrong and where; no full stop at the end.
        hint: What to do about it; may be empty.
        exit_status: `EXIT_USAGE` if work was rejected before it started, `EXIT_FAILURE` if an
            error occurred later.
    """

    def __init__(self, message: str, hint: str = "", *, exit_status: int = EXIT_USAGE) -> None:
        self.message = " ".join(message.split())
        self.hint = " ".join(hint.split())
        self.exit_status = exit_status
        super().__init__(str(self))

    def __str__(self) -> str:
        return f"{self.message}; {self.hint}" if self.hint else self.message
