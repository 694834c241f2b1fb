"""Statistics of a confirmation, checked by hand and against SciPy."""

from __future__ import annotations

from math import comb, sqrt
from typing import Any

import pytest
from factories import run
from hypothesis import assume, given
from hypothesis import strategies as st
from scipy.stats import ttest_1samp

from mnist_bench.analysis.statistics import Interval
from mnist_bench.results.run import Evaluation, RunResult
from mnist_bench.tuning.confirmation_stats import (
    Confirmation,
    McNemar,
    arm_of,
    confirmation_of,
    exact_mcnemar,
    median_run,
)


def confirmed(
    test: float | None, seed: int = 0, *, validation: float = 0.98, seconds: float = 20.0,
    **changes: Any,
) -> RunResult:  # fmt: skip
    """A run of 1,000 steps with these final values; it was better halfway, which must not count."""
    scores = ((501, 0.999, 0.999, seconds / 2), (1_000, test, validation, seconds))
    evaluations = tuple(
        Evaluation(step=step, test_accuracy=on_test, validation_accuracy=on_validation,
                   train_loss=0.125, train_seconds=at)
        for step, on_test, on_validation, at in scores
    )  # fmt: skip
    return run(1_000, seed=seed, **{"evaluations": evaluations} | changes)


CUT_OFF = confirmed(0.98).model_copy(update={"steps": 2_000, "status": "killed"})


def confirmed_all(*tests: float, **changes: Any) -> list[RunResult]:
    """One run per seed."""
    return [confirmed(test, seed, **changes) for seed, test in enumerate(tests)]


# Arms


def test_arm_by_hand() -> None:
    # mean = 0.985; sd = sqrt((0.005² + 0 + 0.005²) / 2) = 0.005;
    # t(0.975; 2) = 4.302653 (any t table); margin = 4.302653·0.005/√3 = 0.012420689
    arm = arm_of([
        confirmed(0.980, 0, validation=0.97, seconds=10.0, peak_rss_bytes=900),
        confirmed(0.985, 1, validation=0.98, seconds=20.0, peak_rss_bytes=1_100),
        confirmed(0.990, 2, validation=0.96, seconds=60.0, peak_rss_bytes=1_000),
    ])  # fmt: skip
    assert (arm.n, arm.peak_rss_bytes_max) == (3, 1_100)
    assert arm.accuracy_mean == pytest.approx(0.985, abs=1e-12)
    assert arm.accuracy_sd == pytest.approx(0.005, abs=1e-12)
    assert arm.accuracy_low == pytest.approx(0.985 - 0.012420689, abs=1e-8)
    assert arm.validation_mean == pytest.approx(0.97, abs=1e-12)
    assert arm.train_seconds_mean == pytest.approx(30)


def test_equal_seeds_have_no_spread() -> None:
    arm = arm_of(confirmed_all(0.985, 0.985, 0.985))
    assert (arm.accuracy_mean, arm.accuracy_sd, arm.accuracy_low) == (0.985, 0, 0.985)


def test_unknown_peak_stays_unknown() -> None:
    runs = [confirmed(0.98, 0, peak_rss_bytes=900), confirmed(0.99, 1, peak_rss_bytes=None)]
    assert arm_of(runs).peak_rss_bytes_max is None


