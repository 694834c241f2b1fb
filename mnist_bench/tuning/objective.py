"""Goals of a study: objective, constraints, and the values of a run under them."""

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
"""Constraint that the target accuracy is reached."""
_UNKNOWN_PEAK_BYTES = 1e30
"""In place of an unknown peak: more than any machine has."""
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
    """Objective and constraints of a study. Only validation is used.

    Attributes:
        objective: `accuracy`, after the trial's last step or within its seconds;
            `time-to-accuracy`, train seconds until the grid first reaches the target; or
            `pareto`: accuracy, train seconds and peak memory.
        train_seconds: Budget of a trial; None if only its steps end it.
        max_memory_bytes: Constraint: peak memory of a trial.
        max_seconds: Constraint: train seconds of a trial.
    """

    objective: Objective
    target_accuracy: float | None = None
    train_seconds: float | None = None
    max_memory_bytes: int | None = None
    max_seconds: float | None = None

    @property
    def names(self) -> tuple[str, ...]:
        """Name of each value."""
        return tuple(name for name, _ in _NAMES[self.objective])

    @property
    def directions(self) -> tuple[Direction, ...]:
        """Direction of each value."""
        return tuple(direction for _, direction in _NAMES[self.objective])

    @property
    def prunes(self) -> bool:
        """Whether trials may be pruned: several values have no order to prune by."""
        return self.objective != "pareto"

    def check(self) -> None:
        """Check that the goal is complete.

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
        """Whether values depend on how fast the machine is."""
        limits = (self.train_seconds, self.max_seconds)
        return self.objective != "accuracy" or limits != (None, None)

    def check_machine_kind(self, study: str, started_on: str, here: str) -> None:
        """Check that times of different kinds of machines are not compared.

        Raises:
            BenchError: The study compares times, and the kinds of the machine that started it and
                of this one differ.
        """
        if self.compares_times and started_on != here:
            raise BenchError(
                f"the study {study} compares times and was started on {started_on}: times of this "
                f"machine, {here}, are not comparable",
                "use machines of that kind, or an objective that compares accuracy only",
            )

    def counted(self, run: RunResult) -> Evaluation:
        """Evaluation that counts: the last one within the trial's budget, else the first.

        Raises:
            ValueError: The run has no evaluation.
        """
        if not run.evaluations:
            raise ValueError("the run has no evaluation")
        budget = math.inf if self.train_seconds is None else self.train_seconds
        within = [e for e in run.evaluations if e.train_seconds <= budget]
        return within[-1] if within else run.evaluations[0]

    def values(self, run: RunResult) -> tuple[float, ...]:
        """Values of a finished run.

        If the target is not reached within the budget, the value is all train seconds of the run,
        and the target constraint is violated.
        """
        counted = self.counted(run)
        if self.objective == "pareto":
            return (counted.validation_accuracy, counted.train_seconds, _peak(run))
        if self.aim is None:
            return (counted.validation_accuracy,)
        reached = run.seconds_to_accuracy("validation", self.aim)
        if reached is None or reached > counted.train_seconds:
            return (run.evaluations[-1].train_seconds,)
        return (reached,)

    def constraints(self, run: RunResult) -> dict[str, float]:
        """Violation of each constraint; 0 or less means it is met."""
        counted = self.counted(run)
        violations: dict[str, float] = {}
        if self.max_memory_bytes is not None:
            violations["max memory"] = _peak(run) - self.max_memory_bytes
        if self.max_seconds is not None:
            violations["max seconds"] = counted.train_seconds - self.max_seconds
        if self.aim is not None:
            within = [e for e in run.evaluations if e.step <= counted.step]
            violations[TARGET] = self.aim - max(e.validation_accuracy for e in within)
        return violations

    def is_too_late(self, evaluation: Evaluation) -> bool:
        """Whether a trial has exceeded `max_seconds` at this evaluation."""
        return self.max_seconds is not None and evaluation.train_seconds > self.max_seconds

    def is_reached(self, evaluation: Evaluation) -> bool:
        """Whether a trial has reached the target at this evaluation, which fixes its value."""
        return self.aim is not None and evaluation.validation_accuracy >= self.aim

    def percent(self, evaluation: Evaluation, steps: int) -> int:
        """Progress of a trial in percent of its steps, or of its budget if that is larger."""
        percent = 100 * evaluation.step // steps
        if self.train_seconds is None:
            return percent
        return max(percent, int(100 * evaluation.train_seconds / self.train_seconds))

    def texts(self, values: Sequence[float]) -> list[str]:
        """Formatted values."""
        return [_text(name, value) for name, value in zip(self.names, values, strict=True)]

    def in_words(self, values: Sequence[float]) -> str:
        """Formatted values with their names."""
        pairs = zip(self.names, self.texts(values), strict=True)
        return ", ".join(f"{name} {text}" for name, text in pairs)

    def progress(self, evaluation: Evaluation) -> float:
        """Intermediate value for the pruner, in the objective's direction."""
        accuracy = evaluation.validation_accuracy
        return accuracy if self.objective == "accuracy" else 1 - accuracy

    @property
    def aim(self) -> float | None:
        """Target accuracy of `time-to-accuracy`; None for other objectives."""
        return self.target_accuracy if self.objective == "time-to-accuracy" else None


def _peak(run: RunResult) -> float:
    return _UNKNOWN_PEAK_BYTES if run.peak_rss_bytes is None else float(run.peak_rss_bytes)


def _text(name: str, value: float) -> str:
    if "seconds" in name:
        return formatting.duration(value)
    if "RSS" not in name:
        return formatting.accuracy(value)
    return formatting.mebibytes(int(value) if value < _UNKNOWN_PEAK_BYTES else None)
