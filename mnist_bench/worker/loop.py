"""Clock, memory and the machine's conditions around a trainer."""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Protocol

import numpy as np
import numpy.typing as npt

from mnist_bench.measurement.conditions import Surroundings, TrainingStretch, between
from mnist_bench.measurement.memory import PeakRss, peak_rss, reset_peak_rss, rss_bytes
from mnist_bench.measurement.system import Sensors
from mnist_bench.results.protocol import (
    CalibrationMessage,
    EvaluationMessage,
    Message,
    Request,
    SampleMessage,
    StepCountDone,
)
from mnist_bench.results.run import Evaluation, PhaseName, Split
from mnist_bench.worker.scores import Scores

_SAMPLE_STEPS = 50
"""Longest stretch of training without a word; about a second."""
_SURROUNDINGS_SECONDS = 5.0
"""What changes slowly is looked at this often."""


class PhaseMeter:
    """Wall-clock seconds and peak memory of this process by phase.

    What no phase holds is `other`: the interpreter's start, waiting for the parent to open its
    store, calibration, writing files. The phases add up to the whole life of the process.

    Args:
        started_at: Unix time in seconds at which the process was started, as the parent saw it:
            the system's own note of it is a second coarse on Linux.
        phase_peaks: Whether the memory's mark is reset at each phase, where that is possible.
    """

    def __init__(self, started_at: float, *, phase_peaks: bool = True) -> None:
        self._started = time.perf_counter() - (time.time() - started_at)
        self._seconds: dict[PhaseName, float] = {}
        self._peaks: dict[PhaseName, int] = {}
        self._highest = 0
        self._resets = phase_peaks
        self._mark("other")

    @contextmanager
    def phase(self, name: PhaseName) -> Iterator[None]:
        """Count what happens inside to the named phase."""
        self._mark("other")
        start = time.perf_counter()
        try:
            yield
        finally:
            self._seconds[name] = self.seconds(name) + time.perf_counter() - start
            self._mark(name)

    def seconds(self, name: PhaseName) -> float:
        """Seconds of one phase so far."""
        return self._seconds.get(name, 0.0)

    def so_far(self) -> dict[PhaseName, float]:
        """Seconds of every phase so far, `other` included."""
        other = time.perf_counter() - self._started - sum(self._seconds.values())
        return {**self._seconds, "other": max(0.0, other)}

    def peak(self) -> PeakRss:
        """The process's own high-water mark so far, of all phases."""
        self._mark("other")
        now = peak_rss()
        if self._resets and now.bytes is not None:
            # A page may have come since the mark: what is the process's is some phase's too.
            self._peaks["other"] = max(self._peaks.get("other", 0), now.bytes)
        return PeakRss(None if now.bytes is None else max(self._highest, now.bytes), now.method)

    def forget_peak(self) -> None:
        """Let what was held since the last look at the memory not count, where that is possible."""
        if self._resets:
            reset_peak_rss()

    def phase_peaks(self) -> dict[PhaseName, int]:
        """The high-water mark of each phase so far; empty where marks can't be reset."""
        return dict(self._peaks) if self._resets else {}

    def _mark(self, ended: PhaseName) -> None:
        """Read the mark that a phase leaves, and reset it for the next."""
        if not self._resets:
            return
        mark = peak_rss().bytes
        if mark is not None:
            self._highest = max(self._highest, mark)
            self._peaks[ended] = max(self._peaks.get(ended, 0), mark)
        self._resets = mark is not None and reset_peak_rss()


class Training(Protocol):
    """One training from step 0, of whatever model."""

    @property
    def step(self) -> int:
        """Updates done."""

    def advance(self, steps: int) -> npt.NDArray[np.float32]:
        """Do `steps` updates and wait for them: the loss of each, NaN where there is none."""

    def evaluate(self, split: Split) -> Scores:
        """Score every image of a split."""

    def weights(self) -> dict[str, npt.NDArray[np.float32]]:
        """All that scoring uses, by name."""


@dataclass(frozen=True)
class StepCountFiles:
    """What is kept of a finished row.

    Attributes:
        steps: The row.
        final: Scores of the test images after its last update.
        selected: The same at its first grid step of highest validation accuracy.
    """

    steps: int
    final: Scores
    selected: Scores


