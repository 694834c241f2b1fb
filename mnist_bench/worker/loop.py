"""Training loop: trains, evaluates, and measures time, memory and the machine's state."""

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
"""Longest stretch of training between two messages; about a second."""
_SURROUNDINGS_SECONDS = 5.0
"""Interval at which slowly changing machine state is read."""


class PhaseMeter:
    """Wall-clock seconds and peak memory of this process by phase.

    Time outside of any phase is `other`: the interpreter's start, waiting for the parent to open
    its store, calibration, writing files. The phases add up to the life of the process.

    Args:
        started_at: Unix time in seconds at which the parent started the process; Linux records it
            only to a second.
        phase_peaks: Whether to reset the peak memory at each phase, if the system allows it.
    """

    def __init__(self, started_at: float, *, phase_peaks: bool = True) -> None:
        self._started = time.perf_counter() - (time.time() - started_at)
        self._seconds: dict[PhaseName, float] = {}
        self._peaks: dict[PhaseName, int] = {}
        self._highest = 0
        self._resets = phase_peaks
        self._end_phase("other")

    @contextmanager
    def phase(self, name: PhaseName) -> Iterator[None]:
        """Count the time and memory of a `with` block to the named phase."""
        self._end_phase("other")
        start = time.perf_counter()
        try:
            yield
        finally:
            self._seconds[name] = self.seconds(name) + time.perf_counter() - start
            self._end_phase(name)

    def seconds(self, name: PhaseName) -> float:
        """Seconds of a phase so far."""
        return self._seconds.get(name, 0.0)

    def seconds_by_phase(self) -> dict[PhaseName, float]:
        """Seconds of every phase so far, including `other`."""
        other = time.perf_counter() - self._started - sum(self._seconds.values())
        return {**self._seconds, "other": max(0.0, other)}

    def peak(self) -> PeakRss:
        """The peak memory of the process so far, over all phases."""
        self._end_phase("other")
        now = peak_rss()
        if self._resets and now.bytes is not None:
            # The process may have grown since the reset: its peak must be the peak of some phase.
            self._peaks["other"] = max(self._peaks.get("other", 0), now.bytes)
        return PeakRss(None if now.bytes is None else max(self._highest, now.bytes), now.method)

    def reset_peak(self) -> None:
        """Discard the peak since the last reading, if the system allows it."""
        if self._resets:
            reset_peak_rss()

    def phase_peaks(self) -> dict[PhaseName, int]:
        """The peak memory of each phase so far; empty if the system can't reset it."""
        return dict(self._peaks) if self._resets else {}

    def _end_phase(self, ended: PhaseName) -> None:
        """Record the peak memory of a phase, and reset it for the next."""
        if not self._resets:
            return
        peak = peak_rss().bytes
        if peak is not None:
            self._highest = max(self._highest, peak)
            self._peaks[ended] = max(self._peaks.get(ended, 0), peak)
        self._resets = peak is not None and reset_peak_rss()


class Training(Protocol):
    """A training of any model."""

    @property
    def step(self) -> int:
        """Updates done."""

    def advance(self, steps: int) -> npt.NDArray[np.float32]:
        """Do `steps` updates and return the loss of each; NaN for methods without a loss."""

    def evaluate(self, split: Split) -> Scores:
        """Score every image of a split."""

    def weights(self) -> dict[str, npt.NDArray[np.float32]]:
        """The weights used for scoring, by name."""


@dataclass(frozen=True)
class StepCountFiles:
    """What is written to files at the end of a step count: scores of the test images.

    Attributes:
        final: After the last update.
        selected: At the first grid step of highest validation accuracy.
    """

    steps: int
    final: Scores
    selected: Scores


@dataclass(frozen=True)
class Instruments:
    """Measuring devices of the process and its machine; `calibrate` times a fixed computation."""

    meter: PhaseMeter
    sensors: Sensors
    calibrate: Callable[[], float]

    def calibration_message(self, step: int) -> CalibrationMessage:
        """Time the fixed computation and read the machine's state, after `step` updates."""
        # In this order: the computation affects the processor's clock.
        seconds, surroundings = self.calibrate(), self.sensors.surroundings()
        return CalibrationMessage(step=step, seconds=seconds, surroundings=surroundings)


class TrainingLoop:
    """Runs one training job, from step 0, and sends a message for each event.

    The files of a step count are written before its end is sent.
    """

    def __init__(
        self,
        training: Training,
        request: Request,
        instruments: Instruments,
        send: Callable[[Message], None],
        write_files: Callable[[StepCountFiles], None],
    ) -> None:
        self._training = training
        self._request = request
        self._meter = instruments.meter
        self._instruments = instruments
        self._sensors = instruments.sensors
        self._surroundings_read_at = time.perf_counter()
        self._send = send
        self._write_files = write_files
        self._losses: list[np.float32] = []
        self._selected: Scores | None = None
        self._selected_validation_accuracy = -1.0

    def run(self) -> None:
        """Train to the last step count, or until the limit of training seconds."""
        step_counts = self._request.step_counts
        stops = sorted({*self._request.grid.points(step_counts[-1]), *step_counts})
        for stop in stops:
            self._advance_to(stop)
            test = self._evaluate(stop)
            if stop in step_counts:
                self._end_step_count(stop, test)
            elif self._is_out_of_time:
                self._end_step_count(step_counts[-1], test)
                return

    @property
    def _is_out_of_time(self) -> bool:
        limit = self._request.train_seconds_limit
        return limit is not None and self._meter.seconds("train") >= limit

    def _advance_to(self, stop: int) -> None:
        counters = self._sensors.counters()
        while self._training.step < stop:
            steps = min(_SAMPLE_STEPS, stop - self._training.step)
            before = self._meter.seconds("train")
            with self._meter.phase("train"):
                losses = self._training.advance(steps)
            self._losses.extend(losses)
            start, counters = counters, self._sensors.counters()
            stretch = TrainingStretch(
                step=self._training.step,
                steps=steps,
                train_seconds=self._meter.seconds("train") - before,
                rss_bytes=rss_bytes(),
                seen=between(start, counters),
            )
            self._send(
                SampleMessage(
                    train_seconds=self._meter.seconds("train"),
                    stretch=stretch,
                    surroundings=self._surroundings(),
                )
            )

    def _surroundings(self) -> Surroundings | None:
        """The slowly changing machine state; None if it was read recently."""
        now = time.perf_counter()
        if now - self._surroundings_read_at < _SURROUNDINGS_SECONDS:
            return None
        self._surroundings_read_at = now
        return self._sensors.surroundings()

    def _evaluate(self, step: int) -> Scores | None:
        """Evaluate and send the result; return the test scores, None without the test split."""
        with self._meter.phase("evaluate"):
            validation = self._training.evaluate("validation")
            test = self._training.evaluate("test") if self._request.with_test else None
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
        self._send(EvaluationMessage(evaluation=evaluation))
        return test

    def _end_step_count(self, steps: int, final: Scores | None) -> None:
        if final is not None:
            self._write_files(StepCountFiles(steps, final, self._selected or final))
        memory, phase_peaks = self._meter.peak(), self._meter.phase_peaks()
        self._send(self._instruments.calibration_message(steps))
        self._meter.reset_peak()  # excludes the calibration's matrices
        self._send(
            StepCountDone(
                steps=steps,
                seconds=self._meter.seconds_by_phase(),
                peak_rss_bytes=memory.bytes,
                memory_method=memory.method,
                phase_peak_rss_bytes=phase_peaks,
            )
        )
