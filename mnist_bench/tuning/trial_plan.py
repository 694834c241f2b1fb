"""Trials: what all of a study's have in common, and how one is laid out and trained."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace

from mnist_bench.core.errors import EXIT_BROKE, EXIT_INTERRUPTED, EXIT_TERMINATED, BenchError
from mnist_bench.core.records import Record
from mnist_bench.data.dataset import Source
from mnist_bench.measurement.machine import Machine
from mnist_bench.runner import executor
from mnist_bench.runner import plan as layout
from mnist_bench.runner.executor import Outcome, Watcher, never_pruned
from mnist_bench.runner.plan import TrainingPlan
from mnist_bench.scenarios.execution import Execution
from mnist_bench.tracking.mlflow_store import MlflowStore
from mnist_bench.tracking.spool import Address
from mnist_bench.tuning.objective import Goal
from mnist_bench.tuning.space import Space, Value

ENDS = {
    EXIT_BROKE: "something broke",
    EXIT_INTERRUPTED: "it was interrupted",
    EXIT_TERMINATED: "it was terminated",
}
"""Why a search ended early, by its exit status."""


class TrialContext(Record):
    """What all trials of a study have in common.

    Attributes:
        space: What may be tried.
        goal: What it is after.
        source: The images.
        execution: How each is carried out.
        machine: The described machine.
        address: Where the runs are recorded.
        parent_run_id: MLflow's id of the study's own run.
        exclusive: Whether the suite kept other benchmarks of this user away.
    """

    space: Space
    goal: Goal
    source: Source
    execution: Execution
    machine: Machine
    address: Address
    parent_run_id: str
    exclusive: bool


@dataclass(frozen=True)
class TrialsEnd:
    """Why the last trial was the last.

    Attributes:
        exit_status: 0, or that of an interruption or a fault.
        error: What broke; None where nothing did.
        in_words: For people.
    """

    exit_status: int
    error: BenchError | None
    in_words: str


def plan_of(
    name: str, question: TrialContext, chosen: Mapping[str, Value], seed: int
) -> TrainingPlan:
    """One training of a configuration.

    Args:
        name: Of its scenario.
        question: What the trials have in common.
        chosen: The configuration.
        seed: Of the training.

    Raises:
        BenchError: A batch is larger than the training split.
    """
    plan = layout.make_plan(
        name,
        question.space.scenario(chosen),
        question.source,
        seeds=range(seed, seed + 1),
        executions=[question.execution],
    )
    return replace(plan, train_seconds_limit=question.goal.train_seconds)


def train(
    question: TrialContext,
    store: MlflowStore,
    plan: TrainingPlan,
    watcher: Watcher,
    prune: Callable[[], str | None] = never_pruned,
    *,
    patience_seconds: float = 0.0,
) -> Outcome:
    """Train a plan as all of a study's are.

    Args:
        question: What the trials have in common.
        store: Open.
        plan: What to train.
        watcher: Told how it goes.
        prune: Asked whether it should end right now, and why.
        patience_seconds: For so long at the end a store that refuses is asked again.
    """
    return executor.execute(
        plan,
        question.machine,
        question.address,
        lambda: store,
        watcher,
        prune=prune,
        exclusive=question.exclusive,
        opens_store=False,
        patience_seconds=patience_seconds,
    )
