"""Statistics against scipy.stats and against hand-made cases."""

from __future__ import annotations

import math
import statistics

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy import stats

from mnist_bench.analysis.statistics import (
    Interval,
    half_width,
    mean_and_sd,
    mean_of,
    one_sided_p,
    satterthwaite,
    slope_of,
    students_t,
    two_sided_p,
    welch,
    wilson,
)

BASE = (0.991, 0.9925, 0.9932, 0.9918)
OTHER = (0.9934, 0.9931, 0.994)
SAMPLES = st.lists(st.integers(9_000, 9_999).map(lambda n: n / 10_000), min_size=2, max_size=12)


def test_by_hand() -> None:
    # Differences 2 against 0, variances 2 and 2, n = 2 each: error sqrt(2), 2 degrees of freedom.
    found = welch([1.0, 3.0], [-1.0, 1.0])
    margin = 4.302653 * math.sqrt(2)
    assert (found.difference, found.low, found.high) == pytest.approx((2, 2 - margin, 2 + margin))
    ends = ((-1, 0), (0, 1), (0.1, 1), (-1, -0.1))
    within = [Interval(difference=0, low=low, high=high).is_within_noise for low, high in ends]
    assert within == [True, True, False, False]
    assert mean_and_sd([1.0, None, 3.0]) == (2.0, math.sqrt(2))
    assert mean_and_sd([0.1, 0.1, 0.1]) == (0.1, 0.0)  # exactly
    assert mean_and_sd([None, 5.0]) == (5.0, None)
    assert mean_and_sd([None]) == (None, None)
    assert students_t(1, 0.95) == pytest.approx(12.7062047)
    assert half_width(2.0, 4) == pytest.approx(3.182446)  # its t, for 2 / sqrt(4) is 1
    assert wilson(0.5, 1_000_000) == pytest.approx((0.49902, 0.50098), abs=1e-6)


@pytest.mark.filterwarnings("ignore:Precision loss")  # scipy's, of equal values
@given(SAMPLES, SAMPLES)
def test_welch_is_scipys(other: list[float], base: list[float]) -> None:
    found = welch(other, base)
    if statistics.variance(other) + statistics.variance(base) == 0:
        assert found.low == found.high == found.difference
        return
    test = stats.ttest_ind(other, base, equal_var=False)
    interval = test.confidence_interval()
    assert (found.low, found.high) == pytest.approx((interval.low, interval.high), abs=1e-12)
    error, df = satterthwaite(*((statistics.variance(of) / len(of), len(of))
                                for of in (other, base)))  # fmt: skip
    assert df == pytest.approx(test.df)
    assert two_sided_p(found.difference, error, df) == pytest.approx(test.pvalue, abs=1e-9)


def test_smallest_sd_bounds_both_sides() -> None:
    equal = welch([0.99] * 3, [0.98] * 3, smallest_sd=0.001)
    interval = stats.t.interval(0.95, 4, loc=0.01, scale=0.001 * math.sqrt(2 / 3))
    assert (equal.low, equal.high) == pytest.approx(interval)
    assert welch(OTHER, BASE, smallest_sd=1e-9) == welch(OTHER, BASE)


@pytest.mark.parametrize(("difference", "p"), [(0.0, 1.0), (0.1, 0.0)])
def test_p_without_any_spread(difference: float, p: float) -> None:
    assert two_sided_p(difference, 0.0, 2) == p
    assert satterthwaite((0.0, 3), (0.0, 5)) == (0.0, 2.0)


@pytest.mark.parametrize("least", [0.99, 0.9935, 0.9942])
def test_one_sided_p_is_that_of_scipy(least: float) -> None:
    values = [0.9931, 0.9936, 0.9934, 0.9939]
    expected = stats.ttest_1samp(values, least, alternative="greater").pvalue
    assert one_sided_p(values, least) == pytest.approx(expected, rel=1e-9)


@pytest.mark.parametrize("comparisons", [1, 4])
def test_mean_is_scipys(comparisons: int) -> None:
    found = mean_of(BASE, comparisons=comparisons)
    level = 1 - 0.05 / comparisons
    interval = stats.t.interval(level, 3, loc=np.mean(BASE), scale=stats.sem(BASE))
    assert (found.low, found.high) == pytest.approx(interval)
    assert (found.value, found.n) == (pytest.approx(np.mean(BASE)), 4)


def test_slope_by_hand() -> None:
    exact = slope_of([0, 1, 2], [1, 3, 5])
    assert (exact.value, exact.low, exact.high, exact.n) == pytest.approx((2, 2, 2, 3))
    x, y = [0.0, 1.0, 2.0, 3.0], [0.0, 1.0, 3.0, 3.0]
    found = slope_of(x, y)
    # Slope 5.5 / 5; residual variance 0.7 / 2; t(2) = 4.30265273; sum of squares of x: 5.
    margin = 4.30265273 * math.sqrt(0.7 / 2 / 5)
    assert (found.value, found.low, found.high) == pytest.approx((1.1, 1.1 - margin, 1.1 + margin))


@given(st.integers(0, 10_000), st.integers(1, 10_000))
def test_wilson_is_scipys(hits: int, n: int) -> None:
    hits = min(hits, n)
    interval = stats.binomtest(hits, n).proportion_ci(method="wilson")
    assert wilson(hits / n, n) == pytest.approx((interval.low, interval.high), abs=1e-12)


@pytest.mark.parametrize(
    "call",
    [
        lambda: welch([1.0], [1.0, 2.0]),
        lambda: welch([1.0, 2.0], [1.0]),
        lambda: mean_of([1.0]),
        lambda: slope_of([1.0, 2.0], [1.0, 2.0]),
        lambda: slope_of([1.0, 1.0, 1.0], [1.0, 2.0, 3.0]),
    ],
)
def test_too_few_values(call) -> None:
    with pytest.raises(ValueError, match=r"."):
        call()
