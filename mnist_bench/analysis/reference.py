"""Compare Table I's rows with the shipped reference: accuracy and train time."""

from __future__ import annotations

import math
import statistics
from collections.abc import Sequence

from mnist_bench.analysis.costs import Costs, costs_of
from mnist_bench.analysis.statistics import LEVEL, satterthwaite, students_t, two_sided_p
from mnist_bench.measurement.conditions import known
from mnist_bench.results.document import Document, Row, Standing


def compare_with_reference(rows: Sequence[Row], reference: Document) -> tuple[Standing, ...]:
    """One line per row of Table I that both have; rows that are not comparable are left out."""
    reference_rows = {row.steps: row for row in reference.table_1}
    return tuple(
        line
        for row in rows
        if row.verdict != "not comparable" and row.steps in reference_rows
        if (line := _compare_row(row, reference_rows[row.steps], reference))
    )


def _compare_row(row: Row, reference_row: Row, reference: Document) -> Standing | None:
    if row.mean is None or row.threads is None or reference_row.mean is None:
        return None
    run = next(run for run in reference.runs if run.steps == row.steps)
    # Computed from the runs, since older reference rows have no standard deviation.
    costs = costs_of([run for run in reference.runs if run.run_id in reference_row.run_ids])
    ratio = None
    if (row.precision, row.device) == (run.precision, run.device_name or run.device):
        seconds, reference_seconds = row.train_seconds_mean, costs.train_seconds_mean
        ratio = seconds / reference_seconds if seconds and reference_seconds else None
    # Welch's interval of the log ratio, with Satterthwaite's degrees of freedom.
    variance, reference_variance = _log_variance(row), _log_variance(costs)
    low = high = None
    if ratio and variance is not None and reference_variance is not None:
        error, df = satterthwaite((variance, row.timed_n or 0), (reference_variance, costs.timed_n))
        if error:
            margin = students_t(df, LEVEL) * error
            low, high = ratio * math.exp(-margin), ratio * math.exp(margin)
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
        seconds_ratio_low=low,
        seconds_ratio_high=high,
    )


def _log_variance(costs: Row | Costs) -> float | None:
    """Variance of the logarithm of the mean train seconds, to first order; None if unknown."""
    mean, sd, n = costs.train_seconds_mean, costs.train_seconds_sd, costs.timed_n
    return (sd / mean) ** 2 / n if sd is not None and mean and n else None


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
