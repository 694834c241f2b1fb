"""What is recorded already, so that only the rest is trained."""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence
from dataclasses import dataclass

from mnist_bench.measurement.machine import Machine
from mnist_bench.results.run import RunResult
from mnist_bench.runner.plan import TrainingPlan, planned_runs
from mnist_bench.tracking.mlflow_reader import MlflowReader

_SAME = (
    *("scenario", "model", "hyperparameters", "dataset_digest", "eval_first", "eval_every"),
    *("threads", "precision", "device", "device_name", "machine_id"),
    *("seed", "training_seed", "steps"),
)
"""Two runs that agree in these answer the same question in the same way."""


@dataclass(frozen=True)
class Remaining:
    """What is left of a plan.

    Attributes:
        plan: The plan without the rows that are recorded.
        earlier: Those, by seed, threads and steps.
    """

    plan: TrainingPlan
    earlier: tuple[RunResult, ...] = ()

    def joined(self, results: Sequence[RunResult]) -> tuple[RunResult, ...]:
        """All runs of the plan that was asked for, by seed, threads and steps."""
        runs = (*self.earlier, *results)
        return tuple(sorted(runs, key=lambda run: (run.seed, run.threads, run.steps)))


def remaining_of(
    plan: TrainingPlan, machine: Machine, store: MlflowReader, *, spoilt_again: bool = False
) -> Remaining:
    """What is left of a plan: a row is there when a finished run in the store answers it.

    Args:
        plan: The plan.
        machine: This one.
        store: Where runs are recorded.
        spoilt_again: Whether a run that the machine spoilt is as good as none.
    """
    recorded = {
        _key(run): run
        for run in _oldest_first(plan, store)
        if not (spoilt_again and run.verdict == "invalid")
    }
    earlier: list[RunResult] = []
    trajectories = []
    for trajectory in plan.trajectories:
        planned = planned_runs(plan, trajectory, machine)
        found = [recorded.get(_key(run)) for run in planned]
        earlier += [run for run in found if run]
        missing = [run.steps for run, there in zip(planned, found, strict=True) if not there]
        if missing:
            trajectories.append(dataclasses.replace(trajectory, rows=tuple(missing)))
    return Remaining(dataclasses.replace(plan, trajectories=tuple(trajectories)), tuple(earlier))


def _oldest_first(plan: TrainingPlan, store: MlflowReader) -> Sequence[RunResult]:
    """So that of two runs of a row the newest is taken."""
    return store.load_finished(plan.name, plan.source.digest)[::-1]


def _key(run: RunResult) -> tuple[object, ...]:
    return tuple(getattr(run, name) for name in _SAME)
