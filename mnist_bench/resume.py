"""What is recorded already, so that only the rest is trained."""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence
from dataclasses import dataclass

from mnist_bench.harness import Plan
from mnist_bench.machine import Machine
from mnist_bench.recording import planned_run
from mnist_bench.result import RunResult
from mnist_bench.store import Store

_SAME = (
    *("scenario", "model", "hyperparameters", "dataset_digest", "eval_first", "eval_every"),
    *("threads", "precision", "device", "machine_id", "seed", "training_seed", "steps"),
)
"""Two runs that agree in these answer the same question in the same way."""


@dataclass(frozen=True)
class Rest:
    """What is left of a plan.

    Attributes:
        plan: The plan without the rows that are recorded.
        earlier: Those, by seed and steps.
    """

    plan: Plan
    earlier: tuple[RunResult, ...] = ()

    def joined(self, results: Sequence[RunResult]) -> tuple[RunResult, ...]:
        """All runs of the plan that was asked for, by seed and steps."""
        return tuple(sorted((*self.earlier, *results), key=lambda run: (run.seed, run.steps)))


def rest_of(plan: Plan, machine: Machine, store: Store) -> Rest:
    """What is left of a plan: a row is there when a finished run in the store answers it."""
    recorded = {_key(run): run for run in _oldest_first(plan, store)}
    earlier: list[RunResult] = []
    trajectories = []
    for trajectory in plan.trajectories:
        missing = []
        for steps in trajectory.rows:
            planned = planned_run(
                name=plan.name,
                scenario=plan.scenario,
                source=plan.source,
                machine=machine,
                threads=plan.threads,
                steps=steps,
                seed=trajectory.seed,
                training_seed=trajectory.training_seed,
                trajectory=trajectory.id,
            )
            found = recorded.get(_key(planned))
            if found:
                earlier.append(found)
            else:
                missing.append(steps)
        if missing:
            trajectories.append(dataclasses.replace(trajectory, rows=tuple(missing)))
    return Rest(dataclasses.replace(plan, trajectories=tuple(trajectories)), tuple(earlier))


def _oldest_first(plan: Plan, store: Store) -> Sequence[RunResult]:
    """So that of two runs of a row the newest is taken."""
    return store.load_finished(plan.name, plan.source.digest)[::-1]


def _key(run: RunResult) -> tuple[object, ...]:
    return tuple(getattr(run, name) for name in _SAME)
