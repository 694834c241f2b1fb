"""Which trials are ended early: Optuna's pruner for what a study is after."""

from __future__ import annotations

from typing import TYPE_CHECKING

from mnist_bench.objective import Goal

if TYPE_CHECKING:
    from optuna.pruners import BasePruner

STARTUP_TRIALS = 10
"""So many finished trials come before one is pruned."""
PERCENT_BETWEEN = 25
"""Of its way, between two comparisons of a trial: with a comparison at each scoring a good one is
ended by the noise of one of them."""


def pruner_of(goal: Goal) -> BasePruner:
    """The median at a quarter, the half and three quarters of the way; of a trade-off, none.

    Optuna compares a trial with those that told it something at the very same percent.
    """
    import optuna

    if not goal.prunes:
        return optuna.pruners.NopPruner()
    return optuna.pruners.MedianPruner(
        n_startup_trials=STARTUP_TRIALS,
        n_warmup_steps=PERCENT_BETWEEN,
        interval_steps=PERCENT_BETWEEN,
    )
