"""Pruning: Optuna's pruner for a goal, and when trials are compared."""

from __future__ import annotations

from typing import TYPE_CHECKING

from mnist_bench.tuning.objective import Goal

if TYPE_CHECKING:
    from optuna.pruners import BasePruner

STARTUP_TRIALS = 5
"""Finished trials before any trial is pruned."""
_FIRST_PERCENT = 10
"""Progress at which a trial is compared first. These numbers were chosen by measurement:
benchmarks/tuning/pruners.md."""
_PERCENT_BETWEEN = 25
"""Progress between two comparisons. If each evaluation were compared, noise in a single one would
prune good trials."""


def compared_at(percent: int) -> int:
    """Checkpoint, in percent, at which a trial with this progress is compared; 0 if too early.

    Trials are evaluated at different percentages, but Optuna only compares trials that reported a
    value at the same one.
    """
    if percent < _FIRST_PERCENT:
        return 0
    return percent - (percent - _FIRST_PERCENT) % _PERCENT_BETWEEN


def pruner_of(goal: Goal) -> BasePruner:
    """Median pruner at 10, 35, 60 and 85 percent; no pruning for `pareto`."""
    import optuna

    if not goal.prunes:
        return optuna.pruners.NopPruner()
    return optuna.pruners.MedianPruner(
        n_startup_trials=STARTUP_TRIALS,
        n_warmup_steps=_FIRST_PERCENT,
        interval_steps=_PERCENT_BETWEEN,
    )
