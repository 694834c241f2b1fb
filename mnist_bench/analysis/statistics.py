"""Means, slopes and differences of few values, with 95% intervals and p values.

Distributions are those of scipy.special, which loads in a tenth of scipy.stats's time; the tests
hold every function against scipy.stats.
"""

from __future__ import annotations

import statistics
from collections.abc import Sequence
from dataclasses import dataclass
from math import sqrt

from mnist_bench.core.records import Record
from mnist_bench.measurement.conditions import known

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


def mean_and_sd(values: Sequence[float | None]) -> tuple[float | None, float | None]:
    """Mean and standard deviation of the known values; the latter needs two of them."""
    of = known(values)
    # `statistics` is exact: equal values have exactly their own mean, and a deviation of 0.
    return statistics.mean(of) if of else None, statistics.stdev(of) if len(of) > 1 else None


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
    from scipy.stats import linregress  # slow to load

    if len(x) < 3:
        raise ValueError("a slope with an interval needs at least three points")
    fit = linregress(x, y)
    slope, margin = float(fit.slope), students_t(len(x) - 2, LEVEL) * float(fit.stderr)
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
    error, df = satterthwaite(*(
        (max(statistics.variance(values), smallest_sd**2) / len(values), len(values))
        for values in (other, base)
    ))  # fmt: skip
    margin = students_t(df, LEVEL) * error if error else 0.0
    return Interval(difference=difference, low=difference - margin, high=difference + margin)


def satterthwaite(*sides: tuple[float, int]) -> tuple[float, float]:
    """Standard error of a difference of means, and its degrees of freedom.

    Args:
        sides: Squared standard error of each mean, and its number of values, two or more.
    """
    total = sum(squared for squared, _ in sides)
    if not total:
        return 0.0, float(min(n for _, n in sides) - 1)
    return sqrt(total), total**2 / sum(squared**2 / (n - 1) for squared, n in sides)


def two_sided_p(difference: float, error: float, degrees_of_freedom: float) -> float:
    """P value of Student's test of no difference, from the difference's standard error."""
    if error == 0:
        return 1.0 if difference == 0 else 0.0
    from scipy.special import stdtr  # slow to load

    return float(2 * stdtr(degrees_of_freedom, -abs(difference) / error))


def one_sided_p(values: Sequence[float], least: float) -> float:
    """P value of Student's test that the mean is not above `least`; of two or more values."""
    difference = statistics.fmean(values) - least
    error = statistics.stdev(values) / sqrt(len(values))
    both = two_sided_p(difference, error, len(values) - 1)
    return both / 2 if difference > 0 else 1 - both / 2


def wilson(share: float, n: int) -> tuple[float, float]:
    """Wilson's interval of a share of n; the share may be a mean over several such samples."""
    z = statistics.NormalDist().inv_cdf((1 + LEVEL) / 2)
    middle = share + z**2 / (2 * n)
    half = z * sqrt((share * (1 - share) + z**2 / (4 * n)) / n)
    return (middle - half) / (1 + z**2 / n), (middle + half) / (1 + z**2 / n)


def half_width(sd: float, n: int, level: float = LEVEL) -> float:
    """Half the width of Student's interval of a mean of n values."""
    return students_t(n - 1, level) * sd / sqrt(n)


def students_t(degrees_of_freedom: float, level: float) -> float:
    """Two-sided quantile of Student's t."""
    from scipy.special import stdtrit  # slow to load

    return float(stdtrit(degrees_of_freedom, (1 + level) / 2))
