"""What of plans is left to train."""

from __future__ import annotations

from collections.abc import Sequence

from mnist_bench.measurement import machine
from mnist_bench.runner import resume
from mnist_bench.runner.options import RunOptions
from mnist_bench.runner.plan import TrainingPlan
from mnist_bench.tracking.mlflow_reader import existing_store


def remaining_plans(plans: Sequence[TrainingPlan], wish: RunOptions) -> tuple[TrainingPlan, ...]:
    """What of the plans would be trained, looked up without making a store."""
    opened = existing_store(wish.tracking_uri, wish.experiment) if wish.resume else None
    if opened is None:
        return tuple(plans)
    described = machine.describe()
    return tuple(
        resume.remaining_of(plan, described, opened, spoilt_again=wish.spoilt_again).plan
        for plan in plans
    )
