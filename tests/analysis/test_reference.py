"""Comparison with the reference, on hand-made documents."""

from __future__ import annotations

import math

import pytest
from factories import REFERENCE, evaluations, machine, run, seeds
from scipy import stats

from mnist_bench.analysis import table1
from mnist_bench.analysis.reference import compare_with_reference, pooled_interval, pooled_ratio
from mnist_bench.reporting import columns
from mnist_bench.reporting.text import vs_reference_note
from mnist_bench.results.document import Document, Row
from mnist_bench.results.run import RunResult
from mnist_bench.results.run_summary import summarise


def document(results: list[RunResult]) -> Document:
    return table1.document(machine(), summarise(results), REFERENCE)


def rows(results: list[RunResult]) -> tuple[Row, ...]:
    return table1.rows(summarise(results), REFERENCE)


REFERENCE_DOCUMENT = document(seeds(1_000, 0.984, 0.985, 0.986, 0.985))


def test_same_training_at_the_same_speed() -> None:
    (line,) = compare_with_reference(
        rows(seeds(1_000, 0.984, 0.985, 0.986, 0.985)), REFERENCE_DOCUMENT
    )
    assert (line.steps, line.n, line.reference_n) == (1_000, 4, 4)
    assert line.accuracy_difference == 0
    assert line.p_value == pytest.approx(1)
    assert line.seconds_ratio == pytest.approx(1)
    assert (line.threads, line.reference_threads) == (2, 2)
    note = vs_reference_note([line])
    assert note.startswith(
        "The reference is of Imaginary CPU, 2 cores, 16.0 GiB, Linux 6.1 x86_64, 2 threads. "
        "Training takes 1.00 times its time here, at 2 threads. No difference of its accuracies "
    )


def runs_at(*paces: float) -> list[RunResult]:
    """One seed per pace, in seconds per step."""
    return [
        run(1_000, 0.984 + seed * 1e-4, seed, evaluations=evaluations(1_000, 0.985, seconds=pace))
        for seed, pace in enumerate(paces)
    ]


def test_interval_of_the_time_ratio_by_hand() -> None:
    own_rows, reference = (
        rows(runs_at(0.021, 0.022, 0.023)),
        document(runs_at(0.010, 0.011, 0.012, 0.013)),
    )
    (line,) = compare_with_reference(own_rows, reference)
    assert line.seconds_ratio == pytest.approx(0.022 / 0.0115)
    variance = (0.001 / 0.022) ** 2 / 3
    reference_variance = (stats.tstd([0.010, 0.011, 0.012, 0.013]) / 0.0115) ** 2 / 4
    df = (variance + reference_variance) ** 2 / (variance**2 / 2 + reference_variance**2 / 3)
    factor = math.exp(stats.t.ppf(0.975, df) * (variance + reference_variance) ** 0.5)
    assert line.seconds_ratio_low == pytest.approx(0.022 / 0.0115 / factor)
    assert line.seconds_ratio_high == pytest.approx(0.022 / 0.0115 * factor)
    assert pooled_interval([line, line]) == pytest.approx(
        (line.seconds_ratio_low, line.seconds_ratio_high)
    )
    interval = f"({line.seconds_ratio_low:.2f} to {line.seconds_ratio_high:.2f}"
    assert f"Training takes 1.91 times its time here {interval}, Welch's 95%" in vs_reference_note(
        [line]
    )
    assert columns.time_ratio(line) == f"1.91 {interval})"
    # Rows of the shipped reference have no standard deviation of time.
    older = reference.model_copy(update={"table_1": tuple(
        row.model_copy(update={"train_seconds_sd": None}) for row in reference.table_1
    )})  # fmt: skip
    assert compare_with_reference(own_rows, older) == (line,)


def test_one_seed_has_no_interval_of_the_time_ratio() -> None:
    (line,) = compare_with_reference(rows(runs_at(0.02)), document(runs_at(0.010, 0.011, 0.012)))
    assert line.seconds_ratio == pytest.approx(0.02 / 0.011)
    assert (line.seconds_ratio_low, line.seconds_ratio_high) == (None, None)
    assert pooled_interval([line]) is None
    assert columns.time_ratio(line) == "1.82"


def test_different_accuracies() -> None:
    accuracies, reference = [0.975, 0.976, 0.977], [0.984, 0.985, 0.986, 0.985]
    (line,) = compare_with_reference(rows(seeds(1_000, *accuracies)), REFERENCE_DOCUMENT)
    assert line.accuracy_difference == pytest.approx(-0.009)
    assert line.p_value == pytest.approx(
        stats.ttest_ind(accuracies, reference, equal_var=False).pvalue
    )
    assert "Its accuracies differ" in vs_reference_note([line])


def test_one_seed_is_tested_with_the_references_spread() -> None:
    reference = [0.984, 0.985, 0.986, 0.985]
    (line,) = compare_with_reference(rows([run(1_000, 0.983)]), REFERENCE_DOCUMENT)
    # Student's t by hand: 0.002 over sd·√(1 + 1/4), with 3 degrees of freedom.
    sd = stats.tstd(reference)
    expected = 2 * stats.t.sf(0.002 / (sd * (1 + 1 / 4) ** 0.5), 3)
    assert line.p_value == pytest.approx(expected)
    # This equals the pooled test of one value against four.
    assert expected == pytest.approx(stats.ttest_ind([0.983], reference).pvalue)
    (far,) = compare_with_reference(rows([run(1_000, 0.9)]), REFERENCE_DOCUMENT)
    assert "Its accuracies differ" in vs_reference_note([far])


def test_no_p_value_for_one_seed_without_the_references_spread() -> None:
    one_seed = document([run(1_000, 0.985)])
    (line,) = compare_with_reference(rows([run(1_000, 0.9)]), one_seed)
    assert line.p_value is None
    assert "Nothing tells whether the training is the same one" in vs_reference_note([line])


@pytest.mark.parametrize(
    "changes", [{"precision": "bfloat16"}, {"device": "gpu", "device_name": "A GPU"}]
)
def test_times_of_other_precision_or_device_are_not_compared(changes: dict[str, str]) -> None:
    own_rows = rows(seeds(1_000, 0.984, 0.985, 0.986, 0.985, **changes))
    lines = compare_with_reference(own_rows, REFERENCE_DOCUMENT)
    assert [line.seconds_ratio for line in lines] == [None]
    assert pooled_ratio(lines) is None
    assert "No time here is both trusted and of its arithmetic and device." in vs_reference_note(
        lines
    )


def test_rows_that_are_not_comparable_are_left_out() -> None:
    assert (
        compare_with_reference(
            rows(seeds(1_000, 0.98, 0.98, 0.98, dataset="mnist-5k")), REFERENCE_DOCUMENT
        )
        == ()
    )
    assert compare_with_reference(rows(seeds(5_000, 0.992, 0.991, 0.993)), REFERENCE_DOCUMENT) == ()
    assert compare_with_reference((), REFERENCE_DOCUMENT) == ()
    assert pooled_ratio([]) is None
