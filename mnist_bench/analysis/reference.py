"""Compare Table I's rows with the shipped reference: accuracy and train time."""

from __future__ import annotations

import math
import statistics
from collections.abc import Sequence
from dataclasses import dataclass

from mnist_bench.analysis.costs import costs_of
from mnist_bench.analysis.statistics import LEVEL, satterthwaite, students_t, two_sided_p
from mnist_bench.measurement.conditions import known
from mnist_bench.results.document import Document, Row, Standing


def compare_with_reference(rows: Sequence[Row], reference: Document) -> tuple[Standing, ...]:
    """One line per row of Table I that both have.

    Args:
        rows: Rows of this machine; those not comparable with Table I are left out.
        reference: The shipped reference.
    """
    reference_rows = {row.steps: row for row in reference.table_1}
    comparable = [row for row in rows if _is_comparable(row) and row.steps in reference_rows]
    return tuple(
        line
        for row in comparable
        if (line := _compare_row(row, reference_rows[row.steps], reference))
    )


def _is_comparable(row: Row) -> bool:
    return row.verdict != "not comparable"


def _compare_row(row: Row, reference_row: Row, reference: Document) -> Standing | None:
    if row.mean is None or row.threads is None or reference_row.mean is None:
        return None
    run = next(run for run in reference.runs if run.steps == row.steps)
    has_same_settings = (row.precision, row.device) == (
        run.precision,
        run.device_name or run.device,
    )
    time = _TrainTime(row.timed_n or 0, row.train_seconds_mean, row.train_seconds_sd)
    reference_time = _reference_time(reference_row, reference)
    ratio = (
        time.mean / reference_time.mean
        if time.mean and reference_time.mean and has_same_settings
        else None
    )
    interval = _interval(ratio, time, reference_time) if ratio else None
    return Standing(
        scenario=row.scenario,
        steps=row.steps,
        n=row.n,
        reference_n=reference_row.n,
        accuracy_difference=row.mean - reference_row.mean,
        p_value=_p_value(row, reference_row),
        seconds_ratio=ratio,
        threads=row.threads,
        reference_threads=run.threads,
        reference_machine=reference.machine.name,
        seconds_ratio_low=interval[0] if interval else None,
        seconds_ratio_high=interval[1] if interval else None,
    )


@dataclass(frozen=True)
class _TrainTime:
    """Train seconds of a row.

    Attributes:
        n: Number of runs that are not invalid.
        mean: Mean train seconds.
        sd: Standard deviation; None if fewer than two values are known.
    """

    n: int
    mean: float | None
    sd: float | None

    @property
    def log_variance(self) -> float | None:
        """Variance of the mean's logarithm, to first order; None if unknown."""
        return (self.sd / self.mean) ** 2 / self.n if self.sd is not None and self.mean else None


def _reference_time(row: Row, reference: Document) -> _TrainTime:
    """Train time computed from the runs, since older reference rows have no standard deviation."""
    costs = costs_of([run for run in reference.runs if run.run_id in row.run_ids])
    return _TrainTime(costs.timed_n, costs.train_seconds_mean, costs.train_seconds_sd)


def _interval(
    ratio: float, time: _TrainTime, reference_time: _TrainTime
) -> tuple[float, float] | None:
    """Welch's interval of the log ratio, with Satterthwaite's degrees of freedom."""
    variance, reference_variance = time.log_variance, reference_time.log_variance
    if variance is None or reference_variance is None or not variance + reference_variance:
        return None
    error, df = satterthwaite((variance, time.n), (reference_variance, reference_time.n))
    margin = students_t(df, LEVEL) * error
    return ratio * math.exp(-margin), ratio * math.exp(margin)


def _p_value(row: Row, reference_row: Row) -> float | None:
    """Welch's test from means and standard deviations; one seed uses the reference's."""
    mean, sd, reference_mean, reference_sd = row.mean, row.sd, reference_row.mean, reference_row.sd
    if mean is None or reference_mean is None or reference_sd is None:
        return None
    n, reference_n = row.n, reference_row.n
    if sd is None:
        error, df = reference_sd * math.sqrt(1 / n + 1 / reference_n), reference_n - 1.0
    else:
        error, df = satterthwaite((sd**2 / n, n), (reference_sd**2 / reference_n, reference_n))
    return two_sided_p(mean - reference_mean, error, df)


def pooled_ratio(lines: Sequence[Standing]) -> float | None:
    """Train time relative to the reference: the geometric mean over rows."""
    ratios = [line.seconds_ratio for line in lines if line.seconds_ratio]
    return statistics.geometric_mean(ratios) if ratios else None


def pooled_interval(lines: Sequence[Standing]) -> tuple[float, float] | None:
    """Interval of `pooled_ratio`: the geometric means of the rows' interval ends.

    Rows come from the same trainings, so pooling them must not narrow the interval. None if a row
    with a ratio has no interval.
    """
    with_ratio = [line for line in lines if line.seconds_ratio]
    lows, highs = (
        known(getattr(line, end) for line in with_ratio)
        for end in ("seconds_ratio_low", "seconds_ratio_high")
    )
    if not with_ratio or len(lows) < len(with_ratio):
        return None
    return statistics.geometric_mean(lows), statistics.geometric_mean(highs)
