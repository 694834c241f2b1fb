"""Rows against the reference, on hand-made documents."""

from __future__ import annotations

import pytest
from records import machine, run, seeds
from scipy import stats
from test_compare import REFERENCE

from mnist_bench import compare
from mnist_bench.document import Document, Row
from mnist_bench.report.words import standing_note
from mnist_bench.result import RunResult
from mnist_bench.standing import pooled_ratio, standings
from mnist_bench.summary import summarise


def document(results: list[RunResult]) -> Document:
    return compare.document(machine(), summarise(results), REFERENCE)


def rows(results: list[RunResult]) -> tuple[Row, ...]:
    return compare.rows(summarise(results), REFERENCE)


THEIRS = document(seeds(1_000, 0.984, 0.985, 0.986, 0.985))


def test_the_same_training_on_a_machine_of_the_same_speed() -> None:
    (line,) = standings(rows(seeds(1_000, 0.984, 0.985, 0.986, 0.985)), THEIRS)
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


def test_another_training() -> None:
    ours, theirs = [0.975, 0.976, 0.977], [0.984, 0.985, 0.986, 0.985]
    (line,) = standings(rows(seeds(1_000, *ours)), THEIRS)
    assert line.accuracy_difference == pytest.approx(-0.009)
    assert line.p_value == pytest.approx(stats.ttest_ind(ours, theirs, equal_var=False).pvalue)
    assert "Its accuracies differ" in standing_note([line])


def test_one_seed_is_held_against_the_references_spread() -> None:
    theirs = [0.984, 0.985, 0.986, 0.985]
    (line,) = standings(rows([run(1_000, 0.983)]), THEIRS)
    # Student's t by hand: 0.002 over sd·√(1 + 1/4), with 3 degrees of freedom.
    sd = stats.tstd(theirs)
    expected = 2 * stats.t.sf(0.002 / (sd * (1 + 1 / 4) ** 0.5), 3)
    assert line.p_value == pytest.approx(expected)
    # Which is the pooled test of one value against four.
    assert expected == pytest.approx(stats.ttest_ind([0.983], theirs).pvalue)
    (far,) = standings(rows([run(1_000, 0.9)]), THEIRS)
    assert "Its accuracies differ" in standing_note([far])


def test_where_the_reference_has_no_spread_one_seed_says_nothing() -> None:
    alone = document([run(1_000, 0.985)])
    (line,) = standings(rows([run(1_000, 0.9)]), alone)
    assert line.p_value is None
    assert "Nothing tells whether the training is the same one" in standing_note([line])


@pytest.mark.parametrize(
    "changes", [{"precision": "bfloat16"}, {"device": "gpu", "device_name": "A GPU"}]
)
def test_times_of_other_arithmetic_say_nothing_of_the_machine(changes: dict[str, str]) -> None:
    ours = rows(seeds(1_000, 0.984, 0.985, 0.986, 0.985, **changes))
    lines = standings(ours, THEIRS)
    assert [line.seconds_ratio for line in lines] == [None]
    assert pooled_ratio(lines) is None
    assert "No time here is both trusted and of its arithmetic and device." in standing_note(lines)


def test_rows_that_do_not_compare_are_left_out() -> None:
    assert standings(rows(seeds(1_000, 0.98, 0.98, 0.98, dataset="mnist-5k")), THEIRS) == ()
    assert standings(rows(seeds(5_000, 0.992, 0.991, 0.993)), THEIRS) == ()
    assert standings((), THEIRS) == ()
    assert pooled_ratio([]) is None
