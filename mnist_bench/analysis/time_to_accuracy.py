"""How long until an accuracy is reached, in two factors: updates, and seconds an update. Pure."""

from __future__ import annotations

from collections.abc import Sequence

from mnist_bench.analysis.costs import mean_and_sd
from mnist_bench.results.document import Reach
from mnist_bench.results.run import RunResult


def times_to_accuracy(
    scenario: str, trainings: Sequence[RunResult], accuracies: Sequence[float]
) -> tuple[Reach, ...]:
    """A line an accuracy, rising.

    Args:
        scenario: Its name.
        trainings: Draws of one quantity, carried out in one way.
        accuracies: On test.
    """
    scored = [training for training in trainings if training.best is not None]
    rising = sorted(accuracies)
    return tuple(_reach(scenario, scored, accuracy) for accuracy in rising) if scored else ()


def _reach(scenario: str, trainings: Sequence[RunResult], accuracy: float) -> Reach:
    there = [(t, step) for t in trainings if (step := _first_step(t, accuracy)) is not None]
    timed = [
        (seconds, step)
        for training, step in there
        if training.verdict != "invalid"
        and (seconds := training.seconds_to_accuracy("test", accuracy)) is not None
    ]
    seconds, steps = sum(each for each, _ in timed), sum(step for _, step in timed)
    steps_mean, steps_sd = mean_and_sd([float(step) for _, step in there])
    _, seconds_sd = mean_and_sd([each for each, _ in timed])
    return Reach(
        scenario=scenario,
        accuracy=accuracy,
        n=len(trainings),
        reached=len(there),
        steps_mean=steps_mean,
        seconds_a_step_mean=seconds / steps if steps else None,
        seconds_mean=seconds / len(timed) if timed else None,
        steps_sd=steps_sd,
        timed_n=len(timed),
        seconds_sd=seconds_sd,
    )


def _first_step(training: RunResult, accuracy: float) -> int | None:
    return next((e.step for e in training.candidates if (e.test_accuracy or 0.0) >= accuracy), None)
