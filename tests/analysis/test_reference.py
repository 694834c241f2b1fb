"""Comparison with the reference, on hand-made documents."""

from __future__ import annotations

import math

import pytest
from factories import REFERENCE, differing, evaluations, machine, run, seeds
from scipy import stats

from mnist_bench.analysis import table1
from mnist_bench.analysis.reference import compare_with_reference, pooled_interval, pooled_ratio
from mnist_bench.reporting import columns
from mnist_bench.reporting.text import vs_reference_note
from mnist_bench.results.document import Document, Standing
from mnist_bench.results.run import RunResult
from mnist_bench.results.run_summary import summarise

ACCURACIES = (0.984, 0.985, 0.986, 0.985)
REFERENCE_RUNS = seeds(1_000, *ACCURACIES)


def document(results: list[RunResult]) -> Document:
    return table1.document(machine(), summarise(results), REFERENCE)


def compared(
    results: list[RunResult], reference: list[RunResult] = REFERENCE_RUNS
) -> tuple[Standing, ...]:
    return compare_with_reference(table1.rows(summarise(results), REFERENCE), document(reference))


def runs_at(*paces: float) -> list[RunResult]:
    """One seed per pace, in seconds per step."""
    return [
        run(1_000, 0.984 + seed * 1e-4, seed, evaluations=evaluations(1_000, 0.985, seconds=pace))
        for seed, pace in enumerate(paces)
    ]


SD = stats.tstd(ACCURACIES)
SAME_WORDS = (
    "The reference is of Imaginary CPU, 2 cores, 16.0 GiB, Linux 6.1 x86_64, 2 threads. Training "
    "takes 1.00 times its time here, at 2 threads. No difference of its accuracies "
)


@pytest.mark.parametrize(
    ("results", "reference", "difference", "p_value", "words"),
    [
        (REFERENCE_RUNS, REFERENCE_RUNS, 0, 1,
         SAME_WORDS),
        (seeds(1_000, 0.975, 0.976, 0.977), REFERENCE_RUNS, -0.009,
         stats.ttest_ind([0.975, 0.976, 0.977], ACCURACIES, equal_var=False).pvalue,
         "Its accuracies differ"),
        # Student's t by hand: 0.002 over sd·√(1 + 1/4), with 3 degrees of freedom. This equals the
        # pooled test of one value against four.
        ([run(1_000, 0.983)], REFERENCE_RUNS, -0.002, 2 * stats.t.sf(0.002 / (SD * 1.25**0.5), 3),
         "No difference of its accuracies"),
        ([run(1_000, 0.983)], REFERENCE_RUNS, -0.002,
         stats.ttest_ind([0.983], ACCURACIES).pvalue, ""),
        ([run(1_000, 0.9)], REFERENCE_RUNS, -0.085, stats.ttest_ind([0.9], ACCURACIES).pvalue,
         "Its accuracies differ"),
        ([run(1_000, 0.9)], [run(1_000, 0.985)], -0.085, None,
         "Whether the training is the same one is unknown"),
    ],
)  # fmt: skip
def test_accuracies(
    results: list[RunResult], reference: list[RunResult], difference: float,
    p_value: float | None, words: str,
) -> None:  # fmt: skip
    (line,) = compared(results, reference)
    expected = {
        "steps": 1_000, "n": len(results), "reference_n": len(reference), "threads": 2,
        "reference_threads": 2, "accuracy_difference": difference, "p_value": p_value,
        "seconds_ratio": 1,
    }  # fmt: skip
    assert not differing(line, expected)
    assert words in vs_reference_note([line])


def test_interval_of_the_time_ratio_by_hand() -> None:
    results, reference = runs_at(0.021, 0.022, 0.023), runs_at(0.010, 0.011, 0.012, 0.013)
    (line,) = compared(results, reference)
    variance = (0.001 / 0.022) ** 2 / 3
    reference_variance = (stats.tstd([0.010, 0.011, 0.012, 0.013]) / 0.0115) ** 2 / 4
    df = (variance + reference_variance) ** 2 / (variance**2 / 2 + reference_variance**2 / 3)
    factor = math.exp(stats.t.ppf(0.975, df) * (variance + reference_variance) ** 0.5)
    ratio = 0.022 / 0.0115
    ends = {"seconds_ratio_low": ratio / factor, "seconds_ratio_high": ratio * factor}
    assert not differing(line, {"seconds_ratio": ratio, **ends})
    assert pooled_interval([line, line]) == pytest.approx(tuple(ends.values()))
    assert pooled_ratio([line, line]) == pytest.approx(ratio)
    interval = f"({ratio / factor:.2f} to {ratio * factor:.2f}"
    assert f"Training takes 1.91 times its time here {interval}, Welch's 95%" in vs_reference_note(
        [line]
    )
    assert columns.time_ratio(line) == f"1.91 {interval})"
    # Rows of the shipped reference have no standard deviation of time.
    shipped = document(reference)
    older = shipped.model_copy(update={"table_1": tuple(
        row.model_copy(update={"train_seconds_sd": None}) for row in shipped.table_1
    )})  # fmt: skip
    assert compare_with_reference(document(results).table_1, older) == (line,)


def test_one_seed_has_no_interval_of_the_time_ratio() -> None:
    (line,) = compared(runs_at(0.02), runs_at(0.010, 0.011, 0.012))
    expected = {"seconds_ratio": 0.02 / 0.011, "seconds_ratio_low": None}
    assert not differing(line, expected)
    assert pooled_interval([line]) is None
    assert columns.time_ratio(line) == "1.82"


@pytest.mark.parametrize(
    "changes", [{"precision": "bfloat16"}, {"device": "gpu", "device_name": "A GPU"}]
)
def test_times_of_other_precision_or_device_are_not_compared(changes: dict[str, str]) -> None:
    lines = compared(seeds(1_000, *ACCURACIES, **changes))
    assert [line.seconds_ratio for line in lines] == [None]
    assert pooled_ratio(lines) is None
    note = "No time here is both trusted and of its arithmetic and device."
    assert note in vs_reference_note(lines)


@pytest.mark.parametrize(
    "results",
    [[], seeds(1_000, 0.98, 0.98, 0.98, dataset="mnist-5k"), seeds(5_000, 0.992, 0.991, 0.993)],
)
def test_rows_that_are_not_comparable_are_left_out(results: list[RunResult]) -> None:
    assert compared(results) == ()
    assert pooled_ratio([]) is pooled_interval([]) is None
