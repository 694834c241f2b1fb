"""Machines that work together within a test: little patience, and hearts that beat fast."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from unittest import mock

from program import altered

from mnist_bench import beating, patience, process


@contextmanager
def impatient(worker: tuple[str, ...]) -> Iterator[None]:
    """Inside this process, with such a worker for every training."""
    with (
        mock.patch.object(process, "COMMAND", worker),
        mock.patch.object(patience, "AGAIN_SECONDS", 0.1),
        mock.patch.object(beating, "HEARTBEAT_SECONDS", 1),
    ):
        yield


def impatient_program(
    worker: tuple[str, ...], heartbeat_seconds: int = 1, more: str = "pass"
) -> tuple[str, ...]:
    """The same as a program of its own.

    Args:
        worker: For every training.
        heartbeat_seconds: Between two signs of life.
        more: Python that alters `series` or anything else that it imports.
    """
    return altered(f"""
from mnist_bench import beating, patience, process, series
process.COMMAND = {worker!r}
beating.HEARTBEAT_SECONDS = {heartbeat_seconds}
patience.AGAIN_SECONDS = 0.1
{more}
""")
