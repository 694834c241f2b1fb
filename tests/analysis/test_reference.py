"""Rows against the reference, on hand-made documents."""

from __future__ import annotations

import math

import pytest
from factories import REFERENCE, evaluations, machine, run, seeds
from scipy import stats

from mnist_bench.analysis import table1
from mnist_bench.analysis.reference import compare_with_reference, pooled_interval, pooled_ratio
from mnist_bench.reporting import columns
from mnist_bench.reporting.text import standing_note
from mnist_bench.results.document import Document, Row
from mnist_bench.results.run import RunResult
from mnist_bench.results.run_summary import summarise


def document(results: list[RunResult]) -> Document:
    return table1.document(machine(), summarise(results), REFERENCE)


def rows(results: list[RunResult]) -> tuple[Row, ...]:
    return table1.rows(summarise(results), REFERENCE)


THEIRS = document(seeds(1_000, 0.984, 0.985, 0.986, 0.985))


def test_the_same_training_on_a_machine_of_the_same_speed() -> None:
    (line,) = compare_with_reference(rows(seeds(1_000, 0.984, 0.985, 0.986, 0.985)), THEIRS)
    assert (line.steps, line.n, line.reference_n) == (1_000, 4, 4)
    assert line.accuracy_difference == 0
    assert line.p_value == pytest.approx(1)
    assert line.seconds_ratio == pytest.approx(1)
    assert (line.threads, line.reference_threads) == (2, 2)
    note = standing_note([line])
    assert note.startswith(
        "The reference is of Imaginary CPU, 2 cores, 16.0 GiB, Linux 6.1 x86_64, 2 threads. "
        "Training takes 1.00 times its time here, at 2 threads. No difference of its accuracies "
    )


def paced(*paces: float) -> list[RunResult]:
    """A seed at each of some seconds a step."""
    return [
        run(1_000, 0.984 + seed * 1e-4, seed, evaluations=evaluations(1_000, 0.985, seconds=pace))
        for seed, pace in enumerate(paces)
    ]


def test_the_interval_of_the_speed_by_hand() -> None:
    ours, theirs = rows(paced(0.021, 0.022, 0.023)), document(paced(0.010, 0.011, 0.012, 0.013))
    (line,) = compare_with_reference(ours, theirs)
    assert line.seconds_ratio == pytest.approx(0.022 / 0.0115)
    one = (0.001 / 0.022) ** 2 / 3
    another = (stats.tstd([0.010, 0.011, 0.012, 0.013]) / 0.0115) ** 2 / 4
    df = (one + another) ** 2 / (one**2 / 2 + another**2 / 3)
    factor = math.exp(stats.t.ppf(0.975, df) * (one + another) ** 0.5)
    assert line.seconds_ratio_low == pytest.approx(0.022 / 0.0115 / factor)
    assert line.seconds_ratio_high == pytest.approx(0.022 / 0.0115 * factor)
    assert pooled_interval([line, line]) == pytest.approx(
        (line.seconds_ratio_low, line.seconds_ratio_high)
    )
    told = f"({line.seconds_ratio_low:.2f} to {line.seconds_ratio_high:.2f}"
    assert f"Training takes 1.91 times its time here {told}, Welch's 95%" in standing_note([line])
    assert columns.time_ratio(line) == f"1.91 {told})"
    # The reference that is shipped is of a time when rows told no spread.
    elder = theirs.model_copy(update={"table_1": tuple(
        row.model_copy(update={"train_seconds_sd": None}) for row in theirs.table_1
    )})  # fmt: skip
    assert compare_with_reference(ours, elder) == (line,)


def test_one_seed_has_no_interval_of_its_speed() -> None:
    (line,) = compare_with_reference(rows(paced(0.02)), document(paced(0.010, 0.011, 0.012)))
    assert line.seconds_ratio == pytest.approx(0.02 / 0.011)
    assert (line.seconds_ratio_low, line.seconds_ratio_high) == (None, None)
    assert pooled_interval([line]) is None
    assert columns.time_ratio(line) == "1.82"


def test_another_training() -> None:
    ours, theirs = [0.975, 0.976, 0.977], [0.984, 0.985, 0.986, 0.985]
    (line,) = compare_with_reference(rows(seeds(1_000, *ours)), THEIRS)
    assert line.accuracy_difference == pytest.approx(-0.009)
    assert line.p_value == pytest.approx(stats.ttest_ind(ours, theirs, equal_var=False).pvalue)
    assert "Its accuracies differ" in standing_note([line])


def test_one_seed_is_held_against_the_references_spread() -> None:
    theirs = [0.984, 0.985, 0.986, 0.985]
    (line,) = compare_with_reference(rows([run(1_000, 0.983)]), THEIRS)
    # Student's t by hand: 0.002 over sd·√(1 + 1/4), with 3 degrees of freedom.
    sd = stats.tstd(theirs)
    expected = 2 * stats.t.sf(0.002 / (sd * (1 + 1 / 4) ** 0.5), 3)
    assert line.p_value == pytest.approx(expected)
    # Which is the pooled test of one value against four.
    assert expected == pytest.approx(stats.ttest_ind([0.983], theirs).pvalue)
    (far,) = compare_with_reference(rows([run(1_000, 0.9)]), THEIRS)
    assert "Its accuracies differ" in standing_note([far])


def test_where_the_reference_has_no_spread_one_seed_says_nothing() -> None:
    alone = document([run(1_000, 0.985)])
    (line,) = compare_with_reference(rows([run(1_000, 0.9)]), alone)
    assert line.p_value is None
    assert "Nothing tells whether the training is the same one" in standing_note([line])


@pytest.mark.parametrize(
    "changes", [{"precision": "bfloat16"}, {"device": "gpu", "device_name": "A GPU"}]
)
def test_times_of_other_arithmetic_say_nothing_of_the_machine(changes: dict[str, str]) -> None:
    ours = rows(seeds(1_000, 0.984, 0.985, 0.986, 0.985, **changes))
    lines = compare_with_reference(ours, THEIRS)
    assert [line.seconds_ratio for line in lines] == [None]
    assert pooled_ratio(lines) is None
    assert "No time here is both trusted and of its arithmetic and device." in standing_note(lines)


def test_rows_that_do_not_compare_are_left_out() -> None:
    assert (
        compare_with_reference(rows(seeds(1_000, 0.98, 0.98, 0.98, dataset="mnist-5k")), THEIRS)
        == ()
    )
    assert compare_with_reference(rows(seeds(5_000, 0.992, 0.991, 0.993)), THEIRS) == ()
    assert compare_with_reference((), THEIRS) == ()
    assert pooled_ratio([]) is None
