"""Clock and memory around a trainer."""

from __future__ import annotations

import math
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import psutil

from mnist_bench.protocol import Message, Request, RowEnd, Sample, Scored
from mnist_bench.result import Evaluation, PhaseName

if TYPE_CHECKING:  # importing TensorFlow is a phase that this room measures
    from mnist_bench.train import Scores, Trainer

_SAMPLE_STEPS = 100
"""Longest stretch of training without a word; about two seconds."""


class PhaseClock:
    """Wall-clock seconds of this process by phase.

    What no phase holds is `other`: the interpreter's start, waiting for the parent to open its
    store, writing files. The phases add up to the whole life of the process.

    Args:
        started_at: Unix time in seconds at which the process was started, as the parent saw it:
            the system's own note of it is a second coarse on Linux.
    """

    def __init__(self, started_at: float) -> None:
        self._started = time.perf_counter() - (time.time() - started_at)
        self._seconds: dict[PhaseName, float] = {}

    @contextmanager
    def phase(self, name: PhaseName) -> Iterator[None]:
        """Count what happens inside to the named phase."""
        start = time.perf_counter()
        try:
            yield
        finally:
            self._seconds[name] = self.seconds(name) + time.perf_counter() - start

    def seconds(self, name: PhaseName) -> float:
        """Seconds of one phase so far."""
        return self._seconds.get(name, 0.0)

    def so_far(self) -> dict[PhaseName, float]:
        """Seconds of every phase so far, `other` included."""
        other = time.perf_counter() - self._started - sum(self._seconds.values())
        return {**self._seconds, "other": max(0.0, other)}


@dataclass(frozen=True)
class PeakRss:
    """The high-water mark of a process's resident memory.

    Attributes:
        bytes: The mark; None where the system does not tell.
        method: Where it was read; marks of different methods do not compare.
    """

    bytes: int | None
    method: str | None


def peak_rss() -> PeakRss:
    """This process's own high-water mark, by the best method of its system.

    Linux: VmHWM of /proc/self/status. `ru_maxrss` would be wrong there: a child inherits its
    parent's. macOS: `ru_maxrss`, in bytes. Windows: `peak_wset`.
    """
    if sys.platform == "linux":
        for line in Path("/proc/self/status").read_text(encoding="ascii").splitlines():
            if line.startswith("VmHWM:"):
                return PeakRss(int(line.split()[1]) * 1024, "VmHWM")
    if sys.platform == "darwin":
        import resource

        return PeakRss(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss, "ru_maxrss")
    if sys.platform == "win32":
        return PeakRss(psutil.Process().memory_info().peak_wset, "peak_wset")
    return PeakRss(None, None)


@dataclass(frozen=True)
class RowFiles:
    """What is kept of a finished row.

    Attributes:
        steps: The row.
        final: Scores of the test images after its last update.
        selected: The same at its first grid step of highest validation accuracy.
    """

    steps: int
    final: Scores
    selected: Scores


class Trajectory:
    """Trains one trajectory and says what happens, timed.

    Args:
        trainer: A trainer at step 0.
        request: Rows and grid.
        clock: The process's clock.
        say: Takes each message as it comes.
        keep: Writes a finished row's files, before the row is said to have ended.
    """

    def __init__(
        self,
        trainer: Trainer,
        request: Request,
        clock: PhaseClock,
        say: Callable[[Message], None],
        keep: Callable[[RowFiles], None],
    ) -> None:
        self._trainer = trainer
        self._request = request
        self._clock = clock
        self._say = say
        self._keep = keep
        self._losses: list[np.float32] = []
        self._selected: Scores | None = None
        self._selected_validation_accuracy = -1.0

    def run(self) -> None:
        """Train to the end of the last row."""
        rows = self._request.rows
        stops = sorted({*self._request.grid.points(rows[-1]), *rows})
        for stop in stops:
            self._advance_to(stop)
            test = self._evaluate(stop)
            if stop in rows:
                self._end_row(stop, test)

    def _advance_to(self, stop: int) -> None:
        while self._trainer.step < stop:
            steps = min(_SAMPLE_STEPS, stop - self._trainer.step)
            with self._clock.phase("train"):
                losses = self._trainer.advance(steps)
            self._losses.extend(losses)
            self._say(Sample(step=self._trainer.step, train_seconds=self._clock.seconds("train")))

    def _evaluate(self, step: int) -> Scores:
        with self._clock.phase("evaluate"):
            validation = self._trainer.evaluate("validation")
            test = self._trainer.evaluate("test")
        loss = float(np.mean(self._losses, dtype=np.float64))
        evaluation = Evaluation(
            step=step,
            test_accuracy=test.accuracy,
            validation_accuracy=validation.accuracy,
            train_loss=loss if math.isfinite(loss) else None,
            train_seconds=self._clock.seconds("train"),
        )
        if step in self._request.grid:
            self._losses.clear()
            if validation.accuracy > self._selected_validation_accuracy:
                self._selected = test
                self._selected_validation_accuracy = validation.accuracy
        self._say(Scored(evaluation=evaluation))
        return test

    def _end_row(self, steps: int, final: Scores) -> None:
        self._keep(RowFiles(steps, final, self._selected or final))
        memory = peak_rss()
        self._say(
            RowEnd(
                steps=steps,
                seconds=self._clock.so_far(),
                peak_rss_bytes=memory.bytes,
                memory_method=memory.method,
            )
        )