@dataclass(frozen=True)
class Instruments:
    """What looks at the process and its machine.

    Attributes:
        meter: The process's clock and memory.
        sensors: The machine's.
        calibrate: Does a fixed piece of work and tells its seconds.
    """

    meter: PhaseMeter
    sensors: Sensors
    calibrate: Callable[[], float]

    def calibrated(self, step: int) -> CalibrationMessage:
        """Time the fixed piece of work and look at the machine, after so many steps."""
        seconds = self.calibrate()
        return CalibrationMessage(
            step=step, seconds=seconds, surroundings=self.sensors.surroundings()
        )


class TrainingLoop:
    """Trains one trajectory and says what happens, timed.

    Args:
        trainer: A trainer at step 0.
        request: Rows and grid.
        instruments: What looks at the process and its machine.
        say: Takes each message as it comes.
        keep: Writes a finished row's files, before the row is said to have ended.
    """

    def __init__(
        self,
        trainer: Training,
        request: Request,
        instruments: Instruments,
        say: Callable[[Message], None],
        keep: Callable[[StepCountFiles], None],
    ) -> None:
        self._trainer = trainer
        self._request = request
        self._meter = instruments.meter
        self._instruments = instruments
        self._sensors = instruments.sensors
        self._looked_at = time.perf_counter()
        self._say = say
        self._keep = keep
        self._losses: list[np.float32] = []
        self._selected: Scores | None = None
        self._selected_validation_accuracy = -1.0

    def run(self) -> None:
        """Train to the end of the last row, or of the training seconds."""
        rows = self._request.rows
        stops = sorted({*self._request.grid.points(rows[-1]), *rows})
        for stop in stops:
            self._advance_to(stop)
            test = self._evaluate(stop)
            if stop in rows:
                self._end_row(stop, test)
            elif self._is_out_of_time:
                self._end_row(rows[-1], test)
                return

    @property
    def _is_out_of_time(self) -> bool:
        limit = self._request.train_seconds_limit
        return limit is not None and self._meter.seconds("train") >= limit

    def _advance_to(self, stop: int) -> None:
        counters = self._sensors.counters()
        while self._trainer.step < stop:
            steps = min(_SAMPLE_STEPS, stop - self._trainer.step)
            before = self._meter.seconds("train")
            with self._meter.phase("train"):
                losses = self._trainer.advance(steps)
            self._losses.extend(losses)
            start, counters = counters, self._sensors.counters()
            stretch = TrainingStretch(
                step=self._trainer.step,
                steps=steps,
                train_seconds=self._meter.seconds("train") - before,
                rss_bytes=rss_bytes(),
                seen=between(start, counters),
            )
            self._say(
                SampleMessage(
                    train_seconds=self._meter.seconds("train"),
                    stretch=stretch,
                    surroundings=self._surroundings(),
                )
            )

    def _surroundings(self) -> Surroundings | None:
        """What changes slowly, if it was not looked at for some time."""
        now = time.perf_counter()
        if now - self._looked_at < _SURROUNDINGS_SECONDS:
            return None
        self._looked_at = now
        return self._sensors.surroundings()

    def _evaluate(self, step: int) -> Scores | None:
        """Score the network, and say so; the test images' scores where they may be looked at."""
        with self._meter.phase("evaluate"):
            validation = self._trainer.evaluate("validation")
            test = self._trainer.evaluate("test") if self._request.with_test else None
        loss = float(np.mean(self._losses, dtype=np.float64))
        evaluation = Evaluation(
            step=step,
            test_accuracy=None if test is None else test.accuracy,
            validation_accuracy=validation.accuracy,
            train_loss=loss if math.isfinite(loss) else None,
            train_seconds=self._meter.seconds("train"),
        )
        if step in self._request.grid:
            self._losses.clear()
            if validation.accuracy > self._selected_validation_accuracy:
                self._selected = test
                self._selected_validation_accuracy = validation.accuracy
        self._say(EvaluationMessage(evaluation=evaluation))
        return test

    def _end_row(self, steps: int, final: Scores | None) -> None:
        if final is not None:
            self._keep(StepCountFiles(steps, final, self._selected or final))
        memory, phase_peaks = self._meter.peak(), self._meter.phase_peaks()
        self._say(self._instruments.calibrated(steps))
        self._meter.forget_peak()  # the calibration's matrices are none of the training's
        self._say(
            StepCountDone(
                steps=steps,
                seconds=self._meter.so_far(),
                peak_rss_bytes=memory.bytes,
                memory_method=memory.method,
                phase_peak_rss_bytes=phase_peaks,
            )
        )
