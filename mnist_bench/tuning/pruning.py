"""Which trials are ended early: Optuna's pruner for what a study is after."""

from __future__ import annotations

from typing import TYPE_CHECKING

from mnist_bench.tuning.objective import Goal

if TYPE_CHECKING:
    from optuna.pruners import BasePruner

STARTUP_TRIALS = 5
"""So many finished trials come before one is pruned."""
_FIRST_PERCENT = 10
"""Of its way, at which a trial is compared for the first time. All of these figures were chosen by
measurement: benchmarks/tuning/pruners.md."""
_PERCENT_BETWEEN = 25
"""Of its way, between two comparisons: with one at each scoring a good trial is ended by the noise
of one of them."""


def compared_at(percent: int) -> int:
    """Under which percent a trial is compared that has come so far; 0 where it is too early.

    Trials are scored at percents of their own, and Optuna compares one with those that told it
    something at the very same.
    """
    if percent < _FIRST_PERCENT:
        return 0
    return percent - (percent - _FIRST_PERCENT) % _PERCENT_BETWEEN


def pruner_of(goal: Goal) -> BasePruner:
    """The median at 10, 35, 60 and 85 percent of the way; of a trade-off, none."""
    import optuna

    if not goal.prunes:
        return optuna.pruners.NopPruner()
    return optuna.pruners.MedianPruner(
        n_startup_trials=STARTUP_TRIALS,
        n_warmup_steps=_FIRST_PERCENT,
        interval_steps=_PERCENT_BETWEEN,
    )
