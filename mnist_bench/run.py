"""What of plans is left to train."""

from __future__ import annotations

from collections.abc import Sequence

from mnist_bench import machine, resume
from mnist_bench.archive import existing_store
from mnist_bench.layout import Plan
from mnist_bench.wish import Wish


def remaining(plans: Sequence[Plan], wish: Wish) -> tuple[Plan, ...]:
    """What of the plans would be trained, looked up without making a store."""
    opened = existing_store(wish.tracking_uri, wish.experiment) if wish.resume else None
    if opened is None:
        return tuple(plans)
    described = machine.describe()
    return tuple(
        resume.rest_of(plan, described, opened, spoilt_again=wish.spoilt_again).plan
        for plan in plans
    )
