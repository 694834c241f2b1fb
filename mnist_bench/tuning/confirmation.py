"""Confirmation on the test split: candidate and paper trained alternately on fresh seeds."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np

from mnist_bench.core import signals
from mnist_bench.core.errors import EXIT_FAILURE
from mnist_bench.data import mnist
from mnist_bench.results.run import RunResult
from mnist_bench.runner.executor import Outcome, Stop, never_pruned
from mnist_bench.runner.plan import TrainingPlan
from mnist_bench.tracking.mlflow_store import MlflowStore
from mnist_bench.tuning.confirmation_stats import (
    McNemar,
    confirmation_of,
    exact_mcnemar,
    median_run,
)
from mnist_bench.tuning.document import EvaluationOnTest
from mnist_bench.tuning.search import Search, TrialContext
from mnist_bench.tuning.space import Value

_FIRST_SEED = 1_000_000
"""Confirmation seeds start here: far above trial numbers, which are the seeds of trials."""
_SEEDS_PER_EVALUATION = 10_000


@dataclass(frozen=True)
class ConfirmationPlan:
    """What a confirmation trains, fixed before it starts.

    Attributes:
        number: Of the evaluation on the test split, from 1 on.
        trial: Number of the candidate's trial.
        chosen: Parameter values of the candidate.
        validation_accuracy: Of the candidate in the search.
        search_seconds: Wall-clock seconds of the search.
        seeds: How many seeds each configuration is trained on.
    """

    number: int
    trial: int
    chosen: Mapping[str, Value]
    validation_accuracy: float
    search_seconds: float
    seeds: int

    @property
    def fresh_seeds(self) -> range:
        """Seeds that no trial and no other confirmation of the study uses."""
        first = _FIRST_SEED + (self.number - 1) * _SEEDS_PER_EVALUATION
        return range(first, first + self.seeds)


def evaluate_on_test(
    search: Search, plan_of_confirmation: ConfirmationPlan
) -> tuple[EvaluationOnTest, Outcome]:
    """Train both configurations on fresh seeds and compare them on the test split.

    Returns:
        The evaluation, and the outcome of its last training.
    """
    evaluation = EvaluationOnTest(
        number=plan_of_confirmation.number,
        candidate=plan_of_confirmation.trial,
        first_seed=plan_of_confirmation.fresh_seeds[0],
    )
    context, store = search.context, search.store
    runs: list[RunResult] = []
    outcome = Outcome(())
    stop = Stop()
    for plan in _plans(search.study.name, context, plan_of_confirmation):
        with signals.on_interrupt(stop), search.watch(plan) as watcher:
            outcome = search.train(plan, watcher, never_pruned, stop)
        runs += outcome.results
        if outcome.exit_status or any(run.status != "finished" for run in outcome.results):
            status = outcome.exit_status or EXIT_FAILURE
            return evaluation, dataclasses.replace(outcome, exit_status=status)
    confirmation = confirmation_of(
        runs[::2],
        runs[1::2],
        validation_accuracy=plan_of_confirmation.validation_accuracy,
        search_seconds=plan_of_confirmation.search_seconds,
        mcnemar=_mcnemar(context, store, median_run(runs[::2]), median_run(runs[1::2])),
        target_accuracy=context.goal.aim,
    )
    return evaluation.model_copy(update={"proof": confirmation}), outcome


def _plans(
    study: str, context: TrialContext, plan_of_confirmation: ConfirmationPlan
) -> list[TrainingPlan]:
    """One plan per training; candidate and paper alternate, so that a slow hour affects both."""
    paper = context.space.paper_values()
    configurations = ((f"{study}-winner", plan_of_confirmation.chosen), (f"{study}-paper", paper))
    return [
        context.plan(name, chosen, seed)
        for seed in plan_of_confirmation.fresh_seeds
        for name, chosen in configurations
    ]


def _mcnemar(
    context: TrialContext, store: MlflowStore, candidate: RunResult, paper: RunResult
) -> McNemar | None:
    """McNemar's test of two runs; None if predictions of one are missing."""
    candidate_predictions, paper_predictions = (
        store.load_predictions(run) for run in (candidate, paper)
    )
    if candidate_predictions is None or paper_predictions is None:
        return None
    labels = mnist.load(context.source).test_images.labels
    candidate_right, paper_right = (
        candidate_predictions.label == labels,
        paper_predictions.label == labels,
    )
    return exact_mcnemar(
        int(np.count_nonzero(candidate_right & ~paper_right)),
        int(np.count_nonzero(paper_right & ~candidate_right)),
    )
