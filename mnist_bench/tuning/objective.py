"""What a study is after, and what a trial's run is worth to it; pure."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Literal

from mnist_bench.core import formatting
from mnist_bench.core.errors import BenchError
from mnist_bench.core.limits import Objective
from mnist_bench.core.records import Record
from mnist_bench.results.run import Evaluation, RunResult

Direction = Literal["maximize", "minimize"]

TARGET = "target accuracy"
"""Name of the constraint that a target is reached."""
_UNKNOWN_PEAK_BYTES = 1e30
"""Stands for a peak that the system does not tell: more than any machine has."""
_NAMES: dict[Objective, tuple[tuple[str, Direction], ...]] = {
    "accuracy": (("validation accuracy", "maximize"),),
    "time-to-accuracy": (("train seconds to the target", "minimize"),),
    "pareto": (
        ("validation accuracy", "maximize"),
        ("train seconds", "minimize"),
        ("peak RSS", "minimize"),
    ),
}


class Goal(Record):
    """What a study is after. It sees validation alone.

    Attributes:
        objective: `accuracy`, after the trial's last step or within its seconds;
            `time-to-accuracy`, training seconds until the grid first reaches the target; or
            `pareto`, the trade-off of accuracy, training seconds and peak memory.
        target_accuracy: Of `time-to-accuracy`.
        train_seconds: Training seconds that a trial has; None where only its steps end it.
        max_memory_bytes: Peak memory above which a trial is no answer.
        max_seconds: Training seconds above which it is none.
    """

    objective: Objective
    target_accuracy: float | None = None
    train_seconds: float | None = None
    max_memory_bytes: int | None = None
    max_seconds: float | None = None

    @property
    def names(self) -> tuple[str, ...]:
        """What is weighed, one name a value."""
        return tuple(name for name, _ in _NAMES[self.objective])

    @property
    def directions(self) -> tuple[Direction, ...]:
        """Which way each value is better."""
        return tuple(direction for _, direction in _NAMES[self.objective])

    @property
    def prunes(self) -> bool:
        """Whether a trial may be ended early: a trade-off has no order to do it by."""
        return self.objective != "pareto"

    def check(self) -> None:
        """Refuse a goal that misses something.

        Raises:
            BenchError: `time-to-accuracy` has no target.
        """
        if self.objective == "time-to-accuracy" and self.target_accuracy is None:
            raise BenchError(
                "--objective time-to-accuracy: the search space names no target_accuracy",
                "add it to the space file, like target_accuracy = 0.99",
            )

    @property
    def compares_times(self) -> bool:
        """Whether a trial's worth depends on how fast its machine is."""
        limits = (self.train_seconds, self.max_seconds)
        return self.objective != "accuracy" or limits != (None, None)

    def check_kinds(self, study: str, begun_on: str, here: str) -> None:
        """Refuse to compare times of unlike machines.

        Args:
            study: Its name.
            begun_on: What the machine that began it is made of.
            here: What this one is.

        Raises:
            BenchError: Times are compared, and the machines are unlike.
        """
        if self.compares_times and begun_on != here:
            raise BenchError(
                f"the study {study} compares times, and was begun on {begun_on}: times of another "
                f"machine, {here}, tell nothing there",
                "work on a study of accuracy alone, or on a machine of that kind",
            )

    def counted(self, run: RunResult) -> Evaluation:
        """The scoring that counts: the last one within the trial's seconds, else the first.

        Raises:
            ValueError: The run was never scored.
        """
        if not run.evaluations:
            raise ValueError("the run was never scored")
        budget = math.inf if self.train_seconds is None else self.train_seconds
        within = [e for e in run.evaluations if e.train_seconds <= budget]
        return within[-1] if within else run.evaluations[0]

    def values(self, run: RunResult) -> tuple[float, ...]:
        """What a finished run is worth.

        A target that was not reached in the trial's seconds counts with all seconds of the run,
        and as a constraint that was not kept.
        """
        counted = self.counted(run)
        if self.objective == "accuracy":
            return (counted.validation_accuracy,)
        if self.objective == "time-to-accuracy":
            reached = run.seconds_to_accuracy("validation", self._target)
            if reached is None or reached > counted.train_seconds:
                return (run.evaluations[-1].train_seconds,)
            return (reached,)
        return (counted.validation_accuracy, counted.train_seconds, _peak(run))

    def constraints(self, run: RunResult) -> dict[str, float]:
        """By how much each constraint is missed; kept where it is 0 or less."""
        counted = self.counted(run)
        missed: dict[str, float] = {}
        if self.max_memory_bytes is not None:
            missed["max memory"] = _peak(run) - self.max_memory_bytes
        if self.max_seconds is not None:
            missed["max seconds"] = counted.train_seconds - self.max_seconds
        if self.objective == "time-to-accuracy":
            within = [e for e in run.evaluations if e.step <= counted.step]
            missed[TARGET] = self._target - max(e.validation_accuracy for e in within)
        return missed

    def is_too_late(self, evaluation: Evaluation) -> bool:
        """Whether a trial that got so far has trained for too long to be an answer."""
        return self.max_seconds is not None and evaluation.train_seconds > self.max_seconds

    def is_reached(self, evaluation: Evaluation) -> bool:
        """Whether a trial has its value at this scoring, and only has to come to its end."""
        return self.aim is not None and evaluation.validation_accuracy >= self.aim

    def percent(self, evaluation: Evaluation, steps: int) -> int:
        """How far a trial of so many steps has come: by these, or by its seconds if they end it."""
        percent = 100 * evaluation.step // steps
        if self.train_seconds is None:
            return percent
        return max(percent, int(100 * evaluation.train_seconds / self.train_seconds))

    def texts(self, values: Sequence[float]) -> list[str]:
        """Each value for people."""
        return [_text(name, value) for name, value in zip(self.names, values, strict=True)]

    def in_words(self, values: Sequence[float]) -> str:
        """Each value under its name."""
        pairs = zip(self.names, self.texts(values), strict=True)
        return ", ".join(f"{name} {text}" for name, text in pairs)

    def progress(self, evaluation: Evaluation) -> float:
        """By what a trial that goes on is compared with others, in the objective's direction."""
        accuracy = evaluation.validation_accuracy
        return accuracy if self.objective == "accuracy" else 1 - accuracy

    @property
    def aim(self) -> float | None:
        """The accuracy that is to be reached fast; None where that is not the question."""
        return self.target_accuracy if self.objective == "time-to-accuracy" else None

    @property
    def _target(self) -> float:
        if self.target_accuracy is None:
            raise ValueError("the goal has no target")
        return self.target_accuracy


def _peak(run: RunResult) -> float:
    return _UNKNOWN_PEAK_BYTES if run.peak_rss_bytes is None else float(run.peak_rss_bytes)


def _text(name: str, value: float) -> str:
    if "seconds" in name:
        return formatting.duration(value)
    if "RSS" not in name:
        return formatting.accuracy(value)
    return formatting.mebibytes(int(value) if value < _UNKNOWN_PEAK_BYTES else None)
