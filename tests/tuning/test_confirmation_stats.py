"""Statistics of a confirmation, checked by hand and against SciPy."""

from __future__ import annotations

from math import comb, sqrt
from typing import Any

import pytest
from factories import run
from hypothesis import assume, given
from hypothesis import strategies as st
from scipy.stats import ttest_1samp, ttest_ind

from mnist_bench.analysis.statistics import Interval, welch
from mnist_bench.results.run import Evaluation, RunResult
from mnist_bench.tuning.confirmation_stats import (
    McNemar,
    arm_of,
    confirmation_of,
    exact_mcnemar,
    median_run,
)


def confirmed(
    test: float, seed: int = 0, *, validation: float = 0.98, seconds: float = 20.0, **changes: Any
) -> RunResult:
    """A run of 1,000 steps with these final values; it was better halfway, which must not count."""
    return run(
        1_000,
        seed=seed,
        evaluations=(
            Evaluation(
                step=501,
                test_accuracy=0.999,
                validation_accuracy=0.999,
                train_loss=0.125,
                train_seconds=seconds / 2,
            ),
            Evaluation(
                step=1_000,
                test_accuracy=test,
                validation_accuracy=validation,
                train_loss=0.125,
                train_seconds=seconds,
            ),
        ),
        **changes,
    )


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
    assert arm.n == 3
    assert arm.accuracy_mean == pytest.approx(0.985, abs=1e-12)
    assert arm.accuracy_sd == pytest.approx(0.005, abs=1e-12)
    assert arm.accuracy_low == pytest.approx(0.985 - 0.012420689, abs=1e-8)
    assert arm.validation_mean == pytest.approx(0.97, abs=1e-12)
    assert arm.train_seconds_mean == pytest.approx(30)
    assert arm.peak_rss_bytes_max == 1_100


def test_two_seeds_are_enough_for_an_arm() -> None:
    # sd = 0.002/√2; t(0.975; 1) = 12.706205; margin = 12.706205·0.002/2
    arm = arm_of(confirmed_all(0.984, 0.986))
    assert arm.accuracy_sd == pytest.approx(0.002 / sqrt(2))
    assert arm.accuracy_low == pytest.approx(0.985 - 0.012706205, abs=1e-8)


def test_equal_seeds_have_no_spread() -> None:
    arm = arm_of(confirmed_all(0.985, 0.985, 0.985))
    assert (arm.accuracy_mean, arm.accuracy_sd, arm.accuracy_low) == (0.985, 0, 0.985)


def test_unknown_peak_stays_unknown() -> None:
    runs = [confirmed(0.98, 0, peak_rss_bytes=900), confirmed(0.99, 1, peak_rss_bytes=None)]
    assert arm_of(runs).peak_rss_bytes_max is None


@pytest.mark.parametrize("runs", [[], [confirmed(0.98)]])
def test_arm_of_fewer_than_two_runs_raises(runs: list[RunResult]) -> None:
    with pytest.raises(ValueError, match="data point"):
        arm_of(runs)


@pytest.mark.parametrize("changes", [{"evaluations": ()}, {"steps": 2_000, "status": "killed"}])
def test_arm_of_an_unfinished_run_raises(changes: dict[str, Any]) -> None:
    broken = confirmed(0.98).model_copy(update=changes)
    with pytest.raises(ValueError, match="a run did not finish"):
        arm_of([confirmed(0.98, 1), broken])


def test_arm_of_a_run_without_test_accuracy_raises() -> None:
    with pytest.raises(ValueError, match="a run did not finish"):
        arm_of([confirmed(0.98), run(1_000, evaluations=(
            Evaluation(step=1_000, test_accuracy=None, validation_accuracy=0.98,
                       train_loss=0.125, train_seconds=20.0),
        ))])  # fmt: skip


ACCURACIES = st.lists(
    st.integers(9_000, 10_000).map(lambda right: right / 10_000), min_size=2, max_size=12
)


@given(ACCURACIES)
def test_arm_interval_equals_scipy(accuracies: list[float]) -> None:
    assume(len(set(accuracies)) > 1)
    arm = arm_of(confirmed_all(*accuracies))
    expected = ttest_1samp(accuracies, 0).confidence_interval(0.95)
    assert arm.accuracy_low == pytest.approx(expected.low, rel=1e-9)


# Welch

# SciPy's warning if one of the two has no spread.
NO_SPREAD = pytest.mark.filterwarnings("ignore:Precision loss:RuntimeWarning")


def test_welch_by_hand() -> None:
    # Means 12 and 2; both variances are 1, each over 3: error = √(2/3) = 0.816497;
    # degrees of freedom (2/3)² / (2·(1/3)²/2) = 4; t(0.975; 4) = 2.776445 (any t table);
    # the margin is 2.266958.
    found = welch([11.0, 12.0, 13.0], [1.0, 2.0, 3.0])
    assert found.difference == 10
    assert found.low == pytest.approx(10 - 2.266958, abs=1e-6)
    assert found.high == pytest.approx(10 + 2.266958, abs=1e-6)


