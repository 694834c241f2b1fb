"""Plans without what is recorded already."""

from __future__ import annotations

from collections.abc import Sequence

from mnist_bench.measurement import machine
from mnist_bench.runner import resume
from mnist_bench.runner.options import RunOptions
from mnist_bench.runner.plan import TrainingPlan
from mnist_bench.tracking import recovery
from mnist_bench.tracking.mlflow_store import MlflowStore
from mnist_bench.tracking.spool import Address


def remaining_plans(plans: Sequence[TrainingPlan], options: RunOptions) -> tuple[TrainingPlan, ...]:
    """The plans without the runs that `--resume` finds recorded; creates no store."""
    store = (
        MlflowStore.open_existing(options.tracking_uri, options.experiment)
        if options.resume
        else None
    )
    if store is None:
        return tuple(plans)
    described = machine.describe()
    address = Address.of(options.tracking_uri, options.experiment)
    return tuple(
        resume.remaining_of(
            plan,
            described,
            store,
            waiting=recovery.finished_in_spools(address),
            repeat_invalid=options.repeat_invalid,
            any_machine=options.is_remote,
        ).plan
        for plan in plans
    )