@pytest.mark.parametrize(
    ("runs", "message"),
    [
        ([], "data point"),
        ([confirmed(0.98)], "data point"),
        ([confirmed(0.98, 1), confirmed(0.98, evaluations=())], "a run did not finish"),
        ([confirmed(0.98, 1), CUT_OFF], "a run did not finish"),
        ([confirmed(0.98, 1), confirmed(None)], "a run did not finish"),
    ],
)
def test_arm_of_too_few_or_unfinished_runs_raises(runs: list[RunResult], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        arm_of(runs)


@given(
    st.lists(st.integers(9_000, 10_000).map(lambda right: right / 10_000), min_size=2, max_size=12)
)
def test_arm_interval_equals_scipy(accuracies: list[float]) -> None:
    assume(len(set(accuracies)) > 1)
    arm = arm_of(confirmed_all(*accuracies))
    expected = ttest_1samp(accuracies, 0).confidence_interval(0.95)
    assert arm.accuracy_low == pytest.approx(expected.low, rel=1e-9)


@pytest.mark.parametrize(
    ("low", "high", "within_noise"),
    [(-1.0, 1.0, True), (0.0, 1.0, True), (-1.0, 0.0, True), (0.001, 1.0, False),
     (-1.0, -0.001, False)],
)  # fmt: skip
def test_interval_including_0_is_within_noise(
    low: float, high: float, *, within_noise: bool
) -> None:
    assert Interval(difference=0.5, low=low, high=high).is_within_noise is within_noise


# McNemar


@pytest.mark.parametrize(
    ("only_candidate", "only_paper", "p_value"),
    [
        (0, 0, 1.0),  # no image on which they differ
        (1, 0, 1.0),
        (0, 5, 2 / 2**5),
        (3, 3, 1.0),
        (9, 1, 2 * (1 + 10) / 2**10),
        (2, 10, 2 * (1 + 12 + 66) / 2**12),
    ],
)
def test_mcnemar_by_hand(only_candidate: int, only_paper: int, p_value: float) -> None:
    found = exact_mcnemar(only_candidate, only_paper)
    assert (found.only_candidate, found.only_paper) == (only_candidate, only_paper)
    assert found.p_value == pytest.approx(p_value, rel=1e-12)


@given(st.integers(0, 300), st.integers(0, 300))
def test_mcnemar_is_twice_the_tail(only_candidate: int, only_paper: int) -> None:
    several, fewer = only_candidate + only_paper, min(only_candidate, only_paper)
    tail = sum(comb(several, wrong) for wrong in range(fewer + 1)) / 2**several
    assert exact_mcnemar(only_candidate, only_paper).p_value == pytest.approx(
        min(1.0, 2 * tail), rel=1e-9
    )


# The median seed


@pytest.mark.parametrize(
    ("tests", "seed"),
    [
        ((0.98,), 0),
        ((0.99, 0.97, 0.98), 2),
        ((0.99, 0.97), 1),  # of two the lower
        ((0.96, 0.99, 0.98, 0.97), 3),  # of four the second
        ((0.98, 0.98, 0.98), 1),  # of equal ones by seed
        ((0.98, 0.97, 0.98, 0.98), 0),
    ],
)
def test_median_run(tests: tuple[float, ...], seed: int) -> None:
    runs = confirmed_all(*tests)
    assert median_run(runs).seed == seed
    assert median_run(runs[::-1]).seed == seed


# Confirmation

MCNEMAR = McNemar(only_candidate=30, only_paper=20, p_value=0.2)


def confirmed_pair(
    candidate: list[RunResult], paper: list[RunResult], target_accuracy: float | None = None
) -> Confirmation:
    return confirmation_of(
        candidate, paper, validation_accuracy=0.993, search_seconds=1_000.0, mcnemar=MCNEMAR,
        target_accuracy=target_accuracy,
    )  # fmt: skip


def test_confirmation_by_hand() -> None:
    # On test 0.991 against 0.985, in 15 s against 25 s.
    candidate = [confirmed(0.990, 0, seconds=14.0), confirmed(0.992, 1, seconds=16.0)]
    paper = [confirmed(0.984, 0, seconds=24.0), confirmed(0.986, 1, seconds=26.0)]
    found = confirmed_pair(candidate, paper)
    assert (found.candidate, found.paper, found.mcnemar) == (
        arm_of(candidate), arm_of(paper), MCNEMAR,
    )  # fmt: skip
    # Candidate less paper. Both variances are 2e-6 over 2: error 0.001·√2; t(0.975; 2) = 4.302653.
    margin = 4.302653 * 0.001 * sqrt(2)
    assert found.accuracy.difference == pytest.approx(0.006)
    assert found.accuracy.low == pytest.approx(0.006 - margin, abs=1e-8)
    assert found.accuracy.high == pytest.approx(0.006 + margin, abs=1e-8)
    assert found.accuracy.is_within_noise  # 0.006 is less than 0.00608
    assert found.train_seconds.difference == pytest.approx(-10)
    assert found.train_seconds.high == pytest.approx(-10 + 4.302653 * sqrt(2), abs=1e-5)
    assert not found.train_seconds.is_within_noise
    assert found.shrinkage == pytest.approx(0.993 - 0.991)
    assert found.payback_runs == pytest.approx(100)  # 1,000 s, of which a run saves 10 s
    # Without a target all train seconds count.
    assert (found.target_accuracy, found.target_seconds) == (None, None)
    arm = found.candidate
    assert (arm.target_seconds_mean, arm.target_missed) == (None, None)
    assert found.seconds == found.train_seconds


def test_equal_accuracies_have_the_spread_of_rounding() -> None:
    found = confirmed_pair(confirmed_all(0.99, 0.99), confirmed_all(0.985, 0.985)).accuracy
    assert found.low < found.difference < found.high


@pytest.mark.parametrize(
    ("candidate_seconds", "paper_seconds", "runs"),
    [
        (10.0, 30.0, 50.0),
        (20.0, 20.0, None),
        (30.0, 20.0, None),  # it never pays
    ],
)
def test_payback(candidate_seconds: float, paper_seconds: float, runs: float | None) -> None:
    candidate = confirmed_all(0.995, 0.997, seconds=candidate_seconds)
    found = confirmed_pair(candidate, confirmed_all(0.98, 0.99, seconds=paper_seconds))
    assert found.payback_runs == runs
    assert found.shrinkage == pytest.approx(-0.003)


def test_time_to_target_confirmation_by_hand() -> None:
    """Each reaches 0.999 halfway, at half its seconds; 0.9995 at the end or never."""
    candidate = [confirmed(0.990, 0, seconds=14.0), confirmed(0.992, 1, seconds=18.0)]
    paper = [confirmed(0.984, 0, seconds=24.0), confirmed(0.986, 1, seconds=28.0)]
    found = confirmed_pair(candidate, paper, 0.999)
    assert [(arm.target_seconds_mean, arm.target_missed) for arm in (found.candidate, found.paper)
            ] == [(8.0, 0), (13.0, 0)]  # fmt: skip
    assert found.target_seconds is not None
    assert found.seconds == found.target_seconds
    assert found.target_seconds.difference == pytest.approx(-5)
    # Both variances are 2 over 2: error √2; t(0.975; 2) = 4.302653.
    assert found.target_seconds.high == pytest.approx(-5 + 4.302653 * sqrt(2), abs=1e-5)
    assert found.payback_runs == pytest.approx(200)
    never = confirmed_pair(candidate, paper, 0.9995)
    assert (never.candidate.target_seconds_mean, never.candidate.target_missed) == (16.0, 2)
    assert never.target_seconds == never.train_seconds