def test_welch_with_one_arm_without_spread() -> None:
    # The variance 2 over 2 is all there is: error 1, degrees of freedom 1; t(0.975; 1) = 12.706205
    found = welch([0.0, 2.0], [5.0, 5.0, 5.0])
    assert found.difference == -4
    assert found.low == pytest.approx(-4 - 12.706205, abs=1e-6)
    assert found.high == pytest.approx(-4 + 12.706205, abs=1e-6)
    assert found.is_within_noise


@pytest.mark.parametrize(
    ("candidate_values", "paper_values", "within_noise"), [(0.99, 0.98, False), (0.98, 0.98, True)]
)
def test_welch_without_any_spread(
    candidate_values: float, paper_values: float, *, within_noise: bool
) -> None:
    found = welch([candidate_values] * 3, [paper_values] * 3)
    assert found.low == found.high == found.difference == candidate_values - paper_values
    assert found.is_within_noise is within_noise


@pytest.mark.parametrize(
    ("candidate_values", "paper_values"),
    [([1.0], [1.0, 2.0]), ([1.0, 2.0], [1.0]), ([], [1.0, 2.0])],
)
def test_welch_of_fewer_than_two_values_raises(
    candidate_values: list[float], paper_values: list[float]
) -> None:
    with pytest.raises(ValueError, match="data point"):
        welch(candidate_values, paper_values)


@pytest.mark.parametrize(
    ("low", "high", "within_noise"),
    [
        (-1.0, 1.0, True),
        (0.0, 1.0, True),
        (-1.0, 0.0, True),
        (0.001, 1.0, False),
        (-1.0, -0.001, False),
    ],
)
def test_interval_including_0_is_within_noise(
    low: float, high: float, *, within_noise: bool
) -> None:
    interval = Interval(difference=(low + high) / 2, low=low, high=high)
    assert interval.is_within_noise is within_noise


@NO_SPREAD
@given(ACCURACIES, ACCURACIES)
def test_welch_equals_scipy(candidate_values: list[float], paper_values: list[float]) -> None:
    assume(len(set(candidate_values)) > 1 or len(set(paper_values)) > 1)
    expected = ttest_ind(candidate_values, paper_values, equal_var=False).confidence_interval(0.95)
    found = welch(candidate_values, paper_values)
    assert found.difference == pytest.approx(
        sum(candidate_values) / len(candidate_values) - sum(paper_values) / len(paper_values),
        abs=1e-12,
    )
    assert found.low == pytest.approx(expected.low, rel=1e-9, abs=1e-12)
    assert found.high == pytest.approx(expected.high, rel=1e-9, abs=1e-12)


@given(ACCURACIES, ACCURACIES)
def test_welch_is_antisymmetric(candidate_values: list[float], paper_values: list[float]) -> None:
    one, other = welch(candidate_values, paper_values), welch(paper_values, candidate_values)
    assert (one.difference, one.low, one.high) == pytest.approx(
        (-other.difference, -other.high, -other.low), abs=1e-12
    )


@NO_SPREAD
@given(ACCURACIES, ACCURACIES)
def test_within_noise_equals_not_significant(
    candidate_values: list[float], paper_values: list[float]
) -> None:
    assume(len(set(candidate_values)) > 1 or len(set(paper_values)) > 1)
    p_value = float(ttest_ind(candidate_values, paper_values, equal_var=False).pvalue)
    assume(abs(p_value - 0.05) > 1e-9)
    assert welch(candidate_values, paper_values).is_within_noise == (p_value > 0.05)


# McNemar


@pytest.mark.parametrize(
    ("only_candidate", "only_paper", "p_value"),
    [
        (0, 0, 1.0),  # no image on which they differ
        (1, 0, 1.0),
        (5, 0, 2 / 2**5),
        (0, 5, 2 / 2**5),
        (3, 3, 1.0),
        (1, 9, 2 * (1 + 10) / 2**10),
        (9, 1, 2 * (1 + 10) / 2**10),
        (2, 10, 2 * (1 + 12 + 66) / 2**12),
    ],
)
def test_mcnemar_by_hand(only_candidate: int, only_paper: int, p_value: float) -> None:
    found = exact_mcnemar(only_candidate, only_paper)
    assert (found.only_candidate, found.only_paper) == (only_candidate, only_paper)
    assert found.p_value == pytest.approx(p_value, rel=1e-12)


