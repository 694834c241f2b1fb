"""Runs against the shipped reference: is this training another one, or this machine? Pure."""

from __future__ import annotations

import math
import statistics
from collections.abc import Sequence

from mnist_bench.document import Document, Row, Standing


def standings(rows: Sequence[Row], reference: Document) -> tuple[Standing, ...]:
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
    seconds, theirs = row.train_seconds_mean, other.train_seconds_mean
    return Standing(
        scenario=row.scenario,
        steps=row.steps,
        n=row.n,
        reference_n=other.n,
        accuracy_difference=row.mean - other.mean,
        p_value=_p_value(row, other),
        seconds_ratio=seconds / theirs if seconds and theirs and is_alike else None,
        threads=row.threads,
        reference_threads=run.threads,
        reference_machine=reference.machine.name,
    )


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
