"""Learning curves and speed over the seeds of a training, as data for charts."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

import pandas as pd

from mnist_bench.analysis.costs import trusted
from mnist_bench.analysis.frames import evaluations_frame
from mnist_bench.results.run import RunResult


@dataclass(frozen=True)
class Band:
    """A curve over n seeds: mean, minimum and maximum at each x, ascending."""

    x: tuple[float, ...]
    mean: tuple[float, ...]
    low: tuple[float, ...]
    high: tuple[float, ...]
    n: int


@dataclass(frozen=True)
class Curves:
    """The curves of replicates.

    Attributes:
        error_by_step: 1 - test accuracy, by step.
        error_by_seconds: 1 - test accuracy, by mean train seconds, without disturbed trainings.
        speed_by_step: Training images per second, by step, without disturbed trainings.
    """

    error_by_step: Band
    error_by_seconds: Band | None
    speed_by_step: Band | None


def curves_of(trainings: Sequence[RunResult]) -> Curves | None:
    """Curves over the steps that all trainings have; None if none was evaluated on test.

    Args:
        trainings: Same task and step count, each seed once.
    """
    grid = evaluations_frame(trainings).query("on_grid")
    grid = grid.assign(error=1 - grid.test_accuracy)
    scored = grid.run_id[grid.error.notna()]
    timed = [training.run_id for training in trusted(trainings)]
    grid = grid[grid.run_id.isin(scored)]
    timed_grid = grid[grid.run_id.isin(timed)]
    errors = _band(grid, "error")
    if errors is None:
        return None
    timed_errors = _band(timed_grid, "error")
    seconds = _band(timed_grid[timed_grid.error.notna()], "train_seconds")
    before = timed_grid.groupby("run_id")[["step", "train_seconds"]].diff()
    speed = before.step * trainings[0].hyperparameters.images_per_step / before.train_seconds
    speeds = timed_grid.assign(speed=speed)[before.train_seconds > 0]
    return Curves(
        error_by_step=errors,
        error_by_seconds=(
            replace(timed_errors, x=seconds.mean) if seconds and timed_errors else None
        ),
        speed_by_step=_band(speeds, "speed", n=timed_grid.run_id.nunique()),
    )


def accuracy_by_step(evaluations: pd.DataFrame) -> pd.DataFrame:
    """Accuracies over the seeds of a training, at the grid steps that all of them have.

    Args:
        evaluations: Of `frames.evaluations_frame`: same task and step count, each seed once.

    Returns:
        A row per step: `step`, `n` (seeds), mean, minimum and maximum test accuracy, and mean
        validation accuracy.
    """
    tested = evaluations[evaluations.on_grid & evaluations.test_accuracy.notna()]
    curve = tested.groupby("step", as_index=False).agg(
        n=("run_id", "nunique"),
        test_accuracy_mean=("test_accuracy", "mean"),
        test_accuracy_min=("test_accuracy", "min"),
        test_accuracy_max=("test_accuracy", "max"),
        validation_accuracy_mean=("validation_accuracy", "mean"),
    )
    return curve[curve.n == tested.run_id.nunique()].reset_index(drop=True)


def _band(points: pd.DataFrame, value: str, n: int | None = None) -> Band | None:
    """A column over seeds, at the steps at which all n of them have a value; None without any."""
    n = points.run_id.nunique() if n is None else n
    by_step = points.groupby("step")[value].agg(["count", "mean", "min", "max"])
    common = by_step[by_step["count"] == n].astype(float)
    if common.empty:
        return None
    x = tuple(map(float, common.index))
    return Band(x, tuple(common["mean"]), tuple(common["min"]), tuple(common["max"]), n)