@given(st.integers(0, 300), st.integers(0, 300))
def test_mcnemar_is_twice_the_tail(candidate_values: int, paper_values: int) -> None:
    several, fewer = candidate_values + paper_values, min(candidate_values, paper_values)
    tail = sum(comb(several, wrong) for wrong in range(fewer + 1)) / 2**several
    assert exact_mcnemar(candidate_values, paper_values).p_value == pytest.approx(
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


def test_median_of_an_unfinished_run_raises() -> None:
    broken = confirmed(0.98).model_copy(update={"evaluations": ()})
    with pytest.raises(ValueError, match="a run did not finish"):
        median_run([confirmed(0.98, 1), broken])


# Confirmation

MCNEMAR = McNemar(only_candidate=30, only_paper=20, p_value=0.2)


def confirmed_pair(
    candidate: list[RunResult], paper: list[RunResult], *, search_seconds: float = 1_000.0
) -> Any:
    return confirmation_of(
        candidate,
        paper,
        validation_accuracy=0.993,
        search_seconds=search_seconds,
        mcnemar=MCNEMAR,
    )


def test_confirmation_by_hand() -> None:
    # On test 0.991 against 0.985, in 15 s against 25 s.
    candidate = [confirmed(0.990, 0, seconds=14.0), confirmed(0.992, 1, seconds=16.0)]
    paper = [confirmed(0.984, 0, seconds=24.0), confirmed(0.986, 1, seconds=26.0)]
    confirmation = confirmed_pair(candidate, paper)
    assert confirmation.candidate == arm_of(candidate)
    assert confirmation.paper == arm_of(paper)
    # Candidate less paper. Both variances are 2e-6 over 2: error 0.001·√2; t(0.975; 2) = 4.302653.
    assert confirmation.accuracy.difference == pytest.approx(0.006)
    assert confirmation.accuracy.low == pytest.approx(0.006 - 4.302653 * 0.001 * sqrt(2), abs=1e-8)
    assert confirmation.accuracy.high == pytest.approx(0.006 + 4.302653 * 0.001 * sqrt(2), abs=1e-8)
    assert confirmation.accuracy.is_within_noise  # 0.006 is less than 0.00608
    assert confirmation.train_seconds.difference == pytest.approx(-10)
    assert confirmation.train_seconds.high == pytest.approx(-10 + 4.302653 * sqrt(2), abs=1e-5)
    assert not confirmation.train_seconds.is_within_noise
    assert confirmation.shrinkage == pytest.approx(0.993 - 0.991)
    assert confirmation.payback_runs == pytest.approx(100)  # 1,000 s, of which a run saves 10 s
    assert confirmation.mcnemar == MCNEMAR


def test_negative_shrinkage() -> None:
    both = confirmed_all(0.995, 0.997)
    assert confirmed_pair(both, both).shrinkage == pytest.approx(-0.003)


@pytest.mark.parametrize(
    ("candidate_values", "paper_values", "runs"),
    [
        (10.0, 30.0, 50.0),
        (20.0, 20.0, None),
        (30.0, 20.0, None),  # it never pays
    ],
)
def test_payback(candidate_values: float, paper_values: float, runs: float | None) -> None:
    candidate = confirmed_all(0.98, 0.99, seconds=candidate_values)
    paper = confirmed_all(0.98, 0.99, seconds=paper_values)
    assert confirmed_pair(candidate, paper, search_seconds=1_000.0).payback_runs == runs


def test_time_to_target_confirmation_by_hand() -> None:
    """Each reaches 0.999 halfway, at half its seconds; 0.9995 at the end or never."""
    candidate = [confirmed(0.990, 0, seconds=14.0), confirmed(0.992, 1, seconds=18.0)]
    paper = [confirmed(0.984, 0, seconds=24.0), confirmed(0.986, 1, seconds=28.0)]
    common = {"validation_accuracy": 0.99, "search_seconds": 1_000.0, "mcnemar": None}
    confirmation = confirmation_of(candidate, paper, target_accuracy=0.999, **common)
    assert (confirmation.candidate.target_seconds_mean, confirmation.candidate.target_missed) == (
        8.0,
        0,
    )
    assert (confirmation.paper.target_seconds_mean, confirmation.paper.target_missed) == (13.0, 0)
    assert confirmation.target_seconds is not None
    assert confirmation.seconds == confirmation.target_seconds
    assert confirmation.target_seconds.difference == pytest.approx(-5)
    # Both variances are 2 over 2: error √2; t(0.975; 2) = 4.302653.
    assert confirmation.target_seconds.high == pytest.approx(-5 + 4.302653 * sqrt(2), abs=1e-5)
    assert confirmation.payback_runs == pytest.approx(200)
    never = confirmation_of(candidate, paper, target_accuracy=0.9995, **common)
    assert (never.candidate.target_seconds_mean, never.candidate.target_missed) == (16.0, 2)
    assert never.target_seconds == never.train_seconds


def test_without_a_target_all_train_seconds_count() -> None:
    confirmation = confirmed_pair(confirmed_all(0.98, 0.99), confirmed_all(0.98, 0.99))
    assert (confirmation.target_accuracy, confirmation.target_seconds) == (None, None)
    assert (confirmation.candidate.target_seconds_mean, confirmation.candidate.target_missed) == (
        None,
        None,
    )
    assert confirmation.seconds == confirmation.train_seconds


def test_confirmation_without_predictions() -> None:
    both = confirmed_all(0.98, 0.99)
    confirmation = confirmation_of(
        both, both, validation_accuracy=0.99, search_seconds=1.0, mcnemar=None
    )
    assert confirmation.mcnemar is None
    assert confirmation.accuracy.difference == 0
    assert confirmation.accuracy.is_within_noise


def test_confirmation_of_one_seed_raises() -> None:
    with pytest.raises(ValueError, match="data point"):
        confirmed_pair(confirmed_all(0.99, 0.98), confirmed_all(0.98))
