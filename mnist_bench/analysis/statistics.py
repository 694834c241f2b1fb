"""Means, slopes and differences of few values, with 95% intervals."""

from __future__ import annotations

import statistics
from collections.abc import Sequence
from dataclasses import dataclass
from math import sqrt

from mnist_bench.core.records import Record

LEVEL = 0.95
"""Confidence level of all intervals."""


class Interval(Record):
    """Difference of two means, with the ends of its interval."""

    difference: float
    low: float
    high: float

    @property
    def is_within_noise(self) -> bool:
        """Whether the interval includes 0."""
        return self.low <= 0 <= self.high


@dataclass(frozen=True)
class Estimate:
    """An estimate with the ends of its interval.

    Attributes:
        n: Number of values it is estimated from.
    """

    value: float
    low: float
    high: float
    n: int


def mean_of(values: Sequence[float], *, comparisons: int = 1) -> Estimate:
    """Mean with Student's interval.

    Args:
        values: Two or more values.
        comparisons: Number of simultaneous intervals, for Bonferroni's correction.

    Raises:
        ValueError: Fewer than two values.
    """
    mean = statistics.fmean(values)
    margin = half_width(statistics.stdev(values), len(values), 1 - (1 - LEVEL) / comparisons)
    return Estimate(mean, mean - margin, mean + margin, len(values))


def slope_of(x: Sequence[float], y: Sequence[float]) -> Estimate:
    """Least-squares slope with Student's interval.

    Args:
        x: Three or more values, not all equal.
        y: As many values as `x`.

    Raises:
        ValueError: Fewer than three values, or x is constant.
    """
    if len(x) < 3:
        raise ValueError("a slope with an interval needs at least three points")
    try:
        slope, intercept = statistics.linear_regression(x, y)
    except statistics.StatisticsError as error:
        raise ValueError(str(error)) from error
    residuals = [b - intercept - slope * a for a, b in zip(x, y, strict=True)]
    variance = sum(each**2 for each in residuals) / (len(x) - 2)
    margin = students_t(len(x) - 2, LEVEL) * sqrt(variance / (statistics.pvariance(x) * len(x)))
    return Estimate(slope, slope - margin, slope + margin, len(x))


def welch(other: Sequence[float], base: Sequence[float], *, smallest_sd: float = 0.0) -> Interval:
    """Welch's interval of the difference of two means, other minus base.

    Args:
        other: Two or more values.
        base: Two or more values.
        smallest_sd: Lower limit of either standard deviation, for values that happen to be equal.

    Raises:
        ValueError: Fewer than two values on a side.
    """
    difference = statistics.mean(other) - statistics.mean(base)
    variances = [
        max(statistics.variance(values), smallest_sd**2) / len(values) for values in (other, base)
    ]
    error = sqrt(sum(variances))
    if error == 0:
        return Interval(difference=difference, low=difference, high=difference)
    squares = [
        variance**2 / (len(values) - 1)
        for variance, values in zip(variances, (other, base), strict=True)
    ]
    margin = students_t(sum(variances) ** 2 / sum(squares), LEVEL) * error
    return Interval(difference=difference, low=difference - margin, high=difference + margin)


def half_width(sd: float, n: int, level: float = LEVEL) -> float:
    """Half the width of Student's interval of a mean of n values."""
    return students_t(n - 1, level) * sd / sqrt(n)


def students_t(degrees_of_freedom: float, level: float) -> float:
    """Two-sided quantile of Student's t."""
    from scipy.special import stdtrit  # slow to load

    return float(stdtrit(degrees_of_freedom, (1 + level) / 2))
