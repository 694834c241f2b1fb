"""Which trials are ended early: Optuna's pruner for what a study is after."""

from __future__ import annotations

from typing import TYPE_CHECKING

from mnist_bench.objective import Goal

if TYPE_CHECKING:
    from optuna.pruners import BasePruner

STARTUP_TRIALS = 10
"""So many finished trials come before one is pruned."""
_PERCENT_BETWEEN = 25
"""Of its way, between two comparisons of a trial: with a comparison at each scoring a good one is
ended by the noise of one of them."""


def compared_at(percent: int) -> int:
    """Under which percent a trial is compared that has come so far; 0 where it is too early.

    Trials are scored at percents of their own, and Optuna compares one with those that told it
    something at the very same.
    """
    return percent // _PERCENT_BETWEEN * _PERCENT_BETWEEN


def pruner_of(goal: Goal) -> BasePruner:
    """The median at a quarter, the half and three quarters of the way; of a trade-off, none."""
    import optuna

    if not goal.prunes:
        return optuna.pruners.NopPruner()
    return optuna.pruners.MedianPruner(
        n_startup_trials=STARTUP_TRIALS,
        n_warmup_steps=_PERCENT_BETWEEN,
        interval_steps=_PERCENT_BETWEEN,
    )
