"""Figures with their 95% intervals, from few values. Pure."""

from __future__ import annotations

import statistics
from collections.abc import Sequence
from dataclasses import dataclass
from math import sqrt

from mnist_bench.core.records import Record

LEVEL = 0.95
"""Of the intervals."""


class Interval(Record):
    """A difference of two means, ours less theirs.

    Attributes:
        difference: Of the means.
        low: Lower end of its interval.
        high: Upper end.
    """

    difference: float
    low: float
    high: float

    @property
    def is_within_noise(self) -> bool:
        """Whether the difference may as well be none."""
        return self.low <= 0 <= self.high


@dataclass(frozen=True)
class Estimate:
    """A figure.

    Attributes:
        value: Itself.
        low: Lower end of its interval.
        high: Upper end.
        n: Values that it was made of.
    """

    value: float
    low: float
    high: float
    n: int


def mean_of(values: Sequence[float], *, comparisons: int = 1) -> Estimate:
    """The mean of values, with Student's interval.

    Args:
        values: Two or more.
        comparisons: Intervals that shall hold together; each is widened after Bonferroni.

    Raises:
        ValueError: There are fewer.
    """
    mean = statistics.fmean(values)
    margin = half_width(statistics.stdev(values), len(values), 1 - (1 - LEVEL) / comparisons)
    return Estimate(mean, mean - margin, mean + margin, len(values))


def slope_of(x: Sequence[float], y: Sequence[float]) -> Estimate:
    """The slope of the line of least squares, with Student's interval.

    Args:
        x: Three or more values, not all the same.
        y: As many.

    Raises:
        ValueError: There are fewer, or x does not vary.
    """
    if len(x) < 3:
        raise ValueError("a slope with an interval wants three points")
    try:
        slope, intercept = statistics.linear_regression(x, y)
    except statistics.StatisticsError as error:
        raise ValueError(str(error)) from error
    residuals = [b - intercept - slope * a for a, b in zip(x, y, strict=True)]
    variance = sum(each**2 for each in residuals) / (len(x) - 2)
    margin = students_t(len(x) - 2, LEVEL) * sqrt(variance / (statistics.pvariance(x) * len(x)))
    return Estimate(slope, slope - margin, slope + margin, len(x))


def welch(ours: Sequence[float], theirs: Sequence[float], *, smallest_sd: float = 0.0) -> Interval:
    """Welch's interval of the difference of two means, ours less theirs.

    Args:
        ours: Two or more values.
        theirs: Likewise.
        smallest_sd: That values which happen to agree are taken to have.

    Raises:
        ValueError: One has fewer than two values.
    """
    difference = statistics.mean(ours) - statistics.mean(theirs)
    parts = [
        max(statistics.variance(values), smallest_sd**2) / len(values) for values in (ours, theirs)
    ]
    error = sqrt(sum(parts))
    if error == 0:
        return Interval(difference=difference, low=difference, high=difference)
    squares = [part**2 / (len(of) - 1) for part, of in zip(parts, (ours, theirs), strict=True)]
    margin = students_t(sum(parts) ** 2 / sum(squares), LEVEL) * error
    return Interval(difference=difference, low=difference - margin, high=difference + margin)


def half_width(sd: float, n: int, level: float = LEVEL) -> float:
    """Half of Student's interval of the mean of n values with that standard deviation."""
    return students_t(n - 1, level) * sd / sqrt(n)


def students_t(degrees_of_freedom: float, level: float) -> float:
    """Student's t, two-sided."""
    from scipy.special import stdtrit  # slow to load

    return float(stdtrit(degrees_of_freedom, (1 + level) / 2))
