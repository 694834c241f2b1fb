"""Plans of trials, and their training."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace

from mnist_bench.core.errors import EXIT_FAILURE, EXIT_INTERRUPTED, EXIT_TERMINATED, BenchError
from mnist_bench.core.records import Record
from mnist_bench.data.dataset import Source
from mnist_bench.measurement.machine import Machine
from mnist_bench.runner import executor
from mnist_bench.runner.executor import Outcome, Watcher, never_pruned
from mnist_bench.runner.plan import TrainingPlan, make_plan
from mnist_bench.scenarios.execution import Execution
from mnist_bench.tracking.mlflow_store import MlflowStore
from mnist_bench.tracking.spool import Address
from mnist_bench.tuning.objective import Goal
from mnist_bench.tuning.space import Space, Value

ENDS = {
    EXIT_FAILURE: "something broke",
    EXIT_INTERRUPTED: "it was interrupted",
    EXIT_TERMINATED: "it was terminated",
}
"""Why a search ended early, by its exit status."""


class TrialContext(Record):
    """What all trials of a study have in common.

    Attributes:
        source: The images.
        address: Where runs are recorded.
        parent_run_id: MLflow's id of the study's run.
        exclusive: Whether other benchmarks of this user are locked out.
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
    """Why no more trials are trained.

    Attributes:
        exit_status: 0, or the status of an interruption or failure.
        error: What failed; None on success.
        in_words: The reason as text.
    """

    exit_status: int
    error: BenchError | None
    in_words: str


def plan_of(
    name: str, context: TrialContext, chosen: Mapping[str, Value], seed: int
) -> TrainingPlan:
    """Plan of one training of a configuration.

    Args:
        name: Of its scenario.
        chosen: Parameter values of the configuration.

    Raises:
        BenchError: A batch is larger than the training split.
    """
    plan = make_plan(
        name,
        context.space.scenario(chosen),
        context.source,
        seeds=range(seed, seed + 1),
        executions=[context.execution],
    )
    return replace(plan, train_seconds_limit=context.goal.train_seconds)


def train(
    context: TrialContext,
    store: MlflowStore,
    plan: TrainingPlan,
    watcher: Watcher,
    prune: Callable[[], str | None] = never_pruned,
    *,
    retry_seconds: float = 0.0,
) -> Outcome:
    """Train a plan in the context of a study.

    Args:
        prune: Returns why the training should end now, or None.
        retry_seconds: How long to retry a store that does not answer after the training.
    """
    return executor.execute(
        plan,
        context.machine,
        context.address,
        lambda: store,
        watcher,
        prune=prune,
        exclusive=context.exclusive,
        opens_store=False,
        retry_seconds=retry_seconds,
    )
