"""Machines that work together within a test: little patience, and hearts that beat fast."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from unittest import mock

from program import Running, altered

from mnist_bench.core import retry as patience
from mnist_bench.runner import process
from mnist_bench.tuning import heartbeat as beating


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
from mnist_bench.tuning import heartbeat as beating
from mnist_bench.core import retry as patience
from mnist_bench.runner import process
from mnist_bench.tuning import trial_runner as series
process.COMMAND = {worker!r}
beating.HEARTBEAT_SECONDS = {heartbeat_seconds}
patience.AGAIN_SECONDS = 0.1
{more}
""")


def held(mark: Path, go: Path) -> str:
    """An expression for a worker's fault: it says that it is there, and waits for its leave."""
    there, leave = (f"__import__('pathlib').Path({str(path)!r})" for path in (mark, go))
    nap = "__import__('time').sleep(0.05)"
    return f"({there}.touch(), any({nap} for _ in iter({leave}.exists, True)))"


def kill(running: Running) -> None:
    """As where the power goes: nobody of it can say another word."""
    family = running.family()
    running.process.kill()
    running.process.wait()
    for each in family:
        each.kill()
