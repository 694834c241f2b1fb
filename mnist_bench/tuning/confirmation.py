"""Confirmation on the test split: candidate and paper trained alternately on fresh seeds."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping

import numpy as np

from mnist_bench.core import signals
from mnist_bench.core.errors import EXIT_FAILURE
from mnist_bench.data import mnist
from mnist_bench.results.run import RunResult
from mnist_bench.runner.executor import Outcome, Stop, never_pruned
from mnist_bench.tuning.confirmation_stats import (
    McNemar,
    confirmation_of,
    exact_mcnemar,
    median_run,
)
from mnist_bench.tuning.document import EvaluationOnTest
from mnist_bench.tuning.search import Search
from mnist_bench.tuning.space import Value

_FIRST_SEED = 1_000_000
"""Confirmation seeds start here: far above trial numbers, which are the seeds of trials."""
_SEEDS_PER_EVALUATION = 10_000


def first_seed(number: int) -> int:
    """First of the seeds that no trial and no other evaluation of a study uses.

    Args:
        number: Of the evaluation on the test split, from 1 on.
    """
    return _FIRST_SEED + (number - 1) * _SEEDS_PER_EVALUATION


def evaluate_on_test(
    search: Search,
    evaluation: EvaluationOnTest,
    chosen: Mapping[str, Value],
    *,
    seeds: int,
    validation_accuracy: float,
    search_seconds: float,
    save_weights: bool = False,
) -> tuple[EvaluationOnTest, Outcome, RunResult | None]:
    """Train both configurations on fresh seeds and compare them on the test split.

    Args:
        evaluation: Its number, candidate and first seed.
        chosen: Parameter values of the candidate.
        seeds: How many seeds each configuration is trained on.
        validation_accuracy: Of the candidate in the search.
        search_seconds: Wall-clock seconds of the search.
        save_weights: Whether to save the candidate's.

    Returns:
        The evaluation, the outcome of its last training, and the candidate's run of median
        accuracy; None if the trainings did not finish.
    """
    context = search.context
    configurations = (("winner", chosen), ("paper", context.space.paper_values()))
    runs: list[RunResult] = []
    outcome = Outcome(())
    stop = Stop()
    # They alternate, so that a slow hour affects both.
    for seed in range(evaluation.first_seed, evaluation.first_seed + seeds):
        for name, values in configurations:
            plan = context.plan(f"{search.study.name}-{name}", values, seed)
            if save_weights and name == "winner":
                scenario = plan.scenario.model_copy(update={"save_weights": True})
                plan = dataclasses.replace(plan, scenario=scenario)
            with signals.on_interrupt(stop), search.watch(plan) as watcher:
                outcome = search.train(plan, watcher, never_pruned, stop)
            runs += outcome.results
            if outcome.exit_status or any(run.status != "finished" for run in outcome.results):
                status = outcome.exit_status or EXIT_FAILURE
                return evaluation, dataclasses.replace(outcome, exit_status=status), None
    candidate, paper = runs[::2], runs[1::2]
    winner = median_run(candidate)
    confirmation = confirmation_of(
        candidate,
        paper,
        validation_accuracy=validation_accuracy,
        search_seconds=search_seconds,
        mcnemar=_mcnemar(search, winner, median_run(paper)),
        target_accuracy=context.goal.aim,
    )
    return evaluation.model_copy(update={"proof": confirmation}), outcome, winner


def _mcnemar(search: Search, candidate: RunResult, paper: RunResult) -> McNemar | None:
    """McNemar's test of two runs; None if predictions of one are missing."""
    labels = mnist.load(search.context.source).test_images.labels
    right = []
    for run in (candidate, paper):
        predictions = search.store.load_predictions(run)
        if predictions is None:
            return None
        right.append(predictions.label == labels)
    return exact_mcnemar(
        int(np.count_nonzero(right[0] & ~right[1])), int(np.count_nonzero(right[1] & ~right[0]))
    )
