"""The look at the test split: candidate and paper trained on fresh seeds, by turns."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Mapping
from contextlib import AbstractContextManager
from dataclasses import dataclass

import numpy as np

from mnist_bench.core.errors import EXIT_BROKE
from mnist_bench.data import mnist
from mnist_bench.results.run import RunResult
from mnist_bench.runner.executor import Outcome, Watcher
from mnist_bench.runner.plan import TrainingPlan
from mnist_bench.tracking.mlflow_store import MlflowStore
from mnist_bench.tuning.confirmation_stats import (
    McNemar,
    confirmation_of,
    exact_mcnemar,
    median_run,
)
from mnist_bench.tuning.document import TestEvaluation
from mnist_bench.tuning.space import Value
from mnist_bench.tuning.trial_plan import TrialContext, plan_of, train

_FIRST_SEED = 1_000_000
"""Trials have their numbers for seeds; those of a look begin far above."""
_SEEDS_A_LOOK = 10_000


@dataclass(frozen=True)
class ConfirmationPlan:
    """What was settled before the look.

    Attributes:
        number: Of the look.
        trial: Number of the candidate's trial.
        chosen: The candidate.
        validation_accuracy: What the search saw of it.
        search_seconds: What the search took.
        seeds: On how many it is looked at.
    """

    number: int
    trial: int
    chosen: Mapping[str, Value]
    validation_accuracy: float
    search_seconds: float
    seeds: int

    @property
    def fresh_seeds(self) -> range:
        """Seeds that no trial and no other look of the study has."""
        first = _FIRST_SEED + (self.number - 1) * _SEEDS_A_LOOK
        return range(first, first + self.seeds)


def evaluate_on_test(
    study: str,
    question: TrialContext,
    store: MlflowStore,
    settled: ConfirmationPlan,
    watch: Callable[[TrainingPlan], AbstractContextManager[Watcher]],
) -> tuple[TestEvaluation, Outcome]:
    """Train both on fresh seeds, and compare them on the test split.

    Args:
        study: Its name.
        question: What the trials have in common.
        store: Open.
        settled: What was settled before.
        watch: Gives somebody who is told how a training goes.

    Returns:
        The look, and how its last training went.
    """
    look = TestEvaluation(
        number=settled.number, candidate=settled.trial, first_seed=settled.fresh_seeds[0]
    )
    runs: list[RunResult] = []
    outcome = Outcome(())
    for plan in _plans(study, question, settled):
        with watch(plan) as watcher:
            outcome = train(question, store, plan, watcher)
        runs += outcome.results
        if outcome.exit_status or any(run.status != "finished" for run in outcome.results):
            status = outcome.exit_status or EXIT_BROKE
            return look, dataclasses.replace(outcome, exit_status=status)
    proof = confirmation_of(
        runs[::2],
        runs[1::2],
        validation_accuracy=settled.validation_accuracy,
        search_seconds=settled.search_seconds,
        mcnemar=_mcnemar(question, store, median_run(runs[::2]), median_run(runs[1::2])),
        target_accuracy=question.goal.aim,
    )
    return look.model_copy(update={"proof": proof}), outcome


def _plans(study: str, question: TrialContext, settled: ConfirmationPlan) -> list[TrainingPlan]:
    """A training a plan, candidate and paper by turns, so that a slower hour slows both."""
    papers = question.space.of_the_paper()
    both = ((f"{study}-winner", settled.chosen), (f"{study}-paper", papers))
    return [
        plan_of(name, question, chosen, seed)
        for seed in settled.fresh_seeds
        for name, chosen in both
    ]


def _mcnemar(
    question: TrialContext, store: MlflowStore, candidate: RunResult, paper: RunResult
) -> McNemar | None:
    """Of two runs; None where one of them kept no predictions."""
    ours, theirs = (store.load_predictions(run) for run in (candidate, paper))
    if ours is None or theirs is None:
        return None
    labels = mnist.load(question.source).test_images.labels
    right, their_right = ours.label == labels, theirs.label == labels
    return exact_mcnemar(
        int(np.count_nonzero(right & ~their_right)), int(np.count_nonzero(their_right & ~right))
    )
