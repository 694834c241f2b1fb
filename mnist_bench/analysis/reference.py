"""Runs against the shipped reference: is this training another one, or this machine? Pure."""

from __future__ import annotations

import math
import statistics
from collections.abc import Sequence
from dataclasses import dataclass

from mnist_bench.analysis.costs import costs_of
from mnist_bench.analysis.statistics import LEVEL, students_t
from mnist_bench.measurement.conditions import known
from mnist_bench.results.document import Document, Row, Standing


def compare_with_reference(rows: Sequence[Row], reference: Document) -> tuple[Standing, ...]:
    """A line for every row of Table I that both have.

    Args:
        rows: Of this machine; those that do not compare with Table I are left out.
        reference: The shipped one.
    """
    theirs = {row.steps: row for row in reference.table_1}
    own = [row for row in rows if _compares(row) and row.steps in theirs]
    return tuple(line for row in own if (line := _standing(row, theirs[row.steps], reference)))


def _compares(row: Row) -> bool:
    return row.verdict != "not comparable"


def _standing(row: Row, other: Row, reference: Document) -> Standing | None:
    if row.mean is None or row.threads is None or other.mean is None:
        return None
    run = next(run for run in reference.runs if run.steps == row.steps)
    is_alike = (row.precision, row.device) == (run.precision, run.device_name or run.device)
    ours = _Timed(row.timed_n or 0, row.train_seconds_mean, row.train_seconds_sd)
    theirs = _reference_timed(other, reference)
    ratio = ours.mean / theirs.mean if ours.mean and theirs.mean and is_alike else None
    interval = _interval(ratio, ours, theirs) if ratio else None
    return Standing(
        scenario=row.scenario,
        steps=row.steps,
        n=row.n,
        reference_n=other.n,
        accuracy_difference=row.mean - other.mean,
        p_value=_p_value(row, other),
        seconds_ratio=ratio,
        threads=row.threads,
        reference_threads=run.threads,
        reference_machine=reference.machine.name,
        seconds_ratio_low=interval[0] if interval else None,
        seconds_ratio_high=interval[1] if interval else None,
    )


@dataclass(frozen=True)
class _Timed:
    """Train seconds of one side.

    Attributes:
        n: Runs that were not spoilt.
        mean: Of their seconds.
        sd: Standard deviation; None where fewer than two are known.
    """

    n: int
    mean: float | None
    sd: float | None

    @property
    def share(self) -> float | None:
        """Variance of the mean's logarithm, to the first order; None where it is not known."""
        return (self.sd / self.mean) ** 2 / self.n if self.sd is not None and self.mean else None


def _reference_timed(row: Row, reference: Document) -> _Timed:
    """By its runs: its rows may be of a time when they told no spread."""
    costs = costs_of([run for run in reference.runs if run.run_id in row.run_ids])
    return _Timed(costs.timed_n, costs.train_seconds_mean, costs.train_seconds_sd)


def _interval(ratio: float, ours: _Timed, theirs: _Timed) -> tuple[float, float] | None:
    """Welch's, of the ratio's logarithm; the degrees of freedom are Satterthwaite's."""
    one, another = ours.share, theirs.share
    if one is None or another is None or not one + another:
        return None
    squares = one**2 / (ours.n - 1) + another**2 / (theirs.n - 1)
    df = (one + another) ** 2 / squares
    margin = students_t(df, LEVEL) * math.sqrt(one + another)
    return ratio * math.exp(-margin), ratio * math.exp(margin)


def _p_value(row: Row, reference: Row) -> float | None:
    """From means and standard deviations."""
    mean, sd, other, other_sd = row.mean, row.sd, reference.mean, reference.sd
    if mean is None or other is None or other_sd is None:
        return None
    if not sd and other_sd == 0:
        return 1.0 if mean == other else 0.0
    from scipy.stats import t, ttest_ind_from_stats  # slow to load

    if sd is None:
        error = other_sd * math.sqrt(1 / row.n + 1 / reference.n)
        return float(2 * t.sf(abs(mean - other) / error, reference.n - 1))
    found = ttest_ind_from_stats(mean, sd, row.n, other, other_sd, reference.n, equal_var=False)
    return float(found.pvalue)


def pooled_ratio(lines: Sequence[Standing]) -> float | None:
    """How long this machine takes, by the reference's time: the geometric mean over rows."""
    ratios = [line.seconds_ratio for line in lines if line.seconds_ratio]
    return statistics.geometric_mean(ratios) if ratios else None


def pooled_interval(lines: Sequence[Standing]) -> tuple[float, float] | None:
    """Of the same: as wide as if rows told nothing that another one does not.

    They are cut from the same trainings, so that to pool them makes nothing surer. None where a
    row with a ratio has no interval.
    """
    timed = [line for line in lines if line.seconds_ratio]
    lows, highs = (
        known(getattr(line, end) for line in timed)
        for end in ("seconds_ratio_low", "seconds_ratio_high")
    )
    if not timed or len(lows) < len(timed):
        return None
    return statistics.geometric_mean(lows), statistics.geometric_mean(highs)
