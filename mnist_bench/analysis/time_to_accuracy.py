"""Time to accuracy, and its two factors: number of steps, and seconds per step."""

from __future__ import annotations

from collections.abc import Sequence

from mnist_bench.analysis.costs import trusted
from mnist_bench.analysis.statistics import mean_and_sd
from mnist_bench.results.document import Reach
from mnist_bench.results.run import RunResult


def times_to_accuracy(
    scenario: str, trainings: Sequence[RunResult], accuracies: Sequence[float]
) -> tuple[Reach, ...]:
    """One line per accuracy, ascending.

    Args:
        scenario: Name of the scenario.
        trainings: Replicates with the same execution settings.
        accuracies: Test accuracies to reach.
    """
    evaluated = [training for training in trainings if training.best is not None]
    ascending = sorted(accuracies)
    return (
        tuple(_line(scenario, evaluated, accuracy) for accuracy in ascending) if evaluated else ()
    )


def _line(scenario: str, trainings: Sequence[RunResult], accuracy: float) -> Reach:
    reached = [
        (training, evaluation)
        for training in trainings
        if (evaluation := training.first_reaching("test", accuracy))
    ]
    trusted_ids = {id(training) for training in trusted(training for training, _ in reached)}
    timed = [evaluation for training, evaluation in reached if id(training) in trusted_ids]
    seconds, steps = sum(each.train_seconds for each in timed), sum(each.step for each in timed)
    steps_mean, steps_sd = mean_and_sd([float(evaluation.step) for _, evaluation in reached])
    _, seconds_sd = mean_and_sd([each.train_seconds for each in timed])
    return Reach(
        scenario=scenario,
        accuracy=accuracy,
        n=len(trainings),
        reached=len(reached),
        steps_mean=steps_mean,
        seconds_a_step_mean=seconds / steps if steps else None,
        seconds_mean=seconds / len(timed) if timed else None,
        steps_sd=steps_sd,
        timed_n=len(timed),
        seconds_sd=seconds_sd,
    )
