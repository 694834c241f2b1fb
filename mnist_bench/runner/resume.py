"""What is recorded of plans already, so that only the rest is trained."""

from __future__ import annotations

import dataclasses
from collections.abc import Collection, Sequence
from dataclasses import dataclass

from mnist_bench.measurement import machine as this_machine
from mnist_bench.measurement.machine import Machine
from mnist_bench.measurement.quality import Verdict
from mnist_bench.results.run import RunResult
from mnist_bench.runner.options import RunOptions
from mnist_bench.runner.plan import TrainingPlan, planned_runs
from mnist_bench.tracking import recovery
from mnist_bench.tracking.mlflow_store import MlflowStore
from mnist_bench.tracking.spool import Address

_SAME = (
    *("scenario", "model", "hyperparameters", "dataset_digest", "eval_first", "eval_every"),
    *("threads", "precision", "device", "device_name", "environment", "machine_id"),
    *("seed", "training_seed", "steps"),
)
"""Two runs with the same values of these fields are replicates of the same training."""
_OF_MACHINE = frozenset({"threads", "device_name", "machine_id"})
"""Those that depend on the machine."""


@dataclass(frozen=True)
class Remaining:
    """The part of a plan that is not recorded yet.

    Attributes:
        earlier: The recorded runs, by seed, threads and steps.
    """

    plan: TrainingPlan
    earlier: tuple[RunResult, ...] = ()

    def joined(self, results: Sequence[RunResult]) -> tuple[RunResult, ...]:
        """All runs of the complete plan, by seed, threads and steps."""
        runs = (*self.earlier, *results)
        return tuple(sorted(runs, key=lambda run: (run.seed, run.threads, run.steps)))


def remaining_of(
    plan: TrainingPlan,
    machine: Machine,
    store: MlflowStore,
    *,
    waiting: Sequence[RunResult] = (),
    repeated_verdicts: Collection[Verdict] = (),
    any_machine: bool = False,
) -> Remaining:
    """Find the step counts of a complete plan for which the store has no finished run.

    Args:
        machine: This machine; runs of other machines don't count.
        waiting: Finished runs that are not uploaded to it yet.
        repeated_verdicts: Runs of these verdicts count as missing.
        any_machine: Whether runs of other machines count too.
    """
    # Thread counts that the scenario compares are no property of the machine.
    ignored = _OF_MACHINE if any_machine else frozenset()
    if len(plan.executions) > 1:
        ignored -= {"threads"}
    same = [name for name in _SAME if name not in ignored]

    def key(run: RunResult) -> tuple[object, ...]:
        return tuple(getattr(run, name) for name in same)

    recorded = {
        key(run): run
        # Oldest first, so that the newest of several replaces the others.
        for run in (*store.load_finished(plan.name, plan.source.digest)[::-1], *waiting)
        if run.verdict not in repeated_verdicts
    }
    earlier: list[RunResult] = []
    jobs = []
    for job in plan.jobs:
        planned = planned_runs(plan, job, machine)
        found = [recorded.get(key(run)) for run in planned]
        earlier += [run for run in found if run]
        missing = [run.steps for run, match in zip(planned, found, strict=True) if not match]
        if missing:
            jobs.append(dataclasses.replace(job, step_counts=tuple(missing)))
    return Remaining(dataclasses.replace(plan, jobs=tuple(jobs)), tuple(earlier))


def remaining_in(
    store: MlflowStore, plans: Sequence[TrainingPlan], options: RunOptions
) -> list[Remaining]:
    """What `--resume` finds not recorded, in the store and in the spools here."""
    described = this_machine.describe()
    address = Address.of(options.tracking_uri, options.experiment)
    waiting = recovery.finished_in_spools(address)
    return [
        remaining_of(
            plan,
            described,
            store,
            waiting=waiting,
            repeated_verdicts=options.repeated_verdicts,
            any_machine=options.is_remote,
        )
        for plan in plans
    ]


def remaining_plans(plans: Sequence[TrainingPlan], options: RunOptions) -> tuple[TrainingPlan, ...]:
    """The plans without the runs that `--resume` finds recorded; creates no store."""
    if options.resume:
        store = MlflowStore.open_existing(options.tracking_uri, options.experiment)
        if store:
            return tuple(remaining.plan for remaining in remaining_in(store, plans, options))
    return tuple(plans)
