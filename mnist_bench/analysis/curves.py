"""What is drawn of trainings: curves over their seeds. Pure."""

from __future__ import annotations

import statistics
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from itertools import pairwise

from mnist_bench.results.run import Evaluation, RunResult


@dataclass(frozen=True)
class Band:
    """A curve over seeds: their mean, and how far they lie apart.

    Attributes:
        x: Where each point lies, rising.
        mean: Over the seeds.
        low: The smallest of them.
        high: The largest of them.
        n: Seeds.
    """

    x: tuple[float, ...]
    mean: tuple[float, ...]
    low: tuple[float, ...]
    high: tuple[float, ...]
    n: int


@dataclass(frozen=True)
class Curves:
    """The curves of trainings that are draws of one quantity.

    Attributes:
        error_by_step: 1 - test accuracy, by updates done.
        error_by_seconds: The same by mean seconds inside training; of those that were timed.
        speed_by_step: Training images a second, by updates done; of those that were timed.
    """

    error_by_step: Band
    error_by_seconds: Band | None
    speed_by_step: Band | None


def curves_of(trainings: Sequence[RunResult]) -> Curves | None:
    """The curves of trainings, as far as all of them got; None where none was scored on test.

    Args:
        trainings: Of one question and one step count, a seed once.
    """
    scored = [t for t in trainings if any(e.test_accuracy is not None for e in t.candidates)]
    errors = _band(scored, _error)
    if errors is None:
        return None
    timed = [training for training in scored if training.verdict != "invalid"]
    seconds = _band(timed, lambda e: None if e.test_accuracy is None else e.train_seconds)
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
    trainings: Sequence[RunResult], figure: Callable[[Evaluation], float | None]
) -> Band | None:
    """A figure at the grid steps that all trainings have."""
    return _over_seeds(
        [
            {float(e.step): value for e in t.candidates if (value := figure(e)) is not None}
            for t in trainings
        ]
    )


def _speeds(trainings: Sequence[RunResult]) -> Band | None:
    """Images a second between two grid steps, at the later of them."""
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
    values = [[each[x] for each in points] for x in common]
    return Band(
        x=tuple(common),
        mean=tuple(statistics.fmean(of) for of in values),
        low=tuple(min(of) for of in values),
        high=tuple(max(of) for of in values),
        n=len(points),
    )
