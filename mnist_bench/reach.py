"""How long until an accuracy is reached, in two factors: updates, and seconds an update. Pure."""

from __future__ import annotations

import statistics
from collections.abc import Sequence

from mnist_bench.record import Record
from mnist_bench.result import RunResult


class Reach(Record):
    """One accuracy on test; what is not known is None.

    Attributes:
        accuracy: Looked for on the evaluation grid.
        n: Trainings that were looked at.
        reached: Those of them that got there.
        steps_mean: Updates done at the first grid step that did, over those that got there: how
            the training goes, on any machine.
        seconds_a_step_mean: Training seconds an update until then, of those that got there and
            were not spoilt: how fast the machine is. Where none of those that got there was spoilt,
            updates times this is `seconds_mean`.
        seconds_mean: Training seconds until then, of the same.
    """

    accuracy: float
    n: int
    reached: int
    steps_mean: float | None
    seconds_a_step_mean: float | None
    seconds_mean: float | None


def reaches(trainings: Sequence[RunResult], accuracies: Sequence[float]) -> tuple[Reach, ...]:
    """A line an accuracy, rising.

    Args:
        trainings: Draws of one quantity, carried out in one way.
        accuracies: On test.
    """
    scored = [training for training in trainings if training.best is not None]
    return tuple(_reach(scored, accuracy) for accuracy in sorted(accuracies)) if scored else ()


def _reach(trainings: Sequence[RunResult], accuracy: float) -> Reach:
    there = [(t, step) for t in trainings if (step := _first_step(t, accuracy)) is not None]
    timed = [
        (seconds, step)
        for training, step in there
        if training.verdict != "invalid"
        and (seconds := training.seconds_to_accuracy("test", accuracy)) is not None
    ]
    seconds, steps = sum(each for each, _ in timed), sum(step for _, step in timed)
    return Reach(
        accuracy=accuracy,
        n=len(trainings),
        reached=len(there),
        steps_mean=statistics.fmean(step for _, step in there) if there else None,
        seconds_a_step_mean=seconds / steps if steps else None,
        seconds_mean=seconds / len(timed) if timed else None,
    )


def _first_step(training: RunResult, accuracy: float) -> int | None:
    return next((e.step for e in training.candidates if (e.test_accuracy or 0.0) >= accuracy), None)
