"""Learning curves and speed over the seeds of a training, as data for charts."""

from __future__ import annotations

import statistics
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from itertools import pairwise

from mnist_bench.results.run import Evaluation, RunResult


@dataclass(frozen=True)
class Band:
    """A curve over seeds: mean, minimum and maximum at each point.

    Attributes:
        x: Positions, ascending.
        mean: Mean over the seeds.
        low: Minimum over the seeds.
        high: Maximum over the seeds.
        n: Number of seeds.
    """

    x: tuple[float, ...]
    mean: tuple[float, ...]
    low: tuple[float, ...]
    high: tuple[float, ...]
    n: int


@dataclass(frozen=True)
class Curves:
    """The curves of replicates.

    Attributes:
        error_by_step: 1 - test accuracy, by step.
        error_by_seconds: 1 - test accuracy, by mean train seconds, without invalid trainings.
        speed_by_step: Training images per second, by step, without invalid trainings.
    """

    error_by_step: Band
    error_by_seconds: Band | None
    speed_by_step: Band | None


def curves_of(trainings: Sequence[RunResult]) -> Curves | None:
    """Curves over the steps that all trainings have; None if none was evaluated on test.

    Args:
        trainings: Same task and step count, each seed once.
    """
    scored = [
        t
        for t in trainings
        if any(evaluation.test_accuracy is not None for evaluation in t.candidates)
    ]
    errors = _band(scored, _error)
    if errors is None:
        return None
    timed = [training for training in scored if training.verdict != "invalid"]
    seconds = _band(
        timed,
        lambda evaluation: None if evaluation.test_accuracy is None else evaluation.train_seconds,
    )
    timed_errors = _band(timed, _error)
    return Curves(
        error_by_step=errors,
        error_by_seconds=(
            Band(seconds.mean, *_values(timed_errors), timed_errors.n)
            if seconds and timed_errors
            else None
        ),
        speed_by_step=_speeds(timed),
    )


def _error(evaluation: Evaluation) -> float | None:
    accuracy = evaluation.test_accuracy
    return None if accuracy is None else 1 - accuracy


def _values(band: Band) -> tuple[tuple[float, ...], tuple[float, ...], tuple[float, ...]]:
    return band.mean, band.low, band.high


def _band(
    trainings: Sequence[RunResult], value_of: Callable[[Evaluation], float | None]
) -> Band | None:
    """A value at the grid steps that all trainings have."""
    return _over_seeds(
        [
            {
                float(e.step): value
                for e in training.candidates
                if (value := value_of(e)) is not None
            }
            for training in trainings
        ]
    )


def _speeds(trainings: Sequence[RunResult]) -> Band | None:
    """Images per second between consecutive grid steps, placed at the later one."""
    return _over_seeds([dict(_speed_points(training)) for training in trainings])


def _speed_points(training: RunResult) -> Iterable[tuple[float, float]]:
    batch = training.hyperparameters.images_per_step
    for before, after in pairwise(training.candidates):
        seconds = after.train_seconds - before.train_seconds
        if seconds > 0:
            yield float(after.step), (after.step - before.step) * batch / seconds


def _over_seeds(points: Sequence[dict[float, float]]) -> Band | None:
    common = sorted(set.intersection(*map(set, points))) if points else []
    if not common:
        return None
    values = [[curve[x] for curve in points] for x in common]
    return Band(
        x=tuple(common),
        mean=tuple(statistics.fmean(column) for column in values),
        low=tuple(min(column) for column in values),
        high=tuple(max(column) for column in values),
        n=len(points),
    )
